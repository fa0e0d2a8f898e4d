"""Reading .safetensors: every tensor memory-mapped, bfloat16 and float8 kept as torch tensors.

Tensors hold no text, so text ids and labels lie in the metadata, as JSON: ``metadata={"ids": json.dumps(ids)}``.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from manifold_probe.spaces.checks import bad, refusing
from manifold_probe.spaces.contents import RESERVED, Contents, Entry
from manifold_probe.spaces.values import entries_of, one_a_row

TYPES = {"BF16": "bfloat16", "BOOL": "bool", "C64": "complex64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
TYPES |= {
    f"{letter}{bits}": f"{word}{bits}" for letter, word in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)
}
TYPES |= {f"F{bits}": f"float{bits}" for bits in (16, 32, 64)}


def open_safetensors(path: str) -> Contents:
    """The tensors of a .safetensors file, and the ids and labels in its metadata."""
    from safetensors import safe_open

    entries = []
    with refusing(path, "a safetensors file"), safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118 (not a dict)
            part = file.get_slice(name)
            dtype = str(part.get_dtype())
            opened = partial(_opened, path, name)
            entries.append(Entry(name, tuple(part.get_shape()), TYPES.get(dtype, dtype), opened))
        texts = {key: text for key, text in (file.metadata() or {}).items() if key in RESERVED}
    if not entries:
        raise bad(path, "holds no tensors; write it with save_file({'features': x}, path)")
    entries = one_a_row(entries)
    known = {entry.name for entry in entries}
    found = {key: _in_metadata(key, text) for key, text in texts.items() if key not in known}
    return Contents(path, "safetensors", {entry.name: entry for entry in entries} | found)


def _in_metadata(key: str, text: str) -> Entry:
    """A column written as JSON."""
    try:
        values = json.loads(text)
    except ValueError:
        values = text
    if isinstance(values, list):
        return entries_of({key: values})[key]
    return Entry(key, (), "str", list, "in the metadata is no JSON list: write json.dumps(list), one value a row")


def _opened(path: str, name: str) -> Any:
    import torch
    from safetensors import safe_open

    with refusing(path, "a safetensors file"), safe_open(path, "pt") as file:
        tensor = file.get_tensor(name)  # a view of the mapped file, read when it is sliced
    in_numpy = not tensor.is_floating_point() or tensor.dtype in (torch.float16, torch.float32, torch.float64)
    return tensor.numpy() if in_numpy else tensor
