"""Figures of a result, drawn from its JSON document alone: one module a figure, each a function of (document, look)."""

from __future__ import annotations

from typing import Any

import matplotlib.style
from matplotlib.figure import Figure

from manifold_probe.report.document import students_of
from manifold_probe.report.figures import (
    classes,
    differences,
    dimensions,
    maps,
    measures,
    overlap_by_k,
    ranks,
    spectra,
)
from manifold_probe.report.figures.labels import map_names, student_labels, teacher_label
from manifold_probe.report.figures.look import Look, settings

FIGURES = {
    "measures": measures.draw,
    "differences": differences.draw,
    "overlap-by-k": overlap_by_k.draw,
    "ranks": ranks.draw,
    "dimensions": dimensions.draw,
    "spectra": spectra.draw,
    "classes": classes.draw,
}


def draw(document: dict[str, Any], look: Look) -> dict[str, Figure]:
    """Every figure that the document holds the data of, by name."""
    with matplotlib.style.context(["default", settings(look)]):
        drawn = {name: function(document, look) for name, function in FIGURES.items()}
        drawn |= _maps(document, look)
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _maps(document: dict[str, Any], look: Look) -> dict[str, Figure | None]:
    """One figure of maps a student."""
    labels, teacher = student_labels(document), teacher_label(document)
    return {
        figure: maps.draw(students_of(document)[student], (teacher, labels[student]), look)
        for figure, student in map_names(document).items()
    }
