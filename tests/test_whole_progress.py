"""What takes long says how much of all its work is done, from nothing to all, never less than before."""

from __future__ import annotations

from pathlib import Path

import pytest

import manifold_probe as mp
from manifold_probe.demo import demo_data
from manifold_probe.distillation.config import resolved
from manifold_probe.distillation.train import train
from manifold_probe.evaluation.evaluate import evaluate, halves
from manifold_probe.evaluation.outcome import part_of
from manifold_probe.evaluation.read import read_pair
from manifold_probe.extraction.cache import features_of
from manifold_probe.extraction.work import Request


class Reports(list[tuple[str, float]]):
    def __call__(self, stage: str, done: float, total: float, note: str = "") -> None:
        self.append((stage, done / total))

    def check(self, *stages: str) -> None:
        shares = [share for _, share in self]
        assert list(dict.fromkeys(stage for stage, _ in self)) == list(stages)
        assert shares == sorted(shares)
        assert 0 <= shares[0] <= 0.2
        assert 0.8 < shares[-1] <= 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("demo")
    demo_data(place)
    return place


def test_extraction(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder)
    request = Request("python:tinymodel:make?seed=1", str(folder / "images"), size="32", mean="0.5", std="0.5")
    features_of(request, tell=lambda _: None, progress=(reports := Reports()), folder=str(tmp_path))
    reports.check("checking the data", "extracting")


def test_distillation(folder: Path, tmp_path: Path) -> None:
    given = {"method": "mse", "teacher": str(folder / "t.pt"), "student": "conv4", "data": str(folder / "digits.npz")}
    config = resolved({**given, "epochs": 1, "batch_size": 128}, None)
    train(config, tmp_path / "run", tell=lambda _: None, progress=(reports := Reports()))
    reports.check("training", "the student's features", "against the untrained student")


def test_diagnosis(folder: Path, tmp_path: Path) -> None:
    found = mp.diagnose(folder / "t.pt", folder / "s.pt", progress=(reports := Reports()))
    reports.check(
        *("reading and searching", "ranking neighbours", "measures and intervals", "looking for causes"),
        *("fitting corrections", "reading corrections", "reading classes"),
    )
    found.save_rows(tmp_path / "rows.csv", reports := Reports())
    shares = [share for _, share in reports]
    assert shares == sorted(shares)


def test_evaluation(folder: Path) -> None:
    pair = read_pair(str(folder / "t.pt"), str(folder / "s.pt"), None)
    bank, test = halves(part_of(pair, "test"), 0)
    evaluate(["knn", "retrieval"], bank, test, progress=(reports := Reports()))
    assert reports == [("task knn", 0), ("task retrieval", 0.5)]
