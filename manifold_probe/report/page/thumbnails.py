"""Pictures or first words of the rows that the page shows, read from the data that the features came from.

Images become tiles of one JPEG, so that a page of 2,000 rows holds one picture and not 2,000; texts become snippets.
Rows belong to items by id; where the features have no ids, by position.
"""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from manifold_probe.extraction.data import Data, Unreadable, open_data
from manifold_probe.report.page.maps import row_names
from manifold_probe.report.page.rows import listed
from manifold_probe.report.words import shown

SNIPPET = 120  # characters
TILES = (64, 48, 32)  # pixels; the largest that leaves the page room
ACROSS = 50  # tiles side by side
QUALITY = 70
GROUND = (128, 128, 128)  # around an image that is not square, on light and dark alike


@dataclass(frozen=True)
class Thumbnails:
    """What the page shows of its rows, by id or number as text: a tile of ``sheet`` (a data URI) or a snippet.

    ``slices`` are the further columns of the data, by the same names; ``rows`` counts the rows that the page names,
    ``missing`` those without an item, ``unreadable`` items that cannot be read. ``mismatch`` says how rows and items
    differ where no row has an item.
    """

    source: str
    sheet: str = ""
    tile: int = 0
    tiles: dict[str, int] = field(default_factory=dict)
    snippets: dict[str, str] = field(default_factory=dict)
    slices: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: int = 0
    missing: int = 0
    unreadable: int = 0
    mismatch: str = ""

    @property
    def warning(self) -> str:
        """How many rows have neither picture nor text; empty where all have one."""
        without = self.missing + self.unreadable
        if not without:
            return ""
        unreadable = f" ({self.unreadable:,} could not be read)" if self.unreadable else ""
        rows = f"{without:,} of the {self.rows:,} rows on the page"
        return f"warning: {rows} have no picture or text in {self.source}{unreadable}{self.mismatch}"

    def offset(self, name: Any) -> tuple[int, int] | None:
        """Where the tile of a row starts on the sheet, in pixels; None where it has none."""
        at = self.tiles.get(str(name))
        return None if at is None else (at % ACROSS * self.tile, at // ACROSS * self.tile)


def read_thumbnails(students: dict[str, dict[str, Any]], data: Data | str | Path, room: int) -> Thumbnails:
    """The thumbnails of the rows on the maps, of the rows that lost most and of their neighbours, in ``room`` bytes.

    Of images that find no room even as the smallest tiles, the rows on the maps are left out.

    Raises
    ------
    InputError
        When the data cannot be opened. Items that cannot be read are counted.
    """
    data = data if isinstance(data, Data) else open_data(str(data))
    worst = dict.fromkeys(str(name) for each in students.values() for name in _of_worst(each))
    wanted = worst | dict.fromkeys(str(name) for each in students.values() for name in row_names(each))
    places, mismatch = _places(students, data), ""
    if not any(name in places for name in wanted):
        mismatch = _mismatch(students, data, next(iter(wanted), ""))
    read, unreadable = _read(data, {name: places[name] for name in wanted if name in places})
    missing = sum(name not in places for name in wanted)
    counts = {"rows": len(wanted), "missing": missing, "unreadable": unreadable, "mismatch": mismatch}
    slices = {
        column: {name: values[places[name]].item() for name in wanted if name in places}
        for column, values in data.slices.items()
    }
    known: dict[str, Any] = {"source": data.source, "slices": slices, **counts}
    if data.kind == "texts":
        return Thumbnails(
            snippets={name: shown(" ".join(text.split()), SNIPPET) for name, text in read.items()}, **known
        )
    for names, tile in itertools.product((wanted, worst), TILES):
        some = {name: read[name] for name in names if name in read}
        tile = min(tile, max((max(image.size) for image in some.values()), default=tile))
        sheet = _sheet(list(some.values()), tile)
        if len(sheet) <= room:
            return Thumbnails(sheet=sheet, tile=tile, tiles={name: at for at, name in enumerate(some)}, **known)
    return Thumbnails(**known)


def _of_worst(document: dict[str, Any]) -> Iterable[Any]:
    """The rows that lost most, and their neighbours."""
    for row in listed(document):
        yield row["row"] if row.get("id") is None else row["id"]
        yield from row["teacher_neighbours"]
        yield from row["student_neighbours"]


def _places(students: dict[str, dict[str, Any]], data: Data) -> dict[str, int]:
    """The item of every row: by its id as text, or by its number where rows have no ids and the counts agree."""
    first = next(iter(students.values()))
    if _have_ids(first):
        return {name: place for place, name in enumerate(data.ids.tolist())}
    return {str(row): row for row in range(data.n)} if data.n == first["pairing"]["rows"] else {}


def _mismatch(students: dict[str, dict[str, Any]], data: Data, name: str) -> str:
    """Why no row has an item; ``name`` is a row's."""
    first = next(iter(students.values()))
    if _have_ids(first):
        return f": their ids, such as {shown(name)}, are not among its ids, such as {shown(data.ids[0])}"
    return f": the features have {first['pairing']['rows']:,} rows without ids, and it has {data.n:,} items"


def _have_ids(document: dict[str, Any]) -> bool:
    maps = document["details"].get("maps") or {}
    return bool(maps.get("ids")) or any(row.get("id") is not None for row in listed(document))


def _read(data: Data, places: dict[str, int]) -> tuple[dict[str, Any], int]:
    """The content of each item that can be read, images made small, and how many cannot."""
    found, unreadable = {}, 0
    for name, place in places.items():
        try:
            content = data.read(place).content
        except Unreadable:
            unreadable += 1
            continue
        if isinstance(content, Image.Image):
            content = content.convert("RGB")
            content.thumbnail((TILES[0], TILES[0]))
        found[name] = content
    return found, unreadable


def _sheet(images: list[Image.Image], tile: int) -> str:
    """All images as tiles of one JPEG, as a data URI; empty where there are none."""
    if not images:
        return ""
    sheet = Image.new("RGB", (min(ACROSS, len(images)) * tile, -(-len(images) // ACROSS) * tile), GROUND)
    for at, image in enumerate(images):
        sheet.paste(ImageOps.pad(image, (tile, tile), color=GROUND), (at % ACROSS * tile, at // ACROSS * tile))
    written = io.BytesIO()
    sheet.save(written, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(written.getvalue()).decode()


def of_maps(thumbnails: Thumbnails, rows: list[Any]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """What the script shows of the rows on the maps, and the value of each in every column of the data."""
    names = [str(row) for row in rows]
    tiles = {"tile": thumbnails.tile, "across": ACROSS, "tiles": [thumbnails.tiles.get(name, -1) for name in names]}
    snippets = {"snippets": [thumbnails.snippets.get(name, "") for name in names]}
    columns = {
        column: [values.get(name, "(unknown)") for name in names] for column, values in thumbnails.slices.items()
    }
    return (tiles if thumbnails.tiles else {}) | (snippets if thumbnails.snippets else {}), columns
