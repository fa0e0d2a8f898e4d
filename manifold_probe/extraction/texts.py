"""Texts: the lines of a .txt file, or a field of a .jsonl file, in memory as packed UTF-8."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.extraction.items import Data, Unreadable, content_names, make_data
from manifold_probe.spaces.checks import bad, refusing
from manifold_probe.spaces.columns import clean_column
from manifold_probe.spaces.contents import ID_NAMES, LABEL_NAMES


def open_lines(source: str, path: str) -> Data:
    """The lines of a text file, with ids from their content: see `content_names`.

    Raises InputError if lines are empty (with their numbers, counted from 1) or the file is not UTF-8.
    """
    lines = [line for _, line in _lines(path)]
    _refuse_empty(path, lines)
    ids = content_names(line.encode() for line in lines)
    packed = pack(path, lines)
    return make_data("texts", source, ids, None, {}, partial(read_text, packed), partial(text_bytes, packed))


def open_jsonl(source: str, path: str, field: str, ids: str | None, labels: str | None) -> Data:
    """One text per line, in ``field`` of a JSON object; ids and labels in the fields ``ids`` and ``labels``.

    If no line has an id, ids are made from the texts: see `content_names`. A line without the field, or with null in
    it, is `Unreadable` later. Raises InputError for lines that are not objects or hold something else in the field, if
    no line holds a text, for empty texts without ids, and if only some lines have an id.
    """
    texts: list[str | None] = []
    names, classes = [], []
    first_null: tuple[int, dict[str, Any]] | None = None
    for number, line in _lines(path):
        record = _record(path, number, line)
        text = record.get(field)
        if text is None or text != text:  # NaN, which some writers use for a missing text
            text = None
            first_null = first_null or (number, dict(record))
        elif not isinstance(text, str):
            raise _no_text(path, number, record, field)
        texts.append(text)
        record.pop(field, None)
        names.append(_first(record, ID_NAMES if ids is None else (ids,)))
        classes.append(_first(record, LABEL_NAMES if labels is None else (labels,)))
    if first_null is not None and all(text is None for text in texts):
        raise _no_text(path, *first_null, field)
    packed, known_ids = pack(path, texts), _field(path, names, "ids", ids)
    if known_ids is None:
        _refuse_empty(path, texts)
    return make_data(
        "texts",
        source,
        content_names((text or "").encode() for text in texts) if known_ids is None else known_ids.astype(str),
        _field(path, classes, "labels", labels),
        {},
        partial(read_text, packed),
        partial(text_bytes, packed),
    )


def _no_text(path: str, number: int, record: dict[str, Any], field: str) -> InputError:
    instead = f"{str(record[field])[:40]!r}" if field in record else f"only {', '.join(list(record)[:8])}"
    return bad(path, f"line {number} holds no text in a field '{field}', {instead}; name it with {path}::FIELD")


def pack(path: str, texts: Sequence[str | None]) -> Any:
    """The texts as one Arrow column: their bytes and eight more per text. Raises InputError for invalid UTF-8."""
    import pyarrow as pa

    with refusing(path, "UTF-8 text"):
        return pa.array(texts, pa.large_string())


def read_text(texts: Any, row: int, id: str) -> tuple[str, bytes]:
    """The text of a row and its UTF-8 bytes. Raises Unreadable if it is null or only white space."""
    raw = text_bytes(texts, row, id)
    text = raw.decode()
    if not text.strip():
        raise Unreadable(id, "the text is empty")
    return text, raw


def text_bytes(texts: Any, row: int, id: str) -> bytes:
    """The UTF-8 bytes of a row's text, which may be empty. Raises Unreadable if it is null."""
    text = texts[row].as_py()
    if text is None:
        raise Unreadable(id, "there is no text (null)")
    return str(text).encode()


def _refuse_empty(path: str, texts: Sequence[str | None]) -> None:
    """Refuse empty texts, which cannot get an id from their content; the message counts lines from 1."""
    empty = [str(number) for number, text in enumerate(texts, 1) if not (text or "").strip()]
    if empty:
        more = f" and {len(empty) - 5:,} more" if len(empty) > 5 else ""
        raise bad(path, f"line {', '.join(empty[:5])}{more} is empty; drop it, or give texts with ids (.csv, .jsonl)")


def _lines(path: str) -> Iterator[tuple[int, str]]:
    """The numbered lines of a UTF-8 file. Only LF and CR LF end a line: other separators may be part of a text."""
    with refusing(path, "lines of UTF-8 text"), open(path, encoding="utf-8-sig", newline="\n") as file:
        for number, line in enumerate(file, 1):
            yield number, line.removesuffix("\n").removesuffix("\r")


def _record(path: str, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise bad(path, f"line {number} is not JSON ({error}); write one object per line, or drop it") from error
    if not isinstance(record, dict):
        raise bad(
            path, f'line {number} is not a JSON object; write one object per line, such as {{"id": ..., "text": ...}}'
        )
    return record


def _first(record: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((record[name] for name in names if name in record), None)


def _field(path: str, values: list[Any], role: str, field: str | None) -> np.ndarray | None:
    """The ids or labels of all lines; None if no line has one. Lines may lack a label, but not an id."""
    missing = [number for number, value in enumerate(values, 1) if value is None]
    if len(missing) == len(values) and field is None:
        return None
    if missing and (role == "ids" or len(missing) == len(values)):
        name = f"field '{field}' for the {role}" if field is not None else role.removesuffix("s")
        raise bad(path, f"line {missing[0]} has no {name} ({len(missing):,} in all); give it to all lines or to none")
    return clean_column(np.array(values, dtype=object), role, path)
