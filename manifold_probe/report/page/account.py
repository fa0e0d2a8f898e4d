"""The account of a student's loss, its causes and its corrections, as the pages of diagnoses and of comparisons show
them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP, printed
from manifold_probe.report.diagnosis import words
from manifold_probe.report.page.strips import SHARES
from manifold_probe.report.words import one_line

LISTED = 24  # of the rows, dimensions or classes that a cause concerns


@dataclass(frozen=True)
class Bar:
    """A bar from ``start`` over ``width``, with an interval where it is known; all in percent of the axis from 0 to 1.

    ``before`` and ``healthy`` are marks: the measure before a repair, and what the same does to a sound pair.
    """

    start: float
    width: float
    low: float | None = None
    high: float | None = None
    before: float | None = None
    healthy: float | None = None


def facts_of(document: dict[str, Any]) -> dict[str, Any]:
    """What the macros of ``account.html`` show of a diagnosis."""
    k = document["settings"]["k"]
    accounts = (("accounting", OVERLAP.named(k)), ("accounting_cka", DEBIASED_CKA.key))
    keys = words.overlap_keys(document)
    return {
        "accounts": [
            _account(document[account], key, document["measures"][key])
            for account, key in accounts
            if document[account]
        ],
        "held_out": words.held_out(document),
        "causes": [_cause(cause) for cause in document["causes"]],
        "heads": [printed(key.removeprefix(words.HELD_OUT)) for key in keys],
        "ladder": [_step(step, keys) for step in document["ladder"]] if keys else [],
        "benign": [
            (words.capital(one_line(harmless["words"])), harmless["value"], harmless["note"])
            for harmless in document["benign"]
        ],
    }


def _account(account: list[dict[str, Any]], key: str, measured: dict[str, Any]) -> dict[str, Any]:
    parts, left = [], 1.0
    for part in words.lost(account):
        left -= part["share"]
        parts.append(
            {
                "words": words.capital(words.part(part["name"]).words),
                "points": words.points(-part["share"]),
                "limits": words.limits_of_loss(part),
                "sentence": one_line(part["sentence"]),
                "bar": _bar(left, left + part["share"]),
            }
        )
    return {
        "title": printed(key),
        "parts": parts,
        "kept": words.points(measured["value"]),
        "limits": words.limits(measured),
        "bar": _bar(0.0, measured["value"]),
        "nothing": ", ".join(words.unlost(account)),
    }


def _bar(start: float, end: float, **marks: float | None) -> Bar:
    first, last = SHARES.place(min(start, end)), SHARES.place(max(start, end))
    places = {name: None if value is None else SHARES.place(value) for name, value in marks.items()}
    return Bar(first, round(last - first, 2), **places)


def _step(step: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    measures = [step["measures"].get(key) or {} for key in keys]
    value = measures[0].get("value")
    return {
        "name": words.capital(words.rung(step["repair"])),
        "measures": measures,
        "bar": None if value is None else _bar(0.0, value, low=measures[0].get("low"), high=measures[0].get("high")),
    }


def _cause(cause: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": words.capital(words.words_of(cause)),
        **{name: cause[name] for name in ("name", "status", "share")},
        "explains": words.explains(cause),
        "evidence": words.evidence(cause),
        "proof": words.proof(cause),
        "trial": _trial(cause["repair"]),
        "where": words.where(cause, LISTED),
        "advice": one_line(cause["advice"]),
        "falsified_by": one_line(cause["falsified_by"]),
        "alike": words.alternatives(cause),
        "experiment": words.experiment(cause),
    }


def _trial(repair: dict[str, Any] | None) -> Bar | None:
    """The measure of a repair from before to after it; None where nothing was tried."""
    if repair is None or repair["before"] is None or repair["after"] is None:
        return None
    gain = repair.get("healthy_gain")
    marks = {"before": repair["before"], "healthy": None if gain is None else repair["before"] + gain}
    return _bar(repair["before"], repair["after"], low=repair["low"], high=repair["high"], **marks)
