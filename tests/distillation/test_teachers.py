"""Teachers as users have them: without ids, with ids that do not fit, with NaN, constant, too large."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import manifold_probe as mp
from manifold_probe import cli
from manifold_probe.distillation.run_folder import RunFolder, read_log
from manifold_probe.spaces.read import read
from tests.command_line import changed
from tests.distillation.run_helpers import ROWS, command, contents, ran, world

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(world(tmp_path))
    return tmp_path


def refused(arguments: list[str], capfd: Capture) -> str:
    capfd.readouterr()
    before = sorted(Path().rglob("*"))
    assert cli.run(changed(arguments)) == 2
    out, error = capfd.readouterr()
    assert out == ""
    assert error.count("\n") == 1, error
    assert len(error) <= len("probe: ") + 400 + 1
    assert sorted(Path().rglob("*")) == before  # no run folder
    return error


def teacher() -> dict[str, Any]:
    """The world's teacher, on the rows of the data alone, in the data's order."""
    content = torch.load("t.pt")
    place = {id: row for row, id in enumerate(content["ids"])}
    rows = [place[f"d{row:04d}"] for row in range(ROWS)]
    return {"features": content["features"][rows], "ids": [content["ids"][row] for row in rows]}


def test_a_teacher_without_ids_is_refused_unless_positional(folder: Path, capfd: Capture) -> None:
    torch.save({"features": teacher()["features"]}, "bare.pt")
    error = refused(command("run", "mse", "--teacher", "bare.pt"), capfd)
    assert "bare.pt: has no ids" in error
    assert "--teacher-ids FILE" in error
    assert "--positional if its rows are in the order of the data" in error


def test_what_a_positional_run_writes_says_unverified(folder: Path, capfd: Capture) -> None:
    torch.save({"features": teacher()["features"]}, "bare.pt")
    out, error = ran(command("run", "mse", "--teacher", "bare.pt", "--positional"), capfd)
    assert "warning: unverified: the rows of bare.pt and digits.npz are paired by position alone" in error
    assert "160 rows paired by position, unverified" in out
    assert "unverified" in (folder / "run" / "config.toml").read_text().splitlines()[0]
    assert read_log("run")[0]["pairing"] == {"by": "position", "verified": False}
    assert RunFolder("run").facts()["pairing"] == {"by": "position", "verified": False}
    assert torch.load("run/student.pt", weights_only=True)["pairing"]["verified"] is False
    for student in json.loads((folder / "run" / "result.json").read_text())["students"].values():
        assert student["pairing"]["by"] == "position"
        assert student["pairing"]["verified"] is False
        assert "unverified_pairing" in [alarm["code"] for alarm in student["alarms"]]
    torch.save(teacher(), "named.pt")  # ids now vouch for this comparison, but not for the targets of the training
    codes = [alarm["code"] for alarm in mp.compare("named.pt", "run").alarms]
    assert "unverified_pairing" not in codes
    assert "unverified_targets" in codes
    ran(["distill", "--config", "run/config.toml", "--out", "again"], capfd)
    assert contents(folder / "again") == contents(folder / "run")


def test_a_positional_run_is_verified_where_the_ids_agree(folder: Path, capfd: Capture) -> None:
    torch.save(teacher(), "named.pt")
    _, error = ran(command("run", "mse", "--teacher", "named.pt", "--positional"), capfd)
    assert "unverified" not in error
    assert RunFolder("run").facts()["pairing"] == {"by": "position", "verified": True}
    ran(command("by_id", "mse", "--teacher", "named.pt"), capfd)
    assert np.array_equal(read("run").read(0, ROWS), read("by_id").read(0, ROWS))


def test_position_wins_over_ids_only_where_it_is_asked_for(folder: Path, capfd: Capture) -> None:
    """The same rows in another order: by id the run is the same, by position it is another one, marked unverified."""
    straight = teacher()
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(1))
    shuffled = {"features": straight["features"][order], "ids": [straight["ids"][row] for row in order.tolist()]}
    torch.save(straight, "straight.pt")
    torch.save(shuffled, "shuffled.pt")
    torch.save({"features": shuffled["features"]}, "bare.pt")
    (folder / "ids.txt").write_text("".join(f"{id}\n" for id in shuffled["ids"]))
    for out, more in {
        "straight": ["--teacher", "straight.pt"],
        "shuffled": ["--teacher", "shuffled.pt"],
        "told": ["--teacher", "bare.pt", "--teacher-ids", "ids.txt"],
        "position": ["--teacher", "shuffled.pt", "--positional"],
    }.items():
        _, error = ran(command(out, "mse", *more), capfd)
    differ = sum(one != other for one, other in zip(straight["ids"], shuffled["ids"], strict=True))
    assert f"the ids of {differ} of 160 rows differ, so the student learns the targets of other items" in error
    found = {out: read(out).read(0, ROWS) for out in ("straight", "shuffled", "told", "position")}
    assert np.array_equal(found["straight"], found["shuffled"])
    assert np.array_equal(found["straight"], found["told"])
    assert not np.array_equal(found["straight"], found["position"])
    assert mp.load("told/result.json")["backbone"].pairing["verified"] is True
    assert mp.load("position/result.json")["backbone"].pairing["verified"] is False


def test_data_named_by_their_content_join_with_nothing_by_number(folder: Path, capfd: Capture) -> None:
    arrays = np.load("digits.npz")
    np.savez("unnamed.npz", images=arrays["images"], labels=arrays["labels"])
    torch.save({**teacher(), "ids": torch.arange(ROWS)}, "numbered.pt")
    error = refused(command("run", "mse", "--data", "unnamed.npz", "--teacher", "numbered.pt"), capfd)
    assert re.search(r"has no row for 160 of the 160 ids of unnamed.npz \([0-9a-f]{16}, .*its ids are 0, 1, 2", error)


def test_ids_that_do_not_fit_are_named(folder: Path, capfd: Capture) -> None:
    straight = teacher()
    torch.save({**straight, "ids": [f"{row}.png" for row in range(ROWS)]}, "other.pt")
    error = refused(command("run", "mse", "--teacher", "other.pt"), capfd)
    assert "has no row for 160 of the 160 ids of digits.npz (d0000, d0001, d0002)" in error
    assert "its ids are 0.png, 1.png, 2.png" in error
    torch.save({**straight, "ids": ["d0000", *straight["ids"][:-1]]}, "twice.pt")
    assert "has 1 duplicate ids, such as 'd0000'" in refused(command("run", "mse", "--teacher", "twice.pt"), capfd)
    part = {"features": straight["features"][:100], "ids": straight["ids"][:100]}
    torch.save(part, "part.pt")
    error = refused(command("run", "mse", "--teacher", "part.pt"), capfd)
    assert "has no row for 60 of the 160 ids of digits.npz (d0100, d0101, d0102)" in error
    error = refused(command("run", "mse", "--teacher", "part.pt", "--positional"), capfd)
    assert "has 100 rows and digits.npz has 160" in error


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_values_that_are_not_finite_are_found_before_the_run(
    value: float, dtype: torch.dtype, folder: Path, capfd: Capture
) -> None:
    content = teacher()
    content["features"] = content["features"].to(dtype)
    content["features"][7, 3] = value
    torch.save(content, "bad.pt")
    error = refused(command("run", "mse", "--teacher", "bad.pt"), capfd)
    assert "bad.pt: " in error
    assert ("NaN" if value != value else "Inf") in error
    assert "row 7" in error


def test_values_beyond_single_precision_are_named(folder: Path, capfd: Capture) -> None:
    content = teacher()
    torch.save({**content, "features": content["features"].double() * 1e39}, "large.pt")
    assert "beyond 3.4e38" in refused(command("run", "mse", "--teacher", "large.pt"), capfd)


@pytest.mark.parametrize(("value", "word"), [(0.0, "all zero"), (1.5, "all equal")])
def test_a_constant_teacher_has_nothing_to_distil(value: float, word: str, folder: Path, capfd: Capture) -> None:
    torch.save({**teacher(), "features": torch.full((ROWS, 24), value)}, "same.pt")
    error = refused(command("run", "coss", "--teacher", "same.pt"), capfd)
    assert f"same.pt: the teacher's rows are {word}: nothing to distil" in error


def test_labels_may_teach_beside_a_constant_teacher(folder: Path, capfd: Capture) -> None:
    torch.save({"logits": torch.zeros(ROWS, 10), "ids": teacher()["ids"]}, "none.pt")
    _, error = ran(command("run", "kd", "--teacher", "none.pt", "--option", "weight=0.0"), capfd)
    assert "warning: none.pt: the teacher's rows are all zero" in error


@pytest.mark.parametrize(
    ("more", "seen"),
    [
        (["--batch-size", "32", "--epochs", "20"], "the loss is not finite at step"),  # within an epoch
        (["--batch-size", str(ROWS), "--epochs", "2"], "the student's vectors are not finite after step 1"),
    ],
)
def test_divergence_reads_alike_at_a_step_and_at_a_measurement(
    more: list[str], seen: str, folder: Path, capfd: Capture
) -> None:
    content = teacher()
    torch.save({**content, "features": content["features"] * 1e9}, "big.pt")
    capfd.readouterr()
    assert cli.run(command("run", "mse", "--teacher", "big.pt", *more)) == 2
    error = capfd.readouterr().err.strip().splitlines()[-1]
    assert re.search(r"run: the training diverged: .*learning rate was 0\.\d+.*Try --rate 0\.003 in a new --out", error)
    assert seen in error
    assert "the loss" in error
    assert "median length" in error
    assert len(error) < 407
