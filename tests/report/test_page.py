"""The page without a browser: what stands in it, that nothing leaves it, and that it renders when parts are missing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from html.parser import HTMLParser
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manifold_probe.report.advice import next_steps
from manifold_probe.report.figures.look import FAINT, INK, PALETTE
from manifold_probe.report.page import render
from manifold_probe.report.page.embed import LEFT_OUT
from manifold_probe.report.page.maps import _tags
from manifold_probe.report.page.room import most_classes
from manifold_probe.report.page.rows import MOST_ROWS, worst_rows
from manifold_probe.report.page.svg import inline
from manifold_probe.report.readings import pairing, reading
from manifold_probe.report.verdict import verdict
from manifold_probe.report.words import number, shown
from tests.report.hand import CLASSES, document, documents, measurement

CSP = (
    "default-src 'none'; script-src 'sha256-{}'; "
    "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
)
HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\u202egnp.exe",
    "\u2028<!--",
    "y" * 10_000,
)
VOID = {"meta", "link", "br", "input"}


class Page(HTMLParser):
    """What a parser makes of the page: its elements in order, its visible text, its JSON."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.scripts: dict[str | None, str] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            id = self.elements[-1][1].get("id")
            self.scripts[id] = self.scripts.get(id, "") + data
        elif self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def json(self) -> str:
        return self.scripts["document"]

    @property
    def policy(self) -> str:
        """The policy that lets this page's script run, and nothing else."""
        return CSP.format(base64.b64encode(hashlib.sha256(self.scripts[None].encode()).digest()).decode())

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words).replace("\xa0", " "))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def details(names: list[Any], seed: int = 0, rows: int = 60, width: int = 32) -> dict[str, Any]:
    """Everything a figure or a table may ask for, with these class names, as large as asked."""
    rng = np.random.default_rng(seed)
    kept = rng.integers(0, 11, rows)
    ids = [f"{names[row % len(names)]}/{row}" for row in range(rows)]

    def levels() -> list[list[float]]:
        return np.sort(rng.uniform(1, 500, (10, 5)), axis=1).tolist()

    def falling() -> list[float]:
        return np.sort(rng.uniform(0, 1, width))[::-1].tolist()

    ks = [1, 2, 5, 10, 20, 50, 100, 200]
    curve = np.linspace(0.1, 0.6, len(ks)).tolist()
    return {
        "overlap_by_k": {"k": ks, "n": 100_000, "queries": 5000, "cosine": curve, "euclidean": curve, "chance": curve}
        | {"reference": None},
        "spectra": {"teacher": falling(), "student": falling()},
        "per_class": [
            {"class": name, "n": 50 + place, "overlap": float(rng.uniform(0.1, 0.9)), "low": 0.1, "high": 0.9}
            | {"knn_agreement": 0.5, "knn_accuracy_teacher": 0.6, "knn_accuracy_student": 0.7}
            for place, name in enumerate(names)
        ],
        "per_dimension": {key: falling() for key in ("raw", "permutation", "orthogonal", "ridge", "space_similarity")},
        "rank_quantiles": {"k": 10, "n": 100_000, "quantiles": [0.05, 0.25, 0.5, 0.75, 0.95]}
        | {"teacher_neighbours_in_student": levels(), "student_neighbours_in_teacher": levels()},
        "worst_rows": [
            {"row": row, "id": ids[row], "label": names[row % len(names)], "overlap": 0.1 * row / rows}
            | {"teacher_neighbours": ids[:10], "student_neighbours": ids[9:19]}
            for row in range(min(rows, 50))
        ],
        "maps": {
            "rows": list(range(rows)),
            "ids": ids,
            "classes": names,
            "class": [row % len(names) for row in range(rows)],
            "overlap": (kept / 10).tolist(),
            "teacher": rng.normal(size=(rows, 2)).round(3).tolist(),
            "student": rng.normal(size=(rows, 2)).round(3).tolist(),
            "neighbours": {
                "kept": [[(row + 1) % rows] * 2 for row in range(rows)],
                "lost": [[-1 - (row + 2) % rows, -1 - (row + 5) % rows] for row in range(rows)],
                "gained": [[] for _ in range(rows)],
            },
            "method": {"name": "UMAP", "metric": "cosine", "neighbours": 15, "seed": 0},
        },
    }


PLAIN = ["bag", "boot", "coat", "shirt", "dress"]
ALARM = ("few_rows", "Only 60 rows, so that <every> interval is wide.")
DOCUMENTS = {
    "one": document(measurement(details=details(PLAIN), alarms=(ALARM,))),
    "two": documents(
        a=measurement({"overlap@10": 0.5}, details=details(PLAIN)),
        b=measurement({"overlap@10": 0.4}, details=details(PLAIN, seed=1), alarms=(ALARM,)),
    ),
    "hostile": documents(
        **{
            name: measurement({"overlap@10": 0.1 * place}, details=details(list(HOSTILE)))
            for place, name in enumerate(HOSTILE)
        }
    ),
    # what 100,000 rows give: as many queries, points of a map and worst rows as are ever kept
    "large": document(measurement(details=details([f"class number {i}" for i in range(20)], rows=2000, width=1024))),
}


@cache
def rendered(name: str) -> str:
    return render(DOCUMENTS[name])


@pytest.fixture(params=DOCUMENTS)
def page(request: pytest.FixtureRequest) -> Page:
    return Page(rendered(request.param))


def test_it_is_whole_and_asks_for_nothing(page: Page) -> None:
    assert not page.open
    assert page.all("meta")[1] == {"http-equiv": "Content-Security-Policy", "content": page.policy}
    data = [{"type": "application/json", "id": name} for name in ("document", "map-data")]
    assert page.all("script") == [*data, {}]
    assert "http" not in page.scripts[None]
    assert {tag for tag, _ in page.elements} <= {
        *("html", "head", "meta", "link", "title", "style", "body", "header", "main", "nav", "section", "script"),
        *("h1", "h2", "h3", "p", "a", "ul", "ol", "li", "dl", "dt", "dd", "div", "span", "bdi", "b", "strong", "small"),
        *("mark", "code", "br", "table", "caption", "thead", "tbody", "tr", "th", "td", "details", "summary", "figure"),
        *("figcaption", "svg", "defs", "g", "path", "use", "line", "text", "tspan", "clippath", "rect", "image"),
        *("pattern", "noscript", "label", "select", "input", "button", "tfoot", "circle"),
    }
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "src"]
        assert str(attributes.get("href", "#")).startswith(("#", "data:"))
        assert "http" not in " ".join(str(value) for name, value in attributes.items() if name != "http-equiv")


def test_ids_are_unique_and_every_reference_finds_one(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    text = " ".join(str(value) for _, attributes in page.elements for value in attributes.values())
    referred = set(re.findall(r"url\(#([^)]*)\)", text))
    referred |= {str(each["href"])[1:] for _, each in page.elements if str(each.get("href")).startswith("#")}
    assert referred <= set(ids)


def test_headings_come_in_order_and_headers_say_what_they_head(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(each.get("scope") in ("col", "row", "rowgroup") for each in page.all("th"))
    assert page.all("html") == [{"lang": "en"}]


def test_it_says_what_the_report_says() -> None:
    one, text = DOCUMENTS["one"], Page(rendered("one")).text
    for words in (verdict(one), pairing(one), *next_steps(one), *(alarm["message"] for alarm in one["alarms"])):
        assert words in text
    for key, measure in one["measures"].items():
        assert reading(key, one) in text
        assert number(measure["value"]) in text
    for space in one["inputs"].values():
        assert space["sha256"] in text


def test_the_numbers_are_in_it_for_machines() -> None:
    def without(document: dict[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in document["details"].items() if key not in LEFT_OUT}
        return {**document, "details": kept}

    assert json.loads(Page(rendered("one")).json) == without(DOCUMENTS["one"])
    students = {name: without(each) for name, each in DOCUMENTS["two"]["students"].items()}
    assert json.loads(Page(rendered("two")).json) == {**DOCUMENTS["two"], "students": students}


def test_hostile_names_are_text() -> None:
    text = rendered("hostile")
    page = Page(text)
    for data in (page.json, page.scripts["map-data"]):
        assert not set(data) & set("<>&\u2028\u2029")
    assert json.loads(page.json)["students"].keys() == {shown(n, 400) if len(n) > 400 else n for n in HOSTILE}
    for name in HOSTILE:
        assert shown(name, 24) in page.text
    assert "\u202e" not in page.text
    assert "y" * 401 not in text


def test_the_same_document_gives_the_same_bytes() -> None:
    assert render(DOCUMENTS["one"]).encode() == rendered("one").encode()


def test_it_stays_small() -> None:
    assert len(rendered("large").encode()) < 1_000_000


def test_the_worst_classes_come_first_and_the_rest_is_counted() -> None:
    names = [f"c{place}." for place in range(most_classes(1) + 20)]
    made = document(measurement(details={"per_class": details(names)["per_class"]}))
    page = Page(render(made))
    overlaps = {row["class"]: row["overlap"] for row in made["details"]["per_class"]}
    order = sorted(names, key=lambda name: overlaps[name])
    table = page.text[page.text.index("Classes, worst first") :]
    places = [table.index(name) for name in order[: most_classes(1)]]
    assert places == sorted(places)
    assert f"The {most_classes(1)} worst of {len(names)}" in table
    assert len(json.loads(page.json)["details"]["per_class"]) == most_classes(1)


def test_neighbours_in_both_are_marked() -> None:
    found = worst_rows(DOCUMENTS["one"], 8)
    assert found is not None
    assert (
        found.sentence
        == "1 of the 50 rows that lost most keep no neighbour. The first 8 of the 50; the saved JSON holds all."
    )
    row = found.rows[0]
    assert [name for name, both in row.teacher if both] == [name for name, both in row.student if both] == ["dress/9"]
    assert Page(rendered("one")).text.count("✓ dress/9") == 2 * MOST_ROWS


def test_rows_that_all_keep_nothing_need_no_column() -> None:
    made = json.loads(json.dumps(DOCUMENTS["one"]))
    for row in made["details"]["worst_rows"]:
        row["overlap"] = 0
    text = Page(render(made)).text
    assert "50 of the 50 rows that lost most keep no neighbour." in text
    assert "rowneighbours were (teacher)neighbours became (student)" in text


def test_the_best_is_bold_only_where_the_difference_says_so() -> None:
    text = Page(rendered("two")).text
    assert "★ 0.500" in text
    assert text.count("★") == 2  # with the legend
    assert "a keeps the most neighbours" in text


def test_an_undefined_measure_is_a_dash_with_its_note() -> None:
    none = {"overlap@10": None, "debiased_linear_cka": None}
    text = Page(render(document(measurement(none, note="all <rows> are equal")))).text
    assert "undefined: all <rows> are equal" in text
    both = Page(render(documents(a=measurement(), b=measurement(none, note="all <rows> are equal")))).text
    assert "undefined: all <rows> are equal" in both
    assert "\u2013" in both


@pytest.mark.parametrize(
    "made",
    [
        document(),
        document(measurement(classes=None)),
        document(measurement(details={"per_class": None, "worst_rows": [], "maps": None})),
        document(measurement(details={"per_class": CLASSES}, classes="k-means"), coverage=0.5, verified=False),
        {**document(), "measures": {}},
        {**document(), "measures": {"a new measure": {"value": -0.7, "low": None, "high": None}}},
        documents(a=measurement(details=details(PLAIN)), b=measurement()),
        documents(only=measurement()),
        documents(**{f"s{i}": measurement() for i in range(9)}),
    ],
)
def test_it_renders_where_parts_are_missing(made: dict[str, Any]) -> None:
    page = Page(render(made))
    assert not page.open
    assert "None" not in page.text


def test_rows_without_ids_are_named_by_number() -> None:
    row = {"row": 3, "id": None, "label": None, "overlap": 0.0, "teacher_neighbours": [1], "student_neighbours": [2]}
    text = Page(render(document(measurement(details={"worst_rows": [row]})))).text
    assert "by row number" in text
    assert "row 3" in text


def test_further_columns_of_the_data_are_slices(tmp_path: Path) -> None:
    maps = DOCUMENTS["one"]["details"]["maps"]
    lines = [f"{id},words of {id},{'de' if row < 20 else 'fr'}" for row, id in enumerate(maps["ids"])]
    (tmp_path / "data.csv").write_text("\n".join(["id,text,language", *lines]))
    page = Page(render(DOCUMENTS["one"], tmp_path / "data.csv"))
    slices = json.loads(page.scripts["map-data"])["slices"]
    assert slices == [
        {"name": "language", "values": ["de", "fr"], "of": [0] * 20 + [1] * 40, "colours": [0, 1]},
    ]
    text = page.text[page.text.index("Slices, worst first") :]
    for name, rows in (("de", slice(20)), ("fr", slice(20, 60))):
        kept = maps["overlap"][rows]
        assert re.search(rf"{name} ?{len(kept)} ?{number(float(np.mean(kept)))}", text)
    assert "Slices" not in Page(rendered("one")).text


def test_without_maps_too_it_says_how_many_rows_have_no_picture(tmp_path: Path) -> None:
    made = document(measurement(details={**details(PLAIN), "maps": None}))
    row = made["details"]["worst_rows"][0]
    (tmp_path / "data.csv").write_text(f"id,text\n{row['id']},some words\n")
    text = Page(render(made, tmp_path / "data.csv")).text
    everyone = {
        name
        for each in made["details"]["worst_rows"]
        for name in (each["id"], *each["teacher_neighbours"], *each["student_neighbours"])
    }
    assert f"data.csv; {len(everyone) - 1} rows are not in it." in text


def test_names_stay_within_the_maps_and_apart() -> None:
    text = render(document(measurement(details=details([f"a long name {i} of a class" for i in range(8)]))))
    maps = [re.findall(r'<text x="(\d+)" y="(\d+)">a long', each) for each in text.split('<g class="tags">')[1:]]
    assert len(maps) == 2
    for tags in ([(int(x), int(y)) for x, y in each] for each in maps):
        assert 7 <= len(tags) <= 8  # where a name meets others on each of its rows, the legend alone has it
        assert all(160 <= x <= 840 and 16 <= y <= 984 for x, y in tags)
        for (x, y), (a, b) in combinations(tags, 2):
            assert abs(x - a) >= 320 or abs(y - b) >= 32


def test_it_says_how_classes_of_several_students_are_sorted() -> None:
    said = "Sorted by the lowest of the students' overlaps."
    assert Page(rendered("two")).text.count(said) == 1
    assert said not in Page(rendered("one")).text


def test_the_name_of_a_class_stands_in_its_densest_group() -> None:
    # two thirds of the class on the right, and a few rows between its groups
    lines = [(left + step, y) for left, y in ((100, 300), (800, 700), (800, 705)) for step in range(20)]
    places = np.array([*lines, (450, 500), (460, 500)])
    first = next(_tags("shoe", places))
    assert (first.x, first.y) in {(x, y) for x in range(808, 812) for y in (700, 705)}


def test_inline_svg_keeps_to_itself() -> None:
    made = inline(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9pt"'
        ' viewBox="0 0 9 9">'
        "<metadata/><defs><style>*{fill: red}</style><path id='m' d='M 0.123456 1'/></defs><g id='unused'>"
        f"<use xlink:href='#m' style='fill: {PALETTE[1]}; stroke: {INK}'/><path style='stroke: {FAINT}'/>"
        "<text style=\"font: 8px 'DejaVu Sans'; fill: #000000\">&lt;b&gt;</text></g></svg>",
        "one",
        'a "label"',
    )
    page = Page(made)
    assert [tag for tag, _ in page.elements] == ["svg", "defs", "path", "g", "use", "path", "text"]
    assert page.all("svg")[0] == {"viewbox": "0 0 9 9", "role": "img", "aria-label": 'a "label"', "class": "figure"}
    assert page.all("path")[0] == {"d": "M 0.12 1", "id": "one-1"}
    assert page.all("use")[0] == {"style": f"fill: var(--c1,{PALETTE[1]}); stroke: currentColor", "href": "#one-1"}
    assert page.all("path")[1] == {"style": f"stroke: var(--rule,{FAINT})"}
    assert page.all("text")[0] == {"style": "font: 8px var(--font); fill: currentColor"}
    assert page.text == "<b>"
