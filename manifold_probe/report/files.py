"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from manifold_probe.errors import InputError


def write_whole(path: str | Path, text: str) -> None:
    """Write ``text`` under a temporary name beside ``path``, then rename it, so that no half-written file is left.

    Raises
    ------
    InputError
        When the place cannot be written to or the disk is full.
    """
    path = Path(path)
    scratch = path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}.part")
    try:
        try:
            with open(scratch, "x", encoding="utf-8") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
            os.replace(scratch, path)
        finally:
            scratch.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
