"""A quick check whether a folder already holds the finished run that is asked for, from configuration and input files.

A file counts as unchanged if its size and modification time are the same. If they differ, or if a source is not a file
(a model of the hub, or Python code), the check fails: the run is then prepared in full and compared by content.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manifold_probe.distillation.config import Config, differences, read_toml, resolved
from manifold_probe.distillation.run_folder import CONFIG, RunFolder
from manifold_probe.errors import InputError
from manifold_probe.models.source import has_kind
from manifold_probe.spaces.read import split_key

if TYPE_CHECKING:
    from manifold_probe.distillation.setting import Setting

SOURCES = ("teacher", "student", "data", "weights", "teacher_ids")
MAYBE_FOLDER = ("hf:", "st:")  # kinds of models that may be a local folder


def inputs_record(setting: Setting) -> dict[str, Any]:
    """The record that `is_done` compares: the number of rows, and `file_stamps`."""
    return {"rows": setting.data.n, "files": file_stamps(setting.config)}


def is_done(folder: RunFolder, config: Config) -> bool:
    """Whether the folder holds the finished run of this configuration, and every file that it read is unchanged."""
    inputs = folder.inputs() if folder.finished else None
    if inputs is None or None in (inputs.get("files") or {"": None}).values():
        return False
    try:
        saved = resolved(read_toml(str(folder.path / CONFIG)))
    except InputError:
        return False
    same = not differences(vars(saved), vars(config.settled(inputs["rows"])))
    return same and file_stamps(config) == inputs["files"]


def file_stamps(config: Config) -> dict[str, Any]:
    """The `stamp` of every source's files; None for a source that is neither a file nor built in."""
    from manifold_probe.models.students import STUDENTS

    stamps: dict[str, Any] = {}
    for name in SOURCES:
        source = getattr(config, name)
        if source is None or (name == "student" and source.lower().replace("_", "-") in STUDENTS):
            continue
        path = split_key(source)[0]
        if has_kind(source):
            path = source.partition(":")[2].partition("?")[0] if source.startswith(MAYBE_FOLDER) else ""
        stamps[name] = stamp(path) if path and os.path.exists(path) else None
    return stamps


def stamp(path: str) -> str:
    """A hash of name, size and modification time of a file, or of all files in a folder."""
    files = [Path(path)] if os.path.isfile(path) else sorted(file for file in Path(path).rglob("*") if file.is_file())
    facts = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
