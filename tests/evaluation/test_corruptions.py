"""Corruptions: pure functions of their names, worse with severity, at any size, and what the table says."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from sklearn.datasets import load_sample_image

from manifold_probe.errors import InputError
from manifold_probe.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt

PHOTO = Image.fromarray(load_sample_image("china.jpg")).crop((100, 60, 420, 380))
GREY = Image.new("RGB", (200, 200), (128, 128, 128))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.float64) / 255


@pytest.mark.parametrize("corruption", CORRUPTIONS)
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (32, 32), (28, 28), (96, 64)])
def test_every_size_keeps_its_size_and_repeats_itself(corruption: str, size: tuple[int, int]) -> None:
    image = PHOTO.resize(size)
    before = image.tobytes()
    for severity in SEVERITIES:
        first = corrupt(image, corruption, severity, 0, "a/1.png")
        assert first.size == size
        assert first.mode == "RGB"
        assert first.tobytes() == corrupt(image, corruption, severity, 0, "a/1.png").tobytes()
    assert image.tobytes() == before


@pytest.mark.parametrize("corruption", CORRUPTIONS)
@pytest.mark.parametrize("side", [32, 128])
def test_it_gets_worse(corruption: str, side: int) -> None:
    image = PHOTO.resize((side, side))
    ids = [str(place) for place in range(4)]  # a line of blur at one angle may hide along the picture's own lines
    damage = [
        np.mean([np.abs(pixels(corrupt(image, corruption, s, 0, id)) - pixels(image)).mean() for id in ids])
        for s in SEVERITIES
    ]
    assert damage[0] > 0.005
    assert damage == sorted(damage)


@pytest.mark.parametrize("corruption", ["gaussian_noise", "shot_noise", "impulse_noise", "motion_blur", "elastic"])
def test_chance_depends_on_each_name(corruption: str) -> None:
    image = PHOTO.resize((48, 48))
    seen = {
        corrupt(image, corruption, severity, seed, id).tobytes()
        for severity, seed, id in [(3, 0, "a"), (3, 1, "a"), (3, 0, "b"), (4, 0, "a")]
    }
    assert len(seen) == 4


def test_the_noises_are_what_the_table_says() -> None:
    noise = pixels(corrupt(GREY, "gaussian_noise", 2, 0, "a")) - 128 / 255
    assert noise.std() == pytest.approx(0.08, rel=0.02)
    assert abs(noise.mean()) < 0.002
    assert stats.kstest(noise.ravel()[:2000] + np.random.default_rng(0).uniform(-0.5, 0.5, 2000) / 255, "norm",
                        args=(0, 0.08)).pvalue > 0.01  # fmt: skip
    counts = pixels(corrupt(GREY, "shot_noise", 3, 0, "a")) * 25
    assert counts.mean() == pytest.approx(25 * 128 / 255, rel=0.01)
    assert counts.var() == pytest.approx(25 * 128 / 255, rel=0.05)
    hit = pixels(corrupt(GREY, "impulse_noise", 4, 0, "a"))
    assert (hit == 0).mean() == pytest.approx(0.075, rel=0.05)
    assert (hit == 1).mean() == pytest.approx(0.075, rel=0.05)


def test_shot_noise_is_the_poisson_quantile_of_loops() -> None:
    from manifold_probe.evaluation.corruptions import _Draw, _shot_noise

    image = np.random.default_rng(0).integers(0, 256, (6, 5, 3)) / 255
    draws = _Draw(0, "a", "shot_noise", 1)(6, 5, 3)
    expected = stats.poisson.ppf(draws, image * 12)
    np.testing.assert_array_equal(np.rint(_shot_noise(image, 12, _Draw(0, "a", "shot_noise", 1)) * 12), expected)


def test_the_plain_changes_by_hand() -> None:
    two = Image.fromarray(np.array([[[100] * 3, [200] * 3]], dtype=np.uint8))
    assert np.asarray(corrupt(two, "contrast", 1, 0, "a"))[0, :, 0].tolist() == [125, 175]
    assert np.asarray(corrupt(two, "brightness", 4, 0, "a"))[0, :, 0].tolist() == [202, 255]
    halves = Image.fromarray(np.kron([[0, 255], [255, 0]], np.ones((2, 2))).astype(np.uint8)).convert("RGB")
    assert np.asarray(corrupt(halves, "pixelate", 5, 0, "a")).std() < 1  # four pixels to one, then back


@pytest.mark.parametrize("corruption", ["defocus_blur", "motion_blur", "elastic", "contrast", "pixelate", "jpeg"])
def test_a_plain_grey_stays_as_it_is(corruption: str) -> None:
    assert np.abs(pixels(corrupt(GREY, corruption, 5, 0, "a")) - 128 / 255).max() < 0.005


def test_a_point_blurs_to_a_disc_and_to_a_line() -> None:
    point = np.zeros((101, 101, 3), dtype=np.uint8)
    point[50, 50] = 255
    rows, columns = np.nonzero(np.asarray(corrupt(Image.fromarray(point), "defocus_blur", 5, 0, "a"))[..., 0])
    assert np.hypot(rows - 50, columns - 50).max() <= 0.045 * 101 + 1
    assert len(rows) > 60
    line = np.asarray(corrupt(Image.fromarray(point), "motion_blur", 5, 0, "a"))[..., 0]
    rows, columns = np.nonzero(line)
    spread = np.linalg.svd(np.stack([rows - rows.mean(), columns - columns.mean()]), compute_uv=False)
    assert spread[0] > 5 * spread[1]
    assert np.hypot(rows - 50, columns - 50).max() <= 0.09 * 101 + 1


def test_what_is_not_known() -> None:
    with pytest.raises(InputError, match="corruption 'snow' is not known"):
        corrupt(GREY, "snow", 1, 0, "a")
    with pytest.raises(InputError, match="severity 6"):
        corrupt(GREY, "jpeg", 6, 0, "a")
