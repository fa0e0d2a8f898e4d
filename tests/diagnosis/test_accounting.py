"""The account of the whole loss: it adds up, planted losses lie in their parts, readings are those of the halves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from manifold_probe.diagnosis import accounting, class_losses
from manifold_probe.diagnosis.accounting import PARTS, Account, Part, Piece, account, of_order, split
from manifold_probe.diagnosis.lab import HELD_OUT, Trial
from manifold_probe.diagnosis.unaligned import Unaligned
from manifold_probe.measures import debiased_linear_cka, neighbourhood_overlap
from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP, OVERLAP_EUCLIDEAN
from manifold_probe.measures.uncertainty import Estimate
from manifold_probe.spaces.pairing import pair
from manifold_probe.spaces.space import Space

NONE = np.zeros(0, dtype=int)
N, D, CLASSES = 900, 32, 8
NAMES = [f"class {code}" for code in range(CLASSES)]
Rows = np.ndarray


def teacher_rows(n: int = N, d: int = D, seed: int = 0) -> tuple[Rows, Rows]:
    """Rows in classes of unlike spread, with a falling spectrum and a mean, and their classes."""
    draw = np.random.default_rng(seed)
    codes = draw.integers(0, CLASSES, n)
    spectrum = np.arange(1, d + 1) ** -0.5
    within = draw.normal(size=(n, d)) * np.exp(0.3 * draw.normal(size=CLASSES))[codes, None]
    return (within + 2 * draw.normal(size=(CLASSES, d))[codes]) * spectrum + 0.3 * draw.normal(size=d), codes


def turn(d: int = D) -> Rows:
    return np.linalg.qr(np.random.default_rng(5).normal(size=(d, d)))[0]


def noise(rows: Rows, size: float) -> Rows:
    """Noise of the rows' own shape."""
    draw = np.random.default_rng(7)
    return size * (rows[draw.permutation(len(rows))] - rows[draw.permutation(len(rows))]) / np.sqrt(2)


def accounted(
    teacher: Rows, student: Rows, k: int = 10, aside: Rows = NONE, copies: Rows = NONE, **more: Any
) -> Account:
    """The account; it adds up to what the measures say."""
    overlap, cka = neighbourhood_overlap(teacher, student, k), debiased_linear_cka(teacher, student)
    both = pair(Space(teacher, name="t"), {"s": Space(student, name="s")})["s"]
    found = account(both, overlap, cka, k, 0, aside=aside, copies=copies, **more)
    check(found.overlap, 1 - overlap)
    if np.isfinite(cka):
        check(found.cka, 1 - cka)
    else:
        assert found.cka == []
    return found


def check(parts: list[Part], total: float) -> None:
    assert [part.name for part in parts if part.name in PARTS] == list(PARTS)
    assert sum(part.share for part in parts) == pytest.approx(max(total, 0.0), abs=1e-9)
    for part in parts:
        assert 0 <= part.low <= part.share <= part.high
        assert part.share <= max(total, 0.0) + 1e-12
        assert part.sentence.endswith(".")
        assert "{" not in part.sentence


def shares(parts: list[Part]) -> dict[str, float]:
    return {part.name: part.share for part in parts}


X, CODES = teacher_rows()
PAIRS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "a copy": lambda: (X, X),
    "nearly perfect": lambda: (X, X + 1e-7 * noise(X, 1)),
    "turned, shifted": lambda: (X, X @ turn() + 3),
    "noise": lambda: (X, X + noise(X, 0.7)),
    "unrelated": lambda: (X, teacher_rows(seed=3)[0]),
    "constant": lambda: (X[:200], np.ones((200, 5))),
    "narrower": lambda: (X, (X @ turn())[:, :10]),
    "wider": lambda: (X, np.concatenate([X @ turn(), noise(X, 0.5)], axis=1)),
    "one dimension": lambda: (X[:200], X[:200, :1]),
    "more dimensions than rows": lambda: (teacher_rows(100, 150)[0], teacher_rows(100, 150)[0] @ turn(150)[:, :120]),
    "60 rows": lambda: (X[:60], X[:60] + noise(X[:60], 0.5)),
    "60 rows, k = 1": lambda: (X[:60], X[:60] + noise(X[:60], 0.5), 1),
    "k of nearly all": lambda: (X[:80], X[:80] + noise(X[:80], 0.5), 78),
    "every row twice": lambda: (
        np.repeat(X, 2, 0),
        np.repeat(X + noise(X, 0.5), 2, 0),
        10,
        NONE,
        np.arange(1, 2 * N, 2),
    ),
    "offset of a million": lambda: (X + 1e6, X + noise(X, 0.5) - 1e6),
    "very large and very small": lambda: (X * 1e60, (X + noise(X, 0.5)) * 1e-60),
    "zero vectors": lambda: (X, np.where(np.arange(N)[:, None] < 60, 0.0, X)),
    "whole numbers": lambda: (X, np.round(2 * X)),
    "outliers": lambda: (X, np.where(np.arange(N)[:, None] < 6, 60.0, 1.0) * X, 10, np.arange(6)),
    "nearly all set aside": lambda: (X, X + noise(X, 0.5), 10, np.arange(N - 16)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_parts_add_up(name: str) -> None:
    accounted(*PAIRS[name]())


@pytest.mark.parametrize("name", ["noise", "narrower", "60 rows"])
def test_the_parts_add_up_with_classes(name: str) -> None:
    teacher, student, *_ = PAIRS[name]()
    codes = CODES[: len(teacher)].copy()
    codes[::9] = -1
    codes[codes == 3] = 2
    codes[:3] = 3  # a class of three rows
    accounted(teacher, student, codes=codes, names=NAMES)


@pytest.mark.parametrize("name", ["a copy", "nearly perfect"])
def test_no_loss_has_no_parts(name: str) -> None:
    found = accounted(*PAIRS[name](), codes=CODES, names=NAMES)
    assert max(part.share for part in (*found.overlap, *found.cka)) < 1e-9


@pytest.mark.parametrize("name", ["narrower", "noise", "60 rows"])
def test_what_is_read_on_halves_is_near_the_comparison(name: str) -> None:
    teacher, student, *_ = PAIRS[name]()
    held = accounted(teacher, student).held_out
    assert held["held_out_overlap@10"]["value"] == pytest.approx(neighbourhood_overlap(teacher, student), abs=0.04)
    assert held["held_out_overlap@10"]["n"] == min(len(teacher), 1000)
    cka = debiased_linear_cka(teacher, student)
    assert held["held_out_debiased_linear_cka"]["value"] == pytest.approx(cka, abs=0.02)


def largest(parts: list[Part]) -> str:
    return max(parts, key=lambda part: part.share).name


def test_an_offset_is_won_back_by_centring() -> None:
    found = accounted(X, X + 2 * np.random.default_rng(1).normal(size=D))
    of_centre = shares(found.overlap)["centre_scale_norms"]
    assert of_centre == pytest.approx(sum(shares(found.overlap).values()), abs=0.003)
    assert of_centre > 0.1
    assert found.overlap[2].sentence.startswith("Moving the student's mean onto the teacher's wins back ")


def test_an_offset_in_turned_axes_is_won_back_by_the_rotation() -> None:
    found = accounted(X, X @ turn() + 2 * np.random.default_rng(1).normal(size=D))
    moved = shares(found.overlap)
    assert moved["centre_scale_norms"] + moved["rotation"] > 0.97 * sum(moved.values()) > 0.1
    assert sum(shares(found.cka).values()) < 1e-6


def test_a_linear_map_is_won_back_by_ridge() -> None:
    scales = np.exp(np.random.default_rng(1).normal(size=D))
    found = accounted(X, (X @ turn()) * scales @ turn())
    assert largest(found.overlap) == "linear_map"
    assert largest(found.cka) == "linear_map"
    assert shares(found.overlap)["not_held"] < 0.1


def test_dimensions_at_other_scales_are_won_back_by_deviations() -> None:
    found = accounted(X, X * np.exp(np.random.default_rng(1).normal(size=D)))
    assert largest(found.overlap) == largest(found.cka) == "centre_scale_norms"
    assert "deviation" in found.overlap[2].sentence


@pytest.mark.parametrize("curve", [np.cbrt, np.exp, lambda x: x**3])
def test_a_curve_in_every_dimension_is_won_back_by_the_nonlinear_map(curve: Callable[[Rows], Rows]) -> None:
    turned = X @ turn()
    found = accounted(X, curve((turned - turned.mean(0)) / turned.std(0)))
    assert largest(found.overlap) == "nonlinear_map"


def test_a_students_width_has_its_part() -> None:
    centred = X - X.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:8].T
    kept = centred @ axes @ axes.T + X.mean(0)
    found = accounted(X, X @ axes)
    moved = shares(found.overlap)
    assert moved["width"] == pytest.approx(1 - neighbourhood_overlap(X, kept), abs=0.05)
    assert moved["width"] + moved["not_held"] > 0.9 * sum(moved.values())
    assert shares(accounted(X, X + noise(X, 0.5)).overlap)["width"] == 0


def test_noise_is_not_held() -> None:
    found = accounted(X, X + noise(X, 0.8), codes=CODES, names=NAMES)
    assert shares(found.overlap)["not_held"] > 0.9 * sum(shares(found.overlap).values())


def test_a_destroyed_class_has_its_part() -> None:
    student = X + noise(X, 0.3)
    rows = np.flatnonzero(CODES == 2)
    student[rows] = student[np.random.default_rng(0).permutation(rows)]
    before = neighbourhood_overlap(X, X + noise(X, 0.3))
    found = accounted(X, student, codes=CODES, names=NAMES)
    part = found.overlap[PARTS.index("classes")]
    assert part.share == pytest.approx(before - neighbourhood_overlap(X, student), rel=0.35)
    assert part.low > 0
    assert "(class 2)" in part.sentence
    assert shares(found.cka)["classes"] == 0


def test_half_of_the_classes_can_fall_behind() -> None:
    student = X + np.where(CODES < 4, 1.5, 0.2)[:, None] * noise(X, 1)
    found = accounted(X, student, codes=CODES, names=NAMES)
    named = found.overlap[6].sentence.partition("(")[2].partition(")")[0]
    assert sorted(named.split(", ")) == NAMES[:4]
    assert found.overlap[6].share > 0.1


@pytest.mark.parametrize("seed", range(4))
def test_no_class_of_a_healthy_student_falls_behind(seed: int) -> None:
    teacher, codes = teacher_rows(seed=seed)
    for student in (teacher + noise(teacher, 0.5), (teacher @ turn())[:, :12]):
        assert shares(accounted(teacher, student, codes=codes, names=NAMES).overlap)["classes"] == 0


def test_classes_fall_behind_more_than_the_better_ones_differ() -> None:
    even = np.array([0.01, -0.02, 0.0, 0.02, -0.01, -0.4])
    behind, centre = class_losses._behind(even, np.full(6, 0.01))
    assert behind.tolist() == [False] * 5 + [True]
    assert abs(centre) < 0.05
    spread = np.random.default_rng(0).normal(size=20) * 0.15
    assert not class_losses._behind(spread, np.full(20, 0.02))[0].any()


def test_rows_in_another_order_have_their_part() -> None:
    student = X + noise(X, 0.3)
    rows = np.arange(200, 440)
    mixed = student.copy()
    mixed[rows] = student[np.random.default_rng(0).permutation(rows)]
    found = accounted(X, mixed, aside=rows)
    for parts, measure in ((found.overlap, neighbourhood_overlap), (found.cka, debiased_linear_cka)):
        expected = measure(X, student) - measure(X, mixed)
        assert shares(parts)["rows_set_aside"] == pytest.approx(expected, abs=0.04)
    assert "240 rows" in found.overlap[1].sentence


def test_outliers_have_their_part_of_cka() -> None:
    student = X + noise(X, 0.1)
    far = student.copy()
    far[:5] *= 60
    found = accounted(X, far, aside=np.arange(5))
    expected = debiased_linear_cka(X[5:], student[5:]) - debiased_linear_cka(X, far)
    assert shares(found.cka)["rows_set_aside"] == pytest.approx(expected, abs=1e-6)
    assert expected > 0.3
    assert shares(found.overlap)["rows_set_aside"] < 0.02


def test_copies_that_hide_a_loss_take_nothing() -> None:
    found = accounted(*PAIRS["every row twice"]())
    assert shares(found.overlap)["rows_set_aside"] == 0


def test_lengths_are_given_back_only_where_they_are_lost() -> None:
    centred = X - X.mean(0)
    lost = accounted(centred, centred / np.linalg.norm(centred, axis=1, keepdims=True))
    assert "teacher_norms" in [step["repair"] for step in lost.steps]
    assert largest(lost.cka) in ("centre_scale_norms", "linear_map", "nonlinear_map")
    kept = accounted(X, X + noise(X, 0.4))
    assert "teacher_norms" not in [step["repair"] for step in kept.steps]


def test_steps_are_the_held_out_readings() -> None:
    found = accounted(X, (X @ turn())[:, :12])
    assert [step["repair"] for step in found.steps][:2] == ["identity", "centring"]
    first = found.steps[0]["measures"]
    assert list(first) == [HELD_OUT + key for key in (OVERLAP.named(10), OVERLAP_EUCLIDEAN.named(10), DEBIASED_CKA.key)]
    assert [reading["gain"] for reading in first.values()] == [0, 0, 0]
    for key in (OVERLAP.named(10), DEBIASED_CKA.key):
        assert first[HELD_OUT + key]["value"] == found.held_out[HELD_OUT + key]["value"]
    for step in found.steps[1:]:
        for key, reading in step["measures"].items():
            assert reading["gain"] == pytest.approx(reading["value"] - first[key]["value"])
            assert reading["low"] <= reading["value"] <= reading["high"]


def test_the_best_of_a_stage_is_chosen_on_the_other_half() -> None:
    def reading(first: float, second: float) -> tuple[Estimate, Estimate]:
        return Estimate(first, np.array([0.01]), 1), Estimate(second, np.array([0.01]), 1)

    readings = {
        "identity": reading(0.5, 0.5),
        "centring": reading(0.8, 0.4),  # the second half's choice, the first keeps what it had
        "unit_deviation": reading(0.4, 0.45),
        "orthogonal": reading(0.6, 0.7),
        "ridge": reading(0.55, 0.9),
    }
    climbed = accounting._stage_gains(readings)
    assert climbed.gains["centre_scale_norms"] == (0.0, pytest.approx(0.01 * np.hypot(1, 1) / 2, abs=0.01))
    assert climbed.gains["rotation"][0] == pytest.approx(0.15)
    assert climbed.best == ("orthogonal", "orthogonal")  # ridge, chosen for the first half, reads less there
    assert climbed.gains["linear_map"][0] == 0
    assert climbed.level.value == pytest.approx(0.65)


def test_pieces_take_from_what_is_not_held() -> None:
    parts = [Part(name, 0.1, 0.05, 0.15, "So.") for name in PARTS[:-1]] + [Part("not_held", 0.2, 0.1, 0.3, "So.")]
    whole = Account(parts, [], [], {})
    pieces = [
        Piece("overfit", 0.1, 0.05, 0.2, "Train on more rows."),
        Piece("absent_classes", 0.9, 0.8, 1.0, "Add them."),
    ]
    found = split(whole, pieces)
    assert [part.name for part in found.overlap] == [*PARTS[:-1], "overfit", "absent_classes", "not_held"]
    check(found.overlap, 0.9)
    moved = shares(found.overlap)
    assert moved["overfit"] == pytest.approx(0.09)
    assert moved["absent_classes"] == pytest.approx(0.21)  # what single classes lose is theirs, and counted once
    assert moved["classes"] == 0
    assert moved["not_held"] == pytest.approx(0, abs=1e-12)
    assert split(whole, []) == whole
    assert split(whole, pieces[:1]).overlap[-1].share == pytest.approx(0.11)
    given = accounted(X, X + noise(X, 0.8), pieces=pieces[:1])
    assert shares(given.overlap)["overfit"] == pytest.approx(0.1 * sum(shares(given.overlap).values()))


@pytest.mark.parametrize("after", [None, 0.54, 1.0])
def test_the_account_of_another_order(after: float | None) -> None:
    gain = None if after is None else Trial("reversed", "undo", OVERLAP.named(10), 0.04, after, 0.02, 0.0, 1.0, 100)
    unaligned = Unaligned(10, overlap=0.04, error=0.02, chance=0.04, gain=gain)
    found = of_order(unaligned, 0.04, -0.01)
    check(found.overlap, 0.96)
    check(found.cka, 1.01)
    assert shares(found.overlap)["rows_set_aside"] == pytest.approx(0 if after is None else after - 0.04)
    assert [step["repair"] for step in found.steps] == ["identity", *([] if after is None else ["reordered"])]
    assert of_order(unaligned, 0.04, None).cka == []


def test_progress_is_told() -> None:
    said = []
    student = X + noise(X, 0.5)
    accounted(X, student, aside=np.arange(9), codes=CODES, names=NAMES, progress=lambda *each: said.append(each))
    done = [each[1] / each[2] for each in said]
    assert done == sorted(done)
    assert 0 <= done[0] < done[-1] <= 1
