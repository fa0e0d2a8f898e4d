"""Saved results put together: only such as can stand in one figure."""

from __future__ import annotations

import pytest

from manifold_probe.errors import InputError
from manifold_probe.report.document import SEVERAL
from manifold_probe.report.merge import merged
from manifold_probe.report.verdict import APART, paired, ranking
from tests.report.hand import document, documents, measurement


def test_one_document_stays_what_it_is() -> None:
    made = document()
    assert merged({"a.json": made}) is made


def test_students_of_several_files_stand_side_by_side() -> None:
    both = documents(a=measurement(), b=measurement())
    joined = merged({"both.json": both, "c.json": document(name="c")})
    assert joined["schema"] == SEVERAL
    assert list(joined["students"]) == ["a", "b", "c"]
    assert joined["differences"] == both["differences"]
    assert paired(both)
    assert not paired(joined)
    assert ranking(joined) == APART  # nobody is called ahead without a paired difference


def test_names_can_be_given() -> None:
    joined = merged({"x.json": document(), "y.json": document()}, {"y.json": "better"})
    assert list(joined["students"]) == ["s", "better"]
    assert joined["students"]["better"]["inputs"]["student"]["name"] == "better"
    renamed = merged({"x.json": document()}, {"x.json": "only"})
    assert list(renamed["students"]) == ["only"]


def test_what_does_not_belong_together_is_refused() -> None:
    other_teacher, other_rows, other_k = document(name="t2"), document(name="r2"), document(name="k2")
    other_teacher["inputs"]["teacher"]["sha256"] = "f" * 64
    other_rows["pairing"]["rows"] = 400
    other_k["settings"]["k"] = 20
    other_queries, other_labels = document(name="q2"), document(name="l2")
    other_queries["settings"]["queries"] = 100
    other_labels["pairing"]["rows_sha256"] = "0" * 64
    for made, words in (
        (other_teacher, r"b\.json: student 't2' has another teacher than 's' of a\.json"),
        (other_rows, r"b\.json: student 'r2' was measured on other rows than 's' .*pairing.rows 400, not 500"),
        (other_k, r"b\.json: student 'k2' was measured with another k than 's' .*settings.k 20, not 10"),
        (other_queries, r"b\.json: student 'q2' was measured with another number of queries"),
        (other_labels, r"b\.json: student 'l2' was measured on other rows, or with other labels"),
        (document(), r"b\.json: a student of a\.json is called 's' too; name them, as in s1=a\.json s2=b\.json"),
    ):
        with pytest.raises(InputError, match=words):
            merged({"a.json": document(), "b.json": made})
    unknown = [document(name=name) for name in ("s", "u")]
    for each in unknown:
        each["inputs"]["teacher"]["sha256"] = None
    with pytest.raises(InputError, match="has another teacher"):  # nothing says that they are one
        merged({"a.json": unknown[0], "b.json": unknown[1]})
    with pytest.raises(InputError, match="holds several students"):
        merged({"a.json": documents(a=measurement(), b=measurement())}, {"a.json": "x"})
