"""Pages of diagnoses, alone and in comparisons, in a browser: quiet, self-contained, within their width, readable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from manifold_probe.report.page import render
from manifold_probe.report.page.diagnosis import render_diagnosis
from tests.report.browser import OPEN, WIDTHS, browser
from tests.report.test_comparison_diagnosed import MANY, ONE
from tests.report.test_diagnosis import DOCUMENTS

__all__ = ["browser"]
pytestmark = pytest.mark.slow
COMPARISONS = {"one student": ONE, "many students": MANY}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", [*DOCUMENTS, *COMPARISONS])
def test_it_is_quiet_and_fits(browser: Any, tmp_path: Path, name: str, width: int, scheme: str) -> None:
    path = tmp_path / "d.html"
    text = render(COMPARISONS[name]) if name in COMPARISONS else render_diagnosis(DOCUMENTS[name])
    path.write_text(text, encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("dialog", lambda dialog: heard.append(dialog.message))
    page.on("request", lambda request: heard.append(request.url))
    page.goto(path.as_uri())
    assert [url for url in heard if not url.startswith("data:")] == [path.as_uri()]
    page.evaluate(OPEN)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
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
    page.close()


def test_bars_have_one_scale_on_a_phone(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "d.html"
    path.write_text(render(ONE), encoding="utf-8")
    page = browser.new_page(viewport={"width": 360, "height": 900})
    page.goto(path.as_uri())
    for table in ("account", "main"):
        edges = page.evaluate(
            """table => [...document.querySelectorAll(`table.${table} .on-axis`)].filter(each => each.checkVisibility())
                .map(each => `${each.getBoundingClientRect().left} ${each.getBoundingClientRect().right}`)""",
            table,
        )
        assert len(edges) > 2
        assert len(set(edges)) == 1
    page.close()
