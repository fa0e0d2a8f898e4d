"""Claim 1, CoSS: does space similarity keep more of the teacher than the cosine alone, and than other losses?

Eleven losses; a sixth of the images is held out to choose the learning rate. Sizes: sizes.py.
"""

from __future__ import annotations

import data
import numpy as np
from measures import TEST, at_both, images
from sizes import EPOCHS, ROWS
from sizes import SEEDS as COUNT
from study import BATCH, RATES, Run, best_rate, done, overlap_held_out, through

SEEDS, CHOOSING = range(COUNT), 100
STEPS = ROWS * 5 // 6 // BATCH * EPOCHS
LOSSES: dict[str, dict] = {
    "cosine": {"method": "coss", "options": {"space_weight": 0.0}},
    "CoSS 0.5": {"method": "coss", "options": {"space_weight": 0.5}},
    "CoSS 1": {"method": "coss", "options": {"space_weight": 1.0}},
    "cosine, neighbours": {"method": "coss", "options": {"space_weight": 0.0}, "neighbour_batches": True},
    "CoSS 0.5, neighbours": {"method": "coss", "options": {"space_weight": 0.5}, "neighbour_batches": True},
    "CoSS 1, neighbours": {"method": "coss", "options": {"space_weight": 1.0}, "neighbour_batches": True},
    "MSE": {"method": "mse"},
    "SEED": {"method": "seed", "options": {"queue_size": 2048}},
    "RKD": {"method": "rkd"},
    "SP": {"method": "sp"},
    "PKT": {"method": "pkt"},
}
HEADLESS = ("RKD", "SP", "PKT")
YARDSTICKS = ("from scratch", "untrained")


def name(rows: int = ROWS) -> str:
    """The data's name; the file is made where it is missing."""
    return data.subset(f"train-{rows}", np.arange(rows)).stem


def no_logits(rows: int = ROWS) -> str:
    """The teacher of a student that learns from labels alone, whose loss does not see it."""
    return data.random_logits(name(rows), 10)


def run(label: str, seed: int, rate: float, part: str = "main", rows: int = ROWS, epochs: int = EPOCHS) -> Run:
    """A run of the claim; one of part "rate" is only watched on held-out rows, to choose the learning rate."""
    measured = part == "main"
    fields = {"data": str(data.DATA / f"{name(rows)}.npz"), "epochs": epochs}
    if measured:
        fields["probe_rows"] = 50  # held-out rows are watched to choose the rate, no longer afterwards
    if label in YARDSTICKS:
        fields |= {"method": "kd", "options": {"weight": 0.0}, "teacher": no_logits(rows)}
        if label == "untrained":
            rate = 0.0  # one batch at rate 0: only the batch norms' running moments see it
            fields |= {"epochs": 1, "samples": BATCH}
    else:
        fields |= {"teacher": str(data.DATA / "lite2-train"), **LOSSES[label]}
        if "neighbour_batches" in fields:  # as many steps as the other losses get
            fields["samples"] = rows * 5 // 6

    def measure(run: Run, bank: dict, test: dict) -> dict[str, float]:
        if not measured:
            return {}
        return at_both(name(rows), bank, test, head=label in LOSSES and label not in HEADLESS)

    return Run(
        "claim1", part, label, seed, rate, fields, lambda: images("test", TEST if measured else 10)[0], measure,
        {"rows": rows, "epochs": epochs},
    )  # fmt: skip


def accuracy_held_out(record: dict) -> float:
    """For a student that learns from labels: k-NN accuracy on held-out rows."""
    return record["watched"]["backbone"]["knn_accuracy_student@10"]


def rate_of(label: str, until: float = float("inf")) -> float | None:
    """The learning rate chosen with another seed on held-out rows, one for CoSS at either weight and for
    both orders of the same loss; None while runs are missing."""
    if label == "untrained":
        return 0.0
    label = {"CoSS 0.5": "CoSS 1"}.get(label.removesuffix(", neighbours"), label.removesuffix(", neighbours"))
    runs = [run(label, CHOOSING, rate, "rate") for rate in RATES]
    through(runs, until)
    found = [each for each in map(done, runs) if each is not None]
    value = accuracy_held_out if label in YARDSTICKS else overlap_held_out
    return best_rate(found, value) if len(found) == len(RATES) else None


def work(until: float = float("inf"), seeds: range = SEEDS) -> None:
    """Everything of the claim, seed after seed."""
    labels = [*LOSSES, *YARDSTICKS]
    rates = {label: rate_of(label, until) for label in labels}
    for seed in seeds:
        through([run(label, seed, rates[label]) for label in labels if rates[label] is not None], until)


if __name__ == "__main__":
    work()
