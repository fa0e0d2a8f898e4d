"""Verification of a finished store: some rows, computed again from model and data."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.extraction.data import open_data
from manifold_probe.extraction.items import Unreadable
from manifold_probe.extraction.records import FIX, read_table
from manifold_probe.extraction.resume import Tell, check_plan, named
from manifold_probe.extraction.store import ROWS, Store
from manifold_probe.extraction.work import Request, Work, prepared, to_device
from manifold_probe.models.layers import layers_of, list_layers
from manifold_probe.models.load import load_model
from manifold_probe.spaces.checks import refusing

Layers = list[tuple[str, str, tuple[int, ...] | None]]
# of the largest value: float16 rounds by 0.0005, and other builds of the libraries differ by less than this
TOLERANCE = 0.02


def verify(request: Request, out: str | Path, rows: int, seed: int = 0) -> dict[str, Any]:
    """Compute ``rows`` random rows of a finished store again.

    Returns
    -------
    dict
        ``rows``; ``changed``: ids whose content has changed; ``largest``: key -> the largest difference divided by the
        largest value, up to about 0.0005 from float16.

    Raises
    ------
    InputError
        If ``rows`` is below 1, or there is no finished store, or it is damaged, or of another request.
    """
    if rows < 1:
        raise InputError(f"--verify: {rows} rows cannot be verified; give at least 1")
    store = Store(out)
    plan = store.plan() if store.finished else None
    if plan is None:
        raise InputError(f"{out}: holds no finished features; run probe extract without --verify first")
    store.check_files()
    work = prepared(request)
    work.resume(plan)
    check_plan(store, plan, work.plan)
    table = read_rows(store)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(table))[:rows])
    ids = [str(id) for id in table["id"][chosen]]
    digests = work.digests([work.places[id] for id in ids])
    stored = table["content"][chosen]
    changed = [id for id, digest, before in zip(ids, digests, stored, strict=True) if digest != before]
    if changed:
        return {"rows": len(chosen), "changed": changed, "largest": {}}
    work.batch_size = min([work.batch_size, *(shard["batch_size"] for shard in store.manifest()["shards"])])
    features = {key: stored_rows(store, key, chosen) for key in store.manifest()["shapes"]}
    largest = work.halving(partial(largest_differences, work, ids, features))
    return {"rows": len(chosen), "changed": [], "largest": largest}


def largest_differences(work: Work, ids: list[str], features: dict[str, np.ndarray]) -> dict[str, float]:
    """For each array the largest difference between the stored ``features`` and the model's current output, divided by
    the largest value in a batch.
    """
    largest = dict.fromkeys(features, 0.0)
    for start in range(0, len(ids), work.batch_size):
        part = [work.places[id] for id in ids[start : start + work.batch_size]]
        try:
            items = [work.prepare(row, work.data.read(row).content) for row in part]
        except Unreadable as error:
            raise InputError(
                f"{work.request.data}: {error}; it could be read before: check the versions of the libraries"
            ) from error
        outputs = work.outputs(work.collate(items))
        if outputs.keys() != features.keys():
            raise InputError(f"the model gives {', '.join(outputs)}, the manifest lists {', '.join(features)}; {FIX}")
        for key, values in outputs.items():
            stored = features[key][start : start + len(part)].astype(np.float32)
            scale = max(float(np.abs(values).max(initial=0)), 1e-30)
            # np.maximum keeps NaN
            largest[key] = float(np.maximum(largest[key], np.abs(values - stored).max(initial=0) / scale))
    return largest


def read_rows(store: Store) -> Any:
    """The table of a finished store as a DataFrame. Raises InputError if it is damaged."""
    return read_table(store.folder / ROWS)


def stored_rows(store: Store, key: str, rows: np.ndarray) -> np.ndarray:
    """Some rows (sorted) of one array of a finished store."""
    from safetensors import safe_open

    parts, start = [], 0
    for shard in store.manifest()["shards"]:
        stop = start + shard["rows"]
        local = rows[(rows >= start) & (rows < stop)] - start
        if len(local):
            path = store.folder / shard["file"]
            with refusing(str(path), "a shard"), safe_open(path, framework="numpy") as file:
                parts.append(file.get_tensor(key)[local])
        start = stop
    return np.concatenate(parts)


def verified_lines(request: Request, out: str | Path, rows: int) -> list[str]:
    """The result of `verify` as lines of text.

    Raises
    ------
    InputError
        If the content of a row has changed, or the model gives other features now.
    """
    result = verify(request, out, rows)
    if changed := result["changed"]:
        raise InputError(
            f"{request.data}: the content of {len(changed):,} of {result['rows']:,} rows is not what was extracted "
            f"({named(changed)}); extract it again into another --out"
        )
    lines = [f"{result['rows']:,} rows computed again; the largest difference, over the largest value:"]
    for key, largest in result["largest"].items():
        lines.append(f"  {key}  {largest:.2g}")
        if not largest <= TOLERANCE:  # true for NaN
            raise InputError(
                f"{out}: {key} differs from the model's current output by {largest:.2g} of the largest value; "
                "extract it again into another --out"
            )
    return lines


def layer_lines(request: Request, tell: Tell) -> list[str]:
    """Name and class of every layer, and the shape of its output if there are data and preprocessing to run an item."""
    data = open_data(request.data, ids=request.ids, labels=request.labels) if request.data else None
    model = load_model(request.model, request.weights, None if data is None else data.kind)
    if data is None or (model.preprocessing is None and request.size is request.mean is request.std is None):
        needed = "--data" if data is None else "--size, --mean and --std"
        tell(f"the shapes of the layers are left out; they need {needed}")
        layers: Layers = [(name, type(module).__name__, None) for name, module in layers_of(model.module).items()]
    else:
        work = prepared(request, model=model)
        batch = next(iter(work.batches(range(1))))
        if not batch.rows:
            raise InputError(f"{request.data}: {batch.unreadable[0]}; give data that can be read")
        layers = list_layers(work.model, to_device(batch.input[0], work.device))
    shapes = [("" if shape is None else " x ".join(map(str, shape))) for _, _, shape in layers]
    widths = [max((len(str(layer[column])) for layer in layers), default=0) for column in range(2)]
    return [
        f"{name:{widths[0]}}  {kind:{widths[1]}}  {shape}".rstrip()
        for (name, kind, _), shape in zip(layers, shapes, strict=True)
    ]
