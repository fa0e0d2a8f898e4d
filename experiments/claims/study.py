"""Code shared by all claims: a run that is trained once and stored, its measures, and the choice of the learning rate.

A run is trained by the trainer of manifold_probe, measured on test images, and stored in runs/CLAIM/NAME.json; its
features and its checkpoint are then removed. A run with a JSON file is never trained again, so a study can be stopped
at any time and continued; several processes may work on the same study, and each run is trained by one of them.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np
import torch
from safetensors.numpy import load_file
from sizes import RUNS

from manifold_probe.distillation import train as trainer
from manifold_probe.distillation.config import Config, resolved
from manifold_probe.distillation.run_folder import RunFolder, read_log
from manifold_probe.distillation.setting import prepare
from manifold_probe.extraction.processes import Processes
from manifold_probe.models.heads import make_head
from manifold_probe.models.load import forward, load_model

torch.set_num_threads(1)
RATES = (1e-3, 3e-3, 1e-2)
BATCH = 128
HELD_OUT = 1 / 6
OPTIMISATION = {
    "optimiser": "adamw",
    "weight_decay": 0.01,
    "schedule": "cosine",
    "warmup_epochs": 0.0,
    "final_rate": 0.0,
    "batch_size": BATCH,
    "held_out": HELD_OUT,
}


@dataclass
class Run:
    """A configuration and a seed. ``part`` is its purpose; ``fields`` go to the trainer.

    ``measure`` computes the values of a trained student from (bank, test): the features of all rows of the run's data
    and of the test images, {"backbone": ..., "head": ...}. ``test`` are the test images (n, H, W). ``steps`` limits
    passes that encode more than an epoch (neighbour batches); the steps are spread over the epochs.
    """

    claim: str
    part: str
    label: str
    seed: int
    rate: float
    fields: dict[str, Any]
    test: Callable[[], np.ndarray]
    measure: Callable[[Run, dict[str, np.ndarray], dict[str, np.ndarray]], dict[str, float]]
    steps: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the run's files."""
        return f"{self.part}-{self.label}-{self.rate:g}-{self.seed}".replace(" ", "_").replace("/", "_")

    @property
    def record(self) -> Path:
        """The file of its values."""
        return RUNS / self.claim / f"{self.name}.json"

    @property
    def folder(self) -> Path:
        """The folder of its training."""
        return RUNS / self.claim / self.name

    @property
    def config(self) -> Config:
        """The configuration for the trainer."""
        given = {"student": "conv4", **OPTIMISATION, "seed": self.seed, "rate": self.rate, **self.fields}
        given.setdefault("probe_every", given["epochs"])
        return resolved(given)


def done(run: Run) -> dict[str, Any] | None:
    """The values of a finished run; None for others."""
    return json.loads(run.record.read_text()) if run.record.exists() else None


def through(runs: Iterable[Run], until: float = float("inf")) -> list[dict[str, Any]]:
    """The values of all runs; missing ones are trained, unless another process does so or ``until`` is past."""
    records = []
    for run in runs:
        record = done(run)
        if record is None and time.time() < until:
            record = taken(run)
        if record is not None:
            records.append(record)
    return records


def taken(run: Run) -> dict[str, Any] | None:
    """Train a run, unless another living process has it."""
    lock = run.record.with_suffix(".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        if time.time() - lock.stat().st_mtime < 900 and alive(lock):
            return None
    lock.write_text(str(os.getpid()))
    try:
        return fresh(run)
    finally:
        lock.unlink(missing_ok=True)


def alive(lock: Path) -> bool:
    """Whether the process that wrote the lock is still running."""
    content = lock.read_text()
    return not content or Path(f"/proc/{content}").exists()


def fresh(run: Run) -> dict[str, Any]:
    """Train, measure, store the values."""
    folder = run.folder
    cpu, wall = time.process_time(), time.monotonic()
    if run.steps is None:
        trainer.train(run.config, folder, tell=lambda _: None)
    else:
        train_part(run.config, folder, run.steps)
    bank = {k: v for k, v in load_file(folder / "features-00000.safetensors").items() if k in ("backbone", "head")}
    test = embedded(folder / "student.pt", run.test(), bank["head"].shape[1])
    seconds = json.loads((folder / "seconds.json").read_text())
    watched = read_log(folder)[-1]["measures"]
    record = {
        "claim": run.claim,
        "part": run.part,
        "label": run.label,
        "seed": run.seed,
        "rate": run.rate,
        **run.facts,
        "encoded": seconds["encoded"],
        "train_seconds": round(seconds["seconds"], 2),
        "watched": watched,
        "measures": run.measure(run, bank, test),
    }
    record["cpu_seconds"] = round(time.process_time() - cpu, 2)
    record["wall_seconds"] = round(time.monotonic() - wall, 2)
    part = run.record.with_suffix(".part")
    part.write_text(json.dumps(record, indent=1) + "\n")
    part.replace(run.record)
    for name in ("last.pt", "features-00000.safetensors", "rows.parquet", "train_ids.txt"):
        (folder / name).unlink(missing_ok=True)
    if not run.facts.get("keep"):
        shutil.rmtree(folder)
    print(f"{time.strftime('%H:%M:%S')} {run.claim} {run.name}: {record['cpu_seconds']} s CPU", flush=True)
    return record


def train_part(config: Config, folder: Path, steps: int) -> None:
    """The trainer's loop on the first steps of the first pass, divided into as many parts as there are epochs.

    One pass over neighbour batches encodes 16 times the rows, more than the whole budget of the other losses.
    """
    processes = Processes.join()
    out = RunFolder(folder)
    with out.locked():
        before = out.state()
        setting = prepare(config, processes, lambda _: None)
        batches, steps_an_epoch = setting.order(0), steps // config.epochs
        setting.order = lambda epoch: batches[epoch * steps_an_epoch : (epoch + 1) * steps_an_epoch]
        run = trainer.Run(setting, out, processes, lambda _: None, None)
        run.start(before)
        run.train()
        run.finish()


@torch.no_grad()
def embedded(student: Path, images: np.ndarray, width: int) -> dict[str, np.ndarray]:
    """Backbone and head (classifier's logits where there is one) of images (n, H, W), from run/student.pt."""
    model = load_model(str(student))
    kept = torch.load(student, map_location="cpu", weights_only=True)["head"]
    if set(kept["state"]) == {"weight", "bias"}:  # a linear head or a classifier
        head: torch.nn.Module = torch.nn.Linear(*kept["state"]["weight"].shape[::-1])
    else:
        head = torch.nn.Identity() if not kept["state"] else None
    parts: dict[str, list[torch.Tensor]] = {"backbone": [], "head": []}
    for start in range(0, len(images), 500):
        pixels = torch.from_numpy(images[start : start + 500])[:, None].expand(-1, 3, -1, -1)
        backbone = forward(model, model.preprocessing.normalise(pixels / 255))
        if head is None:
            head = make_head(kept["name"], backbone.shape[1], width)
        if not parts["head"]:
            head.load_state_dict(kept["state"])
            head.eval()
        parts["backbone"].append(backbone)
        parts["head"].append(head(backbone))
    return {name: torch.cat(rows).numpy() for name, rows in parts.items()}


def best_rate(runs: list[dict[str, Any]], value: Callable[[dict[str, Any]], float]) -> float:
    """The rate of the run with the highest value on the rows that were held out of training."""
    return max(runs, key=value)["rate"]


def overlap_held_out(record: dict[str, Any]) -> float:
    """The criterion for learning rates: overlap@10 with the teacher at the backbone, on held-out training rows."""
    return record["watched"]["backbone"]["overlap@10"]
