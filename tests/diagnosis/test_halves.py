"""The halves of a pair, the ladder and the proved map, against plain searches of every half."""

from __future__ import annotations

import numpy as np
import pytest
from manifold_probe.diagnosis.ladder import AFFINE, RUNGS, climb, step_of

from manifold_probe.diagnosis import halves, proved, repairs
from manifold_probe.diagnosis.faithfulness import METRICS, Gain, shape_likeness
from manifold_probe.diagnosis.halves import Halves, Step
from manifold_probe.diagnosis.proved import proved_map
from manifold_probe.engine.moments import moments_of
from manifold_probe.errors import InputError
from manifold_probe.spaces.pairing import Pair, pair
from manifold_probe.spaces.space import Space

N, D, WIDE, K = 90, 6, 9, 5
LEFT_OUT = np.array([0, 3, 17, 18, 19, 40, 41, 88, 89])


def paired(teacher: np.ndarray, student: np.ndarray) -> Pair:
    spaces = Space(teacher.astype(np.float32), name="t"), Space(student.astype(np.float32), name="s")
    return pair(spaces[0], {"s": spaces[1]})["s"]


def rows(n: int = N, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    teacher = draw.normal(size=(n, WIDE)) + draw.normal(size=WIDE)
    return teacher, teacher @ draw.normal(size=(WIDE, D)) + 0.5 * draw.normal(size=(n, D)) + 1


def steps(seed: int = 1) -> dict[bool, Step]:
    """A different affine map for each half, and one that looks at the teacher."""
    draw = np.random.default_rng(seed)
    maps = {side: (draw.normal(size=(D, D)), draw.normal(size=D)) for side in (False, True)}
    return {
        False: lambda student, teacher: student @ maps[False][0] + maps[False][1],
        True: lambda student, teacher: student @ maps[True][0] + 0.3 * teacher[:, :D],
    }


def repaired(found: dict[bool, Step], fold: np.ndarray, teacher: np.ndarray, student: np.ndarray) -> np.ndarray:
    return np.stack([found[bool(fold[i])](student[i : i + 1], teacher[i : i + 1])[0] for i in range(len(fold))])


def naive_nearest(x: np.ndarray, row: int, among: np.ndarray, metric: str, k: int) -> set[int]:
    x = x.astype(np.float64)
    others = among[among != row]
    if metric == "cosine":
        near = x[others] @ x[row] / np.linalg.norm(x[others], axis=1) / np.linalg.norm(x[row])
    else:
        near = -np.linalg.norm(x[others] - x[row], axis=1)
    return set(others[np.argsort(-near)[:k]].tolist())


def naive_overlap(made: Halves, teacher: np.ndarray, student: np.ndarray, metric: str, keep: np.ndarray) -> list[float]:
    found = []
    for row in made.queries:
        among = np.flatnonzero(keep & (made.fold == made.fold[row]))
        first, second = (naive_nearest(x, row, among, metric, made.k) for x in (teacher, student))
        found.append(len(first & second) / made.k)
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
    assert np.array_equal(made.queries, np.flatnonzero(keep))
    changed = repaired(steps(), made.fold, teacher, student)
    judged = steps()
    near = made._near(lambda side, own, theirs: judged[side](own, theirs))[metric]
    for place, row in enumerate(made.queries):
        among = np.flatnonzero(keep & (made.fold == made.fold[row]))
        assert set(near[place].tolist()) == naive_nearest(changed, row, among, metric, K)
    overlap = made.judge(judged).overlap[metric]
    assert np.allclose(overlap, naive_overlap(made, teacher, changed, metric, keep))


@pytest.mark.parametrize("metric", METRICS)
def test_queries_are_sampled_and_the_database_is_not(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halves, "QUERIES", 20)
    teacher, student = rows()
    made = Halves(paired(teacher, student), K, 0, LEFT_OUT)
    assert 10 <= len(made.queries) <= 20
    assert not np.isin(made.queries, LEFT_OUT).any()
    keep = ~np.isin(np.arange(N), LEFT_OUT)
    overlap = made.judge(step_of("identity", made)).overlap[metric]
    assert np.allclose(overlap, naive_overlap(made, teacher, student, metric, keep))


def test_likeness_is_of_the_repaired_rows_that_count() -> None:
    teacher, student = rows()
    made = Halves(paired(teacher, student), K, 0, LEFT_OUT)
    keep = ~np.isin(np.arange(N), LEFT_OUT)
    changed = repaired(steps(), made.fold, teacher, student)
    assert made.judge(steps()).cka == pytest.approx(shape_likeness(teacher[keep], changed[keep]), abs=1e-5)
    assert np.isnan(made.judge(steps(), cka=False).cka)


def test_moments_are_those_of_each_half() -> None:
    teacher, student = rows()
    made = Halves(paired(teacher, student), K, 0, LEFT_OUT)
    keep = ~np.isin(np.arange(N), LEFT_OUT)
    for side in (False, True):
        chosen = keep & (made.fold == side)
        for of, found in ((student, made.whole[side]), (student**2, made.moments(np.square)[side])):
            expected = moments_of(of[chosen], teacher[chosen])
            assert found.n == chosen.sum()
            for first, second in zip(found.covariance, expected.covariance, strict=True):
                assert np.allclose(first, second, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("without", [None, LEFT_OUT])
def test_the_size_of_blocks_does_not_matter(without: np.ndarray | None, monkeypatch: pytest.MonkeyPatch) -> None:
    one = paired(*rows())
    whole = Halves(one, K, 0, without)
    near = {name: whole.judge(step_of(name, whole)) for name in RUNGS}
    ladder = climb(whole)
    monkeypatch.setattr(halves, "BLOCK", 7)
    parts = Halves(one, K, 0, without)
    for name in RUNGS:
        found = parts.judge(step_of(name, parts))
        for metric in METRICS:
            assert np.array_equal(found.overlap[metric], near[name].overlap[metric])
        assert found.cka == pytest.approx(near[name].cka, abs=1e-6)
    for first, second in zip(climb(parts), ladder, strict=True):
        for key, measured in first["measures"].items():
            assert measured == pytest.approx(second["measures"][key], abs=1e-6)


def test_the_first_rung_gains_nothing() -> None:
    made = Halves(paired(*rows()), K, 0, LEFT_OUT)
    ladder = climb(made)
    assert [step["repair"] for step in ladder] == list(RUNGS)
    first = ladder[0]["measures"]
    assert list(first) == [f"overlap@{K}", f"overlap@{K}:euclidean", "debiased_linear_cka"]
    assert [measured["gain"] for measured in first.values()] == [0, 0, 0]
    assert all(measured["low"] < measured["value"] < measured["high"] for measured in first.values())
    for step in ladder[1:]:
        for key, measured in step["measures"].items():
            assert measured["gain"] == pytest.approx(measured["value"] - first[key]["value"])


@pytest.mark.parametrize("name", AFFINE)
@pytest.mark.parametrize("side", [False, True])
def test_a_repair_is_fitted_on_the_other_half(name: str, side: bool) -> None:
    teacher, student = rows()
    sound = Halves(paired(teacher, student), K, 0)
    poisoned = student.copy()
    bad = np.random.default_rng(5).normal(size=(D, D)) * 4
    poisoned[sound.fold == side] = poisoned[sound.fold == side] @ bad + 7
    other = Halves(paired(teacher, poisoned), K, 0)
    first, second = (step_of(name, each) for each in (sound, other))
    assert np.array_equal(first[side](student, teacher), second[side](student, teacher))
    assert not np.allclose(first[not side](student, teacher), second[not side](student, teacher), atol=0.1)
    learn = sound.fold != side
    weights, offset = AFFINE[name](moments_of(student[learn], teacher[learn]))
    assert np.allclose(first[side](student, teacher), student @ weights + offset, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["global_scale", "permutation", "orthogonal", "ridge", "nonlinear"])
@pytest.mark.parametrize("side", [False, True])
def test_a_repair_never_sees_the_teacher_of_the_half_it_is_read_on(name: str, side: bool) -> None:
    teacher, student = rows()
    sound = Halves(paired(teacher, student), K, 0)
    poisoned = teacher.copy()
    poisoned[sound.fold == side] = 5 * poisoned[sound.fold == side][::-1] + 3
    other = Halves(paired(poisoned, student), K, 0)
    first, second = (step_of(name, each) for each in (sound, other))
    assert np.array_equal(first[side](student, teacher), second[side](student, teacher))
    assert not np.allclose(first[not side](student, teacher), second[not side](student, teacher), atol=0.1)


def test_rows_left_out_change_nothing() -> None:
    teacher, student = rows()
    changed = [x.copy() for x in (teacher, student)]
    for x in changed:
        x[LEFT_OUT] = 50 * np.random.default_rng(1).normal(size=(len(LEFT_OUT), x.shape[1]))
    first, second = (Halves(paired(*each), K, 0, LEFT_OUT) for each in ((teacher, student), changed))
    for one, two in zip(climb(first), climb(second), strict=True):
        for key, measured in one["measures"].items():
            assert measured == pytest.approx(two["measures"][key], abs=1e-6)
    plain = climb(Halves(paired(*changed), K, 0))
    assert plain[0]["measures"] != climb(first)[0]["measures"]


def turned(noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(teacher, student, map, offset): the student is the teacher turned, shrunk and far from the origin."""
    draw = np.random.default_rng(0)
    turn, _ = np.linalg.qr(draw.normal(size=(16, 16)))
    teacher = draw.normal(size=(100, 16)) * np.geomspace(2, 0.5, 16) + 2 * draw.normal(size=16)
    offset = 3 * draw.normal(size=16)
    student = (teacher - offset) @ turn.T / 2.5 + noise / 2.5 * draw.normal(size=(100, 16))
    return teacher, student, 2.5 * turn, offset


@pytest.mark.parametrize("without", [None, LEFT_OUT])
def test_a_planted_map_is_recovered(without: np.ndarray | None) -> None:
    teacher, student, weights, offset = turned(0.0)
    if without is not None:
        student[without] *= -400
    map = proved_map(paired(teacher, student), K, 0, without)
    assert map.facts["repair"] in ("orthogonal", "ridge")
    assert np.allclose(map.A, weights, atol=1e-3)
    assert np.allclose(map.b, offset, atol=1e-3)
    assert float(map.facts["after"]) > 0.99


@pytest.mark.parametrize("without", [None, LEFT_OUT])
def test_the_proved_map_is_fitted_on_all_rows_that_count(without: np.ndarray | None) -> None:
    teacher, student, weights, offset = (x.astype(np.float32) for x in turned(0.1))
    kept = np.arange(100)
    if without is not None:
        student[without] *= -400
        kept = np.setdiff1d(kept, without)
    map = proved_map(paired(teacher, student), K, 0, without)
    assert map.facts["repair"] == "orthogonal"
    whole = repairs.orthogonal(moments_of(student[kept], teacher[kept]))
    assert np.allclose(map.A, whole[0], atol=1e-6)
    assert np.allclose(map.b, whole[1], atol=1e-5)
    assert np.allclose(map.A, weights, atol=0.1)
    assert np.allclose(map.b, offset, atol=0.3)
    assert map.facts["rows"] == str(len(kept))
    assert map.facts["measure"] == f"overlap@{K}"
    before, low, after, high = (float(map.facts[key]) for key in ("before", "low", "after", "high"))
    assert before + 0.1 < low < after < high


@pytest.mark.parametrize("what", ["a copy", "longer", "unrelated"])
def test_no_map_proves_itself_where_nothing_helps(what: str) -> None:
    teacher = np.random.default_rng(0).normal(size=(200, 16))
    student = {
        "a copy": teacher,
        "longer": 4 * teacher,
        "unrelated": np.random.default_rng(1).normal(size=(200, 16)),
    }[what]
    with pytest.raises(InputError, match="no map proved itself"):
        proved_map(paired(teacher, student), K, 0)


@pytest.mark.parametrize(("value", "error", "stands"), [(0.02, 0.005, True), (0.02, 0.02, False), (0.009, 1e-4, False)])
def test_a_gain_must_be_sure_and_large(
    value: float, error: float, stands: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proved, "gain", lambda before, after: Gain(value, error, 0.5, 0.5 + value))
    one = paired(*rows())
    if stands:
        assert proved_map(one, K, 0).facts["after"] == str(0.5 + value)
        return
    with pytest.raises(InputError, match=r"from 0.500 to 0.5.* on held-out rows"):
        proved_map(one, K, 0)
