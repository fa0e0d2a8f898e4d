"""A diagnosis as GitHub-flavoured Markdown: the verdict, the account and the causes, to be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manifold_probe.errors import InputError
from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP, printed
from manifold_probe.report.diagnosis import words
from manifold_probe.report.tables.markdown import escaped
from manifold_probe.report.words import number, one_line

SUFFIXES = (".csv", ".parquet", ".md")


def check_table(path: str, option: str = "table") -> None:
    """Refuse a name that says none of the kinds of table. Raises InputError naming the option."""
    if Path(path).suffix.lower() not in SUFFIXES:
        kinds = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        raise InputError(f"{option}: {path}: a diagnosis is written as {kinds}; choose such a name")


def markdown(document: dict[str, Any]) -> str:
    """The text of the file."""
    lines = [f"**{escaped(one_line(document['verdict']))}**", ""]
    k = document["settings"]["k"]
    for account, key in (("accounting", OVERLAP.named(k)), ("accounting_cka", DEBIASED_CKA.key)):
        if document[account]:
            lines += [*account_table(document[account], key, document["measures"][key]["value"]), ""]
    if document["causes"]:
        rows = [["cause", "status", "proof", "what to do"]]
        rows += [
            [words.capital(words.words_of(cause)), words.standing(cause), words.proof(cause), one_line(cause["advice"])]
            for cause in document["causes"]
        ]
        lines += [*table(rows, "-" * 4), ""]
    return "\n".join(lines)


def account_table(account: list[dict[str, Any]], key: str, value: float) -> list[str]:
    """The parts of an account that lost something, in points, down to the student."""
    rows = [[f"{printed(key)}, in points of 0.01", "lost", "95% interval", "what would win it back"]]
    rows += [
        [words.part(each["name"]).words, words.points(each["share"]), words.limits(each), one_line(each["sentence"])]
        for each in words.lost(account)
    ]
    rows.append(["student", f"{number(100 * value)} kept", "", ""])
    return table(rows, "-::-")


def table(rows: list[list[str]], aligned: str) -> list[str]:
    """A pipe table; ``aligned`` has a colon for every column of numbers."""
    rule = ["---:" if sign == ":" else "---" for sign in aligned]
    cells = [[escaped(cell) for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in [cells[0], rule, *cells[1:]]]
