"""The base class of the built-in students: pooled features, and a classifier on top of them on request."""

from __future__ import annotations

from torch import Tensor, nn

from manifold_probe.errors import InputError


class Student(nn.Module):
    """Images (B, C, H, W) to features (B, width), or with a classifier to logits (B, classes) = fc(features).

    Subclasses implement `features`; ``fc`` is None without a classifier.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.fc: nn.Linear | None = None

    def features(self, images: Tensor) -> Tensor:
        """The pooled features (B, width), with or without a classifier."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Features, or logits if there is a classifier."""
        features = self.features(images)
        return features if self.fc is None else self.fc(features)

    def classify(self, classes: int | None) -> None:
        """Add the classifier. Call it last, so that a seed gives the same backbone with and without it."""
        if classes is not None:
            self.fc = nn.Linear(self.width, positive("classes", classes))


def positive(name: str, value: object) -> int:
    """The ``value``, after a check that it is a whole number of at least 1.

    >>> positive("channels", 3)
    3
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} must be a whole number of at least 1, got {value!r}")
    return value


def draw_convolutions(module: nn.Module) -> None:
    """Draw convolutions from a normal distribution of variance 2 / fan-out (He et al. 2015, arXiv:1502.01852)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
