"""The catalogue: every measure, declared once.

A declaration holds a measure's name, its meaning, how it is computed and where reports show it. All code that computes,
shows, checks or documents measures (results, terminal, page, figures, tables, gates, logs, the README) iterates over
the declarations and names no measure itself. To add a measure, declare it here, on one summary of a pair:

    needs         its functions take
    moments       from_moments.Sums         sums of products of all rows, in groups, and the rows' lengths
    neighbours    from_neighbours.Lists     the neighbours of the queries in both spaces, or in halves of the rows
    classes       from_neighbours.Lists     the classes for which these neighbours vote
    ranks         from_neighbours.Ranked    where the neighbours in one space stand in the other

A user's measure is one more declaration, with a function of two arrays:

    mine = Measure("spread_ratio", "spread ratio", "Overall shape", "spread of the student over the teacher's",
                   function=lambda x, y: y.std() / x.std(), higher_is_better=None)
    manifold_probe.compare(teacher, student, measures=[*manifold_probe.MEASURES, mine])
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.measures import alignment, classes, dimensions, geometry, overlap

if TYPE_CHECKING:
    from manifold_probe.measures.from_moments import Sums
    from manifold_probe.measures.from_neighbours import Lists

Steps = tuple[tuple[float, str], ...]
UNBOUNDED = (-np.inf, np.inf)
NEEDS = ("moments", "neighbours", "ranks", "classes")
UNIT, SIGNED, AT_MOST_ONE = (0.0, 1.0), (-1.0, 1.0), (-np.inf, 1.0)
LOWEST = -np.inf  # the last step: it applies where no other does
FREQUENCY_WORDS: Steps = (
    (1.0, "always"),
    (0.99, "almost always"),
    (0.95, "mostly"),
    (0.8, "often"),
    (0.6, "not always"),
    (LOWEST, "no more often than at random"),
)
SIMILARITY_WORDS: Steps = (
    (0.95, "nearly coincide"),
    (0.8, "agree well"),
    (0.5, "agree in part"),
    (0.2, "agree little"),
    (LOWEST, "hardly agree"),
)
CLOSENESS_WORDS: Steps = (
    (0.95, "almost exactly"),
    (0.8, "closely"),
    (0.5, "loosely"),
    (0.2, "weakly"),
    (-0.2, "hardly at all"),
    (LOWEST, "with the opposite sign"),
)
HUB_WORDS: Steps = (
    (4.0, "a few hubs dominate"),
    (2.0, "some points are hubs"),
    (1.0, "somewhat unevenly spread"),
    (-1.0, "evenly spread"),
    (LOWEST, "some points are rarely neighbours"),
)


@dataclass(frozen=True)
class Measure:
    """What a measure is and how it is computed; it holds no value.

    A user's measure has a `function` of two arrays. A built-in one names in `needs` the summary it is computed from,
    and its functions take that summary: `from_moments.Sums`, `from_neighbours.Lists` or `from_neighbours.Ranked`.

    Parameters
    ----------
    key : str
        Its name in results; "{k}" stands for the number of neighbours, as in "overlap@{k}".
    title : str
        Its name on axes and in tables.
    group : str
        The heading under which reports show it.
    gloss : str
        What it is, in a few words, for any value.
    function : callable, optional
        For a user's measure: ``function(teacher, student) -> float`` of aligned float64 arrays (n, dt) and (n, ds).
    chance : float or callable, optional
        The value for unrelated rows; a function with the arguments of `function` or `value`.
    higher_is_better : bool or None
        None for a measure that describes and does not judge.
    bounds : pair of float
        The smallest and the largest value it can take.
    reading : str
        The sentence that explains a value: may hold {share}, {degree}, {about}, {width}, {neighbours} and {class}.
    steps : tuple of (bound, words)
        The words for {degree}, the highest bound first.
    needs : str
        The summary of a built-in measure: "moments" (also norms), "neighbours", "ranks" (of neighbours in the other
        space) or "classes" (votes of neighbours).
    headline : bool
        Whether small tables and crowded figures show it.
    watched : bool
        Whether it is logged during training; only for moments, neighbours or classes.
    short : str
        A title where there is little room.
    value : callable, optional
        ``value(summary)``: a number, or an array. For moments, one value a dimension (d,), whose median is the measure;
        for neighbours, ranks and classes, one term a query (q,), whose mean is the measure.
    interval : callable, optional
        Where the summary's default interval does not fit. For moments, the values without each group in turn, (G,) or
        (G, d); by default `value` is computed again from the other groups. Else ``interval(lists, estimate)`` corrects
        the estimate from half-splits or queries.
    class_chance : callable, optional
        For neighbours and classes: the value after the student's rows moved within their classes, or None. For moments
        that is `value` of the moved rows.
    undefined : callable, optional
        Why a summary has no value, in a sentence; None where it has one. For moments and ranks.
    note : callable, optional
        ``note(summary, value)``: a caveat in a sentence, or None.
    at_most : callable, optional
        For moments: the largest value that these spaces allow.
    itself : float, optional
        The value of the teacher compared with itself, where it is known: the reference of a student as wide as the
        teacher.
    referred : bool
        Whether it has a reference, the teacher reduced to its principal components.
    metric : str or None
        "cosine" or "euclidean" for measures of neighbours.
    side : str
        "teacher" or "student" for a measure of that space alone.
    detail : str
        The name in details of its values for every dimension, or for every class.

    Attributes
    ----------
    place : int
        Its position among all declarations: results list measures in that order, reports in that of `MEASURES`.

    Examples
    --------
    >>> Measure("mean_gap", "mean gap", "Overall shape", "distance of the means", higher_is_better=None).named(10)
    'mean_gap'
    """

    key: str
    title: str
    group: str
    gloss: str
    function: Callable[[np.ndarray, np.ndarray], Any] | None = None
    chance: float | Callable[..., Any] | None = None
    higher_is_better: bool | None = True
    bounds: tuple[float, float] = UNBOUNDED
    reading: str = ""
    steps: Steps = ()
    needs: str = "moments"
    headline: bool = False
    watched: bool = False
    short: str = ""
    value: Callable[[Any], Any] | None = None
    interval: Callable[..., Any] | None = None
    class_chance: Callable[[Any], float | None] | None = None
    undefined: Callable[[Any], str | None] | None = None
    note: Callable[[Any, float | None], str | None] | None = None
    at_most: Callable[[Any], float] | None = None
    itself: float | None = None
    referred: bool = True
    metric: str | None = None
    side: str = ""
    detail: str = ""
    place: int = field(default_factory=count().__next__, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for part in ("key", "title", "group", "gloss"):
            if not isinstance(value := getattr(self, part), str) or not value.strip():
                raise InputError(f"measure {self.key!r}: {part} is {value!r}; give a text that is not empty")
        for part in ("function", "value", "interval", "class_chance", "undefined", "note", "at_most"):
            if (value := getattr(self, part)) is not None and not callable(value):
                raise InputError(f"measure {self.key!r}: {part} is not a function; give one")
        if self.function is not None and self.chance is not None and not callable(self.chance):
            raise InputError(f"measure {self.key!r}: chance is not a function; give one of two arrays")
        if self.needs not in NEEDS:
            raise InputError(f"measure {self.key!r}: needs is {self.needs!r}; give one of {', '.join(NEEDS)}")

    def named(self, k: int) -> str:
        """The key for ``k`` neighbours."""
        return self.key.replace("{k}", str(k))

    def made(self, summary: Any) -> Any:
        """Its `value` of a summary."""
        assert self.value is not None, self.key
        return self.value(summary)

    def declared(self) -> dict[str, Any] | None:
        """The fields of a user's declaration that a saved result needs to show it; None for a built-in one."""
        if self in MEASURES:
            return None
        return {part: getattr(self, part) for part in ("title", "group", "gloss", "higher_is_better")}


# From moments: a number, or one value a dimension


def _ckas(sums: Sums) -> tuple[np.ndarray, np.ndarray]:
    """Linear CKA, biased and debiased, without each group."""
    return sums.once("CKA", lambda: alignment.ckas_without(sums.m, sums.parts))


def _procrustes(sums: Sums) -> tuple[float, np.ndarray]:
    """Procrustes similarity, and without each group."""
    return sums.once("Procrustes", lambda: alignment.procrustes_jackknifed(sums.m, sums.parts))


def _columns(sums: Sums) -> tuple[np.ndarray, np.ndarray]:
    """Correlations and cosines of the columns without each group."""
    return sums.once("columns", lambda: dimensions.each_without(sums.m, sums.parts))


def _procrustes_chance(sums: Sums) -> float:
    """The value for rows in random order; nuclear norms of independent rows fall with the square root of n."""
    permuted = sums.permuted
    return alignment.procrustes(permuted) * ((permuted.n - 1) / (sums.m.n - 1)) ** 0.5


def _procrustes_note(sums: Sums, value: float | None) -> str | None:
    permuted, n = sums.permuted.n, sums.m.n
    if value is None or permuted == n:
        return None
    return f"chance from {permuted:,} rows, scaled to {n:,}; class chance from {sums.most_moved:,}"


def _rankme(side: str) -> Measure:
    def ranks(sums: Sums) -> tuple[float, np.ndarray]:
        space_sums = sums.of(side)
        return sums.once(
            f"ranks of the {side}", lambda: dimensions.effective_ranks(space_sums.m, space_sums.parts), side
        )

    return Measure(
        f"rankme_{side}",
        f"RankMe, {side}",
        "Each space alone",
        f"effective number of dimensions the {side} uses",
        higher_is_better=None,
        bounds=(1.0, np.inf),
        reading=f"the {side} uses about {{about}} of its {{width:,}} dimensions",
        side=side,
        value=lambda sums: ranks(sums)[0],
        interval=lambda sums: ranks(sums)[1],
        at_most=lambda sums: min(sums.m.n, len(sums.of(side).m.sx)),
        referred=side == "student",
    )


def _widths_differ(sums: Sums) -> str | None:
    teacher, student = len(sums.m.sx), len(sums.m.sy)
    return None if teacher == student else f"the widths differ ({teacher} and {student}); see the held-out maps"


def _after_map(kind: str, title: str, gloss: str, reading: str, referred: bool = True) -> Measure:
    """The measure of per-dimension correlation after a map of this kind."""

    def held_out(sums: Sums) -> tuple[np.ndarray, np.ndarray]:
        return sums.once(kind, lambda: dimensions.held_out_correlations(sums.halves, kind, leave_out=sums.enough))

    return Measure(
        f"per_dimension_correlation:{kind}",
        title,
        "Coordinates",
        gloss,
        bounds=SIGNED,
        reading=reading,
        steps=CLOSENESS_WORDS,
        value=lambda sums: held_out(sums)[0],
        interval=lambda sums: held_out(sums)[1],
        chance=0.0,
        itself=1.0,
        referred=referred,
        detail=kind,
    )


LINEAR_CKA = Measure(
    "linear_cka",
    "linear CKA",
    "Overall shape",
    "the same without the small-sample correction: unrelated spaces score above 0",
    bounds=UNIT,
    reading="the same without the small-sample correction: compare it with chance, not with 0",
    value=lambda sums: alignment.cka(sums.m),
    interval=lambda sums: _ckas(sums)[0],
    chance=lambda sums: alignment.cka_chance(sums.m),
    itself=1.0,
)
DEBIASED_CKA = Measure(
    "debiased_linear_cka",
    "debiased linear CKA",
    "Overall shape",
    "likeness of the overall shape: 0 for unrelated spaces, 1 for equal up to rotation and scale",
    bounds=AT_MOST_ONE,
    reading="the overall shapes {degree}; unrelated spaces score 0, rotation and scale do not count",
    steps=SIMILARITY_WORDS,
    value=lambda sums: alignment.debiased_cka(sums.m),
    interval=lambda sums: _ckas(sums)[1],
    chance=0.0,
    itself=1.0,
    headline=True,
    watched=True,
    short="debiased CKA",
)
PROCRUSTES = Measure(
    "procrustes",
    "Procrustes",
    "Overall shape",
    "fit after the best rotation and scaling of the student",
    bounds=UNIT,
    reading="after the best rotation and scaling, the spaces match {degree}; compare it with chance, not with 0",
    steps=CLOSENESS_WORDS,
    value=lambda sums: _procrustes(sums)[0] if sums.enough else alignment.procrustes(sums.m),
    interval=lambda sums: _procrustes(sums)[1],
    chance=_procrustes_chance,
    note=_procrustes_note,
    itself=1.0,
    headline=True,
)
LINEAR_R2 = Measure(
    "linear_r2",
    "linear R²",
    "Overall shape",
    "teacher variance that a linear map of the student predicts on held-out rows",
    bounds=AT_MOST_ONE,
    reading="a linear map of the student predicts {share} of the teacher's variance on held-out rows",
    value=lambda sums: alignment.ridge_r2(sums.halves),
    interval=lambda sums: alignment.ridge_r2_without(sums.halves),
    chance=0.0,
    itself=1.0,
    headline=True,
)
RANKME_TEACHER, RANKME_STUDENT = map(_rankme, ("teacher", "student"))
PER_DIMENSION = Measure(
    "per_dimension_correlation",
    "per-dimension, raw",
    "Coordinates",
    "correlation of each student dimension with the same teacher dimension (median)",
    bounds=SIGNED,
    reading="the median dimension follows the same dimension of the teacher {degree}",
    steps=CLOSENESS_WORDS,
    value=lambda sums: dimensions.correlations(sums.m),
    interval=lambda sums: _columns(sums)[0],
    chance=0.0,
    undefined=_widths_differ,
    itself=1.0,
    detail="raw",
    watched=True,
    short="per-dimension",
)
SPACE_SIMILARITY = Measure(
    "space_similarity",
    "space similarity",
    "Coordinates",
    "cosine of the two columns of a dimension, mean included (median)",
    bounds=SIGNED,
    reading="the columns of the median dimension agree {degree} in direction, mean included",
    steps=CLOSENESS_WORDS,
    value=lambda sums: dimensions.column_cosines(sums.m),
    interval=lambda sums: _columns(sums)[1],
    chance=lambda sums: dimensions.column_cosine_chance(sums.m),
    undefined=_widths_differ,
    itself=1.0,
    detail="space_similarity",
    watched=True,
    short="space sim.",
)
PERMUTED = _after_map(
    "permutation",
    "per-dimension, permuted",
    "the same after matching dimensions one to one, on held-out rows",
    "after matching dimensions one to one, the median dimension follows {degree} on held-out rows",
    referred=False,  # the teacher's principal components have all its axes, a narrower student has not
)
ROTATED = _after_map(
    "orthogonal",
    "per-dimension, rotated",
    "the same after a rotation, on held-out rows",
    "after a rotation, the median dimension follows {degree} on held-out rows",
)
MAPPED = _after_map(
    "ridge",
    "per-dimension, linear map",
    "the same after any linear map, on held-out rows",
    "after any linear map, the median dimension follows {degree} on held-out rows",
)
NORM_CORRELATION = Measure(
    "norm_correlation",
    "norm correlation",
    "Coordinates",
    "correlation of the vectors' lengths",
    bounds=SIGNED,
    reading="the student's vector lengths follow the teacher's {degree}",
    steps=CLOSENESS_WORDS,
    value=lambda sums: geometry.pearson(*sums.norms),
    chance=0.0,
    undefined=lambda sums: geometry.equal_norms(sums.equal_norms),
    itself=1.0,
    headline=True,
    watched=True,
    short="norm corr.",
)

# From neighbours: a number, or one term a query


def _moved_overlap(metric: str) -> Callable[[Lists], float | None]:
    """A function that gives the class chance of an overlap."""

    def chance(lists: Lists) -> float | None:
        sides = getattr(lists.teacher, metric), getattr(lists.student, metric)
        return classes.mean_of_moved(overlap.class_overlap(*sides, lists.codes), lists.query_codes)

    return chance


def _hubness(side: str) -> Measure:
    return Measure(
        f"hubness_{side}@{{k}}",
        f"hubness@{{k}}, {side}",
        "Each space alone",
        f"how unevenly the {side}'s points serve as neighbours: 0 evenly, above 2 a few hubs dominate",
        higher_is_better=None,
        reading=f"how often each point is a neighbour in the {side}: {{degree}}",
        steps=HUB_WORDS,
        needs="neighbours",
        metric="cosine",
        side=side,
        value=lambda lists: geometry.skewness(*lists.occurrences(side)),
        interval=lambda lists, estimate: geometry.hub_errors(lists, side, estimate),
        note=geometry.hubness_note,
        referred=side == "student",
    )


def _intrinsic_dimension(side: str) -> Measure:
    return Measure(
        f"intrinsic_dimension_{side}",
        f"intrinsic dimension, {side}",
        "Each space alone",
        f"directions in which the {side}'s points vary locally",
        higher_is_better=None,
        bounds=(0.0, np.inf),
        reading=f"locally the {side}'s points vary in about {{about}} directions",
        needs="neighbours",
        metric="euclidean",
        side=side,
        value=lambda lists: geometry.twonn(lists.distances(side)),
        referred=side == "student",
    )


OVERLAP = Measure(
    "overlap@{k}",
    "overlap@{k}",
    "Neighbourhoods",
    "share of each point's {neighbours} (by angle) that the student keeps",
    bounds=UNIT,
    reading="{share} of each point's {neighbours} survive",
    needs="neighbours",
    metric="cosine",
    value=lambda lists: lists.common("cosine") / lists.k,
    chance=lambda lists: overlap.overlap_chance(lists.n, lists.k),
    class_chance=_moved_overlap("cosine"),
    itself=1.0,
    headline=True,
    watched=True,
    detail="overlap",
)
OVERLAP_EUCLIDEAN = Measure(
    "overlap@{k}:euclidean",
    "overlap@{k}, Euclidean",
    "Neighbourhoods",
    "the same by Euclidean distance, which also sees vector lengths",
    bounds=UNIT,
    reading="by Euclidean distance, which also sees vector lengths: {share} survive",
    needs="neighbours",
    metric="euclidean",
    value=lambda lists: lists.common("euclidean") / lists.k,
    chance=lambda lists: overlap.overlap_chance(lists.n, lists.k),
    class_chance=_moved_overlap("euclidean"),
    itself=1.0,
    headline=True,
)
JACCARD = Measure(
    "jaccard@{k}",
    "Jaccard@{k}",
    "Neighbourhoods",
    "neighbours the two spaces share, out of all that either names",
    bounds=UNIT,
    reading="of all neighbours that either space names, the two share {share}",
    needs="neighbours",
    metric="cosine",
    value=lambda lists: overlap.jaccard(lists.common("cosine"), lists.k),
    chance=lambda lists: overlap.jaccard_chance(lists.n, lists.k),
    itself=1.0,
)
HUBNESS_TEACHER, INTRINSIC_DIMENSION_TEACHER = _hubness("teacher"), _intrinsic_dimension("teacher")
HUBNESS_STUDENT, INTRINSIC_DIMENSION_STUDENT = _hubness("student"), _intrinsic_dimension("student")

# From the votes of neighbours
KNN_AGREEMENT = Measure(
    "knn_agreement@{k}",
    "k-NN agreement@{k}",
    "Classes",
    "points whose neighbours vote for the same class in both spaces",
    bounds=UNIT,
    reading="for {share} of the points, neighbours vote for the same {class} in both spaces",
    needs="classes",
    metric="cosine",
    value=lambda votes: votes.teacher_votes == votes.student_votes,
    interval=classes.agreement_error,
    chance=lambda votes: votes.chance.agreement,
    class_chance=lambda votes: classes.agreement_within(votes.teacher_votes, votes.student_votes, votes.query_codes),
    note=classes.agreement_note,
    itself=1.0,
    headline=True,
    watched=True,
    short="agreement@{k}",
    detail="knn_agreement",
)
KNN_KAPPA = Measure(
    "knn_kappa@{k}",
    "k-NN kappa@{k}",
    "Classes",
    "that agreement beyond what the class sizes alone give: 0 none, 1 full",
    bounds=AT_MOST_ONE,
    reading="beyond what the class sizes alone give, {share} of the possible agreement is there",
    needs="classes",
    metric="cosine",
    value=lambda votes: classes.kappa(votes.teacher_votes, votes.student_votes),
    interval=classes.kappa_error,
    chance=lambda votes: votes.chance.kappa,
    class_chance=lambda votes: classes.kappa_within(votes.teacher_votes, votes.student_votes, votes.query_codes),
    itself=1.0,
)
KNN_ACCURACY_TEACHER = Measure(
    "knn_accuracy_teacher@{k}",
    "k-NN accuracy@{k}, teacher",
    "Classes",
    "points whose neighbours in the teacher name their true class",
    higher_is_better=None,
    bounds=UNIT,
    reading="neighbours in the teacher name the right {class} for {share} of the points",
    needs="classes",
    metric="cosine",
    side="teacher",
    value=lambda votes: votes.teacher_votes == votes.query_codes,
    interval=classes.accuracy_error,
    chance=lambda votes: votes.chance.teacher,
    referred=False,
    watched=True,
    detail="knn_accuracy_teacher",
)
KNN_ACCURACY_STUDENT = Measure(
    "knn_accuracy_student@{k}",
    "k-NN accuracy@{k}, student",
    "Classes",
    "points whose neighbours in the student name their true class",
    bounds=UNIT,
    reading="neighbours in the student name the right {class} for {share} of the points",
    needs="classes",
    metric="cosine",
    side="student",
    value=lambda votes: votes.student_votes == votes.query_codes,
    interval=classes.accuracy_error,
    chance=lambda votes: votes.chance.student,
    watched=True,
    detail="knn_accuracy_student",
)

# From ranks: one term a query
TRUSTWORTHINESS = Measure(
    "trustworthiness@{k}",
    "trustworthiness@{k}",
    "Neighbourhoods",
    "1: all that is near in the student was near in the teacher",
    bounds=UNIT,
    reading="what is near in the student was {degree} near in the teacher",
    steps=FREQUENCY_WORDS,
    needs="ranks",
    metric="cosine",
    value=lambda ranked: 1 - overlap.penalties(ranked.student, *ranked.in_teacher),
    chance=lambda ranked: overlap.trustworthiness_chance(ranked.n, ranked.k),
    undefined=lambda ranked: overlap.no_ranks(ranked.n, ranked.k),
    itself=1.0,
)
CONTINUITY = Measure(
    "continuity@{k}",
    "continuity@{k}",
    "Neighbourhoods",
    "1: all that was near in the teacher is still near in the student",
    bounds=UNIT,
    reading="what was near in the teacher is {degree} near in the student",
    steps=FREQUENCY_WORDS,
    needs="ranks",
    metric="cosine",
    value=lambda ranked: 1 - overlap.penalties(ranked.teacher, *ranked.in_student),
    chance=lambda ranked: overlap.trustworthiness_chance(ranked.n, ranked.k),
    undefined=lambda ranked: overlap.no_ranks(ranked.n, ranked.k),
    itself=1.0,
)

MEASURES: tuple[Measure, ...] = (
    OVERLAP,
    OVERLAP_EUCLIDEAN,
    JACCARD,
    TRUSTWORTHINESS,
    CONTINUITY,
    DEBIASED_CKA,
    LINEAR_CKA,
    PROCRUSTES,
    LINEAR_R2,
    PER_DIMENSION,
    PERMUTED,
    ROTATED,
    MAPPED,
    SPACE_SIMILARITY,
    NORM_CORRELATION,
    KNN_AGREEMENT,
    KNN_KAPPA,
    KNN_ACCURACY_TEACHER,
    KNN_ACCURACY_STUDENT,
    RANKME_TEACHER,
    RANKME_STUDENT,
    INTRINSIC_DIMENSION_TEACHER,
    INTRINSIC_DIMENSION_STUDENT,
    HUBNESS_TEACHER,
    HUBNESS_STUDENT,
)


def made_from(measures: Iterable[Measure], *needs: str) -> list[Measure]:
    """The built-in measures that are computed from these summaries, in the order of results.

    >>> [measure.key for measure in made_from(MEASURES, "ranks")]
    ['trustworthiness@{k}', 'continuity@{k}']
    """
    kept = (measure for measure in measures if measure.function is None and measure.needs in needs)
    return sorted(kept, key=lambda measure: measure.place)


def detailed(needs: str) -> dict[str, Measure]:
    """The measures that have a value for every dimension or class in the details, by their names there.

    >>> list(detailed("classes"))
    ['knn_agreement', 'knn_accuracy_teacher', 'knn_accuracy_student']
    """
    return {measure.detail: measure for measure in made_from(MEASURES, needs) if measure.detail}


def general(key: str) -> str:
    """A key of a result as the catalogue writes it.

    >>> general("overlap@10:euclidean")
    'overlap@{k}:euclidean'
    """
    return re.sub(r"@\d+(?=:|$)", "@{k}", key)


def declaration(key: str) -> Measure | None:
    """The built-in declaration of a result's key, or None where there is none.

    >>> declaration("overlap@10").bounds
    (0.0, 1.0)
    """
    return next((measure for measure in MEASURES if measure.key == general(key)), None)


def printed(key: str, short: bool = False) -> str:
    """The title of a built-in measure; the key itself where there is none.

    >>> printed("overlap@10:euclidean"), printed("norm_correlation", short=True)
    ('overlap@10, Euclidean', 'norm corr.')
    """
    measure, k = declaration(key), re.search(r"@(\d+)", key)
    if measure is None:
        return key
    title = (short and measure.short) or measure.title
    return title.replace("{k}", k[1]) if k else title
