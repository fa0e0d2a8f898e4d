"""Labels: one notion of "no label" in every format, codes that mean none, and two codings of the same classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import linear_sum_assignment

import manifold_probe as mp
from manifold_probe.errors import InputError
from manifold_probe.spaces.columns import clean_column
from manifold_probe.spaces.labels import (
    conflicts,
    is_labelled,
    label_column,
    marked,
    of_one_kind,
    plain_labels,
    suspicious,
)
from manifold_probe.spaces.pairing import pair
from manifold_probe.spaces.read import as_space, read, read_column
from manifold_probe.spaces.space import Space

NAMES = ["ant", None, "bee", "ant"]
CODES = [2, None, 0, 2]


def cleaned(values: Any) -> list[Any]:
    return plain_labels(marked(clean_column(values, "labels", "x")))


@pytest.mark.parametrize(
    "values",
    [
        NAMES,
        ["ant", float("nan"), "bee", "ant"],
        ["ant", "", "bee", "ant"],
        ["ant", " \t", "bee", "ant"],
        np.array(["ant", "", "bee", "ant"]),
        np.array([b"ant", b"", b"bee", b"ant"]),
        np.array(NAMES, dtype=object),
        np.array(["ant", pd.NA, "bee", "ant"], dtype=object),
        np.array(["ant", pd.NaT, "bee", "ant"], dtype=object),
        np.ma.masked_array(np.array(["ant", "x", "bee", "ant"]), mask=[0, 1, 0, 0]),
        pd.Series(NAMES),
        pd.Series(NAMES, dtype="string"),
        pd.Series(NAMES, dtype="category"),
        [np.str_("ant"), None, np.str_("bee"), np.str_("ant")],
    ],
)
def test_names_without_a_label(values: Any) -> None:
    assert cleaned(values) == NAMES


@pytest.mark.parametrize(
    "values",
    [
        CODES,
        [2, float("nan"), 0, 2],
        [2, -1, 0, 2],
        (2, None, 0, 2),
        np.array([2, -1, 0, 2], dtype=np.int8),
        np.array([2, np.nan, 0, 2]),
        np.array([2, np.nan, 0, 2], dtype=np.float16),
        np.array([[2.0], [np.nan], [0.0], [2.0]]),
        [[2, None], [0], [2]],  # batches
        torch.tensor([2, -1, 0, 2]),
        [torch.tensor(2), None, torch.tensor(0), torch.tensor(2)],
        [np.int64(2), None, np.float32(0), 2.0],
        pd.Series(CODES, dtype="Int64"),
        pd.Series(CODES, dtype="category"),
        np.ma.masked_array([2, 7, 0, 2], mask=[0, 1, 0, 0]),
    ],
)
def test_numbers_without_a_label(values: Any) -> None:
    assert cleaned(values) == CODES


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.5, 1], "0.5 in row 0.*--ignore-labels"),
        (np.array([1, np.inf]), "inf in row 1"),
        (["ant", 3], r"'3' \(int\) in row 1: save all integers or all strings, None for no label"),
        ([None, 3, "ant"], r"'ant' \(str\) in row 2"),
        (np.eye(3, dtype=int), r"shape \(3, 3\): give one value per row \(of one-hot labels y.argmax\(1\)\)"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "type datetime64"),
        ([2**63, 1], "beyond 64 bits"),
        ([[1], [[2], 3]], r"\(list\) in row 1"),
        (torch.tensor([2.0, 0.0], dtype=torch.bfloat16), "bfloat16, which rounds integers above 256"),
        (np.zeros(2, dtype="V2"), "bfloat16, which rounds integers above 256"),  # as .npy and .safetensors are read
        (np.array([2048.0, np.nan], dtype=np.float16), "2048.* in row 0"),
    ],
)
def test_what_is_no_label(values: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        clean_column(values, "labels", "x")
    assert len(str(caught.value)) <= 400


@pytest.mark.parametrize(
    ("labels", "unlabelled", "expected"),
    [
        ([0, -1, 1], (), [0, None, 1]),
        ([0, -1, -2], (), [0, -1, -2]),  # -1 is not the only negative integer
        ([0, -1, -2], (-2,), [0, None, None]),
        ([-1, 1, 1], (), [-1, 1, 1]),  # two classes, as support vector machines write them
        ([-1, -1, -1], (), [None, None, None]),
        ([0, 255, 1], (255.0,), [0, None, 1]),
        ([0, -100, 1], ("-100",), [0, None, 1]),
        (["a", "unknown", "?"], ("unknown", "?"), ["a", None, None]),
        (["a", "nan", "-1"], (), ["a", "nan", "-1"]),
    ],
)
def test_codes_that_mean_none(labels: list, unlabelled: tuple, expected: list) -> None:
    assert plain_labels(marked(np.array(labels), unlabelled)) == expected
    assert plain_labels(marked(marked(np.array(labels), unlabelled), unlabelled)) == expected


def test_text_that_looks_like_none_is_pointed_out() -> None:
    assert suspicious(np.array(["a", "None", "nan", "NA", ""])) == [("NA", 1), ("None", 1), ("nan", 1)]
    assert suspicious(np.array([0, 1, -100, -100])) == [("-100", 2)]
    assert suspicious(np.array([0, -1, -2])) == []
    labels = np.array([str(x) for x in ["ant", None, "bee"] * 40])
    teacher = np.random.default_rng(0).normal(size=(120, 4))
    found = mp.compare(teacher, teacher, labels=labels)
    (message,) = [alarm["message"] for alarm in found.alarms if alarm["code"] == "suspicious_label"]
    assert "40 rows have the label 'None'" in message
    assert "--unlabelled 'None'" in message
    assert found.pairing["unlabelled"] == 0
    told = mp.compare(teacher, teacher, labels=labels, unlabelled="None")
    assert told.pairing["unlabelled"] == 40
    assert not [alarm for alarm in told.alarms if alarm["code"] == "suspicious_label"]


def save(folder: Path, kind: str, x: np.ndarray, labels: list[Any]) -> str:
    """Features with partly missing labels (strings or integers), as users of each format would write them."""
    path, ids = str(folder / f"x.{kind}"), np.arange(len(x))
    names = isinstance(next(label for label in labels if label is not None), str)
    frame = pd.DataFrame({"id": ids, "vec": list(x), "label": labels})
    if kind == "npz":
        column = np.array([label or "" for label in labels]) if names else np.array(labels, dtype=float)
        np.savez(path, features=x, ids=ids, labels=column)
    elif kind == "pt":
        torch.save({"features": torch.tensor(x), "ids": ids.tolist(), "labels": labels}, path)
    elif kind == "parquet":
        (frame if names else frame.astype({"label": "Int64"})).to_parquet(path, index=False)
    elif kind == "feather":
        frame.to_feather(path)
    else:
        wide = pd.concat([frame[["id", "label"]], pd.DataFrame(x).add_prefix("x")], axis=1)
        wide.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")
    return path


@pytest.mark.parametrize("kind", ["npz", "pt", "parquet", "feather", "csv", "tsv"])
@pytest.mark.parametrize("labels", [NAMES, CODES])
def test_every_format_has_the_same_gaps(tmp_path: Path, kind: str, labels: list) -> None:
    path = save(tmp_path, kind, np.eye(4), labels)
    assert plain_labels(read(path).labels) == labels
    column, ids = read_column(path, ("label", "labels"), "labels")
    assert plain_labels(column) == labels
    assert ids.tolist() == [0, 1, 2, 3]


def test_lines_frames_and_shards_have_gaps_too(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("3\n\n1\n")
    assert plain_labels(read_column(str(tmp_path / "labels.txt"), ("labels",), "labels")[0]) == [3, None, 1]
    frame = pd.DataFrame({"a": [1.0, 2, 3], "b": [1.0, 0, 2], "label": [1, None, 2]})
    assert plain_labels(as_space(frame).labels) == [1, None, 2]
    np.savez(tmp_path / "a.npz", features=np.eye(2), labels=np.array([np.nan, np.nan]))
    np.savez(tmp_path / "b.npz", features=np.eye(2), labels=np.array(["ant", ""]))
    (tmp_path / "manifest.json").write_text('{"shards": ["a.npz", "b.npz"]}')
    assert plain_labels(read(str(tmp_path)).labels) == [None, None, "ant", None]


def test_kinds_are_joined() -> None:
    none, codes, names = (clean_column(values, "labels", "x") for values in ([None], [7], ["7"]))
    assert [plain_labels(each) for each in of_one_kind(none, names)] == [[None], ["7"]]
    assert [plain_labels(each) for each in of_one_kind(codes, names)] == [["7"], ["7"]]
    assert [plain_labels(each) for each in of_one_kind(codes, none)] == [[7], [None]]


def test_a_table_may_cover_a_part() -> None:
    teacher = Space(np.eye(4), ids=np.array(list("abcd")))
    found = pair(teacher, {"s": teacher}, labels=np.array([5, 6]), labels_ids=np.array(["c", "a"]))["s"]
    assert plain_labels(found.labels) == [6, None, 5, None]
    assert found.unlabelled == 2


def test_labels_and_tables_in_memory() -> None:
    x, ids = np.random.default_rng(0).normal(size=(120, 4)), np.array([f"r{row}" for row in range(120)])
    teacher, half = Space(x, ids=ids, labels=["ant", None, "bee"] * 40), np.arange(120) % 3 != 1
    expected = mp.compare(teacher, Space(x, ids=ids)).to_dict()
    names = np.array(["ant", "x", "bee"] * 40)
    for table in (
        pd.DataFrame({"id": ids, "label": names})[half],
        pd.Series(names, index=ids)[half],
        pd.DataFrame({"id": ids, "label": np.where(half, names, None)}),
    ):
        found = mp.compare(Space(x, ids=ids), Space(x, ids=ids), labels=table).to_dict()
        assert found["measures"] == expected["measures"]
        assert found["pairing"] == expected["pairing"]
        assert found["pairing"]["unlabelled"] == 40


def test_no_label_anywhere_is_no_labels() -> None:
    teacher = Space(np.eye(4), labels=np.array([-1, -1, -1, -1]))
    found = pair(teacher, {"s": Space(np.eye(4))})["s"]
    assert found.labels is None
    assert found.unlabelled == 4
    student = Space(np.eye(4), labels=np.array([0, 1, -1, 1]))
    assert plain_labels(pair(teacher, {"s": student})["s"].labels) == [0, 1, None, 1]


def test_labels_may_be_ignored(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(120, 4))
    np.savez(tmp_path / "t.npz", features=x, labels=x[:, 0])
    with pytest.raises(InputError, match="--ignore-labels"):
        mp.compare(str(tmp_path / "t.npz"), x)
    found = mp.compare(str(tmp_path / "t.npz"), x, ignore_labels=True)
    assert found.to_dict()["settings"]["classes"] == "k-means"
    frame = pd.DataFrame(x).assign(label=x[:, 0])
    assert mp.compare(frame, x, ignore_labels=True).to_dict()["measures"] == found.to_dict()["measures"]
    classes = np.arange(120) % 3  # labels that are given replace those of the file, as the message promises
    given = mp.compare(str(tmp_path / "t.npz"), x, labels=classes, ignore_labels=True)
    assert given.to_dict()["measures"] == mp.compare(x, x, labels=classes).to_dict()["measures"]


@pytest.mark.parametrize("name", ["filename", "image_id"])
def test_a_table_of_labels_is_joined_by_ids_under_another_name(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, ids, order = rng.normal(size=(120, 4)), np.array([f"{i:04d}.png" for i in range(120)]), rng.permutation(120)
    classes = np.repeat(["ant", "bee", "cow"], 40)
    x[:, 0] += 9 * (classes == "ant")
    frame = pd.DataFrame({name: ids[order], "label": classes[order]})
    frame.to_csv(tmp_path / "l.csv", index=False)
    frame.to_parquet(tmp_path / "l.parquet")
    expected = mp.compare(x, x, ids=ids, labels=classes).measures["knn_accuracy_teacher@10"].value
    for labels in (str(tmp_path / "l.csv"), f"{tmp_path}/l.csv::label", str(tmp_path / "l.parquet"), frame):
        found = mp.compare(x, x, ids=ids, labels=labels).measures["knn_accuracy_teacher@10"].value
        assert found == expected
    np.savez(tmp_path / "t.npz", features=x, ids=ids)
    assert (
        mp.compare(f"{tmp_path}/t.npz", f"{tmp_path}/t.npz", labels=frame).measures["knn_accuracy_teacher@10"].value
        == expected
    )
    part = frame[:70]
    assert mp.compare(x, x, ids=ids, labels=part).pairing["unlabelled"] == 50
    other = frame.assign(**{name: [f"other/{each}" for each in frame[name]]})  # none of the rows' ids: by position
    assert mp.compare(x, x, ids=ids, labels=other).pairing["unlabelled"] == 0


@pytest.mark.parametrize("suffix", ["txt", "csv"])
def test_blank_lines_at_the_end_of_a_list(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"l.{suffix}"
    for text, expected in [
        ("cat\n\ndog\n\n\n", ["cat", "", "dog"]),
        ("label\ncat\n\ndog\n\n", ["cat", "", "dog"]),
        ("cat\ndog\n\n", ["cat", "dog", ""]),
        ("cat\ndog\n\n\n\n", ["cat", "dog", ""]),
    ]:
        path.write_text(text)
        assert read_column(str(path), ("labels",), "labels", 3)[0].tolist() == expected, text


def test_codes_that_no_row_has_are_refused() -> None:
    x, labels = np.random.default_rng(0).normal(size=(120, 4)), np.array([0, 1, -1] * 40)
    assert mp.compare(x, x, labels=labels, unlabelled=-1).pairing["unlabelled"] == 40  # which it is anyway
    assert mp.compare(x, x, labels=labels, unlabelled=[-1, "1"]).pairing["unlabelled"] == 80
    for code in (7, "ant"):
        with pytest.raises(InputError, match=f"unlabelled: {code!r} is none of the labels"):
            mp.compare(x, x, labels=labels, unlabelled=code)
    with pytest.raises(InputError, match="there are no labels"):
        mp.diagnose(x, x, unlabelled=0)
    with pytest.raises(InputError, match="unlabelled is None"):
        mp.compare(x, x, labels=labels, unlabelled=[None])


# two codings of the same classes


def best_recoding(left: np.ndarray, right: np.ndarray) -> int:
    """Disagreements after the best one-to-one recoding, from the table of both columns."""
    table = pd.crosstab(left, right).to_numpy()
    rows, columns = linear_sum_assignment(-table)
    return len(left) - int(table[rows, columns].sum())


RNG = np.random.default_rng(0)
Y = RNG.integers(0, 5, 500)
ANIMALS = np.array(["ant", "bee", "cow", "dog", "elk"])


@pytest.mark.parametrize("verified", [True, False])
@pytest.mark.parametrize(
    "other", [Y + 1, Y * 10, ANIMALS[Y], Y.astype(str)], ids=["from one", "tens", "names", "digits"]
)
def test_another_coding_is_no_conflict(other: np.ndarray, verified: bool) -> None:
    assert conflicts(Y, other, verified)[1] == 0


def test_few_conflicts_are_counted_under_any_coding() -> None:
    few = np.where(np.arange(500) % 50 == 0, (Y + 1) % 5, Y)
    for other in (few, few + 1, ANIMALS[few], np.array([3, 0, 4, 1, 2])[few]):
        assert conflicts(Y, other, True)[1] == best_recoding(Y, other) == 10


def test_rows_without_a_label_are_no_conflict() -> None:
    gaps = marked(np.where(np.arange(500) % 3 == 0, -1, Y))
    assert conflicts(gaps, Y, True) == (0, 0)
    assert conflicts(ANIMALS[Y], gaps, True) == (int(is_labelled(gaps).sum()), 0)
    assert conflicts(np.array(["", ""]), np.array(["a", "b"]), True) == (0, 0)


def test_wrong_partners_stay_conflicts() -> None:
    shuffled = RNG.permutation(Y)
    apart = int((shuffled != Y).sum())
    assert conflicts(Y, shuffled, True) == (apart, apart)
    assert conflicts(Y, shuffled + 1, True)[1] > 300
    assert conflicts(ANIMALS[Y], shuffled, True)[1] == best_recoding(Y, shuffled) > 300
    pairs = np.repeat(np.arange(250), 2)  # two rows a class: the best recoding of shuffled rows matches half by chance
    assert conflicts(pairs, RNG.permutation(pairs), True)[1] > 400
    unique = np.arange(500)
    assert conflicts(unique, RNG.permutation(unique), True)[1] > 490
    assert conflicts(unique, np.char.add("x", unique.astype(str)), True) == (500, 0)  # which says nothing


def test_a_reversed_file_sorted_by_class_is_no_recoding_unless_ids_vouch() -> None:
    by_class = np.repeat(np.arange(4), 50)
    assert conflicts(by_class, by_class[::-1], False) == (200, 200)
    assert conflicts(by_class, by_class[::-1], True) == (200, 0)


def test_thousands_of_classes_are_compared_too() -> None:
    many = np.arange(6000) // 2
    assert conflicts(many, np.char.add("c", many.astype(str)), True) == (6000, 0)


def test_compare_says_that_it_recoded() -> None:
    rng = np.random.default_rng(1)
    y, ids = rng.integers(0, 4, 200), np.arange(200)
    x = rng.normal(size=(4, 6))[y] * 3 + rng.normal(size=(200, 6))
    few = np.where(ids % 20 == 0, (y + 1) % 4, y)
    teacher = Space(x, ids=ids, labels=ANIMALS[y])
    fine = mp.compare(teacher, Space(x, ids=ids, labels=y))
    assert fine.pairing["label_conflicts"] == 0
    assert not [alarm for alarm in fine.alarms if alarm["code"] == "misaligned_rows"]
    wrong = mp.compare(teacher, Space(x, ids=ids, labels=few))
    (message,) = [alarm["message"] for alarm in wrong.alarms if alarm["code"] == "misaligned_rows"]
    assert wrong.pairing["label_conflicts"] == 10
    assert "disagree on 10 of 200 paired rows, even after the one-to-one recoding" in message
    assert not is_labelled(np.array(["", "a"]))[0]


def test_minus_one_among_integers_written_as_strings() -> None:
    assert plain_labels(marked(np.array(["0", "-1", "2"]))) == ["0", None, "2"]
    assert plain_labels(marked(np.array(["-1", "1"]))) == ["-1", "1"]
    assert plain_labels(marked(np.array(["-2", "-1", "0"]))) == ["-2", "-1", "0"]
    assert plain_labels(marked(np.array(["ant", "-1"]))) == ["ant", "-1"]


def test_labels_in_bytes_and_many_floats_beside_none() -> None:
    assert plain_labels(label_column(np.array([b"a", None, b"b"], dtype=object), "x")) == ["a", None, "b"]
    many = np.array([None, 1.0, 2.0] * 100_000, dtype=object)  # in time that grows with their number, not its square
    assert plain_labels(label_column(many, "x"))[:3] == [None, 1, 2]
    with pytest.raises(InputError, match=r"labels hold 0.5 in row 2: .*bin these targets"):
        label_column(np.array([None, 1.0, 0.5], dtype=object), "x")
