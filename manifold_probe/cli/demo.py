"""`probe demo`: a small teacher and two students, trained in seconds, compared and shown on a page."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

from manifold_probe.cli.options import Debug, output
from manifold_probe.cli.shell import complain, show, write
from manifold_probe.parts import Parts

PAGE = "report.html"


def demo(
    out: Annotated[
        str, output(metavar="DIR", help="Where the features, the page and the other files of the tour are written.")
    ] = "probe-demo",
    debug: Debug = False,
) -> None:
    """Train a teacher and two students on digits, and compare them.

    Half a minute, without a download. The students are also diagnosed; the page and all files of the tour are written.

    \b
    Examples:
      probe demo
      probe demo --out digits
    """
    from manifold_probe.files import check_folder

    check_folder(out, "--out")
    complain("training a teacher and two students on scikit-learn's digits, then comparing them; half a minute")
    from manifold_probe import api
    from manifold_probe.demo import demo_data
    from manifold_probe.report.progress import Progress

    data = demo_data(out)
    with Progress() as progress:
        parts = Parts(progress, {"comparison": 0.9, "page": 0.1})
        result = api.compare(data.teacher, data.students, maps=True, diagnose=True, progress=parts["comparison"])
        parts["page"]("writing the page", 0, 1)
        page = data.folder / PAGE
        result.to_html(page, thumbnails=data.images)
    show(result.lines)
    write(f"\nThe same as a page, with linked maps: {page}\n")
    write(f"The features, and all files of the tour, are in {out}. To compare them again:\n")
    # a command of an environment that is not activated is only found by its path
    command = sys.argv[0] if Path(sys.argv[0]).name == "probe" and not shutil.which("probe") else "probe"
    again = [command, "compare", str(data.teacher), *(f"{name}={path}" for name, path in data.students.items())]
    write(f"  {shlex.join(again)}\n")
