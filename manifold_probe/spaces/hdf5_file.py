"""Reading .h5 and .hdf5 (extra ``formats``): datasets at the root or up to two groups down, or one dataset per image.

No other file is read: external links, external storage and virtual datasets are refused. A contiguous dataset is
memory-mapped; a chunked one is decoded block by block.
"""

from __future__ import annotations

import math
import mmap
import os
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from manifold_probe.errors import to_install
from manifold_probe.spaces.checks import bad, check_inflation, refusing
from manifold_probe.spaces.contents import RESERVED, Contents, Entry
from manifold_probe.spaces.spool import gather
from manifold_probe.spaces.values import entries_of, one_a_row

REFERENCE = np.dtype([("length", "<u4"), ("heap", "<u8"), ("item", "<u4")])
BLOCK_BYTES = 16 * 2**20
MAX_DEPTH = 2  # groups
MAX_DATASETS = 100  # whose attributes are read


def open_hdf5(path: str) -> Contents:
    """The datasets of an HDF5 file, named by their path in it ("features", "layer4/features")."""
    h5py = _library(path)
    with refusing(path, "an HDF5 file"), h5py.File(path, "r") as file:
        entries = one_a_row(list(_entries(path, file)))
    if not entries:
        raise bad(path, "holds no datasets at its root or up to two groups down; write one: file['features'] = x")
    return Contents(path, "hdf5", {entry.name: entry for entry in entries})


def _library(path: str) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise bad(path, f"needs h5py to be read: {to_install('formats')}") from error
    return h5py


def _entries(path: str, group: Any, prefix: str = "") -> Iterator[Entry]:
    h5py = _library(path)
    for key in group:
        name = f"{prefix}{key}"
        link = group.get(key, getlink=True)
        if not isinstance(link, h5py.HardLink):  # a soft link may lead through an external one
            kind = "an external link" if isinstance(link, h5py.ExternalLink) else "a soft link"
            yield Entry(name, (), "link", list, f"is {kind}, which is not followed: copy the dataset into the file")
            continue
        item = group[key]
        if isinstance(item, h5py.Dataset):
            yield _entry(path, name, item)
        elif isinstance(item, h5py.Group) and key in RESERVED:
            yield Entry(name, (), "group", list, "is a group: write one dataset of one value per row")
        elif isinstance(item, h5py.Group) and prefix.count("/") < MAX_DEPTH:
            yield from _entries(path, item, f"{name}/")
    yield from _attributes(group, prefix)


def _attributes(group: Any, prefix: str) -> Iterator[Entry]:
    """Ids and labels stored as attributes of the group or of one of its datasets."""
    h5py = sys.modules["h5py"]
    links = [key for key in group if isinstance(group.get(key, getlink=True), h5py.HardLink)]
    holders = [group, *(group[key] for key in links if group.get(key, getclass=True) is h5py.Dataset)]
    for key in RESERVED:
        values = [holder.attrs[key] for holder in holders[:MAX_DATASETS] if key in holder.attrs]
        if values and key not in group:
            yield from entries_of({f"{prefix}{key}": values[0]}).values()


def _entry(path: str, name: str, dataset: Any) -> Entry:
    h5py = _library(path)
    problem = None
    if dataset.is_virtual:
        problem = "is a virtual dataset, whose data is in other files: copy the data into this file"
    elif dataset.external:
        problem = "is stored in an external file: copy the data into this file"
    elif dataset.shape is None:
        problem = "is an empty dataset"
    text = h5py.check_string_dtype(dataset.dtype) is not None
    dtype = "str" if text else dataset.dtype.name
    return Entry(name, tuple(dataset.shape or ()), dtype, partial(_opened, path, name), problem)


def _opened(path: str, name: str) -> np.ndarray:
    h5py = _library(path)
    with refusing(path, "an HDF5 file"), h5py.File(path, "r") as file:
        dataset = file[name]
        shape, dtype = dataset.shape, dataset.dtype
        size = math.prod(shape) * dtype.itemsize
        check_inflation(path, f"key '{name}'", size, os.path.getsize(path))
        _check_written(path, name, dataset)
        offset = dataset.id.get_offset()
        if h5py.check_string_dtype(dtype) is not None:
            by_hand = offset is not None and h5py.check_string_dtype(dtype).length is None
            return _strings(path, dataset) if by_hand else np.asarray(dataset.asstr()[()])
        if offset is not None and size:
            return np.memmap(path, dtype, "r", offset, shape)
        step = max(1, BLOCK_BYTES // max(1, size // max(1, shape[0])))
        blocks = (dataset[start : start + step] for start in range(0, shape[0], step))
        return gather(blocks, shape, dtype, path)


def _check_written(path: str, name: str, dataset: Any) -> None:
    # HDF5 reads unwritten data as zeros without an error.
    if dataset.chunks is not None:
        expected = math.prod(-(-length // chunk) for length, chunk in zip(dataset.shape, dataset.chunks, strict=True))
        written = dataset.id.get_num_chunks()
    else:
        expected, written = dataset.size, dataset.size if dataset.id.get_storage_size() else 0
    if written < expected:
        raise bad(path, f"key '{name}' was only partly written ({written:,} of {expected:,}); write it again")


def _strings(path: str, dataset: Any) -> np.ndarray:
    """Contiguous text of variable length (as h5py writes a list), read from its heaps without the library.

    The library trusts every size in a damaged heap, and may then take minutes or gigabytes, or never end.
    """
    references = np.memmap(path, REFERENCE, "r", dataset.id.get_offset(), dataset.shape)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        heaps = {address: _heap(data, address) for address in np.unique(references["heap"]).tolist() if address}
    texts = [heaps[heap][item][:length] if length else b"" for length, heap, item in references.ravel().tolist()]
    return np.array([text.decode() for text in texts], dtype=object).reshape(dataset.shape)


def _heap(data: mmap.mmap, address: int) -> dict[int, bytes]:
    """The items of the global heap at ``address``: a header of 16 bytes per item, then its bytes, padded to eight."""
    end = address + int.from_bytes(data[address + 8 : address + 16], "little")
    if data[address : address + 4] != b"GCOL" or end > len(data):
        raise ValueError("a string heap is damaged")
    items = {}
    at = address + 16
    while at + 16 <= end:
        item, size = int.from_bytes(data[at : at + 2], "little"), int.from_bytes(data[at + 8 : at + 16], "little")
        if item == 0:  # the free space at the end
            break
        if at + 16 + size > end:
            raise ValueError("a string ends outside its heap")
        items[item] = data[at + 16 : at + 16 + size]
        at += 16 + -(-size // 8) * 8
    return items
