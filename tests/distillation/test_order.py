"""Which rows form which batch, and the learning rate at any moment."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifold_probe.distillation.config import resolved
from manifold_probe.distillation.order import (
    GROUP_SIZE,
    NEIGHBOURS_LISTED,
    in_parts,
    nearest_others,
    neighbour_batches,
    shuffled,
)
from manifold_probe.distillation.schedule import rate_at

GIVEN = {"teacher": "t.pt", "student": "conv4", "data": "d.npz"}


@given(rows=st.integers(2, 60), batch=st.integers(1, 60), seed=st.integers(0, 5), epoch=st.integers(0, 5))
def test_an_epoch_shows_every_row_at_most_once(rows: int, batch: int, seed: int, epoch: int) -> None:
    batch = min(batch, rows)
    order = shuffled(np.arange(rows) * 3, batch, seed)
    found = order(epoch)
    assert found.shape == (rows // batch, batch)
    assert len(np.unique(found)) == found.size
    assert set(found.ravel()) <= set(np.arange(rows) * 3)
    assert np.array_equal(found, shuffled(np.arange(rows) * 3, batch, seed)(epoch))


def test_epochs_and_seeds_differ() -> None:
    order = shuffled(np.arange(100), 10, 0)
    assert not np.array_equal(order(0), order(1))
    assert not np.array_equal(order(0), shuffled(np.arange(100), 10, 1)(0))


def test_short_epochs_cut_a_pass_and_drop_the_rest() -> None:
    whole = shuffled(np.arange(70), 10, 0)
    parts = in_parts(whole, 3)
    assert np.array_equal(np.concatenate([parts(0), parts(1)]), whole(0)[:6])
    assert np.array_equal(parts(3), whole(1)[3:6])
    assert np.array_equal(in_parts(whole, 100)(2), whole(2))


def naive_nearest(features: np.ndarray, count: int) -> list[set[int]]:
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    return [set(np.argsort(-row)[:count].tolist()) for row in similarity]


def test_neighbours_are_the_nearest_by_cosine() -> None:
    features = np.random.default_rng(0).normal(size=(80, 6)) * np.arange(1, 81)[:, None]
    found = nearest_others(features, NEIGHBOURS_LISTED)
    assert [set(row.tolist()) for row in found] == naive_nearest(features, NEIGHBOURS_LISTED)


@pytest.mark.parametrize("copies", [2, 40])
def test_a_row_is_never_its_own_neighbour(copies: int) -> None:
    features = np.random.default_rng(0).normal(size=(40, 6)).repeat(copies, axis=0)
    found = nearest_others(features, NEIGHBOURS_LISTED)
    assert found.shape == (40 * copies, NEIGHBOURS_LISTED)
    assert not (found == np.arange(len(features))[:, None]).any()


def test_neighbour_batches_are_anchors_with_fifteen_of_their_nearest() -> None:
    features = np.random.default_rng(0).normal(size=(100, 5))
    rows = np.arange(100) * 2 + 7
    order = neighbour_batches(rows, features, 48, seed=4)
    nearest = naive_nearest(features, NEIGHBOURS_LISTED)
    found = order(0)
    assert found.shape == (100 // 3, 48)
    groups = (found.reshape(-1, GROUP_SIZE) - 7) // 2
    anchors = groups[:, 0]
    assert len(np.unique(anchors)) == len(anchors) == 99  # every row once, but for the last incomplete batch
    for anchor, *others in groups.tolist():
        assert len(set(others)) == 15
        assert set(others) <= nearest[anchor]
    again = neighbour_batches(rows, features, 48, seed=4)
    assert np.array_equal(found, again(0))
    assert not np.array_equal(found, again(1))


def test_neighbours_are_drawn_evenly() -> None:
    features = np.random.default_rng(0).normal(size=(64, 5))
    order, nearest = neighbour_batches(np.arange(64), features, 16, 0), nearest_others(features, NEIGHBOURS_LISTED)
    counts = np.zeros(NEIGHBOURS_LISTED)
    for epoch in range(200):
        for anchor, *others in order(epoch).tolist():
            counts += np.isin(nearest[anchor], others)
    share = counts / (200 * 64)
    assert np.abs(share - 15 / 31).max() < 5 * math.sqrt(0.25 / (200 * 64))


def test_schedules() -> None:
    coss = resolved({**GIVEN, "method": "coss"})
    assert [rate_at(coss, epoch) / 0.03 for epoch in (0, 4, 4.99)] == [1, 1, 1]
    assert rate_at(coss, 5.5) / 0.03 == pytest.approx((1 + math.cos(math.pi / 5)) / 2)
    tintem = resolved({**GIVEN, "method": "tintem"})
    assert rate_at(tintem, 0) == 1e-6
    assert rate_at(tintem, 2.5) == pytest.approx((1e-6 + 5e-4) / 2)
    assert rate_at(tintem, 5) == pytest.approx(5e-4)
    assert rate_at(tintem, 152.5) == pytest.approx((5e-4 + 1e-5) / 2)
    assert rate_at(tintem, 300) == pytest.approx(1e-5)
    kd = resolved({**GIVEN, "method": "kd"})
    assert [round(rate_at(kd, epoch) / 0.05, 9) for epoch in (149, 150, 180, 210, 239)] == [1, 0.1, 0.01, 0.001, 0.001]
    ckd = resolved({**GIVEN, "method": "ckd"})
    assert rate_at(ckd, 240) == pytest.approx(0.025)


def test_published_settings() -> None:
    tintem, coss = resolved({**GIVEN, "method": "CosPress"}), resolved({**GIVEN, "method": "coss", "epochs": 3})
    assert (tintem.method, tintem.optimiser, tintem.rate, tintem.weight_decay) == ("cospress", "adamw", 5e-4, 0.05)
    assert (tintem.batch_size, tintem.epochs) == (1024, 300)
    assert (coss.optimiser, coss.rate, coss.momentum, coss.weight_decay) == ("sgd", 0.03, 0.9, 1e-4)
    assert (coss.batch_size, coss.epochs, coss.options["space_weight"]) == (256, 3, 1.0)
