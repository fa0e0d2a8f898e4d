"""The report of moving an index to another embedding model: verdict, churn, what every way retains, where it hurts."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.report.blocks import Block, Row, Section, Sentence, Table, Value
from manifold_probe.report.comparison import alarms_raised
from manifold_probe.report.records import MAP, NOT_NEEDED, CurvePoint, Way
from manifold_probe.report.result import Result
from manifold_probe.report.words import (
    ends,
    file_named,
    neighbours,
    number,
    paired_rows,
    percent,
    percents,
    shown,
)
from manifold_probe.spaces.affine import Map

LOSING_SHOWN = 10
LEGEND = (
    "of the new: share of the first {k} results of the new index (all embedded again, queries of the new model) that "
    "this way finds too; of the old: the same for the old index with queries of the old model; *: the map that keeps "
    "most of the new results. Queries are mapped to the old index; documents, the stored vectors, to the new model."
)
PRECISION = " same label: share of the results that have the query's label."


class Migration(Result):
    """What moving an index to another embedding model changes, and what a map in place of re-embedding retains.

    ``map``, ``save_map`` and ``calibration`` need the maps, which a result that was loaded does not have.

    Examples
    --------
    >>> import numpy as np
    >>> import manifold_probe as mp
    >>> rng = np.random.default_rng(0)
    >>> old = rng.normal(size=(400, 8))
    >>> rotation, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    >>> migration = mp.migrate(old, old @ rotation)
    >>> migration.verdict
    'map'
    >>> np.allclose(migration.map("queries")(old[0] @ rotation), old[0], atol=1e-4)
    True
    """

    columns = ("part", "name", "measure", "rows", "value", "low", "high")
    called = "a migration"

    def __init__(
        self, document: dict[str, Any], maps: Mapping[str, Map] | None = None, calibration: np.ndarray | None = None
    ) -> None:
        super().__init__(document)
        self._maps, self._calibration = maps, calibration

    def __repr__(self) -> str:
        return f"<Migration: {self._document['sentence']}>"

    @property
    def verdict(self) -> str:
        """ "not needed", "map" or "re-embed", by the rule in ``to_dict()["rule"]``."""
        return self._document["verdict"]

    @property
    def churn(self) -> dict[str, Any]:
        """The share of each document's nearest documents that changes: ``value``, ``low``, ``high``, ``chance``."""
        return copy.deepcopy(self._document["churn"])

    @property
    def ways(self) -> dict[str, Way]:
        """What every way of searching retains, such as ``ways["queries:linear"].retained.value``; "old" is the old
        index with the old model, "unmapped" the old index with queries of the new model."""
        return {key: Way.from_json(way) for key, way in self._document["ways"].items()}

    @property
    def best(self) -> str:
        """The way by a map that retains most, such as "documents:linear"."""
        return self._document["best"]

    @property
    def curve(self) -> list[CurvePoint]:
        """What the best map retains by the number of documents that it was fitted on."""
        return [CurvePoint.from_json(point) for point in self._document["curve"]]

    def map(self, of: str = "queries") -> Map:
        """The map of "queries" (new to old) or of stored "documents" (old to new) that retains most, or that of a way.

        A way is a key of `ways`, such as "documents:linear".

        Raises
        ------
        InputError
            For another name, or for a result that was loaded.
        """
        maps = _of_a_run(self._maps)
        keys = [key for key in maps if of in (key, key.partition(":")[0])]
        if not keys:
            names = ", ".join(["queries", "documents", *maps])
            raise InputError(f"map: there is none of {of!r}; choose one of {names}")
        return maps[max(keys, key=lambda key: self._document["ways"][key]["retained"]["value"])]

    @property
    def calibration(self) -> np.ndarray:
        """The ids (m,) of the documents that maps were fitted on, or their rows without ids: judge maps on others.

        Raises
        ------
        InputError
            For a result that was loaded.
        """
        return _of_a_run(self._calibration)

    def save_map(self, path: str | Path, of: str = "queries") -> None:
        """Save `map` as .safetensors; ``Map.load(path)(vector)`` applies it.

        Raises
        ------
        InputError
            As for `map`, or when the place cannot be written to.
        """
        self.map(of).save(path)

    def _blocks(self) -> list[Block]:
        document = self._document
        return [
            Sentence(document["sentence"], "strong"),
            Sentence(f"Rule: {document['rule']}.", "faint"),
            Sentence(_read(document)),
            Sentence(_churned(document)),
            *_by_label(document),
            _ways(document),
            _curve(document),
            _losing(document),
            alarms_raised(document["alarms"]),
        ]

    def _tidy_rows(self) -> list[dict[str, Any]]:
        """A row for the churn, for every number of every way, and for every point of the curve."""
        document = self._document
        searched = document["settings"]["searched_rows"]
        rows = [_tidy("churn", "", "churn", document["pairing"]["rows"], document["churn"])]
        for key, way in document["ways"].items():
            measures = {name: way[name] for name in ("retained", "of_old", "precision") if way[name] is not None}
            rows += [_tidy("way", key, name, searched, measure) for name, measure in measures.items()]
        rows += [_tidy("curve", document["best"], "retained", point["rows"], point) for point in document["curve"]]
        return rows


def _of_a_run(kept: Any) -> Any:
    """What a result that was loaded does not have."""
    if kept is None:
        raise InputError("migration: holds no maps, as it was loaded; run the migration again")
    return kept


def _tidy(part: str, name: str, measure: str, rows: int, interval: Mapping[str, Any]) -> dict[str, Any]:
    ends = {end: interval[end] for end in ("value", "low", "high")}
    return {"part": part, "name": name, "measure": measure, "rows": rows, **ends}


def sentence(verdict: str, way: Mapping[str, Any], threshold: float) -> str:
    """The verdict with its number: ``way`` is the one that decided.

    >>> kept = {"value": 0.531, "low": 0.51, "high": 0.55}
    >>> sentence("re-embed", {"words": "queries mapped (linear)", "retained": kept}, 0.9)
    "Re-embed: the best other way, 'queries mapped (linear)', keeps 53% (51.0 to 55.0%) of the new results, below 90%."
    """
    retained = way["retained"]
    interval = percents(retained["low"], retained["high"])
    kept = f"{percent(retained['value'])} ({interval}) of the new results"
    if verdict == NOT_NEEDED:
        return f"Not needed: the old index answers queries of the new model, without a map, with {kept}."
    if verdict == MAP:
        return f"Map: the best way, '{way['words']}', keeps {kept}."
    needed = percent(threshold)
    below = f"below {needed}" if retained["value"] < threshold else f"not surely {needed}"
    return f"Re-embed: the best other way, '{way['words']}', keeps {kept}, {below}."


def _read(document: Mapping[str, Any]) -> str:
    """What was read, and how it was split."""
    old, new, queries = (document["inputs"][name] for name in ("old", "new", "queries"))
    settings = document["settings"]
    names = (f"{_called(side)} ({side['shape'][1]:,} dimensions)" for side in (old, new))
    asking = f"{settings['queries']:,} of these ask" if queries is None else f"{settings['queries']:,} real queries ask"
    fitted, searched = (f"{settings[name]:,}" for name in ("calibration_rows", "searched_rows"))
    return (
        f"From {' to '.join(names)}: {paired_rows(document['pairing'])}. Maps are fitted on {fitted} documents and "
        f"judged on the {searched} others, by cosine; {asking}."
    )


def _called(side: Mapping[str, Any]) -> str:
    """The file or folder, and the collection, table or array in it: both sides may lie in one folder."""
    file, key = file_named(dict(side)) or shown(side["name"]), side.get("key")
    return file if key in (None, "features") or file.startswith(key) else f"{file}::{shown(key)}"


def _churned(document: Mapping[str, Any]) -> str:
    churn, k = document["churn"], document["settings"]["k"]
    known = "" if churn["low"] is None else f" ({percents(churn['low'], churn['high'])})"
    return (
        f"Churn: from the old model to the new one {percent(churn['value'])}{known} of each document's "
        f"{neighbours(k)} change, among {document['pairing']['rows']:,} documents; more change in a larger index."
    )


def _by_label(document: Mapping[str, Any]) -> list[Block]:
    """What the choices come to by label, where there are labels: the map is that with most results of the label."""
    scores = {key: way["precision"]["value"] for key, way in document["ways"].items() if way["precision"] is not None}
    if not scores:
        return []
    mapped = max((key for key in scores if ":" in key), key=scores.__getitem__)
    kept = [key for key in ("re-embedded", "old", "unmapped", mapped) if key in scores]
    listed = "; ".join(f"{document['ways'][key]['words']} {percent(scores[key])}" for key in kept)
    return [Sentence(f"Results with the query's label: {listed}. A result that changes need not be worse.")]


def _ways(document: Mapping[str, Any]) -> Section:
    """The table of the ways."""
    ways = document["ways"]
    heads = {"retained": "of the new", "of_old": "of the old", "precision": "same label"}
    heads = {name: head for name, head in heads.items() if any(way[name] is not None for way in ways.values())}
    rows = []
    for key, way in ways.items():
        cells = [_value(way[name], name == "retained" and key == document["best"]) for name in heads]
        rank = "" if way["rank"] is None else f", rank {way['rank']}"
        rows.append(Row((way["words"] + rank, *cells)))
    legend = LEGEND.format(k=document["settings"]["k"]) + (PRECISION if "precision" in heads else "")
    return Section("What each way keeps", [Table(("way", *heads.values()), rows), Sentence(legend, "faint")])


def _value(measure: Mapping[str, Any] | None, best: bool = False) -> Value:
    if measure is None or None in (measure["low"], measure["high"]):
        return Value("-" if measure is None else number(measure["value"]), best=best)
    return Value(number(measure["value"]), *ends(measure["low"], measure["high"]), best=best)


def _curve(document: Mapping[str, Any]) -> Section:
    """The learning curve of the best map."""
    rows = [Row((f"{point['rows']:,}", _value(point), str(point["draws"]))) for point in document["curve"]]
    if document["enough"] is None:
        text = "The curve still rises at its end: more calibration documents would help, if a map is wanted."
    else:
        text = f"{document['enough']:,} calibration documents keep at most 0.010 less than all of them."
    words = document["ways"][document["best"]]["words"]
    table = Table(("calibration documents", "of the new", "samples"), rows)
    return Section(f"How many calibration documents: {words}", [table, Sentence(text)])


def _losing(document: Mapping[str, Any]) -> Section:
    """The documents that fewest queries still find with the best map."""
    losing = document["losing"][:LOSING_SHOWN]
    if not losing:
        return Section("", [])
    labelled, known = (any(row[name] is not None for row in losing) for name in ("label", "kept_by_old"))
    heads = [
        "document",
        *["label"] * labelled,
        "found",
        "with the map",
        *["in the old index"] * known,
        "lost by",
    ]
    rows = []
    for row in losing:
        cells = [shown(row["row"] if row["id"] is None else row["id"], 32)]
        cells += ["-" if row["label"] is None else shown(row["label"], 24)] if labelled else []
        cells += [f"{row['times']:,}", f"{row['kept']:,}"] + ([f"{row['kept_by_old']:,}"] if known else [])
        cells.append(", ".join(shown(name, 16) for name in row["lost_by"][:3]))
        rows.append(Row(cells))
    legend = (
        f"found: by how many queries among their first {document['settings']['k']} results in the new index; then how "
        "many of these find it too; lost by: some that do not, with the map. More queries (--queries) see more."
    )
    return Section("Documents that lose most", [Table(heads, rows), Sentence(legend, "faint")])
