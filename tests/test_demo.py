"""The demo writes features worth comparing: decent students that differ in what the cosine cannot see."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from manifold_probe.demo import run_demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "made"
    state = torch.get_rng_state()
    start = time.perf_counter()
    paths = run_demo(folder)
    took = time.perf_counter() - start
    assert torch.equal(torch.get_rng_state(), state)
    assert sorted(p.name for p in folder.iterdir()) == ["cosine.pt", "coss.pt", "t.pt"]
    return {name: torch.load(path, weights_only=True) for name, path in paths.items()}, took


def test_files(demo):
    features, took = demo
    assert list(features) == ["teacher", "cosine", "coss"]
    for content in features.values():
        assert content["features"].shape == (897, 64)
        assert content["features"].isfinite().all()
        assert content["ids"] == features["teacher"]["ids"]
        assert len(set(content["ids"])) == 897
        assert torch.equal(content["labels"], features["teacher"]["labels"])
    assert took < 60


def test_students_are_decent_and_differ_in_norms(demo):
    features = {name: content["features"].double().numpy() for name, content in demo[0].items()}
    labels = demo[0]["teacher"]["labels"].numpy()
    norms = {name: np.linalg.norm(rows, axis=1) for name, rows in features.items()}
    for rows in features.values():
        half = len(rows) // 2
        classifier = KNeighborsClassifier(10, metric="cosine").fit(rows[:half], labels[:half])
        assert classifier.score(rows[half:], labels[half:]) > 0.9
    cosine = {name: (features[name] * features["teacher"]).sum(1) / norms[name] / norms["teacher"] for name in features}
    assert cosine["cosine"].mean() > 0.98
    assert cosine["coss"].mean() > 0.98
    agreement = {name: np.corrcoef(norms[name], norms["teacher"])[0, 1] for name in features}
    assert agreement["coss"] > 0.95 > agreement["cosine"]


def test_same_seed_same_features(tmp_path):
    first, again, other = (run_demo(tmp_path / name, seed, epochs=2) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    for name in first:
        rows, same, different = (torch.load(paths[name])["features"] for paths in (first, again, other))
        assert torch.equal(rows, same)
        assert not torch.equal(rows, different)
