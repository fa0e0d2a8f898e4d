"""The student: a built-in network or any model source, ready to be trained.

``embed(batch)`` gives the backbone's vectors, which are deployed, and what the method's loss sees: the same vectors, or
the logits of a classifier on them.
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
PLAIN = 0.5  # mean and deviation of pixels where a network that knows no images yet is given none


@dataclass
class Learner:
    """A module in training, what it takes, and how a checkpoint rebuilds it."""

    module: nn.Module
    preprocessing: ImagePreprocessing | TextPreprocessing
    model: str
    arguments: dict[str, Any]
    pooling: str | None
    classifier: nn.Module | None = None
    loaded: Model | None = None

    def embed(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Backbone (B, D) and what the loss sees (B, D) or (B, classes), of a prepared batch."""
        if self.loaded is None:
            backbone: Tensor = self.module.features(batch)  # type: ignore[operator]
            return backbone, backbone if self.classifier is None else self.classifier(backbone)
        output = one_tensor(call(self.loaded, batch), self.model, self.pooling)
        mask = batch.get("attention_mask") if hasattr(batch, "get") else None
        backbone = pool(output, self.pooling, mask)
        return backbone, backbone

    def checkpoint(self) -> dict[str, Any]:
        """What `load_model` rebuilds the backbone from, without a classifier; tensors on the CPU."""
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
    """The student of a run, with weights drawn from ``seed`` where it is a built-in one.

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
            f"--student: {name!r} is neither built in nor a model source; did you mean {near[0]}? Built in are "
            f"{', '.join(STUDENTS)}; a source looks like python:package.module:callable"
        )
    model = load_model(name, weights, data.kind)
    if model.takes != data.kind:
        raise InputError(f"{data.source}: holds {data.kind}, but {name} takes {model.takes}; give it those")
    if size is not None or mean is not None or std is not None:
        model.preprocessing = image_preprocessing(size, mean, std, channels=model.channels)
    if model.preprocessing is None:
        raise InputError(f"{name}: has no preprocessing of its own; give --size, --mean and --std")
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
        raise InputError(f"{data.source}: holds {data.kind}, but {name} takes images; give a student of texts, st:NAME")
    if weights is not None:
        raise InputError(f"--weights: {name} is trained from its first weights; give weights with a model source")
    side = int(size) if size is not None and size.isdigit() else None
    if side is None:
        if size is not None:
            raise InputError(f"--size: {size!r} is not a whole number of pixels; write --size 32")
        side = own_side(data)
    preprocessing = image_preprocessing(side, PLAIN if mean is None else mean, PLAIN if std is None else std)
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


def own_side(data: Data) -> int:
    """The side of the data's images, where they are square and the first few agree.

    Raises
    ------
    InputError
        Where they do not: the size of the input is then for the user to choose.
    """
    sizes = {data.read(row).content.size for row in range(0, data.n, max(1, data.n // 8))}
    (width, height), *more = sizes
    if more or width != height:
        raise InputError(f"--size: missing; the images of {data.source} are not all squares of one size")
    return int(width)
