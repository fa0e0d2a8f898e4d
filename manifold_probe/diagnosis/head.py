"""The student at its head beside the student at its backbone, both against the teacher: where was it lost?"""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold_probe.diagnosis.advice import ADVICE
from manifold_probe.diagnosis.case import confidence_of
from manifold_probe.diagnosis.examine import at_unit_size
from manifold_probe.diagnosis.faithfulness import Yardstick, gain
from manifold_probe.engine.rows import sample
from manifold_probe.spaces.pairing import Pair

QUERIES = 1000
LEAST_GAP = 0.05


def head(backbone: Pair, other: Pair, k: int, seed: int) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What was measured, and the cause ``misaligned_head`` where one side keeps clearly more than the other.

    Parameters
    ----------
    backbone, other : Pair
        The teacher's rows with the student's at the backbone, and with the student's at the head.
    k, seed : int
    """
    n = backbone.teacher.n
    teacher, *sides = (at_unit_size(space.read(0, n)) for space in (backbone.teacher, backbone.student, other.student))
    fold = np.zeros(n, bool)
    fold[np.random.default_rng([seed, 1]).permutation(n)[: n // 2]] = True
    yardstick = Yardstick(teacher, fold, k, sample(n, QUERIES, seed))
    at_backbone, at_head = (yardstick.of(side) for side in sides)
    step = gain(at_head, at_backbone)
    found = {
        "queries": int((~np.isnan(at_head.overlap["cosine"])).sum()),
        "backbone": step.after,
        "head": step.before,
        "difference": step.value,
        "low": step.value - 1.96 * step.error,
        "high": step.value + 1.96 * step.error,
        "debiased_linear_cka_backbone": at_backbone.cka,
        "debiased_linear_cka_head": at_head.cka,
    }
    if abs(step.value) < LEAST_GAP or abs(step.value) <= 1.96 * step.error:
        return found, None
    lost, kept, sign = ("head", "backbone", 1) if step.value > 0 else ("backbone", "head", -1)
    before, after = found[lost], found[kept]
    return found, {
        "name": "misaligned_head",
        "confidence": confidence_of(sign * step.z),
        "share": min((after - before) / max(1 - before, 1e-3), 1.0),
        "evidence": [
            {"measure": f"overlap@{k} at the {lost}", "value": before, "expected": after},
            {
                "measure": f"debiased linear CKA at the {lost}",
                "value": found[f"debiased_linear_cka_{lost}"],
                "expected": found[f"debiased_linear_cka_{kept}"],
            },
        ],
        "repair": {
            "name": f"read at the {kept}",
            "measure": f"overlap@{k}",
            "before": before,
            "after": after,
            "low": max(after - 1.96 * step.error, 0.0),
            "high": min(after + 1.96 * step.error, 1.0),
            "healthy_gain": 0.0,
        },
        "where": {"sides": [lost]},
        "advice": ADVICE["misaligned_head"],
        "or": [],
    }
