"""What a user waits for: whole commands, from process start to exit, and their memory, beside what else one could run.

    python experiments/speed/run.py tenthousand
    python experiments/speed/run.py million --folder FOLDER      # 2.3 GB of features are written there and kept
    python experiments/speed/run.py scaling --folder FOLDER [--peers PYTHON]      # 3.3 GB
    python experiments/speed/run.py busy
    python experiments/speed/run.py students
    python experiments/speed/run.py machines --folder FOLDER     # 1.9 GB
    python experiments/speed/run.py drawing                      # figures and page, without maps and with them
    python experiments/speed/run.py webpage                      # frames in headless Chromium
    python experiments/speed/run.py PART --quick                 # small sizes, printed only

Each part writes results/PART.json and its block of README.md.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path

import busy
import drawing
import machines
import million
import scaling
import students
import tenthousand
import webpage
from measuring import RESULTS, machine, said

PARTS = {part.__name__: part for part in (tenthousand, million, scaling, busy, students, machines, drawing, webpage)}
README = Path(__file__).with_name("README.md")


def with_block(text: str, name: str, lines: list[str]) -> str:
    """A page with the lines between the two comments that name the part."""
    begin, end = f"<!-- {name}: written by run.py -->", f"<!-- end of {name} -->"
    block = "\n".join([begin, "", *lines, "", end])
    return re.sub(f"{re.escape(begin)}.*{re.escape(end)}", lambda _: block, text, flags=re.DOTALL)


def main() -> None:
    """Measure one part and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--quick", action="store_true", help="small sizes; print, write nothing")
    parser.add_argument("--folder", type=Path, help="where features are kept; by default nowhere")
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON", help="the interpreter that has the peers")
    asked = parser.parse_args()
    on = machine()
    with tempfile.TemporaryDirectory() as temporary:
        asked.folder = asked.folder or Path(temporary)
        results = {"machine": on, **PARTS[asked.part].measured(asked)}
    lines = [said(on), "", *PARTS[asked.part].page(results)]
    if asked.quick:
        print(json.dumps(results, indent=1), *lines, sep="\n")
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{asked.part}.json").write_text(json.dumps(results, indent=1) + "\n")
    README.write_text(with_block(README.read_text(), asked.part, lines))


if __name__ == "__main__":
    main()
