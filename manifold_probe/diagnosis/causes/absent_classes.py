"""Several classes that are kept far worse than the others, like classes that a student was never trained on.

The overlap of each class is divided by that of a healthy twin. The ratios form two groups that are far apart relative
to their scatter, and the lower group keeps much less.
"""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.cause import Cause, Signs
from manifold_probe.diagnosis.lab import COSINE, MIN_LOSS, Evidence, Lab, mean

MIN_CLASSES = 4
MIN_SEPARATION = 6.0  # variance between the two groups over within: chance reaches it for ten classes once in twenty
MAX_RATIO = 0.5  # of the other classes' overlap, relative to a healthy twin: sound networks have groups at .65


def signs(lab: Lab) -> Signs | None:
    """The lower of two groups of classes, by overlap relative to a healthy twin."""
    classes = lab.classes()
    if len(classes) < MIN_CLASSES:
        return None
    kept = np.array([_ratio(lab, lab.keep & (lab.codes == code)) for code in classes])
    order = np.argsort(kept)
    values = np.log(np.maximum(kept[order], 1e-3))
    cut, separation = two_groups(values)
    low, high = order[:cut], order[cut:]
    if (
        separation < MIN_SEPARATION
        or cut < 2
        or len(high) < 2
        or np.exp(values[:cut].mean() - values[cut:].mean()) > MAX_RATIO
    ):
        return None
    members = lab.keep & np.isin(lab.codes, [classes[place] for place in low])
    others = lab.keep & np.isin(lab.codes, [classes[place] for place in high])
    evidence = [
        Evidence("variance between two groups of classes over within", separation, 3.0),
        Evidence(
            f"{lab.key(COSINE)} of the lower group", mean(lab.now[COSINE][members]), mean(lab.now[COSINE][others])
        ),
    ]
    lost = lab.twin_now[COSINE] - lab.now[COSINE]
    beyond = (mean(lost[members]) - mean(lost[others])) * float(members.sum() / lab.start.keep.sum())
    share = float(np.clip(beyond / max(lab.loss(COSINE), MIN_LOSS), 0, 1))
    return Signs(evidence, {"classes": [lab.names[classes[place]] for place in sorted(low)]}, share=share)


def _ratio(lab: Lab, rows: np.ndarray) -> float:
    """The overlap of the rows over that of a healthy twin."""
    return mean(lab.now[COSINE][rows]) / max(mean(lab.twin_now[COSINE][rows]), 1e-3)


def two_groups(values: np.ndarray) -> tuple[int, float]:
    """(number of ascending values in the lower of two groups, variance between the groups over within).

    >>> two_groups(np.array([0.0, 0.1, 1.0, 1.1]))[0]
    2
    """
    n, total = len(values), float(values.var())
    best = (1, 0.0)
    for cut in range(1, n):
        between = cut * (n - cut) / n**2 * float(values[:cut].mean() - values[cut:].mean()) ** 2
        best = max(best, (cut, between / max(total - between, 1e-12)), key=lambda candidate: candidate[1])
    return best


CAUSE = Cause(
    "absent_classes",
    "several classes are kept far worse than the others, as if the student never saw them",
    "Train on inputs of these classes too; give --classes-trained to prove it.",
    "a list of the training data that holds these classes",
    signs,
    confusable=("slice_failure",),
)
