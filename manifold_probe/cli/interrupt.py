"""Ctrl-C and a termination request: everything cleans up after itself, then one line, then exit code 130 or 143.

The signal becomes a KeyboardInterrupt in the main thread. Libraries lose one now and then (compilers of numerical code,
callbacks during an import), so it comes again every half second until the command has ended; but it never interrupts
the cleaning up after itself, whoever sends it a second time.

Only the standard library is imported here, so that the signal is heard from the first moment on.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import traceback
from typing import Any

AGAIN_SECONDS = 0.5
SIGNALS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
CODES = [128 + number for number in SIGNALS]


class Interrupted(KeyboardInterrupt):
    """A KeyboardInterrupt that knows its signal."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.number = number


def listen() -> None:
    """From now on a signal interrupts this process, but for one that it was started to ignore, as by nohup."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def ignore() -> None:
    """From now on no signal changes anything: the command has ended."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


def report(error: KeyboardInterrupt) -> int:
    """One line on stderr; the exit code."""
    if "--debug" in sys.argv:
        traceback.print_exc()
    number = getattr(error, "number", signal.SIGINT)
    with contextlib.suppress(OSError):
        print(f"probe: {SIGNALS[number]}", file=sys.stderr, flush=True)
    return 128 + number


def interruption() -> KeyboardInterrupt | None:
    """The one that a ``finally``, ``except`` or ``with`` is at work on, even if it has become another exception."""
    error = sys.exception()
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error


def _interrupt(number: int, _: Any) -> None:
    sys.unraisablehook = lambda lost: None  # of what is given up half-made; Python would print a traceback
    if hasattr(signal, "setitimer"):  # not on every system
        signal.signal(signal.SIGALRM, lambda *_: _interrupt(number, None))
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
    if interruption() is None:
        raise Interrupted(number)
