"""What the answers are worth: named, named as a group, in the account under the right part, undetermined, or wrong."""

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
TABLE = {each.name: each for each in FAILURES}
WAYS = ("alone", "all")


def judged(pair: Row, way: str, answer: Row) -> Row:
    """A tidy row: what was wrong, what was said, and how right it was.

    Names that are true of the student before it was broken ("own") are set aside first.
    """
    failure = TABLE.get(pair["failure"])
    right = frozenset() if failure is None else failure.alone if way == "alone" else failure.all
    own = set(pair["own"] if way == "alone" else pair["own"] + pair["own_trained"]) - right
    causes = [each for each in answer.get("causes", []) if each["name"] not in own | {"diffuse_loss"}]
    parts = () if failure is None else failure.parts
    sound = failure is None or not pair["visible"]
    said = " > ".join("|".join([each["name"], *each.get("or", [])]) for each in causes)
    if not sound and str(answer.get("verdict", "")).startswith(QUIET):  # what is found beside counts where it is right
        causes = [each for each in causes + answer.get("benign", []) if each["name"] in right]
    account = sorted(answer.get("accounting", []), key=lambda each: -each["share"])
    return {
        **{key: pair[key] for key in ("id", "half", "failure", "student", "strength", "visible")},
        "way": way,
        "overlap": pair["overlap"],
        "overlap_sound": pair["overlap_sound"],
        "nameable": bool(right),
        "outcome": outcome(sound, causes, account, right, parts, answer),
        "said": said,
        "largest_part": f"{account[0]['name']} {account[0]['share']:.2f}" if account else "",
        "verdict": answer.get("verdict", ""),
        "seconds": answer.get("seconds"),
        "error": answer.get("error", ""),
    }


def outcome(
    sound: bool, causes: list[Row], account: list[Row], right: frozenset[str], parts: tuple[str, ...], answer: Row
) -> str:
    """One of `OUTCOMES`. A sound pair, or a failure that does not show, is "undetermined" where nothing is named."""
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
    """The shares that the targets are about, of pairs asked in one way."""
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
    found: dict[str, dict[str, dict[str, Row]]] = {}
    for way in WAYS:
        asked = [row for row in rows if row["way"] == way]
        if asked:
            halves = {half: [row for row in asked if row["half"] == half] for half in ("reporting", "tuning")}
            found[way] = {half: totals(these) for half, these in halves.items()} | {"both": totals(asked)}
    return found


# ---- files


def write(rows: list[Row], about: Row, out: Path, before: Path) -> None:
    """answers.csv, scores.json, scores.md; ``before``: the scores of an earlier version, shown beside."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "answers.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    found = scores(rows)
    (out / "scores.json").write_text(json.dumps({**about, "scores": found}, indent=1) + "\n", encoding="utf-8")
    earlier = json.loads(before.read_text())["scores"] if before.exists() else {}
    (out / "scores.md").write_text(page(rows, found, earlier, about), encoding="utf-8")


TITLES = {"alone": "Features alone", "all": "With all evidence"}


def page(rows: list[Row], found: dict[str, Any], earlier: dict[str, Any], about: Row) -> str:
    """The results to read."""
    lines = ["# Broken pipelines", "", "Written by `run.py`; what it means is in [the README](../README.md).", ""]
    lines += [f"- {key}: {value}" for key, value in about.items()] + [""]
    for place, way in enumerate(WAYS):
        if way not in found:
            continue
        old = earlier.get(way)
        head = ["", "wanted", "reporting half", "tuning half", "both", *(["both, before"] if old else [])]
        table = [head]
        for key in found[way]["both"]:
            cells = [cell(found[way][half][key]) for half in ("reporting", "tuning", "both")]
            past = [cell(old["both"][key])] if old else []
            table.append([key, TARGETS.get(key, ("", ""))[place], *cells, *past])
        lines += [f"## {TITLES[way]}", "", *lines_of(table)]
    for way in [way for way in WAYS if way in found]:
        asked = [row for row in rows if row["way"] == way]
        table = [["failure", *OUTCOMES, "do not show"]]
        for name in [*TABLE, "sound"]:
            these = [row for row in asked if row["failure"] == name]
            seen = [row for row in these if row["visible"]]
            counts = [sum(row["outcome"] == each for row in seen) for each in OUTCOMES]
            words = TABLE[name].words if name in TABLE else "sound"
            table.append([words, *(str(count or "") for count in counts), str(len(these) - len(seen) or "")])
        lines += [f"## {TITLES[way]}: how many pairs", "", *lines_of(table)]
    for way in [way for way in WAYS if way in found]:
        wrong = [row for row in rows if row["way"] == way and row["outcome"] in ("wrong", "missed", "error")]
        table = [["pair", "overlap, sound", "overlap", "outcome", "said", "largest part of the account"]]
        for row in wrong:
            values = [f"{row['overlap_sound']:.3f}", f"{row['overlap']:.3f}", row["outcome"]]
            table.append([row["id"], *values, row["said"] or row["error"][:80], row["largest_part"]])
        lines += [f"## {TITLES[way]}: what was not right", "", *lines_of(table)]
    return "\n".join(lines).rstrip() + "\n"
