"""What figures and the page add to a comparison of 10,000 rows, 512 against 384: without maps, and with them."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

from measuring import PROBE, alternately, table, write_pair

NAMES = {
    "compare": "`probe compare --json`",
    "drawn": "with `--report`, `--figures`, `--no-maps`",
    "maps": "with `--report`, `--figures`, maps included",
}
AIMS = {"drawn": 6, "maps": 30}  # seconds beyond the comparison


def measured(asked: argparse.Namespace) -> dict[str, Any]:
    """Whole processes in turn, one student; and the seconds of each round beyond the comparison alone."""
    rows, rounds = (1_500, 1) if asked.quick else (10_000, 3)
    with tempfile.TemporaryDirectory() as folder:
        compare = [*PROBE, "compare", *map(str, write_pair(Path(folder), rows, (512, 384))), "--json"]
        drawn = [*compare, "--report", f"{folder}/page.html", "--figures", f"{folder}/figures"]
        commands = {"compare": compare, "drawn": [*drawn, "--no-maps"], "maps": drawn}
        timed = alternately(commands, rounds)
    alone = timed["compare"]["all_seconds"]
    beyond = {
        name: round(statistics.median(a - b for a, b in zip(timed[name]["all_seconds"], alone, strict=True)), 2)
        for name in AIMS
    }
    return {"rows": rows, "rounds": rounds, "processes": timed, "beyond": beyond}


def page(found: dict[str, Any]) -> list[str]:
    """Seconds of every command, and beyond the comparison."""
    beyond, rows = found["beyond"], []
    for name, one in found["processes"].items():
        added = [f"{beyond[name]:.2f}", f"{AIMS[name]}"] if name in AIMS else ["", ""]
        rows.append([NAMES[name], f"{one['seconds']:.2f}", *added])
    heads = [f"{found['rows']:,} rows, whole process", "seconds", "beyond the comparison", "aim, below"]
    return [*table(heads, rows), "", f"Medians of {found['rounds']} rounds."]
