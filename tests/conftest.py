"""For all tests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of progress come with the seconds that a command takes: a busy machine would put them among its output."""
    monkeypatch.setattr("manifold_probe.report.progress.QUIET_SECONDS", 1e6)
