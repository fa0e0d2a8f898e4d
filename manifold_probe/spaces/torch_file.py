"""Reading .pt and .pth: a tensor or NumPy array, a list of batches or rows, or a dict of these (see ``values.py``).

Always with ``weights_only=True``, on the CPU, even if a GPU wrote it, and memory-mapped if the file is a zip (every
torch.save since 1.6). In addition to torch's types only NumPy's arrays, scalars and types are allowed: rebuilding them
runs no code of the file.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from typing import Any

import numpy as np

from manifold_probe.spaces.checks import bad, refusing
from manifold_probe.spaces.contents import Contents
from manifold_probe.spaces.values import entries_of

FIX = "save a plain tensor or a dict of tensors: torch.save({'features': x, 'ids': ids}, path)"


def open_torch(path: str) -> Contents:
    """The tensors, arrays and columns of a .pt file, memory-mapped where possible."""
    with refusing(path, "a torch file"):
        with open(path, "rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
        if zipped:
            _check_archive(path)
        loaded = _loaded(path, zipped)
        entries = entries_of(loaded)
    if not entries:
        raise bad(path, f"holds {_description(loaded)} without tensors; {FIX}")
    return Contents(path, "torch", entries)


def _loaded(path: str, zipped: bool) -> Any:
    import torch

    try:
        with torch.serialization.safe_globals(_numpy_types()):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL (\S+) was not an allowed", str(error))
        what = f" ({refused[1]})" if refused else " (or damaged bytes)"
        raise bad(path, f"holds Python objects{what} in addition to plain tensors; {FIX}") from error


def _numpy_types() -> list[Any]:
    """The functions and types of pickled NumPy arrays and scalars, also under the names of NumPy 1."""
    multiarray = np._core.multiarray  # type: ignore[attr-defined]
    functions = (("_reconstruct", multiarray._reconstruct), ("scalar", multiarray.scalar))
    named = [
        (function, f"numpy.{core}.multiarray.{name}") for core in ("core", "_core") for name, function in functions
    ]
    types = [getattr(np.dtypes, name) for name in np.dtypes.__all__]
    return [*named, np.ndarray, np.dtype, *types]


def _check_archive(path: str) -> None:
    # torch.save never compresses; a compressed record cannot be memory-mapped, and may be a decompression bomb
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if not any(member.filename.endswith("data.pkl") for member in members):
        raise bad(path, "is a zip archive that torch.save did not write; is it an .npz?")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise bad(path, "is a compressed archive, which torch.save never writes; save it again with torch.save")


def _description(loaded: Any) -> str:
    """ "a dict (epoch, name)", "a list"."""
    keys = ", ".join(map(str, list(loaded)[:4])) if isinstance(loaded, dict) else ""
    return f"a {type(loaded).__name__}" + (f" ({keys})" if keys else "")
