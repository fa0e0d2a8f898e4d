"""Exactly one class that moves less with its linear image than in a healthy twin, or has a larger residual."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.cause import Cause, LeftOut, Signs
from manifold_probe.diagnosis.lab import COSINE, Evidence, Lab, mean, robust_z
from manifold_probe.diagnosis.slopes import slope_errors, slopes

MIN_CLASSES = 4  # of three classes none can be an exception
MAX_MOVEMENT_Z = -2.4  # robust deviations over the classes: the worst of ten healthy ones reaches it once in twenty
MIN_RESIDUAL_Z = 3.5  # robust deviations over the classes
MIN_OVER_NEXT = 3.5  # times the deviation of the next class


def signs(lab: Lab) -> Signs | None:
    """The one class that moves least with its linear image, or else has the largest residual."""
    classes = lab.classes()
    if len(classes) < MIN_CLASSES:
        return None
    failed = _unmoved(lab, classes) or _astray(lab, classes)
    if failed is None:
        return None
    worst, evidence = failed
    members = lab.keep & (lab.codes == classes[worst])
    inside, twin = mean(lab.now[COSINE][members]), mean(lab.twin_now[COSINE][members])
    return Signs(
        [evidence, Evidence(f"{lab.key(COSINE)} inside", inside, twin)],
        {"classes": [lab.names[classes[worst]]]},
        facts=members,
    )


def undo(lab: Lab, signs: Signs) -> LeftOut:
    """The pair without this class."""
    return LeftOut("this class left out", signs.facts, (COSINE,))


def _unmoved(lab: Lab, classes: list[int]) -> tuple[int, Evidence] | None:
    """The class with the smallest slope on the linear image, if far below the next."""
    rows = lab.keep & np.isin(lab.codes, classes)
    codes = lab.codes[rows]
    movement, _, _ = slopes(lab.student[rows], lab.expected[rows], codes)
    usual, _, _ = slopes(lab.twin[rows], lab.twin_expected[rows], codes)
    ratio = np.log(np.maximum(movement, 0.01) / np.maximum(usual, 0.01))
    error = slope_errors(lab.student[rows], lab.expected[rows], codes) / np.maximum(movement, 0.2)
    median = float(np.median(ratio))
    spread = 1.4826 * float(np.median(np.abs(ratio - median)))
    z = (ratio - median) / np.sqrt(np.square(max(spread, 0.05)) + np.square(error))
    worst, second = np.argsort(z)[:2]
    if z[worst] > MAX_MOVEMENT_Z or z[worst] > MIN_OVER_NEXT * min(z[second], -0.5) or ratio[worst] > median - 0.2:
        return None
    return int(worst), Evidence("movement with the linear image, log, robust z", float(z[worst]), float(z[second]))


def _astray(lab: Lab, classes: list[int]) -> tuple[int, Evidence] | None:
    """The class with the largest residual, if far above the next and with the lowest overlap."""
    power = np.square(lab.residual).sum(1)
    spread = np.square(lab.reference - lab.reference[lab.keep].mean(0)).sum(1)
    level, kept = [], []
    for code in classes:
        rows = lab.keep & (lab.codes == code)
        level.append(np.log(max(np.mean(power[rows]), 1e-30) / max(np.mean(spread[rows]), 1e-30)))
        kept.append(np.log(max(mean(lab.now[COSINE][rows]), 0.01) / max(mean(lab.twin_now[COSINE][rows]), 0.01)))
    z, lost = robust_z(np.array(level), 0.12), robust_z(np.array(kept), 0.05)
    second, worst = np.argsort(z)[-2:]
    if z[worst] < MIN_RESIDUAL_Z or z[worst] < 1.6 * max(z[second], 0.5) or lost[worst] > -2:
        return None
    if kept[worst] > np.median(kept) - 0.12:
        return None
    return int(worst), Evidence("log residual power of the class, robust z", float(z[worst]), float(z[second]))


CAUSE = Cause(
    "slice_failure",
    "one class failed alone",
    "Look at this class's inputs and add them to the training data; the rest is sound.",
    "a class that is kept as the others are on new inputs",
    signs,
    undo,
    confusable=("absent_classes",),
)
