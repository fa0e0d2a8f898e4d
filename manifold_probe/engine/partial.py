"""Partial files: the states of some spans of a pass, to be merged on another machine.

A file is an .npz: a header in JSON, and the states of nodes of the merge tree (passes.py). A shard has consecutive
spans, so that most of them are merged before they are written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from manifold_probe.engine.passes import Advance, Executor, Pass, States, Tree, read_span, spans
from manifold_probe.engine.threads import Mapper
from manifold_probe.errors import InputError
from manifold_probe.files import writing_whole

FORMAT = "manifold-probe/partial/1"
Nodes = dict[tuple[int, int], States]


@dataclass(frozen=True)
class Partial:
    """A partial file: its path, its header and the states of its nodes."""

    path: str
    header: dict[str, Any]
    nodes: Nodes = field(repr=False)


def read_shard(work: Pass, shard: tuple[int, int], mapper: Mapper, advance: Advance) -> Nodes:
    """The merged states of shard i of N: the spans from i S / N to (i + 1) S / N of all S."""
    tree = Tree(work.summaries, len(spans(work.n)))
    for index, span in spans_of(work.n, shard).items():
        tree.add(index, read_span(work, span, mapper, advance))
    return tree.nodes()


def spans_of(n: int, shard: tuple[int, int]) -> dict[int, tuple[int, int]]:
    """The spans of n rows in shard i of N, by their index."""
    all_spans = spans(n)
    first, last = (len(all_spans) * index // shard[1] for index in (shard[0], shard[0] + 1))
    return {index: all_spans[index] for index in range(first, last)}


def save(path: str | Path, header: dict[str, Any], nodes: Nodes) -> None:
    """Write a partial file, as a whole or not at all.

    Raises
    ------
    InputError
        If the path cannot be written to.
    """
    names: list[list[Any]] = []
    arrays: dict[str, np.ndarray] = {}
    for (level, index), states in nodes.items():
        for summary, state in states.items():
            for name, value in state.items():
                arrays[f"array{len(names)}"] = np.asarray(value)
                names.append([level, index, summary, name])
    text = json.dumps({"format": FORMAT, **header, "arrays": names})
    with writing_whole(path) as file:
        np.savez(file, header=np.frombuffer(text.encode(), dtype=np.uint8), **arrays)  # type: ignore[arg-type]


def load(path: str | Path) -> Partial:
    """Read a partial file.

    Raises
    ------
    InputError
        If the file is missing, damaged, or not a partial file.
    """
    nodes: Nodes = {}
    try:
        with np.load(path, allow_pickle=False) as stored:
            header = json.loads(stored["header"].tobytes().decode())
            if header.get("format") != FORMAT:
                raise ValueError("another format")
            for number, (level, index, summary, name) in enumerate(header.pop("arrays")):
                states = nodes.setdefault((level, index), {})
                states.setdefault(summary, {})[name] = stored[f"array{number}"]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; write it with probe partial") from None
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: not a partial file, or damaged ({reason}); write it with probe partial") from None
    return Partial(str(path), header, nodes)


class FromPartials:
    """An executor that takes states from files, of the first pass and then of the second.

    If there are no files for a second pass, the executor ``otherwise`` runs it; without ``otherwise``,
    `SecondPassNeeded` is raised.
    """

    def __init__(
        self, passes: list[Nodes], otherwise: Executor | None, tell: Callable[[str], None] | None = None
    ) -> None:
        self.passes, self.otherwise, self.tell = list(passes), otherwise, tell
        self.merged: Nodes = {}

    def __call__(
        self, work: Pass, wanted: list[tuple[int, int]], advance: Advance
    ) -> Iterator[tuple[tuple[int, int], States]]:
        if not self.passes and self.otherwise is not None:
            if self.tell:
                self.tell("the rows are read a second time here, for ranks or alarms (--second-round distributes this)")
            yield from self.otherwise(work, wanted, advance)
            return
        if not self.passes:
            raise SecondPassNeeded(self.merged)
        tree = Tree(work.summaries, len(wanted))
        for (level, index), states in self.passes.pop(0).items():
            tree.add(index, states, level)
        self.merged = tree.nodes()
        yield from self.merged.items()
        advance(work.n)


class SecondPassNeeded(Exception):
    """Raised if the result needs a second pass; ``first`` holds the merged states of the first."""

    def __init__(self, first: Nodes) -> None:
        super().__init__("a second pass is needed")
        self.first = first
