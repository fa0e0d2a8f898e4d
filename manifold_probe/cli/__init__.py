"""The command line: one thin function a verb, each in a module of its name; verbs.py lists them. How a verb runs, and
how it fails, is in shell.py; how it is interrupted, in interrupt.py.

Everything is imported when it is needed, so that ``probe --help`` answers at once and Ctrl-C is heard from the start.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from manifold_probe.cli import interrupt


def main() -> NoReturn:
    """Run the command line of this process and exit with its code."""
    interrupt.listen()
    code = _until_interrupted(lambda shell, app: shell.main(app))
    interrupt.ignore()
    if code in interrupt.CODES:  # at once: Python would wait for threads that are still at work
        os._exit(code)
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run a command line; the exit code."""
    return _until_interrupted(lambda shell, app: shell.run(app, arguments))


def _until_interrupted(command: Callable[[Any, Any], int]) -> int:
    try:
        from manifold_probe.cli import shell
        from manifold_probe.cli.verbs import app

        return command(shell, app)
    except KeyboardInterrupt as error:
        return interrupt.report(error)
