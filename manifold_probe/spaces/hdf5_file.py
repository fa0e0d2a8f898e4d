"""Reading .h5 and .hdf5 (extra ``formats``): datasets at the root or one group down.

Nothing outside the file is followed: external links, external storage and virtual datasets are refused. A contiguous
dataset is memory-mapped where it lies; a chunked one is decoded block by block.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from manifold_probe.spaces.checks import bad, check_inflation, refusing
from manifold_probe.spaces.contents import Contents, Entry
from manifold_probe.spaces.spool import gather

BLOCK_BYTES = 16 * 2**20


def open_hdf5(path: str) -> Contents:
    """The datasets of an HDF5 file, called by their path in it ("features", "layer4/features")."""
    h5py = _library(path)
    with refusing(path, "an HDF5 file"), h5py.File(path, "r") as file:
        entries = {entry.name: entry for entry in _entries(path, file)}
    if not entries:
        raise bad(path, "holds no datasets at its root or one group down")
    return Contents(path, "hdf5", entries)


def _library(path: str) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise bad(path, "needs h5py to be read: pip install 'manifold_probe[formats]'") from error
    return h5py


def _entries(path: str, group: Any, prefix: str = "") -> Iterator[Entry]:
    h5py = _library(path)
    for key in group:
        name = f"{prefix}{key}"
        link = group.get(key, getlink=True)
        if not isinstance(link, h5py.HardLink):  # a soft link may lead through an external one
            words = "is an external link" if isinstance(link, h5py.ExternalLink) else "is a soft link"
            yield Entry(name, (), "link", list, f"{words}, which is not followed: copy the dataset into the file")
            continue
        item = group[key]
        if isinstance(item, h5py.Dataset):
            yield _entry(path, name, item)
        elif isinstance(item, h5py.Group) and not prefix:
            yield from _entries(path, item, f"{name}/")


def _entry(path: str, name: str, dataset: Any) -> Entry:
    h5py = _library(path)
    problem = None
    if dataset.is_virtual:
        problem = "is a virtual dataset, which lives in other files: copy the data into this one"
    elif dataset.external:
        problem = "is stored in an external file: copy the data into this one"
    elif dataset.shape is None:
        problem = "is an empty dataset"
    text = h5py.check_string_dtype(dataset.dtype) is not None
    dtype = "str" if text else dataset.dtype.name
    return Entry(name, tuple(dataset.shape or ()), dtype, partial(_opened, path, name), problem)


def _opened(path: str, name: str) -> np.ndarray:
    h5py = _library(path)
    with refusing(path, "an HDF5 file"), h5py.File(path, "r") as file:
        dataset = file[name]
        if h5py.check_string_dtype(dataset.dtype) is not None:
            return np.asarray(dataset.asstr()[()])
        shape, dtype = dataset.shape, dataset.dtype
        offset = dataset.id.get_offset()
        if offset is not None and math.prod(shape):
            return np.memmap(path, dtype, "r", offset, shape)
        size = math.prod(shape) * dtype.itemsize
        check_inflation(path, f"key '{name}'", size, os.path.getsize(path))
        step = max(1, BLOCK_BYTES // max(1, size // max(1, shape[0])))
        blocks = (dataset[start : start + step] for start in range(0, shape[0], step))
        return gather(blocks, shape, dtype, path)
