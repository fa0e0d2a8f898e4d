"""Several students: the best is marked only where the paired difference excludes zero."""

from __future__ import annotations

from manifold_probe.report.verdict import best, ranking
from tests.report.hand import CLASSES, documents, measurement, plain_report


def test_the_best_needs_a_difference_beyond_its_interval() -> None:
    made = documents(a=measurement({"overlap@10": 0.5}), b=measurement({"overlap@10": 0.4}))
    assert best(made, "overlap@10") == "a"
    assert best(made, "debiased_linear_cka") is None
    row = next(line for line in plain_report(made).splitlines() if line.startswith("overlap@10 "))
    assert row.count("*") == 1
    assert row.index("0.500") < row.index("*") < row.index("0.400")


def test_the_best_must_beat_every_other() -> None:
    three = documents(
        a=measurement({"overlap@10": 0.4}), b=measurement({"overlap@10": 0.5}), c=measurement({"overlap@10": 0.5})
    )
    assert best(three, "overlap@10") is None
    assert ranking(three).startswith("No student clearly")


def test_the_ranking_names_the_nearest_rival() -> None:
    three = documents(
        a=measurement({"overlap@10": 0.4}), b=measurement({"overlap@10": 0.5}), c=measurement({"overlap@10": 0.45})
    )
    assert ranking(three).startswith("b keeps the most neighbours: 5.0 percentage points more than c")
    text = plain_report(three)
    for pair in ("a minus b", "a minus c", "b minus c"):
        assert f"{pair}, paired over the same rows" in text


def test_what_describes_one_space_alone_has_no_best() -> None:
    made = documents(a=measurement({"rankme_teacher": 90.0}), b=measurement({"rankme_teacher": 40.0}))
    row = next(line for line in plain_report(made).splitlines() if line.startswith("rankme_teacher "))
    assert "*" not in row


def test_shared_alarms_are_told_once_and_others_with_their_student() -> None:
    common, own = ("few_rows", "only 50 rows"), ("zero_vectors", "3 rows are zero")
    made = documents(a=measurement(alarms=(common, own)), b=measurement(alarms=(common,)))
    text = plain_report(made)
    assert text.count("only 50 rows") == 1
    assert "! few_rows: only 50 rows" in text
    assert "! zero_vectors: a: 3 rows are zero" in text


def test_more_students_than_fit_go_on_in_further_tables() -> None:
    made = documents(**{f"student_number_{place}": measurement() for place in range(9)})
    text = plain_report(made, 60)
    assert max(len(line) for line in text.splitlines()) <= 60
    assert text.count("measure   ") >= 4
    for place in range(9):
        assert f"student_number_{place}" in text
    assert "student_number_0 - student_number_8" in text


def test_worst_classes_show_every_student() -> None:
    made = documents(a=measurement(details={"per_class": CLASSES}), b=measurement(details={"per_class": CLASSES}))
    row = next(line for line in plain_report(made).splitlines() if line.startswith("shirt "))
    assert row.split() == ["shirt", "0.050", "0.050"]
