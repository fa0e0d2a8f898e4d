"""What the page's script does, in a browser: linked maps, the selection, students, search, sorting, all by keyboard."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from manifold_probe.report.page import render
from manifold_probe.report.words import shown
from tests.report.browser import OPEN, browser
from tests.report.diagnoses import BROKEN, within
from tests.report.hand import document, documents, measurement
from tests.report.test_page import HOSTILE, PLAIN, Page, details

__all__ = ["browser"]
pytestmark = pytest.mark.slow
IDS = [f"{PLAIN[row % 5]}/{row}" for row in range(60)]


def two() -> dict[str, Any]:
    """Two students with maps, one of them diagnosed with a cause that concerns two rows of the maps."""
    made = documents(
        a=measurement({"overlap@10": 0.39}, details=details(PLAIN)),
        b=measurement({"overlap@10": 0.2}, details=details(PLAIN, seed=1)),
    )
    # the same teacher on both maps
    made["students"]["b"]["details"]["maps"]["teacher"] = made["students"]["a"]["details"]["maps"]["teacher"]
    diagnosis = json.loads(json.dumps(within(BROKEN)))
    diagnosis["causes"][0]["where"] = {"count": 2, "rows": [5, 7], "ids": [IDS[5], IDS[7]]}
    made["students"]["a"]["diagnosis"] = diagnosis
    return made


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Iterator[Any]:
    found = opened(browser, tmp_path, render(two()))
    yield found
    assert found.heard == []
    found.close()


def opened(browser: Any, folder: Path, text: str, **options: Any) -> Any:
    (folder / "page.html").write_text(text, encoding="utf-8")
    page = browser.new_page(viewport={"width": 1440, "height": 900}, **options)
    page.heard = []
    page.on("console", lambda message: page.heard.append(message.text))
    page.on("pageerror", lambda error: page.heard.append(str(error)))
    page.goto((folder / "page.html").as_uri())
    page.on("request", lambda request: page.heard.append(request.url))
    return page


def place(page: Any, side: str, row: int) -> tuple[float, float]:
    """Where a row is on the screen."""
    box = page.locator(f".field[data-side={side}]").bounding_box()
    data = json.loads(page.locator("#map-data").text_content())
    xy = data["teacher"] if side == "teacher" else data["students"][0]["xy"]
    return box["x"] + box["width"] * xy[2 * row] / 1000, box["y"] + box["height"] * xy[2 * row + 1] / 1000


def ring(page: Any, side: str) -> list[float]:
    found = page.locator(f".field[data-side={side}] .ring")
    return [float(found.get_attribute(name)) for name in ("cx", "cy")]


def painted(page: Any, side: str) -> str:
    return str(page.evaluate("side => document.querySelector(`[data-side=${side}] canvas`).toDataURL()", side))


SIZES = """[...document.querySelectorAll('.field')].map(field => {
    const canvas = field.querySelector('canvas');
    return [canvas.width, canvas.height, field.clientWidth];
})"""


@pytest.mark.parametrize("side", [150, 300, 333])
def test_a_map_is_square_at_every_width(browser: Any, tmp_path: Path, side: int) -> None:
    """A canvas begins as 300 x 150: both of its sides are set, also where one of them is right already."""
    text = render(two()).replace("</style>", f".two-maps .field {{ width: {side}px; border: 0 }}</style>", 1)
    found = opened(browser, tmp_path, text)
    assert found.evaluate(SIZES) == [[side, side, side]] * 2
    found.close()


def test_a_row_in_one_map_is_shown_in_the_other(page: Any) -> None:
    data = json.loads(page.locator("#map-data").text_content())
    page.mouse.move(*place(page, "teacher", 7))
    page.wait_for_timeout(100)
    row = page.evaluate("document.querySelector('#row bdi').textContent")
    at = IDS.index(row)  # rows may lie on top of each other
    assert ring(page, "teacher") == data["teacher"][2 * at : 2 * at + 2]
    assert ring(page, "student") == data["students"][0]["xy"][2 * at : 2 * at + 2]
    text = page.inner_text("#row")
    assert f"1 kept: {IDS[(at + 1) % 60]}" in text
    assert "1 lost, not on the maps" in text
    assert "0 gained" in text
    for side in ("teacher", "student"):
        marks = page.locator(f".field[data-side={side}] .marks")
        assert [bool(each.get_attribute("d")) for each in marks.all()] == [True, True, False]
    x, y = place(page, "teacher", 7)
    page.mouse.move(x, y - 600)
    page.wait_for_timeout(100)
    assert page.locator(".field[data-side=student] .ring").get_attribute("visibility") == "hidden"


def test_three_kinds_of_neighbours_differ_without_colour(page: Any) -> None:
    styles = page.evaluate(
        """() => ["kept", "lost", "gained"].map(kind => [
            getComputedStyle(document.querySelector(`.lines.${kind}`)).strokeDasharray,
            document.querySelector(`.marks.${kind}`).getAttribute("d") !== null,
        ].join())"""
    )
    assert len(set(styles)) == 3


def drag(page: Any, side: str, *corners: tuple[float, float]) -> None:
    """The mouse, pressed, from corner to corner, each in shares of the map."""
    box = page.locator(f".field[data-side={side}]").bounding_box()
    places = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for at in places[1:]:
        page.mouse.move(*at, steps=4)
        page.wait_for_timeout(40)
    page.mouse.up()


def inside(page: Any, side: str, holds: Callable[[float, float], bool]) -> set[str]:
    """The ids of the rows that lie where ``holds(x, y)``, in shares of the map."""
    data = json.loads(page.locator("#map-data").text_content())
    xy = np.reshape(data["teacher"] if side == "teacher" else data["students"][0]["xy"], (-1, 2)) / 1000
    return {IDS[row] for row, (x, y) in enumerate(xy.tolist()) if holds(x, y)}


def test_a_lasso_selects_in_both_maps_and_shift_adds(page: Any) -> None:
    drag(page, "student", (0.01, 0.01), (0.98, 0.01), (0.01, 0.98))  # the upper left half
    some = set(page.evaluate("probePage.selected()"))
    assert some == inside(page, "student", lambda x, y: x + y < 0.99)
    assert 10 < len(some) < 50
    for side in ("teacher", "student"):
        assert page.locator(f".field[data-side={side}]").get_attribute("data-selected") == str(len(some))
    page.keyboard.down("Shift")
    drag(page, "student", (0.99, 0.99), (0.99, 0.01), (0.5, 0.25), (0.01, 0.99))
    page.keyboard.up("Shift")
    assert len(page.evaluate("probePage.selected()")) == 60
    assert page.locator(".lasso[d]").count() == 0


def test_a_lasso_that_ends_at_its_start_selects_what_it_encloses(page: Any) -> None:
    some = inside(page, "teacher", lambda x, y: 0.01 < x < 0.5 and 0.01 < y < 0.99)
    assert some
    for end in ((0.01, 0.01), (0.012, 0.01)):  # exactly, and nearly
        page.evaluate("probePage.select([])")
        drag(page, "teacher", (0.01, 0.01), (0.5, 0.01), (0.5, 0.99), (0.01, 0.99), end)
        assert set(page.evaluate("probePage.selected()")) == some


def test_a_straight_drag_selects_a_box_and_escape_ends_it(page: Any) -> None:
    drag(page, "teacher", (0.001, 0.001), (0.5, 0.999))
    assert set(page.evaluate("probePage.selected()")) == inside(page, "teacher", lambda x, y: x < 0.5)
    box = page.locator(".field[data-side=teacher]").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 250, steps=5)
    page.wait_for_timeout(40)
    assert page.locator(".lasso[d]").count() == 1
    page.keyboard.press("Escape")
    assert page.locator(".lasso[d]").count() == 0
    page.mouse.up()
    assert page.evaluate("probePage.selected()") == []


def test_a_finger_taps_rows_and_moves_the_page_until_it_is_to_draw(browser: Any, tmp_path: Path) -> None:
    page = opened(browser, tmp_path, render(two()), has_touch=True, is_mobile=True)
    page.set_viewport_size({"width": 390, "height": 800})
    field = page.locator(".field[data-side=teacher]")
    field.scroll_into_view_if_needed()
    page.touchscreen.tap(*place(page, "teacher", 7))
    assert page.inner_text("#row strong") in IDS
    client = page.context.new_cdp_session(page)

    def swipe() -> None:
        box = field.bounding_box()
        places = [
            (box["x"] + box["width"] * x, box["y"] + box["height"] * y)
            for x, y in ((0.9, 0.9), (0.5, 0.6), (0.1, 0.4), (0.1, 0.9), (0.3, 0.95))
        ]
        for kind, (x, y) in zip(("touchStart", *["touchMove"] * 4), places, strict=True):
            client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
            page.wait_for_timeout(40)
        client.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        page.wait_for_timeout(400)

    before = page.evaluate("scrollY")
    swipe()
    assert page.evaluate("scrollY") != before
    assert page.evaluate("probePage.selected()") == []
    page.get_by_role("button", name="Draw to select").tap()
    field.scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    swipe()
    assert page.evaluate("scrollY") == before
    assert page.evaluate("probePage.selected().length") > 3
    assert page.heard == []
    page.close()


def test_the_selection_is_described_next_to_the_whole(page: Any) -> None:
    assert page.evaluate("probePage.rows") == IDS
    wanted = [IDS[row] for row in (0, 1, 5)]
    assert page.evaluate("id => probePage.select(id)", IDS[7]) == page.evaluate("probePage.selected()") == [IDS[7]]
    assert page.evaluate("ids => probePage.select([...ids, 'not there'])", wanted) == wanted
    assert page.evaluate("probePage.selected()") == wanted
    maps = two()["students"]["a"]["details"]["maps"]
    text = page.inner_text("#selection")
    assert "3 of 60 on the maps" in text
    assert f"{np.mean([maps['overlap'][row] for row in (0, 1, 5)]):.3f}" in text
    assert "0.390 (0.384 to 0.396)" in text
    assert page.locator("#selection textarea").input_value().split("\n") == wanted
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download CSV").click()
    rows = list(csv.reader(io.StringIO(Path(waiting.value.path()).read_text())))
    assert rows[0] == ["row", "id", "label", "overlap@10"]
    assert [row[1] for row in rows[1:]] == wanted
    page.heard[:] = [each for each in page.heard if not each.startswith("blob:")]
    page.get_by_role("button", name="Clear").click()
    assert page.evaluate("probePage.selected()") == []


def test_search_finds_ids(page: Any) -> None:
    page.fill("#search", "bag/10")
    assert page.evaluate("probePage.selected()") == ["bag/10"]
    assert page.inner_text("#row").startswith("bag/10")
    page.fill("#search", "BAG/1")
    assert page.evaluate("probePage.selected()") == ["bag/10", "bag/15"]
    page.press("#search", "Enter")
    assert page.inner_text("#row").startswith("bag/15")
    page.fill("#search", "nobody")
    assert page.evaluate("probePage.selected()") == []
    assert "none of the 60 rows on the maps" in page.inner_text("#search-said")


def test_everything_is_reached_by_keyboard(page: Any) -> None:
    field = page.locator(".field[data-side=student]")
    field.focus()
    page.keyboard.press("ArrowRight")
    first = page.inner_text("#row strong")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    assert page.inner_text("#row strong") in IDS
    page.keyboard.press(" ")
    assert page.evaluate("probePage.selected()") == [page.inner_text("#row strong")]
    page.keyboard.press("Escape")
    assert page.evaluate("probePage.selected()") == []
    assert first in IDS
    names = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea, [tabindex='0'], summary")]
            .filter(each => each.checkVisibility())
            .filter(each => !(each.getAttribute("aria-label") || each.textContent.trim() || each.labels?.length))
            .map(each => each.outerHTML)"""
    )
    assert names == []
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, summary")]
            .filter(each => each.checkVisibility() && each.type !== "radio" && !each.closest("thead"))
            .filter(each => each.getBoundingClientRect().height < 24).map(each => each.outerHTML)"""
    )
    assert small == []


def test_headers_sort_and_say_so(page: Any) -> None:
    head = page.locator("table.students thead th").nth(1)
    assert head.get_attribute("aria-sort") == "none"
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    names = "[...document.querySelectorAll('table.students tbody bdi')].map(each => each.textContent)"
    assert page.evaluate(names) == ["a", "b"]
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert page.evaluate(names) == ["b", "a"]
    assert page.locator("table.students th[aria-sort=none]").count() > 1
    page.locator("#classes summary").click()
    page.locator("#classes thead th").nth(0).locator("button").click()
    found = page.locator("#classes tbody th").all_inner_texts()
    assert found == sorted(found)
    sorting = page.evaluate("[...document.querySelectorAll('#rows thead th[aria-sort]')].map(each => each.textContent)")
    assert set(sorting) <= {"row", "overlap"}
    assert "row" in sorting


def test_students_are_switched_maps_included(page: Any) -> None:
    data = json.loads(page.locator("#map-data").text_content())
    assert page.locator("#account table").first.is_visible()
    page.fill("#search", IDS[0])
    assert ring(page, "student") == data["students"][0]["xy"][:2]
    before = painted(page, "student")
    page.get_by_role("radio", name="b").check()
    assert ring(page, "student") == data["students"][1]["xy"][:2] != data["students"][0]["xy"][:2]
    assert painted(page, "student") != before
    assert page.evaluate("probePage.selected()") == [IDS[0]]
    assert "0.200" in page.inner_text("#selection")
    assert page.inner_text("#rows h2").endswith(": b")
    assert not page.locator("#account table").first.is_visible()


def test_rows_of_a_cause_are_shown_on_the_maps(page: Any) -> None:
    page.locator("button.concerned:visible").first.click()
    assert page.evaluate("probePage.selected()") == [IDS[5], IDS[7]]
    assert page.locator("#colour").input_value() == "cause 0"
    seen = {painted(page, "teacher")}
    for colouring in ("overlap", "label"):
        page.select_option("#colour", colouring)
        seen.add(painted(page, "teacher"))
    assert len(seen) == 3
    page.locator("#legend button").first.click()  # a class
    assert page.evaluate("probePage.selected()") == IDS[::5]


def test_a_link_opens_what_it_leads_to(page: Any) -> None:
    page.get_by_role("link", name="More measures").click()
    page.wait_for_timeout(100)
    assert page.locator("#measures table").first.is_visible()


def test_hostile_ids_and_labels_are_text(browser: Any, tmp_path: Path) -> None:
    page = opened(browser, tmp_path, render(document(measurement(details=details(list(HOSTILE))))))
    rows = page.evaluate("probePage.rows")
    assert rows[0] == f"{HOSTILE[0]}/0"
    page.evaluate("probePage.select(probePage.rows)")
    for row in rows[:5]:
        page.fill("#search", row)
        assert page.locator("#row script, #row img, #selection script, #selection img").count() == 0
        assert page.inner_text("#row strong") == shown(row)
    assert page.heard == []
    page.close()


def test_cells_that_a_spreadsheet_would_run_are_quoted(browser: Any, tmp_path: Path) -> None:
    made = document(measurement(details=details(["=1+1", "@x", "-1.5"])))
    made["details"]["maps"]["ids"] = ["=cmd|x", "-2", *map(str, range(58))]
    page = opened(browser, tmp_path, render(made))
    page.evaluate("probePage.select(['=cmd|x', '-2'])")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download CSV").click()
    rows = list(csv.reader(io.StringIO(Path(waiting.value.path()).read_text())))
    assert [row[1:3] for row in rows[1:]] == [["'=cmd|x", "'=1+1"], ["-2", "'@x"]]
    page.close()


def test_four_students_before_anything_is_opened(browser: Any, tmp_path: Path) -> None:
    students = {f"s{i}": measurement({"overlap@10": 0.39}, details=details(PLAIN, seed=i)) for i in range(4)}
    made = documents(**students)
    for each in made["students"].values():
        each["diagnosis"] = within(BROKEN)
    page = opened(browser, tmp_path, render(made))
    assert page.evaluate("document.documentElement.scrollHeight") <= 6000
    bottom = page.evaluate(
        """() => Math.max(...[...document.querySelectorAll(".verdicts, .students, .two-maps")]
            .map(each => each.getBoundingClientRect().bottom))"""
    )
    assert bottom <= 1000  # one screen
    page.close()


def test_thumbnails_are_shown_and_counted(browser: Any, tmp_path: Path) -> None:
    """Of 60 rows, 57 have a picture, two are not in the data and one cannot be read."""
    lines = ["path,id,kind"]
    for row in range(58):
        path = tmp_path / f"{row}.png"
        Image.new("RGB", (80, 40), (4 * row, 20, 200)).save(path)
        lines.append(f"{path.name},{IDS[row]},{'odd' if row % 2 else 'even'}")
    (tmp_path / "3.png").write_bytes(b"no image")
    (tmp_path / "data.csv").write_text("\n".join(lines))
    text = render(two(), str(tmp_path / "data.csv"))
    assert "2 rows are not in it; 1 could not be read and is left out." in Page(text).text
    page = opened(browser, tmp_path, text)
    page.fill("#search", IDS[0])
    assert page.locator("#row .thumb").is_visible()
    page.fill("#search", IDS[3])
    assert page.locator("#row .thumb").count() == 0
    page.select_option("#colour", "slice 0")
    assert "even" in page.inner_text("#legend")
    maps = two()["students"]["a"]["details"]["maps"]
    page.locator("#slices summary").click()
    head, *lines = page.locator("#slices table").inner_text().split("\n")
    assert head.split("\t")[0].startswith("kind")
    even = f"{np.mean(maps['overlap'][:58:2]):.3f}"
    assert [line.split("\t")[1:3] for line in lines if line.startswith("even")] == [["29", even]]
    page.locator("#slices thead button").first.click()
    names = page.locator("#slices tbody th").all_inner_texts()
    assert names == ["(unknown)", "even", "odd"]
    page.locator("#rows summary").first.click()
    assert page.locator("#rows .thumb:visible").count() > 20
    assert page.heard == []
    page.close()


def test_on_paper_every_part_names_its_student(page: Any) -> None:
    page.evaluate(OPEN)
    page.emulate_media(media="print")
    names = page.query_selector_all(".by-student h3, details.student > summary")
    assert len(names) >= 2
    assert all(name.is_visible() for name in names)
    assert page.get_by_role("heading", name="Maps").is_visible()


def test_paper_has_nothing_to_press_and_no_empty_part(page: Any) -> None:
    page.emulate_media(media="print")
    assert page.locator(":is(select, textarea, input, .tools button, .live button):visible").count() == 0
    assert not page.get_by_text("Rows that lost most").last.is_visible()  # folded, and its rows are for a screen
    page.evaluate(OPEN)
    assert page.get_by_text("Rows that lost most").last.is_visible()
