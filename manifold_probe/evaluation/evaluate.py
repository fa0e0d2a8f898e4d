"""A student compared with its teacher on tasks, from a bank of labelled rows, test rows, and unusual rows if given."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.evaluation.alarms import without_leaked
from manifold_probe.evaluation.fidelity import agreement, rank_correlation
from manifold_probe.evaluation.inputs import as_classes, check_neighbours
from manifold_probe.evaluation.intervals import mean_of, of_halves
from manifold_probe.evaluation.knn import knn_predict
from manifold_probe.evaluation.linear import labelled_rows, linear_predict
from manifold_probe.evaluation.logits import as_columns, top_k_hits
from manifold_probe.evaluation.ood import auroc, fpr_at_tpr, knn_scores, mahalanobis_scores
from manifold_probe.evaluation.outcome import Outcome, Part, classified
from manifold_probe.evaluation.retrieval import cross_recall, neighbour_recall, recall_estimate
from manifold_probe.measures.uncertainty import Estimate
from manifold_probe.parts import Progress

UNDEFINED = Estimate(None)
TASKS = ("knn", "linear", "linear-sgd", "retrieval", "ood", "logits")
SHARES = {"": 1.0, ":10%": 0.1, ":1%": 0.01}
RECALLS = (1, 10)


def evaluate(
    tasks: list[str],
    bank: Part,
    test: Part,
    ood: Part | None = None,
    logits: Part | None = None,
    *,
    k: int = 10,
    seed: int = 0,
    drop_leaked: bool = False,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Teacher and student on every task of ``tasks``, a choice of `TASKS`.

    Parameters
    ----------
    tasks : list of str
    bank, test : Part
        Labelled rows to learn from, and rows to test on; transfer, if they are of another data set than the training.
        Tasks that need labels leave out rows without one.
    ood : Part, optional
        Unusual rows. The test rows are the usual ones, and both are scored against the bank.
    logits : Part, optional
        Logits instead of features.
    k : int
        Neighbours that vote.
    seed : int
        Of the choice of labels and of the sgd recipe.
    drop_leaked : bool
        Leave out of the bank the rows that are also test rows: see `evaluation.alarms`.
    progress : callable, optional
        Called as ``progress(stage, tasks done, tasks)``.

    Raises
    ------
    InputError
        For an unknown task, or if the data that a task needs is missing.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(60, 4)), np.arange(60) % 2
    >>> x[:, 0] += 16 * y - 8
    >>> bank, test = halves(Part(x, x[:, :2], y), seed=0)
    >>> [(outcome.key, outcome.teacher, outcome.student) for outcome in evaluate(["knn"], bank, test)]
    [('knn_accuracy@10', 1.0, 1.0)]
    """
    for task in tasks:
        if task not in TASKS:
            raise InputError(f"task {task!r} is not known; choose from {', '.join(TASKS)}")
    outcomes: list[Outcome] = []
    if drop_leaked:
        bank = without_leaked(bank, test)
    for done, task in enumerate(tasks):
        if progress is not None:
            progress(f"task {task}", done, len(tasks))
        if task == "ood":
            if ood is None:
                raise InputError("task ood: there are no unusual rows; give features of another kind of input")
            outcomes += ood_outcomes(bank, test, ood, seed)
        elif task == "logits":
            if logits is None:
                raise InputError(
                    "task logits: there are no logits; save 'logits' in the files of features of both models"
                )
            outcomes += logits_outcomes(logits)
        elif task == "retrieval":
            if test.sets is not None:
                raise InputError("task retrieval: tokens of one set find each other; give --rows cls or mean")
            outcomes += retrieval_outcomes(test, seed)
        elif task == "knn":
            outcomes += knn_outcomes(bank, test, k)
        else:
            outcomes += linear_outcomes(bank, test, "sgd" if task == "linear-sgd" else "lbfgs", seed)
    return outcomes


def possible_tasks(test: Part, ood: Part | None, logits: Part | None) -> list[str]:
    """The tasks for which there is data, without the slow "linear-sgd".

    Raises
    ------
    InputError
        If there is no such task.
    """
    data = {"knn": test.labels, "linear": test.labels, "retrieval": test.labels, "ood": ood, "logits": logits}
    tasks = [task for task, needed in data.items() if needed is not None]
    if test.sets is not None and "retrieval" in tasks:
        tasks.remove("retrieval")  # tokens of one image find each other
    if not tasks:
        raise InputError("labels: missing; save 'labels' in the teacher's file, or give --labels or --teacher-ood")
    return tasks


def halves(part: Part, seed: int) -> tuple[Part, Part]:
    """A bank and test rows from one set: half of the rows each, and half of every class if there are labels."""
    labels = np.zeros(part.n, dtype=np.int64) if part.labels is None else part.labels
    first = np.unique(part.units, return_index=True)[1]  # a row of each set, where rows are tokens
    in_bank = np.isin(part.units, part.units[first[labelled_rows(labels[first], 0.5, seed)]])
    chosen, rest = np.flatnonzero(in_bank), np.flatnonzero(~in_bank)
    if not len(rest):
        rows = "rows with a different label each" if part.n > 1 and part.labels is not None else f"{part.n} rows"
        raise InputError(f"{part.name}: {rows} cannot be split in halves; give a train set, or class labels")
    return part.only(chosen), part.only(rest)


def knn_outcomes(bank: Part, test: Part, k: int) -> list[Outcome]:
    """Accuracy of the weighted k-NN vote."""
    bank, test = bank.labelled, test.labelled
    as_classes(bank.required_labels, bank.n, f"{bank.name}: labels")
    check_neighbours(k, bank.n)
    return [classified(f"knn_accuracy@{k}", partial(knn_predict, k=k), bank, test)]


def linear_outcomes(bank: Part, test: Part, recipe: str, seed: int) -> list[Outcome]:
    """A linear probe with all, a tenth and a hundredth of the bank's labels."""
    bank, test = bank.labelled, test.labelled
    as_classes(bank.required_labels, bank.n, f"{bank.name}: labels")
    name = "linear_accuracy" if recipe == "lbfgs" else "linear_sgd_accuracy"
    predict = partial(linear_predict, recipe=recipe, seed=seed)
    outcomes = []
    for suffix, share in SHARES.items():
        fewer = bank.only(labelled_rows(bank.required_labels, share, seed))
        outcomes.append(classified(name + suffix, predict, fewer, test, f"{fewer.n:,} labels"))
    return outcomes


def retrieval_outcomes(test: Part, seed: int = 0) -> list[Outcome]:
    """Recall@k in both spaces, neighbour recall, and cross recall where the widths are equal."""
    outcomes, test = [], test.labelled
    equal_widths = test.teacher.shape[1] == test.student.shape[1]
    if np.unique(test.required_labels, return_counts=True)[1].max() < 2:
        why = "no label occurs twice among the test rows"
        return [Outcome(f"recall@{k}", UNDEFINED, UNDEFINED, test.n, {}, why) for k in RECALLS]
    for k in (k for k in RECALLS if k < test.n):
        teacher, student = (recall_estimate(rows, test.required_labels, k, seed) for rows in test.sides)
        fidelity: dict[str, float | None] = {
            "neighbour_recall": neighbour_recall(*test.sides, k),
            "cross_recall": cross_recall(*test.sides, test.required_labels, k) if equal_widths else None,
        }
        note = None if equal_widths else "cross_recall needs equal widths"
        outcomes.append(Outcome(f"recall@{k}", teacher, student, test.n, fidelity, note))
    return outcomes


def ood_outcomes(bank: Part, test: Part, ood: Part, seed: int = 0) -> list[Outcome]:
    """Detection of unusual rows among test rows by three scores, and rank correlation of both spaces' scores."""
    outcomes: list[Outcome] = []
    sides = list(zip(bank.sides, test.sides, ood.sides, strict=True))
    has_label = bank.has_label
    for method in ("cosine", "euclidean", "mahalanobis"):
        if method == "mahalanobis" and (not has_label.any() or len(np.unique(bank.required_labels[has_label])) < 2):
            outcomes += [
                Outcome(
                    f"ood_{measure}:{method}",
                    UNDEFINED,
                    UNDEFINED,
                    0,
                    {},
                    "the bank needs labels of at least two classes",
                )
                for measure in ("auroc", "fpr95")
            ]
            continue
        scores = []
        for rows, usual, unusual in sides:
            tested = np.concatenate([usual, unusual])
            scores.append(
                mahalanobis_scores(rows[has_label], bank.required_labels[has_label], tested)
                if method == "mahalanobis"
                else knn_scores(rows, tested, 1, method)
            )
        is_usual = np.arange(test.n + ood.n) < test.n
        units = np.concatenate([test.units, ood.units + test.units.max() + 1])
        fidelity = {
            "rank_correlation_in": rank_correlation(*(side[is_usual] for side in scores)),
            "rank_correlation_out": rank_correlation(*(side[~is_usual] for side in scores)),
        }
        for measure, function in (("auroc", auroc), ("fpr95", fpr_at_tpr)):
            teacher, student = (
                of_halves(partial(_detection, function, side, is_usual), is_usual, seed, units) for side in scores
            )
            outcomes.append(Outcome(f"ood_{measure}:{method}", teacher, student, test.n + ood.n, fidelity))
    return outcomes


def _detection(
    function: Callable[[np.ndarray, np.ndarray], float], scores: np.ndarray, is_usual: np.ndarray, mask: np.ndarray
) -> float:
    """How well scores (n,) detect the unusual rows among those of a mask (n,)."""
    return function(scores[is_usual & mask], scores[~is_usual & mask])


def logits_outcomes(logits: Part) -> list[Outcome]:
    """Top-1 and top-5 accuracy of the models' classifiers."""
    logits = logits.labelled
    classes, width = (rows.shape[1] for rows in logits.sides)
    if classes != width:
        raise InputError(f"logits: teacher has {classes} columns and student {width}; give logits of the same classes")
    columns = as_columns(logits.required_labels, classes, logits.n)
    fidelity = agreement(logits.teacher.argmax(1), logits.student.argmax(1), columns, classes)
    outcomes = []
    for k in (k for k in (1, 5) if k < classes):
        teacher, student = (mean_of(top_k_hits(rows, columns, k)) for rows in logits.sides)
        outcomes.append(Outcome(f"logits_top{k}", teacher, student, logits.n, fidelity if k == 1 else {}))
    return outcomes
