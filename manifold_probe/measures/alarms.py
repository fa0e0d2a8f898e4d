"""Alarms: properties of the data that would mislead a reader, each with its evidence in one sentence."""

from __future__ import annotations

import numpy as np

from manifold_probe.engine.neighbours import Neighbours
from manifold_probe.engine.profile import Profile
from manifold_probe.measures.catalogue import OVERLAP
from manifold_probe.measures.geometry import occurrences
from manifold_probe.measures.overlap import overlap_chance
from manifold_probe.measures.results import Alarm, Measured
from manifold_probe.measures.uncertainty import TAIL, tail_index
from manifold_probe.measures.without import Held, Remeasured
from manifold_probe.spaces.bits import byte_range
from manifold_probe.spaces.pairing import Pair
from manifold_probe.spaces.space import Space

# Unless a source is given, limits are conventions: effects that a reader would want to know of.
MIN_ROWS = 200
FLOAT16_MAX = 65_504.0  # the largest finite float16
MIN_OFFSET_RATIO = 3.0  # mean over spread: the mean then holds nine tenths of the squared length
COLLAPSED_RANK_RATIO = 1 / 3
HUB_SHARE = 0.1  # of the queries
MAX_FAR_ROWS = 10
FAR_ROWS_SHARE = 0.2  # of the fourth powers, which decide CKA
DOMINANT_SHARE = 0.5
MIN_CKA_CHANGE = 0.02
MIN_CKA_ERRORS = 3.0  # standard errors
DOMINATING_CHANGE = 0.05  # of CKA or overlap
HEAVY_TAIL_INDEX = 2.0  # below, squared distances have no variance
ONE_SIDED_95 = 1.64  # standard errors of a one-sided 95% limit
MIN_COPIES_SHARE, MIN_COPIES_CHANGE = 0.1, 0.05
EQUAL_LENGTH_DEVIATION = 1e-3  # of the mean length: rounding to half precision leaves this much
VARIED_LENGTH_DEVIATION = 0.02  # of the mean length
DEVIATION_ALONG_MEAN = 0.02  # of the spread: with a far offset lengths are nearly equal, but vary along the mean
SAMPLED_ROWS = 256


def of_space(side: str, profile: Profile, dtype: str) -> list[Alarm]:
    """Alarms of one space: repeated, zero and constant rows, constant columns, values at the edge of float16."""
    n, d = len(profile.norms), len(profile.mean)
    alarms = []
    repeated = n - len(np.unique(profile.hashes))
    if repeated == n - 1:
        what = "all rows are equal" if profile.norms.any() else "all vectors are zero"
        alarms.append(Alarm("constant_space", f"{side}: {what}: every input gives the same vector."))
    if repeated:
        alarms.append(Alarm("duplicate_rows", f"{side}: {repeated:,} of {n:,} rows repeat another row exactly."))
    dead = np.flatnonzero(profile.constant_columns)
    if len(dead):
        listed = ", ".join(map(str, dead[:5])) + (", ..." if len(dead) > 5 else "")
        alarms.append(Alarm("dead_dimensions", f"{side}: {len(dead)} of {d} dimensions are constant ({listed})."))
    zeros = int((profile.norms == 0).sum())
    if zeros:
        first = int(np.argmax(profile.norms == 0))
        alarms.append(Alarm("zero_vectors", f"{side}: {zeros:,} of {n:,} rows are zero vectors (first: row {first})."))
    flat = int((profile.constant_rows & (profile.norms > 0)).sum())
    if flat:
        alarms.append(Alarm("constant_rows", f"{side}: {flat:,} of {n:,} rows hold one value in every dimension."))
    if dtype == "float16" and profile.largest >= FLOAT16_MAX:
        alarms.append(
            Alarm("float16_range", f"{side}: values reach {profile.largest:,.0f}, the edge of float16's range.")
        )
    return alarms


def common_offset(teacher: Profile, student: Profile) -> list[Alarm]:
    """A mean so long relative to the spread that cosines measure mostly the mean."""
    alarms = []
    for side, profile, other in (("teacher", teacher, student), ("student", student, teacher)):
        exceeds = side == "teacher" or profile.offset > MIN_OFFSET_RATIO * other.offset
        if profile.spread and profile.offset > MIN_OFFSET_RATIO and exceeds:
            against = f" (the {'student' if side == 'teacher' else 'teacher'}'s: {other.offset:.3g})"
            alarms.append(
                Alarm(
                    "common_offset",
                    f"{side}: the mean is {_times(profile.offset)} as long as the spread{against}, so a cosine "
                    "sees mostly the mean; centre before searching.",
                )
            )
    return alarms


def _times(ratio: float) -> str:
    return f"{ratio:.3g} times" if np.isfinite(ratio) else "infinitely many times"


def collapsed_rank(teacher: float | None, student: float | None, reference: float | None) -> list[Alarm]:
    """A student that uses far fewer directions than the teacher reduced to the student's width."""
    if teacher is None:
        return []
    student = student or 0.0  # undefined for a student that is zero everywhere
    expected = min(teacher, reference or teacher)
    if student >= COLLAPSED_RANK_RATIO * expected:
        return []
    return [
        Alarm(
            "collapsed_rank",
            f"student: effective rank {student:.1f}, where the teacher reduced to the same width has {expected:.1f}.",
        )
    ]


def hubs(side: str, neighbours: Neighbours, other_share: float) -> tuple[list[Alarm], float]:
    """Alarm of one row that is in very many neighbourhoods, and its share of the queries."""
    counts = occurrences(neighbours)
    share = float(counts.max() / len(neighbours.queries))
    # in a small set even the fair share, k / n, is large
    if share < max(HUB_SHARE, 3 * other_share, 10 * neighbours.k / neighbours.n):
        return [], share
    return [
        Alarm("hubs", f"{side}: row {counts.argmax()} is among the neighbours of {share:.0%} of the queries.")
    ], share


def far_rows(powers: np.ndarray) -> tuple[np.ndarray, float]:
    """Up to ten rows (fewer below 200) far from the mean, and their share of the fourth powers of all rows' distances.

    ``powers`` (n,) are squared distances from the mean; their squares decide CKA. No rows where the share is small.
    Rows whose fourth power is less than a hundredth of the farthest row's are left out.
    """
    rows = np.argsort(-powers, kind="stable")[: min(MAX_FAR_ROWS, len(powers) // 20)]
    relative = powers / (powers.max() or 1.0)
    rows = rows[relative[rows] ** 2 >= 0.01]
    share = (relative[rows] ** 2).sum() / max((relative**2).sum(), 1e-300)
    return (rows if share >= FAR_ROWS_SHARE else rows[:0]), float(share)


def influential_rows(side: str, rows: np.ndarray, share: float, cka: Measured, without: float) -> list[Alarm]:
    """A few far rows that decide CKA: without them debiased CKA changes by more than sampling error.

    Where they hold most of the fourth powers they also decide the standard error, so that it is ignored.
    """
    if not len(rows) or cka.value is None:
        return []
    error = 0.0 if share > DOMINANT_SHARE else cka.estimate.standard_error or 0.0
    if abs(without - cka.value) <= max(MIN_CKA_CHANGE, MIN_CKA_ERRORS * error):
        return []
    return [
        Alarm(
            "influential_rows",
            f"{side}: {len(rows)} far rows ({', '.join(map(str, rows))}) decide the overall shape; without them "
            f"debiased CKA is {without:.3f} instead of {cka.value:.3f}.",
        )
    ]


def heavy_tails(side: str, powers: np.ndarray, wider: float) -> list[Alarm]:
    """Squared distances from the mean (n,) with a tail so heavy that another sample may look very different.

    ``wider``: the factor by which the pair's intervals were widened.
    """
    index = tail_index(powers)
    if index * (1 + ONE_SIDED_95 / np.sqrt(len(powers) // TAIL or 1)) >= HEAVY_TAIL_INDEX:
        return []
    farthest = np.sort(powers)[::-1][: max(1, len(powers) // 100)]
    return [
        Alarm(
            "heavy_tails",
            f"{side}: the farthest 1% of the rows hold {farthest.sum() / powers.sum():.0%} of the variance (tail index "
            f"{index:.2g}), so CKA, Procrustes and R2 of another sample may differ a lot; their intervals are "
            f"{wider:.1f} times as wide as for light tails.",
        )
    ]


def dominating_dimension(
    sides: list[tuple[str, np.ndarray, Held]], cka: float | None, remeasured: Remeasured, k: int, n: int
) -> list[Alarm]:
    """A few dimensions that hold most of a space, and without which CKA or the overlap changes.

    ``sides``: the side's name, its dominating dimensions, and each dimension's variance and squared length (d,).
    """
    changes = [abs(remeasured.overlap - remeasured.overlap_before)]
    changes += [abs(remeasured.cka - cka)] if cka is not None and np.isfinite(remeasured.cka) else []
    if max(changes) < DOMINATING_CHANGE:
        return []
    holders = []
    for side, columns, held in sides:
        if len(columns):
            shares = {name: values[columns].sum() / values.sum() for name, values in held}
            name, share = next(((name, value) for name, value in shares.items() if value > DOMINANT_SHARE))
            many = (
                f"dimensions {', '.join(map(str, columns))} hold"
                if len(columns) > 1
                else f"dimension {columns[0]} holds"
            )
            holders.append(f"{side}: {many} {share:.1%} of the {name}")
    pronoun = "it" if sum(len(columns) for _, columns, _ in sides) == 1 else "them"
    numbers = [f"{OVERLAP.named(k)} is {remeasured.overlap:.3f} instead of {remeasured.overlap_before:.3f}"]
    if len(changes) > 1:
        numbers.insert(0, f"debiased CKA is {remeasured.cka:.3f} instead of {cka:.3f}")
    sampled = f" ({remeasured.queries:,} queries)" if remeasured.queries < n else ""
    return [Alarm("dominating_dimension", f"{'; '.join(holders)}; without {pronoun} {' and '.join(numbers)}{sampled}.")]


def copied_rows(n: int, distinct: int, k: int, overlap: float, among: float | None) -> list[Alarm]:
    """Many rows that are copies of others in both spaces, and the overlap (None: not defined) of the distinct rows."""
    copies = f"{(n - distinct) / n:.0%} of the {n:,} rows are copies of other rows in both spaces"
    if among is None:
        text = f"{copies}, and the {distinct:,} distinct ones are too few for {k} neighbours."
    elif abs(among - overlap) < MIN_COPIES_CHANGE:
        text = f"{copies}; among the {distinct:,} distinct ones {OVERLAP.named(k)} is {among:.3f}."
    else:
        text = f"{copies}, so copies decide the neighbourhoods: among the {distinct:,} distinct ones "
        text += (
            f"{OVERLAP.named(k)} is {among:.3f} (chance {overlap_chance(distinct, k):.3f}) instead of {overlap:.3f}."
        )
    return [Alarm("copied_rows", text)]


def few_rows(n: int, widest: int) -> list[Alarm]:
    """Fewer rows than the widest space has dimensions, or fewer than 200."""
    if n >= max(MIN_ROWS, widest):
        return []
    return [
        Alarm(
            "few_rows",
            f"{n:,} rows in up to {widest:,} dimensions: biased CKA and Procrustes are large by chance alone, "
            "and neighbourhoods say little about larger databases.",
        )
    ]


def packed_bits(pair: Pair) -> list[Alarm]:
    """Bytes, an eighth as many as the other side has dimensions: binary embeddings that were not unpacked."""
    alarms = []
    for side, space, other in (("teacher", pair.teacher, pair.student), ("student", pair.student, pair.teacher)):
        if (
            space.d == -(-other.d // 8) < other.d
            and _holds_bytes(space)
            and not (other.dtype == space.dtype and _holds_bytes(other))
        ):
            alarms.append(
                Alarm(
                    "packed_bits",
                    f"{side}: {space.d:,} bytes a row against {other.d:,} dimensions look like packed bits, read as "
                    f"numbers; unpack them with {_key(space)}?bits (arrays: 2.0 * np.unpackbits(x, axis=1) - 1).",
                )
            )
    return alarms


def _holds_bytes(space: Space) -> bool:
    """Whether the first rows are whole numbers of a byte's range, and not bits (0 and 1, or -1 and 1) alone."""
    low, high = byte_range([space.read(0, SAMPLED_ROWS)])
    return low >= -128 and high <= 255 and high > 1


def _key(space: Space) -> str:
    return f"{space.source.path or 'FILE'}::{space.source.key or 'KEY'}"


def one_sided_normalisation(teacher: Profile, student: Profile) -> list[Alarm]:
    """Rows of equal length on one side only: lengths and Euclidean distances of the two sides cannot be compared."""
    sides = {"teacher": teacher, "student": student}
    for side, other in (("teacher", "student"), ("student", "teacher")):
        mean, deviation = _lengths(sides[side])
        others_mean, others_deviation = _lengths(sides[other])
        normalised = deviation <= min(EQUAL_LENGTH_DEVIATION * mean, DEVIATION_ALONG_MEAN * sides[side].spread)
        varied = others_deviation >= VARIED_LENGTH_DEVIATION * others_mean > 0
        if normalised and varied and len(np.unique(sides[side].hashes)) > 1:
            length = float(np.median(sides[side].norms))
            return [
                Alarm(
                    "one_sided_normalisation",
                    f"{side}: all rows have the length {length:.3g} (normalised), where the {other}'s lengths vary by "
                    f"{others_deviation / others_mean:.0%}; lengths cannot be compared, and Euclidean neighbours see "
                    "that difference.",
                )
            ]
    return []


def _lengths(profile: Profile) -> tuple[float, float]:
    """Mean and standard deviation of the row norms, zero vectors left out."""
    norms = profile.norms[profile.norms > 0]
    return (float(norms.mean()), float(norms.std())) if len(norms) else (0.0, 0.0)
