"""The catalogue: every measure, declared once.

A declaration says what a measure is called, what it means, which values it can take and where reports show it. Whatever
shows, checks or documents measures (terminal, page, figures, tables, gates, logs, the README) goes through `MEASURES`
and names no measure of its own. A measure of your own is one more declaration, with its function:

    mine = Measure("spread_ratio", "spread ratio", "Overall shape", "spread of the student over the teacher's",
                   function=lambda x, y: y.std() / x.std(), higher_is_better=None)
    manifold_probe.compare(teacher, student, measures=[*manifold_probe.MEASURES, mine])
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from manifold_probe.errors import InputError

Steps = tuple[tuple[float, str], ...]
UNBOUNDED = (-np.inf, np.inf)
UNIT, SIGNED, AT_MOST_ONE = (0.0, 1.0), (-1.0, 1.0), (-np.inf, 1.0)
NEVER = -np.inf  # the last of some steps: what holds where no other does
OFTEN: Steps = (
    (1.0, "always"),
    (0.99, "almost always"),
    (0.95, "mostly"),
    (0.8, "often"),
    (0.6, "not always"),
    (NEVER, "no more often than at random"),
)
LIKENESS: Steps = (
    (0.95, "nearly coincide"),
    (0.8, "agree well"),
    (0.5, "agree in part"),
    (0.2, "agree little"),
    (NEVER, "hardly agree"),
)
CLOSELY: Steps = (
    (0.95, "almost exactly"),
    (0.8, "closely"),
    (0.5, "loosely"),
    (0.2, "weakly"),
    (-0.2, "hardly at all"),
    (NEVER, "with the opposite sign"),
)
HUBS: Steps = (
    (4.0, "a few hubs dominate"),
    (2.0, "some points are hubs"),
    (1.0, "somewhat unevenly spread"),
    (-1.0, "evenly spread"),
    (NEVER, "some points are rarely neighbours"),
)


@dataclass(frozen=True)
class Measure:
    """What a measure is; not yet a value.

    Parameters
    ----------
    key : str
        Its name in results; "{k}" stands for the number of neighbours, as in "overlap@{k}".
    title : str
        Its name on axes and in tables.
    group : str
        The heading under which reports show it.
    gloss : str
        What it is, in a few words, whatever its value.
    function : callable, optional
        For a measure of your own: ``function(teacher, student) -> float`` of aligned float64 arrays (n, dt) and
        (n, ds).
    chance : callable, optional
        ``chance(teacher, student) -> float``: what `function` gives for unrelated rows.
    higher_is_better : bool or None
        None for a measure that describes, and does not judge.
    bounds : pair of float
        The least and the largest value it can take.
    reading : str
        The sentence that says a value: may hold {share}, {degree}, {about}, {width}, {neighbours} and {class}.
    steps : tuple of (bound, words)
        The words for {degree}, the highest bound first.
    needs : str
        What a built-in measure is made from: "moments", "neighbours", "ranks" (of neighbours in the other space) or
        "classes" (votes of neighbours).
    headline : bool
        Whether small tables and crowded figures show it.
    watched : bool
        Whether training is watched by it.
    short : str
        A title where there is little room.

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
    chance: Callable[[np.ndarray, np.ndarray], Any] | None = None
    higher_is_better: bool | None = True
    bounds: tuple[float, float] = UNBOUNDED
    reading: str = ""
    steps: Steps = ()
    needs: str = "moments"
    headline: bool = False
    watched: bool = False
    short: str = ""

    def __post_init__(self) -> None:
        for part in ("key", "title", "group", "gloss"):
            if not isinstance(value := getattr(self, part), str) or not value.strip():
                raise InputError(f"measure {self.key!r}: {part} is {value!r}; give a text that is not empty")
        for part in ("function", "chance"):
            if (value := getattr(self, part)) is not None and not callable(value):
                raise InputError(f"measure {self.key!r}: {part} is no function; give one of two arrays")

    def named(self, k: int) -> str:
        """The key for ``k`` neighbours."""
        return self.key.replace("{k}", str(k))


MEASURES: tuple[Measure, ...] = (
    Measure(
        "overlap@{k}",
        "overlap@{k}",
        "Neighbourhoods",
        "share of each point's {neighbours} (by angle) that the student keeps",
        bounds=UNIT,
        needs="neighbours",
        reading="{share} of each point's {neighbours} survive",
        headline=True,
        watched=True,
    ),
    Measure(
        "overlap@{k}:euclidean",
        "overlap@{k}, Euclidean",
        "Neighbourhoods",
        "the same by Euclidean distance, which also sees vector lengths",
        bounds=UNIT,
        needs="neighbours",
        reading="by Euclidean distance, which also sees vector lengths: {share} survive",
        headline=True,
    ),
    Measure(
        "jaccard@{k}",
        "Jaccard@{k}",
        "Neighbourhoods",
        "neighbours the two spaces share, out of all that either names",
        bounds=UNIT,
        needs="neighbours",
        reading="of all neighbours that either space names, the two share {share}",
    ),
    Measure(
        "trustworthiness@{k}",
        "trustworthiness@{k}",
        "Neighbourhoods",
        "1: all that is near in the student was near in the teacher",
        bounds=UNIT,
        needs="ranks",
        reading="what is near in the student was {degree} near in the teacher",
        steps=OFTEN,
    ),
    Measure(
        "continuity@{k}",
        "continuity@{k}",
        "Neighbourhoods",
        "1: all that was near in the teacher is still near in the student",
        bounds=UNIT,
        needs="ranks",
        reading="what was near in the teacher is {degree} near in the student",
        steps=OFTEN,
    ),
    Measure(
        "debiased_linear_cka",
        "debiased linear CKA",
        "Overall shape",
        "likeness of the overall shape: 0 for unrelated spaces, 1 for equal up to rotation and scale",
        bounds=AT_MOST_ONE,
        reading="the overall shapes {degree}; unrelated spaces score 0, rotation and scale do not count",
        steps=LIKENESS,
        headline=True,
        watched=True,
        short="debiased CKA",
    ),
    Measure(
        "linear_cka",
        "linear CKA",
        "Overall shape",
        "the same without the small-sample correction: unrelated spaces score above 0",
        bounds=UNIT,
        reading="the same without the small-sample correction: compare it with chance, not with 0",
    ),
    Measure(
        "procrustes",
        "Procrustes",
        "Overall shape",
        "fit after the best rotation and scaling of the student",
        bounds=UNIT,
        reading="after the best rotation and scaling, the spaces match {degree}; compare it with chance, not with 0",
        steps=CLOSELY,
        headline=True,
    ),
    Measure(
        "linear_r2",
        "linear R²",
        "Overall shape",
        "teacher variance that a linear map of the student predicts on held-out rows",
        bounds=AT_MOST_ONE,
        reading="a linear map of the student predicts {share} of the teacher's variance on held-out rows",
        headline=True,
    ),
    Measure(
        "per_dimension_correlation",
        "per-dimension, raw",
        "Coordinates",
        "correlation of each student dimension with the same teacher dimension (median)",
        bounds=SIGNED,
        reading="the median dimension follows the same dimension of the teacher {degree}",
        steps=CLOSELY,
        watched=True,
        short="per-dimension",
    ),
    Measure(
        "per_dimension_correlation:permutation",
        "per-dimension, permuted",
        "Coordinates",
        "the same after matching dimensions one to one, on held-out rows",
        bounds=SIGNED,
        reading="after matching dimensions one to one, the median dimension follows {degree} on held-out rows",
        steps=CLOSELY,
    ),
    Measure(
        "per_dimension_correlation:orthogonal",
        "per-dimension, rotated",
        "Coordinates",
        "the same after a rotation, on held-out rows",
        bounds=SIGNED,
        reading="after a rotation, the median dimension follows {degree} on held-out rows",
        steps=CLOSELY,
    ),
    Measure(
        "per_dimension_correlation:ridge",
        "per-dimension, linear map",
        "Coordinates",
        "the same after any linear map, on held-out rows",
        bounds=SIGNED,
        reading="after any linear map, the median dimension follows {degree} on held-out rows",
        steps=CLOSELY,
    ),
    Measure(
        "space_similarity",
        "space similarity",
        "Coordinates",
        "cosine of the two columns of a dimension, mean included (median)",
        bounds=SIGNED,
        reading="the columns of the median dimension agree {degree} in direction, mean included",
        steps=CLOSELY,
        watched=True,
        short="space sim.",
    ),
    Measure(
        "norm_correlation",
        "norm correlation",
        "Coordinates",
        "correlation of the vectors' lengths",
        bounds=SIGNED,
        reading="the student's vector lengths follow the teacher's {degree}",
        steps=CLOSELY,
        headline=True,
        watched=True,
        short="norm corr.",
    ),
    Measure(
        "knn_agreement@{k}",
        "k-NN agreement@{k}",
        "Classes",
        "points whose neighbours vote for the same class in both spaces",
        bounds=UNIT,
        needs="classes",
        reading="for {share} of the points, neighbours vote for the same {class} in both spaces",
        headline=True,
        watched=True,
        short="agreement@{k}",
    ),
    Measure(
        "knn_kappa@{k}",
        "k-NN kappa@{k}",
        "Classes",
        "that agreement beyond what the class sizes alone give: 0 none, 1 full",
        bounds=AT_MOST_ONE,
        needs="classes",
        reading="beyond what the class sizes alone give, {share} of the possible agreement is there",
    ),
    Measure(
        "knn_accuracy_teacher@{k}",
        "k-NN accuracy@{k}, teacher",
        "Classes",
        "points whose neighbours in the teacher name their true class",
        higher_is_better=None,
        bounds=UNIT,
        needs="classes",
        reading="neighbours in the teacher name the right {class} for {share} of the points",
    ),
    Measure(
        "knn_accuracy_student@{k}",
        "k-NN accuracy@{k}, student",
        "Classes",
        "points whose neighbours in the student name their true class",
        bounds=UNIT,
        needs="classes",
        reading="neighbours in the student name the right {class} for {share} of the points",
    ),
    *(
        Measure(
            f"rankme_{side}",
            f"RankMe, {side}",
            "Each space alone",
            f"effective number of dimensions the {side} uses",
            higher_is_better=None,
            bounds=(1.0, np.inf),
            reading=f"the {side} uses about {{about}} of its {{width:,}} dimensions",
        )
        for side in ("teacher", "student")
    ),
    *(
        Measure(
            f"intrinsic_dimension_{side}",
            f"intrinsic dimension, {side}",
            "Each space alone",
            f"directions in which the {side}'s points vary locally",
            higher_is_better=None,
            bounds=(0.0, np.inf),
            needs="neighbours",
            reading=f"locally the {side}'s points vary in about {{about}} directions",
        )
        for side in ("teacher", "student")
    ),
    *(
        Measure(
            f"hubness_{side}@{{k}}",
            f"hubness@{{k}}, {side}",
            "Each space alone",
            f"how unevenly the {side}'s points serve as neighbours: 0 evenly, above 2 a few hubs dominate",
            higher_is_better=None,
            needs="neighbours",
            reading=f"how often each point is a neighbour in the {side}: {{degree}}",
            steps=HUBS,
        )
        for side in ("teacher", "student")
    ),
)


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
    return next((each for each in MEASURES if each.key == general(key)), None)


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
