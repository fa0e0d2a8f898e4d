"""One direction that dominates the residual, the part that the teacher does not predict, in all classes."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh

from manifold_probe.diagnosis.cause import Cause, Proved, Signs
from manifold_probe.diagnosis.lab import CKA, METRICS, Evidence, Lab

MIN_SHARE = 0.08  # of the loss: wrong inputs cost sound networks .04 in one direction
MIN_EIGENVALUE_RATIO = 3.0  # largest over second eigenvalue of the residual
MIN_RESIDUAL_SHARE = 0.15  # of the residual's variance
MIN_SPREAD_RATIO = 0.7  # of the spread along it: inside the classes, and of the usual rows


def signs(lab: Lab) -> Signs | None:
    """The first principal direction of the residual, where it dominates all others."""
    keep = lab.keep
    residual = (lab.residual - lab.residual[keep].mean(0)).astype(np.float64)
    products = residual[keep].T @ residual[keep] / keep.sum()
    width = len(products)
    values, vectors = eigh(products, subset_by_index=[max(width - 2, 0), width - 1])
    first, second = values[-1], max(values[0], 1e-30)
    share = float(first / max(float(np.trace(products)), 1e-300))
    if first < MIN_EIGENVALUE_RATIO * second or share < MIN_RESIDUAL_SHARE:
        return None
    direction = vectors[:, -1]
    along = (lab.student - lab.student[keep].mean(0)) @ direction
    spread = [along[lab.classed & (lab.codes == code)].std() for code in lab.classes(2)]
    if spread and np.median(spread) < MIN_SPREAD_RATIO * along[keep].std():
        return None  # it separates classes, which is another cause
    if usual_spread(along[keep]) < MIN_SPREAD_RATIO * along[keep].std():
        return None  # it separates a few rows from the others
    evidence = [
        Evidence("largest over second eigenvalue of the residual", float(first / second), 1.5),
        Evidence("its share of the residual", share),
    ]
    return Signs(evidence, {"dimensions": np.argsort(-np.abs(direction))[:10]}, facts=direction)


def usual_spread(values: np.ndarray) -> float:
    """A standard deviation that a few far values do not move: of the median distance from the median."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def undo(lab: Lab, signs: Signs) -> Proved | None:
    """The trial of the student without this direction."""
    direction, keep = signs.facts, lab.keep
    change = lambda x: x - np.outer((x - x[keep].mean(0)) @ direction, direction)  # noqa: E731
    trial = lab.undo("this direction dropped", change, measures=(*METRICS, CKA))
    return Proved(trial, lab.repaired(change(lab.student))) if trial.share >= MIN_SHARE else None


CAUSE = Cause(
    "common_direction",
    "one direction that has nothing to do with the teacher drowns the others",
    "Subtract this direction from the student's vectors, or train with a loss that sees single dimensions over the "
    "batch (CoSS's space term).",
    "neighbours that stay lost once this direction is dropped",
    signs,
    undo,
)
