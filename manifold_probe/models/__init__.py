"""Models: a torch module from one string, with its preprocessing, layers and pooled output.

>>> import torch
>>> from manifold_probe.models import make_head, make_student
>>> student, head = make_student("conv4"), make_head("linear", 128, 512)
>>> head(student(torch.zeros(2, 3, 28, 28))).shape
torch.Size([2, 512])
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "load_model": "load",
    "forward": "load",
    "Model": "load",
    "make_student": "students",
    "make_head": "heads",
    "saved_head": "heads",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
