"""Reading Chroma (extra ``indexes``): the collections in the folder of a ``PersistentClient``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from manifold_probe.errors import to_install
from manifold_probe.spaces.checks import bad, refusing
from manifold_probe.spaces.contents import Contents, Entry, array_entry
from manifold_probe.spaces.spool import gather

PAGE = 2000  # rows of one request


def is_chroma(path: str) -> bool:
    """Whether a folder is that of a ``chromadb.PersistentClient``."""
    return os.path.isfile(os.path.join(path, "chroma.sqlite3"))


def open_chroma(path: str, key: str | None = None) -> Contents:
    """The embeddings of a collection as "features", its "ids", and its metadata under their names.

    ``key`` is the collection, by default the only one.

    Raises
    ------
    InputError
        If the library is missing, there are several collections and none is named, or the folder is damaged.
    """
    try:
        import chromadb
        from chromadb.config import Settings
    except ImportError as error:
        raise bad(path, f"needs chromadb to be read: {to_install('indexes')}") from error
    with refusing(path, "a Chroma folder"):
        client = chromadb.PersistentClient(path, settings=Settings(anonymized_telemetry=False))
        names = sorted(collection.name for collection in client.list_collections())
    name = collection_named(path, key, names)
    with refusing(path, "a Chroma folder"):
        collection = client.get_collection(name, embedding_function=None)
        check_filled(path, name, collection.count())
        pages = list(_pages(collection, "metadatas"))
        first = np.asarray(collection.get(limit=1, include=["embeddings"])["embeddings"])
    ids = [id for page in pages for id in page["ids"]]
    n, d = len(ids), first.shape[-1]
    entries = {"features": Entry("features", (n, d), "float32", partial(_vectors, path, collection, n, d))}
    entries["ids"] = array_entry("ids", np.array(ids, dtype=str))
    entries |= columns_of([item or {} for page in pages for item in page["metadatas"]], entries)
    return Contents(path, "chroma", entries)


def collection_named(path: str, key: str | None, names: list[str]) -> str:
    """The collection ``key``, by default the only one. Raises InputError listing them."""
    if key in names:
        return str(key)
    if not names:
        raise bad(path, "holds no collections; add vectors to one")
    listed = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    if key is not None:
        raise bad(path, f"has no collection '{key}'; it holds {listed}; pick one of these")
    if len(names) > 1:
        raise bad(path, f"holds the collections {listed}; pick one with {path}::{names[0]}")
    return names[0]


def check_filled(path: str, collection: str, rows: int) -> None:
    """Refuse a collection without vectors."""
    if not rows:
        raise bad(path, f"collection '{collection}' holds no vectors; add them, or pick another collection")


def columns_of(metadata: list[dict[str, Any]], taken: dict[str, Entry]) -> dict[str, Entry]:
    """An entry for every name in the metadata of n rows, None where a row lacks it; without the names in ``taken``."""
    names = dict.fromkeys(name for row in metadata for name in row if name not in taken)
    entries = {}
    for name in names:
        values = [row.get(name) for row in metadata]
        if all(isinstance(value, str | int | float | None) for value in values):
            entries[name] = _column(name, values)
    return entries


def _column(name: str, values: list[Any]) -> Entry:
    kinds = {type(value) for value in values}
    if kinds <= {str} or kinds <= {int} or kinds <= {float}:
        return array_entry(name, np.array(values))
    return array_entry(name, np.array(values, dtype=object))


def _pages(collection: Any, what: str) -> Iterator[dict[str, Any]]:
    for start in range(0, collection.count(), PAGE):
        yield collection.get(limit=PAGE, offset=start, include=[what])


def _vectors(path: str, collection: Any, n: int, d: int) -> np.ndarray:
    with refusing(path, "a Chroma folder"):
        pages = (np.asarray(page["embeddings"], np.float32) for page in _pages(collection, "embeddings"))
        return gather(pages, (n, d), "float32", path)
