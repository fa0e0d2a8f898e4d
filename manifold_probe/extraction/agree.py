"""Whether feature stores were made alike: of the same content, by the same libraries, after the same preprocessing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manifold_probe.errors import InputError
from manifold_probe.extraction.records import read_json, read_table
from manifold_probe.extraction.store import MANIFEST, ROWS, SCHEMA, Store
from manifold_probe.extraction.versions import other_versions


def check_same_content(teacher: str | None, student: str | None) -> None:
    """Refuse two stores that hold other content under the same ids; other folders and files are not looked at.

    Raises
    ------
    InputError
        Naming some of the ids.
    """
    if teacher is None or student is None or not (is_store(teacher) and is_store(student)):
        return
    tables = [read_table(Path(path) / ROWS, ["id", "content"]) for path in (teacher, student)]
    both = tables[0].merge(tables[1], on="id", suffixes=("_teacher", "_student"))
    other = both["id"][both["content_teacher"] != both["content_student"]].tolist()
    if other:
        named = ", ".join(map(str, other[:3])) + (", ..." if len(other) > 3 else "")
        raise InputError(
            f"{student}: {len(other):,} of {len(both):,} rows were made of other content than {teacher} has under the "
            f"same ids ({named}); extract both from the same data"
        )


def version_warnings(teacher: str, student: str) -> list[str]:
    """A line where two stores were made with other versions of a library; other folders and files say nothing."""
    if not (is_store(teacher) and is_store(student)):
        return []
    found = other_versions(Store(teacher).recorded(), Store(student).recorded())
    return [f"{teacher} and {student} were made with other libraries: {', '.join(found)}"] if found else []


def different_preprocessing(teacher: str | None, student: str | None) -> list[str]:
    """A sentence where two stores record other preprocessing, with both values of all that differs.

    That may be as it should be, each model having its own; it may also be a mistake. Of texts only what is cut off or
    put before them counts: tokenizers belong to their models. Poolings do too.
    """
    if teacher is None or student is None or not (is_store(teacher) and is_store(student)):
        return []
    one, other = (Store(path).manifest()["plan"].get("preprocessing") or {} for path in (teacher, student))
    skipped = ("kind", "tokenizer", "vocabulary")
    parts = [part for part in {**one, **other} if part not in skipped and one.get(part) != other.get(part)]
    if one.get("kind") != other.get("kind") or not parts:
        return []
    listed = "; ".join(f"{part} {_written(one.get(part))} and {_written(other.get(part))}" for part in parts)
    return [
        f"teacher and student were extracted with different preprocessing ({listed}); unless each is its model's own, "
        "what differs in their inputs is part of every value."
    ]


def same_features(inputs: dict[str, Any]) -> list[str]:
    """A sentence where teacher and student, as a document describes its inputs, are one array of the same file."""
    sides = [{name: inputs[side].get(name) for name in ("sha256", "key")} for side in ("teacher", "student")]
    if sides[0]["sha256"] is None or sides[0] != sides[1]:
        return []
    return ["teacher and student are the same file: every likeness is 1 by construction."]


def _written(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(f"{each:g}" for each in (value[:1] if len(set(value)) == 1 else value))
    return "none" if value is None else str(value)


def is_store(path: str) -> bool:
    """Whether a folder is a finished feature store."""
    manifest = Path(path) / MANIFEST
    return manifest.is_file() and read_json(manifest).get("schema") == SCHEMA
