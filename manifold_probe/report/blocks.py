"""What a report is made of. Each kind of result is described once, as a list of blocks; `report.render` turns blocks
into terminal text, HTML and Markdown. All text in blocks is plain: renderers escape it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sentence:
    """A paragraph; ``tone`` is "strong", "faint", "warning" or empty."""

    text: str
    tone: str = ""


@dataclass(frozen=True)
class Items:
    """A list: ``mark`` is "1" for numbered steps, else the sign before each item."""

    items: Sequence[str]
    mark: str = "-"
    tone: str = ""


@dataclass(frozen=True)
class Facts:
    """Named facts, one a line; those without text are left out."""

    facts: Sequence[tuple[str, str]]
    indent: int = 0  # cells of a terminal


@dataclass(frozen=True)
class Value:
    """A number with its interval; ``best`` marks the one that is ahead of all others in its row."""

    text: str
    low: str = ""
    high: str = ""
    best: bool = False


@dataclass(frozen=True)
class Row:
    """The cells of a row, the first of which names it.

    ``note`` is what the row says; ``variant`` a short name for a row that belongs to the one above; ``bar`` the part
    from ``bar[0]`` to ``bar[1]`` of a bar that stands for 1.
    """

    cells: Sequence[str | Value]
    note: str = ""
    group: str = ""
    variant: str = ""
    bar: tuple[float, float] | None = None
    colour: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """A table; rows with the same ``group`` follow each other and stand below that heading.

    ``spare`` columns move into the notes where there is no room for them.
    """

    header: Sequence[str]
    rows: Sequence[Row]
    notes: str = ""  # heading of the notes
    spare: tuple[int, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A PNG, drawn where it is shown: HTML alone shows it."""

    words: str
    draw: Callable[[], bytes]


@dataclass(frozen=True)
class Section:
    """Blocks below a title, set apart; ``folded`` where a notebook shows the title first. Without blocks it is left
    out."""

    title: str
    blocks: Sequence[Block]
    folded: bool = False


Block = Sentence | Items | Facts | Table | Picture | Section
