"""Checks that two feature stores were made from the same content, with the same libraries and preprocessing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manifold_probe.errors import InputError
from manifold_probe.extraction.records import read_json, read_table
from manifold_probe.extraction.store import MANIFEST, ROWS, SCHEMA, Store
from manifold_probe.extraction.versions import other_versions


def check_same_content(teacher: str | None, student: str | None) -> None:
    """Refuse two stores with different content under the same ids; other folders and files are not checked.

    Raises
    ------
    InputError
        With some of the ids.
    """
    if teacher is None or student is None or not (is_store(teacher) and is_store(student)):
        return
    tables = [read_table(Path(path) / ROWS, ["id", "content"]) for path in (teacher, student)]
    both = tables[0].merge(tables[1], on="id", suffixes=("_teacher", "_student"))
    differing = both["id"][both["content_teacher"] != both["content_student"]].tolist()
    if differing:
        named = ", ".join(map(str, differing[:3])) + (", ..." if len(differing) > 3 else "")
        raise InputError(
            f"{student}: {len(differing):,} of {len(both):,} rows were made from other content than in {teacher} under "
            f"the same ids ({named}); extract both from the same data"
        )


def version_warnings(teacher: str, student: str) -> list[str]:
    """A warning if two stores were made with different versions of a library; none for other folders and files."""
    if not (is_store(teacher) and is_store(student)):
        return []
    changes = other_versions(Store(teacher).recorded(), Store(student).recorded())
    return [f"{teacher} and {student} were made with different libraries: {', '.join(changes)}"] if changes else []


def different_preprocessing(teacher: str | None, student: str | None) -> list[str]:
    """A sentence if two stores record different preprocessing, with both values of every difference.

    The difference may be intended, if each model has its preprocessing, or a mistake. For texts only truncation and
    prefixes count, because tokenizers and poolings belong to the models.
    """
    if teacher is None or student is None or not (is_store(teacher) and is_store(student)):
        return []
    first, second = (Store(path).manifest()["plan"].get("preprocessing") or {} for path in (teacher, student))
    skipped = ("kind", "tokenizer", "vocabulary")
    parts = [part for part in {**first, **second} if part not in skipped and first.get(part) != second.get(part)]
    if first.get("kind") != second.get("kind") or not parts:
        return []
    listed = "; ".join(f"{part} {_written(first.get(part))} and {_written(second.get(part))}" for part in parts)
    return [
        f"teacher and student were extracted with different preprocessing ({listed}); unless the models require it, "
        "every value includes this difference of their inputs."
    ]


def same_features(inputs: dict[str, Any]) -> list[str]:
    """A sentence if the ``inputs`` of a document are the same array of the same file for teacher and student."""
    sides = [{name: inputs[side].get(name) for name in ("sha256", "key")} for side in ("teacher", "student")]
    if sides[0]["sha256"] is None or sides[0] != sides[1]:
        return []
    return ["teacher and student are the same file: every similarity is 1 by construction."]


def _written(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(f"{number:g}" for number in (value[:1] if len(set(value)) == 1 else value))
    return "none" if value is None else str(value)


def is_store(path: str) -> bool:
    """Whether a folder is a finished feature store."""
    manifest = Path(path) / MANIFEST
    return manifest.is_file() and read_json(manifest).get("schema") == SCHEMA
