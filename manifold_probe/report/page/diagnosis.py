"""The page of a diagnosis: the same style and the same rules as that of a comparison."""

from __future__ import annotations

from typing import Any

from manifold_probe.report.diagnosis import words
from manifold_probe.report.page.account import facts_of
from manifold_probe.report.page.embed import escaped, few_rows
from manifold_probe.report.page.page import environment, frame, items
from manifold_probe.report.readings import size
from manifold_probe.report.words import student_name, teacher_name

FACTS = (("Pairing", "pairing"), ("Settings", "settings"), ("Made with", "provenance"))


def render_diagnosis(document: dict[str, Any]) -> str:
    """The page as text: one file that asks for nothing else, the same bytes for the same document."""
    return environment().get_template("diagnosis.html").render(_context(document))


def _context(document: dict[str, Any]) -> dict[str, Any]:
    """Everything that the template names."""
    return {
        "title": _title(document),
        **frame(),
        "several": False,
        "verdict": document["verdict"],
        "compared": words.compared(document),
        "document": document,
        "facts": facts_of(document),
        "also_measured": words.also_measured(document),
        "left": [(words.capital(words.spaced(each["name"])), each["why"]) for each in document["not_assessed"]],
        "inputs": [
            (words.capital(words.spaced(role)), size(document, role, named=False), space)
            for role, space in document["inputs"].items()
        ],
        "origin": [(title, [(item, ()) for item in items(document[part])]) for title, part in FACTS],
        "json": escaped({**document, "causes": few_rows(document["causes"])}),
    }


def _title(document: dict[str, Any]) -> str:
    teacher = teacher_name(document)
    against = f" {teacher}" if teacher != "teacher" else ""
    return f"Diagnosis of {student_name(document)} against its teacher{against}"
