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
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manifold_probe.distillation.accumulate import backward, outputs_of, parts_of
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
from manifold_probe.extraction.work import out_of_memory
from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP, general, printed
from manifold_probe.models.build import reason
from manifold_probe.parts import Parts, Progress, side_by_side, silent
from manifold_probe.watch.signs import points_of

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
    return train_together({Path(out): config}, tell=tell, progress=progress)[0]


def train_together(
    configs: Mapping[str, Config] | Mapping[Path, Config], *, tell: Tell = print, progress: Progress | None = None
) -> list[RunFolder]:
    """Train students that differ in nothing but the student, each into a folder of its own.

    They take their steps in turn on the same batches, so that a teacher that runs during training runs once for all.
    Each gives the same weights and log as if it trained alone.

    Raises
    ------
    InputError
        As for `train`.
    """
    processes = Processes.join()
    folders = [RunFolder(out) for out in configs]
    tell = tell if processes.first else silent
    of_each = side_by_side(progress if processes.first else None, len(configs))
    with ExitStack() as stack:
        for folder in folders:
            stack.enter_context(processes.only_first(folder.locked))
        runs: dict[Run, dict[str, Any] | None] = {}  # each with its checkpoint
        other: Setting | None = None
        for folder, config, progress in zip(folders, configs.values(), of_each, strict=True):
            done = is_done(folder, config)
            checkpoint = None if done else folder.state()
            processes.wait()  # no process writes before all have read
            if not done:
                parts = Parts(progress, shares(config))
                setting = other = prepare(config, processes, tell, parts["teacher"], other)
                if checkpoint is not None:
                    check_same_run(folder, checkpoint, setting)
            if done or folder.finished:
                processes.wait()
                if processes.first and not done:
                    folder.write(INPUTS, json.dumps(inputs_record(setting), indent=1) + "\n")
                tell(f"{folder.path} is finished: {epochs(config.epochs)}; nothing to do")
                continue
            for warning in warnings_of(setting):
                tell(f"warning: {warning}")
            runs[Run(setting, folder, processes, tell, parts)] = checkpoint
        for run, checkpoint in runs.items():  # nothing is written before all students are known to fit
            run.start(checkpoint)
        in_turn(list(runs))
        processes.wait()
        for run in runs:
            if processes.first:
                run.finish()
        processes.wait()
    return folders


def in_turn(runs: list[Run]) -> None:
    """Do all steps, a step of every run at a time; a run that is ahead waits for the others."""
    training = {run: run.train() for run in runs}
    while training:
        step = min(run.step for run in training)
        for run in [run for run in training if run.step == step]:
            if next(training[run], None) is None:
                del training[run]


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
        self.logged_loss: float | None = None  # the mean in the last such line of the log
        self.steps = setting.steps * self.config.epochs
        self.batch_size = setting.config.batch_size
        self.embed = torch.compile(setting.learner.embed) if self.config.compile else setting.learner.embed
        self.random = random_state()
        self.trained = torch.nn.ModuleList([setting.learner.module, setting.method])

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
                log = read_log(self.folder.path)
                self.probe.points = points_of(log)
                self.logged_loss = next((line["loss"] for line in reversed(log) if "loss" in line), None)
                self.tell(f"{self.folder.path}: resumes at step {self.step:,} of {self.steps:,}")
        self.processes.wait()

    def train(self) -> Iterator[int]:
        """Do all remaining steps; the number of steps done after each."""
        saved = began = time.monotonic()
        first, spent = self.step, self.seconds
        self.training = self.parts["training"]
        for rows, _, batch, targets in batches(self.setting, self.processes, self.step):
            set_random_state(self.random)
            terms = self.one_step(rows, batch, targets)
            self.random = random_state()
            self.step += 1
            self.tally.add(terms)
            self.seconds += time.monotonic() - began
            began = time.monotonic()
            epoch_done = self.step % self.setting.steps == 0
            if self.processes.first:
                if epoch_done or self.step % self.config.log_every == 0:
                    self.log_terms()
                if epoch_done and self.config.measures_after(self.epoch):
                    self.measure(self.probe.student())
                if epoch_done or time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self.checkpoint()
                    saved = time.monotonic()
                self.report(first, self.seconds - spent)
            self.seconds += time.monotonic() - began
            yield self.step
            began = time.monotonic()  # not the time of other students' steps

    @property
    def epoch(self) -> int:
        """Number of completed epochs."""
        return self.step // self.setting.steps

    def one_step(self, rows: np.ndarray, batch: Any, targets: Tensor) -> dict[str, float]:
        """Forward, backward, update; returns the loss terms as numbers."""
        setting, config = self.setting, self.config
        setting.learner.module.train()
        setting.method.train()
        setting.method.set_epoch(self.epoch + 1)
        for group in setting.optimiser.param_groups:
            group["lr"] = rate_at(config, self.step / setting.steps)
        parts = config.accumulate or 1
        try:
            values = self.gradients(rows, batch, targets, parts)
        except (RuntimeError, ValueError, MemoryError) as error:
            if isinstance(error, InputError):
                raise
            problem, fix = reason(error), "change --batch-size" if parts == 1 else "give a smaller --accumulate"
            if out_of_memory(error):
                problem, fix = "memory does not suffice", self.smaller_parts(rows, batch, targets, parts)
            raise InputError(
                f"{config.student}: cannot be trained on a batch of {len(rows)} ({problem}); {fix}"
            ) from error
        loss_now = sum(values.values())
        if not np.isfinite(list(values.values())).all():
            named = ", ".join(f"{name} {value}" for name, value in values.items())
            ids = ", ".join(setting.data.ids[rows[:3]].tolist()) + (", ..." if len(rows) > 3 else "")
            problem = f"the loss is not finite at step {self.step + 1:,} ({named}), on the batch of ids {ids}"
            self.stop_diverged(problem, self.step)
        self.loss = loss_now if self.loss is None else 0.9 * self.loss + 0.1 * loss_now
        self.average_gradients()
        if config.clip is not None:
            torch.nn.utils.clip_grad_norm_(setting.parameters, config.clip)
        setting.optimiser.step()
        if setting.averaged is not None:
            setting.averaged.update_parameters(self.trained)
        return values

    def gradients(self, rows: np.ndarray, batch: Any, targets: Tensor, parts: int) -> dict[str, float]:
        """Leave the gradients of a batch, which runs through the student in ``parts``; its loss terms."""
        setting = self.setting
        setting.optimiser.zero_grad(set_to_none=True)
        split = parts_of(batch, parts)
        outputs = self.forward(batch) if parts == 1 else outputs_of(self.forward, setting.learner.module, split)
        terms = setting.method(outputs, targets, setting.batch_labels(rows))
        values = {name: term.item() for name, term in terms.items()}
        if np.isfinite(list(values.values())).all():
            torch.stack(list(terms.values())).sum().backward()
            if parts > 1:
                backward(self.forward, split, outputs)
        return values

    def forward(self, batch: Any) -> Tensor:
        """What the loss sees of a batch."""
        with self.setting.autocast():
            return self.embed(batch)[1].float()

    def smaller_parts(self, rows: np.ndarray, batch: Any, targets: Tensor, parts: int) -> str:
        """What to do about a batch that memory does not suffice for; the run cannot go on after this."""
        while (parts := 2 * parts) <= len(rows):
            if self.setting.device.type == "cuda":
                torch.cuda.empty_cache()
            try:
                self.gradients(rows, batch, targets, parts)
            except (RuntimeError, ValueError, MemoryError) as error:
                if not out_of_memory(error):  # such as a part of one row for batch normalisation
                    break
                continue
            return f"give --accumulate {parts}, which does the same step in {parts} parts"
        return "free some, or give a smaller student, smaller images or a smaller --batch-size"

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
        self.logged_loss = sum(means.values())
        self.folder.log(
            {
                "step": self.step,
                "epoch": self.epoch if self.step % self.setting.steps == 0 else self.step / self.setting.steps,
                "encoded": self.step * self.batch_size,
                "rate": rate_at(self.config, (self.step - 1) / self.setting.steps),
                "loss": self.logged_loss,
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
        self.last_measures, warnings = self.probe.judge(self.probe.sides(student), self.step, self.logged_loss)
        for warning in warnings:
            self.tell(f"warning: after step {self.step:,} {warning}")
        pairing = {} if self.step else {"pairing": self.setting.targets.pairing}
        self.folder.log(
            {
                "step": self.step,
                "epoch": self.epoch,
                "encoded": self.step * self.batch_size,
                **pairing,
                "probe": self.probe.record(),
                "measures": self.last_measures,
                "rank": self.probe.points[-1].rank,
                "norm": self.probe.points[-1].norm,
                "warnings": warnings,
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
                "random": self.random,
                **({} if setting.averaged is None else {"averaged": setting.averaged.state_dict()}),
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
        if setting.averaged is not None:
            setting.averaged.load_state_dict(state["averaged"])
        self.random = state["random"]

    def finish(self) -> None:
        """Write the student, its features of all rows, and last the manifest, which marks the run as finished."""
        setting = self.setting
        learner, method = setting.measured
        head = learner.classifier or method.student_head
        self.folder.write(
            STUDENT,
            torch_bytes(
                {
                    **learner.checkpoint(),
                    "pairing": setting.targets.pairing,
                    "head": {
                        "name": method.head,
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
            **({"tokens": setting.targets.tokens} if setting.targets.tokens else {}),
            "training": self.probe.gains(),
        }
        self.folder.write_manifest(shards, setting.names is not None, facts)
        losses = [f"{line['loss']:.4g}" for line in read_log(self.folder.path) if "loss" in line]
        loss = f"{losses[0]} at first, {losses[-1]} at the end" if len(losses) > 1 else f"{losses[0]} on average"
        self.tell(
            f"{self.folder.path}: {self.step:,} steps, {self.step * self.batch_size:,} samples in "
            f"{self.seconds:,.0f} s; loss {loss}"
        )


def random_state() -> dict[str, Any]:
    """Torch's random state on all devices."""
    return {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Return to a `random_state`."""
    torch.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])


def _embedded(progress: Progress, before: int, total: int, done: int) -> None:
    progress("the student's features", before + done, total)
