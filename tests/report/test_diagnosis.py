"""A diagnosis made by hand: its document, and what the terminal, the page, the figure and a notebook say of it."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from manifold_probe.errors import InputError
from manifold_probe.report.diagnosis import words
from manifold_probe.report.diagnosis.combine import slice_causes, with_causes
from manifold_probe.report.diagnosis.document import SCHEMA, read_diagnosis, shortened
from manifold_probe.report.diagnosis.frame import COLUMNS, tidy_rows
from manifold_probe.report.diagnosis.lines import bar, diagnosis_lines, plain_diagnosis
from manifold_probe.report.diagnosis.result import Diagnosis
from manifold_probe.report.diagnosis.verdict import verdict
from manifold_probe.report.document import to_json
from manifold_probe.report.figures import ladder
from manifold_probe.report.figures.look import PAGE, WIDTHS, look_of
from manifold_probe.report.figures.save import contents
from manifold_probe.report.page.diagnosis import render_diagnosis
from manifold_probe.report.words import shown
from tests.report.figures.drawn import faults
from tests.report.hand import DIGEST
from tests.report.test_page import CSP, HOSTILE, Page

LOOKS = {**{name: look_of("paper", name) for name in WIDTHS}, "slides": look_of("slides"), "page": PAGE}
KEYS = ("overlap@10", "overlap@10:euclidean", "debiased_linear_cka")


def cause(name: str, share: float = 0.4, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "confidence": 0.93,
        "share": share,
        "evidence": [{"measure": "overlap@10 inside", "value": 0.21, "expected": 0.71}],
        "repair": {
            "name": "these rows left out",
            "measure": "debiased_linear_cka",
            "before": 0.26,
            "after": 0.97,
            "low": 0.95,
            "high": 0.99,
            "healthy_gain": 0.01,
        },
        "where": {"count": 1200, "rows": list(range(1000)), "ids": [f"r{row}" for row in range(1000)]},
        "advice": "Look at these rows.",
        "or": [],
        **more,
    }


def step(name: str, value: float | None, likeness: float | None = 0.8) -> dict[str, Any]:
    near = {"value": value, "low": None, "high": None, "gain": None}
    if value is not None:
        near |= {"low": value - 0.02, "high": value + 0.02, "gain": value - 0.3}
    far = {"value": likeness, "low": None, "high": None, "gain": None}
    return {"repair": name, "measures": dict(zip(KEYS, (near, near, far), strict=True))}


def document(**more: Any) -> dict[str, Any]:
    sides = {
        side: {"name": side[0], "path": f"{side[0]}.pt", "sha256": DIGEST, "shape": [2000, d], "dtype": "float32"}
        for side, d in (("teacher", 512), ("student", 384))
    }
    return {
        "schema": SCHEMA,
        "verdict": "A few rows are far out and decide the shape: 30% of each point's nearest neighbours are kept.",
        "causes": [
            cause("outliers"),
            cause("noise", 0.3, **{"or": ["quantisation", "saturation"]}, where=None, repair=None),
            cause("slice_failure", 0.2, where={"count": 1, "slices": ["fr"]}),
            cause("cluster_merge", 0.1, where={"count": 2, "classes": ["boot", "bag"]}),
        ],
        "benign": [{"name": "global_scale", "value": 3.4, "note": "longer by one factor"}],
        "ladder": [step(name, 0.3 + 0.05 * place) for place, name in enumerate(words.RUNGS)],
        "not_assessed": [{"name": name, "why": "4 classes are too few"} for name in ("cluster_merge", "slice_failure")],
        "examined": {"rows": 1000, "of": 2000, "labels": False, "overlap": 0.3},
        "inputs": sides,
        "pairing": {"by": "id", "rows": 2000, "coverage": 0.5, "verified": True, "label_conflicts": 0},
        "settings": {"k": 10, "seed": 0, "classes": "k-means"},
        "provenance": {"versions": {"numpy": "2"}, "seed": 0, "platform": "x", "when": "now"},
        **more,
    }


def hostile() -> dict[str, Any]:
    made = document()
    made["causes"] = [
        cause(
            name,
            where={"count": 5, "rows": [0, 1, 2, 3, 4], "ids": list(HOSTILE), "classes": list(HOSTILE)},
            advice=name,
            evidence=[{"measure": name, "value": None, "expected": None}],
            repair={**cause("x")["repair"], "name": name, "measure": name},
            **{"or": [name]},
        )
        for name in HOSTILE
    ]
    made["benign"] = [{"name": name, "value": None, "note": name} for name in HOSTILE]
    made["not_assessed"] = [{"name": name, "why": name} for name in HOSTILE]
    made["ladder"] += [step(name, None, None) for name in HOSTILE]
    made["verdict"] = HOSTILE[0]
    for side, name in zip(made["inputs"].values(), HOSTILE, strict=False):
        side |= {"name": name, "path": None, "key": name}
    return made


DOCUMENTS = {
    "whole": document(),
    "healthy": document(causes=[], verdict="Healthy: 99% of each point's nearest neighbours are kept."),
    "bare": document(causes=[], benign=[], not_assessed=[], ladder=[{"repair": "identity", "measures": {}}]),
    "hostile": hostile(),
    "negative": document(ladder=[step("identity", 0.0, -0.1), step("ridge", 1.0, None)]),
    "beside": document(
        examined={
            **document()["examined"],
            "slices": {"count": 7},
            "overfit": {"rows": 400, "seen": 0.6, "unseen": 0.3, "difference": 0.3, "low": 0.2, "high": 0.4},
            "head": {"backbone": 0.6, "head": 0.3, "difference": 0.3, "low": 0.2, "high": 0.4},
        }
    ),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_saved_document_is_read_again(name: str, tmp_path: Path) -> None:
    Diagnosis(DOCUMENTS[name]).save(tmp_path / "d.json")
    assert read_diagnosis(tmp_path / "d.json") == DOCUMENTS[name]


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("ladder",), [], "'ladder' is empty"),
        (("causes", 0, "confidence"), 7, "a 'confidence' is not between 0 and 1"),
        (("causes", 0, "where", "count"), "x", "'causes[0].where.count' is not a whole number"),
        (("examined",), None, "'examined' is not an object"),
        (("inputs", "student", "shape"), 3, "'inputs.student.shape' is not a list"),
        (("ladder", 0, "measures", "overlap@10", "value"), "x", "value' is not a number"),
    ],
)
def test_a_damaged_document_is_refused(path: tuple[Any, ...], value: Any, words: str, tmp_path: Path) -> None:
    made: Any = copy.deepcopy(DOCUMENTS["whole"])
    place = made
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (tmp_path / "d.json").write_text(to_json(made))
    with pytest.raises(InputError, match=re.escape(words)):
        read_diagnosis(tmp_path / "d.json")


def test_another_document_is_none_of_ours(tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text('{"schema": "manifold-probe/comparison/1"}')
    assert read_diagnosis(tmp_path / "d.json") is None


def test_at_most_a_thousand_rows_are_kept_and_counted() -> None:
    assert shortened(None) is None
    assert shortened({}) is None
    short = shortened({"classes": ["a"], "rows": list(range(5000)), "ids": list("x" * 5000)})
    assert short is not None
    assert (short["count"], len(short["rows"]), len(short["ids"]), short["classes"]) == (5000, 1000, 1000, ["a"])


def test_further_causes_change_the_verdict() -> None:
    parts = {"causes": [cause("diffuse_loss", 1.0)], "verdict": "Diffuse.", "examined": {"overlap": 0.4}}
    assert with_causes(parts, []) is parts
    both = with_causes(parts, [cause("overfit", 0.1), cause("outliers", 0.5)])
    assert [each["name"] for each in both["causes"]] == ["outliers", "overfit"]
    assert both["verdict"].startswith("A few rows are far out and decide the shape; also, only the rows that were")
    assert both["verdict"].endswith(": 40% of each point's nearest neighbours are kept.")
    unsure = {**cause("overfit"), "confidence": 0.6}
    assert verdict([unsure], {"overlap": 0.4}).startswith("Probably only the rows")


def test_a_verdict_without_a_cause() -> None:
    healthy = {"overlap": 0.5}
    assert verdict([], healthy).startswith("Healthy: 50%")
    ridge = [{"repair": "ridge", "measures": {"overlap@10": {"value": 0.9, "gain": 0.4}}}]
    assert verdict([], healthy, ridge).startswith("Healthy up to a linear map: 50%")
    unproved = {**healthy, "causes": {"unproved": ["noise", "offset", "noise"]}}
    assert verdict([], unproved, ridge).startswith("Undetermined: 50%")
    little = {**cause("outliers", 0.01), "confidence": 0.9}
    assert verdict([little], healthy) == (
        "Most of what is lost has no single cause: 50% of each point's nearest neighbours are kept. "
        "Also found: a few rows are far out and decide the shape."
    )
    unknown = {**little, "share": None}
    assert verdict([unknown], healthy).startswith("A few rows are far out and decide the shape: 50%")


def test_slices_are_called_slices() -> None:
    parts = {"causes": [cause("outliers"), cause("slice_failure", where={"classes": ["fr"]})]}
    (found,) = slice_causes(parts)
    assert found["where"] == {"slices": ["fr"]}
    assert "one slice failed alone" in verdict([found], {"overlap": 0.5}).lower()


def test_the_terminal_says_it_all() -> None:
    text = plain_diagnosis(DOCUMENTS["whole"])
    lines = text.splitlines()
    assert lines[0] == DOCUMENTS["whole"]["verdict"]
    assert "2,000 rows paired by id (50% of the larger side; the rest has no partner). k = 10." in text
    assert "Causes were looked for in 1,000 of them." in text
    assert "the teacher's clusters stand in for classes" in text
    assert re.search(r"linear map +0\.700  0\.680 to 0\.720 +\+0\.400 +0\.700  0\.800  #{17}\.{7}$", text, re.M)
    assert "1. A few rows are far out and decide the shape (outliers)" in text
    assert "confidence 93%; explains 40% of the gap" in text
    assert "overlap@10 inside: 0.210 (a healthy pair: about 0.710)" in text
    assert "these rows left out: debiased linear CKA 0.260 to 0.970 (95% interval 0.950 to 0.990)" in text
    assert "on a healthy pair it gains 0.010" in text
    assert "1,200 rows: r0, r1, r2, r3, r4, r5 and 1,194 more" in text
    assert "or       quantisation, saturation: outputs alone cannot tell them apart" in text
    assert "to tell  extract a few hundred rows twice" in text
    assert "3. One slice failed alone" in text
    assert "slice fr" in text
    assert "Further down, with less to explain: cluster merge" in text
    assert "global scale (3.400): longer by one factor" in text
    assert "cluster merge, slice failure: 4 classes are too few" in text


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_lines_fit_and_hide_nothing_hostile(name: str, width: int) -> None:
    found = [line.plain for line in diagnosis_lines(DOCUMENTS[name], width)]
    if width >= 80 and name != "hostile":
        assert max(map(cell_len, found)) <= width
    assert not any(sign in line for line in found for sign in "\u202e\u2028\x1b\n")


def test_bars() -> None:
    assert bar(1.0, 8, plain=True) == "########"
    assert bar(None, 4, plain=True) == "...."
    assert bar(-0.2, 4, plain=False) == "    "
    assert bar(1.7, 4, plain=False) == "████"


def test_rows_that_follow_each_other_are_one_range() -> None:
    where = {"count": 124, "rows": [*range(200, 320), 7, 400, 401, 500]}
    assert words.where(cause("row_misalignment", where=where)) == ["124 rows: 200 to 319, 7, 400, 401, 500"]
    where = {"count": 5000, "dimensions": [0, 2, 4, *range(6, 12)]}
    assert words.where(cause("x", where=where), 2) == ["5,000 dimensions: 0, 2 and 4,998 more"]


def test_a_loss_without_a_cause_has_no_proof() -> None:
    assert words.proof(cause("diffuse_loss", repair=None)).startswith("none: ")
    assert words.proof(cause("noise", repair=None)).startswith("nothing to repair: ")


def test_what_tells_causes_apart() -> None:
    assert words.experiment(cause("noise")) == ""
    assert "columns that never change are dead" in words.experiment(
        cause("dead_dimensions", **{"or": ["truncated_dimensions"]})
    )
    assert words.experiment(cause("offset", **{"or": ["noise"]})) == words.OTHERWISE


def test_tidy_rows() -> None:
    rows = tidy_rows(DOCUMENTS["whole"])
    assert all(tuple(row) == COLUMNS for row in rows)
    repairs = [row for row in rows if row["part"] == "repair"]
    assert (repairs[0]["name"], repairs[0]["rank"], round(repairs[0]["gain"], 6)) == ("outliers", 1, 0.71)
    assert sum(row["part"] == "ladder" for row in rows) == 30


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_tables(name: str, suffix: str, tmp_path: Path) -> None:
    import pandas as pd

    path = tmp_path / f"d{suffix}"
    Diagnosis(DOCUMENTS[name]).to_table(path)
    frame = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    assert list(frame) == list(COLUMNS)
    assert len(frame) == len(tidy_rows(DOCUMENTS[name]))


def test_what_needs_features_is_refused_of_a_loaded_one(tmp_path: Path) -> None:
    loaded = Diagnosis(DOCUMENTS["whole"])
    for call in (loaded.repair, loaded.rows, lambda: loaded.save_rows(tmp_path / "r.csv")):
        with pytest.raises(InputError, match="holds no features; diagnose the pair again"):
            call()
    assert loaded.causes[1].or_ == ["quantisation", "saturation"]
    loaded.causes[0].evidence.clear()
    assert loaded.causes[0].evidence


def test_a_diagnosis_is_extended() -> None:
    made = document(not_assessed=[{"name": "preprocessing", "why": "x"}, {"name": "overfit", "why": "y"}])
    found = cause("preprocessing", 0.9, where={"conditions": ["channels swapped"]})
    more = Diagnosis(made).extended(
        ["preprocessing"],
        [found],
        interventions=[{"name": "as it is", "overlap": 0.3}, {"name": "half precision", "overlap": None}],
    )
    assert more.causes[0].where == {"count": 1, "conditions": ["channels swapped"]}
    assert more.verdict.startswith("Inputs were prepared in another way; also, a few rows")
    assert [each["name"] for each in more.not_assessed] == ["overfit"]
    assert "extracted again: as it is 0.300, half precision" in more.summary()
    assert "once extracted with channels swapped" in more.summary()
    assert len(made["causes"]) == 4
    none = Diagnosis(made).extended(["preprocessing"], [])
    assert none.verdict == made["verdict"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_page(name: str) -> None:
    text = render_diagnosis(DOCUMENTS[name])
    page = Page(text)
    assert page.open == []
    assert ("meta", CSP) in [(tag, attributes.get("content")) for tag, attributes in page.elements]
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert not any(tag in ("img", "iframe", "object") for tag, _ in page.elements)
    assert not any(key.startswith("on") for _, attributes in page.elements for key in attributes)
    assert not re.findall(r'(?:src|href)="(?!#|data:)', text)
    for target in re.findall(r'<a href="#([^"]+)"', text):
        assert f'id="{target}"' in text
    assert json.loads(page.json)["schema"] == SCHEMA
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
    page = Page(render_diagnosis(DOCUMENTS["whole"]))
    for part in ("Causes, what explains most first", "The ladder", "Differences that lose nothing", "Not assessed"):
        assert part in page.text
    assert "4. Two classes have come together" in page.text
    assert "explains 40% of the gap" in page.text
    assert len(json.loads(page.json)["causes"][0]["where"]["rows"]) == 100
    bare = Page(render_diagnosis(DOCUMENTS["bare"])).text
    assert "Not assessed" not in bare
    assert "The ladder" not in bare


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name != "bare"])
def test_the_figure_is_laid_out(name: str, look: str) -> None:
    figure = ladder.draw(DOCUMENTS[name], LOOKS[look])
    assert figure is not None
    assert faults(figure) == []
    assert figure.get_figheight() <= LOOKS[look].tallest


def test_the_figure_shows_the_numbers() -> None:
    figure = ladder.draw(DOCUMENTS["whole"], look_of())
    assert figure is not None
    (axes,) = figure.axes
    widths = sorted(round(patch.get_width(), 6) for patch in axes.patches)
    wanted = [each["value"] for step in DOCUMENTS["whole"]["ladder"] for each in step["measures"].values()]
    assert widths == sorted(round(value, 6) for value in wanted)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(words.RUNGS.values())
    assert ladder.draw(DOCUMENTS["bare"], look_of()) is None
    again = ladder.draw(DOCUMENTS["whole"], look_of())
    assert again is not None
    assert contents(figure, look_of(), "pdf") == contents(again, look_of(), "pdf")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_notebook(name: str) -> None:
    page = Page(Diagnosis(DOCUMENTS[name])._repr_html_())
    assert page.open == []
    assert "script" not in [tag for tag, _ in page.elements]
    assert "\u202e" not in page.text
