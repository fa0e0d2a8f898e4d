"""The page of many students: below 5 MB, whole on paper, each thing said once, the same axis and symbols throughout."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import pytest

from manifold_probe.report.document import students_of
from manifold_probe.report.figures.look import INK, MARKERS
from manifold_probe.report.figures.measures import YARDSTICKS
from manifold_probe.report.page import page, render, room, students
from manifold_probe.report.page.colours import MARKS, YARDSTICK_MARKS, style_sheet
from manifold_probe.report.page.embed import ROOM
from manifold_probe.report.page.measures import groups
from manifold_probe.report.page.room import most_rows
from manifold_probe.report.page.rows import MOST_ROWS
from manifold_probe.report.page.students import table
from manifold_probe.report.words import number
from tests.report.hand import documents, measurement
from tests.report.test_page import PLAIN, Page, details, rendered


def crowd(count: int, rows: int, classes: list[str] = PLAIN, **more: Any) -> dict[str, Any]:
    """The document of so many students, each with 50 worst rows and a measure that is undefined."""
    kept = [details(classes, seed, rows, width=1280) for seed in range(4)]
    return documents(
        **{
            f"student {place}": measurement(
                {"overlap@10": 0.2 + 0.001 * place, "space_similarity": None},
                details={**kept[place % 4], **more},
                note="the <widths> differ",
            )
            for place in range(count)
        }
    )


@cache
def page_of(count: int) -> str:
    """The page of so many students without maps, which take long to draw."""
    return render(crowd(count, rows=60, maps=None))


@pytest.mark.parametrize("count", [12, 40, pytest.param(100, marks=pytest.mark.slow)])
def test_it_stays_below_five_megabytes(count: int) -> None:
    text = page_of(count)
    assert len(text.encode()) < 5_000_000
    assert len(Page(text).json.encode()) < ROOM
    assert f"The first {min(most_rows(count, 10), MOST_ROWS)} of the 50; the saved JSON holds all" in Page(text).text
    assert json.loads(Page(text).json)["students"].keys() == {f"student {place}" for place in range(count)}


@pytest.mark.slow
@pytest.mark.parametrize("count", [8, 40, 100])
def test_so_it_does_with_the_maps_that_fit_and_a_thousand_classes_of_long_names(count: int) -> None:
    names = [f"\N{SNOWMAN} class number {place} of a thousand" for place in range(1000)]
    text = render(crowd(count, 2000, names))
    assert len(text.encode()) < 5_000_000
    mapped = len(json.loads(Page(text).scripts["map-data"])["students"])
    # every fourth student has the rows and the teacher's map of the first
    said = f"Maps of the first {mapped} students: with those of all {count // 4} this page would exceed 5 MB."
    assert (said in text) == (mapped < count // 4) == (count == 100)
    assert mapped > 8 or mapped == count // 4


def test_where_no_map_fits_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "FIGURES", 5_000_000)
    text = render(crowd(2, 60))
    assert "The sample of rows is left out: with it this page would exceed 5 MB." in text
    assert "map-data" not in [each.get("id") for each in Page(text).all("script")]


def test_of_too_many_students_it_shows_those_that_keep_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "STUDENTS", 2)
    page = Page(render(documents(**{f"s{place}": measurement({"overlap@10": 0.1 * place}) for place in range(4)})))
    assert "Four students against" in page.text
    assert "it shows the 2 of 4 students that keep the most neighbours; the saved JSON holds all" in page.text
    assert list(json.loads(page.json)["students"]) == ["s2", "s3"]


def test_each_value_stands_once_and_classes_in_blocks_for_paper() -> None:
    page = Page(page_of(12))
    tables = [str(each.get("class")).split()[0] for each in page.all("table")]
    assert tables.count("students") == 1
    assert tables.count("classes") == 3
    assert [each.get("class") for each in page.all("div")].count("paper") == 1
    measures = page.text[: page.text.index("Paired differences: ")]
    for value in range(12):
        # once as a value and its interval, and not again among the other measures
        assert len(re.findall(rf"{number(0.2 + 0.001 * value)}0\.\d+ to", measures)) == 1
    assert "paper" not in [each.get("class") for each in Page(rendered("two")).all("div")]


def test_yardsticks_that_differ_are_a_range() -> None:
    made = documents(a=measurement(chance=0.001), b=measurement(chance=0.002), c=measurement(chance=None))
    found = table(made, students_of(made))
    assert found.yardsticks["chance"] == ["0.001 to 0.002"] * len(found.titles)
    assert found.yardsticks["reference"] == ["0.840"] * len(found.titles)
    text = Page(render(made)).text
    assert "chance, class, reference: lowest to highest of the students; see" in text


def test_many_pairs_are_counted_and_very_many_are_those_of_one_student(monkeypatch: pytest.MonkeyPatch) -> None:
    made = documents(**{f"s{i}": measurement({"overlap@10": 0.1 * i}) for i in range(5)})
    assert "Paired differences: 10 pairs" in Page(render(made)).text
    monkeypatch.setattr(students, "MOST_LISTED", 9)
    text = Page(render(made)).text
    assert "of all 10 those with s4, which keeps the most neighbours; the saved JSON holds all" in text
    assert "Paired differences: 4 pairs" in text


def test_a_shared_note_is_said_once() -> None:
    made = {f"s{i}": measurement({"space_similarity": None}, note=f"the widths differ (9, {i})") for i in range(3)}
    everyone = Page(render(documents(**made))).text
    assert everyone.count("undefined: the widths differ") == 1
    some = Page(render(documents(a=measurement(), **made))).text
    assert some.count("undefined: the widths differ") == 1
    assert "s0, s1, s2: undefined: the widths differ" in some


def test_the_yardsticks_are_those_of_the_figures_and_no_students() -> None:
    assert not {sign for _, _, sign, _ in YARDSTICKS} & set(MARKERS)
    assert not set(YARDSTICK_MARKS.values()) & set(MARKS)
    paths = {str(each.get("id")): each["d"] for each in Page(rendered("two")).all("path")}
    for name, _, _, tint in YARDSTICKS:
        name = name.replace("_", "-")
        assert paths[name] == YARDSTICK_MARKS[name]
        line = "currentColor" if tint == INK else f"var(--muted,{tint})"
        assert f'use[href="#{name}"]{{--c:none;--line:{line}}}' in style_sheet()


def test_the_common_axis_has_the_same_columns_in_every_group() -> None:
    several = documents(a=measurement(), b=measurement())
    for each in several["students"].values():
        for key, measure in each["measures"].items():
            if not key.startswith("trustworthiness"):
                measure |= {"chance": None, "class_chance": None, "reference": None}
    shares = [group for group in groups(several) if group.axis]
    assert len(shares) > 1
    assert all(group.yardsticks for group in shares)
    assert not any(group.yardsticks for group in groups(several) if not group.axis)


def test_on_a_phone_the_axis_comes_again() -> None:
    found = [line.again for block in groups(crowd(9, 60))[0].blocks for line in block.lines]
    assert [place for place, again in enumerate(found, start=1) if again] == list(range(6, len(found) + 1, 6))
