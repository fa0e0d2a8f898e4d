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
    from manifold_probe import diagnosis, distillation, evaluation, measures, models, report, spaces
    from manifold_probe.api import (
        Comparison,
        Comparisons,
        Diagnosis,
        Distillation,
        Evaluation,
        Evaluations,
        Extraction,
        Migration,
        compare,
        diagnose,
        distill,
        evaluate,
        extract,
        load,
        migrate,
    )
    from manifold_probe.demo import DemoData, demo_data
    from manifold_probe.errors import InputError
    from manifold_probe.measures.catalogue import MEASURES, Measure
    from manifold_probe.spaces.space import Space

__version__ = "0.2.0"
__all__ = [
    "MEASURES",
    "Comparison",
    "Comparisons",
    "DemoData",
    "Diagnosis",
    "Distillation",
    "Evaluation",
    "Evaluations",
    "Extraction",
    "InputError",
    "Measure",
    "Migration",
    "Space",
    "compare",
    "demo_data",
    "diagnose",
    "diagnosis",
    "distill",
    "distillation",
    "evaluate",
    "evaluation",
    "extract",
    "load",
    "measures",
    "migrate",
    "models",
    "report",
    "spaces",
]

_HOME = {  # all names that are not here and are no modules: manifold_probe.api
    "DemoData": "manifold_probe.demo",
    "InputError": "manifold_probe.errors",
    "MEASURES": "manifold_probe.measures.catalogue",
    "Measure": "manifold_probe.measures.catalogue",
    "Space": "manifold_probe.spaces.space",
    "demo_data": "manifold_probe.demo",
}
_MODULES = ("diagnosis", "distillation", "evaluation", "measures", "models", "report", "spaces")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    return getattr(import_module(_HOME.get(name, f"{__name__}.api")), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
