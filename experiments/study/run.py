"""Which number predicts what a distilled student will do? Trains the students that are missing and writes the table.

    python experiments/study/run.py --until 18:30      start no student after that; the next start continues
    python experiments/study/run.py --table            only results/students.csv from the finished students

Two processes share the work: start it twice. A student that is in the table or in runs/ is never trained again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
import warnings
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import data
import numpy as np
import pandas as pd
from behaviours import BANK, behaviours, corrupted_images
from population import EPOCHS, PAPER, SHARES, SIZE, Student, population, rate_runs, rows_of
from safetensors.numpy import load_file
from students import embedded, embedded_texts

import manifold_probe as mp
from manifold_probe import InputError
from manifold_probe.evaluation import accuracy

TABLE = data.RESULTS / "students.csv"
RECORDS = data.RUNS / "records"


# ---- a student


def record_of(student: Student) -> dict[str, Any] | None:
    """A finished student's row of the table."""
    path = RECORDS / f"{student.name}.json"
    if path.exists():
        return json.loads(path.read_text())
    table = committed()
    return table.loc[student.name].to_dict() if student.name in table.index else None


@lru_cache
def committed() -> pd.DataFrame:
    """The table as it was when this process started."""
    return pd.read_csv(TABLE, index_col="name") if TABLE.exists() else pd.DataFrame()


def train(student: Student) -> dict[str, Any]:
    """Train a student, measure it, and store its row."""
    began, cpu, folder = time.monotonic(), time.process_time(), data.RUNS / student.name
    given = settings_of(student)
    trained = mp.distill(folder, **given)
    seconds = json.loads((folder / "seconds.json").read_text())
    features = features_of(student, folder)
    if as_trained(student):
        sides = (
            {"backbone": trained.comparison} if isinstance(trained.comparison, mp.Comparison) else trained.comparison
        )
    else:
        sides = {"backbone": own_comparison(student, features["held out"])}
    row = {
        "name": student.name, "part": student.part, "setting": student.setting, "method": student.method,
        "network": student.network, "width": student.width, "seed": student.seed, "rate": given["rate"],
        "optimiser": student.optimiser, "batch": student.batch, "fault": student.fault, "samples": student.samples,
        "encoded": seconds["encoded"], "train_seconds": round(seconds["seconds"], 2),
        **watched(trained.log),
        **{f"{side} {key}": m.value for side in sides for key, m in sides[side].measures.items()},
        **behaviours(student.setting, features),
        **(logit_behaviours(student, features) if student.classifies else {}),
    }  # fmt: skip
    row["cpu_seconds"] = round(time.process_time() - cpu, 2)
    row["wall_seconds"] = round(time.monotonic() - began, 2)
    shutil.rmtree(folder)
    return row


def as_trained(student: Student) -> bool:
    """Whether the trainer's comparison is that of the deployed student with the teacher's features."""
    return not (student.rows or student.deployed or "target" in student.settings or student.supervised_only)


def settings_of(student: Student) -> dict[str, Any]:
    """What the trainer is asked for."""
    path, given = data.source(student.setting, "train"), data.inputs(student.setting, "train")
    share = data.HELD_OUT / data.TRAIN
    if student.rows:
        rows = rows_of(student, held_out(student.setting))
        given = {key: column[rows] for key, column in given.items()}
        path, share = data.stored(f"{student.setting}-train-{student.rows}", lambda: given), 1 / 6
    method = dict(student.settings)
    source, key = student.source, method.pop("target", "features")
    target = f"{data.teacher(student.setting, 'train')}::{key}"
    if key == "tokens":
        source, target = f"{source}&maps=true", str(data.lite2_tokens())
    if student.supervised_only:
        target = f"{data.no_teacher(path.stem, given)}::logits"
    epochs = min(EPOCHS, student.samples // student.batch)
    optimisation: dict[str, Any] = {"optimiser": "adamw", "weight_decay": 0.01, "schedule": "cosine"}
    optimisation |= {"warmup_epochs": 0.0, "warmup_rate": 0.0, "final_rate": 0.0}
    if student.optimiser == "paper":
        optimisation |= PAPER[method["method"]]
        method["options"] = method.get("options", {}) | optimisation.pop("options", {})
    if student.rate is not None:
        optimisation["rate"] = student.rate
    elif "rate" not in optimisation:
        optimisation["rate"] = best_rate(student)
    if "orthogonal" in student.method:
        optimisation["weight_decay"] = 0.0  # any weight decay turns torch's Householder parametrization into zeros
    images = {} if student.setting == "text" else {"size": SIZE[student.setting], "mean": 0.5, "std": 0.5}
    return {
        "teacher": target, "student": source, "data": path, "seed": student.seed, "held_out": share,
        "epochs": epochs, "samples": student.samples // epochs, "batch_size": student.batch, "log_every": 1_000_000,
        "probe_at": [] if student.part == "claim" or epochs < EPOCHS else list(SHARES.values()),
        **optimisation, **images, **method,
    }  # fmt: skip


def best_rate(student: Student) -> float:
    """The learning rate that is best on held-out rows: by accuracy for logits, else by overlap@10 at the backbone."""
    rows = [record_of(run) for run in rate_runs(student)]
    column = "held_out_logit_accuracy" if student.classifies else "backbone overlap@10"
    return max((row for row in rows if row and row.get(column, np.nan) > 0), key=lambda row: row[column])["rate"]


def watched(log: list[dict[str, Any]]) -> dict[str, Any]:
    """Measures and loss at the shares of the training, from its log."""
    losses = [line["loss"] for line in log if "loss" in line]
    points = [line["measures"] for line in log if "measures" in line]
    if len(losses) < EPOCHS or len(points) <= len(SHARES):
        return {}
    values: dict[str, Any] = {}
    for (share, epoch), sides in zip(SHARES.items(), points[1:], strict=True):  # the first is of the untrained student
        values[f"{share} loss"] = losses[epoch - 1]
        values |= {f"{share} {side} {key}": value for side in sides for key, value in sides[side].items()}
    return values


def features_of(student: Student, folder: Path) -> dict[str, np.ndarray]:
    """The backbone's features of every part and of the held-out rows; of a classifier its logits too."""
    setting, text, checkpoint = student.setting, student.setting == "text", folder / "student.pt"
    mean, std, size = student.deployed or (0.5, 0.5, SIZE.get(setting, 0))

    def sides(inputs: np.ndarray) -> dict[str, np.ndarray]:
        if not text:
            return embedded(checkpoint, student.source, inputs, size, mean, std)
        cut = [" ".join(str(line).split()[:size]) for line in inputs] if student.deployed else inputs
        return embedded_texts(checkpoint, student.source, np.asarray(cut))

    parts = {part: data.inputs(setting, part)["texts" if text else "images"] for part in ("train", "test", "other")}
    if student.deployed or student.rows or "pool" in student.settings:
        rows = held_out(setting)
        bank, held = sides(parts["train"][:BANK])["backbone"], sides(parts["train"][rows])["backbone"]
    else:
        train = load_file(folder / "features-00000.safetensors")
        rows = held_out(setting, folder)
        bank, held = train["backbone"][:BANK], train["backbone"][rows]
    test = sides(parts["test"])
    features = {"bank": bank, "held out": held, "test": test["backbone"], "other": sides(parts["other"])["backbone"]}
    if not text:
        features["corrupted"] = sides(corrupted_images(setting))["backbone"]
    if student.classifies:
        features |= {"held out logits": train["head"][rows], "test logits": test["head"]}
    return features


def logit_behaviours(student: Student, features: dict[str, np.ndarray]) -> dict[str, float]:
    """How a student's logits classify, and how often as the teacher's."""
    labels = data.inputs(student.setting, "train")["labels"]
    names, held = np.unique(labels), labels[held_out(student.setting)]
    predicted = names[features["test logits"].argmax(1)]
    values = {
        "held_out_logit_accuracy": accuracy(names[features["held out logits"].argmax(1)], held),
        "logit_accuracy": accuracy(predicted, data.inputs(student.setting, "test")["labels"]),
    }
    if student.setting == "composite":
        theirs = names[data.arrays(data.teacher("composite", "test"))["logits"].argmax(1)]
        values["logit_agreement"] = accuracy(predicted, theirs)
    return values


def held_out(setting: str, folder: Path | None = None) -> np.ndarray:
    """The rows of the training part that every training holds out, the same for all; known from the first run."""
    path = data.DATA / f"{setting}-held-out.json"
    if not path.exists():
        assert folder is not None, "the first student of a setting sees all rows"
        seen = {json.loads(line) for line in (folder / "train_ids.txt").read_text().splitlines()}
        ids = data.inputs(setting, "train")["ids"].tolist()
        path.write_text(json.dumps([row for row, id in enumerate(ids) if id not in seen]))
    return np.array(json.loads(path.read_text()))


def own_comparison(student: Student, features: np.ndarray) -> mp.Comparison:
    """The deployed student against the teacher on the held-out rows."""
    rows, whole = held_out(student.setting), data.inputs(student.setting, "train")
    teacher = data.features(student.setting, "train")[rows]
    return mp.compare(teacher, features, labels=whole["labels"][rows], ids=whole["ids"][rows])


# ---- all students


def take(student: Student) -> bool:
    """Train a student, unless another living process has it; whether it was trained."""
    lock = RECORDS / f"{student.name}.lock"
    RECORDS.mkdir(parents=True, exist_ok=True)
    try:
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        owner = lock.read_text()
        if not owner or Path(f"/proc/{owner}").exists():
            return False
    lock.write_text(str(os.getpid()))
    try:
        row = train(student)
    except InputError as error:  # such as a training that diverged
        row = {"name": student.name, "failed": str(error)}
    finally:
        lock.unlink(missing_ok=True)
    store(row)
    print(f"{time.strftime('%H:%M:%S')} {student.name}: {row.get('failed', row.get('cpu_seconds'))}", flush=True)
    return True


def store(row: dict[str, Any]) -> None:
    """Write a student's row, as a whole."""
    part = RECORDS / f"{row['name']}.part"
    part.write_text(json.dumps(row, indent=1) + "\n")
    part.replace(RECORDS / f"{row['name']}.json")


def work(until: float) -> None:
    """Train what is missing, the most important first, each after the runs that choose its learning rate."""
    for students in population():
        for student in students:
            if time.time() > until:
                return
            if record_of(student) is None:
                while missing := [run for run in rate_runs(student) if record_of(run) is None]:
                    if not any(take(run) for run in missing):
                        time.sleep(5)  # another process trains them
                take(student)


def write_table() -> None:
    """results/students.csv: the committed rows and those of runs/, a row a student."""
    rows = {} if committed().empty else committed().to_dict("index")
    for path in sorted(RECORDS.glob("*.json")):
        row = json.loads(path.read_text())
        rows[row.pop("name")] = row
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("name").sort_index()
    table["fault"] = table["fault"].replace("", "none").fillna("none")  # an empty cell would be read as missing
    TABLE.parent.mkdir(exist_ok=True)
    part = TABLE.with_suffix(".part")
    table.to_csv(part, float_format="%.6g")
    part.rename(TABLE)
    print(f"{len(table)} students in {TABLE.relative_to(data.HERE.parent.parent)}")


def moment(text: str) -> float:
    """The next time that the clock shows HH:MM, in seconds."""
    now = datetime.now()
    hour, minute = map(int, text.split(":"))
    then = now.replace(hour=hour, minute=minute, second=0)
    return (then if then > now else then + timedelta(days=1)).timestamp()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--until", type=moment, default=float("inf"), metavar="HH:MM", help="start no student after this"
    )
    parser.add_argument("--table", action="store_true", help="train nothing")
    arguments = parser.parse_args()
    os.chdir(data.HERE)
    warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)  # a linear probe on few labels
    if not arguments.table:
        work(arguments.until)
    write_table()


if __name__ == "__main__":
    sys.exit(main())
