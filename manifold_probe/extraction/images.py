"""A PIL image in RGB from the bytes of an image file, or from a row of an array.

So that every run sees the same pixels: the EXIF orientation is applied; of animations and multi-page files the first
image is used; palettes are expanded; transparency is blended with white, so that hidden colours do not show; CMYK,
YCbCr and similar modes are converted as Pillow does, without colour profiles; 16-bit greys are scaled to 8 bits (65535
becomes 255). Greys of 32 bits and floats are refused, because their scale is unknown.
"""

from __future__ import annotations

import io
import os
import stat
import warnings

import numpy as np
from PIL import Image, ImageOps

from manifold_probe.extraction.items import Unreadable
from manifold_probe.spaces.checks import LFS_POINTER

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm")
FORMATS = (
    "PNG",
    "JPEG",
    "BMP",
    "GIF",
    "TIFF",
    "WEBP",
    "PPM",
)  # other formats of Pillow run programs, or are hardly tested
MAX_PIXELS = 89_478_485  # a quarter GiB of RGB, from which Pillow warns of decompression bombs
MAX_BYTES = 2**30

# `decode` refuses the images that Pillow warns about. `catch_warnings` is not safe in threads.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def read_bytes(path: str, id: str) -> bytes:
    """The bytes of a file. Raises Unreadable if it is missing, not regular, empty, too large or a git-lfs pointer."""
    try:
        # without O_NONBLOCK, opening a named pipe would block
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Unreadable(id, "is not a regular file")
            if status.st_size > MAX_BYTES:
                raise Unreadable(id, f"has {status.st_size:,} bytes, more than {MAX_BYTES:,}")
            raw = file.read()
    except FileNotFoundError as error:
        raise Unreadable(id, "no such file") from error
    except OSError as error:
        raise Unreadable(id, f"cannot be opened ({error.strerror or error})") from error
    if not raw:
        raise Unreadable(id, "is empty (0 bytes)")
    if raw.startswith(LFS_POINTER):
        raise Unreadable(id, "is a git-lfs pointer, not the image; run git lfs pull")
    return raw


def decode(raw: bytes, id: str) -> Image.Image:
    """The image in RGB, upright.

    Raises Unreadable if the bytes are not an image, or damaged, or state more than `MAX_PIXELS`, no pixels, or a mode
    of unknown scale.

    Examples
    --------
    >>> file = io.BytesIO()
    >>> Image.new("L", (3, 2), 128).save(file, "PNG")
    >>> decode(file.getvalue(), "grey.png").getpixel((0, 0))
    (128, 128, 128)
    """
    try:
        with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise Unreadable(id, f"claims {width:,} x {height:,} pixels, more than {MAX_PIXELS:,}; shrink it")
            if not width * height:
                raise Unreadable(id, f"has no pixels ({width} x {height})")
            image.load()
            return to_rgb(ImageOps.exif_transpose(image), image.format or "", id)
    except Unreadable:
        raise
    except Image.DecompressionBombError as error:
        raise Unreadable(id, f"claims more than {MAX_PIXELS:,} pixels; shrink it") from error
    except Image.UnidentifiedImageError as error:
        raise Unreadable(id, "is not an image of a supported format") from error
    except Exception as error:  # on broken bytes Pillow's readers raise all kinds, such as SyntaxError
        raise Unreadable(
            id, f"cannot be decoded; it may be damaged or cut short ({error or type(error).__name__})"
        ) from error


def to_rgb(image: Image.Image, format: str, id: str) -> Image.Image:
    """A decoded image of any mode in RGB. Raises Unreadable for modes of unknown scale."""
    is_16_bit = image.mode.startswith("I;16") or (image.mode == "I" and format in ("PNG", "PPM"))
    if is_16_bit:
        greys = np.asarray(image).astype(np.int64).clip(0, 65535)
        image = Image.fromarray(((greys + 128) // 257).astype(np.uint8))
    elif image.mode in ("I", "F"):
        kind = "floats" if image.mode == "F" else "32-bit integers"
        raise Unreadable(id, f"holds {kind}, whose scale is unknown; save it with 8 or 16 bits")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")


def from_array(row: np.ndarray) -> Image.Image:
    """A uint8 array (H, W) or (H, W, 3) as an image in RGB.

    Examples
    --------
    >>> from_array(np.zeros((2, 3), np.uint8)).size
    (3, 2)
    """
    return Image.fromarray(np.ascontiguousarray(row)).convert("RGB")
