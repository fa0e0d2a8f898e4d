"""The training loop, which can be killed at any time and resumed.

    probe distill --method coss --teacher t.pt --student conv4 --data digits.npz --epochs 8 --batch-size 128 --out run/
    torchrun --nproc-per-node 2 -m manifold_probe distill --config run.toml --out run/

A step is a pure function of the checkpoint: the order of the rows, their views and the learning rate follow from seed
and step, and the checkpoint holds torch's random state. So a run that is killed and started again gives the same
weights and the same log, bit for bit, on the CPU of one machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manifold_probe.distillation.batches import batches
from manifold_probe.distillation.config import Config, differences, epochs
from manifold_probe.distillation.inputs import inputs_record, is_done
from manifold_probe.distillation.probe import Features, Probe, has_collapsed, is_finite
from manifold_probe.distillation.run_folder import (
    INPUTS,
    SECONDS,
    STUDENT,
    UNVERIFIED,
    RunFolder,
    read_log,
    torch_bytes,
)
from manifold_probe.distillation.schedule import rate_at
from manifold_probe.distillation.setting import Setting, prepare, warnings_of
from manifold_probe.errors import InputError
from manifold_probe.extraction.processes import Processes
from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP, general, printed
from manifold_probe.models.build import reason
from manifold_probe.parts import Parts, Progress, silent

Tell = Callable[[str], None]
CHECKPOINT_SECONDS = 600.0
SHARD_ROWS = 65_536
LONG_VECTORS = 100.0  # a loss on coordinates may diverge for teacher vectors longer than this


def train(config: Config, out: str | Path, *, tell: Tell = print, progress: Progress | None = None) -> RunFolder:
    """Train a student into the folder ``out``; resume an earlier run of the same configuration.

    Raises
    ------
    InputError
        For input that cannot be used, a folder of another configuration, or a loss that is not finite.
    """
    processes = Processes.join()
    folder = RunFolder(out)
    with processes.only_first(folder.locked):
        tell = tell if processes.first else silent
        done = is_done(folder, config)
        checkpoint = None if done else folder.state()
        processes.wait()  # no process writes before all have read
        if not done:
            parts = Parts(progress if processes.first else None, shares(config))
            setting = prepare(config, processes, tell, parts["teacher"])
            if checkpoint is not None:
                check_same_run(folder, checkpoint, setting)
        if done or folder.finished:
            processes.wait()
            if processes.first and not done:
                folder.write(INPUTS, json.dumps(inputs_record(setting), indent=1) + "\n")
            tell(f"{folder.path} is finished: {epochs(config.epochs)}; nothing to do")
            return folder
        for warning in warnings_of(setting):
            tell(f"warning: {warning}")
        run = Run(setting, folder, processes, tell, parts)
        run.start(checkpoint)
        run.train()
        processes.wait()
        if processes.first:
            run.finish()
        processes.wait()
    return folder


def shares(config: Config) -> dict[str, float]:
    """The relative duration of the parts of a run, in passes of a model over the data; a training pass counts three."""
    return {"teacher": 1.0, "training": 3.0 * config.epochs, "features": 1.0, "untrained": 0.1}


def check_same_run(folder: RunFolder, checkpoint: dict[str, Any], setting: Setting) -> None:
    """Check that a checkpoint is of the same configuration, teacher and data.

    Raises
    ------
    InputError
        With every difference.
    """
    differing = differences(json.loads(checkpoint["record"]), setting.record())
    if differing:
        raise InputError(
            f"{folder.path}: holds another run, which differs in {'; '.join(differing)}; give another --out"
        )


@dataclass
class Tally:
    """Sums of the loss terms since the last line of the log."""

    steps: int = 0
    sums: dict[str, float] | None = None

    def add(self, terms: dict[str, float]) -> None:
        """Add a step's terms."""
        self.steps += 1
        self.sums = {name: (self.sums or {}).get(name, 0.0) + value for name, value in terms.items()}

    def means(self) -> dict[str, float]:
        """Their means; an empty dict before the first step."""
        return {name: value / self.steps for name, value in (self.sums or {}).items()}


class Run:
    """The state of a run while it trains."""

    def __init__(self, setting: Setting, folder: RunFolder, processes: Processes, tell: Tell, parts: Parts) -> None:
        self.setting, self.config, self.folder, self.processes = setting, setting.config, folder, processes
        self.tell, self.parts = tell, parts
        self.step, self.tally, self.seconds = 0, Tally(), 0.0
        self.loss: float | None = None  # exponential average, for the progress line
        self.steps = setting.steps * self.config.epochs
        self.batch_size = setting.config.batch_size
        self.forward = torch.compile(setting.learner.embed) if self.config.compile else setting.learner.embed

    def start(self, checkpoint: dict[str, Any] | None) -> None:
        """Start from the beginning, or from a checkpoint."""
        setting = self.setting
        if self.processes.first:
            self.probe = Probe(setting)
        if checkpoint is None:
            if self.processes.first:
                comment = "" if setting.targets.pairing["verified"] else UNVERIFIED
                self.folder.begin(comment + self.config.toml(), inputs_record(setting), setting.data.ids[setting.rows])
                self.folder.cut_log(0)
                self.measure(self.probe.untrained)
                self.checkpoint()
        else:
            self.load(checkpoint)
            if self.processes.first:
                self.folder.cut_log(checkpoint["log"])
                self.tell(f"{self.folder.path}: resumes at step {self.step:,} of {self.steps:,}")
        self.processes.wait()

    def train(self) -> None:
        """Do all remaining steps."""
        saved = began = time.monotonic()
        first, spent = self.step, self.seconds
        self.training = self.parts["training"]
        for rows, view, batch, targets in batches(self.setting, self.processes, self.step):
            terms = self.one_step(rows, view, batch, targets)
            self.step += 1
            self.tally.add(terms)
            self.seconds = spent + time.monotonic() - began
            epoch_done = self.step % self.setting.steps == 0
            if self.processes.first:
                if epoch_done or self.step % self.config.log_every == 0:
                    self.log_terms()
                if epoch_done and (self.epoch % self.config.probe_every == 0 or self.step == self.steps):
                    self.measure(self.probe.student())
                if epoch_done or time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self.checkpoint()
                    saved = time.monotonic()
                self.report(first, time.monotonic() - began)

    @property
    def epoch(self) -> int:
        """Number of completed epochs."""
        return self.step // self.setting.steps

    def one_step(self, rows: np.ndarray, view: int, batch: Any, targets: Tensor) -> dict[str, float]:
        """Forward, backward, update; returns the loss terms as numbers."""
        setting, config = self.setting, self.config
        setting.learner.module.train()
        setting.method.train()
        setting.method.set_epoch(self.epoch + 1)
        for group in setting.optimiser.param_groups:
            group["lr"] = rate_at(config, self.step / setting.steps)
        try:
            with setting.autocast():
                _, output = self.forward(batch)
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"{config.student}: cannot be trained on a batch of {len(rows)} ({reason(error)}); change --batch-size"
            ) from error
        terms = setting.method(output.float(), targets, setting.batch_labels(rows))
        loss = torch.stack(list(terms.values())).sum()
        values = {name: term.item() for name, term in terms.items()}
        loss_now = sum(values.values())
        if not np.isfinite(list(values.values())).all():
            named = ", ".join(f"{name} {value}" for name, value in values.items())
            ids = ", ".join(setting.data.ids[rows[:3]].tolist()) + (", ..." if len(rows) > 3 else "")
            problem = f"the loss is not finite at step {self.step + 1:,} ({named}), on the batch of ids {ids}"
            self.stop_diverged(problem, self.step)
        self.loss = loss_now if self.loss is None else 0.9 * self.loss + 0.1 * loss_now
        setting.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.average_gradients()
        setting.optimiser.step()
        return values

    def stop_diverged(self, problem: str, step: int) -> None:
        """Raise InputError for a run that diverged in ``step``, counted from 0; the last checkpoint stays."""
        rate = rate_at(self.config, step / self.setting.steps)
        length = float(self.setting.targets.plain.norm(dim=1).median())
        scale = (
            f", or scale the teacher's features (their median length is {length:.2g})" if length > LONG_VECTORS else ""
        )
        raise InputError(
            f"{self.folder.path}: the training diverged: {problem}; the learning rate was {rate:.2g}. last.pt is from "
            f"before it. Try --rate {self.config.rate / 10:.2g} in a new --out{scale}"
        )

    def average_gradients(self) -> None:
        """Average the gradients over all processes."""
        if self.processes.count > 1:
            for parameter in self.setting.parameters:
                if parameter.grad is not None:
                    torch.distributed.all_reduce(parameter.grad)
                    parameter.grad /= self.processes.count

    def log_terms(self) -> None:
        """Log the means of the loss terms since the last such line."""
        means = self.tally.means()
        self.tally = Tally()
        self.folder.log(
            {
                "step": self.step,
                "epoch": self.epoch if self.step % self.setting.steps == 0 else self.step / self.setting.steps,
                "encoded": self.step * self.batch_size,
                "rate": rate_at(self.config, (self.step - 1) / self.setting.steps),
                "loss": sum(means.values()),
                "terms": means,
            }
        )

    def measure(self, student: Features) -> None:
        """Log the measures of the probe rows, at the backbone and at the head."""
        if not is_finite(student):
            loss = "" if self.loss is None else f" (the loss was {self.loss:.3g})"
            self.stop_diverged(f"the student's vectors are not finite after step {self.step:,}{loss}", self.step - 1)
        if self.step and has_collapsed(student):
            self.tell(f"warning: after step {self.step:,} the student's vectors are all equal: it has collapsed")
        self.last_measures = self.probe.measures(student)
        pairing = {} if self.step else {"pairing": self.setting.targets.pairing}
        self.folder.log(
            {
                "step": self.step,
                "epoch": self.epoch,
                "encoded": self.step * self.batch_size,
                **pairing,
                "probe": self.probe.record(),
                "measures": self.last_measures,
            }
        )

    def report(self, first: int, seconds: float) -> None:
        """Progress since step ``first``, with the loss, throughput and the last measures."""
        speed = (self.step - first) * self.batch_size / max(seconds, 1e-9)
        shown = ", ".join(
            f"{printed(key, short=True)} {value:.3f}"
            for key, value in self.last_measures["backbone"].items()
            if value is not None and general(key) in (OVERLAP.key, DEBIASED_CKA.key)
        )
        note = f"loss {self.loss:.4g}, {speed:,.0f} samples a second; last measured {shown}"
        self.training("training", self.step - first, self.steps - first, note)

    def checkpoint(self) -> None:
        """Replace last.pt and seconds.json."""
        setting = self.setting
        self.folder.save(
            {
                "record": json.dumps(setting.record()),
                "step": self.step,
                "log": self.folder.log_size(),
                "tally": asdict(self.tally),
                "seconds": self.seconds,
                "measures": self.last_measures,
                "student": setting.learner.module.state_dict(),
                "method": setting.method.state_dict(),
                "optimiser": setting.optimiser.state_dict(),
                "random": {
                    "cpu": torch.get_rng_state(),
                    "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
                },
            }
        )
        encoded = self.step * self.batch_size
        speed = {"seconds": self.seconds, "encoded": encoded, "samples_per_second": encoded / max(self.seconds, 1e-9)}
        self.folder.write(SECONDS, json.dumps(speed, indent=1) + "\n")

    def load(self, state: dict[str, Any]) -> None:
        """Load a checkpoint."""
        setting = self.setting
        self.step, self.seconds = state["step"], state["seconds"]
        self.tally, self.last_measures = Tally(**state["tally"]), state["measures"]
        setting.learner.module.load_state_dict(state["student"])
        setting.method.load_state_dict(state["method"])
        setting.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"]["cpu"])
        if torch.cuda.is_available() and state["random"]["cuda"]:
            torch.cuda.set_rng_state_all(state["random"]["cuda"])

    def finish(self) -> None:
        """Write the student, its features of all rows, and last the manifest, which marks the run as finished."""
        setting = self.setting
        head = setting.learner.classifier or setting.method.student_head
        self.folder.write(
            STUDENT,
            torch_bytes(
                {
                    **setting.learner.checkpoint(),
                    "pairing": setting.targets.pairing,
                    "head": {
                        "name": setting.method.head,
                        "state": {name: value.detach().cpu() for name, value in head.state_dict().items()},
                    },
                }
            ),
        )
        shards: list[dict[str, Any]] = []
        features = self.parts["features"]
        for start in range(0, setting.data.n, SHARD_ROWS):
            rows = np.arange(start, min(start + SHARD_ROWS, setting.data.n))
            done = partial(_embedded, features, start, setting.data.n)
            backbone, out = setting.embed(rows, done)
            shards.append(self.folder.write_shard(len(shards), {"backbone": backbone, "head": out}))
        self.folder.write_rows(setting.data.ids, setting.names)
        self.parts["untrained"]("against the untrained student", 0, 1)
        facts = {
            "teacher": setting.targets.path,
            "teacher_ids": self.config.teacher_ids,
            "pairing": setting.targets.pairing,
            "head": setting.has_head,
            "training": self.probe.gains(),
        }
        self.folder.write_manifest(shards, setting.names is not None, facts)
        losses = [f"{line['loss']:.4g}" for line in read_log(self.folder.path) if "loss" in line]
        loss = f"{losses[0]} at first, {losses[-1]} at the end" if len(losses) > 1 else f"{losses[0]} on average"
        self.tell(
            f"{self.folder.path}: {self.step:,} steps, {self.step * self.batch_size:,} samples in "
            f"{self.seconds:,.0f} s; loss {loss}"
        )


def _embedded(progress: Progress, before: int, total: int, done: int) -> None:
    progress("the student's features", before + done, total)
