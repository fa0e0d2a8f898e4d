"""Causes that sit between classes: two that merged, one that is torn; the teacher's clusters stand in for labels."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.case import Evidence, Finding, Repair, View, confidence_of
from manifold_probe.diagnosis.faithfulness import Gain, gain, surest_gain
from manifold_probe.diagnosis.rank import spectrum

FEWEST = 8  # rows of a class that is judged
POWERS = 40
STRAIGHT, MOVED, NEARER = 0.93, 0.25, 0.75  # what makes a displaced class one that merged


def judged(view: View) -> list[int]:
    """The classes with enough rows."""
    counts = np.bincount(view.codes[view.keep & view.classed], minlength=len(view.case.names))
    return [code for code in range(len(counts)) if counts[code] >= FEWEST]


def centroids(x: np.ndarray, view: View, classes: list[int]) -> np.ndarray:
    """(c, d): the classes' means."""
    return np.stack([x[view.keep & (view.codes == code)].mean(0) for code in classes])


def cluster_merge(view: View) -> Finding | None:
    """A class that lies, on the straight way to another, nearer to it than the other classes say it should."""
    classes = judged(view)
    if len(classes) < 4:
        return None
    means = centroids(view.student, view, classes)
    places = centroids(view.told_by_others, view, classes)
    best = (1.0, 0, 0, 0.0)
    for mover in range(len(classes)):
        step = means[mover] - places[mover]
        for goal in range(len(classes)):
            way = means[goal] - places[mover]
            length, along = float(np.linalg.norm(way)), float(step @ way)
            if goal == mover or along <= 0:
                continue
            straight = along / max(float(np.linalg.norm(step)) * length, 1e-30)
            if straight > STRAIGHT and along / length**2 > MOVED:
                left = float(np.linalg.norm(means[mover] - means[goal])) / length
                best = min(best, (left, mover, goal, straight))
    left, mover, goal, straight = best
    if left > NEARER or directions_in_use(view.student[view.keep]) < 3:
        return None  # on a line or in a plane every class lies on some way
    pair = [classes[mover], classes[goal]]
    rows = view.keep & np.isin(view.codes, pair)
    repaired = view.student.copy()
    repaired[view.codes == classes[mover]] += (places[mover] - means[mover]).astype(np.float32)
    moved = surest_gain(view.now, view.judge(repaired), rows)
    if moved.value < 0.005 or moved.z < 3:
        return None
    twin = view.twin.copy()
    twin[view.codes == classes[mover]] += (places[mover] - means[mover]).astype(np.float32)
    healthy = gain(view.twin_now, view.judge(twin), moved.metric, rows)
    return Finding(
        "cluster_merge",
        [
            Evidence("distance of the two means, of what the other classes say", left, 1.0),
            Evidence("cosine between the class's displacement and the way to the other", straight, 0.0),
        ],
        Repair("class means put back, read inside the classes", "overlap@10", moved, healthy.value),
        view.case.with_student(repaired),
        share=min(1.0, moved.value * rows.sum() / view.keep.sum() / view.gap),
        confidence=confidence_of(2 + 8 * (0.9 - left)),
        z=moved.z,
        where={"classes": [view.case.names[code] for code in pair]},
    )


def directions_in_use(x: np.ndarray) -> int:
    """How many principal directions hold 95% of the variance."""
    values = spectrum(x)
    return int(np.searchsorted(np.cumsum(values), 0.95 * values.sum())) + 1


def cluster_tear(view: View) -> Finding | None:
    """A class in two parts that the teacher holds together."""
    classes = judged(view)
    if len(classes) < 3:
        return None
    residual = view.student - view.told_by_others
    scores, parts = [], []
    for code in classes:
        rows = np.flatnonzero(view.keep & (view.codes == code))
        score, upper = two_parts(residual[rows])
        theirs, _ = two_parts(view.reference[rows])
        scores.append(score / max(theirs, 1.8))
        parts.append(rows[upper])
    order = np.argsort(scores)[::-1]
    if scores[order[0]] < 2.5 or scores[order[0]] < 1.7 * scores[order[1]]:
        return None
    code, upper = classes[order[0]], parts[order[0]]
    rows = view.keep & (view.codes == code)
    lower = np.setdiff1d(np.flatnonzero(rows), upper)
    apart = residual[upper].mean(0) - residual[lower].mean(0)
    along = apart / max(float(np.linalg.norm(apart)), 1e-30)
    middle = np.zeros_like(apart), (residual[rows].mean(0) @ along) * along
    moved, repaired = max(  # the class stays where it is, or goes where the other classes say it belongs
        (_joined(view, rows, upper, lower, apart, shift) for shift in middle), key=lambda each: each[0].z
    )
    if moved.value < 0.01 or moved.z < 3:
        return None
    twin = view.twin.copy()
    twin += repaired - view.student
    healthy = gain(view.twin_now, view.judge(twin), moved.metric, rows)
    return Finding(
        "cluster_tear",
        [Evidence("separation of two parts of the class's residual", float(scores[order[0]]), float(scores[order[1]]))],
        Repair("the two parts joined, read inside the class", "overlap@10", moved, healthy.value),
        view.case.with_student(repaired),
        share=min(1.0, moved.value * rows.sum() / view.keep.sum() / view.gap),
        confidence=confidence_of(min(float(scores[order[0]]), 8.0)),
        z=moved.z,
        where={"classes": [view.case.names[code]], "rows": upper},
    )


def _joined(
    view: View, rows: np.ndarray, upper: np.ndarray, lower: np.ndarray, apart: np.ndarray, shift: np.ndarray
) -> tuple[Gain, np.ndarray]:
    """The student with the two parts of a class on one another and the class moved back by ``shift``."""
    repaired = view.student.copy()
    share = len(upper) / (len(upper) + len(lower))
    repaired[upper] -= (1 - share) * apart + shift
    repaired[lower] += share * apart - shift
    return surest_gain(view.now, view.judge(repaired), rows), repaired


def two_parts(x: np.ndarray) -> tuple[float, np.ndarray]:
    """(variance between two parts over within, along the direction of most variance; which rows are in one part).

    1.8 for a normal cloud, 3 for an even one, far more for two.
    """
    centred = (x - x.mean(0)).astype(np.float64)
    along = centred[:, np.argmax(centred.std(0))]
    for _ in range(POWERS):  # power iteration: the first principal direction
        along = centred @ (centred.T @ along)
        along /= max(float(np.linalg.norm(along)), 1e-300)
    along = along * np.linalg.norm(centred.T @ along)
    order = np.argsort(along)
    sorted_, best = along[order], (0.0, 1)
    total = np.cumsum(sorted_)
    n = len(along)
    for cut in range(max(2, n // 10), n - max(2, n // 10) + 1):
        low, high = total[cut - 1] / cut, (total[-1] - total[cut - 1]) / (n - cut)
        between = cut * (n - cut) / n**2 * (high - low) ** 2
        best = max(best, (between, cut))
    between, cut = best
    variance = float(along.var())
    return between / max(variance - between, 1e-12), order[cut:]
