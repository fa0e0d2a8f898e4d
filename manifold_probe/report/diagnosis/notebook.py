"""A compact HTML view of a diagnosis for notebooks."""

from __future__ import annotations

from html import escape
from typing import Any

from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP, printed
from manifold_probe.report.diagnosis import words
from manifold_probe.report.words import number, one_line

LEFT = ' style="text-align:left"'
RIGHT = ' style="text-align:right;white-space:nowrap"'


def html_table(document: dict[str, Any]) -> str:
    """The verdict, the accounts, and the causes with what to do. All text is escaped."""
    k = document["settings"]["k"]
    accounts = "".join(
        _account(document[account], key, document["measures"][key])
        for account, key in (("accounting", OVERLAP.named(k)), ("accounting_cka", DEBIASED_CKA.key))
        if document[account]
    )
    causes = "".join(_cause(cause) for cause in document["causes"])
    listed = f"<ol>{causes}</ol>" if causes else ""
    return f"<div><p><strong>{escape(one_line(document['verdict']))}</strong></p>{accounts}{listed}</div>"


def _account(account: list[dict[str, Any]], key: str, measured: dict[str, Any]) -> str:
    """One account as a table; a bar of the page's own colour stands where each part lies between 0 and 1."""
    rows, level = "", 1.0
    for each in words.lost(account):
        level -= each["share"]
        name = escape(words.part(each["name"]).words)
        title = escape(one_line(each["sentence"]))
        cells = f"<td{RIGHT}>-{words.points(each['share'])}</td><td{RIGHT}>{words.limits(each)}</td>"
        rows += f'<tr><th scope="row"{LEFT} title="{title}">{name}</th>{cells}{_bar(level, each["share"])}</tr>'
    value = (
        f"<td{RIGHT}><strong>{words.points(measured['value'])}</strong></td><td{RIGHT}>{words.limits(measured)}</td>"
    )
    rows += f'<tr><th scope="row"{LEFT}>student</th>{value}{_bar(0.0, measured["value"])}</tr>'
    caption = f"Where the loss went: {printed(key)} from 1 to {number(measured['value'])}, in points of 0.01"
    heads = f'<th scope="col"{RIGHT}>points</th><th scope="col"{RIGHT}>95% interval</th><th></th>'
    head = f'<thead><tr><th scope="col"{LEFT}>part</th>{heads}</tr></thead>'
    return f"<table><caption{LEFT}>{escape(caption)}</caption>{head}<tbody>{rows}</tbody></table>"


def _bar(start: float, length: float) -> str:
    style = f"margin-left:{100 * max(start, 0):.2f}%;width:{100 * length:.2f}%;height:0.8em;background:currentColor"
    return f'<td style="min-width:12em"><div style="{style};min-width:1px;opacity:.6"></div></td>'


def _cause(cause: dict[str, Any]) -> str:
    said = [words.standing(cause), words.proof(cause), *words.where(cause), one_line(cause["advice"])]
    return f"<li>{escape(words.words_of(cause))}<br><small>{'<br>'.join(map(escape, said))}</small></li>"
