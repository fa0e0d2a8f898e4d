"""A pass over spaces with the same rows: blocks on a fixed grid, summaries that merge along a fixed tree.

Blocks of 8,192 rows form *spans*, the unit of work: the blocks of a span are added to its summaries in order, and spans
merge as the leaves of a binary tree, ((0 1) (2 3)) ((4 5) 6). Neither depends on which process does the work, so the
sums have the same bits for any number of threads, workers or machines.

A summary defines how a block is added (`start`, `Part.add`) and how two adjacent spans merge (`merge`). The result of a
span, its *state*, is a dict of arrays, which can be sent or saved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from manifold_probe.engine.cloud import BLOCK
from manifold_probe.engine.threads import Mapper, one_by_one
from manifold_probe.spaces.checks import check_finite
from manifold_probe.spaces.space import Space

MIN_SPANS = 8  # if there are as many blocks: enough for a few workers, and few sums in memory
MAX_BLOCKS = 16  # in a span
State = dict[str, np.ndarray]
States = dict[str, State]  # by summary
Advance = Callable[[int], None]


def unwatched(rows: int) -> None:
    """A progress callback that does nothing."""


class Part(Protocol):
    """The sums of a span so far."""

    def add(self, start: int, blocks: tuple[np.ndarray, ...], mapper: Mapper) -> None:
        """Add the rows from ``start`` on, one block per space."""

    def state(self) -> State:
        """The state of the span."""


class Summary(Protocol):
    """How rows become a small state."""

    @property
    def spaces(self) -> tuple[str, ...]:
        """Names of the spaces whose rows it reads."""

    def start(self, first: int, last: int) -> Part:
        """An empty part, for a span of the rows first..last."""

    def merge(self, one: State, other: State) -> State:
        """The state of two adjacent spans; ``other`` is the second."""


@dataclass(frozen=True)
class Pass:
    """The spaces that a pass reads, and its summaries."""

    spaces: dict[str, Space]
    summaries: Mapping[str, Summary]

    @property
    def n(self) -> int:
        """Number of rows of every space."""
        return next(iter(self.spaces.values())).n


def spans(n: int) -> list[tuple[int, int]]:
    """The spans (first, last) that n rows are divided into.

    >>> spans(20_000)
    [(0, 8192), (8192, 16384), (16384, 20000)]
    """
    blocks = -(-n // BLOCK)
    size = 1
    while size < MAX_BLOCKS and blocks > MIN_SPANS * size:
        size *= 2
    step = size * BLOCK
    return [(first, min(first + step, n)) for first in range(0, n, step)]


def read_span(work: Pass, span: tuple[int, int], mapper: Mapper = one_by_one, advance: Advance = unwatched) -> States:
    """The states of all summaries for a span. Every space is read once.

    Raises
    ------
    InputError
        If a value is NaN or infinite, with the space and the first such row.
    """
    parts = {name: summary.start(*span) for name, summary in work.summaries.items()}
    wanted = {space for summary in work.summaries.values() for space in summary.spaces}
    for start in range(span[0], span[1], BLOCK):
        stop = min(start + BLOCK, span[1])
        blocks = {name: work.spaces[name].read(start, stop) for name in work.spaces if name in wanted}
        for name, block in blocks.items():
            check_finite(block, start, work.spaces[name])
        for name, part in parts.items():
            part.add(start, tuple(blocks[space] for space in work.summaries[name].spaces), mapper)
        advance(stop - start)
    return {name: part.state() for name, part in parts.items()}


class Tree:
    """States of spans, merged in pairs as soon as both have arrived, in any order.

    Node j of a level joins the nodes 2j and 2j + 1 of the level below; a node without a sibling is passed on.
    """

    def __init__(self, summaries: Mapping[str, Summary], count: int) -> None:
        self.summaries = summaries
        self.widths = [count]
        while self.widths[-1] > 1:
            self.widths.append(-(-self.widths[-1] // 2))
        self.unmerged: dict[tuple[int, int], States] = {}

    def add(self, index: int, states: States, level: int = 0) -> None:
        """Add the states of node ``index`` of a level, by default of a span."""
        while level < len(self.widths) - 1:
            sibling = index ^ 1
            if sibling < self.widths[level]:
                other = self.unmerged.pop((level, sibling), None)
                if other is None:
                    break
                states = self._merged(other, states) if sibling < index else self._merged(states, other)
            level, index = level + 1, index // 2
        self.unmerged[level, index] = states

    def _merged(self, one: States, other: States) -> States:
        return {name: summary.merge(one[name], other[name]) for name, summary in self.summaries.items()}

    def nodes(self) -> dict[tuple[int, int], States]:
        """The states merged so far, by level and index."""
        return self.unmerged

    def result(self) -> States:
        """The states of all rows."""
        return self.unmerged[len(self.widths) - 1, 0]


Executor = Callable[[Pass, list[tuple[int, int]], Advance], Iterable[tuple[tuple[int, int], States]]]


def in_this_process(mapper: Mapper) -> Executor:
    """An executor that reads spans one after another, with the threads of ``mapper``."""

    def run(work: Pass, wanted: list[tuple[int, int]], advance: Advance) -> Iterator[tuple[tuple[int, int], States]]:
        for index, span in enumerate(wanted):
            yield (0, index), read_span(work, span, mapper, advance)

    return run


def read(work: Pass, execute: Executor, advance: Advance) -> States:
    """The states of all rows by summary; ``advance`` receives the number of new rows read.

    ``execute`` gives ((level, index), states) of nodes of the tree, in any order.
    """
    if not work.summaries:
        return {}
    wanted = spans(work.n)
    tree = Tree(work.summaries, len(wanted))
    for (level, index), states in execute(work, wanted, advance):
        tree.add(index, states, level)
    return tree.result()


def joined(
    one: State, other: State, *, rows: Iterable[str] = (), least: Iterable[str] = (), most: Iterable[str] = ()
) -> State:
    """Two states merged: ``rows`` are concatenated, of ``least`` and ``most`` the minimum and maximum, others added."""
    rows, least, most = set(rows), set(least), set(most)
    merged = {}
    for name, value in one.items():
        if name in rows:
            merged[name] = np.concatenate([value, other[name]])
        elif name in least:
            merged[name] = np.minimum(value, other[name])
        elif name in most:
            merged[name] = np.maximum(value, other[name])
        else:
            merged[name] = value + other[name]
    return merged
