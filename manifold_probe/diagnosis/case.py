"""A pair under examination: what the causes look at, computed once and again after each that was set aside.

view = View(case)            maps in both directions, residuals, how faithful the student is now
finding = cause(view)        None, or what was found, what proves it, and the case without it
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import ndtr

from manifold_probe.diagnosis.faithfulness import Faithfulness, Gain, Yardstick
from manifold_probe.diagnosis.linear import cross_fitted, explained, told_by_others


@dataclass(frozen=True)
class Evidence:
    """A number that speaks for a cause, and what a healthy pair would show."""

    measure: str
    value: float
    expected: float | None = None


@dataclass(frozen=True)
class Repair:
    """What undoing a cause did to a measure of rows it was not fitted on."""

    name: str
    measure: str
    gain: Gain
    healthy_gain: float = 0.0

    @property
    def z(self) -> float:
        """Standard errors beyond what a healthy pair gains."""
        return (self.gain.value - max(self.healthy_gain, 0.0)) / max(self.gain.error, 1e-9)


@dataclass(frozen=True)
class Case:
    """Teacher (n, d) and student (n, d'), labels as codes, the two halves, and the rows that are still judged.

    ``damaged`` (n, d) is the teacher with what was found of the student and cannot be undone.
    """

    teacher: np.ndarray
    student: np.ndarray
    codes: np.ndarray
    true_labels: bool
    names: list[str]
    yardstick: Yardstick
    keep: np.ndarray
    seed: int = 0
    damaged: np.ndarray | None = None

    @property
    def reference(self) -> np.ndarray:
        """The teacher, damaged as the student was found to be: what the rest of the student is held against."""
        return self.teacher if self.damaged is None else self.damaged

    def with_student(self, student: np.ndarray) -> Case:
        """The same rows with the student repaired."""
        return replace(self, student=np.asarray(student, dtype=np.float32))

    def beside(self, damaged: np.ndarray) -> Case:
        """The same rows beside a teacher that was damaged alike."""
        return replace(self, damaged=np.asarray(damaged, dtype=np.float32))

    def without(self, rows: np.ndarray) -> Case:
        """The same without some rows, a mask (n,)."""
        return replace(self, keep=self.keep & ~rows)


@dataclass(frozen=True)
class Finding:
    """A cause that was found: its evidence, the proof, where it is, and the case once it is repaired or set aside.

    ``z`` says how many standard errors the proof stands beyond what a healthy pair shows; infinite for what is counted,
    not estimated.
    """

    name: str
    evidence: list[Evidence]
    repair: Repair | None
    after: Case
    share: float
    confidence: float
    z: float
    where: dict[str, Any] | None = None
    or_: list[str] = field(default_factory=list)

    @property
    def p(self) -> float:
        """Chance that a pair without the cause shows as much: one-sided, of ``z``."""
        return float(ndtr(-self.z))


class View:
    """What is known of a case. Arrays hold all rows; ``keep`` says which count."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.teacher, self.student, self.keep = case.teacher, case.student, case.keep
        self.reference = case.reference
        self.fold, self.codes = case.yardstick.fold, case.codes
        self.classed = case.codes < len(case.names)  # rows that have a class

    @cached_property
    def now(self) -> Faithfulness:
        """How faithful the student is, of the rows that count."""
        return self.case.yardstick.of(self.student, self.keep)

    def judge(self, student: np.ndarray, keep: np.ndarray | None = None) -> Faithfulness:
        """How faithful another student would be."""
        return self.case.yardstick.of(student, self.keep if keep is None else keep)

    @cached_property
    def expected(self) -> np.ndarray:
        """The student as the teacher predicts it, each half by the other's map."""
        return cross_fitted(self.reference, self.student, self.fold, self.keep).astype(np.float32)

    @cached_property
    def recovered(self) -> np.ndarray:
        """The teacher as the student predicts it, each half by the other's map."""
        return cross_fitted(self.student, self.teacher, self.fold, self.keep).astype(np.float32)

    @cached_property
    def residual(self) -> np.ndarray:
        """What of the student the teacher does not predict."""
        return self.student - self.expected

    @cached_property
    def explained(self) -> float:
        """Share of the student's variance that the teacher predicts."""
        rows = self.keep
        return explained(self.student[rows].astype(np.float64), self.expected[rows])

    @cached_property
    def gap(self) -> float:
        """Overlap that is lost, of what the student could keep."""
        return max(1 - self.now.mean(), 1e-3)

    @cached_property
    def twin(self) -> np.ndarray:
        """A healthy student: what the teacher predicts, and fresh noise of the residual's usual size."""
        draw = np.random.default_rng([self.case.seed, 7])
        residual = self.residual[self.keep]
        power = np.square(residual).sum(1)
        usual = residual[power <= np.quantile(power, 0.8)].astype(np.float64)
        values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(usual.T)) + 1e-12 * np.eye(usual.shape[1]))
        values = np.clip(values, 0, 5 * np.sort(values)[-min(len(values), max(2, len(values) // 20))])
        scale = np.sqrt(np.median(power) / max(np.median(np.square(usual).sum(1)), 1e-30))
        noise = draw.normal(size=(len(self.student), len(values))) * np.sqrt(values) * scale
        return (self.expected + noise @ vectors.T).astype(np.float32)

    @cached_property
    def twin_now(self) -> Faithfulness:
        """How faithful the healthy twin is."""
        return self.judge(self.twin)

    @cached_property
    def twin_expected(self) -> np.ndarray:
        """The twin as the teacher predicts it: what cross-fitting alone does to a healthy student."""
        return cross_fitted(self.reference, self.twin, self.fold, self.keep).astype(np.float32)

    @cached_property
    def told_by_others(self) -> np.ndarray:
        """(n, d'): every class of the student as a linear map that was fitted on the other classes has it."""
        found, rows = self.expected.copy(), self.keep
        found[rows] = told_by_others(self.reference[rows], self.student[rows], self.codes[rows])
        return found

    @cached_property
    def image_now(self) -> Faithfulness:
        """How faithful the student would be were it all that the teacher predicts of it, and nothing else."""
        return self.judge(self.expected)

    @cached_property
    def agreement(self) -> np.ndarray:
        """(n,): cosine between each row of the student and what the teacher predicts of it, both centred."""
        return row_cosines(self.student - self.student[self.keep].mean(0), self.expected - self.expected.mean(0))


def row_cosines(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n,): cosine of the rows of two (n, d)."""
    scale = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return (x * y).sum(1) / np.maximum(scale, 1e-12)


def robust_z(values: np.ndarray, floor: float = 1e-9) -> np.ndarray:
    """Distances from the median in robust standard deviations."""
    middle = np.median(values)
    return (values - middle) / max(1.4826 * float(np.median(np.abs(values - middle))), floor)


def confidence_of(z: float) -> float:
    """A standard score as a share of certainty, .5 at 2 and .98 at 6.

    >>> confidence_of(2.0)
    0.5
    """
    return float(1 / (1 + np.exp(-(z - 2))))
