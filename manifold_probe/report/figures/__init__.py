"""Figures of a result, drawn from its JSON document alone: one module a figure, each a function of (document, look)."""

from __future__ import annotations

import re
from typing import Any

import matplotlib.style
from matplotlib.figure import Figure

from manifold_probe.report.document import SEVERAL, students_of
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
from manifold_probe.report.figures.labels import student_labels, teacher_label
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
    students = students_of(document)
    names = ["maps"] if document["schema"] != SEVERAL else [f"maps-{slug}" for slug in slugs(list(students))]
    return {
        figure: maps.draw(student, (teacher, labels[name]), look)
        for figure, (name, student) in zip(names, students.items(), strict=True)
    }


def slugs(names: list[str]) -> list[str]:
    """Names as parts of file names, no two alike.

    >>> slugs(["CoSS, b=1", "../x", "CoSS b=1"])
    ['coss-b-1', 'x', 'coss-b-1-3']
    """
    found: list[str] = []
    for place, name in enumerate(names, start=1):
        slug = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")[:40] or str(place)
        found.append(f"{slug}-{place}" if slug in found else slug)
    return found
