"""The teacher and the student see the very same pixels: stored views, live views, and what the store must hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from manifold_probe import cli
from manifold_probe.distillation.config import resolved
from manifold_probe.distillation.run_folder import read_log
from manifold_probe.distillation.setting import prepare
from manifold_probe.distillation.train import train
from manifold_probe.extraction.data import open_data
from manifold_probe.extraction.examples import Cache, Examples
from manifold_probe.extraction.processes import Processes
from manifold_probe.extraction.recipe import named_recipe
from manifold_probe.extraction.work import Request, prepared
from manifold_probe.models.preprocessing import ImagePreprocessing
from tests.command_line import changed
from tests.distillation.run_helpers import world

Capture = pytest.CaptureFixture[str]
RECIPE = "crop-mirror-jitter"
TEACHER = "python:manifold_probe.models.students:make?name=resnet8"
LOOK = ["--size", "16", "--mean", "0.5", "--std", "0.25"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(world(tmp_path))
    return tmp_path


def stored(*more: str) -> None:
    form = ["extract", "--model", TEACHER, "--data", "digits.npz", *LOOK, "--dtype", "float32", "--views", "2"]
    assert cli.run(changed([*form, "--seed", "3", "--out", "feats", *more])) == 0


def settings(teacher: str, **more: object) -> object:
    given = {"method": "cosine", "student": "conv4", "data": "digits.npz", "epochs": 2, "batch_size": 32, "seed": 3}
    look = {"size": "16", "mean": "0.5", "std": "0.25"}
    return resolved({**given, **look, "teacher": teacher, "augment": RECIPE, **more})


def pictures(folder: Path, sizes: list[tuple[int, int]]) -> str:
    (folder / "pictures").mkdir()
    for place, (width, height) in enumerate(sizes):
        pixels = np.random.default_rng(place).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{place}.png")
    return "pictures"


@pytest.mark.parametrize("view", [0, 1, 5])
def test_examples_are_what_extraction_sees(view: int, folder: Path) -> None:
    data = open_data(pictures(folder, [(20, 20), (30, 24), (20, 20), (16, 16)]))
    look = ImagePreprocessing(16, 0.5, 0.25)
    examples = Examples(data, look, named_recipe(RECIPE), seed=3)
    work = prepared(Request(TEACHER, "pictures", size="16", mean="0.5", std="0.25", views=5, recipe=RECIPE, seed=3))
    rows = np.array([3, 0, 2, 1, 0])
    expected = torch.stack([work.prepare(row, data.read(row).content)[view] for row in rows.tolist()])
    assert torch.equal(examples.batch(rows, view), expected)
    assert torch.equal(examples.batch(rows[:1], view), expected[:1])  # whoever stands beside it


def test_pixels_that_do_not_fit_into_memory_are_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = open_data("digits.npz")
    look, rows = ImagePreprocessing(16, 0.5, 0.25), np.array([5, 1, 5])
    kept = Examples(data, look, named_recipe("plain"), 0).batch(rows)
    monkeypatch.setattr("manifold_probe.extraction.examples.CACHE_BYTES", 10)
    assert torch.equal(Examples(data, look, named_recipe("plain"), 0).batch(rows), kept)
    monkeypatch.undo()
    reads: list[int] = []
    once = Cache(lambda row: reads.append(row) or torch.zeros(2), 40)
    once.read([3, 4])
    count = len(reads)
    once.read([5, 6])
    assert len(reads) == count


def test_stored_views_are_those_that_a_live_teacher_gives(folder: Path, capfd: Capture) -> None:
    stored()
    from_store = prepare(settings("feats"), Processes(), lambda _: None)
    live = prepare(settings(TEACHER), Processes(), lambda _: None)
    rows = np.array([0, 100, 7, 31])
    for view in (0, 1, 2):
        first, second = from_store.targets.batch(rows, view), live.targets.batch(rows, view)
        assert torch.allclose(first, second, atol=1e-5)
    plain, view = from_store.targets.batch(rows, 0), from_store.targets.batch(rows, 1)
    assert torch.nn.functional.cosine_similarity(plain, view).min() < 0.9999  # or the test would see nothing
    assert [from_store.view_of(epoch) for epoch in range(4)] == [1, 2, 1, 2]
    assert [live.view_of(epoch) for epoch in range(4)] == [1, 2, 3, 4]


@pytest.mark.parametrize("teacher", ["feats", TEACHER])
def test_augmented_training_runs(teacher: str, folder: Path, capfd: Capture) -> None:
    stored()
    train(settings(teacher), "run", tell=lambda _: None)
    losses = [line["loss"] for line in read_log("run") if "loss" in line]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("more", "changed", "message"),
    [
        (["--views", "0"], {}, "holds only the plain view"),
        ([], {"seed": 4}, "holds the views of seed 3, the run has 4"),
        (["--recipe", "plain"], {}, "holds views of another recipe"),
    ],
)
def test_other_views_are_refused(
    more: list[str], changed: dict[str, int], message: str, folder: Path, capfd: Capture
) -> None:
    stored(*more)
    capfd.readouterr()
    form = ["distill", "--method", "cosine", "--teacher", "feats", "--student", "conv4", "--data", "digits.npz", *LOOK]
    form += ["--augment", RECIPE, "--batch-size", "32", "--out", "run", "--seed", str(changed.get("seed", 3))]
    assert cli.run(form) == 2
    assert message in capfd.readouterr().err
    assert not (folder / "run").exists()


def test_a_store_of_other_content_is_refused(folder: Path, capfd: Capture) -> None:
    stored()
    arrays = dict(np.load("digits.npz"))
    np.savez("digits.npz", **{**arrays, "images": 255 - arrays["images"]})
    capfd.readouterr()
    form = ["distill", "--method", "cosine", "--teacher", "feats", "--student", "conv4", "--data", "digits.npz"]
    assert cli.run([*form, "--batch-size", "32", "--out", "run"]) == 2
    assert "feats: was made from other content than digits.npz has for the id d0000" in capfd.readouterr().err
