"""A folder of images: the relative path is the id, its first folder the label."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

import numpy as np
from PIL import Image

from manifold_probe.extraction.images import SUFFIXES, decode, read_bytes
from manifold_probe.extraction.items import Data, make_data
from manifold_probe.spaces.checks import bad


def open_image_folder(path: str) -> Data:
    """All images below a folder, sorted by the bytes of their relative paths (with forward slashes).

    Hidden files and folders and other suffixes are skipped. There are labels if every image is in a folder. Links to
    folders are followed. Raises InputError if there are no images, a folder cannot be listed, or a link leads to a
    folder above it.
    """
    paths = sorted(_walk(path, "", frozenset()), key=os.fsencode)
    if not paths:
        raise bad(path, f"holds no images ({', '.join(SUFFIXES)}); give the folder of the images or of their folders")
    ids = np.array(paths, dtype=str)
    folders = [name.partition("/")[0] if "/" in name else None for name in paths]
    labels = None if None in folders else np.array(folders, dtype=str)
    return make_data("images", path, ids, labels, {}, partial(read_file, path, None), partial(file_bytes, path, None))


def read_file(folder: str, paths: list[str] | None, row: int, id: str) -> tuple[Image.Image, bytes]:
    """The image of a row, at ``paths[row]`` (by default its id) below the folder."""
    raw = file_bytes(folder, paths, row, id)
    return decode(raw, id), raw


def file_bytes(folder: str, paths: list[str] | None, row: int, id: str) -> bytes:
    """The bytes of the same file."""
    return read_bytes(os.path.join(folder, id if paths is None else paths[row]), id)


def _walk(folder: str, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    try:
        status = os.stat(folder)
        with os.scandir(folder) as listing:
            entries = [(entry.name, entry.is_dir()) for entry in listing if not entry.name.startswith(".")]
    except OSError as error:
        raise bad(folder, f"cannot be listed ({error.strerror or error}); check its permissions") from error
    here = (status.st_dev, status.st_ino)
    if here in above:
        raise bad(folder, "is a link to a folder that contains it; remove the link")
    for name, is_folder in entries:
        if is_folder:
            yield from _walk(os.path.join(folder, name), f"{prefix}{name}/", above | {here})
        elif name.lower().endswith(SUFFIXES):  # including broken links, which are reported as unreadable
            yield prefix + name
