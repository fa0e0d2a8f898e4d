"""A class that moved straight towards another one, away from the place that the other classes predict."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.cause import Cause, Repair, Signs
from manifold_probe.diagnosis.lab import Evidence, Lab

MIN_COSINE = 0.93  # between the class's displacement and the direction to the other class
MIN_MOVE = 0.25  # of the distance to the other class
MAX_DISTANCE_LEFT = 0.75  # of that distance
MIN_CLASSES = 4  # of three classes each lies between others


def signs(lab: Lab) -> Signs | None:
    """The class that moved furthest towards another one, relative to the means predicted by the other classes."""
    classes = lab.classes()
    if len(classes) < MIN_CLASSES or directions_in_use(lab.spectra[0]) < 3:
        return None  # on a line or in a plane every class lies between others
    means, places = centroids(lab.student, lab, classes), centroids(lab.predicted_by_others, lab, classes)
    best = (1.0, 0, 0, 0.0)
    for mover in range(len(classes)):
        step = means[mover] - places[mover]
        for goal in range(len(classes)):
            way = means[goal] - places[mover]
            length, along = float(np.linalg.norm(way)), float(step @ way)
            if goal == mover or along <= 0:
                continue
            straight = along / max(float(np.linalg.norm(step)) * length, 1e-30)
            if straight > MIN_COSINE and along / length**2 > MIN_MOVE:
                distance_left = float(np.linalg.norm(means[mover] - means[goal])) / length
                best = min(best, (distance_left, mover, goal, straight))
    distance_left, mover, goal, straight = best
    if distance_left > MAX_DISTANCE_LEFT:
        return None
    evidence = [
        Evidence("distance of the two means, of what the other classes say", distance_left, 1.0),
        Evidence("cosine between the class's displacement and the way to the other", straight, 0.0),
    ]
    pair = [classes[mover], classes[goal]]
    back = (places[mover] - means[mover]).astype(np.float32)
    return Signs(evidence, {"classes": [lab.names[code] for code in pair]}, facts=(pair, back))


def centroids(x: np.ndarray, lab: Lab, classes: list[int]) -> np.ndarray:
    """(c, d): the classes' means."""
    return np.stack([x[lab.keep & (lab.codes == code)].mean(0) for code in classes])


def directions_in_use(values: np.ndarray) -> int:
    """Number of principal directions that hold 95% of the variance, from a spectrum."""
    return int(np.searchsorted(np.cumsum(values), 0.95 * values.sum())) + 1


def undo(lab: Lab, signs: Signs) -> Repair:
    """The moved class put back at its predicted mean."""
    pair, back = signs.facts
    moved = (lab.codes == pair[0])[:, None]
    concerned = lab.keep & np.isin(lab.codes, pair)
    return Repair("class means put back", lambda x: np.where(moved, x + back, x), rows=concerned, linear=True)


CAUSE = Cause(
    "cluster_merge",
    "two classes have come together",
    "Add examples that tell these classes apart, or weight them higher.",
    "two classes that stay together once their means are where the other classes say",
    signs,
    undo,
)
