"""The course of a training: its log, and what the curve of its loss shows.

Logs are noisy, with a line a step or a line an epoch, and a schedule that ends at a rate of zero makes every loss flat
at its end. So the whole course is used: the levels at a quarter, at half and at the end of the steps.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from manifold_probe.diagnosis.lab import QUERY_ERROR_FACTOR
from manifold_probe.errors import InputError

MIN_TREND_Z = 2.33  # Mann-Kendall's z: chance exceeds it once in 100 times
MIN_TO_GO = 0.05  # of the fall so far; runs that were long enough show at most .02, a tenth as long .07 and more
MIN_RISE = 0.1  # of the fall so far
NOISE_ERRORS = 5.0  # standard errors of a difference of levels: chance exceeds it in 300 points once in 1,000 times
MIN_JUMP = 0.25  # of the fall so far
MIN_RATE_POINTS = 4  # for a rate of the fall
MIN_NOISE_POINTS = 12  # for an estimate of noise; with fewer points only an explosion is proved
EXPLOSION_RATIO = 2.0  # of the first loss
DEFAULT_RATE = 0.5  # the gain of a doubling over that of the one before, where the course is too short to estimate it
MAX_RATE = 0.8  # the largest such rate


@dataclass(frozen=True)
class Course:
    """A curve that falls as a student learns, described as a whole.

    ``kind`` is "falling", "flat", "rising", "jumping" or "not finite"; ``sure``: chance makes such a course less than
    once in 100 times. ``to_go`` is the further fall, in units of the fall so far, if training had taken four times as
    long: every doubling of the steps is assumed to gain the same share of the gain of the doubling before it. A
    schedule that ends at zero makes the end flat, so that the last half is used and not the last steps. ``learned`` is
    whether it fell at all, beyond its noise.
    """

    kind: str
    sure: bool
    points: int
    first: float
    half: float
    last: float
    to_go: float = 0.0
    learned: bool = True
    at: float | None = None


def read_course(curve: Sequence[tuple[float, float]]) -> Course | None:
    """The course of a curve of (step, value); None for fewer than two points.

    >>> read_course([(step, 1 / step) for step in range(1, 41)]).kind
    'flat'
    >>> read_course([(step, 4 - step / 20) for step in range(1, 41)]).kind
    'falling'
    """
    values = np.array([value for _, value in curve], dtype=float)
    steps = np.array([step for step, _ in curve], dtype=float)
    n = len(values)
    if n and not np.isfinite(values).all():
        place = int(np.argmin(np.isfinite(values)))
        return Course("not finite", True, n, values[0], np.nan, np.nan, at=float(steps[place]))
    if n < 2:
        return None
    quarter, half, last = (level(steps, values, part) for part in (0.25, 0.5, 1.0))
    first = float(values[: max(1, n // 16)].mean())
    lowest = min(quarter, half, last)
    fall = max(first, quarter, half) - lowest
    noise = NOISE_ERRORS * noise_of(values)
    facts: dict[str, Any] = {"points": n, "first": first, "half": half, "last": last, "learned": bool(fall > noise)}
    at = jump(steps, values, max(MIN_JUMP * fall, noise))
    if n < MIN_NOISE_POINTS and last > EXPLOSION_RATIO * max(abs(first), 1e-12):
        return Course("rising", True, at=at, **facts)
    rise, falls = last - lowest, trend(binned(values[steps >= steps[-1] / 2]))
    if n >= MIN_NOISE_POINTS and rise > max(MIN_RISE * fall, noise) and falls < -MIN_TREND_Z:
        return Course("rising", True, at=at, **facts)
    if at is not None:
        return Course("jumping", True, at=at, **facts)
    won, before = half - last, quarter - half
    ratio = DEFAULT_RATE if n < MIN_RATE_POINTS else float(np.clip(won / max(before, 1e-12), 0, MAX_RATE))
    facts["to_go"] = max(won, 0.0) * (ratio + ratio**2) / max(fall, 1e-12)
    sure = n >= MIN_NOISE_POINTS and falls > MIN_TREND_Z
    if facts["to_go"] >= MIN_TO_GO and (sure or n < MIN_NOISE_POINTS):
        return Course("falling", sure, **facts)
    return Course("flat", n >= MIN_NOISE_POINTS, **facts)


def noise_of(values: np.ndarray) -> float:
    """The standard error of the difference between two levels, medians of a sixteenth of the points each, from the
    differences between neighbouring points; 0 for few points."""
    if len(values) < MIN_NOISE_POINTS:
        return 0.0
    changes = np.diff(values[len(values) // 2 :])
    spread = 1.4826 * float(np.median(np.abs(changes - np.median(changes)))) / np.sqrt(2)
    return QUERY_ERROR_FACTOR * spread * np.sqrt(2 / window_of(values))


def window_of(values: np.ndarray) -> int:
    """The number of points of a level."""
    return max(3, len(values) // 16)


def level(steps: np.ndarray, values: np.ndarray, part: float) -> float:
    """The value at a part of the course: the median of the last quarter of the steps up to there, or, for few points,
    an interpolated value."""
    end = part * steps[-1]
    inside = values[(steps > 0.75 * end) & (steps <= end)]
    return float(np.median(inside)) if len(inside) > 2 else float(np.interp(end, steps, values))


def binned(values: np.ndarray, count: int = 12) -> np.ndarray:
    """Means of at most ``count`` equal parts, so that neighbouring steps are not counted as independent."""
    parts = np.array_split(values, min(count, len(values)))
    return np.array([part.mean() for part in parts])


def trend(values: np.ndarray) -> float:
    """Mann-Kendall's z of a fall: positive where later values are lower more often than higher.

    >>> round(trend(np.arange(12.0)[::-1]), 2)
    4.46
    """
    n = len(values)
    if n < 3:
        return 0.0
    later = np.sign(values[:, None] - values[None, :])
    score = float(later[np.triu_indices(n, 1)].sum())
    spread = np.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    return float(np.sign(score) * max(abs(score) - 1, 0) / spread)


def jump(steps: np.ndarray, values: np.ndarray, smallest: float) -> float | None:
    """The step at which the curve jumps up and stays up: its largest rise, where that exceeds ``smallest``."""
    if len(values) < 2 * MIN_NOISE_POINTS:
        return None
    window = window_of(values)
    levels = np.median(np.lib.stride_tricks.sliding_window_view(values, window), axis=1)
    rises = levels[window:] - levels[:-window]
    place = int(np.argmax(rises))
    return float(steps[place + window]) if rises[place] > smallest else None


# ---- the log

LOSS_KEYS = ("loss", "train_loss", "train/loss", "training_loss")  # common names
LOG_FORMAT = 'lines such as step,loss in a .csv, or {"step": 100, "loss": 0.5} in a .jsonl'


def read_log(given: Any) -> list[tuple[float, float]]:
    """A training log as (step, loss), in the order of the steps.

    Parameters
    ----------
    given : path to a .csv, .tsv or .jsonl, list of (step, loss), list of dicts, or DataFrame
        Columns or keys ``loss`` (or ``train_loss``), and ``step`` or ``epoch``. Lines without a loss, such as those of
        evaluations, are skipped. A loss may be NaN or infinite: that is a finding.

    Raises
    ------
    InputError
        For a file that cannot be read, no line with a loss, a loss or step that is not a number, or no step.

    Examples
    --------
    >>> read_log([{"step": 2, "loss": 0.5}, {"step": 1, "loss": 0.7}, {"step": 2, "accuracy": 0.9}])
    [(1.0, 0.7), (2.0, 0.5)]
    """
    name, lines = _lines(given)
    if not lines:
        raise InputError(f"{name}: holds no line; give {LOG_FORMAT}")
    points, epochs = [], []
    for place, line in lines:
        key = next((key for key in LOSS_KEYS if line.get(key) not in (None, "")), None)
        if key is None:
            continue
        loss = _number(line[key], "loss", name, place)
        step, epoch = (line.get(key) for key in ("step", "epoch"))
        if step in (None, "") and epoch in (None, ""):
            raise InputError(f"{name}: line {place} has a loss but no step; give {LOG_FORMAT}")
        at = _number(epoch if step in (None, "") else step, "step", name, place)
        if not math.isfinite(at):
            raise InputError(f"{name}: line {place}: step is {at}, not a finite number; give {LOG_FORMAT}")
        points.append((at, loss))
        epochs.append(epoch)
    if not points:
        keys = ", ".join(list(dict.fromkeys(str(key) for _, line in lines for key in line))[:8]) or "nothing"
        raise InputError(f"{name}: no line has a loss, only {keys}; give {LOG_FORMAT}")
    if _counts_anew([at for at, _ in points], epochs):
        return [(float(place), loss) for place, (_, loss) in enumerate(points, 1)]
    return sorted(points, key=lambda point: point[0])


def _counts_anew(steps: list[float], epochs: list[Any]) -> bool:
    """Whether the steps start again in every epoch, so that the order of the lines must be used."""
    if sorted(steps) == steps:
        return False
    try:
        numbers = [float(epoch) for epoch in epochs]
    except (TypeError, ValueError):
        return False
    return sorted(numbers) == numbers


def _number(value: Any, column: str, name: str, place: int) -> float:
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError):
        raise InputError(
            f"{name}: line {place}: {column} is {str(value)[:40]!r}, not a number; give {LOG_FORMAT}"
        ) from None


def _lines(given: Any) -> tuple[str, list[tuple[int, Mapping[str, Any]]]]:
    """The name of a log, and its lines with their numbers."""
    if isinstance(given, str | Path):
        return str(given), _lines_of_file(str(given))
    if hasattr(given, "to_dict"):
        given = given.to_dict("records")
    if not isinstance(given, Sequence):
        raise InputError(f"log: is a {type(given).__name__}; give a path, or a list of (step, loss)")
    lines = []
    for place, line in enumerate(given, 1):
        if not isinstance(line, Mapping):
            if not isinstance(line, Sequence) or isinstance(line, str) or len(line) != 2:
                raise InputError(f"log: entry {place} is {str(line)[:40]!r}; give a list of (step, loss)")
            line = {"step": line[0], "loss": line[1]}
        lines.append((place, line))
    return "log", lines


def _lines_of_file(path: str) -> list[tuple[int, Mapping[str, Any]]]:
    suffix = Path(path).suffix.lower()
    if suffix not in (".csv", ".tsv", ".jsonl", ".ndjson"):
        raise InputError(f"{path}: a log is a .csv, .tsv or .jsonl; give {LOG_FORMAT}")
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:
        raise InputError(f"{path}: is not text ({error}); give {LOG_FORMAT}") from error
    if suffix in (".csv", ".tsv"):
        try:
            rows = csv.DictReader(io.StringIO(text), delimiter="\t" if suffix == ".tsv" else ",")
            return [
                (place, {str(key).strip(): value for key, value in row.items()}) for place, row in enumerate(rows, 2)
            ]
        except csv.Error as error:
            raise InputError(f"{path}: is not a table ({error}); give {LOG_FORMAT}") from error
    lines: list[tuple[int, Mapping[str, Any]]] = []
    for place, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: line {place} is not JSON ({error}); give {LOG_FORMAT}") from error
        if not isinstance(record, dict):
            raise InputError(f"{path}: line {place} is not a JSON object; give {LOG_FORMAT}")
        lines.append((place, record))
    return lines
