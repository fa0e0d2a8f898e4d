"""What modules return: the one tensor that is meant, or a line that says why it is not clear which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from manifold_probe.errors import InputError

PROJECTED = ("image_embeds", "text_embeds")  # the embedding behind a projection, in transformers
HIDDEN = "last_hidden_state"
NAMES = ("features", "sentence_embedding", *PROJECTED, HIDDEN)  # what the output is called, by us and by others


def is_projected(output: Any) -> bool:
    """Whether a model returned a projected embedding."""
    return isinstance(output, Mapping) and any(output.get(name) is not None for name in PROJECTED)


def one_tensor(output: Any, where: str, pooling: str | None = None) -> torch.Tensor:
    """The tensor a model returned: itself, the entry with a known name, or the only one of floats.

    Where the model returns a projected embedding (`PROJECTED`) and the hidden states before it, ``pooling`` decides:
    None and "projection" take the embedding, every other pooling the hidden states (B, N, D), which it then pools.

    Raises
    ------
    InputError
        No such tensor, several that could be meant, or "projection" of a model without one.

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
    found = list(_features(output))
    if len(found) != 1:
        fix = "return one tensor of floating-point numbers, or {'features': x}, or choose --layers"
        raise InputError(f"{where}: returned {describe(output)}; {fix}")
    return found[0]


def token_states(output: Any) -> torch.Tensor | None:
    """The hidden states of a text's tokens (B, N, D) among what a model returned; None where there are none."""
    found = [output] if isinstance(output, torch.Tensor) else []
    if isinstance(output, Mapping):
        found = [output[name] for name in (HIDDEN, "token_embeddings") if output.get(name) is not None]
    return next((tensor for tensor in found if tensor.ndim == 3), None)


def first_tensor(output: Any) -> torch.Tensor | None:
    """The first tensor of floating-point numbers in a layer's output, depth first; None where there is none."""
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
        return f"{name}({', '.join(f'{key}: {describe(each)}' for key, each in list(value.items())[:6])})"
    if isinstance(value, list | tuple):
        return f"{name}({', '.join(describe(each) for each in value[:6])})"
    return name
