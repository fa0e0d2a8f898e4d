"""Causes that sit inside the classes: all of them drawn together, or one that failed alone.

A linear image E of the teacher tells how a sound student moves: the slope of the student on it, inside a class, is

    <S - mean, E - mean> / <E - mean, E - mean>

which is 1 whatever noise there is, less where a class is drawn together, and 0 where its rows say nothing.
"""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.case import Evidence, Finding, Repair, View, confidence_of, robust_z
from manifold_probe.diagnosis.classes import judged
from manifold_probe.diagnosis.faithfulness import CORRECTION, Gain

PLAIN = 0.9  # of the student's variance that the teacher predicts: above, its shape is the teacher's


def class_collapse(view: View) -> Finding | None:
    """Classes drawn together: a student moves less inside them than its linear image does, and not between them."""
    keep = view.keep & view.classed
    labelled = view.case.true_labels
    codes, twin_codes = (view.codes[keep] if labelled else own_clusters(view, x) for x in (view.student, view.twin))
    if len(np.unique(codes)) < 3:
        return None
    _, inside, between = slopes(view.student[keep], view.expected[keep], codes)
    _, twin_inside, twin_between = slopes(view.twin[keep], view.twin_expected[keep], twin_codes)
    error = np.hypot(inside_error(view.student[keep], view.expected[keep], codes) / max(between, 1e-3), 1e-6)
    own, usual = (max(a, 1e-3) / max(b, 1e-3) for a, b in ((inside, between), (twin_inside, twin_between)))
    ratio, theirs = (within_over_between(x[keep], codes) for x in (view.student, view.teacher))
    drop = own / usual
    plain = view.explained > PLAIN and ratio < 0.67 * theirs and drop < 0.95  # little else was lost
    if not (drop < (0.74 if labelled else 0.66) or plain):
        return None
    scale = min(drop, np.sqrt(ratio / theirs)) if plain else drop
    damaged = drawn_together(view.teacher, keep, codes, float(scale))
    predicted = view.judge(damaged)
    lost = {"overlap@10": 1 - predicted.mean(), "debiased_linear_cka": 1 - predicted.cka}
    if max(lost.values()) < 0.02:
        return None
    return Finding(
        "class_collapse",
        [
            Evidence("movement inside the classes over movement between them", own, usual),
            Evidence("variance within over between classes", ratio, theirs),
            Evidence("overlap@10 of the teacher, drawn together alike", predicted.mean(), 1.0),
        ],
        None,
        view.case.beside(damaged),
        share=min(1.0, lost["overlap@10"] / view.gap),
        confidence=confidence_of(2 + 6 * max(0.8 - drop, 0.67 - ratio / theirs if plain else 0.0)),
        z=(usual - own) / max(error, 1e-9),
        where={"classes": list(view.case.names)} if view.case.true_labels else None,
    )


def slice_failure(view: View) -> Finding | None:
    """One class, and no other, that moves less with its linear image than a healthy twin's would, or strays further."""
    classes = judged(view)
    if len(classes) < 4:
        return None
    found = _unmoved(view, classes) or _astray(view, classes)
    if found is None:
        return None
    worst, apart, z, evidence = found
    members = view.keep & (view.codes == classes[worst])
    inside, outside = view.now.mean(rows=members), view.now.mean(rows=view.keep & ~members)
    twin_inside, twin_outside = (
        view.twin_now.mean(rows=members),
        view.twin_now.mean(rows=view.keep & ~members),
    )
    lost = max(0.0, twin_inside * outside / max(twin_outside, 1e-3) - inside, outside - inside)
    after = view.case.without(members)
    healed = {code: view.judge(view.student, view.keep & (view.codes != code)).mean() for code in classes}
    others = [value for code, value in healed.items() if code != classes[worst]]
    error = CORRECTION * float(np.nanstd(view.now.overlap["cosine"])) / np.sqrt(max(view.keep.sum(), 1))
    now = view.now.mean()
    moved = Gain(healed[classes[worst]] - now, error, now, healed[classes[worst]])
    return Finding(
        "slice_failure",
        [
            evidence,
            Evidence("overlap@10 inside", inside, twin_inside * outside / max(twin_outside, 1e-3)),
        ],
        Repair("this class left out", "overlap@10", moved, max(others) - now),
        after,
        share=min(1.0, lost * members.sum() / view.keep.sum() / view.gap),
        confidence=confidence_of(min(apart, 10.0)),
        z=z,
        where={"classes": [view.case.names[classes[worst]]]},
    )


def _unmoved(view: View, classes: list[int]) -> tuple[int, float, float, Evidence] | None:
    rows = view.keep & np.isin(view.codes, classes)
    own, _, _ = slopes(view.student[rows], view.expected[rows], view.codes[rows])
    usual, _, _ = slopes(view.twin[rows], view.twin_expected[rows], view.codes[rows])
    ratio = np.log(np.maximum(own, 0.01) / np.maximum(usual, 0.01))
    error = slope_errors(view.student[rows], view.expected[rows], view.codes[rows]) / np.maximum(own, 0.2)
    middle = float(np.median(ratio))
    spread = 1.4826 * float(np.median(np.abs(ratio - middle)))
    z = (ratio - middle) / np.sqrt(np.square(max(spread, 0.05)) + np.square(error))
    worst, runner = np.argsort(z)[:2]
    if z[worst] > -2.4 or z[worst] > 3.5 * min(z[runner], -0.5) or ratio[worst] > middle - 0.2:
        return None
    evidence = Evidence("movement with the linear image, log, robust z", float(z[worst]), float(z[runner]))
    return int(worst), -float(z[worst]), float((middle - ratio[worst]) / max(float(error[worst]), 1e-9)), evidence


def _astray(view: View, classes: list[int]) -> tuple[int, float, float, Evidence] | None:
    power = np.square(view.residual).sum(1)
    spread = np.square(view.reference - view.reference[view.keep].mean(0)).sum(1)
    level, kept = [], []
    for code in classes:
        rows = view.keep & (view.codes == code)
        level.append(np.log(np.mean(power[rows]) / np.mean(spread[rows])))
        kept.append(np.log(max(view.now.mean(rows=rows), 0.01) / max(view.twin_now.mean(rows=rows), 0.01)))
    z, lost = robust_z(np.array(level), 0.12), robust_z(np.array(kept), 0.05)
    runner, worst = np.argsort(z)[-2:]
    if z[worst] < 3.5 or z[worst] < 1.6 * max(z[runner], 0.5) or lost[worst] > -2:
        return None
    if kept[worst] > np.median(kept) - 0.12:
        return None
    evidence = Evidence("log residual power of the class, robust z", float(z[worst]), float(z[runner]))
    members = view.keep & (view.codes == classes[worst])
    return int(worst), float(z[worst]) - 1, z_of_overlap(view, members), evidence


def z_of_overlap(view: View, members: np.ndarray) -> float:
    """Standard errors by which the members keep less, against a healthy twin, than the other rows do."""
    lost = view.twin_now.overlap["cosine"] - view.now.overlap["cosine"]
    inside, outside = (x[~np.isnan(x)] for x in (lost[members], lost[view.keep & ~members]))
    error = CORRECTION * np.hypot(inside.std() / np.sqrt(len(inside)), outside.std() / np.sqrt(len(outside)))
    return float((inside.mean() - outside.mean()) / max(float(error), 1e-9))


def slopes(student: np.ndarray, image: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, float, float]:
    """How much of its linear image's movement the student makes: (of each class inside it, inside all, between means).

    1 for a linear image with whatever noise; cross-fitting makes it a little more or less, in a healthy twin alike.
    """
    moved, there = [], []
    between = np.zeros(2)
    centre, middle = student.mean(0), image.mean(0)
    for code in np.unique(codes):
        own, theirs = student[codes == code], image[codes == code]
        inner = theirs - theirs.mean(0)
        moved.append(float(((own - own.mean(0)) * inner).sum()))
        there.append(max(float(np.square(inner).sum()), 1e-30))
        step = theirs.mean(0) - middle
        between += len(own) * np.array([((own.mean(0) - centre) * step).sum(), np.square(step).sum()])
    each, inside = np.array(moved) / np.array(there), sum(moved) / sum(there)
    return each, inside, float(between[0] / max(between[1], 1e-30))


def slope_errors(student: np.ndarray, image: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Standard errors of the classes' slopes, from how much single rows disagree."""
    found = []
    for code in np.unique(codes):
        own, theirs = (x[codes == code] - x[codes == code].mean(0) for x in (student, image))
        moved, there = (own * theirs).sum(1), np.square(theirs).sum(1)
        slope = moved.sum() / max(float(there.sum()), 1e-30)
        found.append(np.sqrt(np.square(moved - slope * there).sum()) / max(float(there.sum()), 1e-30))
    return np.array(found)


def inside_error(student: np.ndarray, image: np.ndarray, codes: np.ndarray) -> float:
    """Standard error of the slope inside all classes."""
    means = {code: (student[codes == code].mean(0), image[codes == code].mean(0)) for code in np.unique(codes)}
    own = student - np.stack([means[code][0] for code in codes])
    theirs = image - np.stack([means[code][1] for code in codes])
    moved, there = (own * theirs).sum(1), np.square(theirs).sum(1)
    whole = max(float(there.sum()), 1e-30)
    return float(np.sqrt(np.square(moved - moved.sum() / whole * there).sum()) / whole)


def within_over_between(x: np.ndarray, codes: np.ndarray) -> float:
    """Variance inside classes over variance between their means."""
    within = between = 0.0
    for code in np.unique(codes):
        members = x[codes == code]
        within += float(np.square(members - members.mean(0)).sum())
        between += len(members) * float(np.square(members.mean(0) - x.mean(0)).sum())
    return within / max(between, 1e-30)


def own_clusters(view: View, x: np.ndarray) -> np.ndarray:
    """The kept rows by the clusters of a student: those that its classes have become, where no labels say."""
    from sklearn.cluster import KMeans

    rows = x[view.keep]
    return KMeans(len(view.case.names), n_init=3, random_state=view.case.seed).fit(rows.astype(np.float64)).labels_


def drawn_together(x: np.ndarray, keep: np.ndarray, codes: np.ndarray, scale: float) -> np.ndarray:
    """The kept rows at ``scale`` times their distance from their class's mean."""
    out, rows = x.copy(), np.flatnonzero(keep)
    for code in np.unique(codes):
        members = rows[codes == code]
        out[members] = x[members].mean(0) + scale * (x[members] - x[members].mean(0))
    return out
