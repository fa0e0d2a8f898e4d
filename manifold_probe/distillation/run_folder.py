"""The folder of a training run: everything in it is whole, and a run killed at any moment goes on from it.

config.toml        the settled configuration
inputs.json        rows of the data, and a hash of the sizes and times of the files that were read: by it a finished run
                   that is given again is known in a moment
last.pt            weights, head, queue, optimiser, random state and step, replaced as a whole
log.jsonl          a line every so many steps and for every measurement; holds no clock, so two runs' logs are equal.
                   The first one says how the teacher's rows were paired with the data
seconds.json       how long it took, samples encoded and samples a second
train_ids.txt      the ids of the rows that were trained on, a JSON string a line
student.pt         at the end: the backbone as `probe extract --model run/student.pt` loads it, and its head
manifest.json      at the end: names the shards of the student's features, "backbone" (the default) and "head", and
                   says how the training went: against the untrained student, and how the teacher's rows were paired
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
UNVERIFIED = "# unverified: the teacher's rows were paired with the data by position; no ids vouch for it\n"
FIX = "free some space and give the same command again: what is done is kept"


@dataclass(frozen=True)
class Sides:
    """The rows of a run's data on either side: the teacher's, and the student's at its backbone and, where there is
    one, at its head; ``trained`` (n,) of bool are those that were trained on. ``positional``: no ids vouch for the
    teacher's."""

    teacher: Space
    backbone: Space
    head: Space | None
    trained: np.ndarray
    positional: bool


class RunFolder:
    """A run's folder, made where it is missing."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def finished(self) -> bool:
        """Whether training and the student's features are done."""
        return (self.path / MANIFEST).exists()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process out.

        Raises
        ------
        InputError
            When another process trains in it, it holds something else, or it cannot be written to.
        """
        from filelock import FileLock, Timeout

        if self.path.is_dir() and not (self.path / LAST).exists():
            others = [name for name in os.listdir(self.path) if not name.startswith(".") and name not in OURS]
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
            with suppress(OSError):  # only a folder in which nothing was begun can be removed
                self.path.rmdir()

    def state(self) -> dict[str, Any] | None:
        """The last checkpoint, None before the first.

        Raises
        ------
        InputError
            Where it is damaged, or of another version.
        """
        path = self.path / LAST
        if not path.exists():
            return None
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise InputError(f"{path}: cannot be read ({type(error).__name__}); give another --out") from error
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise InputError(f"{path}: is no checkpoint of a run of this version ({FORMAT}); give another --out")
        return found

    def begin(self, config: str, inputs: Mapping[str, Any], trained: np.ndarray) -> None:
        """Write what is known before the first step."""
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
        """Drop the lines behind a checkpoint: they will be written again."""
        for leftover in self.path.glob(".*.part"):
            leftover.unlink()
        with open(self.path / LOG, "ab") as log:
            log.truncate(size)

    def log(self, record: Mapping[str, Any]) -> None:
        """Append a line."""
        with open(self.path / LOG, "ab") as log:
            log.write((json.dumps(record, allow_nan=False) + "\n").encode())

    def write(self, name: str, content: str | bytes) -> None:
        """A file, whole or not at all."""
        write_whole(self.path / name, content, FIX)

    def write_shard(self, place: int, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        """Features of some rows; the manifest's entry for them."""
        from safetensors.numpy import save

        name = f"features-{place:05d}.safetensors"
        content = save({key: np.ascontiguousarray(array) for key, array in arrays.items()})
        self.write(name, content)
        rows = len(next(iter(arrays.values())))
        return {"file": name, "rows": rows, "sha256": hashlib.sha256(content).hexdigest()}

    def write_rows(self, ids: np.ndarray, labels: np.ndarray | None) -> None:
        """The table of the features' ids and labels."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {"id": pa.array(ids.tolist())} | ({} if labels is None else {"label": label_array(labels)})
        out = pa.BufferOutputStream()
        pq.write_table(pa.table(columns), out)
        self.write(ROWS, out.getvalue().to_pybytes())

    def facts(self) -> dict[str, Any]:
        """What a finished run says of itself: ``teacher`` and ``teacher_ids``, where the teacher's features and their
        ids lie; ``pairing``, {"by", "verified"}; whether it has a ``head``; ``training``, a `gain` for each side.

        Raises
        ------
        InputError
            Where the folder holds no finished run.
        """
        path = self.path / MANIFEST
        try:
            found = json.loads(path.read_bytes())
        except OSError as error:
            raise InputError(f"{self.path}: no run is finished there; give the probe distill command again") from error
        except ValueError as error:
            raise InputError(f"{path}: not valid JSON ({error}); train again into another --out") from error
        if not isinstance(found, dict) or found.get("schema") != RUN_FEATURES:
            raise InputError(f"{path}: is no manifest of a run; give a folder that probe distill wrote")
        return found

    def inputs(self) -> dict[str, Any] | None:
        """What `begin` wrote of the inputs; None where there is nothing of the kind, as in runs of earlier versions."""
        try:
            found = json.loads((self.path / INPUTS).read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and isinstance(found.get("rows"), int) else None

    @property
    def has_trained_ids(self) -> bool:
        """Whether it is known which rows were trained on."""
        return (self.path / TRAINED).exists()

    def trained_ids(self) -> set[str]:
        """The ids of the rows that were trained on."""
        return set(map(str, read_lines(str(self.path / TRAINED)).tolist()))

    def sides(self) -> Sides:
        """Teacher and student of a finished run, row by row.

        Raises
        ------
        InputError
            Where the folder holds no finished run, or the teacher's features, or ids in them, are gone.
        """
        facts = self.facts()
        backbone = read(str(self.path))
        ids = [str(id) for id in np.asarray(backbone.ids).tolist()]
        try:
            teacher = read(facts["teacher"])
        except InputError as problem:
            raise InputError(
                f"{self.path}: the run's teacher cannot be read ({problem}); a path is relative to the folder that "
                "the run was started in: start there, or give --teacher and --student"
            ) from problem
        if facts.get("teacher_ids") is not None:
            teacher = teacher.with_ids(read_column(facts["teacher_ids"], ("ids", "id"), "ids")[0])
        positional = facts.get("pairing", {}).get("by") == "position"
        if not positional and teacher.ids is None:
            raise InputError(f"{facts['teacher']}: has no ids any more; give the run's teacher with its ids")
        if not positional:
            place = {str(id): row for row, id in enumerate(np.asarray(teacher.ids).tolist())}
            gone = [id for id in ids if id not in place]
            if gone:
                raise InputError(f"{facts['teacher']}: has no row {gone[0]!r} any more; give the run's teacher again")
            teacher = teacher.select(np.array([place[id] for id in ids]))
        elif teacher.n != len(ids):
            raise InputError(f"{facts['teacher']}: has {teacher.n:,} rows for the run's {len(ids):,}; give its teacher")
        known = self.trained_ids()
        head = read(f"{self.path}::head") if facts["head"] else None
        return Sides(teacher, backbone, head, np.array([id in known for id in ids]), positional)

    def last_sides(self, tell: Callable[[str], None], progress: Progress | None = None) -> tuple[Sides, int, int]:
        """Teacher and student of a run that is not finished, as its last saved state makes them; and the steps that
        were done, of how many.

        Raises
        ------
        InputError
            Where nothing was saved yet, the state does not fit, or what the run read is gone or another.
        """
        from manifold_probe.distillation.config import differences, read_toml, resolved
        from manifold_probe.distillation.setting import prepare
        from manifold_probe.extraction.processes import Processes

        state = self.state()
        if state is None:
            raise InputError(f"{self.path}: nothing was saved yet; give the same probe distill command again")
        config = resolved(read_toml(str(self.path / CONFIG)))
        for name in ("teacher", "student"):
            if str(getattr(config, name)).startswith("python:"):
                raise InputError(f"{self.path}: its {name} is code, which no folder may have run; finish the run first")
        setting = prepare(config, Processes(), tell, progress)
        if other := differences(json.loads(state["record"]), setting.record()):
            raise InputError(f"{self.path}: what it read is no longer the same: {'; '.join(other)}; train again")
        setting.learner.module.load_state_dict(state["student"])
        setting.method.load_state_dict(state["method"])
        backbone, head = setting.embed(np.arange(setting.data.n))
        ids, name = setting.data.ids, str(self.path)
        trained = np.isin(np.arange(setting.data.n), setting.rows)
        made = Sides(
            Space(setting.targets.plain.float().cpu().numpy(), ids=ids, name=config.teacher),
            Space(backbone, ids=ids, labels=setting.names, name=name),
            Space(head, ids=ids, name=f"{name}::head") if setting.has_head else None,
            trained,
            setting.targets.pairing["by"] == "position",
        )
        return made, state["step"], setting.steps * config.epochs

    def write_manifest(self, shards: list[dict[str, Any]], labelled: bool, facts: Mapping[str, Any]) -> None:
        """Say that the features are whole: the run is finished then. ``facts`` are what `facts` gives back."""
        manifest = {
            "schema": RUN_FEATURES,
            **facts,
            "shards": shards,
            "key": "backbone",
            "ids": f"{ROWS}::id",
            **({"labels": f"{ROWS}::label"} if labelled else {}),
        }
        self.write(MANIFEST, json.dumps(manifest, indent=1) + "\n")


OURS = {CONFIG, INPUTS, LAST, LOG, SECONDS, TRAINED, STUDENT, MANIFEST, ROWS, RESULT}


def torch_bytes(content: Mapping[str, Any]) -> bytes:
    """What torch.save writes."""
    out = io.BytesIO()
    torch.save(dict(content), out)
    return out.getvalue()


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """The log of a run, a dict a line; of one that is still being written, the lines that are whole.

    Raises
    ------
    InputError
        Where the folder holds no log or a damaged one.
    """
    file = Path(path) / LOG
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n")[:-1]]
    except OSError as error:
        raise InputError(
            f"{file}: cannot be read ({error.strerror}); give a folder that probe distill wrote"
        ) from error
    except ValueError as error:
        raise InputError(f"{file}: is no log ({error}); give a folder that probe distill wrote") from error
