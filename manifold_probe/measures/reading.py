"""The two passes of a measurement: what each is asked, and what it returns (see the engine's first paragraph).

    first    profiles, grouped moments, classes where there are no labels, neighbours of the queries in every space,
             in the teacher's principal directions (the reference) and among the rows with a label
    second   ranks of neighbours in the other space; the pair without what alarms name

What the second is asked follows from the results of the first, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.inputs import codes_of
from manifold_probe.engine.moments import Moments, total
from manifold_probe.engine.passes import Found, Pass
from manifold_probe.engine.profile import Profiling
from manifold_probe.engine.ranks import Ranks
from manifold_probe.engine.rows import groups_of, hash_ids, sample
from manifold_probe.engine.sums import GroupedMoments
from manifold_probe.engine.threads import Each
from manifold_probe.measures import alarms, from_neighbours, overlap, reference, without
from manifold_probe.measures.catalogue import made_from
from manifold_probe.measures.from_neighbours import Ranked, ranked_queries
from manifold_probe.measures.reference import Reference
from manifold_probe.measures.request import Request
from manifold_probe.measures.sides import Clusters, Settings, Side, Teacher, Voters, candidates, settled
from manifold_probe.spaces.pairing import Pair
from manifold_probe.spaces.space import Space

Places = tuple[np.ndarray, np.ndarray]


def spaces_of(pairs: dict[str, Pair]) -> dict[str, Space]:
    """What the passes read, by name."""
    teacher = next(iter(pairs.values())).teacher
    return {"teacher": teacher} | {f"student {name}": pair.student for name, pair in pairs.items()}


def spaces_of_text(request: str) -> dict[str, Space]:
    """What the passes of a request read, on the machine at hand."""
    return spaces_of(Request.of_text(request).open().pairs)


@dataclass
class Student:
    """What is known of one student; ``voters`` are its neighbours among the rows with a class.

    ``parts`` are the pair's moments of every group, ``moments`` their total, ``powers`` (2, n) the squared distances
    from the means. ``far``: for a side its far rows, their share, and debiased CKA without them.
    """

    pair: Pair
    cloud: Cloud
    side: Side | None = None
    voters: Side | None = None
    parts: list[Moments] | None = None
    moments: Moments | None = None
    powers: np.ndarray = field(default_factory=lambda: np.empty((2, 0)))
    overlaps: np.ndarray | None = None
    ranked: Ranked | None = None
    far: dict[str, tuple[np.ndarray, float, float]] = field(default_factory=dict)
    columns: tuple[np.ndarray, np.ndarray] | None = None
    without_columns: without.Remeasured | None = None
    copies: tuple[int, float | None] | None = None  # distinct rows, and the overlap among these


@dataclass
class _Yardstick:
    """The reference of one width; ``asked`` are places among the queries, ``voting`` among those with a label."""

    cloud: Cloud
    directions: np.ndarray
    asked: np.ndarray
    voting: np.ndarray | None
    side: Side | None = None
    voters: Side | None = None
    in_teacher: Places | None = None
    in_reference: Places | None = None


class Reading:
    """A teacher and its students, read in two passes."""

    def __init__(self, pairs: dict[str, Pair], settings: Settings, each: Each) -> None:
        self.settings, self.each = settings, each
        self.spaces = spaces_of(pairs)
        first = next(iter(pairs.values()))
        self.cloud = Cloud(self.spaces["teacher"], "teacher")
        self.students = {name: Student(pair, Cloud(pair.student, f"student {name}")) for name, pair in pairs.items()}
        n = self.cloud.space.n
        self.groups, self.group_count = groups_of(
            hash_ids(np.arange(n) if first.ids is None else first.ids), settings.seed
        )
        self.queries = sample(n, settings.queries, settings.seed)
        self.codes, self.class_names, self.clusters = np.empty(0, np.int64), np.empty(0), None
        self.voting = np.empty(0, np.int64)  # the rows with a label, where others have none
        if first.labels is None:
            self.clusters = Clusters.of(self.cloud, settings.seed)
        else:
            self.codes, self.class_names = codes_of(first.labels)
            rows = np.flatnonzero(self.codes >= 0)
            if settings.k < len(rows) < n and settings.asks("classes"):
                self.voting = rows
        self.voting_queries = sample(len(self.voting), settings.queries, settings.seed)
        widths = sorted({s.cloud.space.d for s in self.students.values() if s.cloud.space.d < self.cloud.space.d})
        wanted = settings.asks("moments") or settings.searches
        self.yardsticks = {width: self._yardstick(width) for width in widths if wanted}
        self.asked: dict[str, Any] = {}

    def _yardstick(self, width: int) -> _Yardstick:
        cloud, directions = self.cloud.principal(width)
        n, seed = self.cloud.space.n, self.settings.seed
        voting = None
        if len(self.voting):
            voting = reference.queries_of(len(self.voting_queries), len(self.voting), seed)
        return _Yardstick(cloud, directions, reference.queries_of(len(self.queries), n, seed), voting)

    def first(self) -> Pass:
        """What the first pass is asked."""
        k, clouds = self.settings.k, self._clouds()
        asked: dict[str, Any] = {f"profile of {name}": Profiling(cloud) for name, cloud in clouds.items()}
        if self.clusters is not None:
            asked["classes"] = self.clusters
        if self.settings.asks("moments"):
            both = tuple(clouds.values())
            shifts = tuple(cloud.mean for cloud in both)
            asked["moments"] = GroupedMoments(both, self.groups, self.group_count, shifts)
        if self.settings.searches:
            asked |= {f"neighbours in {name}": candidates(cloud, self.queries, k) for name, cloud in clouds.items()}
            if len(self.voting):
                for name, cloud in clouds.items():
                    asked[f"voters in {name}"] = candidates(cloud.of_rows(self.voting), self.voting_queries, k)
            for width, stick in self.yardsticks.items():
                asked[f"reference {width}"] = candidates(stick.cloud, self.queries[stick.asked], k)
                if stick.voting is not None:
                    chosen = self.voting_queries[stick.voting]
                    asked[f"voters in reference {width}"] = candidates(stick.cloud.of_rows(self.voting), chosen, k)
        self.asked = asked
        return Pass(self.spaces, asked)

    def _clouds(self) -> dict[str, Cloud]:
        return {"teacher": self.cloud} | {f"student {name}": s.cloud for name, s in self.students.items()}

    def take_first(self, found: Found) -> None:
        """The results of the first pass."""
        for name, cloud in self._clouds().items():
            cloud.profile = self.asked[f"profile of {name}"].result(found[f"profile of {name}"])
        if self.clusters is not None:
            self.codes = self.clusters.result(found["classes"])
            self.class_names = np.unique(self.codes)

        def side(name: str) -> Side | None:
            return settled(self.asked[name], found[name], self.each) if name in self.asked else None

        whole, labelled = side("neighbours in teacher"), np.flatnonzero(self.codes >= 0)
        voters = side("voters in teacher")
        if len(labelled) == len(self.codes):
            voters = whole
        self.teacher = Teacher(
            self.cloud,
            self.queries,
            whole,
            self.codes,
            self.class_names,
            "k-means" if self.clusters is not None else "labels",
            Voters(labelled, self.codes[labelled], voters),
            self.groups,
            self.group_count,
        )
        moments = self.asked["moments"].result(found["moments"]) if "moments" in self.asked else None
        for place, (name, student) in enumerate(self.students.items()):
            student.side = side(f"neighbours in student {name}")
            if voters is not None and self.settings.asks("classes"):
                student.voters = student.side if voters is whole else side(f"voters in student {name}")
            if moments is not None:
                student.parts, student.powers = moments[place]
                student.moments = total(student.parts)
            if whole is not None and student.side is not None:
                student.overlaps = overlap.intersections(whole.cosine, student.side.cosine) / whole.k
        for width, stick in self.yardsticks.items():
            stick.side, stick.voters = side(f"reference {width}"), side(f"voters in reference {width}")

    def second(self) -> Pass:
        """What the second pass is asked."""
        self.asked = {}
        for name, student in self.students.items():
            asked = self._ranks(student) | self._without(student)
            self.asked |= {f"{name}: {what}": one for what, one in asked.items()}
        for width, stick in self.yardsticks.items():
            self.asked |= {f"reference {width}: {what}": one for what, one in self._reference_ranks(stick).items()}
        return Pass(self.spaces, self.asked)

    def _ranks(self, student: Student) -> dict[str, Any]:
        whole, own = self.teacher.side, student.side
        if whole is None or own is None or not self.settings.asks("ranks"):
            return {}
        kept = ranked_queries(len(self.queries), whole.n)
        queries = self.queries[kept]
        return {
            "ranks in teacher": Ranks.of(self.cloud, queries, own.cosine.members[kept], "cosine", self.each),
            "ranks in student": Ranks.of(student.cloud, queries, whole.cosine.members[kept], "cosine", self.each),
        }

    def _reference_ranks(self, stick: _Yardstick) -> dict[str, Any]:
        whole = self.teacher.side
        if whole is None or stick.side is None or not self.settings.asks("ranks") or 2 * self.settings.k >= whole.n:
            return {}
        some = reference.ranked_of(len(stick.asked), self.settings.seed)
        here, own = stick.side.only(some).cosine, whole.only(stick.asked[some]).cosine
        return {
            "ranks in teacher": Ranks.of(self.cloud, here.queries, here.members, "cosine", self.each),
            "ranks in reference": Ranks.of(stick.cloud, here.queries, own.members, "cosine", self.each),
        }

    def _without(self, student: Student) -> dict[str, Any]:
        """The pair without far rows, without dominating dimensions, and without copies, where there are any."""
        asked: dict[str, Any] = {}
        k, seed, n = self.settings.k, self.settings.seed, self.cloud.space.n
        if student.parts is not None:
            for name, power in zip(("teacher", "student"), student.powers, strict=True):
                rows, share = alarms.far_rows(power)
                if len(rows):
                    student.far[name] = (rows, share, 0.0)
                    asked[f"far rows of {name}"] = without.moments_without((self.cloud, student.cloud), rows)
        some = without.some_of(len(self.queries), seed)
        if student.moments is not None and student.overlaps is not None:
            student.columns = without.columns_of(without.held(student.moments))
            if any(map(len, student.columns)):
                clouds = (self.cloud.without(student.columns[0]), student.cloud.without(student.columns[1]))
                asked["moments without columns"] = without.moments_without(clouds)
                both = without.searched_again(clouds, self.queries[some], k)
                asked |= dict(zip(("teacher without columns", "student without columns"), both, strict=True))
        if student.overlaps is not None:
            rows = without.distinct_rows(self.cloud.profile.hashes, student.cloud.profile.hashes)
            if n - len(rows) >= alarms.MANY_COPIES * n:
                student.copies = (len(rows), None)
                if len(rows) > k + 1:
                    clouds = (self.cloud.of_rows(rows), student.cloud.of_rows(rows))
                    both = without.searched_again(clouds, without.some_of(len(rows), seed), k)
                    asked |= dict(zip(("teacher without copies", "student without copies"), both, strict=True))
        return asked

    def take_second(self, found: Found) -> None:
        """The results of the second pass."""

        def result_of(prefix: str, what: str) -> Any:
            return self.asked[f"{prefix}: {what}"].result(found[f"{prefix}: {what}"])

        def overlap_again(name: str, what: str) -> float | None:
            one, two = (f"{name}: {side} without {what}" for side in ("teacher", "student"))
            if one not in self.asked:
                return None
            return without.overlap_of((self.asked[one], self.asked[two]), (found[one], found[two]), self.each)

        for name, student in self.students.items():
            if f"{name}: ranks in teacher" in self.asked:
                kept = ranked_queries(len(self.queries), self.cloud.space.n)
                both = result_of(name, "ranks in teacher"), result_of(name, "ranks in student")
                student.ranked = self._ranked(kept, self.teacher.side, student.side, *both)
            for side, (rows, share, _) in student.far.items():
                key = f"{name}: far rows of {side}"
                student.far[side] = (rows, share, without.cka_of(self.asked[key], found[key]))
            left = overlap_again(name, "columns")
            if left is not None and student.overlaps is not None:
                key = f"{name}: moments without columns"
                some = without.some_of(len(self.queries), self.settings.seed)
                before = float(student.overlaps[some].mean())
                cka = without.cka_of(self.asked[key], found[key])
                student.without_columns = without.Remeasured(cka, before, left, len(some))
            if student.copies is not None:
                student.copies = (student.copies[0], overlap_again(name, "copies"))
        for width, stick in self.yardsticks.items():
            if f"reference {width}: ranks in teacher" in self.asked:
                stick.in_teacher = result_of(f"reference {width}", "ranks in teacher")
                stick.in_reference = result_of(f"reference {width}", "ranks in reference")

    def reference_side(self, width: int) -> Side | None:
        """The neighbours in the teacher's first principal directions, of which there are ``width``."""
        return self.yardsticks[width].side if width in self.yardsticks else None

    def reference(self, width: int) -> Reference:
        """The yardstick of a student of this width."""
        teacher, settings = self.teacher, self.settings
        if width >= self.cloud.space.d:
            return reference.same_width(teacher, settings)
        if width not in self.yardsticks:
            return Reference({}, None, None)
        stick = self.yardsticks[width]
        values, rank = reference.moment_values(teacher, stick.cloud, stick.directions, settings)
        whole = teacher.side
        if whole is not None and stick.side is not None:
            own, wanted = whole.only(stick.asked), reference.referred(settings)
            codes = teacher.codes if settings.asks("classes") and len(teacher.voters.rows) == whole.n else None
            values |= from_neighbours.values(own, stick.side, codes, wanted)
            among = teacher.voters.side
            if stick.voters is not None and stick.voting is not None and among is not None:
                votes = made_from(wanted, "classes")
                values |= from_neighbours.values(among.only(stick.voting), stick.voters, teacher.voters.codes, votes)
            if stick.in_teacher is not None and stick.in_reference is not None:
                some = reference.ranked_of(len(stick.asked), settings.seed)
                ranked = self._ranked(some, own, stick.side, stick.in_teacher, stick.in_reference)
                if ranked is not None:
                    values |= from_neighbours.rank_values(ranked, made_from(settings.measures, "ranks"))
        named = {from_neighbours.named(key, settings.k): value for key, value in values.items() if np.isfinite(value)}
        return Reference(named, rank, stick.side)

    @staticmethod
    def _ranked(
        kept: np.ndarray, own: Side | None, side: Side | None, in_own: Places, in_side: Places
    ) -> Ranked | None:
        """Where the neighbours of the queries at positions ``kept`` stand in the other space."""
        if own is None or side is None:
            return None
        return Ranked(kept, own.only(kept).cosine, side.only(kept).cosine, in_own, in_side)
