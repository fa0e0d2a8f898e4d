"""Folders and servers of vector databases: which reader each has. A FAISS index is a file, and has an extension."""

from __future__ import annotations

import os
from collections.abc import Callable

from manifold_probe.spaces.chroma_folder import is_chroma, open_chroma
from manifold_probe.spaces.contents import Contents
from manifold_probe.spaces.datasets_folder import is_dataset, open_dataset
from manifold_probe.spaces.lancedb_folder import is_lancedb, open_lancedb
from manifold_probe.spaces.qdrant_store import is_address, is_qdrant, open_qdrant

Reader = Callable[[str, str | None], Contents]  # (path, key)
FOLDERS: tuple[tuple[Callable[[str], bool], Reader], ...] = (
    (is_chroma, open_chroma),
    (is_qdrant, open_qdrant),
    (is_dataset, open_dataset),
    (is_lancedb, open_lancedb),
)


def index_reader(path: str) -> Reader | None:
    """The reader of a database's folder or of a server's address; None for any other path."""
    if is_address(path):
        return open_qdrant
    if not os.path.isdir(path):
        return None
    return next((reader for fits, reader in FOLDERS if fits(path)), None)


def index_files(path: str) -> list[str]:
    """All files of a database's folder, in a fixed order, for hashing; none of a server."""
    inside = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    return sorted(file for file in inside if os.path.isfile(file))
