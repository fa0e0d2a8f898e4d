"""Data sets that the measures are tried on, and rotations, students and pairs to make more of them."""

import numpy as np

from manifold_probe.spaces.pairing import pair
from manifold_probe.spaces.space import Space


def rotation(d, seed=0):
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))
    return q * np.sign(np.diag(r))


def student_of(x, width=None, noise=0.5, seed=1):
    """A noisy linear image of x, of another width where asked."""
    rng = np.random.default_rng(seed)
    d = x.shape[1]
    width = width or d
    mapped = x @ rng.normal(size=(d, width)) / np.sqrt(d)
    return mapped + noise * x.std() * rng.normal(size=mapped.shape)


def gaussian():
    x = np.random.default_rng(0).normal(size=(90, 6))
    return x, student_of(x)


def offset():
    x, y = gaussian()
    return x + 1e3, y - 1e3


def heavy_tailed():
    x = np.random.default_rng(2).standard_t(2, size=(80, 5))
    return x, student_of(x, noise=0.2)


def duplicates():
    x, y = gaussian()
    rows = np.random.default_rng(3).integers(0, 30, 80)
    return x[rows], y[rows]


def wide():
    x = np.random.default_rng(4).normal(size=(41, 60))
    return x, student_of(x)


def integers():
    rng = np.random.default_rng(5)
    x = rng.integers(-2, 3, size=(70, 3))
    x[np.all(x == 0, axis=1)] = [1, 0, 0]
    return x, x + rng.integers(0, 2, size=x.shape) * 3


def zero_row():
    x, y = gaussian()
    x[7], y[20] = 0, 0
    return x, y


def constant_column():
    x, y = gaussian()
    x[:, 2], y[:, 4] = 3.0, 0.0
    return x, y


def unequal_widths():
    x = np.random.default_rng(6).normal(size=(64, 7)) * np.linspace(1, 3, 7)
    return x, student_of(x, width=3)


CASES = (gaussian, offset, heavy_tailed, duplicates, wide, integers, zero_row, constant_column, unequal_widths)


def labels_of(x, classes=4):
    """Integer labels that follow the space."""
    return (x[:, 0] - x[:, 0].mean() > 0) * 2 + (x[:, 1] - x[:, 1].mean() > 0) * (classes // 2 - 1)


def paired(x, y, labels=None, ids=None):
    """One pair, with ids on both sides where given."""
    teacher = Space(x, ids=ids, labels=labels, name="teacher")
    return pair(teacher, {"student": Space(y, ids=ids, name="student")})
