"""A diagnosis made by hand: its document, and what the terminal, the page, the figures and a notebook say of it."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from manifold_probe.api import Diagnosis
from manifold_probe.api.documents import shortened
from manifold_probe.errors import InputError
from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP
from manifold_probe.report.diagnosis import words
from manifold_probe.report.diagnosis.blocks import diagnosis_blocks
from manifold_probe.report.document import DIAGNOSIS, read_result, to_json
from manifold_probe.report.figures import draw_diagnosis
from manifold_probe.report.figures.look import PAGE, WIDTHS, look_of
from manifold_probe.report.figures.save import contents
from manifold_probe.report.frame import OF_DIAGNOSIS, diagnosis_rows
from manifold_probe.report.page.diagnosis import render_diagnosis
from manifold_probe.report.render.markdown import markdown
from manifold_probe.report.render.terminal import lines, plain_text, span
from manifold_probe.report.words import shown
from tests.report.diagnoses import BROKEN, FAITHFUL, MAPPED, UNALIGNED, UNSPECIFIC, account, cause, document, step
from tests.report.figures.drawn import faults
from tests.report.figures.drawn import words as words_on
from tests.report.test_page import HOSTILE, Page

LOOKS = {**{name: look_of("paper", name) for name in WIDTHS}, "slides": look_of("slides"), "page": PAGE}


def hostile() -> dict[str, Any]:
    made = document(accounting=account(0.39, **dict.fromkeys(HOSTILE, 0.01)))
    for part in made["accounting"]:
        part["sentence"] = part["name"]
    made["causes"] = [
        cause(
            name,
            name,
            where={"count": 5, "rows": [0, 1, 2, 3, 4], "ids": list(HOSTILE), "classes": list(HOSTILE)},
            advice=name,
            falsified_by=name,
            evidence=[{"measure": name, "value": None, "expected": None}],
            repair={**cause("x", "x")["repair"], "name": name, "kind": name, "measure": name},
            **{"or": [name]},
        )
        for name in HOSTILE
    ]
    made["benign"] = [{"name": name, "words": name, "value": None, "note": name} for name in HOSTILE]
    made["not_assessed"] = [{"name": name, "why": name} for name in HOSTILE]
    made["ladder"] = [*made["ladder"][:3], *(step(name, None, None) for name in HOSTILE)]
    made["held_out"] = {name: {"value": 0.1, "low": None, "high": None, "n": None} for name in HOSTILE}
    made["verdict"] = HOSTILE[0]
    for side, name in zip(made["inputs"].values(), HOSTILE, strict=False):
        side |= {"name": name, "path": None, "key": name}
    return made


DOCUMENTS = {
    "broken": BROKEN,
    "faithful": FAITHFUL,
    "unspecific": UNSPECIFIC,
    "mapped": MAPPED,
    "unaligned": UNALIGNED,
    "bare": document(accounting=[], accounting_cka=[], ladder=[], held_out={}, not_assessed=[]),
    "hostile": hostile(),
    "perfect": document(1.0, 1.0, 1.0),
    "negative": document(
        0.0,
        -0.05,
        accounting_cka=account(-0.05, rotation=0.4),
        ladder=[step("identity", 0.0, -0.1), step("x", 1.0, None)],
    ),
    "beside": document(
        examined={
            **document()["examined"],
            "slices": {"count": 7},
            "overfit": {"rows": 400, "seen": 0.6, "unseen": 0.3, "difference": 0.3, "low": 0.2, "high": 0.4},
            "head": {"backbone": 0.6, "head": 0.3, "difference": 0.3, "low": 0.2, "high": 0.4},
        }
    ),
}
OF_FIGURE = {
    "account": [name for name in DOCUMENTS if name not in ("unaligned", "bare")],
    "causes": ["broken", "unaligned", "hostile"],
    "ladder": [name for name in DOCUMENTS if name != "bare"],
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_saved_document_is_read_again(name: str, tmp_path: Path) -> None:
    Diagnosis(DOCUMENTS[name]).save(tmp_path / "d.json")
    assert read_result(tmp_path / "d.json") == DOCUMENTS[name]


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("causes", 0, "status"), "sure", "a 'status' is 'sure', neither 'proved' nor 'suspected'"),
        (("causes", 0, "share"), 1.4, "a 'share' of a cause is not between 0 and 1"),
        (("causes", 0, "where", "count"), "x", "'causes[0].where.count' is not a whole number"),
        (("causes", 0, "words"), None, "'causes[0].words' is not text"),
        (
            ("accounting", 0, "share"),
            0.1,
            "the parts of 'accounting' add up to 0.689000000, not to 1 - overlap@10 = 0.61",
        ),
        (("accounting", 0, "share"), -0.1, "a 'share' in 'accounting' is negative"),
        (("accounting_cka", 1, "share"), 0.2620001, "the parts of 'accounting_cka' add up to"),
        (("measures", "overlap@10", "value"), None, "'accounting' has no measure 'overlap@10' to add up to"),
        (("examined",), None, "'examined' is not an object"),
        (("inputs", "student", "shape"), 3, "'inputs.student.shape' is not a list"),
        (("ladder", 0, "measures", "held_out_overlap@10", "value"), "x", "value' is not a number"),
    ],
)
def test_a_damaged_document_is_refused(path: tuple[Any, ...], value: Any, words: str, tmp_path: Path) -> None:
    made: Any = copy.deepcopy(BROKEN)
    place = made
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (tmp_path / "d.json").write_text(to_json(made))
    with pytest.raises(InputError, match=re.escape(words)):
        read_result(tmp_path / "d.json")


def test_at_most_a_thousand_rows_are_kept_and_counted() -> None:
    assert shortened(None) is None
    assert shortened({}) is None
    short = shortened({"classes": ["a"], "rows": list(range(5000)), "ids": list("x" * 5000)})
    assert short is not None
    assert (short["count"], len(short["rows"]), len(short["ids"]), short["classes"]) == (5000, 1000, 1000, ["a"])


def test_the_terminal_says_it_all() -> None:
    text = plain_text(diagnosis_blocks(BROKEN))
    assert text == Diagnosis(BROKEN).summary()
    lines = text.splitlines()
    assert lines[0] == BROKEN["verdict"]
    assert lines[2] == "Where the loss went: overlap@10 from 1 to 0.390, in points of 0.01"
    assert re.search(r"^rows set aside +-24\.5 +-25\.7 to -23\.4  \.{18}#{5}\.$", text, re.M)
    assert "    Leave out or pair again the 312 rows that are set aside." in lines
    assert re.search(r"^student +39\.0 +38\.6 to 39\.4  #{9}\.{15}$", text, re.M)
    assert "Nothing lost to: rotation." in lines
    assert "Where the loss went: debiased linear CKA from 1 to 0.610, in points of 0.01" in lines
    assert text.count("Leave out or pair again") == 1
    assert "overlap@10 on held-out rows 0.402 (0.396 to 0.408; n = 2,000)" in text
    assert "5,000 rows paired by id (50% of the larger side; the rest has no partner). k = 10: neighbours of" in text
    assert "2,500 rows were examined for causes." in text
    assert "the teacher's clusters stand in for classes" in text
    assert re.search(r"linear map +0\.590  0\.570 to 0\.610 +\+0\.290 +0\.590  0\.800  #{14}\.{10}$", text, re.M)
    assert "1. Rows are paired with the wrong partner (row misalignment)" in lines
    assert "   status    proved; explains 40% of the loss" in lines
    assert "   status    suspected; would explain 11% of the loss" in lines
    assert "overlap@10 inside these rows: 0.021 (a sound pair: about 0.712)" in text
    assert (
        "undone: these rows left out: overlap@10 on held-out rows 0.402 to 0.648 (95% interval 0.641 to 0.655" in text
    )
    assert "inflicted on the teacher: the teacher rounded to 15 levels: overlap@10 0.631 to 0.701" in text
    assert "; a sound pair gains 0.002" in text
    assert "1,200 rows: img_04000.png, img_04001.png" in text
    assert "and 1,194 more" in text
    assert "   wrong if  two passes over the same rows give other values." in lines
    assert "or        noise, saturation: outputs alone cannot distinguish them" in text
    assert "test      extract a few hundred rows twice" in text
    assert "Further down: a few rows are far out and decide the shape (proved; explains 93% of the loss in CKA)" in text
    assert "one global scale (3.400): the student's vectors" in text
    assert "preprocessing, misaligned head: the models are not at hand" in text


def test_the_account_of_the_terminal_adds_up() -> None:
    text = plain_text(diagnosis_blocks(UNSPECIFIC)).partition("debiased")[0]
    points = [float(found) for found in re.findall(r"^[a-z][a-z ,]+ +-?(\d+\.\d)  ", text, re.M)]
    assert points[0] == 100.0
    assert abs(points[0] - sum(points[1:])) < 0.3


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_lines_fit_and_hide_nothing_hostile(name: str, width: int) -> None:
    found = [line.plain for line in lines(diagnosis_blocks(DOCUMENTS[name]), width)]
    if width >= 60 and name != "hostile":
        assert max(map(cell_len, found)) <= width
    assert not any(sign in line for line in found for sign in "\u202e\u2028\x1b\n")


def test_spans() -> None:
    assert span(0.0, 1.0, 4, plain=True) == "####"
    assert span(0.999, 1.0, 4, plain=False) == "   ▏"
    assert span(0.3, 0.3, 4, plain=True) == "...."
    assert span(-0.4, 0.5, 4, plain=False) == "██  "
    assert span(0.0, 0.5, 0, plain=False) == ""


def test_rows_that_follow_each_other_are_one_range() -> None:
    where = {"count": 124, "rows": [*range(200, 320), 7, 400, 401, 500]}
    assert words.where(cause("row_misalignment", "x", where=where)) == ["124 rows: 200 to 319, 7, 400, 401, 500"]
    where = {"count": 5000, "dimensions": [0, 2, 4, *range(6, 12)]}
    assert words.where(cause("x", "x", where=where), 2) == ["5,000 dimensions: 0, 2 and 4,998 more"]


def test_a_proof_without_an_experiment() -> None:
    assert words.proof(cause("noise", "noise", repair=None)).startswith("none: nothing to undo")


def test_what_tells_causes_apart() -> None:
    assert words.experiment(cause("noise", "x")) == ""
    assert "columns that never change are dead" in words.experiment(
        cause("dead_dimensions", "x", **{"or": ["truncated_dimensions"]})
    )
    assert words.experiment(cause("offset", "x", **{"or": ["noise"]})) == words.OTHERWISE


def test_tidy_rows() -> None:
    rows = diagnosis_rows(BROKEN)
    assert all(tuple(row) == OF_DIAGNOSIS for row in rows)
    lost = [row for row in rows if row["part"] == "account"]
    for key, value in ((OVERLAP.named(10), 0.39), (DEBIASED_CKA.key, 0.61)):
        assert abs(sum(row["value"] for row in lost if row["measure"] == key) - (1 - value)) < 1e-9
    repairs = [row for row in rows if row["part"] == "repair"]
    assert (repairs[0]["name"], repairs[0]["rank"], round(repairs[0]["gain"], 6)) == ("row_misalignment", 1, 0.246)
    assert repairs[1]["status"] == "suspected"
    assert sum(row["part"] == "ladder" for row in rows) == 3 * len(words.RUNGS)


def test_markdown(tmp_path: Path) -> None:
    text = markdown(diagnosis_blocks(BROKEN))
    assert "| rows set aside | -24.5 | -25.7 to -23.4 | Leave out or pair again" in text
    assert "| **student** | **39.0** | **38.6 to 39.4** |" in text
    assert "## 2. Values are rounded to few levels (quantisation)\n\n- **status**: suspected; would explain 11%" in text
    assert "## Corrections, each judged on rows that it was not fitted on\n\n| step | overlap@10 |" in text
    Diagnosis(BROKEN).to_table(tmp_path / "d.md")
    assert (tmp_path / "d.md").read_text() == text
    assert "<b>" not in markdown(diagnosis_blocks(DOCUMENTS["hostile"]))
    with pytest.raises(InputError, match=re.escape("a diagnosis is written as .csv, .parquet or .md")):
        Diagnosis(BROKEN).to_table(tmp_path / "d.tex")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_tables(name: str, suffix: str, tmp_path: Path) -> None:
    import pandas as pd

    path = tmp_path / f"d{suffix}"
    Diagnosis(DOCUMENTS[name]).to_table(path)
    frame = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    assert list(frame) == list(OF_DIAGNOSIS)
    assert len(frame) == len(diagnosis_rows(DOCUMENTS[name]))


def test_what_needs_features_is_refused_of_a_loaded_one(tmp_path: Path) -> None:
    loaded = Diagnosis(BROKEN)
    for call in (loaded.repair, loaded.rows, lambda: loaded.save_rows(tmp_path / "r.csv")):
        with pytest.raises(InputError, match="holds no features"):
            call()


def test_what_a_diagnosis_holds() -> None:
    made = Diagnosis(BROKEN)
    assert [(each.name, each.share) for each in made.accounting][1] == ("rows_set_aside", 0.245)
    assert abs(sum(each.share for each in made.accounting) - (1 - made.measures["overlap@10"].value)) < 1e-9
    assert made.accounting_cka[0].sentence.startswith("A student with more dimensions")
    assert made.held_out["held_out_overlap@10"]["n"] == 2000
    assert (made.causes[1].status, made.causes[1].or_) == ("suspected", ["noise", "saturation"])
    assert made.causes[0].words == "rows are paired with the wrong partner"
    assert made.causes[0].falsified_by
    made.causes[0].evidence.clear()
    assert made.causes[0].evidence


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_page(name: str) -> None:
    text = render_diagnosis(DOCUMENTS[name])
    page = Page(text)
    assert page.open == []
    assert ("meta", page.policy) in [(tag, attributes.get("content")) for tag, attributes in page.elements]
    assert page.all("script") == [{"type": "application/json", "id": "document"}, {}]
    assert not any(tag in ("img", "iframe", "object") for tag, _ in page.elements)
    assert not any(key.startswith("on") for _, attributes in page.elements for key in attributes)
    assert not re.findall(r'(?:src|href)="(?!#|data:)', text)
    for target in re.findall(r'<a href="#([^"]+)"', text):
        assert f'id="{target}"' in text
    assert json.loads(page.json)["schema"] == DIAGNOSIS
    assert render_diagnosis(DOCUMENTS[name]) == text
    assert len(text.encode()) < 400_000


def test_the_page_escapes_hostile_names() -> None:
    text = render_diagnosis(DOCUMENTS["hostile"])
    page = Page(text)
    for name in HOSTILE:
        assert shown(name, 24) in page.text
    assert "\u202e" not in page.text
    assert "alert(1)</script>" not in text


def test_the_page_lists_what_the_document_holds() -> None:
    page = Page(render_diagnosis(BROKEN))
    parts = (
        *("Where the loss went", "Causes, what explains most first", "Corrections, on held-out rows"),
        *("Differences that lose nothing", "Not assessed"),
    )
    places = [page.text.index(part) for part in parts]
    assert places == sorted(places)
    assert "4. A few rows are far out and decide the shape" in page.text
    assert "would explain 11% of the loss" in page.text
    assert "Nothing lost to: rotation." in page.text
    assert len(json.loads(page.json)["causes"][0]["where"]["rows"]) == 100
    bare = Page(render_diagnosis(DOCUMENTS["bare"])).text
    for part in parts:
        assert part not in bare


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_figures_are_laid_out(name: str, look: str) -> None:
    drawn = draw_diagnosis(DOCUMENTS[name], LOOKS[look])
    assert set(drawn) == {figure for figure, names in OF_FIGURE.items() if name in names}
    for figure in drawn.values():
        assert faults(figure) == []
        assert figure.get_figheight() <= LOOKS[look].tallest
        assert figure.get_figwidth() == LOOKS[look].width


def test_figures_are_the_same_twice() -> None:
    drawn, again = (draw_diagnosis(BROKEN, look_of()) for _ in range(2))
    for name in drawn:
        assert contents(drawn[name], look_of(), "pdf") == contents(again[name], look_of(), "pdf")


def test_the_account_is_a_waterfall() -> None:
    figure = draw_diagnosis(BROKEN, look_of())["account"]
    for axes, key in zip(figure.axes, ("accounting", "accounting_cka"), strict=True):
        bars = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches]
        assert bars[0] == (0.0, 1.0)
        level = 1.0
        shares = [each["share"] for each in BROKEN[key] if each["share"] > 0]
        for (low, high), share in zip(bars[1:-1], shares, strict=True):
            assert abs(high - level) < 1e-9
            level -= share
            assert abs(low - level) < 1e-9
        assert abs(bars[-1][1] - level) < 1e-9
    said = words_on(figure)
    assert [word for word in said if word in ("24.5", "39.0", "61.0", "26.2")] == ["24.5", "39.0", "26.2", "61.0"]
    assert "rotation" not in said


def test_the_ladder_shows_the_numbers() -> None:
    figure = draw_diagnosis(BROKEN, look_of())["ladder"]
    (axes,) = figure.axes
    widths = sorted(round(patch.get_width(), 6) for patch in axes.patches)
    wanted = [each["value"] for step in BROKEN["ladder"] for each in step["measures"].values()]
    assert widths == sorted(round(value, 6) for value in wanted)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(words.RUNGS.values())
    assert {"overlap@10", "overlap@10, Euclidean", "debiased linear CKA"} <= set(words_on(figure))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_notebook(name: str) -> None:
    page = Page(Diagnosis(DOCUMENTS[name])._repr_html_())
    assert page.open == []
    assert "script" not in [tag for tag, _ in page.elements]
    assert "\u202e" not in page.text
