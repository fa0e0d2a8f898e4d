"""The plan of an extraction, all that determines the features, and the differences between two plans."""

from __future__ import annotations

from typing import Any

PART_NAMES = {  # in messages
    "model": "the model",
    "weights": "the model's weights",
    "architecture": "the model's architecture",
    "preprocessing": "the preprocessing",
    "layers": "the layers",
    "pooling": "the pooling",
    "data": "the data's ids and labels",
    "rows": "the number of rows",
    "dtype": "the stored type",
    "batch_size": "the batch size",
    "shard_rows": "the rows of a shard",
    "device": "the device",
    "precision": "the precision",
    "views": "the request for views",
    "map": "the map (--apply)",
}


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Every part in which two plans differ, with both values.

    >>> differences({"pooling": "cls"}, {"pooling": "mean"})
    ["the pooling ('cls' there, 'mean' now)"]
    """
    changes = []
    for key, name in PART_NAMES.items():
        there, now = old.get(key), new.get(key)
        if isinstance(there, dict) and isinstance(now, dict):
            parts = [part for part in {**there, **now} if there.get(part) != now.get(part)]
            changes += [
                f"{name}: {part} ({_short(there.get(part))} there, {_short(now.get(part))} now)" for part in parts
            ]
        elif there != now:
            changes.append(f"{name} ({_short(there)} there, {_short(now)} now)")
    return changes


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:28]}...{text[-28:]}"
