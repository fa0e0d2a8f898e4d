"""Progress: silent for two seconds, then a bar on a terminal and plain lines elsewhere, with the time that is left."""

from __future__ import annotations

import io
import time

import pytest

from manifold_probe.parts import Parts
from manifold_probe.report import progress as module
from manifold_probe.report.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QUIET_SECONDS", "LINE_SECONDS", "BAR_SECONDS"):
        monkeypatch.setattr(module, name, 0.01)


def wait_for(stream: io.StringIO, text: str, times: int = 1) -> None:
    deadline = time.monotonic() + 30
    while stream.getvalue().count(text) < times:
        assert time.monotonic() < deadline, stream.getvalue()
        time.sleep(0.01)


def seconds_left(progress: Progress) -> float:
    said = progress.line()
    number, unit = said.partition("about ")[2].split()[:2]
    return float(number) * {"s": 1, "min": 60, "h": 3600}[unit]


def test_short_work_prints_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr("sys.stderr", stream)
        with Progress() as progress:
            progress("reading", 1, 2)
            progress("reading", 2, 2)
        assert stream.getvalue() == ""


@pytest.mark.usefixtures("at_once")
def test_plain_lines_go_on_through_a_silent_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", stream := io.StringIO())
    clock = Clock()
    with Progress(clock) as progress:
        time.sleep(0.05)
        clock.now = 3.0
        progress("neighbours", 25, 100, "a note")
        wait_for(stream, "probe: neighbours 25%, about 9 s left; a note\n", times=2)
        clock.now = 30.0
        wait_for(stream, "probe: neighbours 25%, about 90 s left; a note\n")
    assert stream.getvalue().startswith("probe: neighbours")


@pytest.mark.usefixtures("at_once")
def test_a_bar_on_a_terminal_steps_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", stream := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    clock = Clock()
    with Progress(clock) as progress:
        clock.now = 3.0
        progress("moments [of both]", 1, 4)
        wait_for(stream, "moments [of both]")
        wait_for(stream, "25%")
        wait_for(stream, "about 9 s left")
        with progress.aside():
            before = stream.getvalue()
            time.sleep(0.1)
            assert stream.getvalue() == before
        progress("ranks", 2, 4)
        wait_for(stream, "ranks")


def test_nothing_is_said_of_the_time_before_anything_is_done_and_after_all_is() -> None:
    clock = Clock()
    progress = Progress(clock)
    clock.now = 3.0
    progress("reading", 0, 10)
    assert progress.line() == "reading 0%"
    progress("reading", 999, 1000)
    assert progress.line() == "reading 99%, about 1 s left"
    progress("reading", 1000, 1000)
    assert progress.line() == "reading 100%"


def test_what_is_done_never_falls() -> None:
    clock = Clock()
    progress = Progress(clock)
    clock.now = 3.0
    progress("first", 6, 10)
    progress("second", 1, 10)
    assert progress.line() == "second 60%, about 2 s left"


def test_the_time_left_follows_the_speed_of_late() -> None:
    clock = Clock()
    progress = Progress(clock)
    for second in range(1, 101):  # nine tenths in 100 s, then a tenth in 400 s
        clock.now = float(second)
        progress("fast", 0.9 * second / 100, 1)
        if second > 10:
            assert seconds_left(progress) == pytest.approx((1 - 0.9 * second / 100) / 0.009, rel=0.1, abs=20)
    for second in range(1, 400):
        clock.now = 100.0 + second
        progress("slow", 0.9 + 0.1 * second / 400, 1)
        if second > 60:
            assert seconds_left(progress) == pytest.approx(400 - second, rel=0.1, abs=60)
    assert len(progress._marks) < 1000


def test_a_long_silent_step_is_never_about_to_end() -> None:
    clock = Clock()
    progress = Progress(clock)
    for second in range(1, 100):
        clock.now = float(second)
        progress("counting", second, 100)
    for silent in (30, 60, 120):
        clock.now = 99.0 + silent
        assert silent / 60 <= seconds_left(progress) <= silent + 2


def test_parts_that_were_not_needed_do_not_count() -> None:
    seen: list[float] = []
    parts = Parts(lambda stage, done, total: seen.append(done / total), {"a": 20, "b": 20, "c": 20, "end": 20})
    parts["a"]("extracting", 1, 2)
    parts["a"]("extracting", 2, 2)
    parts["c"]("extracting", 0, 2)
    parts["c"]("extracting", 2, 2)
    parts["end"]("measuring", 0, 0)
    assert seen == [1 / 8, 1 / 4, 1 / 3, 2 / 3, 1.0]


def test_parts_of_parts_and_notes() -> None:
    seen: list[tuple] = []
    outer = Parts(lambda *said: seen.append(said), {"models": 3, "rest": 1})
    inner = Parts(outer["models"], {"teacher": 1, "student": 1})
    inner["student"]("extracting", 1, 2, "a note")
    assert seen == [("extracting", 1.5, 4, "a note")]
    Parts(None, {"only": 1})["only"]("nobody watches", 1, 1)
