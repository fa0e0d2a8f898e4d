"""Write a file completely or not at all, and check beforehand whether a place is writable."""

from __future__ import annotations

import errno
import os
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from manifold_probe.errors import InputError

OTHER_PLACE = "choose another place"


def write_whole(path: str | Path, content: str | bytes, fix: str = OTHER_PLACE) -> None:
    """Write ``content`` under a temporary name in the folder of ``path``, then rename it, so that no half-written file
    is left.

    Raises
    ------
    InputError
        When the place cannot be written to or the disk is full.
    """
    write_all({path: content}, fix)


def write_all(contents: Mapping[Any, str | bytes], fix: str = OTHER_PLACE) -> None:
    """Write several files: every one under a temporary name, and only when all are on disk are they renamed. An
    interruption before the first is renamed leaves nothing, a later one all of them.

    Raises
    ------
    InputError
        When a place cannot be written to or the disk is full; no file has changed then.
    """
    scratches: dict[Path, Path] = {}
    path = Path()
    try:
        try:
            for path, content in ((Path(name), content) for name, content in contents.items()):
                scratch = path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}.part")
                scratches[path] = scratch
                with open(scratch, "xb") as out:
                    out.write(content.encode() if isinstance(content, str) else content)
                    out.flush()
                    os.fsync(out.fileno())
            for path in scratches:  # a folder would make its rename fail, so check before the first rename
                if path.is_dir():
                    raise IsADirectoryError(errno.EISDIR, "it is a folder")
            try:
                for path, scratch in scratches.items():
                    os.replace(scratch, path)
            except KeyboardInterrupt:
                for path, scratch in scratches.items():
                    if scratch.exists():
                        os.replace(scratch, path)
                raise
        finally:
            for scratch in scratches.values():
                scratch.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); {fix}") from error


@contextmanager
def writing_whole(path: str | Path, fix: str = OTHER_PLACE) -> Iterator[IO[bytes]]:
    """A file to write to under a temporary name in the folder of ``path``; renamed on success, removed on an error.

    Raises
    ------
    InputError
        When the place cannot be written to or the disk is full.
    """
    path = Path(path)
    scratch = path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}.part")
    try:
        try:
            with open(scratch, "xb") as out:
                yield out
                out.flush()
                os.fsync(out.fileno())
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, "it is a folder")
            os.replace(scratch, path)
        finally:
            scratch.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); {fix}") from error


def check_file(path: str | Path, option: str) -> None:
    """Refuse a file that cannot be written, before any work; no file is created.

    Raises
    ------
    InputError
        When it is a folder, or its folder is missing or cannot be written to.
    """
    path = Path(path)
    if _answer(path.is_dir, path, option):
        raise InputError(f"{option}: {path} is a folder; name a file in it")
    if not _answer(path.parent.is_dir, path, option):
        raise InputError(f"{option}: {path}: the folder {path.parent} does not exist; make it, or choose another place")
    _check_writable(path.parent, path, option)


def check_no_input(path: str | Path, option: str, inputs: Iterable[str | None]) -> None:
    """Refuse a file that is one of the inputs ("FILE" or "FILE::KEY"). Raises InputError."""
    for given in inputs:
        file = "" if given is None else given if os.path.exists(given) else given.rpartition("::")[0]
        if file and os.path.exists(file) and os.path.realpath(file) == os.path.realpath(path):
            raise InputError(f"{option}: {path} is an input of this command; choose another file")


def check_map(path: str, option: str, inputs: Iterable[str | None]) -> None:
    """Refuse a file that a map cannot be written to, before any work. Raises InputError."""
    if not path.lower().endswith(".safetensors"):
        raise InputError(f"{option}: {path}: maps are written as .safetensors; choose such a name")
    check_file(path, option)
    check_no_input(path, option, inputs)


def check_folder(path: str | Path, option: str) -> None:
    """Refuse a folder that cannot be made or written to, before any work; no folder is created.

    Raises
    ------
    InputError
        When it, or the nearest folder above it that exists, cannot be written to.
    """
    nearest = path = Path(path)
    while not _answer(nearest.exists, path, option) and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise InputError(f"{option}: {path}: cannot be written to ({nearest} is a file); choose another folder")
    _check_writable(nearest, path, option)


def _answer(question: Callable[[], bool], path: Path, option: str) -> bool:
    if "\0" in str(path):
        raise InputError(f"{option}: {str(path)!r} is no path (it holds a null character); choose another place")
    try:
        return question()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{option}: {str(path)[:80]!r} is no path ({why}); choose another place") from error


def _check_writable(folder: Path, path: Path, option: str) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{option}: {path}: cannot be written to ({why}); choose another place") from error
