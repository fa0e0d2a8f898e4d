"""What a diagnosis's parts are called, as every report says them."""

from __future__ import annotations

from itertools import groupby
from typing import Any, NamedTuple

from manifold_probe.diagnosis.lab import EXAMINED, HELD_OUT
from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP, OVERLAP_EUCLIDEAN, printed
from manifold_probe.report.readings import pairing
from manifold_probe.report.records import CONCERNED
from manifold_probe.report.words import columns_left, interval, number, one_line, percent, quantity, shown


class Part(NamedTuple):
    """A part of an account: its name in words, what is written of points that it lost, and its kind."""

    words: str
    lost: str
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
    "teacher_repeatability": Part("teacher's noise", "not repeated by the teacher itself", LOST),
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
    """How a part of an account is printed."""
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


def limits(part: dict[str, Any]) -> str:
    """The interval of a part in percentage points; "-" where there is none."""
    low, high = part.get("low"), part.get("high")
    return "-" if low is None or high is None else f"{points(low)} to {points(high)}"


def limits_of_loss(part: dict[str, Any]) -> str:
    """The interval of a lost part as what it changes: below zero, the larger loss first; "-" where there is none.

    >>> limits_of_loss({"low": 0.063, "high": 0.079}), limits_of_loss({"low": 0.0, "high": 0.01})
    ('-7.9 to -6.3', '-1.0 to 0.0')
    """
    low, high = part.get("low"), part.get("high")
    return "-" if low is None or high is None else f"{points(0.0 - high)} to {points(0.0 - low)}"


def lost(account: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts of an account that lost something, as far as a tenth of a point."""
    return [part for part in account if part["share"] >= LEAST_POINTS]


def rows_of(*accounts: list[dict[str, Any]]) -> list[str]:
    """The names of the parts that any of these accounts lost something to, in their order."""
    places = {name: place for place, name in enumerate(PARTS)}
    names = dict.fromkeys(part["name"] for account in accounts for part in lost(account))
    return sorted(names, key=lambda name: places.get(name, len(places)))


def unlost(account: list[dict[str, Any]]) -> list[str]:
    """The names, in words, of the parts of an account that lost nothing."""
    return [part(one["name"]).words for one in account if one["share"] < LEAST_POINTS]


LEAST_POINTS = 0.0005  # what is printed as 0.0 points


def called(key: str) -> str:
    """A measure's key in words, and on which rows it was read.

    >>> called("held_out_overlap@10"), called("examined_overlap@10"), called("debiased_linear_cka")
    ('overlap@10 on held-out rows', 'overlap@10 among the examined rows', 'debiased linear CKA')
    """
    of_rows = {HELD_OUT: " on held-out rows", EXAMINED: " among the examined rows"}
    where = next((words for opening, words in of_rows.items() if key.startswith(opening)), "")
    return shown(printed(bare(key)), 90) + where


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
    sentences = []
    for one in cause["evidence"]:
        text, expected = f"{one_line(one['measure'])}: {quantity(one['value'])}", one["expected"]
        sentences.append(text if expected is None else f"{text} ({against}: about {quantity(expected)})")
    return sentences


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
    counted = next((kind for kind in CONCERNED if concerned.get(kind)), "")
    texts = []
    for kind, word in KINDS.items():
        values = concerned.get(kind)
        if not values:
            continue
        if kind in ("conditions", "sides"):
            sides = f"at the {' and the '.join(map(shown, values))}"
            texts.append(sides if kind == "sides" else f"once extracted with {shown(values[0], 80)}")
            continue
        names = (concerned.get("ids") or values) if kind == "rows" else values
        total = max(concerned.get("count", 0), len(values)) if kind == counted else len(values)
        whole = all(type(name) is int for name in names)
        parts = (runs(names) if whole else [(shown(name, 24), 1) for name in names])[:most]
        listed, rest = ", ".join(part for part, _ in parts), total - sum(size for _, size in parts)
        several = f"{total:,} {PLURALS.get(word, f'{word}s')}:"
        texts.append(
            f"{word if total == 1 else several} {listed}{f' and {rest:,} more' if rest > 0 and total > 1 else ''}"
        )
    return texts


def runs(numbers: list[int]) -> list[tuple[str, int]]:
    """Whole numbers in their order, three or more that follow each other as one; each part with how many it stands for.

    >>> runs([3, 4, 5, 9, 10])
    [('3 to 5', 3), ('9', 1), ('10', 1)]
    """
    parts: list[tuple[str, int]] = []
    for _, run in groupby(enumerate(numbers), key=lambda place: place[1] - place[0]):
        group = [number for _, number in run]
        parts += [(f"{group[0]} to {group[-1]}", len(group))] if len(group) > 2 else [(str(one), 1) for one in group]
    return parts


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
    """How the rows were paired, and which of them were examined for causes."""
    examined, copies = document["examined"], document["examined"].get("copies") or 0
    text = pairing(document)
    if examined["rows"] + copies != examined["of"]:
        text += f" {examined['rows']:,} rows were examined for causes."
    if copies:
        text += f" {copies:,} rows are copies of others in both spaces and are left out."
    if (aside := (examined.get("set_aside") or 0) - copies) > 0:
        text += f" {aside:,} rows were set aside."
    if not examined["labels"]:
        text += " Without labels, the teacher's clusters stand in for classes."
    return f"{text} {columns_left(document['inputs'])}".rstrip()


def held_out(document: dict[str, Any]) -> str:
    """On which rows the parts of the account were read, and what is kept there; empty where it is not known."""
    read = []
    for key, measure in document["held_out"].items():
        if measure.get("value") is not None:
            known = [interval(measure["low"], measure["high"])] if measure.get("low") is not None else []
            known += [f"n = {measure['n']:,}"] if measure.get("n") is not None else []
            read.append(f"{called(key)} {number(measure['value'])}" + (f" ({'; '.join(known)})" if known else ""))
    return f"Corrections are fitted on other rows than they are judged on: {'; '.join(read)}." if read else ""


def also_measured(document: dict[str, Any]) -> list[str]:
    """What was measured in addition to the causes: rows that were trained on, the head, slices."""
    examined, overlap, sentences = document["examined"], OVERLAP.named(document["settings"]["k"]), []
    if overfit := examined.get("overfit"):
        sentences.append(
            f"{overlap} of {overfit['rows']:,} rows that were trained on {number(overfit['seen'])}, of as many others "
            f"{number(overfit['unseen'])}; {_difference(overfit)}"
        )
    if head := examined.get("head"):
        sentences.append(
            f"{overlap} at the backbone {number(head['backbone'])}, at the head {number(head['head'])}; "
            f"{_difference(head)}"
        )
    if slices := examined.get("slices"):
        sentences.append(f"{slices['count']:,} slices were examined in place of classes, too")
    if trials := examined.get("interventions"):
        tried = ", ".join(f"{one_line(trial['name'])} {number(trial['overlap'])}" for trial in trials)
        sentences.append(f"{overlap} of a few hundred rows extracted again: {tried}")
    return sentences


def _difference(measured: dict[str, Any]) -> str:
    limits = interval(measured["low"], measured["high"])
    return f"difference {number(measured['difference'])} (95% interval {limits})"
