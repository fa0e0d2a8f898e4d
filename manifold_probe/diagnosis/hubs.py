"""Hubness: rows that are everybody's neighbours, in the student alone."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.case import Evidence, Finding, Repair, View, confidence_of
from manifold_probe.diagnosis.faithfulness import METRICS, gain, nearest


def hubness(view: View) -> Finding | None:
    """Rows that moved towards the middle, or a few rows by whatever way, became everybody's neighbours."""
    return _drawn_in(view) or _hubs(view)


def _drawn_in(view: View) -> Finding | None:
    """Rows far shorter, from the centre, than the teacher predicts, which serve as neighbours too often."""
    keep = view.keep
    ratio, healthy = shortness(view.student, view.expected, keep), shortness(view.twin, view.twin_expected, keep)
    short = keep & (ratio < min(-0.2, 1.2 * float(np.quantile(healthy[keep], 0.01))))
    if not 0.02 * keep.sum() < short.sum() < 0.4 * keep.sum():
        return None
    served = np.bincount(
        nearest(view.student[keep], np.arange(keep.sum()), 10, "euclidean").ravel(), minlength=keep.sum()
    )
    often, usual = float(served[short[keep]].mean()), float(served[~short[keep]].mean())
    centre = view.student[keep].mean(0)
    repaired = view.student.copy()
    repaired[short] = centre + (repaired[short] - centre) * np.exp(-ratio[short])[:, None]
    after = view.judge(repaired.astype(np.float32))
    moved = gain(view.now, after, "euclidean")
    if often < 1.05 * usual or moved.value < 0.015 or moved.z < 4:
        return None
    twin, middle = view.twin.copy(), view.twin[keep].mean(0)
    twin[short] = middle + (twin[short] - middle) * np.exp(-ratio[short])[:, None]
    without = gain(view.twin_now, view.judge(twin), "euclidean")
    return Finding(
        "hubness",
        [
            Evidence("times that these rows serve as neighbours", often, usual),
            Evidence("share of rows drawn to the middle", float(short.sum() / keep.sum()), 0.01),
        ],
        Repair("lengths from the centre given back", "overlap@10", moved, without.value),
        view.case.with_student(repaired),
        share=min(1.0, moved.value / max(1 - view.now.mean("euclidean"), 1e-3)),
        confidence=confidence_of(moved.z),
        z=moved.z,
        where={"rows": np.flatnonzero(short)},
    )


def shortness(student: np.ndarray, image: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """(n,): log length from the centre against that of the linear image, the usual row at zero."""
    own, theirs = (np.linalg.norm(x - x[keep].mean(0), axis=1) for x in (student, image))
    ratio = np.log(np.maximum(own, 1e-30)) - np.log(np.maximum(theirs, 1e-30))
    return ratio - float(np.median(ratio[keep]))


def _hubs(view: View) -> Finding | None:
    """A few rows that are everybody's neighbours, in the student alone."""
    rows = np.flatnonzero(view.keep)
    skew = [_skewness(x[rows], metric) for x in (view.student, view.reference) for metric in METRICS]
    own, theirs = max(skew[:2]), max(skew[2:])
    twin = max(_skewness(view.twin[rows], metric) for metric in METRICS)
    expected = max(theirs, twin)
    if own < expected + 1.5 or own < 2.5:
        return None
    moved = view.case.yardstick.evened_gain(view.student)
    healthy = view.case.yardstick.evened_gain(view.twin)
    if moved.value < max(healthy.value, 0.0) + 0.015 or moved.z < 3:
        return None
    return Finding(
        "hubness",
        [Evidence("skewness of how often rows serve as neighbours", own, expected)],
        Repair("hubs evened out (CSLS)", "overlap@10", moved, healthy.value),
        view.case,
        share=min(1.0, moved.value / view.gap),
        confidence=confidence_of(own - expected + 1),
        z=Repair("", "", moved, healthy.value).z,
    )


def _skewness(x: np.ndarray, metric: str, k: int = 10) -> float:
    counts = np.bincount(nearest(x, np.arange(len(x)), k, metric).ravel(), minlength=len(x)).astype(float)
    centred = counts - counts.mean()
    return float((centred**3).mean() / max(centred.std() ** 3, 1e-12))
