"""Gates: thresholds a comparison must reach, and drops from a baseline that it may not exceed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from manifold_probe.errors import InputError
from manifold_probe.measures.catalogue import MEASURES, OVERLAP
from manifold_probe.report.document import SEVERAL, readings, students_of
from manifold_probe.report.readings import faithful
from manifold_probe.report.records import Reading
from manifold_probe.report.words import shown


@dataclass(frozen=True)
class Gate:
    """The lower confidence bound of a measure must reach the threshold."""

    measure: str
    threshold: float


@dataclass(frozen=True)
class Outcome:
    """Whether one gate passed, and the line that says so."""

    passed: bool
    line: str


def parse_gates(text: str, k: int, measured: list[str] | None = None) -> list[Gate]:
    """Gates from "overlap@10=0.7,linear_cka=0.9", on measures among those ``measured``, all of them for None.

    >>> parse_gates("overlap@10=0.7", k=10)
    [Gate(measure='overlap@10', threshold=0.7)]

    Raises
    ------
    InputError
        For a wrong form, an unknown measure or a threshold that is no number.
    """
    known = [measure.named(k) for measure in MEASURES] if measured is None else measured
    gates = []
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not name or not value:
            raise InputError(
                f"--fail-under: {part.strip()!r} is not MEASURE=NUMBER; write it as {OVERLAP.named(k)}=0.7"
            )
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise InputError(f"--fail-under: no measure is called {name!r} with --k {k}; {hint}")
        try:
            threshold = float(value)
        except ValueError:
            threshold = math.nan
        if not math.isfinite(threshold):
            raise InputError(f"--fail-under: {value!r} in {part.strip()!r} is not a number; write {name}=0.7")
        gates.append(Gate(name, threshold))
    return gates


def check_gates(document: dict[str, Any], gates: list[Gate]) -> list[Outcome]:
    """Every gate for every student."""
    outcomes = []
    for prefix, student, _ in _students(document, document):
        measures = readings(student)
        for gate in gates:
            measure = measures.get(gate.measure)
            if measure is None or measure.value is None:
                outcomes.append(_outcome(False, f"{prefix}{gate.measure} is undefined: {_why(measure)}"))
                continue
            bound = measure.value if measure.low is None else measure.low
            passed = bound >= gate.threshold
            kind = "value (no interval)" if measure.low is None else "lower bound"
            result = f"{kind} {bound:.6g} {'>=' if passed else '<'} {gate.threshold:g} (value {measure.value:.6g})"
            outcomes.append(_outcome(passed, f"{prefix}{gate.measure} {result}"))
    return outcomes


def check_baseline(baseline: dict[str, Any], where: str, names: list[str], k: int) -> None:
    """Refuse a baseline that the coming comparison cannot be held against.

    Raises
    ------
    InputError
        For another k, or students that the baseline lacks.
    """
    for student in students_of(baseline).values():
        if student["settings"]["k"] != k:
            raise InputError(f"{where}: was measured with k = {student['settings']['k']}, not {k}; give the same --k")
    if baseline["schema"] == SEVERAL:
        missing = [name for name in names if name not in baseline["students"]]
        if missing:
            known = ", ".join(shown(name) for name in baseline["students"])
            raise InputError(f"{where}: holds no student {missing[0]!r} but {known}; name it with --student NAME=PATH")


def check_drops(
    document: dict[str, Any], baseline: dict[str, Any], most: float, measured: list[str] | None = None
) -> list[Outcome]:
    """Every faithfulness measure of the baseline, for every student: it may not fall by more than ``most``.

    Of some measures alone where not all were ``measured``.
    """
    outcomes = []
    for prefix, student, before in _students(document, baseline):
        old_measures, new_measures = readings(before), readings(student)
        for key in faithful(before):
            old, new = old_measures.get(key), new_measures.get(key)
            if old is None or old.value is None or (measured is not None and key not in measured):
                continue
            if new is None or new.value is None:
                outcomes.append(_outcome(False, f"{prefix}{key} is undefined ({_why(new)}), baseline {old.value:.6g}"))
                continue
            drop = old.value - new.value
            change = f"{'down ' if drop > 0 else 'up '}{abs(drop):.6g}" if drop else "unchanged"
            line = (
                f"{prefix}{key} {new.value:.6g}, baseline {old.value:.6g}: {change}, at most {most:g} down is allowed"
            )
            outcomes.append(_outcome(drop <= most, line))
    return outcomes


def baseline_warnings(document: dict[str, Any], baseline: dict[str, Any]) -> list[str]:
    """What makes the baseline less comparable: another teacher, number of rows, queries or seed."""
    warnings = []
    for _, student, before in _students(document, baseline):
        if before["inputs"]["teacher"].get("sha256") != student["inputs"]["teacher"]["sha256"]:
            warnings.append("the baseline was measured against another teacher (its sha256 differs)")
        rows, now = before["pairing"].get("rows"), student["pairing"]["rows"]
        if rows != now:
            warnings.append(f"the baseline has {rows} rows, this comparison {now}: overlap depends on that number")
        for setting in ("queries", "seed"):
            was, given = before["settings"].get(setting), student["settings"][setting]
            if was != given:
                warnings.append(f"the baseline has {setting} {was}, this comparison {given}: sampling differs")
    return list(dict.fromkeys(warnings))


def _students(
    document: dict[str, Any], baseline: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(how lines about it begin, a student, its baseline): the one of the same name, or the only one."""
    for name, student in students_of(document).items():
        before = baseline["students"][name] if baseline["schema"] == SEVERAL else baseline
        yield f"{shown(name)}: " * (document["schema"] == SEVERAL), student, before


def _why(measure: Reading | None) -> str:
    return measure.note if measure is not None and measure.note else "it was not measured"


def _outcome(passed: bool, line: str) -> Outcome:
    return Outcome(passed, f"{'PASS' if passed else 'FAIL'} {line}")
