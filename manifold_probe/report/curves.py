"""Runs of the trainer as curves: their logs read and checked, one tidy table, and the figure `training`."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manifold_probe.distillation.run_folder import LOG, MANIFEST
from manifold_probe.errors import InputError
from manifold_probe.files import write_whole
from manifold_probe.report.result import Result
from manifold_probe.report.tables.write import csv_cell
from manifold_probe.report.typed import Record, mismatch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from manifold_probe.report.figures.look import Look

SIDES = ("backbone", "head")
COLUMNS = ("run", "step", "epoch", "encoded", "side", "measure", "value")
AGAIN = "give a folder that probe distill wrote"


class Place(Record):
    """Where in the training a line was written."""

    step: int
    epoch: float
    encoded: int


class Loss(Place):
    """A line of the log about the loss."""

    rate: float
    loss: float
    terms: dict[str, float]


class Probe(Record):
    """The rows that are measured."""

    rows: int
    held_out: bool


class Paired(Record):
    """How the teacher's rows were paired with the data."""

    by: str
    verified: bool


class BothSides(Record):
    """The measures at both sides of the head."""

    backbone: dict[str, float | None]
    head: dict[str, float | None]


class Measurement(Place):
    """A line of the log about the measures."""

    probe: Probe
    pairing: Paired | None
    measures: BothSides


@dataclass(frozen=True)
class Run:
    """The log of a run: ``losses`` and ``measured`` are its lines of either kind, in order."""

    name: str
    losses: list[dict[str, Any]]
    measured: list[dict[str, Any]]
    finished: bool = True

    @property
    def keys(self) -> list[str]:
        """The measures it has a value of, somewhere."""
        every = [one for line in self.measured for side in SIDES for one in line["measures"][side].items()]
        return list(dict.fromkeys(key for key, value in every if value is not None))

    @property
    def terms(self) -> list[str]:
        """The terms of its loss."""
        return list(dict.fromkeys(term for line in self.losses for term in line["terms"]))

    def values(self, side: str, key: str) -> list[float | None]:
        """A measure at one side, a value a measurement."""
        return [line["measures"][side].get(key) for line in self.measured]

    @property
    def verified(self) -> bool:
        """Whether ids vouch for which targets of the teacher the student was given."""
        return all((line.get("pairing") or {}).get("verified", True) for line in self.measured)

    @property
    def headless(self) -> bool:
        """Whether backbone and head are one."""
        return all(line["measures"]["backbone"] == line["measures"]["head"] for line in self.measured)


def run_folders(paths: dict[str, str | None]) -> dict[str, str | None] | None:
    """The arguments that are run folders, with their names; None where none is.

    What a shell makes of ``run/*`` stands for the folder: a log.jsonl and the files next to it.

    Raises
    ------
    InputError
        Where only some arguments are run folders, or one is given twice.
    """
    logs = {Path(path).parent for path in paths if Path(path).name == LOG and os.path.isfile(path)}
    inside = {path: Path(path).parent in logs for path in paths}
    others = [path for path, within in inside.items() if not within and not os.path.isdir(path)]
    if len(others) == len(paths):
        return None
    if others:
        folder = next(path for path in paths if path not in others)
        raise InputError(f"{others[0]}: is no run folder, and {folder} is of one; draw runs and saved results apart")
    found: dict[str, str | None] = {}
    for path, name in paths.items():
        folder = str(Path(path).parent) if inside[path] else path
        twice = next((each for each in found if os.path.realpath(each) == os.path.realpath(folder)), None)
        if twice is None:
            found[folder] = name
        elif not inside[path]:
            raise InputError(f"RESULT: {path} is given twice; give every run once")
    return found


def read_runs(folders: dict[str, str | None]) -> list[Run]:
    """The runs in these folders, called as given or as their folder.

    Raises
    ------
    InputError
        Where a folder holds no log or a damaged one, or two runs have one name.
    """
    origin: dict[str, str] = {}
    for path, given in folders.items():
        name = given or Path(path).resolve().name or "run"
        if name in origin:
            fix = f"name them, as in {name}1={origin[name]} {name}2={path}"
            raise InputError(f"{path}: the run {origin[name]} is called {name!r} too; {fix}")
        origin[name] = path
    return [read_run(path, name) for name, path in origin.items()]


def read_run(folder: str | Path, name: str | None = None) -> Run:
    """The log of a run; of one that is still being written, the lines that are whole.

    Raises
    ------
    InputError
        Where the folder holds no log, a damaged one, or one without a line.
    """
    file = Path(folder) / LOG
    try:
        lines = file.read_text(encoding="utf-8").split("\n")[:-1]
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); {AGAIN}") from error
    except ValueError as error:
        raise InputError(f"{file}: is no log ({error}); {AGAIN}") from error
    losses: list[dict[str, Any]] = []
    measured: list[dict[str, Any]] = []
    for place, text in enumerate(lines, 1):
        try:
            line = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{file}: line {place} is no JSON ({error}); {AGAIN}") from error
        kind = isinstance(line, dict) and "measures" in line
        wrong = mismatch(line, Measurement if kind else Loss)
        if wrong is not None:
            raise InputError(f"{file}: line {place}: {wrong}; {AGAIN}")
        (measured if kind else losses).append(line)
    if not lines:
        raise InputError(f"{file}: holds no line yet; give it when the run has measured something")
    return Run(name or Path(folder).resolve().name, losses, measured, (Path(folder) / MANIFEST).exists())


def curves_table(runs: list[Run]) -> str:
    """The logs as CSV: run, step, epoch, encoded, side, measure, value; a row a number.

    ``loss``, its terms ``loss:TERM`` and ``rate`` have no side; what is undefined has no value, and a measure that is
    undefined throughout no rows.
    """
    rows: list[list[Any]] = [list(COLUMNS)]
    for run in runs:
        for line in sorted([*run.losses, *run.measured], key=lambda line: line["step"]):
            start = [run.name, line["step"], line["epoch"], line["encoded"]]
            if "loss" in line:
                named = {"loss": line["loss"], **{f"loss:{term}": value for term, value in line["terms"].items()}}
                rows += [[*start, None, key, value] for key, value in {**named, "rate": line["rate"]}.items()]
            else:
                for side in SIDES:
                    values = line["measures"][side]
                    rows += [[*start, side, key, values[key]] for key in run.keys if key in values]
    return "".join(",".join(map(csv_cell, row)) + "\n" for row in rows)


class Runs(Result):
    """The training curves of runs."""

    tables = (".csv",)
    called = "the table of runs"

    def __init__(self, runs: list[Run]) -> None:
        super().__init__({})
        self._runs = runs

    def to_table(self, path: str | Path, *, width: str | float | None = None) -> None:
        """Write the `curves_table`, a .csv without ``width``.

        Raises
        ------
        InputError
            For another suffix, or when the place cannot be written to.
        """
        self.check_table(path)
        write_whole(path, curves_table(self._runs))

    def _draw(self, look: Look) -> dict[str, Figure]:
        """The figures of the curves. Raises InputError for more runs than a figure can show."""
        from manifold_probe.report.figures.curves import draw

        return draw(self._runs, look)
