"""Evidence from the training, for causes that outputs alone cannot show.

    rows trained on against rows held out     overfit, and the loss of the rows trained on (underfit)
    classes trained on against the others     absent_classes
    the course of the loss                    undertrained, unstable_training, too_small_student
    the student's other side                  misaligned_head

Each gives causes, and pieces of the account: fractions of the whole loss. A student that was trained on half of the
classes also keeps the rows trained on better. So the first comparison uses the classes that were trained on alone, and
the three pieces add up to the whole loss:

    1 = absent_classes + overfit + underfit
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from manifold_probe.diagnosis.accounting import Piece
from manifold_probe.diagnosis.course import MIN_RATE_POINTS, read_course
from manifold_probe.diagnosis.lab import MIN_LOSS, Evidence, Trial, likeness, of_groups, paired, shared
from manifold_probe.diagnosis.linear import cross_fitted, fit_ridge
from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.inputs import codes_of
from manifold_probe.engine.neighbours import search
from manifold_probe.engine.rows import evenly, sample
from manifold_probe.engine.scale import at_unit_scale
from manifold_probe.errors import InputError
from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP
from manifold_probe.parts import Progress
from manifold_probe.spaces.checks import check_finite
from manifold_probe.spaces.pairing import Pair
from manifold_probe.spaces.space import Space

if TYPE_CHECKING:
    from manifold_probe.diagnosis.interventions import Models

MIN_ROWS = 60
MAX_ROWS = 4000  # of each group
MIN_Z = 3.0  # standard errors: chance exceeds it once in 700 times
MIN_SHARE = 0.05  # of the whole loss: a random split of the rows differs by less than this at 1,000 rows of each
MAX_NOT_LEARNED = 0.6  # of what the student's width permits: rows trained on that keep less are not learned
ENOUGH_TO_GO = 0.02  # of the fall so far: the largest further fall of runs that were long enough


@dataclass(frozen=True)
class Training:
    """Information on a student's training; None for what is unknown.

    Attributes
    ----------
    trained : np.ndarray of bool, shape (n,)
        The rows of the pair that were trained on.
    seen : Pair
        Teacher and student on rows that were trained on, in addition to those of the pair.
    log : list of (step, loss)
        In order; a loss may be NaN or infinite.
    classes : frozenset of str
        Names of the classes that were trained on.
    head : Pair
        The teacher, and the other side of the student: the pair's is its backbone, this its head.
    watched : list of (step, overlap)
        The overlap of a fixed set of rows during the training, from the untrained student on.
    models : Models
        The student's model and the data, and perhaps the teacher's model, for experiments.
    finished : bool
        Whether the training ran to its end.
    facts : dict
        Further facts, for "examined" in the document.
    """

    trained: np.ndarray | None = None
    seen: Pair | None = None
    log: list[tuple[float, float]] | None = None
    classes: frozenset[str] | None = None
    head: Pair | None = None
    watched: list[tuple[float, float]] | None = None
    models: Models | None = None
    finished: bool = True
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingEvidence:
    """Evidence of the training: causes and pieces, measured values (``examined``), and the names of assessed causes."""

    causes: list[dict[str, Any]] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    examined: dict[str, Any] = field(default_factory=dict)
    assessed: list[str] = field(default_factory=list)

    def plus(self, other: TrainingEvidence) -> TrainingEvidence:
        """The evidence of both."""
        return TrainingEvidence(
            self.causes + other.causes,
            self.pieces + other.pieces,
            self.examined | other.examined,
            self.assessed + other.assessed,
        )


@dataclass(frozen=True)
class CauseText:
    """The words of a cause."""

    words: str
    advice: str
    falsified_by: str


CAUSES = {
    "overfit": CauseText(
        "only the rows that were trained on are kept",
        "Train on more data, augment, or stop earlier.",
        "Rows held out are kept as well as rows trained on, as many of each.",
    ),
    "absent_classes": CauseText(
        "classes that were not trained on are kept worse",
        "Add examples of these classes to the training data, or use the student for the others alone.",
        "A student trained on all classes loses as much in these.",
    ),
    "undertrained": CauseText(
        "the loss still fell when training stopped",
        "Train for more epochs, or with a higher learning rate; end when the loss on held-out rows does not fall "
        "any more.",
        "Twice the epochs leave the loss where it is.",
    ),
    "unstable_training": CauseText(
        "the loss rose, jumped or was not finite",
        "Lower the learning rate, warm it up, or clip gradients; start again from before the loss rose.",
        "A tenth of the learning rate gives the same course.",
    ),
    "too_small_student": CauseText(
        "the loss was flat, and rows trained on are not kept either",
        "Take a larger student, or a loss that asks for neighbours; more epochs or data will not do it.",
        "A larger student, trained alike, keeps no more of the rows it was trained on.",
    ),
    "misaligned_head": CauseText(
        "the student's other side keeps more",
        "Read the student at the other side of its head.",
        "Features read at the other side, of other rows, keep no more.",
    ),
}


def cause(
    name: str,
    proof: Trial | None,
    evidence: Sequence[Evidence],
    *,
    proved: bool,
    share: float | None = None,
    where: dict[str, list[Any]] | None = None,
    confusable: Sequence[str] = (),
    repair: bool = False,
    declared: CauseText | None = None,
) -> dict[str, Any]:
    """A cause as the document holds it; with ``repair``, ``proof`` is its "repair"."""
    declaration = declared or CAUSES[name]
    return {
        "name": name,
        "words": declaration.words,
        "status": "proved" if proved else "suspected",
        "share": proof.share if share is None and proof is not None else share,
        "evidence": [vars(item) for item in evidence],
        "repair": proof.to_dict() if proof is not None and repair else None,
        "where": where,
        "advice": declaration.advice,
        "falsified_by": declaration.falsified_by,
        "or": list(confusable),
    }


def piece_of(name: str, proof: Trial, scale: float, sentence: str) -> Piece:
    """A trial as a piece of the account; its gain times ``scale`` is a fraction of the whole loss."""
    low, high = (float(np.clip(scale * (proof.gain + step * proof.error), 0, 1)) for step in (-1.96, 1.96))
    return Piece(name, proof.share, low, high, sentence)


ORDER = (  # of the pieces, the most general last
    *("absent_classes", "overfit", "lost_in_head", "teacher_repeatability", "undertrained", "underfit"),
)


def evidence_of_training(
    pair: Pair, training: Training, k: int, seed: int, progress: Progress | None = None
) -> TrainingEvidence:
    """All evidence of the training for a pair.

    Raises
    ------
    InputError
        Too few rows of a group, classes that no row has, or NaN among the rows that were trained on.
    """
    for other in (training.seen, training.head):
        for space in () if other is None else (other.teacher, other.student):
            for start, block in space.blocks():
                check_finite(block, start, space)
    evidence = TrainingEvidence(examined={"training": training.facts} if training.facts else {})
    classes = classes_trained(pair, training)
    present_rows = None
    if classes is not None:
        present_rows = present(pair, classes)
        evidence = evidence.plus(of_classes(pair, present_rows, k, seed))
    rows = None
    if training.trained is not None or training.seen is not None:
        rows = Rows.of(pair, training, present_rows, k, seed)
        evidence = evidence.plus(rows.evidence(1 - sum(piece.fraction for piece in evidence.pieces)))
    if training.log is not None or training.watched is not None:
        evidence = evidence.plus(of_course(pair, training, rows, k, seed))
    if training.head is not None:
        evidence = evidence.plus(of_head(pair, training.head, k, seed, training.seen))
    if training.models is not None:
        from manifold_probe.diagnosis.interventions import of_models

        evidence = evidence.plus(of_models(training.models, pair, k, seed, progress))
    return replace(evidence, pieces=merged(evidence.pieces))


def merged(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces in the order of the account; of several with one name, the largest."""
    best: dict[str, Piece] = {}
    for piece in pieces:
        if piece.name not in best or piece.fraction > best[piece.name].fraction:
            best[piece.name] = piece
    return [best[name] for name in ORDER if name in best]


# ---- neighbours among some rows


def nearest(x: np.ndarray, queries: np.ndarray, k: int, metric: str = "cosine") -> np.ndarray:
    """(q, k): the nearest other rows of ``queries`` among the rows of x (n, d)."""
    neighbours: np.ndarray = search(Cloud(Space(x)), queries, k, {metric: k}, distances=False)[metric].nearest
    return neighbours


def kept(pair: Pair, rows: np.ndarray, k: int) -> np.ndarray:
    """(m,): the share of each row's neighbours among ``rows`` that the student keeps."""
    queries = np.arange(len(rows))
    teacher_lists, student_lists = (
        nearest(at_unit_scale(side.take(rows)), queries, k) for side in (pair.teacher, pair.student)
    )
    return shared(teacher_lists, student_lists)


# ---- rows that were trained on against rows that were not


@dataclass(frozen=True)
class Rows:
    """Overlap of rows trained on and of rows held out, (m,) each, with neighbours searched within each group.

    ``held`` is None where no rows of the trained classes were held out. ``permitted`` (m,) is the overlap of the
    teacher's first principal components, as many as the student has dimensions, for rows that were trained on.
    ``weight`` is the share of the pair's rows that were held out.
    """

    trained: np.ndarray
    held: np.ndarray | None
    permitted: np.ndarray
    weight: float
    k: int

    @classmethod
    def of(cls, pair: Pair, training: Training, present_rows: np.ndarray | None, k: int, seed: int) -> Rows:
        """Drawn from a pair, as many of each; ``present_rows`` (n,) of bool marks classes that were trained on."""
        n = pair.teacher.n
        trained = np.zeros(n, bool) if training.trained is None else training.trained
        source, rows = (pair, np.flatnonzero(trained))
        if training.seen is not None:
            source, rows = training.seen, np.arange(training.seen.teacher.n)
        held = np.flatnonzero(~trained if present_rows is None else ~trained & present_rows)
        required = max(MIN_ROWS, 3 * k)
        sides = {"trained on": rows}
        if not trained.all() and (present_rows is None or len(held) >= required):
            sides["not trained on"] = held
        for name, group in sides.items():
            if len(group) < required:
                what = "train features" if training.seen is not None and name == "trained on" else "train ids"
                raise InputError(
                    f"{what}: {len(group):,} of the paired rows were {name}; at least {required} are needed"
                )
        size = min([MAX_ROWS, *(len(group) for group in sides.values())])
        draw = np.random.default_rng([seed, 11])
        chosen = [np.sort(draw.permutation(group)[:size]) for group in sides.values()]
        teacher = at_unit_scale(source.teacher.take(chosen[0])).astype(np.float64)
        queries = np.arange(size)
        reference = leading(teacher, source.student.d)
        permitted = shared(nearest(teacher, queries, k), nearest(reference, queries, k))
        keeps = kept(source, chosen[0], k)
        if len(chosen) == 1:
            return cls(keeps, None, permitted, 0.0, k)
        return cls(keeps, kept(pair, chosen[1], k), permitted, float((~trained).mean()), k)

    @property
    def loss(self) -> float:
        """The loss of the pair, of rows held out and rows trained on in their proportion."""
        held = 0.0 if self.held is None else self.weight * float(self.held.mean())
        return max(1 - held - (1 - self.weight) * float(self.trained.mean()), MIN_LOSS)

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

    def evidence(self, whole: float) -> TrainingEvidence:
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
            if proof.z > MIN_Z and share >= MIN_SHARE:
                evidence = [
                    Evidence(f"{measure} of rows that were trained on", seen, proof.before),
                    Evidence(f"{measure}, seen minus unseen", gap, 0.0),
                ]
                causes.append(cause("overfit", proof, evidence, proved=True, repair=True))
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
        if proof is None:
            return TrainingEvidence(causes, pieces, {"underfit": measured}, [])
        return TrainingEvidence(causes, pieces, {"overfit": measured}, ["overfit"])


def leading(x: np.ndarray, width: int) -> np.ndarray:
    """The rows x (n, d) on their first ``width`` principal components, with the mean added back."""
    centre = x.mean(0)
    if width >= min(x.shape):
        return x
    _, vectors = np.linalg.eigh((x - centre).T @ (x - centre))
    first = vectors[:, -width:]
    reduced: np.ndarray = centre + (x - centre) @ first @ first.T
    return reduced


# ---- classes that were trained on against the others


def classes_trained(pair: Pair, training: Training) -> frozenset[str] | None:
    """The classes that were trained on, as given or from the labels of the rows trained on; None where they are
    unknown, or all classes.

    Raises
    ------
    InputError
        Where classes are given without labels, or none, all, or a class that no row has.
    """
    if training.classes is None:
        return _classes_of_rows(pair, training)
    if pair.labels is None:
        raise InputError("classes trained: the rows have no labels to match; give labels")
    names = classes_of(pair)
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    unknown = sorted(training.classes - set(names))
    if unknown or not training.classes:
        what = f"no row has the label {unknown[0]!r}" if unknown else "names none"
        raise InputError(f"classes trained: {what}; the labels are {listed}")
    if set(names) <= training.classes:
        raise InputError(
            "classes trained: holds all classes of the rows; leave this out, or give rows of other classes too"
        )
    return training.classes


def _classes_of_rows(pair: Pair, training: Training) -> frozenset[str] | None:
    if pair.labels is None:
        return None
    rows = [] if training.trained is None else [names_of(pair.labels)[training.trained]]
    if training.seen is not None and training.seen.labels is not None:
        rows.append(names_of(training.seen.labels))
    trained_classes = frozenset(np.unique(np.concatenate(rows)).tolist()) - {""} if rows else frozenset()
    present_rows = present(pair, trained_classes)
    enough = present_rows.sum() >= MIN_ROWS and (names_of(pair.labels)[~present_rows] != "").sum() >= MIN_ROWS
    return trained_classes if enough else None  # a rare class may be missing by chance


def names_of(labels: np.ndarray) -> np.ndarray:
    """Labels as text, "" for none."""
    codes, names = codes_of(np.asarray(labels))
    return np.where(codes < 0, "", names.astype(str)[codes]) if len(names) else np.full(len(codes), "")


def classes_of(pair: Pair) -> list[str]:
    """The names of the classes of a pair."""
    return [name for name in np.unique(names_of(np.asarray(pair.labels))).tolist() if name]


def present(pair: Pair, classes: frozenset[str]) -> np.ndarray:
    """(n,) of bool: the rows whose class was trained on."""
    return np.isin(names_of(np.asarray(pair.labels)), list(classes))


def of_classes(pair: Pair, present_rows: np.ndarray, k: int, seed: int) -> TrainingEvidence:
    """The piece and the cause ``absent_classes``; ``present_rows`` (n,) of bool marks classes that were trained on.

    Classes differ in a sound student too: the rows of some are far apart, of others close together. So the healthy twin
    is the teacher with noise of the size at which the present classes keep as much as in the student. Only the loss of
    absent classes beyond the twin's counts, and classes are the units of the error.
    """
    labels = names_of(np.asarray(pair.labels))
    labelled = np.flatnonzero(labels != "")
    rows = labelled[evenly(len(labelled), 2 * MAX_ROWS)]
    names, of_present = labels[rows], present_rows[rows]
    for name, mask in (("trained on", of_present), ("not trained on", ~of_present)):
        if mask.sum() < MIN_ROWS:
            raise InputError(
                f"classes trained: {int(mask.sum()):,} of the rows are of classes {name}; at least {MIN_ROWS} are "
                "needed"
            )
    keeps = kept(pair, rows, k)
    twin = noisy_twin(at_unit_scale(pair.teacher.take(rows)), of_present, float(keeps[of_present].mean()), k, seed)
    loss, weight = 1 - float(keeps.mean()), float((~of_present).mean())
    measure = OVERLAP.named(k)
    name = "classes trained on in place of the others"
    plain = of_groups(name, "compared", measure, keeps[~of_present], keeps[of_present], loss, weight=weight)
    healthy = float(twin[of_present].mean() - twin[~of_present].mean())
    error = max(plain.error, spread_of_classes(keeps - twin, names, of_present))
    gain = plain.after - plain.before - max(healthy, 0.0)
    scale = weight / max(loss, MIN_LOSS)
    proof = replace(plain, healthy=healthy, error=error, share=float(np.clip(scale * gain, 0, 1)))
    absent = sorted(set(names[~of_present].tolist()))
    examined = {
        "trained": len(set(names[of_present].tolist())),
        "absent": absent,
        "present_overlap": plain.after,
        "absent_overlap": plain.before,
        "healthy_difference": healthy,
        "low": gain - 1.96 * error,
        "high": gain + 1.96 * error,
    }
    few = "1 class was" if len(absent) == 1 else f"{len(absent)} classes were"
    sentence = f"{few} not in the training, and lose this beyond the others: examples of these would win it."
    piece = piece_of("absent_classes", proof, scale, sentence)
    causes = []
    if proof.z > MIN_Z and proof.share >= MIN_SHARE:
        evidence = [
            Evidence(f"{measure} in classes that were not trained on", plain.before, plain.after - max(healthy, 0.0)),
            Evidence(f"{measure} in classes that were trained on", plain.after),
        ]
        where = {"classes": absent}
        causes = [cause("absent_classes", proof, evidence, proved=True, where=where, repair=True)]
    return TrainingEvidence(causes, [piece], {"classes": examined}, ["absent_classes"])


def noisy_twin(teacher: np.ndarray, rows: np.ndarray, wanted: float, k: int, seed: int) -> np.ndarray:
    """(n,): the overlap of the teacher with itself under noise of the size at which ``rows`` keep ``wanted``."""
    wide = teacher.astype(np.float64)
    noise = np.random.default_rng([seed, 12]).normal(size=wide.shape)
    noise *= np.sqrt(np.square(wide - wide.mean(0)).sum(1).mean() / wide.shape[1])
    queries = np.arange(len(wide))
    teacher_lists = nearest(wide, queries, k)
    low, high = -7.0, 4.0  # powers of two
    for _ in range(7):
        exponent = (low + high) / 2
        kept_shares = shared(teacher_lists, nearest(wide + 2.0**exponent * noise, queries, k))
        low, high = (exponent, high) if kept_shares[rows].mean() > wanted else (low, exponent)
    return kept_shares


def spread_of_classes(values: np.ndarray, names: np.ndarray, first_group: np.ndarray) -> float:
    """Standard error of the difference between two groups of classes, with classes as units; 0 for two classes."""
    classes = np.unique(names)
    means = np.array([values[names == name].mean() for name in classes])
    first = np.array([first_group[names == name][0] for name in classes])
    if len(classes) < 3:
        return 0.0
    within = [means[group] - means[group].mean() for group in (first, ~first)]
    variance = sum(float(np.square(deviations).sum()) for deviations in within) / (len(classes) - 2)
    return float(np.sqrt(variance * sum(1 / len(deviations) for deviations in within)))


# ---- the course of the loss


def of_course(pair: Pair, training: Training, rows: Rows | None, k: int, seed: int) -> TrainingEvidence:
    """The causes ``undertrained``, ``unstable_training`` and ``too_small_student``.

    The further fall, as a share of the whole fall, is assumed to regain the same share of the loss of rows that were
    trained on (of the whole loss where these are unknown). For 13 runs of 1 to 16 epochs that were repeated with up to
    128 times the epochs (conv4 and resnet8 on digits; CoSS, MSE, TinTeM) this was 0.35 to 1.6 times the actual gain.
    """
    log, watched = training.log or [], training.watched or []
    of_loss = len(log) >= MIN_RATE_POINTS or len(log) > len(watched) or not np.isfinite([loss for _, loss in log]).all()
    course = read_course(log if of_loss else [(step, 1 - value) for step, value in watched])
    if course is None:
        return TrainingEvidence(
            examined={"log": {"points": len(log), "course": "too short", "finished": training.finished}}
        )
    quantity = "the training loss" if of_loss else "the share of neighbours lost on watched rows"
    examined = {**vars(course), "of": quantity, "finished": training.finished}
    examined["course"] = examined.pop("kind")
    examined = {
        name: None if isinstance(value, float) and not np.isfinite(value) else value for name, value in examined.items()
    }
    evidence_found = TrainingEvidence(
        examined={"log": examined}, assessed=["undertrained", "unstable_training", "too_small_student"]
    )
    measure = OVERLAP.named(k)
    if course.kind == "not finite":
        evidence = [Evidence(f"step at which {quantity} was not finite", course.at or 0.0)]
        return replace(evidence_found, causes=[_unstable(evidence, rows, True)])
    if course.kind in ("rising", "jumping"):
        evidence = [Evidence(f"{quantity} half-way", course.half), Evidence(f"{quantity} at the end", course.last)]
        evidence += [Evidence("step at which it jumped", course.at)] if course.at is not None else []
        return replace(evidence_found, causes=[_unstable(evidence, rows, course.sure)])
    evidence = [Evidence(f"{quantity} half-way", course.half), Evidence(f"{quantity} at the end", course.last)]
    if course.kind == "falling":
        learnable = 1.0 if rows is None else rows.underfit.share
        share = learnable * course.to_go / (1 + course.to_go)
        evidence.append(Evidence("the fall to come, by this course, of the fall so far", course.to_go, ENOUGH_TO_GO))
        to_come = Piece("undertrained", share, share / 3, 1.6 * share, "Training for longer would win this back.")
        named = cause("undertrained", None, evidence, proved=course.sure, share=share)
        return replace(evidence_found, causes=[named], pieces=[to_come])
    if not course.sure or (rows is None and overlap_of(pair, k, seed) >= MAX_NOT_LEARNED):
        return evidence_found
    if rows is None:
        return replace(
            evidence_found, causes=[cause("too_small_student", None, evidence, proved=False, confusable=["overfit"])]
        )
    proof = rows.underfit
    if proof.before >= MAX_NOT_LEARNED * proof.after or proof.z < MIN_Z or proof.share < MIN_SHARE:
        return evidence_found
    evidence.append(Evidence(f"{measure} of rows that were trained on", proof.before, proof.after))
    confusable = [] if course.learned else ["undertrained", "unstable_training"]
    small = cause("too_small_student", proof, evidence, proved=course.learned, confusable=confusable, repair=True)
    return replace(evidence_found, causes=[small])


def _unstable(evidence: list[Evidence], rows: Rows | None, proved: bool) -> dict[str, Any]:
    """The cause, which explains at most the loss of rows that were trained on."""
    return cause("unstable_training", None if rows is None else rows.underfit, evidence, proved=proved)


def overlap_of(pair: Pair, k: int, seed: int) -> float:
    """Mean overlap of the rows, or of a sample of them, with neighbours among the sample."""
    return float(kept(pair, np.sort(sample(pair.teacher.n, MAX_ROWS, seed)), k).mean())


# ---- the student's other side


def of_head(pair: Pair, other: Pair, k: int, seed: int, seen: Pair | None = None) -> TrainingEvidence:
    """The cause ``misaligned_head`` where the student's other side keeps more than the pair's, and the piece
    ``lost_in_head``: its overlap beyond that of a linear map of the pair's side, which needs no head.

    The map is fitted, like the head, on rows that were trained on, where they are ``seen``; else on the other half.
    """
    rows = np.sort(sample(pair.teacher.n, MAX_ROWS, seed))
    teacher, backbone, head = (
        at_unit_scale(side.take(rows)).astype(np.float64) for side in (pair.teacher, pair.student, other.student)
    )
    queries = np.arange(len(rows))
    teacher_lists = nearest(teacher, queries, k)
    before, after = (shared(teacher_lists, nearest(side, queries, k)) for side in (backbone, head))
    if seen is None:
        fold = np.zeros(len(rows), bool)
        fold[np.random.default_rng([seed, 1]).permutation(len(rows))[: len(rows) // 2]] = True
        image = cross_fitted(backbone, teacher, fold)
    else:
        seen_rows = np.sort(sample(seen.teacher.n, MAX_ROWS, seed))
        rescaled = at_unit_scale(np.concatenate([seen.student.take(seen_rows), pair.student.take(rows)]))
        image = fit_ridge(rescaled[: len(seen_rows)], at_unit_scale(seen.teacher.take(seen_rows)))(
            rescaled[len(seen_rows) :]
        )
    mapped = shared(teacher_lists, nearest(image, queries, k))
    loss, measure = 1 - float(before.mean()), OVERLAP.named(k)
    proof = paired("read at the head", "compared", measure, before, after, loss)
    best = before if before.mean() > mapped.mean() else mapped
    beyond = paired("read at the head, in place of a linear map", "compared", measure, best, after, loss)
    cka = [likeness(teacher, side) for side in (backbone, head)]
    gap = proof.after - proof.before
    examined = {
        "queries": proof.n,
        "backbone": proof.before,
        "head": proof.after,
        "difference": gap,
        "low": gap - 1.96 * proof.error,
        "high": gap + 1.96 * proof.error,
        f"{DEBIASED_CKA.key}_backbone": cka[0],
        f"{DEBIASED_CKA.key}_head": cka[1],
    }
    sentence = "The other side of the head keeps this: read the student there."
    piece = piece_of("lost_in_head", beyond, 1 / max(loss, MIN_LOSS), sentence)
    causes = []
    if proof.z > MIN_Z and proof.share >= MIN_SHARE:
        evidence = [
            Evidence(f"{measure} at the backbone", proof.before, proof.after),
            Evidence(f"{DEBIASED_CKA.key} at the backbone", cka[0], cka[1]),
        ]
        where = {"sides": ["backbone"]}
        causes = [cause("misaligned_head", proof, evidence, proved=True, where=where, repair=True)]
    return TrainingEvidence(causes, [piece], {"head": examined}, ["misaligned_head"])
