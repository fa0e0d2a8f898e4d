"""`probe demo`: a small teacher and two students, trained and compared in seconds."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from manifold_probe.cli.arguments import named_students
from manifold_probe.cli.compare import compared
from manifold_probe.cli.options import Debug
from manifold_probe.cli.shell import show, write


def demo(
    out: Annotated[
        str,
        typer.Option(metavar="DIR", help="Where the features and the other files of the README's tour are written."),
    ] = "probe-demo",
    debug: Debug = False,
) -> None:
    """Train a small teacher and two students on digits, in seconds, and compare them.

    \b
    Example:
      probe demo
    """
    from manifold_probe.files import check_folder

    check_folder(out, "--out")
    print("probe: training a teacher and two students on scikit-learn's digits, a few seconds", file=sys.stderr)
    from manifold_probe.demo import run_demo
    from manifold_probe.report.progress import Progress

    paths = run_demo(out, seed=0)
    students = [f"{name}={path}" for name, path in paths.items() if name != "teacher"]
    with Progress() as progress:
        result = compared(str(paths["teacher"]), named_students(students), progress)
    show(result.to_dict())
    # a command of an environment that is not activated is only found by its path
    command = sys.argv[0] if Path(sys.argv[0]).name == "probe" and not shutil.which("probe") else "probe"
    again = [command, "compare", "--teacher", str(paths["teacher"])]
    again += [word for student in students for word in ("--student", student)]
    write(f"\nThe features, and all files of the README's tour, are in {out}. To compare them again:\n")
    write(f"  {shlex.join(again)}\n")
