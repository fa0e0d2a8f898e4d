"""Alarms: what about the data itself would mislead a reader, each with its evidence in one sentence."""

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

FEW_ROWS = 200
FLOAT16_EDGE = 65_504.0
OFFSET = 3.0
COLLAPSED = 1 / 3
HUB_SHARE = 0.1
INFLUENTIAL = 10
INFLUENTIAL_SHARE = 0.2
DOMINANT_SHARE = 0.5
INFLUENTIAL_CHANGE = 0.02
INFLUENTIAL_ERRORS = 3.0
DOMINATING_CHANGE = 0.05
HEAVY, ONE_SIDED = 2.0, 1.64  # below it squared distances have no variance; standard errors of 95%
MANY_COPIES, COPIES_CHANGE = 0.1, 0.05
ONE_LENGTH = 1e-3  # of the mean length: what rounding to half precision leaves
VARIED_LENGTHS = 0.02
ALONG_MEAN = 0.02  # of the spread; a far offset makes lengths nearly one, but they vary as the rows do along the mean
LOOKED_AT = 256  # rows


def of_space(side: str, found: Profile, dtype: str) -> list[Alarm]:
    """What one space's rows and columns say."""
    n, d = len(found.norms), len(found.mean)
    alarms = []
    repeated = n - len(np.unique(found.hashes))
    if repeated == n - 1:
        what = "all rows are equal" if found.norms.any() else "all vectors are zero"
        alarms.append(Alarm("constant_space", f"{side}: {what}: every input gives the same vector."))
    if repeated:
        alarms.append(Alarm("duplicate_rows", f"{side}: {repeated:,} of {n:,} rows repeat another row exactly."))
    dead = np.flatnonzero(found.constant_columns)
    if len(dead):
        listed = ", ".join(map(str, dead[:5])) + (", ..." if len(dead) > 5 else "")
        alarms.append(Alarm("dead_dimensions", f"{side}: {len(dead)} of {d} dimensions are constant ({listed})."))
    zeros = int((found.norms == 0).sum())
    if zeros:
        first = int(np.argmax(found.norms == 0))
        alarms.append(Alarm("zero_vectors", f"{side}: {zeros:,} of {n:,} rows are zero vectors (first: row {first})."))
    flat = int((found.constant_rows & (found.norms > 0)).sum())
    if flat:
        alarms.append(Alarm("constant_rows", f"{side}: {flat:,} of {n:,} rows hold one value in every dimension."))
    if dtype == "float16" and found.largest >= FLOAT16_EDGE:
        alarms.append(
            Alarm("float16_range", f"{side}: values reach {found.largest:,.0f}, the edge of float16's range.")
        )
    return alarms


def common_offset(teacher: Profile, student: Profile) -> list[Alarm]:
    """A mean so long against the spread that cosines see mostly the mean."""
    alarms = []
    for side, found, other in (("teacher", teacher, student), ("student", student, teacher)):
        if found.spread and found.offset > OFFSET and (side == "teacher" or found.offset > OFFSET * other.offset):
            against = f" (the {'student' if side == 'teacher' else 'teacher'}'s: {other.offset:.3g})"
            alarms.append(
                Alarm(
                    "common_offset",
                    f"{side}: the mean is {_times(found.offset)} as long as the spread{against}, so a cosine "
                    "sees mostly the mean; centre before searching.",
                )
            )
    return alarms


def _times(ratio: float) -> str:
    return f"{ratio:.3g} times" if np.isfinite(ratio) else "infinitely many times"


def collapsed_rank(teacher: float | None, student: float | None, reference: float | None) -> list[Alarm]:
    """A student that uses far fewer directions than the teacher cut to its width."""
    if teacher is None:
        return []
    student = student or 0.0  # undefined for a student that is zero everywhere
    yardstick = min(teacher, reference or teacher)
    if student >= COLLAPSED * yardstick:
        return []
    return [
        Alarm(
            "collapsed_rank",
            f"student: effective rank {student:.1f}, where the teacher cut to the same width has {yardstick:.1f}.",
        )
    ]


def hubs(side: str, found: Neighbours, other_share: float) -> tuple[list[Alarm], float]:
    """One row in very many neighbourhoods; also returns its share of the queries."""
    counts = occurrences(found)
    share = float(counts.max() / len(found.queries))
    # in a small set a fair share, k / n, is large by itself
    if share < max(HUB_SHARE, 3 * other_share, 10 * found.k / found.n):
        return [], share
    return [
        Alarm("hubs", f"{side}: row {counts.argmax()} is among the neighbours of {share:.0%} of the queries.")
    ], share


def far_rows(powers: np.ndarray) -> tuple[np.ndarray, float]:
    """Up to ten rows (fewer below 200) far from the mean, none unless they hold a large share of the fourth powers.

    ``powers`` (n,) are squared distances from the mean; CKA is decided by their squares. Rows with less than a
    hundredth of the farthest one's are left out. Also returns the share.
    """
    rows = np.argsort(-powers, kind="stable")[: min(INFLUENTIAL, len(powers) // 20)]
    relative = powers / (powers.max() or 1.0)
    rows = rows[relative[rows] ** 2 >= 0.01]
    share = (relative[rows] ** 2).sum() / max((relative**2).sum(), 1e-300)
    return (rows if share >= INFLUENTIAL_SHARE else rows[:0]), float(share)


def influential_rows(side: str, rows: np.ndarray, share: float, whole: Measured, without: float) -> list[Alarm]:
    """A few far rows that decide CKA: debiased CKA without them lies well outside what sampling does.

    Where they hold most of the fourth powers the standard error is theirs too, and is not asked.
    """
    if not len(rows) or whole.value is None:
        return []
    error = 0.0 if share > DOMINANT_SHARE else whole.estimate.standard_error or 0.0
    if abs(without - whole.value) <= max(INFLUENTIAL_CHANGE, INFLUENTIAL_ERRORS * error):
        return []
    return [
        Alarm(
            "influential_rows",
            f"{side}: {len(rows)} far rows ({', '.join(map(str, rows))}) decide the overall shape; without them "
            f"debiased CKA is {without:.3f} instead of {whole.value:.3f}.",
        )
    ]


def heavy_tails(side: str, powers: np.ndarray, wider: float) -> list[Alarm]:
    """Squared distances from the mean (n,) with a tail so heavy that another sample may look very different.

    ``wider``: the factor that the pair's intervals were widened by.
    """
    index = tail_index(powers)
    if index * (1 + ONE_SIDED / np.sqrt(len(powers) // TAIL or 1)) >= HEAVY:
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
    sides: list[tuple[str, np.ndarray, Held]], cka: float | None, left: Remeasured, k: int, n: int
) -> list[Alarm]:
    """A few dimensions that hold most of a space, and without which CKA or the overlap is another number.

    ``sides``: the side's name, its dominating dimensions and what dimensions hold (d,) of its variance and its squared
    length.
    """
    moved = [abs(left.overlap - left.overlap_before)]
    moved += [abs(left.cka - cka)] if cka is not None and np.isfinite(left.cka) else []
    if max(moved) < DOMINATING_CHANGE:
        return []
    found = []
    for side, columns, held in sides:
        if len(columns):
            shares = {name: each[columns].sum() / each.sum() for name, each in held}
            name, share = next(((name, of) for name, of in shares.items() if of > DOMINANT_SHARE))
            many = (
                f"dimensions {', '.join(map(str, columns))} hold"
                if len(columns) > 1
                else f"dimension {columns[0]} holds"
            )
            found.append(f"{side}: {many} {share:.1%} of the {name}")
    those = "it" if sum(len(columns) for _, columns, _ in sides) == 1 else "them"
    numbers = [f"{OVERLAP.named(k)} is {left.overlap:.3f} instead of {left.overlap_before:.3f}"]
    if len(moved) > 1:
        numbers.insert(0, f"debiased CKA is {left.cka:.3f} instead of {cka:.3f}")
    of = f" ({left.queries:,} queries)" if left.queries < n else ""
    return [Alarm("dominating_dimension", f"{'; '.join(found)}; without {those} {' and '.join(numbers)}{of}.")]


def copied_rows(n: int, distinct: int, k: int, overlap: float, among: float | None) -> list[Alarm]:
    """Many rows that are copies of others in both spaces, and the overlap (None: not defined) of the distinct rows."""
    copies = f"{(n - distinct) / n:.0%} of the {n:,} rows are copies of other rows in both spaces"
    if among is None:
        text = f"{copies}, and the {distinct:,} distinct ones are too few for {k} neighbours."
    elif abs(among - overlap) < COPIES_CHANGE:
        text = f"{copies}; among the {distinct:,} distinct ones {OVERLAP.named(k)} is {among:.3f}."
    else:
        text = f"{copies}, so copies decide the neighbourhoods: among the {distinct:,} distinct ones "
        text += (
            f"{OVERLAP.named(k)} is {among:.3f} (chance {overlap_chance(distinct, k):.3f}) instead of {overlap:.3f}."
        )
    return [Alarm("copied_rows", text)]


def few_rows(n: int, widest: int) -> list[Alarm]:
    """Too few rows for what is estimated."""
    if n >= max(FEW_ROWS, widest):
        return []
    return [
        Alarm(
            "few_rows",
            f"{n:,} rows in up to {widest:,} dimensions: biased CKA and Procrustes are large by chance alone, "
            "and neighbourhoods say little about larger databases.",
        )
    ]


def packed_bits(pair: Pair) -> list[Alarm]:
    """Bytes, an eighth as many as the other side has dimensions: binary embeddings that nobody unpacked."""
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
    low, high = byte_range([space.read(0, LOOKED_AT)])
    return low >= -128 and high <= 255 and high > 1


def _key(space: Space) -> str:
    return f"{space.source.path or 'FILE'}::{space.source.key or 'KEY'}"


def one_sided_normalisation(teacher: Profile, student: Profile) -> list[Alarm]:
    """Rows of one length on one side alone: lengths and Euclidean distances are not those of the same thing."""
    sides = {"teacher": teacher, "student": student}
    for side, other in (("teacher", "student"), ("student", "teacher")):
        mean, deviation = _lengths(sides[side])
        others_mean, others_deviation = _lengths(sides[other])
        normalised = deviation <= min(ONE_LENGTH * mean, ALONG_MEAN * sides[side].spread)
        varied = others_deviation >= VARIED_LENGTHS * others_mean > 0
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


def _lengths(found: Profile) -> tuple[float, float]:
    """Mean and standard deviation of the row norms, zero vectors left out."""
    norms = found.norms[found.norms > 0]
    return (float(norms.mean()), float(norms.std())) if len(norms) else (0.0, 0.0)
