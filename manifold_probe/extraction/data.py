"""Data from a path: ``open_data("images/")``, ``open_data("texts.jsonl::body")``.

Every source becomes `Data`: a kind, stable ids, labels and slices if known, and items that are read one at a time.
"""

from __future__ import annotations

import os

from manifold_probe.extraction.image_arrays import open_idx_images, open_npz_images
from manifold_probe.extraction.image_folder import open_image_folder
from manifold_probe.extraction.items import Data, Item, Unreadable
from manifold_probe.extraction.tables import open_table_data
from manifold_probe.extraction.texts import open_jsonl, open_lines
from manifold_probe.spaces.checks import bad, check_file
from manifold_probe.spaces.read import split_key

__all__ = ["Data", "Item", "Unreadable", "open_data"]

SOURCES = (
    "a folder of images, .csv, .tsv or .parquet with a column 'path' or 'text', .npz or idx arrays of images, "
    ".txt, or .jsonl"
)


def open_data(text: str, *, ids: str | None = None, labels: str | None = None) -> Data:
    """The images or texts of a source; only their list is read.

    Parameters
    ----------
    text : str
        - a folder of images: ids are the relative paths, labels their first folders;
        - a table (.csv, .tsv, .parquet) with a column ``path`` (images; without a column ``id`` the path is the id), or
          with columns ``text`` and ``id``; further columns become slices; ``FILE.csv::column`` picks the texts;
        - ``FILE.npz`` with ``images`` (N, H, W) or (N, H, W, 3) uint8, or ``FILE.npz::key``;
        - the images of an idx pair (``train-images-idx3-ubyte.gz``), with the labels in the file of the matching name;
        - .txt with a text per line, or .jsonl with a field ``text`` (``FILE.jsonl::field`` picks another).

        Rows of arrays, lines of .txt and JSON lines without an id get ids from their content, so that ids stay the same
        when other rows are dropped or moved.
    ids, labels : str, optional
        The columns, keys or fields of ids and labels, if they have other names.

    Raises
    ------
    InputError
        If the source is missing, damaged, of an unknown kind, or empty, lacks a given column, or has ids that are empty
        or not unique. Items are checked when they are read: see `Data.read`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "greetings.txt"
    >>> _ = path.write_text("good morning\\ngood night\\n")
    >>> data = open_data(str(path))
    >>> data.n, data.ids.tolist(), data.read(1).content
    (2, ['cdf71dea7d7741a2', 'f0c8f1860044529c'], 'good night')
    """
    path, key = split_key(text)
    if os.path.isdir(path):
        _refuse(text, "a folder of images", key, ids, labels)
        return open_image_folder(path)
    check_file(path)
    name = os.path.basename(path).lower()
    if "idx3-ubyte" in name:
        _refuse(text, "an idx file", key, ids, labels)
        return open_idx_images(text, path)
    match os.path.splitext(name)[1]:
        case ".csv" | ".tsv" | ".parquet":
            return open_table_data(text, path, key, ids, labels)
        case ".npz":
            return open_npz_images(text, path, key or "images", ids, labels)
        case ".jsonl":
            return open_jsonl(text, path, key or "text", ids, labels)
        case ".txt":
            _refuse(text, "a text file", key, ids, labels)
            return open_lines(text, path)
    raise bad(path, f"is not a supported kind of data; give {SOURCES}")


def _refuse(text: str, what: str, *columns: str | None) -> None:
    """Raise InputError for a column of a source that has no columns."""
    for column in columns:
        if column is not None:
            raise bad(text, f"is {what} and has no column '{column}'; list its items in a .csv with ids and labels")
