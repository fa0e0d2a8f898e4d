"""Accuracy on corrupted images, classified by their neighbours in a bank of clean features.

SidePair models see the same corrupted picture, through their preprocessing.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from manifold_probe.evaluation.fidelity import accuracy
from manifold_probe.evaluation.knn import knn_predict
from manifold_probe.evaluation.outcome import Outcome, Part, scored
from manifold_probe.extraction.work import Work
from manifold_probe.models.preprocessing import ImagePreprocessing
from manifold_probe.spaces.pairing import locate

SidePair = tuple[np.ndarray, np.ndarray]  # of the teacher and of the student
SIDES = ("teacher", "student")


def robustness_outcomes(
    bank: Part,
    works: tuple[Work, Work],
    test: Part,
    *,
    k: int = 10,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Outcome]:
    """k-NN accuracy of both models for every corruption, as mean over five severities, and over all corruptions.

    Parameters
    ----------
    bank : Part
        Clean, labelled.
    works : (Work, Work)
        Teacher and student, with the data that holds the images of the test rows.
    test : Part
        With ids and labels: the images to corrupt, and their clean features.

    Raises
    ------
    InputError
        If there are no images, or none for one of the test rows.
    """
    features = corrupted_features(works, test, seed, progress)
    predicted = {key: _predictions(bank, sides, k) for key, sides in features.items()}
    by_name = {name: [predicted[name, severity] for severity in SEVERITIES] for name in CORRUPTIONS}
    by_name = {"none": [_predictions(bank, test.sides, k)], **by_name, "mean": list(predicted.values())}
    return [_outcome(name, predictions, bank, test) for name, predictions in by_name.items()]


def corrupted_features(
    works: tuple[Work, Work], test: Part, seed: int, progress: Callable[[str, int, int], None] | None = None
) -> dict[tuple[str, int], SidePair]:
    """Features (n, d) of teacher and student for every (corruption, severity); every image is read once."""
    for work in works:
        if not isinstance(work.model.preprocessing, ImagePreprocessing):
            raise InputError(f"{work.request.data}: holds {work.data.kind}; corruptions need images")
    if test.ids is None:
        raise InputError(f"{test.name}: has no ids, so its images cannot be located; extract the features with ids")
    items = locate(np.asarray(test.ids).astype(str), works[0].data.ids)
    if (items < 0).any():
        missing = np.asarray(test.ids)[items < 0][0]
        raise InputError(f"{works[0].request.data}: holds no image {str(missing)!r}; give the data of these features")
    parts: dict[tuple[str, int], list[SidePair]] = {}
    size = min(work.plan["batch_size"] for work in works)
    for start in range(0, len(items), size):
        rows = items[start : start + size].tolist()
        images = [works[0].data.read(row).content for row in rows]
        ids = [str(works[0].data.ids[row]) for row in rows]
        for corruption, severity in product(CORRUPTIONS, SEVERITIES):
            corrupted = [corrupt(image, corruption, severity, seed, id) for image, id in zip(images, ids, strict=True)]
            sides = _features(works[0], corrupted), _features(works[1], corrupted)
            parts.setdefault((corruption, severity), []).append(sides)
        if progress:
            progress("corrupted images", start + len(rows), len(items))
    return {key: (_joined(sides, 0), _joined(sides, 1)) for key, sides in parts.items()}


def _joined(parts: list[SidePair], side: int) -> np.ndarray:
    return np.concatenate([sides[side] for sides in parts])


def _features(work: Work, images: list[Any]) -> np.ndarray:
    assert work.model.preprocessing is not None
    prepared = [[work.model.preprocessing(image)] for image in images]  # type: ignore[operator]
    return next(iter(work.outputs(work.collate(prepared)).values()))


def _predictions(bank: Part, features: SidePair, k: int) -> SidePair:
    teacher, student = (
        knn_predict(rows, bank.required_labels, queries, k) for rows, queries in zip(bank.sides, features, strict=True)
    )
    return teacher, student


def _outcome(name: str, predictions: list[SidePair], bank: Part, test: Part) -> Outcome:
    """Mean accuracy and agreement over all predictions; ``details`` lists the accuracy by severity."""
    labels, details = test.required_labels, {}
    if len(predictions) == len(SEVERITIES):
        details = {side: [accuracy(sides[at], labels) for sides in predictions] for at, side in enumerate(SIDES)}
    teacher, student = (np.stack([sides[at] for sides in predictions]) for at in (0, 1))
    classes = len(np.unique(bank.required_labels))
    return scored(f"corruption_accuracy:{name}", teacher, student, labels, classes, details=details, units=test.units)
