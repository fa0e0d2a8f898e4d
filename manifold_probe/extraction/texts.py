"""Texts: the lines of a .txt file, or a field of a .jsonl file, held packed in UTF-8."""

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
    """The lines of a text file. A line has no name but its content, which its id is made from: see `content_names`.

    Raises InputError when lines are empty (with their numbers, counted from 1) or the file is not UTF-8.
    """
    lines = [line for _, line in _lines(path)]
    _refuse_empty(path, lines)
    ids = content_names(line.encode() for line in lines)
    packed = pack(path, lines)
    return make_data("texts", source, ids, None, {}, partial(read_text, packed), partial(text_bytes, packed))


def open_jsonl(source: str, path: str, field: str, ids: str | None, labels: str | None) -> Data:
    """One text a line, in ``field`` of a JSON object; its id and label in the fields of that name.

    Where no line has an id, ids are made from the texts: see `content_names`. A line that lacks the field or holds null
    in it is `Unreadable` later. Raises InputError for lines that are no objects or hold something else in the field,
    where no line holds a text, for empty texts without ids, and where some lines have an id and others not.
    """
    texts: list[str | None] = []
    names, classes = [], []
    first_null: tuple[int, dict[str, Any]] | None = None
    for number, line in _lines(path):
        record = _record(path, number, line)
        text = record.get(field)
        if text is None or text != text:  # NaN, which some writers put for a text that is not there
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
    packed, found_ids = pack(path, texts), _field(path, names, "ids", ids)
    if found_ids is None:
        _refuse_empty(path, texts)
    return make_data(
        "texts",
        source,
        content_names((text or "").encode() for text in texts) if found_ids is None else found_ids.astype(str),
        _field(path, classes, "labels", labels),
        {},
        partial(read_text, packed),
        partial(text_bytes, packed),
    )


def _no_text(path: str, number: int, record: dict[str, Any], field: str) -> InputError:
    found = f"{str(record[field])[:40]!r}" if field in record else f"only {', '.join(list(record)[:8])}"
    return bad(path, f"line {number} holds no text in a field '{field}', {found}; name it with {path}::FIELD")


def pack(path: str, texts: Sequence[str | None]) -> Any:
    """The texts as one Arrow column: their bytes and eight more each. Raises InputError for what UTF-8 cannot say."""
    import pyarrow as pa

    with refusing(path, "UTF-8 text"):
        return pa.array(texts, pa.large_string())


def read_text(texts: Any, row: int, id: str) -> tuple[str, bytes]:
    """The text of a row and its UTF-8 bytes. Raises Unreadable when it is null or nothing but white space."""
    raw = text_bytes(texts, row, id)
    text = raw.decode()
    if not text.strip():
        raise Unreadable(id, "the text is empty")
    return text, raw


def text_bytes(texts: Any, row: int, id: str) -> bytes:
    """The UTF-8 bytes of a row's text, empty or not. Raises Unreadable when it is null."""
    text = texts[row].as_py()
    if text is None:
        raise Unreadable(id, "there is no text (null)")
    return str(text).encode()


def _refuse_empty(path: str, texts: Sequence[str | None]) -> None:
    """A text that is named by its content must have some; the message counts lines from 1."""
    empty = [str(number) for number, text in enumerate(texts, 1) if not (text or "").strip()]
    if empty:
        more = f" and {len(empty) - 5:,} more" if len(empty) > 5 else ""
        raise bad(path, f"line {', '.join(empty[:5])}{more} is empty; drop it, or give texts with ids (.csv, .jsonl)")


def _lines(path: str) -> Iterator[tuple[int, str]]:
    """The numbered lines of a UTF-8 file. Only LF and CR LF end a line: others may stand inside a text."""
    with refusing(path, "lines of UTF-8 text"), open(path, encoding="utf-8-sig", newline="\n") as file:
        for number, line in enumerate(file, 1):
            yield number, line.removesuffix("\n").removesuffix("\r")


def _record(path: str, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise bad(path, f"line {number} is no JSON ({error}); write one object a line, or drop it") from error
    if not isinstance(record, dict):
        raise bad(path, f'line {number} is no JSON object; write one object a line, like {{"id": ..., "text": ...}}')
    return record


def _first(record: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((record[name] for name in names if name in record), None)


def _field(path: str, values: list[Any], role: str, asked: str | None) -> np.ndarray | None:
    """The ids or labels of all lines; None where no line has one. Lines may lack a label, not an id."""
    missing = [number for number, value in enumerate(values, 1) if value is None]
    if len(missing) == len(values) and asked is None:
        return None
    if missing and (role == "ids" or len(missing) == len(values)):
        name = f"field '{asked}' for the {role}" if asked is not None else role.removesuffix("s")
        raise bad(path, f"line {missing[0]} has no {name} ({len(missing):,} in all); give every line one, or none")
    return clean_column(np.array(values, dtype=object), role, path)
