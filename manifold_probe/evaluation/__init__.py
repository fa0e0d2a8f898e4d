"""How useful a student's features are, compared with its teacher's: classification, retrieval, detection of unusual
inputs, corrupted images.

Plain functions on arrays (n, d): a bank of labelled rows, and the test rows. With bank and test rows of another data
set they measure transfer.

>>> import numpy as np
>>> from manifold_probe.evaluation import knn_predict
>>> knn_predict(np.eye(3), ["a", "b", "c"], np.eye(3)[1:] + 0.1, k=1).tolist()
['b', 'c']
"""

from importlib import import_module
from typing import Any

_MODULES = {
    "knn_predict": "knn",
    "nearest": "nearest",
    "linear_predict": "linear",
    "labelled_rows": "linear",
    "accuracy": "fidelity",
    "agreement": "fidelity",
    "rank_correlation": "fidelity",
    "top_k_accuracy": "logits",
    "recall": "retrieval",
    "cross_recall": "retrieval",
    "neighbour_recall": "retrieval",
    "knn_scores": "ood",
    "mahalanobis_scores": "ood",
    "auroc": "ood",
    "fpr_at_tpr": "ood",
    "corrupt": "corruptions",
    "watched": "watch",
    "evaluate": "evaluate",
}
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
