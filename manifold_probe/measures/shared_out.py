"""A comparison divided among machines that share only the files: partial files, then a merge.

    first round     every machine reads its shard of the rows -> partial files -> merged
    second round    where ranks or alarms need another pass: every machine reads again, with the merged file

Every file records its origin: request, settings, version, and a hash of sampled rows of every space.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import manifold_probe
from manifold_probe.engine.partial import Nodes, Partial, load, read_shard, save, spans_of
from manifold_probe.engine.rows import SAMPLING, hash_rows, sample
from manifold_probe.engine.threads import threads
from manifold_probe.errors import InputError
from manifold_probe.measures.reading import Reading, spaces_of
from manifold_probe.measures.request import Request, check_rows
from manifold_probe.measures.sides import Settings
from manifold_probe.measures.user_defined import chosen
from manifold_probe.parts import Progress, silent
from manifold_probe.spaces.pairing import Pair

HASHED_ROWS = 1_000  # rows whose hash shows whether two machines read the same file
FIRST, MERGED, SECOND = "first", "merged", "second"  # the contents of a file
SETTINGS = ("k", "queries", "seed", "measures")


@dataclass(frozen=True)
class Merging:
    """The joined contents of partial files: the request, the settings, and the states of one or both passes."""

    request: Request
    settings: dict[str, Any]
    several: bool
    header: dict[str, Any]
    passes: list[Nodes]


def write_partial(
    request: Request,
    settings: dict[str, Any],
    several: bool,
    shard: tuple[int, int],
    out: str | Path,
    progress: Progress | None = None,
) -> None:
    """Read shard i of N of the rows for the first time, and write its states.

    Raises
    ------
    InputError
        When an input cannot be used, or ``out`` cannot be written.
    """
    _write(request, settings, several, shard, out, None, silent if progress is None else progress)


def write_second(merged: str | Path, shard: tuple[int, int], out: str | Path, progress: Progress | None = None) -> None:
    """Read shard i of N of the rows for the second time, with the merged file of the first round.

    Raises
    ------
    InputError
        When ``merged`` is not such a file, or was made from other files than this machine has.
    """
    first = load(merged)
    if first.header["holds"] != MERGED:
        raise InputError(
            f"{merged}: holds the part of one machine; give the file that probe merge --second-round wrote"
        )
    made_from = first.header["made_from"]
    request, settings = Request.of_text(made_from["request"]), made_from["settings"]
    _write(request, settings, first.header["several"], shard, out, first, silent if progress is None else progress)


def _write(
    request: Request,
    settings: dict[str, Any],
    several: bool,
    shard: tuple[int, int],
    out: str | Path,
    first: Partial | None,
    progress: Progress,
) -> None:
    text = request.to_text()
    pairs = request.open().pairs
    check_rows(pairs, settings)
    made_from = _made_from(text, settings, pairs)
    if first is not None:
        _check_same(first, made_from, "this machine")
    n, read = next(iter(pairs.values())).teacher.n, 0
    shared = sum(last - first for first, last in spans_of(n, shard).values())

    def advance(rows: int) -> None:
        nonlocal read
        read += rows
        progress("reading and searching" if first is None else "ranking neighbours", read, shared)

    with threads() as parallel:
        measures = tuple(chosen(settings["measures"], settings["k"]))
        reading = Reading(pairs, Settings(settings["k"], settings["queries"], settings["seed"], measures), parallel)
        work = reading.first()
        if first is not None:
            (states,) = first.nodes.values()
            reading.take_first(states)
            work = reading.second()
        nodes = read_shard(work, shard, parallel, advance)
    header = {"made_from": made_from, "several": several}
    save(out, header | {"holds": FIRST if first is None else SECOND, "shard": list(shard)}, nodes)


def save_merged(out: str | Path, merging: Merging, first: Nodes) -> None:
    """Write the merged states of the first round, which the second round needs."""
    save(out, merging.header | {"holds": MERGED}, first)


def _made_from(text: str, settings: dict[str, Any], pairs: dict[str, Pair]) -> dict[str, Any]:
    """The origin of a partial file, as this machine reads it."""
    seen = {}
    for name, space in spaces_of(pairs).items():
        rows = space.take(sample(space.n, HASHED_ROWS, 0, SAMPLING))
        seen[name] = [space.n, space.d, space.dtype, int(np.bitwise_xor.reduce(hash_rows(rows)))]
    return {
        "version": manifold_probe.__version__,
        "request": text,
        "settings": {name: settings[name] for name in SETTINGS},
        "seen": seen,
    }


def merged(paths: Sequence[str | Path]) -> Merging:
    """Join partial files.

    Parameters
    ----------
    paths : list of path
        All parts of the first round, or the merged file of the first round and all parts of the second.

    Raises
    ------
    InputError
        Where a part is missing, is given twice, or has another origin than the others.
    """
    if not paths:
        raise InputError("partial files: none given; give all files that probe partial wrote")
    files = [load(path) for path in paths]
    for file in files[1:]:
        _check_same(file, files[0].header["made_from"], files[0].path)
    by_kind = {kind: [file for file in files if file.header["holds"] == kind] for kind in (FIRST, MERGED, SECOND)}
    if len(by_kind[MERGED]) > 1:
        raise InputError(
            f"{by_kind[MERGED][1].path}: a second merged file in addition to {by_kind[MERGED][0].path}; give one"
        )
    if by_kind[SECOND] and not by_kind[MERGED] and not by_kind[FIRST]:
        raise InputError(
            f"{by_kind[SECOND][0].path}: holds the second round; give the merged file of the first round with it"
        )
    first = by_kind[MERGED][0].nodes if by_kind[MERGED] else _joined(by_kind[FIRST])
    passes = [first] + ([_joined(by_kind[SECOND])] if by_kind[SECOND] else [])
    header = {name: files[0].header[name] for name in ("made_from", "several")}
    request = Request.of_text(header["made_from"]["request"])
    return Merging(request, header["made_from"]["settings"], header["several"], header, passes)


def check_unchanged(merging: Merging, pairs: dict[str, Pair]) -> None:
    """Refuse to merge where the files on this machine differ from those that the parts were made from."""
    seen_here = _made_from(merging.header["made_from"]["request"], merging.settings, pairs)
    _check_same(
        Partial("the files as they are here", {"made_from": seen_here}, {}), merging.header["made_from"], "the parts"
    )


def _joined(files: list[Partial]) -> Nodes:
    """The nodes of all parts of a round; each part must be given once."""
    count = files[0].header["shard"][1]
    by_shard: dict[int, Partial] = {}
    for file in files:
        shard, shard_count = file.header["shard"]
        if shard_count != count:
            raise InputError(
                f"{file.path}: is part {shard} of {shard_count}, and {files[0].path} one of {count}; "
                "give parts of one division"
            )
        if shard in by_shard:
            raise InputError(
                f"{file.path}: is part {shard} of {shard_count}, as {by_shard[shard].path} is; give every part once"
            )
        by_shard[shard] = file
    missing = [str(shard) for shard in range(count) if shard not in by_shard]
    if missing:
        parts = f"part {missing[0]}" if len(missing) == 1 else f"parts {', '.join(missing)}"
        raise InputError(
            f"partial files: {parts} of {count} missing; make with probe partial --shard {missing[0]}/{count}"
        )
    return {node: states for file in files for node, states in file.nodes.items()}


def _check_same(file: Partial, expected: dict[str, Any], whose: str) -> None:
    """Refuse a part with another origin."""
    made_from = file.header["made_from"]
    if made_from == expected:
        return
    if made_from["version"] != expected["version"]:
        what = f"by version {made_from['version']}, {whose} by {expected['version']}"
    elif made_from["settings"] != expected["settings"]:
        name = next(name for name in SETTINGS if made_from["settings"][name] != expected["settings"][name])
        what = f"with {name} = {_shown(made_from['settings'][name])}, {whose} with {_shown(expected['settings'][name])}"
    elif made_from["request"] != expected["request"]:
        request, expected_request = json.loads(made_from["request"]), json.loads(expected["request"])
        name = next(name for name in request if request[name] != expected_request[name])
        what = f"with {name} = {_shown(request[name])}, {whose} with {_shown(expected_request[name])}"
    else:
        name = next(name for name in made_from["seen"] if made_from["seen"][name] != expected["seen"].get(name))
        what = f"from other rows of the {name} than {whose}"
    raise InputError(f"{file.path}: was made {what}; make all parts from the same files with the same options")


def _shown(value: Any) -> str:
    return "none" if value is None else json.dumps(value)
