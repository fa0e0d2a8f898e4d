"""A student compared with its teacher, task by task: a bank of labelled rows, test rows, and unusual rows where there
are any.

Every task is a few lines here, on the functions of the module of its name.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.evaluation.alarms import without_leaked
from manifold_probe.evaluation.fidelity import agreement, rank_correlation
from manifold_probe.evaluation.inputs import as_classes, check_neighbours
from manifold_probe.evaluation.knn import knn_predict
from manifold_probe.evaluation.linear import labelled_rows, linear_predict
from manifold_probe.evaluation.logits import as_columns, top_k_accuracy
from manifold_probe.evaluation.ood import auroc, fpr_at_tpr, knn_scores, mahalanobis_scores
from manifold_probe.evaluation.outcome import Outcome, Part, classified
from manifold_probe.evaluation.retrieval import cross_recall, neighbour_recall, recall
from manifold_probe.parts import Progress

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
        Labelled rows to learn from, and rows to judge. Of another data set than the one distilled on: transfer. Rows
        without a label are left out of what asks for labels.
    ood : Part, optional
        Unusual rows; the test rows are the usual ones, the bank's what both are held against.
    logits : Part, optional
        Logits in place of features.
    k : int
        Neighbours that vote.
    seed : int
        Of the labels left and of the sgd recipe.
    drop_leaked : bool
        Leave out of the bank what is also among the test rows: see `evaluation.alarms`.
    progress : callable, optional
        Called as ``progress(stage, tasks done, tasks)``.

    Raises
    ------
    InputError
        For an unknown task, or where a task lacks what it needs.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(60, 4)), np.arange(60) % 2
    >>> x[:, 0] += 16 * y - 8
    >>> bank, test = halves(Part(x, x[:, :2], y), seed=0)
    >>> [(each.key, each.teacher, each.student) for each in evaluate(["knn"], bank, test)]
    [('knn_accuracy@10', 1.0, 1.0)]
    """
    for task in tasks:
        if task not in TASKS:
            raise InputError(f"task {task!r} is not known; choose from {', '.join(TASKS)}")
    found: list[Outcome] = []
    if drop_leaked:
        bank = without_leaked(bank, test)
    for place, task in enumerate(tasks):
        if progress is not None:
            progress(f"task {task}", place, len(tasks))
        if task == "ood":
            if ood is None:
                raise InputError("task ood: there are no unusual rows; give features of another kind of input")
            found += ood_outcomes(bank, test, ood)
        elif task == "logits":
            if logits is None:
                raise InputError(
                    "task logits: there are none; put 'logits' in the same files as the features of both models"
                )
            found += logits_outcomes(logits)
        elif task == "retrieval":
            found += retrieval_outcomes(test)
        elif task == "knn":
            found += knn_outcomes(bank, test, k)
        else:
            found += linear_outcomes(bank, test, "sgd" if task == "linear-sgd" else "lbfgs", seed)
    return found


def possible_tasks(test: Part, ood: Part | None, logits: Part | None) -> list[str]:
    """The tasks for which there is data; "linear-sgd", the slow one, only on request.

    Raises
    ------
    InputError
        Where there is none.
    """
    there = {"knn": test.labels, "linear": test.labels, "retrieval": test.labels, "ood": ood, "logits": logits}
    found = [task for task, given in there.items() if given is not None]
    if not found:
        raise InputError("labels: missing; put 'labels' into the teacher's file, or give --labels or --teacher-ood")
    return found


def halves(part: Part, seed: int) -> tuple[Part, Part]:
    """A bank and test rows from one set: half of the rows each, of every class where labels are known."""
    labels = np.zeros(part.n, dtype=np.int64) if part.labels is None else part.labels
    chosen = labelled_rows(labels, 0.5, seed)
    rest = np.setdiff1d(np.arange(part.n), chosen)
    if not len(rest):
        why = "every label stands once, so they" if part.n > 1 and part.labels is not None else f"{part.n} rows"
        raise InputError(f"{part.name}: {why} cannot be split in halves; give a train set, or class labels")
    return part.only(chosen), part.only(rest)


def knn_outcomes(bank: Part, test: Part, k: int) -> list[Outcome]:
    """The weighted k-NN vote."""
    bank, test = bank.labelled, test.labelled
    as_classes(bank.known, bank.n, f"{bank.name}: labels")
    check_neighbours(k, bank.n)
    return [classified(f"knn_accuracy@{k}", partial(knn_predict, k=k), bank, test)]


def linear_outcomes(bank: Part, test: Part, recipe: str, seed: int) -> list[Outcome]:
    """A linear probe with all, a tenth and a hundredth of the bank's labels."""
    bank, test = bank.labelled, test.labelled
    as_classes(bank.known, bank.n, f"{bank.name}: labels")
    name = "linear_accuracy" if recipe == "lbfgs" else "linear_sgd_accuracy"
    predict = partial(linear_predict, recipe=recipe, seed=seed)
    found = []
    for suffix, share in SHARES.items():
        fewer = bank.only(labelled_rows(bank.known, share, seed))
        found.append(classified(name + suffix, predict, fewer, test, f"{fewer.n:,} labels"))
    return found


def retrieval_outcomes(test: Part) -> list[Outcome]:
    """Recall among the other test rows; the teacher's nearest row found again; the student's queries in its space."""
    found, test = [], test.labelled
    same = test.teacher.shape[1] == test.student.shape[1]
    for k in (k for k in RECALLS if k < test.n):
        teacher, student = (recall(rows, test.known, k) for rows in test.sides)
        fidelity: dict[str, float | None] = {
            "neighbour_recall": neighbour_recall(*test.sides, k),
            "cross_recall": cross_recall(*test.sides, test.known, k) if same else None,
        }
        note = None if same else "cross_recall needs equal widths"
        found.append(Outcome(f"recall@{k}", teacher, student, test.n, fidelity, note))
    return found


def ood_outcomes(bank: Part, test: Part, ood: Part) -> list[Outcome]:
    """Telling unusual rows from test rows by three scores, and whether both spaces order the rows alike."""
    found: list[Outcome] = []
    sides = list(zip(bank.sides, test.sides, ood.sides, strict=True))
    known = bank.has_label
    for method in ("cosine", "euclidean", "mahalanobis"):
        if method == "mahalanobis" and (not known.any() or len(np.unique(bank.known[known])) < 2):
            found += [
                Outcome(f"ood_{measure}:{method}", None, None, 0, {}, "the bank needs labels of at least two classes")
                for measure in ("auroc", "fpr95")
            ]
            continue
        scores = []
        for rows, usual, unusual in sides:
            both = np.concatenate([usual, unusual])
            one = (
                mahalanobis_scores(rows[known], bank.known[known], both)
                if method == "mahalanobis"
                else knn_scores(rows, both, 1, method)
            )
            scores.append((one[: len(usual)], one[len(usual) :]))
        (usual_t, unusual_t), (usual_s, unusual_s) = scores
        fidelity = {
            "rank_correlation_in": rank_correlation(usual_t, usual_s),
            "rank_correlation_out": rank_correlation(unusual_t, unusual_s),
        }
        for measure, of in (("auroc", auroc), ("fpr95", fpr_at_tpr)):
            teacher, student = (of(*pair) for pair in scores)
            found.append(Outcome(f"ood_{measure}:{method}", teacher, student, test.n + ood.n, fidelity))
    return found


def logits_outcomes(logits: Part) -> list[Outcome]:
    """Top-1 and top-5 accuracy of the models' own classifiers."""
    logits = logits.labelled
    classes, width = (rows.shape[1] for rows in logits.sides)
    if classes != width:
        raise InputError(f"logits: teacher has {classes} columns and student {width}; give those of one label set")
    own = as_columns(logits.known, classes, logits.n)
    alike = agreement(logits.teacher.argmax(1), logits.student.argmax(1), own, classes)
    found = []
    for k in (k for k in (1, 5) if k < classes):
        teacher, student = (top_k_accuracy(rows, own, k) for rows in logits.sides)
        found.append(Outcome(f"logits_top{k}", teacher, student, logits.n, alike if k == 1 else {}))
    return found
