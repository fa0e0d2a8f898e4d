"""Figures of a result, drawn from its JSON document alone; every function takes (document, look)."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from manifold_probe.report.document import of_comparison, students_of
from manifold_probe.report.figures import classes, diagnosis, dimensions, maps, measures, neighbours
from manifold_probe.report.figures.captions import CAPTIONS, caption
from manifold_probe.report.figures.labels import names_of_each, student_labels, teacher_label
from manifold_probe.report.figures.look import Look, look_of, styled
from manifold_probe.report.figures.save import contents

FIGURES = {
    "measures": measures.draw,
    "differences": measures.draw_differences,
    "overlap-by-k": neighbours.draw_overlap,
    "ranks": neighbours.draw_ranks,
    "dimensions": dimensions.draw,
    "spectra": dimensions.draw_spectra,
    "classes": classes.draw,
}
OF_DIAGNOSIS = {
    "account": diagnosis.draw_account,
    "causes": diagnosis.draw_causes,
    "ladder": diagnosis.draw_ladder,
}


def draw(document: dict[str, Any], look: Look) -> dict[str, Figure]:
    """Every figure that a comparison holds the data of, by name; the label of each (``get_label()``) is its caption."""
    with styled(look):
        made = {name: figure for kind in ("account", "causes") for name, figure in _of_each(document, kind, look)}
        made |= {name: function(document, look) for name, function in FIGURES.items()}
        made |= dict(_of_each(document, "maps", look))
    return _labelled(made, {name: caption(name, document) for name, figure in made.items() if figure is not None})


def draw_diagnosis(document: dict[str, Any], look: Look) -> dict[str, Figure]:
    """Every figure of a diagnosis that the document holds the data of, by name, labelled with its caption."""
    with styled(look):
        return _labelled({name: function(document, look) for name, function in OF_DIAGNOSIS.items()}, CAPTIONS)


def picture(document: dict[str, Any], *, width: float = 5.5, dpi: int = 110) -> bytes:
    """A small PNG of a comparison's main measures on white, for a notebook; empty where it has none of them.

    Parameters
    ----------
    document : dict
        A comparison of one or several students.
    width : float
        In inches.
    dpi : int
        Pixels of an inch.
    """
    look = look_of("paper", width)
    with styled(look):
        figure = measures.draw(document, look, only_main=True)
    return b"" if figure is None else contents(figure, look, "png", dpi=dpi)


def _of_each(document: dict[str, Any], kind: str, look: Look) -> list[tuple[str, Figure | None]]:
    """Figures of one student alone, by name: its maps, or of its diagnosis if it was diagnosed."""
    students, labels, teacher = students_of(document), student_labels(document), teacher_label(document)
    made: list[tuple[str, Figure | None]] = []
    for name, student in names_of_each(document, kind).items():
        if kind == "maps":
            made.append((name, maps.draw(students[student], (teacher, labels[student]), look)))
        elif (diagnosed := of_comparison(students[student])) is not None:
            made.append((name, OF_DIAGNOSIS[kind](diagnosed, look)))
    return made


def _labelled(made: dict[str, Figure | None], captions: dict[str, str]) -> dict[str, Figure]:
    drawn = {name: figure for name, figure in made.items() if figure is not None}
    for name, figure in drawn.items():
        figure.set_label(captions[name])
    return drawn
