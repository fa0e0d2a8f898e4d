"""Nothing depends on the scale of either space: powers of two change no bit, powers of ten no digit that counts."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from manifold_probe import measures
from manifold_probe.engine.moments import Moments
from manifold_probe.engine.scale import divided, exponent_of
from manifold_probe.measures.layers import layer_matrix
from manifold_probe.measures.measure import measure_students
from manifold_probe.measures.results import Measurement
from manifold_probe.spaces.space import Space
from tests.measures import cases
from tests.measures.test_invariances import MEASURES, make

TENS = (1e-60, 1e-42, 1e-30, 1e30, 1e38, 1e60)
TWOS = (2.0**-199, 2.0**-140, 2.0**-100, 2.0**100, 2.0**127, 2.0**199)
SIDES = {"both": (1, 1), "teacher": (1, 0), "student": (0, 1), "opposite": (1, -1)}


def scaled(x: np.ndarray, y: np.ndarray, factor: float, side: str) -> tuple[np.ndarray, np.ndarray]:
    a, b = SIDES[side]
    return x * factor**a, y * factor**b


def everything(found: Measurement) -> dict:
    """All measures, intervals, yardsticks, notes, alarms and details, but for what is stated in the data's own unit."""
    details = {key: value for key, value in found.details.items() if key not in ("norms", "spectra")}
    by_key = {
        key: [m.value, m.low, m.high, m.chance, m.class_chance, m.reference, m.note, m.quantiles]
        for key, m in found.measures.items()
    }
    return {"measures": by_key, "alarms": [[a.code, a.message] for a in found.alarms], "details": details}


def same(a: object, b: object, tolerance: float) -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            same(a[key], b[key], tolerance)
    elif isinstance(a, list):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            same(one, other, tolerance)
    elif isinstance(a, float):
        assert a == pytest.approx(b, rel=tolerance, abs=tolerance)
    else:
        assert a == b


def pair_of(width: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(220, 6)) * np.linspace(2, 0.5, 6) + 0.5
    return x, cases.student_of(x, width)


@pytest.fixture(scope="module")
def plain() -> dict[int, Measurement]:
    return {width: measure_students(cases.paired(*pair_of(width)))["student"] for width in (6, 4)}


@pytest.mark.parametrize("width", [6, 4])
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("factor", TWOS)
def test_a_power_of_two_changes_no_bit(plain: dict, factor: float, side: str, width: int) -> None:
    found = measure_students(cases.paired(*scaled(*pair_of(width), factor, side)))["student"]
    assert json.dumps(everything(found)) == json.dumps(everything(plain[width]))
    for name, power in zip(("teacher", "student"), SIDES[side], strict=True):
        norms, spectra = plain[width].details["norms"][name], plain[width].details["spectra"][name]
        for key in ("0.5", "max"):
            assert found.details["norms"][name][key] == norms[key] * factor**power
        assert found.details["spectra"][name] == [value * factor**power for value in spectra]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("factor", TENS)
def test_a_power_of_ten_changes_no_digit_that_counts(plain: dict, factor: float, side: str) -> None:
    found = measure_students(cases.paired(*scaled(*pair_of(6), factor, side)))["student"]
    same(everything(found), everything(plain[6]), 1e-9)


@pytest.mark.parametrize("factor", [1e38, 1e30, 1e-38, 1e-42])
def test_float32_to_the_ends_of_its_range(factor: float) -> None:
    x, y = ((z / np.abs(z).max() * factor).astype(np.float32) for z in pair_of(6))
    found = measure_students(cases.paired(x, y))["student"]
    wide = measure_students(cases.paired(*(z.astype(np.float64) / factor for z in (x, y))))["student"]
    same(everything(found), everything(wide), 1e-6)  # the float64 of a float32 has another row hash, not another value


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("factor", [2.0**-14, 2.0**14])
def test_half_precision(dtype: type, factor: float) -> None:
    x, y = (np.round(z * 64).clip(-100, 100) / 64 for z in pair_of(6))
    found, plainly = (
        measure_students(cases.paired(*((z * by).astype(dtype) for z in (x, y))))["student"] for by in (factor, 1.0)
    )
    assert json.dumps(everything(found)) == json.dumps(everything(plainly))


@pytest.mark.parametrize("factor", [*TENS, 2.0**199, 1e200])
@pytest.mark.parametrize("name", MEASURES)
def test_public_functions(name: str, factor: float) -> None:
    x, y, labels = make(60, 5, 3)
    measure: Callable = MEASURES[name][0]
    expected = measure(x, y, labels)
    for side in SIDES:
        assert measure(*scaled(x, y, factor, side), labels) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("factor", [1e-60, 1e-42, 1e38, 1e60])
def test_streaming_twins(factor: float) -> None:
    from manifold_probe.measures.alignment import cka, cka_chance, debiased_cka, procrustes
    from manifold_probe.measures.dimensions import column_cosines, correlations, effective_ranks

    x, y = pair_of(6)
    plainly = Moments().update(x, y)
    for side in SIDES:
        a, b = scaled(x, y, factor, side)
        streamed = Moments().update(a[:90], b[:90]).merge(Moments().update(a[90:], b[90:]))
        for value in (cka, cka_chance, debiased_cka, procrustes, correlations, column_cosines):
            assert value(streamed) == pytest.approx(value(plainly), rel=1e-9), value.__name__
        assert effective_ranks(streamed, [])[0] == pytest.approx(effective_ranks(plainly, [])[0], rel=1e-9)
    found = measures.Neighbours.search(x * factor, 5, "euclidean")
    assert found.distances == pytest.approx(measures.Neighbours.search(x, 5, "euclidean").distances * factor**2)


@pytest.mark.parametrize("factor", TENS)
def test_layers(factor: float) -> None:
    x, y = pair_of(4)
    expected = layer_matrix({"a": Space(x)}, {"b": Space(y)})
    for side in SIDES:
        a, b = scaled(x, y, factor, side)
        found = layer_matrix({"a": Space(a)}, {"b": Space(b)})
        for key in ("linear_cka", "debiased_linear_cka"):
            assert found[key][0] == pytest.approx(expected[key][0], rel=1e-9)


def test_zero_rows_before_large_ones() -> None:
    x, y = pair_of(6)
    x[:5] = 0
    found = measure_students(cases.paired(x * 1e60, y))["student"]
    same(everything(found), everything(measure_students(cases.paired(x, y))["student"]), 1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e30, 1e-30])
def test_one_column_of_another_scale_does_no_harm(dtype: type, size: float) -> None:
    x, y = (z.astype(dtype) for z in pair_of(6))
    x[:, 2] *= size
    found = measure_students(cases.paired(x, y))["student"]
    correlation = found.details["per_dimension"]["raw"]
    naive = [np.corrcoef(x[:, j].astype(np.float64), y[:, j].astype(np.float64))[0, 1] for j in range(6)]
    assert correlation == pytest.approx(naive, rel=1e-9)


def test_division_is_exact() -> None:
    rows = np.array([[1e-45, 3e38], [0.1, -0.0]], dtype=np.float32)
    assert (divided(rows, 128) * 2.0**128 == rows.astype(np.float64)).all()
    assert divided(rows, 0) is rows
    assert [exponent_of(size) for size in (65504.0, 1e-4, 2.0**40, 0.0)] == [0, 0, 41, 0]
