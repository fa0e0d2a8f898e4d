"""The page of a diagnosis: the same style and the same rules as that of a comparison."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP, printed
from manifold_probe.report.diagnosis import words
from manifold_probe.report.figures import draw_diagnosis
from manifold_probe.report.figures.captions import CAPTIONS
from manifold_probe.report.figures.look import PAGE
from manifold_probe.report.figures.save import svg_with_text
from manifold_probe.report.page.colours import style_sheet
from manifold_probe.report.page.embed import escaped, few_rows
from manifold_probe.report.page.page import environment, items, own
from manifold_probe.report.page.svg import inline
from manifold_probe.report.sections import size
from manifold_probe.report.words import one_line, student_name, teacher_name

LISTED = 60  # of the rows, dimensions or classes that a cause concerns
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
        "figure": _svg(drawn, "ladder"),
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


def facts_of(document: dict[str, Any], drawn: dict[str, Any], name: str = "") -> dict[str, Any]:
    """What the macros of ``account.html`` show of a diagnosis, with its figures of those that were ``drawn``; ``name``
    opens the ids in them where a page has several."""
    k = document["settings"]["k"]
    accounts = (("accounting", OVERLAP.named(k)), ("accounting_cka", DEBIASED_CKA.key))
    figures = {f"{each}_figure": _svg(drawn, each, name) for each in ("account", "causes")}
    return {
        **figures,
        **{f"{each}_caption": CAPTIONS[each] for each in ("account", "causes")},
        "accounts": [
            _account(document[account], key, document["measures"][key])
            for account, key in accounts
            if document[account]
        ],
        "held_out": words.held_out(document),
        "causes": [_cause(cause) for cause in document["causes"]],
        "benign": [
            (words.capital(one_line(each["words"])), each["value"], each["note"]) for each in document["benign"]
        ],
    }


def _title(document: dict[str, Any]) -> str:
    teacher = teacher_name(document)
    against = f" {teacher}" if teacher != "teacher" else ""
    return f"Diagnosis of {student_name(document)} against its teacher{against}"


def _account(account: list[dict[str, Any]], key: str, measured: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": printed(key),
        "parts": [
            {
                "words": words.capital(words.part(each["name"]).words),
                "points": words.points(each["share"]),
                "limits": words.limits(each),
                "sentence": one_line(each["sentence"]),
            }
            for each in words.lost(account)
        ],
        "kept": words.points(measured["value"]),
        "limits": words.limits(measured),
        "nothing": ", ".join(words.unlost(account)),
    }


def _cause(cause: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": words.capital(words.words_of(cause)),
        **{name: cause[name] for name in ("name", "status", "share")},
        "explains": words.explains(cause),
        "evidence": words.evidence(cause),
        "proof": words.proof(cause),
        "where": words.where(cause, LISTED),
        "advice": one_line(cause["advice"]),
        "falsified_by": one_line(cause["falsified_by"]),
        "alike": words.alternatives(cause),
        "experiment": words.experiment(cause),
    }


def _step(step: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    return {
        "name": words.capital(words.rung(step["repair"])),
        "measures": [step["measures"].get(key) or {} for key in keys],
    }


def _svg(drawn: dict[str, Any], figure: str, name: str = "") -> Markup | None:
    if figure not in drawn:
        return None
    return inline(svg_with_text(drawn[figure], PAGE), f"{figure}{name}", CAPTIONS[figure])
