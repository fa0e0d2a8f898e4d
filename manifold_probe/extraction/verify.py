"""Whether a finished store still says what model and data give: some rows, computed again."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.extraction.data import open_data
from manifold_probe.extraction.items import Unreadable
from manifold_probe.extraction.records import FIX, read_table
from manifold_probe.extraction.resume import Tell, named, refuse_other
from manifold_probe.extraction.store import ROWS, Store
from manifold_probe.extraction.work import Request, Work, prepared, to_device
from manifold_probe.models.layers import layers_of, list_layers
from manifold_probe.models.load import load_model
from manifold_probe.spaces.checks import refusing

Layers = list[tuple[str, str, tuple[int, ...] | None]]
TOLERANCE = (
    0.02  # of the largest value: float16 alone rounds by 0.0005, other builds of the libraries by less than this
)


def verify(request: Request, out: str | Path, rows: int, seed: int = 0) -> dict[str, Any]:
    """Compute ``rows`` random rows of a finished store again.

    Returns
    -------
    dict
        ``rows``; ``changed``: ids whose content is no longer what was read then; ``largest``: key -> the largest
        difference over the largest value, which float16 alone makes up to about 0.0005.

    Raises
    ------
    InputError
        Where ``rows`` is below 1, or there is no finished store, or it is damaged, or of something else.
    """
    if rows < 1:
        raise InputError(f"--verify: {rows} rows show nothing; give at least 1")
    store = Store(out)
    plan = store.plan() if store.whole else None
    if plan is None:
        raise InputError(f"{out}: holds no finished features; run probe extract without --verify first")
    store.check_files()
    work = prepared(request)
    work.go_on(plan)
    refuse_other(store, plan, work.plan)
    table = read_rows(store)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(table))[:rows])
    ids = [str(id) for id in table["id"][chosen]]
    now = work.digests([work.places[id] for id in ids])
    changed = [id for id, one, other in zip(ids, now, table["content"][chosen], strict=True) if one != other]
    if changed:
        return {"rows": len(chosen), "changed": changed, "largest": {}}
    work.batch_size = min([work.batch_size, *(shard["batch_size"] for shard in store.manifest()["shards"])])
    kept = {key: stored_rows(store, key, chosen) for key in store.manifest()["shapes"]}
    return {"rows": len(chosen), "changed": [], "largest": work.halving(partial(largest_differences, work, ids, kept))}


def largest_differences(work: Work, ids: list[str], kept: dict[str, np.ndarray]) -> dict[str, float]:
    """For each array the largest difference between what is kept and what the model gives now, over its largest value
    in a batch.
    """
    largest = dict.fromkeys(kept, 0.0)
    for start in range(0, len(ids), work.batch_size):
        part = [work.places[id] for id in ids[start : start + work.batch_size]]
        try:
            items = [work.prepare(row, work.data.read(row).content) for row in part]
        except Unreadable as error:
            raise InputError(f"{work.request.data}: {error}; it could be read before: look at the libraries") from error
        outputs = work.outputs(work.collate(items))
        if outputs.keys() != kept.keys():
            raise InputError(f"the model gives {', '.join(outputs)} and the manifest lists {', '.join(kept)}; {FIX}")
        for key, values in outputs.items():
            there = kept[key][start : start + len(part)].astype(np.float32)
            scale = max(float(np.abs(values).max(initial=0)), 1e-30)
            # np.maximum, because NaN is to stay
            largest[key] = float(np.maximum(largest[key], np.abs(values - there).max(initial=0) / scale))
    return largest


def read_rows(store: Store) -> Any:
    """The table of a finished store as a DataFrame. Raises InputError where it is damaged."""
    return read_table(store.folder / ROWS)


def stored_rows(store: Store, key: str, rows: np.ndarray) -> np.ndarray:
    """Some rows (sorted) of one array of a finished store."""
    from safetensors import safe_open

    found, start = [], 0
    for shard in store.manifest()["shards"]:
        stop = start + shard["rows"]
        mine = rows[(rows >= start) & (rows < stop)] - start
        if len(mine):
            path = store.folder / shard["file"]
            with refusing(str(path), "a shard"), safe_open(path, framework="numpy") as file:
                found.append(file.get_tensor(key)[mine])
        start = stop
    return np.concatenate(found)


def verified_lines(request: Request, out: str | Path, rows: int) -> list[str]:
    """What `verify` found, as lines to read.

    Raises
    ------
    InputError
        Where the content of a row has changed, or the model gives other features now.
    """
    found = verify(request, out, rows)
    if found["changed"]:
        raise InputError(
            f"{request.data}: the content of {len(found['changed']):,} of {found['rows']:,} rows is not what was "
            f"extracted ({named(found['changed'])}); extract it again into another --out"
        )
    lines = [f"{found['rows']:,} rows computed again; the largest difference, over the largest value:"]
    for key, largest in found["largest"].items():
        lines.append(f"  {key}  {largest:.2g}")
        if not largest <= TOLERANCE:  # NaN too
            raise InputError(
                f"{out}: {key} differs from what the model gives now by {largest:.2g} of the largest value; "
                "extract it again into another --out"
            )
    return lines


def layer_lines(request: Request, tell: Tell) -> list[str]:
    """Name and class of every layer; and its output's shape, where there are data and preprocessing to run one item."""
    data = open_data(request.data, ids=request.ids, labels=request.labels) if request.data else None
    model = load_model(request.model, request.weights, None if data is None else data.kind)
    if data is None or (model.preprocessing is None and request.size is request.mean is request.std is None):
        needed = "--data" if data is None else "--size, --mean and --std"
        tell(f"the shapes of the layers are left out; they need {needed}")
        found: Layers = [(name, type(each).__name__, None) for name, each in layers_of(model.module).items()]
    else:
        work = prepared(request, model=model)
        batch = next(iter(work.batches(range(1))))
        if not batch.rows:
            raise InputError(f"{request.data}: {batch.unreadable[0]}; list layers with data that can be read")
        found = list_layers(work.model, to_device(batch.input[0], work.device))
    shapes = [("" if shape is None else " x ".join(map(str, shape))) for _, _, shape in found]
    widths = [max((len(str(row[place])) for row in found), default=0) for place in range(2)]
    return [
        f"{name:{widths[0]}}  {kind:{widths[1]}}  {shape}".rstrip()
        for (name, kind, _), shape in zip(found, shapes, strict=True)
    ]
