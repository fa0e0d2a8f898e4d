"""The verbs as functions: what they return, that the command line does the same, and what type checkers see."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import manifold_probe as mp
from manifold_probe import cli
from tests.distillation.run_helpers import world as digits
from tests.extraction.small import world as pictures

Capture = pytest.CaptureFixture[str]
RNG = np.random.default_rng(0)
N = 80
LABELS = np.arange(N) % 2
TEACHER = RNG.normal(size=(N, 6)) + 6 * np.outer(2 * LABELS - 1, np.ones(6))
STUDENT = TEACHER[:, :3]
MODEL = "python:smallnet:make?seed={}"
SEEN = {"size": 16, "mean": 0.5, "std": (0.5, 0.5, 0.5)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(pictures(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "smallnet", raising=False)
    return tmp_path


def test_extract_gives_the_folder_that_the_command_makes(folder: Path, capfd: Capture) -> None:
    heard: list[str] = []
    made = mp.extract(MODEL.format(1), Path("images"), Path("a"), **SEEN, notify=heard.append)
    assert isinstance(made, mp.Extraction)
    assert (made.rows, made.shapes, made.left_out) == (30, {"features": (30, 6)}, 0)
    assert any("30 rows" in sentence for sentence in heard)
    assert made.space().n == 30
    assert made.to_dict()["shapes"] == {"features": [30, 6]}
    assert made.summary() == "python:smallnet:make?seed=1 on images: features 30 x 6 in a"
    words = ["extract", "--model", MODEL.format(1), "--data", "images", "--out", "b"]
    assert cli.run([*words, "--size", "16", "--mean", "0.5", "--std", "0.5,0.5,0.5"]) == 0
    files = [{path.name: path.read_bytes() for path in Path(name).iterdir()} for name in "ab"]
    assert files[0] == files[1]


def test_compare_extracts_models(folder: Path) -> None:
    models = {"one": MODEL.format(1), "two": MODEL.format(2)}
    both = mp.compare(MODEL.format(1), models, data="images", **SEEN, k=3)
    assert both["one"].measures["overlap@3"].value == 1
    assert both["two"].measures["overlap@3"].value < 1
    assert Path(both["two"].inputs["student"]["path"]).parent == Path("probe-features")
    with pytest.raises(mp.InputError, match="--data: missing"):
        mp.compare(TEACHER, MODEL.format(1))


def test_a_student_may_be_called_teacher() -> None:
    assert list(mp.compare(TEACHER, {"teacher": STUDENT, "student": STUDENT}, k=3)) == ["teacher", "student"]


def test_a_dict_is_one_student_or_several() -> None:
    vectors = {f"row {row}": STUDENT[row] for row in range(N)}
    ids = list(vectors)
    for one in ({"features": STUDENT}, {"embeddings": STUDENT, "ids": ids, "labels": None}, vectors):
        assert type(mp.compare({"features": TEACHER, "ids": ids}, one, k=3, positional=True)) is mp.Comparison
    for several in ({"a": STUDENT, "b": STUDENT}, {"student": {"features": STUDENT}}):
        assert type(mp.compare(TEACHER, several, k=3)) is mp.Comparisons


def test_evaluate_of_arrays_and_of_files(tmp_path: Path, capfd: Capture) -> None:
    found = mp.evaluate(TEACHER, STUDENT, labels=LABELS, tasks=["knn", "retrieval"], k=3)
    assert isinstance(found, mp.Evaluation)
    score = found.scores["knn_accuracy@3"]
    assert (score.teacher, score.student, score.n) == (1.0, 1.0, N // 2)
    assert score.fidelity["agreement"] == 1
    assert found.to_dict()["settings"]["tasks"] == ["knn", "retrieval"]
    assert "knn_accuracy@3" in found.summary()
    assert found.alarms == []
    marked = mp.evaluate(TEACHER, STUDENT, labels=np.where(np.arange(N) < 10, 255, LABELS), unlabelled=255)
    assert marked.to_dict()["pairing"]["test"]["unlabelled"] == 10
    for name, rows in (("t", TEACHER), ("s", STUDENT)):
        np.savez(tmp_path / f"{name}.npz", features=rows, labels=LABELS)
    sides = [str(tmp_path / f"{name}.npz") for name in "ts"]
    assert cli.run(["evaluate", *sides, "--tasks", "knn,retrieval", "--k", "3", "--out", f"{tmp_path}/e.json"]) == 0
    assert capfd.readouterr().out == mp.evaluate(*sides, tasks=["knn", "retrieval"], k=3).summary()
    saved = json.loads((tmp_path / "e.json").read_text())
    assert saved["tasks"] == found.to_dict()["tasks"]
    assert saved["fidelity"] == found.to_dict()["fidelity"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tasks": ["kmm"]}, "tasks: 'kmm' is not known"),
        ({"k": 0}, "k is 0"),
        ({"corrupted_images": 0}, "corrupted images: 0 is no number"),
        ({"corruptions": True}, "is no model with data"),
        ({"teacher_train": TEACHER}, "student train: missing next to the other side's"),
        ({"train_labels": LABELS}, "train labels: there are no rows to label"),
    ],
)
def test_evaluate_refuses_in_one_line(given: dict, words: str) -> None:
    with pytest.raises(mp.InputError, match=words) as error:
        mp.evaluate(TEACHER, STUDENT, **({"labels": LABELS} | given))
    assert "\n" not in str(error.value)


def test_distill_trains_compares_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture) -> None:
    monkeypatch.chdir(digits(tmp_path))
    given = {"method": "mse", "teacher": Path("t.pt"), "student": "conv4", "data": Path("digits.npz"), "epochs": 1}
    heard: list[str] = []
    run = mp.distill("run", **given, batch_size=32, options={}, notify=heard.append)
    assert isinstance(run, mp.Distillation)
    assert run.student.exists()
    assert "run: comparing the student with its teacher" in heard
    assert {"backbone", "head"} <= set(run.comparison)
    assert run.log[0]["step"] == 0
    assert run.to_dict()["comparison"] == run.comparison.to_dict()
    assert run.summary() == run.comparison.summary()
    again = mp.distill("run", **given, batch_size=32)
    assert again.to_dict() == run.to_dict()
    words = ["distil", "--method", "mse", "--teacher", "t.pt", "--student", "conv4", "--data", "digits.npz"]
    assert cli.run([*words, "--epochs", "1", "--batch-size", "32", "--out", "run", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == run.comparison.to_dict()
    with pytest.raises(mp.InputError, match=r"epoch: is not a setting of a run; did you mean epochs\?"):
        mp.distill("other", **given, epoch=3)
    with pytest.raises(mp.InputError, match="--method: missing"):
        mp.distill("other", teacher="t.pt")


def test_everything_that_is_named_can_be_had() -> None:
    for name in mp.__all__:
        assert getattr(mp, name) is not None
    assert set(mp.__all__) <= set(dir(mp))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = mp.nothing


TYPED = """
import manifold_probe as mp
import numpy as np

x = np.zeros((20, 3))
named = {"a": x, "b": x}
reveal_type(mp.compare(x, x))
reveal_type(mp.compare(x, {"features": x}))
reveal_type(mp.compare(x, {"embeddings": x, "ids": range(20), "labels": None}))
reveal_type(mp.compare(x, {"a": x, "b": x}))
reveal_type(mp.compare(x, named))
reveal_type(mp.compare(x, {"student": {"features": x}}))
reveal_type(mp.diagnose(x, x))
reveal_type(mp.evaluate(x, x))
reveal_type(mp.extract("timm:resnet18", "images/", "out/"))
reveal_type(mp.distill("run/"))
reveal_type(mp.demo_data())
mp.compare(x, x, queris=3)
"""


@pytest.mark.slow
def test_type_checkers_see_the_results(tmp_path: Path) -> None:
    (tmp_path / "typed.py").write_text(TYPED)
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", root / "pyproject.toml", tmp_path / "typed.py"],
        capture_output=True, text=True, check=False, cwd=root,
    )  # fmt: skip
    kinds = [line.rpartition(".")[2].rstrip('"') for line in done.stdout.splitlines() if "Revealed type" in line]
    comparisons = ["Comparison"] * 3 + ["Comparisons"] * 3
    assert kinds == [*comparisons, "Diagnosis", "Evaluation", "Extraction", "Distillation", "DemoData"]
    errors = [line for line in done.stdout.splitlines() if "error:" in line]
    assert all("typed.py:18:" in line for line in errors)
    assert 'did you mean "queries"?' in errors[0]
