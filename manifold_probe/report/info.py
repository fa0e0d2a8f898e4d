"""What a feature file or the folder of a run holds, as blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manifold_probe.errors import InputError
from manifold_probe.measures.catalogue import MEASURES, general
from manifold_probe.report.blocks import Block, Facts, Row, Section, Sentence, Table
from manifold_probe.report.document import read_document, readings, students_of
from manifold_probe.report.run import SIDES, Run, gain_in_words, manifest_of, read_run
from manifold_probe.report.words import listed, number, one_line, quantity, shown
from manifold_probe.spaces.read import inspect

if TYPE_CHECKING:
    from manifold_probe.distillation.config import Config
    from manifold_probe.distillation.run_folder import RunFolder


def contents_blocks(contents: dict[str, Any]) -> list[Block]:
    """What ``spaces.read.inspect`` contents."""
    rows = [
        ("file", f"{shown(contents['path'], 400)} ({contents['format']}, {contents['bytes']:,} bytes)"),
        ("sha256", contents["sha256"]),
        *_features(contents["features"]),
        *_columns(contents["features"]),
    ]
    ids, labels = contents["ids"], contents["labels"]
    if contents["features"] is not None:
        unique = "" if ids is None or ids["unique"] else ", with duplicates"
        first = "" if ids is None else f"; the first are {listed(ids['first'])}"
        rows.append(("ids", _no_ids(contents) if ids is None else f"{ids['count']:,} ({ids['type']}{unique}){first}"))
        rows.append(("labels", "none" if labels is None else _labels(labels, contents["features"]["shape"][0])))
    if contents["problem"]:
        rows.append(("problem", one_line(contents["problem"])))
    return [Facts(rows), Section("", [_keys(contents["keys"])])]


def _labels(labels: dict[str, Any], n: int) -> str:
    without = f"; {n - labels['count']:,} rows have none" if labels["count"] < n else ""
    return f"{labels['count']:,} ({labels['type']}, {labels['classes']:,} classes{without})"


def _no_ids(contents: dict[str, Any]) -> str:
    key = contents["id_candidate"]
    if key is None:
        return "none"
    column = f"{shown(contents['path'].rpartition('::')[0] or contents['path'], 400)}::{shown(key)}"
    return f"none, but '{shown(key)}' may be ids: take it with --teacher-ids or --student-ids {column}"


def _features(features: dict[str, Any] | None) -> list[tuple[str, str]]:
    if features is None:
        return []
    n, d = features["shape"]
    bad = f"{features['nan']:,} NaN, {features['inf']:,} infinite, {features['zero_rows']:,} zero rows"
    rows = [("features", f"{shown(features['key'])}: {n:,} rows x {d:,} dimensions, {features['dtype']}; {bad}")]
    if features["norms"] is not None:
        norms, values = features["norms"], features["range"]
        rows.append(("values", f"{quantity(values['min'])} to {quantity(values['max'])}"))
        middle = f"{quantity(norms['min'])} to {quantity(norms['max'])}, median {quantity(norms['median'])}"
        rows.append(("norms", middle))
    return rows


def _columns(features: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Which columns of a wide table are the dimensions, and why other columns of numbers are not."""
    if features is None or not features["columns"]:
        return []
    taken, left = features["columns"], features["columns_left"]
    rows = [("columns", f"{shown(taken[0])} to {shown(taken[-1])}" if len(taken) > 1 else shown(taken[0]))]
    if left:
        rows.append(("left out", listed([f"{name} ({why})" for name, why in left.items()], limit=80)))
    return rows


def _keys(keys: list[dict[str, Any]]) -> Table:
    rows = [
        Row(
            (shown(array["key"]), " x ".join(f"{size:,}" for size in array["shape"]), array["dtype"]),
            one_line(array["problem"] or ""),
        )
        for array in keys
    ]
    return Table(("key", "shape", "dtype"), rows, "problem" if any(row.note for row in rows) else "")


def run_blocks(path: str) -> list[Block]:
    """What the folder of a run holds: what was trained, on which rows, how it ended, and its features.

    Raises
    ------
    InputError
        Where its configuration, its log or its manifest is damaged.
    """
    from manifold_probe.distillation.config import read_toml, resolved  # with torch, which no other file needs
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
    kind = "held out of training" if probe["held_out"] else "that training saw"
    paired = "paired with the teacher by id" if log.verified else "unverified: paired with the teacher by position"
    return f"{trained}{probe['rows']:,} rows {kind} are measured; {paired}"


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
