"""The ranges of views (`Recipe`) and the parameters of a view, which are drawn from them.

    view_parameters(seed, id, view, recipe)     the same numbers in any order, on any machine

View 0 is the plain view, without any change. Parameters are computed from draws only with +, -, *, / and the square
root, because IEEE 754 defines their rounding, unlike that of exp and log.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from manifold_probe.errors import InputError
from manifold_probe.extraction.draw import uniform

GRID = 32  # steps of a shift on a view's side: a pixel of CIFAR's pictures
MAX_BLUR = 1 / 60  # sigma as share of the view's side: the kernel of `views` covers three sigma of it
FULL_CROP = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Recipe:
    """Ranges from which views are drawn; the defaults change nothing.

    ``scale`` is the share of the image's area in a crop, and ``ratio`` its aspect ratio (width / height) relative to
    that of the image (the low end at most 1, the high end at least 1). ``mirror``, ``jitter``, ``blur`` and ``grey``
    are probabilities. A jittered view has brightness, contrast and saturation multiplied by 1 +- their strength (0..1)
    and its hue rotated by +- ``hue`` (0..0.5 of a full turn). ``blur_sigma`` is a range in shares of the view's side.
    A view is moved each way by up to ``shift`` (0..32) 32nds of its side, in whole 32nds; what moves in is black.

    Raises InputError if a range is impossible.

    Examples
    --------
    >>> Recipe(mirror=0.5).record()["mirror"]
    0.5
    """

    scale: tuple[float, float] = (1.0, 1.0)
    ratio: tuple[float, float] = (1.0, 1.0)
    mirror: float = 0.0
    jitter: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    blur: float = 0.0
    blur_sigma: tuple[float, float] = (0.0, 0.0)
    grey: float = 0.0
    shift: int = 0

    def __post_init__(self) -> None:
        for name in ("mirror", "jitter", "brightness", "contrast", "saturation", "blur", "grey"):
            _within(name, getattr(self, name), 0, 1)
        _within("hue", self.hue, 0, 0.5)
        _within("shift", self.shift, 0, GRID)
        _ordered("scale", self.scale, 1e-4, 1)
        _ordered("blur_sigma", self.blur_sigma, 0, MAX_BLUR)
        _ordered("ratio", self.ratio, 0.01, 100)
        if not self.ratio[0] <= 1 <= self.ratio[1]:
            raise InputError(f"recipe: ratio is {self.ratio}; give a range that holds 1, such as (0.75, 1.33)")

    def record(self) -> dict[str, Any]:
        """The ranges as plain JSON values, for a manifest; without ``shift`` where nothing is moved."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return values if self.shift else {name: value for name, value in values.items() if name != "shift"}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Recipe:
        """The recipe of a `record`. Raises InputError for missing, unknown or impossible fields."""
        if wrong := sorted((set(record) | {"shift"}) ^ {field.name for field in fields(cls)}):
            raise InputError(f"recipe: {', '.join(wrong)} missing or unknown; was it written by another version?")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in record.items()
        }
        return cls(**values)


def _within(name: str, value: Any, low: float, high: float) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:  # NaN is not within the range
        raise InputError(f"recipe: {name} is {value!r}; give a number from {low:g} to {high:.4g}")


def _ordered(name: str, values: Any, low: float, high: float) -> None:
    if not isinstance(values, tuple) or len(values) != 2:
        raise InputError(f"recipe: {name} is {values!r}; give a pair (low, high)")
    for value in values:
        _within(name, value, low, high)
    if values[0] > values[1]:
        raise InputError(f"recipe: {name} is {values}; put the lower end first")


RECIPES = {
    "plain": Recipe(),
    # MoCo v2 (Chen, Fan, Girshick & He, arXiv:2003.04297; the aug_plus branch of its published training script), which
    # SEED, CompRess and SimReg also use. Its blur of 0.1 to 2 pixels is for a view of 224 pixels.
    "crop-mirror-jitter": Recipe(
        scale=(0.2, 1.0),
        ratio=(3 / 4, 4 / 3),
        mirror=0.5,
        jitter=0.8,
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.1,
        blur=0.5,
        blur_sigma=(0.1 / 224, 2 / 224),
        grey=0.2,
    ),
    # The defaults of timm's training transform (Wightman 2019), without its automatic augmentation.
    "crop-mirror-colour": Recipe(
        scale=(0.08, 1.0),
        ratio=(3 / 4, 4 / 3),
        mirror=0.5,
        jitter=1.0,
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
    ),
    # CIFAR: 4 of 32 pixels of padding, a crop of 32, a mirror.
    "shift-mirror": Recipe(mirror=0.5, shift=4),
}


def named_recipe(name: str) -> Recipe:
    """The recipe called ``name``, one of `RECIPES`. Raises InputError for another name."""
    if name not in RECIPES:
        raise InputError(f"recipe: no recipe is called {name!r}; choose one of {', '.join(RECIPES)}")
    return RECIPES[name]


@dataclass(frozen=True)
class ViewParameters:
    """The changes of a view, in this order: crop, shift, mirror, jitter, grey, blur; the defaults change nothing.

    ``crop`` is (left, top, width, height) as fractions of the image, ``hue`` a fraction of a full turn, ``blur`` the
    sigma as a fraction of the view's side, ``shift`` whole 32nds of that side to the right and down. The others are
    factors and switches.
    """

    crop: tuple[float, float, float, float] = FULL_CROP
    mirror: bool = False
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    grey: bool = False
    blur: float = 0.0
    shift: tuple[int, int] = (0, 0)


def view_parameters(seed: int, id: str, view: int, recipe: Recipe) -> ViewParameters:
    """The parameters of one view of one sample, a pure function of its arguments.

    View 0 changes nothing in any recipe. The crop's area is uniform in ``scale``, as in Szegedy et al. (2015). Its
    ratio is drawn so that the crop always fits into the image, without rejection. The median ratio is 1, and wide and
    tall crops are equally likely for a range such as (3/4, 4/3): close to the usual log-uniform draw, without a
    logarithm.

    Raises InputError if the view is negative.

    Examples
    --------
    >>> view_parameters(0, "cats/1.png", 0, named_recipe("crop-mirror-jitter")) == ViewParameters()
    True
    >>> view_parameters(0, "cats/1.png", 1, Recipe(mirror=0.5)).mirror
    True
    """
    if view < 0:
        raise InputError(f"view is {view}; views are numbered from 0, the plain one")
    if view == 0:
        return ViewParameters()

    def draw(name: str) -> float:
        return uniform(seed, id, view, name)

    def between(name: str, low: float, high: float) -> float:
        return low + (high - low) * draw(name)

    def steps(name: str) -> int:
        return math.floor((2 * recipe.shift + 1) * draw(name)) - recipe.shift if recipe.shift else 0

    jitters = draw("jitter") < recipe.jitter

    def factor(name: str, strength: float) -> float:
        return between(name, 1 - strength, 1 + strength) if jitters else 1.0

    return ViewParameters(
        crop=_crop(between("area", *recipe.scale), draw("ratio"), draw("left"), draw("top"), recipe.ratio),
        mirror=draw("mirror") < recipe.mirror,
        brightness=factor("brightness", recipe.brightness),
        contrast=factor("contrast", recipe.contrast),
        saturation=factor("saturation", recipe.saturation),
        hue=between("hue", -recipe.hue, recipe.hue) if jitters else 0.0,
        grey=draw("grey") < recipe.grey,
        blur=between("blur_sigma", *recipe.blur_sigma) if draw("blur") < recipe.blur else 0.0,
        shift=(steps("right"), steps("down")),
    )


def _crop(
    area: float, shape: float, left: float, top: float, limits: tuple[float, float]
) -> tuple[float, float, float, float]:
    """The box (left, top, width, height) from its area and three draws."""
    tall, wide = max(limits[0], area), min(limits[1], 1 / area)  # within these a side fits into the image
    signed = 2 * shape - 1
    ratio = 1 + signed * (wide - 1) if signed >= 0 else 1 / (1 - signed * (1 / tall - 1))
    width, height = min(1.0, math.sqrt(area * ratio)), min(1.0, math.sqrt(area / ratio))
    return left * (1 - width), top * (1 - height), width, height
