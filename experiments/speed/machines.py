"""Many machines: Dask against serial, partial files that are merged, and the cost model fitted to measured runs."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from cost import Model, Size, model_of, told
from measuring import PROBE, RESULTS, alternately, checked, ratio, run, said_of_ratio, table, write_pair

SERIAL: list[Size] = [
    (100_000, 768, 384, 5000),
    (100_000, 768, 384, 1000),
    (100_000, 384, 192, 5000),
    (100_000, 128, 64, 1000),
    (200_000, 256, 128, 5000),
    (100_000, 1024, 1024, 2000),
]
PARTS: list[tuple[Size, int]] = [
    ((100_000, 768, 384, 5000), 2),
    ((100_000, 384, 192, 1000), 4),
]
ASKED = (100_000_000, 1024, 1024, 5000, 32)
SECOND = "second_round"  # the file that `probe merge` writes where it needs a second round


def measured(asked: argparse.Namespace) -> dict[str, Any]:
    """Dask and serial in turn, then the runs that the model is fitted to."""
    smaller = 100 if asked.quick else 1
    serial, parts = [scaled(size, smaller) for size in SERIAL], [(scaled(size, smaller), n) for size, n in PARTS]
    compare = command("compare", asked.folder, serial[0])
    executors = {"serial": [*compare, "--json"], "dask": [*compare, "--executor", "dask", "--json"]}
    found: dict[str, Any] = {"size": serial[0], "executors": alternately(executors, 1)}
    found["ratio"] = ratio(found["executors"]["dask"], found["executors"]["serial"])
    documents = {name: comparable(checked(words).out) for name, words in executors.items()}
    found["serial"] = [
        {"size": size, **checked([*command("compare", asked.folder, size), "--json"]).figures()} for size in serial
    ]
    found["parts"] = []
    for size, shards in parts:
        merged, document = in_parts(command("partial", asked.folder, size), shards)
        found["parts"].append({"size": size, **merged})
        if size == serial[0]:
            documents[f"{shards} parts"] = comparable(document)
    found["same"] = {name: document == documents["serial"] for name, document in documents.items()}
    return found


def scaled(size: Size, smaller: int) -> Size:
    """The size with fewer rows."""
    return (size[0] // smaller, *size[1:])


def command(verb: str, folder: Path, size: Size) -> list[str]:
    """A command on features of this size."""
    teacher, student = map(str, write_pair(folder, size[0], size[1:3], "float16"))
    return [*PROBE, verb, "--teacher", teacher, "--student", student, "--queries", str(size[3])]


def in_parts(partial: list[str], shards: int) -> tuple[dict[str, Any], str]:
    """Make every part, one after the other on this machine, and merge them; again where the merge asks for a second
    round. The seconds of each, and the merged document."""
    with tempfile.TemporaryDirectory() as name:
        folder, rounds = Path(name), []
        for begin, first in ((partial, []), ([*PROBE, "partial", "--second-round", SECOND], [SECOND])):
            files = [f"part_{len(rounds)}_{shard}" for shard in range(shards)]
            runs = [
                checked([*begin, "--shard", f"{shard}/{shards}", "-o", file], folder=folder)
                for shard, file in enumerate(files)
            ]
            share = [] if first else ["--second-round", SECOND]
            merge = run([*PROBE, "merge", *first, *files, *share, "--json"], folder=folder)
            weight = sum((folder / file).stat().st_size for file in [*first, *files]) / 1e6
            seconds = [round(each.seconds, 3) for each in runs]
            rounds.append({"parts": seconds, "merge": round(merge.seconds, 3), "merged_mb": weight})
            if not (folder / SECOND).exists():
                break
        if merge.code:
            raise SystemExit(merge.err)
        peaks = {"part_anonymous_mb": max(each.anonymous_mb for each in runs), "merge_anonymous_mb": merge.anonymous_mb}
        return {"shards": shards, "rounds": rounds, **{key: round(value) for key, value in peaks.items()}}, merge.out


def comparable(document: str) -> dict[str, Any]:
    """A document without what tells the runs apart."""
    read = json.loads(document)
    read.pop("provenance")
    read["settings"].pop("executor", None)
    return read


def page(found: dict[str, Any]) -> list[str]:
    """Dask against serial, the parts, the model against what was measured, and the prediction."""
    model = model_of(found["serial"], found["parts"])
    dask, serial = found["executors"]["dask"], found["executors"]["serial"]
    same = ", ".join(f"{name} {'the same' if same else 'NOT the same'}" for name, same in found["same"].items())
    rows = [row(model, each["size"], 1, "serial", each["seconds"]) for each in found["serial"]]
    for each in found["parts"]:
        longest = sum(max(turn["parts"]) + turn["merge"] for turn in each["rounds"])
        how = f"{each['shards']} parts, rounds: {len(each['rounds'])}"
        rows.append(row(model, each["size"], each["shards"], how, longest))
    rows += [row(model, size, 1, "serial, not fitted", seconds) for size, seconds in held_out()]
    seconds = {**model.time, "merging a MB": model.seconds_a_merged_mb}
    n, d_teacher, d_student, queries, workers = ASKED
    return [
        f"`--executor dask` (a local cluster) takes {dask['seconds']:.1f} s, serial {serial['seconds']:.1f} s, "
        f"{said_of_ratio(found['ratio'])} times as long; anonymous memory of all processes {dask['anonymous_mb']:,} "
        f"and {serial['anonymous_mb']:,} MB. Documents held against serial: {same}.",
        "",
        *table(["rows, widths, queries", "how", "measured, s", "model, s"], rows),
        "",
        "Parts: the longest part and the merge of each round, as if each part had a machine of its own.",
        "",
        f"- Coefficients of the seconds: {', '.join(f'{name} {value:.2e}' for name, value in seconds.items())}.",
        f"- Of anonymous memory in MB: {', '.join(f'{name} {value:.2e}' for name, value in model.memory.items())}; "
        "they go with 1, n, D^2 and q.",
        "",
        f"Prediction for {n:,} rows, {d_teacher:,} against {d_student:,}, {queries:,} queries, on {workers} machines "
        "such as this one:",
        "",
        *(f"- {line}" for line in told(model.cost(*ASKED))),
    ]


def row(model: Model, size: Size, workers: int, how: str, seconds: float) -> list[Any]:
    """A row of the table."""
    n, d_teacher, d_student, queries = size
    predicted = model.cost(*size, workers).total
    return [f"{n:,}, {d_teacher:,} against {d_student:,}, {queries:,}", how, f"{seconds:.1f}", f"{predicted:.1f}"]


def held_out() -> list[tuple[Size, float]]:
    """The million rows of another part, which the model has not seen."""
    path = RESULTS / "million.json"
    if not path.exists():
        return []
    found = json.loads(path.read_text())
    return [((found["rows"], 768, 384, 5000), found["compare"]["seconds"])]
