"""What is said once, what is not said, and that no note is false."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import manifold_probe as mp
from manifold_probe.api import Comparisons
from manifold_probe.report.advice import next_steps
from manifold_probe.report.verdict import verdict
from tests.report.hand import documents, measurement, plain_report

N, D = 400, 12
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(N, D))
Y = X + 0.3 * DRAW.normal(size=(N, D))
LABELS = DRAW.integers(0, 4, N)


def compared(x: np.ndarray, y: Any, **more: Any) -> dict[str, Any]:
    return mp.compare(x, y, ids=np.arange(len(x)), **more).to_dict()


def test_a_note_of_several_measures_is_said_once() -> None:
    dead = np.hstack([X, np.zeros((N, 1))])
    report = plain_report(compared(dead, dead + 0.2 * np.pad(Y - X, ((0, 0), (0, 1)))))
    note = "1 of 13 dimensions are constant or without a partner and left out"
    assert report.count(note) == report.count(f"note 1: {note}.\n") == 1
    assert report.count("note 1)") == 5
    assert report.count("no labels: classes are the teacher's k-means clusters") == 1
    assert "(k-means of the teacher) " not in report


@pytest.mark.parametrize("value", [0.0, 2.0])
def test_a_space_of_one_vector_is_said_once_and_its_notes_are_true(value: float) -> None:
    made = compared(X, np.full((N, D), value))
    shown = plain_report(made).split("\nAlarms\n")[1]
    assert [line.split(":")[0] for line in shown.splitlines() if line.startswith("! ")] == ["! constant_space"]
    assert {"duplicate_rows", "dead_dimensions"} < {alarm["code"] for alarm in made["alarms"]}
    assert "infinite" not in str(made["alarms"])
    what = "equal" if value else "zero"
    for key in ("per_dimension_correlation", *(["space_similarity"] if not value else [])):
        assert made["measures"][key]["note"] == f"all vectors of the student are {what}"
    assert "Worst" not in plain_report(made)


def test_lengths_of_one_size_on_both_sides() -> None:
    x, y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (X, Y))
    assert compared(x, y)["measures"]["norm_correlation"]["note"] == (
        "the rows of the teacher and of the student all have the same length"
    )


def test_where_copies_decide_the_verdict_judges_nothing_else() -> None:
    x, y = DRAW.normal(size=(2, 60, D))
    made = compared(np.repeat(x, 12, 0), np.repeat(y, 12, 0))
    assert "fine structure" not in verdict(made)
    assert "that value rests on copies. 92% of the 720 rows are copies" in verdict(made)
    assert next_steps(made)[0].startswith("Compare the distinct rows alone")


def test_the_same_rows_are_said_in_the_verdict() -> None:
    assert verdict(compared(X, X)).endswith("are the same rows: every likeness is 1 by construction.")
    assert "same rows" not in verdict(compared(X, Y))


def test_a_student_at_chance_gets_no_advice_about_classes() -> None:
    assert len(next_steps(compared(X, DRAW.normal(size=X.shape), labels=LABELS))) == 1


def test_a_file_shifted_by_one_among_rows_alike_is_sent_to_the_pairing() -> None:
    walk = np.cumsum(DRAW.normal(size=(N, D)), axis=0) * 0.3 + X
    made = mp.compare(walk, np.roll(DRAW.permuted(walk, axis=0), 1, axis=0)).to_dict()
    assert next_steps(made)[0].startswith("Check which rows belong together")


def test_the_width_is_a_reason_only_where_it_is_narrower() -> None:
    weak = X + 1.5 * DRAW.normal(size=X.shape)
    assert not any("PCA" in step for step in next_steps(compared(X, weak)))
    assert any("PCA of the teacher to 6 dimensions" in step for step in next_steps(compared(X, weak[:, :6])))


def test_a_difference_of_two_shares_ends_at_one() -> None:
    good = 20 * np.eye(4)[LABELS] + DRAW.normal(size=(N, 4))
    made = mp.compare(good, {"a": good + 0.1, "b": np.ones((N, 3))}, labels=LABELS).to_dict()
    for row in made["differences"]:
        if row["measure"].partition("@")[0] in ("overlap", "knn_agreement", "jaccard") and row["high"] is not None:
            assert -1 <= row["low"] <= row["value"] <= row["high"] <= 1, row


def test_a_student_has_the_name_it_was_given_everywhere(tmp_path: Path) -> None:
    made = documents(cosine=measurement(), coss=measurement())  # of the files cosine.pt and coss.pt
    one = made["students"]["coss"]
    assert verdict(one).startswith("coss keeps ")
    assert "student coss = coss.pt (500 x 384 float32)" in plain_report(one)
    text = plain_report(made)
    assert "coss.pt" not in text.replace("coss = coss.pt (", "")
    Comparisons(made).to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text().partition('<script type="application/json"')[0]
    assert "coss keeps " in page
    assert "coss.pt keeps" not in page
