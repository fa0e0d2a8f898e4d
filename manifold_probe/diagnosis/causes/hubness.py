"""Rows that moved towards the centre, where they are neighbours of many rows."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.cause import Cause, Proved, Signs
from manifold_probe.diagnosis.lab import EUCLIDEAN, Evidence, Lab

MAX_LOG_LENGTH = -0.2  # log length from the centre over the linear image's: a fifth shorter
MIN_SHARE = 0.02  # of the loss: rows that sound networks move to the centre cost .015
MIN_ROWS_SHARE, MAX_ROWS_SHARE = 0.02, 0.4  # of the rows; in a healthy twin .01 of the rows are as short


def signs(lab: Lab) -> Signs | None:
    """Rows much shorter than their linear image that are neighbours of more rows than the others."""
    keep = lab.keep
    ratio, healthy = (shortness(*pair, keep) for pair in ((lab.student, lab.expected), (lab.twin, lab.twin_expected)))
    short = keep & (ratio < min(MAX_LOG_LENGTH, 1.2 * float(np.quantile(healthy[keep], 0.01))))
    if not MIN_ROWS_SHARE * keep.sum() < short.sum() < MAX_ROWS_SHARE * keep.sum():
        return None
    lists = lab.near(lab.student)[EUCLIDEAN]
    served = np.bincount(lists[lists >= 0], minlength=len(keep))
    often, usual = float(served[short].mean()), float(served[keep & ~short].mean())
    if often < 1.05 * usual:
        return None
    evidence = [
        Evidence("times that these rows serve as neighbours", often, usual),
        Evidence("share of rows drawn to the middle", float(short.sum() / keep.sum()), 0.01),
    ]
    return Signs(evidence, {"rows": np.flatnonzero(short)}, facts=(short, np.exp(-ratio)[:, None]))


def shortness(student: np.ndarray, image: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """(n,): log length from the centre over that of the linear image, minus its median."""
    student_lengths, image_lengths = (np.linalg.norm(x - x[keep].mean(0), axis=1) for x in (student, image))
    ratio = np.log(np.maximum(student_lengths, 1e-30)) - np.log(np.maximum(image_lengths, 1e-30))
    centred_ratio: np.ndarray = ratio - float(np.median(ratio[keep]))
    return centred_ratio


def undo(lab: Lab, signs: Signs) -> Proved | None:
    """The trial of the student with the lengths of its linear image for these rows."""
    short, longer = signs.facts
    keep = lab.keep

    def lengthened(x: np.ndarray) -> np.ndarray:
        centre = x[keep].mean(0)
        return np.where(short[:, None], centre + (x - centre) * longer, x)

    trial = lab.undo("lengths from the centre given back", lengthened, measures=(EUCLIDEAN,))
    return Proved(trial, lab.repaired(lengthened(lab.student))) if trial.share >= MIN_SHARE else None


CAUSE = Cause(
    "hubness",
    "a few rows are everybody's neighbours",
    "Use hubness reduction (mutual proximity, CSLS) in search, or look at what these rows have in common: inputs that "
    "the student does not know are drawn to the mean.",
    "rows that serve as often as others once lengths are given back",
    signs,
    undo,
)
