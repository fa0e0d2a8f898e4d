"""Does the student make its teacher's errors? Agreement beyond that from accuracies alone, and rank correlation.

If two classifiers are right independently with probabilities a and b, and errors are uniform over the wrong classes,
they agree with probability

    expected = a b + (1 - a)(1 - b) / (C - 1)          excess = (agreement - expected) / (1 - expected)

Geirhos et al. 2020 ("Beyond accuracy: quantifying trial-by-trial behaviour of CNNs and humans by measuring error
consistency") compare right and wrong in this way; for predictions of one of C classes the second term is divided by
C - 1. The excess is 1 for a student that always agrees, 0 for one with independent errors. It cannot reach 1 if the
accuracies differ, because at most 1 - |a - b| can agree. Some rows are harder than others, and errors concentrate on
few classes, so independently trained good models show an excess too: compare students with each other, not with 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold_probe.engine.inputs import as_whole
from manifold_probe.errors import InputError
from manifold_probe.evaluation.inputs import as_labels, as_numbers
from manifold_probe.measures.classes import agreement_from_accuracies


def accuracy(predicted: Any, labels: Any) -> float:
    """Share of predictions (q,) equal to the label (q,). Range 0 to 1, higher is better.

    >>> accuracy(["a", "b"], ["a", "a"])
    0.5
    """
    predicted = as_labels(predicted, name="predictions")
    return float((predicted == as_labels(labels, len(predicted))).mean())


def agreement(teacher: Any, student: Any, labels: Any, classes: int | None = None) -> dict[str, float | None]:
    """How often two classifiers agree, how often their accuracies alone would make them agree, and the excess.

    Parameters
    ----------
    teacher, student : array-like, shape (q,)
        Predicted labels.
    labels : array-like, shape (q,)
        True labels.
    classes : int, optional
        Number of labels that can be predicted; by default the number that occurs in the three.

    Returns
    -------
    dict
        ``agreement`` in 0..1; ``expected`` in 0..1; ``excess``, at most 1, 0 for independent errors, negative if
        they agree less than by chance, None if the accuracies alone imply agreement.

    Examples
    --------
    >>> agreement(["a", "b", "b", "a"], ["a", "b", "a", "b"], ["a", "b", "a", "b"])
    {'agreement': 0.5, 'expected': 0.5, 'excess': 0.0}
    """
    teacher = as_labels(teacher, name="teacher's")
    student, labels = as_labels(student, len(teacher), "student's"), as_labels(labels, len(teacher))
    if classes is None:
        classes = len(np.unique(np.concatenate([teacher, student, labels])))
    elif as_whole(classes) is None:
        raise InputError(f"classes is {classes!r}; give the number of classes, a whole number")
    agreed = float((teacher == student).mean())
    expected = agreement_from_accuracies(accuracy(teacher, labels), accuracy(student, labels), classes)
    excess = (agreed - expected) / (1 - expected) if expected < 1 - 1e-12 else None
    return {"agreement": agreed, "expected": expected, "excess": excess}


def rank_correlation(teacher: Any, student: Any) -> float | None:
    """Spearman's correlation of two scores (n,) of the same rows: 1 for the same order; None if one is constant.

    >>> round(rank_correlation([1, 2, 3], [1, 10, 100]), 6)
    1.0
    """
    from scipy.stats import rankdata

    from manifold_probe.measures.geometry import pearson

    teacher, student = as_numbers(teacher, "teacher's scores"), as_numbers(student, "student's scores")
    if len(teacher) != len(student):
        raise InputError(f"teacher has {len(teacher)} scores and student {len(student)}; give scores of the same rows")
    correlation = pearson(rankdata(teacher), rankdata(student))
    return correlation if np.isfinite(correlation) else None
