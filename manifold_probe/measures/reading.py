"""The two passes of a measurement: the summaries of each, and their results (see the engine's first paragraph).

    first    profiles, grouped moments, classes where there are no labels, neighbours of the queries in every space,
             in the teacher's principal directions (the reference) and among the rows with a label
    second   ranks of neighbours in the other space; the pair without the rows or dimensions that alarms name

The summaries of the second pass follow from the results of the first alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.inputs import codes_of
from manifold_probe.engine.moments import Moments, total
from manifold_probe.engine.passes import Pass, States
from manifold_probe.engine.profile import Profiling
from manifold_probe.engine.ranks import Ranks
from manifold_probe.engine.rows import groups_of, hash_ids, sample
from manifold_probe.engine.sums import GroupedMoments
from manifold_probe.engine.threads import Mapper
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
    """The spaces that the passes read, by name."""
    teacher = next(iter(pairs.values())).teacher
    return {"teacher": teacher} | {f"student {name}": pair.student for name, pair in pairs.items()}


def spaces_of_text(request: str) -> dict[str, Space]:
    """The spaces that the passes of a request read, on this machine."""
    return spaces_of(Request.of_text(request).open().pairs)


@dataclass
class Student:
    """The results of the passes for one student; ``voters`` are its neighbours among the rows with a class.

    ``parts`` are the pair's moments of every group, ``moments`` their total, ``powers`` (2, n) the squared distances
    from the means. ``far``: by side its far rows, their share of the fourth powers, and debiased CKA without them.
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
class _ReferenceSpace:
    """The reference of one width.

    ``positions`` of its queries among all queries, ``voting`` among the queries with a label.
    """

    cloud: Cloud
    directions: np.ndarray
    positions: np.ndarray
    voting: np.ndarray | None
    side: Side | None = None
    voters: Side | None = None
    in_teacher: Places | None = None
    in_reference: Places | None = None


class Reading:
    """A teacher and its students, read in two passes."""

    def __init__(self, pairs: dict[str, Pair], settings: Settings, parallel: Mapper) -> None:
        self.settings, self.parallel = settings, parallel
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
        self.summaries: dict[str, Any] = {}

    def _yardstick(self, width: int) -> _ReferenceSpace:
        cloud, directions = self.cloud.principal(width)
        n, seed = self.cloud.space.n, self.settings.seed
        voting = None
        if len(self.voting):
            voting = reference.queries_of(len(self.voting_queries), len(self.voting), seed)
        return _ReferenceSpace(cloud, directions, reference.queries_of(len(self.queries), n, seed), voting)

    def first(self) -> Pass:
        """The first pass."""
        k, clouds = self.settings.k, self._clouds()
        summaries: dict[str, Any] = {f"profile of {name}": Profiling(cloud) for name, cloud in clouds.items()}
        if self.clusters is not None:
            summaries["classes"] = self.clusters
        if self.settings.asks("moments"):
            both = tuple(clouds.values())
            shifts = tuple(cloud.mean for cloud in both)
            summaries["moments"] = GroupedMoments(both, self.groups, self.group_count, shifts)
        if self.settings.searches:
            summaries |= {f"neighbours in {name}": candidates(cloud, self.queries, k) for name, cloud in clouds.items()}
            if len(self.voting):
                for name, cloud in clouds.items():
                    summaries[f"voters in {name}"] = candidates(cloud.of_rows(self.voting), self.voting_queries, k)
            for width, yardstick in self.yardsticks.items():
                summaries[f"reference {width}"] = candidates(yardstick.cloud, self.queries[yardstick.positions], k)
                if yardstick.voting is not None:
                    chosen = self.voting_queries[yardstick.voting]
                    summaries[f"voters in reference {width}"] = candidates(
                        yardstick.cloud.of_rows(self.voting), chosen, k
                    )
        self.summaries = summaries
        return Pass(self.spaces, summaries)

    def _clouds(self) -> dict[str, Cloud]:
        return {"teacher": self.cloud} | {f"student {name}": s.cloud for name, s in self.students.items()}

    def take_first(self, states: States) -> None:
        """Take the results of the first pass."""
        for name, cloud in self._clouds().items():
            cloud.profile = self.summaries[f"profile of {name}"].result(states[f"profile of {name}"])
        if self.clusters is not None:
            self.codes = self.clusters.result(states["classes"])
            self.class_names = np.unique(self.codes)

        def side(name: str) -> Side | None:
            return settled(self.summaries[name], states[name], self.parallel) if name in self.summaries else None

        teacher_side, labelled = side("neighbours in teacher"), np.flatnonzero(self.codes >= 0)
        voters = side("voters in teacher")
        if len(labelled) == len(self.codes):
            voters = teacher_side
        self.teacher = Teacher(
            self.cloud,
            self.queries,
            teacher_side,
            self.codes,
            self.class_names,
            "k-means" if self.clusters is not None else "labels",
            Voters(labelled, self.codes[labelled], voters),
            self.groups,
            self.group_count,
        )
        moments = self.summaries["moments"].result(states["moments"]) if "moments" in self.summaries else None
        for place, (name, student) in enumerate(self.students.items()):
            student.side = side(f"neighbours in student {name}")
            if voters is not None and self.settings.asks("classes"):
                student.voters = student.side if voters is teacher_side else side(f"voters in student {name}")
            if moments is not None:
                student.parts, student.powers = moments[place]
                student.moments = total(student.parts)
            if teacher_side is not None and student.side is not None:
                student.overlaps = overlap.intersections(teacher_side.cosine, student.side.cosine) / teacher_side.k
        for width, yardstick in self.yardsticks.items():
            yardstick.side, yardstick.voters = side(f"reference {width}"), side(f"voters in reference {width}")

    def second(self) -> Pass:
        """The second pass."""
        self.summaries = {}
        for name, student in self.students.items():
            summaries = self._ranks(student) | self._without(student)
            self.summaries |= {f"{name}: {what}": summary for what, summary in summaries.items()}
        for width, yardstick in self.yardsticks.items():
            self.summaries |= {
                f"reference {width}: {what}": summary for what, summary in self._reference_ranks(yardstick).items()
            }
        return Pass(self.spaces, self.summaries)

    def _ranks(self, student: Student) -> dict[str, Any]:
        teacher_side, student_side = self.teacher.side, student.side
        if teacher_side is None or student_side is None or not self.settings.asks("ranks"):
            return {}
        kept = ranked_queries(len(self.queries), teacher_side.n)
        queries = self.queries[kept]
        return {
            "ranks in teacher": Ranks.of(
                self.cloud, queries, student_side.cosine.members[kept], "cosine", self.parallel
            ),
            "ranks in student": Ranks.of(
                student.cloud, queries, teacher_side.cosine.members[kept], "cosine", self.parallel
            ),
        }

    def _reference_ranks(self, yardstick: _ReferenceSpace) -> dict[str, Any]:
        teacher_side = self.teacher.side
        if (
            teacher_side is None
            or yardstick.side is None
            or not self.settings.asks("ranks")
            or 2 * self.settings.k >= teacher_side.n
        ):
            return {}
        positions = reference.ranked_of(len(yardstick.positions), self.settings.seed)
        in_reference, in_teacher = (
            yardstick.side.only(positions).cosine,
            teacher_side.only(yardstick.positions[positions]).cosine,
        )
        return {
            "ranks in teacher": Ranks.of(
                self.cloud, in_reference.queries, in_reference.members, "cosine", self.parallel
            ),
            "ranks in reference": Ranks.of(
                yardstick.cloud, in_reference.queries, in_teacher.members, "cosine", self.parallel
            ),
        }

    def _without(self, student: Student) -> dict[str, Any]:
        """Summaries of the pair without far rows, dominating dimensions and copies, where there are any."""
        summaries: dict[str, Any] = {}
        k, seed, n = self.settings.k, self.settings.seed, self.cloud.space.n
        if student.parts is not None:
            for name, power in zip(("teacher", "student"), student.powers, strict=True):
                rows, share = alarms.far_rows(power)
                if len(rows):
                    student.far[name] = (rows, share, 0.0)
                    summaries[f"far rows of {name}"] = without.moments_without((self.cloud, student.cloud), rows)
        positions = without.some_of(len(self.queries), seed)
        if student.moments is not None and student.overlaps is not None:
            student.columns = without.columns_of(without.held(student.moments))
            if any(map(len, student.columns)):
                clouds = (self.cloud.without(student.columns[0]), student.cloud.without(student.columns[1]))
                summaries["moments without columns"] = without.moments_without(clouds)
                both = without.searched_again(clouds, self.queries[positions], k)
                summaries |= dict(zip(("teacher without columns", "student without columns"), both, strict=True))
        if student.overlaps is not None:
            rows = without.distinct_rows(self.cloud.profile.hashes, student.cloud.profile.hashes)
            if n - len(rows) >= alarms.MIN_COPIES_SHARE * n:
                student.copies = (len(rows), None)
                if len(rows) > k + 1:
                    clouds = (self.cloud.of_rows(rows), student.cloud.of_rows(rows))
                    both = without.searched_again(clouds, without.some_of(len(rows), seed), k)
                    summaries |= dict(zip(("teacher without copies", "student without copies"), both, strict=True))
        return summaries

    def take_second(self, states: States) -> None:
        """Take the results of the second pass."""

        def result_of(prefix: str, what: str) -> Any:
            return self.summaries[f"{prefix}: {what}"].result(states[f"{prefix}: {what}"])

        def overlap_again(name: str, what: str) -> float | None:
            teacher_key, student_key = (f"{name}: {side} without {what}" for side in ("teacher", "student"))
            if teacher_key not in self.summaries:
                return None
            return without.overlap_of(
                (self.summaries[teacher_key], self.summaries[student_key]),
                (states[teacher_key], states[student_key]),
                self.parallel,
            )

        for name, student in self.students.items():
            if f"{name}: ranks in teacher" in self.summaries:
                kept = ranked_queries(len(self.queries), self.cloud.space.n)
                both = result_of(name, "ranks in teacher"), result_of(name, "ranks in student")
                student.ranked = self._ranked(kept, self.teacher.side, student.side, *both)
            for side, (rows, share, _) in student.far.items():
                key = f"{name}: far rows of {side}"
                student.far[side] = (rows, share, without.cka_of(self.summaries[key], states[key]))
            overlap_left = overlap_again(name, "columns")
            if overlap_left is not None and student.overlaps is not None:
                key = f"{name}: moments without columns"
                positions = without.some_of(len(self.queries), self.settings.seed)
                before = float(student.overlaps[positions].mean())
                cka = without.cka_of(self.summaries[key], states[key])
                student.without_columns = without.Remeasured(cka, before, overlap_left, len(positions))
            if student.copies is not None:
                student.copies = (student.copies[0], overlap_again(name, "copies"))
        for width, yardstick in self.yardsticks.items():
            if f"reference {width}: ranks in teacher" in self.summaries:
                yardstick.in_teacher = result_of(f"reference {width}", "ranks in teacher")
                yardstick.in_reference = result_of(f"reference {width}", "ranks in reference")

    def reference_side(self, width: int) -> Side | None:
        """The neighbours in the teacher's first ``width`` principal directions."""
        return self.yardsticks[width].side if width in self.yardsticks else None

    def reference(self, width: int) -> Reference:
        """The reference of a student of this width."""
        teacher, settings = self.teacher, self.settings
        if width >= self.cloud.space.d:
            return reference.same_width(teacher, settings)
        if width not in self.yardsticks:
            return Reference({}, None, None)
        yardstick = self.yardsticks[width]
        values, rank = reference.moment_values(teacher, yardstick.cloud, yardstick.directions, settings)
        teacher_side = teacher.side
        if teacher_side is not None and yardstick.side is not None:
            in_teacher, wanted = teacher_side.only(yardstick.positions), reference.referred(settings)
            codes = teacher.codes if settings.asks("classes") and len(teacher.voters.rows) == teacher_side.n else None
            values |= from_neighbours.values(in_teacher, yardstick.side, codes, wanted)
            voting_side = teacher.voters.side
            if yardstick.voters is not None and yardstick.voting is not None and voting_side is not None:
                votes = made_from(wanted, "classes")
                values |= from_neighbours.values(
                    voting_side.only(yardstick.voting), yardstick.voters, teacher.voters.codes, votes
                )
            if yardstick.in_teacher is not None and yardstick.in_reference is not None:
                positions = reference.ranked_of(len(yardstick.positions), settings.seed)
                ranked = self._ranked(
                    positions, in_teacher, yardstick.side, yardstick.in_teacher, yardstick.in_reference
                )
                if ranked is not None:
                    values |= from_neighbours.rank_values(ranked, made_from(settings.measures, "ranks"))
        named = {from_neighbours.named(key, settings.k): value for key, value in values.items() if np.isfinite(value)}
        return Reference(named, rank, yardstick.side)

    @staticmethod
    def _ranked(
        kept: np.ndarray, teacher_side: Side | None, other_side: Side | None, in_teacher: Places, in_other: Places
    ) -> Ranked | None:
        """Ranks, in the other space, of the neighbours of the queries at positions ``kept``."""
        if teacher_side is None or other_side is None:
            return None
        return Ranked(kept, teacher_side.only(kept).cosine, other_side.only(kept).cosine, in_teacher, in_other)
