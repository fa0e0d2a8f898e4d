"""Progress with the remaining time on stderr, for whatever takes more than two seconds.

On a terminal a bar; elsewhere a plain line now and then. Work that is done sooner prints nothing.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

QUIET_SECONDS = 2.0
LINE_SECONDS = 5.0


class Progress:
    """A callable for ``compare(..., progress=...)``: ``progress(stage, done, total, note)``.

    Examples
    --------
    >>> with Progress() as progress:
    ...     progress("reading", 1, 2)
    """

    def __init__(self, clock: Any = time.monotonic) -> None:
        self._clock = clock
        self._start = self._stage_start = clock()
        self._last_line = float("-inf")
        self._stage, self._stage_done = "", 0
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Say how far a stage is; ``note`` is shown behind it."""
        now, done = self._clock(), min(done, total)
        if stage != self._stage:
            self._stage, self._stage_start, self._stage_done = stage, now, done
            if self._bar is not None:
                self._bar.reset(self._task)
        if now - self._start < QUIET_SECONDS:
            return
        if sys.stderr.isatty():
            self._draw(stage, done, total, note)
        elif done < total and now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            text = line(stage, done, total, now - self._stage_start, self._stage_done)
            print(f"probe: {text}{f'; {note}' if note else ''}", file=sys.stderr, flush=True)

    def _draw(self, stage: str, done: int, total: int, note: str) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            bar = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            self._bar = Bar(*bar, TextColumn("{task.fields[note]}"), console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(stage, total=total, note=note)
        self._bar.update(self._task, description=stage, completed=done, total=total, note=note)


def line(stage: str, done: int, total: int, seconds: float, before: int = 0) -> str:
    """What a plain line of progress says, ``seconds`` after the first ``before`` were done.

    >>> line("neighbours", 1000, 4000, 3.0)
    'neighbours 25%, about 9 s left'
    """
    if total <= 1:
        return stage
    text = f"{stage} {done / total:.0%}"
    if not before < done < total:
        return text
    left = seconds * (total - done) / (done - before)
    return f"{text}, about {left:.0f} s left" if left < 100 else f"{text}, about {left / 60:.0f} min left"
