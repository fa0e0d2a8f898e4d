"""Every cause, planted in a student that is otherwise sound, is named first; a sound student has none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from manifold_probe.diagnosis.diagnose import diagnosed
from manifold_probe.diagnosis.examine import examine, make_case, ranked
from manifold_probe.errors import InputError
from manifold_probe.spaces.pairing import pair
from manifold_probe.spaces.space import Space

N, CLASSES = 600, 6
Plant = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


def world(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A teacher of clustered, curved rows, and a student that is its linear image with a little noise."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, CLASSES, N)
    inner = draw.normal(size=(N, 12)) * np.linspace(1.5, 0.4, 12)
    hidden = np.concatenate([inner + 1.2 * draw.normal(size=(CLASSES, 12))[labels], np.sin(inner[:, :6])], axis=1)
    teacher = hidden @ draw.normal(size=(18, 64)) / 4 + 0.05 * draw.normal(size=(N, 64)) + 0.3 * draw.normal(size=64)
    turn, _ = np.linalg.qr(draw.normal(size=(64, 64)))
    student = teacher @ turn + 0.05 * draw.normal(size=(N, 64))
    return teacher.astype(np.float32), student.astype(np.float32), labels


def names(teacher: np.ndarray, student: np.ndarray, labels: np.ndarray) -> list[str]:
    case = make_case(teacher, student, labels, [str(code) for code in range(CLASSES)], True, 10, 0)
    return [each.name for each in ranked(examine(case)[0]) if each.confidence >= 0.5]


def spread(x: np.ndarray) -> float:
    return float(np.sqrt(np.square(x - x.mean(0)).sum(1).mean()))


def misaligned(student: np.ndarray, labels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    student[100:220] = np.roll(student[100:220], 40, axis=0)
    return student


def swapped(student: np.ndarray, labels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    rows = draw.permutation(N)[:80]
    student[rows] = student[rows][::-1]
    return student


def far_out(student: np.ndarray, labels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    student[draw.permutation(N)[:5]] *= 40
    return student


def one_point(student: np.ndarray, labels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    rows = draw.permutation(N)[:90]
    student[rows] = student[rows[0]] + 1e-5 * draw.normal(size=(90, 64))
    return student


def drowned(student: np.ndarray, labels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    direction = draw.normal(size=64)
    return student + np.outer(draw.normal(size=N), direction / np.linalg.norm(direction)) * 3 * spread(student)


def rescaled(student: np.ndarray, labels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    return student * np.exp(1.5 * draw.normal(size=64))


def merged(student: np.ndarray, labels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    student[labels == 1] += student[labels == 2].mean(0) - student[labels == 1].mean(0)
    return student


def torn(student: np.ndarray, labels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    rows = np.flatnonzero(labels == 3)
    direction = draw.normal(size=64)
    student[rows[::2]] += 2 * spread(student) * direction / np.linalg.norm(direction)
    return student


def failed(student: np.ndarray, labels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    rows = np.flatnonzero(labels == 4)
    student[rows] += 1.5 * student.std(0) * draw.normal(size=(len(rows), 64))
    return student


def shifted(student: np.ndarray, labels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    direction = draw.normal(size=64)
    return student + 5 * spread(student) * direction / np.linalg.norm(direction)


def unit_length(student: np.ndarray, labels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    return student / np.linalg.norm(student, axis=1, keepdims=True)


def collapsed_classes(student: np.ndarray, labels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    for code in range(CLASSES):
        mean = student[labels == code].mean(0)
        student[labels == code] = mean + 0.25 * (student[labels == code] - mean)
    return student


def few_directions(student: np.ndarray, labels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    mean = student.mean(0)
    _, _, directions = np.linalg.svd(student - mean, full_matrices=False)
    return (student - mean) @ directions[:6].T @ directions[:6] + mean


def dead(student: np.ndarray, labels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    student[:, draw.permutation(64)[:56]] = 0
    return student


def rounded(student: np.ndarray, labels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    step = (student.max(0) - student.min(0)) / 3
    return np.round(student / step) * step


def clipped(student: np.ndarray, labels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    return np.clip(student, np.quantile(student, 0.3, axis=0), np.quantile(student, 0.7, axis=0))


def noisy(student: np.ndarray, labels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    return student + 0.7 * student.std() * draw.normal(size=student.shape)


def bent(student: np.ndarray, labels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    scaled = (student - student.mean(0)) / student.std(0)
    return np.sign(scaled) * np.abs(scaled) ** 2.5


PLANTS: dict[str, tuple[str, Plant]] = {
    "a block": ("row_misalignment", misaligned),
    "scattered rows": ("row_misalignment", swapped),
    "outliers": ("outliers", far_out),
    "one point": ("point_collapse", one_point),
    "common direction": ("common_direction", drowned),
    "rescaled": ("dimension_rescaling", rescaled),
    "merged": ("cluster_merge", merged),
    "torn": ("cluster_tear", torn),
    "failed": ("slice_failure", failed),
    "offset": ("offset", shifted),
    "norms": ("norm_loss", unit_length),
    "collapsed classes": ("class_collapse", collapsed_classes),
    "few directions": ("dimensional_collapse", few_directions),
    "dead": ("dead_dimensions", dead),
    "rounded": ("quantisation", rounded),
    "clipped": ("saturation", clipped),
    "noise": ("noise", noisy),
    "bent": ("nonlinear_warp", bent),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_cause_is_named_first(plant: str) -> None:
    teacher, student, labels = world()
    name, change = PLANTS[plant]
    changed = change(student.copy(), labels, np.random.default_rng(1))
    assert names(teacher, changed, labels)[:1] == [name]


def test_missing_columns_are_named() -> None:
    teacher, _, labels = world()
    draw = np.random.default_rng(0)
    student = teacher[:, :7] + 0.02 * draw.normal(size=(N, 7))
    assert names(teacher, student, labels)[:1] == ["truncated_dimensions"]


@pytest.mark.parametrize("seed", range(4))
def test_healthy_students_have_no_cause(seed: int) -> None:
    teacher, student, labels = world(seed)
    draw = np.random.default_rng(seed)
    pairs = {
        "a copy": teacher,
        "turned": student,
        "longer": 7 * student,
        "permuted": teacher[:, draw.permutation(64)],
        "a linear image": teacher @ (np.eye(64) + 0.05 * draw.normal(size=(64, 64))),
    }
    found = {name: names(teacher, each.astype(np.float32), labels) for name, each in pairs.items()}
    assert found == {name: [] for name in pairs}


def test_two_causes_are_both_found() -> None:
    teacher, student, labels = world()
    draw = np.random.default_rng(1)
    both = far_out(misaligned(student.copy(), labels, draw), labels, draw)
    assert set(names(teacher, both, labels)[:2]) == {"outliers", "row_misalignment"}


def diagnosis(student: np.ndarray, **more: object) -> dict:
    teacher, _, labels = world()
    ids = np.array([f"r{row}" for row in range(N)])
    spaces = Space(teacher, ids=ids, labels=labels, name="t"), Space(student, ids=ids, name="s")
    return diagnosed(pair(spaces[0], {"s": spaces[1]})["s"], **more)


def test_rows_and_classes_are_named() -> None:
    _, student, labels = world()
    found = diagnosis(misaligned(student.copy(), labels, np.random.default_rng(0)))
    rows = np.array(found["causes"][0]["where"]["rows"])
    assert np.mean((rows >= 100) & (rows < 220)) > 0.9
    assert found["causes"][0]["where"]["ids"][0] == f"r{rows[0]}"
    merge = diagnosis(merged(student.copy(), labels, np.random.default_rng(0)))["causes"][0]
    assert sorted(merge["where"]["classes"]) == ["1", "2"]
    assert merge["repair"]["after"] > merge["repair"]["before"]


def test_the_ladder_is_read_on_the_same_rows() -> None:
    _, student, labels = world()
    steps = {
        step["repair"]: step["measures"]
        for step in diagnosis(rescaled(student, labels, np.random.default_rng(1)))["ladder"]
    }
    assert next(iter(steps)) == "identity"
    overlap = {name: found["overlap@10"]["value"] for name, found in steps.items()}
    assert overlap["ridge"] > overlap["identity"] + 0.2
    assert overlap["orthogonal"] == pytest.approx(overlap["identity"], abs=0.05)
    assert all(
        found["overlap@10"]["gain"] == pytest.approx(overlap[name] - overlap["identity"])
        for name, found in steps.items()
    )


def test_a_turned_student_is_benign() -> None:
    _, student, _ = world()
    found = diagnosis(student)
    assert found["causes"] == []
    assert [each["name"] for each in found["benign"]] == ["rotation"]


def test_two_diagnoses_are_equal() -> None:
    _, student, labels = world()
    changed = drowned(student, labels, np.random.default_rng(0)).astype(np.float32)
    assert diagnosis(changed) == diagnosis(changed)


def test_too_few_rows() -> None:
    draw = np.random.default_rng(0)
    spaces = Space(draw.normal(size=(40, 4)), name="t"), Space(draw.normal(size=(40, 4)), name="s")
    with pytest.raises(InputError, match="40 rows are too few to diagnose; at least 60"):
        diagnosed(pair(spaces[0], {"s": spaces[1]})["s"])
