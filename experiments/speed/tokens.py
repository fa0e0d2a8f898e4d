"""What TinTeM's token terms cost: against tokens and batch, next to a ViT-Ti step, and in the trainer's loop.

    python experiments/speed/tokens.py              # some minutes; writes results/tokens.json and tokens.md

The aims: under 10% of a ViT-Ti step at 64 tokens and 128 images, and a loop on sets at 0.95 of a bare one.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor
from training import DEVICE, RESULTS, machine, turns

import manifold_probe as mp
from manifold_probe.distillation import TinTeM
from manifold_probe.models import make_student

STUDENT, TEACHER = 192, 384  # widths of ViT-Ti and ViT-S
TOKENS, BATCHES = (16, 32, 64, 128, 256), (16, 32, 64, 128)


def sets(batch: int, tokens: int, width: int, grad: bool = False) -> Tensor:
    """Random sets of tokens."""
    return torch.randn(batch, tokens, width, device=DEVICE, requires_grad=grad)


def token_terms(method: TinTeM, student: Tensor, teacher: Tensor) -> None:
    """What sets add to TinTeM's loss, with its gradient: the local neighbour embedding and the feature term."""
    method.zero_grad(set_to_none=True)
    terms = method(student, teacher)
    (terms["neighbour_local"] + terms["feature"]).backward()


def against_sizes(rounds: int) -> dict[str, dict[str, float]]:
    """Seconds of the token terms against the number of tokens (32 images) and of images (64 tokens)."""
    found: dict[str, dict[str, float]] = {}
    for name, sizes in (("tokens", TOKENS), ("images", BATCHES)):
        times = {}
        for size in sizes:
            batch, tokens = (32, size) if name == "tokens" else (size, 64)
            method = TinTeM(STUDENT, TEACHER).to(DEVICE)
            given = (method, sets(batch, tokens, STUDENT, grad=True), sets(batch, tokens, TEACHER))
            times[str(size)] = turns({"terms": lambda given=given: token_terms(*given)}, rounds)["terms"]
        found[name] = {**times, "exponent": float(np.polyfit(np.log(sizes), np.log(list(times.values())), 1)[0])}
    return found


def next_to_vit(rounds: int) -> dict[str, float]:
    """The token terms and all terms at 64 tokens and 128 images, and a step of the student alone."""
    vit = make_student("vit-ti", size=32, patch=4, tokens=True).to(DEVICE)
    images = torch.randn(128, 3, 32, 32, device=DEVICE)
    method = TinTeM(STUDENT, TEACHER).to(DEVICE)
    student, teacher = sets(128, 65, STUDENT, grad=True), sets(128, 65, TEACHER)

    def alone() -> None:
        vit.zero_grad(set_to_none=True)
        vit(images).square().mean().backward()

    def whole() -> None:
        method.zero_grad(set_to_none=True)
        torch.stack(list(method(student, teacher).values())).sum().backward()

    works = {"student": alone, "token terms": lambda: token_terms(method, student, teacher), "all terms": whole}
    return turns(works, rounds)


def loop(rows: int, batch: int, repeats: int) -> dict[str, float]:
    """Samples a second of `probe distill` on stored tokens, and of a bare loop with the same loss on ready tensors.

    The trainer's are the two epochs by which a run of three is longer than one of one, with their checkpoints.
    """
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (rows, 32, 32), np.uint8)
    teacher = draw.normal(size=(rows, 17, TEACHER)).astype(np.float32)
    found: dict[str, list[float]] = {"trainer": [], "bare": []}
    with tempfile.TemporaryDirectory() as folder:
        ids = np.array([f"r{row}" for row in range(rows)])
        np.savez(f"{folder}/d.npz", images=images, ids=ids)
        np.savez(f"{folder}/t.npz", features=teacher, ids=ids)
        for repeat in range(repeats):
            spent = {}
            for epochs in (1, 3):
                given = {"method": "tintem", "teacher": f"{folder}/t.npz", "student": "vit-ti", "pool": "tokens"}
                given |= {"data": f"{folder}/d.npz", "epochs": epochs, "batch_size": batch, "held_out": 0.0}
                out = Path(folder) / f"run{repeat}-{epochs}"
                mp.distill(out, **given, warmup_epochs=0.1, probe_every=epochs, probe_rows=100)
                spent[epochs] = json.loads((out / "seconds.json").read_text())["seconds"]
            found["trainer"].append(2 * (rows // batch * batch) / (spent[3] - spent[1]))
            found["bare"].append(bare(images, teacher, batch, 2))
    return {name: median(each) for name, each in found.items()}


def bare(images: np.ndarray, teacher: np.ndarray, batch: int, epochs: int) -> float:
    """Samples a second of a loop as one would write it by hand."""
    vit = make_student("vit-ti", size=32, patch=8, tokens=True).to(DEVICE)
    method = TinTeM(STUDENT, TEACHER).to(DEVICE)
    optimiser = torch.optim.AdamW([*vit.parameters(), *method.parameters()], 5e-4, weight_decay=0.05)
    pixels = (torch.from_numpy(images)[:, None].expand(-1, 3, -1, -1) / 255 - 0.5) / 0.5
    pixels, targets = pixels.contiguous().to(DEVICE), torch.from_numpy(teacher).to(DEVICE)
    steps = len(images) // batch
    start = time.perf_counter()
    for _ in range(epochs):
        order = torch.randperm(len(images), device=DEVICE)
        for step in range(steps):
            rows = order[step * batch : (step + 1) * batch]
            loss = torch.stack(list(method(vit(pixels[rows]), targets[rows]).values())).sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            loss.item()
    return epochs * steps * batch / (time.perf_counter() - start)


def page(results: dict) -> str:
    """The results, to read."""
    step, speed, sizes = results["next to ViT-Ti"], results["loop"], results["against sizes"]
    share, whole = (step[name] / step["student"] for name in ("token terms", "all terms"))
    lines = [
        "# The cost of token terms",
        "",
        f"{results['machine']}. Medians of timings that took turns in one process.",
        "",
        f"- 64 tokens and a class token, 128 images: the token terms of TinTeM take {share:.1%} of a ViT-Ti step, all",
        f"  terms {whole:.1%} ({step['student']:.2f} s a step).",
        f"- The trainer's loop on stored tokens (17 an image): {speed['trainer'] / speed['bare']:.3f} of a bare loop's",
        f"  throughput ({speed['trainer']:,.0f} and {speed['bare']:,.0f} samples a second).",
    ]
    for name, fixed in (("tokens", "32 images"), ("images", "64 tokens")):
        times = sizes[name]
        lines += [
            "",
            f"Seconds of the token terms against {name}, {fixed} (fitted exponent {times['exponent']:.2f}):",
            "",
        ]
        heads = [size for size in times if size != "exponent"]
        lines += [f"| {name} | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
        lines += [f"| seconds | {' | '.join(f'{times[size]:.4f}' for size in heads)} |"]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    torch.manual_seed(0)
    results = {
        "machine": machine(),
        "next to ViT-Ti": next_to_vit(3),
        "against sizes": against_sizes(5),
        "loop": loop(2048, 64, 2),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "tokens.json").write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / "tokens.md").write_text(page(results))
    print(page(results))


if __name__ == "__main__":
    main()
