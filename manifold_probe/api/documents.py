"""The JSON documents of results, put together from what was measured (`report.records` says what they hold)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from manifold_probe.api.provenance import provenance_of
from manifold_probe.measures.results import Measurement
from manifold_probe.report.diagnosis.verdict import verdict
from manifold_probe.report.document import DIAGNOSIS, ONE, SEVERAL
from manifold_probe.report.records import CONCERNED, Alarm, Findings, Pairing, Reading
from manifold_probe.report.run import gain_in_words, manifest_of
from manifold_probe.report.typed import names, plain
from manifold_probe.spaces.folder import MANIFEST, RUN_FEATURES
from manifold_probe.spaces.labels import plain_labels
from manifold_probe.spaces.pairing import Pair
from manifold_probe.spaces.read import split_key
from manifold_probe.spaces.space import Space

if TYPE_CHECKING:
    from manifold_probe.distillation.run_folder import RunFolder

MOST = 1000  # of what a cause concerns; its ``count`` says how many there are


def comparison_document(
    pair: Pair, measurement: Measurement, inputs: dict[str, Any], settings: dict[str, Any], provenance: dict[str, Any]
) -> dict[str, Any]:
    """The document of one student."""
    measures = measurement.measures.items()
    document = {
        "schema": ONE,
        "inputs": inputs,
        "pairing": pairing_of(pair),
        "settings": {**settings, "classes": measurement.class_source},
        "measures": {key: Reading(**{name: getattr(each, name) for name in names(Reading)}) for key, each in measures},
        "details": measurement.details,
        "alarms": [Alarm(code=alarm.code, message=alarm.message) for alarm in measurement.alarms],
        "provenance": provenance,
    }
    return plain(document)


def comparisons_document(
    students: Mapping[str, dict[str, Any]], measurements: Mapping[str, Measurement]
) -> dict[str, Any]:
    """The document of several students, with the paired difference of every measure for every two of them."""
    differences = []
    for a, b in combinations(measurements, 2):
        of_b = measurements[b].measures
        for key, measure in measurements[a].measures.items():
            if key in of_b:
                gap = measure.estimate.minus(of_b[key].estimate)
                row = {"measure": key, "a": a, "b": b, "value": gap.value, "low": gap.low, "high": gap.high}
                differences.append(row)
    return plain({"schema": SEVERAL, "students": dict(students), "differences": differences})


def diagnosis_document(
    parts: dict[str, Any], pair: Pair, inputs: dict[str, Any], settings: dict[str, Any]
) -> dict[str, Any]:
    """The document of parts that a diagnosis found, with its verdict."""
    return plain(
        {
            "schema": DIAGNOSIS,
            **findings(parts, parts["measures"], settings["k"], inputs["student"]["shape"][1]),
            "measures": parts["measures"],
            "inputs": inputs,
            "pairing": pairing_of(pair),
            "settings": settings,
            "provenance": provenance_of(settings["seed"]),
        }
    )


def findings(parts: dict[str, Any], measures: dict[str, Any], k: int, width: int) -> dict[str, Any]:
    """What the comparison of a student of this width holds of a diagnosis: its parts with the verdict, and of what each
    cause concerns at most the first 1,000 rows, dimensions or classes."""
    kept = {name: parts[name] for name in names(Findings) if name != "verdict"}
    kept["causes"] = [{**cause, "where": shortened(cause["where"])} for cause in parts["causes"]]
    return plain({"verdict": verdict(kept, measures, k, width), **kept})


def shortened(where: dict[str, Any] | None) -> dict[str, Any] | None:
    """The first of what a cause concerns, and how many there are.

    >>> shortened({"rows": list(range(2000))})["count"]
    2000
    """
    if not where:
        return None
    listed = {kind: values for kind, values in where.items() if kind != "count"}
    first: list[Any] = next((listed[kind] for kind in CONCERNED if kind in listed), next(iter(listed.values())))
    count = where.get("count", len(first))
    return {"count": count, **{kind: list(values)[:MOST] for kind, values in listed.items()}}


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
    manifest = manifest_of(run)
    side = "head" if split_key(space.name)[1] == "head" else "backbone"
    trained_rows = None
    if ids is not None and run.has_trained_ids:
        trained = run.trained_ids()
        trained_rows = sum(str(id) in trained for id in np.asarray(ids).tolist())
    training = manifest.get("training") or {}
    gain = training.get(side) or (None if manifest["head"] else training.get("backbone"))
    return {
        "rows": None if ids is None else len(ids),
        "trained_rows": trained_rows,
        "side": side,
        "verified": (manifest.get("pairing") or {}).get("verified", True),
        "gain": None if gain is None else {"rows": training["rows"], "held_out": training["held_out"], **gain},
    }


def training_alarms(training: dict[str, Any], raised: set[str]) -> list[dict[str, str]]:
    """The alarms of a block: ``trained_rows``, ``no_better_than_untrained``, and ``unverified_targets`` unless one of
    those already ``raised`` says the same."""
    alarms = []
    trained, rows, gain = training["trained_rows"], training["rows"], training["gain"]
    if trained:
        which = f"all {rows:,}" if trained == rows else f"{trained:,} of the {rows:,}"
        alarms.append(
            ("trained_rows", f"{which} rows were trained on; on other rows the student may be less faithful.")
        )
    if not training["verified"] and "unverified_pairing" not in raised:
        text = "the student was trained on targets that were paired with the data by position, which no ids vouch for."
        alarms.append(("unverified_targets", text))
    if gain is not None and gain["better"] is False:
        alarms.append(("no_better_than_untrained", f"{gain_in_words(gain)}."))
    return [{"code": code, "message": message} for code, message in alarms]


def changed_by_index(*spaces: Space) -> list[dict[str, str]]:
    """An alarm for every space whose index no longer holds the vectors that were added to it."""
    lost = {space.name: space.source.lost for space in spaces if space.source.lost}
    return [
        {"code": "changed_by_index", "message": f"{name} {text}; every value includes that change."}
        for name, text in lost.items()
    ]


def pairing_of(pair: Pair) -> Pairing:
    """How the rows were paired, and which they are."""
    return Pairing(
        by=pair.by,
        rows=pair.teacher.n,
        coverage=pair.coverage,
        verified=pair.verified,
        label_conflicts=pair.label_conflicts,
        labels_recoded=pair.recoded,
        unlabelled=pair.unlabelled,
        copies_left_out=pair.copies_left_out or None,
        rows_sha256=_rows_digest(pair),
    )


def _rows_digest(pair: Pair) -> str:
    """Which rows were paired, in their order: of the ids, or of the count where there are none, and of the labels."""
    labels = None if pair.labels is None else plain_labels(np.asarray(pair.labels))
    digest = hashlib.sha256(str(pair.teacher.n).encode())
    for column in (None if pair.ids is None else np.asarray(pair.ids).tolist(), labels):
        digest.update(json.dumps(column).encode())
    return digest.hexdigest()
