"""The demo writes features worth comparing: decent students that differ in what the cosine cannot see."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from manifold_probe.demo import demo_data


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "made"
    state = torch.get_rng_state()
    start = time.perf_counter()
    data = demo_data(folder)
    took = time.perf_counter() - start
    assert torch.equal(torch.get_rng_state(), state)
    paths = {"teacher": data.teacher, **data.students}
    assert [path.name for path in paths.values()] == ["t.pt", "s.pt", "coss.pt"]
    assert data.to_dict()["students"] == {"cosine": f"{folder}/s.pt", "coss": f"{folder}/coss.pt"}
    assert str(folder) in data.summary()
    assert data.labels.exists()
    assert data.images.exists()
    return {name: torch.load(path, weights_only=True) for name, path in paths.items()}, took, folder


def test_files(demo):
    features, took, _ = demo
    assert list(features) == ["teacher", "cosine", "coss"]
    for content in features.values():
        assert content["features"].shape == (897, 64)
        assert content["features"].isfinite().all()
        assert content["ids"] == features["teacher"]["ids"]
        assert len(set(content["ids"])) == 897
        assert torch.equal(content["labels"], features["teacher"]["labels"])
    assert took < 60


def test_inputs_of_the_tour_belong_together(demo):
    """Read independently: every file of the 897 digits has their ids, and labels and pictures are those digits."""
    features, _, folder = demo
    pixels, digits = load_digits(return_X_y=True)
    ids, labels = features["teacher"]["ids"], features["teacher"]["labels"].tolist()
    places = [int(each.removeprefix("digits/")) for each in ids]
    assert labels == digits[places].tolist()
    with open(folder / "labels.csv", newline="") as file:
        assert [(row["id"], int(row["label"])) for row in csv.DictReader(file)] == list(zip(ids, labels, strict=True))
    with open(folder / "slices.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ids
    assert {row["ink"] for row in rows} == {"light", "medium", "dark"}
    arrays = np.load(folder / "digits.npz")
    assert (arrays["ids"].tolist(), arrays["labels"].tolist()) == (ids, labels)
    np.testing.assert_array_equal(arrays["images"][:, ::4, ::4].reshape(897, 64), (pixels[places] * 255 / 16).round())
    for name in ("t", "s"):
        train, ood = (torch.load(folder / f"{name}_{part}.pt", weights_only=True) for part in ("train", "ood"))
        assert train["features"].shape == (900, 64)
        assert not set(train["ids"]) & set(ids)
        assert not set(ood["ids"]) & set(ids)
        assert train["labels"].tolist() == [digits[int(each.removeprefix("digits/"))] for each in train["ids"]]
    with open(folder / "images.csv", newline="") as file:
        pictures = [(row["path"], row["label"]) for row in csv.DictReader(file)]
    assert sorted(path for path, _ in pictures) == sorted(str(p.relative_to(folder)) for p in folder.glob("images/*/*"))
    tested = [(str(path), path.parent.name) for path in (folder / "test").glob("*/*")]
    assert (len(pictures), len(tested)) == (300, 100)
    for path, label in [*pictures, *tested]:
        row = int(Path(path).stem)
        assert digits[row] == int(label)
        assert f"digits/{row:04d}" not in ids
        np.testing.assert_array_equal(
            np.asarray(Image.open(folder / path))[::4, ::4].ravel(), (pixels[row] * 255 / 16).round()
        )


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
    made = [demo_data(tmp_path / name, seed=seed, epochs=2) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    for name in ("cosine", "coss"):
        rows, same, different = (torch.load(data.students[name])["features"] for data in made)
        assert torch.equal(rows, same)
        assert not torch.equal(rows, different)
