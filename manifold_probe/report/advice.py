"""What to do next: the steps that follow from one student's numbers, those that win most first, and none where nothing
is to be won.

What a step wins is a share of 1: neighbours that could be kept, or a correlation that a map lifts. Alarms that say the
numbers cannot be believed come before all of these; what touches few rows or dimensions is left to the alarms.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from manifold_probe.measures.catalogue import (
    LINEAR_R2,
    MAPPED,
    NORM_CORRELATION,
    OVERLAP,
    OVERLAP_EUCLIDEAN,
    PER_DIMENSION,
    ROTATED,
)
from manifold_probe.report.diagnosis.verdict import explaining
from manifold_probe.report.document import class_word, classes_of, readings
from manifold_probe.report.records import Reading
from manifold_probe.report.verdict import copies_decide
from manifold_probe.report.words import number, one_line, percent, shown

Step = tuple[float, str]  # (what it wins, the sentence)
WORTH = 0.02  # a step that wins less is not named
FIRST = math.inf
MISPAIRED = (
    "Check which rows belong together before anything else: the neighbourhoods are near chance, which is what wrongly "
    "paired rows look like, and no ids vouch for the pairing. probe diagnose of this pair tries the usual orders (a "
    "shift, text order, ranks) and names the one that fits."
)
CONSTANT = (
    "Find out why every input gives the same vector: a dead layer, a wrong output, or weights that were not loaded. "
    "Until then no measure means anything."
)
UNVERIFIED_BLOCK = (
    "Find where the row orders of the two files begin to differ; store ids in both files and pair by them."
)
VERIFIED_BLOCK = (
    "Check the ids of the rows in the block: if they are right, the student lost these rows; if not, correct them."
)
DISTINCT = "Compare the distinct rows alone: copies of rows decide these numbers."
UNVERIFIED = "Store ids in both files, or give --teacher-ids and --student-ids, to verify the pairing."
AT_CHANCE = (
    "First check that the student's weights were loaded and its inputs prepared as in training: neighbourhoods are no "
    "better than chance"
)
BY_ID = ", though rows are paired by id. If both are right, see that its ids name the right rows."
LABELS = "Give --labels FILE to see which classes suffer."
# Alarms that say that the numbers mean something else, the most urgent first.
UNBELIEVABLE = {
    "same_file": "Give the student's file: both sides hold the same rows.",
    "packed_bits": "Unpack the side that holds packed bits, as FILE::key?bits: its numbers are no coordinates.",
    "unverified_targets": "Train again on a teacher whose rows have ids: nothing vouches for the targets of this run.",
    "leaked_rows": "Leave out the test rows that are also in the bank: they find themselves.",
    "dominating_dimension": "Look at the dimension that decides the values: drop it if it is no feature, or bring "
    "every dimension to unit deviation.",
    "influential_rows": "Look at the few rows that carry the covariance; compare CKA with and without them.",
}
# Alarms of what lowers the overlap: the step, and the most that it may bring back of what is lost.
LOWERING = {
    "common_offset": ("Subtract the mean before comparing angles: a shared offset hides the differences.", 0.9),
    "collapsed_rank": (
        "Bring more directions into use: a variance or decorrelation term, or a loss that sees more than directions.",
        0.8,
    ),
    "hubs": (
        "Reduce hubness (one point is a neighbour of very many): centre the features, or use a hubness correction.",
        0.3,
    ),
    "float16_range": ("Save the features as float32: values at the edge of float16's range are cut off.", 0.3),
    "zero_vectors": ("Look at the inputs of the zero vectors: they have no direction and no neighbours.", 1.0),
    "constant_rows": ("Look at the rows that hold one value in every dimension: they carry no direction.", 1.0),
    "dead_dimensions": ("Find out why dimensions never change (a dead activation, a masked head), or drop them.", 1.0),
}
OF_ROWS = {"zero_vectors", "constant_rows"}
DECIDING = {"common_offset", "dominating_dimension", "influential_rows"}
# Alarms of what the numbers of a sample are worth, for every student.
ALWAYS = {
    "duplicate_rows": "Drop the duplicate rows: copies are each other's neighbours and make overlap easy.",
    "heavy_tails": "Trust the neighbour measures more than CKA, Procrustes and R2, which a few far rows decide.",
    "few_rows": "Use more rows: the intervals are wide and chance is high.",
    "trained_rows": "Compare rows that were held out of training too: these say how well the student remembers.",
    "one_sided_normalisation": "Bring both sides to unit length, or neither: lengths and Euclidean distances compare "
    "different things.",
}
CLASS_GAP = 0.05  # of a class's overlap below the median class's, to be named
LITTLE_MORE = 1.25  # times what classes give: "little more than the classes themselves"
MANY = 0.05  # share of dimensions or copies below which an alarm is no step
MOST_ROWS = 5
MOST_CAUSES = 3


def next_steps(document: dict[str, Any]) -> list[str]:
    """Sentences, the one that wins most first; none for a faithful student. Of one that was diagnosed, what its causes
    ask for, where any explains something."""
    codes = {alarm["code"] for alarm in document["alarms"]}
    if "constant_space" in codes:
        return [CONSTANT]
    verified, k = document["pairing"]["verified"], document["settings"]["k"]
    measures = {key: measure for key, measure in readings(document).items() if measure.value is not None}
    if document.get("diagnosis") and (causes := explaining(document["diagnosis"]["causes"])):
        return [one_line(cause["advice"]) for cause in causes[:MOST_CAUSES]]
    overlap = measures.get(OVERLAP.named(k))
    if overlap is not None and _near_chance(overlap) and not verified and "collapsed_rank" not in codes:
        return [MISPAIRED]
    if "misaligned_rows" in codes and not verified:
        return [UNVERIFIED_BLOCK]
    if "same_file" in codes:
        return [UNBELIEVABLE["same_file"]]
    specific = [*_of_alarms(document, measures, k), *_of_map(measures, k), *_of_classes(document)]
    won = sum(gain for gain, _ in specific if gain < FIRST)
    steps = [
        *specific,
        *_of_training(document, measures, k, won),
        *_of_rotation(measures),
        *_of_lengths(document, measures, k),
        *_of_rows(document, measures, k),
        *_of_what_is_missing(document, measures, k),
    ]
    steps = [step for step in steps if step[0] >= WORTH]
    return [text for _, text in sorted(steps, key=lambda step: -step[0])]


def _at_chance(overlap: Reading) -> bool:
    """Whether neighbours survive no better than in rows paired at random, all over or within classes."""
    low = overlap.value if overlap.low is None else overlap.low
    return low is not None and low <= max(overlap.chance or 0, overlap.class_chance or 0)


def _near_chance(overlap: Reading) -> bool:
    """At chance, or not far above it, as where neighbouring rows of a file are alike and it is shifted."""
    return _at_chance(overlap) or (overlap.value or 0.0) < 3 * (overlap.chance or 0.0)


def _value(measures: dict[str, Reading], key: str) -> float:
    measure = measures.get(key)
    return float("nan") if measure is None or measure.value is None else measure.value


def _lost(measures: dict[str, Reading], k: int) -> float:
    """Share of neighbours that are lost, 1 where it is not known."""
    kept = _value(measures, OVERLAP.named(k))
    return 1.0 if math.isnan(kept) else 1 - kept


def _of_alarms(document: dict[str, Any], measures: dict[str, Reading], k: int) -> Iterator[Step]:
    raised: dict[str, float] = {}
    for alarm in document["alarms"]:
        raised[alarm["code"]] = max(_share(alarm["message"]), raised.get(alarm["code"], 0.0))
    if "misaligned_rows" in raised:
        yield FIRST, VERIFIED_BLOCK
    if copies_decide(document):
        yield FIRST, DISTINCT
        raised.pop("duplicate_rows", None)
    for code, text in UNBELIEVABLE.items():
        if code in raised:
            yield FIRST, text
    if raised.keys() & DECIDING or _is_linear_image(measures, k):
        raised.pop("collapsed_rank", None)  # what they name is the one direction in use, or none is missing
    lost = _lost(measures, k)
    for code, (text, most) in LOWERING.items():
        if code in OF_ROWS and code in raised:
            yield min(2 * raised[code], lost), text  # they keep nothing, and others lack them as neighbours
        elif raised.get(code, 0.0) >= MANY:
            yield min(most, raised[code]) * lost, text
    for code, text in ALWAYS.items():
        if raised.get(code, 0.0) >= MANY:
            yield (0.3 if code == "duplicate_rows" else WORTH), text


def _share(message: str) -> float:
    """The share of an alarm that counts ("12 of 80 rows"); 1 where it does not count.

    >>> _share("teacher: 2 of 1,280 dimensions are constant (0, 1)."), _share("the mean is 4 times as long")
    (0.0015625, 1.0)
    """
    counts = re.search(r"([\d,]+) of ([\d,]+) ", message)
    if counts is None:
        return 1.0
    part, whole = (float(count.replace(",", "") or "nan") for count in counts.groups())
    return part / whole if whole > 0 else 1.0


def _of_training(document: dict[str, Any], measures: dict[str, Reading], k: int, won: float) -> Iterator[Step]:
    """What training may win: the neighbours between what is kept and what the width allows, without those ``won`` by
    other steps."""
    overlap, kept = measures.get(OVERLAP.named(k)), _value(measures, OVERLAP.named(k))
    if overlap is None or math.isnan(kept):
        return
    reference, chance, floor = overlap.reference or 0.0, overlap.chance or 0.0, overlap.class_chance or 0.0
    if _at_chance(overlap) and kept < 2 * chance:
        yield FIRST, AT_CHANCE + (BY_ID if document["pairing"]["verified"] else ".")
        return
    codes = {alarm["code"] for alarm in document["alarms"]}
    if "misaligned_rows" in codes or _is_linear_image(measures, k):  # the rows, or a map, come before all training
        return
    possible = reference - kept - won
    width = document["inputs"]["student"]["shape"][1]
    allows = f"{percent(kept)} of neighbours are kept"
    if width < document["inputs"]["teacher"]["shape"][1]:
        allows += f", where a PCA of the teacher to {width:,} dimensions keeps {percent(reference)}"
    if "no_better_than_untrained" in codes:
        text = "Train longer, or with another learning rate or method: training has gained no neighbours so far"
        yield FIRST, f"{text}; {allows}." if possible >= 0.05 else f"{text}."
        return
    if possible < 0.05:
        if 0 < reference <= 0.9 and 0.7 * reference <= kept <= reference + 0.05:
            yield 1 - reference, f"Give the student more dimensions if it must keep more: {allows} itself."
        return
    if floor > 2 * chance and kept < LITTLE_MORE * floor:
        kind = "clusters" if class_word(document) == "cluster" else "classes"
        text = f"Train on neighbours within {kind}: what survives is little more than the {kind} themselves give"
        yield possible, f"{text} ({percent(floor)}); {allows}."
    else:
        method = document["inputs"]["student"].get("method")
        longer = f"Train longer than this run of {method} did" if method else "Train longer"
        yield possible, f"{longer}, on more data, with a larger student or a loss that sees neighbours: {allows}."


def _of_rotation(measures: dict[str, Reading]) -> Iterator[Step]:
    """What a rotation lifts, where the widths agree."""
    raw = _value(measures, PER_DIMENSION.key)
    turned = _value(measures, ROTATED.key)
    if turned - raw > 0.2:
        yield (
            turned - raw,
            "Align the student by a rotation before you use its coordinates next to the teacher's (in one index, say): "
            f"that lifts the median correlation from {number(raw)} to {number(turned)}.",
        )


def _of_map(measures: dict[str, Reading], k: int) -> Iterator[Step]:
    """What a linear map brings back: coordinates that it lifts, or nearly all of the variance where none is lifted."""
    raw, mapped = (_value(measures, measure.key) for measure in (PER_DIMENSION, MAPPED))
    r2, kept = _value(measures, LINEAR_R2.key), _value(measures, OVERLAP.named(k))
    if r2 >= 0.9 and kept < 0.7 and (not mapped - raw < 0.05 or _is_linear_image(measures, k)):
        yield (
            0.8 * (r2 - kept),  # a guess: variance is not neighbours
            f"Try a linear map from student to teacher (probe diagnose --save-repair): it predicts {percent(r2)} of "
            f"the teacher's variance, where {percent(kept)} of neighbours are kept.",
        )


def _is_linear_image(measures: dict[str, Reading], k: int) -> bool:
    """Whether a linear map holds nearly all of the teacher, and neighbours are lost all the same."""
    return _value(measures, LINEAR_R2.key) >= 0.98 and _value(measures, OVERLAP.named(k)) < 0.7


def _of_lengths(document: dict[str, Any], measures: dict[str, Reading], k: int) -> Iterator[Step]:
    """What lengths that follow the teacher's would win by Euclidean distance."""
    follows = _value(measures, NORM_CORRELATION.key)
    explained = {"one_sided_normalisation", "dominating_dimension"}
    if not follows < 0.8 or any(alarm["code"] in explained for alarm in document["alarms"]):
        return
    kept, seen = _value(measures, OVERLAP.named(k)), _value(measures, OVERLAP_EUCLIDEAN.named(k))
    yield (
        max(kept - seen, 0.0),
        f"Check whether vector lengths matter: they hardly follow the teacher's (correlation {number(follows)}). "
        f"By Euclidean distance {percent(seen)} of neighbours are kept, by angle {percent(kept)}; "
        f"{_loss_of_lengths(document['inputs']['student'].get('method'))}.",
    )


def _loss_of_lengths(name: str | None) -> str:
    """What can teach lengths, and whether the loss that the student was trained with could."""
    teaches = "SP, RKD, CoSS's space term, or mean squared error without a head, can teach them"
    if name is None:
        return teaches
    from manifold_probe.distillation.methods import METHODS

    method = METHODS.get(name)
    if method is None or "features" not in method.needs:
        return teaches
    if method.sees_lengths:
        reasons = "it has not converged, other terms outweigh it, or they are kept at the head alone"
        return f"the loss of {name} sees them, so {reasons}"
    return f"the loss of {name} cannot see them; {teaches}"


def _of_classes(document: dict[str, Any]) -> Iterator[Step]:
    """The class that keeps least, where it falls clearly behind the median: what its rows would win there."""
    rows = classes_of(document)
    overlaps = sorted(row["overlap"] for row in rows)
    if len(rows) < 3:
        return
    middle, total = overlaps[len(overlaps) // 2], sum(row["n"] for row in rows)
    behind = [row for row in rows if row["overlap"] < min(0.75 * middle, middle - CLASS_GAP)]
    behind = [row for row in behind if (row.get("high") or 0) < middle]
    if not behind:
        return
    worst = max(behind, key=lambda row: row["n"] * (middle - row["overlap"]))
    kind = class_word(document)
    won = worst["n"] * (middle - worst["overlap"]) / total
    yield (
        max(won, WORTH),
        f"Look at {kind} {shown(worst['class'])}: it keeps {percent(worst['overlap'])}, the median {kind} "
        f"{percent(middle)}; at that median {percent(won)} more of all neighbours would be kept.",
    )


def _of_rows(document: dict[str, Any], measures: dict[str, Reading], k: int) -> Iterator[Step]:
    """The rows that lost most, where they stand out from a student that keeps the others."""
    kept = _value(measures, OVERLAP.named(k))
    rows = [row for row in document["details"].get("worst_rows") or [] if row["overlap"] < 0.25 * kept][:MOST_ROWS]
    if not rows or not kept > 0.5 or any(alarm["code"] == "misaligned_rows" for alarm in document["alarms"]):
        return
    named = rows[0].get("id") is not None
    names = ", ".join(shown(row["id"] if named else row["row"], 24) for row in rows)
    most = max(row["overlap"] for row in rows)
    kind, keep, moved = "id" if named else "row", percent(most) if most else "none", "whose neighbours moved furthest"
    what = f"point {moved}, {kind} {names}: it keeps {keep} of its neighbours"
    if len(rows) > 1:
        keep += " at most" if most else ""
        what = f"points {moved}, {kind}s {names}: they keep {keep} of their neighbours"
    yield WORTH, f"Look at the {what}, the average point {percent(kept)}."


def _of_what_is_missing(document: dict[str, Any], measures: dict[str, Reading], k: int) -> Iterator[Step]:
    """Ids and labels that would say more, where neighbours are lost."""
    if _lost(measures, k) < 0.1:
        return
    if any(alarm["code"] == "unverified_pairing" for alarm in document["alarms"]):
        yield WORTH, UNVERIFIED
    if document["settings"].get("classes") != "labels":
        yield WORTH, LABELS
