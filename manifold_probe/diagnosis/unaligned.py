"""Rows in another order: neighbourhoods at chance where no ids confirm the pairing.

Nothing else can be diagnosed for such a pair. Every named order is tried: in the right one, the student's neighbours of
a row are near in the teacher too. An order only changes the row numbers in the student's lists, so nothing is searched
again: orders are scored by the mean cosine, in the teacher, of a query and its renumbered neighbours. The best few are
compared with the teacher's lists, and the best of these is proved by the overlap it restores on queries that were not
used to choose it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from manifold_probe.diagnosis.lab import QUERY_ERROR_FACTOR, Trial, of_groups, shared
from manifold_probe.diagnosis.orders import Order, first_only, named_orders
from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.neighbours import Neighbours, search
from manifold_probe.engine.rows import evenly, sample
from manifold_probe.measures.catalogue import OVERLAP
from manifold_probe.measures.overlap import class_overlap, overlap_chance
from manifold_probe.measures.sides import stand_in_classes
from manifold_probe.spaces.pairing import Pair

NAME = "unaligned_rows"
WORDS = "rows are in an unknown order, or the two spaces have nothing in common"
QUERIES = 700
CHOOSING_SHARE = 0.3  # of the queries
SHORTLIST = 5
MIN_GAIN_Z = 4.0  # standard errors
MIN_PART = 0.03  # of the queries: the smallest part that keeps its present order
PROJECTED_DIMENSIONS = 64
SMALL_CLASS = 5  # rows
CHANCE_Z = 4.0  # standard errors above chance
FAINT_OVERLAP = 0.25  # below, orders are tried even where the overlap is above chance: some rows may be in place
MAX_SHIFT, RELATED_Z, RELATED_ROWS = 10, 5.0, 2500  # see `_related`
SORTED_RATIO = 0.5  # of the changes of class from row to row in a shuffled file
UNKNOWN_ORDER_ADVICE = (
    "Pair the rows by id: store ids in both files, or give --teacher-ids and --student-ids (ids= in Python). No shift, "
    "reversal, order of ranks or text order restores neighbours; if the order is right nevertheless, the two spaces "
    "have nothing in common."
)


@dataclass(frozen=True)
class Unaligned:
    """A pair whose rows do not belong together: the overlap, its chance value, and the order that restores it."""

    k: int
    overlap: float
    error: float
    chance: float
    order: Order | None = None
    gain: Trial | None = None

    @property
    def teacher_ids(self) -> np.ndarray:
        """(n,): the teacher's row numbers."""
        assert self.order is not None
        return np.arange(len(self.order.partner)).astype(str)

    @property
    def student_ids(self) -> np.ndarray:
        """(n,): the teacher's row for each row of the student; "unpaired-i" for row i without one."""
        assert self.order is not None
        partner = self.order.partner
        alone = np.char.add("unpaired-", np.arange(len(partner)).astype(str))
        return np.where(partner < 0, alone, partner.astype(str))

    @property
    def complete(self) -> bool:
        """Whether every row has a partner."""
        return self.order is not None and bool((self.order.partner >= 0).all())

    def cause(self, advice: str | None = None) -> dict[str, Any]:
        """The cause as a diagnosis holds it."""
        key, gain = OVERLAP.named(self.k), self.gain
        proved = self.order is not None and gain is not None
        return {
            "name": NAME,
            "words": self.order.name if self.order is not None else WORDS,
            "status": "proved" if proved else "suspected",
            "share": gain.share if gain is not None else None,
            "evidence": [
                {"measure": f"{key} as the rows are paired", "value": self.overlap, "expected": None},
                {"measure": f"{key} of rows paired at random", "value": self.chance, "expected": None},
            ],
            "repair": None if gain is None else {**gain.to_dict(), "healthy_gain": None},
            "where": None if self.order is None else {"orders": [self.order.name]},
            "advice": advice or UNKNOWN_ORDER_ADVICE,
            "falsified_by": "ids on both sides that agree in this order",
            "or": [],
        }

    def ladder(self) -> list[dict[str, Any]]:
        """The overlap in the present order and, where it is known, in the right order."""
        half = 1.96 * self.error
        steps = [_step("identity", self.k, self.overlap, self.overlap - half, self.overlap + half, 0.0)]
        if self.gain is not None:
            steps.append(_step("reordered", self.k, self.gain.after, self.gain.low, self.gain.high, self.gain.gain))
        return steps


def _step(name: str, k: int, value: float, low: float, high: float, gain: float) -> dict[str, Any]:
    measured = {"value": value, "low": max(low, 0.0), "high": min(high, 1.0), "gain": gain}
    return {"repair": name, "measures": {OVERLAP.named(k): measured}}


def unaligned(pair: Pair, distinct: np.ndarray, k: int, seed: int) -> Unaligned | None:
    """The wrong order of the rows; None where neighbours are kept beyond chance.

    Where ids confirm the order, it is wrong only if another one is proved: ids may be shifted by a row themselves.

    ``distinct`` (m,) are the rows that are not copies: they give the chance value. In a file sorted by class, rows in a
    wrong order keep the overlap of their classes; otherwise they keep nothing. A student at chance whose rows follow
    their teacher rows more than the rows next to them is paired correctly and weak.
    """
    vouched = pair.verified or pair.by != "position"
    distinct_pair = pair if len(distinct) == pair.teacher.n else _rows(pair, distinct)
    lists = Lists(distinct_pair, k, seed)
    kept = lists.overlap(None)
    codes = lists.codes if _sorted_by(lists.codes) else np.zeros(distinct_pair.teacher.n, dtype=np.int64)
    chance = lists.chance(None) if codes.any() else overlap_chance(distinct_pair.teacher.n, k)
    error = QUERY_ERROR_FACTOR * float(kept.std()) / np.sqrt(len(kept))
    beyond = float(kept.mean()) - CHANCE_Z * error
    if beyond > (chance if vouched else max(chance, FAINT_OVERLAP)):
        return None
    result = Unaligned(k, float(kept.mean()), error, chance)
    all_lists = lists if distinct_pair is pair else Lists(pair, k, seed)
    order = restoring(pair, all_lists)
    if order is not None:
        return replace(result, order=order[0], gain=order[1])
    return result if not vouched and beyond <= chance and not _related(distinct_pair, codes) else None


def _sorted_by(codes: np.ndarray) -> bool:
    """Whether rows of a class (n,) lie together."""
    shares = np.bincount(codes) / len(codes)
    return float((codes[1:] != codes[:-1]).mean()) < SORTED_RATIO * float(1 - np.square(shares).sum())


def _rows(pair: Pair, rows: np.ndarray) -> Pair:
    labels = None if pair.labels is None else np.asarray(pair.labels)[rows]
    ids = None if pair.ids is None else pair.ids[rows]
    return replace(pair, teacher=pair.teacher.select(rows), student=pair.student.select(rows), labels=labels, ids=ids)


class Lists:
    """Neighbour lists by cosine: the student's of a few hundred queries, and the teacher's of the paired rows."""

    def __init__(self, pair: Pair, k: int, seed: int) -> None:
        self.k = k
        self.teacher, student = Cloud(pair.teacher), Cloud(pair.student)
        self.codes = _classes(pair, self.teacher, seed)
        self.queries = sample(pair.teacher.n, QUERIES, seed)
        self.student = search(student, self.queries, k, {"cosine": k})["cosine"]
        draw = np.random.default_rng([seed, 12])
        self.choosing = draw.permutation(len(self.queries)) < max(CHOOSING_SHARE * len(self.queries), 10)
        self._found: dict[bytes, Neighbours] = {}

    def asked(self, order: Order | None, part: np.ndarray | None = None) -> tuple[Neighbours, Neighbours]:
        """The teacher's lists of the queries' partners in an order, and the student's lists with partner numbers."""
        partner = np.arange(self.teacher.space.n) if order is None else order.partner
        mask = partner[self.queries] >= 0
        mask &= True if part is None else part
        rows, members = partner[self.queries[mask]], self.student.members[mask]
        key = rows.tobytes()
        if key not in self._found:
            self._found[key] = search(self.teacher, rows, self.k, {"cosine": self.k})["cosine"]
        mapped = np.where(members >= 0, partner[members], -1)
        weights = np.where(mapped >= 0, self.student.weights[mask], 0.0)
        return self._found[key], replace(self.student, queries=rows, members=mapped, weights=weights)

    def overlap(self, order: Order | None, part: np.ndarray | None = None) -> np.ndarray:
        """(q,): the overlap of every query that has a partner and is in ``part`` (a mask)."""
        teacher, student = self.asked(order, part)
        return shared(teacher.members[:, : self.k], student.members[:, : self.k])

    def chance(self, order: Order | None, part: np.ndarray | None = None) -> float:
        """The overlap of rows paired at random, or at random within their classes where that is larger."""
        expected = class_overlap(*self.asked(order, part), self.codes)
        return max(overlap_chance(self.teacher.space.n, self.k), float(np.nanmean(expected)))


def restoring(pair: Pair, lists: Lists) -> tuple[Order, Trial] | None:
    """The named order that restores neighbours beyond class chance, and its gain on queries not used to choose it."""
    near = _projected(lists.teacher)
    queries = lists.student.queries[lists.choosing]
    members = lists.student.members[lists.choosing][:, : lists.k]
    labels = None if pair.labels is None else np.asarray(pair.labels)
    shortlist: list[tuple[float, int, Order]] = []  # the nearest first, ties in the order of `named_orders`
    for place, order in enumerate(named_orders(pair.teacher.n, labels, pair.ids)):
        shortlist.append((-_nearness(near, order.partner, queries, members), place, order))
        shortlist = sorted(shortlist)[:SHORTLIST]
    best = max((order for *_, order in shortlist), key=lambda order: float(lists.overlap(order, lists.choosing).mean()))
    gain = _gain(lists, best)
    if gain.z < MIN_GAIN_Z or gain.low <= lists.chance(best, ~lists.choosing):
        return None
    part = _part_of(best, lists)
    if part is None:
        return _without_lost(best, pair, lists, gain.after), gain
    return part, _gain(lists, part)


def _gain(lists: Lists, order: Order) -> Trial:
    """The gain of an order on the queries that were not used to choose it."""
    before, after = lists.overlap(None, ~lists.choosing), lists.overlap(order, ~lists.choosing)
    name = "rows paired in that order, on rows not used for choosing it"
    return of_groups(name, "undo", OVERLAP.named(lists.k), before, after, 1 - float(before.mean()))


def _part_of(order: Order, lists: Lists) -> Order | None:
    """The order from a row on, or up to a row, where the rest is better in the present order: a row was lost in the
    middle."""
    if (order.partner < 0).any():
        return None
    as_paired, mapped = lists.asked(None, lists.choosing)[0], lists.asked(order, lists.choosing)[1]
    stays = shared(as_paired.members[:, : lists.k], mapped.members[:, : lists.k])  # their neighbours in the order
    steps = lists.overlap(order, lists.choosing) - stays
    total = np.concatenate([[0.0], np.cumsum(steps)])
    first, last = int(total.argmin()), int(total.argmax())
    onwards = total[-1] - total[first] >= total[last]
    outside, at = (steps[:first], first) if onwards else (steps[last:], last)
    if len(outside) < MIN_PART * len(steps) or outside.mean() > -MIN_GAIN_Z * outside.std() / np.sqrt(len(outside)):
        return None
    rows = lists.queries[lists.choosing]
    row = int(rows[min(at, len(rows) - 1)])
    place = np.arange(len(order.partner))
    partner = np.where((place >= row) == onwards, order.partner, place)
    words = f"from about row {row:,} on" if onwards else f"up to about row {row:,}"
    return Order(f"{words}, {order.name}", first_only(partner))


def _projected(cloud: Cloud) -> np.ndarray:
    """(n, p): the centred rows at unit length, on at most 64 random directions."""
    space = cloud.space
    draw = np.random.default_rng(space.d)
    turn = draw.normal(size=(space.d, PROJECTED_DIMENSIONS)) if space.d > PROJECTED_DIMENSIONS else np.eye(space.d)
    parts = [(block - cloud.mean) @ turn for _, block in space.blocks()]
    rows = np.concatenate(parts)
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-150)).astype(np.float32)


def _nearness(near: np.ndarray, partner: np.ndarray, queries: np.ndarray, members: np.ndarray) -> float:
    """Mean cosine in the teacher between the partners of the queries and those of their student neighbours."""
    query_partners, neighbour_partners = partner[queries], partner[members]
    held = (query_partners[:, None] >= 0) & (neighbour_partners >= 0) & (members >= 0)
    cosines = np.einsum("qd,qkd->qk", near[query_partners], near[neighbour_partners])
    return float(cosines[held].mean()) if held.any() else -np.inf


def _without_lost(order: Order, pair: Pair, lists: Lists, restored: float) -> Order:
    """The order, with its doubtful rows unpaired where they keep too few neighbours for rows that were moved."""
    if order.doubtful is None:
        return order
    student = search(Cloud(pair.student), order.doubtful, lists.k, {"cosine": lists.k})["cosine"].members
    teacher = search(lists.teacher, order.partner[order.doubtful], lists.k, {"cosine": lists.k})["cosine"].members
    mapped = np.where(student >= 0, order.partner[student], -1)
    if shared(teacher[:, : lists.k], mapped[:, : lists.k]).mean() >= restored / 4:
        return replace(order, doubtful=None)
    partner = order.partner.copy()
    partner[order.doubtful] = -1
    return replace(order, partner=partner)


def _classes(pair: Pair, teacher: Cloud, seed: int) -> np.ndarray:
    """Codes (n,) of the classes, or of the teacher's clusters; one class where classes are too small to shuffle."""
    if pair.labels is None:
        return stand_in_classes(teacher, seed)
    codes = np.unique(np.asarray(pair.labels), return_inverse=True)[1]
    return codes if np.median(np.bincount(codes)[codes]) >= SMALL_CLASS else np.zeros(len(codes), dtype=np.int64)


def _related(pair: Pair, codes: np.ndarray) -> bool:
    """Whether a row of the student follows its teacher row, within ``codes``, more than the rows next to it.

    The squared cross-covariance is compared with those of the student shifted by 1 to 10 rows: these contain what
    neighbouring rows of a sorted file have in common.
    """
    n = pair.teacher.n
    rows = evenly(n, RELATED_ROWS)
    row_codes = np.unique(codes[rows], return_inverse=True)[1]
    teacher, student = (
        _within(space.take(rows).astype(np.float64), row_codes) for space in (pair.teacher, pair.student)
    )

    def agreement_at(shift: int) -> float:
        return float(np.square(teacher.T @ np.roll(student, shift, axis=0)).sum())

    shifted = np.array([agreement_at(shift) for shift in range(-MAX_SHIFT, MAX_SHIFT + 1) if shift])
    return agreement_at(0) > shifted.mean() + RELATED_Z * shifted.std(ddof=1)


def _within(x: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The rows (n, d) about the means of their classes, every column at unit deviation."""
    sums = np.zeros((codes.max() + 1, x.shape[1]))
    np.add.at(sums, codes, x)
    centred = x - (sums / np.bincount(codes)[:, None])[codes]
    spread = centred.std(0)
    return centred / np.where(spread > 1e-6 * spread.max(), spread, np.inf) if spread.max() > 0 else centred
