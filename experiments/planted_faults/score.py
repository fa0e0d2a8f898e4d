"""What the answers are worth: confusion, first and second names, false alarms, against everything that was varied.

An answer is a ranked list of names, each with others that it cannot be told apart from. It is right for a fault when
its name is among the accepted ones, or when it stands for the stated group that the fault is of (its name and, in its
"or", an accepted name are of one group). Names that are true of the student before anything was planted ("own") are
set aside first: they are neither right nor wrong. A fault that loses neither neighbours nor CKA, as lost lengths or a
long mean in a weak student may, is also right where it is named among the differences that cost nothing, behind all
causes; the page counts these apart. A fault that is not visible, and a weak student without a fault, are
to be answered with no name at all: the account of the loss says the rest.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import faults
import healthy
import numpy as np

NONE = "no name"
SILENT = {NONE, "", None}
Row = dict[str, Any]


def wilson(right: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95% interval of a share."""
    if n == 0:
        return float("nan"), float("nan")
    share, spread = right / n, z / n * np.sqrt(right * (n - right) / n + z * z / 4)
    middle, whole = share + z * z / (2 * n), 1 + z * z / n
    return max(0.0, float((middle - spread) / whole)), min(1.0, float((middle + spread) / whole))


def judged(case: Row, facts: Row, answer: Row, labelled: bool) -> Row:
    """A tidy row: what was planted, what was said, and how right it was."""
    truth = [frozenset(each) for each in facts["truth"]] if facts["visible"] else []
    everything = frozenset().union(*truth)
    own = set(facts["allowed"]) - everything
    said = [(name, list(others)) for name, others in answer["causes"] if name not in SILENT]
    ranked = [each for each in said if each[0] not in own]
    hits = [[right(each, names) for names in truth] for each in ranked]
    wrong = [name for (name, _), hit in zip(ranked, hits, strict=True) if not any(hit)]
    costless = set(facts.get("costless", [])) & set(answer.get("costless", []))
    hits += [[each in names for names in truth] for each in sorted(costless)]
    found = [next((place for place, hit in enumerate(hits) if hit[number]), None) for number in range(len(truth))]
    planted = {name for names in facts["truth"] for name in names}
    return {
        **{key: case[key] for key in ("id", "half", "kind", "base", "severity", "seed")},
        "planted": " + ".join(case["names"]) or case["family"],
        "masked": case["mask"],
        "labels": labelled,
        "domain": facts["domain"],
        "quality": facts["quality"],
        "overlap_before": facts["overlap_before"],
        "overlap_after": facts["overlap_after"],
        "visible": facts["visible"],
        "said": " > ".join("|".join([name, *others]) for name, others in said),
        "first": ranked[0][0] if ranked else NONE,
        "first_right": bool(hits) and any(hits[0]),
        "costless": " ".join(sorted(costless & planted)),
        "in_two": any(any(hit) for hit in hits[:2]),
        "found": sum(place is not None and place < 3 for place in found),
        "wanted": len(truth),
        "wrong": " ".join(wrong),
        "wrong_alarm": any(name not in planted for name in wrong),
        "seconds": answer["seconds"],
        "error": answer.get("error", ""),
    }


def right(said: tuple[str, list[str]], accepted: frozenset[str]) -> bool:
    """Whether a name, with those that it cannot be told apart from, is right for a fault."""
    name, others = said
    return name in accepted or any(name in group and group & accepted & set(others) for group in faults.GROUPS)


# ---- shares


def share(rows: Iterable[Row], holds: Callable[[Row], bool]) -> Row:
    """How many rows there are, of how many it holds, the share and its interval."""
    rows = list(rows)
    count = sum(bool(holds(row)) for row in rows)
    low, high = wilson(count, len(rows))
    return {
        "n": len(rows),
        "count": count,
        "share": count / len(rows) if rows else float("nan"),
        "low": low,
        "high": high,
    }


def summary(rows: list[Row]) -> dict[str, Any]:
    """All shares of one half, by part, group and measure."""
    found: dict[str, Any] = {}
    for half in dict.fromkeys(row["half"] for row in rows):
        for labelled in (True, False):
            these = [row for row in rows if row["half"] == half and row["labels"] == labelled]
            found[f"{half}, {'with' if labelled else 'without'} labels"] = parts(these)
    return found


def parts(rows: list[Row]) -> dict[str, Any]:
    """The shares of one half, with or without labels."""
    single = [row for row in rows if row["kind"] == "single" and row["visible"]]
    both = [row for row in rows if row["kind"] == "pair" and row["visible"]]
    well = [row for row in rows if row["kind"] == "healthy" and row["planted"] not in healthy.ILL]
    ill = [row for row in rows if row["kind"] == "healthy" and row["planted"] in healthy.ILL]
    hidden = [row for row in rows if row["kind"] == "single" and not row["visible"]]
    return {
        "first name": {
            "good students, plain": first([r for r in single if r["quality"] != "weak" and not r["masked"]]),
            "weak students, plain": first([r for r in single if r["quality"] == "weak" and not r["masked"]]),
            "good students, masked": first([r for r in single if r["quality"] != "weak" and r["masked"]]),
            "weak students, masked": first([r for r in single if r["quality"] == "weak" and r["masked"]]),
            **{f"{key} students": first([r for r in single if r["quality"] == key]) for key in QUALITIES},
            **{f"severity {key:g}": first([r for r in single if r["severity"] == key]) for key in SEVERITIES},
            **{f"{key}": first([r for r in single if r["domain"] == key]) for key in healthy.DOMAINS},
        },
        "each fault": {name: first([r for r in single if r["planted"] == name]) for name in faults.FAULTS},
        "pairs": {
            "all": pairs(both),
            "plain": pairs([r for r in both if not r["masked"]]),
            "masked": pairs([r for r in both if r["masked"]]),
            **{f"{key} students": pairs([r for r in both if r["quality"] == key]) for key in QUALITIES},
            **{f"severity {key:g}": pairs([r for r in both if r["severity"] == key]) for key in SEVERITIES[1:]},
        },
        "alarms": {
            "healthy pairs": share(well, lambda r: r["wrong"]),
            **{
                each: share([r for r in well if r["planted"] == each], lambda r: r["wrong"])
                for each in healthy.families()
                if each not in healthy.ILL
            },
            "invisible faults, a name that is not theirs": share(hidden, lambda r: r["wrong_alarm"]),
            "invisible faults, any name": share(hidden, lambda r: r["wrong"]),
            "a wrong extra cause beside a visible fault": share(
                single + both, lambda r: r["found"] == r["wanted"] and r["wrong"]
            ),
            "any wrong cause beside a visible fault": share(single + both, lambda r: r["wrong"]),
            "a visible fault named among the differences": share(single + both, lambda r: r["costless"]),
        },
        "truly ill": {
            each: {
                "named first": share(
                    [r for r in ill if r["planted"] == each and r["visible"]], lambda r: r["first_right"]
                ),
                "another name": share([r for r in ill if r["planted"] == each], lambda r: r["wrong"]),
            }
            for each in healthy.ILL
        },
        "errors": share(rows, lambda r: r["error"]),
        "seconds": float(np.median([row["seconds"] for row in rows])) if rows else float("nan"),
    }


QUALITIES = ("clean", "imperfect", "weak")
SEVERITIES = (0.3, 0.5, 0.75, 1.0)


def first(rows: list[Row]) -> dict[str, Row]:
    """The right name first, and among the first two."""
    return {"top-1": share(rows, lambda r: r["first_right"]), "top-2": share(rows, lambda r: r["in_two"])}


def pairs(rows: list[Row]) -> dict[str, Row]:
    """Both of two among the first three; one at least; a right name first."""
    return {
        "both": share(rows, lambda r: r["found"] == 2),
        "one": share(rows, lambda r: r["found"] >= 1),
        "first": share(rows, lambda r: r["first_right"]),
    }


def confusion(rows: list[Row]) -> tuple[list[str], list[str], np.ndarray]:
    """How often each name came first (columns) for each visible fault alone, for invisible ones and healthy pairs.

    A name that is right because it stands for the fault's group counts as the fault's own.
    """
    down = [*faults.FAULTS, "invisible fault", "healthy pair"]
    across = [*faults.FAULTS, NONE]
    across += sorted({row["first"] for row in rows if row["kind"] != "pair"} - set(across))
    table = np.zeros((len(down), len(across)), int)
    for row in rows:
        if row["kind"] == "healthy" and row["planted"] not in healthy.ILL:
            place = "healthy pair"
        elif row["kind"] == "single":
            place = row["planted"] if row["visible"] else "invisible fault"
        else:
            continue
        said = place if row["first_right"] and place in faults.FAULTS else row["first"]
        table[down.index(place), across.index(said)] += 1
    return down, across, table


# ---- files


def write(rows: list[Row], about: Row, out: Path) -> None:
    """results/: answers.csv, scores.json, scores.md, confusion.png."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "answers.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    found = summary(rows)
    (out / "scores.json").write_text(json.dumps({**about, "scores": found}, indent=1) + "\n", encoding="utf-8")
    (out / "scores.md").write_text(page(found, visibility(rows), about), encoding="utf-8")
    half = "reporting" if any(row["half"] == "reporting" for row in rows) else "tuning"
    draw([row for row in rows if row["half"] == half], f"{half} half, {about['diagnosis']}", out / "confusion.png")


def visibility(rows: list[Row]) -> list[list[str]]:
    """Of each fault at each severity, unmasked or masked: how many of how many cases are visible."""
    once = {row["id"]: row for row in rows if row["kind"] == "single"}.values()
    table = [["fault", *(f"{each:g}" for each in SEVERITIES)]]
    for name in faults.FAULTS:
        cells = [
            [row["visible"] for row in once if row["planted"] == name and row["severity"] == s] for s in SEVERITIES
        ]
        table.append([name, *(f"{sum(cell)} of {len(cell)}" if cell else "" for cell in cells)])
    return table


def cell(found: Row) -> str:
    """A share to read."""
    if not found["n"]:
        return ""
    return f"{100 * found['share']:.0f}% ({100 * found['low']:.0f} to {100 * found['high']:.0f}, n = {found['n']})"


def lines_of(table: list[list[str]]) -> list[str]:
    """A markdown table; the first row is the head."""
    lines = [f"| {' | '.join(row)} |" for row in table]
    return [lines[0], f"|{'---|' * len(table[0])}", *lines[1:], ""]


def page(found: dict[str, Any], seen: list[list[str]], about: Row) -> str:
    """The results to read."""
    lines = ["# Planted faults", "", "Written by `run.py`; what it means is in [the README](../README.md).", ""]
    lines += [f"- {key}: {value}" for key, value in about.items()] + [""]
    columns = list(found)
    head = ["", *columns]
    titles = {
        "first name": ("The right name", ("top-1", "top-2")),
        "each fault": ("The right name, fault by fault", ("top-1",)),
        "pairs": ("Two faults at once", ("both", "first")),
        "truly ill": ("Pairs whose only fault is known", ("named first", "another name")),
    }
    for part, (title, measures) in titles.items():
        for measure in measures:
            lines += [f"## {title}: {measure}", ""]
            keys = list(found[columns[0]][part])
            lines += lines_of([head, *([key, *(cell(found[c][part][key][measure]) for c in columns)] for key in keys)])
    lines += ["## Names where none belongs", ""]
    keys = list(found[columns[0]]["alarms"])
    lines += lines_of([head, *([key, *(cell(found[c]["alarms"][key]) for c in columns)] for key in keys)])
    lines += lines_of(
        [
            head,
            ["diagnoses that failed", *(cell(found[c]["errors"]) for c in columns)],
            ["seconds a diagnosis (median)", *(f"{found[c]['seconds']:.2f}" for c in columns)],
        ]
    )
    lines += [
        "## What is visible",
        "",
        "Faults alone, by severity, over all bases, plain and masked.",
        "",
        *lines_of(seen),
    ]
    lines += ["![confusion](confusion.png)", ""]
    return "\n".join(lines)


def draw(rows: list[Row], title: str, path: Path) -> None:
    """The confusion matrices with and without labels, side by side: shares of the row, with counts."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(22, 11), sharey=True, layout="constrained")
    for axis, labelled in zip(axes, (True, False), strict=True):
        down, across, table = confusion([row for row in rows if row["labels"] == labelled])
        totals = table.sum(1, keepdims=True)
        shares = np.divide(table, totals, out=np.zeros(table.shape), where=totals > 0)
        image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axis.set_xticks(range(len(across)), [each.replace("_", " ") for each in across], rotation=60, ha="right")
        names = [f"{each.replace('_', ' ')} ({int(n)})" for each, n in zip(down, totals[:, 0], strict=True)]
        axis.set_yticks(range(len(down)), names)
        axis.set_title(f"{'with' if labelled else 'without'} labels", loc="left")
        axis.set_xlabel("named first (its stated group counts as the fault itself)")
        for (row, column), count in np.ndenumerate(table):
            if count:
                shade = "white" if shares[row, column] > 0.6 else "black"
                axis.text(column, row, str(count), ha="center", va="center", color=shade, fontsize=9)
        axis.set_xticks(np.arange(len(across) + 1) - 0.5, minor=True)
        axis.set_yticks(np.arange(len(down) + 1) - 0.5, minor=True)
        axis.grid(which="minor", color="0.9", linewidth=0.6)
        axis.tick_params(which="both", length=0)
        axis.axhline(len(faults.FAULTS) - 0.5, color="0.4", linewidth=1)
        axis.axvline(len(faults.FAULTS) - 0.5, color="0.4", linewidth=1)
    axes[0].set_ylabel("planted (visible cases, one fault alone)")
    figure.colorbar(image, ax=axes, label="share of the row", shrink=0.5)
    figure.suptitle(f"What was named first: {title}", x=0.01, ha="left")
    figure.savefig(path, dpi=80)
    plt.close(figure)
