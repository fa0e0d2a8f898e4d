"""Our trainer watches with the same class: its warnings, and its course after a run is resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from manifold_probe.distillation import train as trainer
from manifold_probe.distillation.config import resolved
from manifold_probe.distillation.probe import Probe
from manifold_probe.distillation.run_folder import read_log
from manifold_probe.watch import Watch
from manifold_probe.watch import watch as watching
from manifold_probe.watch.signs import Point, points_of
from tests.distillation.run_helpers import world


class Killed(Exception):
    """In place of a signal."""


def test_the_trainer_warns_and_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world(tmp_path))
    config = resolved(
        {"method": "coss", "teacher": "t.pt", "student": "conv4", "data": "digits.npz", "epochs": 3, "batch_size": 32}
    )
    courses: list[list[Point]] = []

    def signs(points: list[Point], rank: float, norm: float) -> dict[str, str]:
        courses.append(list(points))
        if len(points) == 3 and not killed:
            killed.append(True)
            raise Killed
        return {"norm": "norms drift"} if len(points) == 3 else {}

    killed: list[bool] = []
    monkeypatch.setattr(watching, "signs", signs)
    told: list[str] = []
    with pytest.raises(Killed):
        trainer.train(config, "run", tell=told.append)
    trainer.train(config, "run", tell=told.append)
    assert issubclass(Probe, Watch)
    assert any("resumes at step 5" in line for line in told)
    assert "warning: after step 10 norms drift" in told
    assert [point.step for point in courses[-1]] == [0, 5, 10, 15]
    course: list[dict[str, Any]] = read_log("run")
    logged = points_of(course)
    assert [(point.loss, point.overlap) for point in courses[-1]] == [(each.loss, each.overlap) for each in logged]
    assert courses[-1][0].loss is None
    assert courses[-1][-1].loss == next(line["loss"] for line in reversed(course) if "loss" in line)
    assert courses[-1][-1].rank is not None
