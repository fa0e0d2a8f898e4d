"""Arrays, tensors, DataFrames and paths all become the same Space."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from manifold_probe.errors import InputError
from manifold_probe.spaces import Space, as_space, check_finite

X = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)


def test_every_kind_of_thing(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    parameter = torch.nn.Parameter(torch.from_numpy(X))
    things = [X, torch.from_numpy(X), parameter, pd.DataFrame(X), tmp_path / "x.npy", f"{tmp_path}/x.npy", Space(X)]
    for thing in things:
        assert np.array_equal(as_space(thing, "teacher").read(0, 6), X)
    assert as_space(X, "teacher").name == "teacher"
    assert as_space(tmp_path / "x.npy").name == f"{tmp_path}/x.npy"


def test_frames_carry_ids_and_labels() -> None:
    frame = pd.DataFrame(X).assign(label=pd.Categorical(list("abcabc")))
    assert as_space(frame).ids is None
    assert as_space(frame).labels.tolist() == list("abcabc")
    assert as_space(frame.set_axis([f"r{i}" for i in range(6)])).ids[0] == "r0"
    assert as_space(frame.iloc[::-1]).ids.tolist() == [5, 4, 3, 2, 1, 0]
    assert as_space(frame.assign(ids=range(10, 16))).ids[0] == 10
    assert as_space(frame.assign(ids=range(10, 16))).d == 3
    assert as_space(frame.assign(name="x"), "student").d == 3
    with pytest.raises(InputError, match="column '1' has type"):
        as_space(pd.DataFrame({0: X[:, 0], 1: list("abcdef"), 2: X[:, 2]}), "student")


def test_nullable_frames_keep_their_gaps_as_nan() -> None:
    frame = pd.DataFrame(X).convert_dtypes()
    frame.iloc[2, 1] = pd.NA
    space = as_space(frame)
    with pytest.raises(InputError, match=r"^array: holds 1 NaN value \(first in row 2\)"):
        check_finite(space.read(0, 6), 0, space)


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (X[0], r"shape \(3,\)"),
        (X[None], "pool it"),
        (X[:1], "at least 2"),
        (X[:, :0], "without dimensions"),
        (X.astype(complex), "complex128"),
        (X > 0, "bool"),
        (X.astype(object), "object array"),
        (X.astype(str), "text"),
        (X.astype(np.longdouble), "longdouble|float128|float64"),
        (X.view([("a", "f4"), ("b", "f4"), ("c", "f4")]), "structured"),
        (torch.from_numpy(X).to_sparse(), "sparse"),
        (torch.zeros(1).expand(6, 3), "expanded"),
        (torch.empty(6, 3, device="meta"), "meta"),
        (None, "is a NoneType"),
        (7, "is a int"),
        ("no/such/file.npy", "no such file"),
    ],
)
def test_refused(thing: object, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        as_space(thing, "student")
    assert "\n" not in str(error.value)


def test_nan_and_inf_are_counted_over_the_whole_space() -> None:
    x = X.copy()
    x[3, 1], x[5] = np.nan, np.inf
    space = as_space(x, "teacher")
    check_finite(space.read(0, 2), 0, space)
    with pytest.raises(InputError, match=r"^teacher: holds 1 NaN and 3 Inf values \(first in row 3\)"):
        check_finite(space.read(2, 4), 2, space)
    good = as_space(X)
    check_finite(good.read(0, 6), 0, good)
