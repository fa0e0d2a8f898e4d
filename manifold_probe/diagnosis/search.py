"""Matching pursuit: every cause proposes on the same lab, the largest proved share wins, the pair is repaired, repeat.

A cause that only looks like another has no gain left once the other is repaired or inflicted on the reference, so the
order of the causes does not matter. A trial passes where its p value, times the number of all experiments made (several
repairs of one cause included), is at most 5%, and it explains at least `MIN_POINTS` of a measure. Signs without a trial
that passes are suspected where they would explain half as much as what is proved; they repair nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from manifold_probe.diagnosis.cause import Cause, LeftOut, Proved, Repair, Signs
from manifold_probe.diagnosis.lab import CKA, COSINE, METRICS, Evidence, Lab, Trial
from manifold_probe.engine.threads import Mapper, one_by_one
from manifold_probe.errors import InputError
from manifold_probe.parts import Progress, silent

FAMILY_ERROR = 0.05  # probability that any of the experiments passes by chance
MIN_POINTS = 0.01  # of a measure over all rows: users do not see less than one point
MAX_ROUNDS = 5
MIN_SUSPECTED_SHARE = 0.1  # of the whole loss
MIN_SUSPECTED_POINTS = 0.03  # of the overlap: smaller suspicions are not reported
SHARE_OF_A_MAP = 0.2  # of what a map fitted to the teacher explains, which reverses many faults
SHARE_OF_GENERAL = 0.5  # of what a less specific cause explains: enough to prefer a more specific one


@dataclass(frozen=True)
class Finding:
    """A cause with its signs, the trial that proves it or None, and the pair once the cause is removed."""

    cause: Cause
    signs: Signs
    trial: Trial | None
    after: Lab

    @property
    def name(self) -> str:
        """The cause's name."""
        return self.cause.name

    @property
    def share(self) -> float:
        """Share of the whole loss."""
        return self.signs.share if self.trial is None else self.trial.share

    @property
    def amount(self) -> float:
        """The loss that it explains, in points of its measure: causes are ordered by this."""
        if self.trial is None:
            return self.share * self.after.loss(COSINE)
        hidden = self.trial.before - self.trial.after if self.trial.counted and self.trial.kind == "undo" else 0.0
        # a dimension on both sides hides a loss: without it the measure falls by ``hidden``
        return max(self.share * lost_in(self.after, self.trial.measure), hidden)


class SearchResult(NamedTuple):
    """The ``proved`` causes in the order of their proofs, the ``suspected`` ones, the pair ``after`` all proved causes
    are removed, and ``differences``, signs of causes that explain no loss."""

    proved: list[Finding]
    suspected: list[Finding]
    after: Lab
    differences: list[Finding]


def lost_in(lab: Lab, key: str) -> float:
    """The loss of the pair in the measure of that key; in overlap where the lab does not have the measure."""
    return lab.loss(next((measure for measure in (*METRICS, CKA) if lab.key(measure) == key), COSINE))


def pursue(
    lab: Lab, causes: Sequence[Cause], progress: Progress = silent, parallel: Mapper = one_by_one
) -> SearchResult:
    """Search for causes of a pair until nothing more is proved; every proved cause is removed before the next round."""
    proved: list[Finding] = []
    proposals: list[Finding] = []
    for turn in range(MAX_ROUNDS):
        progress("looking for causes", turn, MAX_ROUNDS)
        proved_names = {finding.name for finding in proved}
        best, proposals = None, []
        for general in (False, True):
            candidates = [cause for cause in causes if cause.name not in proved_names and cause.general == general]
            proposals += [
                finding for findings in parallel(partial(proposed, lab=lab), candidates) for finding in findings
            ]
            best = winner([finding for finding in proposals if passes(finding, len(lab.tried))])
            if best is not None:
                break
        if best is None:
            break
        proved.append(best)
        lab = best.after
    names = {finding.name for finding in proved}
    smallest = SHARE_OF_GENERAL * max((finding.amount for finding in proved), default=0.0)
    remaining = [finding for finding in proposals if finding.name not in names]
    inflicted = any(finding.trial is not None and finding.trial.kind == "inflict" for finding in proved)
    suspected = [
        finding
        for finding in remaining
        if finding.trial is None
        and explains(finding)
        and finding.amount >= smallest
        and not (finding.cause.general and inflicted)  # inflicted damage is approximate; its error looks like noise
    ]
    harmless = {finding.name: finding for finding in remaining if finding.cause.harmless and finding not in suspected}
    return SearchResult(proved, suspected, lab, list(harmless.values()))


def winner(passing: list[Finding]) -> Finding | None:
    """The proposal that explains most. A more `specific` one is preferred if it explains at least half as much, or a
    fifth of what a map fitted to the teacher explains."""
    fitted = max((finding.amount for finding in passing if mapped(finding)), default=0.0)
    largest = max((finding.amount for finding in passing if not mapped(finding)), default=0.0)
    if largest < SHARE_OF_A_MAP * fitted:
        largest = fitted
    enough = [finding for finding in passing if finding.amount >= SHARE_OF_GENERAL * largest]
    return max(enough, key=lambda finding: (specific(finding), finding.amount), default=None)


def mapped(finding: Finding) -> bool:
    """Whether the trial is of a map fitted to the teacher."""
    return finding.trial is not None and finding.trial.kind == "mapped"


def specific(finding: Finding) -> int:
    """How specific a trial is: 0 where it reverses many faults, such as leaving a class out or a map fitted to the
    teacher; 1 where it reverses or repeats one fault, or leaves out single rows; 2 where that fault concerns some rows
    or classes alone, or is a count."""
    trial = finding.trial
    if trial is None or mapped(finding):
        return 0
    if trial.kind == "left out":
        return int("rows" in finding.signs.where)
    local = trial.n < int(finding.after.start.keep.sum()) and not {"rows", "classes"}.isdisjoint(finding.signs.where)
    return 2 if local or trial.counted else 1


def passes(finding: Finding, tried: int) -> bool:
    """Whether a trial is significant after correction for the number ``tried``, and explains enough."""
    trial = finding.trial
    return trial is not None and explains(finding) and trial.p * max(tried, 1) <= FAMILY_ERROR


def explains(finding: Finding) -> bool:
    """Whether it explains enough of the loss to be named; half of that for a count, or a part of the rows."""
    counted = finding.trial is not None and finding.trial.counted
    local = not {"rows", "classes"}.isdisjoint(finding.signs.where)
    if finding.trial is None:
        return finding.share >= MIN_SUSPECTED_SHARE and finding.amount >= MIN_SUSPECTED_POINTS
    return finding.amount >= (MIN_POINTS / 2 if counted or local else MIN_POINTS)


def proposed(cause: Cause, lab: Lab) -> list[Finding]:
    """The findings of a cause, with their trials.

    Raises
    ------
    InputError
        Where the cause fails, names rows that the pair does not have, or returns rows of another shape.
    """
    try:
        signs = cause.signs(lab)
        several = [] if signs is None else [signs] if isinstance(signs, Signs) else list(signs)
        return [finding for one_of_signs in several for finding in tested(cause, checked(one_of_signs, lab), lab)]
    except InputError:
        raise
    except Exception as problem:
        reason = " ".join(str(problem).split())[:200]
        raise InputError(
            f"cause {cause.name}: {type(problem).__name__}: {reason}; correct it or leave it out"
        ) from problem


def tested(cause: Cause, signs: Signs, lab: Lab) -> list[Finding]:
    """The findings of some signs: one for every repair, or one for the damage, or one without a trial."""
    offered = None if cause.undo is None else cause.undo(lab, signs)
    if offered is not None:
        several = [offered] if isinstance(offered, Repair | LeftOut | Proved) else list(offered)
        return [_undone(cause, signs, lab, proposal) for proposal in several]
    damage = None if cause.inflict is None else cause.inflict(lab, signs)
    if damage is None:
        return [Finding(cause, signs, None, lab)]
    options = {"on_image": damage.on_image, "linear": damage.linear, "counted": damage.counted}
    trial = lab.inflict(damage.name, damage.change, **options)
    return [Finding(cause, signs, trial, lab.against(lab.changed(damage.change, lab.reference)))]


def _undone(cause: Cause, signs: Signs, lab: Lab, offered: Repair | LeftOut | Proved) -> Finding:
    if isinstance(offered, Proved):
        lab.tried.append(offered.trial.name)
        return Finding(cause, signs, offered.trial, offered.after)
    if isinstance(offered, LeftOut):
        check_mask(offered.rows, len(lab.teacher))
        trial = lab.leave_out(offered.name, offered.rows, measures=offered.measures)
        return Finding(cause, signs, trial, lab.without(offered.rows))
    trial = lab.undo(offered.name, offered.change, measures=offered.measures, rows=offered.rows, linear=offered.linear)
    trial = replace(trial, kind=offered.kind)
    return Finding(cause, signs, trial, lab.repaired(lab.changed(offered.change, lab.student)))


def checked(signs: Signs, lab: Lab) -> Signs:
    """The signs, checked: the document can hold them, and their rows are rows of the pair. Raises ValueError."""
    if not isinstance(signs, Signs):
        raise ValueError(
            f"signs returned a {type(signs).__name__}; return Signs([Evidence(...)]), a list of them or None"
        )
    if not isinstance(signs.evidence, list) or not all(isinstance(evidence, Evidence) for evidence in signs.evidence):
        raise ValueError("its evidence is not a list of Evidence; write Signs([Evidence(measure, value)])")
    for evidence in signs.evidence:
        numbers = [evidence.value] if evidence.expected is None else [evidence.value, evidence.expected]
        if not all(isinstance(value, float | int | np.number) for value in numbers) or not np.isfinite(numbers).all():
            raise ValueError(f"its evidence {evidence.measure!r} holds {numbers}; give finite numbers")
    if not 0 <= signs.share <= 1:
        raise ValueError(f"its share is {signs.share}; give a share of the loss from 0 to 1")
    rows, n = np.atleast_1d(np.asarray(signs.where.get("rows", ()))), len(lab.teacher)
    outside = rows[(rows < 0) | (rows >= n)] if np.issubdtype(rows.dtype, np.integer) else rows
    if len(outside):
        raise ValueError(f"it names row {outside[0]} of a pair of {n} rows; name rows from 0 to {n - 1}")
    return signs


def check_mask(rows: np.ndarray, n: int) -> None:
    """Refuse rows to leave out that are not a mask (n,). Raises ValueError."""
    mask = np.asarray(rows)
    if mask.dtype != bool or mask.shape != (n,):
        raise ValueError(f"its rows to leave out are {mask.dtype} of shape {mask.shape}; give a mask of bool, ({n},)")
