"""Progress: silent for two seconds, then a bar on a terminal and plain lines elsewhere."""

from __future__ import annotations

import io

import pytest

from manifold_probe.report.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_short_work_prints_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    with Progress(clock=iter([0.0, 0.5, 1.9]).__next__) as progress:
        progress("reading", 1, 2)
        progress("reading", 2, 2)
    assert stream.getvalue() == ""


def test_plain_lines_now_and_then_with_the_remaining_time(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with Progress(clock=iter([0.0, 0.0, 3.0, 4.0, 9.0]).__next__) as progress:
        for done in (0, 25, 30, 60):
            progress("neighbours", done, 100)
    assert stream.getvalue().splitlines() == [
        "probe: neighbours 25%, about 9 s left",
        "probe: neighbours 60%, about 6 s left",
    ]


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with Progress(clock=iter([0.0, 0.0, 3.0, 4.0]).__next__) as progress:
        progress("moments", 1, 4)
        progress("moments", 2, 4)
        progress("neighbours", 1, 4)
    assert "moments" in stream.getvalue()
    assert "neighbours" in stream.getvalue()
