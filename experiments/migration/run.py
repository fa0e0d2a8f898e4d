"""Is the verdict of `probe migrate` right? Real texts, real databases, and retrieval by Section as the truth.

12,000 package descriptions are stored in LanceDB by an old encoder. Half of them, the sample, are embedded by the new
one and stored in Qdrant; `probe migrate` sees these alone. Then titles of 2,000 other packages ask, and the other 6,000
documents, which no map was fitted on, are searched: exactly, and by the databases for the first 200 queries as a check.

    old          old index, query by the old encoder: nothing moves
    unmapped     old index, query by the new encoder, where widths are equal
    queries      old index, query by the new encoder through the saved map of queries
    documents    stored vectors through the saved map of documents, query by the new encoder
    re-embedded  new index, query by the new encoder

    precision    share of the first ten results that are in the query's Section
    retained     share of the first ten results of re-embedding that are found

See README.md for what to install. Run: nice python experiments/migration/run.py
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import lancedb
import numpy as np
import torch
from qdrant_client import QdrantClient, models
from scipy import stats
from texts import DATA, ENCODERS, texts, vectors

import manifold_probe as mp

torch.set_num_threads(1)
RESULTS = Path(__file__).resolve().parent / "results"
SAMPLE, K = 6_000, 10
CHECKED = 200  # queries that ask the databases too; the search for all is the same, exact, but quicker
BAR = 0.01  # of precision: a way that surely loses less than this is as good as embedding everything again
PAIRS = [
    ("words", "minilm"),
    ("minilm", "words"),
    ("paraphrase", "minilm"),
    ("minilm", "paraphrase"),
    ("minilm", "int8"),
    ("minilm", "reduced"),
]
WORDS = {
    "old": "old index, old model",
    "unmapped": "old index, queries not mapped",
    "queries": "queries mapped",
    "documents": "documents mapped",
    "re-embedded": "all embedded again",
}
Ids = np.ndarray  # (q, K), nearest first


# ---- databases


def old_index(encoder: str) -> Path:
    """The folder of a LanceDB table of all documents."""
    return lance_table(encoder, vectors(encoder, "texts"))


def lance_table(name: str, rows: np.ndarray) -> Path:
    """A LanceDB table with "id", "vector", "label" and whether a document is in the sample."""
    folder, known = DATA / "lance", texts()
    path = folder / f"{name}.lance"
    if not path.exists():
        columns = zip(rows.tolist(), known["sections"].tolist(), known["ids"].tolist(), strict=True)
        table = [
            {"id": id, "vector": row, "label": section, "package": package, "sampled": id < SAMPLE}
            for id, (row, section, package) in enumerate(columns)
        ]
        lancedb.connect(str(folder)).create_table(name, table)
    return path


def new_index(encoder: str) -> Path:
    """A folder of Qdrant with the collections "sample" and "rest"."""
    path, known = DATA / "qdrant" / encoder, texts()
    if not path.exists():
        unfinished = path.with_suffix(".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        client = QdrantClient(path=str(unfinished))
        rows = vectors(encoder, "texts")
        for name, ids in (("sample", range(SAMPLE)), ("rest", range(SAMPLE, len(rows)))):
            size = models.VectorParams(size=ENCODERS[encoder], distance=models.Distance.COSINE)
            client.create_collection(name, vectors_config=size)
            points = [
                models.PointStruct(
                    id=id,
                    vector=rows[id].tolist(),
                    payload={"label": str(known["sections"][id]), "package": str(known["ids"][id])},
                )
                for id in ids
            ]
            client.upsert(name, points)
        client.close()
        unfinished.rename(path)
    return path


def found_in_lance(name: str, asked: np.ndarray) -> Ids:
    """The documents outside the sample that LanceDB finds."""
    table = lancedb.connect(str(DATA / "lance")).open_table(name)
    found = []
    for vector in asked:
        search = table.search(vector.astype(np.float32)).distance_type("cosine").where("NOT sampled", prefilter=True)
        found.append(search.select(["id", "_distance"]).limit(K).to_arrow()["id"].to_pylist())
    return np.array(found)


def found_in_qdrant(encoder: str, asked: np.ndarray) -> Ids:
    """The documents outside the sample that Qdrant finds."""
    client = QdrantClient(path=str(new_index(encoder)))
    answers = [client.query_points("rest", query=vector.tolist(), limit=K).points for vector in asked]
    client.close()
    return np.array([[point.id for point in points] for points in answers])


# ---- a pair of encoders


def measured(old: str, new: str) -> dict[str, Any]:
    """What `probe migrate` says of a pair, and what retrieval by Section says; stored."""
    path = DATA / "pairs" / f"{old}-{new}.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        migration = mp.migrate(old_index(old), f"{new_index(new)}::sample", allow_missing=True)
        migrations = {"titles": titles_ask(old, new), "documents": migration.to_dict()}
        parts = ("verdict", "sentence", "best", "churn", "ways", "curve", "enough")
        found, agreed = results(old, new)
        truth = found["re-embedded"]
        judged = {way: scores(ids, truth) for way, ids in found.items()}
        pair = {
            "old": old,
            "new": new,
            "migrate": {asking: {part: said[part] for part in parts} for asking, said in migrations.items()},
            "ways": judged,
            "databases": agreed,
            "by_section": by_section(judged),
            "peers": peers(old, new, migration, truth),
        }
        path.write_text(json.dumps(pair, indent=1))
    return json.loads(path.read_text())


def titles_ask(old: str, new: str) -> dict[str, Any]:
    """What `probe migrate` says where titles ask; its maps are saved."""
    queries = DATA / "vectors" / f"{new}-titles.npz"
    np.savez(queries, features=vectors(new, "asked-texts"), labels=texts()["asked-sections"])
    arguments = ["--old", old_index(old), "--new", f"{new_index(new)}::sample", "--allow-missing", "--json"]
    arguments += ["--queries", queries, "--save-map", saved_map(old, new, "queries")]
    arguments += ["--save-document-map", saved_map(old, new, "documents")]
    command = [sys.executable, "-m", "manifold_probe", "migrate", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def saved_map(old: str, new: str, of: str) -> Path:
    """The file of a map."""
    (DATA / "maps").mkdir(exist_ok=True)
    return DATA / "maps" / f"{old}-{new}-{of}.safetensors"


def results(old: str, new: str) -> tuple[dict[str, Ids], dict[str, float]]:
    """The documents found, by way; and the share of these that the databases find too, for the first queries."""
    known, asked = ({encoder: vectors(encoder, of) for encoder in (old, new)} for of in ("texts", "asked-texts"))
    bridge = mp.spaces.Map.load(saved_map(old, new, "queries"))
    mapped = mp.spaces.Map.load(saved_map(old, new, "documents"))(known[old])
    moved = f"{old}-to-{new}"
    shutil.rmtree(DATA / "lance" / f"{moved}.lance", ignore_errors=True)  # of other maps
    lance_table(moved, mapped)
    in_lance, in_qdrant = partial(found_in_lance, old), partial(found_in_qdrant, new)
    ways = {"old": (known[old], asked[old], in_lance)}
    if ENCODERS[old] == ENCODERS[new]:
        ways["unmapped"] = known[old], asked[new], in_lance
    ways["queries"] = known[old], np.stack([bridge(vector) for vector in asked[new]]), in_lance
    ways["documents"] = mapped, asked[new], partial(found_in_lance, moved)
    ways["re-embedded"] = known[new], asked[new], in_qdrant
    found = {way: nearest(rows, queries) for way, (rows, queries, _) in ways.items()}
    agreed = {
        way: float((find(queries[:CHECKED])[:, :, None] == found[way][:CHECKED, None, :]).any(2).mean())
        for way, (_, queries, find) in ways.items()
    }
    return found, agreed


# ---- scores


def scores(found: Ids, truth: Ids) -> dict[str, list[float]]:
    """By query: the precision by Section, and the share of the results of re-embedding."""
    known = texts()
    right = known["sections"][found] == known["asked-sections"][:, None]
    retained = (found[:, :, None] == truth[:, None, :]).any(2)
    return {"precision": right.mean(1).tolist(), "retained": retained.mean(1).tolist()}


def mean(values: Any) -> dict[str, float]:
    """The mean over queries with its 95% interval."""
    values = np.asarray(values)
    reach = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return {"value": values.mean(), "low": values.mean() - reach, "high": values.mean() + reach}


def by_section(judged: dict[str, dict[str, list[float]]]) -> str:
    """The cheapest choice that surely loses less than `BAR` of precision against embedding everything again."""
    again = np.array(judged["re-embedded"]["precision"])
    for verdict, ways in (("not needed", ["unmapped"]), ("map", ["queries", "documents"])):
        if any(mean(judged[way]["precision"] - again)["low"] > -BAR for way in ways if way in judged):
            return verdict
    return "re-embed"


# ---- another package on the same rows


def peers(old: str, new: str, migration: mp.Migration, truth: Ids) -> dict[str, dict[str, list[float]]]:
    """Maps of isotrieve fitted on the rows that ours were fitted on, judged on the same documents and queries."""
    from isotrieve import OrthogonalProcrustesMapping, RidgeMapping

    rows = migration.calibration
    x, y = vectors(old, "texts"), vectors(new, "texts")
    asked = vectors(new, "asked-texts")
    maps: dict[str, tuple[Any, Any]] = {
        f"manifold_probe, {kind}": tuple(migration.map(f"{of}:{kind}") for of in ("queries", "documents"))
        for kind in ("linear", "orthogonal", "low-rank")
    }
    kinds = [RidgeMapping, *[OrthogonalProcrustesMapping] * (x.shape[1] == y.shape[1])]
    for kind in kinds:
        forward = kind().fit(x[rows], y[rows])
        maps[f"isotrieve, {forward.mapping_type}"] = (forward.inverse_transform, forward.transform)
    judged = {}
    for name, (to_old, to_new) in maps.items():
        judged[f"{name}: queries"] = scores(nearest(x, to_old(asked)), truth)
        judged[f"{name}: documents"] = scores(nearest(to_new(x), asked), truth)
    return judged


def nearest(rows: np.ndarray, asked: np.ndarray) -> Ids:
    """The documents outside the sample nearest by cosine, exactly."""
    rows, asked = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (rows[SAMPLE:], asked))
    return SAMPLE + np.argsort(-(asked @ rows.T), axis=1, kind="stable")[:, :K]


# ---- what is written


def written(measure: dict[str, float], plus: str = "") -> str:
    """ ".412 (.398 to .426)"."""
    return f"{measure['value']:{plus}.3f} ({measure['low']:{plus}.3f} to {measure['high']:{plus}.3f})"


def markdown(pairs: list[dict[str, Any]]) -> str:
    """The results to read."""
    lines = ["# Results", "", "Written by run.py. In parentheses: 95% intervals over 2,000 queries.", ""]
    head = ["old to new", "verdict, titles ask", "verdict, documents ask", f"by Section, at most {BAR:.0%} lost"]
    rows = [
        [
            f"{pair['old']} to {pair['new']}",
            *(pair["migrate"][of]["verdict"] for of in ("titles", "documents")),
            pair["by_section"],
        ]
        for pair in pairs
    ]
    lines += table([head, *rows])
    for pair in pairs:
        ways, said = pair["ways"], pair["migrate"]["titles"]["ways"]
        again = ways["re-embedded"]["precision"]
        lines += [f"## {pair['old']} to {pair['new']}", "", pair["migrate"]["titles"]["sentence"], ""]
        rows = [["way", "precision", "less all embedded again", "retained", "retained, said by migrate"]]
        for way, scored in ways.items():
            keys = [key for key in said if key.partition(":")[0] == way]
            key = max(keys, key=lambda key: said[key]["retained"]["value"], default="")
            less = "" if way == "re-embedded" else written(mean(np.subtract(scored["precision"], again)), "+")
            told = written(said[key]["retained"]) if key and way != "re-embedded" else ""
            rows.append([WORDS[way], written(mean(scored["precision"])), less, written(mean(scored["retained"])), told])
        lines += table(rows)
        rows = [["maps on the same rows", "precision", "retained"]]
        for name, scored in pair["peers"].items():
            rows.append([name, written(mean(scored["precision"])), written(mean(scored["retained"]))])
        lines += table(rows)
    return "\n".join(lines)


def table(rows: list[list[str]]) -> list[str]:
    """Lines of a markdown table; the first row is the head."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], f"|{'---|' * len(rows[0])}", *lines[1:], ""]


def short(pair: dict[str, Any]) -> dict[str, Any]:
    """A pair with means in place of the scores of every query."""
    means = {
        part: {way: {name: mean(values) for name, values in scored.items()} for way, scored in pair[part].items()}
        for part in ("ways", "peers")
    }
    return {**pair, **means}


def main() -> None:
    """Measure every pair and write results/."""
    pairs = [measured(old, new) for old, new in PAIRS]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "results.json").write_text(json.dumps([short(pair) for pair in pairs], indent=1) + "\n")
    (RESULTS / "results.md").write_text(markdown(pairs))
    print(markdown(pairs))


if __name__ == "__main__":
    main()
