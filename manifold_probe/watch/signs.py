"""Early warnings of a training: what the course of a few numbers shows, each in one sentence.

stall      overlap has not risen over the last measurements, although the loss fell: the loss asks for something else
rank       the effective rank of the student's vectors fell by half, below half of the teacher's: a collapse begins
norm       the median length of the vectors doubled or halved, to less than half or more than twice the teacher's
backbone   the head is faithful and the backbone, which is deployed, is not
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from manifold_probe.measures.catalogue import OVERLAP, general

SPAN = 4  # measurements over which overlap may stall
RISE = 0.01  # of overlap; less is no rise
FALL = 0.1  # of the loss, as a share of it
GOOD = 0.9  # overlap above this has little room to rise
GAP = 0.1  # of overlap, between head and backbone
TIMES = 2.0  # a rank that falls, or a norm that moves, by this factor


@dataclass(frozen=True)
class Point:
    """A measurement: the mean loss since the one before, overlap by side, and rank and median norm of the backbone."""

    step: int
    loss: float | None
    overlap: Mapping[str, float | None]
    rank: float | None = None
    norm: float | None = None


def points_of(log: Iterable[Mapping[str, Any]]) -> list[Point]:
    """The points of the lines of a log, of a watch or of `probe distill`."""
    points, loss = [], None
    for line in log:
        loss = line.get("loss", loss)
        if "measures" in line:
            points.append(Point(line["step"], loss, overlaps(line["measures"]), line.get("rank"), line.get("norm")))
    return points


def overlaps(measures: Mapping[str, Mapping[str, float | None]]) -> dict[str, float | None]:
    """Overlap by side."""
    return {
        side: next((value for key, value in values.items() if general(key) == OVERLAP.key), None)
        for side, values in measures.items()
    }


def signs(points: Sequence[Point], rank: float, norm: float) -> dict[str, str]:
    """The warnings that hold at the last point: {kind: sentence}; ``rank`` and ``norm`` are the teacher's.

    >>> course = [Point(100 * turn, 1 / turn, {"backbone": 0.3}) for turn in range(1, 5)]
    >>> signs(course, rank=8.0, norm=1.0)["stall"]
    'overlap stalls: 0.300 at step 100 and 0.300 at step 400, while the loss fell by 75%'
    """
    if len(points) < 2:
        return {}
    found = {
        "stall": _stall(points[-SPAN:]),
        "rank": _rank(points, rank),
        "norm": _norm(points, norm),
        "backbone": _backbone(points[-1]),
    }
    return {kind: sentence for kind, sentence in found.items() if sentence}


def _stall(points: Sequence[Point]) -> str:
    (first, *_, last) = points
    before, after = first.overlap["backbone"], last.overlap["backbone"]
    if len(points) < SPAN or before is None or after is None or first.loss is None or last.loss is None:
        return ""
    fall = first.loss - last.loss
    if after - before >= RISE or after > GOOD or fall <= FALL * abs(first.loss):
        return ""
    how = f"{before:.3f} at step {first.step:,} and {after:.3f} at step {last.step:,}"
    return f"overlap stalls: {how}, while the loss fell by {fall / abs(first.loss):.0%}"


def _rank(points: Sequence[Point], of_teacher: float) -> str:
    now = points[-1].rank
    known = [(point.rank, point.step) for point in points if point.rank is not None]
    if now is None or TIMES * now > min(max(known)[0], of_teacher):
        return ""
    most, step = max(known)
    return (
        f"the rank collapses: the student's vectors use about {now:.1f} dimensions, after {most:.1f} at step {step:,} "
        f"(teacher {of_teacher:.1f})"
    )


def _norm(points: Sequence[Point], of_teacher: float) -> str:
    trained = [point for point in points[1:] if point.norm]  # the first is of the untrained student
    now = points[-1].norm
    if not trained or not now or not of_teacher:
        return ""
    first = trained[0]
    assert first.norm is not None
    moved, away, before = now / first.norm, now / of_teacher, first.norm / of_teacher
    if max(moved, 1 / moved) < TIMES or max(away, 1 / away) <= max(before, 1 / before, TIMES):
        return ""
    return (
        f"norms drift: the median length of the student's vectors went from {first.norm:.3g} at step {first.step:,} to "
        f"{now:.3g} (teacher {of_teacher:.3g})"
    )


def _backbone(point: Point) -> str:
    backbone, head = point.overlap["backbone"], point.overlap.get("head")
    if backbone is None or head is None or head - backbone < GAP:
        return ""
    return (
        f"the head is faithful and the backbone is not: overlap {head:.3f} against {backbone:.3f}; deploy the head "
        "too, or train with a smaller one"
    )
