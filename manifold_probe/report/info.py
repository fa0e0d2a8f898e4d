"""What a file of features holds, as blocks."""

from __future__ import annotations

from typing import Any

from manifold_probe.report.blocks import Block, Facts, Row, Section, Table
from manifold_probe.report.words import listed, one_line, quantity, shown


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
