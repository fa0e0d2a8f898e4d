"""Measures of how faithfully one space keeps another: plain functions on arrays (n, d), and their streaming twins.

>>> import numpy as np
>>> from manifold_probe.measures import neighbourhood_overlap
>>> x = np.random.default_rng(0).normal(size=(100, 8))
>>> neighbourhood_overlap(x, 2 * x, k=5)
1.0
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "linear_cka": "measures.alignment",
    "debiased_linear_cka": "measures.alignment",
    "procrustes_similarity": "measures.alignment",
    "linear_r2": "measures.alignment",
    "neighbourhood_overlap": "measures.overlap",
    "jaccard_overlap": "measures.overlap",
    "trustworthiness": "measures.overlap",
    "continuity": "measures.overlap",
    "knn_agreement": "measures.classes",
    "knn_accuracy": "measures.classes",
    "per_dimension_correlation": "measures.dimensions",
    "space_similarity": "measures.dimensions",
    "rankme": "measures.dimensions",
    "norm_correlation": "measures.geometry",
    "intrinsic_dimension": "measures.geometry",
    "hubness_skewness": "measures.geometry",
    "Moments": "engine.moments",
    "Neighbours": "engine.neighbours",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"manifold_probe.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
