"""A run folder of the trainer as blocks: what was trained, on which rows, how it ended, and its features."""

from __future__ import annotations

from typing import Any

from manifold_probe.distillation.config import Config, epochs, read_toml, resolved
from manifold_probe.distillation.run_folder import CONFIG, RESULT, STUDENT, RunFolder
from manifold_probe.errors import InputError
from manifold_probe.measures.catalogue import MEASURES, general
from manifold_probe.report.blocks import Block, Facts, Section, Sentence
from manifold_probe.report.contents import contents_blocks
from manifold_probe.report.curves import Run, read_run
from manifold_probe.report.document import read_document, readings, students_of
from manifold_probe.report.render.terminal import lines
from manifold_probe.report.training import SIDES, said_of_gain
from manifold_probe.report.words import number, quantity, shown
from manifold_probe.spaces.read import inspect

OF_SPACE = ("features", "values", "norms")  # the facts of `contents_blocks` that differ between backbone and head


def run_lines(path: str) -> list[str]:
    """The description of a run folder as plain lines. Raises InputError where its configuration or log is damaged."""
    return [line.plain.rstrip() for line in lines(run_blocks(path))]


def run_blocks(path: str) -> list[Block]:
    """The whole description of a run folder.

    Raises
    ------
    InputError
        Where its configuration or its log is damaged.
    """
    folder = RunFolder(path)
    config, log = resolved(read_toml(str(folder.path / CONFIG))), read_run(path)
    facts = [("run", what(config, log, path)), ("rows", said_of_rows(log, folder))]
    if log.losses:
        facts.append(("loss", said_of_losses(log)))
    if not folder.finished:
        return [Facts([*facts, *last_measured(log)])]
    recorded = folder.facts()
    facts.append(("student", f"probe extract --model {path.rstrip('/')}/{STUDENT} --data DATA --out FEATURES"))
    training = recorded.get("training") or {}
    where = {name: training.get(name) for name in ("rows", "held_out")}
    facts += [
        ("training", f"{side}: {said_of_gain({**where, **training[side]})}") for side in SIDES if side in training
    ]
    blocks: list[Block] = [Facts([*facts, *measured(folder)])]
    blocks.append(Section("backbone: the features of the folder itself", contents_blocks(inspect(path))))
    if not recorded.get("head"):
        return [*blocks, Section("", [Sentence("no head: the loss saw the backbone's vectors")])]
    of_head = contents_blocks(inspect(f"{path}::head"))[0]
    assert isinstance(of_head, Facts)
    kept = Facts([fact for fact in of_head.facts if fact[0] in OF_SPACE])
    return [*blocks, Section(f"head: the features {path}::head", [kept])]


def what(config: Config, log: Run, path: str) -> str:
    """What was trained from what, and how far it came."""
    task = (
        f"{config.method}: student {shown(config.student)} of teacher {shown(config.teacher)} on {shown(config.data)}"
    )
    step = max((line["step"] for line in [*log.losses, *log.measured]), default=0)
    done = f"{epochs(config.epochs)}, {step:,} steps, seed {config.seed}"
    if log.finished:
        return f"{task}; finished: {done}"
    return f"{task}; not finished: at step {step:,}; give the same probe distill command again to go on"


def said_of_rows(log: Run, folder: RunFolder) -> str:
    """How many rows were trained on and measured, and how the teacher's rows were paired with them."""
    trained = f"{len(folder.trained_ids()):,} trained on; " if folder.has_trained_ids else ""
    probe = log.measured[-1]["probe"] if log.measured else {"rows": 0, "held_out": False}
    kind = "held out of training" if probe["held_out"] else "that training saw"
    paired = "paired with the teacher by id" if log.verified else "unverified: paired with the teacher by position"
    return f"{trained}{probe['rows']:,} rows {kind} are measured; {paired}"


def said_of_losses(log: Run) -> str:
    """The loss of the first and of the last line of the log, one number where it has one line."""
    first, last = (quantity(log.losses[place]["loss"]) for place in (0, -1))
    return f"{first} at first, {last} at last" if len(log.losses) > 1 else f"{first} on average"


def last_measured(log: Run) -> list[tuple[str, str]]:
    """The last measures of an unfinished run."""
    measures = log.measured[-1]["measures"] if log.measured else {}
    return [("measured", f"{side}: {values_of(each)}") for side, each in measures.items()]


def measured(folder: RunFolder) -> list[tuple[str, str]]:
    """The main measures of the saved comparison; nothing where there is none that this version reads."""
    try:
        students = students_of(read_document(folder.path / RESULT))
    except InputError:
        return []
    found = []
    for name, document in students.items():
        side = name if name in SIDES else "backbone"
        values = {key: reading.value for key, reading in readings(document).items()}
        found.append(("measured", f"{side}: {values_of(values)} ({document['pairing']['rows']:,} rows, {RESULT})"))
    return found


def values_of(values: dict[str, Any]) -> str:
    """The main ones of the watched measures, in a line."""
    main = [each.key for each in MEASURES if each.watched and each.headline]
    known = [key for wanted in main for key in values if general(key) == wanted and values[key] is not None]
    return ", ".join(f"{key} {number(values[key])}" for key in known)
