"""What axe-core finds on the pages, folded parts opened: nothing serious."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from manifold_probe.report.page import render
from manifold_probe.report.page.diagnosis import render_diagnosis
from tests.report.browser import OPEN, browser
from tests.report.diagnoses import BROKEN, within
from tests.report.hand import document, documents, measurement
from tests.report.test_page import ALARM, PLAIN, details

__all__ = ["browser"]
pytestmark = pytest.mark.slow


def _diagnosed(made: dict[str, Any]) -> dict[str, Any]:
    for student in made.get("students", {"the only": made}).values():
        student["diagnosis"] = within(BROKEN)
    return made


def _student(seed: int) -> Any:
    return measurement({"overlap@10": 0.5 - 0.1 * seed}, details=details(PLAIN, seed=seed), alarms=(ALARM,))


PAGES = {
    "one student": lambda: render(_diagnosed(document(_student(0)))),
    "four students": lambda: render(_diagnosed(documents(**{f"s{seed}": _student(seed) for seed in range(4)}))),
    "diagnosis": lambda: render_diagnosis(BROKEN),
}


@pytest.fixture(scope="module")
def axe() -> str:
    pytest.importorskip("axe_playwright_python")
    return (files("axe_playwright_python") / "axe.min.js").read_text()


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return {name: make() for name, make in PAGES.items()}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(
    browser: Any, axe: str, texts: dict[str, str], tmp_path: Path, name: str, width: int, scheme: str
) -> None:
    path = tmp_path / "page.html"
    path.write_text(texts[name], encoding="utf-8")
    # the page's policy allows its own script alone
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.goto(path.as_uri())
    page.evaluate(OPEN)
    page.evaluate("probePage.select(probePage.rows.slice(0, 20))")
    page.evaluate(axe)
    found = page.evaluate("axe.run()")
    serious = [
        (rule["id"], node["html"][:200], node["failureSummary"])
        for rule in found["violations"]
        for node in rule["nodes"]
        if node["impact"] in ("serious", "critical")
    ]
    assert serious == []
    assert len(found["passes"]) > 10
    context.close()
