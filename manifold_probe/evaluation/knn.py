"""The k-nearest-neighbour classifier of self-supervised learning, with votes weighted by cosine.

    class of q = argmax_c  sum over the k bank rows j nearest to q by cosine, of class c, of exp(cos(q, j) / T)

With T = 0.07 the nearest row has four times the weight of a row at a cosine 0.1 lower. Row lengths have no effect.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.evaluation.inputs import as_bank, as_number, known_labels
from manifold_probe.evaluation.nearest import nearest
from manifold_probe.measures.classes import majority

TEMPERATURE = 0.07


def knn_predict(bank: Any, labels: Any, queries: Any, k: int = 10, temperature: float = TEMPERATURE) -> np.ndarray:
    """The label (q,) that each query's neighbours in the bank vote for; the lowest label if votes are equal.

    Parameters
    ----------
    bank : array-like, shape (m, d)
    labels : array-like, shape (m,)
        Rows of the bank without a label are left out.
    queries : array-like, shape (q, d)
    k : int, 1 <= k <= m
    temperature : float, above 0

    Raises
    ------
    InputError
        If shapes, values, k or the temperature cannot be used.

    References
    ----------
    Wu et al. 2018, Unsupervised Feature Learning via Non-Parametric Instance Discrimination, sec. 3.4; k = 10 and
    T = 0.07 as in the papers of CoSS and TinTeM.

    Examples
    --------
    >>> import numpy as np
    >>> bank = np.array([[1, 0.0], [1, 0.3], [1, 0.31]])
    >>> knn_predict(bank, ["near", "far", "far"], [[1, 0.0]], k=3).tolist()  # two votes at a cosine of 0.96
    ['far']
    >>> knn_predict(bank, ["near", "far", "far"], [[1, 0.0]], k=3, temperature=0.01).tolist()
    ['near']
    """
    bank, queries = as_bank(bank, queries)
    has_label, labels = known_labels(labels, len(bank))
    bank = bank[has_label]
    names, codes = np.unique(labels, return_inverse=True)
    if not as_number(temperature, "temperature", "give a number above 0") > 0:
        raise InputError(f"temperature is {temperature}; give a number above 0")
    rows, cosines = nearest(bank, queries, k)
    weights = np.exp((cosines - cosines[:, :1]) / temperature)  # relative to the nearest: no overflow
    query = np.repeat(np.arange(len(rows)), rows.shape[1])
    return names[majority(query, codes[rows].ravel(), weights.ravel(), len(rows), len(names))]
