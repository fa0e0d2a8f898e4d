"""A large drop in the student's spectrum where the teacher's has none."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.cause import Cause, Damage, Signs
from manifold_probe.diagnosis.lab import COSINE, Evidence, Lab
from manifold_probe.diagnosis.spectra import MIN_WIDTH_LOSS, alive, cut_to, lost_by_width, participation

MIN_DROP = 8.0  # ratio of neighbouring eigenvalues
MIN_DROP_RATIO = 2.0  # log of that drop over the log of the teacher's largest drop
MAX_IN_USE = 0.9  # of the dimensions that vary
SHEER_DROP = 30.0  # the directions after such a drop hold nothing, which needs no statistics
MIN_SHARE = 0.2  # of the loss: a sound head after a narrow backbone has such a drop too, and loses up to .17 by it


def signs(lab: Lab) -> Signs | None:
    """The largest drop of the student's spectrum, where it is larger than the teacher's."""
    keep = lab.keep
    student_spectrum, teacher_spectrum = lab.spectra
    count = int(0.8 * min(len(student_spectrum), len(teacher_spectrum), keep.sum() - 1))
    if count < 6:
        return None
    drop, in_use = _largest_drop(student_spectrum, count)
    if in_use >= MAX_IN_USE * int(alive(lab.student[keep]).sum()):
        return None  # all dimensions that vary are in use
    # the teacher's spectrum may drop further on, which does not matter
    usual, _ = _largest_drop(teacher_spectrum, min(in_use + 2, count), skip_first=in_use > 3)
    if not (drop > np.log(MIN_DROP) and drop > MIN_DROP_RATIO * usual):
        return None
    evidence = [
        Evidence(f"drop of the spectrum behind direction {in_use}, log", float(drop), float(usual)),
        Evidence(
            "participation ratio of the spectrum",
            participation(student_spectrum),
            participation(teacher_spectrum[: len(student_spectrum)]),
        ),
    ]
    return Signs(
        evidence,
        {"dimensions": np.arange(in_use, int(alive(lab.student[keep]).sum()))},
        facts=(in_use, bool(drop > np.log(SHEER_DROP))),
    )


def _largest_drop(values: np.ndarray, count: int, skip_first: bool = True) -> tuple[float, int]:
    """(largest drop of the log spectrum between neighbours, number of directions before it).

    ``skip_first``: the first few directions are always large, and their drops count only where nearly nothing is left.
    """
    logs = np.log(np.maximum(values[: count + 1], max(values[0], 1e-300) * 1e-9))
    drops = logs[:-1] - logs[1:]
    low = logs[1:] - logs[0] < np.log(1e-4)
    if skip_first:
        drops[:3] = np.where(low[:3], drops[:3], 0)
    place = int(drops.argmax())
    return float(drops[place]), place + 1


def inflict(lab: Lab, signs: Signs) -> Damage | None:
    """The teacher on as many principal directions, where that costs enough."""
    in_use, sheer = signs.facts
    if lost_by_width(lab, in_use) < max(MIN_WIDTH_LOSS, MIN_SHARE * lab.loss(COSINE)):
        return None
    name = "the teacher, cut to as many directions"
    return Damage(name, lambda x: cut_to(in_use, lab.keep, x), linear=True, counted=sheer)


CAUSE = Cause(
    "dimensional_collapse",
    "too few effective dimensions are in use",
    "Few directions are in use: add a variance or decorrelation term, lower weight decay, or look for a bottleneck.",
    "a spectrum without a large drop on the rows trained on",
    signs,
    inflict=inflict,
    confusable=("truncated_dimensions", "dead_dimensions"),
)
