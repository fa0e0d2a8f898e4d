"""Preprocessing of an image or a text to a model's input, the same on every machine, with a record for comparison.

Images: Pillow resizes 8-bit pixels in integer arithmetic, then x / 255, then (x - mean) / std in float32. Preprocessing
is never guessed: a model without one needs ``--size --mean --std``.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from manifold_probe.errors import InputError

INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
MODES = {1: "L", 3: "RGB"}
MARGINS: dict[str, Callable[[float], int]] = {"down": math.floor, "even": round}


@dataclass(frozen=True)
class ImagePreprocessing:
    """An image as a float32 tensor (channels, size, size).

    The image is resized to size x size without keeping its aspect ratio; or, with ``shorter``, its shorter side is
    resized to ``shorter`` and the centre cropped, where ``margin`` is the rounding of half a pixel at its side: "down",
    as in transformers, or "even", as in torchvision and timm. ``mean`` and ``std``: one number, or one per channel, of
    pixels in 0..1. Transparency is dropped and EXIF orientation is not applied, as in the training of the models.

    >>> ImagePreprocessing(2, mean=0.5, std=0.5)(np.full((4, 3), 255, np.uint8)).shape
    torch.Size([3, 2, 2])
    """

    size: int
    mean: float | Sequence[float]
    std: float | Sequence[float]
    interpolation: str = "bilinear"
    shorter: int | None = None
    channels: int = 3
    margin: str = "down"

    def __post_init__(self) -> None:
        _check_pixels("size", self.size, 1)
        if self.channels not in MODES:
            raise InputError(f"channels: {self.channels!r} is not 1 (grey) or 3 (colour); give one of them")
        if self.shorter is not None:
            _check_pixels("shorter", self.shorter, self.size)
        if self.interpolation not in INTERPOLATIONS:
            raise InputError(
                f"interpolation: {self.interpolation!r} is not known; choose one of {', '.join(INTERPOLATIONS)}"
            )
        if self.margin not in MARGINS:
            raise InputError(f"margin: {self.margin!r} is not known; choose one of {', '.join(MARGINS)}")
        for name in ("mean", "std"):  # a tuple with one number per channel, so that equal settings have equal records
            object.__setattr__(self, name, _per_channel(name, getattr(self, name), self.channels))

    def __call__(self, image: Any) -> torch.Tensor:
        """(channels, size, size) float32 from a PIL image or a uint8 array (H, W), (H, W, 1), (H, W, 3), (H, W, 4)."""
        return self.normalise(self.pixels(image) / 255)

    def pixels(self, image: Any) -> torch.Tensor:
        """(channels, size, size) uint8, before normalisation."""
        pixels = np.asarray(self._resized(_as_image(image, MODES[self.channels])))
        shaped = pixels.reshape(self.size, self.size, self.channels).transpose(2, 0, 1)
        return torch.from_numpy(np.array(shaped, order="C"))

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """(x - mean) / std of pixels (..., channels, H, W) in 0..1."""
        mean, std = (
            torch.tensor(values, dtype=torch.float32, device=pixels.device)[:, None, None]
            for values in (self.mean, self.std)
        )
        return (pixels - mean) / std

    def collate(self, images: list[torch.Tensor]) -> torch.Tensor:
        """(B, channels, size, size) from B prepared images."""
        return torch.stack(images)

    def record(self) -> dict[str, Any]:
        """Plain values for a manifest, for `from_record`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"kind": "images"} | {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> ImagePreprocessing:
        """The preprocessing of a `record`.

        Raises
        ------
        InputError
            A field missing, unknown or out of range.
        """
        values = {name: value for name, value in record.items() if name != "kind"}
        known = {field.name for field in fields(cls)}
        for name in ("size", "mean", "std"):
            if name not in values:
                raise InputError(f"preprocessing: {name} is missing; it needs size, mean and std")
        if record.get("kind", "images") != "images" or not values.keys() <= known:
            unknown = sorted(str(name) for name in values.keys() - known) or [f"kind {record.get('kind')!r}"]
            raise InputError(f"preprocessing: {', '.join(unknown)} is not known; give {', '.join(sorted(known))}")
        return cls(**values)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the record."""
        return record_fingerprint(self.record())

    def _resized(self, image: Any) -> Any:
        from PIL import Image

        resampling = Image.Resampling[self.interpolation.upper()]
        if self.shorter is None:
            return image.resize((self.size, self.size), resampling)
        width, height = image.size
        shorter = min(width, height)
        width, height = self.shorter * width // shorter, self.shorter * height // shorter
        left, top = (MARGINS[self.margin]((side - self.size) / 2) for side in (width, height))
        return image.resize((width, height), resampling).crop((left, top, left + self.size, top + self.size))


@dataclass(frozen=True)
class TextPreprocessing:
    """A tokenizer that turns texts into a batch of tensors; ``facts`` are plain values that identify it.

    ``has_first_token``: whether it has a token (CLS, or a start token) that starts every text.
    """

    tokenize: Callable[[list[str]], Mapping[str, Any]]
    facts: dict[str, Any]
    has_first_token: bool = True

    def collate(self, texts: list[str]) -> dict[str, torch.Tensor]:
        """A dict of tensors, padded to the longest text: input_ids (B, N), attention_mask (B, N), ..."""
        batch = self.tokenize(texts)
        return {name: value for name, value in batch.items() if isinstance(value, torch.Tensor)}

    def record(self) -> dict[str, Any]:
        """Plain values for a manifest."""
        return {"kind": "texts", **self.facts}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the record, which contains the hash of the vocabulary."""
        return record_fingerprint(self.record())


def record_fingerprint(record: Mapping[str, Any]) -> str:
    """SHA-256 of a record, independent of the order of its keys.

    >>> record_fingerprint({"a": 1, "b": 2}) == record_fingerprint({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(record, sort_keys=True, allow_nan=False).encode()).hexdigest()


def image_preprocessing(
    size: str | int | None, mean: str | float | None, std: str | float | None, channels: int = 3
) -> ImagePreprocessing:
    """The preprocessing for ``--size 32 --mean 0.5 --std 0.229,0.224,0.225``, for 3 channels or 1 (grey).

    Raises
    ------
    InputError
        One of them missing, not a number, out of range, or neither one number nor one per channel.
    """
    for name, value in (("size", size), ("mean", mean), ("std", std)):
        if value is None:
            raise InputError(f"--{name}: missing; give all three, such as --size 224 --mean 0.5 --std 0.5")
    try:
        pixels = int(str(size))
    except ValueError as error:
        raise InputError(f"--size: {size!r} is not a whole number of pixels; write --size 224") from error
    numbers = {name: _numbers(name, str(value)) for name, value in (("mean", mean), ("std", std))}
    try:
        return ImagePreprocessing(pixels, numbers["mean"], numbers["std"], channels=channels)
    except InputError as error:
        raise InputError(f"--{error}") from error


def _numbers(name: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        fix = f"write --{name} 0.5 or --{name} 0.485,0.456,0.406"
        raise InputError(f"--{name}: {text!r} is not one number or one per channel; {fix}") from error


def _check_pixels(name: str, value: Any, low: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= 2**14:
        raise InputError(f"{name}: {value!r} is not a number of pixels from {low} to {2**14}; give 224, for example")


def _per_channel(name: str, value: Any, channels: int) -> tuple[float, ...]:
    try:
        numbers = tuple(float(number) for number in (value if isinstance(value, Sequence) else (value,)))
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: {value!r} is not a number; give one number or one per channel") from error
    if len(numbers) not in (1, channels):
        raise InputError(f"{name}: {len(numbers)} numbers for {channels} channels; give one number or one per channel")
    for number in numbers:
        if not math.isfinite(number) or (name == "std" and number <= 0):
            wanted = "a number above 0" if name == "std" else "a finite number"
            raise InputError(f"{name}: {number} is not {wanted}; give it for pixels scaled to 0..1")
    return numbers * (channels // len(numbers))


def _as_image(image: Any, mode: str) -> Any:
    """A PIL image of the mode, from a PIL image or a uint8 array."""
    from PIL import Image

    if not isinstance(image, Image.Image):
        image = Image.fromarray(_pixels(np.asarray(image)))
    if image.mode.startswith("I;16"):  # Pillow would clip 16-bit grey at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise InputError(f"image of mode {image.mode}: its scale is unknown; save it with 8 or 16 bits per channel")
    return image if image.mode == mode else image.convert(mode)


def _pixels(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype != np.uint8:
        raise InputError(f"image of type {pixels.dtype}: give uint8 pixels, 0 to 255")
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)) or 0 in pixels.shape:
        raise InputError(f"image of shape {pixels.shape}: give (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)")
    return pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
