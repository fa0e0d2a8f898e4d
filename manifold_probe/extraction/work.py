"""A request made ready to run: data, model on its device, and the plan that decides every byte of what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from manifold_probe.errors import InputError
from manifold_probe.extraction.batches import batches
from manifold_probe.extraction.data import Data, open_data
from manifold_probe.extraction.recipe import Recipe, ViewParameters, named_recipe, view_parameters
from manifold_probe.extraction.views import apply_views
from manifold_probe.models.layers import capture, resolve_layers
from manifold_probe.models.load import Model, forward, load_model
from manifold_probe.models.pooling import pool
from manifold_probe.models.preprocessing import ImagePreprocessing, image_preprocessing

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


class Work:
    """A request made ready: data, model on its device, and the plan that decides every byte."""

    def __init__(self, request: Request, data: Data, model: Model, plan: dict[str, Any]) -> None:
        self.request, self.data, self.model, self.plan = request, data, model, plan
        self.device = torch.device(plan["device"])
        self.model.module.to(self.device)

    def go_on(self, before: dict[str, Any]) -> None:
        """Take over what an earlier run of the request chose for itself: memory may have halved its batches."""
        if self.request.batch_size is None:
            self.plan["batch_size"] = before["batch_size"]

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


def prepared(request: Request, local: int = 0) -> Work:
    """Open data and model, and settle what the request leaves open; ``local`` picks among devices."""
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
        "model": model.identity,
        "weights": model.fingerprint,
        "preprocessing": model.preprocessing.record(),
        "layers": resolve_layers(model.module, list(request.layers)) if request.layers else [],
        "pooling": request.pooling,
        "data": data.listing,
        "rows": data.n,
        "dtype": request.dtype,
        "batch_size": request.batch_size or BATCH[device],
        "shard_rows": SHARD_ROWS,
        "device": device,
        "precision": "bfloat16" if device == "cuda" and torch.cuda.is_bf16_supported() else "float32",
        "skip_bad": request.skip_bad,
        "views": {"count": request.views, "recipe": named_recipe(request.recipe).record(), "seed": request.seed},
    }
    if device == "cuda":
        torch.cuda.set_device(local % torch.cuda.device_count())
    return Work(request, data, model, plan)


def with_preprocessing(model: Model, request: Request) -> Model:
    """The model with its own preprocessing, or that of --size, --mean and --std; never a guess."""
    asked = (request.size, request.mean, request.std)
    if model.takes == "images" and any(each is not None for each in asked):
        missing = [f"--{name}" for name, each in zip(("size", "mean", "std"), asked, strict=True) if each is None]
        if missing:
            raise InputError(
                f"{' and '.join(missing)}: missing beside the others; give --size, --mean and --std together"
            )
        model.preprocessing = image_preprocessing(*asked, channels=model.channels)
    if request.views and (model.takes != "images" or getattr(model.preprocessing, "channels", 3) != 3):
        raise InputError(f"--views: {request.model} takes no colour images; views are made of those")
    if model.preprocessing is None:
        raise InputError(f"{request.model}: has no preprocessing of its own; give --size, --mean and --std")
    return model


def augmented(picture: Any, parameters: ViewParameters, size: int) -> torch.Tensor:
    """One view of a PIL image, (3, size, size) in 0..1; alone in its batch, though that would not matter."""
    pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
    return apply_views(pixels[None] / 255, [parameters], size)[0]


def to_device(batch: Any, device: torch.device) -> Any:
    """A tensor, or a dict of tensors, on the device."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    return {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in batch.items()}
