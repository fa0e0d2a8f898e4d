"""Reading .pt and .pth: a tensor, or a dict of tensors (nested one level: "train.features"), lists for ids and labels.

Always with ``weights_only=True``, on the CPU whatever device wrote it, and memory-mapped where the file is a zip (every
torch.save since 1.6).
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from manifold_probe.spaces.checks import bad, refusing
from manifold_probe.spaces.contents import LABEL_NAMES, Contents, Entry, array_entry, last_part

PLAIN = "save a plain tensor or a dict of tensors: torch.save({'features': x, 'ids': ids}, path)"


def open_torch(path: str) -> Contents:
    """The tensors and id lists of a .pt file, memory-mapped where possible."""
    import torch

    with refusing(path, "a torch file"):
        with open(path, "rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
        if zipped:
            _check_archive(path)
        try:
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
        except pickle.UnpicklingError as error:
            raise bad(path, f"holds Python objects (or damaged bytes) beyond plain tensors; {PLAIN}") from error
        entries = {entry.name: entry for entry in _entries(loaded)}
    if not entries:
        raise bad(path, f"holds a {type(loaded).__name__} without tensors; {PLAIN}")
    return Contents(path, "torch", entries)


def _check_archive(path: str) -> None:
    # torch.save never compresses, and mapping a compressed record would read garbage (or unpack a bomb).
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if not any(member.filename.endswith("data.pkl") for member in members):
        raise bad(path, "is a zip archive that torch.save did not write; is it an .npz?")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise bad(path, "is a compressed archive, which torch.save never writes; save it again with torch.save")


def _entries(loaded: Any, prefix: str = "") -> Iterator[Entry]:
    import torch

    if isinstance(loaded, torch.Tensor):
        yield tensor_entry("features", loaded)
        return
    if not isinstance(loaded, dict):
        return
    for key, value in loaded.items():
        name = f"{prefix}{key}"
        if isinstance(value, torch.Tensor):
            yield tensor_entry(name, value)
        elif isinstance(value, dict) and not prefix:
            yield from _entries(value, f"{name}.")
        elif isinstance(value, list | tuple) and value and _is_column(name, value):
            yield array_entry(name, np.array(value, dtype=object))


def _is_column(name: str, items: list[Any] | tuple[Any, ...]) -> bool:
    """Whether a list holds one value a row; labels may have gaps."""
    gaps = last_part(name) in LABEL_NAMES
    return all(isinstance(item, str | int) or (gaps and (item is None or isinstance(item, float))) for item in items)


def tensor_entry(name: str, tensor: Any) -> Entry:
    """A torch tensor as an entry; numpy holds its memory wherever numpy knows the type (bfloat16 stays in torch)."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    return Entry(name, tuple(tensor.shape), dtype, lambda: _plain(tensor), _problem(tensor))


def _problem(tensor: Any) -> str | None:
    import torch

    if tensor.is_nested:
        return "is a nested tensor: pad or pool it to (n, d)"
    if tensor.layout != torch.strided:
        return "is a sparse tensor: save x.to_dense()"
    if tensor.is_quantized:
        return "is a quantised tensor: save x.dequantize()"
    if tensor.device.type == "meta":
        return "is a meta tensor, which has a shape but no data: save it from a real device"
    if tensor.is_complex():
        return None  # the type check says what to do
    claimed, stored = tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()
    if claimed > stored:
        return f"is an expanded tensor: {stored:,} bytes claim to be {claimed:,}; save x.contiguous() if that is meant"
    return None


def _plain(tensor: Any) -> Any:
    tensor = tensor.detach().cpu().resolve_neg()
    low_precision = tensor.is_floating_point() and str(tensor.dtype) not in _NUMPY_FLOATS
    return tensor if low_precision else tensor.numpy()


_NUMPY_FLOATS = ("torch.float16", "torch.float32", "torch.float64")
