"""The two linked maps: what the page draws without JavaScript, and what its script draws from.

Both maps lie in one square of `SIDE` units, because the student's layout starts from the teacher's. A map is an
illustration of a sample of the rows; no number of the page is read off it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
from markupsafe import Markup

from manifold_probe.measures.catalogue import OVERLAP
from manifold_probe.report.diagnosis import words
from manifold_probe.report.figures.look import MAP_COLOURS
from manifold_probe.report.page.embed import LONGEST, as_script
from manifold_probe.report.page.rows import ClassRow
from manifold_probe.report.words import shown

SIDE, MARGIN = 1000, 30
TAG, LETTER = 32, 20  # how high a name is on a map, and how wide each of its letters
TAGGED = 16  # letters of a name on a map
AROUND = 80  # how far from a row others of its class count for how dense it lies
TRIED = 200  # rows of a class that its name may stand on
NAMED = len(MAP_COLOURS)  # classes that have a colour; where there are more, the smaller ones share grey
KINDS = ("kept", "lost", "gained")
SLICES = 50  # values of a column that rows can be coloured by


@dataclass(frozen=True)
class Dots:
    """The rows of one colour on one map: ``colour`` is None for those that share grey, ``path`` what SVG draws."""

    colour: int | None
    path: str


@dataclass(frozen=True)
class Tag:
    """The name of a class, and where it stands on a map."""

    name: str
    x: int
    y: int

    def meets(self, other: Tag) -> bool:
        """Whether the two would lie on each other."""
        wide = LETTER * (len(self.name) + len(other.name)) / 2
        return abs(self.x - other.x) < wide and abs(self.y - other.y) < TAG


@dataclass(frozen=True)
class Drawn:
    """One map as it stands without JavaScript."""

    dots: list[Dots]
    tags: list[Tag]


@dataclass(frozen=True)
class Slices:
    """A further column of the thumbnails' data: its values, the place among them of every drawn row's value, and the
    colour of each value (None where it shares grey)."""

    name: str
    values: list[str]
    of: list[int]
    colours: list[int | None]


@dataclass(frozen=True)
class Maps:
    """The maps of all students: ``rows`` drawn of ``of``, the teacher's map, each student's by name, the classes with
    a colour (name, colour), how many others there are, the columns that rows can be coloured by, and the text for the
    script."""

    rows: int
    of: int
    by_id: bool
    teacher: Drawn
    students: dict[str, Drawn]
    legend: list[tuple[str, int]]
    others: int
    slices: list[Slices]
    script: Markup

    @property
    def size(self) -> int:
        """Bytes that the maps take on the page."""
        paths = [dots.path for drawn in (self.teacher, *self.students.values()) for dots in drawn.dots]
        return len(self.script.encode()) + sum(map(len, paths))


def row_names(document: dict[str, Any]) -> list[Any]:
    """The ids of the rows on a student's maps, or their numbers where they have none; empty without maps."""
    maps = document["details"].get("maps") or {}
    return list(maps.get("ids") or maps.get("rows") or range(len(maps.get("class") or [])))


def maps_of(
    students: dict[str, dict[str, Any]],
    pictures: dict[str, Any] | None = None,
    slices: dict[str, list[Any]] | None = None,
) -> Maps | None:
    """The maps of the students whose rows are those of the first that has maps; None where none has.

    ``pictures`` is what the script shows of each row (`thumbnails`), ``slices`` the columns of its data by name, with a
    value for each drawn row.
    """
    drawn = {name: each["details"]["maps"] for name, each in students.items() if _has_maps(each)}
    if not drawn:
        return None
    first = next(iter(drawn.values()))
    drawn = {name: maps for name, maps in drawn.items() if _rows(maps) == _rows(first)}
    places = _scaled([np.asarray(first["teacher"]), *(np.asarray(maps["student"]) for maps in drawn.values())])
    codes = np.asarray(first["class"])
    colours = _colours(codes, len(first["classes"]))
    names = [shown(name, LONGEST) for name in first["classes"]]
    names_of, students = list(students), {name: students[name] for name in drawn}
    document = next(iter(students.values()))
    clusters = document["settings"].get("classes") == "k-means"
    names = [f"cluster {name}" for name in names] if clusters else names
    ids = row_names(document)
    of = document["pairing"]["rows"]
    columns = _slices(slices or {})
    data = {
        "k": document["settings"]["k"],
        "of": of,
        "kind": "cluster" if clusters else "label",
        "ids": [shown(each, LONGEST) if isinstance(each, str) else each for each in ids],
        "rows": first.get("rows") or list(range(len(ids))),
        "byId": bool(first.get("ids")),
        "classes": names,
        "class": codes.tolist(),
        "colours": colours,
        "slices": [asdict(column) for column in columns],
        "teacher": places[0].ravel().tolist(),
        "students": [
            {"place": names_of.index(name), **_student(name, students[name], place, ids, first)}
            for name, place in zip(drawn, places[1:], strict=True)
        ],
        **(pictures or {}),
    }
    return Maps(
        len(ids),
        of,
        bool(first.get("ids")),
        _drawn(places[0], codes, colours, names),
        {name: _drawn(place, codes, colours, names) for name, place in zip(drawn, places[1:], strict=True)},
        [(names[code], colour) for code, colour in enumerate(colours) if colour is not None],
        int(np.isin(codes, [code for code, colour in enumerate(colours) if colour is None]).any())
        and sum(colour is None for colour in colours),
        columns,
        as_script(data),
    )


def slice_tables(maps: Maps | None, students: dict[str, dict[str, Any]]) -> list[tuple[str, list[ClassRow]]]:
    """(column, its values) of every further column of the thumbnails' data: what is kept of the rows on the maps."""
    if maps is None:
        return []
    drawn = [each["details"]["maps"]["overlap"] if name in maps.students else None for name, each in students.items()]
    return [(column.name, _slice_rows(column, drawn)) for column in maps.slices]


def _slice_rows(column: Slices, drawn: list[list[float] | None]) -> list[ClassRow]:
    rows = []
    for place, value in enumerate(column.values):
        members = np.flatnonzero(np.asarray(column.of) == place)
        means = [None if kept is None else {"overlap": float(np.take(kept, members).mean())} for kept in drawn]
        rows.append(ClassRow(value, len(members), means))
    return sorted(rows, key=lambda row: row.lowest)


def _has_maps(document: dict[str, Any]) -> bool:
    return bool((document["details"].get("maps") or {}).get("class"))


def _rows(maps: dict[str, Any]) -> tuple[Any, Any, Any]:
    return maps.get("rows"), maps.get("ids"), maps["teacher"]


def _scaled(layouts: list[np.ndarray]) -> list[np.ndarray]:
    """Layouts (m, 2) as whole units of one square, y downwards, with the same scale for all."""
    points = np.concatenate(layouts)
    low, high = points.min(0), points.max(0)
    scale = (SIDE - 2 * MARGIN) / max(float((high - low).max()), 1e-9)
    middle = (low + high) / 2
    return [np.rint((each - middle) * (scale, -scale) + SIDE / 2).astype(int) for each in layouts]


def _colours(codes: np.ndarray, count: int) -> list[int | None]:
    """The colour of each class, in their order: of more than there are colours, the largest have one."""
    sizes = np.bincount(codes, minlength=count)
    largest = [code for code in np.argsort(-sizes, kind="stable").tolist() if sizes[code]]
    named = sorted(largest if len(largest) <= NAMED else largest[: NAMED - 1])
    return [named.index(code) if code in named else None for code in range(count)]


def _drawn(places: np.ndarray, codes: np.ndarray, colours: list[int | None], names: list[str]) -> Drawn:
    dots: list[Dots] = []
    tags: list[Tag] = []
    of_row = np.array([-1 if colour is None else colour for colour in colours])[codes]
    for colour in np.unique(of_row).tolist():
        path = "".join(f"M{x} {y}h0" for x, y in places[of_row == colour].tolist())
        dots.append(Dots(None if colour < 0 else colour, path))
    for code, colour in enumerate(colours):
        if colour is not None:
            possible = _tags(shown(names[code], TAGGED), places[codes == code])
            tags += islice((tag for tag in possible if not any(map(tag.meets, tags))), 1)
    return Drawn(dots, tags)


def _tags(name: str, places: np.ndarray) -> Iterator[Tag]:
    """Where the name of a group may stand within the map: on its rows, the one that lies most densely first.

    Where each meets other names, the legend alone has it.
    """
    tried = places[:: -(-len(places) // TRIED)]
    apart = ((tried[:, None] - places) ** 2).sum(2)
    dense = np.maximum(AROUND**2 - apart, 0).sum(1)
    half = LETTER * len(name) // 2
    for x, y in tried[np.argsort(-dense, kind="stable")].tolist():
        yield Tag(name, min(max(x, half), SIDE - half), min(max(y, TAG // 2), SIDE - TAG // 2))


def _student(
    name: str, document: dict[str, Any], places: np.ndarray, ids: list[Any], first: dict[str, Any]
) -> dict[str, Any]:
    """What the script draws and says of one student."""
    maps = document["details"]["maps"]
    overlap = document["measures"].get(OVERLAP.named(document["settings"]["k"])) or {}
    of_class = {row["class"]: row.get("overlap") for row in document["details"].get("per_class") or []}
    return {
        "name": shown(name, LONGEST),
        "xy": places.ravel().tolist(),
        "overlap": maps["overlap"],
        "whole": {part: overlap.get(part) for part in ("value", "low", "high")},
        "ofClass": [of_class.get(each) for each in first["classes"]],
        "neighbours": {kind: _packed((maps.get("neighbours") or {}).get(kind)) for kind in KINDS},
        "causes": [
            {"title": words.capital(words.words_of(cause)), "places": concerned}
            for cause in (document.get("diagnosis") or {}).get("causes") or []
            if (concerned := _concerned(cause["where"] or {}, ids, first))
        ],
    }


def _packed(lists: list[list[int]] | None) -> dict[str, str] | None:
    """Lists of whole numbers as base64: how many each holds, then all of them, as 16 bits each."""
    if lists is None:
        return None
    counts, values = (
        np.asarray(each, "<i2") for each in ([len(row) for row in lists], [v for row in lists for v in row])
    )
    return {name: base64.b64encode(each.tobytes()).decode() for name, each in (("counts", counts), ("values", values))}


def _concerned(where: dict[str, Any], ids: list[Any], maps: dict[str, Any]) -> list[int]:
    """The places on the maps of the rows that a cause concerns, by their ids, their numbers or their classes."""
    if where.get("ids") and maps.get("ids"):
        wanted = set(map(str, where["ids"]))
        return [place for place, each in enumerate(ids) if str(each) in wanted]
    if where.get("rows"):
        rows = set(where["rows"])
        return [place for place, row in enumerate(maps.get("rows") or []) if row in rows]
    classes = set(map(str, where.get("classes") or []))
    codes = {code for code, name in enumerate(maps["classes"]) if str(name) in classes}
    return [place for place, code in enumerate(maps["class"]) if code in codes]


def _slices(columns: dict[str, list[Any]]) -> list[Slices]:
    """The columns that have few values."""
    slices = []
    for name, column in columns.items():
        values, of = np.unique([shown(value, LONGEST) for value in column], return_inverse=True)
        if 1 < len(values) <= SLICES:
            slices.append(Slices(shown(name, LONGEST), values.tolist(), of.tolist(), _colours(of, len(values))))
    return slices
