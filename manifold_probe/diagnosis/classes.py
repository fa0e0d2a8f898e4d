"""Causes that sit in classes: collapsed, merged, torn, or failed alone; the teacher's clusters stand in for labels."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.case import Evidence, Finding, Repair, View, confidence_of, robust_z
from manifold_probe.diagnosis.faithfulness import Gain, surest_gain
from manifold_probe.diagnosis.linear import fit_ridge

FEWEST = 8  # rows of a class that is judged
POWERS = 40


def judged(view: View) -> list[int]:
    """The classes with enough rows."""
    counts = np.bincount(view.codes[view.keep], minlength=len(view.case.names))
    return [code for code in range(len(counts)) if counts[code] >= FEWEST]


def centroids(x: np.ndarray, view: View, classes: list[int]) -> np.ndarray:
    """(c, d): the classes' means."""
    return np.stack([x[view.keep & (view.codes == code)].mean(0) for code in classes])


def within_over_between(x: np.ndarray, view: View, classes: list[int]) -> float:
    """Variance inside classes over variance between their means."""
    rows = view.keep & np.isin(view.codes, classes)
    means = centroids(x, view, classes)
    place = np.searchsorted(classes, view.codes[rows])
    within = np.square(x[rows] - means[place]).sum(1).mean()
    between = np.square(means[place] - x[rows].mean(0)).sum(1).mean()
    return float(within / max(between, 1e-30))


def class_collapse(view: View) -> Finding | None:
    """Classes drawn together: the teacher, collapsed alike, loses what the student lost."""
    classes = judged(view)
    if len(classes) < 3:
        return None
    own, theirs = (within_over_between(x, view, classes) for x in (view.student, view.teacher))
    healthy = within_over_between(view.recovered, view, classes)
    ratio = own / theirs
    if not ratio < 0.35:
        return None
    means = centroids(view.teacher, view, classes)
    place = np.searchsorted(classes, view.codes)
    inside = np.isin(view.codes, classes)
    place = np.where(inside, place, 0)
    collapsed = np.where(
        inside[:, None], means[place] + np.sqrt(ratio) * (view.teacher - means[place]), view.teacher
    ).astype(np.float32)
    predicted = view.judge(collapsed)
    lost, alike = 1 - view.now.cka, 1 - predicted.cka
    if alike < 0.35 * lost or alike < 0.02:
        return None
    return Finding(
        "class_collapse",
        [
            Evidence("variance within over between classes", own, theirs),
            Evidence("debiased_linear_cka of the teacher, collapsed alike", predicted.cka, view.now.cka),
            Evidence("the same ratio of what the student tells of the teacher", healthy, theirs),
        ],
        None,
        view.case,
        share=min(1.0, alike / max(lost, 1e-3)),
        confidence=confidence_of(2 + 2 * np.log(0.5 / ratio)),
        where={"classes": [view.case.names[code] for code in classes]},
    )


def cluster_merge(view: View) -> Finding | None:
    """Two classes whose means have come together, and no other two."""
    classes = judged(view)
    if len(classes) < 4:
        return None
    distances = []
    for x in (view.student, view.teacher):
        means = centroids(x, view, classes)
        distances.append(np.sqrt(np.square(means[:, None] - means[None]).sum(2)))
    first, second = np.triu_indices(len(classes), 1)
    ratio = np.log(np.maximum(distances[0][first, second], 1e-12) / distances[1][first, second])
    z = robust_z(ratio, 0.08)
    order = np.argsort(z)
    nearest, runner = order[0], order[1]
    if z[nearest] > -4.5 or z[nearest] > 1.6 * min(z[runner], -1e-9):
        return None
    pair = [classes[first[nearest]], classes[second[nearest]]]
    rows = view.keep & np.isin(view.codes, pair)
    repaired = _means_put_back(view, pair)
    moved = surest_gain(view.now, view.judge(repaired), rows)
    if moved.value < 0.01 or moved.z < 3:
        return None
    return Finding(
        "cluster_merge",
        [Evidence("log distance of the two means, robust z", float(z[nearest]), float(z[runner]))],
        Repair("class means put back", "overlap@10 inside the classes", moved, 0.0),
        view.case.with_student(repaired),
        share=min(1.0, moved.value * rows.sum() / view.keep.sum() / view.gap),
        confidence=confidence_of(moved.z),
        where={"classes": [view.case.names[code] for code in pair]},
    )


def _means_put_back(view: View, chosen: list[int]) -> np.ndarray:
    """The student with the means of some classes where a map fitted on the other classes expects them."""
    others = view.keep & ~np.isin(view.codes, chosen)
    expect = fit_ridge(view.teacher[others], view.student[others])
    repaired = view.student.copy()
    for code in chosen:
        rows = view.codes == code
        kept = rows & view.keep
        repaired[rows] += (expect(view.teacher[kept].mean(0)[None])[0] - view.student[kept].mean(0)).astype(np.float32)
    return repaired


def cluster_tear(view: View) -> Finding | None:
    """A class in two parts that the teacher holds together."""
    scores, parts = [], []
    classes = judged(view)
    for code in classes:
        rows = np.flatnonzero(view.keep & (view.codes == code))
        score, upper = two_parts(view.residual[rows])
        theirs, _ = two_parts(view.teacher[rows])
        scores.append(score / max(theirs, 1.8))
        parts.append(rows[upper])
    if len(scores) < 3:
        return None
    order = np.argsort(scores)[::-1]
    if scores[order[0]] < 2.0 or scores[order[0]] < 1.5 * scores[order[1]]:
        return None
    code, upper = classes[order[0]], parts[order[0]]
    rows = view.keep & (view.codes == code)
    lower = np.setdiff1d(np.flatnonzero(rows), upper)
    shift = view.residual[upper].mean(0) - view.residual[lower].mean(0)
    repaired = view.student.copy()
    repaired[upper] -= shift
    moved = surest_gain(view.now, view.judge(repaired), rows)
    if moved.value < 0.01 or moved.z < 3:
        return None
    return Finding(
        "cluster_tear",
        [Evidence("separation of two parts of the class's residual", float(scores[order[0]]), float(scores[order[1]]))],
        Repair("the two parts joined", "overlap@10 inside the class", moved, 0.0),
        view.case.with_student(repaired),
        share=min(1.0, moved.value * rows.sum() / view.keep.sum() / view.gap),
        confidence=confidence_of(moved.z),
        where={"classes": [view.case.names[code]], "rows": upper},
    )


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


def slice_failure(view: View) -> Finding | None:
    """One class whose residual stands alone above all others."""
    classes = judged(view)
    if len(classes) < 4:
        return None
    power = np.square(view.residual).sum(1)
    spread = np.square(view.teacher - view.teacher[view.keep].mean(0)).sum(1)
    twin = view.twin_now
    level, overlap = [], []
    for code in classes:
        rows = view.keep & (view.codes == code)
        level.append(np.log(np.mean(power[rows]) / np.mean(spread[rows])))
        overlap.append(np.log(max(view.now.mean(rows=rows), 0.01) / max(twin.mean(rows=rows), 0.01)))
    z, zo = robust_z(np.array(level), 0.12), robust_z(np.array(overlap), 0.05)
    order = np.argsort(z)[::-1]
    worst, runner = order[0], order[1]
    if z[worst] < 3.5 or z[worst] < 1.6 * max(z[runner], 0.5) or zo[worst] > -2:
        return None
    if overlap[worst] > np.median(overlap) - 0.12:
        return None
    rows = view.keep & (view.codes == classes[worst])
    after = view.case.without(rows)
    inside, outside = view.now.mean(rows=rows), view.now.mean(rows=view.keep & ~rows)
    healed = view.judge(view.student, after.keep)
    error = 1.25 * float(np.nanstd(view.now.overlap["cosine"])) / np.sqrt(max(view.keep.sum(), 1))
    moved = Gain(healed.mean() - view.now.mean(), error, view.now.mean(), healed.mean())
    return Finding(
        "slice_failure",
        [
            Evidence("log residual power of the class, robust z", float(z[worst]), float(z[runner])),
            Evidence("overlap@10 inside", inside, outside),
        ],
        Repair("this class left out", "overlap@10", moved, 0.0),
        after,
        share=min(1.0, max(0.0, (outside - inside) * rows.sum() / view.keep.sum() / view.gap)),
        confidence=confidence_of(float(z[worst]) - 1),
        where={"classes": [view.case.names[classes[worst]]]},
    )
