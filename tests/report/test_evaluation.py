"""Evaluations are read, checked, shown and written as the other results are."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import manifold_probe as mp
from manifold_probe import cli
from manifold_probe.errors import InputError
from tests.report.hand import DIGEST


def _input(name: str, d: int) -> dict[str, Any]:
    return {"name": name, "path": None, "sha256": DIGEST, "shape": [80, d], "dtype": "float32", "key": None}


EVALUATION: dict[str, Any] = {
    "schema": "manifold-probe/evaluation/1",
    "inputs": {"test": {"teacher": _input("t", 4), "student": _input("<b>", 2)}, "train": None, "ood": None},
    "pairing": {
        "test": {"by": "id", "rows": 80, "coverage": 1.0, "verified": True, "unlabelled": 3},
        "train": None,
        "ood": None,
    },
    "settings": {
        "k": 10,
        "temperature": 0.07,
        "seed": 0,
        "tasks": ["knn", "retrieval", "ood"],
        "bank": "half of the test rows",
        "bank_rows": 40,
        "test_rows": 40,
    },
    "tasks": {
        "knn_accuracy@10": {"teacher": 0.95, "student": 0.925, "n": 40, "note": None},
        "recall@1": {"teacher": 0.9, "student": 0.8, "n": 40, "note": "cross_recall needs equal widths"},
        "ood_auroc:mahalanobis": {"teacher": None, "student": None, "n": 0, "note": "the bank needs labels"},
    },
    "fidelity": {
        "knn_accuracy@10": {"agreement": 0.975, "expected": 0.883, "excess": 0.786},
        "recall@1": {"neighbour_recall": 0.5, "cross_recall": None},
        "ood_auroc:mahalanobis": {},
    },
    "alarms": [{"code": "few_rows", "message": "only 40 rows"}],
    "provenance": {"versions": {}, "seed": 0, "platform": "here", "when": "now"},
}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    (tmp_path / "evaluation.json").write_text(json.dumps(EVALUATION))
    return tmp_path / "evaluation.json"


def test_it_is_loaded_and_answers_like_one_just_made(saved: Path, tmp_path: Path) -> None:
    loaded = mp.load(saved)
    assert isinstance(loaded, mp.Evaluation)
    assert loaded.to_dict() == EVALUATION == json.loads(loaded.to_json())
    assert loaded.scores["knn_accuracy@10"].fidelity["excess"] == 0.786
    frame = loaded.to_frame().set_index(["task", "measure"])["value"]
    assert frame["knn_accuracy@10", "student"] == 0.925
    assert frame["recall@1", "neighbour_recall"] == 0.5
    assert len(frame) == 11
    for suffix in (".csv", ".parquet", ".md"):
        loaded.to_table(tmp_path / f"table{suffix}")
    assert pd.read_parquet(tmp_path / "table.parquet")["value"].count() == 8
    loaded.save(tmp_path / "again.json")
    assert mp.load(tmp_path / "again.json").to_dict() == EVALUATION


def test_its_report_has_a_table_for_every_kind_of_task(saved: Path) -> None:
    lines = mp.load(saved).summary().splitlines()
    assert lines[0] == (
        "teacher t and student <b>: 40 test rows compared with 40 others of the same file, halved at random. Without a "
        "label, and left out of what asks for labels: 3 test rows."
    )
    assert [line for line in lines if line in ("Classification", "Retrieval", "Unusual rows (OOD)", "Alarms")] == [
        "Classification",
        "Retrieval",
        "Unusual rows (OOD)",
        "Alarms",
    ]
    cells = [line.split() for line in lines]
    assert ["knn_accuracy@10", "0.950", "0.925", "0.975", "0.883", "0.786"] in cells
    assert ["recall@1", "0.900", "0.800", "0.500", "-"] in cells
    assert "    cross_recall needs equal widths" in lines
    assert all(len(line.plain) <= 60 for line in mp.load(saved).lines(60))


def test_its_page_and_notebook_show_names_as_text(saved: Path, tmp_path: Path) -> None:
    loaded = mp.load(saved)
    loaded.to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    for html in (loaded._repr_html_(), page):
        assert "&lt;b&gt;" in html
        assert "by accuracy" in html
        assert "<b>:" not in html
    assert "<title>Evaluation</title>" in page
    with pytest.raises(InputError, match="an evaluation has none"):
        loaded.figures()


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("tasks", "recall@1", "teacher"), "high", "'tasks.recall@1.teacher' is not a number"),
        (("settings", "k"), 0, "'settings.k' is below 1"),
        (("inputs", "test"), None, "'inputs.test' is missing"),
        (("inputs", "test", "student", "shape"), 3, "'inputs.test.student.shape' is not a list"),
        (("pairing", "test", "verified"), "yes", "'pairing.test.verified' is not true or false"),
        (("fidelity",), {}, "'knn_accuracy@10' is not in both 'tasks' and 'fidelity'"),
        (("alarms",), ["no"], "'alarms[0]' is not an object"),
    ],
)
def test_a_damaged_one_is_refused_in_one_line(
    place: tuple[str, ...], value: Any, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = copy.deepcopy(EVALUATION)
    inside = broken
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    (tmp_path / "e.json").write_text(json.dumps(broken))
    with pytest.raises(InputError) as error:
        mp.load(tmp_path / "e.json")
    assert words in str(error.value)
    assert cli.run(["figures", str(tmp_path / "e.json"), "--table", str(tmp_path / "t.csv")]) == 2
    assert capsys.readouterr().err == f"probe: {error.value}\n"


def test_the_command_line_writes_its_page_and_table(saved: Path, tmp_path: Path) -> None:
    report, table = str(tmp_path / "r.html"), str(tmp_path / "t.md")
    assert cli.run(["figures", str(saved), "--report", report, "--table", table]) == 0
    assert "knn" in (tmp_path / "t.md").read_text()
    assert cli.run(["compare", "a", "b", "--baseline", str(saved)]) == 2
