"""Training on a GPU, where there is one: bfloat16, channels last, a fused optimiser, a student as good as a CPU's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from manifold_probe.distillation.config import resolved
from manifold_probe.distillation.methods import METHODS
from manifold_probe.distillation.run_folder import RunFolder, read_log
from manifold_probe.distillation.setting import prepare
from manifold_probe.distillation.train import train
from manifold_probe.extraction.processes import Processes
from tests.distillation.run_helpers import world

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]
RECIPE = "crop-mirror-jitter"


def settings(method: str, **more: object):
    given = {"method": method, "teacher": "t.pt", "student": "conv4", "data": "digits.npz", "epochs": 3}
    queue = {"options": {"queue_size": 64}} if method in ("seed", "compress") else {}
    head = {"head": "linear"} if method == "ckd" else {}
    return resolved({**given, "batch_size": 32, "seed": 3, "rate": 1e-3, **queue, **head, **more})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(world(tmp_path))
    return tmp_path


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains(method: str, folder: Path) -> None:
    train(settings(method), "run", tell=lambda _: None)
    losses = [line["loss"] for line in read_log("run") if "loss" in line]
    assert np.isfinite(losses).all()
    assert RunFolder("run").finished


def test_the_device_is_used_as_it_is_best(folder: Path) -> None:
    setting = prepare(settings("coss"), Processes(), lambda _: None)
    weight = next(each for each in setting.learner.module.parameters() if each.ndim == 4)
    assert weight.device.type == "cuda"
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert setting.optimiser.defaults["fused"]
    with setting.autocast():
        backbone, _ = setting.learner.embed(setting.examples.batch(np.arange(8)))
    assert backbone.dtype == torch.bfloat16


def test_a_student_of_the_gpu_is_as_good_as_one_of_the_cpu(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(settings("mse", epochs=10), "gpu", tell=lambda _: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    train(settings("mse", epochs=10), "cpu", tell=lambda _: None)
    last = [read_log(name)[-1]["measures"]["backbone"]["overlap@10"] for name in ("gpu", "cpu")]
    assert abs(last[0] - last[1]) < 0.05


def test_views_are_made_on_the_gpu(folder: Path) -> None:
    look = {"size": "16", "mean": "0.5", "std": "0.25"}
    teacher = "python:manifold_probe.models.students:make?name=resnet8"
    setting = prepare(settings("cosine", teacher=teacher, augment=RECIPE, **look), Processes(), lambda _: None)
    seen = setting.examples.batch(np.arange(8), 1)
    assert seen.device.type == "cuda"
    setting.examples.device = torch.device("cpu")
    assert torch.allclose(seen.cpu(), setting.examples.batch(np.arange(8), 1), atol=1e-4)
    train(setting.config, "run", tell=lambda _: None)


def test_a_stopped_run_goes_on(folder: Path) -> None:
    train(settings("coss"), "run", tell=lambda _: None)
    state = RunFolder("run").state()
    assert state is not None
    assert state["random"]["cuda"]
    (folder / "run" / "manifest.json").unlink()
    train(settings("coss"), "run", tell=lambda _: None)
    assert RunFolder("run").finished


def test_a_batch_in_parts_and_averaged_weights(folder: Path) -> None:
    train(settings("coss", accumulate=4, clip=1.0, ema=0.9), "run", tell=lambda _: None)
    assert RunFolder("run").finished


def test_a_compiled_student_trains(folder: Path) -> None:
    train(settings("coss", compile=True), "run", tell=lambda _: None)
    losses = [line["loss"] for line in read_log("run") if "loss" in line]
    assert losses[-1] < losses[0]


def test_tokens_train(folder: Path) -> None:
    digits = np.load("digits.npz")
    sets = np.random.default_rng(0).normal(size=(len(digits["ids"]), 17, 12)).astype(np.float32)
    np.savez("tokens.npz", features=sets, ids=digits["ids"])
    more = {"teacher": "tokens.npz", "student": "vit-ti", "pool": "tokens", "size": "16", "warmup_epochs": 0.1}
    train(settings("tintem", **more), "run", tell=lambda _: None)
    assert "neighbour_local" in next(line["terms"] for line in read_log("run") if "terms" in line)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_processes_train_as_one(folder: Path) -> None:
    run = ["-m", "manifold_probe", "distill", "--method", "coss", "--teacher", "t.pt", "--student", "conv4", "--data"]
    run += ["digits.npz", "--epochs", "1", "--batch-size", "32", "--rate", "0.001", "--out", "run"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *run]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert RunFolder("run").finished
