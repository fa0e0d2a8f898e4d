"""Causes that sit in single rows: outliers, rows that fell onto one point, rows paired with the wrong partner."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from manifold_probe.diagnosis.case import Evidence, Finding, Repair, View, confidence_of, robust_z, row_cosines
from manifold_probe.diagnosis.faithfulness import Gain, nearest, shared

FAR = 6.0  # robust standard deviations of the log norm ratio
FALLEN = 0.02  # of the distance that the teacher has to the nearest row
LONG = 3.0  # times the median length
PERMUTATIONS = 200
MOST_ASSIGNED = 2000


def outliers(view: View) -> Finding | None:
    """Rows whose length, against the teacher's, is out of all proportion, and which decide the moments."""
    keep = view.keep
    own = np.linalg.norm(view.student - np.median(view.student[keep], axis=0), axis=1)
    theirs = np.linalg.norm(view.teacher - np.median(view.teacher[keep], axis=0), axis=1)
    ratio = np.log(np.maximum(own, 1e-30)) - np.log(np.maximum(theirs, 1e-30))
    z = np.full(len(ratio), -np.inf)
    z[keep] = robust_z(ratio[keep], 0.05)
    long = own / max(float(np.median(own[keep])), 1e-30)
    far = ((z > FAR) & (long > LONG)) | ((z > 0.75 * FAR) & (long > 4 * LONG))
    power = np.where(keep, own, 0) ** 4
    share = float(power[far].sum() / max(power.sum(), 1e-300))
    if not far.any() or far.sum() > 0.03 * keep.sum() or share < 0.2:
        return None
    known = far & view.classed
    if far.sum() >= 8 and np.bincount(view.codes[known], minlength=1).max() > 0.7 * far.sum():
        return None  # one class's affair
    after = view.case.without(far)
    moved = view.judge(view.student, after.keep).cka - view.now.cka
    if not moved > 0.02:
        return None
    gain = view.case.yardstick.likeness_gain(view.student, view.student, keep, after.keep)
    return Finding(
        "outliers",
        [Evidence("share of norm^4 in these rows", share, float(far.sum() / keep.sum()))],
        Repair(
            "these rows left out",
            "debiased_linear_cka",
            gain,
            view.judge(view.twin, after.keep).cka - view.twin_now.cka,
        ),
        after,
        share=min(1.0, moved / max(1 - view.now.cka, 1e-3)),
        confidence=confidence_of(2 + 20 * moved),
        z=float(np.min(z[far])),  # the length of each of them, in robust deviations
        where={"rows": np.flatnonzero(far)},
    )


def point_collapse(view: View) -> Finding | None:
    """Rows that lie on top of others in the student, and do not in the teacher."""
    rows = np.flatnonzero(view.keep)
    ratios = []
    for space in (view.student[rows], view.teacher[rows]):
        first = nearest(space, np.arange(len(rows)), 1, "euclidean")[:, 0]
        distance = np.linalg.norm(space - space[first], axis=1)
        ratios.append(np.log(np.maximum(distance, 1e-9 * max(float(np.median(distance)), 1e-30))))
    z = robust_z(ratios[0] - ratios[1], 0.1)
    usual = float(np.median(np.exp(ratios[0])))
    fell = (z < -6) & (np.exp(ratios[0]) < 0.2 * usual)
    if not fell.any():  # where most rows fell, the usual row is one that fell
        reach = [float(np.linalg.norm(x[rows] - x[rows].mean(0), axis=1).mean()) for x in (view.student, view.teacher)]
        fell = ratios[0] - np.log(reach[0]) < ratios[1] - np.log(reach[1]) + np.log(FALLEN)
    if fell.sum() < 5 or fell.mean() > 0.95:
        return None
    mask = np.zeros(len(view.keep), bool)
    mask[rows[fell]] = True
    inside, outside = view.now.mean(rows=mask), view.now.mean(rows=view.keep & ~mask)
    if not inside < 0.5 * outside or _apart(view, mask):
        return None
    if fell.mean() * (outside - inside) < 0.01:
        return None
    after = view.case.without(mask)
    healed = view.judge(view.student, after.keep)
    share = float(fell.mean() * (outside - inside) / view.gap)
    error = 0.3 / np.sqrt(fell.sum())
    gain = Gain(healed.mean() - view.now.mean(), error * float(fell.mean()), view.now.mean(), healed.mean())
    return Finding(
        "point_collapse",
        [
            Evidence("rows that lie on another", float(fell.mean()), 0.0),
            Evidence("their overlap@10", inside, outside),
        ],
        Repair(
            "these rows left out", "overlap@10", gain, view.judge(view.twin, after.keep).mean() - view.twin_now.mean()
        ),
        after,
        share=min(share, 1.0),
        confidence=confidence_of(2 + 10 * (outside - inside)),
        z=gain.z,
        where={"rows": np.flatnonzero(mask)},
    )


def _apart(view: View, mask: np.ndarray) -> bool:
    """Whether rows that lie close together still lie there as the teacher has them: drawn in, not fallen."""
    rows = np.flatnonzero(mask)
    k = min(10, len(rows) // 4)
    if k < 2:
        return False
    every = np.arange(len(rows))
    kept = shared(*(nearest(x[rows], every, k, "euclidean") for x in (view.teacher, view.student))).mean()
    chance = k / (len(rows) - 1)
    usual = view.now.mean("euclidean", rows=view.keep & ~mask)
    return bool(kept > chance + 0.3 * (1 - chance) * usual)


def row_misalignment(view: View) -> Finding | None:
    """A block of rows, or scattered ones, whose student vectors belong to other rows among them."""
    return _block(view) or _scattered(view)


def _block(view: View) -> Finding | None:
    rows = np.flatnonzero(view.keep)
    agreement = view.agreement[rows]
    lack = np.clip(-robust_z(agreement, 0.02), -3, 3)
    lack -= lack.mean()
    score, start, stop = best_window(lack)
    draw = np.random.default_rng([view.case.seed, 3])
    null = max(best_window(draw.permutation(lack))[0] for _ in range(PERMUTATIONS))
    if score <= 1.1 * null or stop - start < 5:
        return None
    block = rows[start:stop][:MOST_ASSIGNED]
    return _proved(view, block, rows, [Evidence("scan statistic of disagreement in row order", score, null)])


def _scattered(view: View) -> Finding | None:
    rows = np.flatnonzero(view.keep)
    agreement, healthy = view.agreement[rows], _twin_agreement(view)[rows]
    threshold = np.quantile(healthy, 0.002)
    bad = rows[agreement < threshold]
    if len(bad) < 6 or len(bad) > MOST_ASSIGNED:
        return None
    share = len(bad) / len(rows)
    if share < 0.015:
        return None
    if view.now.mean(rows=bad) > 0.5 * view.now.mean():
        return None
    evidence = [Evidence("rows that disagree with the teacher", share, 0.002)]
    found = _proved(view, bad, rows, evidence)
    if found is None or found.repair is None or found.repair.gain.after < 0.5 * float(np.median(agreement)):
        return None
    return found


def _twin_agreement(view: View) -> np.ndarray:
    twin = view.twin
    return row_cosines(twin - twin.mean(0), view.expected - view.expected.mean(0))


def _proved(view: View, bad: np.ndarray, rows: np.ndarray, evidence: list[Evidence]) -> Finding | None:
    """Re-pair on half of the directions; the other half must say that it was right."""
    aligned = np.setdiff1d(rows, bad)
    if len(aligned) < max(20, len(bad) // 3):
        return None
    draw = np.random.default_rng([view.case.seed, 4])
    control = draw.choice(aligned, min(len(bad), len(aligned)), replace=False)
    before, after = _repaired(view, bad)
    before_ok, after_ok = _repaired(view, control)
    gains, healthy = after - before, after_ok - before_ok
    error = float(np.hypot(gains.std() / np.sqrt(len(gains)), healthy.std() / np.sqrt(len(healthy)))) + 1e-6
    value = float(gains.mean())
    z = (value - max(0.0, float(healthy.mean()))) / error
    restored = value / max(float(before_ok.mean() - before.mean()), 1e-6)
    if z < 4 or value < 0.05 or restored < 0.15:
        return None
    mask = np.zeros(len(view.keep), bool)
    mask[bad] = True
    inside, outside = view.now.mean(rows=mask), view.now.mean(rows=view.keep & ~mask)
    lost = max(outside - inside, 0.0) * len(bad) / len(rows)
    return Finding(
        "row_misalignment",
        [*evidence, Evidence("agreement after re-pairing, of directions not used for it", float(after.mean()), None)],
        Repair(
            "these rows paired anew by assignment",
            "agreement with the teacher's prediction",
            Gain(value, error, float(before.mean()), float(after.mean())),
            float(healthy.mean()),
        ),
        view.case.without(mask),
        share=min(1.0, lost / view.gap),
        confidence=confidence_of(z),
        z=z,
        where={"rows": bad},
    )


def _repaired(view: View, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Agreement before and after, in directions that the assignment did not use."""
    keep = view.keep
    centre = view.student[keep].mean(0)
    own, expected = view.student[rows] - centre, view.expected[rows] - view.expected[keep].mean(0)
    _, vectors = np.linalg.eigh(np.cov(view.expected[keep].T))
    own, expected = own @ vectors[:, ::-1], expected @ vectors[:, ::-1]
    scale = own.std(0) + 1e-6 * own.std()
    own, expected = own / np.sqrt(scale), expected / np.sqrt(scale)  # so that not one direction alone decides
    first, second = slice(0, None, 2), slice(1, None, 2)

    def unit(x: np.ndarray) -> np.ndarray:
        return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)

    similarity = unit(expected[:, first]) @ unit(own[:, first]).T
    _, partner = linear_sum_assignment(-similarity)
    before = row_cosines(own[:, second], expected[:, second])
    after = row_cosines(own[partner][:, second], expected[:, second])
    return before, after


def best_window(values: np.ndarray) -> tuple[float, int, int]:
    """The window with the largest sum over the square root of its length: (score, start, stop).

    >>> best_window(np.array([0.0, 0, 0, 3, 3, 3, 3, 0, 0, -1]))[1:]
    (3, 7)
    """
    total = np.concatenate([[0.0], np.cumsum(values)])
    n, best = len(values), (-np.inf, 0, 0)
    length = 4
    lengths = []
    while length <= 0.6 * n:
        lengths.append(length)
        length = max(length + 1, int(length * 1.15))
    for length in lengths:
        sums = (total[length:] - total[:-length]) / np.sqrt(length)
        start = int(sums.argmax())
        if sums[start] > best[0]:
            best = (float(sums[start]), start, start + length)
    _, start, stop = best
    room = max(2, (stop - start) // 6)  # lengths grow in steps: the ends are looked for row by row
    starts = np.arange(max(start - room, 0), min(start + room, n - 2))
    stops = np.arange(max(stop - room, 2), min(stop + room, n) + 1)
    wide = stops[None] - starts[:, None]
    sums = np.where(wide >= 4, (total[stops][None] - total[starts][:, None]) / np.sqrt(np.maximum(wide, 1)), -np.inf)
    row, column = np.unravel_index(int(sums.argmax()), sums.shape)
    return max(best, (float(sums[row, column]), int(starts[row]), int(stops[column])))
