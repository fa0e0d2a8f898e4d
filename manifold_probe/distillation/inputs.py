"""Whether a finished run is asked for again, decided quickly from its configuration and the files that it read.

A file is taken to be the same while its size and its time of change are. Where they differ, or where a source is no
file (a model of the hub, or Python code), nothing is decided here: the run is then made ready in full and compared by
content.
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
LOCAL = ("hf:", "st:")  # models that may be a folder


def described(setting: Setting) -> dict[str, Any]:
    """What `is_done` goes by: the number of rows, and the files of every source, None where they are unknown."""
    return {"rows": setting.data.n, "files": files_of(setting.config)}


def is_done(folder: RunFolder, config: Config) -> bool:
    """Whether the folder holds the finished run of this configuration, and every file that it read is as it was."""
    inputs = folder.inputs() if folder.finished else None
    if inputs is None or None in (inputs.get("files") or {"": None}).values():
        return False
    try:
        kept = resolved(read_toml(str(folder.path / CONFIG)))
    except InputError:
        return False
    same = not differences(vars(kept), vars(config.settled(inputs["rows"])))
    return same and files_of(config) == inputs["files"]


def files_of(config: Config) -> dict[str, Any]:
    """For each source the `stamp` of its files, None for what is neither a file nor built in."""
    from manifold_probe.models.students import STUDENTS

    found: dict[str, Any] = {}
    for name in SOURCES:
        text = getattr(config, name)
        if text is None or (name == "student" and text.lower().replace("_", "-") in STUDENTS):
            continue
        path = split_key(text)[0]
        if has_kind(text):
            path = text.partition(":")[2].partition("?")[0] if text.startswith(LOCAL) else ""
        found[name] = stamp(path) if path and os.path.exists(path) else None
    return found


def stamp(path: str) -> str:
    """A hash of name, size and time of change of a file, or of everything in a folder."""
    files = [Path(path)] if os.path.isfile(path) else sorted(each for each in Path(path).rglob("*") if each.is_file())
    known = [[str(each), each.stat().st_size, each.stat().st_mtime_ns] for each in files]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()
