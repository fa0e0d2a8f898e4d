"""Run a diagnosis on the benchmark of planted faults and write its scores to results/.

    python experiments/planted_faults/run.py                       # mp.diagnose, 700 cases of the reporting half
    python experiments/planted_faults/run.py --half tuning         # the half to tune on
    python experiments/planted_faults/run.py --diagnosis oracle    # or dummy, or MODULE:FUNCTION, to test the harness
    python experiments/planted_faults/run.py --bases text-words digits-mse --cases 100 --out /tmp/results

A diagnosis is a function (teacher (n, d), student (n, d'), labels or None) -> [(name, [names it could also be]), ...],
ranked; an empty list means healthy. It may return two lists: the second names differences without a loss. Every case is
diagnosed twice, with labels and without. Answers are stored in data/ at once, under a digest of the sources that gave
them, so that a run that was stopped continues.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import bases
import cases
import numpy as np
import score

HERE = Path(__file__).resolve().parent
LABELLED = (True, False)
UNMEASURED = {"overlap@10": {"value": 0.0}, "debiased_linear_cka": {"value": 0.0}}  # causes do not need them
Causes = list[tuple[str, list[str]]]
Answer = Causes | tuple[Causes, list[str]]
Diagnosis = Callable[[np.ndarray, np.ndarray, "np.ndarray | None"], Answer]


def package(teacher: np.ndarray, student: np.ndarray, labels: np.ndarray | None) -> Answer:
    """The answer of manifold_probe: causes and differences of `mp.diagnose`, without the account."""
    from manifold_probe.diagnosis.diagnose import Asked, diagnosed
    from manifold_probe.spaces.pairing import pair
    from manifold_probe.spaces.space import Space

    first = Space(teacher, labels=labels, name="teacher")
    both = pair(first, {"student": Space(student, name="student")})["student"]
    result = diagnosed(both, Asked(account=False), measures=UNMEASURED)
    return [as_pair(cause) for cause in result["causes"]], [difference["name"] for difference in result["benign"]]


def as_pair(cause: Any) -> tuple[str, list[str]]:
    """Name and alternatives of a cause, whether it is an object or a dict."""
    if isinstance(cause, dict):
        return cause["name"], list(cause.get("or") or [])
    return cause.name, list(cause.or_ or [])


def dummy(teacher: np.ndarray, student: np.ndarray, labels: np.ndarray | None) -> Answer:
    """Always the same."""
    return [("noise", [])]


def named(text: str, facts: dict[str, Any]) -> Diagnosis:
    """The diagnosis that the command line names; the oracle gets the facts."""
    if text == "oracle":
        truth = facts["truth"] if facts["visible"] else []
        return lambda teacher, student, labels: [(names[0], []) for names in truth]
    if ":" in text:
        module, function = text.split(":")
        return getattr(import_module(module), function)
    return {"package": package, "dummy": dummy}[text]


def digest(*paths: Path) -> str:
    """Of files, and of all Python files in folders."""
    hashed = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            hashed.update(file.read_bytes())
    return hashed.hexdigest()[:12]


def version_of(text: str) -> str:
    """A digest of the sources behind a diagnosis."""
    if text in ("oracle", "dummy"):
        return "0"
    spec = find_spec("manifold_probe" if text == "package" else text.split(":")[0])
    if spec is None or spec.origin is None:
        raise SystemExit(f"{text}: no such module")
    origin = Path(spec.origin)
    return digest(*(origin.parent / part for part in ("diagnosis", "measures")) if text == "package" else [origin])


class Kept:
    """Records by key in a file of JSON lines; a line cut off by an interruption is left out."""

    def __init__(self, path: Path) -> None:
        self.path, self.found = path, {}
        path.parent.mkdir(parents=True, exist_ok=True)
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                record = json.loads(line)
                self.found[record["key"]] = record["value"]
            except (ValueError, KeyError):
                continue

    def __contains__(self, key: str) -> bool:
        return key in self.found

    def __getitem__(self, key: str) -> Any:
        return self.found[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.found[key] = value
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps({"key": key, "value": value}))


def asked(diagnose: Diagnosis, made: cases.Prepared, labelled: bool) -> dict[str, Any]:
    """The answer of a diagnosis to a case, and its duration."""
    start = time.perf_counter()
    try:
        result = diagnose(made.teacher.copy(), made.student.copy(), made.labels.copy() if labelled else None)
        causes, costless = result if isinstance(result, tuple) else (result, [])
        answer: dict[str, Any] = {
            "causes": [[str(name), [str(other) for other in others]] for name, others in causes],
            "costless": list(costless),
        }
    except Exception as error:  # a diagnosis that fails is a wrong answer, not the end of the benchmark
        traceback.print_exc(limit=-2)
        answer = {"causes": [["failed", []]], "error": f"{type(error).__name__}: {error}"[:200]}
    return {**answer, "seconds": round(time.perf_counter() - start, 3)}


def key_of(case: cases.Case, labelled: bool) -> str:
    """The key under which an answer is stored."""
    return f"{case.id}|{labelled}"


def answered(job: tuple[cases.Case, int, str, tuple[bool, ...]]) -> tuple[dict[str, Any] | None, dict[bool, Any]]:
    """The facts of a case, and its answers with and without labels; no facts where the fault cannot be planted."""
    case, rows, diagnosis, wanted = job
    made = cases.prepared(case, rows)
    if made is None:
        return None, {}
    return made.facts, {labelled: asked(named(diagnosis, made.facts), made, labelled) for labelled in wanted}


def run_all(jobs: list[tuple], workers: int) -> Iterator[tuple[dict[str, Any] | None, dict[bool, Any]]]:
    """The answers, in the jobs' order; each worker uses one thread."""
    if workers == 1 or not jobs:
        yield from map(answered, jobs)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(answered, jobs)


def machine() -> str:
    """Processor, cores, memory and versions."""
    import torch

    cpu = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return (
        f"{cpu[0] if cpu else platform.machine()}, {os.cpu_count()} cores, one thread a process, "
        f"{memory:.0f} GiB; load {load:.1f}; Python {platform.python_version()}, numpy {np.__version__}, "
        f"torch {torch.__version__}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=700, help="of each half")
    parser.add_argument("--half", choices=[*cases.HALVES, "both"], default="reporting")
    parser.add_argument("--bases", nargs="+", choices=bases.names(), help="some bases of the half, for the faults")
    parser.add_argument("--rows", type=int, default=bases.ROWS)
    parser.add_argument("--diagnosis", default="package", help="package, dummy, oracle or MODULE:FUNCTION")
    parser.add_argument("--workers", type=int, default=1, help="processes, of one thread each")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--quiet", action="store_true", help="print only every fiftieth case")
    arguments = parser.parse_args()
    halves = cases.HALVES if arguments.half == "both" else (arguments.half,)
    todo = [case for half in halves for case in cases.cases(half, arguments.cases, arguments.bases)]
    here = digest(*(HERE / f"{name}.py" for name in ("bases", "faults", "healthy", "visible", "cases")))
    version, label = version_of(arguments.diagnosis), arguments.diagnosis.replace(":", ".")
    facts_kept = Kept(bases.DATA / f"facts-{arguments.rows}-{here}.jsonl")
    kept = Kept(bases.DATA / f"answers-{label}-{version}-{arguments.rows}-{here}.jsonl")
    rows, begun, spent, impossible = [], time.perf_counter(), 0.0, 0
    jobs = [
        (
            case,
            arguments.rows,
            arguments.diagnosis,
            tuple(labelled for labelled in LABELLED if key_of(case, labelled) not in kept),
        )
        for case in todo
        if case.id not in facts_kept or any(key_of(case, labelled) not in kept for labelled in LABELLED)
    ]
    waiting = {job[0].id for job in jobs}
    results = run_all(jobs, arguments.workers)
    for place, case in enumerate(todo):
        if case.id in waiting:
            facts, answers = next(results)
            if case.id not in facts_kept:
                facts_kept[case.id] = facts
            for labelled, answer in answers.items():
                kept[key_of(case, labelled)] = answer
        facts = facts_kept[case.id]
        if facts is None:
            impossible += 1
            continue
        judgements = [score.judged(cases.as_dict(case), facts, kept[key_of(case, each)], each) for each in LABELLED]
        rows += judgements
        spent += sum(judgement["seconds"] for judgement in judgements)
        if not arguments.quiet or place % 50 == 49:
            what = "visible" if facts["visible"] else "healthy" if case.kind == "healthy" else "hidden"
            print(
                f"{place + 1}/{len(todo)} {case.id} [{facts['quality']}, {what}] {judgements[0]['said'] or 'healthy'}",
                flush=True,
            )
    about = {
        "diagnosis": f"{arguments.diagnosis} ({version})",
        "cases": f"{len(todo)}, {len(rows) // 2} of them possible; {arguments.rows} rows or as many as the base has",
        "bases": ", ".join(arguments.bases) if arguments.bases else f"all of the half ({', '.join(halves)})",
        "benchmark": here,
        "machine": machine(),
    }
    if not rows:
        raise SystemExit("no case is possible on these bases")
    score.write(rows, about, arguments.out)
    print(f"{len(rows)} answers, {impossible} cases impossible, {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    print(f"{spent:.0f} s of diagnosis in all; {arguments.out / 'scores.md'}", file=sys.stderr)


if __name__ == "__main__":
    main()
