"""Every measure in plain words: what it is, and what its value says."""

from __future__ import annotations

from typing import Any

from manifold_probe.report.document import Reading, readings
from manifold_probe.report.words import degree, fraction, neighbours, number

# The order in which measures are shown; K stands for the number of neighbours.
GROUPS: dict[str, tuple[str, ...]] = {
    "Neighbourhoods": (
        "overlap@K",
        "overlap@K:euclidean",
        "jaccard@K",
        "trustworthiness@K",
        "continuity@K",
    ),
    "Overall shape": ("debiased_linear_cka", "linear_cka", "procrustes", "linear_r2"),
    "Coordinates": (
        "per_dimension_correlation",
        "per_dimension_correlation:permutation",
        "per_dimension_correlation:orthogonal",
        "per_dimension_correlation:ridge",
        "space_similarity",
        "norm_correlation",
    ),
    "Classes": ("knn_agreement@K", "knn_kappa@K", "knn_accuracy_teacher@K", "knn_accuracy_student@K"),
    "Each space alone": (
        "rankme_teacher",
        "rankme_student",
        "intrinsic_dimension_teacher",
        "intrinsic_dimension_student",
        "hubness_teacher@K",
        "hubness_student@K",
    ),
}
# Higher is more faithful in these groups; accuracies and what describes one space alone are left out.
FAITHFUL = ("Neighbourhoods", "Overall shape", "Coordinates", "Classes")

GLOSSES = {
    "overlap@K": "share of each point's {neighbours} (by angle) that the student keeps",
    "overlap@K:euclidean": "the same by Euclidean distance, which also sees vector lengths",
    "jaccard@K": "neighbours the two spaces share, out of all that either names",
    "trustworthiness@K": "1: whoever is near in the student was near in the teacher",
    "continuity@K": "1: whoever was near in the teacher is still near in the student",
    "debiased_linear_cka": "likeness of the overall shape: 0 for unrelated spaces, 1 for equal up to turning and size",
    "linear_cka": "the same without the small-sample correction: unrelated spaces score above 0",
    "procrustes": "fit after the best turning and resizing of the student",
    "linear_r2": "teacher variance that a linear map of the student predicts on unseen rows",
    "per_dimension_correlation": "correlation of the student's coordinate with the teacher's same coordinate (median)",
    "per_dimension_correlation:permutation": "the same after matching coordinates one to one, on unseen rows",
    "per_dimension_correlation:orthogonal": "the same after a rotation, on unseen rows",
    "per_dimension_correlation:ridge": "the same after any linear map, on unseen rows",
    "space_similarity": "cosine of the two columns of a coordinate, mean included (median)",
    "norm_correlation": "correlation of the vectors' lengths",
    "knn_agreement@K": "points whose neighbours vote for the same class in both spaces",
    "knn_kappa@K": "that agreement beyond what the class sizes alone give: 0 none, 1 full",
    "knn_accuracy_teacher@K": "points whose neighbours in the teacher name their true class",
    "knn_accuracy_student@K": "points whose neighbours in the student name their true class",
    "rankme_teacher": "effective number of dimensions the teacher uses",
    "rankme_student": "effective number of dimensions the student uses",
    "intrinsic_dimension_teacher": "directions in which the teacher's points vary locally",
    "intrinsic_dimension_student": "directions in which the student's points vary locally",
    "hubness_teacher@K": "how unevenly the teacher's points serve as neighbours: 0 evenly, above 2 a few hubs dominate",
    "hubness_student@K": "how unevenly the student's points serve as neighbours: 0 evenly, above 2 a few hubs dominate",
}


def measure_names(k: int) -> list[str]:
    """Every measure key for ``k`` neighbours, in the order of the report."""
    return [key for _, keys in grouped(k) for key in keys]


def grouped(k: int) -> list[tuple[str, list[str]]]:
    """(heading, measure keys) in the order of the report."""
    return [(heading, [key.replace("@K", f"@{k}") for key in keys]) for heading, keys in GROUPS.items()]


def faithful_names(k: int) -> list[str]:
    """The measures of which more is more faithful."""
    keys = [key for heading, keys in grouped(k) if heading in FAITHFUL for key in keys]
    return [key for key in keys if not key.startswith("knn_accuracy_teacher")]


def label(key: str, width: int | None) -> str:
    """The key as a table shows it: in full, or on a terminal with variants under their parent to save room."""
    base, mark, variant = key.partition(":")
    return f"  :{variant}" if width is not None and mark and base == "per_dimension_correlation" else key


def gloss(key: str, k: int) -> str:
    """What a measure is, whatever its value.

    >>> gloss("norm_correlation", 10)
    "correlation of the vectors' lengths"
    """
    return GLOSSES.get(key.replace(f"@{k}", "@K"), "").format(neighbours=neighbours(k))


def reading(key: str, document: dict[str, Any]) -> str:
    """What the value of one measure says, without a full stop; the note where it is undefined."""
    measure = readings(document)[key]
    if measure.value is None:
        return f"undefined: {measure.note}" if measure.note else "undefined"
    k = document["settings"]["k"]
    base = key.replace(f"@{k}", "@K")
    words = READINGS[base].format(**_words(base, measure.value, document)) if base in READINGS else gloss(key, k)
    return words + _spread(measure) + (f" ({measure.note})" if measure.note else "")


def _words(base: str, value: float, document: dict[str, Any]) -> dict[str, Any]:
    """What may stand in a sentence of `READINGS`."""
    clusters = document["settings"].get("classes") == "k-means"
    side = "teacher" if base.startswith(("rankme_teacher", "intrinsic_dimension_teacher")) else "student"
    return {
        "share": fraction(value),
        "often": degree(value, *OFTEN, otherwise="no more often than at random"),
        "likeness": degree(value, *LIKENESS, otherwise="hardly agree"),
        "closely": degree(value, *CLOSELY, otherwise="hardly"),
        "hubs": degree(value, *HUBS, otherwise="spread evenly"),
        "about": f"{value:.0f}",
        "width": document["inputs"][side]["shape"][1],
        "neighbours": neighbours(document["settings"]["k"]),
        "class": "cluster (k-means of the teacher)" if clusters else "class",
    }


def _spread(measure: Reading) -> str:
    quantiles = measure.quantiles or {}
    if quantiles.get("0.05") is None or quantiles.get("0.95") is None:
        return ""
    return f"; nine tenths of the coordinates lie between {number(quantiles['0.05'])} and {number(quantiles['0.95'])}"


READINGS = {
    "overlap@K": "{share} of each point's {neighbours} survive",
    "overlap@K:euclidean": "by Euclidean distance, which also sees vector lengths: {share} survive",
    "jaccard@K": "of all neighbours that either space names, the two share {share}",
    "trustworthiness@K": "whoever is near in the student was {often} near in the teacher",
    "continuity@K": "whoever was near in the teacher is {often} near in the student",
    "debiased_linear_cka": "the overall shapes {likeness}; unrelated spaces score 0, turning and resizing do not count",
    "linear_cka": "the same without the small-sample correction: compare it with chance, not with 0",
    "procrustes": "turned and resized to fit, the spaces match {closely}; compare it with chance, not with 0",
    "linear_r2": "a linear map of the student predicts {share} of the teacher's variance on unseen rows",
    "per_dimension_correlation": "the median coordinate follows the teacher's same one {closely}",
    "per_dimension_correlation:permutation": "matched one to one, it follows {closely} on unseen rows",
    "per_dimension_correlation:orthogonal": "after a rotation, it follows {closely} on unseen rows",
    "per_dimension_correlation:ridge": "after any linear map, it follows {closely} on unseen rows",
    "space_similarity": "the median column points the same way {closely}, mean included",
    "norm_correlation": "the student's vector lengths follow the teacher's {closely}",
    "knn_agreement@K": "for {share} of the points, neighbours vote for the same {class} in both spaces",
    "knn_kappa@K": "beyond what the class sizes alone give, {share} of the possible agreement is there",
    "knn_accuracy_teacher@K": "neighbours in the teacher name the right {class} for {share} of the points",
    "knn_accuracy_student@K": "neighbours in the student name the right {class} for {share} of the points",
    "rankme_teacher": "the teacher uses about {about} of its {width:,} dimensions",
    "rankme_student": "the student uses about {about} of its {width:,} dimensions",
    "intrinsic_dimension_teacher": "locally the teacher's points vary in about {about} directions",
    "intrinsic_dimension_student": "locally the student's points vary in about {about} directions",
    "hubness_teacher@K": "how often each point is a neighbour in the teacher: {hubs}",
    "hubness_student@K": "how often each point is a neighbour in the student: {hubs}",
}
OFTEN = ((0.99, "almost always"), (0.95, "mostly"), (0.8, "often"), (0.6, "not always"))
LIKENESS = ((0.95, "nearly coincide"), (0.8, "agree well"), (0.5, "agree in part"), (0.2, "agree little"))
CLOSELY = ((0.95, "almost exactly"), (0.8, "closely"), (0.5, "loosely"), (0.2, "faintly"))
HUBS = ((4.0, "few hubs dominate"), (2.0, "some points are hubs"), (1.0, "somewhat unevenly spread"))
