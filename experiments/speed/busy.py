"""One thread against two, 4,000 x 1,280 against 128, on a quiet machine and beside two busy processes."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measuring import PROBE, checked, ratio, said_of_ratio, summary, table, write_pair

BUSY = "import numpy as np; x = np.ones((1000, 1000), np.float32)\nwhile True: x @ x"


def threads(count: int) -> dict[str, str]:
    """The environment in which the libraries of products and decompositions use this many threads."""
    return {f"{library}_NUM_THREADS": str(count) for library in ("OMP", "OPENBLAS", "MKL")}


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many other processes multiply matrices meanwhile, with one thread each."""
    others = [
        subprocess.Popen([sys.executable, "-c", BUSY], env={**os.environ, **threads(1)}) for _ in range(processes)
    ]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def measured(asked: argparse.Namespace) -> dict[str, Any]:
    """One and two threads in turn."""
    rows, widths, rounds = (600, (160, 16), 2) if asked.quick else (4_000, (1280, 128), 3)
    found: dict[str, Any] = {"rows": rows, "widths": widths, "rounds": rounds}
    with tempfile.TemporaryDirectory() as folder:
        teacher, student = map(str, write_pair(Path(folder), rows, widths))
        compare = [*PROBE, "compare", "--teacher", teacher, "--student", student, "--json"]
        for name, others in (("quiet", 0), ("busy", 2)):
            with busy(others):
                runs: dict[int, list[Any]] = {1: [], 2: []}
                for _ in range(rounds):
                    for count, of_count in runs.items():
                        of_count.append(checked(compare, environment=threads(count)))
                        print(f"{name}, {count} threads: {of_count[-1].figures()}", flush=True)
            one, two = summary(runs[1]), summary(runs[2])
            found[name] = {"one": one, "two": two, "ratio": ratio(two, one)}
    return found


def page(found: dict[str, Any]) -> list[str]:
    """A row a machine state."""
    names = {"quiet": "nothing else runs", "busy": "two other processes multiply matrices"}
    rows = []
    for name, words in names.items():
        one, two, share = (found[name][key] for key in ("one", "two", "ratio"))
        rows.append([words, f"{one['seconds']:.2f}", f"{two['seconds']:.2f}", said_of_ratio(share)])
    size = f"{found['rows']:,} x {found['widths'][0]:,} against {found['widths'][1]}"
    head = [size, "one thread, s", "two threads, s", "two / one"]
    return [
        *table(head, rows),
        "",
        f"Medians of {found['rounds']} rounds, in brackets the least and the largest.",
    ]
