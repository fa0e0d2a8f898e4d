"""Training on sets: tokens of a teacher, stored or live, learnt token by token."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import manifold_probe as mp
from manifold_probe.distillation.config import Config, resolved
from manifold_probe.distillation.run_folder import read_log
from manifold_probe.distillation.setting import prepare
from manifold_probe.distillation.train import train
from manifold_probe.errors import InputError
from manifold_probe.extraction.processes import Processes
from manifold_probe.extraction.run import extract
from manifold_probe.extraction.work import Request
from manifold_probe.spaces.read import read
from tests.distillation.run_helpers import world

VIT = "python:manifold_probe.models.students:make?name=vit-ti&size=16&patch=4&tokens=true"
LOOK = {"size": "16", "mean": "0.5", "std": "0.25"}
TOKENS = 17


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(world(tmp_path))
    return tmp_path


def tokens_file(path: str, tokens: int = TOKENS, width: int = 12) -> np.ndarray:
    """Random tokens of the digits, each image's near its pixels' own direction."""
    digits = np.load("digits.npz")
    rng = np.random.default_rng(0)
    flat = digits["images"].reshape(len(digits["ids"]), -1) / 255
    sets = (flat @ rng.normal(size=(flat.shape[1], tokens * width)) / 8).reshape(-1, tokens, width)
    order = rng.permutation(len(sets))
    np.savez(path, features=sets[order].astype(np.float16), ids=digits["ids"][order])
    return sets.astype(np.float16)


def config(teacher: str, **more: object) -> Config:
    given = {"method": "tintem", "student": "vit-ti", "data": "digits.npz", "epochs": 1, "batch_size": 32, "seed": 3}
    run = {"warmup_epochs": 0.1, "log_every": 1, "pool": "tokens", **LOOK}
    return resolved({**given, **run, "teacher": teacher, **more})


def test_stored_tokens_give_the_four_terms_of_the_paper(folder: Path) -> None:
    sets = tokens_file("tokens.npz")
    setting = prepare(config("tokens.npz"), Processes(), lambda _: None)
    rows = setting.order(0)[0]
    target = setting.target(rows, 0)
    np.testing.assert_array_equal(target.numpy(), sets[rows].astype(np.float32))
    np.testing.assert_array_equal(setting.targets.plain.numpy(), sets[:, 0].astype(np.float32))
    backbone, output = setting.learner.embed(setting.examples.batch(rows))
    assert output.shape == (32, TOKENS, 192)
    assert torch.equal(backbone, output[:, 0])
    expected = {name: term.item() for name, term in setting.method(output, target).items()}
    assert sorted(expected) == ["feature", "neighbour", "neighbour_local", "token"]
    train(config("tokens.npz"), "run", tell=lambda _: None)
    first = next(line for line in read_log("run") if "terms" in line)
    assert first["terms"] == pytest.approx(expected, rel=1e-5)
    assert read("run").d == 192  # the class tokens


def test_live_tokens_are_those_of_a_store_with_views(folder: Path) -> None:
    request = Request(VIT, "digits.npz", pooling="tokens", dtype="float32", views=2, seed=3, **LOOK)
    extract(request, "feats", tell=lambda _: None)
    augment = {"augment": "crop-mirror-jitter"}
    stored = prepare(config("feats", **augment), Processes(), lambda _: None)
    live = prepare(config(VIT, **augment), Processes(), lambda _: None)
    rows = np.array([0, 100, 7, 31])
    for view in (1, 2):
        first, second = stored.target(rows, view), live.target(rows, view)
        assert first.shape == (4, TOKENS, 192)
        assert torch.allclose(first, second, atol=1e-4)
        assert torch.allclose(first[:, 0], stored.targets.view(rows, view)[:, 0])
    assert torch.allclose(stored.targets.plain, live.targets.plain, atol=1e-4)


def test_the_size_of_stored_tokens_is_stated_before_they_are_written(folder: Path) -> None:
    lines: list[str] = []
    train(config(VIT), "run", tell=lines.append)
    size = 160 * TOKENS * 192 * 4 / 2**20
    assert f"features {TOKENS}x192 as float32, {size:.1f} MiB" in lines[0]


def test_the_trained_student_gives_its_tokens(folder: Path) -> None:
    tokens_file("tokens.npz")
    train(config("tokens.npz"), "run", tell=lambda _: None)
    extract(Request("run/student.pt", "digits.npz", pooling="tokens", dtype="float32"), "s", tell=lambda _: None)
    first, backbone = read("s", rows="cls"), read("run")
    assert read("s", rows="tokens").n == 160 * TOKENS
    np.testing.assert_allclose(first.read(0, 160), backbone.read(0, 160), atol=2e-5)


@pytest.mark.parametrize(
    ("tokens", "changed", "message"),
    [
        (
            TOKENS,
            {"method": "coss"},
            "--pool: coss takes one vector an input, not tokens; give cls or mean, or --method",
        ),
        (TOKENS, {"teacher_pool": "mean"}, "--pool: tokens of the student and mean of the teacher do not fit"),
        (TOKENS, {"pool": "cls", "teacher_pool": "tokens"}, "--pool: cls of the student and tokens of the teacher"),
        (TOKENS, {"student": "conv4"}, "--pool: conv4 gives one vector an image, no tokens; give vit-ti"),
        (16, {}, "--teacher-pool: the teacher gives 16 tokens an image, not a class token and a square grid"),
        (10, {}, "--size: the teacher gives a class token and 3 x 3 patches, which do not divide 16 pixels"),
        (5, {"student": VIT}, "gives 17 tokens an input and the teacher 5, and tokens are learnt place by place"),
        (TOKENS, {"pool": None}, "pool it to (n, d) first"),
    ],
)
def test_what_cannot_be_learnt_token_by_token(
    folder: Path, tokens: int, changed: dict[str, object], message: str
) -> None:
    tokens_file("tokens.npz", tokens)
    with pytest.raises(InputError) as caught:
        prepare(config("tokens.npz", **changed), Processes(), lambda _: None)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_vectors_are_no_tokens(folder: Path) -> None:
    with pytest.raises(InputError, match=r"t.pt: key 'features' has shape .*--rows tokens needs \(n, N, d\)"):
        prepare(config("t.pt"), Processes(), lambda _: None)


def test_tokens_that_are_not_finite_are_named(folder: Path) -> None:
    sets = tokens_file("tokens.npz")
    sets[5, 3, 1] = np.nan
    np.savez("tokens.npz", features=sets, ids=np.load("digits.npz")["ids"])
    setting = prepare(config("tokens.npz"), Processes(), lambda _: None)
    with pytest.raises(InputError, match=r"holds 1 NaN value \(first in row 88\) \(id 'd0005#3'\)"):
        setting.target(np.array([5]), 0)


def test_a_run_on_stored_tokens_ends_with_its_comparison(folder: Path) -> None:
    tokens_file("tokens.npz")
    given = {"method": "tintem", "student": "vit-ti", "data": "digits.npz", "epochs": 1, "batch_size": 32, "seed": 3}
    run = mp.distill("run", teacher="tokens.npz", pool="tokens", warmup_epochs=0.1, **LOOK, **given)
    assert isinstance(run.comparison, mp.Comparison)
    assert run.comparison.to_dict()["inputs"]["teacher"]["shape"] == [160, 12]
    assert run.comparison.measures["overlap@10"].value is not None
