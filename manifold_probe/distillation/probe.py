"""The measurements of a run on a fixed set of rows, at the backbone and at the head, from the untrained student on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from manifold_probe.distillation.setting import Setting
from manifold_probe.errors import InputError
from manifold_probe.evaluation.gain import gain
from manifold_probe.watch.watch import Sides, Watch

Features = tuple[np.ndarray, np.ndarray]  # (n, d) of the backbone and (n, d') of the head


class Probe(Watch):
    """Watches the probe rows of a setting whose student is not trained yet; ``untrained`` are its features of them.

    Raises InputError if the untrained student gives NaN or Inf.
    """

    def __init__(self, setting: Setting) -> None:
        labels = None if setting.labels is None else setting.labels[setting.probe]
        teacher = setting.targets.plain[torch.from_numpy(setting.probe)].float()
        rows, seed = len(setting.probe), setting.config.seed
        super().__init__(teacher, setting.probe, labels, rows=rows, out=None, seed=seed)
        self.setting = setting
        self.untrained = self.student()
        if not is_finite(self.untrained):
            raise InputError(
                f"{setting.config.student}: gives NaN or Inf before any training; check its weights, --mean and --std"
            )

    def student(self) -> Features:
        """The student's current features of the rows."""
        backbone, head = self.setting.embed(self.setting.probe)
        return backbone, head

    def sides(self, student: Features) -> Sides:
        """(student, teacher) at the backbone and at the head."""
        backbone, head = student
        return {
            "backbone": (backbone, self.teacher),
            "head": (head, self.setting.teacher_side(torch.from_numpy(self.teacher))),
        }

    def record(self) -> dict[str, Any]:
        """The number of rows, and whether they were held out of training."""
        return {"rows": self.rows, "held_out": bool(self.setting.config.held_out)}

    def gains(self) -> dict[str, Any]:
        """What the training gained so far over the untrained student: a `gain` for the backbone, and for a head."""
        before, after = self.sides(self.untrained), self.sides(self.student())
        names = ("backbone", "head") if self.setting.has_head else ("backbone",)
        return {
            **self.record(),
            **{side: gain(before[side], after[side], seed=self.setting.config.seed) for side in names},
        }


def is_finite(student: Features) -> bool:
    """Whether no vector holds NaN or Inf."""
    return all(bool(np.isfinite(features).all()) for features in student)


def has_collapsed(student: Features) -> bool:
    """Whether all vectors of the backbone are equal."""
    return bool((np.ptp(student[0], axis=0) == 0).all())
