"""The scores of the answers: confusion, first and second names, false alarms, by everything that was varied.

An answer is a ranked list of names, each with others from which it cannot be distinguished. It is right for a fault
when its name is among the accepted ones, or when it names the group of the fault (its name and, in its "or", an
accepted name are of one group). Causes of the student before anything was planted ("own") are set aside first: they are
neither right nor wrong. A fault that loses neither neighbours nor CKA, such as lost lengths in a weak student, is also
right where it is named among the differences without a loss, after all causes; the page counts these separately. For a
fault that is not visible, and for a weak student without a fault, the right answer is no name.
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
    """A row: the planted faults, the answer, and whether it was right."""
    truth = [frozenset(names) for names in facts["truth"]] if facts["visible"] else []
    everything = frozenset().union(*truth)
    set_aside = set(facts["allowed"]) - everything
    named_causes = [(name, list(others)) for name, others in answer["causes"] if name not in SILENT]
    ranked = [cause for cause in named_causes if cause[0] not in set_aside]
    hits = [[right(cause, names) for names in truth] for cause in ranked]
    wrong = [name for (name, _), hit in zip(ranked, hits, strict=True) if not any(hit)]
    costless = set(facts.get("costless", [])) & set(answer.get("costless", []))
    hits += [[name in names for names in truth] for name in sorted(costless)]
    places = [next((place for place, hit in enumerate(hits) if hit[number]), None) for number in range(len(truth))]
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
        "said": " > ".join("|".join([name, *others]) for name, others in named_causes),
        "first": ranked[0][0] if ranked else NONE,
        "first_right": bool(hits) and any(hits[0]),
        "costless": " ".join(sorted(costless & planted)),
        "in_two": any(any(hit) for hit in hits[:2]),
        "found": sum(place is not None and place < 3 for place in places),
        "wanted": len(truth),
        "wrong": " ".join(wrong),
        "wrong_alarm": any(name not in planted for name in wrong),
        "seconds": answer["seconds"],
        "error": answer.get("error", ""),
    }


def right(cause: tuple[str, list[str]], accepted: frozenset[str]) -> bool:
    """Whether a name, with the alternatives in its "or", is right for a fault."""
    name, others = cause
    return name in accepted or any(name in group and group & accepted & set(others) for group in faults.GROUPS)


# ---- shares


def share(rows: Iterable[Row], holds: Callable[[Row], bool]) -> Row:
    """Number of rows, number for which ``holds`` is true, the share and its interval."""
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
    shares: dict[str, Any] = {}
    for half in dict.fromkeys(row["half"] for row in rows):
        for labelled in (True, False):
            chosen = [row for row in rows if row["half"] == half and row["labels"] == labelled]
            shares[f"{half}, {'with' if labelled else 'without'} labels"] = parts(chosen)
    return shares


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
                name: share([r for r in well if r["planted"] == name], lambda r: r["wrong"])
                for name in healthy.families()
                if name not in healthy.ILL
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
            name: {
                "named first": share(
                    [r for r in ill if r["planted"] == name and r["visible"]], lambda r: r["first_right"]
                ),
                "another name": share([r for r in ill if r["planted"] == name], lambda r: r["wrong"]),
            }
            for name in healthy.ILL
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

    A name that is right because it names the fault's group counts as the fault itself.
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
        named = place if row["first_right"] and place in faults.FAULTS else row["first"]
        table[down.index(place), across.index(named)] += 1
    return down, across, table


# ---- files


def write(rows: list[Row], about: Row, out: Path) -> None:
    """results/: answers.csv, scores.json, scores.md, confusion.png."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "answers.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    shares = summary(rows)
    (out / "scores.json").write_text(json.dumps({**about, "scores": shares}, indent=1) + "\n", encoding="utf-8")
    (out / "scores.md").write_text(page(shares, visibility(rows), about), encoding="utf-8")
    half = "reporting" if any(row["half"] == "reporting" for row in rows) else "tuning"
    draw([row for row in rows if row["half"] == half], f"{half} half, {about['diagnosis']}", out / "confusion.png")


def visibility(rows: list[Row]) -> list[list[str]]:
    """For each fault at each severity, masked or not: the number of visible cases and of all cases."""
    once = {row["id"]: row for row in rows if row["kind"] == "single"}.values()
    table = [["fault", *(f"{severity:g}" for severity in SEVERITIES)]]
    for name in faults.FAULTS:
        cells = [
            [row["visible"] for row in once if row["planted"] == name and row["severity"] == s] for s in SEVERITIES
        ]
        table.append([name, *(f"{sum(cell)} of {len(cell)}" if cell else "" for cell in cells)])
    return table


def cell(counted: Row) -> str:
    """A share as text."""
    if not counted["n"]:
        return ""
    return (
        f"{100 * counted['share']:.0f}% ({100 * counted['low']:.0f} to {100 * counted['high']:.0f}, n = {counted['n']})"
    )


def lines_of(table: list[list[str]]) -> list[str]:
    """A markdown table; the first row is the head."""
    lines = [f"| {' | '.join(row)} |" for row in table]
    return [lines[0], f"|{'---|' * len(table[0])}", *lines[1:], ""]


def page(shares: dict[str, Any], seen: list[list[str]], about: Row) -> str:
    """The results as Markdown."""
    lines = ["# Planted faults", "", "Written by `run.py`; what it means is in [the README](../README.md).", ""]
    lines += [f"- {key}: {value}" for key, value in about.items()] + [""]
    columns = list(shares)
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
            keys = list(shares[columns[0]][part])
            lines += lines_of([head, *([key, *(cell(shares[c][part][key][measure]) for c in columns)] for key in keys)])
    lines += ["## Names where none belongs", ""]
    keys = list(shares[columns[0]]["alarms"])
    lines += lines_of([head, *([key, *(cell(shares[c]["alarms"][key]) for c in columns)] for key in keys)])
    lines += lines_of(
        [
            head,
            ["diagnoses that failed", *(cell(shares[c]["errors"]) for c in columns)],
            ["seconds a diagnosis (median)", *(f"{shares[c]['seconds']:.2f}" for c in columns)],
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
        axis.set_xticks(range(len(across)), [name.replace("_", " ") for name in across], rotation=60, ha="right")
        names = [f"{name.replace('_', ' ')} ({int(n)})" for name, n in zip(down, totals[:, 0], strict=True)]
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
