"""The lab: a pair on a few thousand rows in two random halves, and the experiments that prove a cause.

    lab.undo(repair)      the repaired student against the teacher: does it keep more?
    lab.leave_out(rows)   the pair without some rows: do the others keep more, and how much had these lost?
    lab.inflict(damage)   the teacher with the same damage, against the student: is the student nearer to that?

Each returns a `Trial`: a measure before and after, its standard error, the effect of the same operation on a healthy
twin, and the share of the whole loss that it explains. Nothing else computes a standard score, a share or an interval.

Neighbours are searched within each half. A repair is a function of the student's rows (n, d') that returns repaired
rows (n, d''). A fitted repair is fitted for each half on the other (`Lab.by_halves`), so that it is judged on rows that
it was not fitted on. The healthy twin is the teacher's linear prediction of the student, with noise of the residual's
usual size and shape: a student as weak as this one, without a fault. That prediction contains any fault that is a
linear map of the student; there the twin is the teacher rotated at random, with noise of the teacher's shape
(`turned_twin`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import ndtr  # scipy.stats would take half a second to import

from manifold_probe.diagnosis.linear import HalfMaps, cross_fitted, explained, main_axes, predicted_by_others, spectrum
from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.moments import Moments
from manifold_probe.engine.neighbours import nearest_rows
from manifold_probe.engine.scale import at_unit_scale
from manifold_probe.measures.alignment import debiased_cka
from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP, OVERLAP_EUCLIDEAN
from manifold_probe.measures.linear_maps import RidgePath
from manifold_probe.spaces.space import Space

Rows = np.ndarray
Change = Callable[[np.ndarray], np.ndarray]  # rows (n, d) -> changed rows (n, d')
COSINE, EUCLIDEAN = METRICS = ("cosine", "euclidean")
CKA = "cka"
HELD_OUT = "held_out_"  # prefix of the key of a measure within halves of all rows
EXAMINED = "examined_"  # prefix for some of the rows: with fewer rows, the same k reaches farther
QUERY_ERROR_FACTOR = 1.25  # a per-query standard error is .72 to .86 of the truth, because queries share neighbours
CKA_PARTS = 10  # parts of the rows, for the standard error of debiased CKA
MIN_LOSS = 1e-3  # no share is divided by less
COUNTED_Z = np.inf  # the standard score of a count, which is not estimated


@dataclass(frozen=True)
class Evidence:
    """A number that supports a cause, and its value in a healthy pair."""

    measure: str
    value: float
    expected: float | None = None


@dataclass(frozen=True)
class Trial:
    """The result of an experiment.

    Attributes
    ----------
    name : str
        The operation, in words.
    kind : str
        "undo", "mapped" (by a map fitted to the teacher), "inflict", "left out" or "compared".
    measure : str
        A key of the catalogue, or the name of another measure in words.
    before, after, error : float
        The measure, and the standard error of after - before.
    healthy : float
        The gain of a healthy twin by the same operation.
    share : float
        Of the whole loss in that measure, from 0 to 1.
    n : int
        Rows that were measured.
    """

    name: str
    kind: str
    measure: str
    before: float
    after: float
    error: float
    healthy: float
    share: float
    n: int
    counted: bool = False

    @property
    def gain(self) -> float:
        """after - before, minus the gain of a healthy twin."""
        return self.after - self.before - max(self.healthy, 0.0)

    @property
    def z(self) -> float:
        """Standard errors by which the gain is above zero; infinite for a count."""
        return COUNTED_Z if self.counted else self.gain / max(self.error, 1e-9)

    @property
    def p(self) -> float:
        """Chance that a healthy pair shows as much: one-sided, of ``z``."""
        return float(ndtr(-self.z))

    @property
    def low(self) -> float:
        """Lower end of the 95% interval of ``after``."""
        return self.after - 1.96 * self.error

    @property
    def high(self) -> float:
        """Upper end of the 95% interval of ``after``."""
        return self.after + 1.96 * self.error

    def to_dict(self) -> dict[str, Any]:
        """The trial as the document holds a repair; a key of the catalogue gets the prefix "examined_"."""
        return {
            "name": self.name,
            "kind": self.kind,
            "measure": self.measure if " " in self.measure else EXAMINED + self.measure,
            "before": self.before,
            "after": self.after,
            "low": float(np.clip(self.low, -1, 1)),
            "high": float(np.clip(self.high, -1, 1)),
            "healthy_gain": self.healthy,
            "z": float(self.z) if np.isfinite(self.z) else None,
            "n": self.n,
        }


def paired(
    name: str,
    kind: str,
    measure: str,
    before: np.ndarray,
    after: np.ndarray,
    loss: float,
    *,
    healthy: float = 0.0,
    weight: float = 1.0,
) -> Trial:
    """The trial of two measurements of the same rows (n,), NaN where a row was not measured.

    ``weight`` is these rows' share of all rows, ``loss`` the loss over all rows.

    >>> trial = paired("centred", "undo", "overlap@10", np.full(100, 0.4), np.full(100, 0.7), 0.6)
    >>> round(trial.gain, 6), round(trial.share, 6)
    (0.3, 0.5)
    """
    valid = ~(np.isnan(before) | np.isnan(after))
    n = int(valid.sum())
    if n < 2:
        return Trial(name, kind, measure, float("nan"), float("nan"), np.inf, healthy, 0.0, n)
    first, second = before[valid], after[valid]
    error = QUERY_ERROR_FACTOR * float((second - first).std(ddof=1)) / np.sqrt(n)
    return _trial(name, kind, measure, float(first.mean()), float(second.mean()), error, healthy, loss, weight, n)


def of_groups(
    name: str, kind: str, measure: str, first: np.ndarray, second: np.ndarray, loss: float, *, weight: float = 1.0
) -> Trial:
    """The trial of two groups of rows (a,) and (b,): ``first`` lost more, ``second`` shows what it could have kept."""
    error = QUERY_ERROR_FACTOR * float(np.sqrt(first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second)))
    means = float(first.mean()), float(second.mean())
    return _trial(name, kind, measure, *means, error, 0.0, loss, weight, min(len(first), len(second)))


def _trial(
    name: str,
    kind: str,
    measure: str,
    before: float,
    after: float,
    error: float,
    healthy: float,
    loss: float,
    weight: float,
    n: int,
) -> Trial:
    share = (after - before - max(healthy, 0.0)) * weight / max(loss, MIN_LOSS)
    return Trial(name, kind, measure, before, after, max(error, 1e-6), healthy, float(np.clip(share, 0, 1)), n)


@dataclass(frozen=True)
class Lab:
    """A pair under examination.

    Attributes
    ----------
    teacher, student : np.ndarray of float32, shapes (n, d) and (n, d')
        At unit size: no cause concerns the scale.
    codes : np.ndarray of int, shape (n,)
        Classes, numbered as in ``names``; the number after the last for a row without a class.
    labelled : bool
        Whether the classes are labels; else the teacher's clusters.
    k, seed : int
    fold : np.ndarray of bool, shape (n,)
        The two halves.
    keep : np.ndarray of bool, shape (n,)
        The rows that are not left out.
    reference : np.ndarray, shape (n, d)
        The teacher with the damage that was proved so far: the remaining loss is measured against it.
    original : Lab, optional
        The lab before any repair; shares are of its loss.
    tried : list of str
        Every experiment made in this lab and in those made from it.
    """

    teacher: np.ndarray
    student: np.ndarray
    codes: np.ndarray
    names: list[str]
    labelled: bool
    k: int
    seed: int
    fold: np.ndarray
    keep: np.ndarray
    reference: np.ndarray
    original: Lab | None = None
    tried: list[str] = field(default_factory=list)
    _lists: dict[tuple[int, bytes], tuple[np.ndarray, dict[str, np.ndarray]]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        teacher: np.ndarray,
        student: np.ndarray,
        codes: np.ndarray,
        names: Sequence[str],
        *,
        labelled: bool = True,
        k: int = 10,
        seed: int = 0,
    ) -> Lab:
        """The lab of two arrays (n, d) and (n, d'), before any experiment.

        >>> rows = np.random.default_rng(0).normal(size=(200, 8))
        >>> lab = Lab.of(rows, rows + 3, np.zeros(200, int), ["all"])
        >>> lab.undo("centred", lambda x: x - x.mean(0)).after > 0.9
        True
        """
        n = len(teacher)
        fold = np.zeros(n, bool)
        fold[np.random.default_rng([seed, 1]).permutation(n)[: n // 2]] = True
        teacher, student = at_unit_size(teacher), at_unit_size(student)
        return cls(teacher, student, np.array(codes), list(names), labelled, k, seed, fold, np.ones(n, bool), teacher)

    # ---- the pair after a cause was repaired or set aside

    def repaired(self, student: np.ndarray) -> Lab:
        """The same rows with another student."""
        return replace(self, student=np.asarray(student, dtype=np.float32), original=self.start)

    def against(self, damaged: np.ndarray) -> Lab:
        """The same rows against a teacher with the student's damage."""
        return replace(self, reference=np.asarray(damaged, dtype=np.float32), original=self.start)

    def without(self, rows: np.ndarray) -> Lab:
        """The same without some rows, a mask (n,)."""
        return replace(self, keep=self.keep & ~rows, original=self.start)

    def without_columns(self, teacher: Sequence[int], student: Sequence[int]) -> Lab:
        """The same without some dimensions of either side."""
        teacher_kept = np.delete(self.teacher, list(teacher), axis=1)
        damaged = teacher_kept if self.reference is self.teacher else np.delete(self.reference, list(teacher), axis=1)
        student_kept = np.delete(self.student, list(student), axis=1)
        return replace(
            self, teacher=teacher_kept, student=student_kept, reference=damaged, original=self.start, _lists={}
        )

    def __post_init__(self) -> None:
        for rows in (self.teacher, self.student, self.reference, self.codes, self.fold, self.keep):
            rows.setflags(write=False)  # a change in place would affect every other cause

    @property
    def start(self) -> Lab:
        """The lab before any repair."""
        return self if self.original is None else self.original

    # ---- measuring

    def near(self, x: np.ndarray, keep: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """{metric: (n, k)}: the row numbers of every row's neighbours in x (n, d), within its half; -1 for rows that
        are left out."""
        keep = self.keep if keep is None else keep
        lists_by_metric = {metric: np.full((len(x), self.k), -1) for metric in METRICS}
        for side in (False, True):
            rows = np.flatnonzero(keep & (self.fold == side))
            k = min(self.k, len(rows) - 1)
            if k < 1:
                continue
            lists = nearest_rows(Cloud(Space(x[rows])), np.arange(len(rows)), k, METRICS)
            for metric, neighbours in lists.items():
                lists_by_metric[metric][rows, :k] = rows[neighbours]
        return lists_by_metric

    def kept(self, x: np.ndarray, other: np.ndarray | None = None, keep: np.ndarray | None = None) -> dict[str, Rows]:
        """{metric: (n,)}: the share of every row's neighbours in ``other``, by default the reference, that x keeps;
        NaN for rows that are left out."""
        keep = self.keep if keep is None else keep
        other_lists, lists = (self._known(rows, keep) for rows in (self.reference if other is None else other, x))
        return {metric: np.where(keep, shared(other_lists[metric], lists[metric]), np.nan) for metric in METRICS}

    def _known(self, x: np.ndarray, keep: np.ndarray) -> dict[str, np.ndarray]:
        """The neighbours in x; those in the teacher or the reference are searched once for every set of rows."""
        if x is not self.teacher and x is not self.reference:
            return self.near(x, keep)
        key = (id(x), keep.tobytes())
        if key not in self._lists:
            self._lists[key] = x, self.near(x, keep)  # with x, so that no other array gets its id
        return self._lists[key][1]

    @cached_property
    def now(self) -> dict[str, np.ndarray]:
        """The share of neighbours that the student keeps."""
        return self.kept(self.student)

    @cached_property
    def overlap(self) -> float:
        """Mean overlap, by cosine, of the kept rows."""
        return mean(self.now[COSINE])

    @cached_property
    def cka(self) -> float:
        """Debiased linear CKA of the kept rows."""
        return likeness(self.reference[self.keep], self.student[self.keep])

    def loss(self, measure: str) -> float:
        """The loss of the pair in one measure, before any repair."""
        start = self.start
        return 1 - (start.cka if measure == CKA else mean(start.now[measure]))

    @property
    def gap(self) -> float:
        """The overlap that is still lost, never 0."""
        return max(1 - self.overlap, MIN_LOSS)

    def key(self, measure: str) -> str:
        """The catalogue's key of a measure."""
        if measure == CKA:
            return DEBIASED_CKA.key
        return (OVERLAP if measure == COSINE else OVERLAP_EUCLIDEAN).named(self.k)

    # ---- the experiments

    def undo(
        self,
        name: str,
        repair: Change,
        *,
        measures: Sequence[str] = METRICS,
        rows: np.ndarray | None = None,
        linear: bool = False,
    ) -> Trial:
        """The repaired student against the teacher, in the measure with the largest standard score.

        Parameters
        ----------
        name : str
            The effect of the repair, in words.
        repair : callable
            (n, d') -> (n, d''); applied to the student and to its healthy twin.
        measures : of "cosine", "euclidean" and "cka"
        rows : np.ndarray of bool, shape (n,), optional
            The rows that the cause concerns: the trial measures these.
        linear : bool
            Whether the fault is a linear map of the student, so that the healthy twin is `turned_twin`.
        """
        twin = self.turned_twin if linear else self.twin
        repaired, repaired_twin = self.changed(repair, self.student), self.changed(repair, twin)
        self.tried.extend(f"{name} ({measure})" for measure in measures)
        trials = []
        if set(measures) & set(METRICS):
            after, healthy = self.kept(repaired), self.kept(repaired_twin)
            usual = self.turned_twin_now if linear else self.twin_now
            weight = 1.0 if rows is None else float((rows & self.keep).sum() / self.start.keep.sum())
            for metric in (measure for measure in measures if measure in METRICS):
                first, second, wanted = self.now[metric], after[metric], healthy[metric] - usual[metric]
                if rows is not None:
                    first, second, wanted = first[rows], second[rows], wanted[rows]
                loss = self.loss(metric)
                trials.append(
                    paired(name, "undo", self.key(metric), first, second, loss, healthy=mean(wanted), weight=weight)
                )
        if CKA in measures:
            trials.append(self._likeness(name, "undo", (self.student, repaired), (twin, repaired_twin), self.keep))
        return max(trials, key=lambda trial: trial.z)

    def leave_out(self, name: str, rows: np.ndarray, *, measures: Sequence[str] = METRICS) -> Trial:
        """The pair without some rows, a mask (n,): the loss of these rows and their effect on the others.

        A row that is left out counts with the mean overlap of the others.
        """
        remaining = self.keep & ~rows
        self.tried.extend(f"{name} ({measure})" for measure in measures)
        trials = []
        if set(measures) & set(METRICS):
            after, healthy = self.kept(self.student, keep=remaining), self.kept(self.twin, keep=remaining)
            for metric in (measure for measure in measures if measure in METRICS):
                second, twin = (np.where(self.keep & rows, mean(x[metric]), x[metric]) for x in (after, healthy))
                wanted = mean(twin) - mean(self.twin_now[metric])
                loss = self.loss(metric)
                trials.append(
                    paired(name, "left out", self.key(metric), self.now[metric], second, loss, healthy=wanted)
                )
        if CKA in measures:
            spaces = (self.student, self.student), (self.twin, self.twin)
            trials.append(self._likeness(name, "left out", *spaces, remaining))
        return max(trials, key=lambda trial: trial.z)

    def inflict(
        self, name: str, damage: Change, *, on_image: bool = False, linear: bool = False, counted: bool = False
    ) -> Trial:
        """The teacher with the same damage, against the student: is the student nearer to it than to the teacher, and
        nearer than a healthy twin?

        The share is the gain in overlap over the whole loss, and at most the teacher's loss by the damage. Where the
        signs are ``counted`` it is the teacher's loss by the damage.

        Parameters
        ----------
        name : str
            The effect of the damage, in words.
        damage : callable
            (n, d) -> (n, d''), of the teacher's rows.
        on_image : bool
            Damage the teacher's prediction of the student in place of the teacher: for damage in the student's
            dimensions.
        linear : bool
            As for `undo`.
        counted : bool
            The signs are a count, such as dead dimensions, which needs no statistics.
        """
        self.tried.append(name)
        sound = self.expected if on_image else self.reference
        damaged, twin = self.changed(damage, sound), self.turned_twin if linear else self.twin
        kept_sound, kept_damaged, loss = self.kept(sound)[COSINE], self.kept(damaged)[COSINE], self.loss(COSINE)
        lost_share = float(np.clip((mean(kept_sound) - mean(kept_damaged)) / max(loss, MIN_LOSS), 0, 1))
        if counted:
            return replace(
                paired(name, "inflict", self.key(COSINE), kept_sound, kept_damaged, loss),
                share=lost_share,
                counted=True,
            )
        before, after = (self.kept(self.student, x)[COSINE] for x in (sound, damaged))
        wanted = mean(self.kept(twin, damaged)[COSINE]) - mean(self.kept(twin, sound)[COSINE])
        trial = paired(name, "inflict", self.key(COSINE), before, after, loss, healthy=wanted)
        return replace(trial, share=min(trial.share, lost_share))

    def _likeness(
        self,
        name: str,
        kind: str,
        students: tuple[np.ndarray, np.ndarray],
        twins: tuple[np.ndarray, np.ndarray],
        remaining: np.ndarray,
    ) -> Trial:
        """The trial in debiased CKA, its error from ten parts of the rows."""
        part = np.arange(len(self.keep)) % CKA_PARTS

        def step(pair: tuple[np.ndarray, np.ndarray], subset: np.ndarray) -> tuple[float, float]:
            first, second = self.keep & subset, remaining & subset
            return likeness(self.reference[first], pair[0][first]), likeness(self.reference[second], pair[1][second])

        before, after = step(students, self.keep)
        twin_before, twin_after = step(twins, self.keep)
        steps = np.diff([step(students, part == number) for number in range(CKA_PARTS)], axis=1)[:, 0]
        error = error_of_parts(steps)
        return _trial(
            name,
            kind,
            self.key(CKA),
            before,
            after,
            error,
            twin_after - twin_before,
            self.loss(CKA),
            1.0,
            len(self.keep),
        )

    def changed(self, change: Change, x: np.ndarray) -> np.ndarray:
        """The rows after a change, checked.

        Raises
        ------
        ValueError
            Where it does not return as many rows of finite numbers.
        """
        read_only = x.view()
        read_only.flags.writeable = False  # a change in place would affect every other cause
        result = np.asarray(change(read_only))
        if result.ndim != 2 or len(result) != len(x) or not result.shape[1]:
            raise ValueError(f"it returned an array of shape {result.shape}; return one of shape ({len(x)}, d)")
        with np.errstate(over="ignore"):  # refused below
            rows = result.astype(np.float32, copy=False) if np.issubdtype(result.dtype, np.floating) else None
        if rows is None or not np.isfinite(rows).all():
            raise ValueError("it returned values that are not finite float32; return float rows without NaN")
        return rows

    def by_halves(self, fit: Callable[[np.ndarray, np.ndarray], Change]) -> Change:
        """A repair that is fitted for each half on the other.

        Parameters
        ----------
        fit : callable
            (student rows (m, d'), reference rows (m, d)) -> a function of the student's rows.
        """

        def repair(x: np.ndarray) -> np.ndarray:
            parts = {}
            for side in (False, True):
                learn = self.keep & (self.fold != side)
                parts[side] = np.asarray(fit(x[learn], self.reference[learn])(x[self.fold == side]))
            out = np.empty((len(x), parts[False].shape[1]), np.float32)
            for side, part in parts.items():
                out[self.fold == side] = part
            return out

        return repair

    # ---- predictions of one side from the other

    @cached_property
    def expected(self) -> np.ndarray:
        """(n, d'): the reference's linear prediction of the student, each half by the other's map."""
        return self.maps(self.student).astype(np.float32)

    @cached_property
    def maps(self) -> HalfMaps:
        """Linear maps from the reference, each half by the other's."""
        return HalfMaps(self.reference, self.fold, self.keep)

    @cached_property
    def recovered(self) -> np.ndarray:
        """(n, d): the student's linear prediction of the reference, each half by the other's map."""
        return cross_fitted(self.student, self.reference, self.fold, self.keep).astype(np.float32)

    @cached_property
    def residual(self) -> np.ndarray:
        """(n, d'): the part of the student that the reference does not predict."""
        return self.student - self.expected

    @cached_property
    def explained(self) -> float:
        """Share of the student's variance that the reference predicts."""
        rows = self.keep
        return explained(self.student[rows].astype(np.float64), self.expected[rows])

    @cached_property
    def image_now(self) -> dict[str, np.ndarray]:
        """The share of neighbours that the reference's prediction of the student keeps."""
        return self.kept(self.expected)

    @cached_property
    def twin(self) -> np.ndarray:
        """(n, d'): a healthy student: the reference's prediction, with new noise of the residual's usual size."""
        draw = np.random.default_rng([self.seed, 7])
        residual = self.residual[self.keep]
        power = np.square(residual).sum(1)
        usual = residual[power <= np.quantile(power, 0.8)].astype(np.float64)
        usual -= usual.mean(0)
        values, vectors, _ = RidgePath.basis(usual)
        if not len(values):  # no residual
            return self.expected
        values = values / len(usual)
        values = np.minimum(values, 5 * np.sort(values)[-min(len(values), max(2, len(values) // 20))])
        scale = np.sqrt(np.median(power) / max(np.median(np.square(usual).sum(1)), 1e-30))
        noise = draw.normal(size=(len(self.student), len(values))) * np.sqrt(values) * scale
        return (self.expected + noise @ vectors.T).astype(np.float32)

    @cached_property
    def twin_now(self) -> dict[str, np.ndarray]:
        """The share of neighbours that the healthy twin keeps."""
        return self.kept(self.twin)

    @cached_property
    def turned_twin(self) -> np.ndarray:
        """(n, d'): a healthy student: the reference on as many principal directions, rotated at random, with noise of
        the same shape and the residual's share of the variance."""
        draw = np.random.default_rng([self.seed, 9])
        rows, width = np.flatnonzero(self.keep), self.student.shape[1]
        centre = self.reference[rows].mean(0)
        scores = self.reference - centre
        if width < scores.shape[1]:
            axes = main_axes(self.reference[rows], min(width, len(rows) - 1))
            scores, centre = scores @ axes, centre @ axes
        turn = np.linalg.qr(draw.normal(size=(width, scores.shape[1])))[0].T
        part = float(np.clip(self.explained, 0.01, 1.0))
        others = scores[draw.permutation(rows)[np.arange(len(scores)) % len(rows)]]
        mixed = np.sqrt(part) * scores + np.sqrt(1 - part) * others
        return ((mixed + centre) @ turn).astype(np.float32)

    @cached_property
    def turned_twin_now(self) -> dict[str, np.ndarray]:
        """The share of neighbours that the turned twin keeps."""
        return self.kept(self.turned_twin)

    @cached_property
    def twin_expected(self) -> np.ndarray:
        """(n, d'): the reference's prediction of the twin: the effect of cross-fitting on a healthy student."""
        return self.maps(self.twin).astype(np.float32)

    @cached_property
    def predicted_by_others(self) -> np.ndarray:
        """(n, d'): every class of the student as predicted by a linear map fitted on the other classes."""
        predicted, rows = self.expected.copy(), self.keep
        predicted[rows] = predicted_by_others(self.reference[rows], self.student[rows], self.codes[rows])
        return predicted

    @cached_property
    def spectra(self) -> tuple[np.ndarray, np.ndarray]:
        """The spectra of the student and of the reference, over the kept rows."""
        return spectrum(self.student[self.keep]), spectrum(self.reference[self.keep])

    @cached_property
    def agreement(self) -> np.ndarray:
        """(n,): cosine between each row of the student and the reference's prediction of it, both centred."""
        return row_cosines(self.student - self.student[self.keep].mean(0), self.expected - self.expected.mean(0))

    @property
    def classed(self) -> np.ndarray:
        """(n,) of bool: the kept rows that have a class."""
        return self.keep & (self.codes < len(self.names))

    def classes(self, smallest: int = 8) -> list[int]:
        """The numbers of the classes with at least ``smallest`` kept rows."""
        counts = np.bincount(self.codes[self.classed], minlength=len(self.names))
        return [code for code in range(len(counts)) if counts[code] >= smallest]


def at_unit_size(x: np.ndarray) -> np.ndarray:
    """The rows in float32, divided by their root mean squared distance from their mean."""
    wide = at_unit_scale(np.asarray(x).astype(np.float64))
    size = float(np.sqrt(np.square(wide - wide.mean(0)).sum(1).mean()))
    return np.ascontiguousarray(wide / size if size > 0 else wide, dtype=np.float32)


def shared(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(q,): the share of each list of neighbours (q, k) that is in the other list; -1 is no row."""
    shares: np.ndarray = ((first[:, :, None] == second[:, None, :]) & (first >= 0)[:, :, None]).any(axis=2).mean(axis=1)
    return shares


def mean(values: np.ndarray) -> float:
    """The mean of the values that are not NaN.

    >>> mean(np.array([1.0, np.nan, 3.0]))
    2.0
    """
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def likeness(x: np.ndarray, y: np.ndarray) -> float:
    """Debiased linear CKA of rows (n, d) and (n, d')."""
    return debiased_cka(Moments().update(x, y))


def error_of_parts(steps: np.ndarray) -> float:
    """Standard error of a mean, from its values in parts of the rows (p,); infinite for fewer than two finite ones."""
    finite = steps[np.isfinite(steps)]
    return float(finite.std(ddof=1) / np.sqrt(len(steps))) if len(finite) > 1 else np.inf


def row_cosines(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n,): cosine of the rows of two (n, d)."""
    scale = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return (x * y).sum(1) / np.maximum(scale, 1e-12)


def robust_z(values: np.ndarray, floor: float = 1e-9) -> np.ndarray:
    """Distances from the median in robust standard deviations."""
    median = np.median(values)
    return (values - median) / max(1.4826 * float(np.median(np.abs(values - median))), floor)
