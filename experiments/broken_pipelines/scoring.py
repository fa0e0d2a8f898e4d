"""The scores of the answers: named, named as a group, in the right part of the account, undetermined, or wrong."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import sources  # noqa: F401  (puts the planted faults on the path)
from failures import FAILURES
from score import cell, lines_of, share

Row = dict[str, Any]
QUIET = ("Faithful", "Healthy", "No specific fault", "No single fault", "Undetermined")  # no cause is the headline
OUTCOMES = ("named", "group", "accounted", "undetermined", "missed", "wrong", "error")
TABLE = {failure.name: failure for failure in FAILURES}
WAYS = ("alone", "all")


def judged(pair: Row, way: str, answer: Row) -> Row:
    """A row: the failure, the answer, and whether it was right.

    Causes of the student before it was broken ("own") are set aside first.
    """
    failure = TABLE.get(pair["failure"])
    right = frozenset() if failure is None else failure.alone if way == "alone" else failure.all
    set_aside = set(pair["own"] if way == "alone" else pair["own"] + pair["own_trained"]) - right
    causes = [entry for entry in answer.get("causes", []) if entry["name"] not in set_aside | {"diffuse_loss"}]
    parts = () if failure is None else failure.parts
    sound = failure is None or not pair["visible"]
    named_causes = " > ".join("|".join([entry["name"], *entry.get("or", [])]) for entry in causes)
    if not sound and str(answer.get("verdict", "")).startswith(QUIET):  # right causes among the differences count
        causes = [entry for entry in causes + answer.get("benign", []) if entry["name"] in right]
    account = sorted(answer.get("accounting", []), key=lambda entry: -entry["share"])
    return {
        **{key: pair[key] for key in ("id", "half", "failure", "student", "strength", "visible")},
        "way": way,
        "overlap": pair["overlap"],
        "overlap_sound": pair["overlap_sound"],
        "nameable": bool(right),
        "outcome": outcome(sound, causes, account, right, parts, answer),
        "said": named_causes,
        "largest_part": f"{account[0]['name']} {account[0]['share']:.2f}" if account else "",
        "verdict": answer.get("verdict", ""),
        "seconds": answer.get("seconds"),
        "error": answer.get("error", ""),
    }


def outcome(
    sound: bool, causes: list[Row], account: list[Row], right: frozenset[str], parts: tuple[str, ...], answer: Row
) -> str:
    """One of `OUTCOMES`. A sound pair, or an invisible failure, is "undetermined" where no cause is named."""
    if answer.get("error"):
        return "error"
    if causes:
        if causes[0]["name"] in right:
            return "named"
        return "group" if right & set(causes[0].get("or") or []) else "wrong"
    if sound:
        return "undetermined"
    if account and account[0]["name"] in parts:
        return "accounted"
    return "missed" if right else "undetermined"


# ---- shares


def totals(rows: Iterable[Row]) -> dict[str, Row]:
    """The shares with targets, of pairs diagnosed in one way."""
    rows = list(rows)
    broken = [row for row in rows if row["failure"] != "sound" and row["visible"]]
    at_hand = [row for row in broken if row["nameable"]]
    hidden = [row for row in rows if row["failure"] != "sound" and not row["visible"]]
    among: Callable[..., Callable[[Row], bool]] = lambda *names: lambda row: row["outcome"] in names  # noqa: E731
    return {
        "wrong headline": share(broken, among("wrong")),
        "named or its group": share(broken, among("named", "group")),
        "named or its group, where a name is at hand": share(at_hand, among("named", "group")),
        "named or rightly accounted for": share(broken, among("named", "group", "accounted")),
        "the same or acceptably undetermined": share(broken, among("named", "group", "accounted", "undetermined")),
        "sound pairs without a named fault": share([r for r in rows if r["failure"] == "sound"], among("undetermined")),
        "failures that do not show, without a wrong name": share(hidden, among("undetermined", "named", "group")),
        "errors": share(rows, among("error")),
    }


TARGETS = {
    "wrong headline": ("5% at most", "5% at most"),
    "named or its group": ("60%", "85%"),
    "named or rightly accounted for": ("85%", ""),
    "sound pairs without a named fault": ("98%", "98%"),
}


def scores(rows: list[Row]) -> dict[str, dict[str, dict[str, Row]]]:
    """Totals by way and half."""
    by_way: dict[str, dict[str, dict[str, Row]]] = {}
    for way in WAYS:
        of_way = [row for row in rows if row["way"] == way]
        if of_way:
            halves = {half: [row for row in of_way if row["half"] == half] for half in ("reporting", "tuning")}
            by_way[way] = {half: totals(of_half) for half, of_half in halves.items()} | {"both": totals(of_way)}
    return by_way


# ---- files


def write(rows: list[Row], about: Row, out: Path, before: Path) -> None:
    """answers.csv, scores.json, scores.md; ``before``: the scores of an earlier version, shown in one more column."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "answers.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    by_way = scores(rows)
    (out / "scores.json").write_text(json.dumps({**about, "scores": by_way}, indent=1) + "\n", encoding="utf-8")
    earlier = json.loads(before.read_text())["scores"] if before.exists() else {}
    (out / "scores.md").write_text(page(rows, by_way, earlier, about), encoding="utf-8")


TITLES = {"alone": "Features alone", "all": "With all evidence"}


def page(rows: list[Row], by_way: dict[str, Any], earlier: dict[str, Any], about: Row) -> str:
    """The results as Markdown."""
    lines = ["# Broken pipelines", "", "Written by `run.py`; what it means is in [the README](../README.md).", ""]
    lines += [f"- {key}: {value}" for key, value in about.items()] + [""]
    for place, way in enumerate(WAYS):
        if way not in by_way:
            continue
        old = earlier.get(way)
        head = ["", "wanted", "reporting half", "tuning half", "both", *(["both, before"] if old else [])]
        table = [head]
        for key in by_way[way]["both"]:
            cells = [cell(by_way[way][half][key]) for half in ("reporting", "tuning", "both")]
            past = [cell(old["both"][key])] if old else []
            table.append([key, TARGETS.get(key, ("", ""))[place], *cells, *past])
        lines += [f"## {TITLES[way]}", "", *lines_of(table)]
    for way in [way for way in WAYS if way in by_way]:
        of_way = [row for row in rows if row["way"] == way]
        table = [["failure", *OUTCOMES, "do not show"]]
        for name in [*TABLE, "sound"]:
            of_failure = [row for row in of_way if row["failure"] == name]
            seen = [row for row in of_failure if row["visible"]]
            counts = [sum(row["outcome"] == outcome_name for row in seen) for outcome_name in OUTCOMES]
            words = TABLE[name].words if name in TABLE else "sound"
            table.append([words, *(str(count or "") for count in counts), str(len(of_failure) - len(seen) or "")])
        lines += [f"## {TITLES[way]}: how many pairs", "", *lines_of(table)]
    for way in [way for way in WAYS if way in by_way]:
        wrong = [row for row in rows if row["way"] == way and row["outcome"] in ("wrong", "missed", "error")]
        table = [["pair", "overlap, sound", "overlap", "outcome", "said", "largest part of the account"]]
        for row in wrong:
            values = [f"{row['overlap_sound']:.3f}", f"{row['overlap']:.3f}", row["outcome"]]
            table.append([row["id"], *values, row["said"] or row["error"][:80], row["largest_part"]])
        lines += [f"## {TITLES[way]}: what was not right", "", *lines_of(table)]
    return "\n".join(lines).rstrip() + "\n"
