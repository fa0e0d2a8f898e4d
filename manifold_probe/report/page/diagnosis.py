"""The page of a diagnosis: the same style and the same rules as that of a comparison."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from manifold_probe.measures.catalogue import printed
from manifold_probe.report.diagnosis import words
from manifold_probe.report.figures import draw_diagnosis
from manifold_probe.report.figures.captions import CAPTIONS
from manifold_probe.report.figures.look import PAGE
from manifold_probe.report.page.account import facts_of, svg_of
from manifold_probe.report.page.colours import style_sheet
from manifold_probe.report.page.embed import escaped, few_rows
from manifold_probe.report.page.page import environment, items, own
from manifold_probe.report.sections import size
from manifold_probe.report.words import student_name, teacher_name

PARTS = (
    ("account", "Where the loss went", "accounts"),
    ("causes", "Causes", "causes"),
    ("ladder", "Corrections", "ladder"),
    ("benign", "Differences that lose nothing", "benign"),
    ("beside", "Measured beside", "beside"),
    ("left", "Not assessed", "left"),
    ("about", "About this report", "inputs"),
)
FACTS = (("Pairing", "pairing"), ("Settings", "settings"), ("Made with", "provenance"))


def render_diagnosis(document: dict[str, Any]) -> str:
    """The page as text: one file that asks for nothing else, the same bytes for the same document."""
    context = _context(document)
    parts = [(id, text) for id, text, needed in PARTS if context[needed]]
    return environment().get_template("diagnosis.html").render({**context, "parts": parts})


def _context(document: dict[str, Any]) -> dict[str, Any]:
    """Everything that the template names."""
    keys = words.overlap_keys(document)
    drawn = draw_diagnosis(document, PAGE)
    facts = facts_of(document, drawn)
    return {
        "title": _title(document),
        "css": style_sheet() + Markup(own("page.css")),
        "verdict": document["verdict"],
        "compared": words.compared(document),
        "document": document,
        "facts": facts,
        **{name: facts[name] for name in ("accounts", "causes", "benign")},
        "figure": svg_of(drawn, "ladder"),
        "caption": CAPTIONS["ladder"],
        "heads": [printed(key.removeprefix(words.HELD_OUT)) for key in keys],
        "ladder": [_step(step, keys) for step in document["ladder"]] if keys else [],
        "beside": words.beside(document),
        "left": [(words.capital(words.spaced(each["name"])), each["why"]) for each in document["not_assessed"]],
        "inputs": [
            (words.capital(words.spaced(role)), size(document, role, named=False), space)
            for role, space in document["inputs"].items()
        ],
        "origin": [(title, items(document[part])) for title, part in FACTS],
        "json": escaped({**document, "causes": few_rows(document["causes"])}),
    }


def _title(document: dict[str, Any]) -> str:
    teacher = teacher_name(document)
    against = f" {teacher}" if teacher != "teacher" else ""
    return f"Diagnosis of {student_name(document)} against its teacher{against}"


def _step(step: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    return {
        "name": words.capital(words.rung(step["repair"])),
        "measures": [step["measures"].get(key) or {} for key in keys],
    }
