"""A block of rows, or scattered rows, whose student vectors belong to other rows among them.

The rows are paired again by assignment to the teacher's predictions, on half of the directions. On the other half the
agreement must rise, by more than it does for rows that were paired correctly from the start.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.optimize import linear_sum_assignment

from manifold_probe.diagnosis.cause import Cause, Proved, Signs
from manifold_probe.diagnosis.lab import COSINE, Evidence, Lab, Trial, mean, robust_z, row_cosines
from manifold_probe.diagnosis.linear import main_axes

PERMUTATIONS = 200
MAX_ASSIGNED = 2000
ASSIGNMENT_DIRECTIONS = 128  # principal directions, half of them for pairing and half for the proof
MIN_ROWS = 6
HEALTHY_QUANTILE = 0.002  # of a healthy twin's agreement: rows below it disagree
MIN_SHARE = 0.015  # of the rows that disagree
MIN_Z = 4.0  # standard errors
MIN_RESTORED = 0.15  # of the agreement of rows that are paired correctly
MIN_RESTORED_IN_CLASS = 0.5  # the same where one class disagrees: mixed rows of a class regain a third
ONE_CLASS_SHARE = 0.8  # of the rows that disagree


def signs(lab: Lab) -> list[Signs]:
    """A block of rows, a class, and scattered rows that disagree with the teacher's predictions."""
    return [*_block(lab), *_class(lab), *_scattered(lab)]


def _block(lab: Lab) -> Iterator[Signs]:
    """The window of rows that disagrees most, where it exceeds all windows of permuted rows."""
    rows = np.flatnonzero(lab.keep)
    lack = np.clip(-robust_z(lab.agreement[rows], 0.02), -3, 3)
    lack -= lack.mean()
    score, start, stop = best_window(lack)
    draw = np.random.default_rng([lab.seed, 3])
    null = max(best_window(draw.permutation(lack))[0] for _ in range(PERMUTATIONS))
    if score > 1.1 * null and stop - start >= MIN_ROWS:
        evidence = [Evidence("scan statistic of disagreement in row order", score, null)]
        yield Signs(evidence, {"rows": rows[start:stop][:MAX_ASSIGNED]})


def _class(lab: Lab) -> Iterator[Signs]:
    """The class whose rows disagree most, where it is far more than in the others."""
    classes = lab.classes()
    if len(classes) < 3:
        return
    level = np.array([float(np.median(lab.agreement[lab.keep & (lab.codes == code)])) for code in classes])
    z = robust_z(level, 0.05)
    worst = int(z.argmin())
    if z[worst] < -3:
        rows = np.flatnonzero(lab.keep & (lab.codes == classes[worst]))[:MAX_ASSIGNED]
        evidence = [Evidence("agreement with the teacher's prediction in this class", level[worst], np.median(level))]
        yield Signs(evidence, {"rows": rows, "classes": [lab.names[classes[worst]]]})


def _scattered(lab: Lab) -> Iterator[Signs]:
    """Rows that disagree more than nearly all rows of a healthy twin."""
    rows = np.flatnonzero(lab.keep)
    twin = lab.twin
    healthy = row_cosines(twin - twin.mean(0), lab.expected - lab.expected.mean(0))[rows]
    bad = rows[lab.agreement[rows] < np.quantile(healthy, HEALTHY_QUANTILE)]
    share = len(bad) / len(rows)
    if MIN_ROWS <= len(bad) <= MAX_ASSIGNED and share > MIN_SHARE and mean(lab.now[COSINE][bad]) < 0.5 * lab.overlap:
        yield Signs(
            [Evidence("rows that disagree with the teacher", share, HEALTHY_QUANTILE)], {"rows": bad}, facts="scattered"
        )


def undo(lab: Lab, signs: Signs) -> Proved | None:
    """The trial of these rows paired again by assignment, against correctly paired rows."""
    bad, rows = signs.where["rows"], np.flatnonzero(lab.keep)
    aligned = np.setdiff1d(rows, bad)
    if len(aligned) < max(20, len(bad) // 3):
        return None
    draw = np.random.default_rng([lab.seed, 4])
    before, after = _assigned_again(lab, bad)
    before_ok, after_ok = _assigned_again(lab, draw.choice(aligned, min(len(bad), len(aligned)), replace=False))
    gains, healthy = after - before, after_ok - before_ok
    error = float(np.hypot(gains.std() / np.sqrt(len(gains)), healthy.std() / np.sqrt(len(healthy)))) + 1e-6
    mask = np.zeros(len(lab.keep), bool)
    mask[bad] = True
    lost = lab.leave_out("these rows left out", mask, measures=(COSINE,))
    trial = Trial(
        "these rows paired anew by assignment",
        "undo",
        "agreement with the teacher's prediction, of directions not used for pairing",
        float(before.mean()),
        float(after.mean()),
        error,
        float(healthy.mean()),
        lost.share,
        len(bad),
    )
    restored = trial.gain / max(float(before_ok.mean() - before.mean()), 1e-6)
    of_a_class = float(np.bincount(lab.codes[bad]).max()) >= ONE_CLASS_SHARE * len(bad)
    if trial.z < MIN_Z or trial.gain < 0.05 or restored < (MIN_RESTORED_IN_CLASS if of_a_class else MIN_RESTORED):
        return None
    if signs.facts == "scattered" and trial.after < 0.5 * float(np.median(lab.agreement[rows])):
        return None
    return Proved(trial, lab.without(mask))


def _assigned_again(lab: Lab, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Agreement before and after, in directions that the assignment did not use."""
    keep = lab.keep
    student_rows, expected = (x[rows] - x[keep].mean(0) for x in (lab.student, lab.expected))
    axes = main_axes(lab.expected[keep], min(ASSIGNMENT_DIRECTIONS, student_rows.shape[1], int(keep.sum()) - 1))
    student_rows, expected = student_rows @ axes, expected @ axes
    scale = student_rows.std(0) + 1e-6 * student_rows.std()
    student_rows, expected = (
        student_rows / np.sqrt(scale),
        expected / np.sqrt(scale),
    )  # so that not one direction alone decides
    first, second = slice(0, None, 2), slice(1, None, 2)

    def unit(x: np.ndarray) -> np.ndarray:
        return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)

    _, partner = linear_sum_assignment(-unit(expected[:, first]) @ unit(student_rows[:, first]).T)
    return row_cosines(student_rows[:, second], expected[:, second]), row_cosines(
        student_rows[partner][:, second], expected[:, second]
    )


def best_window(values: np.ndarray) -> tuple[float, int, int]:
    """The window with the largest sum over the square root of its length: (score, start, stop).

    >>> best_window(np.array([0.0, 0, 0, 3, 3, 3, 3, 0, 0, -1]))[1:]
    (3, 7)
    """
    total = np.concatenate([[0.0], np.cumsum(values)])
    n, best = len(values), (-np.inf, 0, 0)
    length, lengths = 4, []
    while length <= 0.6 * n:
        lengths.append(length)
        length = max(length + 1, int(length * 1.15))
    for length in lengths:
        sums = (total[length:] - total[:-length]) / np.sqrt(length)
        start = int(sums.argmax())
        if sums[start] > best[0]:
            best = (float(sums[start]), start, start + length)
    _, start, stop = best
    room = max(2, (stop - start) // 6)  # lengths grow in steps: the ends are searched row by row
    starts = np.arange(max(start - room, 0), min(start + room, n - 2))
    stops = np.arange(max(stop - room, 2), min(stop + room, n) + 1)
    wide = stops[None] - starts[:, None]
    sums = np.where(wide >= 4, (total[stops][None] - total[starts][:, None]) / np.sqrt(np.maximum(wide, 1)), -np.inf)
    row, column = np.unravel_index(int(sums.argmax()), sums.shape)
    return max(best, (float(sums[row, column]), int(starts[row]), int(stops[column])))


CAUSE = Cause(
    "row_misalignment",
    "rows are paired with the wrong partner",
    "Join the files by id again: these rows are paired with other rows' vectors. Look at the step that sorted, sharded "
    "or filtered them.",
    "ids on both sides that agree for these rows",
    signs,
    undo,
)
