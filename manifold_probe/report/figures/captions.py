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
        "The proof of each cause: a measure before (open mark) and after (filled mark) it was undone, or inflicted on "
        "the teacher, with the 95% interval. The upright tick is what the same does to a sound pair: the filled mark "
        "must lie well beyond it."
    ),
    "ladder": (
        "The student after each correction: overlap in both metrics with its 95% interval, and debiased CKA, on rows "
        "that the correction was not fitted on. Dotted lines: the student as it is. A correction that moves a bar says "
        "what is wrong; what no map brings back is lost."
    ),
    "measures": (
        "Every measure with its 95% interval, between what chance or class structure alone gives and the reference, "
        "the teacher against its first principal components. An interval narrower than its mark is drawn on it."
    ),
    "overlap-by-k": (
        "Share of each point's k nearest neighbours that the student keeps, from the nearest one to the 200 nearest. "
        "With 95% intervals where the measured lists of neighbours are deep enough; class chance (rows shuffled within "
        "each class) is known at one k. The reference is the "
        "teacher against as many of its principal components as the student has dimensions."
    ),
    "dimensions": (
        "Correlation of each dimension of the teacher with the student's, sorted: raw, and after a map fitted on the "
        "other half of the rows (a permutation, a rotation, any linear map). Where a curve rises far above the raw "
        "one, that map is what separates the two. Raw needs equal widths; after a permutation a narrower student has "
        "partners for some of the dimensions only. The axis starts at the lowest value."
    ),
    "spectra": (
        "Singular values of both centred spaces over the root of their sum of squares. A cliff means collapsed "
        "dimensions; RankMe counts the effective ones."
    ),
    "classes": (
        "Overlap and k-NN agreement within each class with 95% intervals, the lowest overlap on top. Intervals of "
        "agreement are Wilson's, for a share of independent rows. Each axis starts near its lowest value."
    ),
    "ranks": (
        "Where each point's {neighbours} of one space stand in the other: the median rank, over a thick bar of the "
        "middle half of the points and a thin one of nine tenths. Black: where all would stand if the order were kept. "
        "Dotted: the median for random pairs."
    ),
    "maps": (
        "An illustration, not a measurement: UMAP of the same rows in both spaces, the student's layout started from "
        "the teacher's. Above by class, below by how many neighbours the row kept. Distances between groups mean "
        "nothing."
    ),
    "training": (
        "Training curves over the samples that the student encoded, or over steps: the loss, and measures against the "
        "teacher. Solid: at the backbone, dashed: at the head. Open marks: the untrained student. Losses of different "
        "terms do not compare and stand in panels of their kind."
    ),
    "layers": (
        "Debiased linear CKA of every layer of the teacher with every layer of the student. Colours run from 0 to 1; "
        "grey: undefined. A bright diagonal means that layers of equal depth hold the same."
    ),
    "differences": (
        "Paired differences from the first student on the same rows, with 95% intervals; a filled mark means that the "
        "interval excludes zero. Each group has its scale."
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
