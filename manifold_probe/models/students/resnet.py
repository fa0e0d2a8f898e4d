"""Residual networks of basic blocks (He et al. 2016, arXiv:1512.03385), for small and for large images.

    block      relu(x' + bn(conv(relu(bn(conv(x)))))), 3x3; x' = x, or bn(conv1x1(x)) if the shape changes
    small      3x3 stem, three stages of (depth - 2) / 6 blocks: the networks of distillation papers on CIFAR-100
               (CRD, arXiv:1910.10699; DKD, arXiv:2203.08679). "x4" is four times as wide, its stem twice
    large      7x7 stem of stride 2 and a 3x3 max-pool of stride 2, four stages: the networks for ImageNet

The last layer is a ReLU, so features are at least 0. Parameters have the names of torchvision and of CRD's code, so
state dicts of both can be loaded.
"""

from __future__ import annotations

from torch import Tensor, nn

from manifold_probe.models.students.student import Student, draw_convolutions, positive

SMALL = (16, 16, 32, 64)  # widths of the stem and of the stages
SMALL_X4 = (32, 64, 128, 256)
LARGE = (64, 64, 128, 256, 512)


class Block(nn.Module):
    """Two 3x3 convolutions with a residual connection; ``stride`` is that of the first."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or width_in != width:
            self.downsample = nn.Sequential(nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, width_in, H, W) to (B, width, H / stride, W / stride)."""
        shortcut = maps if self.downsample is None else self.downsample(maps)
        maps = self.relu(self.bn1(self.conv1(maps)))
        return self.relu(shortcut + self.bn2(self.conv2(maps)))


class ResNet(Student):
    """A stem and stages of ``blocks`` blocks; every stage but the first halves the sides.

    Parameters
    ----------
    widths : tuple of int
        Of the stem and of the stages.
    blocks : int
        Blocks in every stage.
    classes : int or None
        Adds the classifier ``fc``.
    channels : int
        Channels of the images.
    large : bool
        Use the stem for large images, which divides the sides by four, instead of the one that keeps them.
    """

    def __init__(
        self, widths: tuple[int, ...], blocks: int, classes: int | None, channels: int, large: bool = False
    ) -> None:
        super().__init__(widths[-1])
        kernel, stride = (7, 2) if large else (3, 1)
        self.conv1 = nn.Conv2d(positive("channels", channels), widths[0], kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if large else None
        self.stages = [f"layer{stage}" for stage in range(1, len(widths))]
        for stage, width_in, width in zip(self.stages, widths, widths[1:], strict=False):
            first = Block(width_in, width, stride=1 if stage == "layer1" else 2)
            self.add_module(stage, nn.Sequential(first, *(Block(width, width, 1) for _ in range(blocks - 1))))
        draw_convolutions(self)
        self.classify(classes)

    def features(self, images: Tensor) -> Tensor:
        """The last maps, averaged: (B, width)."""
        maps = self.relu(self.bn1(self.conv1(images)))
        if self.maxpool is not None:
            maps = self.maxpool(maps)
        for stage in self.stages:
            maps = getattr(self, stage)(maps)
        return maps.mean((2, 3))


def resnet8(classes: int | None = None, channels: int = 3) -> ResNet:
    """Three stages of one block, 16, 32 and 64 wide; CRD's resnet8.

    77,392 parameters (0.08 million with 100 classes), 64 features; images of any size, best 32 pixels.

    >>> import torch
    >>> resnet8()(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 64])
    """
    return ResNet(SMALL, 1, classes, channels)


def resnet20(classes: int | None = None, channels: int = 3) -> ResNet:
    """Three stages of three blocks, 16, 32 and 64 wide; He et al.'s ResNet-20 with CRD's 1x1 shortcuts.

    271,824 parameters (0.28 million with 100 classes), 64 features; images of any size, best 32 pixels.

    >>> import torch
    >>> resnet20(classes=10)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    return ResNet(SMALL, 3, classes, channels)


def resnet56(classes: int | None = None, channels: int = 3) -> ResNet:
    """Three stages of nine blocks, 16, 32 and 64 wide; He et al.'s ResNet-56 with CRD's 1x1 shortcuts.

    855,120 parameters (0.86 million with 100 classes), 64 features; images of any size, best 32 pixels.

    >>> import torch
    >>> resnet56()(torch.zeros(1, 3, 16, 16)).shape
    torch.Size([1, 64])
    """
    return ResNet(SMALL, 9, classes, channels)


def resnet8x4(classes: int | None = None, channels: int = 3) -> ResNet:
    """Three stages of one block, 64, 128 and 256 wide, after a stem of 32; CRD's resnet8x4.

    1,207,840 parameters (1.23 million with 100 classes), 256 features; images of any size, best 32 pixels.

    >>> import torch
    >>> resnet8x4()(torch.zeros(1, 3, 16, 16)).shape
    torch.Size([1, 256])
    """
    return ResNet(SMALL_X4, 1, classes, channels)


def resnet32x4(classes: int | None = None, channels: int = 3) -> ResNet:
    """Three stages of five blocks, 64, 128 and 256 wide, after a stem of 32; CRD's resnet32x4.

    7,408,160 parameters (7.43 million with 100 classes), 256 features; images of any size, best 32 pixels.

    >>> import torch
    >>> resnet32x4()(torch.zeros(1, 3, 16, 16)).shape
    torch.Size([1, 256])
    """
    return ResNet(SMALL_X4, 5, classes, channels)


def resnet18(classes: int | None = None, channels: int = 3) -> ResNet:
    """Four stages of two blocks, 64, 128, 256 and 512 wide, after the stem for large images: ResNet-18.

    11,176,512 parameters (11.69 million with 1,000 classes), 512 features; images of any size, best 224 pixels (the
    stride is 32). With 1,000 classes, state dicts of torchvision and timm can be loaded.

    >>> import torch
    >>> resnet18()(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 512])
    """
    return ResNet(LARGE, 2, classes, channels, large=True)
