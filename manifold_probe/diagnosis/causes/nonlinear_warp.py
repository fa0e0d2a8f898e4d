"""A space that is bent: in each dimension, in each direction, or as a whole."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri  # scipy.stats would take half a second to import

from manifold_probe.diagnosis.cause import Cause, Proved, Repair, Signs
from manifold_probe.diagnosis.lab import COSINE, Change, Evidence, Lab, mean, paired
from manifold_probe.diagnosis.linear import cross_fitted, explained, main_axes

DIRECTIONS = 8
LIFT_FEATURES = 512
LIFT_DIRECTIONS = 48  # the features are functions of at most so many directions
MIN_KURTOSIS_RATIO = 1.14  # main directions, relative to the image's or a healthy twin's
MIN_OVER_MINOR = 1.08  # that ratio over the ratio of the directions after the main ones
MIN_LINK_GAIN = 0.14  # of the residual, beyond a healthy twin's
STUDENT_DIRECTIONS, TEACHER_DIRECTIONS = 96, 64  # main directions between which maps are fitted
MIN_BENT_GAIN = 0.008  # of the teacher's variance, beyond a straight map
MIN_GAIN = 0.03  # of the overlap: ranks and bent maps gain .02 for sound networks near their teacher
MIN_SHARE = 0.08  # of the loss: ranks regain up to this for any network, as its dimensions are not normal


def signs(lab: Lab) -> list[Signs]:
    """The proposals of all four kinds of bend."""
    proposals = (_dimensions(lab), _directions(lab), _links(lab), _maps(lab))
    return [proposal for proposal in proposals if proposal is not None]


def undo(lab: Lab, signs: Signs) -> list[Repair] | Proved | None:
    """The repairs or the proof that a proposal made."""
    return signs.facts(lab) if callable(signs.facts) else None


def _dimensions(lab: Lab) -> Signs | None:
    """Every dimension mapped to a normal distribution by its ranks."""
    keep = lab.keep
    student_kurtosis, usual = (float(np.median(kurtosis(x[keep]))) for x in (lab.student, lab.twin))
    return Signs(
        [Evidence("kurtosis of the dimensions", student_kurtosis, usual)],
        facts=lambda lab: _proved_if_large(lab, "dimensions straightened by their ranks", lambda x: by_ranks(x, keep)),
    )


def _proved_if_large(lab: Lab, name: str, change: Change) -> Proved | None:
    """The trial of a repair from which every network gains a little, None where it gains no more than that."""
    trial = lab.undo(name, change, measures=(COSINE,))
    return (
        Proved(trial, lab.repaired(change(lab.student)))
        if trial.share >= MIN_SHARE and trial.gain >= MIN_GAIN
        else None
    )


def by_ranks(x: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Every dimension as the normal quantiles of its values' ranks, with its mean and deviation."""
    ranks = np.stack([_ranks(column) for column in x.T], axis=1)
    return (ndtri(ranks / (len(x) + 1)) * x[keep].std(0) + x[keep].mean(0)).astype(np.float32)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks (n,) from 1; equal values have their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: np.ndarray = (counts.cumsum() - (counts - 1) / 2)[place]
    return ranks


def _directions(lab: Lab) -> Signs | None:
    """Principal directions with far heavier tails than those of the student's linear image: straightened by their
    ranks, which reverses a bend along a direction. Heavy tails alone are no sign: a network in training mode has
    them."""
    keep = lab.keep
    count = min(DIRECTIONS, lab.student.shape[1], lab.reference.shape[1])
    sides = (lab.student, lab.expected, lab.twin)
    along_axes, image, twin = ((x - x[keep].mean(0)) @ main_axes(x[keep], count) for x in sides)
    tails, usual, healthy = (float(np.median(kurtosis(x[keep]))) for x in (along_axes, image, twin))
    if tails < MIN_KURTOSIS_RATIO * max(usual, healthy) or tails / max(usual, 1e-9) < MIN_OVER_MINOR * minor_tails(
        lab, count
    ):
        return None  # the same in all directions: some rows are noisier than others
    halves = [
        np.median(kurtosis(along_axes[half]) / np.maximum(kurtosis(image[half]), 1e-9))
        for half in (keep & lab.fold, keep & ~lab.fold)
    ]
    if min(halves) < 1.05:
        return None

    def straightened(x: np.ndarray) -> np.ndarray:
        axes, centre = main_axes(x[keep], count), x[keep].mean(0)
        along = (x - centre) @ axes
        return x + ((by_ranks_of(along, image, lab.fold, keep) - along) @ axes.T).astype(np.float32)

    def replaced(x: np.ndarray) -> np.ndarray:
        axes, centre = main_axes(x[keep], count), x[keep].mean(0)
        along, target = (x - centre) @ axes, (lab.expected - centre) @ axes
        predicted = cross_fitted(along, target, lab.fold, keep)
        return x + ((predicted - along) @ axes.T).astype(np.float32)

    evidence = [Evidence("kurtosis of the main directions", tails, max(usual, healthy))]
    repairs = [
        Repair("main directions straightened by their ranks", straightened),
        Repair("main directions replaced by what the teacher linearly predicts of them", replaced),
    ]
    return Signs(evidence, facts=lambda lab: repairs)


def minor_tails(lab: Lab, count: int) -> float:
    """Kurtosis of the directions after the main ones, over that of the image's: the effect of noisy rows alone."""
    keep, more = lab.keep, min(3 * count, lab.student.shape[1], lab.reference.shape[1])
    if more < 2 * count:
        return 1.0
    tails = [
        float(np.median(kurtosis((x[keep] - x[keep].mean(0)) @ main_axes(x[keep], more)[:, count:])))
        for x in (lab.student, lab.expected)
    ]
    return tails[0] / max(tails[1], 1e-9)


def kurtosis(x: np.ndarray) -> np.ndarray:
    """(d,): the fourth moment over the squared second; 3 for a normal distribution."""
    centred = x - x.mean(0)
    variance = np.square(centred).mean(0)
    return (centred**4).mean(0) / np.maximum(np.square(variance), 1e-30)


def by_ranks_of(values: np.ndarray, image: np.ndarray, fold: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Every direction with the distribution that it has in the image, both estimated on the other half."""
    out = values.copy()
    places = np.linspace(0.01, 0.99, 99)
    for side in (False, True):
        learn, read = keep & (fold != side), fold == side
        for column in range(values.shape[1]):
            have, want = (np.quantile(x[learn, column], places) for x in (values, image))
            want = want * have.std() / max(float(want.std()), 1e-30)
            inner = np.interp(values[read, column], have, want)
            low, high = values[read, column] < have[0], values[read, column] > have[-1]  # beyond, at the same ratio
            inner[low] = values[read, column][low] * want[0] / (have[0] if have[0] else 1.0)
            inner[high] = values[read, column][high] * want[-1] / (have[-1] if have[-1] else 1.0)
            out[read, column] = inner
    return out


def _links(lab: Lab) -> Signs | None:
    """Dimensions that are a bent function of their linear image, like those of a ReLU."""
    gained, residual_share = link_gain(lab.student, lab.expected, lab.fold, lab.keep)
    healthy, _ = link_gain(lab.twin, lab.twin_expected, lab.fold, lab.keep)
    if gained < healthy + MIN_LINK_GAIN or gained * residual_share < 0.012:
        return None
    evidence = [Evidence("residual that a curve of each dimension's linear image explains", gained, max(healthy, 0.0))]
    return Signs(evidence, share=gained)


def link_gain(student: np.ndarray, image: np.ndarray, fold: np.ndarray, keep: np.ndarray) -> tuple[float, float]:
    """(share of the residual explained by a curve in each dimension's image, on rows on which it was not fitted; the
    residual's share of the variance)."""
    z = (image - image[keep].mean(0)) / np.maximum(image[keep].std(0), 1e-12)
    features = np.stack([np.ones_like(z), z, np.square(z) - 1, np.clip(z, -3, 3) ** 3, np.abs(z)], axis=2)
    target = student - student[keep].mean(0)
    errors = []
    for count in (2, 5):
        error = np.zeros_like(target)
        for side in (False, True):
            learn, read = keep & (fold != side), keep & (fold == side)
            x = features[learn][:, :, :count].transpose(1, 0, 2)
            products = x.transpose(0, 2, 1) @ x
            products += 1e-3 * learn.sum() * np.diag([0.0] + [1.0] * (count - 1))
            weights = np.linalg.solve(products, x.transpose(0, 2, 1) @ target[learn].T[:, :, None])
            error[read] = target[read] - (features[read][:, :, :count] * weights[None, :, :, 0]).sum(2)
        errors.append(float(np.square(error[keep]).sum()))
    straight, curved = errors
    variance = max(float(np.square(target[keep]).sum()), 1e-300)
    return (straight - curved) / max(straight, 1e-300), straight / variance


def _maps(lab: Lab) -> Signs | None:
    """A bent map to the teacher that is better than the straight one on rows on which it was not fitted.

    It maps the student's main directions to the teacher's, where a bend is visible.
    """
    axes = main_axes(lab.reference[lab.keep], min(TEACHER_DIRECTIONS, lab.reference.shape[1], int(lab.keep.sum()) - 1))
    target = (lab.reference - lab.reference[lab.keep].mean(0)) @ axes
    straight, bent = _both_maps(lab, lab.student, target)
    wide = target[lab.keep].astype(np.float64)
    first, second = (explained(wide, x[lab.keep]) for x in (straight, bent))
    if second - first < MIN_BENT_GAIN:
        return None

    def proved(lab: Lab) -> Proved | None:
        before, after = lab.kept(straight)[COSINE], lab.kept(bent)[COSINE]
        twins = [lab.kept(x)[COSINE] for x in _both_maps(lab, lab.twin, target)]
        name, healthy = "a bent map in place of a straight one", mean(twins[1]) - mean(twins[0])
        trial = paired(name, "mapped", lab.key(COSINE), before, after, lab.loss(COSINE), healthy=healthy)
        return Proved(trial, lab.repaired(bent)) if trial.share >= MIN_SHARE and trial.gain >= MIN_GAIN else None

    return Signs([Evidence("teacher's variance explained by a bent map", second, first)], facts=proved)


def _both_maps(lab: Lab, x: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(straight, bent): the target as predicted from rows x, each half by the other's map."""
    axes = main_axes(x[lab.keep], min(STUDENT_DIRECTIONS, x.shape[1], int(lab.keep.sum()) - 1))
    scores = (x - x[lab.keep].mean(0)) @ axes
    lifted = Lift(scores[lab.keep], lab.seed)(scores)
    predictions = (
        cross_fitted(features, target, lab.fold, lab.keep).astype(np.float32) for features in (scores, lifted)
    )
    return tuple(predictions)  # type: ignore[return-value]


class Lift:
    """Rows at unit scale, and random cosine features of two widths of their main directions."""

    def __init__(self, x: np.ndarray, seed: int) -> None:
        self.centre = x.mean(0, dtype=np.float64)
        centred = x.astype(np.float64) - self.centre
        squares, vectors = np.linalg.eigh(centred.T @ centred)
        values, directions = np.sqrt(np.maximum(squares[::-1], 0)), vectors[:, ::-1]
        count = min(LIFT_DIRECTIONS, int((values > 1e-4 * values[0]).sum()))
        self.directions = directions[:, :count]
        self.directions = self.directions / max(float(np.linalg.norm(values[:count])) / np.sqrt(len(x)), 1e-30)
        self.size = max(float(values[0]) / np.sqrt(len(x)), 1e-12)
        draw = np.random.default_rng([seed, 5])
        self.waves = []
        for width in (1.0, 2.5):
            ways = draw.normal(size=(count, LIFT_FEATURES // 2)) * width
            self.waves.append((ways, draw.uniform(0, 2 * np.pi, LIFT_FEATURES // 2)))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(n, d + 512)."""
        centred = x - self.centre
        narrow = centred @ self.directions
        waves = [np.cos(narrow @ ways + phase) * np.sqrt(2 / LIFT_FEATURES) for ways, phase in self.waves]
        return np.concatenate([centred / self.size, *waves], axis=1)


CAUSE = Cause(
    "nonlinear_warp",
    "the space is bent",
    "A nonlinear head bends the space: read the features before it, or map them back with a small network.",
    "no gain of a bent map over a straight one on new rows",
    signs,
    undo,
)
