"""Reading folders that Hugging Face ``datasets`` saved (``save_to_disk``): Arrow streams, listed in state.json.

A `Dataset` is a table; a `DatasetDict` is a folder of tables, one a split. The library itself is not needed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import partial
from typing import Any

from manifold_probe.spaces.arrow_file import open_batches
from manifold_probe.spaces.checks import bad, check_file, refusing
from manifold_probe.spaces.choose import with_features
from manifold_probe.spaces.contents import Contents

STATE, SPLITS = "state.json", "dataset_dict.json"


def is_dataset(path: str) -> bool:
    """Whether a folder was written by ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk``."""
    saved = (os.path.join(path, name) for name in (STATE, SPLITS))
    return any(map(os.path.isfile, saved)) and not os.path.isfile(os.path.join(path, "manifest.json"))


def open_dataset(path: str, key: str | None = None) -> Contents:
    """The columns of a saved data set.

    ``key`` is a split, or a column of the only split; "folder/split::column" names both.

    Raises
    ------
    InputError
        If there are several splits and none is named, or the folder is damaged.
    """
    if os.path.isfile(os.path.join(path, SPLITS)):
        names = _json(os.path.join(path, SPLITS)).get("splits")
        if not isinstance(names, list) or not names:
            raise bad(os.path.join(path, SPLITS), "lists no splits; save the data set again with save_to_disk")
        if key not in names and len(names) > 1:
            listed = ", ".join(map(str, names))
            raise bad(path, f"holds the splits {listed}; pick one with {os.path.join(path, str(names[0]))}")
        split, key = (str(key), None) if key in names else (str(names[0]), key)
        path = os.path.join(path, split)
    state = _json(os.path.join(path, STATE))
    files = [os.path.join(path, os.path.basename(str(part["filename"]))) for part in state.get("_data_files") or []]
    if not files:
        raise bad(path, "lists no data files in state.json; save the data set again with save_to_disk")
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise bad(path, "keeps its row order in a file of indices; save it again: dataset.flatten_indices()")
    for file in files:
        check_file(file)
    with refusing(path, "a saved data set"):
        schema, n = _schema(files[0]), sum(batch.num_rows for batch in _batches(files, [], 0))
    return with_features(open_batches(path, "datasets", schema, n, partial(_batches, files)), key)


def _json(file: str) -> dict[str, Any]:
    check_file(file)
    with refusing(file, "JSON"), open(file, encoding="utf-8") as text:
        return dict(json.load(text))


def _schema(file: str) -> Any:
    import pyarrow as pa

    with pa.memory_map(file) as source, pa.ipc.open_stream(source) as reader:
        return reader.schema


def _batches(files: list[str], columns: list[str], rows: int) -> Iterator[Any]:
    import pyarrow as pa

    for file in files:
        with pa.ipc.open_stream(pa.memory_map(file)) as reader:
            for batch in reader:
                selected = batch.select(columns) if columns else batch
                selected.validate(full=bool(columns))  # damaged offsets would point outside the file
                yield selected
