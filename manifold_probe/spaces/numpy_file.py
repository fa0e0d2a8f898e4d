"""Reading .npy (memory-mapped) and .npz (member by member).

An uncompressed member of an .npz is memory-mapped inside the archive; a compressed one is unpacked in blocks. Every
header is compared with the size of the file before memory is allocated.
"""

from __future__ import annotations

import io
import math
import os
import struct
import zipfile
from collections.abc import Iterator
from functools import partial
from typing import IO, Any

import numpy as np

from manifold_probe.spaces.checks import bad, check_inflation, refusing
from manifold_probe.spaces.contents import Contents, Entry, type_name
from manifold_probe.spaces.spool import gather
from manifold_probe.spaces.values import one_a_row

UNPACK_BYTES = 16 * 2**20
OBJECTS = "is an object array: save a plain array (text as x.astype(str); rows of different lengths cannot be features)"
PICKLED = "is an object array, a pickled dict or list, which is not opened"


def open_npy(path: str) -> Contents:
    """The array of a .npy file, as entry "features"."""
    with refusing(path, "a .npy array"):
        with open(path, "rb") as file:
            if file.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
                raise bad(
                    path,
                    "has no .npy header; if it holds raw numbers, as np.memmap and tofile write them, add one: "
                    f"np.save('new.npy', np.fromfile({path!r}, 'float32').reshape(n, d)), with their type, n and d",
                )
            file.seek(0)
            shape, fortran, dtype = _header(file)
            offset = file.tell()
        if dtype.hasobject and not shape:
            fix = f"np.savez('new.npz', **np.load({path!r}, allow_pickle=True).item())"
            raise bad(path, f"{PICKLED}; save its arrays by name: {fix}")
        _check_size(path, shape, dtype, os.path.getsize(path) - offset)
        opened = partial(mapped, path, offset, shape, fortran, dtype)
        return Contents(path, "npy", {"features": _entry("features", shape, dtype, opened)})


def open_npz(path: str) -> Contents:
    """The arrays of an .npz archive, which are opened only when they are chosen."""
    with refusing(path, "an .npz archive"), zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
        entries = one_a_row([_member_entry(path, archive, member) for member in members])
    if not entries:
        raise bad(path, "holds no arrays; write it with np.savez(path, features=x)")
    return Contents(path, "npz", {entry.name: entry for entry in entries})


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if version == (3, 0):  # version 2 in UTF-8, for field names outside latin-1
        reader, length = np.lib.format.read_array_header_2_0, file.read(4)
        file = io.BytesIO(length + file.read(int.from_bytes(length, "little")).decode().encode("latin-1"))
    if reader is None:
        raise ValueError(f"format version {version}")
    shape, fortran, dtype = reader(file)
    if any(length < 0 for length in shape):
        raise ValueError(f"shape {shape}")
    return shape, fortran, dtype


def _entry(name: str, shape: tuple[int, ...], dtype: np.dtype, opened: Any) -> Entry:
    problem = (OBJECTS if shape else f"{PICKLED}: save its arrays by name") if dtype.hasobject else None
    if dtype.names is not None:
        problem = f"is a structured array with fields {', '.join(dtype.names[:8])}: stack them into one (n, d) array"
    return Entry(name, shape, type_name(dtype), opened, problem)


def _check_size(path: str, shape: tuple[int, ...], dtype: np.dtype, stored: int) -> None:
    if dtype.hasobject:
        return
    needed = math.prod(shape) * dtype.itemsize
    if stored < needed:
        raise bad(path, f"is cut short: {shape} {dtype.name} needs {needed:,} bytes, it has {stored:,}; copy it again")
    if stored > needed:
        raise bad(path, f"has {stored - needed:,} bytes after its array; was np.save called twice on one file?")


def mapped(path: str, offset: int, shape: tuple[int, ...], fortran: bool, dtype: np.dtype) -> np.ndarray:
    """An array at an offset of a file, memory-mapped."""
    if math.prod(shape) == 0:
        return np.empty(shape, dtype)
    with refusing(path, "a numpy array"):
        return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")


def _member_entry(path: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Entry:
    name = member.filename.removesuffix(".npy")
    where = f"{path}::{name}"
    with archive.open(member) as file:
        shape, fortran, dtype = _header(file)
        start = file.tell()
    check_inflation(path, f"key '{name}'", member.file_size, member.compress_size)
    _check_size(where, shape, dtype, member.file_size - start)
    if member.compress_type == zipfile.ZIP_STORED:
        offset = _data_offset(path, member) + start
        _check_size(where, shape, dtype, min(member.file_size - start, os.path.getsize(path) - offset))
        return _entry(name, shape, dtype, partial(mapped, path, offset, shape, fortran, dtype))
    return _entry(name, shape, dtype, partial(_unpacked, path, member, start, shape, fortran, dtype))


def _data_offset(path: str, member: zipfile.ZipInfo) -> int:
    # The local header has another extra field than the directory, so its length must be read.
    with open(path, "rb") as file:
        file.seek(member.header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
    return int(member.header_offset + 30 + name + extra)


def _unpacked(
    path: str, member: zipfile.ZipInfo, start: int, shape: tuple[int, ...], fortran: bool, dtype: np.dtype
) -> np.ndarray:
    size = math.prod(shape)
    with refusing(path, "an .npz archive"), zipfile.ZipFile(path) as archive, archive.open(member) as file:
        file.read(start)
        flat = gather(_values(file, dtype, size), (size,), dtype, path)
        if len(flat) != size:
            raise ValueError(f"{member.filename} ends early")
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _values(file: IO[bytes], dtype: np.dtype, size: int) -> Iterator[np.ndarray]:
    step = max(1, UNPACK_BYTES // max(1, dtype.itemsize))
    for at in range(0, size, step):
        yield np.frombuffer(file.read(min(step, size - at) * dtype.itemsize), dtype)
    if file.read(1):  # zipfile compares the checksum only at the end
        raise ValueError("more bytes than the header states")
