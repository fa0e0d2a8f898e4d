"""Weights: read without unpickling, loaded into a module with a check of every key, and fingerprinted."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from manifold_probe.spaces.checks import bad, check_file, refusing

KEYS = ("state_dict", "model", "state")  # of the state dict in files of training scripts
FIX = "save only the state dict: torch.save(model.state_dict(), path)"


def read_state(path: str) -> dict[str, Any]:
    """The state dict of a .pt, .pth or .safetensors file, at the top level or under one of `KEYS`.

    Raises
    ------
    InputError
        No such file, another format, Python objects other than tensors, or no tensors.
    """
    if Path(path).suffix.lower() == ".safetensors":
        check_file(path)
        from safetensors.torch import load_file

        with refusing(path, "a safetensors file"):
            return load_file(path)
    loaded = read_plain(path)
    inner = [loaded[key] for key in KEYS if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping)]
    state = inner[0] if inner else loaded
    if not isinstance(state, Mapping) or not any(isinstance(value, torch.Tensor) for value in state.values()):
        raise bad(path, f"holds a {type(state).__name__} without weights; {FIX}")
    return dict(state)


def read_plain(path: str) -> Any:
    """The content of a .pt or .pth file, loaded with weights_only on the CPU."""
    if Path(path).suffix.lower() not in (".pt", ".pth"):
        raise bad(path, "is not a file of weights; give .pt, .pth or .safetensors")
    check_file(path)
    with refusing(path, "a torch file"):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:  # torch.save never compresses: this may be a decompression bomb
                if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                    raise bad(
                        path, "is a compressed archive, which torch.save never writes; save it again with torch.save"
                    )
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise bad(path, f"holds Python objects (or damaged bytes) in addition to plain tensors; {FIX}") from error


def fit(module: torch.nn.Module, state: Mapping[str, Any], path: str, model: str) -> None:
    """Load a state dict whose keys and shapes are exactly the module's.

    Raises
    ------
    InputError
        With the first missing keys, unexpected keys and keys of another size, and their numbers.
    """
    expected = module.state_dict()
    wrong = [
        f"{key} is {_shape(state[key])}, the model's {_shape(expected[key])}"
        for key in expected
        if key in state and _shape(state[key]) != _shape(expected[key])
    ]
    kinds = {
        "missing": [key for key in expected if key not in state],
        "unexpected": [str(key) for key in state if key not in expected],
        "of the wrong size": wrong,
    }
    if any(kinds.values()):
        problems = ", ".join(f"{len(keys)} {kind} ({_first(keys)})" for kind, keys in kinds.items() if keys)
        raise bad(path, f"does not fit {model}: of {len(expected)} keys, {problems}; {_fix(expected, state)}")
    with refusing(path, "weights"):
        module.load_state_dict(dict(state))


def fingerprint(module: torch.nn.Module) -> str:
    """SHA-256 over the names, types, shapes and bytes of all parameters and buffers, in the order of their names.

    Buffers that are not saved count too, because they affect the result. Architecture and arguments do not count; the
    model's source states them.

    >>> fingerprint(torch.nn.ReLU())[:8]
    'e3b0c442'
    """
    named = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
    digest = hashlib.sha256()
    for name, tensor in sorted(named.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _shape(value: Any) -> tuple[int, ...] | str:
    return tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__


def _first(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")


def _fix(expected: Iterable[str], state: Mapping[str, Any]) -> str:
    # DataParallel, lightning and torch.compile add a prefix to every key
    prefix = str(next(iter(state), "")).partition(".")[0] + "."
    if {prefix + key for key in expected} == set(state):
        return f"its keys have the extra prefix {prefix!r}: remove it"
    return "give the state dict of this model"
