"""Weights: read without unpickling, fitted to a module key by key, and fingerprinted."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from manifold_probe.spaces.checks import bad, check_file, refusing

KEYS = ("state_dict", "model", "state")  # where training scripts put the state dict
PLAIN = "save the state dict alone: torch.save(model.state_dict(), path)"


def read_state(path: str) -> dict[str, Any]:
    """The state dict of a .pt, .pth or .safetensors file: bare, or under one of `KEYS`.

    Raises
    ------
    InputError
        No such file, another format, Python objects beyond tensors, or no tensors at all.
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
        raise bad(path, f"holds a {type(state).__name__} without weights; {PLAIN}")
    return dict(state)


def read_plain(path: str) -> Any:
    """What torch.save wrote to a .pt or .pth file, weights_only, on the CPU."""
    if Path(path).suffix.lower() not in (".pt", ".pth"):
        raise bad(path, "is no file of weights; give .pt, .pth or .safetensors")
    check_file(path)
    with refusing(path, "a torch file"):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:  # torch.save never compresses: this would be a bomb
                if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                    raise bad(path, "is a compressed archive, which torch.save never writes; save it again with it")
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise bad(path, f"holds Python objects (or damaged bytes) beyond plain tensors; {PLAIN}") from error


def fit(module: torch.nn.Module, state: Mapping[str, Any], path: str, model: str) -> None:
    """Load a state dict whose keys and shapes are exactly the module's.

    Raises
    ------
    InputError
        The first few keys missing, unexpected or of another size, and how many there are of each.
    """
    own = module.state_dict()
    wrong = [
        f"{key} is {_shape(state[key])}, the model's {_shape(own[key])}"
        for key in own
        if key in state and _shape(state[key]) != _shape(own[key])
    ]
    kinds = {
        "missing": [key for key in own if key not in state],
        "unexpected": [str(key) for key in state if key not in own],
        "of the wrong size": wrong,
    }
    if any(kinds.values()):
        found = ", ".join(f"{len(keys)} {kind} ({_few(keys)})" for kind, keys in kinds.items() if keys)
        raise bad(path, f"does not fit {model}: of {len(own)} keys, {found}; {_fix(own, state)}")
    with refusing(path, "weights"):
        module.load_state_dict(dict(state))


def fingerprint(module: torch.nn.Module) -> str:
    """SHA-256 over the names, types, shapes and bytes of all parameters and buffers, in the order of their names.

    Buffers that are not saved count too: they change what the module computes. So do not architecture and arguments,
    which the model's source says.

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


def _few(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")


def _fix(own: Iterable[str], state: Mapping[str, Any]) -> str:
    # DataParallel, lightning and torch.compile all put a prefix before every key.
    prefix = str(next(iter(state), "")).partition(".")[0] + "."
    if {prefix + key for key in own} == set(state):
        return f"its keys only have the prefix {prefix!r} too many: drop it"
    return "give the state dict of this very model"
