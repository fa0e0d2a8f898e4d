"""Contracted classes: inside them the student moves less than its linear image, between them it does not."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.cause import Cause, Proved, Signs
from manifold_probe.diagnosis.lab import Evidence, Lab
from manifold_probe.diagnosis.slopes import slopes, within_over_between

MAX_MOVEMENT, MAX_MOVEMENT_UNLABELLED = 0.74, 0.66  # inside over between classes, relative to a healthy twin
MIN_GAIN = 0.03  # points of overlap by which the student is nearer to such a teacher: .02 for some weak networks
MIN_UNLABELLED_SHARE = 0.09  # of the loss, without labels: the clusters of weak students are contracted up to .06
MIN_PREDICTED = 0.9  # of the student's variance: above, little else was lost, and a smaller contraction counts
MAX_VARIANCE_RATIO = 0.67  # within over between classes, relative to the teacher, in that case


def signs(lab: Lab) -> Signs | None:
    """Slopes on the linear image, inside the classes over between them, relative to a healthy twin."""
    keep = lab.classed
    if lab.labelled:
        codes = twin_codes = lab.codes[keep]
    else:
        codes, twin_codes = _student_clusters(lab, lab.student[keep]), _student_clusters(lab, lab.twin[keep])
    if len(np.unique(codes)) < 3:
        return None
    _, inside, between = slopes(lab.student[keep], lab.expected[keep], codes)
    _, twin_inside, twin_between = slopes(lab.twin[keep], lab.twin_expected[keep], twin_codes)
    movement, usual = (max(a, 1e-3) / max(b, 1e-3) for a, b in ((inside, between), (twin_inside, twin_between)))
    ratio, teacher_ratio = (within_over_between(x[keep], codes) for x in (lab.student, lab.reference))
    drop = movement / usual
    plain = (
        lab.explained > MIN_PREDICTED and ratio < MAX_VARIANCE_RATIO * teacher_ratio and drop < 0.95
    )  # little else was lost
    if not (drop < (MAX_MOVEMENT if lab.labelled else MAX_MOVEMENT_UNLABELLED) or plain):
        return None
    scale = min(drop, float(np.sqrt(ratio / max(teacher_ratio, 1e-30)))) if plain else drop
    evidence = [
        Evidence("movement inside the classes over movement between them", movement, usual),
        Evidence("variance within over between classes", ratio, teacher_ratio),
    ]
    return Signs(evidence, {"classes": list(lab.names)} if lab.labelled else {}, facts=(keep, codes, scale))


def undo(lab: Lab, signs: Signs) -> Proved | None:
    """The trial of the teacher with its classes contracted by the same factor."""
    keep, codes, scale = signs.facts
    trial = lab.inflict("the teacher's classes drawn together alike", lambda x: drawn_together(x, keep, codes, scale))
    if trial.gain < MIN_GAIN or (not lab.labelled and trial.share < MIN_UNLABELLED_SHARE):
        return None
    return Proved(trial, lab.against(drawn_together(lab.reference, keep, codes, scale)))


def _student_clusters(lab: Lab, x: np.ndarray) -> np.ndarray:
    """k-means clusters of a student's rows, in place of classes where there are no labels."""
    from sklearn.cluster import KMeans

    return KMeans(len(lab.names), n_init=3, random_state=lab.seed).fit(x.astype(np.float64)).labels_


def drawn_together(x: np.ndarray, keep: np.ndarray, codes: np.ndarray, scale: float) -> np.ndarray:
    """The kept rows at ``scale`` times their distance from their class's mean."""
    out, rows = x.copy(), np.flatnonzero(keep)
    for code in np.unique(codes):
        members = rows[codes == code]
        out[members] = x[members].mean(0) + scale * (x[members] - x[members].mean(0))
    return out


CAUSE = Cause(
    "class_collapse",
    "classes are drawn together, their inner structure is lost",
    "The student was trained on classes more than on the teacher: lower the weight of labels, and distil features.",
    "as much movement inside the classes as between them, against the teacher's",
    signs,
    undo,
)
