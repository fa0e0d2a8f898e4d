"""A cliff in the student's spectrum where the teacher's has none."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.cause import Cause, Damage, Signs
from manifold_probe.diagnosis.lab import COSINE, Evidence, Lab
from manifold_probe.diagnosis.spectra import NARROW_LOSS, alive, cut_to, lost_by_width, participation

CLIFF, USUAL = 8.0, 2.0  # times that the spectrum falls; times the log of the teacher's own largest fall
IN_USE = 0.9  # of the dimensions that vary
SHEER = 30.0  # times: what lies behind such a fall holds nothing, which needs no statistics
OWN = 0.2  # of the loss: a sound head that a narrow backbone feeds has a cliff, too, and loses up to .17 by it


def signs(lab: Lab) -> Signs | None:
    keep = lab.keep
    own, theirs = lab.spectra
    most = int(0.8 * min(len(own), len(theirs), keep.sum() - 1))
    if most < 6:
        return None
    cliff, left = _cliff(own, most)
    if left >= IN_USE * int(alive(lab.student[keep]).sum()):
        return None  # of the dimensions that vary all are in use
    usual, _ = _cliff(theirs, min(left + 2, most), towers=left > 3)  # a teacher may have a cliff of its own, further on
    if not (cliff > np.log(CLIFF) and cliff > USUAL * usual):
        return None
    evidence = [
        Evidence(f"drop of the spectrum behind direction {left}, log", float(cliff), float(usual)),
        Evidence("participation ratio of the spectrum", participation(own), participation(theirs[: len(own)])),
    ]
    return Signs(
        evidence,
        {"dimensions": np.arange(left, int(alive(lab.student[keep]).sum()))},
        facts=(left, bool(cliff > np.log(SHEER))),
    )


def _cliff(values: np.ndarray, most: int, towers: bool = True) -> tuple[float, int]:
    """(largest drop of the log spectrum between neighbours, how many stand before it).

    ``towers``: the first few directions always tower, and do not count unless next to nothing is left behind them.
    """
    logs = np.log(np.maximum(values[: most + 1], max(values[0], 1e-300) * 1e-9))
    drops = logs[:-1] - logs[1:]
    low = logs[1:] - logs[0] < np.log(1e-4)
    if towers:
        drops[:3] = np.where(low[:3], drops[:3], 0)
    place = int(drops.argmax())
    return float(drops[place]), place + 1


def inflict(lab: Lab, signs: Signs) -> Damage | None:
    left, sheer = signs.facts
    if lost_by_width(lab, left) < max(NARROW_LOSS, OWN * lab.loss(COSINE)):
        return None
    name = "the teacher, cut to as many directions"
    return Damage(name, lambda x: cut_to(left, lab.keep, x), linear=True, counted=sheer)


CAUSE = Cause(
    "dimensional_collapse",
    "too few effective dimensions are in use",
    "Few directions are in use: add a variance or decorrelation term, lower weight decay, or look for a bottleneck.",
    "a spectrum without a cliff on the rows trained on",
    signs,
    inflict=inflict,
    confusable=("truncated_dimensions", "dead_dimensions"),
)
