"""Layers inside a module: their names and shapes, and their outputs of a forward pass, captured by hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import torch

from manifold_probe.errors import InputError
from manifold_probe.models.load import Model, returned
from manifold_probe.models.outputs import describe, first_tensor

Hook = Callable[[torch.nn.Module, Any, Any], None]


def list_layers(model: Model, batch: Any) -> list[tuple[str, str, tuple[int, ...] | None]]:
    """Name, class and output shape of every submodule, in the module's order, from one forward pass of ``batch``.

    The shape is None if a submodule did not run or returned no tensor.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def record_shape(name: str) -> Hook:
        def hook(module: torch.nn.Module, inputs: Any, output: Any) -> None:
            if (tensor := first_tensor(output)) is not None:
                shapes[name] = tuple(tensor.shape)

        return hook

    layers = layers_of(model.module)
    with _hooked(layers, record_shape):
        returned(model, batch)
    return [(name, type(module).__name__, shapes.get(name)) for name, module in layers.items()]


def resolve_layers(module: torch.nn.Module, patterns: list[str]) -> list[str]:
    """The names of the submodules that match names or globs, without repeats, in the module's order.

    ``*`` also matches dots: "blocks.*" matches everything inside every block, "blocks.?" the blocks.

    Raises
    ------
    InputError
        A pattern that matches no submodule; the message suggests the nearest names.

    >>> resolve_layers(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()), ["1", "0"])
    ['0', '1']
    """
    names = list(layers_of(module))
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            near = get_close_matches(pattern, names, 3, 0.4) or names[:3]
            suggested = f"did you mean {' or '.join(near)}? " if near else ""
            raise InputError(f"--layers: no layer is called {pattern!r}; {suggested}--list-layers prints them all")
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def is_glob(pattern: str) -> bool:
    """Whether a pattern may match several layers, and is not the name of one layer."""
    return any(sign in pattern for sign in "*?[")


def running_layers(model: Model, patterns: list[str], batch: Any, rows: int) -> list[str]:
    """`resolve_layers`, where globs match only layers with one output row for each of the ``rows`` inputs in ``batch``.

    Other layers do not run in the forward pass, or work on data shared by all inputs, such as the positions of tokens.
    Layers given by name are checked later, in `capture`.

    Raises
    ------
    InputError
        A pattern that matches no submodule, or a glob that matches no layer with a row per input.
    """
    names = resolve_layers(model.module, patterns)
    exact = {pattern for pattern in patterns if not is_glob(pattern)}
    if len(exact) == len(patterns):
        return names
    running = {name for name, _, shape in list_layers(model, batch) if shape is not None and shape[:1] == (rows,)}
    for pattern in patterns:
        if is_glob(pattern) and not any(fnmatchcase(name, pattern) for name in running):
            raise InputError(f"--layers: no layer of {pattern!r} gives one row per input; see --list-layers")
    return [name for name in names if name in running or name in exact]


@contextmanager
def capture(module: torch.nn.Module, names: list[str]) -> Iterator[dict[str, torch.Tensor]]:
    """A dict that the next forward pass fills with the output of each named submodule, float32 and detached.

    Of a tuple or a dict it keeps the first tensor; of a layer that runs several times, the last output. The hooks are
    removed when the block is left, also by an exception.

    Raises
    ------
    InputError
        A layer that returned no tensor, or did not run although others did.

    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())
    >>> with capture(net, ["0"]) as outputs:
    ...     _ = net(torch.ones(4, 2))
    >>> outputs["0"].shape
    torch.Size([4, 3])
    """
    outputs: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Hook:
        def hook(module: torch.nn.Module, inputs: Any, output: Any) -> None:
            tensor = first_tensor(output)
            if tensor is None:
                raise InputError(f"--layers: {name} returned {describe(output)}, not a tensor; choose another layer")
            # a copy, because a later ReLU(inplace=True) would write into it
            outputs[name] = tensor.detach().to(torch.float32, copy=True)

        return hook

    layers = layers_of(module)
    with _hooked({name: layers[name] for name in names}, keep):
        yield outputs
    idle = [name for name in names if name not in outputs]
    if outputs and idle:
        raise InputError(f"--layers: {', '.join(idle[:3])} did not run in the forward pass; choose another layer")


def layers_of(module: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """Every submodule by its name, in the module's order."""
    # a module that is used twice is listed under both names
    return {name: layer for name, layer in module.named_modules(remove_duplicate=False) if name}


@contextmanager
def _hooked(layers: dict[str, torch.nn.Module], make: Callable[[str], Hook]) -> Iterator[None]:
    with ExitStack() as stack:
        for name, module in layers.items():
            stack.callback(module.register_forward_hook(make(name)).remove)
        yield
