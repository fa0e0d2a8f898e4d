"""What the pages must hold: every cause, part of the account, measure and alarm; a short README; links that work."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

import manifold_probe
from manifold_probe.diagnosis import CAUSES, accounting, training, unaligned
from manifold_probe.measures.catalogue import MEASURES
from tests.docs.commands import PAGES, ROOT, commands_of, not_printed

DIAGNOSIS = PAGES["docs/diagnosis.md"].read_text(encoding="utf-8")
NUMBERS = PAGES["docs/numbers.md"].read_text(encoding="utf-8")


def causes_named_in(path: Path) -> set[str]:
    """The first argument of every call of ``cause(...)``, and every entry of a dict called CAUSES."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call) and node.args]
    named = [each.args[0] for each in calls if isinstance(each.func, ast.Name) and each.func.id == "cause"]
    return {each.value for each in named if isinstance(each, ast.Constant)}


def test_every_cause_has_a_section() -> None:
    sections = dict(re.findall(r"^### `(\w+)`\n\n(.*?)(?=\n#|\Z)", DIAGNOSIS, re.MULTILINE | re.DOTALL))
    outside = set().union(*(causes_named_in(path) for path in (ROOT / "manifold_probe/diagnosis").glob("*.py")))
    named = {each.name for each in CAUSES} | set(training.CAUSES) | {unaligned.NAME} | outside
    assert set(sections) == named
    for name, text in sections.items():
        asked = re.findall(r"^- \*\*(.+?)\.\*\* ", text, re.MULTILINE)
        assert asked == ["What it means", "Why it matters", "What proves it", "What to do"], name


def test_every_part_of_the_account_has_a_row() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", DIAGNOSIS, re.MULTILINE))
    assert rows == {*accounting.PARTS, *training.ORDER}


def test_every_measure_has_a_row() -> None:
    table = NUMBERS.partition("| measure | what it says |")[2].partition("\n\n")[0]
    named: list[str] = []
    for row in table.splitlines()[2:]:
        first, *more = re.findall(r"`([^`]+)`", row.split("|")[1])
        whole = first.split("_teacher")[0]
        keys = [first, *(first + each if each[0] == ":" else whole + each if each[0] == "_" else each for each in more)]
        named += [key.replace("*", side) for key in keys for side in ("teacher", "student")[: 1 + ("*" in key)]]
    assert sorted(named) == sorted(each.named(10) for each in MEASURES)


def test_every_alarm_of_a_comparison_has_a_row() -> None:
    raised: set[str] = set()
    for path in (ROOT / "manifold_probe/measures").glob("alarms*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        raised |= {
            node.args[0].value
            for node in calls
            if isinstance(node.func, ast.Name) and node.func.id == "Alarm" and isinstance(node.args[0], ast.Constant)
        }
    table = NUMBERS.partition("| code | what it means |")[2].partition("\n\n")[0]
    assert raised
    assert raised <= set(re.findall(r"`(\w+)`", table))


@pytest.mark.parametrize("page", PAGES)
def test_output_that_is_cut_from_a_file_is_in_it(page: str) -> None:
    text = PAGES[page].read_text(encoding="utf-8")
    for name, block in re.findall(r"`([\w./]+\.txt)`:\n\n```text\n(.*?)```", text, re.DOTALL):
        assert not_printed(block.splitlines(), (ROOT / name).read_text(encoding="utf-8")) is None
    assert "report.txt`" in NUMBERS


def test_releases_are_dated_and_the_newest_is_this_version() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    titles = re.findall(r"^## (.+)$", changes, re.MULTILINE)
    releases = [re.fullmatch(r"(\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)", title) for title in titles]
    assert all(releases), titles
    dated = [release.groups() for release in releases if release]
    days = [day for _, day in dated]
    assert days == sorted(days, reverse=True)
    version, day = dated[0]
    assert version == manifold_probe.__version__
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", changes, re.MULTILINE)) <= kinds
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], str(citation["date-released"])) == (version, day)


def test_the_readme_is_short() -> None:
    lines = PAGES["README.md"].read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    first_screen = "\n".join(lines[:15])
    assert "make demo" in first_screen
    assert "make test" in first_screen
    tour = commands_of("\n".join(lines), "README.md")
    assert len(tour) >= 10


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    path = PAGES[page]
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        assert "://" not in target, f"{target}: names a host"
        goal = (path.parent / name) if name else path
        assert goal.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", goal.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", each.lower()).strip().replace(" ", "-") for each in headings}, (
                target
            )
