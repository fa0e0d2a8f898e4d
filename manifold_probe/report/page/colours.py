"""The figures' colours as properties of the page, so that what is drawn reads on white and on black."""

from __future__ import annotations

from markupsafe import Markup

from manifold_probe.report.figures.look import FAINT, GREY, INK, MAP_COLOURS, MARKERS, PALETTE
from manifold_probe.report.figures.measures import YARDSTICKS

LIGHTER = 0.35  # of the way to white, against a dark ground
# Of each of Matplotlib's markers, about the point 0, 0.
SHAPES = {
    "o": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "s": "M-3.5-3.5h7v7h-7z",
    "^": "M-4.5 3.5l4.5-8l4.5 8z",
    "D": "M0-5l4.5 5l-4.5 5l-4.5-5z",
    "v": "M-4.5-3.5h9l-4.5 8z",
    "P": "M-2-5h4v3h3v4h-3v3h-4v-3h-3v-4h3z",
    "p": "M0 -4.6L4.4 -1.4L2.7 3.7L-2.7 3.7L-4.4 -1.4z",
}
# Of the markers without a ground, larger than a student's, which may cover them.
OPEN_SHAPES = {
    "|": "M0-11v22",
    "x": "M-5-5l10 10m0-10l-10 10",
    ">": "M-4-6l10 6l-10 6z",
}
MARKS = [SHAPES[marker] for marker in MARKERS]
YARDSTICK_MARKS = {name.replace("_", "-"): OPEN_SHAPES[sign] for name, _, sign, _ in YARDSTICKS}
PROPERTIES = {
    INK: "currentColor",
    "#000000": "currentColor",
    GREY: f"var(--muted,{GREY})",
    FAINT: f"var(--rule,{FAINT})",
    "#ffffff": "var(--paper,#ffffff)",
    **{colour: f"var(--c{place},{colour})" for place, colour in enumerate(MAP_COLOURS)},
}


def style_sheet() -> Markup:
    """The properties of the colours, lighter where the reader prefers dark, and what has which of them."""
    light = "".join(f"--c{place}:{colour};" for place, colour in enumerate(MAP_COLOURS))
    dark = "".join(f"--c{place}:{lighter(colour)};" for place, colour in enumerate(MAP_COLOURS))
    classes = "".join(f".c{place}{{--c:var(--c{place})}}\n" for place in range(len(PALETTE)))
    classes += "".join(f".d{place}{{--dot:var(--c{place})}}\n" for place in range(len(MAP_COLOURS)))
    classes += "".join(
        f'use[href="#{name.replace("_", "-")}"]{{--c:none;--line:{PROPERTIES[tint]}}}\n'
        for name, _, _, tint in YARDSTICKS
    )
    return Markup(f":root{{{light}}}\n@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}\n{classes}")


def lighter(colour: str) -> str:
    """A colour on its way to white.

    >>> lighter("#000000")
    '#595959'
    """
    parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return "#" + "".join(f"{round(part + LIGHTER * (255 - part)):02x}" for part in parts)
