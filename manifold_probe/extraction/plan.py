"""What an extraction is of: everything that decides the features, and what differs between two such plans."""

from __future__ import annotations

from typing import Any

# What a reader calls each part of a plan, and the option or the thing that decides it.
CALLED = {
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
    """Every part in which two plans differ, the two values side by side.

    >>> differences({"pooling": "cls"}, {"pooling": "mean"})
    ["the pooling ('cls' there, 'mean' now)"]
    """
    found = []
    for key in CALLED:
        there, now = old.get(key), new.get(key)
        if isinstance(there, dict) and isinstance(now, dict):
            parts = [part for part in {**there, **now} if there.get(part) != now.get(part)]
            found += [
                f"{CALLED[key]}: {part} ({_short(there.get(part))} there, {_short(now.get(part))} now)"
                for part in parts
            ]
        elif there != now:
            found.append(f"{CALLED[key]} ({_short(there)} there, {_short(now)} now)")
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:28]}...{text[-28:]}"
