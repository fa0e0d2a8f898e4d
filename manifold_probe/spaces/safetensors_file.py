"""Reading .safetensors: every tensor memory-mapped, bfloat16 and float8 kept as torch tensors."""

from __future__ import annotations

from functools import partial
from typing import Any

from manifold_probe.spaces.checks import bad, refusing
from manifold_probe.spaces.contents import Contents, Entry

TYPES = {"BF16": "bfloat16", "BOOL": "bool", "C64": "complex64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
TYPES |= {
    f"{letter}{bits}": f"{word}{bits}" for letter, word in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)
}
TYPES |= {f"F{bits}": f"float{bits}" for bits in (16, 32, 64)}


def open_safetensors(path: str) -> Contents:
    """The tensors of a .safetensors file; text cannot be stored there, so ids are integers."""
    from safetensors import safe_open

    entries = {}
    with refusing(path, "a safetensors file"), safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118 (not a dict)
            part = file.get_slice(name)
            dtype = str(part.get_dtype())
            entries[name] = Entry(name, tuple(part.get_shape()), TYPES.get(dtype, dtype), partial(_opened, path, name))
    if not entries:
        raise bad(path, "holds no tensors; write it with save_file({'features': x}, path)")
    return Contents(path, "safetensors", entries)


def _opened(path: str, name: str) -> Any:
    import torch
    from safetensors import safe_open

    with refusing(path, "a safetensors file"), safe_open(path, "pt") as file:
        tensor = file.get_tensor(name)  # a view of the mapped file, read when it is sliced
    in_numpy = not tensor.is_floating_point() or tensor.dtype in (torch.float16, torch.float32, torch.float64)
    return tensor.numpy() if in_numpy else tensor
