"""Pipelines broken on purpose: the condition that mends them is found, and a sound one is left alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from manifold_probe import cli
from manifold_probe.diagnosis.interventions import (
    Condition,
    Models,
    Tried,
    conditions,
    extracted,
    holm,
    intervene,
    of_models,
    places_in,
    restored,
)
from manifold_probe.diagnosis.lab import EXAMINED
from manifold_probe.errors import InputError
from manifold_probe.extraction.work import Request, Work, prepared
from manifold_probe.measures.catalogue import OVERLAP_EUCLIDEAN
from manifold_probe.spaces.pairing import Pair, pair
from manifold_probe.spaces.space import Space

NET = """
import torch

def make(seed=0, leaky=False):
    torch.manual_seed(seed)
    layers = [torch.nn.Conv2d(3, 16, 5, 2), torch.nn.BatchNorm2d(16), torch.nn.ReLU(), torch.nn.Conv2d(16, 24, 5, 2)]
    net = torch.nn.Sequential(*layers, torch.nn.Flatten(2), Mean(leaky))
    return net.eval()

class Mean(torch.nn.Module):
    def __init__(self, leaky):
        super().__init__()
        self.leaky = leaky
    def forward(self, x):
        x = torch.cat([x.mean(2), x.std(2)], 1)
        return torch.nn.functional.dropout(x, 0.5) if self.leaky else x
"""
LOOK = {"size": "48", "mean": "0.5", "std": "0.25"}
SOURCE = "python:net:make?seed=1"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "images").mkdir()
    draw = np.random.default_rng(0)
    for row in range(150):
        coarse = draw.uniform(0, 255, (4, 4, 3)) * np.array([1.0, 0.6, 0.2])
        picture = np.kron(coarse, np.ones((12, 12, 1))) + draw.normal(0, 10, (48, 48, 3))
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(tmp_path / "images" / f"{row:03d}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def work(**more: str) -> Work:
    return prepared(Request(SOURCE, "images", **{**LOOK, **more}))


def teacher(condition: Condition | None = None) -> tuple[np.ndarray, np.ndarray]:
    sound, rows = work(), np.arange(150)
    items = [sound.data.read(row).content for row in rows]
    return extracted(sound, items, condition or Condition("")), rows


BROKEN = {
    "channels reversed (RGB and BGR)": ({}, Condition("", change=lambda batch: batch.flip(1))),
    "images of 48 pixels": ({"size": "24"}, None),
    "ImageNet's mean and std": ({}, "imagenet"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_broken_step_is_named(name: str, folder: Path) -> None:
    more, of_teacher = BROKEN[name]
    if of_teacher == "imagenet":
        other = work(mean="0.485,0.456,0.406", std="0.229,0.224,0.225")
        rows = np.arange(150)
        features = extracted(other, [other.data.read(row).content for row in rows], Condition(""))
        trials = intervene(work(mean="0", std="0.05"), features, rows)
    else:
        features, rows = teacher(of_teacher)
        trials = intervene(work(**more), features, rows)
    found = restored(trials)
    assert found is not None
    assert found.name == name
    assert found.overlap > 0.99
    assert found.trial is not None
    assert found.trial.share > 0.97


def test_a_sound_pipeline_is_left_alone(folder: Path) -> None:
    features, rows = teacher()
    trials = intervene(work(), features, rows)
    assert trials[0].overlap == 1
    assert restored(trials) is None


def test_the_model_is_left_as_it_was(folder: Path) -> None:
    student = work()
    before = {name: value.clone() for name, value in student.model.module.state_dict().items()}
    features, rows = teacher()
    intervene(student, features, rows)
    after = student.model.module.state_dict()
    assert all((after[name] == value).all() for name, value in before.items())
    assert not student.model.module.training


def models_of(student: Work, features: np.ndarray, **more: Work) -> tuple[Models, Pair]:
    """A pair whose rows are in another order than the data, and the models of it."""
    order = np.random.default_rng(0).permutation(150)
    both = (
        Space(features[order], ids=student.data.ids[order]),
        {"s": Space(features[order], ids=student.data.ids[order])},
    )
    found = pair(*both)["s"]
    return Models(student, places_in(student, found.ids, 150), **more), found


def test_rows_are_found_by_id(folder: Path) -> None:
    features, _ = teacher()
    models, found = models_of(work(), features)
    told = of_models(models, found, 10, 0)
    assert told.examined["interventions"][0]["overlap"] == 1
    assert (told.causes, told.pieces, told.assessed) == ([], [], ["preprocessing"])
    assert places_in(models.student, None, 150).tolist() == list(range(150))
    assert places_in(models.student, np.array(["none"]), 1).tolist() == [-1]
    with pytest.raises(InputError, match="holds 150 items for 3 rows without ids"):
        places_in(models.student, None, 3)


def test_the_cause_and_its_share(folder: Path) -> None:
    features, _ = teacher(Condition("", change=lambda batch: batch.flip(1)))
    told = of_models(*models_of(work(), features), 10, 0)
    (cause,) = told.causes
    assert (cause["name"], cause["status"]) == ("preprocessing", "proved")
    assert cause["where"] == {"conditions": ["channels reversed (RGB and BGR)"]}
    assert cause["share"] > 0.97
    assert cause["repair"]["n"] == 75  # the rows that did not choose it


def test_dropout_left_on_is_named(folder: Path) -> None:
    features, _ = teacher()
    student = prepared(Request(f"{SOURCE}&leaky=true", "images", **LOOK))
    told = of_models(*models_of(student, features), 10, 0)
    (cause,) = told.causes
    assert "two passes" in cause["words"]
    assert cause["where"] == {"conditions": ["dropout off"]}
    assert cause["repair"]["after"] > 0.99
    items = [student.data.read(row).content for row in range(50)]
    assert not np.array_equal(
        extracted(student, items, Condition("")), extracted(student, items, Condition(""), seed=1)
    )


def test_an_earlier_layer_that_keeps_more(folder: Path) -> None:
    features, _ = teacher(Condition("", layer="3", pooling="mean"))
    told = of_models(*models_of(work(), features), 10, 0)
    assert told.causes[0]["where"] == {"conditions": ["layer 3"]}
    assert "read or run in another way" in told.causes[0]["words"]
    (piece,) = told.pieces
    assert piece.name == "lost_in_head"
    assert piece.fraction > 0.97


def test_one_side_l2_normalised(folder: Path) -> None:
    features, _ = teacher()
    told = of_models(*models_of(work(), features / np.linalg.norm(features, axis=1, keepdims=True)), 10, 0)
    (cause,) = told.causes
    assert cause["where"] == {"conditions": ["the student's vectors L2-normalised"]}
    assert cause["repair"]["measure"] == EXAMINED + OVERLAP_EUCLIDEAN.named(10)
    assert cause["share"] > 0.97


def test_what_the_teacher_does_not_keep_itself(folder: Path) -> None:
    leaky = prepared(Request(f"{SOURCE}&leaky=true", "images", **LOOK))
    items = [leaky.data.read(row).content for row in range(150)]
    told = of_models(*models_of(work(), extracted(leaky, items, Condition("")), teacher=leaky), 10, 0)
    (piece,) = [each for each in told.pieces if each.name == "teacher_repeatability"]
    kept = told.examined["teacher_repeatability"]
    assert kept["a second pass"] < 0.8
    assert piece.fraction > 0.3
    sound = of_models(*models_of(work(size="24"), teacher()[0], teacher=work()), 10, 0)
    assert sound.examined["teacher_repeatability"]["a second pass"] == 1
    assert sound.examined["teacher_repeatability"]["half precision"] > 0.6


def test_conditions_that_cannot_be_tried_say_why(folder: Path) -> None:
    features, rows = teacher()
    tried = intervene(work(), features, rows)
    assert {each.name for each in tried} >= {"train mode", "half precision", "pixels in 0..1", "images of 96 pixels"}
    assert all(each.why_not for each in tried[1:] if each.p is None)
    names = [each.name for each in conditions(work(), work().data.read(0).content)]
    assert len(names) == len(set(names))


def test_p_values_are_corrected_for_the_number_tried() -> None:
    trials = [Tried(str(p), 0, 0, 0, 0, p) for p in (0.01, 0.02, 0.9)] + [Tried("none", 0, 0, 0, 0, None)]
    assert [each.p for each in holm(trials)] == [pytest.approx(0.03), pytest.approx(0.04), pytest.approx(0.9), None]


def test_the_command_intervenes_on_models(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    look = ["--mean", "0.5", "--std", "0.25", "--data", "images"]
    assert cli.run(["extract", "--model", SOURCE, *look, "--size", "48", "--out", "t", "--dtype", "float32"]) == 0
    capfd.readouterr()
    assert cli.run(["diagnose", "--teacher", "t", "--student", SOURCE, *look, "--size", "24", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    cause = next(each for each in found["causes"] if each["name"] == "preprocessing")
    assert cause["where"]["conditions"] == ["the teacher's preprocessing"]
    assert "preprocessing" not in [each["name"] for each in found["not_assessed"]]
    assert len(found["examined"]["interventions"]) > 5
