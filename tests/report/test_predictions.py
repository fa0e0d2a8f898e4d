"""The sentence that says what to compare students by."""

from manifold_probe.report.predictions import expectation
from tests.report.hand import document, measurement


def test_it_names_the_measures_that_the_comparison_has() -> None:
    text = expectation(document(measurement({"rankme_student": None, "norm_correlation": 0.9})))
    assert "; norm_correlation for the teacher's order by Euclidean distance (0.74)." in text
    assert "rankme_student" not in text
    assert ": overlap@10 for k-NN accuracy (" in text


def test_at_another_k_it_says_which_k_was_studied() -> None:
    made = measurement({"overlap@5": 0.2})
    made.measures.pop("overlap@10")
    other = document(made)
    other["settings"]["k"] = 5
    assert ": overlap@5 (overlap@10 in the study) for k-NN accuracy (" in expectation(other)


def test_it_is_empty_where_no_studied_measure_is_known() -> None:
    made = measurement()
    for key in ("overlap@10", "norm_correlation"):
        made.measures.pop(key)
    assert expectation(document(made)) == ""
