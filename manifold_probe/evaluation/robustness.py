"""Accuracy on corrupted images: each is classified by its neighbours in a bank of clean features.

Both models see the same corrupted picture, each through its own preprocessing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from manifold_probe.evaluation.fidelity import accuracy
from manifold_probe.evaluation.knn import knn_predict
from manifold_probe.evaluation.outcome import Outcome, Part, judged
from manifold_probe.extraction.work import Work
from manifold_probe.models.preprocessing import ImagePreprocessing
from manifold_probe.spaces.pairing import locate

Both = tuple[np.ndarray, np.ndarray]  # the teacher's and the student's
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
    """k-NN accuracy of teacher and student on each corruption, the mean over five severities, and over all corruptions.

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
        Where there are no images, or one of the test rows is not among them.
    """
    seen = corrupted_features(works, test, seed, progress)
    guessed = {key: _predictions(bank, features, k) for key, features in seen.items()}
    many = {name: [guessed[name, severity] for severity in SEVERITIES] for name in CORRUPTIONS}
    many = {"none": [_predictions(bank, test.sides, k)], **many, "mean": list(guessed.values())}
    return [_outcome(name, both, bank, test) for name, both in many.items()]


def corrupted_features(
    works: tuple[Work, Work], test: Part, seed: int, progress: Callable[[str, int, int], None] | None = None
) -> dict[tuple[str, int], Both]:
    """Features (n, d) of teacher and student for every (corruption, severity): each image read once."""
    for work in works:
        if not isinstance(work.model.preprocessing, ImagePreprocessing):
            raise InputError(f"{work.request.data}: holds {work.data.kind}; only images are corrupted")
    if test.ids is None:
        raise InputError(f"{test.name}: has no ids, so its images cannot be found; extract the features with ids")
    places = locate(np.asarray(test.ids).astype(str), works[0].data.ids)
    if (places < 0).any():
        lost = np.asarray(test.ids)[places < 0][0]
        raise InputError(f"{works[0].request.data}: holds no image {str(lost)!r}; give the data of these features")
    parts: dict[tuple[str, int], list[Both]] = {}
    size = min(work.plan["batch_size"] for work in works)
    for start in range(0, len(places), size):
        rows = places[start : start + size].tolist()
        pictures = [works[0].data.read(row).content for row in rows]
        ids = [str(works[0].data.ids[row]) for row in rows]
        for corruption, severity in _all():
            seen = [corrupt(one, corruption, severity, seed, id) for one, id in zip(pictures, ids, strict=True)]
            both = _features(works[0], seen), _features(works[1], seen)
            parts.setdefault((corruption, severity), []).append(both)
        if progress:
            progress("corrupted images", start + len(rows), len(places))
    return {key: (_joined(both, 0), _joined(both, 1)) for key, both in parts.items()}


def _joined(parts: list[Both], side: int) -> np.ndarray:
    return np.concatenate([both[side] for both in parts])


def _all() -> Iterator[tuple[str, int]]:
    return ((corruption, severity) for corruption in CORRUPTIONS for severity in SEVERITIES)


def _features(work: Work, pictures: list[Any]) -> np.ndarray:
    assert work.model.preprocessing is not None
    prepared = [[work.model.preprocessing(picture)] for picture in pictures]  # type: ignore[operator]
    return next(iter(work.outputs(work.collate(prepared)).values()))


def _predictions(bank: Part, features: Both, k: int) -> Both:
    teacher, student = (knn_predict(own, bank.known, rows, k) for own, rows in zip(bank.sides, features, strict=True))
    return teacher, student


def _outcome(name: str, guessed: list[Both], bank: Part, test: Part) -> Outcome:
    """The mean over severities, which ``details`` lists; agreement over all their images."""
    labels, details = test.known, {}
    if len(guessed) == len(SEVERITIES):
        details = {side: [accuracy(both[place], labels) for both in guessed] for place, side in enumerate(SIDES)}
    many, classes = np.tile(labels, len(guessed)), len(np.unique(bank.known))
    both = _joined(guessed, 0), _joined(guessed, 1)
    return judged(f"corruption_accuracy:{name}", *both, many, classes, details=details)
