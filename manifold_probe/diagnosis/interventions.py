"""Experiments on the models: extract a few hundred rows again under one changed condition at a time, and find the
change that restores faithfulness.

Features alone cannot distinguish a weak student from one that got swapped channels. Each condition is an experiment:
the same rows, the same weights, one change. The best condition is chosen on one half of the rows and evaluated on the
other, so that the choice does not bias the reported gain; its p values are corrected for the number of conditions
(Holm). A model that gives other vectors in a second pass has dropout, or other randomness, left on inside.

With the teacher's model too: which share of its neighbours does it keep in half precision, in a second pass, and with
images moved by one pixel? No student is expected to keep neighbours that the teacher does not keep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manifold_probe.diagnosis.accounting import Piece
from manifold_probe.diagnosis.lab import COSINE, EUCLIDEAN, MIN_LOSS, Evidence, Trial, likeness, paired, shared
from manifold_probe.diagnosis.training import CauseText, TrainingEvidence, cause, nearest, piece_of
from manifold_probe.engine.scale import at_unit_scale
from manifold_probe.errors import InputError
from manifold_probe.extraction.work import Work
from manifold_probe.measures.catalogue import OVERLAP, OVERLAP_EUCLIDEAN
from manifold_probe.models.layers import capture, list_layers
from manifold_probe.models.load import forward
from manifold_probe.models.pooling import pool
from manifold_probe.models.preprocessing import ImagePreprocessing
from manifold_probe.parts import Progress, silent
from manifold_probe.spaces.pairing import Pair

TRIED_ROWS = 300
BATCH_ROWS = 50
MIN_GAIN = 0.05  # of the overlap
SIGNIFICANCE = 0.01
SCALES: dict[str, tuple[Any, Any]] = {  # (mean, std) of pixels in 0..1 that are common in training
    "pixels in 0..1": (0.0, 1.0),
    "mean and std 0.5": (0.5, 0.5),
    "ImageNet's mean and std": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "pixels in 0..255": (0.0, 1 / 255),
}
SIZE_FACTORS = (0.5, 2.0)
WORD_LIMITS = (8, 32, 128)
MAX_LAYERS = 6
MEAN_OF_PASSES = 8
MIN_DIFFERENCE = 1e-3  # of the spread of the rows: two passes of a deterministic model differ by less
MAX_LENGTH_DEVIATION = 1e-3  # of the mean length: below, rows are normalised

INPUT_CAUSE = CauseText(
    "inputs were prepared in another way",
    "Extract the student's features again under the condition that restored them.",
    "Features extracted under that condition, of all rows, keep no more.",
)
READING_CAUSE = CauseText(
    "the model was read or run in another way than in its training",
    "Extract the student's features again at the layer, with the pooling, mode or precision that restored them.",
    INPUT_CAUSE.falsified_by,
)
DROPOUT_CAUSE = CauseText(
    "two passes of the same rows differ: dropout, or other randomness, is left on inside the model",
    "Call model.eval(), and look for torch.nn.functional.dropout without training=self.training.",
    "Two passes of the same rows give the same vectors.",
)
LENGTH_CAUSE = CauseText(
    "one side is L2-normalised and the other is not",
    "Normalise both sides, or neither, before Euclidean distances are taken.",
    "Euclidean neighbours are the same once both sides are normalised.",
)


@dataclass(frozen=True)
class Models:
    """The models that can be run again: the student's on its data, and perhaps the teacher's.

    ``rows`` (n,) is the place in the data of every row of the pair, -1 for none. ``recipe`` is the preparation of the
    teacher's images, where that is known.
    """

    student: Work
    rows: np.ndarray
    teacher: Work | None = None
    recipe: ImagePreprocessing | None = None


@dataclass(frozen=True)
class Condition:
    """One change: of preprocessing, prepared batch, mode, pooling, layer, type, length, number of passes, functional
    dropout, or the side that is L2-normalised."""

    name: str
    preprocessing: Any = None
    change: Callable[[Any], Any] | None = None
    train: bool = False
    pooling: str | None = None
    layer: str | None = None
    half: bool = False
    words: int | None = None
    passes: int = 1
    still: bool = False
    unit: str | None = None

    @property
    def declared(self) -> CauseText:
        """The cause, in words, for a student that this condition restores."""
        if self.passes > 1 or self.still:
            return DROPOUT_CAUSE
        if self.unit is not None:
            return LENGTH_CAUSE
        return READING_CAUSE if self.layer or self.pooling or self.train or self.half else INPUT_CAUSE


@dataclass(frozen=True)
class Tried:
    """The result of a condition: overlap@k and CKA of all rows; the gain over the present condition on the rows that
    did not choose it, its standard error and corrected p value; and ``chosen_by``, the gain on the rows that chose."""

    name: str
    overlap: float
    cka: float
    gain: float
    error: float
    p: float | None
    why_not: str | None = None
    chosen_by: float = 0.0
    condition: Condition | None = None
    trial: Trial | None = None


def conditions(work: Work, item: Any, teachers: ImagePreprocessing | None = None) -> Iterator[Condition]:
    """The conditions to try for this model; ``teachers`` is the preparation of the teacher's images."""
    preprocessing = work.model.preprocessing
    yield Condition("train mode", train=True)
    yield Condition("half precision", half=True)
    if isinstance(preprocessing, ImagePreprocessing):
        if (
            teachers is not None
            and teachers.record() != preprocessing.record()
            and teachers.channels == preprocessing.channels
        ):
            yield Condition("the teacher's preprocessing", preprocessing=teachers)
        if preprocessing.channels == 3:
            yield Condition("channels reversed (RGB and BGR)", change=lambda batch: batch.flip(1))
        for name, (mean, std) in SCALES.items():
            if preprocessing.channels == 3 or not isinstance(mean, tuple):
                changed = replace(preprocessing, mean=mean, std=std)
                if changed.record() != preprocessing.record():
                    yield Condition(name, preprocessing=changed)
        for factor in SIZE_FACTORS:
            side = max(8, round(preprocessing.size * factor))
            yield Condition(f"images of {side} pixels", preprocessing=replace(preprocessing, size=side, shorter=None))
        if preprocessing.shorter is None:
            shorter = max(preprocessing.size + 1, round(preprocessing.size / 0.875))
            yield Condition("centre crop", preprocessing=replace(preprocessing, shorter=shorter))
        else:
            yield Condition("whole image squeezed", preprocessing=replace(preprocessing, shorter=None))
        interpolation = "bicubic" if preprocessing.interpolation == "bilinear" else "bilinear"
        yield Condition(
            f"{interpolation} interpolation", preprocessing=replace(preprocessing, interpolation=interpolation)
        )
    else:
        for words in WORD_LIMITS:
            yield Condition(f"texts cut to {words} words", words=words)
    shape = _raw(work, item).shape
    if len(shape) > 2:
        for pooling in ("cls", "mean") if len(shape) == 3 else ("mean",):
            if pooling != work.plan["pooling"]:
                yield Condition(f"pooling {pooling}", pooling=pooling)
    for name in _layers(work, item):
        yield Condition(f"layer {name}", layer=name, pooling=work.plan["pooling"] or "mean")


def intervene(
    work: Work,
    teacher: np.ndarray,
    rows: np.ndarray,
    k: int = 10,
    teachers: ImagePreprocessing | None = None,
    progress: Progress = silent,
) -> list[Tried]:
    """Every condition tried on the student of ``work``; the present condition first, the others best first.

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
        The preparation of the teacher's images, tried as a condition.
    progress : callable

    Raises
    ------
    InputError
        When features cannot be extracted under the present condition.
    """
    if len(rows) < 5 * k:
        raise InputError(f"{work.request.data}: {len(rows)} rows are too few to intervene; at least {5 * k} are needed")
    items = [work.data.read(int(row)).content for row in rows]
    teacher = at_unit_scale(teacher)
    choosing = np.random.default_rng([len(rows), 13]).permutation(len(rows)) < len(rows) // 2
    present = extracted(work, items, Condition("as it is"))
    lists = {metric: _lists(teacher, k, metric) for metric in (COSINE, EUCLIDEAN)}
    now = {
        metric: shared(teacher_neighbours, _lists(present, k, metric)) for metric, teacher_neighbours in lists.items()
    }
    wanted = [*conditions(work, items[0], teachers), *_lengths(teacher, present)]
    if differs(present, extracted(work, items, Condition("once more"), seed=1)):
        wanted += [
            Condition("dropout off", still=True),
            Condition(f"mean of {MEAN_OF_PASSES} passes", passes=MEAN_OF_PASSES),
        ]
    tried = []
    for place, condition in enumerate(wanted):
        progress("trying the student under changed conditions", place, len(wanted))
        metric = COSINE if condition.unit is None else EUCLIDEAN
        measure = (OVERLAP if condition.unit is None else OVERLAP_EUCLIDEAN).named(k)
        try:
            features = present if condition.unit is not None else extracted(work, items, condition)
            if not np.isfinite(features).all():
                raise InputError("values that are not finite")
        except (InputError, RuntimeError, ValueError) as problem:
            why = " ".join(str(problem).split())[:120]
            tried.append(Tried(condition.name, np.nan, np.nan, np.nan, 0.0, None, why))
            continue
        teacher_lists = _lists(unit(teacher), k, metric) if condition.unit == "teacher" else lists[metric]
        then = shared(teacher_lists, _lists(unit(features) if condition.unit == "student" else features, k, metric))
        before, after = now[metric], then
        name = f"extracted again: {condition.name}"
        loss = 1 - float(before[~choosing].mean())
        trial = paired(name, "undo", measure, before[~choosing], after[~choosing], loss)
        tried.append(
            Tried(
                condition.name,
                float(then.mean()),
                likeness(teacher, features),
                trial.after - trial.before,
                trial.error,
                trial.p,
                None,
                float((after - before)[choosing].mean()),
                condition,
                trial,
            )
        )
    tried = holm(tried)
    tried.sort(key=lambda result: -np.nan_to_num(result.gain, nan=-9.0))
    return [Tried("as it is", float(now[COSINE].mean()), likeness(teacher, present), 0.0, 0.0, None), *tried]


def restored(tried: list[Tried]) -> Tried | None:
    """The condition with the largest gain on the choosing rows, if the other rows gain too."""
    best = max(
        (result for result in tried[1:] if result.trial is not None), key=lambda result: result.chosen_by, default=None
    )
    return best if best is not None and helps(best) else None


def helps(tried: Tried) -> bool:
    """Whether a condition restores faithfulness on rows that did not choose it."""
    return tried.p is not None and tried.p < SIGNIFICANCE and tried.gain >= MIN_GAIN


def of_models(models: Models, pair: Pair, k: int, seed: int, progress: Progress | None = None) -> TrainingEvidence:
    """Evidence from the models: the cause ``preprocessing``, and the pieces ``lost_in_head`` (an earlier layer keeps
    more) and ``teacher_repeatability``.

    Raises
    ------
    InputError
        Too few rows of the pair are in the data, or features cannot be extracted.
    """
    watched = silent if progress is None else progress
    places = np.flatnonzero(models.rows >= 0)
    chosen = places[np.sort(np.random.default_rng([seed, 9]).permutation(len(places))[:TRIED_ROWS])]
    teacher, rows = pair.teacher.take(chosen).astype(np.float32), models.rows[chosen]
    tried = intervene(models.student, teacher, rows, k, models.recipe, watched)
    examined: dict[str, Any] = {"interventions": recorded(tried)}
    best = restored(tried)
    causes = [] if best is None else [_cause(best, tried)]
    steadied = [
        result for result in tried[1:] if result.condition is not None and result.condition.declared is DROPOUT_CAUSE
    ]
    if steadied and (best is None or best not in steadied):
        causes.append(
            _cause(max(steadied, key=lambda result: result.chosen_by), tried)
        )  # two passes differ: that is proof
    layers = [
        result for result in tried[1:] if result.condition is not None and result.condition.layer and helps(result)
    ]
    pieces = []
    if layers:
        earlier = max(layers, key=lambda result: result.chosen_by)
        assert earlier.trial is not None
        scale = 1 / max(1 - earlier.trial.before, MIN_LOSS)
        sentence = f"The student's {earlier.name} keeps this: read it there."
        pieces.append(piece_of("lost_in_head", earlier.trial, scale, sentence))
    if models.teacher is not None:
        watched("trying whether the teacher repeats itself", 0, 1)
        items = [models.student.data.read(int(row)).content for row in rows]
        student = extracted(models.student, items, Condition(""))
        piece, again = repeatability(models.teacher, rows, teacher, student, k)
        examined["teacher_repeatability"] = again
        pieces += [] if piece is None else [piece]
    return TrainingEvidence(causes, pieces, examined, ["preprocessing"])


def _cause(best: Tried, tried: list[Tried]) -> dict[str, Any]:
    assert best.trial is not None
    assert best.condition is not None
    evidence = [
        Evidence(f"{best.trial.measure}, {result.name}", result.overlap) for result in tried[1:4] if result.trial
    ]
    return cause(
        "preprocessing",
        best.trial,
        evidence,
        proved=True,
        where={"conditions": [best.name]},
        repair=True,
        declared=best.condition.declared,
    )


VIEWS = (
    Condition("a second pass"),
    Condition("half precision", half=True),
    Condition("images moved by one pixel", change=lambda batch: torch.roll(batch, 1, -1)),
)


def repeatability(
    work: Work, rows: np.ndarray, teacher: np.ndarray, student: np.ndarray, k: int
) -> tuple[Piece | None, dict[str, float]]:
    """The piece of the loss that the teacher has too: the share of the neighbours lost by the student that the teacher
    does not keep either; and the share of its neighbours that the teacher keeps, by condition."""
    items = [work.data.read(int(row)).content for row in rows]
    teacher_lists, student_lists = _lists(at_unit_scale(teacher), k), _lists(student, k)
    lost = ~(teacher_lists[:, :, None] == student_lists[:, None, :]).any(2)
    kept: dict[str, float] = {}
    best: tuple[str, np.ndarray] | None = None
    for condition in VIEWS:
        if condition.change is not None and not isinstance(work.model.preprocessing, ImagePreprocessing):
            continue
        try:
            again = _lists(extracted(work, items, condition, seed=2), k)
        except (InputError, RuntimeError, ValueError):
            continue
        unsteady = ~(teacher_lists[:, :, None] == again[:, None, :]).any(2)
        kept[condition.name] = float(1 - unsteady.mean())
        lost_by_both = (lost & unsteady).mean(1) / max(float(lost.mean()), MIN_LOSS)
        if best is None or lost_by_both.mean() > best[1].mean():
            best = condition.name, lost_by_both
    if best is None:
        return None, kept
    name, values = best
    proof = paired(name, "compared", OVERLAP.named(k), np.zeros(len(values)), values, 1.0)
    sentence = f"The teacher does not keep this itself ({name}): no student is expected to."
    return piece_of("teacher_repeatability", proof, 1.0, sentence), kept


def recorded(tried: list[Tried]) -> list[dict[str, Any]]:
    """The results as plain values; null where a condition could not be tried."""
    names = ("name", "overlap", "cka", "gain", "error", "p", "why_not")
    records = []
    for result in tried:
        values = {name: getattr(result, name) for name in names}
        unknown = {name: None for name, x in values.items() if isinstance(x, float) and not np.isfinite(x)}
        records.append(values | unknown)
    return records


def holm(tried: list[Tried]) -> list[Tried]:
    """The results with p values corrected for their number (Holm 1979).

    >>> [round(t.p, 3) for t in holm([Tried("a", 0, 0, 0, 0, 0.01), Tried("b", 0, 0, 0, 0, 0.04)])]
    [0.02, 0.04]
    """
    tested = sorted((result for result in tried if result.p is not None), key=lambda result: result.p or 0.0)
    worst, corrected = 0.0, {}
    for place, result in enumerate(tested):
        worst = max(worst, min(1.0, (result.p or 0.0) * (len(tested) - place)))
        corrected[result.name] = worst
    return [result if result.p is None else replace(result, p=corrected[result.name]) for result in tried]


def _lists(x: np.ndarray, k: int, metric: str = COSINE) -> np.ndarray:
    return nearest(x, np.arange(len(x)), k, metric)


def unit(x: np.ndarray) -> np.ndarray:
    """The rows at length 1."""
    rows: np.ndarray = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30)
    return rows


def _lengths(teacher: np.ndarray, student: np.ndarray) -> list[Condition]:
    """L2 normalisation of the side whose rows differ in length, where those of the other do not."""
    lengths = [np.linalg.norm(x, axis=1) for x in (teacher, student)]
    equal = [norms.std() < MAX_LENGTH_DEVIATION * norms.mean() for norms in lengths]
    if equal[0] == equal[1]:
        return []
    side = "teacher" if equal[1] else "student"
    return [Condition(f"the {side}'s vectors L2-normalised", unit=side)]


def differs(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two passes of the same rows gave other vectors."""
    return bool(np.abs(first - second).mean() > MIN_DIFFERENCE * first.std(0).mean())


def places_in(work: Work, ids: np.ndarray | None, n: int) -> np.ndarray:
    """(n,): the place in the data of every row with these ids, or in order where there are none; -1 for none.

    Raises
    ------
    InputError
        Where rows have no ids, and are not as many as the data's.
    """
    if ids is not None:
        return np.array([work.places.get(str(id), -1) for id in np.asarray(ids).tolist()], dtype=np.int64)
    if n != work.data.n:
        raise InputError(f"{work.request.data}: holds {work.data.n:,} items for {n:,} rows without ids; give ids")
    return np.arange(n)


@contextmanager
def without_dropout() -> Iterator[None]:
    """Functional dropout does nothing inside the block, for any arguments."""
    functional: Any = torch.nn.functional
    attention = functional.scaled_dot_product_attention

    def same(x: Tensor, *_: Any, **__: Any) -> Tensor:
        return x

    def still(query: Tensor, key: Tensor, value: Tensor, mask: Any = None, dropout_p: float = 0.0, **more: Any) -> Any:
        return attention(query, key, value, more.pop("attn_mask", mask), 0.0, **more)

    names = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
    changed = {**dict.fromkeys(names, same), "scaled_dot_product_attention": still}
    before = {name: getattr(functional, name) for name in changed}
    try:
        for name, function in changed.items():
            setattr(functional, name, function)
        yield
    finally:
        for name, function in before.items():
            setattr(functional, name, function)


@torch.no_grad()
def extracted(work: Work, items: list[Any], condition: Condition, seed: int = 0) -> np.ndarray:
    """Features (r, d) of some items under a condition; ``seed`` is for random numbers inside the model. The model is
    restored afterwards."""
    module, model = work.model.module, work.model
    changed = condition.train or condition.half
    before = {name: value.clone() for name, value in module.state_dict().items()} if changed else None
    passes = []
    try:
        with torch.random.fork_rng(devices=[]), without_dropout() if condition.still else nullcontext():
            torch.default_generator.manual_seed(seed)
            if condition.train:
                module.train()
            if condition.half:
                module.bfloat16() if work.device.type == "cpu" else module.half()
            for _ in range(condition.passes):
                batches = (items[start : start + BATCH_ROWS] for start in range(0, len(items), BATCH_ROWS))
                batch_features = [_embedded(work, _prepared(work, batch, condition), condition) for batch in batches]
                passes.append(np.concatenate(batch_features))
    finally:
        module.float().eval()
        if before is not None:
            module.load_state_dict(before)
        model.module = module
    return passes[0] if len(passes) == 1 else np.mean(passes, axis=0)


def _prepared(work: Work, items: list[Any], condition: Condition) -> Any:
    preprocessing = condition.preprocessing or work.model.preprocessing
    if isinstance(preprocessing, ImagePreprocessing):
        batch: Any = preprocessing.collate([preprocessing(item) for item in items]).to(work.device)
        if condition.half:
            batch = batch.to(torch.bfloat16 if work.device.type == "cpu" else torch.float16)
    else:
        assert preprocessing is not None
        items = [item if condition.words is None else " ".join(item.split()[: condition.words]) for item in items]
        batch = {name: value.to(work.device) for name, value in preprocessing.collate(items).items()}
    return batch if condition.change is None else condition.change(batch)


def _embedded(work: Work, batch: Any, condition: Condition) -> np.ndarray:
    mask = batch.get("attention_mask") if hasattr(batch, "get") else None
    name = condition.layer or (work.plan["layers"][0] if work.plan["layers"] else None)
    pooling = condition.pooling or work.plan["pooling"]
    if name is None:
        output = forward(work.model, batch, pooling)
    else:
        with capture(work.model.module, [name]) as outputs:
            forward(work.model, batch)
        output = outputs[name]
    values: np.ndarray = pool(output.float(), pooling, mask).float().cpu().numpy()
    return values


def _raw(work: Work, item: Any) -> Tensor:
    """The unpooled output for one item."""
    batch = _prepared(work, [item], Condition(""))
    with torch.no_grad():
        if not work.plan["layers"]:
            return forward(work.model, batch, work.plan["pooling"])
        with capture(work.model.module, work.plan["layers"][:1]) as outputs:
            forward(work.model, batch)
        return outputs[work.plan["layers"][0]]


def _layers(work: Work, item: Any) -> list[str]:
    """A few layers spread over the model's depth, without the present one."""
    batch = _prepared(work, [item], Condition(""))
    try:
        names = [
            name
            for name, _, shape in list_layers(work.model, batch)
            if name and shape is not None and len(shape) in (2, 3, 4) and name not in work.plan["layers"]
        ]
    except InputError:
        return []
    chosen = np.unique(np.linspace(len(names) // 2, len(names) - 1, min(MAX_LAYERS, len(names))).round().astype(int))
    return [names[place] for place in chosen]
