"""10,000 rows, 512 against 384 dimensions: the whole command beside scikit-learn's trustworthiness both ways."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from measuring import PROBE, alternately, checked, ratio, said_of_ratio, table, write_pair

PEERS = Path(__file__).with_name("peers.py")
NAMES = {
    "compare": "`probe compare --json`, every measure",
    "peer": "scikit-learn, trustworthiness, twice",
    "help": "`probe --help`",
    "import": "`import manifold_probe`",
}


def measured(asked: argparse.Namespace) -> dict[str, Any]:
    """Both commands in turn; then how long the package takes to start."""
    rows, rounds = (1_500, 2) if asked.quick else (10_000, 7)
    with tempfile.TemporaryDirectory() as folder:
        teacher, student = map(str, write_pair(Path(folder), rows, (512, 384)))
        compare = [*PROBE, "compare", "--teacher", teacher, "--student", student, "--json"]
        peer = [sys.executable, str(PEERS), "scikit-learn", teacher, student]
        found = alternately({"compare": compare, "peer": peer}, rounds)
        start = {"help": [*PROBE, "--help"], "import": [sys.executable, "-c", "import manifold_probe"]}
        found |= alternately(start, rounds)
        measures = json.loads(checked(compare).out)["measures"]
        values = json.loads(checked(peer).out)["value"]
    return {
        "rows": rows,
        "rounds": rounds,
        "processes": found,
        "ratio": ratio(found["compare"], found["peer"]),
        "values": {
            "compare": [measures[f"{name}@10"]["value"] for name in ("trustworthiness", "continuity")],
            "peer": values,
        },
    }


def page(found: dict[str, Any]) -> list[str]:
    """Seconds and memory, and the ratio."""
    rows = [
        [NAMES[name], f"{one['seconds']:.2f}", f"{one['resident_mb']:,}", f"{one['anonymous_mb']:,}"]
        for name, one in found["processes"].items()
    ]
    ours, theirs = (" and ".join(f"{value:.5f}" for value in found["values"][who]) for who in ("compare", "peer"))
    return [
        *table([f"{found['rows']:,} rows, whole process", "seconds", "peak MB", "of it anonymous"], rows),
        "",
        f"`probe compare` takes {said_of_ratio(found['ratio'])} of scikit-learn's time, in {found['rounds']} rounds. "
        f"Trustworthiness and continuity: {ours} from a sample of queries, {theirs} from all rows.",
    ]
