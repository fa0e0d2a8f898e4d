"""Do the 95% intervals cover? Fresh samples of the same pair of models, again and again.

    python experiments/coverage/run.py            # everything, about a quarter of an hour on two cores
    python experiments/coverage/run.py --quick    # a few repetitions, to see that it runs

Each repetition draws n new rows from one fixed world (ten classes, a teacher of 32 dimensions, a student of 24 that is
a linear map of it plus noise; Gaussian, heavy-tailed with Student-t rows of five or of three degrees of freedom, or
Gaussian at an offset of five deviations), runs the public ``compare`` and notes for each measure whether its interval
holds the expectation over samples of that n (the mean over all repetitions). "sorted" files hold the same rows ordered
by class. Results go to results/coverage.json and a table in results/coverage.md.
"""

import argparse
import json
import multiprocessing
import os
import platform
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # one process a core; threads would fight

import numpy as np

import manifold_probe as mp

RESULTS = Path(__file__).parent / "results"
CASES = [
    (n, tails, order)
    for n in (200, 1000, 5000)
    for tails in ("gaussian", "heavy")
    for order in (("random", "sorted") if n == 1000 else ("random",))
]
CASES += [(200, "offset", "random"), (200, "t3", "random"), (1000, "t3", "random")]
DEGREES = {"heavy": 5, "t3": 3}
OFFSET = 5.0
REPETITIONS = {200: 300, 1000: 150, 5000: 60}
SHOWN = ["linear_cka", "debiased_linear_cka", "overlap@10", "knn_agreement@10", "linear_r2"]


def sample(n: int, tails: str, order: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """n rows of the world's teacher and student, and their classes."""
    world = np.random.default_rng(12)
    centres, mixing = 0.8 * world.normal(size=(10, 32)), world.normal(size=(32, 24)) / np.sqrt(32)
    spectrum = np.linspace(2, 0.3, 32)
    rng = np.random.default_rng([seed, n])
    labels = rng.integers(0, 10, n)
    if order == "sorted":
        labels = np.sort(labels)
    degrees = DEGREES.get(tails)
    scale = 1.0 if degrees is None else np.sqrt(degrees / rng.chisquare(degrees, size=(n, 1)))
    teacher = centres[labels] + scale * rng.normal(size=(n, 32)) * spectrum
    student = teacher @ mixing + 0.5 * scale * rng.normal(size=(n, 24))
    if tails == "offset":
        teacher, student = teacher + OFFSET * teacher.std(), student + OFFSET * student.std()
    return teacher, student, labels


def repetition(task: tuple[int, str, str, int]) -> dict[str, tuple[float, float, float]]:
    """Value, low and high of every measure with an interval."""
    n, tails, order, seed = task
    teacher, student, labels = sample(n, tails, order, seed)
    found = mp.compare(teacher, student, labels=labels).measures
    return {key: (m.value, m.low, m.high) for key, m in found.items() if m.value is not None and m.low is not None}


def summary(rows: list[dict[str, tuple[float, float, float]]]) -> dict[str, dict[str, float]]:
    """Coverage of the expectation, and the mean interval's half width against the spread of the values."""
    table = {}
    for key in rows[0]:
        values = np.array([row[key] for row in rows if key in row])
        truth, spread = values[:, 0].mean(), values[:, 0].std(ddof=1)
        covered = (values[:, 1] <= truth) & (truth <= values[:, 2])
        table[key] = {
            "expectation": round(float(truth), 5),
            "spread": round(float(spread), 5),
            "coverage": round(float(covered.mean()), 4),
            "half_width_over_spread": round(float((values[:, 2] - values[:, 1]).mean() / 2 / spread), 3)
            if spread
            else None,
        }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="5 repetitions at n = 200, nothing written")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    report = {}
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        for n, tails, order in CASES[:2] if arguments.quick else CASES:
            count = 5 if arguments.quick else REPETITIONS[n]
            rows = pool.map(repetition, [(n, tails, order, seed) for seed in range(count)], chunksize=1)
            report[f"n={n} {tails} {order}"] = {"repetitions": count, "measures": summary(rows)}
            print(
                n, tails, order, {key: report[f"n={n} {tails} {order}"]["measures"][key]["coverage"] for key in SHOWN}
            )
            if not arguments.quick:
                write(report)


def write(report: dict) -> None:
    """Save the full numbers as JSON and the coverages as a table."""
    RESULTS.mkdir(exist_ok=True)
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    (RESULTS / "coverage.json").write_text(json.dumps({"machine": machine, "cases": report}, indent=1) + "\n")
    keys = list(dict.fromkeys(key for case in report.values() for key in case["measures"]))
    lines = ["| measure | " + " | ".join(report) + " |", "|---" * (len(report) + 1) + "|"]
    for key in keys:
        cells = [case["measures"].get(key, {}).get("coverage") for case in report.values()]
        lines.append(f"| {key} | " + " | ".join("-" if c is None else f"{100 * c:.1f}" for c in cells) + " |")
    counts = ", ".join(f"{name}: {case['repetitions']}" for name, case in report.items())
    note = (
        f"\nCoverage in % of nominal 95% intervals. Repetitions: {counts}; a true 95% shows as 95 with a standard error"
    )
    note += " of 1.3 (300), 1.8 (150) and 2.8 (60) points.\n"
    (RESULTS / "coverage.md").write_text("\n".join(lines) + "\n" + note)


if __name__ == "__main__":
    main()
