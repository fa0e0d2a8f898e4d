"""The halves of a pair, what is read on them, and the proved map, against plain searches of every half."""

from __future__ import annotations

import numpy as np
import pytest

from manifold_probe.diagnosis import halves, proved, repairs
from manifold_probe.diagnosis.accounting import affine_fits, corrections_of
from manifold_probe.diagnosis.halves import SIDES, Correction, Halves, Likeness, chosen, joined
from manifold_probe.diagnosis.lab import COSINE, METRICS
from manifold_probe.diagnosis.proved import proved_map
from manifold_probe.engine import passes
from manifold_probe.engine.moments import moments_of
from manifold_probe.errors import InputError
from manifold_probe.measures import debiased_linear_cka
from manifold_probe.measures.uncertainty import Estimate
from manifold_probe.spaces.pairing import Pair, pair
from manifold_probe.spaces.space import Space

N, D, WIDE, K = 90, 6, 9, 10
LEFT_OUT = np.array([0, 3, 17, 18, 19, 40, 41, 88, 89])


def paired(teacher: np.ndarray, student: np.ndarray) -> Pair:
    spaces = Space(teacher.astype(np.float32), name="t"), Space(student.astype(np.float32), name="s")
    return pair(spaces[0], {"s": spaces[1]})["s"]


def rows(n: int = N, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    teacher = draw.normal(size=(n, WIDE)) + draw.normal(size=WIDE)
    return teacher, teacher @ draw.normal(size=(WIDE, D)) + 0.5 * draw.normal(size=(n, D)) + 1


def turned() -> Correction:
    """A different affine map for each half, and one that looks at the teacher."""
    draw = np.random.default_rng(1)
    maps = {side: (draw.normal(size=(D, D)), draw.normal(size=D)) for side in SIDES}
    return {
        False: lambda student, teacher: student @ maps[False][0] + maps[False][1],
        True: lambda student, teacher: student @ maps[True][0] + 0.3 * teacher[:, :D],
    }


def changed_rows(found: Correction, fold: np.ndarray, teacher: np.ndarray, student: np.ndarray) -> np.ndarray:
    return np.stack([found[bool(fold[i])](student[i : i + 1], teacher[i : i + 1])[0] for i in range(len(fold))])


def naive_nearest(x: np.ndarray, row: int, among: np.ndarray, metric: str, k: int) -> set[int]:
    x = x.astype(np.float64)
    others = among[among != row]
    if metric == "cosine":
        near = x[others] @ x[row] / np.linalg.norm(x[others], axis=1) / np.linalg.norm(x[row])
    else:
        near = -np.linalg.norm(x[others] - x[row], axis=1)
    return set(others[np.argsort(-near)[:k]].tolist())


def naive_overlap(
    teacher: np.ndarray, student: np.ndarray, asked: np.ndarray, among: np.ndarray, metric: str, k: int
) -> list[float]:
    found = []
    for row in asked:
        first, second = (naive_nearest(x, row, among, metric, k) for x in (teacher, student))
        found.append(len(first & second) / k)
    return found


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("without", [None, LEFT_OUT])
@pytest.mark.parametrize("seed", range(3))
def test_neighbours_are_those_of_each_half(metric: str, without: np.ndarray | None, seed: int) -> None:
    teacher, student = rows(seed=seed)
    made = Halves(paired(teacher, student), K, seed, without)
    keep = np.ones(N, bool)
    if without is not None:
        keep[without] = False
    assert made.fold.sum() == N // 2
    assert np.array_equal(np.sort(made.queries), np.flatnonzero(keep))
    changed = changed_rows(turned(), made.fold, teacher, student)
    found = made.overlaps({"turned": turned()})["turned"][metric]
    for side in SIDES:
        among = np.flatnonzero(keep & (made.fold == side))
        assert np.array_equal(made.rows[side], among)
        assert np.allclose(found[side], naive_overlap(teacher, changed, among, among, metric, made.k))


@pytest.mark.parametrize(("k", "expected"), [(1, 1), (2, 1), (10, 4), (89, 38)])
def test_a_half_asks_for_as_many_neighbours_as_lie_as_near(k: int, expected: int) -> None:
    made = Halves(paired(*rows()), k, 0, LEFT_OUT)
    least = min(map(len, made.rows))
    assert made.k == min(max(1, round(k * least / N)), least - 1)
    assert abs(made.k - expected) <= 1
    assert made.k_of_all == max(1, min(round(k / 2), 44))


@pytest.mark.parametrize("metric", METRICS)
def test_queries_are_sampled_and_the_database_is_not(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halves, "QUERIES_A_HALF", 10)
    teacher, student = rows()
    made = Halves(paired(teacher, student), K, 0, LEFT_OUT)
    assert len(made.queries) == 20
    assert not np.isin(made.queries, LEFT_OUT).any()
    found = made.overlaps({"": dict.fromkeys(SIDES, halves.as_it_is)})[""][metric]
    for side in SIDES:
        asked = made.rows[side][made.query_places[side]]
        assert np.allclose(found[side], naive_overlap(teacher, student, asked, made.rows[side], metric, made.k))


@pytest.mark.parametrize("metric", METRICS)
def test_rows_that_were_left_out_can_be_asked_among_all(metric: str) -> None:
    teacher, student = rows()
    made = Halves(paired(teacher, student), K, 0, LEFT_OUT)
    asked = [np.concatenate([made.rows[side][:5], made.excluded[side]]) for side in SIDES]
    assert sorted(np.concatenate(made.excluded)) == LEFT_OUT.tolist()
    found = made.of_all({"": dict.fromkeys(SIDES, halves.as_it_is)}, asked)[""][metric]
    for side in SIDES:
        among = np.flatnonzero(made.fold == side)
        assert np.allclose(found[side], naive_overlap(teacher, student, asked[side], among, metric, made.k_of_all))


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(InputError, match=r"s: 10 of 90 rows are left .* give more rows"):
        Halves(paired(*rows()), K, 0, np.arange(80))


@pytest.mark.parametrize(("n", "d"), [(40, 60), (200, 10), (13, 4)])
def test_likeness_is_debiased_cka_without_each_group(n: int, d: int) -> None:
    draw = np.random.default_rng(0)
    teacher = draw.normal(size=(n, d)) + 100
    student = teacher @ draw.normal(size=(d, 7)) + draw.normal(size=(n, 7))
    found = Likeness(teacher).of(student)
    assert found.value == pytest.approx(debiased_linear_cka(teacher, student), abs=1e-9)
    groups = min(20, n // 2)
    left_out = np.array(
        [debiased_linear_cka(*(x[np.arange(n) % groups != g] for x in (teacher, student))) for g in range(groups)]
    )
    assert np.allclose(found.deviations, np.sqrt((groups - 1) / groups) * (left_out - left_out.mean()), atol=1e-9)


def test_likeness_of_what_does_not_vary_is_undefined() -> None:
    teacher = np.random.default_rng(0).normal(size=(30, 3))
    assert Likeness(teacher).of(np.ones((30, 2))).value is None
    assert Likeness(np.ones((30, 2))).of(teacher).value is None


def test_likeness_is_of_the_corrected_rows_that_count() -> None:
    teacher, student = rows()
    made = Halves(paired(teacher, student), K, 0, LEFT_OUT)
    changed = changed_rows(turned(), made.fold, teacher, student)
    for side, found in zip(SIDES, made.likeness(turned()), strict=True):
        own = np.setdiff1d(np.flatnonzero(made.fold == side), LEFT_OUT)
        assert found.value == pytest.approx(debiased_linear_cka(teacher[own], changed[own]), abs=1e-5)


def test_moments_are_those_of_each_half() -> None:
    teacher, student = rows()
    made = Halves(paired(teacher, student), K, 0, LEFT_OUT)
    keep = ~np.isin(np.arange(N), LEFT_OUT)
    for side in SIDES:
        mine = keep & (made.fold == side)
        for of, found in ((student, made.half_moments[side]), (student**2, made.moments(np.square)[side])):
            expected = moments_of(of[mine], teacher[mine])
            assert found.n == mine.sum()
            for first, second in zip(found.covariance, expected.covariance, strict=True):
                assert np.allclose(first, second, rtol=1e-4, atol=1e-4)
    assert sum(each.n for each in made.moments(limit=30).values()) == 30 - np.isin(LEFT_OUT, _drawn(30)).sum()


def _drawn(count: int) -> np.ndarray:
    from manifold_probe.engine.rows import sample

    return sample(N, count, 0)


@pytest.mark.parametrize("without", [None, LEFT_OUT])
def test_the_size_of_blocks_does_not_matter(without: np.ndarray | None, monkeypatch: pytest.MonkeyPatch) -> None:
    one = paired(*rows())
    whole = Halves(one, K, 0, without)
    expected = whole.overlaps(corrections_of(whole))
    monkeypatch.setattr(halves, "BLOCK", 7)
    monkeypatch.setattr(passes, "BLOCK", 7)
    parts = Halves(one, K, 0, without)
    found = parts.overlaps(corrections_of(parts))
    assert list(found) == list(expected)
    for name, each in found.items():
        for metric in METRICS:
            for first, second in zip(each[metric], expected[name][metric], strict=True):
                assert np.array_equal(first, second)


@pytest.mark.parametrize("name", ["centring", "unit_deviation", "orthogonal", "ridge"])
@pytest.mark.parametrize("side", [False, True])
def test_a_correction_is_fitted_on_the_other_half(name: str, side: bool) -> None:
    teacher, student = rows()
    sound = Halves(paired(teacher, student), K, 0)
    poisoned = student.copy()
    bad = np.random.default_rng(5).normal(size=(D, D)) * 4
    poisoned[sound.fold == side] = poisoned[sound.fold == side] @ bad + 7
    other = Halves(paired(teacher, poisoned), K, 0)
    fit = affine_fits(sound)[name]
    first, second = (repairs.affine_steps(fit, each) for each in (sound, other))
    assert np.array_equal(first[side](student, teacher), second[side](student, teacher))
    assert not np.allclose(first[not side](student, teacher), second[not side](student, teacher), atol=0.1)
    learn = sound.fold != side
    weights, offset = fit(moments_of(student[learn], teacher[learn]))
    assert np.allclose(first[side](student, teacher), student @ weights + offset, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["orthogonal", "ridge", "nonlinear", "width"])
@pytest.mark.parametrize("side", [False, True])
def test_a_correction_never_sees_the_teacher_of_the_half_it_is_read_on(name: str, side: bool) -> None:
    teacher, student = rows()
    sound = Halves(paired(teacher, student), K, 0)
    poisoned = teacher.copy()
    poisoned[sound.fold == side] = 5 * poisoned[sound.fold == side][::-1] + 3
    other = Halves(paired(poisoned, student), K, 0)
    first, second = (corrections_of(each)[name] for each in (sound, other))
    assert np.array_equal(first[side](student, teacher), second[side](student, teacher))
    assert not np.allclose(first[not side](student, teacher), second[not side](student, teacher), atol=0.1)


def test_rows_left_out_change_nothing() -> None:
    teacher, student = rows()
    changed = [x.copy() for x in (teacher, student)]
    for x in changed:
        x[LEFT_OUT] = 50 * np.random.default_rng(1).normal(size=(len(LEFT_OUT), x.shape[1]))
    first, second = (Halves(paired(*each), K, 0, LEFT_OUT) for each in ((teacher, student), changed))
    one, two = (each.overlaps(corrections_of(each)) for each in (first, second))
    for name in one:
        for metric in METRICS:
            assert np.array_equal(np.concatenate(one[name][metric]), np.concatenate(two[name][metric]))


def test_a_half_is_read_by_what_the_other_half_chose() -> None:
    readings = {
        "a": (Estimate(0.9), Estimate(0.1)),
        "b": (Estimate(0.2), Estimate(0.8)),
        "undefined": (Estimate(None), Estimate(None)),
    }
    assert chosen(readings, [("undefined", "a", "b")] * 2) == ("b", "a")
    assert chosen(readings, [("a",), ("b", "undefined")]) == ("a", "b")


def test_the_mean_of_halves_has_both_errors() -> None:
    first = Estimate(0.2, np.array([0.03, 0.0]), 1)
    found = joined((first, Estimate(0.4, np.array([0.0, 0.04]), 1)))
    assert found.value == pytest.approx(0.3)
    assert found.standard_error == pytest.approx(0.025)
    assert joined((first, Estimate(None))).value is None


def _turned(noise: float) -> tuple[np.ndarray, ...]:
    draw = np.random.default_rng(3)
    turn = np.linalg.qr(draw.normal(size=(D, D)))[0]
    student = draw.normal(size=(100, D)) + 8
    teacher = (student - 8) @ (2 * turn) + draw.normal(size=D) + noise * draw.normal(size=(100, D))
    offset = teacher.mean(0) - student.mean(0) @ (2 * turn)
    return student, teacher, 2 * turn, offset


@pytest.mark.parametrize("without", [None, np.arange(4)])
def test_the_proved_map_is_fitted_on_all_rows_that_count(without: np.ndarray | None) -> None:
    student, teacher, weights, offset = (x.astype(np.float32) for x in _turned(0.1))
    kept = np.arange(100)
    if without is not None:
        student[without] *= -400
        kept = np.setdiff1d(kept, without)
    found = proved_map(paired(teacher, student), K, 0, without)
    assert found.facts["repair"] in ("orthogonal", "ridge")
    whole = getattr(repairs, found.facts["repair"])(moments_of(student[kept], teacher[kept]))
    assert np.allclose(found.A, whole[0], atol=1e-6)
    assert np.allclose(found.b, whole[1], atol=1e-5)
    assert np.allclose(found.A, weights, atol=0.1)
    assert np.allclose(found.b, offset, atol=0.5)
    assert found.facts["rows"] == str(len(kept))
    assert found.facts["measure"] == f"overlap@{K}"
    before, low, after, high = (float(found.facts[key]) for key in ("before", "low", "after", "high"))
    assert before + 0.1 < low < after < high


@pytest.mark.parametrize("what", ["a copy", "longer", "unrelated"])
def test_no_map_proves_itself_where_nothing_helps(what: str) -> None:
    teacher = np.random.default_rng(0).normal(size=(200, 16))
    student = {
        "a copy": teacher,
        "longer": 4 * teacher,
        "unrelated": np.random.default_rng(1).normal(size=(200, 16)),
    }[what]
    with pytest.raises(InputError, match="no map is proved to help"):
        proved_map(paired(teacher, student), K, 0)


@pytest.mark.parametrize(("value", "error", "stands"), [(0.02, 0.005, True), (0.02, 0.02, False), (0.009, 1e-4, False)])
def test_a_gain_must_be_sure_and_large(value: float, error: float, stands: bool) -> None:
    before, after = Estimate(0.5, np.zeros(1)), Estimate(0.5 + value, np.array([error]))
    if stands:
        proved.check("ridge", before, after, "overlap@10")
        return
    with pytest.raises(InputError, match=r"from 0.500 to 0.5.* on held-out rows"):
        proved.check("ridge", before, after, "overlap@10")


def test_the_account_and_the_map_read_the_same_halves() -> None:
    student, teacher, *_ = _turned(0.1)
    one = paired(teacher, student)
    made = Halves(one, K, 0, np.arange(4))
    read = made.overlaps(corrections_of(made))
    facts = proved_map(one, K, 0, np.arange(4)).facts
    assert float(facts["before"]) == pytest.approx(np.mean([x.mean() for x in read["identity"][COSINE]]), abs=1e-5)
