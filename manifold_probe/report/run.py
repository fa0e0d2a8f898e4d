"""Runs of our trainer and logs of a watch: read and checked, one tidy table, the figure of their curves, what training
won, and what the folder of a run holds.

The untrained student is the yardstick: a random network already keeps some neighbours, so that a value alone does not
show that distillation helped.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manifold_probe.errors import InputError
from manifold_probe.measures.catalogue import MEASURES, general
from manifold_probe.report.blocks import Block, Facts, Section, Sentence
from manifold_probe.report.document import read_document, readings, students_of
from manifold_probe.report.info import contents_blocks
from manifold_probe.report.records import Loss, Manifest, Measurement
from manifold_probe.report.result import Result
from manifold_probe.report.typed import mismatch
from manifold_probe.report.words import number, quantity, shown
from manifold_probe.spaces.folder import MANIFEST
from manifold_probe.spaces.read import inspect

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from manifold_probe.distillation.config import Config
    from manifold_probe.distillation.run_folder import RunFolder
    from manifold_probe.report.figures.look import Look

LOG, WATCH = "log.jsonl", "watch.jsonl"
SIDES = ("backbone", "head")
SIZES = {"rank": "effective rank of the student", "norm": "median norm of the student"}  # of the backbone, in a watch
AGAIN = "give a folder that probe distill wrote, or the log of a watch"


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

    def numbers(self) -> list[dict[str, Any]]:
        """Every number of the log in the order of steps: "step", "epoch", "encoded", "side", "measure", "value" each.

        "loss", its terms "loss:TERM" and "rate" have no side; a measure that is undefined throughout has no rows. The
        student's own rank and norm stand at the backbone.
        """
        rows = []
        for line in sorted([*self.losses, *self.measured], key=lambda line: line["step"]):
            values: list[tuple[str | None, dict[str, float | None]]]
            if "terms" in line:
                terms = {f"loss:{term}": value for term, value in line["terms"].items()}
                rate = {} if line["rate"] is None else {"rate": line["rate"]}
                values = [(None, {"loss": line["loss"], **terms, **rate})]
            else:
                sizes = {key: line[key] for key in SIZES if line.get(key) is not None}
                values = [(side, line["measures"][side] | (sizes if side == SIDES[0] else {})) for side in SIDES]
            place = {name: line[name] for name in ("step", "epoch", "encoded")}
            for side, of_side in values:
                keys = [*self.keys, *self.sizes] if side else of_side
                rows += [
                    {**place, "side": side, "measure": key, "value": of_side[key]} for key in keys if key in of_side
                ]
        return rows

    @property
    def sizes(self) -> list[str]:
        """What it has of the student's own rank and norm."""
        return [key for key in SIZES if any(line.get(key) is not None for line in self.measured)]

    @property
    def terms(self) -> list[str]:
        """The terms of its loss."""
        return list(dict.fromkeys(term for line in self.losses for term in line["terms"]))

    def values(self, side: str, key: str) -> list[float | None]:
        """A measure at one side, or one of ``sizes``, a value a measurement."""
        return [(line if key in SIZES else line["measures"][side]).get(key) for line in self.measured]

    @property
    def counts_samples(self) -> bool:
        """Whether its lines say how many samples the student had seen."""
        return all(line["encoded"] is not None for line in [*self.losses, *self.measured])

    @property
    def verified(self) -> bool:
        """Whether ids vouch for which targets of the teacher the student was given."""
        return all((line.get("pairing") or {}).get("verified", True) for line in self.measured)

    @property
    def headless(self) -> bool:
        """Whether backbone and head are one."""
        return all(line["measures"]["backbone"] == line["measures"]["head"] for line in self.measured)


def run_folders(paths: dict[str, str | None]) -> dict[str, str | None] | None:
    """The arguments that are run folders or logs of a watch, with their names; None where none is.

    What a shell makes of ``run/*`` stands for the folder: a log.jsonl and the files next to it.

    Raises
    ------
    InputError
        Where only some arguments are run folders, or one is given twice.
    """
    logs = {Path(path).parent for path in paths if Path(path).name == LOG and os.path.isfile(path)}
    inside = {path: Path(path).parent in logs for path in paths}
    runs = [path for path, within in inside.items() if within or os.path.isdir(path) or path.endswith(".jsonl")]
    others = [path for path in paths if path not in runs]
    if len(others) == len(paths):
        return None
    if others:
        folder = next(path for path in paths if path not in others)
        raise InputError(f"{others[0]}: is no run folder, and {folder} is of one; draw runs and saved results apart")
    folders: dict[str, str | None] = {}
    for path, name in paths.items():
        folder = str(Path(path).parent) if inside[path] else path
        if os.path.realpath(folder) not in map(os.path.realpath, folders):
            folders[folder] = name
        elif not inside[path]:
            raise InputError(f"RESULT: {path} is given twice; give every run once")
    return folders


def read_runs(folders: dict[str, str | None]) -> list[Run]:
    """The runs in these folders or files, called as given or as their folder.

    Raises
    ------
    InputError
        Where a folder holds no log or a damaged one, or two runs have one name.
    """
    origin: dict[str, str] = {}
    for path, given in folders.items():
        name = given or _name(path)
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
    file = log_of(folder)
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
        line = {"epoch": None, "encoded": None, **line}
        (measured if kind else losses).append(line)
        if kind and line.get("loss") is not None:
            losses.append({**line, "rate": None, "terms": {}})
    if not lines:
        raise InputError(f"{file}: holds no line yet; give it when the run has measured something")
    return Run(name or _name(folder), losses, measured, file.name != LOG or (file.parent / MANIFEST).exists())


def log_of(path: str | Path) -> Path:
    """The log in a run's folder, or the log of a watch; a path to either."""
    if Path(path).suffix == ".jsonl" and not os.path.isdir(path):
        return Path(path)
    return next((log for name in (LOG, WATCH) if (log := Path(path) / name).exists()), Path(path) / LOG)


def _name(path: str | Path) -> str:
    """What a run is called: as its folder, or as a log with a name of its own."""
    place = Path(path).resolve()
    named = place.suffix != ".jsonl" or place.name not in (LOG, WATCH)
    return (place.name.removesuffix(".jsonl") if named else place.parent.name) or "run"


def manifest_of(folder: RunFolder) -> dict[str, Any]:
    """What a finished run says of itself, checked (`records.Manifest`). Raises InputError."""
    manifest = folder.facts()
    if wrong := mismatch(manifest, Manifest):
        raise InputError(f"{folder.path / MANIFEST}: {wrong}; {AGAIN}")
    return manifest


class Runs(Result):
    """The training curves of runs."""

    tables = (".csv", ".parquet")
    columns = ("run", "step", "epoch", "encoded", "side", "measure", "value")
    called = "the table of runs"

    def __init__(self, runs: list[Run]) -> None:
        super().__init__({})
        self._runs = runs

    def _tidy_rows(self) -> list[dict[str, Any]]:
        """The `Run.numbers` of all."""
        return [{"run": run.name, **row} for run in self._runs for row in run.numbers()]

    def _draw(self, look: Look) -> dict[str, Figure]:
        """The figures of the curves. Raises InputError for more runs than a figure can show."""
        from manifold_probe.report.figures.curves import draw

        return draw(self._runs, look)


def training_sentences(students: dict[str, dict[str, Any]]) -> list[tuple[str, bool | None]]:
    """What training won and whether it did, a sentence a student; none for students that no run of ours made."""
    sentences = []
    for name, document in students.items():
        gain = (document["details"].get("training") or {}).get("gain")
        if gain is not None:
            text = gain_in_words(gain)
            text = f"{shown(name)}: {text}" if len(students) > 1 else f"{text[0].upper()}{text[1:]}"
            sentences.append((f"{text}.", gain["better"]))
    return sentences


def measured_rows(probe: dict[str, Any]) -> str:
    """How many rows were measured, and whether training saw them.

    >>> measured_rows({"rows": 2000, "held_out": False, "seen": 4})
    '2,000 rows, of which training saw 4'
    """
    seen = probe.get("seen") or probe["rows"]
    saw = " that training saw" if seen == probe["rows"] else f", of which training saw {seen:,}"
    return f"{probe['rows']:,} rows" + {True: " held out of training", False: saw, None: ""}[probe.get("held_out")]


def gain_in_words(gain: dict[str, Any]) -> str:
    """What a `gain` says, without a full stop.

    >>> gap = {"value": 0.1, "low": 0.08, "high": 0.12}
    >>> gain = {"measure": "overlap@10", "rows": 180, "held_out": True, "untrained": 0.2, "trained": 0.3}
    >>> gain |= {"difference": gap, "better": True, "cka": {"untrained": 0.5, "trained": 0.75}}
    >>> print(gain_in_words(gain).replace(" on ", "\\n"))
    training raised overlap@10 from 20.0% to 30.0% (by 10.0 percentage points, 95% interval 8.0 to 12.0)
    180 rows held out of training; debiased linear CKA from 0.500 to 0.750
    """
    before, after, gap = gain["untrained"], gain["trained"], gain["difference"]
    where = f"on {measured_rows(gain)}"
    if before is None or after is None:
        return f"whether training helped is not known: {gain['measure']} is undefined {where}"
    untrained, trained = (gain["cka"][name] for name in ("untrained", "trained"))
    cka = f"; debiased linear CKA from {number(untrained)} to {number(trained)}"
    values = f"{gain['measure']} is {100 * after:.1f}% {where}, {100 * before:.1f}% before training"
    if gain["better"] is None:
        return f"too few rows to decide whether training helped: {values}{cka}"
    interval = f"95% interval {100 * gap['low']:.1f} to {100 * gap['high']:.1f}"
    points = f"{100 * gap['value']:.1f} percentage points, {interval}"
    if gain["better"]:
        raised = f"from {100 * before:.1f}% to {100 * after:.1f}%"
        return f"training raised {gain['measure']} {raised} (by {points}) {where}{cka}"
    worse = " (worse)" if gap["high"] < 0 else ""
    return f"no better than untrained{worse}: {values} (difference {points}){cka}"


def run_blocks(path: str) -> list[Block]:
    """What the folder of a run holds: what was trained, on which rows, how it ended, and its features.

    Raises
    ------
    InputError
        Where its configuration, its log or its manifest is damaged.
    """
    from manifold_probe.distillation.config import read_toml, resolved  # with torch
    from manifold_probe.distillation.run_folder import CONFIG, STUDENT, RunFolder

    folder = RunFolder(path)
    config, log = resolved(read_toml(str(folder.path / CONFIG))), read_run(path)
    facts = [("run", _task(config, log)), ("rows", _rows(log, folder))]
    if log.losses:
        first, last = (quantity(log.losses[place]["loss"]) for place in (0, -1))
        facts.append(("loss", f"{first} at first, {last} at last" if len(log.losses) > 1 else f"{first} on average"))
    if not folder.finished:
        measures = log.measured[-1]["measures"] if log.measured else {}
        return [Facts([*facts, *(("measured", f"{side}: {_main(values)}") for side, values in measures.items())])]
    manifest = manifest_of(folder)
    facts.append(("student", f"probe extract --model {path.rstrip('/')}/{STUDENT} --data DATA --out FEATURES"))
    training = manifest.get("training") or {}
    for side in SIDES:
        if training.get(side):
            gain = {"rows": training["rows"], "held_out": training["held_out"], **training[side]}
            facts.append(("training", f"{side}: {gain_in_words(gain)}"))
    blocks: list[Block] = [Facts([*facts, *_compared(folder)])]
    blocks.append(Section("backbone: the features of the folder itself", contents_blocks(inspect(path))))
    if not manifest["head"]:
        return [*blocks, Section("", [Sentence("no head: the loss saw the backbone's vectors")])]
    of_head = contents_blocks(inspect(f"{path}::head"))[0]
    assert isinstance(of_head, Facts)
    different = Facts([fact for fact in of_head.facts if fact[0] in ("features", "values", "norms")])
    return [*blocks, Section(f"head: the features {path}::head", [different])]


def _task(config: Config, log: Run) -> str:
    """What was trained from what, and how far it came."""
    from manifold_probe.distillation.config import epochs

    sides = f"student {shown(config.student)} of teacher {shown(config.teacher)} on {shown(config.data)}"
    step = max((line["step"] for line in [*log.losses, *log.measured]), default=0)
    how_far = f"finished: {epochs(config.epochs)}, {step:,} steps, seed {config.seed}"
    if not log.finished:
        how_far = f"not finished: at step {step:,}; give the same probe distill command again to go on"
    return f"{config.method}: {sides}; {how_far}"


def _rows(log: Run, folder: RunFolder) -> str:
    """How many rows were trained on and measured, and how the teacher's rows were paired with them."""
    trained = f"{len(folder.trained_ids()):,} trained on; " if folder.has_trained_ids else ""
    probe = log.measured[-1]["probe"] if log.measured else {"rows": 0, "held_out": False}
    paired = "paired with the teacher by id" if log.verified else "unverified: paired with the teacher by position"
    return f"{trained}{measured_rows(probe)} are measured; {paired}"


def _compared(folder: RunFolder) -> list[tuple[str, str]]:
    """The main measures of the saved comparison; nothing where there is none that this version reads."""
    from manifold_probe.distillation.run_folder import RESULT

    try:
        students = students_of(read_document(folder.path / RESULT))
    except InputError:
        return []
    facts = []
    for name, document in students.items():
        values = {key: reading.value for key, reading in readings(document).items()}
        rows = f"{document['pairing']['rows']:,} rows, {RESULT}"
        facts.append(("measured", f"{name if name in SIDES else 'backbone'}: {_main(values)} ({rows})"))
    return facts


def _main(values: dict[str, Any]) -> str:
    """The main ones of the watched measures, in a line."""
    main = [measure.key for measure in MEASURES if measure.watched and measure.headline]
    known = [key for wanted in main for key in values if general(key) == wanted and values[key] is not None]
    return ", ".join(f"{key} {number(values[key])}" for key in known)
