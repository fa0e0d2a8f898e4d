"""Two models' layers, read from feature folders or files and paired row by row."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from manifold_probe.extraction.agree import check_same_content
from manifold_probe.extraction.records import read_json
from manifold_probe.extraction.store import MANIFEST
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


@dataclass(frozen=True)
class PairedLayers:
    """The layers of both sides as they were read, how their rows were paired, and the layers with paired rows."""

    read: dict[str, dict[str, Space]]
    pair: Pair
    teacher: dict[str, Space]
    student: dict[str, Space]


def paired_layers(
    teacher_path: str,
    student_path: str,
    *,
    positional: bool = False,
    allow_missing: bool = False,
    keep_first: bool = False,
) -> PairedLayers:
    """All layers of two feature folders or files (see `open_layers`); rows pair by id where both sides have ids.

    Parameters
    ----------
    positional : bool
        Pair by position, and ignore the ids.
    allow_missing : bool
        Use only the rows that have a partner.
    keep_first : bool
        Keep the first of identical rows under one id.

    Raises
    ------
    InputError
        Where files, ids or values cannot be used.
    """
    layers = {"teacher": open_layers(teacher_path), "student": open_layers(student_path)}
    first = {side: next(iter(spaces.values())) for side, spaces in layers.items()}
    check_same_content(first["teacher"].source.path, first["student"].source.path)
    pairing = pair(
        _called(first["teacher"], teacher_path),
        {"student": _called(first["student"], student_path)},
        positional=positional,
        allow_missing=allow_missing,
        keep_first=keep_first,
    )["student"]
    teacher = {name: _ordered(space, pairing.teacher.order) for name, space in layers["teacher"].items()}
    student = {name: _ordered(space, pairing.student.order) for name, space in layers["student"].items()}
    return PairedLayers(layers, pairing, teacher, student)


def open_layers(path: str) -> dict[str, Space]:
    """The layers in a feature folder or file, opened but not read, each with its ids and labels.

    From a folder the layers of its manifest, in its order, or its only array; from a file (.npz, .safetensors, ...)
    every matrix (n, d) that is not ids, labels or logits and has a row for every id; "path::layer" is that layer alone.

    Raises
    ------
    InputError
        Where nothing can be read, there is no layer, or row counts or ids differ between layers.
    """
    file, key = split_key(path)
    if key is not None:
        return {key: _named(read(file, key), path)}
    if os.path.isdir(path):
        return _folder_layers(path)
    return _file_layers(open_file(path))


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
        fix = "save one (n, d) array a layer"
        raise bad(contents.path, f"holds no layers (n, d), only {contents.listing()}; {fix}")
    spaces: dict[str, Space] = {}
    for entry in matrices:
        check_array(contents.path, entry)
        if entry.shape[0] != matrices[0].shape[0]:
            raise bad(
                contents.path,
                f"key '{entry.name}' has {entry.shape[0]:,} rows and '{matrices[0].name}' {matrices[0].shape[0]:,}; "
                "save layers of the same rows, or add 'ids' to select the arrays with one row for every id",
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
    """The first layer with the name of its file or folder, for messages about ids."""
    return _named(space.with_ids(space.ids), path)


def _ordered(space: Space, order: np.ndarray | None) -> Space:
    """The rows of a layer that the pairing of the first layer kept, in its order."""
    return space if order is None else space.select(order)
