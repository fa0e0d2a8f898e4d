"""A Space from a path or an object in memory: ``read("t.pt")``, ``read("t.npz::layer4")``, ``as_space(array)``."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.spaces.bits import SUFFIX
from manifold_probe.spaces.checks import bad
from manifold_probe.spaces.choose import choose_features
from manifold_probe.spaces.columns import attached, id_candidate, ids_among, pick_column
from manifold_probe.spaces.contents import IN_MEMORY_FORMATS, Contents
from manifold_probe.spaces.folder import file_sha256, open_folder, shard_files
from manifold_probe.spaces.formats import open_file, read_column_file
from manifold_probe.spaces.frame import frame_contents
from manifold_probe.spaces.indexes import index_files, index_reader
from manifold_probe.spaces.labels import is_labelled, marked
from manifold_probe.spaces.qdrant_store import is_address
from manifold_probe.spaces.space import Source, Space
from manifold_probe.spaces.tokens import as_rows, check_rows, token_ids
from manifold_probe.spaces.values import entries_of


def split_key(path: str) -> tuple[str, str | None]:
    """ "t.npz::a" as ("t.npz", "a"), "t.npy?bits" as ("t.npy", "?bits"); unless a file of that name exists."""
    if os.path.exists(path):
        return path, None
    if "::" in path:
        file, _, key = path.rpartition("::")
        return file, key
    return (path.removesuffix(SUFFIX), SUFFIX) if path.endswith(SUFFIX) else (path, None)


def open_contents(path: str, key: str | None = None) -> Contents:
    """The contents of a file, a folder of shards or an index; ``key`` is the features' key in shards and indexes."""
    if (reader := index_reader(path)) is not None:
        return reader(path, key)
    return open_folder(path, key) if os.path.isdir(path) else open_file(path)


def _takes_key(path: str) -> bool:
    """Whether `open_contents` uses the key, so that the features are then called "features"."""
    return os.path.isdir(path) or index_reader(path) is not None


def _files(path: str) -> list[str]:
    """The files of a path, in a fixed order; none of a server."""
    if index_reader(path) is not None:
        return index_files(path)
    return shard_files(path) if os.path.isdir(path) else [path]


def read(path: str, key: str | None = None, labelled: bool = True, rows: str | None = None) -> Space:
    """The features in a file or folder, with the ids and labels stored with them.

    A .pt, .npz, HDF5 or safetensors file holds one matrix, or several under keys with the columns "ids" (or "id") and
    "labels" (or "label"), or one vector per item under its id. In a .pt file a list of batches, rows or values counts
    as an array. A key called ids, labels or logits that cannot be used is an error.

    Parameters
    ----------
    path : str
        A feature file or a folder with ``manifest.json``; "file::key" names the array in it, and "file::key?bits" (or
        "file?bits") the packed bits of a byte array, as rows of -1 and 1. Or an index: a FAISS file, the folder of
        LanceDB, Chroma, Qdrant or ``datasets``, the address of a Qdrant server; "index::name" is a table or collection.
    key : str, optional
        The array, as an alternative to "::key". By default "features", else the only matrix that is not reserved.
    labelled : bool
        Read the labels too.

    rows : str, optional
        How sets of vectors (n, N, d) become rows: "tokens" (each token is a row, with the id "ID#index" and the label
        of its set), "cls" (the first token of each set) or "mean" (the mean of its tokens).

    Raises
    ------
    InputError
        For anything that cannot be used, in one line with the file, the key and the fix.
    """
    file, key_in_path = split_key(path)
    key = key or key_in_path
    if not _takes_key(file):
        return _space(open_contents(file, key), key, path, labelled, rows=rows)
    space = _space(open_contents(file, key), None, path, labelled, rows=rows)
    space.source = replace(space.source, key=key or space.source.key)
    return space


def _space(
    contents: Contents,
    key: str | None,
    name: str,
    labelled: bool = True,
    fewest: int = 2,
    rows: str | None = None,
) -> Space:
    check_rows(rows)
    entry = choose_features(contents, key, fewest, sets=rows is not None)
    n = entry.shape[0]
    ids, labels = attached(contents, entry.name, n, labelled)
    candidate = id_candidate(contents, entry.name, n) if ids is None else None
    source = Source(contents.path, entry.name, contents.format, candidate, entry.left_out, lost=entry.lost)
    if contents.format in IN_MEMORY_FORMATS:
        source = Source(id_candidate=candidate, columns_left=entry.left_out)
    if rows == "tokens":
        if len(entry.shape) != 3:
            what = f"key '{entry.name}' has shape {entry.shape}: --rows tokens needs (n, N, d)"
            raise bad(contents.path, f"{what}; extract them with --pool tokens, or leave --rows out")
        source = replace(source, tokens=entry.shape[1])
        ids = None if ids is None else token_ids(ids, entry.shape[1])
        labels = None if labels is None else np.repeat(labels, entry.shape[1])
    if rows is not None:
        entry = as_rows(entry, rows)
    return Space(entry.open(), ids=ids, labels=labels, name=name, source=source)


def as_space(data: Any, name: str = "array", labelled: bool = True, fewest: int = 2, rows: str | None = None) -> Space:
    """A Space from any object that holds features.

    Parameters
    ----------
    data
        - a path, as in `read`, or a Space, which is returned unchanged;
        - an (n, d) array or tensor, including NumPy's subclasses (a masked array only without masked entries);
        - a list of rows, of batches (n_i, d), or of records ``[{"id": ..., "embedding": [...]}, ...]``;
        - a dict ``{"features": x, "ids": ids, "labels": y}`` or one with other keys, chosen as in a file;
        - a dict ``{id: vector}``;
        - a DataFrame: a column of vectors, or columns that are dimensions (see `choose_dimensions`); ids are its
          column "ids" or "id", else an index other than 0..n-1; a Series of vectors; anything with ``to_pandas``.
    name : str
        Its name in messages.
    labelled : bool
        Read its labels.
    fewest : int
        The required number of rows.
    rows : str, optional
        As in `read`.

    Raises
    ------
    InputError
        For anything else, with ``name``, the key, its type and the fix.

    Examples
    --------
    >>> as_space(np.eye(3)).d
    3
    >>> as_space({"features": [[0.0, 1.0], [2.0, 3.0]], "ids": ["a", "b"]}).ids.tolist()
    ['a', 'b']
    >>> as_space({"a.jpg": np.ones(4), "b.jpg": np.ones(4), "c.jpg": np.ones(4)}).n
    3
    """
    if isinstance(data, Space):
        return data
    if isinstance(data, str | Path):
        return read(str(data), labelled=labelled, rows=rows)
    pandas = sys.modules.get("pandas")
    if hasattr(data, "to_pandas"):
        data = data.to_pandas()
    if pandas is not None and isinstance(data, pandas.DataFrame | pandas.Series):
        return _space(frame_contents(data, name), None, name, labelled, fewest, rows)
    entries = entries_of(data)
    if not entries:
        keys = f" ({', '.join(map(str, list(data)[:4]))})" if isinstance(data, Mapping) else ""
        raise bad(
            name,
            f"is a {type(data).__name__}{keys}; give a path, an (n, d) array, a tensor, a DataFrame, a Space, or a "
            "dict {'features': x, 'ids': ids}",
        )
    return _space(Contents(name, "array", entries), None, name, labelled, fewest, rows)


def sha256(path: str) -> str:
    """The hash of a file's bytes; of a folder, of its manifest and its shards in the manifest's order,
    or of all files of an index. Of a server's address, of its rows: it has no files here."""
    file, _ = split_key(path)
    return rows_sha256(read(path)) if is_address(file) else file_sha256(_files(file))


def rows_sha256(space: Space) -> str:
    """The hash of the rows of a space."""
    digest = hashlib.sha256()
    for _, rows in space.blocks():
        digest.update(rows.tobytes())
    return digest.hexdigest()


def inspect(path: str) -> dict[str, Any]:
    """A facts of a file's contents, as plain values.

    Returns
    -------
    dict
        ``path``, ``format``, ``bytes``, ``sha256``, ``keys`` (a list of {key, shape, dtype, problem}), ``features``
        (key, shape, dtype, ``columns`` and ``columns_left`` of a wide table, nan, inf, zero_rows, norms and range),
        ``ids`` (count, type, unique, first), ``id_candidate`` (a column that may hold ids, if there are none) and
        ``labels`` (count, type, classes), None if there are none. ``problem`` states why the features or ids cannot be
        used, or is None: a file with a problem can still be described.

    Raises
    ------
    InputError
        If the file cannot be read at all.
    """
    file, key = split_key(path)
    contents = open_contents(file, key)
    files = _files(file)
    facts: dict[str, Any] = {
        "path": path,
        "format": contents.format,
        "bytes": sum(os.path.getsize(part) for part in files),
        "sha256": sha256(path),
        "keys": [
            {"key": entry.name, "shape": list(entry.shape), "dtype": entry.dtype, "problem": entry.problem}
            for entry in contents.entries.values()
            if entry.name not in _dimensions_of(contents)
        ],
        "features": None,
        "ids": None,
        "id_candidate": None,
        "labels": None,
        "problem": None,
    }
    try:
        space = _space(contents, None if _takes_key(file) else key, path)
    except InputError as error:
        return facts | {"problem": str(error)}
    key = space.source.key or ""
    facts["features"] = {"key": key, "shape": [space.n, space.d], "dtype": space.dtype}
    facts["features"] |= {"columns": list(contents.entries[key].columns), "columns_left": space.source.columns_left}
    facts["features"] |= _statistics(space)
    facts["id_candidate"] = space.source.id_candidate
    if space.ids is not None:
        unique = len(np.unique(space.ids)) == space.n
        facts["ids"] = {"count": space.n, "type": _kind(space.ids), "unique": unique, "first": space.ids[:3].tolist()}
    if space.labels is not None:
        labels = marked(space.labels)
        present = labels[is_labelled(labels)]
        classes = len(np.unique(present))
        facts["labels"] = {"count": len(present), "type": _kind(space.labels), "classes": classes}
    return facts


def _dimensions_of(contents: Contents) -> set[str]:
    """The columns that are part of a matrix entry."""
    return {column for entry in contents.entries.values() for column in entry.columns}


def _kind(column: np.ndarray) -> str:
    return "string" if column.dtype.kind == "U" else "integer"


def _statistics(space: Space) -> dict[str, Any]:
    """Counts, norms and range in one pass; norms and range leave out rows with NaN or Inf."""
    nan = inf = 0
    low, high = np.inf, -np.inf
    norms = []
    for _, block in space.blocks():
        nan, inf = nan + int(np.isnan(block).sum()), inf + int(np.isinf(block).sum())
        block = block[np.isfinite(block).all(axis=1)].astype(np.float64)
        if len(block):
            low, high = min(low, float(block.min())), max(high, float(block.max()))
            norms.append(np.sqrt(np.einsum("ij,ij->i", block, block)))
    lengths = np.concatenate(norms) if norms else np.zeros(0)
    summary = {"min": lengths.min(), "median": np.median(lengths), "max": lengths.max()} if norms else {}
    return {
        "nan": nan,
        "inf": inf,
        "zero_rows": int((lengths == 0).sum()),
        "norms": {name: float(value) for name, value in summary.items()} or None,
        "range": {"min": low, "max": high} if norms else None,
    }


def read_column(
    path: str, names: tuple[str, ...], default: str, n: int | None = None, known: Any = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """One value per row, from a file of any format or a .txt with one value per line, and the ids in the same file.

    Parameters
    ----------
    path : str
        The file, "::key" picks the column.
    names : tuple of str
        The keys to try if none is given, such as ("labels", "label").
    default : str
        The kind of column, "ids" or "labels": it decides which values are allowed, and names the column in messages.
    n : int, optional
        The expected number of rows: with one more line, the first line of a text file is its header.
    known : sequence, optional
        Ids of the rows: if no column is called ids, the column that holds them is used.

    Returns
    -------
    values : np.ndarray, shape (n,)
    ids : np.ndarray, shape (n,), or None

    Raises
    ------
    InputError
        If there is no such column or it is not one integer or string per row.
    """
    file, key = split_key(path)
    if _takes_key(file):
        return pick_column(open_contents(file), key, names, default)
    values, ids = read_column_file(file, key, names, default, n)
    if ids is None and known is not None and not file.lower().endswith(".txt"):
        ids = ids_among(open_file(file), key or default, len(values), known)
    return values, ids
