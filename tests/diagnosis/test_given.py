"""What a diagnosis is given beside the two sides: a run's folder, features of rows trained on, a log, classes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import manifold_probe as mp
from manifold_probe import cli
from manifold_probe.diagnosis.given import class_names
from manifold_probe.errors import InputError
from manifold_probe.measures.catalogue import OVERLAP
from tests.distillation.run_helpers import command, world
from tests.test_bad_input import check

Capture = pytest.CaptureFixture[str]
KEY = OVERLAP.named(10)
LEFT_BY_A_KILL = ("config.toml", "inputs.json", "last.pt", "log.jsonl", "train_ids.txt")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = world(tmp_path_factory.mktemp("runs"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert cli.run(command("run", "coss", "--held-out", "0.5", "--epochs", "4")) == 0
        assert cli.run(command("seen", "coss", "--held-out", "0")) == 0
    (place / "killed").mkdir()
    for name in LEFT_BY_A_KILL:
        shutil.copy(place / "run" / name, place / "killed" / name)
    return place


@pytest.fixture
def folder(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(trained)
    return trained


def shares(found: Any) -> dict[str, float]:
    return {part["name"]: part["share"] for part in found.to_dict()["accounting"]}


def test_a_run_needs_nothing_else(folder: Path) -> None:
    found = mp.diagnose("run")
    made = found.to_dict()
    assert made["pairing"]["rows"] == 80
    assert set(made["inputs"]) == {"teacher", "student", "student_head"}
    looked = made["examined"]
    assert looked["training"] == {"finished": True, "trained_rows": 80, "measured": "rows held out of training"}
    assert looked["overfit"]["rows"] == 80
    assert looked["log"]["points"] == 4
    assert looked["head"]["queries"] == 80
    assert looked["interventions"][0]["name"] == "as it is"
    assert looked["interventions"][0]["overlap"] == pytest.approx(made["measures"][KEY]["value"], abs=0.02)
    assert sum(shares(found).values()) == pytest.approx(1 - made["measures"][KEY]["value"], abs=1e-9)
    assert {"overfit", "underfit", "lost_in_head"} <= set(shares(found))
    left = {each["name"] for each in made["not_assessed"]}
    assert not left & {"overfit", "undertrained", "misaligned_head", "preprocessing"}
    held = mp.load("run").select(np.flatnonzero([id not in seen_ids(folder) for id in mp.load("run").ids.tolist()]))
    plain = mp.compare("t.pt", held, allow_missing=True)
    assert made["measures"][KEY]["value"] == pytest.approx(plain.measures[KEY].value)


def seen_ids(folder: Path) -> set[str]:
    return {json.loads(line) for line in (folder / "run" / "train_ids.txt").read_text().splitlines()}


def test_a_run_that_held_nothing_out(folder: Path) -> None:
    found = mp.diagnose("seen")
    assert found.examined["training"]["measured"] == "all rows"
    assert found.to_dict()["pairing"]["rows"] == 160
    assert shares(found)["overfit"] == 0
    assert shares(found)["not_held"] == pytest.approx(0, abs=1e-9)  # all rows were trained on: what is left is underfit
    assert shares(found)["underfit"] > 0


def test_a_run_that_was_killed_is_read_at_its_last_state(folder: Path) -> None:
    found, finished = mp.diagnose("killed"), mp.diagnose("run")
    assert found.examined["training"]["finished"] is False
    assert found.examined["training"]["step"] == found.examined["training"]["steps"] == 8
    assert found.to_dict()["measures"][KEY] == finished.to_dict()["measures"][KEY]
    assert found.examined["log"] == finished.examined["log"] | {"finished": False}
    assert "preprocessing" in [each["name"] for each in found.not_assessed]


def test_a_killed_run_without_its_data_says_what_its_log_says(folder: Path, tmp_path: Path, capfd: Capture) -> None:
    shutil.copytree("killed", tmp_path / "killed")
    config = (tmp_path / "killed" / "config.toml").read_text()
    (tmp_path / "killed" / "config.toml").write_text(config.replace('"digits.npz"', '"gone.npz"'))
    capfd.readouterr()
    code = cli.run(["diagnose", str(tmp_path / "killed")])
    out, error = capfd.readouterr()
    check(code, out, error)
    assert "is not finished" in error
    assert "gone.npz" in error
    assert "its log shows that the loss was " in error


def test_a_run_whose_teacher_is_not_found_from_here_says_so(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path("run").absolute()
    facts = json.loads((run / "manifest.json").read_text())
    shutil.copytree(run, tmp_path / "moved")
    (tmp_path / "moved" / "manifest.json").write_text(json.dumps(facts | {"teacher": "features/t.npz"}))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"moved: the run's teacher cannot be read .*features/t.npz.* --teacher"):
        mp.diagnose("moved")


def test_a_student_that_is_code_is_not_run(folder: Path, tmp_path: Path) -> None:
    shutil.copytree("killed", tmp_path / "killed")
    config = (tmp_path / "killed" / "config.toml").read_text()
    (tmp_path / "killed" / "config.toml").write_text(config.replace('student = "conv4"', 'student = "python:os:abort"'))
    with pytest.raises(InputError, match="its student is Python code, which is not run from a folder"):
        mp.diagnose(tmp_path / "killed")


def test_the_command_of_a_run(folder: Path, capfd: Capture) -> None:
    capfd.readouterr()
    assert cli.run(["diagnose", "run", "--json", "--k", "5"]) == 0
    made = json.loads(capfd.readouterr().out)
    assert made["settings"]["k"] == 5
    assert made == mp.diagnose("run", k=5).to_dict() | {"provenance": made["provenance"]}


def test_what_a_reader_must_know_of_a_run(folder: Path, capfd: Capture) -> None:
    for run, words in (
        ("killed", "is not finished (step 8 of 8): its last saved state"),
        ("seen", "all rows"),
    ):
        capfd.readouterr()
        assert cli.run(["diagnose", run]) == 0
        assert words in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["t.pt"], "t.pt: is not the folder of a run"),
        (["run", "--teacher", "t.pt"], "the folder of a run goes without --teacher and --student"),
        (["run", "--log", "run/log.jsonl"], "log: is known of the run run; leave it out"),
        (["run", "--train-ids", "run/train_ids.txt"], "train ids: is known of the run run"),
        (["run", "--positional"], "positional: is known of the run run"),
        (["run", "--data", "digits.npz"], "data: is known of the run run"),
        (["--student", "run"], "--teacher: missing; give teacher and student, or the folder of a run"),
        (["--teacher", "t.pt"], "--student: missing"),
        ([], "--teacher: missing"),
        (["run", "--k", "50"], "at least 204 are needed for k = 50"),
    ],
)
def test_runs_that_cannot_be(arguments: list[str], words: str, folder: Path, capfd: Capture) -> None:
    capfd.readouterr()
    code = cli.run(["diagnose", *arguments])
    out, error = capfd.readouterr()
    check(code, out, error)
    assert words in error


def test_a_damaged_log(folder: Path, tmp_path: Path) -> None:
    shutil.copytree("run", tmp_path / "run")
    (tmp_path / "run" / "log.jsonl").write_text('{"step": 1, "loss": "low"}\n')
    with pytest.raises(InputError, match="its log is damaged"):
        mp.diagnose(tmp_path / "run")


# ---- other people's trainings

N, D = 400, 10
DRAW = np.random.default_rng(0)
TEACHER = DRAW.normal(size=(N, D)).astype(np.float32)
STUDENT = TEACHER + 0.2 * DRAW.normal(size=(N, D)).astype(np.float32)
LOST = TEACHER + 1.5 * DRAW.normal(size=(N, D)).astype(np.float32)
LABELS = np.array([f"c{place}" for place in np.arange(N) % 4])
FALLING = [(step, 3 - step / 100) for step in range(1, 101)]


def test_features_of_rows_that_were_trained_on(tmp_path: Path) -> None:
    for name, array in (("t", TEACHER), ("s", LOST), ("tt", TEACHER), ("ts", STUDENT)):
        np.save(tmp_path / f"{name}.npy", array)
    found = mp.diagnose(TEACHER, LOST, train_teacher=TEACHER, train_student=STUDENT)
    assert "overfit" in [each.name for each in found.causes]
    assert found.examined["overfit"]["rows"] == N
    assert shares(found)["overfit"] > 0.3
    sides = ["--teacher", f"{tmp_path}/t.npy", "--student", f"{tmp_path}/s.npy"]
    more = ["--train-teacher", f"{tmp_path}/tt.npy", "--train-student", f"{tmp_path}/ts.npy"]
    assert cli.run(["diagnose", *sides, *more]) == 0


def test_a_log_and_classes(tmp_path: Path, capfd: Capture) -> None:
    absent = np.isin(LABELS, ["c2", "c3"])
    student = np.where(absent[:, None], LOST, STUDENT)
    found = mp.diagnose(TEACHER, student, labels=LABELS, classes_trained=["c0", "c1"], log=FALLING)
    assert {"absent_classes", "undertrained"} <= {each.name for each in found.causes}
    assert shares(found)["absent_classes"] > 0.1
    np.savez(tmp_path / "t.npz", features=TEACHER, labels=LABELS)
    np.save(tmp_path / "s.npy", student)
    (tmp_path / "log.csv").write_text("step,loss\n" + "".join(f"{step},{loss}\n" for step, loss in FALLING))
    (tmp_path / "classes.txt").write_text("c0\nc1\n")
    sides = ["--teacher", f"{tmp_path}/t.npz", "--student", f"{tmp_path}/s.npy"]
    for classes in ("c0,c1", f"{tmp_path}/classes.txt"):
        capfd.readouterr()
        more = ["--log", f"{tmp_path}/log.csv", "--classes-trained", classes, "--json"]
        assert cli.run(["diagnose", *sides, *more]) == 0
        assert json.loads(capfd.readouterr().out)["causes"] == found.to_dict()["causes"]


def test_class_names_in_every_form(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("c0\nc1\n")
    for given in ("c0,c1", " c0, c1 ,", ["c0", "c1"], ("c0", "c1"), np.array(["c0", "c1"]), tmp_path / "names.txt"):
        assert class_names(given) == ["c0", "c1"]
    assert class_names(np.array([3, 7])) == ["3", "7"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"train_teacher": TEACHER}, "train student: missing, although train teacher is given"),
        ({"train_student": TEACHER}, "train teacher: missing, although train student is given"),
        ({"train_teacher": TEACHER, "train_student": STUDENT, "train_ids": [1]}, "train ids: cannot be combined"),
        (
            {"train_teacher": TEACHER[:, :4], "train_student": STUDENT},
            "train teacher: has 4 dimensions, the teacher 10",
        ),
        (
            {"train_teacher": TEACHER, "train_student": STUDENT[:, :4]},
            "train student: has 4 dimensions, the student 10",
        ),
        ({"train_teacher": TEACHER[:40], "train_student": STUDENT[:40]}, "40 of the paired rows were trained on"),
        ({"train_teacher": TEACHER, "train_student": STUDENT * np.nan}, "NaN"),
        ({"log": "none.csv"}, "none.csv: cannot be read"),
        ({"log": []}, "log: holds no line"),
        ({"classes_trained": "c0,cat", "labels": LABELS}, "no row has the label 'cat'; the labels are c0, c1, c2, c3"),
        ({"classes_trained": "c0"}, "the rows have no labels"),
        ({"classes_trained": 7, "labels": LABELS}, "classes trained: is a int"),
        ({"classes_trained": "", "labels": LABELS}, "classes trained: names none"),
        ({"classes_trained": "no/where.txt", "labels": LABELS}, "no/where.txt: no such file"),
    ],
)
def test_what_cannot_be_used(more: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as raised:
        mp.diagnose(TEACHER, STUDENT, **more)
    assert "\n" not in str(raised.value)


def test_rows_trained_on_must_be_others() -> None:
    ids = np.arange(N)
    teacher, student = ({"features": each, "ids": ids} for each in (TEACHER, STUDENT))
    with pytest.raises(InputError, match="train teacher: 400 of its rows are also diagnosed"):
        mp.diagnose(teacher, student, train_teacher=teacher, train_student=student)


def test_no_student_and_no_run() -> None:
    with pytest.raises(InputError, match="student: missing"):
        mp.diagnose(TEACHER)
