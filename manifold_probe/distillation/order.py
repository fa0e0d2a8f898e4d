"""The rows of each batch, as a pure function of seed and epoch, so that a resumed run sees the same batches.

Shuffled: a permutation, cut into batches; the last incomplete batch is dropped.

Neighbour batches (CoSS, released code): the 31 nearest other rows of every row are searched once, in the teacher's
normalised space. A batch of B is B/16 anchors, each with 15 of its 31 neighbours drawn without replacement. An epoch
has every row as an anchor once. It encodes 16 times as many samples as a shuffled epoch: compare methods by samples,
and cut a pass into shorter epochs (`in_parts`) to give both as many.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from manifold_probe.distillation.config import Config
from manifold_probe.errors import InputError

GROUP_SIZE = 16  # an anchor and 15 neighbours
NEIGHBOURS_LISTED = 31
Order = Callable[[int], np.ndarray]


def shuffled(rows: np.ndarray, batch_size: int, seed: int) -> Order:
    """epoch -> (steps, batch_size): the rows in a new order every epoch.

    >>> shuffled(np.arange(5), 2, seed=0)(0).shape
    (2, 2)
    """
    if len(rows) < batch_size:
        raise InputError(f"--batch-size: {batch_size} is more than the {len(rows):,} rows; give at most {len(rows)}")

    def epoch_order(epoch: int) -> np.ndarray:
        order = np.random.default_rng([seed, epoch]).permutation(rows)
        return order[: len(rows) // batch_size * batch_size].reshape(-1, batch_size)

    return epoch_order


def neighbour_batches(rows: np.ndarray, teacher: np.ndarray, batch_size: int, seed: int) -> Order:
    """epoch -> (steps, batch_size): anchors with 15 of their 31 nearest rows in ``teacher`` (n, d), the rows' features.

    Raises
    ------
    InputError
        A batch size that is not a multiple of 16, or fewer rows than neighbours.
    """
    if batch_size % GROUP_SIZE:
        raise InputError(
            f"--batch-size: {batch_size} is not a multiple of {GROUP_SIZE}, as neighbour batches need; give one"
        )
    anchors = batch_size // GROUP_SIZE
    if len(rows) <= NEIGHBOURS_LISTED or len(rows) < anchors:
        raise InputError(
            f"--neighbour-batches: {len(rows):,} rows; more than {max(NEIGHBOURS_LISTED, anchors - 1)} are needed"
        )
    nearest = nearest_others(teacher, NEIGHBOURS_LISTED)

    def epoch_order(epoch: int) -> np.ndarray:
        draw = np.random.default_rng([seed, epoch])
        centres = draw.permutation(len(rows))
        centres = centres[: len(centres) // anchors * anchors]
        chosen = draw.random((len(centres), NEIGHBOURS_LISTED)).argpartition(GROUP_SIZE - 1, axis=1)[
            :, : GROUP_SIZE - 1
        ]
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


def steps_of(config: Config, rows: int) -> int:
    """The steps of an epoch over a number of rows, as the orders above have them."""
    steps = rows // (config.batch_size // GROUP_SIZE if config.neighbour_batches else config.batch_size)
    return steps if config.samples is None else min(steps, config.samples // config.batch_size)


def nearest_others(features: np.ndarray, count: int) -> np.ndarray:
    """(n, count): for every row of (n, d) the nearest other rows by cosine.

    >>> nearest_others(np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), 1)[:2].tolist()
    [[1], [0]]
    """
    import faiss

    unit = np.array(features, dtype=np.float32)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    index = faiss.IndexFlatIP(unit.shape[1])
    index.add(unit)
    nearest = index.search(unit, count + 1)[1]
    # with duplicate rows a row is not always first in its list, or not in the list at all
    is_other = nearest != np.arange(len(unit))[:, None]
    is_other[is_other.all(axis=1), -1] = False
    return nearest[is_other].reshape(len(unit), count)
