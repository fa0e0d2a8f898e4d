"""What a run of our trainer adds to its comparison: rows it was trained on, and whether training won anything.

The untrained student is the yardstick: a random network already keeps some neighbours, so that a value alone does not
show that distillation helped.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from manifold_probe.report.blocks import Sentence
from manifold_probe.report.words import number, shown
from manifold_probe.spaces.folder import MANIFEST, RUN_FEATURES
from manifold_probe.spaces.read import split_key
from manifold_probe.spaces.space import Space

if TYPE_CHECKING:
    from manifold_probe.distillation.run_folder import RunFolder

SIDES = ("backbone", "head")


def run_of(space: Space) -> RunFolder | None:
    """The finished run whose student's features a space holds; None for any other space."""
    manifest = Path(space.source.path or "") / MANIFEST
    if space.source.path is None or not manifest.exists():
        return None
    if json.loads(manifest.read_bytes()).get("schema") != RUN_FEATURES:
        return None
    from manifold_probe.distillation.run_folder import RunFolder  # with torch, which no other space needs

    return RunFolder(space.source.path)


def training_of(run: RunFolder, space: Space, ids: np.ndarray | None) -> dict[str, Any]:
    """The block ``details.training`` of a run's student.

    {"rows", "trained_rows", "side", "verified", "gain"}: the compared rows, how many were trained on (None where
    ids do not say), "backbone" or "head", whether ids vouched for the teacher's rows in training, and the `gain` over
    the untrained student, with the rows that it was measured on.
    """
    facts = run.facts()
    side = "head" if split_key(space.name)[1] == "head" else "backbone"
    known = None
    if ids is not None and run.has_trained_ids:
        trained = run.trained_ids()
        known = sum(str(id) in trained for id in np.asarray(ids).tolist())
    training = facts.get("training") or {}
    won = training.get(side) or (training.get("backbone") if not facts.get("head") else None)
    return {
        "rows": None if ids is None else len(ids),
        "trained_rows": known,
        "side": side,
        "verified": bool(facts.get("pairing", {}).get("verified", True)),
        "gain": None if won is None else {"rows": training["rows"], "held_out": training["held_out"], **won},
    }


def training_alarms(training: dict[str, Any], raised: set[str]) -> list[dict[str, str]]:
    """The alarms of a block: ``trained_rows``, ``no_better_than_untrained``, and ``unverified_targets`` unless one of
    those already ``raised`` says the same."""
    found = []
    seen, rows, won = training["trained_rows"], training["rows"], training["gain"]
    if seen:
        which = f"all {rows:,}" if seen == rows else f"{seen:,} of the {rows:,}"
        found.append(("trained_rows", f"{which} rows were trained on; on other rows the student may be less faithful."))
    if not training["verified"] and "unverified_pairing" not in raised:
        text = "the student was trained on targets that were paired with the data by position, which no ids vouch for."
        found.append(("unverified_targets", text))
    if won is not None and won["better"] is False:
        found.append(("no_better_than_untrained", f"{said_of_gain(won)}."))
    return [{"code": code, "message": message} for code, message in found]


def training(students: dict[str, dict[str, Any]]) -> list[Sentence]:
    """The `training_sentences`, those of students that won nothing as warnings."""
    return [Sentence(text, "warning" if better is False else "") for text, better in training_sentences(students)]


def training_sentences(students: dict[str, dict[str, Any]]) -> list[tuple[str, bool | None]]:
    """What training won and whether it did, a sentence a student; none for students that no run of ours made."""
    found = []
    for name, document in students.items():
        won = (document["details"].get("training") or {}).get("gain")
        if won is not None:
            text = said_of_gain(won)
            said = f"{shown(name)}: {text}." if len(students) > 1 else f"{text[0].upper()}{text[1:]}."
            found.append((said, won["better"]))
    return found


def said_of_gain(won: dict[str, Any]) -> str:
    """What a `gain` says, without a full stop.

    >>> gap = {"value": 0.1, "low": 0.08, "high": 0.12}
    >>> won = {"measure": "overlap@10", "rows": 180, "held_out": True, "untrained": 0.2, "trained": 0.3}
    >>> won |= {"difference": gap, "better": True, "cka": {"untrained": 0.5, "trained": 0.75}}
    >>> print(said_of_gain(won).replace(" on ", "\\n"))
    training raised overlap@10 from 20.0% to 30.0% (by 10.0 percentage points, 95% interval 8.0 to 12.0)
    180 rows held out of training; debiased linear CKA from 0.500 to 0.750
    """
    before, after, gap = won["untrained"], won["trained"], won["difference"]
    where = f"on {won['rows']:,} rows {'held out of training' if won['held_out'] else 'that training saw'}"
    if before is None or after is None:
        return f"whether training helped is not known: {won['measure']} is undefined {where}"
    untrained, trained = (won["cka"][name] for name in ("untrained", "trained"))
    cka = f"; debiased linear CKA from {number(untrained)} to {number(trained)}"
    values = f"{won['measure']} is {100 * after:.1f}% {where}, {100 * before:.1f}% before training"
    if won["better"] is None:
        return f"too few rows to decide whether training helped: {values}{cka}"
    interval = f"95% interval {100 * gap['low']:.1f} to {100 * gap['high']:.1f}"
    points = f"{100 * gap['value']:.1f} percentage points, {interval}"
    if won["better"]:
        raised = f"from {100 * before:.1f}% to {100 * after:.1f}%"
        return f"training raised {won['measure']} {raised} (by {points}) {where}{cka}"
    worse = " (worse)" if gap["high"] < 0 else ""
    return f"no better than untrained{worse}: {values} (difference {points}){cka}"
