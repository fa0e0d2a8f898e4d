"""What a diagnosis's parts are called, as every report says them."""

from __future__ import annotations

from typing import Any

from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP, OVERLAP_EUCLIDEAN
from manifold_probe.report.diagnosis.document import FIRST
from manifold_probe.report.words import columns_left, interval, number, one_line, paired_rows, percent, shown

RUNGS = {
    "identity": "as it is",
    "centring": "centred",
    "global_scale": "one global scale",
    "teacher_norms": "teacher's norms",
    "top_components_removed": "top components removed",
    "unit_deviation": "unit deviations",
    "permutation": "permuted",
    "orthogonal": "rotated",
    "ridge": "linear map",
    "nonlinear": "nonlinear map",
}
KINDS = {
    "rows": "row",
    "dimensions": "dimension",
    "classes": "class",
    "slices": "slice",
    "sides": "side",
    "conditions": "condition of the extraction",
}
PLURALS = {"class": "classes"}
ISOTROPIC = frozenset(("quantisation", "saturation", "noise"))
FEW = frozenset(("truncated_dimensions", "dead_dimensions", "dimensional_collapse"))
EXPERIMENTS = {
    ISOTROPIC: "extract a few hundred rows twice (noise differs between the runs), and look at the values before the "
    "last mixing layer (steps are quantisation, a pile at either end is saturation)",
    FEW: "look at the features before the last mixing layer: columns that never change are dead, columns that are not "
    "there were truncated, and where all vary few directions are in use",
}
AGAINST = {"misaligned_head": "at the other side", "overfit": "of the others"}
OTHERWISE = "extract a few hundred rows again with one change at a time, and diagnose each"


def rung(name: str) -> str:
    """The printed name of a repair."""
    return RUNGS.get(name) or spaced(name)


def spaced(name: str) -> str:
    """A name of the document as words."""
    return shown(name).replace("_", " ")


def overlap_keys(document: dict[str, Any]) -> list[str]:
    """The measures of the ladder, those that its steps have."""
    k = document["settings"]["k"]
    known = {key for step in document["ladder"] for key in step["measures"]}
    return [key for key in (OVERLAP.named(k), OVERLAP_EUCLIDEAN.named(k), DEBIASED_CKA.key) if key in known]


def sure(cause: dict[str, Any]) -> str:
    """ "confidence 98%; explains 43% of what was lost"."""
    said = f"confidence {percent(round(cause['confidence'], 2))}"
    share = cause["share"]
    return said if share is None else f"{said}; explains {percent(round(min(max(share, 0.0), 1.0), 2))} of the gap"


def evidence(cause: dict[str, Any]) -> list[str]:
    """A sentence for every number that speaks for a cause."""
    against = AGAINST.get(cause["name"], "a healthy pair")
    found = []
    for each in cause["evidence"]:
        text = f"{one_line(each['measure'])}: {number(each['value'])}"
        expected = each["expected"]
        found.append(text if expected is None else f"{text} ({against}: about {number(expected)})")
    return found


def proof(cause: dict[str, Any]) -> str:
    """What the repair did, or that there is none."""
    repair = cause["repair"]
    if cause["name"] == "diffuse_loss":
        return "none: this is what is left where no cause stands out"
    if cause["name"] == "unaligned_rows" and repair is None:
        return "none: no named order brings neighbours back"
    if repair is None:
        return "nothing to repair: its own evidence stands outside what chance gives"
    measure = repair["measure"].replace(DEBIASED_CKA.key, DEBIASED_CKA.title)
    text = f"{one_line(repair['name'])}: {one_line(measure)} {number(repair['before'])} to {number(repair['after'])}"
    if repair["low"] is not None:
        text += f" (95% interval {interval(repair['low'], repair['high'])})"
    healthy = repair["healthy_gain"]
    return text if healthy is None else f"{text}; on a healthy pair it gains {number(healthy)}"


def where(cause: dict[str, Any], most: int = 6) -> list[str]:
    """ "120 rows: a, b and 118 more" for every kind of thing that a cause concerns; rows by their ids where known."""
    concerned = cause["where"] or {}
    count = concerned.get("count", 0)
    first = next((kind for kind in FIRST if concerned.get(kind)), "")
    found = []
    for kind, word in KINDS.items():
        values = concerned.get(kind)
        if not values:
            continue
        if kind == "conditions":
            found.append(f"once extracted with {shown(values[0], 80)}")
            continue
        if kind == "sides":
            found.append(f"at the {' and the '.join(map(shown, values))}")
            continue
        called = (concerned.get("ids") or values) if kind == "rows" else values
        total = max(count, len(values)) if kind == first else len(values)
        listed = (
            runs(called) if all(type(each) is int for each in called) else [(shown(each, 24), 1) for each in called]
        )
        text = ", ".join(part for part, _ in listed[:most])
        named = sum(size for _, size in listed[:most])
        name = word if total == 1 else PLURALS.get(word, f"{word}s")
        rest = f" and {total - named:,} more" if total > named else ""
        found.append(f"{name} {text}" if total == 1 else f"{total:,} {name}: {text}{rest}")
    return found


def runs(numbers: list[int]) -> list[tuple[str, int]]:
    """Whole numbers in their order, three or more that follow each other as one; each part with how many it stands for.

    >>> runs([3, 4, 5, 9, 10])
    [('3 to 5', 3), ('9', 1), ('10', 1)]
    """
    groups: list[list[int]] = []
    for each in numbers:
        if groups and each == groups[-1][-1] + 1:
            groups[-1].append(each)
        else:
            groups.append([each])
    parts = [(f"{group[0]} to {group[-1]}", len(group)) for group in groups]
    return [
        part
        for group, whole in zip(groups, parts, strict=True)
        for part in ([whole] if len(group) > 2 else [(str(each), 1) for each in group])
    ]


def alternatives(cause: dict[str, Any]) -> str:
    """Which other causes would look alike, and what would tell; empty where none would."""
    if not cause["or"]:
        return ""
    names = ", ".join(spaced(name) for name in cause["or"])
    return f"{names}: outputs alone cannot tell them apart"


def experiment(cause: dict[str, Any]) -> str:
    """The experiment that tells a cause from those it looks like; empty where nothing looks like it."""
    if not cause["or"]:
        return ""
    alike = {cause["name"], *cause["or"]}
    return next((text for group, text in EXPERIMENTS.items() if alike <= group), OTHERWISE)


# so that every repair is read on other rows than it was fitted on
HALVES = " Neighbours are looked up within halves of the rows, where overlap is higher than among all (probe compare)."


def compared(document: dict[str, Any]) -> str:
    """How the rows were paired and which of them were looked at."""
    how, looked = document["pairing"], document["examined"]
    some = (
        ""
        if looked["rows"] + looked.get("copies", 0) == looked["of"]
        else f" Causes were looked for in {looked['rows']:,} of them."
    )
    if copies := looked.get("copies"):
        some += f" {copies:,} rows are copies of others in both spaces and are left out."
    if looked.get("set_aside", 0) > looked.get("copies", 0):
        some += f" The ladder is read without the {looked['set_aside']:,} rows that were set aside."
    stand_in = "" if looked["labels"] else " Without labels, the teacher's clusters stand in for classes."
    left = f" {text}" if (text := columns_left(document["inputs"])) else ""
    halves = "" if _is_unaligned(document) else HALVES
    return f"{paired_rows(how)}. k = {document['settings']['k']}.{some}{halves}{stand_in}{left}"


def _is_unaligned(document: dict[str, Any]) -> bool:
    """Whether the rows are in another order, of which all rows were asked."""
    return any(cause["name"] == "unaligned_rows" for cause in document["causes"])


def beside(document: dict[str, Any]) -> list[str]:
    """What was measured beside the causes: rows that were trained on, the head, slices."""
    looked, k, found = document["examined"], document["settings"]["k"], []
    if one := looked.get("overfit"):
        found.append(
            f"{OVERLAP.named(k)} of {one['rows']:,} rows that were trained on {number(one['seen'])}, of as many others "
            f"{number(one['unseen'])}; difference {number(one['difference'])} (95% interval "
            f"{interval(one['low'], one['high'])})"
        )
    if one := looked.get("head"):
        found.append(
            f"{OVERLAP.named(k)} at the backbone {number(one['backbone'])}, at the head {number(one['head'])}; "
            f"difference {number(one['difference'])} (95% interval {interval(one['low'], one['high'])})"
        )
    if one := looked.get("slices"):
        found.append(f"{one['count']:,} slices were looked at in place of classes, too")
    if trials := looked.get("interventions"):
        tried = ", ".join(f"{one_line(each['name'])} {number(each['overlap'])}" for each in trials)
        found.append(f"{OVERLAP.named(k)} of a few hundred rows extracted again: {tried}")
    return found
