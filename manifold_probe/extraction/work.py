"""A prepared request: data, model on its device, and the plan, which determines every byte of the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch

from manifold_probe.errors import InputError
from manifold_probe.extraction.batches import batches
from manifold_probe.extraction.content import digests
from manifold_probe.extraction.data import Data, open_data
from manifold_probe.extraction.recipe import Recipe, ViewParameters, named_recipe, view_parameters
from manifold_probe.extraction.views import apply_views
from manifold_probe.models.layers import capture, is_glob, resolve_layers, running_layers
from manifold_probe.models.load import Model, check_pooling, forward, load_model, returned
from manifold_probe.models.pooling import pool
from manifold_probe.models.preprocessing import ImagePreprocessing, image_preprocessing
from manifold_probe.parts import Progress
from manifold_probe.spaces.affine import Map
from manifold_probe.spaces.read import sha256

SHARD_ROWS = 4096
BATCH_SIZES = {"cpu": 64, "cuda": 256}
DTYPES = {"float16": np.float16, "float32": np.float32}
Result = TypeVar("Result")


@dataclass(frozen=True)
class Request:
    """The options of an extraction; None for the default."""

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
    apply: str | None = None


class Work:
    """A prepared request: data, model on its device, and the plan, which determines every byte of the result.

    The plan holds the requested batch size; ``batch_size`` is the one in use, which may be smaller to fit into memory.
    """

    def __init__(self, request: Request, data: Data, model: Model, plan: dict[str, Any]) -> None:
        self.request, self.data, self.model, self.plan = request, data, model, plan
        self.device = torch.device(plan["device"])
        self.map = None if request.apply is None else Map.load(request.apply)
        self.batch_size: int = plan["batch_size"]
        self.model.module.to(self.device)
        self._digests: list[str | None] | None = None

    def resume(self, before: dict[str, Any]) -> None:
        """Use the batch size of an earlier run with the plan ``before``, unless the request gives one."""
        size = before.get("batch_size")
        if self.request.batch_size is None and isinstance(size, int) and size > 0:
            self.plan["batch_size"] = self.batch_size = size

    def halving(self, attempt: Callable[[], Result]) -> Result:
        """The result of ``attempt``, which is repeated with half the batch size while memory runs out.

        Raises
        ------
        InputError
            If memory does not suffice for one input.
        """
        while True:
            try:
                return attempt()
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                if self.batch_size == 1:
                    raise InputError(
                        f"{self.request.model}: memory does not suffice for one input at a time; free some, or give "
                        "smaller inputs"
                    ) from error
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self.batch_size //= 2

    def digests(self, rows: Sequence[int], progress: Progress | None = None) -> list[str | None]:
        """The digests of some rows; digests of all rows are computed once."""
        if self._digests is None and len(rows) < self.data.n:
            return digests(self.data, rows, progress)
        if self._digests is None:
            self._digests = digests(self.data, range(self.data.n), progress)
        return [self._digests[row] for row in rows]

    @cached_property
    def places(self) -> dict[str, int]:
        """The row of every id."""
        return {id: row for row, id in enumerate(self.data.ids.tolist())}

    @property
    def shards(self) -> list[range]:
        """The rows of every shard."""
        size = self.plan["shard_rows"]
        return [range(start, min(start + size, self.data.n)) for start in range(0, self.data.n, size)]

    def outputs(self, views: list[Any]) -> dict[str, np.ndarray]:
        """Features of a prepared batch by key, float32 (B, ...); those of a view v > 0 under "KEY@v"."""
        features: dict[str, np.ndarray] = {}
        for view, batch in enumerate(views):
            features |= {f"{key}@{view}" if view else key: values for key, values in self._outputs(batch).items()}
        return features

    def _outputs(self, batch: Any) -> dict[str, np.ndarray]:
        batch = to_device(batch, self.device)
        rows = rows_of(batch)
        autocast = torch.autocast("cuda", torch.bfloat16, enabled=self.plan["precision"] == "bfloat16")
        with torch.inference_mode(), autocast:
            if self.plan["layers"]:
                with capture(self.model.module, self.plan["layers"]) as captured:
                    returned(self.model, batch)
                outputs = {name: captured[name] for name in self.plan["layers"]}
            else:
                outputs = {"features": forward(self.model, batch, self.plan["pooling"])}
            mask = batch.get("attention_mask") if hasattr(batch, "get") else None
            pooled = {name: self._pooled(name, output, rows, mask) for name, output in outputs.items()}
        arrays = {name: output.float().cpu().numpy() for name, output in pooled.items()}
        return arrays if self.map is None else {name: self.map.apply(values) for name, values in arrays.items()}

    def called(self, output: str) -> str:
        """The name of an output in messages: the model, and the layer if layers were requested."""
        return f"{self.request.model}: layer {output}" if self.plan["layers"] else f"{self.request.model}: its output"

    def _pooled(self, name: str, output: torch.Tensor, rows: int, mask: torch.Tensor | None) -> torch.Tensor:
        """One vector per row, or one per token."""
        if output.shape[:1] != (rows,):
            raise InputError(
                f"{self.called(name)} has shape {tuple(output.shape)} for {rows} inputs, not one row per input; choose "
                "another layer, or a model whose first axis counts inputs"
            )
        try:
            return pool(output, self.plan["pooling"], mask)
        except InputError as error:
            raise InputError(f"{self.called(name)}: {error}") from error

    def prepare(self, row: int, content: Any) -> list[Any]:
        """One preprocessed item, and its augmented views; runs in a reading thread."""
        preprocessing = self.model.preprocessing
        if not isinstance(preprocessing, ImagePreprocessing):
            return [content]
        views = self.plan["views"]
        prepared = [preprocessing(content)]
        if views["count"]:
            recipe, id = Recipe.from_record(views["recipe"]), str(self.data.ids[row])
            prepared += [
                preprocessing.normalise(
                    augmented(content, view_parameters(views["seed"], id, view, recipe), preprocessing.size)
                )
                for view in range(1, views["count"] + 1)
            ]
        return prepared

    def collate(self, items: list[list[Any]]) -> list[Any]:
        """Prepared items as one batch per view."""
        assert self.model.preprocessing is not None
        return [self.model.preprocessing.collate(list(view)) for view in zip(*items, strict=True)]

    def batches(self, rows: range) -> Any:
        """The batches of some rows."""
        return batches(self.data, rows, self.batch_size, self.prepare, self.collate)


def prepared(request: Request, local: int = 0, model: Model | None = None) -> Work:
    """Open data and model (unless given), and fill in defaults of the request; ``local`` picks a device."""
    if request.dtype not in DTYPES:
        raise InputError(f"--dtype: {request.dtype!r} is not known; choose one of {', '.join(DTYPES)}")
    if request.views < 0:
        raise InputError(f"--views: {request.views} views are not possible; give 0 or more")
    if request.batch_size is not None and request.batch_size < 1:
        raise InputError(f"--batch-size: {request.batch_size} is below 1; give at least 1")
    if request.apply is not None:
        if request.layers:
            raise InputError("--apply: does not go with --layers; a map takes one output; leave one of them out")
        Map.load(request.apply)  # check the file before the model is loaded
    map_digest = {} if request.apply is None else {"map": sha256(request.apply)}
    data = open_data(request.data, ids=request.ids, labels=request.labels)
    model = with_preprocessing(model or load_model(request.model, request.weights, data.kind), request)
    if model.takes != data.kind:
        raise InputError(
            f"{request.data}: holds {data.kind}, but {request.model} takes {model.takes}; give {model.takes}"
        )
    if not request.layers or request.pooling is not None:
        check_pooling(model, request.pooling)
    layers = resolve_layers(model.module, list(request.layers)) if request.layers else []  # globs: see below
    # only a pooler may have no weights in the file; it then has random ones
    random = {name for name in layers if model.missing and "pooler" in name.split(".")}
    if requested := sorted(random.intersection(request.layers)):
        raise InputError(f"{request.model}: layer {requested[0]} has no weights in its file; choose another layer")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    assert model.preprocessing is not None
    plan = {
        "model": model.identity,
        "weights": model.fingerprint,
        "architecture": model.architecture,
        "preprocessing": model.preprocessing.record(),
        "layers": [name for name in layers if name not in random],
        "pooling": request.pooling,
        "data": data.listing,
        "rows": data.n,
        "dtype": request.dtype,
        "batch_size": request.batch_size or BATCH_SIZES[device],
        "shard_rows": SHARD_ROWS,
        "device": device,
        "precision": "bfloat16" if device == "cuda" and torch.cuda.is_bf16_supported() else "float32",
        "views": {"count": request.views, "recipe": named_recipe(request.recipe).record(), "seed": request.seed},
        **({"unused_weights": list(model.unused)} if model.unused else {}),
        **({"missing_weights": list(model.missing)} if model.missing else {}),
        **map_digest,
    }
    if device == "cuda":
        torch.cuda.set_device(local % torch.cuda.device_count())
    work = Work(request, data, model, plan)
    if any(map(is_glob, request.layers)):
        readable = (batch for batch in batches(data, range(data.n), 2, work.prepare, work.collate) if batch.rows)
        batch = next(readable, None)
        if batch is not None:  # otherwise the run raises that no item can be read
            views = to_device(batch.input[0], work.device)
            running = running_layers(model, list(request.layers), views, rows_of(views))
            plan["layers"] = [name for name in running if name not in random]
    return work


def with_preprocessing(model: Model, request: Request) -> Model:
    """The model with its preprocessing, or with that of --size, --mean and --std, which is never guessed."""
    given = {"--size": request.size, "--mean": request.mean, "--std": request.std}
    missing = [option for option, value in given.items() if value is None]
    if model.takes == "texts" and len(missing) < len(given):
        raise InputError(f"--size, --mean, --std: {request.model} takes texts, not images; leave them out")
    if model.takes == "images" and len(missing) < len(given):
        if missing:
            raise InputError(f"{' and '.join(missing)}: missing; give --size, --mean and --std together")
        model.preprocessing = image_preprocessing(request.size, request.mean, request.std, channels=model.channels)
    if request.views and (model.takes != "images" or getattr(model.preprocessing, "channels", 3) != 3):
        raise InputError(f"--views: {request.model} does not take colour images, which views need; leave --views out")
    if model.preprocessing is None:
        raise InputError(f"{request.model}: has no preprocessing; give --size, --mean and --std")
    return model


def augmented(image: Any, parameters: ViewParameters, size: int) -> torch.Tensor:
    """One view of a PIL image, (3, size, size) in 0..1."""
    pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    return apply_views(pixels[None] / 255, [parameters], size)[0]


def to_device(batch: Any, device: torch.device) -> Any:
    """A tensor, or a dict of tensors, on the device."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    return {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in batch.items()}


def rows_of(batch: Any) -> int:
    """The number of inputs in a prepared batch."""
    return len(next(iter(batch.values())) if isinstance(batch, Mapping) else batch)


def out_of_memory(error: BaseException) -> bool:
    is_memory_error = isinstance(error, torch.cuda.OutOfMemoryError | MemoryError)
    return is_memory_error or "allocate memory" in str(error).lower()
