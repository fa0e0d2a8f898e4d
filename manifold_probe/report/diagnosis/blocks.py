"""A diagnosis as blocks: the verdict, the account of the whole loss, the first causes, the held-out steps."""

from __future__ import annotations

from typing import Any

from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP, printed
from manifold_probe.report.blocks import Block, Facts, Items, Row, Section, Sentence, Table
from manifold_probe.report.diagnosis import words
from manifold_probe.report.readings import size
from manifold_probe.report.records import accounts_of
from manifold_probe.report.words import interval, number, one_line, shown

CAUSES = 3  # are shown in full
COLOURS = {words.WIDTH: "bright_black", words.REGAINED: "cyan", words.CLASSES: "yellow", words.LOST: "red"}


def diagnosis_blocks(document: dict[str, Any]) -> list[Block]:
    """The whole report."""
    sides = f"teacher {size(document, 'teacher')}; student {size(document, 'student')}."
    return [
        Sentence(one_line(document["verdict"]), "strong"),
        *accounts(document),
        Section("", [Sentence(sides), Sentence(words.compared(document))]),
        *causes(document),
        _ladder(document),
        _listed("Measured in addition", words.also_measured(document)),
        benign(document),
        _listed("Not assessed", _not_assessed(document)),
    ]


def accounts(document: dict[str, Any]) -> list[Block]:
    """Where the loss went, in overlap and in CKA: from 1 part by part down to the student."""
    blocks: list[Block] = []
    explained: set[str] = set()
    for key, account in accounts_of(document).items():
        if account:
            blocks.append(_waterfall(account, key, document["measures"][key], explained))
            explained |= {part["sentence"] for part in account}
    return [*blocks, Section("", [Sentence(words.held_out(document), "faint")])] if blocks else []


def _waterfall(account: list[dict[str, Any]], key: str, measured: dict[str, Any], explained: set[str]) -> Section:
    """The parts as rows of a waterfall; what would win a part back is written once."""
    rows, level = [Row(("teacher", "100.0", ""), bar=(0.0, 1.0), strong=True)], 1.0
    for part in words.lost(account):
        named, note = words.part(part["name"]), "" if part["sentence"] in explained else one_line(part["sentence"])
        cells = (named.words, words.points(-part["share"]), words.limits_of_loss(part))
        bar, level = (level - part["share"], level), level - part["share"]
        rows.append(Row(cells, note, bar=bar, colour=COLOURS.get(named.kind, "blue")))
    value, nothing = measured["value"], ", ".join(words.unlost(account))
    rows.append(Row(("student", words.points(value), words.limits(measured)), bar=(0.0, value), strong=True))
    title = f"Where the loss went: {printed(key)} from 1 to {number(value)}, in points of 0.01"
    table = Table(("part", "points", "95% interval"), rows, spare=(2,))
    return Section(title, [table, Sentence(f"Nothing lost to: {nothing}." if nothing else "", "faint")])


def side_by_side(documents: dict[str, dict[str, Any]]) -> Section:
    """The accounts of several students' overlap: a row for every part that any of them lost."""
    accounts = [document["accounting"] for document in documents.values()]
    shares = [{part["name"]: part["share"] for part in account} for account in accounts]
    parts = words.rows_of(*accounts)
    if not parts:
        return Section("", [])
    key = OVERLAP.named(next(iter(documents.values()))["settings"]["k"])
    kept = [(document["measures"].get(key) or {}).get("value") for document in documents.values()]
    rows = [Row((words.part(part).words, *(_points_lost(of_student, part) for of_student in shares))) for part in parts]
    rows.append(Row(("student", *("-" if value is None else words.points(value) for value in kept)), strong=True))
    more = "Intervals, the account of CKA and what would win each part back are in --json and --report."
    title = f"Where the loss went: {key} from 1 to each student's, in points of 0.01"
    return Section(title, [Table(("part", *(shown(name, 24) for name in documents)), rows), Sentence(more, "faint")])


def _points_lost(shares: dict[str, float], part: str) -> str:
    """What a student lost to a part; "-" where it has no account."""
    if not shares:
        return "-"
    return f"-{words.points(shares[part])}" if shares.get(part, 0.0) >= words.LEAST_POINTS else "0"


def causes(document: dict[str, Any], of: str = "") -> list[Section]:
    """The first causes, each with its proof and what to do; ``of`` is a student's name where there are several."""
    first, further = document["causes"][:CAUSES], document["causes"][CAUSES:]
    rest = "; ".join(f"{words.words_of(cause)} ({words.standing(cause)})" for cause in further)
    opening = f"{of}: " if of else ""
    sections = [_cause(cause, f"{opening}{place}", place == 1) for place, cause in enumerate(first, start=1)]
    return [*sections, Section("", [Sentence(f"Further down: {rest}. --json has all." if rest else "")])]


def _cause(cause: dict[str, Any], place: str, first: bool) -> Section:
    title, name = words.capital(words.words_of(cause)), words.spaced(cause["name"])
    facts = [
        ("status", words.standing(cause)),
        *(("evidence", text) for text in words.evidence(cause)),
        ("proof", words.proof(cause)),
        ("where", "; ".join(words.where(cause))),
        ("do", one_line(cause["advice"])),
        ("wrong if", one_line(cause["falsified_by"])),
        ("or", words.alternatives(cause)),
        ("test", words.experiment(cause)),
    ]
    same = title.lower() == name.lower()
    return Section(f"{place}. {title}{'' if same else f' ({name})'}", [Facts(facts, indent=3)], folded=not first)


def benign(document: dict[str, Any], of: str = "") -> Section:
    """Differences that lose nothing."""
    differences = []
    for difference in document["benign"]:
        value = "" if difference["value"] is None else f" ({number(difference['value'])})"
        differences.append(f"{one_line(difference['words'])}{value}: {one_line(difference['note'])}")
    return _listed(f"{f'{of}: ' if of else ''}Differences that lose nothing", differences)


def _ladder(document: dict[str, Any]) -> Section:
    """The corrections: the first measure with its interval and gain, then the others."""
    title, keys = "Corrections, each judged on rows that it was not fitted on", words.overlap_keys(document)
    if not keys:
        return Section(title, [])
    bare = words.bare(keys[0])
    others = [words.bare(key).replace(DEBIASED_CKA.key, "CKA").replace(f"{bare}:", "") for key in keys[1:]]
    rows = []
    for step in document["ladder"]:
        first, *rest = (step["measures"].get(key) or {} for key in keys)
        value, gain = first.get("value"), first.get("gain")
        signed = "-" if gain is None else f"{'+' if gain >= 0.0005 else ''}{number(gain)}"
        cells = (number(value), interval(first.get("low"), first.get("high")), signed)
        others_read = (number(measure.get("value")) for measure in rest)
        rows.append(Row((words.rung(step["repair"]), *cells, *others_read), bar=(0.0, value or 0.0), colour="cyan"))
    return Section(title, [Table(("step", bare, "95% interval", "gain", *others), rows, spare=(2,))], folded=True)


def _not_assessed(document: dict[str, Any]) -> list[str]:
    """Causes that could not be examined, those with the same reason together."""
    reasons: dict[str, list[str]] = {}
    for cause in document["not_assessed"]:
        reasons.setdefault(cause["why"], []).append(words.spaced(cause["name"]))
    return [f"{', '.join(names)}: {one_line(why)}" for why, names in reasons.items()]


def _listed(title: str, sentences: list[str]) -> Section:
    return Section(title, [Items(sentences)] if sentences else [], folded=True)
