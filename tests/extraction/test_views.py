"""Views: the generator's known answers, its uniformity, and pixels that depend on nothing but seed, id and view."""

from __future__ import annotations

import builtins
import hashlib
import json
import math
import subprocess
import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from manifold_probe.errors import InputError
from manifold_probe.extraction.draw import uniform
from manifold_probe.extraction.recipe import RECIPES
from manifold_probe.extraction.views import Recipe, ViewParameters, apply_views, named_recipe, view_parameters

STRONG = named_recipe("crop-mirror-jitter")
SIZE = 48
IDS = [f"cats/{n}.png" for n in range(12)]
fields = st.tuples(st.integers(), st.text(st.characters()), st.integers(0, 2**40), st.text("abc_", max_size=9))


def noise(n: int, height: int = SIZE, width: int = SIZE) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(5))


def parameters(ids: list[str], view: int = 1, recipe: Recipe = STRONG) -> list[ViewParameters]:
    return [view_parameters(3, id, view, recipe) for id in ids]


def ramp(height: int, width: int) -> torch.Tensor:
    """An image whose red is its column's place and whose green is its row's place, in 0..1."""
    columns = ((torch.arange(width) + 0.5) / width).expand(height, width)
    rows = ((torch.arange(height) + 0.5) / height)[:, None].expand(height, width)
    return torch.stack([columns, rows, torch.zeros(height, width)])[None]


# Known answers: SHA-256 of the text in `draw`'s docstring, taken with coreutils' sha256sum.
@pytest.mark.parametrize(
    ("seed", "id", "view", "name", "digest"),
    [
        (0, "cats/1.png", 1, "mirror", 0x79EC2EA6AAD819D9),
        (7, "zürich\nb", 3, "left", 0x56B37DF5DF4442E4),
        (-1, "", 0, "", 0x57E40E8E0189B2DC),
    ],
)
def test_known_answers(seed: int, id: str, view: int, name: str, digest: int) -> None:
    assert uniform(seed, id, view, name) == (digest >> 11) / 2**53


def test_known_parameters() -> None:
    assert view_parameters(0, "cats/1.png", 1, STRONG) == ViewParameters(
        crop=(0.27584019833534845, 0.18734109173118843, 0.549231406842826, 0.6631913024094933),
        mirror=True,
        brightness=0.9414845712253865,
        contrast=0.9982523830165291,
        saturation=1.2577715691976676,
        hue=-0.08986976755017705,
        grey=False,
        blur=0.0,
    )


@given(fields, fields)
def test_draws_lie_in_the_unit_interval_and_differ(one: Any, other: Any) -> None:
    assert 0 <= uniform(*one) < 1
    assert (uniform(*one) == uniform(*other)) == (one == other)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["mirror", "left", "area"]))
def test_draws_are_uniform_and_uncorrelated(seed: int, name: str) -> None:
    draws = np.array([[uniform(seed, str(id), view, name) for view in (1, 2)] for id in range(1000)])
    counts = np.histogram(draws, bins=16, range=(0, 1))[0]
    assert ((counts - 125) ** 2 / 125).sum() < 60  # chi-square with 15 degrees: beyond this 2 in 10 million
    assert abs(np.corrcoef(draws.T)[0, 1]) < 0.18  # 5.7 standard errors


@given(st.integers(0, 2**31), st.text(max_size=9), st.integers(1, 99), st.floats(1e-4, 1), st.floats(1, 9))
def test_crops_lie_in_the_image_and_keep_their_area(seed: int, id: str, view: int, least: float, wide: float) -> None:
    recipe = Recipe(scale=(least, 1), ratio=(1 / wide, wide))
    left, top, width, height = view_parameters(seed, id, view, recipe).crop
    assert left >= 0
    assert top >= 0
    assert left + width <= 1 + 1e-12
    assert top + height <= 1 + 1e-12
    assert least - 1e-9 <= width * height
    assert 1 / wide - 1e-9 <= width / height <= wide + 1e-9


def test_parameters_follow_the_recipe() -> None:
    views = [view_parameters(0, str(id), 1, STRONG) for id in range(2000)]
    shares = {
        "mirror": (sum(view.mirror for view in views), 0.5),
        "grey": (sum(view.grey for view in views), 0.2),
        "blur": (sum(view.blur > 0 for view in views), 0.5),
        "jitter": (sum(view.brightness != 1 for view in views), 0.8),
        "tall": (sum(view.crop[2] < view.crop[3] for view in views), 0.5),
    }
    for name, (count, chance) in shares.items():
        assert abs(count - 2000 * chance) < 4.5 * math.sqrt(2000 * chance * (1 - chance)), name
    assert all(0.6 <= view.contrast <= 1.4 and -0.1 <= view.hue <= 0.1 for view in views)
    assert len({view.brightness - view.contrast for view in views}) > 1500  # drawn apart
    areas = [view.crop[2] * view.crop[3] for view in views]
    assert abs(np.mean(areas) - 0.6) < 0.03


def test_view_0_and_the_plain_recipe_change_nothing() -> None:
    x = noise(2)
    assert view_parameters(0, "a", 0, STRONG) == ViewParameters()
    assert view_parameters(0, "a", 7, named_recipe("plain")) == ViewParameters()
    assert torch.equal(apply_views(x, [ViewParameters()] * 2, SIZE), x)


def test_a_view_is_the_same_alone_in_a_batch_and_in_another_order() -> None:
    for shape in ((SIZE, SIZE), (50, 131)):
        x = noise(len(IDS), *shape)
        views = parameters(IDS)
        assert Counter(view.mirror for view in views)[True] in range(2, 11)
        together = apply_views(x, views, SIZE)
        order = torch.randperm(len(IDS), generator=torch.Generator().manual_seed(1))
        shuffled = apply_views(x[order], [views[row] for row in order], SIZE)
        assert torch.equal(shuffled, together[order])
        for row in range(len(IDS)):
            assert torch.equal(apply_views(x[row : row + 1], views[row : row + 1], SIZE)[0], together[row])
        assert torch.equal(apply_views(x.contiguous(memory_format=torch.channels_last), views, SIZE), together)


def test_a_view_is_the_same_with_any_number_of_threads() -> None:
    side = 192  # more pixels than torch sums in one thread
    x, before = noise(2, side, side), torch.get_num_threads()
    views = [ViewParameters(crop=(0.1, 0.2, 0.7, 0.6), contrast=0.8, saturation=1.1, blur=0.01)] * 2
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(apply_views(x, views, side))
            found.append(torch.cat([apply_views(x[row : row + 1], [views[row]], side) for row in range(2)]))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0], other) for other in found[1:])


SCRIPT = f"""
import hashlib, torch
from manifold_probe.extraction.views import apply_views, named_recipe, view_parameters
image = torch.rand({len(IDS)}, 3, {SIZE}, {SIZE}, generator=torch.Generator().manual_seed(5))[7:8]
parameters = view_parameters(3, "{IDS[7]}", 4, named_recipe("crop-mirror-jitter"))
print(hashlib.sha256(apply_views(image, [parameters], {SIZE}).numpy().tobytes()).hexdigest())
"""


def test_a_view_recomputed_at_random_access_in_another_process_is_the_same() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    together = apply_views(noise(len(IDS)), parameters(IDS, view=4), SIZE)
    assert done.stdout.strip() == hashlib.sha256(together[7].numpy().tobytes()).hexdigest()


def test_mirrored_and_unmirrored_differ() -> None:
    x = noise(1)
    mirrored = apply_views(x, [ViewParameters(mirror=True)], SIZE)
    assert torch.equal(mirrored, x.flip(3))
    assert not torch.equal(mirrored, apply_views(x, [ViewParameters()], SIZE))
    recipe = Recipe(mirror=0.5)
    views = [apply_views(x, [view_parameters(3, "a", view, recipe)], SIZE) for view in range(1, 20)]
    assert len({view.numpy().tobytes() for view in views}) == 2


@pytest.mark.parametrize("shape", [(48, 48), (97, 131), (480, 320), (20, 31)])
def test_crops_show_the_right_place(shape: tuple[int, int]) -> None:
    crop = (0.25, 0.1, 0.5, 0.6)
    view = apply_views(ramp(*shape), [ViewParameters(crop=crop)], SIZE)[0]
    centres = (torch.arange(SIZE) + 0.5) / SIZE
    assert torch.allclose(view[0], (0.25 + 0.5 * centres).expand(SIZE, SIZE), atol=1e-5)
    assert torch.allclose(view[1], (0.1 + 0.6 * centres)[:, None].expand(SIZE, SIZE), atol=1e-5)


def test_a_shift_moves_whole_pixels_and_leaves_black() -> None:
    recipe = named_recipe("shift-mirror")
    drawn = {view_parameters(0, str(row), 1, recipe).shift for row in range(2000)}
    assert drawn == {(right, down) for right in range(-4, 5) for down in range(-4, 5)}
    pixels = torch.arange(1.0, 1 + 3 * 32 * 32).reshape(1, 3, 32, 32) / 4000
    for right, down in ((3, -2), (-4, 4), (0, 1)):
        moved = apply_views(pixels, [ViewParameters(shift=(right, down))], 32)[0]
        expected = np.zeros((3, 32, 32), np.float32)
        for row in range(32):
            for column in range(32):
                if 0 <= row - down < 32 and 0 <= column - right < 32:
                    expected[:, row, column] = pixels[0, :, row - down, column - right]
        assert np.array_equal(moved.numpy(), expected)


def test_large_images_do_not_alias() -> None:
    lines = (torch.arange(512) % 2).float().expand(1, 3, 512, 512)
    assert (apply_views(lines, [ViewParameters()], 64) - 0.5).abs().max() < 1e-6


def test_jitter_grey_and_blur_against_kornia() -> None:
    from kornia.color import rgb_to_grayscale
    from kornia.enhance import adjust_contrast_with_mean_subtraction
    from kornia.filters import gaussian_blur2d

    x = noise(2, 100, 100)
    contrast = apply_views(x, [ViewParameters(contrast=0.7), ViewParameters(contrast=1.3)], 100)
    assert torch.allclose(contrast, adjust_contrast_with_mean_subtraction(x, torch.tensor([0.7, 1.3])), atol=1e-6)
    blurred = apply_views(x, [ViewParameters(blur=0.01), ViewParameters(blur=0.004)], 100)
    sigma = torch.tensor([[1.0, 1.0], [0.4, 0.4]])
    assert torch.allclose(blurred, gaussian_blur2d(x, 11, sigma), atol=1e-5)
    grey = apply_views(x, [ViewParameters(grey=True)] * 2, 100)
    assert torch.equal(grey, rgb_to_grayscale(x).expand(-1, 3, -1, -1))
    bright = apply_views(x, [ViewParameters(brightness=1.4)] * 2, 100)
    assert torch.allclose(bright, (x * 1.4).clamp(0, 1))
    red = torch.tensor([1.0, 0.0, 0.0])[None, :, None, None].expand(1, 3, 8, 8)
    turned = apply_views(red, [ViewParameters(hue=1 / 3)], 8)
    assert torch.allclose(turned[0, :, 0, 0], torch.tensor([0.0, 1.0, 0.0]), atol=1e-5)
    pale = apply_views(red, [ViewParameters(saturation=0.5)], 8)
    assert torch.allclose(pale[0, :, 0, 0], torch.tensor([0.6495, 0.1495, 0.1495]), atol=1e-3)


def test_views_stay_in_range_and_float32() -> None:
    views = parameters(IDS)
    for dtype in (torch.float32, torch.float64, torch.float16):
        seen = apply_views(noise(len(IDS)).to(dtype), views, 33)
        assert (seen.dtype, tuple(seen.shape)) == (torch.float32, (len(IDS), 3, 33, 33))
        assert seen.min() >= 0
        assert seen.max() <= 1
    assert apply_views(torch.zeros(0, 3, 9, 9), [], 5).shape == (0, 3, 5, 5)


def test_the_images_are_left_alone() -> None:
    x = noise(len(IDS))
    before = x.clone()
    apply_views(x, parameters(IDS), SIZE)
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_survive_their_records(name: str) -> None:
    recipe = named_recipe(name)
    assert Recipe.from_record(json.loads(json.dumps(recipe.record()))) == recipe


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mirror": 1.5}, "mirror is 1.5; give a number from 0 to 1"),
        ({"mirror": math.nan}, "mirror is nan"),
        ({"mirror": "often"}, "mirror is 'often'"),
        ({"shift": 33}, "shift is 33; give a number from 0 to 32"),
        ({"hue": 0.6}, "hue is 0.6; give a number from 0 to 0.5"),
        ({"scale": (0.0, 1.0)}, "scale is 0.0"),
        ({"scale": (0.9, 0.2)}, "put the lower end first"),
        ({"scale": 0.5}, "give a pair"),
        ({"ratio": (1.2, 1.5)}, "give a range that holds 1"),
        ({"blur_sigma": (0.0, 2.0)}, "blur_sigma is 2.0; give a number from 0 to 0.01667"),
    ],
)
def test_impossible_recipes(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        Recipe(**options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    x = noise(2)
    for call, words in (
        (lambda: named_recipe("wild"), "choose one of plain, crop-mirror-jitter, crop-mirror-colour, shift-mirror"),
        (lambda: Recipe.from_record({"scale": [1, 1]}), "missing or unknown"),
        (lambda: view_parameters(0, "a", -1, STRONG), "view is -1"),
        (lambda: apply_views(x, [ViewParameters()], SIZE), "images: 2 for 1 view parameters"),
        (lambda: apply_views((x * 255).byte(), [ViewParameters()] * 2, SIZE), "torch.uint8 (2, 3, 48, 48)"),
        (lambda: apply_views(x[:, :1], [ViewParameters()] * 2, SIZE), "(2, 1, 48, 48)"),
        (lambda: apply_views(x, [ViewParameters()] * 2, 0), "size: 0"),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert words in str(caught.value)
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("kornia"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'kornia>=0.8'"):
        apply_views(x, [ViewParameters()] * 2, SIZE)
