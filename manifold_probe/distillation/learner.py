"""The student: a built-in network or any model source, ready to be trained.

``embed(batch)`` gives the backbone's vectors, which are deployed, and the input of the loss: the same vectors, or the
logits of a classifier on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from manifold_probe.errors import InputError
from manifold_probe.extraction.data import Data
from manifold_probe.models.load import Model, call, check_pooling, load_model
from manifold_probe.models.outputs import one_tensor
from manifold_probe.models.pooling import pool
from manifold_probe.models.preprocessing import ImagePreprocessing, TextPreprocessing, image_preprocessing
from manifold_probe.models.source import CHECKPOINT, names_model
from manifold_probe.models.students import STUDENTS, make_student

BUILT_IN = "python:manifold_probe.models.students:make"
DEFAULT_PIXEL = 0.5  # mean and deviation of pixels for a built-in student, where none are given


@dataclass
class Learner:
    """A module in training, its preprocessing, and what a checkpoint needs to rebuild it."""

    module: nn.Module
    preprocessing: ImagePreprocessing | TextPreprocessing
    model: str
    arguments: dict[str, Any]
    pooling: str | None
    classifier: nn.Module | None = None
    loaded: Model | None = None

    def embed(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Backbone (B, D) and input of the loss (B, D) or (B, classes), of a prepared batch."""
        if self.loaded is None:
            backbone: Tensor = self.module.features(batch)  # type: ignore[operator]
            return backbone, backbone if self.classifier is None else self.classifier(backbone)
        output = one_tensor(call(self.loaded, batch), self.model, self.pooling)
        mask = batch.get("attention_mask") if hasattr(batch, "get") else None
        backbone = pool(output, self.pooling, mask)
        return backbone, backbone

    def checkpoint(self) -> dict[str, Any]:
        """The checkpoint from which `load_model` rebuilds the backbone, without a classifier; tensors on the CPU."""
        state = {name: value.detach().cpu() for name, value in self.module.state_dict().items()}
        return {
            "format": CHECKPOINT,
            "model": self.model,
            "arguments": {name: value for name, value in self.arguments.items() if name != "classes"},
            "state": state if self.classifier is None else {k: v for k, v in state.items() if not k.startswith("fc.")},
            "preprocessing": self.preprocessing.record() if isinstance(self.preprocessing, ImagePreprocessing) else {},
            **({} if self.pooling is None else {"pooling": self.pooling}),
        }


def make(
    name: str,
    data: Data,
    seed: int,
    *,
    classes: int | None = None,
    weights: str | None = None,
    size: str | None = None,
    mean: str | None = None,
    std: str | None = None,
    pooling: str | None = None,
) -> Learner:
    """The student of a run; a built-in one has weights drawn from ``seed``.

    Raises
    ------
    InputError
        An unknown name or source, missing preprocessing, or data of the wrong kind.
    """
    if name.lower().replace("_", "-") in STUDENTS:
        return _built_in(name.lower().replace("_", "-"), data, seed, classes, weights, size, mean, std)
    if not names_model(name):
        near = get_close_matches(name.lower(), STUDENTS, 1, 0)
        raise InputError(
            f"--student: {name!r} is neither a built-in student nor a model source; did you mean {near[0]}? Built-in "
            f"students are {', '.join(STUDENTS)}; a source looks like python:package.module:callable"
        )
    model = load_model(name, weights, data.kind)
    if model.takes != data.kind:
        raise InputError(
            f"{data.source}: holds {data.kind}, but {name} takes {model.takes}; give data of {model.takes}"
        )
    if size is not None or mean is not None or std is not None:
        model.preprocessing = image_preprocessing(size, mean, std, channels=model.channels)
    if model.preprocessing is None:
        raise InputError(f"{name}: has no preprocessing; give --size, --mean and --std")
    check_pooling(model, pooling)
    return Learner(model.module, model.preprocessing, name, {}, pooling, loaded=model)


def _built_in(
    name: str,
    data: Data,
    seed: int,
    classes: int | None,
    weights: str | None,
    size: str | None,
    mean: str | None,
    std: str | None,
) -> Learner:
    if data.kind != "images":
        raise InputError(
            f"{data.source}: holds {data.kind}, but {name} takes images; give a student for texts, st:NAME"
        )
    if weights is not None:
        raise InputError(f"--weights: {name} starts from random weights; leave --weights out, or give a model source")
    side = int(size) if size is not None and size.isdigit() else None
    if side is None:
        if size is not None:
            raise InputError(f"--size: {size!r} is not a whole number of pixels; write --size 32")
        side = image_side(data)
    preprocessing = image_preprocessing(
        side, DEFAULT_PIXEL if mean is None else mean, DEFAULT_PIXEL if std is None else std
    )
    arguments: dict[str, Any] = {"name": name}
    if name.startswith("vit"):
        arguments["size"] = side
    if classes is not None:
        arguments["classes"] = classes
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        module = make_student(**arguments)
    classifier = getattr(module, "fc", None) if classes is not None else None
    return Learner(module, preprocessing, BUILT_IN, arguments, None, classifier)


def image_side(data: Data) -> int:
    """The side in pixels of the data's images, from a few of them.

    Raises
    ------
    InputError
        If they are not squares of one size: the user must then choose the input size.
    """
    sizes = {data.read(row).content.size for row in range(0, data.n, max(1, data.n // 8))}
    (width, height), *more = sizes
    if more or width != height:
        raise InputError(
            f"--size: missing, and the images of {data.source} are not all squares of one size; give --size"
        )
    return int(width)
