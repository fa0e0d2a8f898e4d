"""One pass over spaces whose rows belong together: blocks on a fixed grid, summaries that merge along a fixed tree.

The grid's blocks of 8,192 rows form *spans*, the unit of work: a span's blocks are added to its summaries in order, and
spans merge as the leaves of a binary tree, ((0 1) (2 3)) ((4 5) 6). Neither depends on who does the work, so that the
sums are the same bits for any number of threads, workers or machines.

A summary says how a block is added (`start`, `Part.add`) and how two neighbouring spans merge (`merge`); what a span
leaves, its *state*, is a plain dict of arrays, which can be sent or saved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from manifold_probe.engine.cloud import BLOCK
from manifold_probe.engine.threads import Each, one_by_one
from manifold_probe.spaces.checks import check_finite
from manifold_probe.spaces.space import Space

SPANS = 8  # at least, where there are as many blocks: enough for a few workers, and few sums to hold at once
MOST_BLOCKS = 16  # in a span
State = dict[str, np.ndarray]
Found = dict[str, State]  # by summary
Advance = Callable[[int], None]


def unwatched(rows: int) -> None:
    """Progress that nobody watches."""


class Part(Protocol):
    """What one span has added up so far."""

    def add(self, start: int, blocks: tuple[np.ndarray, ...], each: Each) -> None:
        """Take in the rows from ``start`` on, one block a space."""

    def state(self) -> State:
        """What the span leaves."""


class Summary(Protocol):
    """How rows become a small state; ``spaces`` are the names of those whose rows it takes."""

    @property
    def spaces(self) -> tuple[str, ...]:
        """Names of the spaces read."""

    def start(self, first: int, last: int) -> Part:
        """The summary of no rows yet, for a span of the rows first..last."""

    def merge(self, one: State, other: State) -> State:
        """The state of two spans, ``other`` the one that follows."""


@dataclass(frozen=True)
class Pass:
    """What one pass reads and keeps."""

    spaces: dict[str, Space]
    summaries: Mapping[str, Summary]

    @property
    def n(self) -> int:
        """Rows of every space."""
        return next(iter(self.spaces.values())).n


def spans(n: int) -> list[tuple[int, int]]:
    """The spans (first, last) that n rows are divided into.

    >>> spans(20_000)
    [(0, 8192), (8192, 16384), (16384, 20000)]
    """
    blocks = -(-n // BLOCK)
    size = 1
    while size < MOST_BLOCKS and blocks > SPANS * size:
        size *= 2
    step = size * BLOCK
    return [(first, min(first + step, n)) for first in range(0, n, step)]


def read_span(work: Pass, span: tuple[int, int], each: Each = one_by_one, advance: Advance = unwatched) -> Found:
    """Every summary of one span's rows. Each space is read once.

    Raises
    ------
    InputError
        Where a value is NaN or infinite, naming the space and the first such row.
    """
    parts = {name: summary.start(*span) for name, summary in work.summaries.items()}
    wanted = {space for summary in work.summaries.values() for space in summary.spaces}
    for start in range(span[0], span[1], BLOCK):
        stop = min(start + BLOCK, span[1])
        blocks = {name: work.spaces[name].read(start, stop) for name in work.spaces if name in wanted}
        for name, block in blocks.items():
            check_finite(block, start, work.spaces[name])
        for name, part in parts.items():
            part.add(start, tuple(blocks[space] for space in work.summaries[name].spaces), each)
        advance(stop - start)
    return {name: part.state() for name, part in parts.items()}


class Tree:
    """States of spans, merged two by two as soon as both are there, in any order of arrival.

    Node j of a level joins the nodes 2j and 2j + 1 of the level below; a node without a sibling is passed on.
    """

    def __init__(self, summaries: Mapping[str, Summary], count: int) -> None:
        self.summaries = summaries
        self.widths = [count]
        while self.widths[-1] > 1:
            self.widths.append(-(-self.widths[-1] // 2))
        self.waiting: dict[tuple[int, int], Found] = {}

    def add(self, index: int, found: Found, level: int = 0) -> None:
        """Take in the state of node ``index`` of a level, by default that of a span."""
        while level < len(self.widths) - 1:
            beside = index ^ 1
            if beside < self.widths[level]:
                other = self.waiting.pop((level, beside), None)
                if other is None:
                    break
                found = self._merged(other, found) if beside < index else self._merged(found, other)
            level, index = level + 1, index // 2
        self.waiting[level, index] = found

    def _merged(self, one: Found, other: Found) -> Found:
        return {name: summary.merge(one[name], other[name]) for name, summary in self.summaries.items()}

    def nodes(self) -> dict[tuple[int, int], Found]:
        """What is merged so far, by level and index."""
        return self.waiting

    def result(self) -> Found:
        """The state of all rows."""
        return self.waiting[len(self.widths) - 1, 0]


Executor = Callable[[Pass, list[tuple[int, int]], Advance], Iterable[tuple[tuple[int, int], Found]]]


def in_this_process(each: Each) -> Executor:
    """Spans one after the other, each with the threads of ``each``."""

    def run(work: Pass, wanted: list[tuple[int, int]], advance: Advance) -> Iterator[tuple[tuple[int, int], Found]]:
        for index, span in enumerate(wanted):
            yield (0, index), read_span(work, span, each, advance)

    return run


def read(work: Pass, execute: Executor, advance: Advance) -> Found:
    """The states of all rows by summary; ``advance`` receives how many more rows were read.

    ``execute`` gives the states of nodes of the tree, (level, index) each, in any order.
    """
    if not work.summaries:
        return {}
    wanted = spans(work.n)
    tree = Tree(work.summaries, len(wanted))
    for (level, index), found in execute(work, wanted, advance):
        tree.add(index, found, level)
    return tree.result()


def joined(
    one: State, other: State, *, rows: Iterable[str] = (), least: Iterable[str] = (), most: Iterable[str] = ()
) -> State:
    """Two states as one: arrays of a value a row are joined, least and largest values kept, everything else added."""
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
