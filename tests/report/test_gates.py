"""Gates compare the lower bound; baselines compare values."""

from __future__ import annotations

import copy

import pytest

from manifold_probe.errors import InputError
from manifold_probe.report.gates import baseline_warnings, check_baseline, check_drops, check_gates, parse_gates
from tests.report.hand import document, documents, measurement


def test_the_lower_bound_decides() -> None:
    made = document(measurement({"overlap@10": 0.5}, error=0.05))  # lower bound 0.402
    passed, failed = check_gates(made, parse_gates("overlap@10=0.4, overlap@10=0.45", 10))
    assert passed.passed
    assert passed.line.startswith("PASS overlap@10 lower bound 0.40")
    assert not failed.passed
    assert failed.line.startswith("FAIL overlap@10 lower bound 0.40")


def test_an_undefined_measure_fails_with_its_note() -> None:
    made = document(measurement({"linear_r2": None}, note="too few rows"))
    (outcome,) = check_gates(made, parse_gates("linear_r2=0", 10))
    assert outcome.line == "FAIL linear_r2 is undefined: too few rows"


def test_gates_apply_to_every_student() -> None:
    made = documents(a=measurement({"overlap@10": 0.9}), b=measurement())
    outcomes = check_gates(made, parse_gates("overlap@10=0.7", 10))
    assert [outcome.passed for outcome in outcomes] == [True, False]
    assert outcomes[1].line.startswith("FAIL b: overlap@10")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not MEASURE=NUMBER"),
        ("overlap@10", "is not MEASURE=NUMBER"),
        ("=0.5", "is not MEASURE=NUMBER"),
        ("overlap@10=", "is not MEASURE=NUMBER"),
        ("overlap@10=0.5,", "is not MEASURE=NUMBER"),
        ("overlap@5=0.5", "did you mean overlap@10?"),
        ("cheese=0.5", "known are overlap@10"),
        ("overlap@10=high", "is not a number"),
        ("overlap@10=nan", "is not a number"),
        ("overlap@10=inf", "is not a number"),
    ],
)
def test_wrong_gates_are_refused(text: str, words: str) -> None:
    with pytest.raises(InputError, match="--fail-under") as error:
        parse_gates(text, 10)
    assert words in str(error.value)


def test_a_drop_beyond_the_allowed_fails() -> None:
    old, new = document(measurement({"overlap@10": 0.5})), document(measurement({"overlap@10": 0.45}))
    outcomes = {outcome.line.split()[1]: outcome for outcome in check_drops(new, old, 0.02)}
    assert not outcomes["overlap@10"].passed
    assert outcomes["debiased_linear_cka"].passed
    assert "rankme_teacher" not in outcomes
    assert all(outcome.passed for outcome in check_drops(new, old, 0.06))


def test_what_the_baseline_lacks_is_not_held_against_the_student() -> None:
    old, new = document(measurement({"overlap@10": None})), document()
    assert not any("overlap@10 " in outcome.line for outcome in check_drops(new, old, 0.02))


def test_a_measure_that_became_undefined_fails() -> None:
    old, new = document(), document(measurement({"overlap@10": None}))
    told = [outcome for outcome in check_drops(new, old, 0.02) if "overlap@10 " in outcome.line]
    assert [outcome.passed for outcome in told] == [False]
    assert "is undefined" in told[0].line


def test_baselines_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="was measured with k = 10, not 5"):
        check_baseline(document(), "old.json", ["s"], 5)
    with pytest.raises(InputError, match="holds no student 'c' but a, b"):
        check_baseline(documents(a=measurement(), b=measurement()), "old.json", ["c"], 10)
    check_baseline(document(), "old.json", ["any", "other"], 10)


def test_another_teacher_or_row_count_is_a_warning() -> None:
    old = copy.deepcopy(document())
    assert baseline_warnings(document(), old) == []
    old["inputs"]["teacher"]["sha256"] = "1" * 64
    old["pairing"]["rows"] = 7
    assert len(baseline_warnings(document(), old)) == 2
    old["settings"]["seed"] = 99
    assert len(baseline_warnings(document(), old)) == 3
