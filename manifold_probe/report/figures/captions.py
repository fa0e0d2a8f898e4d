"""What each figure shows and how to read it, in plain sentences."""

from __future__ import annotations

from typing import Any

from manifold_probe.report.document import students_of
from manifold_probe.report.figures.labels import OF_EACH, names_of_each
from manifold_probe.report.words import neighbours, shown

CAPTIONS = {
    "account": (
        "Where the loss went: from the teacher at 100 points down to the student, part by part, with 95% intervals. "
        "Won back: by a correction, on rows that it was not fitted on. Hatched: what no map of the student's features "
        "wins back. Parts that lose nothing in either measure are left out."
    ),
    "causes": (
        "The proof of each cause: a measure before and after it was undone, or inflicted on the teacher, with its 95% "
        "interval. The upright tick is what the same does to a sound pair: the filled mark must lie well beyond it."
    ),
    "ladder": (
        "The student after each correction: overlap in both metrics with its 95% interval, and debiased CKA, on rows "
        "that the correction was not fitted on. Dotted lines: the student as it is. A correction that moves a bar says "
        "what is wrong; what no map brings back is lost."
    ),
    "measures": (
        "Every measure with its 95% interval, between what chance or class structure alone gives and the reference, "
        "the teacher against its own first principal components."
    ),
    "overlap-by-k": (
        "Share of each point's k nearest neighbours that the student keeps, from the nearest one to the 200 nearest."
    ),
    "dimensions": (
        "Correlation of each dimension of the teacher with the student's, sorted: as it is, and after a map fitted on "
        "the other half of the rows. Where a curve rises far above the raw one, that map is what separates the two."
    ),
    "spectra": (
        "Singular values of both centred spaces over the root of their sum of squares. A cliff means collapsed "
        "dimensions; RankMe counts the effective ones."
    ),
    "classes": "Overlap, with its 95% interval, and k-NN agreement within each class, the lowest overlap on top.",
    "ranks": (
        "Where each point's {neighbours} of one space stand in the other. The closer to the dashed line of perfect "
        "order, the better; the dotted line is the median for random pairs."
    ),
    "maps": (
        "An illustration, not a measurement: UMAP of the same rows in both spaces, the student's layout started from "
        "the teacher's. Above by class, below by how many neighbours the row kept. Distances between groups mean "
        "nothing."
    ),
    "differences": (
        "Paired differences from the first student on the same rows, with 95% intervals; a filled mark means that the "
        "interval excludes zero. Each group has its own scale."
    ),
}


def caption(name: str, document: dict[str, Any]) -> str:
    """The sentences for a figure of `draw`."""
    first = next(iter(students_of(document).values()))
    for figure in OF_EACH:
        of = names_of_each(document, figure).get(name)
        if of is not None:
            return CAPTIONS[figure] if name == figure else f"{shown(of)}: {CAPTIONS[figure]}"
    return CAPTIONS[name].format(neighbours=neighbours(first["settings"]["k"]))
