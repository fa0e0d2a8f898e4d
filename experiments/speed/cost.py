"""What a comparison costs: seconds and memory from rows, widths, queries and workers, fitted to measured runs.

    python experiments/speed/cost.py 100000000 1024 1024 5000 32      from results/machines.json

Seconds are a sum of terms, D being the width of teacher and student together and q the queries:

    start  +  (a n D  +  b n D^2  +  c n q D  +  e n q) / workers  +  f D^3  +  g (MB of the parts that are merged)

a stands for reading, checks and what a fixed number of queries costs, b for the moments, c for the products of the
neighbour search, e for keeping the best candidates, f for decompositions. No coefficient is negative.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from measuring import RESULTS
from scipy.optimize import nnls

SHARED = ("rows", "moments", "neighbours", "candidates")  # terms of which every worker does its share
PASSES = 2  # how often the engine reads a file, beside a sample of 20,000 rows
WORDS = {
    "start": "starting",
    "rows": "reading and checking rows",
    "moments": "the moments' products",
    "neighbours": "the products of the neighbour search",
    "candidates": "keeping the nearest candidates",
    "decompositions": "decompositions",
    "merging": "merging parts",
}
Size = tuple[int, int, int, int]  # rows, width of the teacher, width of the student, queries


def time_terms(size: Size) -> dict[str, float]:
    """What each coefficient of the seconds is multiplied by."""
    n, width, queries = size[0], size[1] + size[2], size[3]
    return {
        "start": 1.0,
        "rows": n * width,
        "moments": n * width**2,
        "neighbours": n * width * queries,
        "candidates": n * queries,
        "decompositions": width**3,
    }


def memory_terms(size: Size) -> dict[str, float]:
    """The same of the megabytes, of a process's memory and of a worker's files alike."""
    n, width, queries = size[0], size[1] + size[2], size[3]
    return {"fixed": 1.0, "rows": n, "moments": width**2, "queries": queries}


def fitted(terms: list[dict[str, float]], measured: list[float]) -> dict[str, float]:
    """Coefficients of at least 0 with the least squares of relative errors."""
    matrix = np.array([list(each.values()) for each in terms]) / np.array(measured)[:, None]
    scale = matrix.max(0)
    return dict(zip(terms[0], (nnls(matrix / scale, np.ones(len(measured)))[0] / scale).tolist(), strict=True))


def summed(coefficients: dict[str, float], terms: dict[str, float]) -> dict[str, float]:
    """Each term times its coefficient."""
    return {name: coefficients[name] * value for name, value in terms.items()}


@dataclass(frozen=True)
class Cost:
    """Seconds by term and what has to be held, moved and read."""

    seconds: dict[str, float]
    worker_mb: float
    merging_mb: float
    parts_mb: float  # of each worker, merged in all rounds
    read_gb: float  # by each worker, in all passes, of float16 files

    @property
    def total(self) -> float:
        """From start to report."""
        return sum(self.seconds.values())


@dataclass(frozen=True)
class Model:
    """The fitted coefficients; ``rounds`` is how often parts are made and merged."""

    time: dict[str, float]
    memory: dict[str, float]
    parts: dict[str, float]
    seconds_a_merged_mb: float
    rounds: int

    def cost(self, n: int, d_teacher: int, d_student: int, queries: int, workers: int) -> Cost:
        """The cost of one comparison: with one worker of the serial command, with more of parts on that many machines,
        each like the measured one. Every worker finds its rows as fast as the measured one did, from memory."""
        whole = (n, d_teacher, d_student, min(queries, n))
        share = (-(-n // workers), *whole[1:])
        seconds = summed(self.time, time_terms(whole))
        seconds |= {name: seconds[name] / workers for name in SHARED}
        parts = sum(summed(self.parts, memory_terms(share)).values())
        if workers > 1:
            seconds["start"] *= 2 * self.rounds  # a process a part and one that merges, in each round
            seconds["merging"] = self.seconds_a_merged_mb * parts * workers
        return Cost(
            seconds=seconds,
            worker_mb=sum(summed(self.memory, memory_terms(share)).values()),
            merging_mb=sum(summed(self.memory, memory_terms(whole)).values()),
            parts_mb=parts,
            read_gb=PASSES * 2 * share[0] * (d_teacher + d_student) / 1e9,
        )


def model_of(serial: list[dict[str, Any]], merged: list[dict[str, Any]]) -> Model:
    """Fit to serial runs {"size", "seconds", "anonymous_mb"} and to merged ones {"size", "shards", "rounds": [{"parts",
    "merge", "merged_mb"}, ...]}."""
    sizes = [tuple(each["size"]) for each in serial]
    time = fitted([time_terms(size) for size in sizes], [each["seconds"] for each in serial])
    shares = [(-(-each["size"][0] // each["shards"]), *each["size"][1:]) for each in merged]
    weights = [sum(turn["merged_mb"] for turn in each["rounds"]) / each["shards"] for each in merged]
    return Model(
        time=time,
        memory=fitted([memory_terms(size) for size in sizes], [each["anonymous_mb"] for each in serial]),
        parts=fitted([memory_terms(share) for share in shares], weights),
        seconds_a_merged_mb=float(np.median([slope for each in merged for slope in merging(time, each)])),
        rounds=max(len(each["rounds"]) for each in merged),
    )


def merging(time: dict[str, float], merged: dict[str, Any]) -> list[float]:
    """Seconds a MB of parts, in each round: what the merge took beyond a start and the decompositions."""
    alone = time["start"] + summed(time, time_terms(tuple(merged["size"])))["decompositions"]
    return [max(0.0, turn["merge"] - alone) / turn["merged_mb"] for turn in merged["rounds"]]


def told(cost: Cost) -> list[str]:
    """A cost in lines."""
    by_share = sorted(cost.seconds.items(), key=lambda item: -item[1])
    shares = ", ".join(f"{WORDS[name]} {seconds:,.0f} s" for name, seconds in by_share if seconds >= 0.5)
    return [
        f"{cost.total:,.0f} s ({cost.total / 60:.0f} min), bounded by {WORDS[by_share[0][0]]}. In all: {shares}.",
        f"A worker holds {cost.worker_mb / 1e3:.1f} GB, the one that merges {cost.merging_mb / 1e3:.1f} GB; "
        f"it merges {cost.parts_mb:,.0f} MB "
        "from each worker.",
        f"Each worker reads {cost.read_gb:,.0f} GB in {PASSES} passes: {cost.read_gb / 1:,.0f} s at 1 GB/s, "
        f"{math.ceil(cost.read_gb / 0.1):,} s at 100 MB/s, where the files are not in its memory.",
    ]


if __name__ == "__main__":
    found = json.loads((RESULTS / "machines.json").read_text())
    print("\n".join(told(model_of(found["serial"], found["parts"]).cost(*map(int, sys.argv[1:])))))
