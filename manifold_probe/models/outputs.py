"""What modules return: the one tensor that is meant, or a line that says why it cannot be told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from manifold_probe.errors import InputError

NAMES = ("features", "sentence_embedding", "last_hidden_state")  # what the output is called, by us and by others


def one_tensor(output: Any, where: str) -> torch.Tensor:
    """The tensor a model returned: itself, the entry with a known name, or the only one of floats.

    Raises
    ------
    InputError
        No such tensor, or several that could be meant.

    >>> one_tensor({"features": torch.ones(2, 3), "logits": torch.ones(2, 10)}, "model").shape
    torch.Size([2, 3])
    """
    found = list(_features(output))
    if len(found) != 1:
        mend = "return one tensor of floating-point numbers, or {'features': x}, or choose --layers"
        raise InputError(f"{where}: returned {describe(output)}; {mend}")
    return found[0]


def first_tensor(output: Any) -> torch.Tensor | None:
    """The first tensor of floating-point numbers in a layer's output, depth first; None where there is none."""
    return next(_features(output), None)


def _features(output: Any) -> Iterator[torch.Tensor]:
    if isinstance(output, Mapping):
        named = [output[name] for name in NAMES if name in output]
        for value in named[:1] or output.values():
            yield from _features(value)
    elif isinstance(output, list | tuple):
        for value in output:
            yield from _features(value)
    elif isinstance(output, torch.Tensor) and output.is_floating_point():
        yield output


def describe(value: Any) -> str:
    """A value's type and shape in a few words.

    >>> describe((torch.ones(2, 3), None))
    'tuple(tensor(2, 3), NoneType)'
    """
    if isinstance(value, torch.Tensor):
        kind = "" if value.is_floating_point() else f"{value.dtype} ".removeprefix("torch.")
        return f"{kind}tensor{tuple(value.shape)}"
    name = type(value).__name__
    if isinstance(value, Mapping):
        return f"{name}({', '.join(f'{key}: {describe(each)}' for key, each in list(value.items())[:6])})"
    if isinstance(value, list | tuple):
        return f"{name}({', '.join(describe(each) for each in value[:6])})"
    return name
