"""Figures of a result, drawn from its JSON document alone: one module a figure, each a function of (document, look)."""

from __future__ import annotations

from typing import Any

import matplotlib.style
from matplotlib.figure import Figure

from manifold_probe.report.diagnosis.document import of_comparison
from manifold_probe.report.document import students_of
from manifold_probe.report.figures import (
    account,
    causes,
    classes,
    differences,
    dimensions,
    ladder,
    maps,
    measures,
    overlap_by_k,
    ranks,
    spectra,
)
from manifold_probe.report.figures.labels import names_of_each, student_labels, teacher_label
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


OF_DIAGNOSIS = {"account": account.draw, "causes": causes.draw, "ladder": ladder.draw}


def draw_diagnosis(document: dict[str, Any], look: Look) -> dict[str, Figure]:
    """Every figure of a diagnosis that the document holds the data of, by name."""
    with matplotlib.style.context(["default", settings(look)]):
        drawn = {name: function(document, look) for name, function in OF_DIAGNOSIS.items()}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def draw(document: dict[str, Any], look: Look) -> dict[str, Figure]:
    """Every figure that the document holds the data of, by name."""
    with matplotlib.style.context(["default", settings(look)]):
        drawn = {name: _of_diagnosis(document, name, look) for name in ("account", "causes")}
        found = {name: figure for each in drawn.values() for name, figure in each.items()}
        found |= {name: function(document, look) for name, function in FIGURES.items()}
        found |= _maps(document, look)
    return {name: figure for name, figure in found.items() if figure is not None}


def _of_diagnosis(document: dict[str, Any], figure: str, look: Look) -> dict[str, Figure | None]:
    """One figure a student that was diagnosed."""
    students = students_of(document)
    diagnoses = {name: of_comparison(students[student]) for name, student in names_of_each(document, figure).items()}
    return {name: OF_DIAGNOSIS[figure](each, look) for name, each in diagnoses.items() if each is not None}


def _maps(document: dict[str, Any], look: Look) -> dict[str, Figure | None]:
    """One figure of maps a student."""
    labels, teacher = student_labels(document), teacher_label(document)
    return {
        figure: maps.draw(students_of(document)[student], (teacher, labels[student]), look)
        for figure, student in names_of_each(document, "maps").items()
    }
