"""Tidy rows and what a notebook shows."""

from __future__ import annotations

import base64
import re

from manifold_probe.api import of_document
from manifold_probe.report.frame import COLUMNS, tidy_rows
from tests.report.hand import CLASSES, document, documents, measurement

BY_K = {"k": [5, 10], "cosine": [0.1, 0.161], "euclidean": [0.1, 0.15], "chance": [0.01, 0.02], "reference": [1, 1]}


def test_a_row_for_every_measure_k_metric_and_class() -> None:
    rows = tidy_rows(document(measurement(details={"per_class": CLASSES, "overlap_by_k": BY_K})))
    assert all(tuple(row) == COLUMNS for row in rows)

    def find(**wanted: object) -> list[dict]:
        return [row for row in rows if all(row[column] == value for column, value in wanted.items())]

    assert [row["value"] for row in find(measure="overlap", k=10, metric="cosine", **{"class": None})] == [0.161]
    assert [row["value"] for row in find(measure="overlap", k=5, metric="euclidean")] == [0.1]
    assert [row["value"] for row in find(measure="overlap", **{"class": "shirt"})] == [0.05]
    assert [row["k"] for row in find(measure="debiased_linear_cka")] == [None]
    assert len(find(measure="per_dimension_correlation:orthogonal")) == 1


def test_several_students_are_told_apart() -> None:
    rows = tidy_rows(documents(a=measurement(), b=measurement()))
    assert {row["student"] for row in rows} == {"a", "b"}


def shown_in_notebook(made: dict) -> str:
    """The HTML of a notebook without the data of its picture."""
    text = of_document(made)._repr_html_()
    picture = re.search(r'src="data:image/png;base64,([^"]+)"', text)
    assert picture is not None
    assert base64.b64decode(picture[1]).startswith(b"\x89PNG")
    return text.replace(picture[1], "")


def test_the_notebook_is_escaped() -> None:
    nasty = "<script>alert(1)</script>"
    for made in (document(name=nasty), documents(**{nasty: measurement(), "b": measurement()})):
        text = shown_in_notebook(made)
        assert "<script>" not in text
        assert "&lt;script&gt;" in text
        assert "overlap@10" in text


def test_the_notebook_shows_every_students_interval_and_marks_the_one_ahead() -> None:
    ahead = {"overlap@10": 0.5, "norm_correlation": 0.95}
    made = documents(a=measurement(ahead), b=measurement())
    for row in made["differences"]:
        if row["measure"] == "norm_correlation":
            row["low"] = -0.01
    text = shown_in_notebook(made)
    for name in "ab":
        overlap = made["students"][name]["measures"]["overlap@10"]
        assert f"<small>{overlap['low']:.3f} to {overlap['high']:.3f}</small>" in text
    assert text.count("<strong>0.") == 1
    assert "<strong>0.500</strong>*" in text
    assert "color" not in text
    assert "background" not in text


def test_the_notebook_tells_students_apart_whose_names_look_alike() -> None:
    text = shown_in_notebook(documents(**{"x" * 99 + "y" + "x" * 100: measurement(), "x" * 200: measurement()}))
    assert text.count("xxx</th>") == 1
    assert text.count("xxx (2)</th>") == 1
