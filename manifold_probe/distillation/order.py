"""Which rows form which batch: a pure function of seed and epoch, so that a resumed run sees the same batches.

Shuffled: a permutation, cut into batches, the last incomplete one dropped.

Neighbour batches (CoSS, released code): in the teacher's normalised space every row's 31 nearest others are listed
once. A batch of B is B/16 anchors, each with 15 of its 31 drawn without replacement; an epoch has every row as an
anchor once, and so encodes 16 times as many samples as a shuffled one: count samples when methods are compared, and
cut the passes into shorter epochs (`in_parts`) where both should see as many.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from manifold_probe.errors import InputError

GROUP = 16  # an anchor and 15 neighbours
LISTED = 31
Order = Callable[[int], np.ndarray]


def shuffled(rows: np.ndarray, batch_size: int, seed: int) -> Order:
    """epoch -> (steps, batch_size): the rows in a new order each epoch.

    >>> shuffled(np.arange(5), 2, seed=0)(0).shape
    (2, 2)
    """
    if len(rows) < batch_size:
        raise InputError(f"--batch-size: {batch_size} is more than the {len(rows):,} rows; give at most that")

    def epoch_order(epoch: int) -> np.ndarray:
        order = np.random.default_rng([seed, epoch]).permutation(rows)
        return order[: len(rows) // batch_size * batch_size].reshape(-1, batch_size)

    return epoch_order


def neighbour_batches(rows: np.ndarray, teacher: np.ndarray, batch_size: int, seed: int) -> Order:
    """epoch -> (steps, batch_size): anchors, each with 15 of its 31 nearest in ``teacher`` (n, d), the rows' features.

    Raises
    ------
    InputError
        A batch size that is no multiple of 16, or fewer rows than neighbours.
    """
    if batch_size % GROUP:
        raise InputError(f"--batch-size: {batch_size} is no multiple of {GROUP}, as neighbour batches need; give one")
    anchors = batch_size // GROUP
    if len(rows) <= LISTED or len(rows) < anchors:
        raise InputError(f"--neighbour-batches: {len(rows):,} rows; more than {max(LISTED, anchors - 1)} are needed")
    nearest = nearest_others(teacher, LISTED)

    def epoch_order(epoch: int) -> np.ndarray:
        draw = np.random.default_rng([seed, epoch])
        centres = draw.permutation(len(rows))
        centres = centres[: len(centres) // anchors * anchors]
        chosen = draw.random((len(centres), LISTED)).argpartition(GROUP - 1, axis=1)[:, : GROUP - 1]
        groups = np.concatenate([centres[:, None], np.take_along_axis(nearest[centres], chosen, axis=1)], axis=1)
        return rows[groups.reshape(-1, batch_size)]

    return epoch_order


def in_parts(order: Order, steps: int) -> Order:
    """epoch -> (steps, batch_size): every pass of ``order`` cut into epochs of ``steps``; the rest of it is dropped.

    A pass that is no longer than that stays whole.

    >>> halves = in_parts(shuffled(np.arange(5), 1, seed=0), 2)
    >>> whole = shuffled(np.arange(5), 1, seed=0)
    >>> np.array_equal(halves(1), whole(0)[2:4]), np.array_equal(halves(2), whole(1)[:2])
    (True, True)
    """
    parts = max(1, len(order(0)) // steps)

    def epoch_order(epoch: int) -> np.ndarray:
        whole, part = divmod(epoch, parts)
        return order(whole)[part * steps : (part + 1) * steps]

    return epoch_order


def nearest_others(features: np.ndarray, count: int) -> np.ndarray:
    """(n, count): for every row of (n, d) the nearest others by cosine, itself left out by its number.

    >>> nearest_others(np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), 1)[:2].tolist()
    [[1], [0]]
    """
    import faiss

    unit = np.array(features, dtype=np.float32)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    index = faiss.IndexFlatIP(unit.shape[1])
    index.add(unit)
    found = index.search(unit, count + 1)[1]
    # a copy of a row may stand before it, so it is not always in the first column, or not in the list at all
    other = found != np.arange(len(unit))[:, None]
    other[other.all(axis=1), -1] = False
    return found[other].reshape(len(unit), count)
