"""Comparisons that were diagnosed too: their document, and what every report says of it."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len

import manifold_probe as mp
from manifold_probe import cli
from manifold_probe.api import of_document
from manifold_probe.diagnosis import diagnose
from manifold_probe.errors import InputError
from manifold_probe.report.document import read_document, to_json
from manifold_probe.report.figures import draw
from manifold_probe.report.figures.captions import caption
from manifold_probe.report.figures.look import look_of
from manifold_probe.report.page import render
from manifold_probe.report.tables.markdown import markdown_table
from tests.report.diagnoses import BROKEN, FAITHFUL, UNALIGNED, UNSPECIFIC, account, within
from tests.report.hand import document, documents, measurement, plain_report, report_lines
from tests.report.test_page import Page

DIAGNOSES = {"broken": BROKEN, "faithful": FAITHFUL, "plain": UNSPECIFIC, "shifted": UNALIGNED}
RNG = np.random.default_rng(0)
TEACHER = RNG.normal(size=(120, 8))
STUDENT = TEACHER + RNG.normal(size=(120, 8))
Capture = pytest.CaptureFixture[str]


def measured(diagnosis: dict[str, Any]) -> Any:
    """A measurement of what the diagnosis accounts for."""
    keys = ("overlap@10", "debiased_linear_cka")
    return measurement({key: diagnosis["measures"][key]["value"] for key in keys})


def one(diagnosis: dict[str, Any]) -> dict[str, Any]:
    return {**document(measured(diagnosis)), "diagnosis": within(diagnosis)}


def many() -> dict[str, Any]:
    made = documents(**{name: measured(each) for name, each in DIAGNOSES.items()})
    for name, each in DIAGNOSES.items():
        made["students"][name]["diagnosis"] = within(each)
    return made


ONE, MANY = one(BROKEN), many()


@pytest.mark.parametrize("made", [ONE, MANY], ids=["one", "many"])
def test_it_is_read_again(made: dict[str, Any], tmp_path: Path) -> None:
    of_document(made).save(tmp_path / "c.json")
    assert read_document(tmp_path / "c.json") == made
    again = mp.load(tmp_path / "c.json")
    found = again if made is ONE else again["broken"]
    assert found.diagnosis.verdict == BROKEN["verdict"]
    assert found.diagnosis.causes[0].name == "row_misalignment"
    assert found.diagnosis.summary() != ""
    assert of_document(document()).diagnosis is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"accounting": account(0.4)}, "the parts of 'accounting' add up to 0.600000000, not to 1 - overlap@10"),
        ({"causes": [{}]}, "'diagnosis.causes[0].name' is missing"),
        ({"verdict": None}, "'diagnosis.verdict' is not text"),
    ],
)
def test_a_damaged_diagnosis_is_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    made = copy.deepcopy(ONE)
    made["diagnosis"] |= change
    (tmp_path / "c.json").write_text(to_json(made))
    with pytest.raises(InputError, match=re.escape(words)):
        read_document(tmp_path / "c.json")


def test_the_terminal_of_one() -> None:
    text = plain_report(ONE)
    lines = text.splitlines()
    assert lines[1] == BROKEN["verdict"]
    order = ["Where the loss went: overlap@10", "teacher t.pt", "measure  ", "1. Rows are paired", "What to do next"]
    places = [text.index(each) for each in order]
    assert places == sorted(places)
    assert "1. Join the files by id again" in text
    assert "Differences that lose nothing" in text


def test_the_terminal_of_several() -> None:
    lines = plain_report(MANY).splitlines()
    assert f"faithful: {FAITHFUL['verdict']}" in lines
    assert "Where the loss went: overlap@10 from 1 to each student's, in points of 0.01" in lines
    first = lines.index("part                  broken  faithful  plain  shifted")
    rows = {line[:20].strip(): line[20:].split() for line in lines[first + 1 : first + 10]}
    assert rows["linear map"] == ["-9.4", "-1.1", "-15.2", "-"]
    assert rows["width of the student"] == ["-2.1", "-15.8", "-2.1", "-"]
    assert list(rows)[-2:] == ["not in the features", "student"]
    assert "broken: 1. Rows are paired with the wrong partner (row misalignment)" in lines
    assert "broken: Differences that lose nothing" in lines
    assert any(line.startswith("1. broken: Join the files by id again") for line in lines)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lines_fit(width: int) -> None:
    for made in (ONE, MANY):
        assert max(cell_len(line.plain) for line in report_lines(made, width)) <= width


@pytest.mark.parametrize("made", [ONE, MANY], ids=["one", "many"])
def test_the_page(made: dict[str, Any]) -> None:
    text = render(made)
    page = Page(text)
    assert page.open == []
    assert not any(tag in ("img", "iframe", "object") for tag, _ in page.elements)
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'<a href="#([^"]+)"', text):
        assert target in ids
    order = ["account", "next", "causes", "ladder", "benign", "measures", "about"]
    assert [id for id in ids if id in order] == order
    saved = json.loads(page.json)
    first = saved if made is ONE else saved["students"]["broken"]
    assert len(first["diagnosis"]["causes"][0]["where"]["rows"]) == 100
    assert render(made) == text


def test_a_page_without_a_diagnosis_has_no_part_for_it() -> None:
    page = Page(render(document()))
    assert "Where the loss went" not in page.text
    assert "Causes" not in page.text


def test_figures() -> None:
    drawn = draw(ONE, look_of())
    assert list(drawn)[:2] == ["account", "causes"]
    drawn = draw(MANY, look_of())
    of_each = [name for name in drawn if name.startswith(("account", "causes"))]
    assert of_each == ["account-broken", "account-faithful", "account-plain", "causes-broken", "causes-shifted"]
    assert caption("account-plain", MANY).startswith("plain: Where the loss went: ")
    assert caption("account", ONE).startswith("Where the loss went: ")


def test_tables_and_notebooks() -> None:
    frame = of_document(MANY).to_frame()
    lost = frame[frame["measure"].str.startswith("overlap:lost:") & (frame["student"] == "broken")]
    assert abs(lost["value"].sum() - 0.61) < 1e-9
    assert "| plain | 2.1 | 0.0 | 0.6 | 15.2 |" in markdown_table(MANY)
    assert "| shifted |" not in markdown_table(MANY).partition("points lost to")[2]
    assert "points lost to" not in markdown_table(document())
    page = Page(of_document(ONE)._repr_html_())
    assert page.open == []
    assert BROKEN["verdict"] in page.text


@dataclass(frozen=True)
class Asked:
    """What is asked of a diagnosis, as far as a comparison asks it."""

    k: int
    seed: int
    slices: None = None
    head: None = None


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The measures that each diagnosis was given; what it finds is made by hand."""
    given: list[dict[str, Any]] = []

    def diagnosed(pair: Any, asked: Any, measures: Any = None, progress: Any = None) -> dict[str, Any]:
        given.append(measures)
        values = {key: each["value"] for key, each in measures.items()}
        parts = copy.deepcopy({**UNSPECIFIC, "measures": measures, "aside": [], "unaligned": None})
        parts["accounting"] = account(values[f"overlap@{asked.k}"])
        parts["accounting_cka"] = account(values["debiased_linear_cka"])
        progress("accounting", 1, 1)
        return parts

    monkeypatch.setattr(diagnose, "diagnosed", diagnosed)
    monkeypatch.setattr(diagnose, "Asked", Asked, raising=False)
    return given


def test_compare_takes_its_own_measures(told: list[dict[str, Any]], tmp_path: Path) -> None:
    seen: list[tuple[str, float, float]] = []
    made = mp.compare(
        TEACHER, {"a": STUDENT, "b": TEACHER}, k=5, diagnose=True, progress=lambda *each: seen.append(each)
    )
    assert len(told) == 2
    for name, given in zip(made, told, strict=True):
        assert given["overlap@5"]["value"] == made[name].measures["overlap@5"].value
        parts = made[name].diagnosis.accounting
        assert abs(sum(part.share for part in parts) - (1 - given["overlap@5"]["value"])) < 1e-9
    assert made["b"].diagnosis.verdict.startswith("Faithful: 100%")
    shares = [done / total for _, done, total in seen]
    assert shares == sorted(shares)
    made.save(tmp_path / "c.json")
    assert read_document(tmp_path / "c.json") == made.to_dict()


def test_a_student_of_one_vector_is_compared_and_not_diagnosed(told: list[dict[str, Any]]) -> None:
    made = mp.compare(TEACHER, np.ones((120, 4)), k=5, diagnose=True)
    assert made.diagnosis is None
    assert told == []
    assert "not_diagnosed: overlap or CKA is undefined for this student" in made.summary()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"measures": ["overlap@10"]}, "a diagnosis needs overlap@10:euclidean, debiased_linear_cka too"),
        ({"k": 40}, "120 paired rows are too few"),
        ({"labels": ["one"] * 120}, "labels: hold only one class"),
    ],
)
def test_what_cannot_be_diagnosed_is_refused(options: dict[str, Any], words: str, told: list[dict[str, Any]]) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        mp.compare(TEACHER, STUDENT, diagnose=True, **options)
    assert told == []


def test_the_command_line(told: list[dict[str, Any]], tmp_path: Path, capsys: Capture) -> None:
    sides = []
    for side, rows in (("teacher", TEACHER), ("student", STUDENT)):
        np.save(tmp_path / f"{side}.npy", rows)
        sides += [f"--{side}", str(tmp_path / f"{side}.npy")]
    command = ["compare", *sides, "--diagnose", "--no-maps", "--report", str(tmp_path / "r.html")]
    assert cli.run([*command, "--figures", str(tmp_path / "f")]) == 0
    assert "Where the loss went: overlap@10" in capsys.readouterr().out
    assert "Where the loss went" in (tmp_path / "r.html").read_text()
    assert (tmp_path / "f" / "account.pdf").exists()
    assert cli.run([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["diagnosis"]["verdict"].startswith("No specific fault found")
    assert cli.run(["compare", *sides, "--layers", "--diagnose"]) == 2
    assert "--diagnose: does not go with --layers" in capsys.readouterr().err
