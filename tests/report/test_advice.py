"""What to do next: it follows from each student's own numbers, the largest win first, and is silent otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import manifold_probe as mp
from manifold_probe.report.advice import ALWAYS, LOWERING, UNBELIEVABLE, VERIFIED_BLOCK, WORTH, next_steps
from tests.report.hand import document, measurement

N, D = 600, 24
DRAW = np.random.default_rng(0)
CLASSES = DRAW.integers(0, 6, N)
CENTRES = DRAW.normal(size=(6, D)) * 1.5
TEACHER = (CENTRES[CLASSES] + DRAW.normal(size=(N, D)) * np.linspace(2, 0.5, D)) * np.exp(
    0.3 * DRAW.normal(size=(N, 1))
)
NEAR = TEACHER + 0.02 * DRAW.normal(size=(N, D))
IDS = np.array([f"img_{row:03d}" for row in range(N)])
TURN = np.linalg.qr(DRAW.normal(size=(D, D)))[0]


def steps(student: np.ndarray) -> list[str]:
    return next_steps(mp.compare(TEACHER, student, labels=CLASSES, ids=IDS).to_dict())


def one_class_lost() -> np.ndarray:
    lost = (CLASSES == 3)[:, None]
    return NEAR + lost * DRAW.normal(size=(N, D)) * 4


def few_rows_lost() -> np.ndarray:
    found = NEAR.copy()
    found[[7, 100, 300]] = DRAW.normal(size=(3, D)) * 4
    return found


STUDENTS: dict[str, tuple[np.ndarray, list[str]]] = {
    "faithful": (NEAR, []),
    "one of 25 dimensions of no use": (np.hstack([NEAR, np.zeros((N, 1))]), []),
    "rotated": (NEAR @ TURN, ["Align the student by a rotation"]),
    "of unit length": (NEAR / np.linalg.norm(NEAR, axis=1, keepdims=True), ["Bring both sides to unit length"]),
    "itself": (TEACHER, ["Give the student's file"]),
    "offset": (NEAR + 60 * DRAW.normal(size=D), ["Subtract the mean", "Try a linear map"]),
    "stretched": (NEAR * np.exp(1.5 * DRAW.normal(size=D)), ["Try a linear map"]),
    "class centres": (CENTRES[CLASSES] + 0.3 * DRAW.normal(size=(N, D)), ["Train on neighbours within classes"]),
    "small": (
        np.tanh(TEACHER[:, :8] / 4) + 0.2 * DRAW.normal(size=(N, 8)),
        ["Train longer, on more data"],
    ),
    "one class lost": (one_class_lost(), ["Look at class 3"]),
    "few rows lost": (few_rows_lost(), ["Look at the points whose neighbours moved furthest"]),
    "unrelated": (DRAW.normal(size=(N, D)), ["First check that the student's weights were loaded"]),
}


@pytest.mark.parametrize("name", STUDENTS)
def test_every_student_gets_its_own_steps(name: str) -> None:
    student, expected = STUDENTS[name]
    found = steps(student)
    assert len(found) >= len(expected)
    for step, start in zip(found, expected, strict=False):
        assert step.startswith(start), found
    if len(expected) < 1:
        assert found == []


def test_no_loss_is_named_where_none_is_known() -> None:
    for student, _ in STUDENTS.values():
        assert not any("a cosine loss" in step or "loss of" in step for step in steps(student))


def test_rows_that_lost_most_are_not_the_first_in_the_file() -> None:
    found = next(step for step in steps(few_rows_lost()) if "moved furthest" in step)
    assert all(f"img_{row:03d}" in found for row in (7, 100, 300))


def test_of_rows_that_keep_nothing_those_come_first_whose_neighbours_went_furthest() -> None:
    student = few_rows_lost()
    student[7] = -student[7]
    found = mp.compare(TEACHER, student, ids=IDS).details["worst_rows"]
    unit = student / np.linalg.norm(student, axis=1, keepdims=True)
    known = TEACHER / np.linalg.norm(TEACHER, axis=1, keepdims=True)
    ranks = []
    for each in found:
        row = each["row"]
        near = np.argsort(-(known @ known[row]))
        near = near[near != row][:10]
        places = np.argsort(np.argsort(-np.delete(unit @ unit[row], row)))
        ranks.append((each["overlap"], -float(np.mean([places[j - (j > row)] for j in near]))))
    assert ranks == sorted(ranks)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("cosine", "the loss of cosine cannot see them"),
        ("tintem", "the loss of tintem cannot see them"),
        ("mse", "the loss of mse sees them"),
        ("coss", "the loss of coss sees them"),
        (None, "SP, RKD, CoSS's space term, or mean squared error without a head, can teach them"),
    ],
)
def test_the_loss_is_spoken_of_as_the_run_had_it(method: str | None, words: str) -> None:
    made = document(measurement({"norm_correlation": 0.3, "overlap@10": 0.6, "overlap@10:euclidean": 0.3}))
    made["inputs"]["student"]["method"] = method
    about = next(step for step in next_steps(made) if "lengths" in step)
    assert words in about
    assert "correlation 0.300" in about
    assert "By Euclidean distance 30% of neighbours are kept, by angle 60%" in about


def test_the_method_of_a_run_is_in_the_document(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    np.save(tmp_path / "run" / "part.npy", NEAR)
    (tmp_path / "run" / "manifest.json").write_text('{"shards": ["part.npy"]}')
    np.save(tmp_path / "t.npy", TEACHER)
    found = mp.compare(tmp_path / "t.npy", tmp_path / "run").to_dict()["inputs"]
    assert "method" not in found["student"]
    (tmp_path / "run" / "config.toml").write_text('method = "mse"\n')
    found = mp.compare(tmp_path / "t.npy", tmp_path / "run").to_dict()["inputs"]
    assert found["student"]["method"] == "mse"
    assert "method" not in found["teacher"]


def raised(code: str, message: str, overlap: float = 0.5) -> list[str]:
    return next_steps(document(measurement({"overlap@10": overlap}, alarms=((code, message),)), verified=True))


@pytest.mark.parametrize("code", [*UNBELIEVABLE, *LOWERING, *ALWAYS])
def test_every_alarm_that_counts_has_its_step(code: str) -> None:
    texts: dict[str, Any] = {**UNBELIEVABLE, **{key: text for key, (text, _) in LOWERING.items()}, **ALWAYS}
    found = raised(code, "the evidence")
    assert texts[code] in found
    assert (found[0] == texts[code]) or code not in UNBELIEVABLE


def test_a_trivial_alarm_is_no_step() -> None:
    assert not any("dimensions never change" in step for step in raised("dead_dimensions", "student: 2 of 1,280 d (1)"))
    assert any("dimensions never change" in step for step in raised("dead_dimensions", "student: 640 of 1,280 d (1)"))
    for code in LOWERING:  # where nothing is lost nothing is to be won
        assert raised(code, "student: 640 of 1,280 rows", overlap=1 - WORTH / 2) == []


def test_a_block_with_verified_ids_is_a_loss() -> None:
    assert raised("misaligned_rows", "rows 1 to 9")[0] == VERIFIED_BLOCK


def test_a_run_that_won_nothing_is_told_so_once_and_not_to_train_longer_twice() -> None:
    found = raised("no_better_than_untrained", "no better than untrained: overlap@10 is 50%")
    assert found[0].startswith(
        "Train longer, or with another learning rate or method: training has gained no neighbours so far; 50% of "
        "neighbours are kept, where a PCA of the teacher to "
    )
    assert sum("Train" in step for step in found) == 1


@pytest.mark.parametrize(("kept", "little"), [(0.26, True), (0.3, True), (0.45, False)])
def test_what_is_little_more_than_the_classes_give(kept: float, little: bool) -> None:
    made = document(measurement({"overlap@10": kept}))
    made["measures"]["overlap@10"] |= {"class_chance": 0.25, "chance": 0.01, "reference": 0.9, "low": kept - 0.01}
    (found,) = (step for step in next_steps(made) if "Train" in step)
    assert ("little more than the classes themselves give (25%)" in found) == little


def test_training_longer_is_no_step_where_a_linear_map_brings_all_back() -> None:
    student = TEACHER @ np.diag(np.exp(2 * DRAW.normal(size=D))) @ TURN
    found = steps(student)
    assert found[0].startswith(("Try a linear map", "Align the student"))
    assert not any("Train" in step for step in found)


def test_zero_vectors_are_a_step_by_what_their_rows_lost_and_no_question_of_order() -> None:
    student = NEAR.copy()
    student[:24] = 0  # a block of 4%
    compared = mp.compare(TEACHER, student, labels=CLASSES, ids=IDS)
    codes = {alarm["code"] for alarm in compared.to_dict()["alarms"]}
    assert "zero_vectors" in codes
    assert "misaligned_rows" not in codes
    assert next_steps(compared.to_dict())[0] == LOWERING["zero_vectors"][0]


def test_a_dimension_that_decides_is_the_only_one_spoken_of() -> None:
    student = np.column_stack([NEAR, 1000 * DRAW.normal(size=N)])
    found = steps(student)
    assert found[0] == UNBELIEVABLE["dominating_dimension"]
    assert LOWERING["collapsed_rank"][0] not in found
    assert not any("lengths" in step for step in found)


def test_a_student_as_good_as_its_width_allows_is_told_the_width() -> None:
    left, scale, _ = np.linalg.svd(TEACHER - TEACHER.mean(0), full_matrices=False)
    found = steps(left[:, :3] * scale[:3])
    assert found[0].startswith("Give the student more dimensions"), found
    assert "a PCA of the teacher to 3 dimensions keeps" in found[0]


def test_ids_are_said_to_vouch_only_where_they_do() -> None:
    unrelated = np.outer(DRAW.normal(size=N), DRAW.normal(size=D)) + 0.01 * DRAW.normal(size=(N, D))  # of one direction
    by_id = mp.compare(TEACHER, unrelated, ids=IDS).to_dict()
    assert any("though rows are paired by id" in step for step in next_steps(by_id))
    by_place = mp.compare(TEACHER, unrelated).to_dict()
    assert not any("paired by id" in step for step in next_steps(by_place))


def test_one_row_is_spoken_of_as_one() -> None:
    student = NEAR.copy()
    student[7] = -student[7]
    found = next(step for step in steps(student) if "moved furthest" in step)
    assert found.startswith("Look at the point whose neighbours moved furthest, id img_007: it keeps ")
    assert ", the average point 98%" in found
