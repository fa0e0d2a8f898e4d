"""The order in which causes are looked for: what disturbs every other reading first, and each set aside once found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from manifold_probe.diagnosis import classes, columns, rows, shape
from manifold_probe.diagnosis.case import Case, Finding, View
from manifold_probe.diagnosis.faithfulness import Yardstick

Cause = Callable[[View], Finding | None]
ORDER: tuple[tuple[Cause, ...], ...] = (
    (columns.dead_dimensions,),
    (rows.outliers,),
    (rows.point_collapse,),
    (rows.row_misalignment,),
    (shape.hubness,),
    (columns.quantisation,),
    (columns.saturation,),
    (columns.dimension_rescaling, shape.common_direction),  # each mends some of what the other does
    (classes.cluster_merge,),
    (classes.cluster_tear,),
    (classes.slice_failure,),
    (columns.truncated_dimensions,),
    (columns.dimensional_collapse,),
    (classes.class_collapse,),
    (shape.offset,),
    (shape.norm_loss,),
    (shape.nonlinear_warp,),
    (shape.noise,),
)


# What is not looked for once a cause is found that mimics it and cannot be undone.
MIMICS = {
    "cluster_tear": {"slice_failure"},
    "class_collapse": {"nonlinear_warp", "norm_loss", "hubness"},
    "quantisation": {"saturation", "nonlinear_warp", "norm_loss", "offset", "hubness"},
    "saturation": {"nonlinear_warp", "norm_loss", "offset", "hubness"},
    "dead_dimensions": {"truncated_dimensions", "dimensional_collapse"},
    "truncated_dimensions": {"dimensional_collapse", "nonlinear_warp", "hubness"},
    "dimensional_collapse": {"offset", "norm_loss", "nonlinear_warp", "hubness"},
}


LEAST = 0.05  # of the loss that one of these must explain to be worth its name
SPREAD = {"nonlinear_warp", "hubness", "dimension_rescaling", "common_direction"}


def make_case(
    teacher: np.ndarray,
    student: np.ndarray,
    codes: np.ndarray,
    names: list[str],
    true_labels: bool,
    k: int,
    seed: int,
    queries: np.ndarray | None = None,
) -> Case:
    """The case before anything was found; rows are split in two at random."""
    n = len(teacher)
    fold = np.zeros(n, bool)
    fold[np.random.default_rng([seed, 1]).permutation(n)[: n // 2]] = True
    teacher, student = (np.ascontiguousarray(x, dtype=np.float32) for x in (teacher, student))
    queries = np.arange(n) if queries is None else queries
    return Case(
        teacher, student, codes, true_labels, names, Yardstick(teacher, fold, k, queries), np.ones(n, bool), seed
    )


def examine(case: Case) -> tuple[list[Finding], Case]:
    """Every cause that was found, in the order in which they were, and the case without them."""
    found: list[Finding] = []
    view = View(case)
    for rivals in ORDER:
        mimicked = {name for each in found for name in MIMICS.get(each.name, ())}
        candidates = [
            finding for cause in rivals if cause.__name__ not in mimicked and (finding := cause(view)) is not None
        ]
        if not candidates:
            continue
        finding = max(candidates, key=lambda each: each.share)
        if finding.name in SPREAD and finding.share < LEAST:
            continue
        if finding.name == "noise" and found:
            continue  # what is left once a cause is set aside is the student's usual loss
        found.append(finding)
        if finding.after is not case:
            case = finding.after
            view = View(case)
    return found, case


def ranked(found: list[Finding]) -> list[Finding]:
    """The causes that explain most first."""
    return sorted(found, key=lambda each: -each.share * each.confidence)
