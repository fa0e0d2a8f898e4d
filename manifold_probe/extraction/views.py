"""Stateless views: changed images from images and parameters, with the same pixels whenever they are recomputed.

    parameters = [view_parameters(seed, id, view, recipe) for id in ids]
    pixels = apply_views(images, parameters, size)

A teacher's cached features and the student must be computed from the same pixels, so a view of a sample must not depend
on its batch. Every step therefore works on single pixels, or sums in an order that is fixed (the blur's taps) or does
not matter (an integer sum). Convolutions, matrix products and float means are not used, because their algorithms and
rounding change with batch size and thread count. A step does not change the bits of other rows. CPU and GPU agree up to
float32 rounding, not to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from manifold_probe.errors import InputError, to_install
from manifold_probe.extraction.recipe import FULL_CROP, GRID, Recipe, ViewParameters, named_recipe, view_parameters

__all__ = ["Recipe", "ViewParameters", "apply_views", "named_recipe", "view_parameters"]

Views = Sequence[ViewParameters]
Step = tuple[
    Callable[[ViewParameters], bool], Callable[[Tensor, Views], Tensor]
]  # (whether it changes a view, the change)
GREY_STEPS = 2**24  # greys in these units are integers, whose sum is exact


@torch.no_grad()
def apply_views(images: Tensor, parameters: Views, size: int) -> Tensor:
    """The views of images.

    Parameters
    ----------
    images : Tensor, shape (B, 3, H, W)
        RGB in 0..1, floating; computed in float32 on their device.
    parameters : sequence of ViewParameters, length B
        From `view_parameters`.
    size : int
        The side of the views in pixels.

    Returns
    -------
    Tensor, shape (B, 3, size, size)
        float32 in 0..1. A plain view of an image of this size is the image, bit for bit.

    Raises
    ------
    InputError
        If kornia is missing, or images and parameters are not as above.

    Notes
    -----
    Crops are sampled bilinearly at ``round(max(H, W) / size)`` points per pixel and axis, which are averaged, so that
    large images do not alias. Brightness, contrast, saturation and hue follow in this order, clipped to 0..1.

    Examples
    --------
    >>> image = torch.tensor([0.0, 1.0]).expand(1, 3, 2, 2)
    >>> apply_views(image, [ViewParameters(mirror=True)], 2)[0, 0]
    tensor([[1., 0.],
            [1., 0.]])
    """
    _check(images, parameters, size)
    kornia = _kornia()
    x = images.float().contiguous()  # rounding depends on the memory layout
    fits = tuple(x.shape[2:]) == (size, size)
    if not fits:
        x = _resampled(x, parameters, size)
    steps: list[Step] = [
        (lambda view: fits and view.crop != FULL_CROP, lambda rows, views: _resampled(rows, views, size)),
        (lambda view: view.shift != (0, 0), _moved),
        (lambda view: view.mirror, lambda rows, _: kornia.geometry.transform.hflip(rows)),
        (lambda view: view.brightness != 1, _with_brightness),
        (lambda view: view.contrast != 1, _with_contrast),
        (lambda view: view.saturation != 1, _with_saturation),
        (lambda view: view.hue != 0, _with_hue),
        (lambda view: view.grey, lambda rows, _: kornia.color.rgb_to_grayscale(rows).expand(-1, 3, -1, -1)),
        (lambda view: view.blur > 0, _blurred),
    ]
    for applies, change in steps:
        rows = [row for row, view in enumerate(parameters) if applies(view)]
        if rows:
            index = torch.tensor(rows, device=x.device)
            x = x.index_copy(0, index, change(x[index], [parameters[row] for row in rows]))
    return x


def _check(images: Tensor, parameters: Views, size: int) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[2:] or not images.is_floating_point():
        raise InputError(f"images: {images.dtype} {tuple(images.shape)}; views take floats in 0..1 of (B, 3, H, W)")
    if len(parameters) != len(images):
        raise InputError(f"images: {len(images)} for {len(parameters)} view parameters; give one for each image")
    if size < 1:
        raise InputError(f"size: {size}; give the side of the views in pixels, at least 1")


def _kornia() -> Any:
    try:
        import kornia.color
        import kornia.enhance
        import kornia.geometry.transform
    except ImportError as error:
        raise InputError(f"views need kornia; {to_install('vision')}") from error
    return kornia


def _per_sample(like: Tensor, values: list[float]) -> Tensor:
    """One number per sample, on the device and in the dtype of ``like``."""
    return torch.tensor(values, dtype=like.dtype, device=like.device)


def _resampled(images: Tensor, views: Views, size: int) -> Tensor:
    """The crops (B, 3, size, size), sampled at several points per pixel if the image is larger than the view."""
    points = max(1, round(max(images.shape[2:]) / size))
    # positions in float64 on the CPU, so that all devices round the same values
    centres = (torch.arange(size * points, dtype=torch.float64) + 0.5) / (size * points)
    left, top, width, height = torch.tensor([view.crop for view in views], dtype=torch.float64).reshape(-1, 4).T
    columns, rows = (
        (2 * (start[:, None] + extent[:, None] * centres) - 1).to(images)
        for start, extent in ((left, width), (top, height))
    )
    shape = (-1, size * points, size * points)
    sampled = _kornia().geometry.transform.remap(
        images,
        columns[:, None, :].expand(shape),
        rows[:, :, None].expand(shape),
        padding_mode="border",
        align_corners=False,
        normalized_coordinates=True,
    )
    return F.avg_pool2d(sampled, points) if points > 1 else sampled


def _moved(images: Tensor, views: Views) -> Tensor:
    """Whole pixels to the right and down, black where nothing was."""
    size = images.shape[-1]
    moved = torch.zeros_like(images)
    for place, view in enumerate(views):
        right, down = (round(step * size / GRID) for step in view.shift)
        height, width = size - abs(down), size - abs(right)
        source = images[place, :, max(-down, 0) :, max(-right, 0) :][:, :height, :width]
        moved[place, :, max(down, 0) :, max(right, 0) :][:, :height, :width] = source
    return moved


def _with_brightness(images: Tensor, views: Views) -> Tensor:
    factors = _per_sample(images, [view.brightness for view in views])
    return _kornia().enhance.adjust_brightness_accumulative(images, factors)


def _with_contrast(images: Tensor, views: Views) -> Tensor:
    # as kornia's adjust_contrast_with_mean_subtraction, except for its mean, whose summation depends on the batch
    factors = _per_sample(images, [view.contrast for view in views])[:, None, None, None]
    grey = (_kornia().color.rgb_to_grayscale(images) * GREY_STEPS).round().long()
    mean = grey.sum((2, 3), keepdim=True).float() / (GREY_STEPS * grey[0].numel())
    return (images * factors + mean * (1 - factors)).clamp(0, 1)


def _with_saturation(images: Tensor, views: Views) -> Tensor:
    factors = _per_sample(images, [view.saturation for view in views])
    return _kornia().enhance.adjust_saturation_with_gray_subtraction(images, factors)


def _with_hue(images: Tensor, views: Views) -> Tensor:
    radians = _per_sample(images, [2 * math.pi * view.hue for view in views])
    return _kornia().enhance.adjust_hue(images, radians).clamp(0, 1)


def _blurred(images: Tensor, views: Views) -> Tensor:
    # as kornia's gaussian_blur2d, except for its convolution, which has no fixed order of summation. The kernel's reach
    # depends only on the size, and covers three sigma of the widest blur of a recipe.
    size = images.shape[-1]
    reach = size // 20
    weights = _per_sample(images, [weight for view in views for weight in _half_gaussian(view.blur * size, reach)])
    weights = weights.reshape(len(views), reach + 1)[:, :, None, None, None]
    for axis, padding in ((3, (reach, reach, 0, 0)), (2, (0, 0, reach, reach))):
        padded = F.pad(images, padding, mode="reflect")
        images = images * weights[:, 0]
        for tap in range(1, reach + 1):
            both = padded.narrow(axis, reach - tap, size) + padded.narrow(axis, reach + tap, size)
            images += both.mul_(weights[:, tap])
    return images.clamp_(0, 1)


def _half_gaussian(sigma: float, reach: int) -> list[float]:
    """The weights at 0, 1, ..., ``reach`` of a symmetric kernel with sum 1."""
    values = [math.exp(-(tap / sigma) * (tap / sigma) / 2) for tap in range(reach + 1)]
    total = values[0] + 2 * math.fsum(values[1:])
    return [value / total for value in values]
