"""Alarms of a pair: the same rows on both sides, and rows of one length on one side alone."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import manifold_probe as mp

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(300, 6)) * np.exp(0.4 * DRAW.normal(size=(300, 1)))
Y = X + 0.1 * DRAW.normal(size=X.shape)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def messages(teacher: object, student: object, code: str, **more: object) -> list[str]:
    return [each["message"] for each in mp.compare(teacher, student, **more).alarms if each["code"] == code]


def test_the_same_file_and_the_same_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X)
    np.save(tmp_path / "b.npy", X)
    for student, what in (("a.npy", "file"), ("b.npy", "rows")):
        found = messages(tmp_path / "a.npy", tmp_path / student, "same_file")
        assert found == [f"teacher and student are the same {what}: every likeness is 1 by construction."]
    order = DRAW.permutation(len(X))
    assert messages(X, X[order], "same_file", ids=(np.arange(len(X)), order))
    changed = X.copy()
    changed[5, 2] += 1e-6
    for other in (changed, X[order], X[:, :5], 2 * X, Y):
        assert messages(X, other, "same_file") == []


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("length", [1.0, 7.5])
def test_one_side_is_normalised(dtype: type, length: float) -> None:
    found = messages(X, (length * unit(Y)).astype(dtype), "one_sided_normalisation")
    spread = np.linalg.norm(X, axis=1)
    assert found == [
        f"student: all rows have the length {length:g} (normalised), where the teacher's lengths vary by "
        f"{spread.std() / spread.mean():.0%}; lengths cannot be compared, and Euclidean neighbours see that difference."
    ]
    assert messages(unit(X).astype(dtype), Y, "one_sided_normalisation")[0].startswith("teacher: all rows")


def test_both_or_neither_side_normalised_is_no_alarm() -> None:
    zero = unit(Y)
    zero[3] = 0
    for teacher, student in ((X, Y), (unit(X), unit(Y)), (unit(X), zero), (X, np.ones((300, 6)))):
        assert messages(teacher, student, "one_sided_normalisation") == []
    assert messages(X, zero, "one_sided_normalisation")  # a zero vector hides nothing
    far = X + 1e5  # an offset makes lengths nearly equal, which is no normalisation
    for teacher, student in ((far, Y), (Y, far), (X, np.zeros_like(X)), (np.zeros_like(X), Y)):
        assert messages(teacher, student, "one_sided_normalisation") == []
    cone = unit(Y + 20 * Y.std())
    assert messages(X, cone.astype(np.float16), "one_sided_normalisation")


def test_columns_in_memory_that_may_be_ids_are_named_as_python_takes_them() -> None:
    rng = np.random.default_rng(0)
    x, names = rng.normal(size=(40, 4)), [f"{i}.png" for i in range(40)]
    teacher = {"features": x, "image_path": names}
    for student, expected in (
        (pd.DataFrame(x).assign(file=names), "give ids=(teacher['image_path'], student['file'])."),
        (x, "give ids=(teacher['image_path'], ids of the student)."),
    ):
        (alarm,) = [each for each in mp.compare(teacher, student).alarms if each["code"] == "unverified_pairing"]
        assert alarm["message"].endswith(expected)


def test_the_options_for_columns_that_may_be_ids_can_be_pasted(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(40, 4))
    path = tmp_path / "my file.csv"
    frame = pd.DataFrame(x, columns=list("abcd")).assign(**{"file name": [f"{i}.png" for i in range(40)]})
    frame.to_csv(path, index=False)
    (alarm,) = [each for each in mp.compare(str(path), str(path)).alarms if each["code"] == "unverified_pairing"]
    words = shlex.split(alarm["message"].partition("give ")[2])
    assert words[:2] == ["--teacher-ids", f"{path}::file name"]
    assert words[3:5] == ["--student-ids", f"{path}::file name"]
