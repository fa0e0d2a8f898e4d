"""The rows of a bank nearest to queries that are not in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.inputs import check_metric
from manifold_probe.engine.neighbours import search
from manifold_probe.engine.scale import largest_of
from manifold_probe.engine.threads import threads
from manifold_probe.evaluation.inputs import as_bank, check_neighbours, unit
from manifold_probe.spaces.space import Space

FAR_LIMIT = 1e140  # times the bank's largest value


def nearest(bank: Any, queries: Any, k: int = 10, metric: str = "cosine") -> tuple[np.ndarray, np.ndarray]:
    """The k rows of the bank nearest to each query, nearest first.

    Parameters
    ----------
    bank : array-like, shape (m, d)
    queries : array-like, shape (q, d)
    k : int, 1 <= k <= m
    metric : "cosine" or "euclidean"

    Returns
    -------
    rows : np.ndarray of int64, shape (q, k)
        Row numbers of the bank; ties go to the first row.
    nearness : np.ndarray, shape (q, k)
        The cosine, or minus the Euclidean distance: higher is nearer. A row of zeros has cosine 0 with all rows.

    Raises
    ------
    InputError
        If shapes, values, k or the metric cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> rows, nearness = nearest([[1.0, 0.0], [0.0, 2.0]], [[0.0, 5.0]], k=2)
    >>> rows.tolist(), nearness.tolist()
    ([[1, 0]], [[1.0, 0.0]])
    """
    bank, queries = as_bank(bank, queries)
    k = check_neighbours(k, len(bank))
    if check_metric(metric) == "cosine":
        bank, queries = unit(bank), unit(queries)
    else:  # beyond the limit all rows of the bank are equally far, and squares overflow
        limit = FAR_LIMIT * (largest_of(bank) or 1.0)
        queries = queries.astype(np.float64).clip(-limit, limit)
    cloud = Cloud(Space(bank), asked=Space(queries))
    with threads() as mapper:
        neighbours = search(cloud, len(bank) + np.arange(len(queries)), k, {metric: k}, mapper)[metric]
    rows, distances = neighbours.nearest, neighbours.distances[:, :k]
    nearness = (1 - distances).round(12) if metric == "cosine" else -np.ldexp(np.sqrt(distances), cloud.exponent)
    order = np.lexsort((rows, -nearness), axis=1)  # parallel rows tie
    return np.take_along_axis(rows, order, 1), nearness
