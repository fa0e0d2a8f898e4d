"""1,000,000 rows, 768 against 384, float16 on disk: the whole report beside the matrix products that it needs.

python experiments/speed/million.py bound|stages t.npy s.npy     what ``measured`` runs in processes of their own
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import numpy as np
from measuring import BLOCK, PROBE, checked, table, write_pair

WIDTHS = (768, 384)
QUERIES = 5000


def measured(asked: argparse.Namespace) -> dict[str, Any]:
    """The bound, the report, the bound again; then the report's stages in a run of its own."""
    rows = 12_000 if asked.quick else 1_000_000
    teacher, student = map(str, write_pair(asked.folder, rows, WIDTHS, "float16"))
    itself = [sys.executable, __file__]
    compare = [*PROBE, "compare", "--teacher", teacher, "--student", student, "--json"]
    before = json.loads(checked([*itself, "bound", teacher, student]).out)
    whole = checked(compare)
    after = json.loads(checked([*itself, "bound", teacher, student]).out)
    products = {name: (before[name] + after[name]) / 2 for name in before}
    bound = sum(products.values())
    every = max(1, len(whole.course) // 100)
    return {
        "rows": rows,
        "compare": whole.figures(),
        "products": products,
        "bounds": [sum(before.values()), sum(after.values())],
        "ratio": whole.seconds / bound,
        "stages": json.loads(checked([*itself, "stages", teacher, student]).out),
        "anonymous_mb": [[round(when, 1), round(mb)] for when, mb in whole.course[::every]],
        "measures": {key: one["value"] for key, one in json.loads(whole.out)["measures"].items()},
    }


def bound(teacher: str, student: str) -> dict[str, float]:
    """Seconds of the float32 products alone, over all rows in blocks: Z'Z of both spaces' columns side by side, and
    5,000 queries against all rows in each space. Reading and converting the blocks is not counted."""
    x, y = (np.load(path, mmap_mode="r") for path in (teacher, student))
    chosen = np.sort(np.random.default_rng(0).permutation(len(x))[:QUERIES])
    queries = [np.ascontiguousarray(side[chosen].astype(np.float32).T) for side in (x, y)]
    scores = np.empty((BLOCK, queries[0].shape[1]), np.float32)
    seconds = {"moments": 0.0, "neighbours": 0.0}
    for start in range(0, len(x), BLOCK):
        sides = [side[start : start + BLOCK].astype(np.float32) for side in (x, y)]
        both = np.hstack(sides)
        begun = time.perf_counter()
        both.T @ both
        between = time.perf_counter()
        for side, asked in zip(sides, queries, strict=True):
            np.matmul(side, asked, out=scores[: len(side)])
        seconds["moments"] += between - begun
        seconds["neighbours"] += time.perf_counter() - between
    return seconds


def stages(teacher: str, student: str) -> dict[str, float]:
    """Seconds from the first word of each stage to the first of the next, in the order in which they begin."""
    import manifold_probe as mp

    begun: list[tuple[str, float]] = [("before the first stage", time.perf_counter())]

    def note(stage: str, *_: Any) -> None:
        if stage != begun[-1][0]:
            begun.append((stage, time.perf_counter()))

    mp.compare(teacher, student, progress=note)
    ends = [*(when for _, when in begun[1:]), time.perf_counter()]
    seconds: dict[str, float] = {}
    for (stage, start), end in zip(begun, ends, strict=True):
        seconds[stage] = seconds.get(stage, 0.0) + end - start
    return seconds


def page(found: dict[str, Any]) -> list[str]:
    """The report against its bound, and where the time goes."""
    whole, products = found["compare"], found["products"]
    rows = [
        ["`probe compare --json`, whole process", f"{whole['seconds']:.1f}"],
        ["float32 products: Z'Z of all columns", f"{products['moments']:.1f}"],
        [f"float32 products: {QUERIES:,} queries against all rows, both spaces", f"{products['neighbours']:.1f}"],
    ]
    spent = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in found["stages"].items())
    first, second = found["bounds"]
    return [
        *table([f"{found['rows']:,} rows, {WIDTHS[0]} against {WIDTHS[1]}, float16", "seconds"], rows),
        "",
        f"The report takes {found['ratio']:.2f} of the products' time, which was measured before and after it: "
        f"{first:.1f} and {second:.1f} s. Peak anonymous memory {whole['anonymous_mb']:,} MB; peak resident "
        f"{whole['resident_mb']:,} MB, which counts pages of the mapped files.",
        "",
        f"Stages in seconds, in another run, each from its first word to that of the next: {spent}.",
    ]


if __name__ == "__main__":
    what, *paths = sys.argv[1:]
    print(json.dumps({"bound": bound, "stages": stages}[what](*paths)))
