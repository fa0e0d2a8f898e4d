"""How long `probe diagnose` takes and how much memory, beside `probe compare` on the same files.

    python experiments/speed/diagnosis.py                    10,000 rows, 512 against 384 dimensions, float32
    python experiments/speed/diagnosis.py --million FOLDER   1,000,000 rows, 768 against 384, float16, on disk

Whole commands, from process start to exit. Writes results/diagnosis.json and results/diagnosis.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from measuring import PROBE, RESULTS, checked, machine, said, write_pair

SIZES = {"ten thousand": (10_000, (512, 384), "float32"), "a million": (1_000_000, (768, 384), "float16")}


def measured(size: str, folder: Path) -> dict[str, Any]:
    """Both commands once each, the diagnosis first."""
    rows, widths, dtype = SIZES[size]
    found: dict[str, Any] = {"machine": machine(), "rows": rows, "dimensions": list(widths), "dtype": dtype}
    teacher, student = map(str, write_pair(folder, rows, widths, dtype))
    for verb in ("diagnose", "compare"):
        run = checked([*PROBE, verb, "--teacher", teacher, "--student", student, "--json"])
        found[verb] = run.figures()
        if verb == "diagnose":
            found["verdict"] = json.loads(run.out)["verdict"]
        print(size, verb, found[verb], flush=True)
    return found


def page(found: dict[str, Any]) -> str:
    """results/diagnosis.md."""
    lines = ["# How long a diagnosis takes", "", "Written by diagnosis.py: whole processes, `--json`, no labels.", ""]
    lines += ["| rows | | seconds | against `probe compare` | peak anonymous MB |", "|---|---|---|---|---|"]
    for each in found.values():
        ratio = each["diagnose"]["seconds"] / each["compare"]["seconds"]
        what = f"{each['rows']:,}, {each['dimensions'][0]} against {each['dimensions'][1]}, {each['dtype']}"
        for verb, beside in (("diagnose", f"{ratio:.2f}"), ("compare", "1")):
            run = each[verb]
            lines.append(f"| {what} | `probe {verb}` | {run['seconds']:,.1f} | {beside} | {run['anonymous_mb']:,} |")
    lines.append("")
    for each in found.values():
        lines.append(f"- {each['rows']:,} rows: {said(each['machine'])} It said: {each['verdict']}")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--million", type=Path, help="where 2.3 GB may be written")
    arguments = parser.parse_args()
    path = RESULTS / "diagnosis.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    if arguments.million:
        found["a million"] = measured("a million", arguments.million)
    else:
        with tempfile.TemporaryDirectory() as folder:
            found["ten thousand"] = measured("ten thousand", Path(folder))
    path.write_text(json.dumps(found, indent=1) + "\n")
    path.with_suffix(".md").write_text(page(found))


if __name__ == "__main__":
    main()
