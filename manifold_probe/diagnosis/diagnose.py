"""From a pair of spaces to a diagnosis: the account of the whole loss, and the causes with their proofs.

Causes are searched in at most 2,500 rows, taken evenly in row order so that blocks stay blocks. Overlap and CKA are
the comparison's, of all rows; the account comes from held-out halves of all rows and adds up to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from manifold_probe.diagnosis import accounting
from manifold_probe.diagnosis.cause import Cause, check_causes
from manifold_probe.diagnosis.causes import CAUSES
from manifold_probe.diagnosis.copies import distinct_rows, fell_together
from manifold_probe.diagnosis.lab import EXAMINED, Lab
from manifold_probe.diagnosis.search import FAMILY_ERROR, MIN_POINTS, Finding, SearchResult, pursue
from manifold_probe.diagnosis.spectra import ceiling
from manifold_probe.diagnosis.unaligned import Unaligned, unaligned
from manifold_probe.engine.inputs import codes_of
from manifold_probe.engine.rows import evenly
from manifold_probe.engine.threads import Mapper, threads
from manifold_probe.errors import InputError
from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP, OVERLAP_EUCLIDEAN
from manifold_probe.measures.measure import measure_students
from manifold_probe.parts import Parts, Progress
from manifold_probe.spaces.pairing import Pair

if TYPE_CHECKING:
    from manifold_probe.diagnosis.training import Training

EXAMINED_ROWS = 2500
MIN_ROWS = 60
CLUSTER_COUNT = 10
AT_CHANCE = 0.05  # overlap: below, another order is tried although ids agree
SET_ASIDE = ("outliers", "point_collapse", "row_misalignment")
MEASURE_KEYS = (OVERLAP.key, OVERLAP_EUCLIDEAN.key, DEBIASED_CKA.key)
MEASURE_FIELDS = ("value", "low", "high", "chance", "reference", "n")
SAME_SCALE = (0.67, 1.5)  # ratios of the two spreads that need no note
MAX_RAW_CORRELATION = 0.5  # median over dimensions with the same number: below, they do not correspond
MIN_PREDICTED = 0.9  # of what a map predicts of the teacher from itself: above, a map is all that is missing
SCALE_NOTE = (
    "the student's vectors are all longer or shorter by one factor: scale them before both models share an index"
)
ROTATION_NOTE = "dimensions do not correspond one to one: map one side before both models share an index"
MISSING_INPUTS = {
    "preprocessing": "the models were not given: give --teacher and --student as models with --data",
    "misaligned_head": "the student's head was not given: give --student-head",
    "overfit": "it is not known which rows were trained on: give --train-ids",
    "undertrained": "the log of the training was not given: give --log",
}


@dataclass(frozen=True)
class Asked:
    """The options of a diagnosis.

    ``slices`` (n,) in the pair's row order: another grouping, searched as classes are.
    """

    k: int = 10
    queries: int = 5000
    seed: int = 0
    causes: Sequence[Cause] = CAUSES
    slices: np.ndarray | None = None
    training: Training | None = None
    account: bool = True


def diagnosed(
    pair: Pair, asked: Asked, measures: dict[str, Any] | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """The parts of a diagnosis as the document holds them, without the verdict; also ``aside`` (rows on which no map
    should be fitted) and ``unaligned``, None where rows are paired correctly.

    ``measures`` are the comparison's, by key, where they are already known.

    Raises
    ------
    InputError
        Too few distinct rows for halves, labels of one class, or a cause that fails.
    """
    with threads() as parallel:
        return _diagnosed(pair, asked, measures, progress, parallel)


def _diagnosed(
    pair: Pair, asked: Asked, measures: dict[str, Any] | None, progress: Progress | None, parallel: Mapper
) -> dict[str, Any]:
    check_causes(asked.causes)
    parts = Parts(progress, {"measures": 1, "training": 0.3, "causes": 1.2, "account": 1.2})
    k, seed = asked.k, asked.seed
    distinct = distinct_rows(pair)
    check_enough(pair, len(distinct), k)
    measures_by_key = measured(pair, asked, parts["measures"]) if measures is None else measures
    copies = np.setdiff1d(np.arange(pair.teacher.n), distinct, assume_unique=True)
    suspicious = not pair.verified or (measures_by_key[OVERLAP.named(k)]["value"] or 0.0) < AT_CHANCE
    wrong_order = unaligned(pair, distinct, k, seed) if suspicious else None
    wrong_order = None if wrong_order is not None and wrong_order.order is None and fell_together(pair) else wrong_order
    if wrong_order is not None:
        return of_unaligned(pair, wrong_order, measures_by_key, copies, asked)
    rows = distinct[evenly(len(distinct), EXAMINED_ROWS)]
    of_training = None
    if asked.training is not None:
        from manifold_probe.diagnosis.training import evidence_of_training

        of_training = evidence_of_training(pair, asked.training, k, seed, progress=parts["training"])
    assessed = set() if of_training is None else set(of_training.assessed)
    lab = lab_of(pair, rows, asked)
    unknown = [cause for cause in asked.causes if cause.name not in assessed]  # evidence of the training is better
    for cause in [] if of_training is None else of_training.causes:
        if cause["status"] == "proved" and (cause["where"] or {}).get("classes"):
            lab = lab.without(np.isin(lab.codes, [lab.names.index(name) for name in cause["where"]["classes"]]))
    result = pursue(lab, unknown, parts["causes"], parallel)
    of_slices = [] if asked.slices is None else slice_findings(pair, rows, asked)
    causes = [described(finding, rows, pair.ids) for finding in [*result.proved, *of_slices, *result.suspected]]
    costly, costless = (
        ([], []) if of_training is None else parted(of_training.causes, measures_by_key[OVERLAP.named(k)]["value"])
    )
    causes += costly
    aside = np.union1d(copies, set_aside(result.proved, rows))
    account = None
    if asked.account:
        codes, names = (None, np.empty(0)) if pair.labels is None else codes_of(np.asarray(pair.labels))
        account = accounting.account(
            pair,
            measures_by_key[OVERLAP.named(k)]["value"],
            measures_by_key[DEBIASED_CKA.key]["value"],
            k,
            seed,
            aside=np.setdiff1d(aside, copies),
            copies=copies,
            codes=codes,
            names=[str(name) for name in names.tolist()],
            pieces=() if of_training is None else of_training.pieces,
            progress=parts["account"],
        )
    return {
        "measures": measures_by_key,
        **accounted(account),
        "causes": ranked(causes, measures_by_key, k),
        "benign": [*costless, *differences(result), *benign(pair, rows, lab, result.after)],
        "not_assessed": not_assessed(lab, asked, assessed),
        "aside": aside.tolist(),
        "unaligned": None,
        "examined": {
            "rows": len(rows),
            "copies": len(copies),
            "of": pair.teacher.n,
            "labels": lab.labelled,
            "set_aside": len(aside),
            "causes": {"tried": len(lab.tried), "level": FAMILY_ERROR, "correction": "Bonferroni"},
            **({} if asked.slices is None else {"slices": {"count": len(codes_of(np.asarray(asked.slices))[1])}}),
            **({} if of_training is None else of_training.examined),
        },
    }


def measured(pair: Pair, asked: Asked, progress: Progress | None = None) -> dict[str, Any]:
    """Overlap in both metrics and debiased CKA of all rows, by the comparison's engine."""
    measurement = measure_students(
        {"student": pair}, k=asked.k, queries=asked.queries, seed=asked.seed, measures=MEASURE_KEYS, progress=progress
    )["student"]
    return {
        key: {name: getattr(measure, name) for name in MEASURE_FIELDS} for key, measure in measurement.measures.items()
    }


def accounted(account: accounting.Account | None) -> dict[str, Any]:
    """The account as the document holds it; empty where there is none."""
    if account is None:
        return {"accounting": [], "accounting_cka": [], "ladder": [], "held_out": {}}
    return {
        "accounting": [vars(part) for part in account.overlap],
        "accounting_cka": [vars(part) for part in account.cka],
        "ladder": account.steps,
        "held_out": account.held_out,
    }


def of_unaligned(
    pair: Pair, wrong_order: Unaligned, measures_by_key: dict[str, Any], copies: np.ndarray, asked: Asked
) -> dict[str, Any]:
    """The parts of a diagnosis of rows that are paired wrongly: nothing else can be assessed."""
    overlap, cka = measures_by_key[OVERLAP.named(asked.k)]["value"], measures_by_key[DEBIASED_CKA.key]["value"]
    return {
        "measures": measures_by_key,
        **accounted(accounting.of_order(wrong_order, overlap, cka)),
        "causes": [wrong_order.cause()],
        "benign": [],
        "not_assessed": [{"name": "all other causes", "why": "they can be assessed once rows are paired correctly"}],
        "aside": copies.tolist(),
        "unaligned": wrong_order,
        "examined": {
            "rows": pair.teacher.n - len(copies),
            "copies": len(copies),
            "of": pair.teacher.n,
            "labels": pair.labels is not None,
            "set_aside": 0,
            "causes": {"tried": 1, "level": FAMILY_ERROR, "correction": "Bonferroni"},
        },
    }


def check_enough(pair: Pair, distinct: int, k: int) -> None:
    """Refuse pairs with too few distinct rows for halves. Raises InputError."""
    n, required = pair.teacher.n, max(MIN_ROWS, 4 * (k + 1))
    if distinct < required:
        repeated = f" ({n - distinct} of {n} are copies of others)" if distinct < n else ""
        raise InputError(
            f"{pair.student.name}: {distinct:,} paired rows{repeated} are too few to find causes in one half and prove "
            f"them in the other; at least {required:,} are needed for k = {k}"
        )


def lab_of(pair: Pair, rows: np.ndarray, asked: Asked, labels: np.ndarray | None = None) -> Lab:
    """The lab of some rows, with the pair's labels, other ``labels`` (n,), or the teacher's clusters."""
    teacher, student = pair.teacher.take(rows), pair.student.take(rows)
    labels = pair.labels if labels is None else labels
    if labels is None:
        from sklearn.cluster import KMeans

        count = min(CLUSTER_COUNT, max(2, len(rows) // 20))
        codes = KMeans(count, n_init=1, random_state=asked.seed).fit(teacher.astype(np.float64)).labels_
        names = [f"cluster {code}" for code in range(count)]
        return Lab.of(teacher, student, codes.astype(np.int64), names, labelled=False, k=asked.k, seed=asked.seed)
    codes, class_names = codes_of(np.asarray(labels)[rows])
    if len(class_names) < 2:
        raise InputError(f"{pair.teacher.name}: labels hold one class; give labels of several, or none")
    codes = np.where(codes < 0, len(class_names), codes)
    return Lab.of(teacher, student, codes, [str(name) for name in class_names.tolist()], k=asked.k, seed=asked.seed)


def slice_findings(pair: Pair, rows: np.ndarray, asked: Asked) -> list[Finding]:
    """Slices that failed alone, searched as classes are."""
    causes = [cause for cause in asked.causes if cause.name == "slice_failure"]
    findings = []
    for finding in pursue(lab_of(pair, rows, asked, asked.slices), causes).proved:
        where = {"slices" if kind == "classes" else kind: values for kind, values in finding.signs.where.items()}
        cause = replace(finding.cause, words="one slice failed alone")
        findings.append(replace(finding, cause=cause, signs=replace(finding.signs, where=where)))
    return findings


def set_aside(findings: list[Finding], rows: np.ndarray) -> np.ndarray:
    """Numbers of the rows on which no map should be fitted; ``rows`` are those that were examined."""
    places = [np.asarray(finding.signs.where["rows"]) for finding in findings if finding.name in SET_ASIDE]
    return rows[np.unique(np.concatenate(places))] if places else rows[:0]


def ranked(causes: list[dict[str, Any]], measures: dict[str, Any], k: int) -> list[dict[str, Any]]:
    """The causes by the share of the comparison's loss that they explain: those proved by an experiment first, then
    those predicted from the course of a log, then the suspected."""

    def explains(cause: dict[str, Any]) -> float:
        key = (cause["repair"] or {}).get("measure", OVERLAP.named(k)).removeprefix(EXAMINED)
        value = (measures.get(key) or measures[OVERLAP.named(k)])["value"]
        return float((cause["share"] or 0.0) * (1 - (value or 0.0)))

    return sorted(causes, key=lambda cause: (cause["status"] != "proved", cause["repair"] is None, -explains(cause)))


def parted(causes: list[dict[str, Any]], overlap: float) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The causes of the training that explain a loss, and the others as differences without a loss."""
    costly, costless = [], []
    for cause in causes:
        largest = (1.0 if cause["share"] is None else cause["share"]) * (1 - overlap)
        if largest >= MIN_POINTS:
            costly.append(cause)
        else:
            costless.append({"name": cause["name"], "words": cause["words"], "value": largest, "note": cause["advice"]})
    return costly, costless


def differences(result: SearchResult) -> list[dict[str, Any]]:
    """Signs of causes that explain no loss."""
    return [
        {
            "name": finding.name,
            "words": finding.cause.words,
            "value": finding.signs.evidence[0].value,
            "note": finding.cause.harmless,
        }
        for finding in result.differences
    ]


def benign(pair: Pair, rows: np.ndarray, lab: Lab, after: Lab) -> list[dict[str, Any]]:
    """Differences without a loss that matter where one index holds the vectors of both models."""
    differences_found = []
    ratio = spread(pair.student.take(rows)) / spread(pair.teacher.take(rows))
    if not SAME_SCALE[0] < ratio < SAME_SCALE[1]:
        differences_found.append(
            {"name": "global_scale", "words": "lengths differ by a factor", "value": ratio, "note": SCALE_NOTE}
        )
    compared = after if after.student.shape == after.teacher.shape else lab
    if compared.student.shape == compared.teacher.shape:
        raw = float(np.median(column_correlations(compared.student[compared.keep], compared.teacher[compared.keep])))
        if raw < MAX_RAW_CORRELATION and compared.explained > MIN_PREDICTED * ceiling(compared):
            words = "dimensions are rotated or permuted"
            differences_found.append({"name": "rotation", "words": words, "value": raw, "note": ROTATION_NOTE})
    return differences_found


def spread(x: np.ndarray) -> float:
    """Root mean squared distance of rows (n, d) from their mean, safe at any scale."""
    wide = x.astype(np.float64)
    size = float(np.abs(wide).max()) or 1.0
    wide /= size
    return size * float(np.sqrt(np.square(wide - wide.mean(0)).sum(1).mean()))


def column_correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(d,): Pearson correlation of columns with the same number."""
    x, y = x - x.mean(0), y - y.mean(0)
    scale = np.sqrt(np.square(x).sum(0) * np.square(y).sum(0))
    correlations: np.ndarray = (x * y).sum(0) / np.maximum(scale, 1e-30)
    return correlations


def described(finding: Finding, rows: np.ndarray, ids: np.ndarray | None) -> dict[str, Any]:
    """A cause as the document holds it, with numbers of paired rows, and their ids where there are ids."""
    where: dict[str, Any] | None = None
    if finding.signs.where:
        where = {}
        for kind, values in finding.signs.where.items():
            places = rows[np.asarray(values)] if kind == "rows" else values
            where[kind] = [value.item() if hasattr(value, "item") else value for value in list(places)]
            if kind == "rows" and ids is not None:
                where["ids"] = [str(ids[row]) for row in places]
    cause, trial, confusable = finding.cause, finding.trial, finding.signs.confusable
    return {
        "name": cause.name,
        "words": cause.words,
        "status": "proved" if trial is not None else "suspected",
        "share": finding.share,
        "evidence": [{"measure": e.measure, "value": e.value, "expected": e.expected} for e in finding.signs.evidence],
        "repair": None if trial is None else trial.to_dict(),
        "where": where,
        "advice": cause.advice,
        "falsified_by": cause.falsified_by,
        "or": list(cause.confusable if confusable is None else confusable),
    }


def not_assessed(lab: Lab, asked: Asked, assessed: set[str]) -> list[dict[str, str]]:
    """The causes that could not be assessed, and why."""
    unassessed = [{"name": name, "why": why} for name, why in MISSING_INPUTS.items() if name not in assessed]
    if len(lab.names) < 4:
        unassessed += [
            {"name": name, "why": f"{len(lab.names)} classes are too few to compare one with the others"}
            for name in ("cluster_merge", "slice_failure", "absent_classes")
        ]
    if asked.slices is not None and (count := len(codes_of(np.asarray(asked.slices))[1])) < 4:
        unassessed.append(
            {"name": "slice_failure", "why": f"{count} slices are too few to compare one with the others"}
        )
    return unassessed
