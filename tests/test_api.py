"""compare and load, on real measurements of small spaces."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix

import manifold_probe as mp
from manifold_probe.api import Comparison, Comparisons
from manifold_probe.errors import InputError

RNG = np.random.default_rng(0)
N = 60
TEACHER = RNG.normal(size=(N, 6)).astype(np.float32)
STUDENT = (TEACHER[:, :4] + 0.2 * RNG.normal(size=(N, 4))).astype(np.float32)
LABELS = np.array(["cat", "dog", "owl"])[RNG.integers(0, 3, N)]
IDS = np.array([f"row{place}" for place in range(N)])
SETTINGS = {"k": 3, "queries": 50}


@pytest.fixture(scope="module")
def one() -> Comparison:
    return mp.compare(TEACHER, STUDENT, labels=LABELS, ids=IDS, **SETTINGS)


@pytest.fixture(scope="module")
def both() -> Comparisons:
    return mp.compare(TEACHER, {"near": TEACHER + 0.1, "far": STUDENT}, **SETTINGS)


def test_a_comparison_answers_by_key(one: Comparison) -> None:
    overlap = one.measures["overlap@3"]
    assert 0 < overlap.low < overlap.value < overlap.high < 1
    assert overlap.chance == pytest.approx(3 / (N - 1))
    assert overlap.class_chance is not None
    assert overlap.reference is not None
    assert one.measures["per_dimension_correlation"].value is None
    assert one.measures["per_dimension_correlation"].note


def test_the_document_follows_the_contract(one: Comparison) -> None:
    made = json.loads(one.to_json())
    assert made == one.to_dict()
    parts = ["schema", "inputs", "pairing", "settings", "measures", "details", "alarms", "provenance"]
    assert list(made) == parts
    assert made["schema"] == "manifold-probe/comparison/1"
    assert set(made["inputs"]["teacher"]) == {"name", "path", "sha256", "shape", "dtype", "key"}
    assert made["inputs"]["teacher"]["shape"] == [N, 6]
    assert len(made["inputs"]["student"]["sha256"]) == 64
    assert len(made["pairing"].pop("rows_sha256")) == 64
    of_labels = {"label_conflicts": 0, "labels_recoded": False, "unlabelled": 0}
    assert made["pairing"] == {"by": "id", "rows": N, "coverage": 1.0, "verified": True} | of_labels
    assert made["settings"] == {"k": 3, "queries": 50, "seed": 0, "executor": "serial", "classes": "labels"}
    details = {
        "overlap_by_k",
        "spectra",
        "per_class",
        "per_dimension",
        "rank_quantiles",
        "norms",
        "worst_rows",
        "class_rows",
    }
    assert set(made["details"]) == details
    assert {"versions", "seed", "platform", "when"} == set(made["provenance"])


def test_the_same_input_gives_the_same_bytes(one: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    again = mp.compare(TEACHER, STUDENT, labels=LABELS, ids=IDS, **SETTINGS)
    assert _without_when(again) == _without_when(one)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    fixed = mp.compare(TEACHER, STUDENT, labels=LABELS, ids=IDS, **SETTINGS)
    assert fixed.to_dict()["provenance"]["when"] == "1970-01-01T00:00:00+00:00"


def _without_when(comparison: Comparison) -> str:
    made = json.loads(comparison.to_json())
    del made["provenance"]["when"]
    return json.dumps(made)


def test_a_loaded_comparison_answers_the_same(one: Comparison, both: Comparisons, tmp_path: Path) -> None:
    one.save(tmp_path / "one.json")
    both.save(tmp_path / "both.json")
    loaded, two = mp.load(tmp_path / "one.json"), mp.load(str(tmp_path / "both.json"))
    assert isinstance(loaded, Comparison)
    assert isinstance(two, Comparisons)
    assert loaded.measures == one.measures
    assert loaded.summary() == one.summary()
    assert loaded._repr_html_() == one._repr_html_()
    assert two.differences == both.differences
    assert two["far"].measures == both["far"].measures
    assert loaded.details == one.details
    assert loaded.alarms == one.alarms


def test_several_students_are_a_mapping(both: Comparisons) -> None:
    assert list(both) == ["near", "far"]
    assert len(both) == 2
    row = next(row for row in both.differences if row["measure"] == "overlap@3")
    near, far = both["near"].measures["overlap@3"].value, both["far"].measures["overlap@3"].value
    assert row["value"] == pytest.approx(near - far)
    assert row["low"] < row["value"] < row["high"]
    assert both.to_dict()["schema"] == "manifold-probe/comparisons/1"
    assert both["near"].measures["debiased_linear_cka"].value == pytest.approx(1, abs=1e-6)


def test_frames_are_tidy(one: Comparison, both: Comparisons) -> None:
    frame = one.to_frame()
    assert {"measure", "k", "metric", "class", "value", "low", "high", "chance"} <= set(frame.columns)
    keys = frame[["measure", "k", "metric", "class"]].astype(str)
    assert not keys.duplicated().any()
    assert {"cat", "dog", "owl"} <= set(frame["class"].dropna())
    assert set(both.to_frame()["student"]) == {"near", "far"}


def test_paths_keys_and_spaces(tmp_path: Path, one: Comparison) -> None:
    torch.save(
        {"features": torch.from_numpy(TEACHER), "ids": IDS.tolist(), "labels": LABELS.tolist()}, tmp_path / "t.pt"
    )
    np.savez(tmp_path / "s.npz", layer4=STUDENT[::-1], other=STUDENT, ids=IDS[::-1])
    made = mp.compare(tmp_path / "t.pt", f"{tmp_path}/s.npz::layer4", **SETTINGS)
    assert made.inputs["student"]["name"] == "s"
    assert made.inputs["student"]["key"] == "layer4"
    assert made.inputs["student"]["path"] == f"{tmp_path}/s.npz"
    assert made.measures["overlap@3"].value == pytest.approx(one.measures["overlap@3"].value)
    assert made.summary().startswith("s keeps ")
    space = mp.load(tmp_path / "t.pt")
    assert isinstance(space, mp.Space)
    assert mp.compare(space, torch.from_numpy(STUDENT), positional=True, **SETTINGS).pairing["by"] == "position"


def test_labels_come_in_every_form(tmp_path: Path, one: Comparison) -> None:
    order = np.random.default_rng(1).permutation(N)
    table = pd.DataFrame({"label": LABELS[order], "id": IDS[order]})
    table.to_csv(tmp_path / "labels.csv", index=False)
    by_index = pd.Series(LABELS[order], index=IDS[order])
    expected = one.measures["knn_accuracy_teacher@3"].value
    for labels in (LABELS.tolist(), table, by_index, tmp_path / "labels.csv", str(tmp_path / "labels.csv")):
        made = mp.compare(TEACHER, STUDENT, labels=labels, ids=(IDS, IDS), **SETTINGS)
        assert made.measures["knn_accuracy_teacher@3"].value == pytest.approx(expected)


def test_ids_replace_those_of_one_side_or_both() -> None:
    made = mp.compare(TEACHER, STUDENT[::-1], ids=(IDS, IDS[::-1]), **SETTINGS)
    assert made.pairing["verified"]
    with pytest.raises(InputError, match="student: has no ids"):
        mp.compare(TEACHER, STUDENT, ids=(IDS, None), **SETTINGS)
    some = mp.compare(TEACHER, STUDENT[:40], ids=(IDS, IDS[:40]), allow_missing=True, **SETTINGS)
    assert some.pairing["coverage"] == pytest.approx(40 / N)


def test_progress_is_reported() -> None:
    seen: list[tuple[str, int, int]] = []
    mp.compare(TEACHER, STUDENT, progress=lambda *step: seen.append(step), **SETTINGS)
    assert {stage for stage, _, _ in seen}
    assert all(done >= 0 and total > 0 for _, done, total in seen)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 2.5}, r"k is 2\.5"),
        ({"k": True}, "k is True"),
        ({"k": N}, f"k is {N} but {N} rows are paired"),
        ({"queries": 1}, "queries is 1"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": None}, "seed is None"),
        ({"labels": pd.DataFrame({"kind": LABELS})}, "no column 'labels'"),
        ({"labels": LABELS[:5]}, "labels"),
        ({"ids": IDS[:5]}, "ids"),
    ],
)
def test_bad_options(options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        mp.compare(TEACHER, STUDENT, **({"k": 3} | options))
    assert "\n" not in str(error.value)


def test_bad_students() -> None:
    for students, words in (({}, "dict of students is empty"), ({3: STUDENT}, "3 is no name"), (None, "NoneType")):
        with pytest.raises(InputError, match=words):
            mp.compare(TEACHER, students)


def test_as_few_queries_as_are_taken_give_numbers() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 6)), rng.normal(size=(40, 5))
    labels = [None if i % 2 else i % 4 for i in range(40)]
    assert mp.compare(x, y, labels=labels, k=5, queries=20).measures["debiased_linear_cka"].value is not None
    with pytest.raises(InputError, match="queries is 5 of 40 rows; give a whole number of at least 20"):
        mp.compare(x, y, k=5, queries=5)


def test_what_is_no_column_of_ids_or_path_is_refused() -> None:
    x = np.eye(12)
    for odd in ([[1, 2], [3]], torch.zeros(3, device="meta"), {1}):
        with pytest.raises(InputError):
            mp.compare(x, x, ids=(odd, None), k=2)
    with pytest.raises(InputError, match="a dict is no path; give the path"):
        mp.load({})
    with pytest.raises(InputError, match="rows have type csr_matrix"):
        mp.Space(csr_matrix(x))
