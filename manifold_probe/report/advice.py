"""What to do next: concrete steps that follow from the alarms and the measures."""

from __future__ import annotations

from typing import Any

from manifold_probe.report.document import Reading, readings
from manifold_probe.report.words import number, percent, shown

MISPAIRED = (
    "Check which rows belong together before anything else: the neighbourhoods are at chance, which is what wrongly "
    "paired rows look like, and no ids vouch for the pairing."
)
# The most urgent first.
FOR_ALARM = {
    "misaligned_rows": "Find where the row order of the two files parts; store ids in both and pair by them.",
    "packed_bits": "Unpack the bits (FILE::KEY?bits) before anything else: bytes of bits are no coordinates.",
    "collapsed_rank": "The space uses few of its dimensions: add variance, or a loss that sees more than directions.",
    "influential_rows": "Look at the few rows that carry the covariance; compare CKA with and without them.",
    "no_better_than_untrained": "Train longer, or with another learning rate or method: so far nothing was won.",
    "unverified_targets": "Train again on a teacher whose rows have ids: nothing vouches for the targets of this run.",
    "trained_rows": "Compare rows that were held out of training too: these say how well the student remembers.",
    "zero_vectors": "Look at the inputs of the zero vectors: they are often blank images or empty texts.",
    "constant_rows": "Look at the rows that hold one value in every dimension: they carry no direction.",
    "duplicate_rows": "Drop the duplicate rows: copies are each other's neighbours and make overlap easy.",
    "dead_dimensions": "See why some dimensions never change (a dead activation, a masked head) or drop them.",
    "float16_range": "Save the features as float32: values at the edge of float16's range are cut off.",
    "common_offset": "Subtract the mean before comparing angles: a shared offset hides the differences.",
    "hubs": "A few points are everyone's neighbour: centre the features, or use fewer neighbours to see past them.",
    "few_rows": "Use more rows: the intervals are wide and chance is high.",
}
CONSTANT = (
    "Find out why every input gives the same vector: a dead layer, a wrong output, or weights that were not loaded. "
    "Until then no measure means anything."
)
UNVERIFIED = "Store ids in both files, or give --teacher-ids and --student-ids, to verify the pairing."
VERIFIED_BLOCK = "Look at the rows of the block: if their ids are right, the student lost them; else fix the ids."


def next_steps(document: dict[str, Any]) -> list[str]:
    """Sentences, the most urgent first."""
    codes = {alarm["code"] for alarm in document["alarms"]}
    if "constant_space" in codes:
        return [CONSTANT]
    verified, k = document["pairing"]["verified"], document["settings"]["k"]
    steps = [step for code, step in FOR_ALARM.items() if code in codes]
    if verified and "misaligned_rows" in codes:
        steps[0] = VERIFIED_BLOCK
    measures = {key: each for key, each in readings(document).items() if each.value is not None}
    overlap = measures.get(f"overlap@{k}")
    if overlap is not None and _at_chance(overlap) and not verified and "collapsed_rank" not in codes:
        steps.insert(0, MISPAIRED)
    else:
        steps += [*_from_measures(measures, k), *_from_classes(document), *_from_rows(document)]
    if "unverified_pairing" in codes:
        steps.append(UNVERIFIED)
    if document["settings"].get("classes") != "labels":
        steps.append("Give --labels FILE to see which classes suffer.")
    return steps


def _at_chance(overlap: Reading) -> bool:
    """Whether neighbours survive no better than in rows paired at random, all over or within classes."""
    low = overlap.value if overlap.low is None else overlap.low
    return low is not None and low <= max(overlap.chance or 0, overlap.class_chance or 0)


def _from_measures(measures: dict[str, Reading], k: int) -> list[str]:
    def value(key: str) -> float:
        found = measures.get(key)
        return float("nan") if found is None or found.value is None else found.value

    steps = []
    overlap, r2 = value(f"overlap@{k}"), value("linear_r2")
    raw, mapped = value("per_dimension_correlation"), value("per_dimension_correlation:ridge")
    if r2 >= 0.9 and overlap < 0.7 and not mapped - raw < 0.05:
        steps.append(
            f"Try a linear map from student to teacher: it predicts {percent(r2)} of the teacher's variance, so "
            "much of what looks lost is still there."
        )
    turned = value("per_dimension_correlation:orthogonal")
    if turned - raw > 0.2:
        steps.append(
            f"Align the student by a rotation before using coordinates as they are: it lifts their median correlation "
            f"from {number(raw)} to {number(turned)}."
        )
    if value("norm_correlation") < 0.8:
        steps.append(
            f"Check whether vector lengths matter to you: the student's do not follow the teacher's closely "
            f"({number(value('norm_correlation'))}), which a cosine loss cannot see; one on columns or norms can."
        )
    found = measures.get(f"overlap@{k}")
    floor = None if found is None else found.class_chance
    if found is not None and floor is not None and floor > 2 * (found.chance or 0) and overlap < 2 * floor:
        steps.append("Train on neighbours within a class: what survives is little more than the classes themselves.")
    return steps


def _from_classes(document: dict[str, Any]) -> list[str]:
    rows = [row for row in document["details"].get("per_class") or [] if row.get("overlap") is not None]
    overlaps = sorted(row["overlap"] for row in rows)
    if len(rows) < 3:
        return []
    worst, middle = min(rows, key=lambda row: row["overlap"]), overlaps[len(overlaps) // 2]
    if worst["overlap"] >= 0.75 * middle or (worst.get("high") or 0) >= middle:
        return []
    name = shown(worst["class"])
    kind = "cluster" if document["settings"].get("classes") == "k-means" else "class"
    return [f"Look at {kind} {name}: it keeps {percent(worst['overlap'])}, the median {kind} {percent(middle)}."]


def _from_rows(document: dict[str, Any]) -> list[str]:
    rows = [row for row in document["details"].get("worst_rows") or [] if (row.get("overlap") or 0) < 0.5][:8]
    if not rows:
        return []
    named = rows[0].get("id") is not None
    names = ", ".join(shown(row["id"] if named else row["row"], 24) for row in rows)
    return [f"Look at the points that lost most of their neighbours, such as {'ids' if named else 'rows'} {names}."]
