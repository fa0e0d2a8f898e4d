"""Two models layer by layer: from two feature folders to one document of CKA values, as lines and as a table.

The document is ``{"schema": "manifold-probe/layers/1", "inputs": {"teacher": {"name", "path", "sha256", "layers":
{name: {"shape", "dtype"}}}, "student": ...}, "pairing", "teacher": [names], "student": [names], "linear_cka": [[...]],
"debiased_linear_cka": [[...]], "n", "provenance"}``: rows are the teacher's layers, null is undefined.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from rich.text import Text

from manifold_probe.extraction.agree import check_same_content
from manifold_probe.extraction.records import read_json
from manifold_probe.extraction.store import MANIFEST
from manifold_probe.measures.catalogue import DEBIASED_CKA, LINEAR_CKA
from manifold_probe.measures.layers import layer_matrix
from manifold_probe.parts import Progress
from manifold_probe.report.document import left_out, plain, rows_digest
from manifold_probe.report.layout import paragraph, table
from manifold_probe.report.provenance import describe_input, provenance_of
from manifold_probe.report.tables.write import csv_cell
from manifold_probe.report.words import number, paired_rows, shown
from manifold_probe.spaces.checks import bad, check_array
from manifold_probe.spaces.choose import choose_features
from manifold_probe.spaces.columns import attached
from manifold_probe.spaces.contents import ID_NAMES, RESERVED, Contents, last_part
from manifold_probe.spaces.folder import shard_files
from manifold_probe.spaces.formats import open_file
from manifold_probe.spaces.pairing import Pair, pair
from manifold_probe.spaces.read import read, split_key
from manifold_probe.spaces.space import Source, Space
from manifold_probe.spaces.stacked import Stacked

LAYERS = "manifold-probe/layers/1"
SIDES = ("teacher", "student")
LONGEST = 24
LEGEND = "*: best match of the teacher's layer; -: undefined (a constant layer, or fewer than four rows)."


def open_layers(path: str) -> dict[str, Space]:
    """The layers in a feature folder or file, none of them read yet, each with the ids and labels beside it.

    Of a folder the layers of its manifest, in its order, or its only array; of a file (.npz, .safetensors, ...) every
    matrix (n, d) that is not ids, labels or logits and has a row for every id; "path::layer" is that layer alone.

    Raises
    ------
    InputError
        Where nothing can be read, no layer is there, or row counts or ids differ between layers.
    """
    file, key = split_key(path)
    if key is not None:
        return {key: _named(read(file, key), path)}
    if os.path.isdir(path):
        return _folder_layers(path)
    return _file_layers(open_file(path))


def compare_layers(
    teacher_path: str,
    student_path: str,
    *,
    positional: bool = False,
    allow_missing: bool = False,
    keep_first: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The document of every layer of the teacher against every layer of the student.

    Parameters
    ----------
    teacher_path, student_path : str
        Feature folders or files, see `open_layers`; rows pair by id where both sides have ids.
    positional : bool
        Pair by position whatever the ids say.
    allow_missing : bool
        Go on with the rows that found a partner.
    keep_first : bool
        Keep the first of identical rows under one id.
    progress : callable, optional
        Called as ``progress(stage, done, total)``.

    Raises
    ------
    InputError
        Where files, ids or values cannot be used.
    """
    layers = {side: open_layers(path) for side, path in zip(SIDES, (teacher_path, student_path), strict=True)}
    first = {side: next(iter(spaces.values())) for side, spaces in layers.items()}
    check_same_content(first["teacher"].source.path, first["student"].source.path)
    found = pair(
        _called(first["teacher"], teacher_path),
        {"student": _called(first["student"], student_path)},
        positional=positional,
        allow_missing=allow_missing,
        keep_first=keep_first,
    )["student"]
    teacher = {name: _ordered(space, found.teacher.order) for name, space in layers["teacher"].items()}
    student = {name: _ordered(space, found.student.order) for name, space in layers["student"].items()}
    document = {
        "schema": LAYERS,
        "inputs": {side: _described(spaces) for side, spaces in layers.items()},
        "pairing": _pairing(found),
        **layer_matrix(teacher, student, progress),
        "provenance": provenance_of(0),  # nothing is drawn at random
    }
    return plain(document)


def layer_lines(document: dict[str, Any], width: int | None) -> list[Text]:
    """The matrix of debiased CKA as styled lines, the best match of each teacher layer marked."""
    names, how = _side_names(document), document["pairing"]
    sizes = " and ".join(f"{len(document[side])} of the {side} {shown(name)}" for side, name in names.items())
    lines = paragraph(f"Debiased linear CKA of layers: {sizes}.", width, style="bold")
    lines += paragraph(f"{paired_rows({**how, 'rows': document['n']})}.", width)
    rows = [["teacher \\ student", *(shown(layer, LONGEST) for layer in document["student"])]]
    for layer, values in zip(document["teacher"], document[DEBIASED_CKA.key], strict=True):
        best = best_match(values)
        cells = [f"{number(value)}{'*' if place == best else ' '}" for place, value in enumerate(values)]
        rows.append([shown(layer, LONGEST), *cells])
    return [*lines, Text(), *table(rows, width), *paragraph(LEGEND, width, style="dim")]


def layers_table(document: dict[str, Any]) -> str:
    """The matrix as CSV: teacher, student, linear_cka, debiased_linear_cka; a row a pair, empty where undefined."""
    rows: list[list[Any]] = [["teacher", "student", LINEAR_CKA.key, DEBIASED_CKA.key]]
    for i, teacher in enumerate(document["teacher"]):
        for j, student in enumerate(document["student"]):
            rows.append([teacher, student, document[LINEAR_CKA.key][i][j], document[DEBIASED_CKA.key][i][j]])
    return "".join(",".join(map(csv_cell, row)) + "\n" for row in rows)


def best_match(values: list[float | None]) -> int | None:
    """The place of the highest value, None where there is none.

    >>> best_match([0.1, None, 0.3]), best_match([None])
    (2, None)
    """
    known = [place for place, value in enumerate(values) if value is not None]
    return max(known, key=lambda place: values[place] or 0.0, default=None)


def _folder_layers(path: str) -> dict[str, Space]:
    files = shard_files(path)[1:]  # also refuses a folder without a manifest, or with a damaged one
    shapes = read_json(Path(path) / MANIFEST).get("shapes")
    names = list(shapes) if isinstance(shapes, dict) else []
    if len(names) < 2:
        space = read(path)
        return {names[0] if names else space.source.key or "features": _named(space, path)}
    first = read(path, names[0])  # checks the shards' checksums, once for all layers
    opened = [open_file(file) for file in files]
    return {name: _stacked(path, name, opened, first) for name in names}


def _stacked(path: str, name: str, shards: list[Contents], first: Space) -> Space:
    """One layer of all shards, with the folder's ids and labels."""
    parts = [choose_features(shard, name) for shard in shards]
    for part, shard in zip(parts, shards, strict=True):
        if (part.shape[1], part.dtype) != (parts[0].shape[1], parts[0].dtype):
            raise bad(
                shard.path,
                f"layer '{name}' has rows of {part.shape[1]} {part.dtype}, the first shard {parts[0].shape[1]} "
                f"{parts[0].dtype}; shards must agree, extract them with one model",
            )
    rows = Stacked([part.open() for part in parts], parts[0].dtype)
    if len(rows) != first.n:
        raise bad(path, f"layer '{name}' has {len(rows):,} rows, another {first.n:,}; extract the layers together")
    source = Source(path, name, "folder")
    return Space(rows, ids=first.ids, labels=first.labels, name=f"{path}::{name}", source=source)


def _file_layers(contents: Contents) -> dict[str, Space]:
    matrices = [
        entry
        for entry in contents.entries.values()
        if last_part(entry.name) not in RESERVED
        and len(entry.shape) == 2
        and not entry.problem
        and entry.dtype != "str"
    ]
    ids = contents.find(ID_NAMES)
    if ids is not None:
        matrices = [entry for entry in matrices if entry.shape[0] == ids.shape[0]]
    if not matrices:
        mend = "save one (n, d) array a layer"
        raise bad(contents.path, f"holds no layers (n, d), only {contents.listing()}; {mend}")
    spaces: dict[str, Space] = {}
    for entry in matrices:
        check_array(contents.path, entry)
        if entry.shape[0] != matrices[0].shape[0]:
            raise bad(
                contents.path,
                f"key '{entry.name}' has {entry.shape[0]:,} rows and '{matrices[0].name}' {matrices[0].shape[0]:,}; "
                "save layers of the same rows, or add 'ids' that tell which arrays are meant",
            )
        row_ids, labels = attached(contents, entry.name, entry.shape[0])
        source = Source(contents.path, entry.name, contents.format)
        name = f"{contents.path}::{entry.name}"
        spaces[entry.name] = Space(entry.open(), ids=row_ids, labels=labels, name=name, source=source)
        _check_ids(spaces[entry.name], spaces[matrices[0].name])
    return spaces


def _check_ids(space: Space, first: Space) -> None:
    """One pairing serves all layers of a file, so their ids must be the same."""
    if (space.ids is None) != (first.ids is None) or (
        space.ids is not None and not np.array_equal(space.ids, np.asarray(first.ids))
    ):
        raise bad(space.name, f"has other ids than {first.name}; save layers of the same rows in the same order")


def _named(space: Space, name: str) -> Space:
    space.name = name
    return space


def _called(space: Space, path: str) -> Space:
    """The first layer under the name of its file or folder, for messages about ids."""
    return _named(space.with_ids(space.ids), path)


def _ordered(space: Space, order: np.ndarray | None) -> Space:
    """The rows of a layer that the pairing of the first layer kept, in its order."""
    return space if order is None else space.select(order)


def _described(layers: dict[str, Space]) -> dict[str, Any]:
    whole = describe_input(next(iter(layers.values())), None)
    found = {name: {"shape": [space.n, space.d], "dtype": space.dtype} for name, space in layers.items()}
    return {**{field: whole[field] for field in ("name", "path", "sha256")}, "layers": found}


def _pairing(found: Pair) -> dict[str, Any]:
    return {
        "by": found.by,
        "rows": found.teacher.n,
        "coverage": found.coverage,
        "verified": found.verified,
        "label_conflicts": found.label_conflicts,
        **left_out(found),
        "rows_sha256": rows_digest(found),
    }


def _side_names(document: dict[str, Any]) -> dict[str, str]:
    return {side: document["inputs"][side]["name"] for side in SIDES}
