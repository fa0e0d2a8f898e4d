"""The progress of work in parts: each part reports its progress from 0 to 1, and the whole is reported as one.

Progress is a function ``progress(stage, done, total)``: ``done`` of ``total`` is done, and ``stage`` is a label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

Progress = Callable[..., None]


def silent(*_: object) -> None:
    """Progress that is not reported."""


class Parts:
    """The parts of some work, in order, with their approximate relative durations.

    A part that has reported nothing when a later one reports was not needed, for example because its result existed. It
    is not counted, so that the share refers to the work of this run.

    Parameters
    ----------
    progress : callable, optional
        Of the whole work. Called with the stage of a part, and ``done`` and ``total`` of the whole.
    shares : dict of name -> float
        The relative duration of every part.

    Examples
    --------
    >>> parts = Parts(lambda stage, done, total: print(f"{stage} {done / total:.0%}"), {"train": 3, "compare": 1})
    >>> train, compare = parts["train"], parts["compare"]
    >>> train("training", 50, 100), train("training", 100, 100), compare("moments", 1, 2)
    training 38%
    training 75%
    moments 88%
    (None, None, None)
    """

    def __init__(self, progress: Progress | None, shares: Mapping[str, float]) -> None:
        self._progress, self._shares = silent if progress is None else progress, dict(shares)
        self._reported: set[str] = set()

    def __getitem__(self, name: str) -> Progress:
        """The progress of a part."""
        names = list(self._shares)
        earlier, later = names[: names.index(name)], names[names.index(name) + 1 :]

        def report(stage: str, done: float, total: float, *note: str) -> None:
            self._reported.add(name)
            before = sum(self._shares[part] for part in earlier if part in self._reported)
            share, after = self._shares[name], sum(self._shares[part] for part in later)
            self._progress(stage, before + share * (done / total if total else 1.0), before + share + after, *note)

        return report


def side_by_side(progress: Progress | None, count: int) -> list[Progress]:
    """The progress of each of ``count`` equal parts that go on at the same time.

    >>> first, second = side_by_side(lambda stage, done, total: print(f"{stage} {done / total:.0%}"), 2)
    >>> first("training", 1, 2), second("training", 1, 2)
    training 25%
    training 50%
    (None, None)
    """
    done_by = [0.0] * count
    whole = silent if progress is None else progress

    def of_part(part: int) -> Progress:
        def report(stage: str, done: float, total: float, *note: str) -> None:
            done_by[part] = done / total if total else 1.0
            whole(stage, sum(done_by), count, *note)

        return report

    return [of_part(part) for part in range(count)]


def duration(seconds: float) -> str:
    """A duration in words, rounded like an estimate.

    >>> duration(0.2), duration(90), duration(1800), duration(9000)
    ('1 s', '90 s', '30 min', '2.5 h')
    """
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
