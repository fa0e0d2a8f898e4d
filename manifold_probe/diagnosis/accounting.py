"""Where the loss went: 1 - overlap@k, and 1 - debiased CKA, in parts that add up exactly.

    width                 the teacher on as many of its own principal components as the student has dimensions
    rows_set_aside        what is regained once misaligned rows, outliers and copies are left out
    centre_scale_norms    the best of centring, unit deviations, the teacher's means, deviations and norms
    rotation              the orthogonal map onto the teacher, at one scale
    linear_map            ridge
    nonlinear_map         ridge from random cosine features
    classes               what some classes lose beyond the rest
    not_held              what is left: no correction of the student's features regains it

Corrections are fitted on one random half of the rows and read on the other, and each is credited with what it regains
beyond the best before it. Which one is the best is chosen, for each half, by what the other half reads, so that the
choice of the best of several is in the estimate. A correction that regains nothing is not used, and its part is 0.

Neighbours are looked up within a half, as many of them as keep the radius (see `halves`): the held-out overlap is near
the comparison's, but not the same number. The parts are scaled by (1 - overlap) / (1 - held-out overlap), so that they
add up to the loss of the comparison; intervals are scaled alike. CKA needs no such neighbours, and is treated alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import ndtr

from manifold_probe.diagnosis import repairs
from manifold_probe.diagnosis.halves import (
    CORRECTION,
    METRICS,
    SIDES,
    Correction,
    Halves,
    Reading,
    chosen,
    joined,
    mean_of,
    shared_with,
)
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
IDENTITY = "identity"
CENTRED: dict[str, repairs.Fit] = {"centring": repairs.centring, "unit_deviation": repairs.unit_deviation}
PLACED: dict[str, repairs.Fit] = {
    "teacher_mean": repairs.teacher_mean,
    "teacher_deviations": repairs.teacher_deviations,
}
STAGES = {
    "centre_scale_norms": (*CENTRED, *PLACED, "teacher_norms"),
    "rotation": ("orthogonal",),
    "linear_map": ("ridge",),
    "nonlinear_map": ("nonlinear",),
}
ASIDE = 250  # queries of each half among the rows that are set aside
Moved = tuple[float, float]  # what a part takes, and its standard error


@dataclass(frozen=True)
class Part:
    """A part of the loss: ``share`` of all neighbours (or of CKA), its 95% interval, and what would win it back."""

    name: str
    share: float
    low: float
    high: float
    sentence: str


@dataclass(frozen=True)
class Piece:
    """What evidence from the training says of the part "not_held": the ``fraction`` of the whole loss that it takes."""

    name: str
    fraction: float
    low: float
    high: float
    sentence: str


@dataclass(frozen=True)
class Account:
    """The account of a pair.

    ``overlap`` and ``cka`` are parts in order, which sum to 1 - overlap and 1 - CKA; ``cka`` is empty where CKA is
    undefined. ``steps`` are the held-out readings of every correction, ``held_out`` those of the student as it is.
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
        What the part "not_held" is split into, see `split`.
    progress : callable

    Raises
    ------
    InputError
        Where fewer than six rows of a half are left.

    Examples
    --------
    >>> import numpy as np
    >>> from manifold_probe.spaces import Space
    >>> from manifold_probe.spaces.pairing import pair
    >>> x = np.random.default_rng(0).normal(size=(200, 8)).astype("float32")
    >>> both = pair(Space(x), {"s": Space(x + 5)})["s"]
    >>> none = np.zeros(0, dtype=int)
    >>> found = account(both, 0.4, 1.0, 10, 0, aside=none, copies=none)
    >>> round(sum(part.share for part in found.overlap), 9)
    0.6
    >>> max(found.overlap, key=lambda part: part.share).name
    'centre_scale_norms'
    """
    parts = Parts(progress, {"fit": 1.0, "read": 3.0, "classes": 0.5})
    without = np.union1d(aside, copies).astype(np.int64)
    halves = Halves(pair, k, seed, without)
    corrections = corrections_of(halves, parts["fit"])
    values = halves.overlaps(corrections, parts["read"])
    neighbours = {name: _by_half(found[METRICS[0]]) for name, found in values.items()}
    likeness = {name: halves.likeness(each) for name, each in corrections.items()}
    lost = _aside(pair, halves, k, values[IDENTITY][METRICS[0]], without)
    gains, best, level = _waterfall(neighbours)
    best_values = [values[name][METRICS[0]][side] for side, name in zip(SIDES, best, strict=True)]
    classes = _Classes((0.0, 0.0), [])
    if codes is not None and len(names) > 1:
        classes = _classes(halves, corrections, best_values, np.asarray(codes), names, k, parts["classes"])
    of_overlap = _parts(
        1 - overlap,
        {"rows_set_aside": lost, **gains, "classes": classes.lost},
        level,
        _width(neighbours),
        Words(f"of each point's {k} nearest neighbours", percent, classes.names, len(without)),
    )
    found = Account(
        of_overlap,
        _of_cka(cka, halves, likeness, len(without)),
        [_step(name, values, likeness, k) for name in corrections if name != "width"],
        _held_out(k, values, likeness, lost[0]),
    )
    return split(found, pieces)


def corrections_of(halves: Halves, progress: Progress = silent) -> dict[str, Correction]:
    """Every correction by name, the student as it is first; "width" is the teacher on its own components."""
    own, theirs = halves.widths
    made: dict[str, Callable[[], Correction]] = {
        IDENTITY: lambda: dict.fromkeys(SIDES, repairs.as_it_is),
        **{name: _fitted(fit, halves) for name, fit in affine(halves).items()},
        "nonlinear": lambda: repairs.nonlinear(halves),
    }
    made["teacher_norms"] = lambda: dict.fromkeys(SIDES, repairs.at_lengths)
    if own < theirs:
        made["width"] = lambda: repairs.leading(halves, own)
    found = {}
    for place, (name, make) in enumerate(made.items()):
        progress("fitting corrections", place, len(made))
        found[name] = make()
    return found


def affine(halves: Halves) -> dict[str, repairs.Fit]:
    """The affine corrections of a pair by name."""
    own, theirs = halves.widths
    placed = PLACED if own == theirs else {}
    return {**CENTRED, **placed, "orthogonal": repairs.orthogonal, "ridge": repairs.ridge}


def _fitted(fit: repairs.Fit, halves: Halves) -> Callable[[], Correction]:
    return lambda: repairs.affine_steps(fit, halves)


def _by_half(values: list[np.ndarray]) -> Reading:
    return mean_of(values[0]), mean_of(values[1])


def _waterfall(readings: Mapping[str, Reading]) -> tuple[dict[str, Moved], tuple[str, str], Estimate]:
    """What each stage regains beyond the best before it, the best of all for each half, and what it reads."""
    best, gains = (IDENTITY, IDENTITY), {}
    level = joined(readings[IDENTITY])
    for stage, candidates in STAGES.items():
        there = [name for name in candidates if name in readings]
        following = chosen(readings, [(each, *there) for each in best])
        reached = joined((readings[following[0]][0], readings[following[1]][1]))
        step = reached.minus(level)
        error = step.standard_error or 0.0
        if step.value is None or step.value <= 0:
            gains[stage] = (0.0, error)
            continue
        gains[stage], best, level = (step.value, error), following, reached
    return gains, best, level


def _width(readings: Mapping[str, Reading]) -> Moved:
    """What the teacher loses on as many of its own components as the student has dimensions."""
    if "width" not in readings:
        return 0.0, 0.0
    kept = joined(readings["width"])
    return (0.0, 0.0) if kept.value is None else (1 - kept.value, kept.standard_error or 0.0)


def _aside(pair: Pair, halves: Halves, k: int, kept: list[np.ndarray], without: np.ndarray) -> Moved:
    """What is regained on all rows once some are set aside, if these were kept as well as the rest."""
    if not len(without):
        return 0.0, 0.0
    whole = Halves(pair, k, halves.seed)
    rows = [np.intersect1d(whole.rows[side], without) for side in SIDES]
    few = [own[sample(len(own), ASIDE, halves.seed)] for own in rows]
    mine = [halves.rows[side][halves.asked[side]] for side in SIDES]
    asked = [np.searchsorted(whole.rows[side], np.concatenate([mine[side], few[side]])) for side in SIDES]
    steps: dict[str, Correction] = {
        "teacher": dict.fromkeys(SIDES, repairs.the_teacher),
        IDENTITY: dict.fromkeys(SIDES, repairs.as_it_is),
    }
    found = whole.neighbours(steps, whole.rows, asked, whole.k)
    before = shared_with(found["teacher"], found[IDENTITY])[METRICS[0]]
    share = len(without) / halves.n
    counts = [len(each) for each in mine]
    steady = np.concatenate([after - (1 - share) * old[:n] for after, old, n in zip(kept, before, counts, strict=True)])
    lost = np.concatenate([old[n:] for old, n in zip(before, counts, strict=True)])
    errors = CORRECTION * np.array([_error(steady), share * _error(lost)])
    return float(steady.mean() - share * lost.mean()), float(np.linalg.norm(errors))


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def _parts(total: float, moved: dict[str, Moved], level: Estimate, width: Moved, words: Words) -> list[Part]:
    """The parts, scaled to the ``total`` loss; ``level`` is what the best correction reads."""
    left = 1.0 if level.value is None else max(1 - level.value, 0.0)
    limited = min(max(width[0], 0.0), left)
    shares = {name: (max(value, 0.0), error) for name, (value, error) in moved.items()}
    shares["classes"] = (min(shares["classes"][0], left - limited), shares["classes"][1])
    shares["width"] = (limited, width[1])
    taken = sum(value for value, _ in shares.values())
    rest = max(left - limited - shares["classes"][0], 0.0)
    shares["not_held"] = (rest, float(np.linalg.norm([level.standard_error or 0.0, width[1], shares["classes"][1]])))
    held = taken + rest
    total = max(total, 0.0)
    if held <= 0 and total > 0:
        shares["not_held"], held = (1.0, 0.0), 1.0
    scale = total / held if held > 0 else 0.0
    found = [_part(name, shares[name][0] * scale, shares[name][1] * scale, total, words) for name in PARTS]
    return _exact(found, total)


def _part(name: str, share: float, error: float, total: float, words: Words) -> Part:
    low, high = max(share - 1.96 * error, 0.0), min(share + 1.96 * error, total)
    return Part(name, share, min(low, share), max(high, share), words.sentence(name, share))


def _exact(parts: list[Part], total: float) -> list[Part]:
    """The same with the last part the rest of the total, to the last digit."""
    rest = max(total - sum(part.share for part in parts[:-1]), 0.0)
    last = parts[-1]
    return [*parts[:-1], replace(last, share=rest, low=min(last.low, rest), high=max(last.high, rest))]


def _of_cka(cka: float | None, halves: Halves, readings: Mapping[str, Reading], aside: int) -> list[Part]:
    """The account of CKA: rows set aside by the moments of all rows, the rest by held-out halves."""
    if cka is None or not np.isfinite(cka):
        return []
    words = Words("of debiased linear CKA", plain, [], aside)
    total = max(1 - cka, 0.0)
    start = joined(readings[IDENTITY])
    if start.value is None:
        nothing = dict.fromkeys(("rows_set_aside", *STAGES, "classes"), (0.0, 0.0))
        return _parts(total, nothing, Estimate(None), (0.0, 0.0), words)
    gains, _, level = _waterfall(readings)
    found = {**gains, "classes": (0.0, 0.0)}
    regained = 0.0
    if aside:
        kept = debiased_cka(halves.whole[False].merge(halves.whole[True]))
        regained = float(np.clip(kept - cka, 0.0, total)) if np.isfinite(kept) else 0.0
    parts = _parts(total - regained, {"rows_set_aside": (0.0, 0.0), **found}, level, _width(readings), words)
    error = (start.standard_error or 0.0) if regained else 0.0
    place = PARTS.index("rows_set_aside")
    parts[place] = _part("rows_set_aside", regained, error, total, words)
    return _exact(parts, total)


@dataclass(frozen=True)
class _Classes:
    """What some classes lose beyond the rest, and which they are, the worst first."""

    lost: Moved
    names: list[str]


def _classes(
    halves: Halves,
    corrections: Mapping[str, Correction],
    values: list[np.ndarray],
    codes: np.ndarray,
    names: Sequence[str],
    k: int,
    progress: Progress,
) -> _Classes:
    """What the classes that fall behind lose beyond the rest, by the overlap of every query of each half."""
    return _Classes((0.0, 0.0), [])


def _step(name: str, values: Mapping[str, Any], likeness: Mapping[str, Reading], k: int) -> dict[str, Any]:
    """The held-out readings of a correction, and what it gains beyond the student as it is."""
    measures = {}
    for metric, measure in zip(METRICS, (OVERLAP, OVERLAP_EUCLIDEAN), strict=True):
        after, before = (joined(_by_half(values[each][metric])) for each in (name, IDENTITY))
        measures[measure.named(k)] = _reading(after, before)
    measures[DEBIASED_CKA.key] = _reading(joined(likeness[name]), joined(likeness[IDENTITY]))
    return {"repair": name, "measures": measures}


def _reading(after: Estimate, before: Estimate) -> dict[str, float | None]:
    return {"value": after.value, "low": after.low, "high": after.high, "gain": after.minus(before).value}


def _held_out(
    k: int, values: Mapping[str, Any], likeness: Mapping[str, Reading], aside: float
) -> dict[str, dict[str, Any]]:
    """What the student as it is reads on the halves, all rows counted."""
    found = values[IDENTITY][METRICS[0]]
    kept, shape = joined(_by_half(found)), joined(likeness[IDENTITY])
    assert kept.value is not None and kept.low is not None and kept.high is not None
    lost = max(aside, 0.0)
    value, low, high = (max(each - lost, 0.0) for each in (kept.value, kept.low, kept.high))
    return {
        f"held_out_{OVERLAP.named(k)}": {"value": value, "low": low, "high": high, "n": sum(map(len, found))},
        f"held_out_{DEBIASED_CKA.key}": {"value": shape.value, "low": shape.low, "high": shape.high},
    }


def split(found: Account, pieces: Sequence[Piece]) -> Account:
    """The account with the part "not_held" of the overlap split into pieces and the rest, in the order given.

    A piece takes ``fraction`` of the whole loss, or what is left.
    """
    if not pieces:
        return found
    *others, rest = found.overlap
    total = sum(part.share for part in found.overlap)
    left, made = rest.share, []
    for piece in pieces:
        share = float(np.clip(piece.fraction * total, 0.0, left))
        low, high = (float(np.clip(each * total, 0.0, rest.share)) for each in (piece.low, piece.high))
        made.append(Part(piece.name, share, min(low, share), max(high, share), piece.sentence))
        left -= share
    left = max(total - sum(part.share for part in (*others, *made)), 0.0)
    scale = left / rest.share if rest.share > 0 else 0.0
    last = replace(rest, share=left, low=min(rest.low * scale, left), high=max(rest.high * scale, left))
    return replace(found, overlap=[*others, *made, last])


def of_order(unaligned: Any, overlap: float, cka: float | None, k: int) -> Account:
    """The account of rows in another order: "rows_set_aside" holds what the order regains, the rest is not known.

    ``unaligned`` is an `unaligned.Unaligned`; nothing else can be told until rows are paired rightly.
    """
    gain = unaligned.gain
    regained = float(np.clip(gain.value, 0.0, max(1 - overlap, 0.0))) if gain is not None else 0.0
    error = gain.error if gain is not None else 0.0
    found = []
    for loss, moved, words in (
        (1 - overlap, (regained, error), Words(f"of each point's {k} nearest neighbours", percent, [], 0)),
        (None if cka is None or not np.isfinite(cka) else 1 - cka, (0.0, 0.0), Words("of CKA", plain, [], 0)),
    ):
        if loss is None:
            found.append([])
            continue
        total = max(loss, 0.0)
        made = [_part(name, moved[0] if name == PARTS[1] else 0.0, moved[1], total, words) for name in PARTS[:-1]]
        made[1] = replace(made[1], sentence=f"The right order of the rows wins back {words.size(moved[0])}.")
        rest = Part(PARTS[-1], total, 0.0, total, "Pair the rows by id first: until then nothing more can be told.")
        found.append(_exact([*made, rest], total))
    of_overlap, of_cka = found
    held = {"value": unaligned.overlap, "low": None, "high": None, "n": None}
    return Account(of_overlap, of_cka, unaligned.ladder(), {f"held_out_{OVERLAP.named(k)}": held})


def percent(share: float) -> str:
    """A share in words."""
    return f"{100 * share:.1f}%"


def plain(share: float) -> str:
    """A share as a number."""
    return f"{share:.3f}"


@dataclass(frozen=True)
class Words:
    """What parts are parts of (``unit``), how a share is written, the classes that fall behind, and how many rows are
    set aside."""

    unit: str
    written: Callable[[float], str]
    classes: list[str]
    aside: int

    def size(self, share: float) -> str:
        """A share with its unit."""
        return f"{self.written(share)} {self.unit}"

    def sentence(self, name: str, share: float) -> str:
        """What would win a part back, or that there is nothing to win."""
        regain, nothing = SENTENCES[name]
        if self.written(share) == self.written(0.0):
            return nothing
        classes = ", ".join(self.classes[:MOST_NAMED]) + (" and others" if len(self.classes) > MOST_NAMED else "")
        return regain.format(size=self.size(share), classes=classes, aside=f"{self.aside:,}")


MOST_NAMED = 5
SENTENCES = {
    "width": (
        "A wider student could win back {size}: the teacher itself loses this much on as many of its principal "
        "components.",
        "The student's width takes nothing.",
    ),
    "rows_set_aside": (
        "Correcting or dropping the {aside} rows that are set aside wins back {size}.",
        "No rows need to be set aside.",
    ),
    "centre_scale_norms": (
        "A correction of the student's mean, deviations or norms wins back {size}: --save-repair writes it.",
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
