"""What every built-in student shares: pooled features, and logits on top of them where classes are asked for."""

from __future__ import annotations

from torch import Tensor, nn

from manifold_probe.errors import InputError


class Student(nn.Module):
    """Images (B, C, H, W) to features (B, width), or with a classifier to logits (B, classes) = fc(features).

    A student fills in `features`; ``fc`` is None where it has no classifier.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.fc: nn.Linear | None = None

    def features(self, images: Tensor) -> Tensor:
        """The pooled features (B, width), with or without a classifier."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Features, or logits where there is a classifier."""
        features = self.features(images)
        return features if self.fc is None else self.fc(features)

    def classify(self, classes: int | None) -> None:
        """Add the classifier. The last step of building: so one seed draws the same backbone with and without it."""
        if classes is not None:
            self.fc = nn.Linear(self.width, positive("classes", classes))


def positive(name: str, value: object) -> int:
    """``value``, which must be a whole number of at least 1.

    >>> positive("channels", 3)
    3
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} must be a whole number of at least 1, got {value!r}")
    return value


def draw_convolutions(module: nn.Module) -> None:
    """Convolutions from a normal distribution of variance 2 / fan-out (He et al. 2015, arXiv:1502.01852)."""
    for each in module.modules():
        if isinstance(each, nn.Conv2d):
            nn.init.kaiming_normal_(each.weight, mode="fan_out", nonlinearity="relu")
