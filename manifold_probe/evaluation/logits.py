"""Accuracy of a model's own classifier, from its logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.evaluation.inputs import as_labels, as_number, as_rows


def as_columns(labels: Any, width: int, n: int) -> np.ndarray:
    """Labels as column numbers (n,) of logits (n, width): integers are that, texts stand in sorted order.

    Raises
    ------
    InputError
        Where an integer is no column, or the texts are not as many as there are columns.
    """
    labels = as_labels(labels, n)
    if labels.dtype.kind in "iu":
        if labels.min() < 0 or labels.max() >= width:
            worst = labels[(labels < 0) | (labels >= width)][0]
            raise InputError(f"labels: {worst} is no column of logits of width {width}; give labels 0 to {width - 1}")
        return labels.astype(np.int64)
    names, codes = np.unique(labels, return_inverse=True)
    if len(names) != width:
        raise InputError(
            f"labels: {len(names)} names for logits of width {width}, so no order joins them; give column numbers"
        )
    return codes.astype(np.int64)


def top_k_accuracy(logits: Any, labels: Any, k: int = 1) -> float:
    """Share of rows whose label is among the k largest logits. Range 0 to 1, higher is better; chance k / C.

    Where t equal logits share the last p places, a label among them counts p / t.

    Parameters
    ----------
    logits : array-like, shape (n, C)
    labels : array-like, shape (n,)
        Column numbers, or C different names, whose sorted order is that of the columns.
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
    own = logits[np.arange(n), as_columns(labels, width, n)][:, None]
    higher, equal = (logits > own).sum(1), (logits == own).sum(1)
    return float(((k - higher) / equal).clip(0, 1).mean())
