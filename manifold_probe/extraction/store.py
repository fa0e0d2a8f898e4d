"""The feature store: a folder with the features of one model on one data set, and their provenance.

    manifest.json            the plan, and a checksum of every other file; written last, so that a folder with a
                             manifest is finished
    shard-00000.safetensors  rows of a fixed range of the data: "features" (n, d), or an array per layer
    rows.parquet             id, label, slices and a digest of the content, for every row of the shards
    quarantine.csv           items that could not be read, with --skip-bad

An unfinished store has ``unfinished.json`` (the plan) instead of the manifest, a note ``shard-00000.json`` for every
shard that is done, and ``shard-00001.part-000.safetensors`` and ``.json`` and so on for the first rows of a shard that
is not. A file gets its name only when it is complete and on disk, so a run killed at any time is resumed at the first
missing shard and ends with the same bytes. A damaged shard counts as missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.extraction.content import content_digest
from manifold_probe.extraction.records import FIX, checked, file_digest, read_json, write_rows
from manifold_probe.files import write_whole
from manifold_probe.spaces.folder import FEATURES as SCHEMA

MANIFEST, UNFINISHED, ROWS, QUARANTINE, LOCK = (
    "manifest.json",
    "unfinished.json",
    "rows.parquet",
    "quarantine.csv",
    ".lock",
)
FIELDS = {"plan": dict, "rows": int, "quarantined": int, "shapes": dict, "shards": list, "checksums": dict}
SHARD_FIELDS = {"file": str, "rows": int, "sha256": str, "batch_size": int}
NOTE = re.compile(r"shard-\d{5,}(\.part-\d{3,})?\.json")
PART = re.compile(r"shard-\d{5,}\.part-\d{3,}\.(json|safetensors)")
SCRATCH = re.compile(  # what `write_whole` calls a file until it is whole
    r"\.(shard-\d{5,}(\.part-\d{3,})?\.(json|safetensors)|manifest\.json|unfinished\.json|rows\.parquet|quarantine\.csv)"
    r"\.[0-9a-f]{8}\.part"
)


@dataclass(frozen=True)
class Shard:
    """The note of a shard that is done: its rows of the data, digests of their content, unreadable items (id and
    reason), the sha256 and shapes of its arrays, and the batch size. ``part`` is the number of a part of an unfinished
    shard. The fields are the keys of the note's JSON file.
    """

    place: int
    rows: list[int]
    digests: list[str]
    unreadable: list[list[str]]
    sha256: str
    rounding: dict[str, float]
    shapes: dict[str, list[int]]
    batch_size: int
    part: int | None = None


class Store:
    """A folder of features, finished or not.

    Parameters
    ----------
    folder : path
        `locked` creates it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @property
    def finished(self) -> bool:
        """Whether the folder is finished."""
        return (self.folder / MANIFEST).exists()

    def plan(self) -> dict[str, Any] | None:
        """The plan that the folder was begun with; None if no shard is done yet.

        Raises
        ------
        InputError
            If the folder holds something else, or was written by another version.
        """
        for name in (MANIFEST, UNFINISHED):
            path = self.folder / name
            if path.exists():
                record = read_json(path)
                if record.get("schema") != SCHEMA:
                    fix = "give another --out, or extract again with this version"
                    raise InputError(f"{path}: schema is {record.get('schema')!r}, not {SCHEMA!r}; {fix}")
                checked(record, {"plan": dict}, path)
                return record["plan"] if name == MANIFEST or self._files(NOTE) else None
        if self.folder.is_dir() and any(not name.startswith(".") for name in os.listdir(self.folder)):
            raise InputError(f"{self.folder}: holds other files and no features; give an empty folder or a new one")
        return None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder against other processes; at the end, remove it if no shard was made.

        Raises
        ------
        InputError
            If another process extracts into it, or it cannot be written to.
        """
        from filelock import FileLock, Timeout

        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(
                f"--out: {self.folder} is a file; give a new folder, or one with features of the same request"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / LOCK, timeout=0)
            lock.acquire()
        except Timeout as error:
            raise InputError(
                f"{self.folder}: another process is extracting into it; wait for it, or give another --out"
            ) from error
        except OSError as error:
            raise InputError(
                f"--out: {self.folder}: cannot be written to ({error.strerror}); give another --out"
            ) from error
        try:
            yield
        finally:
            with suppress(OSError):
                if set(os.listdir(self.folder)) <= {UNFINISHED, LOCK}:
                    (self.folder / UNFINISHED).unlink(missing_ok=True)
                (self.folder / LOCK).unlink(missing_ok=True)
            lock.release()
            with suppress(OSError):  # removes the folder only if it is empty
                self.folder.rmdir()

    def recorded(self) -> dict[str, str]:
        """The library versions that the folder was begun with."""
        path = self.folder / (MANIFEST if self.finished else UNFINISHED)
        recorded = read_json(path).get("recorded")
        return recorded if isinstance(recorded, dict) else {}

    def begin(self, plan: dict[str, Any], recorded: dict[str, str]) -> None:
        """Write the plan, and delete incomplete files of a killed run."""
        for leftover in self._files(SCRATCH):
            leftover.unlink()
        self._write_json(UNFINISHED, {"schema": SCHEMA, "plan": plan, "recorded": recorded})

    def note(self, place: int, part: int | None = None) -> Shard | None:
        """The note of a shard, or of a part of it; None if there is none or it is damaged."""
        path = self.folder / f"{_name(place, part)}.json"
        try:
            record = read_json(path)
        except InputError:
            return None
        check = record.pop("check", None)
        valid = check == _check(record) and (record["place"], record.get("part")) == (place, part)
        return Shard(**record) if valid else None

    def notes(self, places: int) -> list[Shard]:
        """The notes of all shards that are done, and of the parts of the others."""
        notes = []
        for place in range(places):
            note = self.note(place)
            notes += self.parts(place) if note is None else [note]
        return notes

    def done(self, place: int, part: int | None = None) -> Shard | None:
        """The shard, or a part of it, if it is complete and undamaged; else None."""
        shard = self.note(place, part)
        valid = shard is not None and file_digest(self.folder / f"{_name(place, part)}.safetensors") == shard.sha256
        return shard if valid else None

    def parts(self, place: int) -> list[Shard]:
        """The parts of an unfinished shard, in order, up to the first that is missing or damaged."""
        parts: list[Shard] = []
        while (part := self.done(place, len(parts))) is not None:
            parts.append(part)
        return parts

    def arrays(self, shard: Shard) -> dict[str, np.ndarray]:
        """The arrays of a shard or part."""
        from safetensors.numpy import load_file

        return dict(load_file(self.folder / f"{_name(shard.place, shard.part)}.safetensors"))

    def drop_parts(self, place: int) -> None:
        """Delete the parts of a shard."""
        for file in self._files(PART):
            if file.name.startswith(f"{_name(place)}."):
                file.unlink()

    def add(
        self,
        place: int,
        rows: list[int],
        digests: list[str],
        unreadable: list[list[str]],
        arrays: dict[str, np.ndarray],
        rounding: dict[str, float],
        batch_size: int,
        part: int | None = None,
    ) -> Shard:
        """Write a shard, or a part of one, and then the note that it is done."""
        from safetensors.numpy import save

        name = _name(place, part)
        content = save({key: np.ascontiguousarray(array) for key, array in arrays.items()})
        self._write(f"{name}.safetensors", content)
        shapes = {key: list(array.shape) for key, array in arrays.items()}
        digest = hashlib.sha256(content).hexdigest()
        shard = Shard(place, rows, digests, unreadable, digest, rounding, shapes, batch_size, part)
        self._write_json(f"{name}.json", {**vars(shard), "check": _check(vars(shard))})
        return shard

    def finish(self, plan: dict[str, Any], shards: list[Shard], data: Any, recorded: dict[str, Any]) -> None:
        """Write the table of rows and, last, the manifest; then `tidy`."""
        full = [shard for shard in shards if shard.rows]
        rows = [row for shard in full for row in shard.rows]
        digests = [digest for shard in full for digest in shard.digests]
        unreadable = [item for shard in shards for item in shard.unreadable]
        tables = {ROWS: write_rows(data, rows, digests)}
        if unreadable:
            import pandas as pd

            frame = pd.DataFrame(unreadable, columns=["id", "reason"])
            tables[QUARANTINE] = frame.to_csv(index=False, lineterminator="\n").encode()
        for name, content in tables.items():
            self._write(name, content)
        keys = list(full[0].shapes)
        manifest = {
            "schema": SCHEMA,
            "plan": plan,
            "recorded": recorded,
            "content": content_digest(data.ids[rows].tolist(), digests),
            "rows": len(rows),
            "quarantined": len(unreadable),
            "shapes": {key: [len(rows), *full[0].shapes[key][1:]] for key in keys},
            "rounding": {key: max(shard.rounding[key] for shard in full) for key in keys},
            "shards": [
                {
                    "file": f"{_name(shard.place)}.safetensors",
                    "rows": len(shard.rows),
                    "sha256": shard.sha256,
                    "batch_size": shard.batch_size,
                }
                for shard in full
            ],
            "checksums": {name: hashlib.sha256(content).hexdigest() for name, content in tables.items()},
            "ids": f"{ROWS}::id",
            **({} if data.labels is None else {"labels": f"{ROWS}::label"}),
            **({"key": keys[0]} if len(keys) == 1 else {}),
        }
        self._write_json(MANIFEST, manifest)
        self.tidy()

    def tidy(self) -> None:
        """Delete the files that only an unfinished run needs."""
        for file in {*self._files(NOTE), *self._files(PART)}:
            file.unlink()
        (self.folder / UNFINISHED).unlink(missing_ok=True)

    def discard(self, places: int) -> None:
        """Delete an unfinished run of ``places`` shards."""
        for place in range(places):
            (self.folder / f"{_name(place)}.safetensors").unlink(missing_ok=True)
        self.tidy()

    def manifest(self) -> dict[str, Any]:
        """The manifest of a finished store.

        Raises
        ------
        InputError
            If it is damaged.
        """
        path = self.folder / MANIFEST
        manifest = checked(read_json(path), FIELDS, path)
        for shard in manifest["shards"]:
            checked(shard if isinstance(shard, dict) else {}, SHARD_FIELDS, path)
        if sum(shard["rows"] for shard in manifest["shards"]) != manifest["rows"]:
            raise InputError(f"{path}: the rows of its shards do not add up to its number of rows; {FIX}")
        return manifest

    def check_files(self) -> None:
        """Compare every file of a finished store with its checksum.

        Raises
        ------
        InputError
            With the first file that is missing or damaged.
        """
        manifest = self.manifest()
        checksums = {shard["file"]: shard["sha256"] for shard in manifest["shards"]} | manifest["checksums"]
        for name, expected in checksums.items():
            digest = file_digest(self.folder / name)
            if digest != expected:
                problem = "is missing" if digest is None else "is damaged: it has another sha256 than in the manifest"
                raise InputError(f"{self.folder / name}: {problem}; {FIX}")

    def _files(self, pattern: re.Pattern[str]) -> list[Path]:
        """The files whose full name matches, so that no other file is deleted."""
        names = os.listdir(self.folder) if self.folder.is_dir() else []
        return [self.folder / name for name in sorted(names) if pattern.fullmatch(name)]

    def _write_json(self, name: str, content: dict[str, Any]) -> None:
        self._write(name, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())

    def _write(self, name: str, content: bytes) -> None:
        write_whole(
            self.folder / name, content, "free some space and give the same command again: finished work is kept"
        )


def _check(record: dict[str, Any]) -> str:
    """The sha256 of a note, which shows damage."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _name(place: int, part: int | None = None) -> str:
    return f"shard-{place:05d}" + ("" if part is None else f".part-{part:03d}")
