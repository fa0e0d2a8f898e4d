"""The feature store: a folder that holds one model's features of one data set, once, and proves what they are.

    manifest.json            what was extracted from what, a checksum for every shard; written last, so that a folder
                             with it is whole
    shard-00000.safetensors  rows of a fixed range of the data: "features" (n, d), or an array a layer
    rows.parquet             id, label, slices and a digest of the content, a row for every row of the shards
    quarantine.csv           what could not be read, where that was allowed

While it grows there is ``unfinished.json`` (the plan) in place of the manifest, and ``shard-00000.json`` beside each
shard that is done. A file appears under its name only when it is whole and on disk, so that a run killed at any moment
goes on at the first shard that is missing and ends with the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.files import write_whole

SCHEMA = "manifold-probe/features/1"
MANIFEST, UNFINISHED, ROWS, QUARANTINE, LOCK = (
    "manifest.json",
    "unfinished.json",
    "rows.parquet",
    "quarantine.csv",
    ".lock",
)


@dataclass(frozen=True)
class Shard:
    """What is known of a shard that is done: its rows of the data, digests of their content, and its arrays' file."""

    place: int
    rows: list[int]
    digests: list[str]
    unreadable: list[list[str]]
    sha256: str
    rounding: dict[str, float]
    shapes: dict[str, list[int]]


class Store:
    """A folder of features that is being written, or has been.

    Parameters
    ----------
    folder : path
        Made on `begin`.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @property
    def whole(self) -> bool:
        """Whether the folder is finished."""
        return (self.folder / MANIFEST).exists()

    def plan(self) -> dict[str, Any] | None:
        """The plan that the folder was begun with; None where no shard is done yet.

        Raises
        ------
        InputError
            Where the folder holds something else, or was written by another version.
        """
        for name in (MANIFEST, UNFINISHED):
            path = self.folder / name
            if path.exists():
                record = read_json(path)
                if record.get("schema") != SCHEMA:
                    mend = "give another --out, or extract again with this version"
                    raise InputError(f"{path}: schema is {record.get('schema')!r}, not {SCHEMA!r}; {mend}")
                if not isinstance(record.get("plan"), dict):
                    raise InputError(f"{path}: 'plan' is missing; give another --out")
                begun = name == MANIFEST or any(self.folder.glob("shard-*.json"))
                return record["plan"] if begun else None
        if self.folder.is_dir() and any(not name.startswith(".") for name in os.listdir(self.folder)):
            raise InputError(f"{self.folder}: holds other files and no features; give an empty folder or a new one")
        return None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process out of the folder.

        Raises
        ------
        InputError
            When another process is at work in it, or it cannot be written to.
        """
        from filelock import FileLock, Timeout

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / LOCK, timeout=0):
                try:
                    yield
                finally:
                    (self.folder / LOCK).unlink(missing_ok=True)
        except Timeout as error:
            raise InputError(
                f"{self.folder}: another process is extracting into it; wait for it, or give another --out"
            ) from error
        finally:
            with suppress(OSError):  # only a folder in which nothing was begun can be removed
                self.folder.rmdir()

    def recorded(self) -> dict[str, str]:
        """The versions of the libraries that the folder was begun with."""
        path = self.folder / (MANIFEST if self.whole else UNFINISHED)
        found = read_json(path).get("recorded")
        return found if isinstance(found, dict) else {}

    def begin(self, plan: dict[str, Any], recorded: dict[str, str]) -> None:
        """Write the plan, and drop what a killed run left half-written."""
        for leftover in self.folder.glob("*.part"):
            leftover.unlink()
        self._write_json(UNFINISHED, {"schema": SCHEMA, "plan": plan, "recorded": recorded})

    def done(self, place: int) -> Shard | None:
        """The shard in this place, if it is whole."""
        path = self.folder / f"{_name(place)}.json"
        return Shard(**read_json(path)) if path.exists() else None

    def add(
        self,
        place: int,
        rows: list[int],
        digests: list[str],
        unreadable: list[list[str]],
        arrays: dict[str, np.ndarray],
        rounding: dict[str, float],
    ) -> Shard:
        """Write a shard and, once it is on disk, the note that it is done."""
        from safetensors.numpy import save

        content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        self._write(f"{_name(place)}.safetensors", content)
        shapes = {name: list(array.shape) for name, array in arrays.items()}
        digest = hashlib.sha256(content).hexdigest()
        shard = Shard(place, rows, digests, unreadable, digest, rounding, shapes)
        self._write_json(f"{_name(place)}.json", vars(shard))
        return shard

    def finish(self, plan: dict[str, Any], shards: list[Shard], data: Any, recorded: dict[str, Any]) -> None:
        """Write the table of rows and, last, the manifest; then drop what only an unfinished run needs."""
        rows = [row for shard in shards for row in shard.rows]
        digests = [digest for shard in shards for digest in shard.digests]
        self._write(ROWS, rows_table(data, rows, digests))
        unreadable = [each for shard in shards for each in shard.unreadable]
        if unreadable:
            import pandas as pd

            frame = pd.DataFrame(unreadable, columns=["id", "reason"])
            self._write(QUARANTINE, frame.to_csv(index=False, lineterminator="\n").encode())
        keys = list(shards[0].shapes)
        manifest = {
            "schema": SCHEMA,
            "plan": plan,
            "recorded": recorded,
            "content": content_digest(data.ids[rows], digests),
            "rows": len(rows),
            "quarantined": len(unreadable),
            "shapes": {key: [len(rows), *shards[0].shapes[key][1:]] for key in keys},
            "rounding": {key: max(shard.rounding[key] for shard in shards) for key in shards[0].rounding},
            "shards": [
                {"file": f"{_name(shard.place)}.safetensors", "rows": len(shard.rows), "sha256": shard.sha256}
                for shard in shards
                if shard.rows
            ],
            "ids": f"{ROWS}::id",
            **({} if data.labels is None else {"labels": f"{ROWS}::label"}),
            **({"key": keys[0]} if len(keys) == 1 else {}),
        }
        self._write_json(MANIFEST, manifest)
        self.tidy()

    def tidy(self) -> None:
        """Drop what only an unfinished run needs."""
        for note in self.folder.glob("shard-*.json"):
            note.unlink()
        (self.folder / UNFINISHED).unlink(missing_ok=True)

    def manifest(self) -> dict[str, Any]:
        """The manifest of a finished store."""
        return read_json(self.folder / MANIFEST)

    def _write_json(self, name: str, content: dict[str, Any]) -> None:
        self._write(name, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())

    def _write(self, name: str, content: bytes) -> None:
        write_whole(
            self.folder / name, content, "free some space and give the same command again: what is done is kept"
        )


def read_json(path: Path) -> dict[str, Any]:
    """An object from a JSON file.

    Raises
    ------
    InputError
        When it cannot be read or holds no object.
    """
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the folder") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); give another --out or remove the folder") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: holds no object; give another --out or remove the folder")
    return found


def rows_table(data: Any, rows: list[int], digests: list[str]) -> bytes:
    """The Parquet table of ids, labels, slices and content digests."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {"id": data.ids[rows]}
    if data.labels is not None:
        columns["label"] = data.labels[rows]
    columns |= {name: values[rows] for name, values in data.slices.items()}
    columns["content"] = digests
    out = pa.BufferOutputStream()
    pq.write_table(pa.table({name: pa.array(list(values)) for name, values in columns.items()}), out)
    return out.getvalue().to_pybytes()


def content_digest(ids: np.ndarray, digests: list[str]) -> str:
    """One sha256 for the content of all rows, whatever order they are in."""
    lines = sorted(f"{id}\t{digest}" for id, digest in zip(ids.tolist(), digests, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _name(place: int) -> str:
    return f"shard-{place:05d}"
