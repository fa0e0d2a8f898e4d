"""Naive transcriptions of every public measure from its paper: loops and n x n matrices, nothing fast.

Distances are taken in extended precision, so that what ties does tie and what does not, does not.
"""

import numpy as np
from scipy import linalg, stats

from manifold_probe.engine.rows import random_groups

TIE = np.longdouble(1e-11)


def centred(x):
    return x - x.mean(0)


def double_centred(kernel):
    n = len(kernel)
    h = np.eye(n) - np.ones((n, n)) / n
    return h @ kernel @ h


def linear_cka(x, y):
    """Kornblith et al. 2019, eq. 4: HSIC of centred Gram matrices over the geometric mean of their own."""
    k, l = double_centred(centred(x) @ centred(x).T), double_centred(centred(y) @ centred(y).T)  # noqa: E741
    return np.trace(k @ l) / np.sqrt(np.trace(k @ k) * np.trace(l @ l))


def unbiased_hsic(k, l):  # noqa: E741
    """Song et al. 2012, eq. 5, on n x n kernels."""
    n = len(k)
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    one = np.ones(n)
    trace = np.trace(k @ l)
    sums = (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
    return (trace + sums - 2 / (n - 2) * (one @ k @ l @ one)) / (n * (n - 3))


def debiased_linear_cka(x, y):
    """Nguyen et al. 2021, eq. 3; kernels of centred rows, since the estimator does not see an offset."""
    k, l = centred(x) @ centred(x).T, centred(y) @ centred(y).T  # noqa: E741
    return unbiased_hsic(k, l) / np.sqrt(unbiased_hsic(k, k) * unbiased_hsic(l, l))


def procrustes_similarity(x, y):
    """Williams et al. 2021: the cosine with x that the best orthogonal map of y reaches; the narrower is padded."""
    width = max(x.shape[1], y.shape[1])
    x, y = (np.pad(centred(z), ((0, 0), (0, width - z.shape[1]))) for z in (x, y))
    rotation, _ = linalg.orthogonal_procrustes(y, x)
    return np.sum((y @ rotation) * x) / (np.linalg.norm(x) * np.linalg.norm(y))


def ridge_predict(y_fit, x_fit, y_read, strength):
    """Ridge from y to x with an unpenalised intercept, as least squares with extra rows."""
    a = np.vstack([centred(y_fit), np.sqrt(strength) * np.eye(y_fit.shape[1])])
    b = np.vstack([centred(x_fit), np.zeros((y_fit.shape[1], x_fit.shape[1]))])
    weights = np.linalg.lstsq(a, b, rcond=None)[0]
    return (y_read - y_fit.mean(0)) @ weights + x_fit.mean(0)


def mean_power(y):
    return np.sum(centred(y) ** 2) / y.shape[1] or 1.0


def linear_r2(x, y, seed=0):
    """Two-fold cross-fitted R2 of x from y; the strength is chosen on a split of each training half."""
    groups, count = random_groups(len(x), seed)
    first = groups < (count + 1) // 2
    errors = squares = 0.0
    for fit in (first, ~first):
        numbers = np.unique(groups[fit])
        inner = np.isin(groups, numbers[: (len(numbers) + 1) // 2])
        train, test = fit & inner, fit & ~inner
        grid = 10.0 ** np.arange(-8, 5)
        losses = [
            np.sum((x[test] - ridge_predict(y[train], x[train], y[test], g * mean_power(y[train]))) ** 2) for g in grid
        ]
        strength = grid[int(np.argmin(losses))] * mean_power(y[fit])
        errors += np.sum((x[~fit] - ridge_predict(y[fit], x[fit], y[~fit], strength)) ** 2)
        squares += np.sum((x[~fit] - x[fit].mean(0)) ** 2)
    return 1 - errors / squares


def distances(x, metric):
    """Squared Euclidean, or 1 - cosine with a zero vector at 1 from everything; infinite to itself."""
    x = np.asarray(x, dtype=np.longdouble)
    n = len(x)
    away = np.empty((n, n), dtype=np.longdouble)
    if metric == "cosine":
        norms = np.sqrt((x * x).sum(1))
        x = np.where(norms[:, None] > 0, x / np.where(norms > 0, norms, 1)[:, None], 0)
    for i in range(n):
        away[i] = ((x - x[i]) ** 2).sum(1)
        if metric == "cosine":
            away[i] = np.where((norms > 0) & (norms[i] > 0), away[i] / 2, 1)
        away[i, i] = np.inf
    return away


def nearer(away, limit):
    """Mask of the distances strictly below a limit; rounding in extended precision is no difference."""
    return away < limit * (1 - TIE) - np.longdouble(1e-30)


def relative(away):
    """Distances over the largest of them."""
    largest = away[np.isfinite(away)].max()
    return away / largest if largest > 0 else away


def shares(x, k, metric="cosine"):
    """Membership weights (n, n): 1 for rows nearer than the k-th, equal parts of what is left for its ties."""
    weights = np.zeros((len(x), len(x)))
    for i, away in enumerate(relative(distances(x, metric))):
        kth = np.sort(away)[k - 1]
        whole = nearer(away, kth)
        tied = ~whole & ~nearer(kth, away)
        tied[i] = False
        weights[i, whole] = 1
        weights[i, tied] = (k - whole.sum()) / tied.sum()
    return weights


def standings(x, metric="cosine"):
    """Two matrices (n, n): how many other rows are strictly nearer than row j, and how many as near (j too)."""
    away = relative(distances(x, metric))
    before = np.array([[nearer(row, limit).sum() for limit in row] for row in away])
    beyond = np.array([[nearer(limit, row).sum() for limit in row] for row in away])  # infinite to itself: beyond all
    return before, len(x) - before - beyond


def intersections(x, y, k, metric):
    return np.minimum(shares(x, k, metric), shares(y, k, metric)).sum(1)


def neighbourhood_overlap(x, y, k=10, metric="cosine"):
    return intersections(x, y, k, metric).mean() / k


def jaccard_overlap(x, y, k=10, metric="cosine"):
    common = intersections(x, y, k, metric)
    return np.mean(common / (2 * k - common))


def trustworthiness(x, y, k=10, metric="cosine"):
    """Venna & Kaski 2001. Rows that tie in x take the ranks they span in turn; what a row holds of the first k places
    in both spaces costs nothing, the rest takes the ranks beyond k."""
    n, weights, (before, tied) = len(x), shares(y, k, metric), standings(x, metric)
    total = 0.0
    for i in range(n):
        for j in range(n):
            ranks = range(before[i, j] + 1, before[i, j] + tied[i, j] + 1)
            beyond = [rank - k for rank in ranks if rank > k]
            if i == j or not beyond:
                continue
            outside = weights[i, j] - min(weights[i, j], 1 - len(beyond) / len(ranks))
            total += outside * sum(beyond) / len(beyond)
    return 1 - 2 / (n * k * (2 * n - 3 * k - 1)) * total


def continuity(x, y, k=10, metric="cosine"):
    return trustworthiness(y, x, k, metric)


def predicted(x, labels, k):
    names = sorted(set(np.asarray(labels).tolist()))
    winners = []
    for row in shares(x, k):
        votes = [round(sum(w for w, label in zip(row, labels, strict=True) if label == name), 9) for name in names]
        winners.append(names[votes.index(max(votes))])
    return np.array(winners)


def knn_accuracy(x, labels, k=10):
    return np.mean(predicted(x, labels, k) == np.asarray(labels))


def knn_agreement(x, y, labels, k=10):
    return np.mean(predicted(x, labels, k) == predicted(y, labels, k))


def per_dimension_correlation(x, y):
    return np.array(
        [
            np.nan if np.ptp(a) == 0 or np.ptp(b) == 0 else stats.pearsonr(a - a.mean(), b - b.mean())[0]
            for a, b in zip(x.T, y.T, strict=True)
        ]
    )


def space_similarity(x, y):
    """Singh & Wang 2024: cosine of columns over the batch, not centred."""
    found = []
    for a, b in zip(x.T, y.T, strict=True):
        size = np.linalg.norm(a) * np.linalg.norm(b)
        found.append(a @ b / size if size else np.nan)
    return np.array(found)


def norm_correlation(x, y):
    a, b = (np.array([np.sqrt(sum(v * v for v in row)) for row in z]) for z in (x, y))
    return np.corrcoef(a - a.mean(), b - b.mean())[0, 1]


def rankme(x):
    """Garrido et al. 2023, eq. 1 and 2."""
    sigma = np.linalg.svd(x, compute_uv=False)
    p = sigma / sigma.sum() + 1e-7
    return np.exp(-sum(v * np.log(v) for v in p))


def positive_neighbours(x):
    """Ascending distances of each row to the rows that are not copies of it."""
    return [np.sqrt(np.sort(row[(row > 0) & np.isfinite(row)])) for row in distances(x, "euclidean")]


def twonn(x):
    """Facco et al. 2017: slope through the origin of -ln(1 - F) over ln mu, F(mu_(i)) = i / N."""
    logs = np.sort([float(np.log(r[1] / r[0])) for r in positive_neighbours(x) if len(r) > 1])
    kept = int(0.9 * len(logs))
    points = [(mu, -np.log(1 - i / len(logs))) for i, mu in enumerate(logs[:kept], 1)]
    return sum(mu * f for mu, f in points) / sum(mu * mu for mu, _ in points)


def mle(x, k=20):
    """Levina & Bickel 2004 as averaged by MacKay & Ghahramani 2005: inverse of the mean log ratio."""
    k = min(k, len(x) - 1)
    logs = []
    for row in distances(x, "euclidean"):
        nearest = np.sqrt(np.sort(row)[:k])
        logs += [float(np.log(nearest[-1] / r)) for r in nearest[:-1] if r > 0]
    return 1 / np.mean(logs)


def intrinsic_dimension(x, method="twonn"):
    return twonn(x) if method == "twonn" else mle(x)


def hubness_skewness(x, k=10):
    """Radovanovic et al. 2010, eq. 1: third standardised moment of the k-occurrences."""
    counts = shares(x, k).sum(0)
    return 0.0 if np.ptp(counts) < 1e-9 else stats.skew(counts)
