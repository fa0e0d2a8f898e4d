"""Evidence from the training: what outputs alone cannot tell.

    rows trained on against rows held out     overfit, and what the rows trained on lose too (underfit)
    classes trained on against the others     absent_classes
    the course of the loss                    undertrained, unstable_training, too_small_student
    the student's other side                  misaligned_head

Each gives causes, and pieces of the account: fractions of the whole loss. A student that was trained on half of the
classes also keeps rows that it was trained on better, so that the first comparison is made among the classes that were
trained on, and the three pieces add up to the whole loss:

    1 = absent_classes + overfit + underfit
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from manifold_probe.diagnosis.lab import CORRECTION, LEAST_LOSS, Trial, of_groups, paired, shared
from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.neighbours import search
from manifold_probe.engine.rows import sample
from manifold_probe.engine.scale import at_unit_scale
from manifold_probe.errors import InputError
from manifold_probe.measures.catalogue import OVERLAP
from manifold_probe.parts import Progress
from manifold_probe.spaces.pairing import Pair
from manifold_probe.spaces.space import Space

LEAST_ROWS = 60
MOST_ROWS = 4000  # of each group
QUERIES = 2000
SURE = 3.0  # standard errors: chance passes it once in 700 times
LEAST_SHARE = 0.05  # of the whole loss: a random split of the rows differs by less than this at 1,000 rows of each
HARDLY = 0.6  # of what the student's width permits: rows trained on that keep less are not learned
UNTRAINED = 0.5  # of what it keeps at the end, where it is not known what the untrained student kept


@dataclass(frozen=True)
class Training:
    """What is known of a student's training; nothing is known of what is None.

    Attributes
    ----------
    trained : np.ndarray of bool, shape (n,)
        The rows of the pair that were trained on.
    seen : Pair
        Teacher and student on rows that were trained on, beside those of the pair.
    log : list of (step, loss)
        In order; a loss may be NaN or infinite.
    classes : frozenset of str
        Names of the classes that were trained on.
    head : Pair
        The teacher, and the other side of the student: the pair's is its backbone, this its head.
    watched : list of (step, overlap)
        What the student kept of a fixed set of rows in the course of the training, from the untrained student on.
    models : Models
        The student's model and the data, and perhaps the teacher's model: what can be tried on them.
    finished : bool
        Whether the training ran to its end.
    """

    trained: np.ndarray | None = None
    seen: Pair | None = None
    log: list[tuple[float, float]] | None = None
    classes: frozenset[str] | None = None
    head: Pair | None = None
    watched: list[tuple[float, float]] | None = None
    models: Any = None
    finished: bool = True


@dataclass(frozen=True)
class Piece:
    """A part of the account: its fraction of the whole loss, with a 95% interval, and what would win it back."""

    name: str
    fraction: float
    low: float
    high: float
    sentence: str


@dataclass(frozen=True)
class Found:
    """What the training tells: causes and pieces, what was measured (for "examined"), and the causes looked for."""

    causes: list[dict[str, Any]] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    beside: dict[str, Any] = field(default_factory=dict)
    assessed: list[str] = field(default_factory=list)

    def plus(self, other: Found) -> Found:
        """Both."""
        return Found(
            self.causes + other.causes,
            self.pieces + other.pieces,
            self.beside | other.beside,
            self.assessed + other.assessed,
        )


@dataclass(frozen=True)
class Declared:
    """A cause as it is put in words."""

    words: str
    advice: str
    falsified_by: str


CAUSES = {
    "overfit": Declared(
        "only the rows that were trained on are kept",
        "Train on more data, augment, or stop earlier.",
        "Rows held out are kept as well as rows trained on, as many of each.",
    ),
    "absent_classes": Declared(
        "classes that were not trained on are kept worse",
        "Add examples of these classes to the training data, or use the student for the others alone.",
        "A student trained on all classes loses as much in these.",
    ),
    "undertrained": Declared(
        "the loss still fell when training stopped",
        "Train for more epochs, or with a higher learning rate; end when the loss on held-out rows does not fall "
        "any more.",
        "Twice the epochs leave the loss where it is.",
    ),
    "unstable_training": Declared(
        "the loss rose, jumped or was not finite",
        "Lower the learning rate, warm it up, or clip gradients; start again from before the loss rose.",
        "A tenth of the learning rate gives the same course.",
    ),
    "too_small_student": Declared(
        "the loss was flat, and rows trained on are not kept either",
        "Take a larger student, or a loss that asks for neighbours; more epochs or data will not do it.",
        "A larger student, trained alike, keeps no more of the rows it was trained on.",
    ),
    "misaligned_head": Declared(
        "the student's other side keeps more",
        "Read the student at the other side of its head.",
        "A linear map of this side, fitted on other rows, keeps as much as the other side.",
    ),
}


def cause(
    name: str,
    proof: Trial | None,
    evidence: Sequence[tuple[str, float | None, float | None]],
    *,
    proved: bool,
    share: float | None = None,
    where: dict[str, list[Any]] | None = None,
    confusable: Sequence[str] = (),
    repair: bool = False,
    declared: Declared | None = None,
) -> dict[str, Any]:
    """A cause as the document holds it; ``proof`` is shown as the repair where there is something to repair with."""
    said = declared or CAUSES[name]
    return {
        "name": name,
        "words": said.words,
        "status": "proved" if proved else "suspected",
        "share": proof.share if share is None and proof is not None else share,
        "evidence": [
            {"measure": measure, "value": value, "expected": expected} for measure, value, expected in evidence
        ],
        "repair": repaired(proof) if proof is not None and repair else None,
        "where": where,
        "advice": said.advice,
        "falsified_by": said.falsified_by,
        "or": list(confusable),
    }


def repaired(proof: Trial) -> dict[str, Any]:
    """A trial as the document holds a repair."""
    return {
        "name": proof.name,
        "kind": proof.kind,
        "measure": proof.measure,
        "before": proof.before,
        "after": proof.after,
        "low": float(np.clip(proof.low, -1, 1)),
        "high": float(np.clip(proof.high, -1, 1)),
        "healthy_gain": proof.healthy,
        "z": float(min(proof.z, 1e6)),
        "n": proof.n,
    }


def evidence_of_training(pair: Pair, training: Training, k: int, seed: int, progress: Progress | None = None) -> Found:
    """All that the training tells of a pair.

    Raises
    ------
    InputError
        Too few rows of a group, or classes that no row has.
    """
    found = Found(beside={} if training.finished else {"training": {"finished": False}})
    classes = classes_trained(pair, training)
    there = None if classes is None else present(pair, classes)
    if there is not None:
        found = found.plus(of_classes(pair, there, classes or frozenset(), k, seed))
    absent = sum(piece.fraction for piece in found.pieces)
    rows = None
    if training.trained is not None or training.seen is not None:
        rows = Rows.of(pair, training, there, k, seed)
        found = found.plus(rows.found(1 - absent))
    if training.log is not None or training.watched is not None:
        found = found.plus(of_course(pair, training, rows, k, seed))
    if training.head is not None:
        found = found.plus(of_head(pair, training.head, k, seed))
    if training.models is not None:
        from manifold_probe.diagnosis.interventions import of_models

        found = found.plus(of_models(pair, training.models, k, seed, progress))
    return found


# ---- neighbours among some rows


def nearest(x: np.ndarray, queries: np.ndarray, k: int, metric: str = "cosine") -> np.ndarray:
    """(q, k): the nearest other rows of ``queries`` among the rows of x (n, d)."""
    found: np.ndarray = search(Cloud(Space(x)), queries, k, {metric: k}, distances=False)[metric].nearest
    return found


def kept(pair: Pair, rows: np.ndarray, k: int) -> np.ndarray:
    """(m,): the share of each row's neighbours among ``rows`` that the student keeps."""
    asked = np.arange(len(rows))
    theirs, own = (nearest(at_unit_scale(side.take(rows)), asked, k) for side in (pair.teacher, pair.student))
    return shared(theirs, own)


def evenly(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, evenly in their order."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(int))]


# ---- rows that were trained on against rows that were not


@dataclass(frozen=True)
class Rows:
    """Overlap of rows trained on and of rows held out, (m,) each, neighbours looked up within each.

    ``held`` is None where all rows of the pair were trained on. ``permitted`` (m,) is what the teacher's own leading
    components, as many as the student is wide, keep of the rows that were trained on. ``weight`` is the share of the
    pair's rows that were held out.
    """

    trained: np.ndarray
    held: np.ndarray | None
    permitted: np.ndarray
    weight: float
    k: int

    @classmethod
    def of(cls, pair: Pair, training: Training, there: np.ndarray | None, k: int, seed: int) -> Rows:
        """Drawn from a pair, as many of each; ``there`` (n,) of bool are the rows of classes that were trained on."""
        n = pair.teacher.n
        trained = np.zeros(n, bool) if training.trained is None else training.trained
        source, rows = (pair, np.flatnonzero(trained))
        if training.seen is not None:
            source, rows = training.seen, np.arange(training.seen.teacher.n)
        held = np.flatnonzero(~trained if there is None else ~trained & there)
        least = max(LEAST_ROWS, 3 * k)
        sides = {"trained on": rows} | ({} if trained.all() else {"not trained on": held})
        for name, each in sides.items():
            if len(each) < least:
                of_classes = "" if there is None else ", of the classes trained on,"
                raise InputError(
                    f"train ids: {len(each):,} of the paired rows{of_classes} were {name}; at least {least} are needed"
                )
        size = min(MOST_ROWS, *(len(each) for each in sides.values()))
        draw = np.random.default_rng([seed, 11])
        chosen = [np.sort(draw.permutation(each)[:size]) for each in sides.values()]
        teacher = at_unit_scale(source.teacher.take(chosen[0])).astype(np.float64)
        asked = np.arange(size)
        reference = leading(teacher, source.student.d)
        permitted = shared(nearest(teacher, asked, k), nearest(reference, asked, k))
        other = None if len(chosen) == 1 else kept(pair, chosen[1], k)
        return cls(kept(source, chosen[0], k), other, permitted, float((~trained).mean()), k)

    @property
    def loss(self) -> float:
        """What the rows of the pair lose, held out and trained on in their proportion."""
        held = 0.0 if self.held is None else self.weight * float(self.held.mean())
        return max(1 - held - (1 - self.weight) * float(self.trained.mean()), LEAST_LOSS)

    @property
    def overfit(self) -> Trial | None:
        """Rows held out against rows trained on."""
        if self.held is None:
            return None
        name, measure = "rows trained on in place of rows held out", OVERLAP.named(self.k)
        return of_groups(name, "compared", measure, self.held, self.trained, self.loss, weight=self.weight)

    @property
    def underfit(self) -> Trial:
        """Rows trained on against what the student's width permits of them."""
        name, measure = "rows trained on, kept as the student's width permits", OVERLAP.named(self.k)
        return paired(name, "compared", measure, self.trained, self.permitted, self.loss)

    def found(self, whole: float) -> Found:
        """The pieces ``overfit`` and ``underfit``, which add up to ``whole``, and the cause ``overfit``."""
        proof, measure = self.overfit, OVERLAP.named(self.k)
        seen = float(self.trained.mean())
        measured: dict[str, Any] = {"rows": len(self.trained), "seen": seen, "permitted": float(self.permitted.mean())}
        low = high = share = 0.0
        causes = []
        if proof is not None and self.held is not None:
            scale = self.weight / self.loss
            share, gap = proof.share, proof.after - proof.before
            low, high = (float(np.clip(scale * (gap + step * proof.error), 0, 1)) for step in (-1.96, 1.96))
            measured |= {"unseen": proof.before, "difference": gap}
            measured |= {"low": gap - 1.96 * proof.error, "high": gap + 1.96 * proof.error}
            if proof.z > SURE and share >= LEAST_SHARE:
                evidence = [
                    (f"{measure} of rows that were trained on", seen, proof.before),
                    (f"{measure}, seen minus unseen", gap, 0.0),
                ]
                causes.append(cause("overfit", proof, evidence, proved=True))
        pieces = [
            Piece(
                "overfit",
                whole * share,
                whole * low,
                whole * high,
                "Rows that were trained on are kept better than rows held out: more data or augmentation would win "
                "this.",
            ),
            Piece(
                "underfit",
                whole * (1 - share),
                whole * (1 - high),
                whole * (1 - low),
                "Rows that were trained on lose this too: longer training, a larger student or a closer loss would win "
                "it.",
            ),
        ]
        return Found(causes, pieces, {"overfit": measured}, ["overfit"])


def leading(x: np.ndarray, width: int) -> np.ndarray:
    """The rows x (n, d) on their first ``width`` principal components, with the mean put back."""
    centre = x.mean(0)
    if width >= min(x.shape):
        return x
    _, vectors = np.linalg.eigh((x - centre).T @ (x - centre))
    first = vectors[:, -width:]
    found: np.ndarray = centre + (x - centre) @ first @ first.T
    return found


# ---- classes that were trained on against the others


def classes_trained(pair: Pair, training: Training) -> frozenset[str] | None:
    """The classes that were trained on, as they are given or as the rows that were trained on have them; None where
    they are unknown or all.

    Raises
    ------
    InputError
        Where there are no labels, or a class that is given is not among them.
    """
    if training.classes is None:
        if pair.labels is None:
            return None
        rows = [] if training.trained is None else [names_of(pair.labels)[training.trained]]
        if training.seen is not None and training.seen.labels is not None:
            rows.append(names_of(training.seen.labels))
        named = set(np.unique(np.concatenate(rows)).tolist()) - {""} if rows else set()
        return frozenset(named) if named and not set(classes_of(pair)) <= named else None
    if pair.labels is None:
        raise InputError("classes trained: the rows have no labels; give --labels")
    known = classes_of(pair)
    unknown = sorted(training.classes - set(known))
    if unknown:
        listed = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
        raise InputError(f"classes trained: no row has the label {unknown[0]!r}; the labels are {listed}")
    if set(known) <= training.classes:
        raise InputError("classes trained: all classes are among them; leave this out, or give the rows of others too")
    return training.classes


def names_of(labels: np.ndarray) -> np.ndarray:
    """Labels as text, "" for none."""
    from manifold_probe.engine.inputs import codes_of

    codes, names = codes_of(np.asarray(labels))
    return np.where(codes < 0, "", names.astype(str)[codes] if len(names) else "")


def classes_of(pair: Pair) -> list[str]:
    """The names of the classes of a pair."""
    return [name for name in np.unique(names_of(np.asarray(pair.labels))).tolist() if name]


def present(pair: Pair, classes: frozenset[str]) -> np.ndarray:
    """(n,) of bool: the rows whose class was trained on."""
    return np.isin(names_of(np.asarray(pair.labels)), list(classes))


def of_classes(pair: Pair, there: np.ndarray, classes: frozenset[str], k: int, seed: int) -> Found:
    """The piece and the cause ``absent_classes``.

    Classes differ in a sound student too: in one, single rows lie apart, in another close together. So the healthy twin
    is the teacher with as much noise as leaves the present classes what the student keeps of them; only what absent
    classes lose beyond the twin counts, and classes are the units that the error is taken over.
    """
    labels = names_of(np.asarray(pair.labels))
    labelled = np.flatnonzero(labels != "")
    rows = evenly(labelled, 2 * MOST_ROWS)
    names, mine = labels[rows], there[rows]
    for name, mask in (("trained on", mine), ("not trained on", ~mine)):
        if mask.sum() < LEAST_ROWS:
            raise InputError(
                f"classes trained: {int(mask.sum()):,} of the rows are of classes {name}; at least {LEAST_ROWS} are "
                "needed"
            )
    keeps = kept(pair, rows, k)
    twin = noisy_twin(at_unit_scale(pair.teacher.take(rows)), mine, float(keeps[mine].mean()), k, seed)
    loss, weight = 1 - float(keeps.mean()), float((~mine).mean())
    measure = OVERLAP.named(k)
    name = "classes trained on in place of the others"
    plain = of_groups(name, "compared", measure, keeps[~mine], keeps[mine], loss, weight=weight)
    healthy = float(twin[mine].mean() - twin[~mine].mean())
    error = max(plain.error, spread_of_classes(keeps - twin, names, mine))
    gain = plain.after - plain.before - max(healthy, 0.0)
    scale = weight / max(loss, LEAST_LOSS)
    proof = replace(plain, healthy=healthy, error=error, share=float(np.clip(scale * gain, 0, 1)))
    absent = sorted(set(names[~mine].tolist()))
    beside = {
        "trained": len(classes),
        "absent": absent,
        "present_overlap": plain.after,
        "absent_overlap": plain.before,
        "healthy_difference": healthy,
        "low": gain - 1.96 * error,
        "high": gain + 1.96 * error,
    }
    few = "1 class was" if len(absent) == 1 else f"{len(absent)} classes were"
    piece = Piece(
        "absent_classes",
        proof.share,
        *(float(np.clip(scale * (gain + step * error), 0, 1)) for step in (-1.96, 1.96)),
        f"{few} not in the training, and lose this beyond the others: examples of these would win it.",
    )
    causes = []
    if proof.z > SURE and proof.share >= LEAST_SHARE:
        evidence = [
            (f"{measure} in classes that were not trained on", plain.before, plain.after - max(healthy, 0.0)),
            (f"{measure} in classes that were trained on", plain.after, None),
        ]
        causes = [cause("absent_classes", proof, evidence, proved=True, where={"classes": absent})]
    return Found(causes, [piece], {"classes": beside}, ["absent_classes"])


def noisy_twin(teacher: np.ndarray, rows: np.ndarray, wanted: float, k: int, seed: int) -> np.ndarray:
    """(n,): what the teacher keeps of its own neighbours under noise of the size that leaves ``wanted`` to ``rows``."""
    wide = teacher.astype(np.float64)
    noise = np.random.default_rng([seed, 12]).normal(size=wide.shape)
    noise *= np.sqrt(np.square(wide - wide.mean(0)).sum(1).mean() / wide.shape[1])
    asked = np.arange(len(wide))
    theirs = nearest(wide, asked, k)
    low, high = -7.0, 4.0  # powers of two
    for _ in range(7):
        middle = (low + high) / 2
        found = shared(theirs, nearest(wide + 2.0**middle * noise, asked, k))
        low, high = (middle, high) if found[rows].mean() > wanted else (low, middle)
    return found


def spread_of_classes(values: np.ndarray, names: np.ndarray, mine: np.ndarray) -> float:
    """Standard error of the difference between two groups of classes, classes being the units; 0 of two classes."""
    values_of, kinds = [], []
    for name in np.unique(names):
        rows = names == name
        means.append(float(values[rows].mean()))
        kind.append(bool(mine[rows][0]))
    means, first = np.array(means), np.array(kind)
    within = [means[group] - means[group].mean() for group in (first, ~first)]
    freedom = len(means) - 2
    if freedom < 1:
        return 0.0
    variance = sum(float(np.square(each).sum()) for each in within) / freedom
    return float(np.sqrt(variance * sum(1 / len(each) for each in within)))


# ---- the course of the loss

FALLING = 2.33  # Mann-Kendall's z: without a trend it is passed once in 100 times
TO_GO = 0.05  # of the fall so far; runs that were long enough show at most .02, a tenth as long .07 and more
ROSE = 0.1  # of the fall so far
NOISE = 5.0  # standard errors of a difference of levels: noise alone passes it somewhere in 300 points once in 1,000
JUMPED = 0.25  # of the fall so far
FEWEST = 4  # points: of fewer no rate of the fall is read
FEW = 12  # points: of fewer no noise is known, and nothing is proved but an explosion
EXPLODED = 2.0  # times the first loss
HALVED = 0.5  # what a doubling of the steps wins, beside the doubling before, where the course is too short to tell
MOST_HALVED = 0.8


@dataclass(frozen=True)
class Course:
    """A curve that falls as a student learns, read as a whole.

    ``kind`` is "falling", "flat", "rising", "jumping" or "not finite", and ``sure`` whether chance makes such a course
    less than once in 100 times. ``to_go`` is how much further it would fall, in units of the fall so far, had training
    gone on for four times as long: every doubling of the steps is taken to win the same share of what the doubling
    before it won. A schedule that ends at zero makes the very end flat, so that the last half is looked at and not the
    last steps. ``learned`` is whether it fell at all, beyond its noise.
    """

    kind: str
    sure: bool
    points: int
    first: float
    half: float
    last: float
    to_go: float = 0.0
    learned: bool = True
    at: float | None = None


def read_course(curve: Sequence[tuple[float, float]]) -> Course | None:
    """The course of a curve of (step, value); None where it has too few points to be read.

    >>> read_course([(step, 1 / step) for step in range(1, 41)]).kind
    'flat'
    >>> read_course([(step, 4 - step / 20) for step in range(1, 41)]).kind
    'falling'
    """
    values = np.array([value for _, value in curve], dtype=float)
    steps = np.array([step for step, _ in curve], dtype=float)
    n = len(values)
    if n and not np.isfinite(values).all():
        place = int(np.argmin(np.isfinite(values)))
        return Course("not finite", True, n, values[0], np.nan, np.nan, at=float(steps[place]))
    if n < 2:
        return None
    quarter, half, last = (level(steps, values, part) for part in (0.25, 0.5, 1.0))
    first = float(values[: max(1, n // 16)].mean())
    lowest = min(quarter, half, last)
    fall = max(first, quarter, half) - lowest
    noise = NOISE * noise_of(values)
    facts: dict[str, Any] = {"points": n, "first": first, "half": half, "last": last, "learned": bool(fall > noise)}
    at = jump(steps, values, max(JUMPED * fall, noise))
    if n < FEW and last > EXPLODED * max(abs(first), 1e-12):
        return Course("rising", True, at=at, **facts)
    rise, falls = last - lowest, trend(binned(values[steps >= steps[-1] / 2]))
    if n >= FEW and rise > max(ROSE * fall, noise) and falls < -FALLING:
        return Course("rising", True, at=at, **facts)
    if at is not None:
        return Course("jumping", True, at=at, **facts)
    won, before = half - last, quarter - half
    ratio = HALVED if n < FEWEST else float(np.clip(won / max(before, 1e-12), 0, MOST_HALVED))
    facts["to_go"] = max(won, 0.0) * (ratio + ratio**2) / max(fall, 1e-12)
    sure = n >= FEW and falls > FALLING
    if facts["to_go"] >= TO_GO and (sure or n < FEW):
        return Course("falling", sure, **facts)
    return Course("flat", n >= FEW, **facts)


def noise_of(values: np.ndarray) -> float:
    """The standard error of the difference between two levels, medians of a sixteenth of the points each: from the
    steps between neighbours; 0 of few points."""
    if len(values) < FEW:
        return 0.0
    changes = np.diff(values[len(values) // 2 :])
    spread = 1.4826 * float(np.median(np.abs(changes - np.median(changes)))) / np.sqrt(2)
    return CORRECTION * spread * np.sqrt(2 / window_of(values))


def window_of(values: np.ndarray) -> int:
    """How many points make a level."""
    return max(3, len(values) // 16)


def level(steps: np.ndarray, values: np.ndarray, part: float) -> float:
    """The value at a part of the course: the median of the last quarter of the steps up to there, or, of few points,
    the value between neighbours."""
    end = part * steps[-1]
    inside = values[(steps > 0.75 * end) & (steps <= end)]
    return float(np.median(inside)) if len(inside) > 2 else float(np.interp(end, steps, values))


def binned(values: np.ndarray, most: int = 12) -> np.ndarray:
    """Means of at most so many equal parts, so that neighbouring steps are not counted as independent."""
    parts = np.array_split(values, min(most, len(values)))
    return np.array([part.mean() for part in parts])


def trend(values: np.ndarray) -> float:
    """Mann-Kendall's z of a fall: positive where later values are lower more often than higher.

    >>> round(trend(np.arange(12.0)[::-1]), 2)
    4.46
    """
    n = len(values)
    if n < 3:
        return 0.0
    later = np.sign(values[:, None] - values[None, :])
    score = float(later[np.triu_indices(n, 1)].sum())
    spread = np.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    return float(np.sign(score) * max(abs(score) - 1, 0) / spread)


def jump(steps: np.ndarray, values: np.ndarray, least: float) -> float | None:
    """The step at which the curve jumps up for a while: its largest rise, where that is larger than ``least``."""
    if len(values) < 2 * FEW:
        return None
    window = window_of(values)
    levels = np.median(np.lib.stride_tricks.sliding_window_view(values, window), axis=1)
    rises = levels[window:] - levels[:-window]
    place = int(np.argmax(rises))
    return float(steps[place + window]) if rises[place] > least else None


def of_course(pair: Pair, training: Training, rows: Rows | None, k: int, seed: int) -> Found:
    """The causes ``undertrained``, ``unstable_training`` and ``too_small_student``."""
    log, watched = training.log or [], training.watched or []
    lost = [(step, 1 - value) for step, value in watched]
    enough = len(log) >= FEWEST or any(not np.isfinite(value) for _, value in log) or len(log) >= len(lost)
    course = read_course(log if enough else lost)
    if course is None:
        return Found(beside={"log": {"points": len(log), "course": "too short"}})
    what = "the training loss" if enough else "the share of neighbours lost on watched rows"
    beside = {
        "points": course.points,
        "course": course.kind,
        "of": what,
        **{name: getattr(course, name) for name in ("first", "half", "last", "to_go", "at")},
        "finished": training.finished,
    }
    names = ["undertrained", "unstable_training", "too_small_student"]
    found = Found(beside={"log": beside}, assessed=names)
    if course.kind == "not finite":
        evidence = [("step at which the training loss was not finite", course.at, None)]
        return replace(found, causes=[cause("unstable_training", None, evidence, proved=True)])
    if course.kind in ("rising", "jumping"):
        evidence = [(f"{what} at the end", course.last, min(course.half, course.last))]
        evidence += [("step at which it jumped", course.at, None)] if course.at is not None else []
        return replace(found, causes=[cause("unstable_training", None, evidence, proved=course.sure)])
    measure = OVERLAP.named(k)
    if course.kind == "falling":
        now = overlap_of(pair, k, seed) if rows is None or rows.held is None else float(rows.held.mean())
        start = watched[0][1] if watched else UNTRAINED * now
        share = float(np.clip((now - min(start, now)) * course.to_go / max(1 - now, LEAST_LOSS), 0, 1))
        evidence = [
            (f"{what} half-way", course.half, None),
            (f"{what} at the end", course.last, course.half),
            (f"{measure} to be won by four times the steps, at least", share * (1 - now), 0.0),
        ]
        return replace(found, causes=[cause("undertrained", None, evidence, proved=course.sure, share=share)])
    if not course.sure:
        return found
    evidence = [(f"{what} half-way", course.half, None), (f"{what} at the end", course.last, course.half)]
    if rows is None:
        now = overlap_of(pair, k, seed)
        if now < HARDLY:
            suspected = cause("too_small_student", None, evidence, proved=False, confusable=["overfit"])
            return replace(found, causes=[suspected])
        return found
    proof = rows.underfit
    if proof.before < HARDLY * proof.after and proof.z > SURE and proof.share >= LEAST_SHARE:
        evidence.append((f"{measure} of rows that were trained on", proof.before, proof.after))
        other = [] if course.learned else ["undertrained", "unstable_training"]
        small = cause("too_small_student", proof, evidence, proved=course.learned, confusable=other)
        return replace(found, causes=[small])
    return found


def overlap_of(pair: Pair, k: int, seed: int) -> float:
    """Mean overlap of a sample of rows among all rows, or among 2,000 where there are more."""
    return float(kept(pair, np.sort(sample(pair.teacher.n, MOST_ROWS, seed)), k).mean())


# ---- the student's other side


def of_head(pair: Pair, other: Pair, k: int, seed: int) -> Found:
    """The cause ``misaligned_head`` where the student's other side keeps more than the pair's, and the piece
    ``lost_in_head``: what it keeps beyond a linear map of the pair's side, for a map alone would win that too."""
    from manifold_probe.diagnosis.lab import likeness
    from manifold_probe.diagnosis.linear import cross_fitted

    rows = np.sort(sample(pair.teacher.n, MOST_ROWS, seed))
    teacher, here, there = (
        at_unit_scale(side.take(rows)).astype(np.float64) for side in (pair.teacher, pair.student, other.student)
    )
    asked = np.arange(len(rows))
    theirs = nearest(teacher, asked, k)
    before, after = (shared(theirs, nearest(side, asked, k)) for side in (here, there))
    fold = np.zeros(len(rows), bool)
    fold[np.random.default_rng([seed, 1]).permutation(len(rows))[: len(rows) // 2]] = True
    mapped = shared(theirs, nearest(cross_fitted(here, teacher, fold), asked, k))
    loss, measure = 1 - float(before.mean()), OVERLAP.named(k)
    proof = paired("read at the head", "compared", measure, before, after, loss)
    best = before if before.mean() > mapped.mean() else mapped
    beyond = paired("read at the head, beside a linear map", "compared", measure, best, after, loss)
    cka = [likeness(teacher, side) for side in (here, there)]
    gap = proof.after - proof.before
    beside = {
        "queries": proof.n,
        "backbone": proof.before,
        "head": proof.after,
        "difference": gap,
        "low": gap - 1.96 * proof.error,
        "high": gap + 1.96 * proof.error,
        "debiased_linear_cka_backbone": cka[0],
        "debiased_linear_cka_head": cka[1],
    }
    scale = 1 / max(loss, LEAST_LOSS)
    more = beyond.after - beyond.before
    piece = Piece(
        "lost_in_head",
        beyond.share,
        *(float(np.clip(scale * (more + step * beyond.error), 0, 1)) for step in (-1.96, 1.96)),
        "The other side of the head keeps this: read the student there.",
    )
    causes = []
    if proof.z > SURE and proof.share >= LEAST_SHARE:
        evidence = [(f"{measure} at the backbone", proof.before, proof.after)]
        evidence.append(("debiased linear CKA at the backbone", cka[0], cka[1]))
        where = {"sides": ["backbone"]}
        causes = [cause("misaligned_head", proof, evidence, proved=True, where=where, repair=True)]
    return Found(causes, [piece], {"head": beside}, ["misaligned_head"])
