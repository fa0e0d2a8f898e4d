"""`probe distill`: the short form, every method, resuming to the bit, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import manifold_probe as mp
from manifold_probe import cli
from manifold_probe.distillation.config import read_toml, resolved
from manifold_probe.distillation.methods import METHODS
from manifold_probe.distillation.run_folder import RunFolder, read_log
from manifold_probe.distillation.train import Run, train
from manifold_probe.errors import InputError
from manifold_probe.evaluation.watch import watched
from manifold_probe.models.heads import make_head
from manifold_probe.models.load import forward, load_model
from manifold_probe.models.source import is_source
from manifold_probe.spaces.read import read
from tests.command_line import changed
from tests.distillation.run_helpers import ROWS, command, contents, ran, world

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(world(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def refused(arguments: list[str], capfd: Capture) -> str:
    capfd.readouterr()
    assert cli.run(changed(arguments)) == 2
    out, error = capfd.readouterr()
    assert out == ""
    assert error.count("\n") == 1, error
    return error


def settings(**more: Any) -> Any:
    given = {"method": "coss", "teacher": "t.pt", "student": "conv4", "data": "digits.npz", "epochs": 2}
    return resolved({**given, "batch_size": 32, "seed": 3, **more})


def test_the_short_form(folder: Path, capfd: Capture) -> None:
    out, error = ran(command(), capfd)
    assert "overlap@10" in out
    assert "10 steps, 320 samples" in error
    students = json.loads((folder / "run" / "result.json").read_text())["students"]
    assert list(students) == ["backbone", "head"]
    backbone, head = mp.load("run/result.json").values()
    same = mp.compare("t.pt", "run", allow_missing=True)
    assert same.measures["overlap@10"].value == backbone.measures["overlap@10"].value
    assert read("run").d == 128
    assert read("run::head").d == head.inputs["student"]["shape"][1] == 24
    assert sorted(read("run").ids.tolist()) == [f"d{row:04d}" for row in range(ROWS)]
    loaded = load_model("run/student.pt")
    assert loaded.preprocessing is not None
    images = torch.stack([loaded.preprocessing(image) for image in np.load("digits.npz")["images"]])
    assert np.allclose(forward(loaded, images).numpy(), read("run").read(0, ROWS), atol=1e-5)
    _, error = ran(command(), capfd)
    assert "finished" in error


def test_the_log_holds_terms_and_measures_from_the_untrained_student_on(folder: Path, capfd: Capture) -> None:
    ran(command("run", "coss", "--held-out", "0.25"), capfd)
    log = read_log("run")
    measured = [line for line in log if "measures" in line]
    assert [line["epoch"] for line in measured] == [0, 1, 2]
    assert all(line["rank"] > 1 and line["norm"] > 0 and line["warnings"] == [] for line in measured)
    assert measured[0]["probe"] == {"rows": 40, "held_out": True}
    terms = [line for line in log if "terms" in line]
    assert [line["encoded"] for line in terms] == [96, 192]
    assert all(line["loss"] == pytest.approx(sum(line["terms"].values())) for line in terms)
    trained = {json.loads(line) for line in (folder / "run" / "train_ids.txt").read_text().splitlines()}
    assert len(trained) == 120
    unseen = np.array([id not in trained for id in read("run").ids.tolist()])
    rows = np.flatnonzero(unseen)
    teacher = read("t.pt")
    place = {id: row for row, id in enumerate(teacher.ids.tolist())}
    matched = teacher.take(np.array([place[id] for id in read("run").ids[rows].tolist()]))
    again = watched(read("run").take(rows), matched, seed=3)
    last = measured[-1]["measures"]["backbone"]
    assert {key: last[key] for key in again} == pytest.approx(again, abs=1e-6)
    assert mp.load("run/result.json")["backbone"].pairing["rows"] == 40


def test_rows_are_measured_after_chosen_epochs(folder: Path) -> None:
    given = {"method": "pkt", "teacher": "t.pt", "student": "conv4", "data": "digits.npz", "batch_size": 32}
    train(resolved({**given, "epochs": 5, "probe_at": [1, 3]}), folder / "run")
    assert [line["epoch"] for line in read_log("run") if "measures" in line] == [0, 1, 3, 5]
    with pytest.raises(InputError, match=r"probe_at: 6 is not an epoch; give numbers from 1 to 5"):
        resolved({**given, "epochs": 5, "probe_at": [6]})


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains(method: str, folder: Path, capfd: Capture) -> None:
    more = {"seed": {"queue_size": 64}, "compress": {"queue_size": 64}}.get(method, {})
    head = "linear" if method == "ckd" else None
    config = settings(method=method, epochs=1, options=more, rate=1e-3, head=head)
    train(config, "run", tell=lambda _: None)
    line = next(line for line in read_log("run") if "terms" in line)
    assert np.isfinite(line["loss"])
    before, after = (line["measures"]["backbone"] for line in read_log("run") if "measures" in line)
    assert before != after
    assert (
        RunFolder("run").facts()["head"]
        == (
            METHODS[method].needs == "logits"
            or method not in ("tintem", "cospress", "ckd", "rkd", "sp", "pkt", "compress", "mse")
            or method == "mse"
        )
        if method != "ckd"
        else True
    )


class Killed(BaseException):
    """No handler catches it, as none runs after SIGKILL."""


@pytest.mark.parametrize("at", [1, 2, 3, 5, 6, 8, 9, 11, 12, 13, 14])
def test_a_run_that_dies_at_any_write_ends_with_the_same_bits(
    at: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(method="tintem", epochs=2, log_every=2)
    train(config, "whole", tell=lambda _: None)
    count = 0
    real, log = RunFolder.write, RunFolder.log

    def dies(write: Any) -> Any:
        def counted(self: RunFolder, *arguments: Any) -> None:
            nonlocal count
            count += 1
            if count == at:
                raise Killed
            write(self, *arguments)

        return counted

    with monkeypatch.context() as broken:
        broken.setattr(RunFolder, "write", dies(real))
        broken.setattr(RunFolder, "log", dies(log))
        with pytest.raises(Killed):
            train(config, "run", tell=lambda _: None)
    train(config, "run", tell=lambda _: None)
    assert contents(folder / "run") == contents(folder / "whole")
    states = [torch.load(f"{name}/last.pt", weights_only=True) for name in ("run", "whole")]
    for part in ("student", "method"):
        assert all(torch.equal(states[0][part][name], value) for name, value in states[1][part].items())


def test_a_run_that_dies_within_an_epoch_goes_on_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings(log_every=2)
    train(config, "whole", tell=lambda _: None)
    monkeypatch.setattr("manifold_probe.distillation.train.CHECKPOINT_SECONDS", 0.0)  # a checkpoint at every step
    real, steps = Run.one_step, 0

    def dies(self: Run, *arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 4:
            raise Killed
        return real(self, *arguments)

    monkeypatch.setattr(Run, "one_step", dies)
    with pytest.raises(Killed):
        train(config, "run", tell=lambda _: None)
    said: list[str] = []
    train(config, "run", tell=said.append)
    assert "resumes at step 3 of 10" in said[0]
    assert contents(folder / "run") == contents(folder / "whole")


@pytest.mark.slow
def test_a_killed_process_ends_with_the_same_bits(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    program = [sys.executable, "-m", "manifold_probe"]
    subprocess.run([*program, *command("whole", "seed", "--epochs", "30")], env=environment, check=True)
    for lines in (1, 9, 25):
        process = subprocess.Popen([*program, *command("run", "seed", "--epochs", "30")], env=environment)
        log = folder / "run" / "log.jsonl"
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if log.exists() and len(log.read_bytes().splitlines()) >= lines:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([*program, *command("run", "seed", "--epochs", "30")], env=environment, check=True)
    assert contents(folder / "run") == contents(folder / "whole")


@pytest.mark.slow
def test_two_processes_train_as_one(folder: Path) -> None:
    (folder / "flat.py").write_text(
        "import torch\n"
        "def make(): return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 24))\n"  # no batch norm
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{folder}", "OMP_NUM_THREADS": "1"}
    for out, count in (("one", 1), ("two", 2)):
        form = command(out, "tintem", "--epochs", "2", "--size", "16", "--mean", "0.5", "--std", "0.5")
        form[form.index("conv4")] = "python:flat:make"
        program = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count)]
        subprocess.run([*program, "-m", "manifold_probe", *form], env=environment, check=True)
    one, two = (read(name).read(0, ROWS) for name in ("one", "two"))
    assert np.allclose(one, two, atol=1e-4)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(folder: Path, capfd: Capture) -> None:
    error = refused(command("run", "mse", "--rate", "1e30", "--epochs", "3"), capfd)
    assert "the loss is not finite at step" in error
    assert "batch of ids d0" in error
    state = RunFolder("run").state()
    assert state is not None
    assert all(value.isfinite().all() for value in state["student"].values())


def test_a_changed_configuration_is_refused_with_the_difference(folder: Path, capfd: Capture) -> None:
    ran(command(), capfd)
    before = contents(folder / "run")
    assert "epochs (2 there, 3 now)" in refused(command("run", "coss", "--epochs", "3"), capfd)
    assert "space_weight (1.0 there, 0.5 now)" in refused(command("run", "coss", "--option", "space_weight=0.5"), capfd)
    torch.save({**torch.load("t.pt"), "features": torch.randn(ROWS + 20, 24)}, "t.pt")
    assert "the teacher's features" in refused(command(), capfd)
    assert contents(folder / "run") == before


def test_the_saved_configuration_gives_the_same_run(folder: Path, capfd: Capture) -> None:
    ran(command("run", "coss", "--option", "space_weight=0.5", "--rate", "0.1"), capfd)
    ran(["distill", "--config", "run/config.toml", "--out", "again"], capfd)
    assert contents(folder / "again") == contents(folder / "run")
    assert read_toml("run/config.toml")["options"] == {"space_weight": 0.5, "scale": 1.0, "gather": False}


BAD = {
    "method": (["--method", "cosss"], "--method: no method is called 'cosss'; did you mean coss"),
    "student": (
        ["--student", "conv5"],
        "--student: 'conv5' is neither a built-in student nor a model source; did you mean conv4",
    ),
    "option": (
        ["--option", "space_wait=1"],
        "space_wait: coss has no such constant; did you mean space_weight",
    ),
    "option form": (["--option", "space_weight"], "--option: 'space_weight' is not NAME=VALUE"),
    "option type": (["--option", "space_weight=high"], "--option: space_weight is 'high'; give a value like 1.0"),
    "teacher": (["--teacher", "none.pt"], "none.pt: "),
    "data": (["--data", "none.npz"], "none.npz: "),
    "logits as features": (["--teacher", "t.pt::logits"], "t.pt::logits: holds logits, and the method needs features"),
    "augment": (["--augment", "crop-mirror-jitter"], "holds features of the plain view only"),
    "recipe": (["--augment", "mixup"], "--augment: 'mixup' is not known"),
    "batch": (["--batch-size", "500"], "--batch-size: 500 is more than the 160 rows"),
    "neighbours": (["--neighbour-batches", "--batch-size", "40"], "--batch-size: 40 is not a multiple of 16"),
    "head": (["--head", "liner"], "no head is called 'liner'; did you mean 'linear'"),
    "widths": (["--head", "identity"], "needs a student as wide as its teacher, got 128 and 24; give it a head"),
    "epochs": (["--epochs", "0"], "--epochs: 0 is below 1"),
    "rate": (["--rate", "-1"], "--rate: -1.0 is not a finite number of at least 0"),
    "held out": (["--held-out", "0.01"], "--held-out: 2 of 160 rows are too few"),
    "contrastive": (["--method", "ckd", "--head", "linear", "--batch-size", "1"], "1 row is too few to train on"),
    "batch norm": (["--batch-size", "1"], "--batch-size: 1 row is too few to train on"),
    "config": (["--config", "none.toml"], "--config: none.toml: cannot be read"),
    "out": (["--out", "."], ".: holds other files"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(case: str, folder: Path, capfd: Capture) -> None:
    more, message = BAD[case]
    before = sorted(folder.rglob("*"))
    assert message in refused(command("run", "coss", *more), capfd)
    assert [each for each in sorted(folder.rglob("*")) if each not in before] == []


def test_rows_that_the_teacher_lacks_are_named(folder: Path, capfd: Capture) -> None:
    torch.save({"features": torch.randn(100, 8), "ids": [f"d{row:04d}" for row in range(100)]}, "t.pt")
    assert "has no row for 60 of the 160 ids of digits.npz (d0100, d0101, d0102)" in refused(command(), capfd)
    torch.save({"features": torch.randn(100, 8)}, "t.pt")
    assert "has 100 rows and no ids, digits.npz has 160" in refused(command(), capfd)


def test_labels_are_needed_where_the_method_needs_them(folder: Path, capfd: Capture) -> None:
    arrays = np.load("digits.npz")
    np.savez("bare.npz", images=arrays["images"], ids=arrays["ids"])
    assert "dkd needs labels, and bare.npz has none" in refused(command("run", "dkd", "--data", "bare.npz"), capfd)


def test_items_without_a_label_are_refused_where_the_method_trains_on_labels(folder: Path, capfd: Capture) -> None:
    arrays = dict(np.load("digits.npz"))
    arrays["labels"] = np.where(np.arange(len(arrays["labels"])) % 4 == 0, -1, arrays["labels"])
    np.savez("some.npz", **arrays)
    for method in ("dkd", "kd"):
        message = refused(command("run", method, "--data", "some.npz"), capfd)
        assert f"some.npz: 40 of 160 items have no label, and {method} trains on labels" in message
    assert cli.run(command("run", "cosine", "--data", "some.npz")) == 0


def test_an_orthogonal_head_stays_orthogonal_whatever_the_decay(folder: Path) -> None:
    config = settings(method="cosine", head="orthogonal", optimiser="adamw", rate=1e-2, weight_decay=0.5)
    train(config, "run", tell=lambda _: None)
    state = torch.load("run/student.pt", weights_only=True)["head"]["state"]
    head = make_head("orthogonal", 128, 24)
    head.load_state_dict(state)
    weight = head.weight.detach()
    assert torch.allclose(weight @ weight.T, torch.eye(24), atol=1e-4)


@pytest.mark.parametrize(
    ("method", "head"),
    [("cosine", name) for name in ("linear", "mlp", "layernorm_linear", "orthogonal")] + [("kd", None)],
)
def test_a_run_is_a_model_and_so_is_its_head(method: str, head: str | None, folder: Path) -> None:
    train(settings(method=method, head=head, epochs=1), "run", tell=lambda _: None)
    pictures = np.load("digits.npz")["images"]
    for name in ("run", "run/student.pt"):
        for output in ("backbone", "head"):
            model = load_model(f"{name}::{output}")
            assert model.preprocessing is not None
            images = torch.stack([model.preprocessing(image) for image in pictures])
            assert np.allclose(forward(model, images).numpy(), read(f"run::{output}").read(0, ROWS), atol=1e-5)
    assert load_model("run").fingerprint == load_model("run/student.pt").fingerprint
    assert is_source("run/student.pt::head")
    assert not is_source("run::head")  # the features that the run stored
    bare = torch.load("run/student.pt", weights_only=True)
    torch.save({key: value for key, value in bare.items() if key != "head"}, "bare.pt")
    with pytest.raises(InputError, match=r"bare.pt: holds no head; give bare.pt without ::head"):
        load_model("bare.pt::head")


def test_features_of_a_head_on_other_data(folder: Path, capfd: Capture) -> None:
    train(settings(epochs=1), "run", tell=lambda _: None)
    arrays = np.load("digits.npz")
    np.savez("other.npz", images=arrays["images"][::-1][:50], ids=arrays["ids"][::-1][:50])
    ran(["extract", "--model", "run/::head", "--data", "other.npz", "--out", "feats", "--dtype", "float32"], capfd)
    found, stored = read("feats"), read("run::head")
    place = {id: row for row, id in enumerate(stored.ids.tolist())}
    wanted = stored.read(0, ROWS)[[place[id] for id in found.ids.tolist()]]
    assert np.allclose(found.read(0, 50), wanted, atol=1e-5)
    error = refused(["extract", "--model", "no-run", "--data", "other.npz", "--out", "x"], capfd)
    assert "no-run: is not a model; write " in error
    assert "or the folder of a finished run" in error
    ran(command("again", "coss", "--student", "run"), capfd)  # a run's student is a student like any other
    assert read("again").d == 128


@pytest.mark.parametrize(("teacher", "terms"), [("t.pt::features", ["contrastive"]),
                                                ("t.pt::logits", ["classification", "contrastive"])])  # fmt: skip
def test_ckd_learns_labels_with_logits_alone(teacher: str, terms: list[str], folder: Path) -> None:
    head = "linear" if teacher.endswith("features") else None
    train(settings(method="ckd", teacher=teacher, epochs=1, head=head), "run", tell=lambda _: None)
    line = next(line for line in read_log("run") if "terms" in line)
    assert sorted(line["terms"]) == terms


def test_a_file_of_logits_alone_is_taken_as_logits(folder: Path) -> None:
    content = torch.load("t.pt")
    torch.save({"logits": content["logits"], "ids": content["ids"]}, "l.pt")
    train(settings(method="ckd", teacher="l.pt", epochs=1), "run", tell=lambda _: None)
    assert read("run::head").d == 10
