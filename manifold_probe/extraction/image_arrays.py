"""Images that are rows of one array: .npz archives, and the idx files in which MNIST and its kin are published.

Such rows have no names. Unless the archive holds ids, they are made from the pixels: see `content_names`.
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

from manifold_probe.extraction.images import MOST_PIXELS, from_array
from manifold_probe.extraction.items import Data, Unreadable, content_names, make_data
from manifold_probe.spaces.checks import bad, check_file, check_inflation, refusing
from manifold_probe.spaces.columns import open_column
from manifold_probe.spaces.contents import ID_NAMES, LABEL_NAMES, Contents
from manifold_probe.spaces.numpy_file import open_npz
from manifold_probe.spaces.spool import gather

CHUNK = 16 * 2**20


def open_npz_images(source: str, path: str, key: str, ids: str | None, labels: str | None) -> Data:
    """The images (N, H, W) or (N, H, W, 3) uint8 at ``key``, with the ids and labels in the same archive.

    Memory-mapped where the archive is not compressed, else unpacked once in each process. Raises InputError for
    anything else.
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
    """The images of an idx3 file, plain or .gz, with the labels of its idx1 neighbour where there is one.

    The neighbour of "train-images-idx3-ubyte.gz" is "train-labels-idx1-ubyte", with or without .gz. Plain files are
    memory-mapped, the others unpacked once in each process. Raises InputError for damaged files and unequal lengths.
    """
    images = _array(path, "", _stamp(path))
    _check_images(path, images.shape, "uint8")
    folder, name = os.path.split(path)
    beside = name.removesuffix(".gz").replace("idx3", "idx1").replace("images", "labels")
    found = [file for end in ("", ".gz") if os.path.exists(file := os.path.join(folder, beside + end))]
    labels = None
    if found and beside != name:
        check_file(found[0])
        labels = read_idx(found[0], 1).astype(np.int64)
        if len(labels) != len(images):
            raise bad(
                found[0], f"holds {len(labels):,} labels for {len(images):,} images; give the file of the same set"
            )
    ids = content_names(map(_bytes, images))
    readers = partial(_read, path, "", _stamp(path)), partial(_row_bytes, path, "", _stamp(path))
    return make_data("images", source, ids, labels, {}, *readers)


def read_idx(path: str, axes: int) -> np.ndarray:
    """The unsigned bytes in an idx file of that many axes (the format is described on the MNIST page).

    Raises InputError when the header is another, or the file is cut short or too long.
    """
    with refusing(path, "an idx file"):
        packed = path.lower().endswith(".gz")
        with gzip.open(path) if packed else open(path, "rb") as file:
            head = file.read(4 + 4 * axes)
            if len(head) < 4 + 4 * axes or head[:4] != bytes((0, 0, 8, axes)):
                raise bad(
                    path, f"does not begin like an idx file of unsigned bytes with {axes} axes; check the download"
                )
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
    while size and (chunk := file.read(min(CHUNK, size))):
        size -= len(chunk)
        yield np.frombuffer(chunk, np.uint8)


def _check_length(path: str, claimed: int, present: int) -> None:
    if present < claimed:
        raise bad(path, f"is cut short: {claimed:,} bytes are promised, {present:,} are there; copy it again")
    if present > claimed:
        raise bad(path, f"goes on after the {claimed:,} bytes that it promises; copy it again")


def _check_images(where: str, shape: tuple[int, ...], dtype: str) -> None:
    if dtype != "uint8":
        raise bad(where, f"is {dtype}: images are uint8 in 0..255; scale and convert it")
    if len(shape) not in (3, 4) or shape[3:] not in ((), (3,)):
        raise bad(where, f"has shape {shape}: images are (N, H, W) or (N, H, W, 3); move the axes")
    if not 0 < shape[1] * shape[2] <= MOST_PIXELS:
        raise bad(where, f"has shape {shape}: images have 1 to {MOST_PIXELS:,} pixels; check the array")


def _column(
    contents: Contents, beside: str, asked: str | None, names: tuple[str, ...], role: str, n: int
) -> np.ndarray | None:
    if asked is not None and asked not in contents.entries:
        raise bad(contents.path, f"has no key '{asked}' for the {role}; it holds {contents.listing()}")
    entry = contents.entries[asked] if asked is not None else contents.find(names, beside)
    return None if entry is None else open_column(contents, entry.name, role, n)


def _bytes(pixels: np.ndarray) -> bytes:
    return pixels.tobytes()


def _stamp(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=8)
def _array(path: str, key: str, stamp: tuple[int, int]) -> np.ndarray:
    """The array, opened once in each process: what travels between processes is its name, not its bytes."""
    return np.asarray(open_npz(path).entries[key].open()) if key else read_idx(path, 3)


def _read(path: str, key: str, stamp: tuple[int, int], row: int, id: str) -> tuple[Image.Image, bytes]:
    pixels = _row(path, key, stamp, row, id)
    return from_array(pixels), pixels.tobytes()


def _row_bytes(path: str, key: str, stamp: tuple[int, int], row: int, id: str) -> bytes:
    return _row(path, key, stamp, row, id).tobytes()


def _row(path: str, key: str, stamp: tuple[int, int], row: int, id: str) -> np.ndarray:
    try:
        if _stamp(path) != stamp:  # mapped rows would change, or vanish, under the reader
            raise Unreadable(id, f"{os.path.basename(path)} was changed after it was opened; start again")
    except OSError as error:
        raise Unreadable(id, f"{os.path.basename(path)} is no longer there") from error
    return np.ascontiguousarray(_array(path, key, stamp)[row])
