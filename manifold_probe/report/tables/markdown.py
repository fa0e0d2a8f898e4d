"""A result as a pipe table of GitHub-flavoured Markdown."""

from __future__ import annotations

import re
from typing import Any

from manifold_probe.report.diagnosis import words
from manifold_probe.report.document import students_of
from manifold_probe.report.readings import headline, title
from manifold_probe.report.records import Reading
from manifold_probe.report.tables.rows import (
    distinct,
    facts,
    leaders,
    meanings,
    measured,
    yardsticks,
)
from manifold_probe.report.words import interval, number, shown

MARKUP = re.compile(r"([\\`*_\[\]~|$])")
UNDEFINED = "\N{EN DASH}"
HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def markdown_table(document: dict[str, Any]) -> str:
    """Students down, the main measures across, each with its interval; yardsticks below, and what the marks mean."""
    keys, ahead = headline(document), leaders(document)
    students = measured(document)
    rows = [["student", *(title(key, document) for key in keys)]]
    for label, (name, each) in zip(distinct(shown(name) for name in students), students.items(), strict=True):
        rows.append([escaped(label), *(_cell(each.get(key), ahead.get(key) == name) for key in keys)])
    rows += [[row.label, *(_range(row.values[key]) for key in keys)] for row in yardsticks(document)]
    rows.insert(1, ["---", *("---:" for _ in keys)])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    legend = [escaped(facts(document)), "In brackets: 95% intervals.", *meanings(document)]
    return "\n".join([*lines, "", " ".join(legend), "", *_accounts(document)])


def _accounts(document: dict[str, Any]) -> list[str]:
    """Of students that were diagnosed, what each part of the account lost of overlap; students down, parts across."""
    accounts = _accounts_of(document)
    names = words.rows_of(*accounts.values())
    if not names:
        return []
    rows = [["points lost to", *(words.part(name).words for name in names)], ["---", *("---:" for _ in names)]]
    for label, account in zip(distinct(shown(name) for name in accounts), accounts.values(), strict=True):
        of = {each["name"]: each["share"] for each in account}
        rows.append([escaped(label), *(words.points(of.get(name, 0.0)) for name in names)])
    return [*(f"| {' | '.join(row)} |" for row in rows), ""]


def _accounts_of(document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    accounts = {name: (each.get("diagnosis") or {}).get("accounting") for name, each in students_of(document).items()}
    return {name: account for name, account in accounts.items() if account}


def escaped(text: str) -> str:
    r"""Text that Markdown shows as it is, also in the cell of a table.

    >>> print(escaped("a|b *c* <d> e\\f"))
    a\|b \*c\* &lt;d&gt; e\\f
    """
    return re.sub("[&<>]", lambda match: HTML[match[0]], MARKUP.sub(r"\\\1", text))


def _cell(measure: Reading | None, bold: bool) -> str:
    if measure is None or measure.value is None:
        return UNDEFINED
    value = f"**{number(measure.value)}**" if bold else number(measure.value)
    return value if measure.low is None else f"{value} ({interval(measure.low, measure.high)})"


def _range(values: list[float]) -> str:
    return " to ".join(dict.fromkeys((number(min(values)), number(max(values))))) if values else UNDEFINED
