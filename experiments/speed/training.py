"""How much a training step costs compared with the student alone, and the loop compared with a bare hand-written one.

    python experiments/speed/training.py            # some minutes; writes results/training.json and training.md

Everything is a ratio of two timings that take turns in one process, because the machine's speed wanders.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import nn

import manifold_probe as mp
from manifold_probe.distillation import CKD, Cosine, CoSS, TinTeM
from manifold_probe.models import make_student

RESULTS = Path(__file__).parent / "results"
SIZES = (64, 128, 256, 512, 1024, 2048, 4096)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def seconds(work: Callable[[], None]) -> float:
    """One call, to its end."""
    start = time.perf_counter()
    work()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def turns(works: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """The median seconds of each, one after another in every round."""
    for work in works.values():
        work()
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            found[name].append(seconds(work))
    return {name: median(each) for name, each in found.items()}


def loss_and_head(batch: int, side: int, width: int, rounds: int) -> dict[str, float]:
    """A step of resnet18 with no loss to speak of, and the forward and backward pass of CoSS's head and loss alone."""
    student = make_student("resnet18").to(DEVICE)
    images = torch.randn(batch, 3, side, side, device=DEVICE)
    teacher = torch.randn(batch, width, device=DEVICE)
    method = CoSS(512, width).to(DEVICE)
    optimiser = torch.optim.SGD(student.parameters(), 0.01, momentum=0.9)
    features = torch.randn(batch, 512, device=DEVICE, requires_grad=True)

    def alone() -> None:
        optimiser.zero_grad(set_to_none=True)
        student(images).square().mean().backward()
        optimiser.step()

    def added() -> None:
        method.zero_grad(set_to_none=True)
        torch.stack(list(method(features, teacher).values())).sum().backward()

    found = turns({"student": alone, "loss and head": added}, rounds)
    return {**found, "ratio": found["loss and head"] / found["student"]}


def loop(rows: int, batch: int, repeats: int) -> dict[str, float]:
    """Samples a second of `probe distill`'s loop on stored features, of a bare loop with the same loss on preloaded
    tensors, and of a bare loop of the student alone. The trainer's are the four epochs by which a run of six is longer
    than one of two: reading the images once and the two measurements are not counted; "whole run" counts them.
    """
    with tempfile.TemporaryDirectory() as folder:
        draw = np.random.default_rng(0)
        images = draw.integers(0, 256, (rows, 32, 32), np.uint8)
        ids = np.array([f"r{row}" for row in range(rows)])
        teacher = draw.normal(size=(rows, 512)).astype(np.float32)
        np.savez(f"{folder}/d.npz", images=images, ids=ids)
        np.savez(f"{folder}/t.npz", features=teacher, ids=ids)
        found: dict[str, list[float]] = {"trainer": [], "whole run": [], "bare": [], "student alone": []}
        for repeat in range(repeats):
            spent = {}
            for epochs in (2, 6):
                given = {"method": "cosine", "teacher": f"{folder}/t.npz", "student": "resnet20"}
                given |= {"data": f"{folder}/d.npz", "epochs": epochs, "batch_size": batch, "held_out": 0.0}
                out = Path(folder) / f"run{repeat}-{epochs}"
                mp.distill(out, **given, probe_every=epochs, probe_rows=100)
                spent[epochs] = json.loads((out / "seconds.json").read_text())["seconds"]
            encoded = rows // batch * batch
            found["trainer"].append(4 * encoded / (spent[6] - spent[2]))
            found["whole run"].append(6 * encoded / spent[6])
            for name in ("bare", "student alone"):
                found[name].append(bare(images, teacher, batch, 4, with_teacher=name == "bare"))
    return {name: median(each) for name, each in found.items()}


def bare(images: np.ndarray, teacher: np.ndarray, batch: int, epochs: int, with_teacher: bool) -> float:
    """Samples a second of a loop as one would write it by hand, on tensors that are ready."""
    student = make_student("resnet20").to(DEVICE)
    method: nn.Module = Cosine(64, teacher.shape[1]).to(DEVICE)
    parameters = [*student.parameters(), *(method.parameters() if with_teacher else [])]
    optimiser = torch.optim.SGD(parameters, 0.03, momentum=0.9, weight_decay=1e-4)
    pixels = (torch.from_numpy(images)[:, None].expand(-1, 3, -1, -1) / 255 - 0.5) / 0.5
    pixels, targets = pixels.contiguous().to(DEVICE), torch.from_numpy(teacher).to(DEVICE)
    steps = len(images) // batch
    start = time.perf_counter()
    for _ in range(epochs):
        order = torch.randperm(len(images), device=DEVICE)
        for step in range(steps):
            rows = order[step * batch : (step + 1) * batch]
            output = student(pixels[rows])
            loss = (
                torch.stack(list(method(output, targets[rows]).values())).sum()
                if with_teacher
                else output.square().mean()
            )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            loss.item()
    return epochs * steps * batch / (time.perf_counter() - start)


def against_batch(width: int, rounds: int) -> dict[str, dict[str, float]]:
    """Seconds of CKD's and TinTeM's loss with its gradient against the batch size, and the exponent of the fit."""
    found: dict[str, dict[str, float]] = {}
    for name in ("ckd", "tintem"):
        times = {}
        for batch in SIZES:
            method = (CKD(width, width) if name == "ckd" else TinTeM(width, width)).to(DEVICE)
            student = torch.randn(batch, width, device=DEVICE, requires_grad=True)
            teacher = torch.randn(batch, width, device=DEVICE)

            def step(method=method, student=student, teacher=teacher) -> None:
                method.zero_grad(set_to_none=True)
                torch.stack(list(method(student, teacher).values())).sum().backward()

            times[str(batch)] = turns({"step": step}, rounds if batch < 2048 else 1)["step"]
        sizes, spent = np.log([int(each) for each in times]), np.log(list(times.values()))
        found[name] = {**times, "exponent": float(np.polyfit(sizes, spent, 1)[0])}
        found[name]["exponent from 1,024"] = float(np.polyfit(sizes[-3:], spent[-3:], 1)[0])
    return found


def machine() -> str:
    """What it ran on."""
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "CPU"
    return f"{name}, {os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads"


def page(results: dict) -> str:
    """The findings, to read."""
    step, speed, sizes = results["loss and head"], results["loop"], results["against batch size"]
    alone, trainer, bare_loop = (speed[name] for name in ("student alone", "trainer", "bare"))
    lines = [
        "# A training step's cost",
        "",
        f"{results['machine']}. Medians of timings that took turns in one process.",
        "",
        f"- Loss and head of CoSS (MLP head), B = {results['batch']}, Dt = {results['width']}, next to a resnet18 step",
        f"  at {results['side']} px: {step['ratio']:.1%} ({step['loss and head']:.3f} s of {step['student']:.3f} s).",
        f"- The trainer's loop: {trainer / bare_loop:.3f} of a bare loop's throughput, with the same loss and",
        f"  its tensors ready ({trainer:,.0f} and {bare_loop:,.0f} samples a second; resnet20, 32 pixels);",
        f"  {speed['whole run'] / bare_loop:.3f} with reading and measuring, in a run of six epochs of 2,048 images.",
        f"- Stored teacher features: a bare loop with them, head and loss runs at {bare_loop / alone:.3f} of the",
        f"  student alone, the trainer at {trainer / alone:.3f}.",
        "",
        "Seconds of loss, head and gradient against the batch size, 512 dimensions:",
        "",
        "| B | " + " | ".join(name for name in sizes) + " |",
        "|---" * (len(sizes) + 1) + "|",
    ]
    lines += [
        f"| {size:,} | " + " | ".join(f"{each[str(size)]:.4f}" for each in sizes.values()) + " |" for size in SIZES
    ]
    lines += ["", *(f"- {name}: {exponents(each)}." for name, each in sizes.items())]
    return "\n".join(lines) + "\n"


def exponents(times: dict[str, float]) -> str:
    """The fitted exponents in words."""
    return f"fitted exponent {times['exponent']:.2f} over all sizes, {times['exponent from 1,024']:.2f} from 1,024"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=224 if DEVICE.type == "cuda" else 64)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.manual_seed(0)
    results = {
        "machine": machine(),
        "side": given.side,
        "batch": given.batch,
        "width": given.width,
        "loss and head": loss_and_head(given.batch, given.side, given.width, given.rounds),
        "loop": loop(2048, 128, 3),
        "against batch size": against_batch(512, given.rounds),
    }
    assert all(math.isfinite(value) for value in results["loop"].values())
    RESULTS.mkdir(exist_ok=True)
    name = "training_gpu" if DEVICE.type == "cuda" else "training"
    (RESULTS / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / f"{name}.md").write_text(page(results))
    print(page(results))


if __name__ == "__main__":
    main()
