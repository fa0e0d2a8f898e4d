"""What a student's features are good for, compared with its teacher's: classification, retrieval, unusual inputs,
corruption.

Plain functions on arrays (n, d): a bank of rows with labels, and the rows to judge. Another data set's bank and rows
make the same functions measures of transfer.

>>> import numpy as np
>>> from manifold_probe.evaluation import knn_predict
>>> knn_predict(np.eye(3), ["a", "b", "c"], np.eye(3)[1:] + 0.1, k=1).tolist()
['b', 'c']
"""

from importlib import import_module
from typing import Any

_HOMES = {
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
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
