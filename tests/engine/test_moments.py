"""Moments: however the rows are cut up, shifted and merged, the same sums come out."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifold_probe.engine.moments import grouped, total
from manifold_probe.errors import InputError
from manifold_probe.measures import Moments
from manifold_probe.measures.alignment import cka, debiased_cka, procrustes
from tests.measures import cases

SUMS = ("n", "sx", "sy", "xx", "xy", "yy", "aa", "ab", "bb", "ax", "bx", "ay", "by")


def brute(x: np.ndarray, y: np.ndarray, u: np.ndarray, v: np.ndarray) -> dict:
    """The sums of the docstring, a loop over rows."""
    x, y = x - u, y - v
    rows = [(p, q, p @ p, q @ q) for p, q in zip(x, y, strict=True)]
    return {
        "n": len(rows),
        "sx": sum(p for p, *_ in rows),
        "sy": sum(q for _, q, *_ in rows),
        "xx": sum(np.outer(p, p) for p, *_ in rows),
        "xy": sum(np.outer(p, q) for p, q, *_ in rows),
        "yy": sum(np.outer(q, q) for _, q, *_ in rows),
        "aa": sum(a * a for *_, a, _ in rows),
        "ab": sum(a * b for *_, a, b in rows),
        "bb": sum(b * b for *_, b in rows),
        "ax": sum(a * p for p, _, a, _ in rows),
        "bx": sum(b * p for p, _, _, b in rows),
        "ay": sum(a * q for _, q, a, _ in rows),
        "by": sum(b * q for _, q, _, b in rows),
    }


def assert_agree(m: Moments, expected: dict, tolerance: float = 1e-10) -> None:
    for name in SUMS:
        value = np.asarray(expected[name])
        scale = max(1.0, float(np.abs(value).max())) * expected["n"]
        np.testing.assert_allclose(getattr(m, name), value, rtol=tolerance, atol=tolerance * scale, err_msg=name)


def data(n: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(seed).normal(size=(n, 4)) + 2
    return x, cases.student_of(x, width=3, seed=seed + 1)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(n=st.integers(2, 70), seed=st.integers(0, 999), cuts=st.lists(st.integers(0, 70), max_size=6))
def test_any_blocks_in_any_merge_order_and_any_shift(n: int, seed: int, cuts: list[int]) -> None:
    x, y = data(n, seed)
    rng = np.random.default_rng(seed)
    edges = [0, *sorted(min(c, n) for c in cuts), n]
    parts = []
    for start, stop in itertools.pairwise(edges):
        shifts = (rng.normal(size=4), rng.normal(size=3)) if rng.random() < 0.7 else (None, None)
        parts.append(Moments(*shifts).update(x[start:stop], y[start:stop]))
    rng.shuffle(parts)  # type: ignore[arg-type]
    merged = Moments()
    for part in parts:
        merged = merged.merge(part)
    assert_agree(merged, brute(x, y, merged.shift_x, merged.shift_y))
    streamed = Moments()
    for start, stop in itertools.pairwise(edges):
        streamed.update(x[start:stop], y[start:stop])
    assert_agree(streamed, brute(x, y, streamed.shift_x, streamed.shift_y))


@pytest.mark.parametrize("measure", [cka, debiased_cka, procrustes])
def test_measures_do_not_depend_on_the_shift(measure) -> None:  # type: ignore[no-untyped-def]
    x, y = data()
    near, far = Moments().update(x, y), Moments(np.full(4, 5.0), np.full(3, -4.0)).update(x, y)
    assert measure(near) == pytest.approx(measure(far), abs=1e-9)
    assert measure(near.shifted(np.full(4, 9.0), np.full(3, 9.0))) == pytest.approx(measure(near), abs=1e-9)


def test_means_and_covariance() -> None:
    x, y = data()
    m = Moments(np.ones(4), np.zeros(3)).update(x, y)
    np.testing.assert_allclose(m.means[0], x.mean(0), atol=1e-12)
    np.testing.assert_allclose(m.covariance[1] / 59, np.cov(x.T, y.T)[:4, 4:], atol=1e-10)
    assert m.variances[1] == pytest.approx(((y - y.mean(0)) ** 2).sum(), rel=1e-12)
    assert m.swapped().covariance[1].shape == (3, 4)
    assert debiased_cka(m.swapped()) == pytest.approx(debiased_cka(m), abs=1e-12)


def test_a_group_can_be_taken_away_again() -> None:
    x, y = data()
    groups = np.random.default_rng(0).integers(0, 5, 60)
    parts = grouped(x, y, groups, 5)
    kept = groups != 3
    assert_agree(total(parts) - parts[3], brute(x[kept], y[kept], x.mean(0), y.mean(0)))


def test_saved_and_loaded(tmp_path: Path) -> None:
    x, y = data()
    m = Moments().update(x, y)
    m.save(tmp_path / "m.npz")
    back = Moments.load(tmp_path / "m.npz")
    for name in (*SUMS, "shift_x", "shift_y"):
        np.testing.assert_array_equal(getattr(back, name), getattr(m, name))
    assert debiased_cka(back.merge(m)) == debiased_cka(m.merge(m))
    assert isinstance(back.n, int)


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "missing"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "m.npz"
    Moments().update(*data()).save(path)
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:300], "empty": b"", "text": b"not moments", "missing": b""}[damage])
    if damage == "missing":
        path.unlink()
    with pytest.raises(InputError, match=r"m\.npz"):
        Moments.load(path)


def test_an_accumulator_does_not_write_into_what_was_merged() -> None:
    x, y = data()
    part = Moments().update(x[:30], y[:30])
    Moments().merge(part).update(x[30:], y[30:])
    assert part.n == 30


def test_taking_away_moments_about_another_shift() -> None:
    x, y = data()
    rest = Moments().update(x, y) - Moments().update(x[:20], y[:20])
    assert_agree(rest, brute(x[20:], y[20:], rest.shift_x, rest.shift_y))


@pytest.mark.parametrize(("a", "b"), [((3, 4), (2, 3)), ((5,), (5,)), ((3, 4), (3, 9))])
def test_blocks_that_do_not_fit_are_refused(a: tuple, b: tuple) -> None:
    m = Moments().update(*data())
    with pytest.raises(InputError):
        m.update(np.ones(a), np.ones(b))
    with pytest.raises(InputError):
        m.merge(Moments().update(np.ones((5, 2)), np.ones((5, 2))))
