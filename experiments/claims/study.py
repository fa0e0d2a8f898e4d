"""What all claims share: a run that is trained once and kept, its measures, and the choice of the learning rate.

A run is trained by manifold_probe's trainer, measured on test images, and leaves runs/CLAIM/NAME.json; its features
and its checkpoint are then removed. A run whose JSON is there is never trained again, so a study can be stopped at any
moment and goes on; several processes may work on the same study, each run is taken by one of them.
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

import manifold_probe as mp
from manifold_probe.models import forward, load_model, saved_head

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
    """A configuration and a seed. ``part`` says what for; ``fields`` go to the trainer.

    ``measure`` makes the numbers of a trained student from (bank, test): the features of all rows of the run's data
    and of the test images, {"backbone": ..., "head": ...}. ``test`` are the test images (n, H, W).
    """

    claim: str
    part: str
    label: str
    seed: int
    rate: float
    fields: dict[str, Any]
    test: Callable[[], np.ndarray]
    measure: Callable[[Run, dict[str, np.ndarray], dict[str, np.ndarray]], dict[str, float]]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the run's files."""
        return f"{self.part}-{self.label}-{self.rate:g}-{self.seed}".replace(" ", "_").replace("/", "_")

    @property
    def record(self) -> Path:
        """Where its numbers are kept."""
        return RUNS / self.claim / f"{self.name}.json"

    @property
    def folder(self) -> Path:
        """Where it is trained."""
        return RUNS / self.claim / self.name

    @property
    def settings(self) -> dict[str, Any]:
        """What the trainer is asked for."""
        given = {"student": "conv4", **OPTIMISATION, "seed": self.seed, "rate": self.rate, **self.fields}
        given.setdefault("probe_every", given["epochs"])
        return given


def done(run: Run) -> dict[str, Any] | None:
    """The numbers of a run, where it was through before."""
    return json.loads(run.record.read_text()) if run.record.exists() else None


def through(runs: Iterable[Run], until: float = float("inf")) -> list[dict[str, Any]]:
    """The numbers of all runs; those that are missing are trained, unless another process does or ``until`` is past."""
    found = []
    for run in runs:
        record = done(run)
        if record is None and time.time() < until:
            record = taken(run)
        if record is not None:
            found.append(record)
    return found


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
    """Whether the process that wrote the lock still runs."""
    content = lock.read_text()
    return not content or Path(f"/proc/{content}").exists()


def fresh(run: Run) -> dict[str, Any]:
    """Train, measure, keep the numbers."""
    folder = run.folder
    cpu, wall = time.process_time(), time.monotonic()
    trained = mp.distill(folder, **run.settings)
    bank = {k: v for k, v in load_file(folder / "features-00000.safetensors").items() if k in ("backbone", "head")}
    test = embedded(run, run.test())
    seconds = json.loads((folder / "seconds.json").read_text())
    watched = trained.log[-1]["measures"]
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


@torch.no_grad()
def embedded(run: Run, images: np.ndarray) -> dict[str, np.ndarray]:
    """Backbone and head (classifier's logits where there is one) of images (n, H, W), from the run's student.pt."""
    checkpoint, source = run.folder / "student.pt", run.settings["student"]
    written_here = source.startswith("python:")  # code that a checkpoint names is not run, only code that we name
    model = load_model(source, weights=str(checkpoint)) if written_here else load_model(str(checkpoint))
    kept = torch.load(checkpoint, map_location="cpu", weights_only=True)
    head = saved_head(**kept["head"])
    head.load_state_dict(kept["head"]["state"])
    head.eval()
    mean, std = (torch.tensor(kept["preprocessing"][name])[:, None, None] for name in ("mean", "std"))
    parts: dict[str, list[torch.Tensor]] = {"backbone": [], "head": []}
    for start in range(0, len(images), 500):
        pixels = torch.from_numpy(images[start : start + 500])[:, None].expand(-1, 3, -1, -1)
        backbone = forward(model, (pixels / 255 - mean) / std)
        parts["backbone"].append(backbone)
        parts["head"].append(head(backbone))
    return {name: torch.cat(rows).numpy() for name, rows in parts.items()}


def best_rate(runs: list[dict[str, Any]], value: Callable[[dict[str, Any]], float]) -> float:
    """The rate of the run with the greatest value on the rows that were held out of training."""
    return max(runs, key=value)["rate"]


def overlap_held_out(record: dict[str, Any]) -> float:
    """What learning rates are chosen by: overlap@10 with the teacher at the backbone, on held-out training rows."""
    return record["watched"]["backbone"]["overlap@10"]
