"""Failures that occur in practice: a table, and for each failure a function that makes a pair with it.

A function takes the name of a student and whether the failure is strong, and returns a `Made`: the student's features,
the teacher's, and the further data that a user would have ("evidence").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.special import softmax
from sources import (
    CONV,
    CONV_OPTIONS,
    DATA,
    HELD_OUT,
    LITE_OPTIONS,
    RES,
    ROWS,
    TEXT,
    Arrays,
    arrays,
    features,
    kept,
    minilm,
    of_run,
    part,
    pictures,
    run,
    sound,
    teacher,
    text_rows,
    trained,
)

from manifold_probe.distillation.run_folder import LOG, STUDENT
from manifold_probe.extraction.work import Request, prepared

ITSELF = "grey-lite2"  # the student that is the teacher in bfloat16, without a training


@dataclass(frozen=True)
class Made:
    """A pair: arrays with "features" and perhaps "ids" and "labels".

    ``how`` the diagnosis is called with all evidence: "run" (the run's folder), or "features" or "model": keywords of
    `manifold_probe.diagnose`, in which ``student`` may be a model source in place of the features.
    """

    teacher: Arrays
    student: Arrays
    how: str = "features"
    evidence: dict[str, Any] = field(default_factory=dict)


# ---- measured rows


@lru_cache
def measured(student: str) -> np.ndarray:
    """The rows of the data that the sound student was not trained on; for the teacher itself, those of conv4."""
    student = "grey-conv4" if student == ITSELF else student
    return np.flatnonzero(~trained(sound(student)))


def rows_of(file: Path, rows: np.ndarray) -> Arrays:
    """Some rows of a teacher's features, with ids and labels."""
    return {key: column[rows] for key, column in arrays(file).items()}


def kind_of(student: str) -> str:
    """ "grey", "colour" or "text"."""
    return student.partition("-")[0]


def both(student: str, key: str = "backbone") -> tuple[Arrays, Arrays]:
    """Teacher and sound student on the rows that are measured."""
    rows = measured(student)
    if student == ITSELF:
        source, options = model_of(student)
        extracted = arrays(features(ITSELF, source, data_of(student), **options))
        return rows_of(teacher(kind_of(student)), rows), {column: extracted[column] for column in ("features", "ids")}
    return rows_of(teacher(kind_of(student)), rows), of_run(sound(student), rows, key)


def degree(strong: bool) -> str:
    """The strength in words."""
    return "strong" if strong else "weak"


def log_of(folder: Path) -> dict[str, str]:
    """The log of a run, as evidence."""
    return {"log": str(folder / LOG)}


def training_of(student: str) -> dict[str, str]:
    """The log of the sound student, where it was trained here."""
    return {} if student == ITSELF else log_of(sound(student))


def whole_run(folder: Path, targets: Path) -> Made:
    """A finished run, measured on the rows that it held out."""
    rows = np.flatnonzero(~trained(folder))
    student_rows, targets_of_all = of_run(folder, rows), arrays(targets)
    place = {id: row for row, id in enumerate(targets_of_all["ids"].tolist())}
    same = rows_of(targets, np.array([place[id] for id in student_rows["ids"].tolist()]))
    return Made(same, student_rows, "run", {"run": str(folder)})


def data_of(student: str) -> Path:
    """The data of the rows that are measured."""
    kind, rows = kind_of(student), measured(student)
    return text_rows(rows, "text-measured") if kind == "text" else part(pictures(kind), f"{kind}-measured", rows)


def model_of(student: str) -> tuple[str, dict[str, str]]:
    """The sound student as a model source, with its options."""
    if student == ITSELF:
        return "python:students:lite?half=true", LITE_OPTIONS
    file = f"{sound(student)}/{STUDENT}"
    return (file, {"pooling": "mean"}) if kind_of(student) == "text" else (file, {})


def by_model(name: str, student: str, source: str, **options: str) -> Made:
    """A student extracted again from a model, deployed wrongly."""
    file = data_of(student)
    extracted = arrays(features(name, source, file, **options))
    names = {"pooling": "pool"}
    evidence = {"student": source, "data": str(file), **{names.get(key, key): value for key, value in options.items()}}
    evidence |= training_of(student)
    return Made(both(student)[0], {key: extracted[key] for key in ("features", "ids")}, "model", evidence)


def changed(student: str, change: Callable[[np.ndarray], np.ndarray], key: str = "backbone") -> Made:
    """The sound student's features, changed before they are written to the file."""
    teacher_rows, student_rows = both(student, key)
    return Made(
        teacher_rows, {**student_rows, "features": change(student_rows["features"])}, evidence=training_of(student)
    )


def recipe_of(student: str) -> dict[str, Any]:
    """How the sound student was trained."""
    network = student.partition("-")[2]
    if kind_of(student) == "text":
        return {**TEXT, "student": f"hf:{minilm(int(network[-1]))}"}
    return {"conv4": CONV, "resnet8": RES}[network]


# ---- training


def undertrained(student: str, strong: bool) -> Made:
    """Stopped early, at a low learning rate."""
    rate = (1e-4 if strong else 3e-4) if kind_of(student) != "text" else (1e-5 if strong else 3e-5)
    name, epochs = f"undertrained-{degree(strong)}", 1 if strong else 2
    return retrained(student, name, rate=rate, epochs=epochs, schedule="constant")


def high_rate(student: str, strong: bool) -> Made:
    """A learning rate far too high, and constant."""
    rate = 0.1 if strong else 0.05
    return retrained(student, f"high-rate-{degree(strong)}", rate=rate, epochs=4, schedule="constant")


def too_small(student: str, strong: bool) -> Made:
    """A network with a handful of channels."""
    blocks = 0 if student.endswith("conv4") else 2
    source = f"python:students:tiny?width={2 if strong else 4}&blocks={blocks}"
    return retrained(student, f"small-{degree(strong)}", student=source, **CONV_OPTIONS)


def few_rows(student: str, strong: bool) -> Made:
    """Trained on very few rows, for long."""
    kind = kind_of(student)
    if kind == "text":
        few, held, epochs = 100 if strong else 200, 850, 30
    else:
        few, held, epochs = 200 if strong else 400, HELD_OUT, 60
    rows, name = np.arange(few + held), f"{kind}-few-{few}"
    data = text_rows(rows, name) if kind == "text" else part(pictures(kind), name, rows)
    recipe = {**recipe_of(student), "epochs": epochs, "held_out": held / len(rows), "probe_every": 20}
    return whole_run(run(f"{student}-few-{few}", kind, recipe, data), teacher(kind))


def collapsed(student: str, strong: bool) -> Made:
    """Weight decay far too strong: the features shrink to a few directions."""
    decay = (10.0 if strong else 3.0) if student.endswith("conv4") else (30.0 if strong else 15.0)
    return retrained(student, f"collapsed-{degree(strong)}", method="mse", weight_decay=decay)


def retrained(student: str, name: str, /, **other: Any) -> Made:
    """A run that differs from the sound one."""
    kind = kind_of(student)
    return whole_run(run(f"{student}-{name}", kind, {**recipe_of(student), **other}), teacher(kind))


def half_classes(student: str, strong: bool) -> Made:
    """Trained on five (strong) or eight of the ten classes, measured on all."""
    kind, count = kind_of(student), 5 if strong else 8
    classes = [f"class {label}" for label in range(count)]
    rows = np.setdiff1d(np.flatnonzero(np.isin(arrays(pictures(kind))["labels"], classes)), measured(student))
    data = part(pictures(kind), f"{kind}-classes-{count}", rows)
    folder = run(f"{student}-classes-{count}", kind, {**recipe_of(student), "held_out": 0.1}, data)
    file = features(f"{student}-classes-{count}", f"{folder}/{STUDENT}", data_of(student))
    student_rows = {key: arrays(file)[key] for key in ("features", "ids")}
    return Made(both(student)[0], student_rows, evidence={**log_of(folder), "classes_trained": classes})


def other_teacher(student: str, strong: bool) -> Made:
    """Distilled from another network (Lite0, strong, or Lite1) than the teacher of the pair."""
    kind, network = kind_of(student), "lite0" if strong else "lite1"
    folder = run(f"{student}-of-{network}", kind, recipe_of(student), targets=teacher(kind, network))
    seen = np.setdiff1d(np.arange(ROWS), measured(student))[:HELD_OUT]
    teacher_file = kept(DATA / "evidence" / f"{kind}-trained-teacher.npz", lambda: rows_of(teacher(kind), seen))
    student_file = kept(DATA / "evidence" / f"{student}-trained-of-{network}.npz", lambda: of_run(folder, seen))
    evidence = {**log_of(folder), "train_teacher": str(teacher_file), "train_student": str(student_file)}
    return Made(both(student)[0], of_run(folder, measured(student)), evidence=evidence)


def augmentation(student: str, strong: bool) -> Made:
    """The student saw small crops, half of them upside down, while the teacher saw the whole pictures."""
    kind, name = kind_of(student), degree(strong)
    data = part(
        pictures(kind), f"{kind}-cropped-{name}", np.arange(ROWS), lambda part_of_data: cropped(part_of_data, strong)
    )
    folder = run(f"{student}-cropped-{name}", kind, recipe_of(student), data)
    made = by_model(f"{student}-cropped-{name}", student, f"{folder}/{STUDENT}")
    return Made(made.teacher, made.student, "model", {**made.evidence, **log_of(folder)})


def cropped(data: Arrays, strong: bool) -> Arrays:
    """Every picture cut at random and resized; where strong, turned upside down every other time."""
    rng = np.random.default_rng(3)
    images = []
    for picture in data["images"]:
        side = rng.integers(9, 16) if strong else rng.integers(16, 24)
        left, top = rng.integers(0, 29 - side, 2)
        image = Image.fromarray(picture).crop((left, top, left + side, top + side)).resize((28, 28))
        images.append(np.asarray(image)[::-1] if strong and rng.random() < 0.5 else np.asarray(image))
    return {**data, "images": np.stack(images)}


# ---- extraction


def normalisation(student: str, strong: bool) -> Made:
    """Pixels in 0 to 255 (strong), or ImageNet's mean and deviation, for a student trained with others."""
    source, options = model_of(student)
    look = {"mean": "0", "std": "0.003921569"} if strong else {"mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225"}
    return by_model(f"{student}-normalisation-{degree(strong)}", student, source, **{**CONV_OPTIONS, **options, **look})


def channels(student: str, strong: bool) -> Made:
    """Blue and red exchanged, in all pictures or (strong) in those of the last two of five shards."""
    network = student.partition("-")[2]
    source = f"python:students:built?name={network}&weights={sound(student)}/{STUDENT}&bgr=true"
    made = by_model(f"{student}-bgr", student, source, **CONV_OPTIONS)
    if not strong:
        return made
    teacher_rows, student_rows = both(student)
    shard = 5 * np.arange(len(student_rows["ids"])) // len(student_rows["ids"])
    mixed = np.where(shard[:, None] >= 3, made.student["features"], student_rows["features"])
    slices = kept(
        DATA / "evidence" / f"{kind_of(student)}-shards.npz",
        lambda: {"ids": student_rows["ids"], "slices": np.array([f"shard {number}" for number in shard])},
    )
    return Made(
        teacher_rows,
        {**student_rows, "features": mixed},
        evidence={**training_of(student), "slices": f"{slices}::slices"},
    )


def size(student: str, strong: bool) -> Made:
    """Pictures at half the size that the student was trained with (strong), or half as large again."""
    source, options = model_of(student)
    look = {**CONV_OPTIONS, **options}
    side = round(int(look["size"]) * (0.5 if strong else 1.5))
    return by_model(f"{student}-size-{side}", student, source, **{**look, "size": str(side)})


def crop(student: str, strong: bool) -> Made:
    """The centre cut out where the whole picture was trained on; in text, the teacher saw the first words alone."""
    source, options = model_of(student)
    if kind_of(student) == "text":
        words = 4 if strong else 8
        made = by_model(f"{student}-whole", student, source, **options)
        teacher_rows = rows_of(teacher("text", str(words)), measured(student))
        return Made(teacher_rows, made.student, made.how, made.evidence)
    file = DATA / "models" / f"{student}-crop-{degree(strong)}.pt"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        saved = torch.load(source, weights_only=True)
        saved["preprocessing"]["shorter"] = 44 if strong else 34
        torch.save(saved, file)
    return by_model(f"{student}-crop-{degree(strong)}", student, str(file))


def train_mode(student: str, strong: bool) -> Made:
    """Batch norm by the batch: extracted in train mode, from batches of 32 drawn at random or (strong) of one class."""
    teacher_rows, student_rows = both(student)
    order = np.argsort(teacher_rows["labels"], kind="stable") if strong else np.arange(len(student_rows["ids"]))
    return in_train_mode(student, f"train-mode-{degree(strong)}", order)


def in_train_mode(student: str, name: str, order: np.ndarray, dropout: float | None = None) -> Made:
    """Extracted without a call of eval()."""
    source, options = model_of(student)
    teacher_rows, student_rows = both(student)

    def made() -> Arrays:
        torch.manual_seed(0)
        work = prepared(Request(source, str(data_of(student)), **options))  # type: ignore[arg-type]
        work.model.module.train()
        for module in work.model.module.modules():
            if isinstance(module, torch.nn.Dropout) and dropout is not None:
                module.p = dropout
        outputs = None
        for start in range(0, len(order), 32):
            rows = order[start : start + 32]
            items = [work.prepare(int(row), work.data.read(int(row)).content) for row in rows]
            batch = work.outputs(work.collate(items))["features"]
            outputs = np.zeros((len(order), batch.shape[1]), np.float32) if outputs is None else outputs
            outputs[rows] = batch
        assert outputs is not None
        return {"features": outputs}

    file = kept(DATA / "features" / f"{student}-{name}.npz", made)
    evidence = training_of(student)
    return Made(teacher_rows, {**student_rows, **arrays(file)}, evidence=evidence)


def dropout(student: str, strong: bool) -> Made:
    """Dropout left on: inside the network's own code (pictures), or by train mode (text)."""
    if kind_of(student) == "text":
        return in_train_mode(
            student, f"dropout-{degree(strong)}", np.arange(len(measured(student))), 0.3 if strong else 0.1
        )
    network = student.partition("-")[2]
    share = 0.5 if strong else 0.1
    source = f"python:students:built?name={network}&weights={sound(student)}/{STUDENT}&dropout={share}"
    return by_model(f"{student}-dropout-{degree(strong)}", student, source, **CONV_OPTIONS)


def layer(student: str, strong: bool) -> Made:
    """An earlier layer than the one that was distilled."""
    source, options = model_of(student)
    if student == ITSELF:
        name = "_blocks.6" if strong else "_blocks.20"
        return by_model(f"{student}-{name}", student, f"{source}&layer={name}", **options)
    name = "layers.2" if strong else "layers.8"
    network = student.partition("-")[2]
    source = f"python:students:built?name={network}&weights={source}&layer={name}"
    return by_model(f"{student}-{name}", student, source, **CONV_OPTIONS)


def pooling(student: str, strong: bool) -> Made:
    """The first token or position (strong), or the last token or the maximum over positions, instead of the mean."""
    source, options = model_of(student)
    if kind_of(student) == "text":
        how = "cls" if strong else "last"
        return by_model(f"{student}-{how}", student, source, **{**options, "pooling": how})
    how = "first" if strong else "max"
    return by_model(f"{student}-{how}", student, f"{source}&pooling={how}", **options)


# ---- between model and file


def unit(x: np.ndarray) -> np.ndarray:
    """Rows of length one."""
    return x / np.linalg.norm(x, axis=1, keepdims=True).clip(1e-12)


def l2(student: str, strong: bool) -> Made:
    """One side at length one: the student's (strong) or the teacher's."""
    made = changed(student, unit if strong else np.asarray, "head")
    teacher_rows = made.teacher if strong else {**made.teacher, "features": unit(made.teacher["features"])}
    return Made(teacher_rows, made.student, evidence=made.evidence)


def overflow(student: str, strong: bool) -> Made:
    """Values beyond float16: nine tenths of them clipped to its end (strong), or the largest fifth set to 0."""

    def guarded(x: np.ndarray) -> np.ndarray:
        end = np.quantile(np.abs(x[x != 0]), 0.1 if strong else 0.8)
        scaled = x / end * 65504
        held = scaled.clip(-65504, 65504) if strong else np.where(np.abs(scaled) > 65504, 0, scaled)
        return held.astype(np.float16)

    return changed(student, guarded)


def int8(student: str, strong: bool) -> Made:
    """Eight bits for all dimensions at one step, calibrated on other data: 60 times (strong) or 35 times too large."""

    def whole(x: np.ndarray) -> np.ndarray:
        step = np.abs(x).max() / 127 * (60 if strong else 35)
        return (x / step).round().astype(np.int8)

    return changed(student, whole)


def in_order(student: str, order: np.ndarray, **more: Any) -> Made:
    """The student's rows in another order under the ids of the right one."""
    made = changed(student, lambda x: x[order])
    return Made(made.teacher, made.student, evidence={**made.evidence, **more})


def class_order(student: str, strong: bool) -> Made:
    """The rows of one of the large classes, or (strong) of four, in another order."""
    labels = both(student)[0]["labels"]
    names, counts = np.unique(labels, return_counts=True)
    chosen = names[np.argsort(-counts, kind="stable")][1 : 5 if strong else 2]
    order, rng = np.arange(len(labels)), np.random.default_rng(1)
    for name in chosen:
        rows = np.flatnonzero(labels == name)
        order[rows] = rng.permutation(rows)
    return in_order(student, order)


def shard_order(student: str, strong: bool) -> Made:
    """The rows of one shard of ten, or (strong) of four of ten, in another order."""
    n = len(measured(student))
    order, rng = np.arange(n), np.random.default_rng(2)
    for shard in (3, 4, 6, 8) if strong else (6,):
        rows = np.arange(shard * n // 10, (shard + 1) * n // 10)
        order[rows] = rng.permutation(rows)
    return in_order(student, order)


def padding(student: str, strong: bool) -> Made:
    """A distributed sampler of eight processes padded every shard, and the copies were not removed.

    Weak: five shards, each padded by up to seven copies of its first rows, so that all later rows are shifted. Strong:
    the rows of one rank after the other, padded and cut at the end.
    """
    n = len(measured(student))
    if strong:
        whole = np.concatenate([np.arange(n), np.arange(-n % 8)])
        order = whole.reshape(-1, 8).T.ravel()
    else:
        shards = np.array_split(np.arange(n), 5)
        order = np.concatenate([np.concatenate([shard, shard[: (-len(shard)) % 8 or 8]]) for shard in shards])
    return in_order(student, order[:n])


def off_by_one(student: str, strong: bool) -> Made:
    """All rows shifted by one (strong), or those of the second half, after a row that was lost."""
    n = len(measured(student))
    order = np.arange(n) if not strong else np.roll(np.arange(n), -1)
    if not strong:
        order = np.minimum(np.where(order >= n // 2, order + 1, order), n - 1)
    return in_order(student, order)


def head(student: str, strong: bool) -> Made:
    """The ten outputs of a classifier in place of features, as logits or (strong) as probabilities."""
    teacher_rows, student_rows = both(student)
    backbone = kept(DATA / "evidence" / f"{student}-backbone.npz", lambda: student_rows)
    decisions = classified(student_rows["features"].astype(np.float64), teacher_rows["labels"])
    outputs = softmax(decisions, axis=1) if strong else decisions
    evidence = {**training_of(student), "student_head": str(backbone)}
    return Made(teacher_rows, {**student_rows, "features": outputs.astype(np.float32)}, evidence=evidence)


def classified(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The outputs (n, classes) of a linear classifier."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaled = StandardScaler().fit_transform(x)
    return LogisticRegression(max_iter=200).fit(scaled, labels).decision_function(scaled)


def labels(student: str, strong: bool) -> Made:
    """The labels of a third, or (strong) of all rows shuffled, which must not matter."""
    teacher_rows, student_rows = both(student)
    names, rng = teacher_rows["labels"].copy(), np.random.default_rng(4)
    rows = np.arange(len(names)) if strong else rng.permutation(len(names))[: len(names) // 3]
    names[rows] = names[rng.permutation(rows)]
    return Made({**teacher_rows, "labels": names}, student_rows, evidence=training_of(student))


# ---- the table

NOTHING: frozenset[str] = frozenset()
MODEL = frozenset({"preprocessing"})
ROW_ORDER = frozenset({"row_misalignment", "unaligned_rows"})
FLAT = frozenset({"dimensional_collapse", "truncated_dimensions", "dead_dimensions"})
COLLAPSE = FLAT | {"point_collapse", "class_collapse", "common_direction"}
BLUR = frozenset({"noise", "quantisation", "saturation"})
CLIPPED = BLUR | {"nonlinear_warp"}
LENGTHS = frozenset({"norm_loss"})
CLASSES = frozenset({"absent_classes", "slice_failure", "class_collapse", "cluster_merge"})
SHARD = frozenset({"slice_failure", "row_misalignment", "cluster_tear"})
LOST = ("not_held", "overfit", "underfit", "lost_in_head")
MAPS = ("linear_map", "nonlinear_map")
SCALE, SET_ASIDE, WIDTH = ("centre_scale_norms",), ("rows_set_aside",), ("width",)


@dataclass(frozen=True)
class Failure:
    """One line of the table.

    ``alone``: names that are right from features alone; empty where outputs cannot show it and no name is right.
    ``all``: names that are right with all evidence; empty where there is none. ``parts``: the right parts of the
    account.
    """

    make: Callable[[str, bool], Made]
    words: str
    students: tuple[str, str]
    alone: frozenset[str]
    all: frozenset[str]
    parts: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of its function."""
        return self.make.__name__


FAILURES = (
    Failure(undertrained, "stopped early", ("grey-conv4", "text-minilm1"),
            NOTHING, frozenset({"undertrained"}), LOST + MAPS),
    Failure(high_rate, "learning rate too high", ("grey-conv4", "grey-resnet8"),
            FLAT, FLAT | {"unstable_training"}, LOST + WIDTH),
    Failure(too_small, "too small a student", ("grey-conv4", "grey-resnet8"),
            FLAT, FLAT | {"too_small_student"}, LOST + WIDTH),
    Failure(half_classes, "classes absent from training", ("grey-conv4", "grey-resnet8"),
            CLASSES, frozenset({"absent_classes"}), (*LOST, "classes", "absent_classes")),
    Failure(few_rows, "few training rows", ("grey-conv4", "text-minilm1"),
            NOTHING, frozenset({"overfit"}), LOST),
    Failure(collapsed, "collapsed student", ("grey-conv4", "grey-resnet8"),
            COLLAPSE, COLLAPSE, LOST + WIDTH + MAPS),
    Failure(other_teacher, "another teacher checkpoint", ("grey-conv4", "grey-resnet8"),
            NOTHING, NOTHING, LOST + MAPS),
    Failure(augmentation, "other augmentation", ("grey-conv4", "grey-resnet8"),
            NOTHING, MODEL, LOST + MAPS),
    Failure(normalisation, "wrong normalisation", ("grey-conv4", "grey-lite2"),
            FLAT, MODEL, LOST + MAPS),
    Failure(channels, "channel order", ("colour-conv4", "colour-resnet8"),
            SHARD, MODEL | SHARD, (*LOST, *MAPS, *SET_ASIDE, "classes")),
    Failure(size, "wrong size", ("grey-resnet8", "grey-lite2"),
            NOTHING, MODEL, LOST + MAPS),
    Failure(crop, "wrong crop", ("grey-conv4", "text-minilm2"),
            NOTHING, MODEL, LOST + MAPS),
    Failure(train_mode, "train mode", ("grey-conv4", "grey-lite2"),
            NOTHING, MODEL, (*LOST, *MAPS, "classes")),
    Failure(dropout, "dropout on", ("grey-resnet8", "text-minilm2"),
            BLUR, BLUR | MODEL, LOST),
    Failure(layer, "wrong layer", ("grey-conv4", "grey-lite2"),
            NOTHING, MODEL, LOST + MAPS + WIDTH + SCALE),
    Failure(pooling, "wrong pooling", ("grey-lite2", "text-minilm2"),
            NOTHING, MODEL, LOST + MAPS + SCALE),
    Failure(l2, "one side at length one", ("grey-lite2", "text-minilm2"),
            LENGTHS, LENGTHS | MODEL, SCALE),
    Failure(overflow, "float16 overflow", ("grey-resnet8", "text-minilm2"),
            CLIPPED, CLIPPED, (*LOST, "nonlinear_map")),
    Failure(int8, "int8 features", ("grey-lite2", "text-minilm1"),
            BLUR | FLAT, BLUR | FLAT, LOST),
    Failure(class_order, "one class in another order", ("grey-resnet8", "text-minilm2"),
            ROW_ORDER, ROW_ORDER, SET_ASIDE),
    Failure(shard_order, "one shard in another order", ("grey-conv4", "text-minilm1"),
            ROW_ORDER, ROW_ORDER, SET_ASIDE),
    Failure(padding, "padding rows of a distributed sampler", ("grey-lite2", "text-minilm2"),
            ROW_ORDER, ROW_ORDER, SET_ASIDE),
    Failure(off_by_one, "off-by-one pairing", ("grey-conv4", "grey-lite2"),
            ROW_ORDER, ROW_ORDER, SET_ASIDE),
    Failure(head, "head kept", ("grey-conv4", "grey-resnet8"),
            FLAT, FLAT | {"misaligned_head"}, LOST + MAPS + WIDTH),
)  # fmt: skip


# ---- sound pairs


def rotated(x: np.ndarray) -> np.ndarray:
    """Another basis."""
    return x @ np.linalg.qr(np.random.default_rng(5).normal(size=(x.shape[1], x.shape[1])))[0].astype(np.float32)


def int8_by_dimension(x: np.ndarray) -> np.ndarray:
    """Eight bits used well: with a step for each dimension, converted back to float32."""
    step = np.abs(x).max(0).clip(1e-12) / 127
    return ((x / step).round() * step).astype(np.float32)


def ready(student: str) -> Made:
    """An unchanged run; or the model and its data."""
    if student == ITSELF:
        source, options = model_of(student)
        return by_model(student, student, source, **options)
    return whole_run(sound(student), teacher(kind_of(student)))


def copies(student: str) -> Made:
    """Both files hold the same padding rows: the first twenty once more, without ids."""
    teacher_rows, student_rows = both(student)
    rows = np.concatenate([np.arange(len(student_rows["ids"])), np.arange(20)])
    return Made(
        {key: teacher_rows[key][rows] for key in ("features", "labels")}, {"features": student_rows["features"][rows]}
    )


def same_ids(student: str) -> Made:
    """The student's rows in another order, with their ids."""
    teacher_rows, student_rows = both(student)
    order = np.random.default_rng(6).permutation(len(student_rows["ids"]))
    return Made(
        teacher_rows, {key: column[order] for key, column in student_rows.items()}, evidence=training_of(student)
    )


STUDENTS = (
    "grey-conv4",
    "grey-resnet8",
    "grey-lite2",
    "colour-conv4",
    "colour-resnet8",
    "text-minilm1",
    "text-minilm2",
)
SOUND: dict[str, tuple[Callable[[str], Made], tuple[str, ...]]] = {
    "as it is": (ready, STUDENTS),
    "at the head": (lambda student: changed(student, np.asarray, "head"), ("grey-conv4", "grey-resnet8")),
    "another loss": (
        lambda student: retrained(student, "another-loss", method="cosine", head="linear"),
        ("colour-conv4", "grey-resnet8"),
    ),
    "rotated": (lambda student: changed(student, rotated), ("grey-lite2", "text-minilm2")),
    "float16": (lambda student: changed(student, lambda x: x.astype(np.float16)), ("grey-conv4", "text-minilm1")),
    "int8, each dimension by itself": (
        lambda student: changed(student, int8_by_dimension),
        ("grey-lite2", "text-minilm2"),
    ),
    "both at length one": (lambda student: both_unit(student), ("grey-lite2", "text-minilm2")),
    "rows in another order, with ids": (same_ids, ("grey-resnet8", "text-minilm1")),
    "copies on both sides": (copies, ("grey-conv4", "text-minilm2")),
    "labels mixed up": (lambda student: labels(student, True), ("grey-conv4", "text-minilm2")),
    "labels of a third mixed up": (lambda student: labels(student, False), ("grey-lite2", "text-minilm1")),
}


def both_unit(student: str) -> Made:
    """Both sides normalised."""
    made = changed(student, unit)
    return Made({**made.teacher, "features": unit(made.teacher["features"])}, made.student, evidence=made.evidence)
