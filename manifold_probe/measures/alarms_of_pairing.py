"""Alarms about which rows belong together: the pairing, its labels, a block in another order, the same file twice."""

from __future__ import annotations

import numpy as np

from manifold_probe.engine.profile import Profile
from manifold_probe.engine.rows import PERMUTING, generator
from manifold_probe.measures.results import Alarm
from manifold_probe.spaces.labels import suspicious
from manifold_probe.spaces.pairing import Pair

Held = tuple[tuple[str, np.ndarray], ...]
SCAN_PERMUTATIONS = 200
MIN_WINDOW = 20  # queries
MAX_NESTED_SEARCHES = 4
MAX_NESTED_SCORE = -4.0  # standard errors: a window within a window must lie this far below the rest
MAIN_CLASS_SHARE = 0.8  # of a block, above which it is one class


def pairing(pair: Pair) -> list[Alarm]:
    """What is known, or not, about which rows belong together."""
    alarms = []
    if not pair.verified:
        by = f"no ids confirm it; {_ids_to_give(pair)}"
        if pair.teacher.ids is not None and pair.student.ids is not None:
            by = contradicted(pair.teacher.ids, pair.student.ids)
        alarms.append(Alarm("unverified_pairing", f"rows were paired by position and {by}."))
    if pair.label_conflicts:
        alarms.append(Alarm("misaligned_rows", _label_conflicts(pair)))
    if pair.labels is not None:
        alarms += suspicious_labels(pair.labels)
    if (tokens := pair.teacher.source.tokens) is not None:
        repeated = "" if pair.labels is None else f"; the label of a set stands for each of its {tokens} tokens"
        alarms.append(
            Alarm(
                "tokens_as_rows",
                f"rows are the {tokens} tokens of each of {pair.teacher.n // tokens:,} sets. They are not "
                f"independent, so intervals are too narrow{repeated}.",
            )
        )
    return alarms


def contradicted(teacher: np.ndarray, student: np.ndarray) -> str:
    """How far the ids (n,) of both sides contradict a pairing by position.

    >>> contradicted(np.array(["a", "b", "c"]), np.array(["a", "c", "b"]))
    'ids contradict it: those of 2 of 3 rows differ; pair by id, without --positional (positional=True)'
    """
    different = int((teacher.astype(str) != student.astype(str)).sum())
    fix = "pair by id, without --positional (positional=True)"
    return f"ids contradict it: those of {different:,} of {len(teacher):,} rows differ; {fix}"


def _label_conflicts(pair: Pair) -> str:
    n, rows = pair.teacher.n, pair.label_conflicts
    if pair.recoded:
        return (
            f"the labels in the two files disagree on {rows:,} of {n:,} paired rows, even after the one-to-one "
            f"recoding of the classes that fits best ({pair.label_conflicts_as_written:,} as they are written)."
        )
    return (
        f"the labels in the two files disagree on {rows:,} of {n:,} paired rows, and no one-to-one recoding of the "
        "classes explains it: check the order of the rows, or give labels of the same classes."
    )


def suspicious_labels(labels: np.ndarray, where: str = "") -> list[Alarm]:
    """Labels (n,) that may mean "no label" but are read as classes, such as the text 'nan'; ``where`` they are."""
    return [
        Alarm(
            "suspicious_label",
            f"{count:,} {where + ' ' if where else ''}rows have the label {name!r}, which is read as a class; if it "
            f"means 'no label', give --unlabelled {name!r} (unlabelled={name!r}).",
        )
        for name, count in suspicious(labels)
    ]


def _ids_to_give(pair: Pair) -> str:
    """Which columns may be ids, and the options that take them."""
    sides = (("teacher", pair.teacher), ("student", pair.student))
    without_ids = {side: space for side, space in sides if space.ids is None and space.source.id_candidate}
    if not without_ids:
        return "give ids on both sides"
    arguments = {side: f"{side}['{space.source.id_candidate}']" for side, space in without_ids.items()}
    as_argument = f"ids=({', '.join(arguments.get(side, f'ids of the {side}') for side, _ in sides)})"
    if not all(space.source.path for space in without_ids.values()):
        return f"a column may hold them: give {as_argument}"
    options = [space.source.ids_option(side) for side, space in without_ids.items()]
    options += [f"--{side}-ids FILE" for side, space in sides if side not in without_ids and space.ids is None]
    return f"a column may hold them: give {' and '.join(options)} (ids=(teacher's, student's))"


def same_file(pair: Pair, teacher: Profile, student: Profile) -> list[Alarm]:
    """The same rows on both sides: the student is the teacher."""
    if len(teacher.mean) != len(student.mean) or not np.array_equal(teacher.hashes, student.hashes):
        return []
    same = pair.teacher.source.path is not None and pair.teacher.source.path == pair.student.source.path
    what = "file" if same else "rows"
    return [Alarm("same_file", f"teacher and student are the same {what}: every likeness is 1 by construction.")]


def misaligned_block(queries: np.ndarray, terms: np.ndarray, chance: np.ndarray, names: np.ndarray) -> list[Alarm]:
    """A run of rows whose overlap (q,) is at chance (q,) for their classes ``names`` (q,), unlike the rest.

    Every window of 1/64 to 1/2 of the queries, in row order, is compared with the rest. The lowest one is reported
    where it lies below those of all 200 random row orders and its overlap is near chance. A window that is low but not
    at chance may contain one that is (rows of a class whose neighbours were shuffled away), so it is searched again.
    """
    q = len(terms)
    if q < 100:
        return []
    excess = terms - chance
    rng = generator(0, PERMUTING)
    score, start, stop = _sharpened(excess, *_lowest_window(excess))
    null = [_lowest_window(rng.permutation(excess))[0] for _ in range(SCAN_PERMUTATIONS)]
    if score >= min(null):
        return []
    for _ in range(MAX_NESTED_SEARCHES):
        inside = np.zeros(q, dtype=bool)
        inside[start:stop] = True
        rest, block = excess[~inside].mean(), excess[inside].mean()
        if rest > 0 and block <= 0.1 * rest + 2 * excess[inside].std() / np.sqrt(stop - start):
            message = (
                f"rows {queries[start]:,} to {queries[stop - 1]:,} keep {terms[inside].mean():.1%} of their "
                f"neighbours, no more than chance within their classes; the rest keep {terms[~inside].mean():.1%}: "
                f"check their order{_or_one_class(names[inside])}."
            )
            return [Alarm("misaligned_rows", message)]
        part = excess[start:stop]
        if len(part) < 2 * MIN_WINDOW:
            return []
        score, first, last = _sharpened(part, *_lowest_window(part))
        if score >= MAX_NESTED_SCORE or last - first == len(part):
            return []
        start, stop = start + first, start + last
    return []


def _or_one_class(names: np.ndarray) -> str:
    """The other explanation of a block that is one class: the student may have lost that class."""
    classes, counts = np.unique(names, return_counts=True)
    largest = int(counts.argmax())
    share = counts[largest] / len(names)
    if share < MAIN_CLASS_SHARE:
        return ""
    return f"; if it is right, the student lost class {classes[largest]}, which {share:.0%} of them are"


def _lowest_window(values: np.ndarray) -> tuple[float, int, int]:
    """The window whose mean lies furthest below the rest, in standard errors: (score, start, stop)."""
    q = len(values)
    sums = np.concatenate([[0.0], np.cumsum(values - values.mean())])
    spread = values.std() or 1.0
    best = (0.0, 0, q)
    length = q // 2
    while length >= max(MIN_WINDOW, q // 64):
        step = max(1, length // 16)
        starts = np.append(np.arange(0, q - length, step), q - length)
        scores = (sums[starts + length] - sums[starts]) / (spread * np.sqrt(length * (1 - length / q)))
        lowest = int(scores.argmin())
        if scores[lowest] < best[0]:
            best = (float(scores[lowest]), int(starts[lowest]), int(starts[lowest] + length))
        length = int(length / 1.25)
    return best


def _sharpened(values: np.ndarray, score: float, start: int, stop: int) -> tuple[float, int, int]:
    """The same window with both ends moved to where its score is lowest."""
    q, reach = len(values), max(1, (stop - start) // 8)
    sums = np.concatenate([[0.0], np.cumsum(values - values.mean())])
    starts = np.arange(max(0, start - reach), start + reach + 1)[:, None]
    stops = np.arange(stop - reach, min(q, stop + reach) + 1)[None, :]
    lengths = np.clip(stops - starts, 1, q - 1)
    scores = (sums[stops] - sums[starts]) / ((values.std() or 1.0) * np.sqrt(lengths * (1 - lengths / q)))
    row, column = np.unravel_index(int(scores.argmin()), scores.shape)
    return float(scores[row, column]), int(starts[row, 0]), int(stops[0, column])
