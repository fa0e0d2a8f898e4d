"""manifold_probe: how faithfully did a student model keep its teacher's embedding manifold?

>>> import numpy as np
>>> import manifold_probe as mp
>>> teacher = np.random.default_rng(0).normal(size=(300, 8))
>>> round(mp.measures.linear_cka(teacher, 2 * teacher + 1), 6)
1.0

Names are imported when first used, so that ``import manifold_probe`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manifold_probe import distillation, measures, report, spaces
    from manifold_probe.api import Comparison, Comparisons, Diagnosis, compare, diagnose, load
    from manifold_probe.errors import InputError
    from manifold_probe.measures.catalogue import MEASURES, Measure
    from manifold_probe.spaces.space import Space

__version__ = "0.1.0"
__all__ = [
    "MEASURES",
    "Comparison",
    "Comparisons",
    "Diagnosis",
    "InputError",
    "Measure",
    "Space",
    "compare",
    "diagnose",
    "distillation",
    "load",
    "measures",
    "report",
    "spaces",
]

_HOME = {
    "Comparison": "manifold_probe.api",
    "Comparisons": "manifold_probe.api",
    "Diagnosis": "manifold_probe.api",
    "InputError": "manifold_probe.errors",
    "MEASURES": "manifold_probe.measures.catalogue",
    "Measure": "manifold_probe.measures.catalogue",
    "Space": "manifold_probe.spaces.space",
    "compare": "manifold_probe.api",
    "diagnose": "manifold_probe.api",
    "load": "manifold_probe.api",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
