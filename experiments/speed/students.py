"""Four students, 2,000 x 1,280 against 128: the whole report beside the short script that one would write instead."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from measuring import PROBE, alternately, checked, ratio, said_of_ratio, table, write_student, write_teacher

SCRIPT = str(Path(__file__).with_name("by_hand.py"))
NOISES = {"a": 0.1, "b": 0.4, "c": 0.8, "d": 1.6}  # deviations; the rows' own is about 1.4
COMPARED = {
    "overlap": "overlap@10",
    "cka": "linear_cka",
    "norms": "norm_correlation",
    "trustworthiness": "trustworthiness@10",
    "continuity": "continuity@10",
}


def measured(asked: argparse.Namespace) -> dict[str, Any]:
    """Both in turn, on the same files; and how far their values are apart."""
    rows, widths, rounds = (500, (160, 16), 2) if asked.quick else (2_000, (1280, 128), 7)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        teacher = write_teacher(folder / "t.npy", rows, widths[0])
        students = [
            write_student(folder / f"{student}.npy", teacher, widths[1], noise=noise, seed=place + 1)
            for place, (student, noise) in enumerate(NOISES.items())
        ]
        named = [part for path in students for part in ("--student", f"{path.stem}={path}")]
        compare = [*PROBE, "compare", "--teacher", str(teacher), *named, "--json"]
        by_hand = [sys.executable, SCRIPT, str(teacher), *map(str, students)]
        found = alternately({"compare": compare, "by hand": by_hand}, rounds)
        ours = json.loads(checked(compare).out)["students"]
        theirs = json.loads(checked(by_hand).out)
    apart = {
        name: max(abs(ours[s]["measures"][key]["value"] - theirs[s][name]) for s in NOISES)
        for name, key in COMPARED.items()
    }
    return {
        "rows": rows,
        "widths": widths,
        "rounds": rounds,
        "processes": found,
        "ratio": ratio(found["compare"], found["by hand"]),
        "largest_difference": apart,
        "overlap": {student: theirs[student]["overlap"] for student in NOISES},
    }


def page(found: dict[str, Any]) -> list[str]:
    """Seconds and memory, the ratio, and that both say the same."""
    names = {"compare": "`probe compare --json`, every measure with its interval", "by hand": "by_hand.py, five values"}
    rows = [
        [names[name], f"{one['seconds']:.2f}", f"{one['resident_mb']:,}"] for name, one in found["processes"].items()
    ]
    apart = ", ".join(f"{name} {value:.0e}" for name, value in found["largest_difference"].items())
    size = f"{found['rows']:,} x {found['widths'][0]:,}, four students of {found['widths'][1]}"
    return [
        *table([f"{size}, whole process", "seconds", "peak MB"], rows),
        "",
        f"{said_of_ratio(found['ratio'])} times as long, in {found['rounds']} rounds. Largest difference of a value "
        f"over the students: {apart}.",
    ]
