"""Which fault is visible at which severity: every fault in every base once; writes results/visible.md.

python experiments/planted_faults/visibility.py [--bases ...] [--masked]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import bases
import cases
import faults
import score
from run import Kept, digest

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bases", nargs="+", choices=bases.names(), default=bases.names())
    parser.add_argument("--masked", action="store_true", help="masked ones as well")
    parser.add_argument("--rows", type=int, default=bases.ROWS)
    arguments = parser.parse_args()
    benchmark = digest(*(HERE / f"{name}.py" for name in ("bases", "faults", "visible")))
    kept = Kept(bases.DATA / f"visible-{arguments.rows}-{benchmark}.jsonl")
    for name in arguments.bases:
        for fault in faults.FAULTS:
            for severity in cases.SEVERITIES:
                for mask in (False, True)[: 1 + arguments.masked]:
                    key = f"{name}|{fault}|{severity}|{mask}"
                    if key not in kept:
                        case = cases.Case(key, "", "single", (fault,), severity, name, "", 0, mask)
                        made = cases.faulty_pair(case, arguments.rows)
                        kept[key] = None if made is None else made.facts
        print(name, flush=True)
    write(kept, benchmark)


def write(kept: Kept, benchmark: str) -> None:
    """results/visible.md: over bases, by quality of the student and severity."""
    lines = [
        "# What of a planted fault is visible",
        "",
        f"Written by `visibility.py` (benchmark {benchmark}). Visible in so many of",
    ]
    lines += ["so many bases, one draw of 1,000 rows each; the rule is in [visible.py](../visible.py).", ""]
    for mask in (False, True):
        facts = {key: record for key, record in kept.found.items() if record and key.endswith(f"|{mask}")}
        for quality in (None, *score.QUALITIES):
            chosen = {key: record for key, record in facts.items() if quality in (None, record["quality"])}
            if not chosen:
                continue
            title = "all students" if quality is None else f"{quality} students"
            lines += [f"## {'Masked' if mask else 'Plain'}, {title}", ""]
            table = [["fault", *(f"{severity:g}" for severity in cases.SEVERITIES)]]
            for fault in faults.FAULTS:
                row = [fault]
                for severity in cases.SEVERITIES:
                    seen = [record["visible"] for key, record in chosen.items() if f"|{fault}|{severity}|" in key]
                    row.append(f"{sum(seen)} of {len(seen)}")
                table.append(row)
            lines += score.lines_of(table)
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "visible.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
