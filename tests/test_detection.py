"""The detector, the training and the scores of experiments/detection, on a handful of images."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

pytestmark = pytest.mark.slow  # transformers

FOLDER = Path(__file__).resolve().parents[1] / "experiments" / "detection"
MODULES = ("data", "detector", "scoring", "training")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The modules of the experiment, and `val` of 32 images."""
    for package in ("transformers", "pycocotools"):
        pytest.importorskip(package)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        for name in MODULES:
            patch.delitem(sys.modules, name, raising=False)  # other experiments have files of these names
        modules: dict[str, ModuleType] = {name: importlib.import_module(name) for name in MODULES}
        if not modules["data"].FASHION.exists():
            pytest.skip("needs the package dataset-fashion-mnist")
        place = modules["data"].write(tmp_path_factory.mktemp("detection"), "val", 0, 32)
        yield SimpleNamespace(**modules, val=modules["detector"].Split.read(place))
        for name in MODULES:
            del sys.modules[name]


def truth(parts: SimpleNamespace) -> np.ndarray:
    """The ground truth as predictions: image, x, y, width, height, score and class."""
    side, rows = parts.data.CANVAS, []
    for image, target in enumerate(parts.val.targets):
        for label, (x, y, width, height) in zip(
            target["class_labels"].tolist(), (target["boxes"] * side).tolist(), strict=True
        ):
            rows.append([image, x - width / 2, y - height / 2, width, height, 0.9, label])
    return np.array(rows)


def test_average_precision_of_the_truth_is_one(parts: SimpleNamespace) -> None:
    found = truth(parts)
    assert parts.scoring.average_precision(found, parts.val) == pytest.approx({"AP": 1, "AP50": 1, "AP75": 1})
    shifted = found.copy()
    shifted[:, 1] += 0.2 * shifted[:, 3]  # an intersection over union of 0.8 / 1.2
    scores = parts.scoring.average_precision(shifted, parts.val)
    assert scores == pytest.approx({"AP": 0.4, "AP50": 1, "AP75": 0}, abs=1e-6)  # right at .50, .55, .60 and .65


def test_predictions_are_the_best_queries_and_classes(parts: SimpleNamespace) -> None:
    found = parts.scoring.predictions(parts.detector.build("student", 20, 0), parts.val)
    assert found.shape == (32 * parts.detector.QUERIES, 7)
    assert set(found[:, 0]) == set(range(32))
    assert set(found[:, 6]) <= set(range(20))
    by_image = found[:, 5].reshape(32, -1)
    assert (np.diff(by_image, axis=1) <= 0).all()
    assert 0 <= by_image.min() <= by_image.max() <= 1


def test_both_sizes_score_the_same_anchors(parts: SimpleNamespace) -> None:
    shapes = {
        size: tuple(parts.training.anchor_logits(parts.detector.build(size, 20, 0), parts.val).shape)
        for size in parts.detector.WIDTHS
    }
    assert shapes == dict.fromkeys(shapes, (32, 12**2 + 6**2 + 3**2, 20))


def test_proposals_are_the_teachers_best_anchors(parts: SimpleNamespace) -> None:
    teacher = torch.tensor([[[0.0, 1], [5, 0], [0, 3]], [[9, 0], [0, 0], [0, 8]]])
    student = torch.arange(12.0).view(2, 3, 2)
    s, t = parts.training.at_proposals(student, teacher, 2)
    assert t.tolist() == [[[5, 0], [0, 3]], [[9, 0], [0, 8]]]
    assert s.tolist() == [[[2, 3], [4, 5]], [[6, 7], [10, 11]]]


def test_binary_divergence_is_cross_entropy_less_entropy(parts: SimpleNamespace) -> None:
    student, teacher = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    entropies = (
        functional.binary_cross_entropy_with_logits(logits, teacher.sigmoid(), reduction="sum")
        for logits in (student, teacher)
    )
    expected = (next(entropies) - next(entropies)) / 7
    torch.testing.assert_close(parts.training.binary_divergence(student, teacher, 7), expected)


def test_a_seed_decides_weights_and_order_for_all_methods(parts: SimpleNamespace) -> None:
    teacher = parts.training.anchor_logits(parts.detector.build("teacher", 20, 5), parts.val)

    def trained(method: str, seed: int, steps: int) -> dict[str, Any]:
        model = parts.detector.build("student", 20, seed)
        return parts.training.train(
            model,
            parts.val,
            steps=steps,
            seed=seed,
            lr=1e-3,
            distillation=parts.training.METHODS[method],
            teacher=teacher,
        )

    first = {method: trained(method, 0, 1) for method in parts.training.METHODS}
    assert len({run["detector_loss"] for run in first.values()}) == 1
    assert first["none"]["distillation_loss"] == 0 < min(first[name]["distillation_loss"] for name in ("ckd", "kd"))
    assert trained("none", 1, 1)["detector_loss"] != first["none"]["detector_loss"]
    assert trained("ckd", 0, 3)["detector_loss"] == trained("ckd", 0, 3)["detector_loss"]


def test_gradient_norms(parts: SimpleNamespace) -> None:
    model = parts.detector.build("student", 20, 0)
    teacher = torch.randn(32, 189, 20, generator=torch.Generator().manual_seed(1))
    norms = [
        parts.training.gradient_norms(
            model, parts.val, lambda *given, w=w: w * parts.training.contrastive(*given), teacher
        )
        for w in (1, 10)
    ]
    ratio = norms[1]["distillation_gradient"] / norms[0]["distillation_gradient"]
    assert ratio == pytest.approx(10, rel=0.3)  # RT-DETR draws its denoising queries, and batch statistics stay
    assert norms[0]["detector_gradient"] > 0


def test_contrast(parts: SimpleNamespace) -> None:
    # One logit vector everywhere leaves nothing to tell apart; taken off, its shift by -10 gives zeros: also uniform.
    found = parts.training.contrast(torch.full((16, 30, 4), -10.0), batches=1)
    uniform = float(np.log(16 * parts.detector.QUERIES))
    expected = {"cosine": 1, "self_loss": uniform, "uniform_loss": uniform, "centred_self_loss": uniform}
    assert found == pytest.approx(expected, rel=1e-5)
    # Two opposite vectors, half and half, and a shift: only without it are they far apart.
    signs = torch.tensor([[3.0, -3.0], [-3.0, 3.0]]).repeat(16, 15, 1)
    shifted = parts.training.contrast(signs - 100, batches=1)
    assert shifted["cosine"] > 0.99
    assert shifted["self_loss"] > uniform - 0.01
    half = 8 * parts.detector.QUERIES
    assert shifted["centred_self_loss"] == pytest.approx(np.log(half * (1 + np.exp(-2))), rel=1e-5)
