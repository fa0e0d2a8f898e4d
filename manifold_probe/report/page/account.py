"""The account of a student's loss and its causes, as the pages of diagnoses and of comparisons show them."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP, printed
from manifold_probe.report.diagnosis import words
from manifold_probe.report.figures.captions import CAPTIONS
from manifold_probe.report.figures.look import PAGE
from manifold_probe.report.figures.save import svg_with_text
from manifold_probe.report.page.svg import inline
from manifold_probe.report.words import one_line

LISTED = 24  # of the rows, dimensions or classes that a cause concerns


def facts_of(document: dict[str, Any], drawn: dict[str, Any], name: str = "") -> dict[str, Any]:
    """What the macros of ``account.html`` show of a diagnosis, with its figures of those that were ``drawn``; ``name``
    opens the ids in them where a page has several."""
    k = document["settings"]["k"]
    accounts = (("accounting", OVERLAP.named(k)), ("accounting_cka", DEBIASED_CKA.key))
    figures = {f"{each}_figure": svg_of(drawn, each, name) for each in ("account", "causes")}
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


def svg_of(drawn: dict[str, Any], figure: str, name: str = "") -> Markup | None:
    """One of the figures as SVG; None where it was not drawn."""
    if figure not in drawn:
        return None
    return inline(svg_with_text(drawn[figure], PAGE), f"{figure}{name}", CAPTIONS[figure])
