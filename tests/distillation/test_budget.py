"""What a step and an epoch cost: batches in parts, bounded epochs, a shared teacher; clipping and averaged weights."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import manifold_probe
from manifold_probe import cli
from manifold_probe.distillation import setting as settings
from manifold_probe.distillation.config import Config, resolved
from manifold_probe.distillation.learner import Learner
from manifold_probe.distillation.order import steps_of
from manifold_probe.distillation.recipes import RECIPES
from manifold_probe.distillation.run_folder import read_log
from manifold_probe.distillation.setting import prepare
from manifold_probe.distillation.train import Run, train, train_together
from manifold_probe.errors import InputError
from manifold_probe.extraction.processes import Processes
from tests.command_line import changed
from tests.distillation.run_helpers import contents, ran, world

TEACHER = "python:manifold_probe.models.students:make?name=resnet8"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(world(tmp_path))
    return tmp_path


def config(**more: object) -> Config:
    given = {
        "method": "ckd",
        "head": "linear",
        "teacher": "t.pt",
        "student": "conv4",
        "data": "digits.npz",
        "epochs": 2,
    }
    return resolved({**given, "batch_size": 32, "seed": 3, "log_every": 1, **more})


def weights(run: str) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(f"{run}/student.pt", weights_only=True)["state"]
    return state


def quiet(_: str) -> None:
    """Say nothing."""


@pytest.fixture
def without_batch_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch norm that normalises nothing: parts of a batch have other statistics than the batch."""
    monkeypatch.setattr(torch.nn.BatchNorm2d, "forward", lambda _, x: x)


@pytest.mark.usefixtures("without_batch_norm")
def test_a_batch_in_parts_trains_the_same_student() -> None:
    train(config(rate=0.01), "whole", tell=quiet)
    train(config(rate=0.01, accumulate=5), "parts", tell=quiet)
    losses = [[line["loss"] for line in read_log(run) if "loss" in line] for run in ("whole", "parts")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for name, value in weights("whole").items():
        assert torch.allclose(value, weights("parts")[name], atol=1e-4), name


def test_a_batch_that_does_not_fit_names_the_parts_that_do(monkeypatch: pytest.MonkeyPatch) -> None:
    embed, fits = Learner.embed, 9

    def small(self: Learner, batch: Tensor) -> tuple[Tensor, Tensor]:
        if torch.is_grad_enabled() and len(batch) > fits:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 99 bytes")
        return embed(self, batch)

    monkeypatch.setattr(Learner, "embed", small)
    with pytest.raises(InputError) as caught:
        train(config(), "run", tell=quiet)
    problem = "conv4: cannot be trained on a batch of 32 (memory does not suffice)"
    assert str(caught.value) == f"{problem}; give --accumulate 4, which does the same step in 4 parts"
    train(config(accumulate=4), "parts", tell=quiet)
    fits = 0
    with pytest.raises(InputError, match="free some, or give a smaller student"):
        train(config(accumulate=3), "none", tell=quiet)


@pytest.mark.parametrize("neighbours", [False, True])
def test_samples_bound_an_epoch(neighbours: bool) -> None:
    more = {"neighbour_batches": neighbours, "samples": 70, "held_out": 0.0}
    unbounded = prepare(config(neighbour_batches=neighbours, held_out=0.0), Processes(), quiet)
    assert unbounded.steps == steps_of(unbounded.config, 160) == (80 if neighbours else 5)
    train(config(**more), "run", tell=quiet)
    log = read_log("run")
    assert [line["step"] for line in log if "measures" in line] == [0, 2, 4]
    assert log[-1]["encoded"] == 4 * 32
    orders = [prepare(config(**more), Processes(), quiet).order(epoch).tolist() for epoch in (0, 1)]
    assert orders[0] != orders[1]


def test_the_gradient_is_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[float] = []
    step = torch.optim.SGD.step

    def watched(self: Any, closure: Any = None) -> None:
        gradients = [each.grad for group in self.param_groups for each in group["params"] if each.grad is not None]
        norms.append(float(torch.stack([grad.norm() for grad in gradients]).norm()))
        step(self, closure)

    monkeypatch.setattr(torch.optim.SGD, "step", watched)
    train(config(epochs=1), "free", tell=quiet)
    free, norms[:] = max(norms), []
    train(config(epochs=1, clip=free / 10), "clipped", tell=quiet)
    assert max(norms) == pytest.approx(free / 10, rel=1e-4)


def test_averaged_weights_are_those_that_are_saved_and_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[dict[str, Tensor]] = []
    one_step = Run.one_step

    def watched(self: Run, *batch: Any) -> dict[str, float]:
        terms = one_step(self, *batch)
        steps.append({name: value.clone() for name, value in self.setting.learner.module.state_dict().items()})
        return terms

    monkeypatch.setattr(Run, "one_step", watched)
    train(config(ema=0.7), "run", tell=quiet)
    name = next(name for name, value in steps[0].items() if value.ndim == 4)
    expected = steps[0][name]
    for step in steps[1:]:
        expected = 0.7 * expected + 0.3 * step[name]
    saved = weights("run")[name]
    assert torch.allclose(saved, expected, atol=1e-6)
    assert not torch.allclose(saved, steps[-1][name], atol=1e-6)


def test_averaged_weights_survive_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    train(config(ema=0.7), "whole", tell=quiet)
    one_step = Run.one_step

    def killed(self: Run, *batch: Any) -> dict[str, float]:
        if self.step == 7:
            raise KeyboardInterrupt
        return one_step(self, *batch)

    monkeypatch.setattr(Run, "one_step", killed)
    with pytest.raises(KeyboardInterrupt):
        train(config(ema=0.7), "again", tell=quiet)
    monkeypatch.setattr(Run, "one_step", one_step)
    train(config(ema=0.7), "again", tell=quiet)
    assert contents(Path("again")) == contents(Path("whole"))


def test_students_that_share_a_teacher_train_as_if_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    live = {"teacher": TEACHER, "augment": "crop-mirror-jitter", "size": "16", "mean": "0.5", "std": "0.25"}
    asked: list[int] = []
    forward = settings.forward
    monkeypatch.setattr(settings, "forward", lambda *given: asked.append(1) or forward(*given))
    students = {name: config(**live, student=name) for name in ("conv4", "resnet8")}
    for name, each in students.items():
        train(each, f"alone-{name}", tell=quiet)
    alone, asked[:] = len(asked), []
    one_step = Run.one_step

    def killed(self: Run, *batch: Any) -> dict[str, float]:
        if self.config.student == "resnet8" and self.step == 6:
            raise KeyboardInterrupt
        return one_step(self, *batch)

    together = {f"both/{name}": each for name, each in students.items()}
    monkeypatch.setattr(Run, "one_step", killed)
    with pytest.raises(KeyboardInterrupt):
        train_together(together, tell=quiet)
    monkeypatch.setattr(Run, "one_step", one_step)
    train_together(together, tell=quiet)
    for name in students:
        assert contents(Path(f"both/{name}")) == contents(Path(f"alone-{name}")), name
    asked.clear()
    train_together({f"again/{name}": each for name, each in students.items()}, tell=quiet)
    assert 2 * len(asked) == alone


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"samples": 31}, "--samples: 31 samples an epoch are less than one batch of 32"),
        ({"samples": 0}, "--samples: 0 is below 1"),
        ({"accumulate": 33}, "--accumulate: a batch of 32 rows has no 33 parts"),
        ({"clip": 0.0}, "--clip: 0.0 is not a finite number above 0"),
        ({"ema": 1.0}, "--ema: 1.0 is not a decay"),
        ({"recipe": "coss-imagnet"}, "no recipe is called 'coss-imagnet'; did you mean coss-imagenet?"),
        ({"recipe": "coss-imagenet", "method": "ckd"}, "--method: ckd is not the recipe's coss"),
    ],
)
def test_refused_settings(changed: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        config(**changed)
    assert message in str(caught.value)


def test_a_dry_run_prints_the_settings_and_leaves_nothing(capfd: pytest.CaptureFixture[str], folder: Path) -> None:
    out, _ = ran(["distill", "--recipe", "coss-imagenet", "--dry-run"], capfd)
    settled = tomllib.loads(out)
    assert settled["options"] == {"space_weight": 1.0, "scale": pytest.approx(142.857, abs=1e-3), "gather": False}
    expected = {"rate": 0.03, "momentum": 0.9, "weight_decay": 1e-4, "batch_size": 256, "epochs": 25, "size": "224"}
    expected |= {"optimiser": "sgd", "schedule": "hold-cosine", "neighbour_batches": True, "teacher": ""}
    assert settled | expected == settled
    before = sorted(folder.rglob("*"))
    out, _ = ran(
        ["distill", "--recipe", "coss-imagenet", "--data", "digits.npz", "--batch-size", "32", "--dry-run"], capfd
    )
    assert out.startswith("# 160 rows to train on: 25 epochs, 2,000 steps, 64,000 encoded samples\nmethod = ")
    look = ["--size", "16", "--mean", "0.5", "--std", "0.5", "--batch-size", "32", "--head", "linear"]
    run = ["distill", "--recipe", "ckd-cifar100", "--teacher", TEACHER, "--student", "conv4", "--data", "digits.npz"]
    out, error = ran([*run, "--held-out", "0.1", "--rate", "0.01", *look, "--dry-run"], capfd)
    assert out.startswith("# 144 rows to train on: 480 epochs, 1,920 steps, 61,440 encoded samples\n# about ")
    assert tomllib.loads(out)["rate"] == 0.01
    assert "the teacher's features: 160 images: features 64 as float32" in error
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tintem-dinov2", {"rate": 5e-4, "weight_decay": 0.05, "epochs": 300, "batch_size": 1024, "pool": "tokens"}),
        ("tintem-dinov2", {"warmup_epochs": 5.0, "warmup_rate": 1e-6, "final_rate": 1e-5, "optimiser": "adamw"}),
        ("ckd-cifar100", {"rate": 0.05, "weight_decay": 5e-4, "epochs": 480, "schedule": "cosine", "momentum": 0.9}),
    ],
)
def test_recipes_hold_the_published_constants(name: str, expected: dict[str, object]) -> None:
    settled = vars(resolved({"recipe": name}, incomplete=True))
    assert settled | expected == settled


def test_every_recipe_is_a_settled_configuration() -> None:
    for name in RECIPES:
        settled = resolved({"recipe": name, "teacher": "t", "student": "s", "data": "d"})
        path = Path(f"{name}.toml")
        path.write_text(settled.toml())
        assert resolved({}, str(path)) == settled


def test_several_students_are_compared_with_each_other(capfd: pytest.CaptureFixture[str]) -> None:
    run = ["distill", "--method", "coss", "--teacher", "t.pt", "--data", "digits.npz", "--epochs", "1", "--seed", "3"]
    run += ["--batch-size", "32", "--out", "both", "--student", "conv4", "--student", "small=resnet8"]
    out, _ = ran([*run, "--json"], capfd)
    document = json.loads(out)
    assert list(document["students"]) == ["conv4", "small"]
    assert document["differences"]
    again, error = ran([*run, "--json"], capfd)
    assert again == out
    assert error.count("is finished: 1 epoch; nothing to do") == 2
    alone = manifold_probe.load("both/small/result.json")
    assert isinstance(alone, manifold_probe.Comparisons)
    key = "overlap@10"
    assert document["students"]["small"]["measures"][key] == alone["backbone"].to_dict()["measures"][key]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "--out: missing; name the folder of the run, or give --dry-run"),
        (["--dry-run", "--student", "resnet8"], "--dry-run: times one student; give one --student"),
        (
            ["--out", "run", "--batch-size", "32", "--student", "a/b=resnet8"],
            "is neither a built-in student nor a model source",
        ),
    ],
)
def test_refused_commands(more: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    run = ["distill", "--method", "coss", "--teacher", "t.pt", "--student", "conv4", "--data", "digits.npz"]
    assert cli.run(changed([*run, *more])) == 2
    out, error = capfd.readouterr()
    assert out == ""
    assert message in error
    assert not Path("run").exists()
