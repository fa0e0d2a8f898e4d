"""With the models at hand: extract a few hundred rows again under one changed condition at a time, and see which change
brings faithfulness back.

Features alone cannot tell a weak student from one that was shown swapped channels. Each condition is an experiment:
the same rows, the same weights, one thing different; the gain in overlap@10 is paired over rows and corrected for the
number of conditions tried (Holm).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

from manifold_probe.diagnosis.advice import ADVICE
from manifold_probe.diagnosis.faithfulness import CORRECTION, nearest, shape_likeness, shared
from manifold_probe.errors import InputError
from manifold_probe.extraction.work import Work
from manifold_probe.models.layers import capture, list_layers
from manifold_probe.models.load import forward
from manifold_probe.models.pooling import pool
from manifold_probe.models.preprocessing import ImagePreprocessing
from manifold_probe.spaces.space import Space

ROWS = 300
BATCH = 50
WORTH = 0.05  # overlap regained, at least
SIGNIFICANCE = 0.01
SCALES: dict[str, tuple[Any, Any]] = {  # (mean, std) of pixels in 0..1 that models are commonly trained with
    "pixels in 0..1": (0.0, 1.0),
    "mean and std 0.5": (0.5, 0.5),
    "ImageNet's mean and std": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "pixels in 0..255": (0.0, 1 / 255),
}
SIZES = (0.5, 2.0)
WORDS = (8, 32, 128)
LAYERS = 6


@dataclass(frozen=True)
class Condition:
    """One thing that is different: preprocessing, prepared batch, mode, pooling, layer, type, or length."""

    name: str
    preprocessing: Any = None
    change: Callable[[Any], Any] | None = None
    train: bool = False
    pooling: str | None = None
    layer: str | None = None
    half: bool = False
    words: int | None = None


@dataclass(frozen=True)
class Trial:
    """What a condition gave: overlap@10 and CKA against the teacher, the gain over the present, and its p value."""

    name: str
    overlap: float
    cka: float
    gain: float
    error: float
    p: float | None
    why_not: str | None = None


def conditions(work: Work, item: Any, teachers: ImagePreprocessing | None = None) -> Iterator[Condition]:
    """What is worth a try for this model; ``teachers`` is how the teacher's images were prepared."""
    look = work.model.preprocessing
    yield Condition("train mode", train=True)
    yield Condition("half precision", half=True)
    if isinstance(look, ImagePreprocessing):
        if teachers is not None and teachers.record() != look.record() and teachers.channels == look.channels:
            yield Condition("the teacher's preprocessing", preprocessing=teachers)
        if look.channels == 3:
            yield Condition("channels reversed (RGB and BGR)", change=lambda batch: batch.flip(1))
        for name, (mean, std) in SCALES.items():
            if look.channels == 3 or not isinstance(mean, tuple):
                other = replace(look, mean=mean, std=std)
                if other.record() != look.record():
                    yield Condition(name, preprocessing=other)
        for factor in SIZES:
            side = max(8, round(look.size * factor))
            yield Condition(f"images of {side} pixels", preprocessing=replace(look, size=side, shorter=None))
        if look.shorter is None:
            shorter = max(look.size + 1, round(look.size / 0.875))
            yield Condition("centre crop", preprocessing=replace(look, shorter=shorter))
        else:
            yield Condition("whole image squeezed", preprocessing=replace(look, shorter=None))
    else:
        for words in WORDS:
            yield Condition(f"texts cut to {words} words", words=words)
    shape = _raw(work, item).shape
    if len(shape) > 2:
        for how in ("cls", "mean") if len(shape) == 3 else ("mean",):
            if how != work.plan["pooling"]:
                yield Condition(f"pooling {how}", pooling=how)
    for name in _layers(work, item):
        yield Condition(f"layer {name}", layer=name, pooling=work.plan["pooling"] or "mean")


def intervene(
    work: Work, teacher: np.ndarray, rows: np.ndarray, k: int = 10, teachers: ImagePreprocessing | None = None
) -> list[Trial]:
    """Every condition tried on the student of ``work``; the first trial is the present, the rest best first.

    Parameters
    ----------
    work : Work
        The student's request, prepared.
    teacher : np.ndarray, shape (r, d)
        The teacher's features of ``rows``.
    rows : np.ndarray of int, shape (r,)
        Rows of the data; a few hundred.
    k : int
    teachers : ImagePreprocessing, optional
        How the teacher's images were prepared: a condition of its own.

    Raises
    ------
    InputError
        When nothing can be extracted under the present condition.
    """
    if len(rows) < 5 * k:
        raise InputError(f"{work.request.data}: {len(rows)} rows are too few to intervene; at least {5 * k} are needed")
    items = [work.data.read(int(row)).content for row in rows]
    asked = np.arange(len(rows))
    theirs = nearest(teacher, asked, k, "cosine")

    def kept(features: np.ndarray) -> np.ndarray:
        own = nearest(features, asked, k, "cosine")
        return shared(theirs, own)

    present = extracted(work, items, Condition("as it is"))
    now = kept(present)
    trials = []
    for condition in conditions(work, items[0], teachers):
        try:
            found = extracted(work, items, condition)
            if not np.isfinite(found).all():
                raise InputError("values that are not finite")
        except (InputError, RuntimeError, ValueError) as problem:
            why = " ".join(str(problem).split())[:120]
            trials.append(Trial(condition.name, float("nan"), float("nan"), float("nan"), 0.0, None, why))
            continue
        then = kept(found)
        steps = then - now
        error = max(CORRECTION * float(steps.std(ddof=1) / np.sqrt(len(steps))), 1e-6)
        value = float(steps.mean())
        trials.append(
            Trial(
                condition.name,
                float(then.mean()),
                shape_likeness(teacher, found),
                value,
                error,
                float(norm.sf(value / error)),
            )
        )
    trials = holm(trials)
    trials.sort(key=lambda trial: -np.nan_to_num(trial.gain, nan=-9.0))
    return [Trial("as it is", float(now.mean()), shape_likeness(teacher, present), 0.0, 0.0, None), *trials]


def restored(trials: list[Trial]) -> Trial | None:
    """The condition that brings faithfulness back, if one does."""
    good = [trial for trial in trials[1:] if trial.p is not None and trial.p < SIGNIFICANCE and trial.gain >= WORTH]
    return max(good, key=lambda trial: trial.gain, default=None)


def cause_of(trials: list[Trial], k: int = 10) -> dict[str, Any] | None:
    """The cause "preprocessing" as a diagnosis holds it, where one condition brings faithfulness back."""
    found = restored(trials)
    if found is None:
        return None
    now = trials[0].overlap
    return {
        "name": "preprocessing",
        "confidence": float(1 - (found.p or 0.0)),
        "share": float(min(1.0, found.gain / max(1 - now, 1e-3))),
        "evidence": [
            {"measure": f"overlap@{k}, {trial.name}", "value": trial.overlap, "expected": None} for trial in trials[1:4]
        ],
        "repair": {
            "name": f"extracted again: {found.name}",
            "measure": f"overlap@{k}",
            "before": now,
            "after": found.overlap,
            "low": max(0.0, found.overlap - 1.96 * found.error),
            "high": min(1.0, found.overlap + 1.96 * found.error),
            "healthy_gain": 0.0,
        },
        "where": {"conditions": [found.name]},
        "advice": ADVICE["preprocessing"],
        "or": [],
    }


def recorded(trials: list[Trial]) -> list[dict[str, Any]]:
    """The trials as plain values; null where a condition could not be tried."""
    return [
        {
            name: None if isinstance(value, float) and not np.isfinite(value) else value
            for name, value in vars(each).items()
        }
        for each in trials
    ]


def intervened(
    work: Work, teacher: Space, seed: int = 0, k: int = 10, teachers: ImagePreprocessing | None = None
) -> list[Trial]:
    """`intervene` on a few hundred rows that the teacher's features hold, drawn from ``seed``."""
    ids = work.data.ids.tolist()
    if teacher.ids is None:
        known = np.arange(min(len(ids), teacher.n)) if len(ids) == teacher.n else np.array([], int)
        place = {int(row): int(row) for row in known}
    else:
        where = {str(id): row for row, id in enumerate(teacher.ids.tolist())}
        place = {row: where[id] for row, id in enumerate(ids) if id in where}
    rows = np.array(sorted(place))
    rows = rows[np.sort(np.random.default_rng([seed, 9]).permutation(len(rows))[:ROWS])]
    features = teacher.take(np.array([place[int(row)] for row in rows], dtype=int)).astype(np.float32)
    return intervene(work, features, rows, k, teachers)


def holm(trials: list[Trial]) -> list[Trial]:
    """The trials with p values corrected for their number (Holm 1979).

    >>> [round(t.p, 3) for t in holm([Trial("a", 0, 0, 0, 0, 0.01), Trial("b", 0, 0, 0, 0, 0.04)])]
    [0.02, 0.04]
    """
    tested = sorted((trial for trial in trials if trial.p is not None), key=lambda trial: trial.p or 0.0)
    worst, corrected = 0.0, {}
    for place, trial in enumerate(tested):
        worst = max(worst, min(1.0, (trial.p or 0.0) * (len(tested) - place)))
        corrected[trial.name] = worst
    return [trial if trial.p is None else replace(trial, p=corrected[trial.name]) for trial in trials]


@torch.no_grad()
def extracted(work: Work, items: list[Any], condition: Condition) -> np.ndarray:
    """Features (r, d) of some items under a condition; the model is as it was afterwards."""
    module, model = work.model.module, work.model
    changed = condition.train or condition.half
    before = {name: value.clone() for name, value in module.state_dict().items()} if changed else None
    found = []
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            if condition.train:
                module.train()
            if condition.half:
                module.bfloat16() if work.device.type == "cpu" else module.half()
            for start in range(0, len(items), BATCH):
                batch = _prepared(work, items[start : start + BATCH], condition)
                found.append(_embedded(work, batch, condition))
    finally:
        module.float().eval()
        if before is not None:
            module.load_state_dict(before)
        model.module = module
    return np.concatenate(found)


def _prepared(work: Work, items: list[Any], condition: Condition) -> Any:
    look = condition.preprocessing or work.model.preprocessing
    if isinstance(look, ImagePreprocessing):
        batch: Any = look.collate([look(item) for item in items]).to(work.device)
        if condition.half:
            batch = batch.to(torch.bfloat16 if work.device.type == "cpu" else torch.float16)
    else:
        assert look is not None
        items = [item if condition.words is None else " ".join(item.split()[: condition.words]) for item in items]
        batch = {name: value.to(work.device) for name, value in look.collate(items).items()}
    return batch if condition.change is None else condition.change(batch)


def _embedded(work: Work, batch: Any, condition: Condition) -> np.ndarray:
    mask = batch.get("attention_mask") if hasattr(batch, "get") else None
    name = condition.layer or (work.plan["layers"][0] if work.plan["layers"] else None)
    how = condition.pooling or work.plan["pooling"]
    if name is None:
        output = forward(work.model, batch, how)
    else:
        with capture(work.model.module, [name]) as found:
            forward(work.model, batch)
        output = found[name]
    values: np.ndarray = pool(output.float(), how, mask).float().cpu().numpy()
    return values


def _raw(work: Work, item: Any) -> Tensor:
    """The unpooled output for one item."""
    batch = _prepared(work, [item], Condition(""))
    with torch.no_grad():
        if not work.plan["layers"]:
            return forward(work.model, batch, work.plan["pooling"])
        with capture(work.model.module, work.plan["layers"][:1]) as found:
            forward(work.model, batch)
        return found[work.plan["layers"][0]]


def _layers(work: Work, item: Any) -> list[str]:
    """A few layers spread over the model's depth, the present one left out."""
    batch = _prepared(work, [item], Condition(""))
    try:
        found = [
            name
            for name, _, shape in list_layers(work.model, batch)
            if name and shape is not None and len(shape) in (2, 3, 4) and name not in work.plan["layers"]
        ]
    except InputError:
        return []
    chosen = np.unique(np.linspace(len(found) // 2, len(found) - 1, min(LAYERS, len(found))).round().astype(int))
    return [found[place] for place in chosen]
