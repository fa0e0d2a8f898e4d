"""The outputs of modules: the tensor that holds the features, or an error if it is ambiguous."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from manifold_probe.errors import InputError

PROJECTED = ("image_embeds", "text_embeds")  # projected embeddings in transformers
HIDDEN = "last_hidden_state"
NAMES = ("features", "sentence_embedding", *PROJECTED, HIDDEN)  # names of the features, in order of preference


def is_projected(output: Any) -> bool:
    """Whether a model returned a projected embedding."""
    return isinstance(output, Mapping) and any(output.get(name) is not None for name in PROJECTED)


def one_tensor(output: Any, where: str, pooling: str | None = None) -> torch.Tensor:
    """The tensor that a model returned: the output, its entry with a known name, or its only float tensor.

    If the model returns a projected embedding (`PROJECTED`) and the hidden states before it, ``pooling`` decides: None
    and "projection" take the embedding, any other pooling the hidden states (B, N, D), which it then pools.

    Raises
    ------
    InputError
        No such tensor, several candidates, or "projection" for a model without one.

    >>> one_tensor({"features": torch.ones(2, 3), "logits": torch.ones(2, 10)}, "model").shape
    torch.Size([2, 3])
    >>> both = {"image_embeds": torch.ones(2, 3), "last_hidden_state": torch.ones(2, 5, 4)}
    >>> one_tensor(both, "model").shape, one_tensor(both, "model", "cls").shape
    (torch.Size([2, 3]), torch.Size([2, 5, 4]))
    """
    if pooling == "projection" and not is_projected(output):
        raise InputError(f"{where}: has no projection; leave --pool projection out, or choose another pooling")
    if is_projected(output) and pooling not in (None, "projection") and output.get(HIDDEN) is not None:
        output = output[HIDDEN]
    tensors = list(_features(output))
    if len(tensors) != 1:
        fix = "return one tensor of floating-point numbers, or {'features': x}, or choose --layers"
        raise InputError(f"{where}: returned {describe(output)}; {fix}")
    return tensors[0]


def token_states(output: Any) -> torch.Tensor | None:
    """The hidden states of a text's tokens (B, N, D) in a model's output; None if there are none."""
    tensors = [output] if isinstance(output, torch.Tensor) else []
    if isinstance(output, Mapping):
        tensors = [output[name] for name in (HIDDEN, "token_embeddings") if output.get(name) is not None]
    return next((tensor for tensor in tensors if tensor.ndim == 3), None)


def first_tensor(output: Any) -> torch.Tensor | None:
    """The first float tensor in a layer's output, depth first; None if there is none."""
    return next(_features(output), None)


def _features(output: Any) -> Iterator[torch.Tensor]:
    if isinstance(output, Mapping):
        named = [output[name] for name in NAMES if output.get(name) is not None]
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
        return f"{name}({', '.join(f'{key}: {describe(item)}' for key, item in list(value.items())[:6])})"
    if isinstance(value, list | tuple):
        return f"{name}({', '.join(describe(item) for item in value[:6])})"
    return name
