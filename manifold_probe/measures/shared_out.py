"""A comparison shared out among machines that have nothing in common but the files: partial files, then a merge.

    first round     every machine reads its shard of the rows -> partial files -> merged
    second round    where ranks or alarms need another pass: the merged file goes back, and the same once more

Every file says what it was made from: request, settings, version, and what the spaces look like on that machine.
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

LOOKED_AT = 1_000  # rows that say whether two machines see the same file
FIRST, MERGED, SECOND = "first", "merged", "second"  # what a file holds
SETTINGS = ("k", "queries", "seed", "measures")


@dataclass(frozen=True)
class Merging:
    """What partial files hold together: the request, the settings, and the states of one or both passes."""

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
    """Read shard i of N of the rows for the first time, and write what was found.

    Raises
    ------
    InputError
        When something given cannot be used, or ``out`` cannot be written.
    """
    _write(request, settings, several, shard, out, None, silent if progress is None else progress)


def write_second(merged: str | Path, shard: tuple[int, int], out: str | Path, progress: Progress | None = None) -> None:
    """Read shard i of N of the rows for the second time, after what the merged file of the first says.

    Raises
    ------
    InputError
        When ``merged`` is no such file, or was made from other files than this machine has.
    """
    first = load(merged)
    if first.header["holds"] != MERGED:
        raise InputError(f"{merged}: holds one machine's part; give the file that probe merge --second-round wrote")
    known = first.header["made_from"]
    request, settings = Request.of_text(known["request"]), known["settings"]
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

    with threads() as each:
        measures = tuple(chosen(settings["measures"], settings["k"]))
        reading = Reading(pairs, Settings(settings["k"], settings["queries"], settings["seed"], measures), each)
        work = reading.first()
        if first is not None:
            (found,) = first.nodes.values()
            reading.take_first(found)
            work = reading.second()
        nodes = read_shard(work, shard, each, advance)
    header = {"made_from": made_from, "several": several}
    save(out, header | {"holds": FIRST if first is None else SECOND, "shard": list(shard)}, nodes)


def save_merged(out: str | Path, merging: Merging, first: Nodes) -> None:
    """Write what the second round needs: what the first found, merged."""
    save(out, merging.header | {"holds": MERGED}, first)


def _made_from(text: str, settings: dict[str, Any], pairs: dict[str, Pair]) -> dict[str, Any]:
    """What a partial file was made from, as this machine sees it."""
    seen = {}
    for name, space in spaces_of(pairs).items():
        rows = space.take(sample(space.n, LOOKED_AT, 0, SAMPLING))
        seen[name] = [space.n, space.d, space.dtype, int(np.bitwise_xor.reduce(hash_rows(rows)))]
    return {
        "version": manifold_probe.__version__,
        "request": text,
        "settings": {name: settings[name] for name in SETTINGS},
        "seen": seen,
    }


def merged(paths: Sequence[str | Path]) -> Merging:
    """What partial files hold together.

    Parameters
    ----------
    paths : list of path
        All parts of the first round, or the merged file of the first round and all parts of the second.

    Raises
    ------
    InputError
        Where a part is missing, is there twice, or was made from something else than the others, naming it.
    """
    if not paths:
        raise InputError("partial files: none given; give all that probe partial wrote")
    files = [load(path) for path in paths]
    for file in files[1:]:
        _check_same(file, files[0].header["made_from"], files[0].path)
    held = {kind: [file for file in files if file.header["holds"] == kind] for kind in (FIRST, MERGED, SECOND)}
    if len(held[MERGED]) > 1:
        raise InputError(
            f"{held[MERGED][1].path}: a second merged file in addition to {held[MERGED][0].path}; give one"
        )
    if held[SECOND] and not held[MERGED] and not held[FIRST]:
        raise InputError(
            f"{held[SECOND][0].path}: holds the second round; give the merged file of the first round with it"
        )
    first = held[MERGED][0].nodes if held[MERGED] else _joined(held[FIRST])
    passes = [first] + ([_joined(held[SECOND])] if held[SECOND] else [])
    header = {name: files[0].header[name] for name in ("made_from", "several")}
    request = Request.of_text(header["made_from"]["request"])
    return Merging(request, header["made_from"]["settings"], header["several"], header, passes)


def check_unchanged(merging: Merging, pairs: dict[str, Pair]) -> None:
    """Refuse to merge where this machine sees other files than those that the parts were made from."""
    here = _made_from(merging.header["made_from"]["request"], merging.settings, pairs)
    _check_same(
        Partial("the files as they are here", {"made_from": here}, {}), merging.header["made_from"], "the parts"
    )


def _joined(files: list[Partial]) -> Nodes:
    """The nodes of all parts of a round, of which each must be there once."""
    count = files[0].header["shard"][1]
    held: dict[int, Partial] = {}
    for file in files:
        shard, of = file.header["shard"]
        if of != count:
            raise InputError(
                f"{file.path}: is part {shard} of {of}, and {files[0].path} one of {count}; give parts of one division"
            )
        if shard in held:
            raise InputError(f"{file.path}: is part {shard} of {of}, as {held[shard].path} is; give every part once")
        held[shard] = file
    missing = [str(shard) for shard in range(count) if shard not in held]
    if missing:
        parts = f"part {missing[0]}" if len(missing) == 1 else f"parts {', '.join(missing)}"
        raise InputError(
            f"partial files: {parts} of {count} missing; make with probe partial --shard {missing[0]}/{count}"
        )
    return {node: found for file in files for node, found in file.nodes.items()}


def _check_same(file: Partial, known: dict[str, Any], whose: str) -> None:
    """Refuse a part that was made from something else."""
    own = file.header["made_from"]
    if own == known:
        return
    if own["version"] != known["version"]:
        what = f"by version {own['version']}, {whose} by {known['version']}"
    elif own["settings"] != known["settings"]:
        name = next(name for name in SETTINGS if own["settings"][name] != known["settings"][name])
        what = f"with {name} = {_shown(own['settings'][name])}, {whose} with {_shown(known['settings'][name])}"
    elif own["request"] != known["request"]:
        one, two = json.loads(own["request"]), json.loads(known["request"])
        name = next(name for name in one if one[name] != two[name])
        what = f"with {name} = {_shown(one[name])}, {whose} with {_shown(two[name])}"
    else:
        name = next(name for name in own["seen"] if own["seen"][name] != known["seen"].get(name))
        what = f"from other rows of the {name} than {whose}"
    raise InputError(f"{file.path}: was made {what}; make all parts from the same files with the same options")


def _shown(value: Any) -> str:
    return "none" if value is None else json.dumps(value)
