"""Measuring a pair whole: the keys of the contract, determinism, row order, intervals, differences, odd sizes."""

from collections.abc import Callable

import numpy as np
import pytest

from manifold_probe.errors import InputError
from manifold_probe.measures.measure import measure_students
from manifold_probe.measures.results import Measured, Measurement
from manifold_probe.spaces.pairing import pair
from manifold_probe.spaces.space import Space
from tests.measures import cases

SIDES = ("teacher", "student")
KEYS = {"linear_cka", "debiased_linear_cka", "procrustes", "linear_r2", "norm_correlation"}
KEYS |= {"per_dimension_correlation", "space_similarity", "overlap@7:euclidean"}
KEYS |= {f"per_dimension_correlation:{kind}" for kind in ("permutation", "orthogonal", "ridge")}
KEYS |= {f"{name}@7" for name in ("overlap", "jaccard", "trustworthiness", "continuity")}
KEYS |= {"knn_agreement@7", "knn_kappa@7", "knn_accuracy_teacher@7", "knn_accuracy_student@7"}
KEYS |= {f"{name}_{side}" for name in ("rankme", "intrinsic_dimension") for side in SIDES}
KEYS |= {f"hubness_{side}@7" for side in SIDES}
DETAILS = {"overlap_by_k", "spectra", "per_class", "per_dimension", "rank_quantiles", "norms", "worst_rows"}


def make(n: int = 300, width: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    x = rng.normal(size=(4, 6))[labels] + rng.normal(size=(n, 6))
    return x, cases.student_of(x, width, seed=seed + 1), labels


def measured(*arguments: np.ndarray | None, **options: int) -> Measurement:
    return measure_students(cases.paired(*arguments), **options)["student"]


def plain(m: Measured) -> tuple:
    return m.value, m.low, m.high, m.chance, m.class_chance, m.reference, m.n, m.metric, m.note, m.quantiles


@pytest.mark.parametrize("width", [6, 3])
def test_every_key_of_the_contract(width: int) -> None:
    x, y, labels = make(width=width)
    found = measured(x, y, labels, k=7)
    assert set(found.measures) == KEYS
    assert set(found.details) >= DETAILS
    missing = {key for key, m in found.measures.items() if m.value is None}
    assert missing == (set() if width == 6 else {"per_dimension_correlation", "space_similarity"})
    for key, m in found.measures.items():
        assert m.n == 300
        if m.value is None:
            assert m.note
            continue
        assert m.low is not None, key
        assert m.low <= m.value <= m.high, key
        assert m.metric == ("euclidean" if "euclidean" in key or "intrinsic" in key else m.metric), key
        if "@" in key:
            assert m.metric in ("cosine", "euclidean")
        if key.startswith("per_dimension") or key == "space_similarity":
            assert list(m.quantiles) == ["0.05", "0.25", "0.5", "0.75", "0.95"]
    assert found.class_source == "labels"


def test_values_are_those_of_the_plain_functions() -> None:
    from manifold_probe import measures as plain_functions

    x, y, labels = make(width=6)
    found = measured(x, y, labels, k=7).measures
    f = plain_functions
    expected = {
        "linear_cka": f.linear_cka(x, y),
        "debiased_linear_cka": f.debiased_linear_cka(x, y),
        "procrustes": f.procrustes_similarity(x, y),
        "per_dimension_correlation": float(np.median(f.per_dimension_correlation(x, y))),
        "space_similarity": float(np.median(f.space_similarity(x, y))),
        "norm_correlation": f.norm_correlation(x, y),
        "rankme_teacher": f.rankme(x),
        "rankme_student": f.rankme(y),
        "overlap@7": f.neighbourhood_overlap(x, y, 7),
        "overlap@7:euclidean": f.neighbourhood_overlap(x, y, 7, "euclidean"),
        "jaccard@7": f.jaccard_overlap(x, y, 7),
        "trustworthiness@7": f.trustworthiness(x, y, 7),
        "continuity@7": f.continuity(x, y, 7),
        "knn_agreement@7": f.knn_agreement(x, y, labels, 7),
        "knn_accuracy_teacher@7": f.knn_accuracy(x, labels, 7),
        "intrinsic_dimension_student": f.intrinsic_dimension(y),
        "hubness_student@7": f.hubness_skewness(y, 7),
    }
    for key, value in expected.items():
        assert found[key].value == pytest.approx(value, abs=1e-8), key


def test_rankme_of_fewer_rows_than_dimensions_counts_no_rounding() -> None:
    from tests.measures import naive

    x = np.random.default_rng(0).normal(size=(40, 80))
    found = measured(x, cases.student_of(x, 60), k=5).measures
    assert found["rankme_teacher"].value == pytest.approx(naive.rankme(x), abs=1e-6)
    assert found["rankme_teacher"].high <= 40


def test_two_runs_are_identical() -> None:
    x, y, _ = make()
    for options in ({"seed": 0}, {"seed": 3, "queries": 90}):
        one, two = measured(x, y, **options), measured(x.copy(), y.copy(), **options)
        assert {key: plain(m) for key, m in one.measures.items()} == {key: plain(m) for key, m in two.measures.items()}
        assert repr(one.details) == repr(two.details)
        assert one.alarms == two.alarms


@pytest.mark.parametrize("with_labels", [True, False])
def test_the_order_of_the_rows_changes_no_value(with_labels: bool) -> None:
    x, y, labels = make()
    ids, order = np.arange(300) + 1000, np.random.default_rng(5).permutation(300)
    given = labels if with_labels else None
    one = measured(x, y, given, ids)
    two = measured(x[order], y[order], None if given is None else labels[order], ids[order])
    for key, m in one.measures.items():
        if with_labels or not key.startswith("knn"):  # stand-in classes come from a sample of rows
            assert two.measures[key].value == pytest.approx(m.value, abs=1e-9, nan_ok=True), key


def test_ids_join_whatever_the_order() -> None:
    x, y, labels = make()
    ids, order = np.array([f"row {i}" for i in range(300)]), np.random.default_rng(5).permutation(300)
    teacher = Space(x, ids=ids, labels=labels)
    one, two = (
        measure_students(pair(teacher, {"s": s}))["s"].measures
        for s in (Space(y, ids=ids), Space(y[order], ids=ids[order]))
    )
    assert {key: plain(m) for key, m in one.items()} == {key: plain(m) for key, m in two.items()}


def test_a_student_that_is_the_teacher() -> None:
    x, _, labels = make(width=6)
    found = measured(x, x.copy(), labels).measures
    for name in ("overlap@10", "overlap@10:euclidean", "jaccard@10", "trustworthiness@10", "knn_agreement@10"):
        assert found[name].value == 1.0, name
        assert found[name].low == found[name].high == 1.0
    for name in ("linear_cka", "debiased_linear_cka", "procrustes", "norm_correlation", "space_similarity"):
        assert found[name].value == pytest.approx(1, abs=1e-9), name
    assert found["linear_r2"].value > 0.999


def test_identical_students_differ_by_nothing() -> None:
    x, y, labels = make(width=6)
    teacher = Space(x, labels=labels)
    both = measure_students(pair(teacher, {"a": Space(y), "b": Space(y.copy()), "c": Space(x + 0.05 * y)}))
    for key, m in both["a"].measures.items():
        gap = m.estimate.minus(both["b"].measures[key].estimate)
        assert (gap.value, gap.low, gap.high) == (0.0, 0.0, 0.0), key
    gap = both["c"].measures["overlap@10"].estimate.minus(both["a"].measures["overlap@10"].estimate)
    assert gap.low > 0
    apart = measure_students(pair(teacher, {"only": Space(y)}))["only"].measures
    assert {k: plain(m) for k, m in apart.items()} == {k: plain(m) for k, m in both["a"].measures.items()}


ODD: dict[str, Callable] = {
    "one_dimension": lambda x: (x[:, :1], x[:, :1] + 0.1 * x[:, 1:2]),
    "one_student_dimension": lambda x: (x, x[:, :1]),
    "constant_student": lambda x: (x, np.ones_like(x)),
    "zero_student": lambda x: (x, np.zeros_like(x)),
    "constant_teacher": lambda x: (np.ones_like(x), x),
    "both_constant": lambda x: (np.ones_like(x), np.ones_like(x)),
    "wide": lambda x: (x[:50] @ np.ones((6, 80)) + np.random.default_rng(0).normal(size=(50, 80)), x[:50]),
    "half": lambda x: (x.astype(np.float16), x.astype(np.float32)),
    "integers": lambda x: ((10 * x).astype(np.int8), x),
}


def sound(found: Measurement) -> None:
    """Finite or None with a note; inside its interval."""
    for key, m in found.measures.items():
        for number in (m.value, m.low, m.high, m.chance, m.class_chance, m.reference):
            assert number is None or np.isfinite(number), key
        if m.value is None:
            assert m.note, key
        if m.value is not None and m.low is not None:
            assert m.low <= m.value <= m.high, key


@pytest.mark.parametrize("name", ODD)
def test_odd_spaces_are_measured(name: str) -> None:
    x, y = ODD[name](make(120)[0])
    found = measured(x, y)
    sound(found)
    assert found.measures["overlap@10"].value is not None
    if "constant" in name or "zero" in name:
        assert found.measures["linear_cka"].value is None
        assert {"dead_dimensions", "duplicate_rows"} <= {a.code for a in found.alarms}


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 7, 10, 20, 39, 41])
def test_few_rows_are_measured(n: int) -> None:
    x, y, labels = make(n)
    k = min(3, n - 1)
    found = measured(x, y, labels if n % 2 else None, k=k)
    sound(found)
    assert 0 <= found.measures[f"overlap@{k}"].value <= 1
    assert "few_rows" in {a.code for a in found.alarms}


@pytest.mark.parametrize("k", [0, 20, 25])
def test_a_k_that_does_not_fit_is_refused(k: int) -> None:
    x, y, _ = make(20)
    with pytest.raises(InputError, match="k = "):
        measured(x, y, k=k)


@pytest.mark.parametrize("k", [10, 19])
def test_trustworthiness_is_null_from_half_of_the_rows_on(k: int) -> None:
    x, y, _ = make(20)
    found = measured(x, y, k=k).measures
    for name in ("trustworthiness", "continuity"):
        assert found[f"{name}@{k}"].value is None
        assert "n / 2" in found[f"{name}@{k}"].note


@pytest.mark.slow
@pytest.mark.parametrize("key", ["linear_cka", "debiased_linear_cka", "overlap@10", "knn_agreement@10"])
def test_standard_errors_are_those_of_fresh_samples(key: str) -> None:
    everyone = make(12_000)  # one population, thirty samples of it
    runs = [measured(*(z[s * 400 : s * 400 + 400] for z in everyone)).measures[key] for s in range(30)]
    spread = np.std([m.value for m in runs], ddof=1)
    claimed = np.sqrt(np.mean([m.estimate.standard_error**2 for m in runs]))
    assert spread / 1.5 < claimed < spread * 1.5
