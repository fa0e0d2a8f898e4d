"""conv4: the smallest student, four convolutions for quick experiments on a CPU."""

from __future__ import annotations

from torch import Tensor, nn

from manifold_probe.models.students.student import Student, draw_convolutions, positive

WIDTHS = (32, 64, 128, 128)


class Conv4(Student):
    """See :func:`conv4`."""

    def __init__(self, classes: int | None, channels: int) -> None:
        super().__init__(WIDTHS[-1])
        width_in = positive("channels", channels)
        layers: list[nn.Module] = []
        for width in WIDTHS:
            convolution = nn.Conv2d(width_in, width, 3, stride=2, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
            width_in = width
        self.layers = nn.Sequential(*layers)
        draw_convolutions(self)
        self.classify(classes)

    def features(self, images: Tensor) -> Tensor:
        """The last maps, averaged: (B, 128)."""
        return self.layers(images).mean((2, 3))


def conv4(classes: int | None = None, channels: int = 3) -> Conv4:
    """Four 3x3 convolutions of stride 2 with batch norm and ReLU, 32, 64, 128 and 128 wide, and average pooling.

    241,184 parameters, 128 features; images of any size, best 28 to 64 pixels (the stride is 16). Similar to the
    four-block network of Vinyals et al. 2016 (arXiv:1606.04080), with strides instead of pooling.

    >>> import torch
    >>> conv4(channels=1)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 128])
    """
    return Conv4(classes, channels)
