"""What a notebook holds becomes the same Space, for `compare` and for the functions of `measures` alike."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

import manifold_probe as mp
from manifold_probe import measures
from manifold_probe.errors import InputError
from manifold_probe.spaces import Space, as_space

RNG = np.random.default_rng(0)
N, D = 60, 6
X = RNG.standard_normal((N, D))
Y = X @ RNG.standard_normal((D, 4)) + 0.5 * RNG.standard_normal((N, 4))
IDS = [f"d{i}" for i in range(N)]
UUIDS = [uuid.UUID(int=i + 1) for i in range(N)]


def naive_overlap(x: np.ndarray, y: np.ndarray, k: int) -> float:
    """Cosine neighbourhoods, by loops in float64."""
    kept = 0
    for i in range(len(x)):
        sets = []
        for space in (x, y):
            cosines = [space[i] @ other / np.linalg.norm(space[i]) / np.linalg.norm(other) for other in space]
            cosines[i] = -np.inf
            sets.append(set(np.argsort(cosines)[-k:].tolist()))
        kept += len(sets[0] & sets[1])
    return kept / (len(x) * k)


class Array:
    """Like a jax array or a polars DataFrame."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return X


class Table:
    """Like an Arrow table."""

    def to_pandas(self) -> pd.DataFrame:
        return pd.DataFrame({"id": IDS, "embedding": list(X)})


FRAME = pd.DataFrame({"id": IDS, "embedding": list(X), "title": "x"})
NAMED: dict[str, Any] = {
    "frame of vectors": FRAME,
    "frame of lists": FRAME.assign(embedding=[row.tolist() for row in X]),
    "frame of tensors": FRAME.assign(embedding=[torch.tensor(row) for row in X]),
    "series of vectors": FRAME.set_index("id").embedding,
    "frame with index": pd.DataFrame(X, index=IDS),
    "frame with id column": pd.DataFrame(X).assign(id=IDS),
    "nullable frame": pd.DataFrame(X, index=IDS).convert_dtypes(),
    "dict": {"features": X, "ids": IDS, "labels": None},
    "dict of tensors": {"features": torch.tensor(X), "ids": IDS},
    "dict of batches": {"features": [X[:40], X[40:]], "ids": [IDS[:40], IDS[40:]]},
    "chroma": {"ids": IDS, "embeddings": X, "metadatas": None, "documents": IDS, "included": ["embeddings"]},
    "vectors by id": dict(zip(IDS, X, strict=True)),
    "rows by id": {name: row[None] for name, row in zip(IDS, X, strict=True)},
    "lists by id": {name: row.tolist() for name, row in zip(IDS, X, strict=True)},
    "records": [{"id": name, "vector": row.tolist()} for name, row in zip(IDS, X, strict=True)],
    "table": Table(),
    "space": Space(X, ids=IDS),
}
PLAIN: dict[str, Any] = {
    "array": X,
    "list of lists": X.tolist(),
    "tuple of lists": tuple(map(tuple, X.tolist())),
    "list of arrays": list(X),
    "list of tensors": [torch.tensor(row) for row in X],
    "list of batches": [X[:40], X[40:]],
    "object array of vectors": FRAME.embedding.to_numpy(),
    "tensor": torch.tensor(X, requires_grad=True),
    "matrix": np.asmatrix(X),
    "fortran": np.asfortranarray(X),
    "reversed": X[::-1][::-1],
    "big endian": X.astype(">f8"),
    "unmasked": np.ma.masked_array(X, np.zeros_like(X, dtype=bool)),
    "array-like": Array(),
    "frame": pd.DataFrame(X),
}


@pytest.mark.parametrize("form", [*NAMED, *PLAIN])
def test_every_form_is_read_right(form: str) -> None:
    thing = (NAMED | PLAIN)[form]
    space = as_space(thing, "teacher")
    assert np.array_equal(space.read(0, N), X)
    assert (None if space.ids is None else space.ids.tolist()) == (IDS if form in NAMED else None)
    assert measures.neighbourhood_overlap(thing, Y, k=5) == pytest.approx(naive_overlap(X, Y, 5))


@pytest.mark.parametrize("form", NAMED)
def test_compare_joins_by_id_in_every_form(form: str) -> None:
    order = RNG.permutation(N)
    found = mp.compare({"features": Y[order], "ids": [IDS[i] for i in order]}, NAMED[form], k=5)
    assert found.pairing["by"] == "id"
    assert found.measures["overlap@5"].value == pytest.approx(naive_overlap(X, Y, 5))


REFUSED: dict[str, tuple[Any, str]] = {
    "masked": (np.ma.masked_array(X, X > 2), "masked values"),
    "sparse": (scipy.sparse.csr_matrix(X), "sparse matrix: give x.toarray()"),
    "text": (X.astype(str), "text"),
    "objects": (X.astype(object), "object array"),
    "bool": (X > 0, "bool"),
    "complex": (X.astype(complex), "complex128"),
    "vector": (X[0], "has shape (6,)"),
    "list of numbers": (X[0].tolist(), "has shape (6,)"),
    "series of numbers": (pd.Series(X[0]), "has shape (6,)"),
    "three axes": (X[None], "pool it"),
    "one row": (X[:1], "at least 2"),
    "ragged": ([[1.0, 2.0], [1.0]], "rows of different lengths (2 in item 0, 1 in item 1)"),
    "ragged batches": ([X, Y], "batches of different widths"),
    "mixed": ([X[0], "a"], "is a list of ndarray, str"),
    "ragged frame": (pd.DataFrame({"v": [[1.0, 2.0], [1.0]]}), "different lengths"),
    "frame with a gap": (pd.DataFrame({"v": [[1.0, 2.0], None]}), "holds vectors, but a"),
    "two vectors a row": (pd.DataFrame({"a": list(X), "b": list(X)}), "several arrays could be the features"),
    "nothing": (None, "is a NoneType"),
    "number": (7, "is a int"),
    "set": ({1, 2}, "is a set"),
    "generator": ((row for row in X), "is a generator"),
    "dict of settings": ({"lr": 0.1, "epochs": 3}, "is a dict (lr, epochs)"),
    "NaN": (np.where(X > 2, np.nan, X), "NaN"),
    "nullable NA": (pd.DataFrame(X).convert_dtypes().mask(pd.DataFrame(X) > 2), "NaN"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_compare_and_the_functions_refuse_the_same(form: str) -> None:
    thing, words = REFUSED[form]
    if form == "generator":
        with pytest.raises(InputError, match="generator"):
            as_space(thing)
        return
    for call in (lambda: mp.compare(thing, thing, k=1), lambda: measures.linear_cka(thing, thing)):
        with pytest.raises(InputError) as error:
            call()
        assert words in str(error.value)
        assert len(str(error.value)) <= 400


def test_index_of_uuids() -> None:
    order = RNG.permutation(N)
    frames = pd.DataFrame(X, index=UUIDS), pd.DataFrame(Y, index=UUIDS).iloc[order]
    assert mp.compare(*frames, k=5).measures["overlap@5"].value == pytest.approx(naive_overlap(X, Y, 5))


def test_functions_refuse_frames_of_other_rows() -> None:
    order = RNG.permutation(N)
    x, y = pd.DataFrame(X), pd.DataFrame(Y)
    vectors = pd.Series(list(Y), index=IDS)
    pairs = [
        (x, y.iloc[order]),
        (x.set_axis(IDS), y.set_axis(IDS).iloc[order]),
        (x.set_axis(IDS), vectors.iloc[order]),
        (x.set_axis(UUIDS), y.set_axis(UUIDS).iloc[order]),
        (x.assign(id=IDS), y.assign(id=[IDS[i] for i in order])),
        (Space(X, ids=IDS), Space(Y, ids=[IDS[i] for i in order])),
        ({"features": X, "ids": IDS}, {"features": Y, "ids": IDS[::-1]}),
    ]
    for one, two in pairs:
        for name in ("linear_cka", "debiased_linear_cka", "neighbourhood_overlap", "trustworthiness", "linear_r2"):
            with pytest.raises(InputError, match=r"x and y name their rows differently .*x.loc|y = y.loc\[x.index\]"):
                getattr(measures, name)(one, two)
    whole = naive_overlap(X, Y, 5)
    for one, two in (
        (x.set_axis(IDS), y.set_axis(IDS)),
        (x, y),
        (x.set_axis(IDS), Y),
        (Space(X, ids=IDS), y.set_axis(IDS)),
    ):
        assert measures.neighbourhood_overlap(one, two, k=5) == pytest.approx(whole)


def test_functions_refuse_labels_of_other_rows() -> None:
    x, y = pd.DataFrame(X, index=IDS), pd.DataFrame(Y, index=IDS)
    labels = pd.Series(RNG.integers(0, 3, N), index=IDS)
    right = measures.knn_accuracy(X, labels.to_numpy())
    assert measures.knn_accuracy(x, labels) == measures.knn_accuracy(x, labels.to_numpy()) == right
    assert measures.knn_accuracy(X, labels.sample(frac=1, random_state=0)) is not None  # an array has no row names
    for call in (measures.knn_accuracy, lambda x, labels: measures.knn_agreement(x, y, labels)):
        with pytest.raises(InputError, match=r"x and labels name their rows differently .*labels.loc\[x.index\]"):
            call(x, labels.sample(frac=1, random_state=0))


@pytest.mark.parametrize("k", [5, 5.0, np.float64(5), np.int8(5), np.float32(5)])
def test_whole_floats_are_whole_numbers(k: Any) -> None:
    expected = naive_overlap(X, Y, 5)
    assert measures.neighbourhood_overlap(X, Y, k=k) == pytest.approx(expected)
    found = mp.compare(X, Y, k=k, queries=5000.0, seed=0.0)
    assert found.measures["overlap@5"].value == pytest.approx(expected)
    assert found.to_dict()["settings"]["k"] == 5


@pytest.mark.parametrize("k", [0, 5.5, float("nan"), float("inf"), "5", True, None, N, -1])
def test_other_k_are_refused_by_both(k: Any) -> None:
    for call in (lambda: measures.neighbourhood_overlap(X, Y, k=k), lambda: mp.compare(X, Y, k=k)):
        with pytest.raises(InputError, match=r"whole number|give a k below"):
            call()


def test_one_student_or_named_students() -> None:
    def shape(student: Any) -> Any:
        found = mp.compare(X, student, k=5, positional=True)
        return list(found) if isinstance(found, mp.Comparisons) else "one"

    assert shape({"best": Y, "last": X}) == ["best", "last"]
    assert shape({"best": {"features": Y, "ids": IDS}}) == ["best"]
    assert shape({"features": Y}) == shape({"embeddings": Y}) == shape({"ids": IDS, "layer4": Y}) == "one"
    assert shape({"features": Y, "logits": Y, "ids": IDS, "layer4": X}) == "one"
    assert shape(dict(zip(IDS, Y, strict=True))) == shape(dict(enumerate(Y))) == "one"
    assert shape({"features": Space(Y)}) == ["features"]
    with pytest.raises(InputError, match="the dict holds 'features' and 'layer4'"):
        shape({"features": Y, "layer4": X})
    with pytest.raises(InputError, match="7 is no name"):
        shape({7: Y})
    with pytest.raises(InputError, match="empty"):
        shape({})


def test_ids_given_in_any_form() -> None:
    order = RNG.permutation(N)
    other = [IDS[i] for i in order]
    expected = naive_overlap(X, Y, 5)
    for form in (list, tuple, np.array, pd.Series, pd.Index, lambda ids: [np.str_(name) for name in ids]):
        found = mp.compare(X, Y[order], ids=(form(IDS), form(other)), k=5)
        assert found.measures["overlap@5"].value == pytest.approx(expected)
    with pytest.raises(InputError, match="save all integers or all strings"):
        mp.compare(X, Y, ids=[0, *IDS[1:]], k=5)
    with pytest.raises(InputError, match="ids are a dict"):
        mp.compare(X, Y, ids={"a": 1}, k=5)
