"""Where a result comes from: the inputs, the versions, the machine and the time."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import manifold_probe
from manifold_probe.spaces.qdrant_store import is_address
from manifold_probe.spaces.read import rows_sha256, sha256
from manifold_probe.spaces.space import Space

PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "faiss-cpu")


def describe_input(space: Space, name: str | None) -> dict[str, Any]:
    """What was read: name (that of the file unless given), path, sha256, shape, dtype and key; of a run of our trainer
    also its method."""
    path = space.source.path
    if name is None:
        name = space.name if path is None else Path(path).stem or Path(path).resolve().name
    found = {
        "name": name,
        "path": path,
        "sha256": _sha256(space),
        "shape": [space.n, space.d],
        "dtype": space.dtype,
        "key": space.source.key,
        **({"columns_left": list(space.source.columns_left)} if space.source.columns_left else {}),
    }
    method = None if path is None else _method(Path(path))
    return found if method is None else found | {"method": method}


def _method(folder: Path) -> str | None:
    """The method that a run folder was trained by; None for anything else."""
    try:
        settled = tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return settled["method"] if isinstance(settled.get("method"), str) else None


def _sha256(space: Space) -> str:
    """Of the file, or of the rows of an array in memory."""
    path = space.source.path
    return rows_sha256(space) if path is None or is_address(path) else sha256(path)


def provenance_of(seed: int) -> dict[str, Any]:
    """What a result was made with; ``when`` follows SOURCE_DATE_EPOCH where it is set."""
    versions = {"manifold_probe": manifold_probe.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "unknown"
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    when = datetime.fromtimestamp(int(epoch), UTC) if epoch.isdigit() else datetime.now(UTC)
    return {
        "versions": versions,
        "seed": seed,
        "platform": platform.platform(),
        "when": when.isoformat(timespec="seconds"),
    }
