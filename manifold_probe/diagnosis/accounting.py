"""The account of the loss: 1 - overlap@k, and 1 - debiased CKA, in parts with an exact sum.

    width                 the loss of the teacher on as many principal components as the student has dimensions
    rows_set_aside        the gain from leaving out misaligned rows, outliers and copies
    centre_scale_norms    the best of centring, unit deviations, the teacher's means, deviations and norms
    rotation              the orthogonal map onto the teacher, at one scale
    linear_map            ridge
    nonlinear_map         ridge from the normal scores of the dimensions
    classes               the loss of some classes beyond the others
    not_held              the remainder, which no correction of the student's features regains

Corrections are fitted on one random half of the rows and evaluated on the other, and each is credited with its gain
over the best one before it. For each half the best is chosen by its value on the other half, so that the choice does
not bias the estimate. A correction without a gain is not used, and its part is 0.

Neighbours are searched within a half, with k reduced to keep the radius (see `halves`): the held-out overlap is near
the comparison's, but not the same number. The parts are scaled by (1 - overlap) / (1 - held-out overlap), so that they
add up to the loss of the comparison; intervals are scaled too. CKA needs no neighbours, and is scaled in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from manifold_probe.diagnosis import repairs
from manifold_probe.diagnosis.class_losses import NONE_BEHIND, classes_behind
from manifold_probe.diagnosis.halves import (
    SIDES,
    Correction,
    Halves,
    Reading,
    as_it_is,
    chosen,
    error_of,
    joined,
    mean_of_halves,
)
from manifold_probe.diagnosis.lab import COSINE, HELD_OUT, METRICS
from manifold_probe.engine.rows import sample
from manifold_probe.measures.alignment import debiased_cka
from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP, OVERLAP_EUCLIDEAN
from manifold_probe.measures.uncertainty import Estimate
from manifold_probe.parts import Parts, Progress, silent
from manifold_probe.spaces.pairing import Pair

PARTS = (
    *("width", "rows_set_aside", "centre_scale_norms", "rotation", "linear_map", "nonlinear_map"),
    *("classes", "not_held"),
)
CLASSES, ABSENT_CLASSES = "classes", "absent_classes"
IDENTITY = "identity"
CENTRING_FITS: dict[str, repairs.Fit] = {"centring": repairs.centring, "unit_deviation": repairs.unit_deviation}
TEACHER_FITS: dict[str, repairs.Fit] = {
    "teacher_mean": repairs.teacher_mean,
    "teacher_deviations": repairs.teacher_deviations,
}
STAGES = {
    "centre_scale_norms": (*CENTRING_FITS, *TEACHER_FITS, "teacher_norms"),
    "rotation": ("orthogonal",),
    "linear_map": ("ridge",),
    "nonlinear_map": ("nonlinear",),
}
EXCLUDED_QUERIES = 250  # of each half, among the rows that are set aside
Amount = tuple[float, float]  # the size of a part, and its standard error


@dataclass(frozen=True)
class Part:
    """A part of the loss: ``share`` of all neighbours (or of CKA), its 95% interval, and how to regain it."""

    name: str
    share: float
    low: float
    high: float
    sentence: str


@dataclass(frozen=True)
class Piece:
    """A piece of the part "not_held", from evidence of the training: its ``fraction`` of the whole loss."""

    name: str
    fraction: float
    low: float
    high: float
    sentence: str


@dataclass(frozen=True)
class Account:
    """The account of a pair.

    ``overlap`` and ``cka`` are parts in order, with the sums 1 - overlap and 1 - CKA; ``cka`` is empty where CKA is
    undefined. ``steps`` are the held-out values of every correction, ``held_out`` those of the unchanged student.
    """

    overlap: list[Part]
    cka: list[Part]
    steps: list[dict[str, Any]]
    held_out: dict[str, dict[str, Any]]


def account(
    pair: Pair,
    overlap: float,
    cka: float | None,
    k: int,
    seed: int,
    *,
    aside: np.ndarray,
    copies: np.ndarray,
    codes: np.ndarray | None = None,
    names: Sequence[str] = (),
    pieces: Sequence[Piece] = (),
    progress: Progress = silent,
) -> Account:
    """The account of a pair whose ``overlap`` at ``k`` and debiased ``cka`` are known.

    Parameters
    ----------
    pair : Pair
    overlap, cka : float
        The comparison's; ``cka`` None or NaN where it is undefined.
    k, seed : int
    aside, copies : np.ndarray of int
        Numbers of the rows that a cause set aside, and of those that repeat others.
    codes : np.ndarray of int, shape (n,), optional
        Classes, -1 for none.
    names : sequence of str
        Their names, by code.
    pieces : sequence of Piece
        Pieces of the part "not_held", see `split`.
    progress : callable

    Raises
    ------
    InputError
        Where a half has fewer than six rows left.

    Examples
    --------
    >>> import numpy as np
    >>> from manifold_probe.spaces import Space
    >>> from manifold_probe.spaces.pairing import pair
    >>> x = np.random.default_rng(0).normal(size=(200, 8)).astype("float32")
    >>> both = pair(Space(x), {"s": Space(x + 5)})["s"]
    >>> none = np.zeros(0, dtype=int)
    >>> result = account(both, 0.4, 1.0, 10, 0, aside=none, copies=none)
    >>> round(sum(part.share for part in result.overlap), 9)
    0.6
    >>> max(result.overlap, key=lambda part: part.share).name
    'centre_scale_norms'
    """
    parts = Parts(progress, {"fit": 1.0, "read": 3.0, "before": 1.0, "classes": 0.5})
    without = np.union1d(aside, copies).astype(np.int64)
    halves = Halves(pair, k, seed, without)
    corrections = corrections_of(halves, parts["fit"])
    values = halves.overlaps(corrections, parts["read"])
    likeness = {name: halves.likeness(correction) for name, correction in corrections.items()}
    regained = _aside(halves, values[IDENTITY][COSINE], without, parts["before"])
    stages = _stage_gains({name: mean_of_halves(result[COSINE]) for name, result in values.items()})
    behind = NONE_BEHIND
    if codes is not None and len(names) > 1 and "ridge" in corrections:
        parts["classes"]("reading classes", 0, 1)
        best = [values[name][COSINE][side] for side, name in zip(SIDES, stages.best, strict=True)]
        behind = classes_behind(halves, corrections["ridge"], best, np.asarray(codes), names)
    words = Words(f"of each point's {k} nearest neighbours", percent, stages.used, behind.names, len(without))
    result = Account(
        _parts(1 - overlap, stages, regained, (behind.lost, behind.error), words),
        _of_cka(cka, halves, likeness, len(without)),
        [_step(name, values, likeness, k) for name in corrections if name != "width"],
        _held_out(k, values, likeness, regained[0]),
    )
    return split(result, pieces)


def corrections_of(halves: Halves, progress: Progress = silent) -> dict[str, Correction]:
    """Every correction by name, the unchanged student first; "width" is the teacher on its principal components.

    The teacher's lengths are used only where the student's are hardly correlated with them: otherwise they would bring
    in information on single rows of the teacher.
    """
    student_width, teacher_width = halves.widths
    progress("fitting corrections", 0, 2)
    corrections: dict[str, Correction] = {IDENTITY: dict.fromkeys(SIDES, as_it_is)}
    if min(moments.variances[0] for moments in halves.half_moments.values()) > 0:
        corrections = affine_steps_of(halves)
        progress("fitting corrections", 1, 2)
        corrections["nonlinear"] = repairs.nonlinear(halves)
        if not repairs.lengths_correlate(halves):
            corrections["teacher_norms"] = dict.fromkeys(SIDES, repairs.at_lengths)
    if student_width < teacher_width:
        corrections["width"] = repairs.leading(halves, student_width)
    return corrections


def affine_fits(halves: Halves) -> dict[str, repairs.Fit]:
    """The affine corrections of a pair by name."""
    student_width, teacher_width = halves.widths
    placed = TEACHER_FITS if student_width == teacher_width else {}
    return {**CENTRING_FITS, **placed, "orthogonal": repairs.orthogonal, "ridge": repairs.ridge}


def affine_steps_of(halves: Halves) -> dict[str, Correction]:
    """The affine corrections, each fitted on the other half; the unchanged student first."""
    corrections: dict[str, Correction] = {IDENTITY: dict.fromkeys(SIDES, as_it_is)}
    return corrections | {name: repairs.affine_steps(fit, halves) for name, fit in affine_fits(halves).items()}


@dataclass(frozen=True)
class StageGains:
    """The gain of each stage over the best one before it (``gains``), the correction that it ``used`` (the first half's
    choice), the ``best`` correction for each half, the ``level`` that it reaches, and the teacher's loss at the
    student's ``width``."""

    gains: dict[str, Amount]
    used: dict[str, str]
    best: tuple[str, str]
    level: Estimate
    width: Amount


def _stage_gains(readings: Mapping[str, Reading]) -> StageGains:
    """The stages one after the other, each with its best correction or, where none is better, the one before."""
    best, gains, used = (IDENTITY, IDENTITY), {}, {}
    level = joined(readings[IDENTITY])
    for stage, candidates in STAGES.items():
        names = [name for name in candidates if name in readings]
        next_best = chosen(readings, [(previous, *names) for previous in best])
        next_level = joined((readings[next_best[0]][0], readings[next_best[1]][1]))
        step = next_level.minus(level)
        gains[stage] = (0.0, step.standard_error or 0.0)
        if step.value is not None and step.value > 0:
            gains[stage] = (step.value, step.standard_error or 0.0)
            used[stage] = next(new for new, old in zip(next_best, best, strict=True) if new != old)
            best, level = next_best, next_level
    width = (0.0, 0.0)
    if "width" in readings and (kept := joined(readings["width"])).value is not None:
        width = (1 - kept.value, kept.standard_error or 0.0)
    return StageGains(gains, used, best, level, width)


def _aside(halves: Halves, kept: list[np.ndarray], without: np.ndarray, progress: Progress) -> Amount:
    """The gain over all rows where some are set aside, if these were kept as well as the others: from the overlap of
    the remaining rows, with and without the excluded rows among them, and the overlap of the excluded rows."""
    if not len(without):
        return 0.0, 0.0
    counts = [len(queries) for queries in halves.query_places]
    excluded_queries = [excluded[sample(len(excluded), EXCLUDED_QUERIES, halves.seed)] for excluded in halves.excluded]
    queries = [np.concatenate([halves.rows[side][halves.query_places[side]], excluded_queries[side]]) for side in SIDES]
    before = halves.of_all({IDENTITY: dict.fromkeys(SIDES, as_it_is)}, queries, progress)[IDENTITY][COSINE]
    share = len(without) / halves.n
    steady = np.concatenate([after - (1 - share) * old[:n] for after, old, n in zip(kept, before, counts, strict=True)])
    others = np.concatenate([old[n:] for old, n in zip(before, counts, strict=True)])
    return float(steady.mean() - share * others.mean()), float(np.hypot(error_of(steady), share * error_of(others)))


def _parts(total: float, stages: StageGains, aside: Amount, classes: Amount, words: Words) -> list[Part]:
    """The parts, scaled so that they add up to the ``total`` loss."""
    lost = 1.0 if stages.level.value is None else max(1 - stages.level.value, 0.0)
    taken = {"rows_set_aside": (max(aside[0], 0.0), aside[1]), **stages.gains}
    taken["width"] = (float(np.clip(stages.width[0], 0.0, lost)), stages.width[1])
    taken["classes"] = (min(classes[0], lost - taken["width"][0]), classes[1])
    remaining = max(lost - taken["width"][0] - taken["classes"][0], 0.0)
    errors = stages.level.standard_error or 0.0, taken["width"][1], taken["classes"][1]
    taken["not_held"] = (remaining, float(np.linalg.norm(errors)))
    explained, total = sum(value for value, _ in taken.values()), max(total, 0.0)
    scale = total / explained if explained > 0 else 0.0  # a loss that the halves do not show goes to "not_held"
    parts = [_part(name, scale * taken[name][0], scale * taken[name][1], total, words) for name in PARTS]
    return _exact(parts, total)


def _part(name: str, share: float, error: float, total: float, words: Words) -> Part:
    low, high = max(share - 1.96 * error, 0.0), min(share + 1.96 * error, total)
    return Part(name, share, min(low, share), max(high, share), words.sentence(name, share))


def _exact(parts: list[Part], total: float) -> list[Part]:
    """The same parts, the last one changed so that the sum is exactly the total."""
    remaining = max(total - sum(part.share for part in parts[:-1]), 0.0)
    last = parts[-1]
    return [*parts[:-1], replace(last, share=remaining, low=min(last.low, remaining), high=max(last.high, remaining))]


def _of_cka(cka: float | None, halves: Halves, readings: Mapping[str, Reading], aside: int) -> list[Part]:
    """The account of CKA: rows set aside from the moments of all rows, the rest from held-out halves."""
    if cka is None or not np.isfinite(cka):
        return []
    stages, total = _stage_gains(readings), max(1 - cka, 0.0)
    words = Words("of debiased linear CKA", plain, stages.used, aside=aside)
    regained = 0.0
    if aside:
        cka_without = debiased_cka(halves.half_moments[False].merge(halves.half_moments[True]))
        regained = float(np.clip(cka_without - cka, 0.0, total)) if np.isfinite(cka_without) else 0.0
    parts = _parts(total - regained, stages, (0.0, 0.0), (0.0, 0.0), words)
    error = (joined(readings[IDENTITY]).standard_error or 0.0) if regained else 0.0
    parts[PARTS.index("rows_set_aside")] = _part("rows_set_aside", regained, error, total, words)
    return _exact(parts, total)


def _step(name: str, values: Mapping[str, Any], likeness: Mapping[str, Reading], k: int) -> dict[str, Any]:
    """The held-out values of a correction, and its gain over the unchanged student."""
    measures = {}
    for metric, measure in zip(METRICS, (OVERLAP, OVERLAP_EUCLIDEAN), strict=True):
        after, before = (joined(mean_of_halves(values[repair][metric])) for repair in (name, IDENTITY))
        measures[HELD_OUT + measure.named(k)] = _reading(after, before)
    measures[HELD_OUT + DEBIASED_CKA.key] = _reading(joined(likeness[name]), joined(likeness[IDENTITY]))
    return {"repair": name, "measures": measures}


def _reading(after: Estimate, before: Estimate) -> dict[str, float | None]:
    return {"value": after.value, "low": after.low, "high": after.high, "gain": after.minus(before).value}


def _held_out(
    k: int, values: Mapping[str, Any], likeness: Mapping[str, Reading], aside: float
) -> dict[str, dict[str, Any]]:
    """The values of the unchanged student on the halves, all rows counted."""
    overlaps = values[IDENTITY][COSINE]
    overlap, shape = joined(mean_of_halves(overlaps)), joined(likeness[IDENTITY])
    value, low, high = (
        max((bound or 0.0) - max(aside, 0.0), 0.0) for bound in (overlap.value, overlap.low, overlap.high)
    )
    return {
        HELD_OUT + OVERLAP.named(k): {"value": value, "low": low, "high": high, "n": sum(map(len, overlaps))},
        HELD_OUT + DEBIASED_CKA.key: {"value": shape.value, "low": shape.low, "high": shape.high},
    }


def split(account: Account, pieces: Sequence[Piece]) -> Account:
    """The account with the part "not_held" of the overlap split into pieces and the rest, in the given order.

    A piece takes ``fraction`` of the whole loss, or what is left. Classes that were not trained on are those that lose
    more than the others: their piece replaces the part "classes".
    """
    if not pieces:
        return account
    *others, not_held = account.overlap
    total = sum(part.share for part in account.overlap)
    if any(piece.name == ABSENT_CLASSES for piece in pieces):
        of_classes = next(part for part in others if part.name == CLASSES)
        others = [replace(part, share=0.0, low=0.0, high=0.0) if part is of_classes else part for part in others]
        share = not_held.share + of_classes.share
        not_held = replace(not_held, share=share, low=min(not_held.low, share), high=share)
    remaining, new_parts = not_held.share, []
    for piece in pieces:
        share = float(np.clip(piece.fraction * total, 0.0, remaining))
        low, high = (float(np.clip(bound * total, 0.0, not_held.share)) for bound in (piece.low, piece.high))
        new_parts.append(Part(piece.name, share, min(low, share), max(high, share), piece.sentence))
        remaining -= share
    remaining = max(total - sum(part.share for part in (*others, *new_parts)), 0.0)
    scale = remaining / not_held.share if not_held.share > 0 else 0.0
    last = replace(
        not_held, share=remaining, low=min(not_held.low * scale, remaining), high=max(not_held.high * scale, remaining)
    )
    return replace(account, overlap=[*others, *new_parts, last])


def of_order(unaligned: Any, overlap: float, cka: float | None) -> Account:
    """The account of rows in another order: "rows_set_aside" holds the overlap that the right order regains, and
    "not_held" the rest, which cannot be explained until rows are paired correctly.

    ``unaligned`` is an `unaligned.Unaligned`.
    """
    gain = unaligned.gain
    moved = (0.0, 0.0) if gain is None else (max(gain.gain, 0.0), gain.error)
    of_overlap = _reordered(1 - overlap, moved, Words(f"of each point's {unaligned.k} nearest neighbours", percent))
    of_cka = []
    if cka is not None and np.isfinite(cka):
        of_cka = _reordered(1 - cka, (0.0, 0.0), Words("of debiased linear CKA", plain))
    return Account(of_overlap, of_cka, unaligned.ladder(), {})


def _reordered(loss: float, gain: Amount, words: Words) -> list[Part]:
    total = max(loss, 0.0)
    parts = [_part(name, 0.0, 0.0, total, words) for name in PARTS[:-1]]
    if gain[0] > 0:
        sentence = f"The right order of the rows wins back {words.size(min(gain[0], total))}."
        place = PARTS.index("rows_set_aside")
        parts[place] = replace(_part(PARTS[place], min(gain[0], total), gain[1], total, words), sentence=sentence)
    not_held = Part(PARTS[-1], total, 0.0, total, "Pair the rows correctly first: until then nothing more can be said.")
    return _exact([*parts, not_held], total)


def percent(share: float) -> str:
    """A share in words."""
    return f"{100 * share:.1f}%"


def plain(share: float) -> str:
    """A share as a number."""
    return f"{share:.3f}"


@dataclass(frozen=True)
class Words:
    """The words of the account: the ``unit`` of shares, how a share is written, the corrections ``used`` by part, the
    classes that fall behind, and how many rows are set aside."""

    unit: str
    written: Callable[[float], str]
    used: Mapping[str, str] = field(default_factory=dict)
    classes: Sequence[str] = ()
    aside: int = 0

    def size(self, share: float) -> str:
        """A share with its unit."""
        return f"{self.written(share)} {self.unit}"

    def sentence(self, name: str, share: float) -> str:
        """How to regain a part, or that there is nothing to regain."""
        regain, nothing = SENTENCES[name]
        if self.written(share) == self.written(0.0):
            return nothing
        classes = ", ".join(self.classes[:MAX_NAMED]) + (" and others" if len(self.classes) > MAX_NAMED else "")
        return regain.format(
            size=self.size(share),
            classes=classes,
            aside=f"{self.aside:,}",
            correction=CORRECTION_WORDS.get(self.used.get(name, ""), ""),
        )


MAX_NAMED = 5
CORRECTION_WORDS = {
    "centring": "Subtracting the student's mean",
    "unit_deviation": "Bringing every dimension of the student to unit deviation",
    "teacher_mean": "Moving the student's mean onto the teacher's",
    "teacher_deviations": "Bringing every dimension of the student to the teacher's mean and deviation",
    "teacher_norms": "Giving the student's vectors the lengths of the teacher's",
}
SENTENCES = {
    "width": (
        "A wider student could win back {size}: the teacher itself loses this much on as many of its principal "
        "components.",
        "The student's width takes nothing.",
    ),
    "rows_set_aside": (
        "Correcting or dropping the {aside} rows that are set aside wins back {size}.",
        "Setting rows aside wins nothing back.",
    ),
    "centre_scale_norms": (
        "{correction} wins back {size}.",
        "Correcting mean, deviations and norms wins nothing back.",
    ),
    "rotation": (
        "A rotation onto the teacher's axes and mean wins back {size}: --save-repair writes it.",
        "A rotation wins nothing back.",
    ),
    "linear_map": (
        "A linear map of the student's features wins back {size}: --save-repair writes it.",
        "A linear map wins nothing back.",
    ),
    "nonlinear_map": (
        "A nonlinear map of the student's features, such as a small head trained on top, wins back {size}.",
        "A nonlinear map wins nothing back.",
    ),
    "classes": (
        "Keeping the classes that fall behind ({classes}) as well as the rest would win back {size}: look at their "
        "rows, and whether they were in the training data.",
        "No class is known to lose more than the rest.",
    ),
    "not_held": (
        "No map of the student's features wins back {size}: the features do not hold it, so it needs more or other "
        "training, or a larger student.",
        "Nothing is left over: the student's features hold what the teacher's neighbourhoods need.",
    ),
}
