"""What a diagnosis's parts are called, as every report says them."""

from __future__ import annotations

from typing import Any, NamedTuple

from manifold_probe.diagnosis.lab import EXAMINED, HELD_OUT
from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP, OVERLAP_EUCLIDEAN, printed
from manifold_probe.report.diagnosis.document import CONCERNED
from manifold_probe.report.sections import pairing
from manifold_probe.report.words import columns_left, interval, number, one_line, percent, quantity, shown


class Part(NamedTuple):
    """A part of an account: its name in words, what is said of points that it lost, and its kind."""

    words: str
    said: str
    kind: str


WIDTH, REGAINED, CLASSES, LOST = "student's width", "won back", "single classes", "not won back"
PARTS = {
    "width": Part("width of the student", "more than its width can hold", WIDTH),
    "rows_set_aside": Part("rows set aside", "won back by setting rows aside", REGAINED),
    "centre_scale_norms": Part("offset and scale", "won back by centring, scaling or norms", REGAINED),
    "rotation": Part("rotation", "won back by a rotation", REGAINED),
    "linear_map": Part("linear map", "won back by a linear map", REGAINED),
    "nonlinear_map": Part("nonlinear map", "won back by a nonlinear map", REGAINED),
    "classes": Part("single classes", "lost by single classes beyond the rest", CLASSES),
    "absent_classes": Part("classes not trained on", "lost by classes that were not trained on", CLASSES),
    "overfit": Part("overfit", "lost on rows held out of training alone", LOST),
    "undertrained": Part("undertrained", "lost as training stopped while the loss still fell", LOST),
    "underfit": Part("underfit", "lost even on rows that were trained on", LOST),
    "lost_in_head": Part("lost in the head", "still kept by an earlier layer", LOST),
    "teacher_repeatability": Part("teacher's own noise", "not repeated by the teacher itself", LOST),
    "not_held": Part("not in the features", "information that the features do not hold", LOST),
}
RUNGS = {
    "identity": "as it is",
    "centring": "centred",
    "global_scale": "one global scale",
    "teacher_norms": "teacher's norms",
    "top_components_removed": "top components removed",
    "unit_deviation": "unit deviations",
    "teacher_mean": "teacher's mean",
    "teacher_deviations": "teacher's deviations",
    "permutation": "permuted",
    "orthogonal": "rotated",
    "ridge": "linear map",
    "nonlinear": "nonlinear map",
    "reordered": "in the order found",
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
KINDS_OF_TRIAL = {"undo": "undone", "inflict": "inflicted on the teacher", "mapped": "mapped onto the teacher"}
AGAINST = {"misaligned_head": "at the other side", "overfit": "of the others"}
OTHERWISE = "extract a few hundred rows again with one change at a time, and diagnose each"


def rung(name: str) -> str:
    """The printed name of a step of the ladder."""
    return RUNGS.get(name) or part(name).words


def part(name: str) -> Part:
    """What is said of a part of an account."""
    return PARTS.get(name) or Part(spaced(name), f"lost to: {spaced(name)}", LOST)


def spaced(name: str) -> str:
    """A name of the document as words."""
    return shown(name).replace("_", " ")


def capital(text: str) -> str:
    """The text with a capital at its start."""
    return text[:1].upper() + text[1:]


def points(share: float) -> str:
    """A share of 1 in percentage points.

    >>> points(0.1523)
    '15.2'
    """
    return f"{100 * share:.1f}"


def limits(each: dict[str, Any]) -> str:
    """The interval of a part in percentage points; "-" where there is none."""
    low, high = each.get("low"), each.get("high")
    return "-" if low is None or high is None else f"{points(low)} to {points(high)}"


def lost(account: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts of an account that lost something, as far as a tenth of a point."""
    return [each for each in account if each["share"] >= LEAST_POINTS]


def rows_of(*accounts: list[dict[str, Any]]) -> list[str]:
    """The names of the parts that any of these accounts lost something to, in their order."""
    places = {name: place for place, name in enumerate(PARTS)}
    names = dict.fromkeys(each["name"] for account in accounts for each in lost(account))
    return sorted(names, key=lambda name: places.get(name, len(places)))


def unlost(account: list[dict[str, Any]]) -> list[str]:
    """The names, in words, of the parts of an account that lost nothing."""
    return [part(each["name"]).words for each in account if each["share"] < LEAST_POINTS]


LEAST_POINTS = 0.0005  # what is printed as 0.0 points


def called(key: str) -> str:
    """A measure's key in words, and on which rows it was read.

    >>> called("held_out_overlap@10"), called("examined_overlap@10"), called("debiased_linear_cka")
    ('overlap@10 on held-out rows', 'overlap@10 among the examined rows', 'debiased linear CKA')
    """
    of_rows = {HELD_OUT: " on held-out rows", EXAMINED: " among the examined rows"}
    where = next((words for opening, words in of_rows.items() if key.startswith(opening)), "")
    return shown(printed(bare(key)), 60) + where


def bare(key: str) -> str:
    """A measure's key without what says on which rows it was read."""
    return key.removeprefix(HELD_OUT).removeprefix(EXAMINED)


def overlap_keys(document: dict[str, Any]) -> list[str]:
    """The measures of the ladder, those that its steps have."""
    k = document["settings"]["k"]
    known = {key.removeprefix(HELD_OUT): key for step in document["ladder"] for key in step["measures"]}
    return [known[key] for key in (OVERLAP.named(k), OVERLAP_EUCLIDEAN.named(k), DEBIASED_CKA.key) if key in known]


def words_of(cause: dict[str, Any]) -> str:
    """A cause in words; of rows in another order, the order."""
    where = cause["where"] or {}
    return shown(where["orders"][0] if where.get("orders") else cause["words"], 200)


def standing(cause: dict[str, Any]) -> str:
    """ "proved; explains 43% of the loss"."""
    explained = explains(cause)
    return cause["status"] if not explained else f"{cause['status']}; {explained}"


def explains(cause: dict[str, Any]) -> str:
    """ "explains 43% of the loss", with the measure where that is not overlap; empty where it is not known."""
    share = cause["share"]
    if share is None:
        return ""
    verb = "explains" if cause["status"] == "proved" else "would explain"
    return f"{verb} {percent(round(share, 2))} of the loss{loss_in(cause)}"


def loss_in(cause: dict[str, Any]) -> str:
    """In which measure a cause's share is one of the loss, where that is not overlap."""
    measure = (cause["repair"] or {}).get("measure", "")
    if DEBIASED_CKA.key in measure:
        return " in CKA"
    return " in Euclidean overlap" if measure.endswith(":euclidean") else ""


def evidence(cause: dict[str, Any]) -> list[str]:
    """A sentence for every number that speaks for a cause."""
    against = AGAINST.get(cause["name"], "a sound pair")
    found = []
    for each in cause["evidence"]:
        text = f"{one_line(each['measure'])}: {quantity(each['value'])}"
        expected = each["expected"]
        found.append(text if expected is None else f"{text} ({against}: about {quantity(expected)})")
    return found


def proof(cause: dict[str, Any]) -> str:
    """What undoing the cause, or inflicting it on the teacher, did; or that nothing of the kind was possible."""
    trial = cause["repair"]
    if trial is None:
        return "none: nothing to undo; its evidence lies outside what chance gives"
    text = f"{one_line(trial['name'])}: {called(trial['measure'])} "
    text += f"{number(trial['before'])} to {number(trial['after'])}"
    known = [f"95% interval {interval(trial['low'], trial['high'])}"] if trial["low"] is not None else []
    known += [f"{trial['n']:,} rows"] if trial["n"] is not None else []
    text += f" ({', '.join(known)})" if known else ""
    healthy = trial["healthy_gain"]
    text += "" if healthy is None else f"; a sound pair gains {number(healthy)}"
    return f"{KINDS_OF_TRIAL.get(trial['kind'], one_line(trial['kind']))}: {text}"


def where(cause: dict[str, Any], most: int = 6) -> list[str]:
    """ "120 rows: a, b and 118 more" for every kind of thing that a cause concerns; rows by their ids where known."""
    concerned = cause["where"] or {}
    count = concerned.get("count", 0)
    first = next((kind for kind in CONCERNED if concerned.get(kind)), "")
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
    """Which other causes would look alike; empty where none would."""
    if not cause["or"]:
        return ""
    names = ", ".join(spaced(name) for name in cause["or"])
    return f"{names}: outputs alone cannot distinguish them"


def experiment(cause: dict[str, Any]) -> str:
    """The experiment that distinguishes a cause from those it looks like; empty where nothing looks like it."""
    if not cause["or"]:
        return ""
    alike = {cause["name"], *cause["or"]}
    return next((text for group, text in EXPERIMENTS.items() if alike <= group), OTHERWISE)


def compared(document: dict[str, Any]) -> str:
    """How the rows were paired and which of them were looked at."""
    left = f" {text}" if (text := columns_left(document["inputs"])) else ""
    return f"{pairing(document)}{looked_at(document)}{left}"


def looked_at(document: dict[str, Any]) -> str:
    """Which rows were examined for causes."""
    looked, copies = document["examined"], document["examined"].get("copies") or 0
    said = "" if looked["rows"] + copies == looked["of"] else f" {looked['rows']:,} rows were examined for causes."
    said += f" {copies:,} rows are copies of others in both spaces and are left out." if copies else ""
    aside = (looked.get("set_aside") or 0) - copies
    said += f" {aside:,} rows were set aside." if aside > 0 else ""
    stand_in = "" if looked["labels"] else " Without labels, the teacher's clusters stand in for classes."
    return said + stand_in


def held_out(document: dict[str, Any]) -> str:
    """On which rows the parts of the account were read, and what is kept there; empty where it is not known."""
    read = []
    for key, each in document["held_out"].items():
        if each.get("value") is not None:
            known = [interval(each["low"], each["high"])] if each.get("low") is not None else []
            known += [f"n = {each['n']:,}"] if each.get("n") is not None else []
            said = f" ({'; '.join(known)})" if known else ""
            read.append(f"{called(key)} {number(each['value'])}{said}")
    return f"Corrections are fitted on other rows than they are judged on: {'; '.join(read)}." if read else ""


def beside(document: dict[str, Any]) -> list[str]:
    """What was measured in addition to the causes: rows that were trained on, the head, slices."""
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
        found.append(f"{one['count']:,} slices were examined in place of classes, too")
    if trials := looked.get("interventions"):
        tried = ", ".join(f"{one_line(each['name'])} {number(each['overlap'])}" for each in trials)
        found.append(f"{OVERLAP.named(k)} of a few hundred rows extracted again: {tried}")
    return found
