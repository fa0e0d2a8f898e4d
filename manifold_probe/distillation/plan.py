"""What a run would do and how long it would take, from a few steps that leave nothing behind."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice

from manifold_probe.distillation.batches import batches
from manifold_probe.distillation.config import Config, epochs
from manifold_probe.distillation.order import steps_of
from manifold_probe.distillation.run_folder import RunFolder
from manifold_probe.distillation.setting import prepare, split, warnings_of
from manifold_probe.distillation.train import Run, Tell
from manifold_probe.extraction.data import open_data
from manifold_probe.extraction.processes import Processes
from manifold_probe.parts import Parts, duration

TIMED_STEPS, TIMED_SECONDS = 5, 10.0


@dataclass(frozen=True)
class Plan:
    """A settled configuration and, where the data is known, what it comes to.

    ``rows`` are trained on; ``seconds`` is the projected time of all ``steps``, without measurements, on this machine.
    """

    config: Config
    rows: int | None = None
    steps: int | None = None
    encoded: int | None = None
    seconds: float | None = None

    def summary(self) -> str:
        """The configuration as TOML, what it comes to in comments before it."""
        facts = ""
        if self.steps is not None:
            count = f"{epochs(self.config.epochs)}, {self.steps:,} steps, {self.encoded:,} encoded samples"
            facts = f"# {self.rows:,} rows to train on: {count}\n"
            if self.seconds is not None:
                pace = f"{self.seconds / self.steps:.3g} s a step"
                facts += f"# about {duration(self.seconds)} on this machine, {pace}\n"
        return facts + self.config.toml()


def plan_of(config: Config, tell: Tell) -> Plan:
    """The plan of a configuration; without teacher or student no time, without data the configuration alone.

    Raises
    ------
    InputError
        What a run of it would raise before its first epoch.
    """
    if not config.data:
        return Plan(config)
    if not (config.teacher and config.student):
        n = open_data(config.data, ids=config.ids, labels=config.labels).n
        config = config.settled(n)
        trained = len(split(config, n)[0])
        steps = steps_of(config, trained) * config.epochs
        return Plan(config, trained, steps, steps * config.batch_size)
    setting = prepare(config, Processes(), tell, trial=True)
    for warning in warnings_of(setting):
        tell(f"warning: {warning}")
    run = Run(setting, RunFolder("a trial"), Processes(), tell, Parts(None, {"training": 1.0}))
    times = []
    began = time.monotonic()
    for rows, _, batch, targets in islice(batches(setting, Processes(), 0), 1 + TIMED_STEPS):
        run.one_step(rows, batch, targets)
        times.append(time.monotonic() - began)
        began += times[-1]
        if len(times) > 1 and sum(times) > TIMED_SECONDS:
            break
    later = times[1:] or times  # the first step of a model is slow
    seconds = sum(later) / len(later) * run.steps
    return Plan(setting.config, len(setting.rows), run.steps, run.steps * config.batch_size, seconds)
