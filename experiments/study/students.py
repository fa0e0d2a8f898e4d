"""The study's students as model sources, and what a trained one gives for images.

    python:students:conv4?width=0.5&seed=3       four convolutions, 128 features times the width
    python:students:resnet8?width=0.75&seed=3    three stages of one residual block, 64 features times the width

    python:students:bag?seed=3                   the mean of word vectors, and an MLP: 256 features
    python:students:convolution1d?seed=3         word vectors, a convolution of 3 words, the maximum: 192 features
    python:students:transformer?seed=3           word vectors and two transformer layers, the mean: 128 features

With width 1 the first two are the built-in students for grey images. Words are hashed to 8,192 numbers.
"""

from __future__ import annotations

import re
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from manifold_probe.models import forward, load_model, saved_head


def convolution(width_in: int, width: int, stride: int, kernel: int = 3) -> nn.Sequential:
    """A convolution with batch norm."""
    layer = nn.Conv2d(width_in, width, kernel, stride, kernel // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(layer, nn.BatchNorm2d(width))


class Pooled(nn.Module):
    """Layers, and the mean over all positions: images (B, 1, H, W) to features (B, d)."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.pooled = True

    def forward(self, images: Tensor) -> Tensor:
        """(B, d), or the maps (B, d, H, W)."""
        maps = self.layers(images)
        return maps.mean((2, 3)) if self.pooled else maps


class Block(nn.Module):
    """A residual block of two convolutions."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.one, self.two = convolution(width_in, width, stride), convolution(width, width, 1)
        self.short = nn.Identity() if width_in == width else convolution(width_in, width, stride, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, width, H / stride, W / stride)."""
        return functional.relu(self.short(maps) + self.two(functional.relu(self.one(maps))))


def conv4(width: float = 1.0, seed: int = 0, signed: bool = False, maps: bool = False) -> nn.Module:
    """Four convolutions of stride 2; ``signed``: without the last ReLU, so that features may be negative.

    ``maps``: the last maps (B, d, 2, 2) are not averaged, for methods that learn from sets of vectors.
    """
    torch.manual_seed(seed)
    widths = [1, *(round(width * channels) for channels in (32, 64, 128, 128))]
    layers = [layer for before, after in pairwise(widths) for layer in (convolution(before, after, 2), nn.ReLU())]
    student = Pooled(*layers[: -1 if signed else None])
    student.pooled = not maps
    return student


def resnet8(width: float = 1.0, seed: int = 0) -> nn.Module:
    """A stem and three residual blocks."""
    torch.manual_seed(seed)
    widths = [round(width * channels) for channels in (16, 16, 32, 64)]
    blocks = [Block(widths[0], widths[1], 1), Block(widths[1], widths[2], 2), Block(widths[2], widths[3], 2)]
    return Pooled(convolution(1, widths[0], 1), nn.ReLU(), *blocks)


def lite2(weights: str) -> nn.Module:
    """EfficientNet-Lite2 up to the maps (B, 1280, H, W) whose mean are the teacher's features."""
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_pretrained("efficientnet-lite2", weights_path=weights)
    network.forward = network.extract_features
    return network


WORDS, MOST_WORDS = 8_192, 24
WORD = re.compile(r"[a-z]+|[0-9]|[^a-z0-9\s]")


class Hashed(nn.Module):
    """A text model on hashed words: ``features`` gives (B, d) from vectors (B, N, width) and a mask (B, N)."""

    def __init__(self, width: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.vectors = nn.Embedding(WORDS, width)
        nn.init.normal_(self.vectors.weight, std=width**-0.5)

    def tokenize(self, texts: list[str]) -> dict[str, Tensor]:
        """The hashed words (B, N) of texts, -1 after the last."""
        words = [WORD.findall(text.lower())[:MOST_WORDS] or [""] for text in texts]
        longest = max(map(len, words))
        numbers = [[zlib.crc32(word.encode()) % WORDS for word in row] + [-1] * (longest - len(row)) for row in words]
        return {"words": torch.tensor(numbers)}

    def forward(self, words: Tensor) -> Tensor:
        """(B, d)."""
        there = words >= 0
        return self.features(self.vectors(words.clamp(min=0)) * there[..., None], there)


def mean_of_words(x: Tensor, there: Tensor) -> Tensor:
    """The mean (B, d) of vectors (B, N, d) at the positions that are words."""
    return (x * there[..., None]).sum(1) / there.sum(1, keepdim=True)


class Bag(Hashed):
    """The mean of the vectors and a layer."""

    def __init__(self, width: int, seed: int) -> None:
        super().__init__(width, seed)
        self.layers = nn.Sequential(nn.Linear(width, 2 * width), nn.Tanh(), nn.Linear(2 * width, 2 * width))

    def features(self, x: Tensor, there: Tensor) -> Tensor:
        """(B, 2 width)."""
        return self.layers(mean_of_words(x, there))


class Convolution(Hashed):
    """A convolution of three words and the maximum over positions."""

    def __init__(self, width: int, seed: int) -> None:
        super().__init__(width, seed)
        self.layer = nn.Conv1d(width, 3 * width, 3, padding=1)

    def features(self, x: Tensor, there: Tensor) -> Tensor:
        """(B, 3 width)."""
        return self.layer(x.transpose(1, 2)).masked_fill(~there[:, None], -torch.inf).amax(2)


class Transformer(Hashed):
    """Two layers on vectors and positions, and the mean over words."""

    def __init__(self, width: int, seed: int) -> None:
        super().__init__(width, seed)
        self.places = nn.Parameter(torch.randn(MOST_WORDS, width) * width**-0.5)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def features(self, x: Tensor, there: Tensor) -> Tensor:
        """(B, width)."""
        return mean_of_words(self.layers(x + self.places[: x.shape[1]], src_key_padding_mask=~there), there)


def bag(width: float = 1.0, seed: int = 0) -> nn.Module:
    """A `Bag`."""
    return Bag(round(128 * width), seed)


def convolution1d(width: float = 1.0, seed: int = 0) -> nn.Module:
    """A `Convolution`."""
    return Convolution(round(64 * width), seed)


def transformer(width: float = 1.0, seed: int = 0) -> nn.Module:
    """A `Transformer`."""
    return Transformer(round(128 * width), seed)


def embedded_texts(checkpoint: Path, source: str, texts: np.ndarray) -> dict[str, np.ndarray]:
    """{"backbone": (n, d), "head": (n, d')} of texts."""
    model = load_model(source, weights=str(checkpoint))
    assert model.preprocessing is not None
    parts = [texts[start : start + 500].tolist() for start in range(0, len(texts), 500)]
    return sides(checkpoint, [forward(model, model.preprocessing.collate(part)) for part in parts])


def embedded(
    checkpoint: Path, source: str | None, images: np.ndarray, size: int, mean: float = 0.5, std: float = 0.5
) -> dict[str, np.ndarray]:
    """{"backbone": (n, d), "head": (n, d')} of images (n, H, W); ``source`` names a student that is not built in.

    ``mean`` and ``std`` are those of the training where the student is used correctly.
    """
    model = load_model(str(checkpoint)) if source is None else load_model(source, weights=str(checkpoint))
    blocks: list[Tensor] = []
    for start in range(0, len(images), 500):
        pixels = torch.from_numpy(images[start : start + 500])[:, None].float() / 255
        if pixels.shape[-1] != size:
            pixels = functional.interpolate(pixels, (size, size), mode="bilinear", align_corners=False)
        blocks.append(forward(model, ((pixels - mean) / std).expand(-1, model.channels, -1, -1)))
    return sides(checkpoint, blocks)


@torch.no_grad()
def sides(checkpoint: Path, backbone: list[Tensor]) -> dict[str, np.ndarray]:
    """The features, and what the checkpoint's head gives for them."""
    kept = torch.load(checkpoint, map_location="cpu", weights_only=True)
    head = saved_head(**kept["head"])
    head.load_state_dict(kept["head"]["state"])
    head.eval()
    return {
        "backbone": torch.cat(backbone).numpy(),
        "head": torch.cat([head(block) for block in backbone]).numpy(),
    }
