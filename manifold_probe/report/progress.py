"""One line of progress on stderr for a whole command, with the time that is left, from the third second on.

On a terminal a bar; elsewhere a plain line now and then. A thread draws it, so that it goes on through a step that
takes long. The time left follows from the speed of late: over the last third of the time so far, up to now, so that
what was fast before does not count for ever, and a step that takes long makes the estimate grow.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from manifold_probe.parts import duration

QUIET_SECONDS = 2.0
LINE_SECONDS = 5.0
BAR_SECONDS = 0.25
LATELY = 1 / 3  # of the time so far
LEAST_LATELY = 5.0  # seconds
LEAST_DONE = 0.02  # of the work: before, the speed says little
MARK = 0.001  # of the work, between two marks of when it was done


class Progress:
    """A callable for ``compare(..., progress=...)``: ``progress(stage, done, total, note)``, shown until its end.

    Examples
    --------
    >>> with Progress() as progress:
    ...     progress("reading", 1, 2)
    """

    def __init__(self, clock: Any = time.monotonic) -> None:
        self._clock, self._start = clock, clock()
        self._stage, self._note, self._share = "", "", 0.0
        self._marks = [(self._start, 0.0)]  # when so much was done, oldest first
        self._reporting, self._drawing, self._ended = threading.Lock(), threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._show_until_the_end, daemon=True)
        self._bar: Any = None

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(timeout=1.0)
        self._clear()

    def __call__(self, stage: str, done: float, total: float, note: str = "") -> None:
        """So much of the whole work is done; ``stage`` says what is going on, and ``note`` is shown behind it."""
        now, share = self._clock(), min(done / total, 1.0) if total else 1.0
        with self._reporting:
            self._stage, self._note, self._share = stage, note, max(share, self._share)
            if self._share >= self._marks[-1][1] + MARK:
                self._marks.append((now, self._share))
                while len(self._marks) > 2 and self._marks[1][0] <= self._long_ago(now):
                    del self._marks[0]

    def line(self) -> str:
        """What there is to say now.

        >>> seconds = iter([0, 30, 30])
        >>> progress = Progress(clock=lambda: next(seconds))
        >>> progress("neighbours", 1000, 4000)
        >>> progress.line()
        'neighbours 25%, about 90 s left'
        """
        stage, share, left, note = self._state()
        text = f"{stage} {int(100 * share)}%{left and ', '}{left}"
        return f"{text}; {note}" if note else text

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Nothing is drawn meanwhile: the terminal is free for a report."""
        with self._drawing:
            self._clear()
            yield

    def _state(self) -> tuple[str, float, str, str]:
        """Stage, the share that is done, the time that is left in words, and the note."""
        now = self._clock()
        with self._reporting:
            seconds = self._seconds_left(now)
            left = "" if seconds is None else f"about {duration(seconds)} left"
            return self._stage, self._share, left, self._note

    def _long_ago(self, now: float) -> float:
        return now - max(LEAST_LATELY, LATELY * (now - self._start))

    def _seconds_left(self, now: float) -> float | None:
        """By the speed since the latest mark that is long ago; unknown before there is any speed."""
        earlier = [mark for mark in self._marks if mark[1] < self._share]
        if not earlier or not LEAST_DONE <= self._share < 1:
            return None
        when, share = next((mark for mark in reversed(earlier) if mark[0] <= self._long_ago(now)), earlier[0])
        return (now - when) * (1 - self._share) / (self._share - share)

    def _show_until_the_end(self) -> None:
        wait = QUIET_SECONDS
        while not self._ended.wait(wait):
            wait = BAR_SECONDS
            if not self._stage:
                continue
            with self._drawing:
                if sys.stderr.isatty():
                    self._draw(*self._state())
                else:
                    wait = LINE_SECONDS
                    print(f"probe: {self.line()}", file=sys.stderr, flush=True)

    def _draw(self, stage: str, share: float, left: str, note: str) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn
            from rich.progress import Progress as Bar

            texts = [TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in ("stage", "left", "note")]
            columns = (texts[0], BarColumn(), TaskProgressColumn(), *texts[1:])
            console = Console(stderr=True)
            self._bar = Bar(*columns, console=console, transient=True, redirect_stdout=False, auto_refresh=False)
            self._bar.start()
            self._bar.add_task("", total=1.0, stage="", left="", note="")
        self._bar.update(self._bar.task_ids[0], completed=share, stage=stage, left=left, note=note)
        self._bar.refresh()

    def _clear(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
