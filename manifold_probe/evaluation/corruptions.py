"""Corrupted images: ten kinds at five severities, a pure function of pixels, seed, id, corruption and severity.

Student and teacher therefore see the same corrupted image, in any order and any batch. The kinds are those of
ImageNet-C and CIFAR-10-C (Hendrycks & Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions
and Perturbations") that need no picture files. The parameters, in the table below, differ from theirs: compare models
with each other, not with published figures. Lengths are shares of the image's shorter side, so that images of 32 and of
224 pixels are blurred equally. Noise and JPEG act on single pixels, and affect small images more. Pixels are in 0..1
between steps, and 8 bits at the end.
"""

from __future__ import annotations

import hashlib
import io
import math
from typing import Any

import numpy as np

from manifold_probe.errors import InputError, to_install

SEVERITIES = (1, 2, 3, 4, 5)
CORRUPTIONS: dict[str, tuple[str, tuple[float, ...]]] = {
    "gaussian_noise": ("standard deviation", (0.04, 0.08, 0.12, 0.18, 0.26)),
    "shot_noise": ("photons at full white (Poisson)", (100, 50, 25, 12, 6)),
    "impulse_noise": ("share of values set to black or white", (0.02, 0.05, 0.09, 0.15, 0.25)),
    "defocus_blur": ("radius of the disc / side", (0.01, 0.018, 0.027, 0.036, 0.045)),
    "motion_blur": ("half length of the line / side, at a random angle", (0.02, 0.035, 0.05, 0.07, 0.09)),
    "brightness": ("added", (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": ("factor about the mean grey", (0.5, 0.4, 0.3, 0.2, 0.1)),
    "elastic": (
        "displacement / side (standard deviation), smooth over 0.04",
        (0.005, 0.01, 0.015, 0.02, 0.03),
    ),
    "pixelate": ("side / old side, back by nearest pixel", (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg": ("quality of the JPEG", (25, 18, 12, 8, 5)),
}
ELASTIC_SMOOTHING = 0.04  # share of the side


def corrupt(image: Any, corruption: str, severity: int, seed: int, id: str) -> Any:
    """The corrupted image, a PIL image in RGB of the same size.

    Parameters
    ----------
    image : PIL.Image.Image
    corruption : str
        A key of `CORRUPTIONS`.
    severity : int, 1 to 5
    seed : int
    id : str
        The image's id.

    Raises
    ------
    InputError
        For an unknown corruption or severity, or if kornia is missing.

    Examples
    --------
    >>> from PIL import Image
    >>> grey = Image.new("RGB", (8, 8), (128, 128, 128))
    >>> corrupt(grey, "brightness", 2, 0, "a.png").getpixel((0, 0))
    (179, 179, 179)
    >>> corrupt(grey, "shot_noise", 1, 0, "a.png") == corrupt(grey, "shot_noise", 1, 0, "a.png")
    True
    """
    if corruption not in CORRUPTIONS:
        raise InputError(f"corruption {corruption!r} is not known; choose one of {', '.join(CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise InputError(f"severity {severity!r} is not known; give 1 to 5")
    image = image.convert("RGB")
    amount = CORRUPTIONS[corruption][1][severity - 1]
    if corruption == "jpeg":
        return _jpeg(image, int(amount))
    if corruption == "pixelate":
        return _pixelated(image, amount)
    pixels = np.asarray(image, dtype=np.float64) / 255
    draw = _Draw(seed, id, corruption, severity)
    return _image(_CHANGES[corruption](pixels, amount, draw))


class _Draw:
    """Uniform numbers in (0, 1) that depend only on the arguments: a Philox counter, keyed by their hash.

    Normal and Poisson numbers come from their quantile functions, because numpy's streams change between versions.
    """

    def __init__(self, seed: int, id: str, corruption: str, severity: int) -> None:
        text = f"manifold-probe/corruption/1\n{seed}\n{corruption}\n{severity}\n{id}"
        key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]
        self.bits = np.random.Philox(key=int.from_bytes(key, "little"))

    def __call__(self, *shape: int) -> np.ndarray:
        raw = self.bits.random_raw(math.prod(shape)).reshape(shape)
        return ((raw >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53


def _gaussian_noise(pixels: np.ndarray, deviation: float, draw: _Draw) -> np.ndarray:
    from scipy.special import ndtri

    return pixels + deviation * ndtri(draw(*pixels.shape))


def _shot_noise(pixels: np.ndarray, photons: float, draw: _Draw) -> np.ndarray:
    from scipy.stats import poisson

    levels, level = np.unique(pixels, return_inverse=True)  # at most 256
    counts = int(photons + 10 * math.sqrt(photons) + 20)
    cdf = poisson.cdf(np.arange(counts), levels[:, None] * photons)
    # The quantile of u is the number of counts whose cdf is below u; cdf + number of the level ascends over all levels.
    steps = (cdf.clip(0, 1 - 1e-12) + np.arange(len(levels))[:, None]).ravel()
    level = level.reshape(pixels.shape)
    return (np.searchsorted(steps, draw(*pixels.shape) + level) - level * counts) / photons


def _impulse_noise(pixels: np.ndarray, share: float, draw: _Draw) -> np.ndarray:
    uniform = draw(*pixels.shape)
    return np.where(uniform < share, (uniform < share / 2).astype(np.float64), pixels)


def _defocus_blur(pixels: np.ndarray, radius: float, draw: _Draw) -> np.ndarray:
    return _blurred(pixels, radius * _side(pixels), lambda x, y, reach: np.hypot(x, y) - reach)


def _motion_blur(pixels: np.ndarray, half: float, draw: _Draw) -> np.ndarray:
    angle = math.pi * float(draw(1)[0])
    dx, dy = math.cos(angle), math.sin(angle)

    def from_line(x: np.ndarray, y: np.ndarray, reach: float) -> np.ndarray:
        foot = (x * dx + y * dy).clip(-reach, reach)
        return np.hypot(x - foot * dx, y - foot * dy)

    return _blurred(pixels, half * _side(pixels), from_line)


def _blurred(pixels: np.ndarray, reach: float, distance: Any) -> np.ndarray:
    """Filtered by a kernel of this reach with a soft edge of one pixel, so that in small images there is no blur."""
    import torch

    radius = math.ceil(reach)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float64)
    kernel = (1 - distance(x, y, reach).clip(0, 1))[None]
    filtered = _kornia().filters.filter2d(_tensor(pixels), torch.from_numpy(kernel / kernel.sum()).float(), "replicate")
    return _array(filtered)


def _brightness(pixels: np.ndarray, added: float, draw: _Draw) -> np.ndarray:
    return _array(_kornia().enhance.adjust_brightness(_tensor(pixels), added))


def _contrast(pixels: np.ndarray, factor: float, draw: _Draw) -> np.ndarray:
    return _array(_kornia().enhance.adjust_contrast_with_mean_subtraction(_tensor(pixels), factor))


def _elastic(pixels: np.ndarray, deviation: float, draw: _Draw) -> np.ndarray:
    from scipy.special import ndtri

    height, width = pixels.shape[:2]
    reach = ELASTIC_SMOOTHING * _side(pixels)
    noise = ndtri(draw(1, 2, height, width))
    # Smoothing white noise over sigma pixels leaves a deviation of 1 / (2 sqrt(pi) sigma), for sigma of 1 or more;
    # displacements are in units of half the width and height.
    gain = 2 * math.sqrt(math.pi) * max(reach, 0.5) * deviation * _side(pixels) * 2
    moved = _kornia().geometry.transform.elastic_transform2d(
        _tensor(pixels),
        _tensor(noise[0].transpose(1, 2, 0)),
        kernel_size=(2 * math.ceil(3 * reach) + 1,) * 2,
        sigma=(max(reach, 0.5),) * 2,
        alpha=(gain / width, gain / height),
        padding_mode="border",
    )
    return _array(moved)


def _pixelated(image: Any, share: float) -> Any:
    from PIL import Image

    small = tuple(max(1, round(share * side)) for side in image.size)
    return image.resize(small, Image.Resampling.BOX).resize(image.size, Image.Resampling.NEAREST)


def _jpeg(image: Any, quality: int) -> Any:
    from PIL import Image

    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


_CHANGES = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "defocus_blur": _defocus_blur,
    "motion_blur": _motion_blur,
    "brightness": _brightness,
    "contrast": _contrast,
    "elastic": _elastic,
}


def _side(pixels: np.ndarray) -> int:
    return min(pixels.shape[:2])


def _tensor(pixels: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32))


def _array(tensor: Any) -> np.ndarray:
    return tensor[0].numpy().transpose(1, 2, 0)


def _image(pixels: np.ndarray) -> Any:
    from PIL import Image

    return Image.fromarray(np.rint(pixels.clip(0, 1) * 255).astype(np.uint8))


def _kornia() -> Any:
    try:
        import kornia.enhance
        import kornia.filters
        import kornia.geometry.transform
    except ImportError as error:
        raise InputError(f"corruptions need kornia; {to_install('vision')}") from error
    return kornia
