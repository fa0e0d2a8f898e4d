"""Several students on the same rows: intervals of their scores, and the paired differences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import manifold_probe as mp
from manifold_probe import cli
from manifold_probe.evaluation.intervals import difference, mean_of, of_halves
from manifold_probe.evaluation.knn import knn_predict
from manifold_probe.evaluation.ood import auroc
from tests.command_line import changed

N, CLASSES, WIDTH = 300, 4, 8


def world(seed: int = 0, noise: tuple[float, ...] = (0.3, 1.5), n: int = N) -> tuple[dict[str, Any], dict[str, Any]]:
    """A teacher with classes and ids, and students of it with more and more noise, in another order of rows."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, n)
    teacher = rng.normal(size=(CLASSES, WIDTH))[labels] * 1.2 + rng.normal(size=(n, WIDTH))
    ids = np.array([f"row {place}" for place in range(n)])
    students = {}
    for place, spread in enumerate(noise):
        order = rng.permutation(n)
        students[f"s{place}"] = {
            "features": (teacher + spread * rng.normal(size=teacher.shape))[order],
            "ids": ids[order],
        }
    return {"features": teacher, "ids": ids, "labels": labels}, students


def test_each_student_has_the_scores_that_it_has_alone() -> None:
    teacher, students = world()
    both = mp.evaluate(teacher, students, tasks=["knn", "retrieval"])
    assert isinstance(both, mp.Evaluations)
    assert list(both) == ["s0", "s1"]
    for name, student in students.items():
        alone = mp.evaluate(teacher, student, tasks=["knn", "retrieval"])
        assert isinstance(alone, mp.Evaluation)
        assert both[name].scores == alone.scores


def test_the_paired_difference_is_that_of_the_rows() -> None:
    teacher, students = world()
    train, bank = world(seed=0), world(seed=0)
    both = mp.evaluate(teacher, students, teacher_train=train[0], student_train=bank[1], tasks=["knn"])
    assert isinstance(both, mp.Evaluations)
    hits = []
    for student in students.values():
        place = {name: row for row, name in enumerate(student["ids"])}
        rows = student["features"][[place[name] for name in teacher["ids"]]]
        hits.append(knn_predict(rows, teacher["labels"], rows, 10) == teacher["labels"])
    gaps = hits[0].astype(float) - hits[1]
    (row,) = both.differences
    assert row["value"] == pytest.approx(gaps.mean(), abs=1e-12)
    floor = (gaps.var() * N + 2) / ((N + 1) * (N + 2))  # one more row for each of the two
    assert row["high"] - row["value"] == pytest.approx(1.968 * np.sqrt(floor), rel=0.01)
    assert (row["a"], row["b"], row["task"], row["n"]) == ("s0", "s1", "knn_accuracy@10", N)


def test_equal_students_do_not_differ() -> None:
    teacher, students = world()
    twice = {"a": students["s0"], "b": students["s0"]}
    ood = {"teacher_ood": teacher["features"] * 3, "student_ood": {"a": teacher["features"], "b": teacher["features"]}}
    both = mp.evaluate(teacher, twice, **ood)
    assert isinstance(both, mp.Evaluations)
    assert {row["task"].partition("@")[0].partition(":")[0] for row in both.differences} >= {
        "knn_accuracy",
        "ood_auroc",
    }
    for row in both.differences:
        assert row["value"] == 0, row
        assert row["low"] <= 0 <= row["high"], row


@pytest.mark.parametrize("score", ["share", "auroc"])
def test_intervals_hold_the_expectation_as_often_as_they_say(score: str) -> None:
    rng, held = np.random.default_rng(1), []
    for _ in range(300):
        if score == "share":
            held.append((estimate := mean_of((rng.random(120) < 0.8).astype(float))).low <= 0.8 <= estimate.high)
            continue
        usual = np.arange(200) < 120
        scores = rng.normal(size=200) + usual
        estimate = of_halves(lambda mask, s=scores, u=usual: auroc(s[u & mask], s[~u & mask]), usual)
        held.append(estimate.low <= 0.7602 <= estimate.high)  # Phi(1 / sqrt 2)
    assert 0.91 <= np.mean(held) <= 0.985


def test_differences_are_on_the_rows_that_all_have() -> None:
    teacher, students = world()
    fewer = {name: value[:-50] for name, value in students["s1"].items()}
    alone = mp.evaluate(teacher, fewer, tasks=["knn"], allow_missing=True)
    both = mp.evaluate(teacher, {"a": students["s0"], "b": fewer}, tasks=["knn"], allow_missing=True)
    assert isinstance(both, mp.Evaluations)
    assert both["a"].to_dict()["settings"]["test_rows"] == both["b"].to_dict()["settings"]["test_rows"]
    assert both["a"].to_dict()["pairing"]["test"]["rows"] == N
    assert both["b"].scores == alone.scores
    parts = {"a": slice(0, 150), "b": slice(150, None)}
    halves = {name: {key: value[part] for key, value in students["s0"].items()} for name, part in parts.items()}
    with pytest.raises(mp.InputError, match="no row is in the features of all students"):
        mp.evaluate(teacher, halves, tasks=["knn"], allow_missing=True)


def saved(folder: Path) -> list[str]:
    teacher, students = world()
    for name, space in {"t": teacher, **students}.items():
        np.savez(folder / f"{name}.npz", **space)
    return ["evaluate", "t.npz", "first=s0.npz", "s1.npz", "--tasks", "knn,retrieval"]


def test_the_command_writes_json_table_and_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = saved(tmp_path)
    assert cli.run(changed([*command, "--json", "--out", "e.json", "--table", "e.csv", "--report", "e.html"])) == 0
    document = json.loads(capfd.readouterr().out)
    assert list(document["students"]) == ["first", "s1"]
    loaded = mp.load("e.json")
    assert isinstance(loaded, mp.Evaluations)
    assert loaded.to_dict() == document
    frame = loaded.to_frame()
    assert set(frame["student"]) == {"first", "s1"}
    assert Path("e.csv").read_text().splitlines()[0] == "student,task,measure,value,low,high,n,note"
    page = Path("e.html").read_text()
    assert "first minus s1" in page
    assert cli.run(changed(command)) == 0
    text = capfd.readouterr().out
    score = loaded["first"].scores["knn_accuracy@10"]
    assert f"{score.student:.3f} ({score.student_low:.3f} to {score.student_high:.3f})*" in text


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--student-train", "s0.npz", "--teacher-train", "t.npz"], "--student-train: is given 1 times for 2 students"),
        (["--table", "e.tex"], "--table: e.tex: an evaluation is written as .csv, .parquet or .md"),
        (["--rows", "tokens"], "--rows tokens needs (n, N, d)"),
    ],
)
def test_refused_commands(
    more: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(changed([*saved(tmp_path), *more])) == 2
    out, error = capfd.readouterr()
    assert out == ""
    assert message in error


def test_features_of_every_student_are_needed() -> None:
    teacher, students = world()
    with pytest.raises(mp.InputError, match="student train: features of every student are needed; give a dict"):
        mp.evaluate(teacher, students, teacher_train=teacher, student_train={"s0": students["s0"]})


def test_tokens_of_images_are_classified(tmp_path: Path) -> None:
    teacher, _ = world(n=80)
    sets = np.repeat(teacher["features"][:, None], 3, axis=1)
    sides = {"features": sets, "ids": teacher["ids"], "labels": teacher["labels"]}
    tokens, pooled = (mp.evaluate(sides, sides, tasks=["knn"], rows=rows) for rows in ("tokens", "mean"))
    assert isinstance(tokens, mp.Evaluation)
    assert isinstance(pooled, mp.Evaluation)
    counts = [one.to_dict()["pairing"]["test"]["rows"] for one in (tokens, pooled)]
    assert counts == [240, 80]
    with pytest.raises(mp.InputError, match="task retrieval: tokens of one set find each other"):
        mp.evaluate(sides, sides, tasks=["retrieval"], rows="tokens")
    with pytest.raises(mp.InputError, match="has 2 tokens a set, teacher has 3"):
        mp.evaluate(sides, {**sides, "features": sets[:, :2]}, rows="tokens", allow_missing=True)


def test_tokens_of_one_image_are_never_in_bank_and_test() -> None:
    rng = np.random.default_rng(0)
    sets = np.repeat(rng.normal(size=(100, 1, 8)), 16, axis=1) + 0.01 * rng.normal(size=(100, 16, 8))
    sides = {"features": sets, "labels": rng.integers(0, 4, 100)}
    scored = mp.evaluate(sides, sides, tasks=["knn"], rows="tokens").scores["knn_accuracy@10"]  # type: ignore[union-attr]
    assert scored.student is not None
    assert scored.student < 0.45  # by chance 0.25; tokens of the same image would give 1
    assert scored.student_high - scored.student_low > 0.15  # as 50 images give, not 800 tokens


def test_differences_of_good_students_hold_the_truth() -> None:
    rng, held = np.random.default_rng(2), []
    for _ in range(500):
        one, other = (rng.random(200) < share for share in (0.99, 0.985))
        gap = difference(mean_of(one.astype(float)), mean_of(other.astype(float)), 200)
        held.append(gap.low <= 0.005 <= gap.high)
    assert np.mean(held) >= 0.93


def test_students_have_one_column_of_labels() -> None:
    teacher, students = world()
    labels = teacher.pop("labels")
    place = {name: row for row, name in enumerate(teacher["ids"])}
    first, other = students["s0"], dict(students["s1"])
    other["labels"] = labels[[place[name] for name in other["ids"]]]
    both = mp.evaluate(teacher, {"a": first, "b": other}, tasks=["knn"])
    assert isinstance(both, mp.Evaluations)
    assert both["a"].scores["knn_accuracy@10"].student > both["b"].scores["knn_accuracy@10"].student
    wrong = {**first, "labels": (labels[[place[name] for name in first["ids"]]] + 1) % CLASSES}
    with pytest.raises(mp.InputError, match="student b: has other labels than student a in 300 rows"):
        mp.evaluate(teacher, {"a": wrong, "b": other}, tasks=["knn"])
