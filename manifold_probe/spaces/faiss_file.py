"""Reading FAISS index files (.faiss, .index): the vectors as the index can give them back, with the ids it stores.

Flat, IVF-flat and HNSW-flat indexes hold the vectors themselves. A quantised index (PQ, scalar quantiser, LSH) gives
approximations, and its entry says what was lost. Only IDMap and IVF indexes store ids; the numbers 0, 1, 2, ... of an
IVF index are the default and identify nothing. The rows come in ascending order of the stored ids of an IVF index.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from manifold_probe.spaces.checks import bad, refusing
from manifold_probe.spaces.contents import Contents, Entry, array_entry
from manifold_probe.spaces.spool import gather

BLOCK_BYTES = 16 * 2**20
EXACT = ("IndexFlat", "IndexFlatL2", "IndexFlatIP", "IndexFlat1D", "IndexIVFFlat", "IndexIVFFlatDedup")
BINARY = b"IB"  # the first bytes of a binary index


def open_faiss(path: str) -> Contents:
    """The vectors of an index as "features", and its "ids" if it stores any.

    Raises
    ------
    InputError
        If the file is damaged, or the vectors of this type of index cannot be reconstructed.
    """
    import faiss

    with open(path, "rb") as file:
        if file.read(2) == BINARY:
            fix = "save the bits as an array, np.save('bits.npy', packed), and give bits.npy?bits"
            raise bad(path, f"is a binary FAISS index, whose vectors are bits; {fix}")
    with refusing(path, "a FAISS index"):
        owner = index = faiss.read_index(path)  # the owner frees the indexes inside it
        ids = None
        if isinstance(index, faiss.IndexIDMap):  # IndexIDMap2 is one too
            ids, index = faiss.vector_to_array(index.id_map).copy(), faiss.downcast_index(index.index)
        ivf = faiss.try_extract_index_ivf(index)
        keys = np.arange(index.ntotal)
        if ivf is not None:
            keys = _stored_ids(ivf)
            ivf.set_direct_map_type(faiss.DirectMap.Hashtable)  # type: ignore[attr-defined]
    if len(keys) != index.ntotal or len(np.unique(keys)) != len(keys):
        raise bad(
            path, "stores one id for several vectors, so that they cannot be told apart; build it with unique ids"
        )
    if index.ntotal:
        _check_reconstructs(path, index, ivf, int(keys[0]))
    if ids is None and ivf is not None and not np.array_equal(keys, np.arange(len(keys))):
        ids = keys
    rows = partial(_reconstructed, path, owner, index, keys)
    entries = {"features": Entry("features", (index.ntotal, index.d), "float32", rows, lost=lost_in(index))}
    if ids is not None:
        entries["ids"] = array_entry("ids", ids)
    return Contents(path, "faiss", entries)


def _stored_ids(ivf: Any) -> np.ndarray:
    """The ids (n,) in all lists of an IVF index, ascending."""
    import faiss

    lists = ivf.invlists
    sizes = [lists.list_size(number) for number in range(ivf.nlist)]
    parts = [faiss.rev_swig_ptr(lists.get_ids(number), size).copy() for number, size in enumerate(sizes) if size]
    return np.sort(np.concatenate(parts)) if parts else np.empty(0, np.int64)


def _check_reconstructs(path: str, index: Any, ivf: Any, key: int) -> None:
    import faiss

    try:
        is_fast_scan = ivf is not None and isinstance(faiss.downcast_index(ivf), faiss.IndexIVFPQFastScan)
        if is_fast_scan and not isinstance(index, faiss.IndexRefine):
            raise RuntimeError  # FAISS 1.15 ends the process when it reconstructs one that was read from a file
        index.reconstruct(key)
    except RuntimeError as error:
        raise bad(
            path,
            f"is a FAISS index ({_named(index)}), whose vectors cannot be reconstructed; give the vectors that it was "
            "built from (.npy, Parquet, ...), or build an IndexFlat or IndexIVFFlat of them",
        ) from error


def _named(index: Any) -> str:
    """The types that an index is made of: "ITQTransform, IndexLSH"."""
    import faiss

    if not isinstance(index, faiss.IndexPreTransform):
        return type(index).__name__
    parts = [*_steps(index), faiss.downcast_index(index.index)]
    return ", ".join(type(part).__name__ for part in parts)


def _steps(index: Any) -> list[Any]:
    """The transforms before an index."""
    import faiss

    return [faiss.downcast_VectorTransform(index.chain.at(place)) for place in range(index.chain.size())]


def _reconstructed(path: str, owner: Any, index: Any, keys: np.ndarray) -> np.ndarray:
    step = max(1, BLOCK_BYTES // (4 * index.d))

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(keys), step):
            yield index.reconstruct_batch(keys[start : start + step])

    with refusing(path, "a FAISS index"):
        return gather(blocks(), (len(keys), index.d), "float32", path)


def lost_in(stored: Any) -> str | None:
    """What an index no longer holds of the vectors that were added to it, as the end of a sentence; None for nothing.

    >>> import faiss
    >>> lost_in(faiss.IndexFlatL2(8)), lost_in(faiss.IndexPQ(8, 2, 4))
    (None, 'stores 1 of the 32 bytes of each vector (IndexPQ): the vectors read are approximations')
    """
    import faiss

    index: Any = faiss.downcast_index(stored)
    name = type(index).__name__
    if name in EXACT:
        return None
    if isinstance(index, faiss.IndexPreTransform):
        losses = [text for text in (*map(_lost_by, _steps(index)), lost_in(index.index)) if text]
        return "; it ".join(losses) or None
    if isinstance(index, faiss.IndexRefine):
        return lost_in(index.refine_index)
    if hasattr(index, "storage"):  # HNSW, NSG: a graph over a storage of vectors
        return lost_in(index.storage)
    size = getattr(index, "code_size", 0)
    codes = f"stores {size:,} of the {4 * index.d:,} bytes of each vector" if size else "stores vectors in codes"
    return f"{codes} ({name}): the vectors read are approximations"


def _lost_by(step: Any) -> str | None:
    """What a transform before the index loses."""
    name, rotates = type(step).__name__, getattr(step, "is_orthonormal", False)
    if step.d_in == step.d_out and rotates:
        return None
    if step.d_in == step.d_out:
        return f"stores vectors after a {name}, which may not be undone exactly"
    return f"stores {step.d_out} of {step.d_in} dimensions ({name}): the vectors read are approximations"
