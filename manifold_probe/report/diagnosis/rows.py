"""The rows of a pair, and the order that pairs them, as files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.files import write_whole
from manifold_probe.report.tables.write import csv_cell

SUFFIXES = (".parquet", ".csv")


def check_rows(path: str, option: str = "--rows") -> None:
    """Refuse a name that says neither Parquet nor CSV. Raises InputError naming the option."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise InputError(f"{option}: {path}: rows are written as .parquet or .csv; choose such a name")


def write_rows(table: dict[str, Any], path: str | Path) -> None:
    """Write the table, whole or not at all: lists as lists in Parquet, joined by ";" in CSV.

    Raises
    ------
    InputError
        For another suffix, or a place that cannot be written to.
    """
    check_rows(str(path), "rows")
    write_whole(path, _parquet(table) if Path(path).suffix.lower() == ".parquet" else _csv(table))


def check_order(path: str, option: str = "--save-order") -> None:
    """Refuse a name that says neither CSV nor plain text. Raises InputError naming the option."""
    if Path(path).suffix.lower() not in (".csv", ".txt"):
        raise InputError(f"{option}: {path}: orders are written as .csv or .txt; choose such a name")


def write_order(teacher_ids: np.ndarray, student_ids: np.ndarray, path: str | Path) -> None:
    """Write the ids (n,) that pair two files, whole or not at all: two columns in CSV, the student's alone in .txt.

    Raises
    ------
    InputError
        For another suffix, or a place that cannot be written to.
    """
    check_order(str(path), "order")
    lines = student_ids.tolist()
    if Path(path).suffix.lower() == ".csv":
        lines = ["teacher,student", *map(",".join, zip(teacher_ids.tolist(), lines, strict=True))]
    write_whole(path, "".join(f"{line}\n" for line in lines))


def _csv(table: dict[str, Any]) -> str:
    lines = [list(table), *zip(*table.values(), strict=True)]
    return "".join(",".join(csv_cell(_joined(cell)) for cell in line) + "\n" for line in lines)


def _joined(cell: Any) -> Any:
    return ";".join(map(str, cell)) if isinstance(cell, list) else cell


def _parquet(table: dict[str, Any]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    out = io.BytesIO()
    parquet.write_table(pa.table({name: pa.array(column) for name, column in table.items()}), out)
    return out.getvalue()
