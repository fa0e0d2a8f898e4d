"""The reader of each file extension."""

from __future__ import annotations

import os

import numpy as np

from manifold_probe.spaces.arrow_file import open_ipc, open_parquet
from manifold_probe.spaces.checks import bad, check_file
from manifold_probe.spaces.columns import pick_column
from manifold_probe.spaces.contents import Contents
from manifold_probe.spaces.faiss_file import open_faiss
from manifold_probe.spaces.hdf5_file import open_hdf5
from manifold_probe.spaces.json_file import open_json, open_json_lines
from manifold_probe.spaces.lines import read_lines
from manifold_probe.spaces.numpy_file import open_npy, open_npz
from manifold_probe.spaces.safetensors_file import open_safetensors
from manifold_probe.spaces.text_table import open_table, read_text_columns
from manifold_probe.spaces.torch_file import open_torch

READERS = {
    ".pt": open_torch,
    ".pth": open_torch,
    ".npy": open_npy,
    ".npz": open_npz,
    ".safetensors": open_safetensors,
    ".parquet": open_parquet,
    ".arrow": open_ipc,
    ".feather": open_ipc,
    ".ipc": open_ipc,
    ".csv": open_table,
    ".tsv": open_table,
    ".txt": open_table,
    ".jsonl": open_json_lines,
    ".ndjson": open_json_lines,
    ".json": open_json,
    ".h5": open_hdf5,
    ".hdf5": open_hdf5,
    ".faiss": open_faiss,
    ".index": open_faiss,
}


def open_file(path: str) -> Contents:
    """The contents of a file, opened by the reader of its extension.

    Raises
    ------
    InputError
        If there is no such file, it is empty or damaged, or its extension is not in `READERS`.
    """
    check_file(path)
    suffix = os.path.splitext(path)[1].lower()
    if suffix in (".pkl", ".pickle"):
        raise bad(path, "is a pickle, which runs code when it is opened; save the array with np.save or torch.save")
    if suffix in (".gz", ".bz2", ".xz", ".zst", ".zip"):
        raise bad(path, f"is compressed; unpack it first and give {os.path.splitext(os.path.basename(path))[0]}")
    if suffix not in READERS:
        extension = f"extension '{suffix}'" if suffix else "no extension"
        raise bad(path, f"has {extension}; give one of {', '.join(READERS)}, or a folder with manifest.json")
    return READERS[suffix](path)


def read_column_file(
    path: str, key: str | None, names: tuple[str, ...], default: str, n: int | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """One value per row and the ids in the same file, from a file of any format or a .txt with one value per line.

    ``n`` is the expected number of rows, if known: it shows whether a text file has a header.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix in (".csv", ".tsv", ".txt"):
        check_file(path)
        lines = suffix == ".txt" and key is None
        return (read_lines(path, default, n), None) if lines else read_text_columns(path, key, names, default, n)
    return pick_column(open_file(path), key, names, default)
