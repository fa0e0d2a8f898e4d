"""``migrate``: what moving an index to another embedding model changes, and whether a map saves re-embedding."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Any

import numpy as np

from manifold_probe.api.arguments import OnProgress, check_settings
from manifold_probe.api.documents import changed_by_index, pairing_of
from manifold_probe.api.provenance import describe_input, provenance_of
from manifold_probe.errors import InputError
from manifold_probe.measures.catalogue import OVERLAP
from manifold_probe.measures.request import Request
from manifold_probe.parts import Parts
from manifold_probe.report.document import MIGRATION
from manifold_probe.report.migration import Migration, sentence
from manifold_probe.report.records import MAP, NOT_NEEDED, RE_EMBED, Interval
from manifold_probe.report.typed import plain
from manifold_probe.spaces.checks import bad, check_finite
from manifold_probe.spaces.labels import is_labelled
from manifold_probe.spaces.read import as_space
from manifold_probe.spaces.space import Space

if TYPE_CHECKING:
    from manifold_probe.evaluation.migration import Move, Way
    from manifold_probe.measures.uncertainty import Estimate
    from manifold_probe.spaces.pairing import Pair

THRESHOLD = 0.9  # of the new index's results: a map that surely retains this share saves re-embedding
RULE = (
    "'not needed' where queries of the new model, without a map, find at least {share} of the new index's results in "
    "the old index; else 'map' where the best map does; else 're-embed'. The lower end of the 95% interval decides"
)
QUERIES = 2000
MIN_SEARCHED = 20  # documents; and three for each of the k results
LOSING, LOSERS = 100, 5  # documents that are listed, and queries of each
INDEXES = ("faiss", "lancedb", "datasets")  # formats that may come without ids
WORDS = {
    "re-embedded": "all embedded again",
    "old": "old index, old model",
    "unmapped": "old index, queries not mapped",
    "queries": "queries mapped ({kind})",
    "documents": "documents mapped ({kind})",
}


def migrate(
    old: Any,
    new: Any,
    *,
    queries: Any = QUERIES,
    labels: Any = None,
    ids: Any = None,
    k: int = 10,
    seed: int = 0,
    positional: bool = False,
    allow_missing: bool = False,
    keep_first: bool = False,
    ignore_labels: bool = False,
    progress: OnProgress | None = None,
) -> Migration:
    """Measure what moving an index from an old embedding model to a new one changes, and what maps in its place retain.

    Maps are fitted on a random half of the documents, at most 10,000, and judged on the others: of the first k results
    that the new index gives, the share that is also found without re-embedding.

    Parameters
    ----------
    old, new : path, (n, d) array, tensor, DataFrame, dict ``{"features": x, "ids": ids}`` or Space
        Vectors of the same documents by both models: a FAISS file, the folder of LanceDB, Chroma, Qdrant or
        ``datasets``, the address of a Qdrant server, or all that `compare` takes. A sample of the documents is enough
        for ``new``, with ``allow_missing``.
    queries : int, path or (q, d) array
        How many documents ask, or vectors of real queries by the new model, with their own labels if they have any.
        Real queries are judged without the old model, so that nothing is known of the old results.
    labels : sequence of length n, path, or table with ids, optional
        Labels of the documents: the share of results with the query's label is then given too.
    ids : sequence of length n or path, or a pair of these, optional
        Ids of the documents for both, or (old, new).
    k : int
        Results of a search.
    seed : int
        Seed of everything drawn at random.
    positional : bool
        Pair by position and ignore the ids.
    allow_missing : bool
        Go on with the documents that are in both.
    keep_first, ignore_labels : bool
        As for `compare`.
    progress : callable, optional
        Called as ``progress(stage, done, total)``.

    Raises
    ------
    InputError
        When something given cannot be used; an index without stored ids, unless ``ids`` or ``positional`` are given.
    """
    from manifold_probe.evaluation.migration import Move, enough
    from manifold_probe.measures.measure import measure_students

    asked = as_queries(queries, not ignore_labels)
    check_settings(k, QUERIES if isinstance(asked, Space) else asked, seed)
    old, new = (as_space(side, name, not ignore_labels) for side, name in ((old, "old"), (new, "new")))
    if not positional:
        _check_ids(old, new, ids)
    parts = Parts(progress, {"churn": 1.0, "ways": 3.0, "curve": 2.0})
    rules: dict[str, Any] = {"positional": positional, "allow_missing": allow_missing, "keep_first": keep_first}
    rules["ignore_labels"] = ignore_labels
    pair = Request(old, {"new": new}, labels, ids, **rules).open().pairs["new"]
    _check_rows(pair, asked, k)
    overlap = OVERLAP.named(k)
    measured = measure_students({"new": pair}, k=k, seed=seed, measures=[overlap], progress=parts["churn"])["new"]
    codes, asked_codes = _codes(pair, asked)
    move = Move(pair.teacher, pair.student, k=k, queries=asked, seed=seed, labels=codes, asked_labels=asked_codes)
    ways = dict(move.ways(parts["ways"]))
    maps = {of: _best(ways, of) for of in ("queries", "documents")}
    best = max(maps.values(), key=lambda key: ways[key].retained.value or 0.0)
    points = move.curve(best, parts["curve"])
    verdict, decided = _verdict(ways, best)
    written = {key: _way(key, way) for key, way in ways.items()}
    kept = measured.measures[overlap]
    alarms = [{"code": alarm.code, "message": alarm.message} for alarm in measured.alarms]
    document = {
        "schema": MIGRATION,
        "verdict": verdict,
        "sentence": sentence(verdict, plain(written[decided]), THRESHOLD),
        "rule": RULE.format(share=f"{THRESHOLD:.0%}"),
        "inputs": {
            "old": describe_input(old, None),
            "new": describe_input(new, None),
            "queries": describe_input(asked, None) if isinstance(asked, Space) else None,
        },
        "pairing": pairing_of(pair),
        "settings": {
            "k": int(k),
            "queries": len(move.asked),
            "seed": int(seed),
            "calibration_rows": move.calibration,
            "searched_rows": move.n,
            "threshold": THRESHOLD,
        },
        "churn": {**_changed(kept), "n": kept.n, "chance": None if kept.chance is None else 1 - kept.chance},
        "ways": written,
        "best": best,
        "curve": [{**_interval(point.retained), "rows": point.rows, "draws": point.draws} for point in points],
        "enough": enough(points),
        "losing": _losing(pair, move, ways, best, asked),
        "alarms": [*alarms, *changed_by_index(old, new)],
        "provenance": provenance_of(seed),
    }
    fitted_on = move.fitted_on if pair.ids is None else np.asarray(pair.ids)[move.fitted_on]
    return Migration(plain(document), {key: way.map for key, way in ways.items() if way.map is not None}, fitted_on)


def as_queries(queries: Any, labelled: bool = True) -> Any:
    """A number of documents, or the space of real queries. Raises InputError for neither.

    >>> as_queries("500"), as_queries(np.eye(3)).n
    (500, 3)
    """
    if isinstance(queries, str) and queries.strip().lstrip("-").isdigit():
        return int(queries)
    is_number = isinstance(queries, int | float | np.number) or queries is None
    return queries if is_number else as_space(queries, "queries", labelled, fewest=1)


def _check_ids(old: Space, new: Space, ids: Any) -> None:
    """Refuse an index without ids, and one side without, with the option that names them."""
    given = ids if isinstance(ids, tuple) and len(ids) == 2 else (ids, ids)
    sides = [(name, space) for name, space, of in zip(("old", "new"), (old, new), given, strict=True) if of is None]
    without = [(name, space) for name, space in sides if space.ids is None]
    from_index = any(space.source.format in INDEXES for _, space in without)
    if not without or (len(without) == 2 and not from_index):
        return  # two arrays are paired by position, and the report says so
    name, space = without[0]
    fix = f"give them with --{name}-ids FILE (ids=(old, new))"
    if space.source.id_candidate is not None:
        fix = f"'{space.source.id_candidate}' may hold them: give "
        fix += f"--{name}-ids {quote(f'{space.source.path}::{space.source.id_candidate}')}"
    raise bad(
        space.name,
        f"stores no ids, so that nothing says which document a vector belongs to; {fix}, or pair by position with "
        "--positional (positional=True)",
    )


def _check_rows(pair: Pair, asked: Any, k: int) -> None:
    """Refuse too few documents, and queries of another model."""
    needed = 2 * max(MIN_SEARCHED, 3 * k)
    if pair.teacher.n < needed:
        raise InputError(
            f"old and new share {pair.teacher.n:,} documents; k = {k} needs at least {needed}, half of them to "
            "fit maps; give more"
        )
    if not isinstance(asked, Space):
        return
    if asked.d != pair.student.d:
        raise bad(
            asked.name,
            f"has {asked.d:,} dimensions, but the new model's vectors have {pair.student.d:,}; embed the queries with "
            "the new model",
        )
    if asked.n < MIN_SEARCHED:
        raise bad(asked.name, f"holds {asked.n} queries; at least {MIN_SEARCHED} are needed for an interval")
    rows = asked.read(0, asked.n)
    check_finite(rows, 0, asked)
    zero = np.flatnonzero(~rows.any(1))
    if len(zero):
        raise bad(
            asked.name,
            f"holds {len(zero):,} zero vectors, which have no direction (first in row {zero[0]:,}); drop these rows",
        )


def _codes(pair: Pair, asked: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
    """A number for every label of documents (n,) and of real queries (q,), -1 for none; None without labels."""
    if pair.labels is None:
        return None, None
    labels, asked_labels = np.asarray(pair.labels), asked.labels if isinstance(asked, Space) else None
    known = is_labelled(labels)
    if asked_labels is None:
        return np.where(known, np.unique(labels, return_inverse=True)[1], -1), None
    known = np.concatenate([known, is_labelled(asked_labels)])
    both = [labels, asked_labels]
    if labels.dtype.kind != asked_labels.dtype.kind:
        both = [part.astype(str) for part in both]  # 7 is "7", as for ids
    codes = np.where(known, np.unique(np.concatenate(both), return_inverse=True)[1], -1)
    return codes[: len(labels)], codes[len(labels) :]


def _best(ways: dict[str, Way], of: str) -> str:
    """The map of queries, or of documents, that retains most."""
    return max((key for key in ways if key.startswith(f"{of}:")), key=lambda key: ways[key].retained.value or 0.0)


def _verdict(ways: dict[str, Way], best: str) -> tuple[str, str]:
    """The verdict, and the way that decided."""
    for verdict, key in ((NOT_NEEDED, "unmapped"), (MAP, best)):
        if key in ways and (ways[key].retained.low or 0.0) >= THRESHOLD:
            return verdict, key
    return RE_EMBED, max(
        (key for key in ("unmapped", best) if key in ways), key=lambda key: ways[key].retained.value or 0
    )


def _way(key: str, way: Way) -> dict[str, Any]:
    of, _, kind = key.partition(":")
    measures = {"retained": way.retained, "of_old": way.of_old, "precision": way.precision}
    return {
        "words": WORDS[of].format(kind=kind),
        **{name: None if measure is None else _interval(measure) for name, measure in measures.items()},
        "rank": way.rank,
    }


def _interval(estimate: Estimate) -> Interval:
    return Interval(value=estimate.value, low=estimate.low, high=estimate.high)


def _changed(kept: Any) -> dict[str, float | None]:
    """1 - overlap, with its interval."""
    ends = {"value": kept.value, "low": kept.high, "high": kept.low}
    return {name: None if end is None else 1 - end for name, end in ends.items()}


def _losing(pair: Pair, move: Move, ways: dict[str, Way], best: str, asked: Any) -> list[dict[str, Any]]:
    """The documents that most queries no longer find with the best map."""
    found = {key: ways[key].found for key in ("re-embedded", best, "old") if key in ways}
    wanted = found["re-embedded"]
    keeps = {key: (wanted[:, :, None] == rows[:, None, :]).any(2) for key, rows in found.items()}
    times = np.bincount(wanted.ravel(), minlength=move.n)
    kept = {key: np.bincount(wanted[mask], minlength=move.n) for key, mask in keeps.items()}
    lost = times - kept[best]
    most = np.lexsort((np.arange(move.n), kept[best], -lost))[:LOSING]
    places = np.arange(len(wanted)) if move.asking is None else move.searched[move.asking]
    ids = pair.ids if move.asking is not None else asked.ids
    asking = places if ids is None else np.asarray(ids)[places]
    losing = []
    for place in most[lost[most] > 0].tolist():
        row = int(move.searched[place])
        label = None if pair.labels is None else np.asarray(pair.labels)[[row]]
        losers = np.flatnonzero(((wanted == place) & ~keeps[best]).any(1))[:LOSERS]
        losing.append(
            {
                "row": row,
                "id": None if pair.ids is None else np.asarray(pair.ids)[row].item(),
                "label": label[0].item() if label is not None and is_labelled(label)[0] else None,
                "times": times[place],
                "kept": kept[best][place],
                "kept_by_old": kept["old"][place] if "old" in kept else None,
                "lost_by": asking[losers].tolist(),
            }
        )
    return losing
