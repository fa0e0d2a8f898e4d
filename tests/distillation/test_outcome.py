"""How a run ends: against the untrained student, on rows held out, and given once more."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import manifold_probe as mp
from manifold_probe import cli
from manifold_probe.distillation import train as trainer
from manifold_probe.distillation.run_folder import RunFolder, read_log
from manifold_probe.measures import neighbourhood_overlap
from manifold_probe.spaces.folder import is_run
from manifold_probe.spaces.read import read
from tests.distillation.run_helpers import ROWS, command, contents, ran, world

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(world(tmp_path))
    return tmp_path


def all_digits(folder: Path) -> None:
    """1,797 digits, and a teacher that is a random network of two layers."""
    pixels, digits = load_digits(return_X_y=True)
    ids = np.array([f"d{row:04d}" for row in range(len(pixels))])
    images = (pixels.reshape(-1, 8, 8) / 16 * 255).round().astype(np.uint8).repeat(2, 1).repeat(2, 2)
    np.savez(folder / "digits.npz", images=images, labels=digits, ids=ids)
    generator = torch.Generator().manual_seed(0)
    values = torch.tensor(pixels / 16, dtype=torch.float32)
    hidden = torch.relu(values @ torch.randn(64, 256, generator=generator) / 4)
    features = hidden @ torch.randn(256, 64, generator=generator) / 8
    torch.save({"features": features, "ids": ids.tolist()}, folder / "t.pt")


def test_what_training_won_is_said_and_saved(folder: Path, capfd: Capture) -> None:
    all_digits(folder)
    out, _ = ran(command("run", "mse", "--batch-size", "128", "--epochs", "3"), capfd)
    result = mp.load("run/result.json")["backbone"]
    assert result.pairing["rows"] == 180  # a tenth
    training = result.details["training"]
    won = training["gain"]
    assert (training["trained_rows"], won["rows"], won["held_out"]) == (0, 180, True)
    measured = [line["measures"]["backbone"] for line in read_log("run") if "measures" in line]
    assert won["untrained"] == pytest.approx(measured[0]["overlap@10"], abs=1e-12)
    assert won["trained"] == pytest.approx(measured[-1]["overlap@10"], abs=1e-12)
    place = {id: row for row, id in enumerate(read("t.pt").ids.tolist())}
    trained = RunFolder("run").trained_ids()
    rows = np.array([row for id, row in place.items() if id not in trained])
    own = np.array([row for row, id in enumerate(read("run").ids.tolist()) if id not in trained])
    naive = neighbourhood_overlap(read("t.pt").take(rows), read("run").take(own))
    assert won["trained"] == pytest.approx(naive, abs=1e-9)
    assert won["better"] is True
    assert won["difference"]["low"] > 0
    assert f"from {100 * won['untrained']:.1f}% to {100 * won['trained']:.1f}%" in out
    assert "180 rows held out of training" in out


def test_a_run_that_won_nothing_says_so(folder: Path, capfd: Capture) -> None:
    all_digits(folder)
    out, _ = ran(command("run", "cosine", "--batch-size", "128", "--epochs", "1", "--rate", "0"), capfd)
    assert "no better than untrained: overlap@10 is" in out
    for result in mp.load("run/result.json").values():
        assert "no_better_than_untrained" in [alarm["code"] for alarm in result.alarms]
        assert result.details["training"]["gain"]["better"] is False
    again = mp.compare("t.pt", "run/")
    again.to_html("page.html")
    assert "o better than untrained" in (folder / "page.html").read_text()
    assert "no_better_than_untrained" in [alarm["code"] for alarm in again.alarms]
    assert "no better than untrained" in again.summary().lower()


def test_rows_that_were_trained_on_are_counted(folder: Path, capfd: Capture) -> None:
    ran(command("run", "mse", "--held-out", "0.25"), capfd)
    compared = mp.compare("t.pt", "run", allow_missing=True)
    assert compared.details["training"]["trained_rows"] == 120
    messages = {alarm["code"]: alarm["message"] for alarm in compared.alarms}
    assert messages["trained_rows"].startswith("120 of the 160 rows were trained on")
    assert compared.to_dict() == mp.api.of_document(json.loads(compared.to_json())).to_dict()
    ran(command("all", "mse", "--held-out", "0"), capfd)
    alarms = {alarm["code"]: alarm["message"] for alarm in mp.load("all/result.json")["backbone"].alarms}
    assert alarms["trained_rows"].startswith("all 160 rows were trained on")
    assert "trained_rows" not in [alarm["code"] for alarm in mp.load("run/result.json")["backbone"].alarms]


def test_small_data_are_trained_on_as_a_whole(folder: Path, capfd: Capture) -> None:
    ran(command("run", "mse"), capfd)
    assert len(RunFolder("run").trained_ids()) == ROWS
    assert "held_out = 0.0\n" in (folder / "run" / "config.toml").read_text()


def test_a_run_shorter_than_its_warm_up_is_warned_about(folder: Path, capfd: Capture) -> None:
    _, error = ran(command("run", "tintem"), capfd)
    assert "warning: the run of 2 epochs ends within the warm-up of 5" in error
    assert "--warmup-epochs 0.2" in error
    _, error = ran(command("fixed", "tintem", "--warmup-epochs", "0.2"), capfd)
    assert "warm-up" not in error
    _, error = ran(command("dkd", "dkd"), capfd)
    assert "warm-up of 20 of dkd's loss" in error
    assert "--option warmup=0" in error


def test_a_finished_run_is_known_without_reading_anything(
    folder: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = ran(command(), capfd)
    before = contents(folder / "run")

    def read_again(*_: object) -> None:
        raise AssertionError("the run was made ready once more")

    with monkeypatch.context() as watched:
        watched.setattr(trainer, "prepare", read_again)
        watched.setattr("manifold_probe.api.distillation.compare_run", read_again)
        again, error = ran(command(), capfd)
        assert again == out
        assert "run is finished: 2 epochs; nothing to do" in error
        assert contents(folder / "run") == before
    os.utime("t.pt")  # the same content, but that shows only when it is read
    again, error = ran(command(), capfd)
    assert again == out
    assert "nothing to do" in error


def test_a_changed_request_is_refused_also_when_the_run_is_finished(folder: Path, capfd: Capture) -> None:
    ran(command(), capfd)
    for more, said in (
        (["--epochs", "3"], "epochs (2 there, 3 now)"),
        (["--held-out", "0.25"], "held_out (0.0 there, 0.25 now)"),
        (["--positional"], "positional (False there, True now)"),
    ):
        capfd.readouterr()
        if more == ["--positional"]:
            content = torch.load("t.pt")
            place = {id: row for row, id in enumerate(content["ids"])}
            rows = [place[f"d{row:04d}"] for row in range(ROWS)]
            kept = {"features": content["features"][rows], "ids": [content["ids"][row] for row in rows]}
            torch.save(kept, "t.pt")
        assert cli.run(command("run", "coss", *more)) == 2
        assert said in capfd.readouterr().err
    arrays = dict(np.load("digits.npz"))
    np.savez("digits.npz", **{**arrays, "labels": arrays["labels"][::-1]})
    assert cli.run(command()) == 2
    assert "the data's ids and labels" in capfd.readouterr().err


def test_the_loss_is_shown_while_training(folder: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QUIET_SECONDS", "BAR_SECONDS", "LINE_SECONDS"):
        monkeypatch.setattr(f"manifold_probe.report.progress.{name}", 0.001)
    _, error = ran(command("run", "mse"), capfd)
    lines = [line for line in error.splitlines() if "training" in line]
    assert len(lines) >= 3
    assert all("; loss " in line for line in lines)
    assert any("s left; loss" in line for line in lines)
    assert "at first," in error


def test_one_mean_loss_is_not_given_twice(folder: Path, capfd: Capture) -> None:
    _, error = ran(command("run", "mse", "--epochs", "1"), capfd)
    (line,) = (line for line in read_log(folder / "run") if "loss" in line)
    assert f"loss {line['loss']:.4g} on average" in error
    assert "at first" not in error
    out, _ = ran(["info", "run"], capfd)
    assert " on average" in out


def test_a_constant_given_twice_is_refused(folder: Path, capfd: Capture) -> None:
    twice = ["--option", "space_weight=0.5", "--option", "space_weight=0.7"]
    assert cli.run(command("run", "coss", *twice)) == 2
    assert "--option: space_weight is given 2 times" in capfd.readouterr().err
    assert not (folder / "run").exists()


def test_an_unfinished_run_is_no_folder_of_parts(folder: Path, capfd: Capture) -> None:
    ran(command("run", "coss"), capfd)
    known = mp.compare("t.pt", "run::head", allow_missing=True).to_dict()["inputs"]["student"]
    assert known["key"] == "head"
    (folder / "run" / "manifest.json").unlink()
    assert cli.run(["compare", "--teacher", "t.pt", "--student", "run"]) == 2
    assert "run: is an unfinished run; give the same probe distill command again" in capfd.readouterr().err


def test_info_shows_the_run(folder: Path, capfd: Capture) -> None:
    ran(command("run", "coss", "--held-out", "0.25"), capfd)
    out, _ = ran(["info", "run/"], capfd)
    assert "coss: student conv4 of teacher t.pt on digits.npz; finished: 2 epochs, 6 steps, seed 3" in out
    assert "120 trained on; 40 rows held out of training" in out
    assert "160 rows x 128 dimensions" in out
    assert "160 rows x 24 dimensions" in out
    value = mp.load("run/result.json")["head"].measures["overlap@10"].value
    assert f"head: overlap@10 {value:.3f}" in out
    assert not is_run("t.pt")


def test_info_of_a_run_that_is_not_finished(folder: Path, capfd: Capture) -> None:
    ran(command("run", "mse"), capfd)
    (folder / "run" / "manifest.json").unlink()
    out, _ = ran(["info", "run"], capfd)
    assert "not finished: at step 10; give the same probe distill command again" in out
    assert "measured  head: overlap@10" in out
