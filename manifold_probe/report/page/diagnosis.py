"""The page of a diagnosis: the same style and the same rules as that of a comparison."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from manifold_probe.report.diagnosis import words
from manifold_probe.report.diagnosis.lines import AMONG
from manifold_probe.report.diagnosis.verdict import words_of
from manifold_probe.report.figures import ladder
from manifold_probe.report.figures.look import PAGE
from manifold_probe.report.figures.save import svg_with_text
from manifold_probe.report.page.colours import style_sheet
from manifold_probe.report.page.embed import escaped
from manifold_probe.report.page.page import environment, items, own
from manifold_probe.report.page.svg import inline
from manifold_probe.report.sections import size
from manifold_probe.report.words import one_line, student_name, teacher_name

LISTED = 60  # of the rows, dimensions or classes that a cause concerns
KEPT = 100  # of them in the page's JSON
PARTS = (
    ("causes", "Causes", "causes"),
    ("ladder", "The ladder", "ladder"),
    ("benign", "Differences that lose nothing", "benign"),
    ("beside", "Measured beside", "beside"),
    ("left", "Not assessed", "left"),
    ("about", "About this report", "inputs"),
)


def render_diagnosis(document: dict[str, Any]) -> str:
    """The page as text: one file that asks for nothing else, the same bytes for the same document."""
    context = _context(document)
    parts = [(id, text) for id, text, needed in PARTS if context[needed]]
    return environment().get_template("diagnosis.html").render({**context, "parts": parts})


def _context(document: dict[str, Any]) -> dict[str, Any]:
    """Everything that the template names."""
    keys = words.overlap_keys(document)
    return {
        "title": _title(document),
        "css": style_sheet() + Markup(own("page.css")),
        "verdict": document["verdict"],
        "compared": words.compared(document),
        "document": document,
        "causes": [_cause(cause) for cause in document["causes"]],
        "figure": _figure(document),
        "caption": ladder.CAPTION,
        "among": AMONG,
        "keys": keys,
        "ladder": [_step(step, keys) for step in document["ladder"]] if keys else [],
        "benign": [(_capital(words.spaced(each["name"])), each["value"], each["note"]) for each in document["benign"]],
        "beside": words.beside(document),
        "left": [(_capital(words.spaced(each["name"])), each["why"]) for each in document["not_assessed"]],
        "inputs": [
            (_capital(words.spaced(role)), size(document, role, named=False), space)
            for role, space in document["inputs"].items()
        ],
        "facts": [(title, items(document[part])) for title, part in FACTS],
        "json": escaped({**document, "causes": [_short(cause) for cause in document["causes"]]}),
    }


FACTS = (("Pairing", "pairing"), ("Settings", "settings"), ("Made with", "provenance"))


def _title(document: dict[str, Any]) -> str:
    teacher = teacher_name(document)
    against = f" {teacher}" if teacher != "teacher" else ""
    return f"Diagnosis of {student_name(document)} against its teacher{against}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _cause(cause: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": _capital(words_of(cause)),
        "name": cause["name"],
        "confidence": cause["confidence"],
        "share": None if cause["share"] is None else min(max(cause["share"], 0.0), 1.0),
        "evidence": words.evidence(cause),
        "proof": words.proof(cause),
        "where": words.where(cause, LISTED),
        "advice": one_line(cause["advice"]),
        "alike": words.alternatives(cause),
        "experiment": words.experiment(cause),
    }


def _step(step: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    return {"name": _capital(words.rung(step["repair"])), "measures": [step["measures"].get(key) or {} for key in keys]}


def _short(cause: dict[str, Any]) -> dict[str, Any]:
    """The cause with the first of what it concerns."""
    if cause["where"] is None:
        return cause
    cut = {kind: each[:KEPT] if isinstance(each, list) else each for kind, each in cause["where"].items()}
    return {**cause, "where": cut}


def _figure(document: dict[str, Any]) -> Markup | None:
    figure = ladder.draw(document, PAGE)
    return None if figure is None else inline(svg_with_text(figure, PAGE), "ladder", ladder.CAPTION)
