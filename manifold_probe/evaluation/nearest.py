"""The rows of a bank nearest to queries that are not in it.

Cosine is Euclidean distance between unit rows, |u - v|^2 = 2 - 2 cos, so faiss searches one metric: centred at the
bank's mean, because float32 loses a common offset's worth of digits, with a margin that is measured again in float64;
where more rows tie than the margin holds, the whole bank is. Rows of zeros, which stand at distance 1 from unit rows,
never push a nearer row out unseen: they would tie at cosine 0 to the margin's end.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from manifold_probe.engine.inputs import check_metric
from manifold_probe.evaluation.inputs import as_bank, check_neighbours, unit

MARGIN = 16
CLOSE = 1e-6  # of the bank's spread and the query's distance: what float32 cannot tell apart
BLOCK = 4096


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
        Row numbers of the bank; of equally near rows the first.
    nearness : np.ndarray, shape (q, k)
        The cosine, or minus the Euclidean distance: more is nearer. A row of zeros has cosine 0 with everything.

    Raises
    ------
    InputError
        Where shapes, values, k or the metric cannot be used.

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
    else:
        bank, queries = bank.astype(np.float64), queries.astype(np.float64)
    centre = bank.mean(0)
    spread = np.abs(bank - centre).max() or 1.0
    points = ((bank - centre) / spread).astype(np.float32)
    rows, nearness = np.empty((len(queries), k), dtype=np.int64), np.empty((len(queries), k))
    for start in range(0, len(queries), BLOCK):
        part = slice(start, start + BLOCK)
        asked = ((queries[part] - centre) / spread).clip(-1e15, 1e15).astype(np.float32)
        _, candidates = faiss.knn(asked, points, min(len(bank), k + MARGIN))
        for place, (query, some) in enumerate(zip(queries[part], candidates, strict=True), start):
            close = CLOSE * (spread + np.abs(query - centre).max())
            rows[place], nearness[place] = _settled(bank, query, np.sort(some), k, metric, close)
    return rows, nearness


def _settled(
    bank: np.ndarray, query: np.ndarray, rows: np.ndarray, k: int, metric: str, close: float
) -> tuple[np.ndarray, np.ndarray]:
    """The first k of the candidates in float64; of the whole bank where the last is as near as the k-th."""
    found = _nearness(bank[rows], query, metric)
    order = np.argsort(-found, kind="stable")
    if len(rows) < len(bank) and found[order[k - 1]] - found[order[-1]] <= close:
        return _settled(bank, query, np.arange(len(bank)), k, metric, close)
    return rows[order[:k]], found[order[:k]]


def _nearness(rows: np.ndarray, query: np.ndarray, metric: str) -> np.ndarray:
    if metric == "cosine":
        return (rows * query).sum(1).round(12)  # parallel rows tie
    return -np.linalg.norm(rows - query, axis=1)
