"""Causes that sit in the number of dimensions: dead, missing, or collapsed; what outputs can tell of each."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.case import Evidence, Finding, View, confidence_of
from manifold_probe.diagnosis.faithfulness import loss_z
from manifold_probe.diagnosis.linear import cross_fitted, explained
from manifold_probe.engine.moments import Moments
from manifold_probe.measures.linear_maps import partners

TOO_FEW = ["truncated_dimensions", "dead_dimensions", "dimensional_collapse"]
ALONE = 0.97  # correlation of columns that are the teacher's own
STEEP = 50  # times that a spectrum falls between two neighbours
FOLLOWS = 0.98  # of what a map predicts of the teacher itself


def alive(x: np.ndarray) -> np.ndarray:
    """(d,) of bool: dimensions that vary."""
    spread = np.where(np.ptp(x, axis=0) > 0, x.std(0, dtype=np.float64), 0.0)
    return spread > 1e-6 * max(float(np.median(spread[spread > 0])) if (spread > 0).any() else 0.0, 1e-30)


def dead_dimensions(view: View) -> Finding | None:
    """Dimensions that never change, beyond the teacher's share of them."""
    keep = view.keep
    dead = ~alive(view.student[keep])
    theirs = float((~alive(view.teacher[keep])).mean())
    extra = float(dead.mean()) - theirs
    if extra < 0.03 or dead.sum() < 2 or view.gap < 0.02:
        return None
    lost, names = _lost_alike(view, dead)
    return Finding(
        "dead_dimensions",
        [Evidence("share of dimensions of zero variance", float(dead.mean()), theirs), *names],
        None,
        view.case.with_student(view.student[:, ~dead]),
        share=lost,
        confidence=confidence_of(2 + 10 * extra),
        z=np.inf,
        where={"dimensions": np.flatnonzero(dead)},
    )


def _lost_alike(view: View, dead: np.ndarray) -> tuple[float, list[Evidence]]:
    """The share of the gap that the teacher loses with as few of its columns, where columns correspond."""
    if view.student.shape[1] != view.teacher.shape[1]:
        return 0.5, []  # no telling which
    cut = view.teacher.copy()
    cut[:, dead] = view.teacher[view.keep][:, dead].mean(0)
    alike = view.judge(cut).mean()
    share = min(1.0, (1 - alike) / view.gap)
    return share, [Evidence("overlap@10 of the teacher without its columns of these numbers", alike, 1.0)]


def matched_columns(view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(student columns, their teacher columns one to one, |correlation|)."""
    keep = view.keep
    own, theirs = (np.flatnonzero(alive(x[keep])) for x in (view.student, view.teacher))
    moments = Moments().update(view.student[keep][:, own], view.teacher[keep][:, theirs])
    partner, correlation = partners(moments, mirrored=True)
    paired = partner >= 0
    return own[paired], theirs[partner[paired]], np.abs(correlation[paired])


def truncated_dimensions(view: View) -> Finding | None:
    """Columns of the teacher that have no counterpart, where all of the student's have one."""
    own, theirs, correlation = matched_columns(view)
    width = int(alive(view.teacher[view.keep]).sum())
    if len(own) >= 0.95 * width or len(own) < 2 or np.median(correlation) < 0.75:
        return None
    if view.judge(view.recovered).mean() > 1 - 0.5 * view.gap:
        return None  # a linear map undoes it: nothing is missing
    rest = np.setdiff1d(np.flatnonzero(alive(view.teacher[view.keep])), theirs)
    predicted = view.judge(view.teacher[:, theirs])
    alike = 1 - predicted.mean()
    if alike < 0.35 * view.gap:
        return None
    matched = float(np.median(correlation))
    return Finding(
        "truncated_dimensions",
        [
            Evidence("student's columns with a counterpart of their own, median correlation", matched, None),
            Evidence("teacher's columns without one", float(len(rest)), 0.0),
            Evidence("overlap@10 of the teacher, cut alike", predicted.mean(), 1.0),
        ],
        None,
        view.case,
        share=min(1.0, alike / view.gap),
        confidence=confidence_of(4.0 + 4 * (matched - 0.75)),
        z=loss_z(predicted),
        where={"dimensions": rest},
        or_=[] if matched > ALONE else [name for name in TOO_FEW if name != "truncated_dimensions"],
    )


def too_narrow(view: View) -> Finding | None:
    """A student of few dimensions: all that it says follows from the teacher and yet much is lost, or the teacher on
    as many principal directions loses much of what the student lost."""
    width, whole = (int(alive(x[view.keep]).sum()) for x in (view.student, view.teacher))
    if width > 0.9 * whole or view.gap < 0.15:
        return None
    predicted = view.judge(_principal(view.teacher, view.keep, width))
    cut = predicted.mean()
    follows = (
        view.image_now.mean() - view.now.mean() < 0.25 * view.gap
        and view.judge(view.recovered).mean() < 1 - 0.5 * view.gap  # else a linear map undoes it
        and view.explained > FOLLOWS * ceiling(view)
    )
    if not (follows or 1 - cut > max(0.25, 0.35 * view.gap)):
        return None
    return Finding(
        "truncated_dimensions",
        [
            Evidence("dimensions", float(width), float(whole)),
            Evidence("student's variance that the teacher predicts", view.explained, None),
            Evidence("overlap@10 of the teacher on as many principal directions", cut, 1.0),
        ],
        None,
        view.case,
        share=1.0 if follows else min(1.0, (1 - cut) / view.gap),
        confidence=0.85 if follows else 0.7,
        z=loss_z(predicted),
        or_=[name for name in TOO_FEW if name != "truncated_dimensions"],
    )


def ceiling(view: View) -> float:
    """The share of the teacher's own variance that a cross-fitted map from itself predicts: below 1 for few rows."""
    again = cross_fitted(view.teacher, view.teacher, view.fold, view.keep)
    return explained(view.teacher[view.keep].astype(np.float64), again[view.keep])


def dimensional_collapse(view: View) -> Finding | None:
    """A cliff in the student's spectrum where the teacher's has none."""
    keep = view.keep
    own, theirs = (spectrum(x[keep]) for x in (view.student, view.teacher))
    most = int(0.8 * min(len(own), len(theirs), keep.sum() - 1))
    if most < 6:
        return None
    cliff, left = _cliff(own, most)
    usual, _ = _cliff(theirs, min(left + 2, most))  # a teacher may have a cliff of its own, further on
    if not (cliff > np.log(8) and cliff > 2 * usual):
        return None
    cut = _principal(view.teacher, keep, left)
    predicted = view.judge(cut)
    alike = 1 - predicted.mean()
    steep = cliff > np.log(STEEP)  # nothing but a loss of directions does that
    if view.gap < 0.02 or alike < (0.05 if steep else 0.25 * view.gap):
        return None
    if cliff < np.log(20) and alike < 0.6 * view.gap:
        return None  # a small cliff must explain most of the loss
    ranks = [participation(values) for values in (own, theirs[: len(own)])]
    return Finding(
        "dimensional_collapse",
        [
            Evidence(f"drop of the spectrum behind direction {left}, log", float(cliff), float(usual)),
            Evidence("participation ratio of the spectrum", ranks[0], ranks[1]),
            Evidence("overlap@10 of the teacher, cut to as many directions", predicted.mean(), 1.0),
        ],
        None,
        view.case.beside(cut),
        share=min(1.0, alike / view.gap),
        confidence=confidence_of(2 + cliff),
        z=loss_z(predicted),
        where={"dimensions": np.arange(left, alive(view.student[keep]).sum())},
        or_=[name for name in TOO_FEW if name != "dimensional_collapse"],
    )


def spectrum(x: np.ndarray) -> np.ndarray:
    """Eigenvalues of the covariance, largest first."""
    centred = (x - x.mean(0)).astype(np.float64)
    gram = centred @ centred.T if len(x) < x.shape[1] else centred.T @ centred
    return np.maximum(np.linalg.eigvalsh(gram)[::-1], 0) / len(x)


def participation(values: np.ndarray) -> float:
    """(sum of eigenvalues)^2 over the sum of their squares."""
    return float(values.sum() ** 2 / max(float(np.square(values).sum()), 1e-300))


def _cliff(values: np.ndarray, most: int) -> tuple[float, int]:
    """(largest drop of the log spectrum between neighbours, how many stand before it)."""
    floor = max(values[0], 1e-300) * 1e-9
    logs = np.log(np.maximum(values[: most + 1], floor))
    drops = logs[:-1] - logs[1:]
    # the first few directions always tower: over what is left, not over nothing
    low = logs[1:] - logs[0] < np.log(1e-4)
    drops[:3] = np.where(low[:3], drops[:3], 0)
    place = int(drops.argmax())
    return float(drops[place]), place + 1


def _principal(x: np.ndarray, keep: np.ndarray, count: int) -> np.ndarray:
    centre = x[keep].mean(0)
    _, _, directions = np.linalg.svd((x[keep] - centre).astype(np.float64), full_matrices=False)
    chosen = directions[:count]
    return (((x - centre) @ chosen.T) @ chosen + centre).astype(np.float32)
