"""Which kinds of table a diagnosis is written as."""

from __future__ import annotations

from pathlib import Path

from manifold_probe.errors import InputError

SUFFIXES = (".csv", ".parquet", ".md")


def check_table(path: str, option: str = "table") -> None:
    """Refuse a name that says none of the kinds of table. Raises InputError naming the option."""
    if Path(path).suffix.lower() not in SUFFIXES:
        kinds = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        raise InputError(f"{option}: {path}: a diagnosis is written as {kinds}; choose such a name")
