"""Claim 3, CKD: better than KD, DKD, DIST and no teacher at equal epochs, without tuning temperature or batch size?

100 classes: a garment (Fashion-MNIST) next to a digit (scikit-learn's), 20 x 20 pixels. Teacher resnet20, student
resnet8; a sixth of the pictures is held out to choose the learning rate.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import data
import numpy as np
import torch
from safetensors.numpy import load_file
from sizes import CKD_SEEDS, PICTURES, STUDENT_EPOCHS, TEACHER_EPOCHS, TEST_PICTURES
from study import Run, best_rate, done, embedded, through

import manifold_probe as mp
from manifold_probe.distillation import ckd_loss
from manifold_probe.evaluation import accuracy, agreement

SEEDS, CHOOSING = range(CKD_SEEDS), 100
RATES = (3e-3, 1e-2, 3e-2)  # higher than for claims 1 and 2: 1e-2 was best for all of the first four methods
SIDE, GARMENT = 20, 12  # pixels: the picture's side, and how many of its columns show the garment
ROWS, TEST, DIGITS = PICTURES, TEST_PICTURES, 1_297  # of the 1,797 digits the last 500 are for testing
EPOCHS, BATCH, WEIGHT = STUDENT_EPOCHS, 64, 10.0
METHODS: dict[str, dict] = {
    "none": {"method": "kd", "options": {"weight": 0.0}},
    "KD": {"method": "kd"},
    "DKD": {"method": "dkd", "options": {"warmup": EPOCHS // 12}},  # published: 20 of 240 epochs
    "DIST": {"method": "dist", "options": {"temperature": 4.0}},
    "CKD": {"method": "ckd", "options": {"weight": WEIGHT, "temperature": 1.0}},
}
TEMPERATURES, BATCHES = (0.25, 1.0, 4.0), (16, 64, 256)


def floor(batch: int, temperature: float) -> float:
    """The least that the contrastive term can be: student rows as far apart as a batch of them can stand."""
    return math.log(1 + (batch - 1) * math.exp(-batch / ((batch - 1) * temperature)))


def side_by_side(garments: np.ndarray, digits: np.ndarray) -> np.ndarray:
    """Garments (n, 28, 28) and digits (n, 8, 8, 0 to 16) in one picture each, (n, 20, 20) bytes."""
    from PIL import Image

    def fitted(picture: np.ndarray, width: int) -> np.ndarray:
        return np.asarray(Image.fromarray(picture).resize((width, SIDE), Image.Resampling.BILINEAR))

    inked = np.minimum(digits * 16, 255).astype(np.uint8)
    return np.stack(
        [
            np.concatenate([fitted(left, GARMENT), fitted(right, SIDE - GARMENT)], axis=1)
            for left, right in zip(garments, inked, strict=True)
        ]
    )


def composite() -> None:
    """composite.npz and composite-test.npz; a label is the class of the garment and the digit."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pools = {"composite": (np.arange(DIGITS), ROWS), "composite-test": (np.arange(DIGITS, len(digits.images)), TEST)}
    for path, (name, (pool, count)) in zip(data.fashion(), pools.items(), strict=True):
        if (data.DATA / f"{name}.npz").exists():
            continue
        draw = np.random.default_rng([3, count])
        with np.load(path) as file:
            rows = draw.choice(len(file["images"]), count, replace=False)
            garments, classes = file["images"][rows], file["labels"][rows]
        chosen = draw.choice(pool, count)
        labels = np.array([f"{10 * int(g) + int(d):02d}" for g, d in zip(classes, digits.target[chosen], strict=True)])
        ids = np.array([f"{name}/{row:05d}" for row in range(count)])
        data.save_images(name, side_by_side(garments, digits.images[chosen]), labels, ids)


def held(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, labels as numbers 0 to 99, ids."""
    composite()
    with np.load(data.DATA / f"{name}.npz") as file:
        return file["images"], file["labels"].astype(int), file["ids"]


def teacher_run() -> Run:
    """The training of the teacher, on labels alone."""
    given = {"method": "kd", "options": {"weight": 0.0}, "teacher": data.random_logits("composite", 100)}
    given |= {"student": "resnet20", "data": str(data.DATA / "composite.npz"), "epochs": TEACHER_EPOCHS}
    given |= {"batch_size": BATCH, "held_out": 0.0, "probe_rows": 50}
    return Run("claim3", "teacher", "resnet20", 0, 3e-3, given, lambda: held("composite-test")[0], lambda *_: {})


def teacher() -> str:
    """The teacher's logits of the training pictures, data/t.pt; its accuracy is in data/teacher.json."""
    path = data.DATA / "t.pt"
    if not path.exists():
        _, labels, ids = held("composite")
        run = teacher_run()
        folder = run.folder
        mp.distill(folder, **run.settings)
        logits = load_file(folder / "features-00000.safetensors")["head"]
        images, truth, _ = held("composite-test")
        test = embedded(run, images)["head"]
        seconds = json.loads((folder / "seconds.json").read_text())["seconds"]
        facts = {"test accuracy": accuracy(test.argmax(1), truth), "train accuracy": accuracy(logits.argmax(1), labels)}
        terms = {
            f"own contrastive term at B {batch}, tau {temperature:g}": np.mean(
                [
                    ckd_loss(*2 * [torch.from_numpy(logits[start : start + batch])], temperature).item()
                    for start in range(0, 2048, batch)
                ]
            )
            for batch in BATCHES
            for temperature in TEMPERATURES
        }
        np.save(data.DATA / "teacher-test.npy", test)
        (data.DATA / "teacher.json").write_text(json.dumps({**facts, "seconds": seconds, **terms}, indent=1) + "\n")
        torch.save({"logits": torch.from_numpy(logits), "ids": ids.tolist()}, path)
    return str(path)


def lines(path: Path) -> list:
    """What a file of a run's folder holds, a JSON value a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def run(label: str, seed: int, rate: float, part: str = "main", batch: int = BATCH, tau: float = 1.0) -> Run:
    """A run of the claim; ``tau`` is CKD's."""
    given = {"teacher": teacher(), "student": "resnet8", "data": str(data.DATA / "composite.npz"), "epochs": EPOCHS}
    given |= {"batch_size": batch, "log_every": 10_000, "probe_rows": 50, **METHODS[label]}
    if label == "CKD":
        given["teacher"] += "::logits"  # it would take features too
        given["options"] = {"weight": WEIGHT, "temperature": tau}

    def measure(run: Run, bank: dict, test: dict) -> dict[str, float]:
        _, labels, ids = held("composite")
        trained = set(lines(run.folder / "train_ids.txt"))
        rest = np.array([each not in trained for each in ids.tolist()])
        truth = held("composite-test")[1]
        theirs, student = np.load(data.DATA / "teacher-test.npy").argmax(1), test["head"].argmax(1)
        agreed = agreement(theirs, student, truth, 100)
        last = [line for line in lines(run.folder / "log.jsonl") if "terms" in line][-1]["terms"]
        return {
            "held-out accuracy": accuracy(bank["head"][rest].argmax(1), labels[rest]),
            "accuracy": accuracy(student, truth),
            "garment accuracy": accuracy(student // 10, truth // 10),
            "digit accuracy": accuracy(student % 10, truth % 10),
            "agreement": agreed["agreement"],
            "agreement, excess": agreed["excess"],
            **{f"last epoch: {name}": value for name, value in last.items()},
            **({"floor": floor(batch, tau)} if label == "CKD" else {}),
        }

    name = label if part != "grid" else f"{label} B {batch}" + (f" tau {tau:g}" if label == "CKD" else "")
    return Run(
        "claim3", part, name, seed, rate, given, lambda: held("composite-test")[0], measure,
        {"method": label, "batch": batch, "tau": tau if label == "CKD" else None, "epochs": EPOCHS},
    )  # fmt: skip


def rate_of(label: str, until: float = float("inf")) -> float | None:
    """The rate with the greatest accuracy on held-out pictures."""
    runs = [run(label, CHOOSING, rate, "rate") for rate in RATES]
    through(runs, until)
    found = [each for each in map(done, runs) if each is not None]
    return best_rate(found, lambda each: each["measures"]["held-out accuracy"]) if len(found) == len(RATES) else None


def work(until: float = float("inf"), seeds: range = SEEDS) -> None:
    """The comparison, seed after seed."""
    rates = {label: rate_of(label, until) for label in METHODS}
    for seed in seeds:
        through([run(label, seed, rates[label]) for label in METHODS if rates[label] is not None], until)


def cells() -> Iterator[tuple[str, int, float]]:
    """Method, batch size and temperature of the grid; at (64, 1) it is the comparison's run."""
    for batch in BATCHES:
        yield from (("CKD", batch, tau) for tau in TEMPERATURES if (batch, tau) != (BATCH, 1.0))
        if batch != BATCH:
            yield "none", batch, 1.0


def grid(until: float = float("inf"), seeds: range = SEEDS) -> None:
    """The grid, at the rates that were chosen at (64, 1)."""
    rates = {label: rate_of(label, until) for label in ("CKD", "none")}
    for seed in seeds:
        wanted = [(label, batch, tau) for label, batch, tau in cells() if rates[label] is not None]
        through([run(label, seed, rates[label], "grid", batch, tau) for label, batch, tau in wanted], until)


if __name__ == "__main__":
    work()
    grid()
