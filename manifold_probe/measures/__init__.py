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
    "linear_cka": "alignment",
    "debiased_linear_cka": "alignment",
    "procrustes_similarity": "alignment",
    "linear_r2": "alignment",
    "neighbourhood_overlap": "overlap",
    "jaccard_overlap": "overlap",
    "trustworthiness": "overlap",
    "continuity": "overlap",
    "knn_agreement": "classes",
    "knn_accuracy": "classes",
    "per_dimension_correlation": "dimensions",
    "space_similarity": "dimensions",
    "rankme": "dimensions",
    "norm_correlation": "geometry",
    "intrinsic_dimension": "geometry",
    "hubness_skewness": "geometry",
    "Moments": "moments",
    "Neighbours": "neighbours",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
