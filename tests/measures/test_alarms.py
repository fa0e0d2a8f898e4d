"""Every alarm fires on its fault, and none on healthy pairs."""

from collections.abc import Callable

import numpy as np
import pytest

import manifold_probe as mp
from manifold_probe.measures.measure import measure_students
from manifold_probe.measures.results import Alarm
from tests.measures import cases

EXPECTED = {"unverified_pairing", "few_rows"}


def alarms(
    x: np.ndarray, y: np.ndarray, labels: np.ndarray | None = None, ids: np.ndarray | None = None
) -> list[Alarm]:
    return measure_students(cases.paired(x, y, labels, ids))["student"].alarms


def codes(*arguments: np.ndarray | None) -> set[str]:
    return {alarm.code for alarm in alarms(*arguments)}


def rotated(seed: int, n: int = 400, d: int = 12) -> tuple:
    """A student that is the teacher rotated, with mild noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * np.linspace(2, 1, d)
    return x, x @ cases.rotation(d, seed) + 0.2 * rng.normal(size=(n, d))


def relu(seed: int) -> tuple:
    """Two random ReLU layers of the same input."""
    x, _ = rotated(seed)
    rng = np.random.default_rng(seed + 100)
    layers = (rng.normal(size=(12, d)) / 4 for d in (32, 24))
    return tuple(np.maximum(x @ w, 0) for w in layers)


def clustered(seed: int, hard: bool = False, n: int = 500) -> tuple:
    """Five classes in class order; one of them, where asked, lost most of its detail."""
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.integers(0, 5, n))
    x = 3 * rng.normal(size=(5, 12))[labels] + rng.normal(size=(n, 12))
    noise = np.where((labels == 2) & hard, 1.0, 0.2)[:, None]
    return x, x @ cases.rotation(12, seed) + noise * rng.normal(size=(n, 12)), labels


def weak(seed: int) -> tuple:
    """A student that keeps about a fifth of the neighbours."""
    x, _ = rotated(seed)
    return x, x + 1.3 * np.random.default_rng(seed + 50).normal(size=x.shape)


def narrow(seed: int) -> tuple:
    x, _ = rotated(seed, d=16)
    return x, cases.student_of(x, width=6, noise=0.1, seed=seed)


HEALTHY: dict[str, Callable] = {
    "rotated": rotated,
    "relu": relu,
    "sorted": clustered,
    "hard_class": lambda seed: clustered(seed, hard=True),
    "weak": weak,
    "narrow": narrow,
}


def healthy_pairs() -> list:
    """The first seed by default, ten when slow."""
    found = []
    for kind in HEALTHY:
        for seed in range(10):
            marks = [pytest.mark.slow] if seed else []
            found.append(pytest.param(kind, seed, marks=marks))
    return found


@pytest.mark.parametrize(("kind", "seed"), healthy_pairs())
def test_healthy_pairs_raise_none(kind: str, seed: int) -> None:
    assert codes(*HEALTHY[kind](seed)) <= EXPECTED


def test_a_weak_student_is_what_it_is_meant_to_be() -> None:
    found = measure_students(cases.paired(*weak(0)))["student"].measures
    assert 0.1 < found["overlap@10"].value < 0.3


def block(pair: tuple, start: int, length: int, seed: int = 0) -> tuple:
    """The same pair with a run of student rows in another order."""
    x, y, *rest = pair
    y = y.copy()
    rows = np.arange(start, start + length)
    y[rows] = y[np.random.default_rng(seed).permutation(rows)]
    return x, y, *rest


@pytest.mark.parametrize("start", [0, 230, 540])
def test_a_shuffled_tenth_is_found(start: int) -> None:
    found = [a for a in alarms(*block(rotated(start, n=600), start, 60)) if a.code == "misaligned_rows"]
    assert len(found) == 1
    named = [int(word.replace(",", "")) for word in found[0].message.split() if word.replace(",", "").isdigit()]
    assert abs(named[0] - start) < 20
    assert abs(named[1] - (start + 59)) < 20


@pytest.mark.parametrize("with_labels", [True, False])
@pytest.mark.parametrize("start", [100, 420])
def test_and_in_a_file_sorted_by_class(start: int, with_labels: bool) -> None:
    x, y, labels = block(clustered(3, n=1000), start, 100)
    assert "misaligned_rows" in codes(x, y, labels if with_labels else None)


def fault(name: str) -> tuple[np.ndarray, np.ndarray]:
    x, y = rotated(0, n=500)
    if name == "duplicate_rows":
        y[17] = y[480]
    elif name == "dead_dimensions":
        y[:, 3] = 0.7
    elif name == "zero_vectors":
        y[44] = 0
    elif name == "collapsed_rank":
        y = np.outer(y[:, 0], np.ones(12)) + 1e-3 * y
    elif name == "common_offset":
        y = y + 10
    elif name == "hubs":
        x, y = rotated(0, n=500, d=40)
        y[3] = y.mean(0)
        y = y + np.linspace(5, 6, 40)
        y = y / np.linalg.norm(y, axis=1, keepdims=True)
    elif name == "influential_rows":
        y[:6] *= 50
    return x, y


@pytest.mark.parametrize(
    "name",
    [
        "duplicate_rows",
        "dead_dimensions",
        "zero_vectors",
        "collapsed_rank",
        "common_offset",
        "hubs",
        "influential_rows",
    ],
)
def test_each_fault_raises_its_alarm(name: str) -> None:
    x, y = fault(name)
    found = [alarm for alarm in alarms(x, y) if alarm.code == name]
    assert len(found) == 1
    assert found[0].message.startswith("student")
    assert found[0].message.endswith(".")
    if name not in ("collapsed_rank",):  # that one speaks of the student only
        assert any(a.code == name and a.message.startswith("teacher") for a in alarms(y, x))


@pytest.mark.parametrize(("count", "scale"), [(6, 10), (1, 100), (6, 1e4)])
def test_far_rows_are_named_however_far(count: int, scale: float) -> None:
    x, y = rotated(0)
    y[:count] *= scale
    assert "influential_rows" in codes(x, y)


@pytest.mark.parametrize(("count", "scale"), [(1, 1e6), (6, 1e6), (1, 1e8)])
def test_even_a_million_times_too_far(count: int, scale: float) -> None:
    x, y = rotated(0)
    y[:count] *= scale
    assert "influential_rows" in codes(x, y)


def column(x: np.ndarray, y: np.ndarray, values: np.ndarray, sides: str) -> tuple[np.ndarray, np.ndarray]:
    """The same pair with one more dimension on a side or on both."""
    return (np.c_[x, values] if "t" in sides else x), (np.c_[y, values] if "s" in sides else y)


@pytest.mark.parametrize("sides", ["ts", "t", "s"])
def test_a_dimension_that_decides_everything(sides: str) -> None:
    from manifold_probe.measures import debiased_linear_cka, neighbourhood_overlap

    x, y = weak(1)
    found = [a for a in alarms(*column(x, y, np.arange(400.0), sides)) if a.code == "dominating_dimension"]
    assert len(found) == 1
    without = f"debiased CKA is {debiased_linear_cka(x, y):.3f} instead of "
    assert without in found[0].message
    assert f"overlap@10 is {neighbourhood_overlap(x, y):.3f} instead of " in found[0].message
    assert ("teacher: dimension 12 holds" in found[0].message) == ("t" in sides)
    assert ("student: dimension 12 holds" in found[0].message) == ("s" in sides)


def test_several_stray_columns_are_found_together() -> None:
    rng = np.random.default_rng(2)
    stray = np.c_[np.arange(600), rng.integers(1990, 2020, 600), rng.integers(5, 500, 600)]
    x, y = rng.normal(size=(2, 600, 32))
    message = next(a.message for a in alarms(np.c_[stray, x], np.c_[stray, y]) if a.code == "dominating_dimension")
    assert message.startswith("teacher: dimensions 0, 1, 2 hold ")
    assert "debiased CKA is -0.0" in message or "debiased CKA is 0.0" in message


def test_a_dimension_of_large_mean_decides_the_cosine() -> None:
    x, y = rotated(3, n=500, d=24)
    y[:, 5] += 300
    message = next(a.message for a in alarms(x, y) if a.code == "dominating_dimension")
    assert message.startswith("student: dimension 5 holds 99.")
    assert "of the squared length" in message


@pytest.mark.parametrize("power", [0.5, 1, 2, 3, 4])
def test_a_spectrum_that_decays_along_the_axes_is_no_fault(power: float) -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(500, 40)) * np.arange(1.0, 41) ** (-power / 2)
    assert codes(x, x + 0.02 * rng.normal(size=x.shape)) <= EXPECTED
    assert codes(x, x @ cases.rotation(40, 1)) <= EXPECTED


def test_a_dimension_that_changes_nothing_raises_none() -> None:
    x, _ = rotated(5)
    assert "dominating_dimension" not in codes(*column(x, x, np.arange(400.0), "ts"))


@pytest.mark.parametrize("seed", range(3))
def test_heavy_tails(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, noise = rng.normal(size=(2, 1500, 16))
    for degrees, expected in ((3, True), (30, False)):
        scale = np.sqrt(degrees / rng.chisquare(degrees, size=(1500, 1)))
        assert ("heavy_tails" in codes(scale * x, scale * (x + 0.3 * noise))) == expected


def test_copies_that_decide_the_neighbourhoods() -> None:
    from manifold_probe.measures import neighbourhood_overlap

    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(2, 60, 16))
    for other, words in ((y, ", so copies decide the neighbourhoods: "), (x, "; ")):
        among = neighbourhood_overlap(x, other)
        found = [a.message for a in alarms(np.repeat(x, 12, 0), np.repeat(other, 12, 0)) if a.code == "copied_rows"]
        start = "92% of the 720 rows are copies of other rows in both spaces"
        assert found[0].startswith(f"{start}{words}among the 60 distinct ones overlap@10 is {among:.3f}")
    few = [a.message for a in alarms(np.repeat(x[:9], 80, 0), np.repeat(y[:9], 80, 0)) if a.code == "copied_rows"]
    assert few[0].endswith("and the 9 distinct ones are too few for 10 neighbours.")


def test_few_rows_and_unverified_pairing() -> None:
    x, y = rotated(0, n=60)
    assert codes(x, y) >= EXPECTED
    x, y = rotated(0, n=250)
    assert codes(x, y) == {"unverified_pairing"}
    assert codes(x, y, None, np.arange(250)) == set()


def test_labels_that_disagree_say_misaligned() -> None:
    from manifold_probe.spaces.pairing import pair
    from manifold_probe.spaces.space import Space

    x, y, labels = clustered(0)
    other = labels.copy()
    other[:40] = (other[:40] + 1) % 5
    found = measure_students(pair(Space(x, labels=labels), {"s": Space(y, labels=other)}))["s"].alarms
    assert any(a.code == "misaligned_rows" and "40 of 500" in a.message for a in found)


@pytest.mark.parametrize(("scale", "words"), [(0, "all vectors are zero"), (1, "all rows are equal")])
def test_one_vector_for_every_input_is_said_so(scale: float, words: str) -> None:
    from manifold_probe import compare
    from manifold_probe.report.advice import CONSTANT, next_steps

    x, y = rotated(0, n=300)
    constant = np.repeat(y[:1], len(y), axis=0) * scale
    for one, two, side in ((x, constant, "student"), (constant, x, "teacher")):
        found = [alarm for alarm in alarms(one, two) if alarm.code == "constant_space"]
        assert [alarm.message for alarm in found] == [f"{side}: {words}: every input gives the same vector."]
        assert next_steps(compare(one, two).to_dict()) == [CONSTANT]
    assert "constant_space" not in codes(x, y)


def test_ids_that_contradict_a_pairing_by_position_are_said_to() -> None:
    draw = np.random.default_rng(6)
    x = draw.normal(size=(120, 8))
    ids = np.array([f"row {place}" for place in range(120)])
    other = np.r_[ids[:90], np.roll(ids[90:], 1)]
    found = mp.compare(x, x + 0.1 * draw.normal(size=x.shape), ids=(ids, other), positional=True).alarms
    message = next(alarm["message"] for alarm in found if alarm["code"] == "unverified_pairing")
    assert "ids contradict it: those of 30 of 120 rows differ; pair by id, without --positional" in message
    assert "no ids vouch" not in message
