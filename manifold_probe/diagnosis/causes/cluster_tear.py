"""A class in two parts that the teacher holds together."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.cause import Cause, Repair, Signs
from manifold_probe.diagnosis.lab import Evidence, Lab

POWER_ITERATIONS = 40
NORMAL_SEPARATION = 1.8  # `two_parts` of a normal distribution
MIN_SEPARATION = 2.5  # relative to the teacher's
MIN_OVER_NEXT = 1.7  # relative to the next class


def signs(lab: Lab) -> Signs | None:
    """The class whose residual separates most into two parts, relative to the teacher and the next class."""
    classes = lab.classes()
    if len(classes) < 3:
        return None
    residual = lab.student - lab.predicted_by_others
    scores, parts = [], []
    for code in classes:
        rows = np.flatnonzero(lab.keep & (lab.codes == code))
        score, upper = two_parts(residual[rows])
        scores.append(score / max(two_parts(lab.reference[rows])[0], NORMAL_SEPARATION))
        parts.append(rows[upper])
    second, worst = np.argsort(scores)[-2:]
    if scores[worst] < MIN_SEPARATION or scores[worst] < MIN_OVER_NEXT * scores[second]:
        return None
    evidence = [
        Evidence("separation of two parts of the class's residual", float(scores[worst]), float(scores[second]))
    ]
    where = {"classes": [lab.names[classes[worst]]], "rows": parts[worst]}
    return Signs(evidence, where, facts=(classes[worst], parts[worst], residual))


def undo(lab: Lab, signs: Signs) -> list[Repair]:
    """The two parts moved onto one another; the class keeps its mean, or moves to the place predicted by the others."""
    code, upper, residual = signs.facts
    rows = lab.keep & (lab.codes == code)
    lower = np.setdiff1d(np.flatnonzero(rows), upper)
    apart = residual[upper].mean(0) - residual[lower].mean(0)
    along = apart / max(float(np.linalg.norm(apart)), 1e-30)
    share = len(upper) / (len(upper) + len(lower))

    def joined(shift: np.ndarray) -> Repair:
        def change(x: np.ndarray) -> np.ndarray:
            out = x.copy()
            out[upper] -= (1 - share) * apart + shift
            out[lower] += share * apart - shift
            return out

        return Repair("the two parts joined", change, rows=rows)

    return [joined(np.zeros_like(apart)), joined((residual[rows].mean(0) @ along) * along)]


def two_parts(x: np.ndarray) -> tuple[float, np.ndarray]:
    """(variance between two parts over within, along the direction of most variance; the rows of one part).

    1.8 for a normal distribution, 3 for a uniform one, much more for two clusters.
    """
    centred = (x - x.mean(0)).astype(np.float64)
    along = centred[:, np.argmax(centred.std(0))]
    for _ in range(POWER_ITERATIONS):  # power iteration: the first principal direction
        along = centred @ (centred.T @ along)
        along /= max(float(np.linalg.norm(along)), 1e-300)
    along = along * np.linalg.norm(centred.T @ along)
    order = np.argsort(along)
    sorted_, n = along[order], len(along)
    total = np.cumsum(sorted_)
    cuts = np.arange(max(2, n // 10), n - max(2, n // 10) + 1)
    low, high = total[cuts - 1] / cuts, (total[-1] - total[cuts - 1]) / (n - cuts)
    between = cuts * (n - cuts) / n**2 * (high - low) ** 2
    best = int(between.argmax())
    return float(between[best] / max(float(along.var()) - between[best], 1e-12)), order[cuts[best] :]


CAUSE = Cause(
    "cluster_tear",
    "one class is torn in two",
    "See what splits this class: two sources, two encoders' shards, an augmentation.",
    "a class of one part once its rows are extracted again in one go",
    signs,
    undo,
)
