"""A k-nearest-neighbour classifier on a space: its accuracy, and its agreement between two spaces.

The class of a row is the uniform majority of its k nearest other rows (cosine), ties going to the lowest label.
Agreement measures whether two spaces give the same classes; it does not see structure inside a class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from manifold_probe.engine.inputs import as_codes, as_matrices, as_matrix, check_same_labels
from manifold_probe.engine.neighbours import Neighbours
from manifold_probe.engine.rows import MOVED, PERMUTING, generator
from manifold_probe.measures.uncertainty import Estimate, error_of_share

if TYPE_CHECKING:
    from manifold_probe.measures.from_neighbours import Lists

VOTES_AT_ONCE = 20_000_000
MANY_CLASSES = 256  # above, few of the cells (query, class) hold a vote
CHANCE_VOTES, MIN_CHANCE_ROUNDS = 20_000, 8  # random votes over all queries: an error of at most .0035 for a share


def knn_accuracy(x: Any, labels: Any, k: int = 10) -> float:
    """Share of rows whose leave-one-out k-NN class is their label. Range 0 to 1, higher is better.

    The only row of its class counts as wrong: no other row can vote for it.

    Parameters
    ----------
    x : array-like, shape (n, d)
    labels : array-like, shape (n,)
        Rows without a label (None, NaN, "", a sole -1) are left out, as queries and as neighbours.
    k : int, 1 <= k < n

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[1, 0.1], [1, 0.2], [1, 0.3], [0.1, 1], [0.2, 1], [0.3, 1]])
    >>> knn_accuracy(x, ["a", "a", "a", "b", "b", "b"], k=2)
    1.0
    """
    check_same_labels(x, labels)
    x = as_matrix(x)
    codes, _ = as_codes(labels, len(x))
    x, codes = x[codes >= 0], codes[codes >= 0]
    return float((predictions(Neighbours.search(x, k), codes) == codes).mean())


def knn_agreement(x: Any, y: Any, labels: Any, k: int = 10) -> float:
    """Share of rows whose leave-one-out k-NN class is the same in both spaces. Range 0 to 1, higher is better.

    Parameters
    ----------
    x, y : array-like, shape (n, dx) and (n, dy)
    labels : array-like, shape (n,)
        Rows without a label are left out, as for ``knn_accuracy``.
    k : int, 1 <= k < n

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> knn_agreement(x, 3 * x, x[:, 0] > 0, k=5)
    1.0
    """
    check_same_labels(x, labels)
    x, y = as_matrices(x, y)
    codes, _ = as_codes(labels, len(x))
    x, y, codes = x[codes >= 0], y[codes >= 0], codes[codes >= 0]
    first, second = (predictions(Neighbours.search(s, k), codes) for s in (x, y))
    return float((first == second).mean())


def predictions(neighbours: Neighbours, codes: np.ndarray) -> np.ndarray:
    """The class (q,) that each query's neighbours vote for; tied rows vote with the share they hold."""
    query, place = np.nonzero(neighbours.weights)
    votes, weights = codes[neighbours.members[query, place]], neighbours.weights[query, place]
    return majority(query, votes, weights, len(neighbours.queries), int(codes.max()) + 1)


def majority(
    query: np.ndarray, votes: np.ndarray, weights: np.ndarray | None, queries: int, classes: int
) -> np.ndarray:
    """The class (queries,) with the most weight among the votes of each query; the lowest where several have it.

    ``query`` (m,), ascending, is the query of each of ``votes`` (m,).
    """
    if classes > MANY_CLASSES:
        return _majority_of_many(query, votes, weights, queries, classes)
    chosen = np.empty(queries, dtype=np.int64)
    step = max(1, VOTES_AT_ONCE // classes)
    for first in range(0, queries, step):
        stop = min(first + step, queries)
        part = slice(*np.searchsorted(query, [first, stop]))
        cells = (query[part] - first) * classes + votes[part]
        counts = np.bincount(cells, None if weights is None else weights[part], minlength=(stop - first) * classes)
        # shares of tied rows add up with rounding: equal counts must stay equal
        chosen[first:stop] = counts.reshape(-1, classes).round(9).argmax(1)
    return chosen


def _majority_of_many(
    query: np.ndarray, votes: np.ndarray, weights: np.ndarray | None, queries: int, classes: int
) -> np.ndarray:
    cells, inverse = np.unique(query * np.int64(classes) + votes, return_inverse=True)
    counts = np.bincount(inverse, weights).round(9)
    whose = cells // classes
    best = np.lexsort((cells, -counts, whose))
    asked, first = np.unique(whose[best], return_index=True)
    chosen = np.zeros(queries, dtype=np.int64)
    chosen[asked] = cells[best[first]] % classes
    return chosen


def expected_agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Agreement (of predicted classes, both (q,)) that the frequencies of the classes alone give: kappa's p_e."""
    classes = int(max(first.max(), second.max())) + 1
    shares = (np.bincount(predicted, minlength=classes) / len(predicted) for predicted in (first, second))
    return float(np.prod(list(shares), axis=0).sum())


def agreement_within(first: np.ndarray, second: np.ndarray, codes: np.ndarray) -> float:
    """Expected agreement when every row takes the second prediction of another row of its class ``codes`` (q,).

    Of classes of at least two rows; all (q,).
    """
    classes = int(max(first.max(), second.max())) + 1
    keys, counts = np.unique(codes * classes + second, return_counts=True)
    wanted = codes * classes + first
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    agreeing = np.where(keys[place] == wanted, counts[place], 0) - (first == second)
    return float((agreeing / (np.bincount(codes)[codes] - 1)).mean())


def kappa_within(first: np.ndarray, second: np.ndarray, codes: np.ndarray) -> float:
    """Kappa of `agreement_within`; rows only change places, so the expected agreement stays. NaN where that is 1."""
    expected = expected_agreement(first, second)
    return (agreement_within(first, second, codes) - expected) / (1 - expected) if expected < 1 else float("nan")


def mean_of_moved(terms: np.ndarray, codes: np.ndarray) -> float | None:
    """The mean of expected terms (q,), NaN for queries that cannot move; None where most of those with a class cannot.

    ``codes`` (q,) are the queries' classes, -1 for none.
    """
    moved = np.isfinite(terms)
    return float(terms[moved].mean()) if moved.any() and moved.sum() >= MOVED * (codes >= 0).sum() else None


class VoteChance(NamedTuple):
    """Chance values of the class measures: agreement, kappa, and the accuracies of teacher and student."""

    agreement: float
    kappa: float
    teacher: float
    student: float


def vote_chance(first: Neighbours, second: Neighbours, codes: np.ndarray, seed: int) -> VoteChance:
    """The class measures of two spaces when the rows of one are exchanged at random.

    Leave-one-out voting depends on the row's class, of which one row is missing, so that accuracy, agreement and
    Cohen's kappa (-.03 for 60 rows of 10 classes) fall below the values from class frequencies. Expectations are means
    over seeded permutations of the classes among the rows of the second space (and of the first space for its
    accuracy); its neighbour lists do not change.
    """
    queries, n = second.queries, second.n
    rest = np.setdiff1d(np.arange(n), queries, assume_unique=True)
    voted, rng, rounds = predictions(first, codes), generator(seed, PERMUTING), []
    for _ in range(max(MIN_CHANCE_ROUNDS, -(-CHANCE_VOTES // len(queries)))):
        place, moved = rng.permutation(len(queries)), np.empty_like(codes)
        moved[queries], moved[rest] = codes[queries[place]], codes[rng.permutation(rest)]
        voted_teacher, voted_student, true = voted[place], predictions(second, moved), moved[queries]
        accuracies = ((predicted == true).mean() for predicted in (predictions(first, moved), voted_student))
        rounds.append([(voted_teacher == voted_student).mean(), kappa(voted_teacher, voted_student), *accuracies])
    return VoteChance(*np.mean(rounds, axis=0).tolist())


def kappa(first: np.ndarray, second: np.ndarray) -> float:
    """Cohen's kappa: agreement beyond that of the class frequencies, as a share of the largest possible."""
    expected = expected_agreement(first, second)
    agreed = float((first == second).mean())
    return (agreed - expected) / (1 - expected) if expected < 1 else float("nan")


def agreement_from_accuracies(first: float, second: float, classes: int) -> float:
    """Agreement of independent votes: both right, or both wrong and by chance with the same wrong class."""
    return first * second + (1 - first) * (1 - second) / max(classes - 1, 1)


def agreement_note(votes: Lists, value: float | None) -> str:
    """A note on the agreement that the two accuracies alone would give."""
    teacher, student = (
        float((predicted == votes.query_codes).mean()) for predicted in (votes.teacher_votes, votes.student_votes)
    )
    alone = agreement_from_accuracies(teacher, student, int(votes.codes.max()) + 1)
    return f"the two accuracies alone would give {alone:.3f}"


def accuracy_error(votes: Lists, estimate: Estimate) -> Estimate:
    """An accuracy with at least the error of independent rows."""
    return estimate.at_least(error_of_share(estimate.value or 0.0, len(votes.query_codes)))


def agreement_error(votes: Lists, estimate: Estimate) -> Estimate:
    """An agreement with at least the error of independent rows, unchanged where all neighbours are kept."""
    return estimate if votes.kept_all else accuracy_error(votes, estimate)


def kappa_error(votes: Lists, estimate: Estimate) -> Estimate:
    """Kappa with at least the error of its agreement."""
    expected = expected_agreement(votes.teacher_votes, votes.student_votes)
    if votes.kept_all or not expected < 1:
        return estimate
    agreed = float((votes.teacher_votes == votes.student_votes).mean())
    return estimate.at_least(error_of_share(agreed, len(votes.query_codes)) / (1 - expected))
