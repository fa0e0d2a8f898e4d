"""Reading .safetensors: the library checks the header, and every tensor is memory-mapped.

bfloat16 is mapped as two raw bytes (see ``type_name``); float8, for which NumPy has no type, is read by torch. Tensors
cannot hold text, so text ids and labels are in the metadata, as JSON: ``metadata={"ids": json.dumps(ids)}``.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np

from manifold_probe.spaces.checks import bad, refusing
from manifold_probe.spaces.contents import RESERVED, Contents, Entry, type_name
from manifold_probe.spaces.numpy_file import mapped
from manifold_probe.spaces.values import entries_of, one_a_row

TYPES = {"BF16": np.dtype("V2"), "BOOL": np.dtype(bool), "C64": np.dtype("<c8")}
TYPES |= {
    f"{letter}{bits}": np.dtype(f"<{kind}{bits // 8}") for letter, kind in ("Ii", "Uu") for bits in (8, 16, 32, 64)
}
TYPES |= {f"F{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)}
FLOAT8 = {"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}


def open_safetensors(path: str) -> Contents:
    """The tensors of a .safetensors file, and the ids and labels in its metadata."""
    from safetensors import safe_open

    entries = []
    with refusing(path, "a safetensors file"), safe_open(path, "numpy") as file, open(path, "rb") as raw:
        size = int.from_bytes(raw.read(8), "little")
        header = json.loads(raw.read(size))  # safe_open compared it with the size of the file
        for name in file.keys():  # noqa: SIM118 (not a dict)
            shape, stored = tuple(header[name]["shape"]), header[name]["dtype"]
            dtype = TYPES.get(stored)
            if dtype is None:
                entries.append(Entry(name, shape, FLOAT8.get(stored, stored), partial(_in_torch, path, name)))
            else:
                start = 8 + size + header[name]["data_offsets"][0]
                entries.append(Entry(name, shape, type_name(dtype), partial(mapped, path, start, shape, False, dtype)))
        texts = {key: text for key, text in (header.get("__metadata__") or {}).items() if key in RESERVED}
    if not entries:
        raise bad(path, "holds no tensors; write it with save_file({'features': x}, path)")
    entries = one_a_row(entries)
    by_name = {entry.name: entry for entry in entries}
    by_name |= {key: _in_metadata(key, text) for key, text in texts.items() if key not in by_name}
    return Contents(path, "safetensors", by_name)


def _in_metadata(key: str, text: str) -> Entry:
    """A column written as JSON."""
    try:
        values = json.loads(text)
    except ValueError:
        values = text
    if isinstance(values, list):
        return entries_of({key: values})[key]
    return Entry(key, (), "str", list, "in the metadata is not a JSON list: write json.dumps(list), one value per row")


def _in_torch(path: str, name: str) -> Any:
    from safetensors import safe_open

    with refusing(path, "a safetensors file"), safe_open(path, "pt") as file:
        return file.get_tensor(name)  # memory-mapped
