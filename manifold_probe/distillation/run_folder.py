"""The folder of a training run: files are written as a whole, so a run killed at any time can be resumed from it.

config.toml        the configuration, with all defaults filled in
inputs.json        rows of the data, and a hash of sizes and times of the files that were read: a quick check whether a
                   finished run is given again
last.pt            weights, head, queue, optimiser, random state and step, replaced as a whole
log.jsonl          a line every --log-every steps and for every measurement; without times, so that logs of equal runs
                   are equal. The first line states how the teacher's rows were paired with the data
seconds.json       duration, samples encoded and samples per second
train_ids.txt      the ids of the rows that were trained on, a JSON string per line
student.pt         at the end: the backbone, for `probe extract --model run/student.pt`, and its head
manifest.json      at the end: the shards of the student's features, "backbone" (the default) and "head"; the gain over
                   the untrained student; how the teacher's rows were paired
rows.parquet       ids and labels of the features
result.json        at the end: the comparison with the teacher
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from manifold_probe.errors import InputError
from manifold_probe.extraction.records import label_array
from manifold_probe.files import write_whole
from manifold_probe.parts import Progress
from manifold_probe.spaces.folder import RUN_FEATURES
from manifold_probe.spaces.lines import id_lines, read_lines
from manifold_probe.spaces.read import read, read_column
from manifold_probe.spaces.space import Space

FORMAT = "manifold-probe/run/1"
CONFIG, INPUTS, LAST, LOG, SECONDS, TRAINED, STUDENT, MANIFEST, ROWS, RESULT, LOCK = (
    "config.toml",
    "inputs.json",
    "last.pt",
    "log.jsonl",
    "seconds.json",
    "train_ids.txt",
    "student.pt",
    "manifest.json",
    "rows.parquet",
    "result.json",
    ".lock",
)
UNVERIFIED = "# unverified: the teacher's rows were paired with the data by position; no ids confirm it\n"
FIX = "free some space and give the same command again: finished work is kept"


@dataclass(frozen=True)
class Sides:
    """The features of a run's data: the teacher's, and the student's at its backbone and at its head, if it has one.
    ``trained`` (n,) of bool marks the rows that were trained on. ``positional``: paired by position, without ids."""

    teacher: Space
    backbone: Space
    head: Space | None
    trained: np.ndarray
    positional: bool


class RunFolder:
    """A run's folder; `locked` creates it if it is missing."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def finished(self) -> bool:
        """Whether training and the student's features are done."""
        return (self.path / MANIFEST).exists()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder against other processes.

        Raises
        ------
        InputError
            If another process trains in it, it holds other files, or it cannot be written to.
        """
        from filelock import FileLock, Timeout

        if self.path.is_dir() and not (self.path / LAST).exists():
            others = [name for name in os.listdir(self.path) if not name.startswith(".") and name not in RUN_FILES]
            if others:
                raise InputError(f"{self.path}: holds other files ({others[0]}) and no run; give a new folder")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path / LOCK, timeout=0):
                try:
                    yield
                finally:
                    (self.path / LOCK).unlink(missing_ok=True)
        except Timeout as error:
            raise InputError(
                f"{self.path}: another process trains in it; wait for it, or give another --out"
            ) from error
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror}); choose another --out") from error
        finally:
            with suppress(OSError):  # remove the folder if it is empty
                self.path.rmdir()

    def state(self) -> dict[str, Any] | None:
        """The last checkpoint, None before the first.

        Raises
        ------
        InputError
            If it is damaged, or of another version.
        """
        path = self.path / LAST
        if not path.exists():
            return None
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise InputError(f"{path}: cannot be read ({type(error).__name__}); give another --out") from error
        if not isinstance(checkpoint, dict) or checkpoint.get("format") != FORMAT:
            raise InputError(f"{path}: is not a checkpoint of a run of this version ({FORMAT}); give another --out")
        return checkpoint

    def begin(self, config: str, inputs: Mapping[str, Any], trained: np.ndarray) -> None:
        """Write the files that are known before the first step."""
        self.write(INPUTS, json.dumps(inputs, indent=1) + "\n")
        self.write(CONFIG, config)
        self.write(TRAINED, id_lines(trained))

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the last checkpoint."""
        self.write(LAST, torch_bytes({"format": FORMAT, **state}))

    def log_size(self) -> int:
        """Bytes of the log."""
        path = self.path / LOG
        return path.stat().st_size if path.exists() else 0

    def cut_log(self, size: int) -> None:
        """Drop the lines after a checkpoint: they will be written again."""
        for leftover in self.path.glob(".*.part"):
            leftover.unlink()
        with open(self.path / LOG, "ab") as log:
            log.truncate(size)

    def log(self, record: Mapping[str, Any]) -> None:
        """Append a line."""
        with open(self.path / LOG, "ab") as log:
            log.write((json.dumps(record, allow_nan=False) + "\n").encode())

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file as a whole or not at all."""
        write_whole(self.path / name, content, FIX)

    def write_shard(self, number: int, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        """Write the features of some rows; returns the manifest's entry for them."""
        from safetensors.numpy import save

        name = f"features-{number:05d}.safetensors"
        content = save({key: np.ascontiguousarray(array) for key, array in arrays.items()})
        self.write(name, content)
        rows = len(next(iter(arrays.values())))
        return {"file": name, "rows": rows, "sha256": hashlib.sha256(content).hexdigest()}

    def write_rows(self, ids: np.ndarray, labels: np.ndarray | None) -> None:
        """Write the table of ids and labels of all rows."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {"id": pa.array(ids.tolist())} | ({} if labels is None else {"label": label_array(labels)})
        out = pa.BufferOutputStream()
        pq.write_table(pa.table(columns), out)
        self.write(ROWS, out.getvalue().to_pybytes())

    def facts(self) -> dict[str, Any]:
        """The manifest of a finished run: ``teacher`` and ``teacher_ids``, the paths of the teacher's features and
        their ids; ``pairing``, {"by", "verified"}; ``head``, whether it has one; ``training``, a `gain` for each side.

        Raises
        ------
        InputError
            If the folder holds no finished run.
        """
        path = self.path / MANIFEST
        try:
            manifest = json.loads(path.read_bytes())
        except OSError as error:
            raise InputError(f"{self.path}: holds no finished run; give the probe distill command again") from error
        except ValueError as error:
            raise InputError(f"{path}: not valid JSON ({error}); train again into another --out") from error
        if not isinstance(manifest, dict) or manifest.get("schema") != RUN_FEATURES:
            raise InputError(f"{path}: is not the manifest of a run; give a folder that probe distill wrote")
        return manifest

    def inputs(self) -> dict[str, Any] | None:
        """The record of the inputs that `begin` wrote; None if there is none, as in runs of earlier versions."""
        try:
            record = json.loads((self.path / INPUTS).read_bytes())
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) and isinstance(record.get("rows"), int) else None

    @property
    def has_trained_ids(self) -> bool:
        """Whether it is known which rows were trained on."""
        return (self.path / TRAINED).exists()

    def trained_ids(self) -> set[str]:
        """The ids of the rows that were trained on."""
        return set(map(str, read_lines(str(self.path / TRAINED)).tolist()))

    def sides(self) -> Sides:
        """The features of teacher and student of a finished run, in one row order.

        Raises
        ------
        InputError
            If the folder holds no finished run, or if the teacher's features or their ids are missing.
        """
        facts = self.facts()
        backbone = read(str(self.path))
        ids = [str(id) for id in np.asarray(backbone.ids).tolist()]
        try:
            teacher = read(facts["teacher"], rows="cls" if facts.get("tokens") else None)
        except InputError as problem:
            raise InputError(
                f"{self.path}: the run's teacher cannot be read ({problem}); its path is relative to the folder that "
                "the run was started in: give the command there, or give --teacher and --student"
            ) from problem
        if facts.get("teacher_ids") is not None:
            teacher = teacher.with_ids(read_column(facts["teacher_ids"], ("ids", "id"), "ids")[0])
        positional = facts.get("pairing", {}).get("by") == "position"
        if not positional and teacher.ids is None:
            raise InputError(f"{facts['teacher']}: no longer has ids; give the run's teacher with its ids")
        if not positional:
            row_of = {str(id): row for row, id in enumerate(np.asarray(teacher.ids).tolist())}
            missing = [id for id in ids if id not in row_of]
            if missing:
                raise InputError(
                    f"{facts['teacher']}: no longer has the id {missing[0]!r}; give the run's teacher unchanged"
                )
            teacher = teacher.select(np.array([row_of[id] for id in ids]))
        elif teacher.n != len(ids):
            raise InputError(
                f"{facts['teacher']}: has {teacher.n:,} rows, but the run has {len(ids):,}; give the run's teacher"
            )
        trained = self.trained_ids()
        head = read(f"{self.path}::head") if facts["head"] else None
        return Sides(teacher, backbone, head, np.array([id in trained for id in ids]), positional)

    def last_sides(self, tell: Callable[[str], None], progress: Progress | None = None) -> tuple[Sides, int, int]:
        """The features of teacher and student of a run that is not finished, from its last checkpoint; the number of
        steps done, and of all steps.

        Raises
        ------
        InputError
            If there is no checkpoint yet, or the run's inputs are missing or have changed.
        """
        from manifold_probe.distillation.config import differences, read_toml, resolved
        from manifold_probe.distillation.setting import prepare
        from manifold_probe.extraction.processes import Processes

        state = self.state()
        if state is None:
            raise InputError(f"{self.path}: holds no checkpoint yet; give the same probe distill command again")
        config = resolved(read_toml(str(self.path / CONFIG)))
        for name in ("teacher", "student"):
            if str(getattr(config, name)).startswith("python:"):
                raise InputError(
                    f"{self.path}: its {name} is Python code, which is not run from a folder; finish the run first"
                )
        setting = prepare(config, Processes(), tell, progress)
        if other := differences(json.loads(state["record"]), setting.record()):
            raise InputError(f"{self.path}: the run's inputs have changed: {'; '.join(other)}; train again")
        setting.learner.module.load_state_dict(state["student"])
        setting.method.load_state_dict(state["method"])
        if setting.averaged is not None:
            setting.averaged.load_state_dict(state["averaged"])
        backbone, head = setting.embed(np.arange(setting.data.n))
        ids, name = setting.data.ids, str(self.path)
        trained = np.isin(np.arange(setting.data.n), setting.rows)
        sides = Sides(
            Space(setting.targets.plain.float().cpu().numpy(), ids=ids, name=config.teacher),
            Space(backbone, ids=ids, labels=setting.names, name=name),
            Space(head, ids=ids, name=f"{name}::head") if setting.has_head else None,
            trained,
            setting.targets.pairing["by"] == "position",
        )
        return sides, state["step"], setting.steps * config.epochs

    def write_manifest(self, shards: list[dict[str, Any]], labelled: bool, facts: Mapping[str, Any]) -> None:
        """Write the manifest, which marks the run as finished. ``facts`` are its fields apart from the shards."""
        manifest = {
            "schema": RUN_FEATURES,
            **facts,
            "shards": shards,
            "key": "backbone",
            "ids": f"{ROWS}::id",
            **({"labels": f"{ROWS}::label"} if labelled else {}),
        }
        self.write(MANIFEST, json.dumps(manifest, indent=1) + "\n")


RUN_FILES = {CONFIG, INPUTS, LAST, LOG, SECONDS, TRAINED, STUDENT, MANIFEST, ROWS, RESULT}


def torch_bytes(content: Mapping[str, Any]) -> bytes:
    """The bytes that torch.save writes."""
    out = io.BytesIO()
    torch.save(dict(content), out)
    return out.getvalue()


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """The log of a run, a dict per line; of a log that is still being written, the complete lines.

    Raises
    ------
    InputError
        If the folder holds no log or a damaged one.
    """
    file = Path(path) / LOG
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n")[:-1]]
    except OSError as error:
        raise InputError(
            f"{file}: cannot be read ({error.strerror}); give a folder that probe distill wrote"
        ) from error
    except ValueError as error:
        raise InputError(
            f"{file}: is not a log of JSON lines ({error}); give a folder that probe distill wrote"
        ) from error
