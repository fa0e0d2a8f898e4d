"""The sentence that says what to compare students by."""

from manifold_probe.report.predictions import expectation
from tests.report.hand import document, measurement


def test_it_says_what_the_overlap_orders_students_by_in_every_setting() -> None:
    text = expectation(document(measurement()))
    assert text.startswith("Compare students of one teacher by overlap@10, on the same rows: over ")
    assert " small students of images, two-part images and texts its rank correlation was 0." in text
    assert " with k-NN accuracy; 0." in text
    assert " with agreement with the teacher's decisions. " in text


def test_at_another_k_it_says_which_k_was_studied() -> None:
    made = measurement({"overlap@5": 0.2})
    made.measures.pop("overlap@10")
    other = document(made)
    other["settings"]["k"] = 5
    assert "by overlap@5, on the same rows" in expectation(other)
    assert "texts overlap@10's rank correlation was 0." in expectation(other)


def test_it_is_empty_where_the_overlap_is_not_known() -> None:
    made = measurement()
    made.measures.pop("overlap@10")
    assert expectation(document(made)) == ""
    assert expectation(document(measurement({"overlap@10": None}))) == ""
