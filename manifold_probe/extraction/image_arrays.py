"""Images as rows of one array: .npz archives, and the idx files of MNIST and similar data sets.

Unless the archive holds ids, they are made from the pixels: see `content_names`.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import IO, Any

import numpy as np
from PIL import Image

from manifold_probe.extraction.images import MAX_PIXELS, from_array
from manifold_probe.extraction.items import Data, Unreadable, content_names, make_data
from manifold_probe.spaces.checks import bad, check_file, check_inflation, refusing
from manifold_probe.spaces.columns import open_column
from manifold_probe.spaces.contents import ID_NAMES, LABEL_NAMES, Contents
from manifold_probe.spaces.numpy_file import open_npz
from manifold_probe.spaces.spool import gather

CHUNK_BYTES = 16 * 2**20


def open_npz_images(source: str, path: str, key: str, ids: str | None, labels: str | None) -> Data:
    """The images (N, H, W) or (N, H, W, 3) uint8 at ``key``, with the ids and labels in the same archive.

    Memory-mapped if the archive is not compressed, else unpacked once in each process. Raises InputError for anything
    else.
    """
    contents = open_npz(path)
    if key not in contents.entries:
        raise bad(path, f"has no key '{key}'; it holds {contents.listing()}; pick the images with {path}::KEY")
    entry = contents.entries[key]
    _check_images(f"{path}::{key}", entry.shape, entry.dtype)
    images = _array(path, key, _stamp(path))
    names = _column(contents, key, ids, ID_NAMES, "ids", len(images))
    return make_data(
        "images",
        source,
        content_names(map(_bytes, images)) if names is None else names.astype(str),
        _column(contents, key, labels, LABEL_NAMES, "labels", len(images)),
        {},
        partial(_read, path, key, _stamp(path)),
        partial(_row_bytes, path, key, _stamp(path)),
    )


def open_idx_images(source: str, path: str) -> Data:
    """The images of an idx3 file, plain or .gz, with the labels of the matching idx1 file, if there is one.

    "train-images-idx3-ubyte.gz" matches "train-labels-idx1-ubyte", with or without .gz. Plain files are memory-mapped,
    others unpacked once in each process. Raises InputError for damaged files and unequal lengths.
    """
    images = _array(path, "", _stamp(path))
    _check_images(path, images.shape, "uint8")
    folder, name = os.path.split(path)
    labels_name = name.removesuffix(".gz").replace("idx3", "idx1").replace("images", "labels")
    paths = [file for end in ("", ".gz") if os.path.exists(file := os.path.join(folder, labels_name + end))]
    labels = None
    if paths and labels_name != name:
        check_file(paths[0])
        labels = read_idx(paths[0], 1).astype(np.int64)
        if len(labels) != len(images):
            raise bad(
                paths[0], f"holds {len(labels):,} labels for {len(images):,} images; give the file of the same set"
            )
    ids = content_names(map(_bytes, images))
    readers = partial(_read, path, "", _stamp(path)), partial(_row_bytes, path, "", _stamp(path))
    return make_data("images", source, ids, labels, {}, *readers)


def read_idx(path: str, axes: int) -> np.ndarray:
    """The unsigned bytes in an idx file with ``axes`` axes (the format is described on the MNIST page).

    Raises InputError if the header is wrong, or the file is too short or too long.
    """
    with refusing(path, "an idx file"):
        packed = path.lower().endswith(".gz")
        with gzip.open(path) if packed else open(path, "rb") as file:
            head = file.read(4 + 4 * axes)
            if len(head) < 4 + 4 * axes or head[:4] != bytes((0, 0, 8, axes)):
                raise bad(path, f"does not start as an idx file of unsigned bytes with {axes} axes; check the download")
            shape = struct.unpack(f">{axes}I", head[4:])
            size = math.prod(shape)
            if not packed:
                _check_length(path, size, os.path.getsize(path) - len(head))
                return np.memmap(path, np.uint8, "r", len(head), shape) if size else np.zeros(shape, np.uint8)
            check_inflation(path, "its header", size, os.path.getsize(path))
            flat = gather(_chunks(file, size), (size,), "uint8", path)
            _check_length(path, size, len(flat) + len(file.read(1)))
            return flat.reshape(shape)


def _chunks(file: IO[bytes] | Any, size: int) -> Iterator[np.ndarray]:
    while size and (chunk := file.read(min(CHUNK_BYTES, size))):
        size -= len(chunk)
        yield np.frombuffer(chunk, np.uint8)


def _check_length(path: str, expected: int, stored: int) -> None:
    if stored < expected:
        raise bad(path, f"is cut short: its header states {expected:,} bytes, it has {stored:,}; copy it again")
    if stored > expected:
        raise bad(path, f"has more than the {expected:,} bytes that its header states; copy it again")


def _check_images(where: str, shape: tuple[int, ...], dtype: str) -> None:
    if dtype != "uint8":
        raise bad(where, f"is {dtype}: images are uint8 in 0..255; scale and convert it")
    if len(shape) not in (3, 4) or shape[3:] not in ((), (3,)):
        raise bad(where, f"has shape {shape}: images are (N, H, W) or (N, H, W, 3); move the axes")
    if not 0 < shape[1] * shape[2] <= MAX_PIXELS:
        raise bad(where, f"has shape {shape}: images have 1 to {MAX_PIXELS:,} pixels; check the array")


def _column(
    contents: Contents, images: str, key: str | None, names: tuple[str, ...], role: str, n: int
) -> np.ndarray | None:
    if key is not None and key not in contents.entries:
        raise bad(contents.path, f"has no key '{key}' for the {role}; it holds {contents.listing()}")
    entry = contents.entries[key] if key is not None else contents.find(names, images)
    return None if entry is None else open_column(contents, entry.name, role, n)


def _bytes(pixels: np.ndarray) -> bytes:
    return pixels.tobytes()


def _stamp(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=8)
def _array(path: str, key: str, stamp: tuple[int, int]) -> np.ndarray:
    """The array, opened once in each process: only its name is sent between processes."""
    return np.asarray(open_npz(path).entries[key].open()) if key else read_idx(path, 3)


def _read(path: str, key: str, stamp: tuple[int, int], row: int, id: str) -> tuple[Image.Image, bytes]:
    pixels = _row(path, key, stamp, row, id)
    return from_array(pixels), pixels.tobytes()


def _row_bytes(path: str, key: str, stamp: tuple[int, int], row: int, id: str) -> bytes:
    return _row(path, key, stamp, row, id).tobytes()


def _row(path: str, key: str, stamp: tuple[int, int], row: int, id: str) -> np.ndarray:
    try:
        if _stamp(path) != stamp:  # memory-mapped rows would change
            raise Unreadable(id, f"{os.path.basename(path)} was changed after it was opened; start again")
    except OSError as error:
        raise Unreadable(id, f"{os.path.basename(path)} is no longer there") from error
    return np.ascontiguousarray(_array(path, key, stamp)[row])
