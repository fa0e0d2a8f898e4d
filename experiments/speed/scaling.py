"""Time and memory from 10,000 to 1,000,000 rows, 768 against 384, with every peer that still runs."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from measuring import PROBE, Run, checked, free_mb, run, table, write_pair
from million import WIDTHS
from peers import PEERS

import manifold_probe as mp

OURS = "probe compare"
SCRIPT = str(Path(__file__).with_name("peers.py"))


def measured(asked: argparse.Namespace) -> dict[str, Any]:
    """Every tool at every size. One that failed at a size is not tried at larger ones."""
    sizes = [1_000, 3_000, 9_000] if asked.quick else [10_000, 30_000, 100_000, 300_000, 1_000_000]
    limits = {"seconds": 60.0 if asked.quick else 120.0, "megabytes": round((0.2 if asked.quick else 0.85) * free_mb())}
    versions = json.loads(checked([asked.peers, SCRIPT]).out)
    tools: dict[str, dict[str, Any]] = {OURS: {"does": "every measure", "version": mp.__version__}}
    tools |= {name: {"does": PEERS[name][1], "version": version} for name, version in versions.items()}
    for tool in tools.values():
        tool["runs"] = {}
    for rows in sizes:
        files = list(map(str, write_pair(asked.folder, rows, WIDTHS, "float16")))
        for name, tool in tools.items():
            if any("failed" in before for before in tool["runs"].values()):
                continue
            compare = [*PROBE, "compare", "--teacher", files[0], "--student", files[1], "--json"]
            found = run(compare) if name == OURS else run([asked.peers, SCRIPT, name, *files], **limits)
            tool["runs"][str(rows)] = outcome(found)
            print(f"{rows:,} rows, {name}: {outcome(found)}", flush=True)
    ours = {int(rows): one["seconds"] for rows, one in tools[OURS]["runs"].items() if "failed" not in one}
    return {"limits": limits, "sizes": sizes, "tools": tools, "exponents": exponents(ours)}


def outcome(found: Run) -> dict[str, Any]:
    """Its seconds and memory, or why it failed: "time", "memory" or the last line of its error."""
    if not found.code:
        return found.figures()
    last = (found.err.strip().splitlines() or [f"exit code {found.code}"])[-1]
    memory = found.code == -9 or re.search("MemoryError|alloc", last)  # killed by the system, NumPy, torch, OpenBLAS
    return {"failed": found.stopped or ("memory" if memory else last)}


def exponents(seconds: dict[int, float]) -> list[float]:
    """The slope of log time against log rows between neighbouring sizes; 1 is linear."""
    rows = sorted(seconds)
    return np.round(np.diff(np.log([seconds[n] for n in rows])) / np.diff(np.log(rows)), 2).tolist()


def page(found: dict[str, Any]) -> list[str]:
    """A row a tool, a column a size: seconds and anonymous memory."""

    def cell(one: dict[str, Any] | None) -> str:
        if one is None:
            return ""
        return f"failed: {one['failed']}" if "failed" in one else f"{one['seconds']:.1f} s, {one['anonymous_mb']:,} MB"

    rows = [
        [f"{name} {tool['version']}, {tool['does']}", *(cell(tool["runs"].get(str(n))) for n in found["sizes"])]
        for name, tool in found["tools"].items()
    ]
    limits, powers = found["limits"], ", ".join(f"{each:.2f}" for each in found["exponents"])
    return [
        *table(["whole process", *(f"{n:,} rows" for n in found["sizes"])], rows),
        "",
        f"A peer is ended at {limits['seconds']:g} s or {limits['megabytes']:,} MB; a tool that failed is not tried at "
        f"larger sizes. The seconds of `probe compare` grow from size to size as the rows to the power {powers}; 1 is "
        "linear.",
    ]
