"""Measures of the user's: their values, their intervals, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import manifold_probe as mp
from manifold_probe.engine.rows import random_groups
from manifold_probe.measures.user_defined import MOST_ROWS, chosen, measure_user_defined
from manifold_probe.spaces.space import Space


def declared(function: object, key: str = "mean_gap", **more: object) -> mp.Measure:
    return mp.Measure(key, "mean gap", "Overall shape", "distance of the means", function=function, **more)  # type: ignore[arg-type]


def spaces(n: int = 300, d: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d))
    return x, x + rng.normal(size=(n, d)) + 1


def measured(measure: mp.Measure, x: np.ndarray, y: np.ndarray):  # type: ignore[no-untyped-def]
    groups, count = random_groups(len(x), 0)
    return measure_user_defined([measure], Space(x), Space(y), groups, count, seed=0)[measure.key], groups, count


def test_value_interval_and_chance() -> None:
    x, y = spaces()
    gap = declared(lambda a, b: np.linalg.norm(a.mean(0) - b.mean(0)), chance=lambda a, b: 0.25)
    found, groups, count = measured(gap, x, y)
    assert found.value == pytest.approx(np.linalg.norm(x.mean(0) - y.mean(0)), rel=1e-12)
    without = np.array([np.linalg.norm((x - y)[groups != g].mean(0)) for g in range(count)])
    error = np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum())
    assert found.estimate.standard_error == pytest.approx(error, rel=1e-9)
    assert found.chance == 0.25
    assert found.note is None


def test_the_function_cannot_change_the_rows_for_the_next_call() -> None:
    def spoils(a: np.ndarray, b: np.ndarray) -> float:
        value = float(a.sum())
        a[:] = 0
        return value

    x, y = spaces()
    found, _, _ = measured(declared(spoils), x, y)
    assert found.value == pytest.approx(x.sum(), rel=1e-12)
    assert found.estimate.standard_error > 0


def test_many_rows_are_sampled_and_said() -> None:
    x, y = spaces(MOST_ROWS + 10, 2)
    found, _, _ = measured(declared(lambda a, b: len(a)), x, y)
    assert found.n == MOST_ROWS
    assert found.note == f"from {MOST_ROWS:,} of {MOST_ROWS + 10:,} rows, drawn at random"


def raises(a: np.ndarray, b: np.ndarray) -> float:
    raise RuntimeError("no such\nthing")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (raises, "measure 'mean_gap': its function raised RuntimeError: no such thing"),
        (lambda a, b: float("nan"), "measure 'mean_gap': its function gave nan for 300 rows; give a finite number"),
        (lambda a, b: a, "measure 'mean_gap': its function raised TypeError"),
        (lambda a: 1.0, "measure 'mean_gap': its function raised TypeError"),
    ],
)
def test_what_a_function_may_not_do(function: object, words: str) -> None:
    with pytest.raises(mp.InputError, match=words.split("(")[0]) as caught:
        measured(declared(function), *spaces())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ([], "is empty"),
        ("overlap@10", "give a list"),
        (["overlap@7"], "'overlap@7' is not known with k = 10"),
        (["overlap@10", "overlap@10"], "'overlap@10' is given twice"),
        ([declared(lambda a, b: 1.0, key="linear_cka")], "'linear_cka' is given twice or is the key of a built-in"),
        ([declared(None)], "'mean_gap' has no function"),
        ([3], "3 is a int"),
    ],
)
def test_what_cannot_be_asked_for(asked: object, words: str) -> None:
    with pytest.raises(mp.InputError) as caught:
        chosen(asked, 10)
    assert words in str(caught.value)


def test_a_declaration_needs_its_texts() -> None:
    with pytest.raises(mp.InputError, match="title is ''"):
        mp.Measure("key", "", "Overall shape", "gloss")
    with pytest.raises(mp.InputError, match="function is not a function"):
        mp.Measure("key", "title", "Overall shape", "gloss", function=3)  # type: ignore[arg-type]


def test_keys_and_declarations_are_chosen_in_their_order() -> None:
    own = declared(lambda a, b: 1.0)
    assert [each.named(10) for each in chosen(["linear_cka", own, "overlap@10"], 10)] == [
        "linear_cka",
        "mean_gap",
        "overlap@10",
    ]
    assert chosen(None, 10) == list(mp.MEASURES)
    assert chosen([*mp.MEASURES, own], 10)[-1] is own


@pytest.mark.parametrize(
    "keys",
    [
        ["overlap@5"],
        ["debiased_linear_cka"],
        ["trustworthiness@5", "linear_r2"],
        ["knn_kappa@5", "norm_correlation", "hubness_student@5"],
        ["rankme_student", "per_dimension_correlation:ridge"],
        ["space_similarity", "intrinsic_dimension_teacher"],
    ],
)
@pytest.mark.parametrize("width", [4, 3])
def test_some_measures_are_what_they_are_among_all(keys: list[str], width: int) -> None:
    x, y = spaces()
    labels = (x[:, 0] > 0).astype(int)
    every = mp.compare(x, y[:, :width], labels=labels, k=5)
    some = mp.compare(x, y[:, :width], labels=labels, k=5, measures=keys)
    assert list(some.measures) == [key for key in every.measures if key in keys]
    assert {key: some.measures[key] for key in keys} == {key: every.measures[key] for key in keys}
    assert {alarm["code"] for alarm in some.alarms} <= {alarm["code"] for alarm in every.alarms}


def test_what_is_not_wanted_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    from manifold_probe.measures import alignment, dimensions, reading

    x, y = spaces()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("computed")

    with monkeypatch.context() as patch:
        patch.setattr(reading, "candidates", refuse)
        for name in ("procrustes_jackknifed", "ridge_r2_without"):
            patch.setattr(alignment, name, refuse)
        patch.setattr(dimensions, "effective_ranks", refuse)
        assert mp.compare(x, y, measures=["debiased_linear_cka"]).measures["debiased_linear_cka"].value is not None
    with monkeypatch.context() as patch:
        patch.setattr(reading, "GroupedMoments", refuse)
        patch.setattr(reading, "Ranks", refuse)
        assert mp.compare(x, y, measures=["overlap@10"]).measures["overlap@10"].value is not None


def test_a_measure_of_ones_own_is_shown_like_a_built_in(tmp_path: Path) -> None:
    x, y = spaces()
    own = declared(lambda a, b: np.linalg.norm(a.mean(0) - b.mean(0)), higher_is_better=None)
    both = mp.compare(x, {"a": y, "b": y + 1}, k=5, measures=[*mp.MEASURES, own])
    found = both["a"].measures["mean_gap"]
    assert found.value is not None
    assert found.low is not None
    assert found.low < found.value < found.high
    gap = next(row for row in both.differences if row["measure"] == "mean_gap")
    assert gap["value"] == pytest.approx(found.value - both["b"].measures["mean_gap"].value)
    again = mp.load(both.save(tmp_path / "both.json") or tmp_path / "both.json")
    for result in (both, again):
        assert "mean_gap" in result.summary()
        assert "mean_gap" in set(result.to_frame()["measure"])
        result.to_html(tmp_path / "page.html")
        assert "mean gap" in (tmp_path / "page.html").read_text()
    one = mp.compare(x, y, k=5, measures=["overlap@5", own])
    assert list(one.measures) == ["overlap@5", "mean_gap"]
    assert "distance of the means" in one.summary()
