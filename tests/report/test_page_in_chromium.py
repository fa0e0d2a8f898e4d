"""The page in a browser: quiet, self-contained, within its width, and the same without JavaScript and on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from manifold_probe.report.words import shown
from tests.report.browser import OPEN, WIDTHS, browser
from tests.report.test_page import ALARM, DOCUMENTS, HOSTILE, rendered
from tests.report.test_page_of_many import page_of

__all__ = ["browser"]
pytestmark = pytest.mark.slow
PAGES = (*DOCUMENTS, "twelve", "forty")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    texts = {name: rendered(name) for name in DOCUMENTS} | {"twelve": page_of(12), "forty": page_of(40)}
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_it_is_quiet_and_fits(browser: Any, files: dict[str, Path], name: str, width: int, scheme: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("dialog", lambda dialog: heard.append(dialog.message))
    page.on("request", lambda request: heard.append(request.url))
    page.goto(files[name].as_uri())
    asked = [url for url in heard if not url.startswith("data:")]  # an image within the file is no request
    assert asked == [files[name].as_uri()]
    page.evaluate(OPEN)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_cut_or_too_small_to_read(browser: Any, files: dict[str, Path], name: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(files[name].as_uri())
    page.evaluate(OPEN)
    cut = page.evaluate(
        """width => [...document.querySelectorAll("body *")].filter(each => {
            const box = each.getBoundingClientRect();
            return box.width && box.right > width + 1 && !each.closest(".scroll, .defs, svg");
        }).map(each => each.outerHTML.slice(0, 200))""",
        width,
    )
    assert cut == []
    smallest = page.evaluate(
        """() => Math.min(...[...document.querySelectorAll("p, li, th, td, small, dd, code, figcaption, .words")]
            .map(each => parseFloat(getComputedStyle(each).fontSize)))"""
    )
    assert smallest >= 12
    in_figures = page.evaluate(
        """() => Math.min(...[...document.querySelectorAll("svg.figure")].map(each =>
            8 * each.getBoundingClientRect().width / each.viewBox.baseVal.width))"""
    )
    assert in_figures >= 10
    page.close()


def test_text_stands_out_in_light_and_dark(browser: Any, files: dict[str, Path]) -> None:
    """The contrast of every text on its ground, as WCAG AA asks (4.5 to 1)."""
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(files["two"].as_uri())
        faint = page.evaluate(
            """() => {
                const light = colour => {
                    const parts = colour.match(/[\\d.]+/g).map(Number);
                    const linear = parts.slice(0, 3).map(part => part / 255)
                        .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
                    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
                };
                const ground = each => {
                    const colour = getComputedStyle(each).backgroundColor;
                    return /, 0\\)/.test(colour) && each.parentElement ? ground(each.parentElement) : colour;
                };
                return [...document.querySelectorAll("body *")].filter(each =>
                    !each.closest("svg") && [...each.childNodes].some(n => n.nodeType == 3 && n.data.trim())
                ).filter(each => {
                    const [a, b] = [light(getComputedStyle(each).color), light(ground(each))].sort((x, y) => y - x);
                    return (a + 0.05) / (b + 0.05) < 4.5;
                }).map(each => each.outerHTML.slice(0, 200));
            }"""
        )
        assert faint == []
        page.close()


def test_hostile_text_is_seen_as_text(browser: Any, files: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(files["hostile"].as_uri())
    text = page.inner_text("body")
    for name in HOSTILE:
        assert shown(name, 24) in text
    assert page.locator("script").count() == 3
    assert page.locator("img").count() == 0
    assert page.evaluate("JSON.parse(document.getElementById('document').textContent).schema").startswith("manifold")
    page.close()


def test_it_says_the_same_without_javascript_and_prints_on_a4(browser: Any, files: dict[str, Path]) -> None:
    context = browser.new_context(java_script_enabled=False, color_scheme="dark")
    page = context.new_page()
    page.goto(files["two"].as_uri())
    for words in ("keeps the most neighbours", "What to do next", ALARM[1], "About this report"):
        assert page.get_by_text(words).first.is_visible()
    page.get_by_text("About this report").last.click()
    assert page.get_by_text("label conflicts").is_visible()
    assert page.locator(".live:visible").count() == 0
    assert page.locator(".dots path").first.is_visible()
    page.emulate_media(media="print", color_scheme="dark")
    assert page.get_by_text("Correlation of the vectors' lengths.").is_visible()  # unfolded on paper
    printed = page.pdf(prefer_css_page_size=True)
    assert printed.startswith(b"%PDF")
    assert b"/MediaBox [0 0 594.95996 841.91998]" in printed
    context.close()


def test_twelve_students_need_no_sideways_scroll_on_a_wide_screen(browser: Any, files: dict[str, Path]) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(files["twelve"].as_uri())
    inside = page.evaluate(
        "[...document.querySelectorAll('.scroll')].map(each => [each.scrollWidth, each.clientWidth])"
    )
    assert len(inside) == 2
    assert inside[0][1] > 1000
    assert all(needed <= given for needed, given in inside)
    page.close()


@pytest.mark.parametrize(("name", "count"), [("two", 2), ("twelve", 12), ("forty", 40)])
def test_every_student_is_on_paper(browser: Any, files: dict[str, Path], name: str, count: int) -> None:
    """At the width of A4 without its margins every value of the tables is seen, and none leaves the sheet."""
    page = browser.new_page(viewport={"width": 688, "height": 1000})
    page.goto(files[name].as_uri())
    page.emulate_media(media="print")
    columns, rows, cells = page.evaluate(
        """() => {
            const seen = css => [...document.querySelectorAll(css)].filter(each => each.checkVisibility());
            return [
                new Set(seen("table.classes thead th bdi").map(each => each.textContent)).size,
                new Set(seen("table.classes tbody th").map(each => each.textContent)).size,
                seen("table.classes td.number").length - seen("table.classes tbody tr").length,
            ];
        }"""
    )
    assert columns == count
    assert cells == count * rows
    assert page.locator("table.students tbody tr").count() == count
    right = page.evaluate(
        """() => Math.max(...[...document.querySelectorAll("table th, table small, table bdi")]
            .filter(each => each.checkVisibility()).map(each => each.getBoundingClientRect().right))"""
    )
    assert right <= 688
    page.close()


def test_zero_and_one_stand_in_one_line_down_the_page(browser: Any, files: dict[str, Path]) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(files["twelve"].as_uri())
    page.evaluate(OPEN)
    edges = page.evaluate(
        """() => [...document.querySelectorAll(".measures thead .axis")].map(each => {
            const box = each.getBoundingClientRect();
            return `${box.left} ${box.right}`;
        })"""
    )
    assert len(edges) > 1
    assert len(set(edges)) == 1
    page.close()


def test_on_a_phone_the_axis_is_never_far(browser: Any, files: dict[str, Path]) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 800})
    page.goto(files["twelve"].as_uri())
    page.evaluate(OPEN)
    assert page.locator(".again").first.is_visible()
    page.set_viewport_size({"width": 1440, "height": 900})
    assert not page.locator(".again").first.is_visible()
    page.close()
