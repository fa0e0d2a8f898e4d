"""The order in which causes are looked for: what disturbs every other reading first, and each set aside once found.

What stands before a cause in that order is looked for again once the cause is repaired or set aside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from manifold_probe.diagnosis import classes, columns, hubs, inside, rank, rows, scale, shape, warp
from manifold_probe.diagnosis.case import Case, Finding, View
from manifold_probe.diagnosis.faithfulness import Yardstick
from manifold_probe.diagnosis.linear import cross_fitted, explained
from manifold_probe.engine.scale import at_unit_scale
from manifold_probe.parts import Progress, silent

Cause = Callable[[View], Finding | None]
ORDER: tuple[tuple[Cause, ...], ...] = (
    (columns.dominating_dimension,),
    (rank.dead_dimensions,),
    (rows.outliers,),
    (rows.point_collapse,),
    (rows.row_misalignment,),
    (hubs.hubness,),
    (columns.quantisation,),
    (columns.saturation,),
    (classes.cluster_merge,),
    (classes.cluster_tear,),
    (scale.dimension_rescaling, shape.common_direction),  # each mends some of what the other does
    (inside.slice_failure,),
    (warp.nonlinear_warp,),
    (rank.truncated_dimensions,),
    (rank.dimensional_collapse,),
    (inside.class_collapse,),
    (shape.offset,),
    (shape.norm_loss,),
    (warp.bent_maps,),
    (scale.rescaled_directions,),
    (shape.noise, rank.too_narrow),
)


FEW = ("too_narrow", "noise")  # what a student of few dimensions looks like
LATE = ("bent_maps", "rescaled_directions")  # what any map mends
# What is not looked for once a cause is found that mimics it and cannot be undone.
MIMICS = {
    "cluster_tear": {"slice_failure"},
    "class_collapse": {"norm_loss", "hubness", "noise", "bent_maps", "rescaled_directions", "too_narrow"},
    "quantisation": {"saturation", "nonlinear_warp", "norm_loss", "noise", "hubness", *LATE},
    "saturation": {"nonlinear_warp", "norm_loss", "noise", "hubness", *LATE},
    "offset": {"norm_loss"},
    "nonlinear_warp": set(LATE),
    "dead_dimensions": {"truncated_dimensions", "dimensional_collapse", "class_collapse", *FEW, *LATE},
    "truncated_dimensions": {"dimensional_collapse", "hubness", "class_collapse", *FEW, *LATE},
    "dimensional_collapse": {"norm_loss", "hubness", "class_collapse", *FEW, *LATE},
    "dimension_rescaling": {"nonlinear_warp", *LATE},
    "common_direction": {"rescaled_directions"},
}


REMAINDERS = (shape.noise, rank.too_narrow)  # once a cause is set aside, what is left is the student's usual loss
CERTAIN = 0.75  # unless it is plain
LEVEL = 0.05
UNRELATED = 0.1  # of the overlap: below, it is asked whether the rows have anything to do with one another
ALIKE = 0.15  # of the teacher's spread of lengths: noise alone does not make them that alike
WHOLE = 0.985  # a class of a tenth of the rows that loses 15% would show
LEAST = 0.05  # of the loss that one of these must explain to be worth its name
SPREAD = {"nonlinear_warp", "dimension_rescaling", "common_direction"}


def at_unit_size(x: np.ndarray) -> np.ndarray:
    """The rows in float32, divided by their root mean squared distance from their mean: no cause is one of scale."""
    wide = at_unit_scale(x.astype(np.float64))
    size = float(np.sqrt(np.square(wide - wide.mean(0)).sum(1).mean()))
    return np.ascontiguousarray(wide / size if size > 0 else wide, dtype=np.float32)


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
    teacher, student = (at_unit_size(x) for x in (teacher, student))
    queries = np.arange(n) if queries is None else queries
    return Case(
        teacher, student, codes, true_labels, names, Yardstick(teacher, fold, k, queries), np.ones(n, bool), seed
    )


def examine(case: Case, view: View | None = None, progress: Progress = silent) -> tuple[list[Finding], Case]:
    """Every cause that was found, in the order in which they were, and the case without them.

    ``view`` is the case's, where there is one already. Where nothing is lost, only what overlap cannot show is looked
    for.
    """
    found: list[Finding] = []
    view = view or View(case)
    deciding = columns.dominating_dimension(view)  # before all else: it decides every number that is asked below
    if deciding is not None:
        found, case = [deciding], deciding.after
        view = View(case)
    first = case
    if view.now.mean() < UNRELATED and not related(view):
        return found, case
    whole = min(view.now.mean(), view.now.mean("euclidean"), view.now.cka) > WHOLE
    order = ((shape.offset,), (shape.norm_loss,)) if whole else ORDER[1:]
    for again in (False, True):
        before = case
        for place, rivals in enumerate(order):
            if again and (rivals[0] in REMAINDERS or place >= last(found, order)):
                break
            progress("looking for causes", place + again * len(order), 2 * len(order))
            mimicked = {name for each in found for name in MIMICS.get(each.name, ())}
            known = {each.name for each in found}
            candidates = []
            for cause in rivals:
                finding = None if cause.__name__ in mimicked | known else cause(view)
                if cause is shape.noise and found and finding is None and not mimicked & {"noise", *LATE}:
                    finding = cause(View(replace(first, keep=case.keep)))  # a repair may have turned it uneven
                if finding is not None and not (cause in REMAINDERS and found and finding.confidence < CERTAIN):
                    candidates.append(finding)
            finding = max(candidates, key=lambda each: each.share, default=None)
            if finding is None or (finding.name in SPREAD and finding.share < LEAST):
                continue
            found.append(finding)
            if finding.after is not case:
                case = finding.after
                view = View(case)
        if case is first or (again and case is before):
            break
    if any(each.name == "noise" for each in found):  # which alone makes lengths alike
        found = [each for each in found if each.name != "norm_loss" or each.evidence[0].value < ALIKE * theirs(each)]
    return found, case


def last(found: list[Finding], order: Sequence[tuple[Cause, ...]]) -> int:
    """The place of the last cause that was found and changed the case: what stands before it is looked for again."""
    names = {each.name for each in found}
    return max((place for place, rivals in enumerate(order) if any(c.__name__ in names for c in rivals)), default=0)


def related(view: View) -> bool:
    """Whether either side tells anything of the other on rows that no map was fitted on, beyond shuffled rows."""
    keep = view.keep
    order = np.flatnonzero(keep)
    shuffled = view.student.copy()
    shuffled[order] = view.student[np.random.default_rng([view.case.seed, 6]).permutation(order)]
    null = explained(shuffled[keep].astype(np.float64), cross_fitted(view.teacher, shuffled, view.fold, keep)[keep])
    return view.explained > max(null, 0.0) + 0.01


def theirs(finding: Finding) -> float:
    """What a healthy pair would show of a finding's first evidence."""
    return finding.evidence[0].expected or 0.0


def tried() -> int:
    """How many causes are looked for."""
    return sum(len(rivals) for rivals in ORDER)


def stands(found: list[Finding]) -> list[Finding]:
    """Those that hold at a family-wise error of 5% for all causes that were looked for (Holm 1979)."""
    kept: list[Finding] = []
    for place, finding in enumerate(sorted(found, key=lambda each: each.p)):
        if finding.p * (tried() - place) > LEVEL:
            break
        kept.append(finding)
    return [each for each in found if each in kept]


def ranked(found: list[Finding]) -> list[Finding]:
    """The causes in their order of precedence."""
    return sorted(found, key=lambda each: precedence(each.name, each.share, each.confidence))


def precedence(name: str, share: float | None, confidence: float) -> tuple[bool, float]:
    """Rows with the wrong partner first, as they disturb every other reading; then what explains most."""
    return name != "row_misalignment", -(share or 0.0) * confidence
