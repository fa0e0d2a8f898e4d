"""Checks that the readers share: every bad input becomes one line with the file, the field and the fix.

All checks use names, sizes and headers, before memory is allocated, except those for NaN and Inf: code that reads
blocks calls `check_finite` on every block.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.spaces.contents import Entry
from manifold_probe.spaces.space import Space

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
MAGIC = {  # first bytes -> format, and the extensions that it may have
    b"\x93NUMPY": ("a numpy array", (".npy",)),
    b"PK\x03\x04": ("a zip archive (.npz or .pt)", (".npz", ".pt", ".pth")),
    b"PAR1": ("Parquet data", (".parquet",)),
    b"ARROW1": ("Arrow data", (".arrow", ".feather", ".ipc")),
    b"\x89HDF\r\n\x1a\n": ("HDF5 data", (".h5", ".hdf5")),
}
GIB = 2**30
POOLING = {3: "x.mean(1)", 4: "x.mean((2, 3)) where channels come second, x.mean((1, 2)) where they come last"}
NUMBERS = {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)} | {
    "float16",
    "bfloat16",
    "float32",
    "float64",
}


def bad(path: str, text: str) -> InputError:
    """The error "path: text", on one line even if the path or a library's message has line breaks."""
    shown = path if path.isprintable() else repr(path)
    return InputError(f"{shown}: {' '.join(text.split())}")


@contextmanager
def refusing(path: str, what: str) -> Iterator[None]:
    """A context for a library's open and decode calls: any exception on a damaged file becomes an InputError.

    It catches every exception, because on broken bytes libraries raise all kinds, from KeyError to RecursionError.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except UnicodeDecodeError as error:
        raise bad(path, f"cannot be read as {what}: it is not UTF-8 text; save it again as UTF-8") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise bad(
            path, f"cannot be read as {what}; it may be damaged or cut short, write it again ({reason})"
        ) from error


def check_file(path: str) -> None:
    """Refuse anything but a regular, readable, non-empty file; git-lfs pointers; and content of another extension."""
    suffix = os.path.splitext(path)[1].lower()
    try:
        regular = stat.S_ISREG(os.stat(path).st_mode)  # opening a pipe would block
        head = b""
        if regular:
            with open(path, "rb") as file:
                head = file.read(64)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise bad(path, "no such file; check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise bad(path, f"cannot be opened ({reason}); check the path and its permissions") from error
    if not regular:
        raise bad(path, "is not a regular file; give a feature file or a folder of shards")
    if not head:
        raise bad(path, "is empty (0 bytes); write it again")
    if head.startswith(LFS_POINTER):
        raise bad(path, "is a git-lfs pointer, not the data; run git lfs pull")
    for magic, (data, suffixes) in MAGIC.items():
        if head.startswith(magic) and suffix not in suffixes:
            raise bad(path, f"is named {suffix} but holds {data}; rename it to {' or '.join(suffixes)}")


def check_inflation(path: str, field: str, decoded: int, stored: int) -> None:
    """Refuse data that claims to unpack to over 1 GiB and over 1,000 times its stored bytes."""
    if decoded > GIB and decoded > 1000 * stored:
        raise bad(
            path,
            f"{field} claims {decoded:,} bytes from {stored:,} stored, like a decompression bomb; "
            "save it uncompressed if it is real",
        )


def check_array(path: str, entry: Entry, fewest: int = 2) -> None:
    """Refuse an entry that is not an (n, d) matrix of real numbers with n >= 2 (or ``fewest``) and d >= 1.

    Raises
    ------
    InputError
        With the path, the key, its shape or type, and the fix.
    """
    where = f"key '{entry.name}'"
    if entry.problem is not None:
        raise bad(path, f"{where} {entry.problem}")
    if entry.dtype not in NUMBERS and not entry.dtype.startswith("float8_"):
        as_numbers = "; save x.astype(np.float32)" if entry.dtype == "str" and len(entry.shape) == 2 else ""
        raise bad(path, f"{where} {_type_fix(entry.dtype)}{as_numbers}")
    if len(entry.shape) < 2:
        raise bad(path, f"{where} has shape {entry.shape}: features are a matrix (n, d), one row per sample")
    if len(entry.shape) > 2:
        pooling = POOLING.get(len(entry.shape), "x.flatten(1)")
        if sorted(entry.shape[1:])[-2] == 1:  # (n, d, 1, 1) or (n, 1, d)
            pooling = "x.flatten(1)"
        raise bad(path, f"{where} has shape {entry.shape}: pool it to (n, d) first, e.g. {pooling}")
    n, d = entry.shape
    if n < fewest:
        needed = "at least 2 are needed" if fewest > 1 else "at least 1 is needed"
        raise bad(path, f"{where} has shape {entry.shape}: {n} row{'s' * (n != 1)}, {needed}")
    if d < 1:
        raise bad(path, f"{where} has shape {entry.shape}: rows without dimensions; check the extraction")


def _type_fix(dtype: str) -> str:
    if dtype.startswith("complex"):
        return f"is {dtype}: take .real or .abs() first"
    if dtype == "bool":
        return "is bool: save it as float32 or uint8 if its bits are features"
    if dtype in ("binary", "large_binary") or dtype.startswith("fixed_size_binary"):
        return "holds bytes: write numbers, of raw floats np.frombuffer(cell, 'float32').tolist()"
    if dtype.startswith("struct"):
        return "holds structs: save the field with the vectors as a separate column"
    if dtype.startswith(("str", "bytes", "string")):
        return "holds text: features are numbers, or vectors written like '[0.1, 0.2]'"
    if dtype == "object":
        return "is an object array: save a plain float array (are its rows of different lengths?)"
    if dtype.startswith("void"):
        return f"has type {dtype}, as NumPy stores the types of ml_dtypes: save x.astype(np.float32)"
    return f"has type {dtype}: save float16, bfloat16, float32, float64 or integers"


def check_finite(block: np.ndarray, start: int, space: Space) -> None:
    """Refuse NaN and Inf in ``block`` (m, d), the rows of ``space`` from ``start`` on.

    On the first bad block the rest of the space is read too, so that the message gives the total number.

    Raises
    ------
    InputError
        With the number of NaN and Inf values, the first row with one, the number of such rows, and up to three of their
        ids. Inf in half precision is reported as an overflow.
    """
    if np.isfinite(block).all():
        return
    nan = inf = 0
    rows = []
    step = max(1, len(block))
    for at in range(start, space.n, step):
        part = block if at == start else space.read(at, at + step)
        nan, inf = nan + int(np.isnan(part).sum()), inf + int(np.isinf(part).sum())
        rows.append(at + np.flatnonzero(~np.isfinite(part).all(axis=1)))
    bad_rows = np.concatenate(rows)
    counts = " and ".join(f"{count:,} {name}" for count, name in ((nan, "NaN"), (inf, "Inf")) if count)
    several = f" in {len(bad_rows):,} rows" if len(bad_rows) > 1 else ""
    key = f"key '{space.source.key}' " if space.source.key else ""
    fix = "drop those rows or fix the extraction"
    if inf and space.dtype == "float16":
        fix = "the largest float16 is 65,504, save float32" + (f", and {fix}" if nan else "")
    raise bad(
        space.source.path or space.name,
        f"{key}holds {counts} value{'s' * (nan + inf != 1)} (first in row {bad_rows[0]})"
        f"{several}{_named(space, bad_rows)}; {fix}",
    )


def _named(space: Space, rows: np.ndarray) -> str:
    """The ids of the first three rows: " (ids 'a', 'b', 'c', ...)"."""
    if space.ids is None:
        return ""
    ids = ", ".join(repr(item) for item in np.asarray(space.ids)[rows[:3]].tolist())
    return f" (id{'s' * (len(rows) > 1)} {ids}{', ...' * (len(rows) > 3)})"
