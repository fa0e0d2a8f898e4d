"""Which findings stand, and how much classes move, against plain transcriptions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from manifold_probe.diagnosis.case import Finding
from manifold_probe.diagnosis.examine import LEVEL, ORDER, stands, tried
from manifold_probe.diagnosis.inside import inside_error, slope_errors, slopes

CODES = np.array([0, 2, 5, 9])


def finding(z: float, name: str = "noise") -> Finding:
    return Finding(name, [], None, None, share=0.5, confidence=0.5, z=z)  # type: ignore[arg-type]


def held(z: np.ndarray, count: int) -> list[bool]:
    """Holm's procedure by adjusted chances: the largest of (m - j) p_(j) up to each place, from the smallest."""
    p = norm.sf(z)
    adjusted = np.empty(len(z))
    largest = 0.0
    for place, at in enumerate(np.argsort(p, kind="stable")):
        largest = max(largest, (count - place) * p[at])
        adjusted[at] = largest
    return (adjusted <= 0.05).tolist()


@pytest.mark.parametrize("seed", range(50))
def test_findings_stand_by_holms_procedure(seed: int) -> None:
    draw = np.random.default_rng(seed)
    z = draw.normal(3.0, 0.8, draw.integers(1, tried() + 1))
    found = [finding(each, f"c{place}") for place, each in enumerate(z)]
    expected = [each for each, kept in zip(found, held(z, tried()), strict=True) if kept]
    assert [each.name for each in stands(found)] == [each.name for each in expected]


def test_a_later_finding_never_stands_without_an_earlier_one() -> None:
    at = [float(norm.isf(LEVEL / (tried() - place))) for place in range(4)]
    just = [finding(each + 1e-6, f"c{place}") for place, each in enumerate(at)]
    assert stands(just) == just
    just[1] = finding(at[1] - 0.001, "short")
    just[2] = finding(at[2] - 0.001, "shorter")
    assert [each.name for each in stands(just)] == ["c0"]
    assert stands([]) == []
    assert stands([finding(at[0] - 1e-3)]) == []


def test_what_is_counted_always_stands() -> None:
    found = [finding(0.0, "a"), finding(np.inf, "b"), finding(-3.0, "c"), finding(np.inf, "d")]
    assert [each.name for each in stands(found)] == ["b", "d"]


def test_every_cause_is_tried() -> None:
    assert tried() == len([cause for rivals in ORDER for cause in rivals])
    assert len({cause for rivals in ORDER for cause in rivals}) == tried()


@pytest.mark.parametrize("z", [-40.0, -3.0, -0.5, 0.0, 0.5, 1.96, 5.0, 12.0, 37.0, np.inf, -np.inf])
def test_the_chance_is_one_sided(z: float) -> None:
    assert finding(z).p == pytest.approx(norm.sf(z), rel=1e-12, abs=0)


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
    assert abs(inside - scale) < 4 * inside_error(student, image, codes) < 0.2
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
        each, inside, _ = slopes(student, image, codes)
        errors = slope_errors(student, image, codes), inside_error(student, image, codes)
        found.append((*each, inside, *errors[0], errors[1]))
    scatter, said = np.std(found, axis=0)[:5], np.mean(found, axis=0)[5:]
    assert np.allclose(said, scatter, rtol=0.2)
