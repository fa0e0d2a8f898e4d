"""How much classes move with their linear image, against plain transcriptions."""

from __future__ import annotations

import numpy as np
import pytest

from manifold_probe.diagnosis.slopes import slope_errors, slopes, within_over_between

CODES = np.array([0, 2, 5, 9])


def world(n: int = 400, d: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(student, image, codes)."""
    draw = np.random.default_rng(seed)
    codes = CODES[draw.choice(4, n, p=[0.1, 0.2, 0.3, 0.4])]
    centres = draw.normal(size=(10, d)) * 3
    image = centres[codes] + draw.normal(size=(n, d)) * np.geomspace(2, 0.3, d) + 4
    return image @ draw.normal(size=(d, d)) + draw.normal(size=(n, d)), image, codes


@pytest.mark.parametrize("seed", range(3))
def test_slopes_are_those_of_plain_sums(seed: int) -> None:
    student, image, codes = world(seed=seed)
    each, totals, between = [], np.zeros(2), np.zeros(2)
    for code in CODES:
        rows = [row for row in range(len(codes)) if codes[row] == code]
        own, theirs = (np.mean([x[row] for row in rows], axis=0) for x in (student, image))
        sums = np.zeros(2)
        for row in rows:
            sums[0] += np.dot(student[row] - own, image[row] - theirs)
            sums[1] += np.dot(image[row] - theirs, image[row] - theirs)
            step = theirs - image.mean(0)
            between += np.dot(own - student.mean(0), step), np.dot(step, step)
        each.append(sums[0] / sums[1])
        totals += sums
    found = slopes(student, image, codes)
    assert np.allclose(found[0], each)
    assert found[1] == pytest.approx(totals[0] / totals[1])
    assert found[2] == pytest.approx(between[0] / between[1])


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_classes_drawn_together_have_that_slope(scale: float) -> None:
    _, image, codes = world()
    means = np.stack([image[codes == code].mean(0) for code in codes])
    each, inside, between = slopes(means + scale * (image - means) + 11, image, codes)
    assert np.allclose(each, scale)
    assert inside == pytest.approx(scale)
    assert between == pytest.approx(1)


@pytest.mark.parametrize("scale", [1.0, 0.4])
def test_noise_does_not_move_slopes(scale: float) -> None:
    _, image, codes = world(40_000)
    means = {code: image[codes == code].mean(0) for code in CODES}
    drawn = np.stack([means[code] for code in codes])
    drawn += scale * (image - drawn)
    student = drawn + 2 * image.std() * np.random.default_rng(1).normal(size=image.shape)
    each, inside, between = slopes(student, image, codes)
    errors = slope_errors(student, image, codes)
    assert errors.max() < 0.1
    assert (np.abs(each - scale) < 4 * errors).all()
    assert inside == pytest.approx(scale, abs=0.05)
    assert between == pytest.approx(1, abs=0.05)


def test_one_class_drawn_together_alone() -> None:
    _, image, codes = world()
    student = image.copy()
    rows = codes == 5
    student[rows] = student[rows].mean(0) + 0.2 * (student[rows] - student[rows].mean(0))
    each, inside, _ = slopes(student, image, codes)
    assert np.allclose(each, [1, 1, 0.2, 1])
    assert 0.2 < inside < 1


def test_errors_of_slopes_are_how_far_they_scatter() -> None:
    _, image, codes = world(300)
    draw = np.random.default_rng(2)
    found = []
    for _ in range(400):
        student = image + 3 * draw.normal(size=image.shape)
        found.append((*slopes(student, image, codes)[0], *slope_errors(student, image, codes)))
    scatter, said = np.std(found, axis=0)[:4], np.mean(found, axis=0)[4:]
    assert np.allclose(said, scatter, rtol=0.2)


@pytest.mark.parametrize("seed", range(3))
def test_variance_inside_classes_and_between_them_add_up(seed: int) -> None:
    student, _, codes = world(seed=seed)
    means = np.stack([student[codes == code].mean(0) for code in codes])
    between = np.square(means - student.mean(0)).sum()
    whole = np.square(student - student.mean(0)).sum()
    assert within_over_between(student, codes) == pytest.approx(whole / between - 1)
    assert within_over_between(3 * student + 7, codes) == pytest.approx(whole / between - 1)
