"""A look at a model in training that leaves no trace: modes, weights, buffers and random states are as before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn


@contextmanager
def untouched(model: Any = None) -> Iterator[None]:
    """In eval mode, without gradients; then every module's mode and buffers and all random states are restored.

    Also restored are the weights of layers that do more than change their mode in ``train()``, as those that merge
    weights for evaluation: taking away what was added rounds them.

    >>> layer = torch.nn.Dropout()
    >>> with untouched(layer):
    ...     layer.training, torch.is_grad_enabled()
    (False, False)
    >>> layer.training
    True
    """
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    modes = [module.training for module in modules]
    held: list[dict[str, Any]] = [module._buffers for module in modules]
    held += [module._parameters for module in modules if type(module).train is not nn.Module.train]
    of_python, of_numpy, cached = random.getstate(), np.random.get_state(), torch.is_autocast_cache_enabled()  # noqa: NPY002
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices), torch.no_grad():
        before = [(x, dict(x), {name: t.clone() for name, t in x.items() if t is not None}) for x in held]
        torch.set_autocast_cache_enabled(False)  # a weight cast here would be cached without its gradient
        try:
            if modules:
                model.eval()
            yield
        finally:
            torch.set_autocast_cache_enabled(cached)
            if modules:
                model.train(modes[0])  # for layers that prepare their weights when the mode changes
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode
            random.setstate(of_python)
            np.random.set_state(of_numpy)  # noqa: NPY002
            for tensors, same, values in before:
                tensors.update(same)
                for name, value in values.items():
                    if not torch.equal(same[name], value):
                        same[name].copy_(value)
