"""Accuracy of a model's classifier, from its logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.evaluation.inputs import as_labels, as_number, as_rows


def as_columns(labels: Any, width: int, n: int) -> np.ndarray:
    """Labels as column numbers (n,) of logits (n, width): integers are column numbers, strings count in sorted order.

    Raises
    ------
    InputError
        If an integer is out of range, or the number of different strings is not the number of columns.
    """
    labels = as_labels(labels, n)
    if labels.dtype.kind in "iu":
        if labels.min() < 0 or labels.max() >= width:
            worst = labels[(labels < 0) | (labels >= width)][0]
            raise InputError(f"labels: {worst} is not a column of the {width} logits; give labels 0 to {width - 1}")
        return labels.astype(np.int64)
    names, codes = np.unique(labels, return_inverse=True)
    if len(names) != width:
        raise InputError(
            f"labels: {len(names)} names for logits of width {width}, so they cannot be matched; give column numbers"
        )
    return codes.astype(np.int64)


def top_k_accuracy(logits: Any, labels: Any, k: int = 1) -> float:
    """Share of rows whose label is among the k largest logits. Range 0 to 1, higher is better; chance k / C.

    If t equal logits share the last p places, a label among them counts p / t.

    Parameters
    ----------
    logits : array-like, shape (n, C)
    labels : array-like, shape (n,)
        Column numbers, or C different names, sorted in the order of the columns.
    k : int, 1 <= k <= C

    Examples
    --------
    >>> top_k_accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1])
    0.5
    """
    logits = as_rows(logits, "logits")
    n, width = logits.shape
    if not 1 <= as_number(k, "k", f"give 1 <= k <= {width}") <= width:
        raise InputError(f"k = {k} does not fit logits of width {width}; give 1 <= k <= {width}")
    of_label = logits[np.arange(n), as_columns(labels, width, n)][:, None]
    higher, equal = (logits > of_label).sum(1), (logits == of_label).sum(1)
    return float(((k - higher) / equal).clip(0, 1).mean())
