"""An extraction from start to end: model and data in, a feature store out, whatever interrupts it in between.

Every shard is a function of the plan and its place alone: the same rows, cut into the same batches. So shards can be
made in any order, by any process, again after a crash, and the folder is the same, byte for byte.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from manifold_probe.errors import InputError
from manifold_probe.extraction.batches import Batch, batches
from manifold_probe.extraction.data import Data, Unreadable, open_data
from manifold_probe.extraction.plan import differences
from manifold_probe.extraction.processes import Processes
from manifold_probe.extraction.recipe import Recipe, ViewParameters, named_recipe, view_parameters
from manifold_probe.extraction.store import QUARANTINE, Shard, Store
from manifold_probe.extraction.views import apply_views
from manifold_probe.models.layers import capture, resolve_layers
from manifold_probe.models.load import Model, forward, load_model
from manifold_probe.models.pooling import pool
from manifold_probe.models.preprocessing import ImagePreprocessing, image_preprocessing

Tell = Callable[[str], None]
Progress = Callable[[str, int, int], None]
SHARD_ROWS = 4096
BATCH = {"cpu": 64, "cuda": 256}
DTYPES = {"float16": np.float16, "float32": np.float32}


@dataclass(frozen=True)
class Request:
    """What a user asks for; None leaves a choice to us."""

    model: str
    data: str
    weights: str | None = None
    size: str | None = None
    mean: str | None = None
    std: str | None = None
    layers: tuple[str, ...] = ()
    pooling: str | None = None
    batch_size: int | None = None
    dtype: str = "float16"
    ids: str | None = None
    labels: str | None = None
    skip_bad: bool = False
    views: int = 0
    recipe: str = "crop-mirror-jitter"
    seed: int = 0


def extract(request: Request, out: str | Path, *, tell: Tell = print, progress: Progress | None = None) -> Store:
    """Extract features into the folder ``out``; go on where an earlier run of the same request stopped.

    Raises
    ------
    InputError
        For whatever cannot be used; the folder stays as it was, or can be resumed.
    """
    processes = Processes.join()
    store = Store(out)
    with processes.only_first(store.locked):
        before = store.plan()
        work = prepared(request, before, processes.local)
        if before is not None:
            refuse_other(store, before, work.plan)
        if store.whole:
            processes.wait()
            if processes.first:
                store.tidy()  # where a run was killed between its manifest and this
                tell(f"{store.folder} is finished: {store.manifest()['rows']:,} rows; nothing to do")
            return store
        if processes.first:
            tell(projection(work))  # before the plan is written: a request that fails at once leaves nothing behind
            store.begin(work.plan)
        processes.wait()
        made = run_shards(work, store, processes, progress)
        processes.wait()
        if processes.first:
            finish(work, store)
            tell(f"{store.folder}: {made}")
            if lost := store.manifest()["quarantined"]:
                tell(f"{store.folder}: {lost:,} of {work.data.n:,} could not be read; {QUARANTINE} lists them")
        processes.wait()
    return store


class Work:
    """A request made ready: data, model on its device, and the plan that decides every byte."""

    def __init__(self, request: Request, data: Data, model: Model, plan: dict[str, Any]) -> None:
        self.request, self.data, self.model, self.plan = request, data, model, plan
        self.device = torch.device(plan["device"])
        self.model.module.to(self.device)

    @property
    def shards(self) -> list[range]:
        """The rows of every shard."""
        size = self.plan["shard_rows"]
        return [range(start, min(start + size, self.data.n)) for start in range(0, self.data.n, size)]

    def outputs(self, views: list[Any]) -> dict[str, np.ndarray]:
        """Features of a prepared batch by key, float32 (B, ...); those of a view v > 0 under "KEY@v"."""
        found: dict[str, np.ndarray] = {}
        for view, batch in enumerate(views):
            found |= {f"{key}@{view}" if view else key: values for key, values in self._outputs(batch).items()}
        return found

    def _outputs(self, batch: Any) -> dict[str, np.ndarray]:
        batch = to_device(batch, self.device)
        autocast = torch.autocast("cuda", torch.bfloat16, enabled=self.plan["precision"] == "bfloat16")
        with torch.inference_mode(), autocast:
            if self.plan["layers"]:
                with capture(self.model.module, self.plan["layers"]) as found:
                    forward(self.model, batch)
                outputs = {name: found[name] for name in self.plan["layers"]}
            else:
                outputs = {"features": forward(self.model, batch)}
            mask = batch.get("attention_mask") if hasattr(batch, "get") else None
            pooled = {name: pool(output, self.plan["pooling"], mask) for name, output in outputs.items()}
        return {name: output.float().cpu().numpy() for name, output in pooled.items()}

    def prepare(self, row: int, content: Any) -> list[Any]:
        """One item as the model's preprocessing makes it, and its augmented views, in a reading thread."""
        preprocessing = self.model.preprocessing
        if not isinstance(preprocessing, ImagePreprocessing):
            return [content]
        views = self.plan["views"]
        found = [preprocessing(content)]
        if views["count"]:
            recipe, id = Recipe.from_record(views["recipe"]), str(self.data.ids[row])
            found += [
                preprocessing.normalise(
                    augmented(content, view_parameters(views["seed"], id, view, recipe), preprocessing.size)
                )
                for view in range(1, views["count"] + 1)
            ]
        return found

    def collate(self, items: list[list[Any]]) -> list[Any]:
        """Prepared items as a batch for every view."""
        assert self.model.preprocessing is not None
        return [self.model.preprocessing.collate(list(view)) for view in zip(*items, strict=True)]

    def batches(self, rows: range) -> Any:
        """The batches of some rows."""
        return batches(self.data, rows, self.plan["batch_size"], self.prepare, self.collate)


def prepared(request: Request, before: dict[str, Any] | None = None, local: int = 0) -> Work:
    """Open data and model, and settle what is left open as the plan ``before`` did; ``local`` picks among devices."""
    if request.dtype not in DTYPES:
        raise InputError(f"--dtype: {request.dtype!r} is not known; choose one of {', '.join(DTYPES)}")
    if request.views < 0:
        raise InputError(f"--views: {request.views} is no number of views; give 0 or more")
    if request.batch_size is not None and request.batch_size < 1:
        raise InputError(f"--batch-size: {request.batch_size} is no batch; give a number of at least 1")
    data = open_data(request.data, ids=request.ids, labels=request.labels)
    model = with_preprocessing(load_model(request.model, request.weights), request)
    if model.takes != data.kind:
        raise InputError(f"{request.data}: holds {data.kind}, but {request.model} takes {model.takes}; give it those")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    assert model.preprocessing is not None
    plan = {
        "model": model.source.text,
        "weights": model.fingerprint,
        "preprocessing": model.preprocessing.record(),
        "layers": resolve_layers(model.module, list(request.layers)) if request.layers else [],
        "pooling": request.pooling,
        "data": data.listing,
        "rows": data.n,
        "dtype": request.dtype,
        "batch_size": request.batch_size or (before or {}).get("batch_size") or BATCH[device],
        "shard_rows": SHARD_ROWS,
        "device": device,
        "precision": "bfloat16" if device == "cuda" and torch.cuda.is_bf16_supported() else "float32",
        "skip_bad": request.skip_bad,
        "views": {"count": request.views, "recipe": named_recipe(request.recipe).record(), "seed": request.seed},
    }
    if device == "cuda":
        torch.cuda.set_device(local % torch.cuda.device_count())
    return Work(request, data, model, plan)


def augmented(picture: Any, parameters: ViewParameters, size: int) -> torch.Tensor:
    """One view of a PIL image, (3, size, size) in 0..1; alone in its batch, though that would not matter."""
    pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
    return apply_views(pixels[None] / 255, [parameters], size)[0]


def with_preprocessing(model: Model, request: Request) -> Model:
    """The model with its own preprocessing, or that of --size, --mean and --std; never a guess."""
    asked = (request.size, request.mean, request.std)
    if model.takes == "images" and any(each is not None for each in asked):
        missing = [f"--{name}" for name, each in zip(("size", "mean", "std"), asked, strict=True) if each is None]
        if missing:
            raise InputError(
                f"{' and '.join(missing)}: missing beside the others; give --size, --mean and --std together"
            )
        model.preprocessing = image_preprocessing(*asked)
    if request.views and (model.takes != "images" or getattr(model.preprocessing, "channels", 3) != 3):
        raise InputError(f"--views: {request.model} takes no colour images; views are made of those")
    if model.preprocessing is None:
        raise InputError(f"{request.model}: has no preprocessing of its own; give --size, --mean and --std")
    return model


def refuse_other(store: Store, before: dict[str, Any], plan: dict[str, Any]) -> None:
    """Refuse to mix: every difference, side by side.

    Raises
    ------
    InputError
        Where the plans differ.
    """
    found = differences(before, plan)
    if found:
        raise InputError(
            f"{store.folder}: holds another extraction, which differs in {'; '.join(found)}; give another --out"
        )


def run_shards(work: Work, store: Store, processes: Processes, progress: Progress | None) -> str:
    """Make every shard of this process that is not there yet; a sentence about the speed."""
    todo = [place for place in processes.mine(len(work.shards)) if store.done(place) is None]
    if not todo:
        return f"{work.data.n:,} rows"
    start, rows, writing = time.perf_counter(), 0, 0.0
    total = sum(len(work.shards[place]) for place in todo)
    for place in todo:
        report = partial(_report, progress, rows, total)
        writing += make_shard(work, store, place, report)[1]
        rows += len(work.shards[place])
    spent = max(time.perf_counter() - start, 1e-9)
    return f"{rows:,} rows in {spent:.1f} s ({rows / spent:,.0f} a second, {writing / spent:.1%} of it writing)"


def _report(progress: Progress | None, before: int, total: int, done: int) -> None:
    if progress is not None:
        progress("extracting", before + done, total)


def projection(work: Work) -> str:
    """Size and time, from one batch run beforehand."""
    (first,) = work.batches(range(min(work.plan["batch_size"], work.data.n)))  # to its end: no thread reads on
    if not first.rows:
        return f"{work.data.n:,} {work.data.kind}; the first {len(first.unreadable)} cannot be read"
    work.outputs(first.input)  # the first run of a model is slow
    start = time.perf_counter()
    outputs = work.outputs(first.input)
    for name, values in outputs.items():
        stored(values, name, work.plan["dtype"])
    seconds = (time.perf_counter() - start) * work.data.n / len(first.rows)
    width = np.dtype(DTYPES[work.plan["dtype"]]).itemsize
    size = sum(output[0].size for output in outputs.values()) * width * work.data.n
    shapes = ", ".join(f"{name} {'x'.join(map(str, output.shape[1:]))}" for name, output in outputs.items())
    many = f"{work.data.n:,} {work.data.kind}: {shapes} as {work.plan['dtype']}, {size / 2**20:,.1f} MiB"
    return f"{many}; about {_duration(seconds)} on {work.plan['device']}, {work.plan['batch_size']} a batch"


def make_shard(work: Work, store: Store, place: int, progress: Callable[[int], None]) -> tuple[Shard, float]:
    """One shard, and the seconds that writing it took; the batch is halved where memory does not suffice."""
    while True:
        try:
            return _make_shard(work, store, place, progress)
        except (torch.cuda.OutOfMemoryError, RuntimeError) as error:
            if not _out_of_memory(error) or work.plan["batch_size"] == 1:
                raise
        torch.cuda.empty_cache()
        work.plan["batch_size"] //= 2
        store.begin(work.plan)


def _make_shard(work: Work, store: Store, place: int, progress: Callable[[int], None]) -> tuple[Shard, float]:
    rows = work.shards[place]
    parts: list[dict[str, np.ndarray]] = []
    read: list[Batch] = []
    for batch in work.batches(rows):
        if batch.unreadable and not work.request.skip_bad:
            refuse_unreadable(work, store, batch.unreadable)
        read.append(Batch(batch.rows, batch.digests, None, batch.unreadable))
        if batch.rows:
            parts.append(work.outputs(batch.input))
        progress(sum(len(each.rows) for each in read))
    arrays, rounding = {}, {}
    for name in parts[0] if parts else []:
        arrays[name], rounding[name] = stored(np.concatenate([part[name] for part in parts]), name, work.plan["dtype"])
    start = time.perf_counter()
    shard = store.add(
        place,
        [row for batch in read for row in batch.rows],
        [digest for batch in read for digest in batch.digests],
        [[each.id, each.reason] for batch in read for each in batch.unreadable],
        arrays,
        rounding,
    )
    return shard, time.perf_counter() - start


def stored(values: np.ndarray, name: str, dtype: str) -> tuple[np.ndarray, float]:
    """The array as it is stored, and the largest rounding error over the largest value.

    Raises
    ------
    InputError
        For NaN and infinite values, and values that float16 cannot hold.
    """
    if not np.isfinite(values).all():
        raise InputError(f"the model's output {name!r} holds NaN or infinite values; look at its weights and its input")
    with np.errstate(over="ignore"):
        kept = values.astype(DTYPES[dtype])
    if not np.isfinite(kept).all():
        raise InputError(f"the model's output {name!r} exceeds what {dtype} holds (65,504); give --dtype float32")
    largest = float(np.abs(values).max(initial=0))
    return kept, float(np.abs(values - kept.astype(np.float32)).max(initial=0)) / largest if largest else 0.0


def refuse_unreadable(work: Work, store: Store, found: list[Unreadable]) -> None:
    """Look through the rest of the data, and stop with the list.

    Raises
    ------
    InputError
        Always.
    """
    bad = {each.id: each.reason for each in found}
    for batch in batches(work.data, range(work.data.n), 64, lambda *_: None, lambda items: items):
        bad |= {each.id: each.reason for each in batch.unreadable}
    named = "; ".join(f"{id}: {reason}" for id, reason in list(bad.items())[:5])
    more = f"; and {len(bad) - 5:,} more" if len(bad) > 5 else ""
    raise InputError(
        f"{work.request.data}: {len(bad):,} of {work.data.n:,} cannot be read ({named}{more}); mend them, or leave "
        "them out with --skip-bad"
    )


def finish(work: Work, store: Store) -> None:
    """Put the shards together."""
    shards = [store.done(place) for place in range(len(work.shards))]
    known = [shard for shard in shards if shard is not None]
    if not any(shard.rows for shard in known):
        raise InputError(f"{work.request.data}: nothing in it can be read; see the images")
    shapes = {tuple(map(tuple, (shape[1:] for shape in shard.shapes.values()))) for shard in known if shard.rows}
    if len(shapes) > 1:
        raise InputError(
            f"{work.request.model}: outputs differ in width between inputs; choose a pooling such as --pool mean"
        )
    store.finish(work.plan, [shard for shard in known if shard.rows or shard.unreadable], work.data, versions())


def versions() -> dict[str, str]:
    """The libraries that features may depend on: recorded, warned about, never refused."""
    import importlib.metadata
    import platform

    found = {"python": platform.python_version()}
    for name in ("manifold_probe", "torch", "numpy", "pillow", "transformers", "sentence-transformers", "timm"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def to_device(batch: Any, device: torch.device) -> Any:
    """A tensor, or a dict of tensors, on the device."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    return {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in batch.items()}


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.cuda.OutOfMemoryError) or "allocate memory" in str(error).lower()


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
