"""From a pair of spaces to a diagnosis: causes with their proofs, benign differences, and the ladder.

Causes are looked for in at most 2,500 rows, taken evenly in row order so that blocks stay blocks; the ladder is read on
at most 1,000 queries against all rows of their half.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold_probe.diagnosis.advice import ADVICE
from manifold_probe.diagnosis.case import Evidence, Finding, View
from manifold_probe.diagnosis.copies import distinct_rows
from manifold_probe.diagnosis.examine import LEVEL, examine, make_case, ranked, stands, tried
from manifold_probe.diagnosis.halves import Halves
from manifold_probe.diagnosis.ladder import climb
from manifold_probe.diagnosis.rank import ceiling, matched_columns
from manifold_probe.diagnosis.unaligned import Unaligned, unaligned
from manifold_probe.engine.inputs import codes_of
from manifold_probe.errors import InputError
from manifold_probe.parts import Parts, Progress
from manifold_probe.spaces.pairing import Pair

SCHEMA = "manifold-probe/diagnosis/1"
EXAMINED = 2500
LEAST = 60
SURE = 0.5
LOW = 0.5  # of the overlap of the student's best linear image: below, a loss without a cause is said to be diffuse
CLUSTERS = 10
SAME_COLUMNS, KEPT = 0.9, 0.5
SCALED = "the student's vectors are all longer or shorter by one factor: scale them before both models share an index"
TURNED = "dimensions do not correspond one to one: map one side before both models share an index"
MODELS_NEEDED = {
    "preprocessing": "the models are not at hand: give --teacher and --student as models with --data",
    "misaligned_head": "the student's head is not at hand: give --student-head",
    "overfit": "it is not known which rows were trained on: give --train-ids",
}


def diagnosed(
    pair: Pair,
    *,
    k: int = 10,
    seed: int = 0,
    ladder: bool = True,
    without: np.ndarray | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The parts of a diagnosis that follow from features alone: ``causes``, ``benign``, ``ladder``, ``not_assessed``,
    ``examined``, ``aside`` (rows that no map is to be fitted on), and ``unaligned``, None where rows are paired
    rightly; ``without`` (n,) of bool are rows that are set aside from the start.

    Raises
    ------
    InputError
        Too few distinct rows for halves.
    """
    distinct = distinct_rows(pair)
    n, m = pair.teacher.n, len(distinct)
    if m < LEAST:
        repeated = f" ({n - m} of {n} are copies of others)" if m < n else ""
        raise InputError(
            f"{pair.student.name}: {m} rows{repeated} are too few to diagnose; at least {LEAST} are needed"
        )
    wrong = unaligned(pair, distinct, k, seed)
    if wrong is not None:
        return of_unaligned(wrong, distinct, n, pair.labels is not None)
    rows = distinct[np.unique(np.linspace(0, m - 1, min(m, EXAMINED)).round().astype(int))]
    teacher, student = pair.teacher.take(rows), pair.student.take(rows)
    codes, names, labelled = classes_of(pair, rows, teacher, seed)
    whole = make_case(teacher, student, codes, names, labelled, k, seed)
    case = whole if without is None else whole.without(without[rows])
    view = View(case)
    parts = Parts(progress, {"causes": 1, "ladder": 1 if ladder else 0})
    found, _ = examine(case, view, parts["causes"])
    causes = [each for each in ranked(stands(found)) if each.confidence >= SURE]
    copies = np.setdiff1d(np.arange(n), distinct, assume_unique=True)
    aside = np.union1d(copies, set_aside(found, rows))
    steps = climb(Halves(pair, k, seed, aside), parts["ladder"]) if ladder else []
    unproved = [each.name for each in ranked(found) if each not in causes]
    if not causes:
        diffuse = diffuse_loss(view)
        causes = [diffuse] if diffuse is not None else []
    ids = pair.ids
    return {
        "causes": [described(each, rows, ids, k) for each in causes],
        "benign": benign(steps, view, teacher, student) if ladder else [],
        "ladder": steps,
        "not_assessed": not_assessed(labelled, len(names)),
        "aside": aside.tolist(),
        "unaligned": None,
        "examined": {
            "rows": len(rows),
            "copies": n - m,
            "of": n,
            "labels": labelled,
            "overlap": view.now.mean() if case is whole else View(whole).now.mean(),
            "set_aside": len(aside),
            "causes": {"tried": tried(), "level": LEVEL, "correction": "Holm", "unproved": unproved},
        },
    }


def of_unaligned(wrong: Unaligned, distinct: np.ndarray, n: int, labelled: bool) -> dict[str, Any]:
    """The parts of a diagnosis of rows that are paired wrongly: nothing else can be said of them."""
    copies = np.setdiff1d(np.arange(n), distinct, assume_unique=True)
    return {
        "causes": [wrong.cause()],
        "benign": [],
        "ladder": wrong.ladder(),
        "not_assessed": [{"name": "all other causes", "why": "they can be told once rows are paired rightly"}],
        "aside": copies.tolist(),
        "unaligned": wrong,
        "examined": {
            "rows": len(distinct),
            "copies": len(copies),
            "of": n,
            "labels": labelled,
            "overlap": wrong.overlap,
            "set_aside": 0,
            "causes": {"tried": 1, "level": LEVEL, "correction": "Holm", "unproved": []},
        },
    }


def classes_of(pair: Pair, rows: np.ndarray, teacher: np.ndarray, seed: int) -> tuple[np.ndarray, list[str], bool]:
    """Codes and names of the classes; the teacher's clusters where there are no labels.

    Rows without a label have the code after the last class's.
    """
    if pair.labels is not None:
        codes, names = codes_of(np.asarray(pair.labels)[rows])
        if len(names) < 2:
            raise InputError(f"{pair.teacher.name}: labels hold one class; give labels of several, or none")
        return np.where(codes < 0, len(names), codes), [str(name) for name in names.tolist()], True
    from sklearn.cluster import KMeans

    count = min(CLUSTERS, max(2, len(rows) // 20))
    found = KMeans(count, n_init=1, random_state=seed).fit(teacher.astype(np.float64))
    return found.labels_.astype(np.int64), [f"cluster {code}" for code in range(count)], False


def set_aside(found: list[Finding], rows: np.ndarray) -> np.ndarray:
    """Numbers of the rows that a map must not be fitted on; ``rows`` are those that were examined."""
    places = [
        each.where["rows"]
        for each in found
        if each.name in ("outliers", "point_collapse", "row_misalignment") and each.where
    ]
    return rows[np.unique(np.concatenate(places))] if places else rows[:0]


def diffuse_loss(view: View) -> Finding | None:
    """Low faithfulness with nothing specific: even the best linear image keeps few neighbours."""
    best = max(view.now.mean(), view.judge(view.recovered).mean())
    if best >= LOW:
        return None
    return Finding(
        "diffuse_loss",
        [Evidence("overlap@10 of the student's best linear image", best, 1.0)],
        None,
        view.case,
        share=1.0,
        confidence=float(np.clip(1.3 - 1.6 * best, 0.3, 0.95)),
        z=np.inf,
    )


def benign(steps: list[dict[str, Any]], view: View, teacher: np.ndarray, student: np.ndarray) -> list[dict[str, Any]]:
    """Differences that lose nothing, but matter to whoever keeps both models' vectors in one index."""
    found = []
    keep = view.keep
    wide = (x[keep].astype(np.float64) for x in (student, teacher))
    spreads = [float(np.sqrt(np.square(x - x.mean(0)).sum(1).mean())) for x in wide]
    ratio = spreads[0] / max(spreads[1], 1e-300)
    if not 0.67 < ratio < 1.5:
        found.append({"name": "global_scale", "value": ratio, "note": SCALED})
    if view.student.shape[1] == view.teacher.shape[1]:
        raw = _agreement(view.student[keep], view.teacher[keep])
        overlap = {step["repair"]: next(iter(step["measures"].values()))["value"] for step in steps}
        permuted = float(np.median(matched_columns(view)[2])) > SAME_COLUMNS
        name, rung = ("permutation", "permutation") if permuted else ("rotation", "orthogonal")
        kept = abs(overlap[rung] - overlap["identity"]) < 0.05 and overlap[rung] > KEPT
        if raw < 0.5 and kept and view.explained > SAME_COLUMNS * ceiling(view):
            found.append({"name": name, "value": raw, "note": TURNED})
    return found


def _agreement(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(0), y - y.mean(0)
    scale = np.sqrt(np.square(x).sum(0) * np.square(y).sum(0))
    return float(np.median((x * y).sum(0) / np.maximum(scale, 1e-30)))


def described(finding: Finding, rows: np.ndarray, ids: np.ndarray | None, k: int) -> dict[str, Any]:
    """A cause as the document holds it; row numbers are those of the paired rows, ids where there are any."""
    where: dict[str, Any] | None = None
    if finding.where:
        where = {}
        for kind, values in finding.where.items():
            places = rows[values] if kind == "rows" else values
            where[kind] = [each.item() if hasattr(each, "item") else each for each in list(places)]
            if kind == "rows" and ids is not None:
                where["ids"] = [str(ids[row]) for row in places]
    repair = finding.repair
    return {
        "name": finding.name,
        "confidence": finding.confidence,
        "share": finding.share,
        "evidence": [
            {"measure": at_k(e.measure, k), "value": e.value, "expected": e.expected} for e in finding.evidence
        ],
        "repair": None
        if repair is None
        else {
            "name": repair.name,
            "measure": at_k(repair.measure + (":euclidean" if repair.gain.metric == "euclidean" else ""), k),
            "before": repair.gain.before,
            "after": repair.gain.after,
            "low": max(repair.gain.low, -1.0),
            "high": min(repair.gain.high, 1.0),
            "healthy_gain": repair.healthy_gain,
        },
        "where": where,
        "advice": ADVICE[finding.name],
        "or": finding.or_,
    }


def at_k(measure: str, k: int) -> str:
    """A measure's key at the k that was asked for.

    >>> at_k("overlap@10:euclidean", 5)
    'overlap@5:euclidean'
    """
    return measure.replace("overlap@10", f"overlap@{k}")


def not_assessed(labelled: bool, classes: int) -> list[dict[str, str]]:
    """What could not be looked at, and why."""
    found = [{"name": name, "why": why} for name, why in MODELS_NEEDED.items()]
    if classes < 4:
        found += [
            {"name": name, "why": f"{classes} classes are too few to tell one from the others"}
            for name in ("cluster_merge", "slice_failure")
        ]
    return found
