"""Reading Qdrant (extra ``indexes``): the collections of a local folder, or of a running server by its address.

``http://localhost:6333::docs`` is a collection of a server; the key of a server that asks for one is read from the
environment, QDRANT_API_KEY. A server holds vectors of a collection with the distance Cosine at length 1, and the entry
says so; a folder holds them as they were given.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from manifold_probe.errors import InputError, to_install
from manifold_probe.spaces.checks import bad
from manifold_probe.spaces.chroma_folder import check_filled, collection_named, columns_of
from manifold_probe.spaces.contents import Contents, Entry, array_entry
from manifold_probe.spaces.spool import gather

PAGE = 1000  # points of one request
TIMEOUT = 30  # seconds for a request
ADDRESS = ("http://", "https://")


def is_qdrant(path: str) -> bool:
    """Whether a folder is that of a ``QdrantClient(path=...)``."""
    return os.path.isfile(os.path.join(path, "meta.json")) and os.path.isdir(os.path.join(path, "collection"))


def is_address(path: str) -> bool:
    """Whether a path is the address of a server."""
    return path.startswith(ADDRESS)


def open_qdrant(path: str, key: str | None = None) -> Contents:
    """The vectors of a collection as "features", its "ids", and its payload under their names.

    ``key`` is the collection, by default the only one; "docs/title" is the named vector "title" of the collection, of
    those points that have it.

    Raises
    ------
    InputError
        If the library is missing, the server does not answer, another process uses the folder, or it must be said
        which collection or vector is meant.
    """
    try:
        from qdrant_client import QdrantClient
    except ImportError as error:
        raise bad(path, f"needs qdrant-client to be read: {to_install('indexes')}") from error
    with _answering(path):
        client = (
            QdrantClient(path, timeout=TIMEOUT, api_key=os.environ.get("QDRANT_API_KEY"), check_compatibility=False)
            if is_address(path)
            else QdrantClient(path=path)
        )
        names = sorted(collection.name for collection in client.get_collections().collections)
    named, _, asked = (key, "", "") if key is None or key in names else key.partition("/")
    name = collection_named(path, named, names)
    with _answering(path):
        sizes = client.get_collection(name).config.params.vectors
    vector, size = _vector_of(path, name, asked or None, sizes)
    with _answering(path):
        points = [point for page in _pages(client, name, vector, with_payload=True) for point in page]
    check_filled(path, name, len(points))
    ids = [point.id for point in points]
    rows = partial(_vectors, path, client, name, vector, (len(ids), size.size))
    cosine = str(getattr(size.distance, "value", size.distance)).lower() == "cosine"
    said = "stores vectors at length 1 (distance Cosine): their lengths are lost"
    lost = said if cosine and is_address(path) else None
    entries = {"features": Entry("features", (len(ids), size.size), "float32", rows, lost=lost)}
    whole = all(isinstance(id, int) for id in ids)
    entries["ids"] = array_entry("ids", np.array(ids if whole else list(map(str, ids))))
    entries |= columns_of([point.payload or {} for point in points], entries)
    return Contents(path, "qdrant", entries)


def _vector_of(path: str, collection: str, vector: str | None, sizes: Any) -> tuple[str | None, Any]:
    """The named vector that is meant, None for the unnamed, and its parameters."""
    if not sizes:
        raise bad(path, f"collection '{collection}' has sparse vectors only; give one with dense vectors")
    if isinstance(sizes, dict):
        if vector is None and len(sizes) == 1:
            vector = next(iter(sizes))
        if vector not in sizes:
            listed, first = ", ".join(sizes), next(iter(sizes))
            raise bad(
                path, f"collection '{collection}' has the vectors {listed}; pick one with {path}::{collection}/{first}"
            )
        sizes = sizes[vector]
    elif vector:
        raise bad(path, f"collection '{collection}' has one vector without a name; give {path}::{collection}")
    if sizes.multivector_config is not None:
        raise bad(path, f"collection '{collection}' has several vectors a point (multivectors); store one a point")
    return vector, sizes


def _pages(client: Any, collection: str, vector: str | None, **what: Any) -> Iterator[list[Any]]:
    """The points of a collection that have the vector ``vector``, of all that are stored if it has no name."""
    from qdrant_client import models

    if vector:
        what["scroll_filter"] = models.Filter(must=[models.HasVectorCondition(has_vector=vector)])
    following = None
    while True:
        page, following = client.scroll(collection, limit=PAGE, offset=following, **what)
        yield page
        if following is None:
            return


def _vectors(path: str, client: Any, collection: str, vector: str | None, shape: tuple[int, int]) -> np.ndarray:
    def blocks() -> Iterator[np.ndarray]:
        for page in _pages(client, collection, vector, with_vectors=[vector] if vector else True, with_payload=False):
            rows = [(point.vector or {}).get(vector) if vector else point.vector for point in page]
            for point, row in zip(page, rows, strict=True):
                if row is None:
                    raise bad(path, f"point {point.id} of '{collection}' has no vector; add it")
            if rows:
                yield np.array(rows, np.float32)

    with _answering(path):
        return gather(blocks(), shape, "float32", path)


@contextmanager
def _answering(path: str) -> Iterator[None]:
    """A context for requests: a server that does not answer, or a folder that is in use, becomes an InputError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        text = f"cannot be read as a Qdrant folder; it may be damaged ({reason})"
        if is_address(path):
            text = f"is no Qdrant server that answers ({reason}); start it, or check the address and QDRANT_API_KEY"
        elif "already accessed" in reason:
            text = "is in use by another process; close its QdrantClient, or give the address of a server"
        raise bad(path, text) from error
