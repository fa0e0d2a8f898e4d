"""The verdict: one honest sentence from overlap, its yardsticks and CKA; and which of several students is ahead."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP
from manifold_probe.report.document import class_word, readings
from manifold_probe.report.records import Reading
from manifold_probe.report.words import degree, neighbours, number, percent, percents, shown, student_name, teacher_name

BROKEN = "misaligned_rows"
# Alarms that say what the numbers before them rest on.
DECIDING = ("same_file", "packed_bits", "copied_rows", "dominating_dimension")
APART = "Not all students were compared together, so who is ahead is not known: give them all to one probe compare."


def verdict(document: dict[str, Any]) -> str:
    """How faithfully the student kept the teacher's manifold, in a sentence, and what that rests on where an alarm
    says so."""
    messages = [alarm["message"] for alarm in document["alarms"] if alarm["code"] in DECIDING]
    return " ".join(
        [_equal_vectors(document) or _sentence(document), *(text[0].upper() + text[1:] for text in messages)]
    )


def copies_decide(document: dict[str, Any]) -> bool:
    """Whether the overlap is that of copies: the distinct rows alone have another, or are too few to have one."""
    messages = [alarm["message"] for alarm in document["alarms"] if alarm["code"] == "copied_rows"]
    return any("copies decide" in message or "too few" in message for message in messages)


def ranking(document: dict[str, Any]) -> str:
    """Whether one student keeps more neighbours than every other, in a sentence; empty for a single student."""
    names = list(document["students"])
    k = document["students"][names[0]]["settings"]["k"]
    if len(names) < 2:
        return ""
    if not paired(document):
        return APART
    first = best(document, OVERLAP.named(k))
    if first is None:
        return "No student clearly keeps more neighbours than every other."
    gaps = [
        row for row in document["differences"] if row["measure"] == OVERLAP.named(k) and first in (row["a"], row["b"])
    ]
    nearest = min(gaps, key=lambda row: abs(row["value"]))
    other = nearest["b"] if nearest["a"] == first else nearest["a"]
    low, high = sorted((abs(nearest["low"]), abs(nearest["high"])))
    return (
        f"{shown(first)} keeps the most neighbours: {100 * abs(nearest['value']):.1f} percentage points more than "
        f"{shown(other)} (95% interval {100 * low:.1f} to {100 * high:.1f})."
    )


def paired(document: dict[str, Any]) -> bool:
    """Whether every two students were compared together, so that their differences are known."""
    known = {frozenset((row["a"], row["b"])) for row in document["differences"]}
    return all(frozenset(two) in known for two in combinations(document["students"], 2))


def best(document: dict[str, Any], key: str) -> str | None:
    """The student ahead of every other one in a measure, where each paired interval excludes zero."""
    names = list(document["students"])
    ahead: dict[str, set[str]] = {name: set() for name in names}
    for row in document["differences"]:
        if row["measure"] == key and row["low"] is not None and row["high"] is not None:
            if row["low"] > 0:
                ahead[row["a"]].add(row["b"])
            elif row["high"] < 0:
                ahead[row["b"]].add(row["a"])
    return next((name for name in names if len(names) > 1 and len(ahead[name]) == len(names) - 1), None)


def _equal_vectors(document: dict[str, Any]) -> str | None:
    """The sentence about a space that holds one vector only, in which nothing can be kept; None where both vary."""
    norms = document["details"].get("norms", {})
    for side, name in (("student", student_name(document)), ("teacher", teacher_name(document))):
        of = norms.get(side, {})
        if of.get("max") == 0 or ("offset" in of and of["offset"] is None):
            what = "zero" if of["max"] == 0 else "equal"
            other = "so nothing of the teacher is kept" if side == "student" else "so there is nothing to keep"
            count = document["pairing"]["rows"]
            return f"{name}: all {count:,} vectors of the {side} are {what}, {other}; check how they were made."
    return None


def _sentence(document: dict[str, Any]) -> str:
    measures = readings(document)
    overlap = measures.get(OVERLAP.named(document["settings"]["k"]))
    cka = measures.get(DEBIASED_CKA.key)
    if overlap is None or overlap.value is None:
        return f"{student_name(document)}: neighbourhoods could not be compared; {_coarse(cka)[1]}."
    head = _numbers(document, overlap, overlap.value)
    # ids that vouch for the pairing leave another reading: the student lost those rows
    if not document["pairing"]["verified"] and any(alarm["code"] == BROKEN for alarm in document["alarms"]):
        return f"{head}: some rows seem to be paired with the wrong partner, so fix that before believing any number."
    if copies_decide(document):
        return f"{head}: that value rests on copies."
    coarse_kept, coarse = _coarse(cka)
    fine_kept, fine = _fine(overlap, overlap.value)
    return f"{head}: {coarse}{', and ' if coarse_kept == fine_kept else ', but '}{fine}."


def _numbers(document: dict[str, Any], overlap: Reading, value: float) -> str:
    context = []
    if overlap.low is not None and overlap.high is not None:
        context.append(f"95% interval {percents(overlap.low, overlap.high)}")
    if overlap.chance is not None:
        context.append(f"chance {percent(overlap.chance)}")
    if overlap.class_chance is not None:
        context.append(f"{class_word(document)} structure alone {percent(overlap.class_chance)}")
    if overlap.reference is not None and overlap.reference < 1:
        context.append(f"a PCA of the teacher to the same width keeps {percent(overlap.reference)}")
    head = f"{student_name(document)} keeps {percent(value)} of each point's {neighbours(document['settings']['k'])}"
    return f"{head} ({'; '.join(context)})" if context else head


def _coarse(cka: Reading | None) -> tuple[bool, str]:
    """Whether the coarse shape is kept, and the clause that says so."""
    if cka is None or cka.value is None:
        return True, "the coarse shape could not be judged"
    steps = ((0.95, "kept"), (0.8, "mostly kept"), (0.5, "kept in part"), (0.2, "mostly lost"))
    words = degree(cka.value, *steps, otherwise="lost")
    return cka.value >= 0.8, f"the coarse shape is {words} (debiased linear CKA {number(cka.value)})"


def _fine(overlap: Reading, value: float) -> tuple[bool, str]:
    """Whether the neighbourhoods are kept: where the overlap lies between what is free and what the width allows."""
    low = value if overlap.low is None else overlap.low
    if overlap.chance is not None and low <= overlap.chance:
        return False, "the neighbourhoods are no better than chance"
    if overlap.class_chance is not None and low <= overlap.class_chance:
        return False, "neighbourhoods hold no more than the classes alone explain"
    if value == 1:
        return True, "all of the fine structure is kept"
    floor = max(overlap.chance or 0, overlap.class_chance or 0)
    ceiling = 1 if overlap.reference is None else max(overlap.reference, floor + 1e-9)
    kept = (value - floor) / (ceiling - floor)
    steps = (
        (0.9, "nearly all of the fine structure is kept"),
        (0.65, "most of the fine structure is kept"),
        (0.4, "about half of the fine structure is kept"),
        (0.1, "most of the fine structure is lost"),
    )
    width = "" if overlap.reference is None or overlap.reference > 0.99 or kept < 0.4 else " that its width allows"
    words = degree(kept, *steps, otherwise="almost all of the fine structure is lost")
    return kept >= 0.65, words.replace("fine structure", f"fine structure{width}")
