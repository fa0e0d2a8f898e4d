"""The small world as a fixture: the current folder, with shards of 8 rows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from manifold_probe.extraction import work
from tests.extraction.small import world


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(world(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(work, "SHARD_ROWS", 8)
    sys.modules.pop("smallnet", None)
    return tmp_path
