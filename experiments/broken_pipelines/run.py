"""Does `probe diagnose` find the fault of pipelines that really broke?

    python experiments/broken_pipelines/run.py                  # makes missing pairs, diagnoses them, writes results/
    python experiments/broken_pipelines/run.py --make           # makes data, students and pairs only
    python experiments/broken_pipelines/run.py --ways alone     # features alone; or all: with all evidence
    python experiments/broken_pipelines/run.py --half tuning --only shard_order --workers 2

Every pair is asked in two ways: features (with labels) alone, and with all evidence that its user would have: the run's
folder, or the model with its data, or the training's log, features of rows trained on, classes, slices, the other side
of the head. Everything made is kept in data/, answers under a digest of the package's sources, so that a run that was
stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from failures import FAILURES, ITSELF, SOUND, Made, both, kind_of, measured, of_run, rows_of
from sources import DATA, HERE, Arrays, kept, sound, teacher, trained

import manifold_probe as mp

WAYS, HALVES = ("alone", "all"), ("tuning", "reporting")
# a failure is visible where an overlap falls below this share of the sound student's, or CKA falls by this much
VISIBLE_RATIO, VISIBLE_CKA = 0.9, 0.05
OVERFIT_GAP = 0.05  # in overlap of rows trained on over others, for a sound student: above, it overfitted


@dataclass(frozen=True)
class Task:
    """A pair to be made: ``failure`` is a name of the table or "sound"."""

    id: str
    half: str
    failure: str
    student: str
    strength: str


def tasks() -> Iterator[Task]:
    """All pairs. Of a failure's two students one is for tuning and the other for reporting, in turn; sound pairs
    alternate."""
    for row, failure in enumerate(FAILURES):
        for place, student in enumerate(failure.students):
            for strength in ("weak", "strong"):
                half = HALVES[(row + place) % 2]
                yield Task(f"{failure.name}, {student}, {strength}", half, failure.name, student, strength)
    number = 0
    for name, (_, students) in SOUND.items():
        for student in students:
            yield Task(f"sound, {name}, {student}", HALVES[number % 2], "sound", student, name)
            number += 1


def made(task: Task) -> Made:
    """The pair of a task."""
    if task.failure == "sound":
        return SOUND[task.strength][0](task.student)
    failure = next(one for one in FAILURES if one.name == task.failure)
    return failure.make(task.student, task.strength == "strong")


# ---- pairs on disk


def stored(task: Task) -> dict[str, Any]:
    """The record of a pair whose arrays are in data/pairs; made if it is missing."""
    name = hashlib.sha256(task.id.encode()).hexdigest()[:10]
    file = DATA / "pairs" / f"{task.failure}-{name}.json"
    if not file.exists():
        start = time.perf_counter()
        pair = made(task)
        file.parent.mkdir(parents=True, exist_ok=True)
        paths = {side: file.parent / f"{side}-{digest(getattr(pair, side))}.npz" for side in ("teacher", "student")}
        for side, path in paths.items():
            kept(path, partial(getattr, pair, side))
        before, after = sound_likeness(task.student), likeness(pair.teacher, pair.student)
        falls = any(after[key] < VISIBLE_RATIO * before[key] for key in ("cosine", "euclidean"))
        shows = falls or after["cka"] < before["cka"] - VISIBLE_CKA
        record = {
            **vars(task),
            **{side: str(path) for side, path in paths.items()},
            "how": pair.how,
            "evidence": pair.evidence,
            "rows": len(pair.student["features"]),
            "visible": bool(shows) or task.failure == "sound",
            "overlap": after["cosine"],
            "overlap_sound": before["cosine"],
            "likeness": after,
            "likeness_sound": before,
            **own_names(task.student),
        }
        part = file.with_suffix(".part")
        part.write_text(json.dumps(record, indent=1) + "\n")
        part.replace(file)
        seconds = time.perf_counter() - start
        print(f"{task.id}: {before['cosine']:.3f} {after['cosine']:.3f}, {seconds:.0f} s", file=sys.stderr)
    return json.loads(file.read_text())


def digest(side: Arrays) -> str:
    """A digest of one side's arrays: pairs share the files of equal arrays."""
    return hashlib.sha256(b"".join(array.tobytes() for array in side.values())).hexdigest()[:16]


def likeness(teacher_rows: Arrays, student_rows: Arrays) -> dict[str, float]:
    """Overlap@10 in both metrics and debiased CKA, rows joined by id."""
    x, y = teacher_rows["features"].astype(np.float64), student_rows["features"].astype(np.float64)
    if "ids" in student_rows:
        place = {id: row for row, id in enumerate(student_rows["ids"].tolist())}
        y = y[[place[id] for id in teacher_rows["ids"].tolist()]]
    overlaps = {
        metric: mp.measures.neighbourhood_overlap(x, y, k=10, metric=metric) for metric in ("cosine", "euclidean")
    }
    return {
        **{key: float(value) for key, value in overlaps.items()},
        "cka": float(mp.measures.debiased_linear_cka(x, y)),
    }


@lru_cache
def sound_likeness(student: str) -> dict[str, float]:
    """`likeness` of the sound student."""
    return likeness(*both(student))


@lru_cache
def own_names(student: str) -> dict[str, list[str]]:
    """Causes of the sound student: "own", by the planted faults' rule of visibility; and "own_trained", by its
    training: overfit, or too small where less than half of the neighbours of rows trained on are kept."""
    from bases import own_causes

    teacher_rows, student_rows = both(student)
    visible_causes = own_causes(
        teacher_rows["features"].astype(np.float64), student_rows["features"].astype(np.float64)
    )
    if student == ITSELF:
        return {"own": list(visible_causes), "own_trained": []}
    folder = sound(student)
    seen = np.flatnonzero(trained(folder))[: len(measured(student))]
    unseen = measured(student)[: len(seen)]
    inside, outside = (
        likeness(rows_of(teacher(kind_of(student)), rows), of_run(folder, rows))["cosine"] for rows in (seen, unseen)
    )
    names = {"overfit": inside - outside >= OVERFIT_GAP, "too_small_student": inside < 0.5}
    return {"own": list(visible_causes), "own_trained": [name for name, holds in names.items() if holds]}


# ---- answers


def asked(pair: dict[str, Any], way: str) -> dict[str, Any]:
    """The answer of the diagnosis to a pair, and its duration."""
    start = time.perf_counter()
    try:
        document = with_all(pair) if way == "all" else mp.diagnose(pair["teacher"], pair["student"]).to_dict()
        answer = {key: document[key] for key in ("verdict", "causes", "accounting", "benign") if key in document}
        answer["measures"] = {key: measure["value"] for key, measure in document.get("measures", {}).items()}
    except Exception as error:  # a diagnosis that fails is a wrong answer, not the end of the study
        answer = {"error": f"{type(error).__name__}: {error}"[:300]}
    return {**answer, "seconds": round(time.perf_counter() - start, 2)}


def with_all(pair: dict[str, Any]) -> dict[str, Any]:
    """The diagnosis with all evidence."""
    if pair["how"] == "run":
        return mp.diagnose(pair["evidence"]["run"]).to_dict()
    evidence = dict(pair["evidence"])
    return mp.diagnose(pair["teacher"], evidence.pop("student", pair["student"]), **evidence).to_dict()


def answers(pairs: list[dict[str, Any]], ways: list[str], workers: int) -> dict[tuple[str, str], dict[str, Any]]:
    """Answers by id and way; stored answers are not made again."""
    folder = DATA / "answers" / version()
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        (pair["id"], way): folder / f"{hashlib.sha256(pair['id'].encode()).hexdigest()[:10]}-{way}.json"
        for pair, way in product(pairs, ways)
    }
    open_ = [(pair, way) for pair, way in product(pairs, ways) if not files[pair["id"], way].exists()]
    with ProcessPoolExecutor(workers, initializer=os.chdir, initargs=(HERE,)) as pool:
        for (pair, way), answer in zip(open_, pool.map(asked, *zip(*open_, strict=True)) if open_ else [], strict=True):
            files[pair["id"], way].write_text(json.dumps(answer) + "\n")
            names = [cause["name"] for cause in answer.get("causes", [])]
            print(f"{pair['id']} ({way}): {answer.get('error') or names}, {answer['seconds']} s", file=sys.stderr)
    return {key: json.loads(file.read_text()) for key, file in files.items()}


def version() -> str:
    """A digest of the sources of a diagnosis."""
    package, hashed = Path(mp.__file__).parent, hashlib.sha256()
    for room in ("diagnosis", "engine", "measures", "report/diagnosis"):
        for file in sorted((package / room).rglob("*.py")):
            hashed.update(file.read_bytes())
    return hashed.hexdigest()[:12]


def main() -> None:
    """Make pairs, diagnose them, write results/."""
    import scoring

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--make", action="store_true", help="make the pairs only")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--half", choices=HALVES)
    parser.add_argument("--only", nargs="+", help="failures, or sound")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", default="results")
    given = parser.parse_args()
    out = Path(given.out).absolute() if given.out != "results" else HERE / "results"
    os.chdir(HERE)
    wanted = [
        task
        for task in tasks()
        if given.half in (None, task.half) and (given.only is None or task.failure in given.only)
    ]
    pairs = [stored(task) for task in wanted]
    if given.make:
        return
    answered = answers(pairs, given.ways, given.workers)
    rows = [scoring.judged(pair, way, answered[pair["id"], way]) for pair, way in product(pairs, given.ways)]
    about = {
        "pairs": f"{sum(pair['failure'] != 'sound' for pair in pairs)} broken, "
        f"{sum(pair['failure'] == 'sound' for pair in pairs)} sound",
        "sources": version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    scoring.write(rows, about, out, HERE / "results" / "before.json")
    print((out / "scores.md").read_text())


if __name__ == "__main__":
    main()
