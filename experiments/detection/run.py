"""CKD on detection: trains one teacher and its students, whichever are missing, then writes the tables in results/.

    python experiments/detection/run.py    # everything; a stopped run goes on at the next start

Every training is one file in results/; the images, the teacher and its logits are kept in data/.
"""

from __future__ import annotations

import csv
import json
import os
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import data
import torch
from detector import Split, build
from scoring import SCORES, average_precision, predictions
from training import LR, METHODS, anchor_logits, contrast, gradient_norms, train

HERE = Path(__file__).parent
DATA, RESULTS = HERE / "data", HERE / "results"
STEPS = {"teacher": 1500, "student": 800}
SEEDS = (0, 1, 2)
DATA_SEED = 0


def splits() -> tuple[Split, Split]:
    """Train and val, made once."""
    for split in data.IMAGES:
        if not (DATA / split / "annotations.json").exists():
            print(f"making {DATA / split}", flush=True)
            data.write(DATA, split, DATA_SEED)
    return Split.read(DATA / "train"), Split.read(DATA / "val")


def fitted(size: str, seed: int, train_split: Split, **distillation: Any) -> tuple[Any, dict[str, Any]]:
    """A trained detector, and what its training showed."""
    model = build(size, len(data.CLASSES), seed)
    shown = train(
        model,
        train_split,
        steps=STEPS[size],
        seed=seed,
        lr=LR[size],
        report=lambda line: print(" ", line, flush=True),
        **distillation,
    )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return model, {"size": size, "seed": seed, "steps": STEPS[size], "parameters": parameters, **shown}


def save(name: str, content: dict[str, Any]) -> None:
    """results/NAME.json, whole or not at all."""
    RESULTS.mkdir(exist_ok=True)
    part = RESULTS / f"{name}.part"
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    part.replace(RESULTS / f"{name}.json")


def teacher_logits(train_split: Split, val_split: Split) -> torch.Tensor:
    """The class logits of the teacher at every anchor of every training image; the teacher is trained once."""
    path = DATA / "teacher-logits.pt"
    if path.exists() and (RESULTS / "teacher.json").exists():
        return torch.load(path)
    print("teacher", flush=True)
    model, shown = fitted("teacher", 0, train_split)
    scores = average_precision(predictions(model, val_split), val_split)
    torch.save(model.state_dict(), DATA / "teacher.pt")
    logits = anchor_logits(model, train_split)
    torch.save(logits, path)
    save("teacher", {**shown, **scores, **contrast(logits)})
    print(" ", scores, flush=True)
    return logits


def student(method: str, seed: int, train_split: Split, val_split: Split, logits: torch.Tensor) -> None:
    """One student, trained and scored."""
    print(f"student, {method}, seed {seed}", flush=True)
    distillation = METHODS[method]
    model, shown = fitted("student", seed, train_split, distillation=distillation, teacher=logits)
    scores = average_precision(predictions(model, val_split), val_split)
    norms = {} if distillation is None else gradient_norms(model, train_split, distillation, logits)
    save(f"student-{method}-{seed}", {"method": method, **shown, **scores, **norms})
    print(" ", scores, flush=True)


def write_tables() -> None:
    """results/table.csv, a row for each training, and results/summary.md, a row for each method."""
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    fields = ("size", "method", "seed", "steps", *SCORES, "detector_loss", "distillation_loss", "seconds_a_step")
    with (RESULTS / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(fields)
        for run in runs:
            cells = (run.get(field, "") for field in fields)
            writer.writerow([f"{cell:.4f}" if isinstance(cell, float) else cell for cell in cells])
    students = {(run["method"], run["seed"]): run for run in runs if run["size"] == "student"}
    lines = [
        "| training | seeds | " + " | ".join(SCORES) + " | AP less that of none, same seed |",
        "|---" * (len(SCORES) + 3) + "|",
    ]
    lines += [
        f"| teacher | 1 | {' | '.join(f'{100 * run[score]:.1f}' for score in SCORES)} | |"
        for run in runs
        if run["size"] == "teacher"
    ]
    for method in METHODS:
        seeds = [seed for seed in SEEDS if (method, seed) in students]
        if not seeds:
            continue
        cells = [spread([100 * students[method, seed][score] for seed in seeds]) for score in SCORES]
        paired = [
            100 * (students[method, seed]["AP"] - students["none", seed]["AP"])
            for seed in seeds
            if method != "none" and ("none", seed) in students
        ]
        differences = ", ".join(f"{difference:+.1f}" for difference in paired)
        if paired:
            differences = f"{sum(paired) / len(paired):+.1f} ({differences})"
        lines.append(f"| {method} | {len(seeds)} | {' | '.join(cells)} | {differences} |")
    note = "\nIn %: mean (lowest to highest) over the seeds; the last column has the mean and each seed.\n"
    (RESULTS / "summary.md").write_text("\n".join(lines) + "\n" + note, encoding="utf-8")


def spread(values: list[float]) -> str:
    """Mean and range."""
    return f"{sum(values) / len(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main() -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="You'd better set embed_dim")  # speed of a CUDA kernel not used here
    train_split, val_split = splits()
    logits = teacher_logits(train_split, val_split)
    for seed in SEEDS:
        for method in METHODS:
            if not (RESULTS / f"student-{method}-{seed}.json").exists():
                student(method, seed, train_split, val_split, logits)
                write_tables()
    write_tables()


if __name__ == "__main__":
    main()
