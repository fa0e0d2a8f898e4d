"""Ids and labels are never left out: each way to write them is read right, or refused with its key and type."""

from __future__ import annotations

import json
import uuid
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from manifold_probe.errors import InputError
from manifold_probe.spaces import Space, as_space, inspect, read

N = 20
X = np.random.default_rng(0).standard_normal((N, 4)).astype(np.float32)
ORDER = np.random.default_rng(1).permutation(N)
NAMES = [f"img/{i:03d}.jpg" for i in ORDER]


def batches(values: Any, size: int = 7) -> list[Any]:
    return [values[at : at + size] for at in range(0, N, size)]


NUMBERS: dict[str, Any] = {
    "list": ORDER.tolist(),
    "tuple": tuple(ORDER.tolist()),
    "tensor": torch.tensor(ORDER),
    "column": torch.tensor(ORDER)[:, None],
    "int32": torch.tensor(ORDER, dtype=torch.int32),
    "array": ORDER,
    "0-d tensors": list(torch.tensor(ORDER)),
    "1-element tensors": [torch.tensor([i]) for i in ORDER.tolist()],
    "0-d arrays": [np.array(i) for i in ORDER],
    "numpy scalars": list(ORDER),
    "numpy uint8": list(ORDER.astype(np.uint8)),
    "1-tuples": [(int(i),) for i in ORDER],
    "1-lists": [[int(i)] for i in ORDER],
    "tuples of tensors": [(torch.tensor(i),) for i in ORDER],
    "batches": batches(torch.tensor(ORDER)),
    "batches of lists": batches(ORDER.tolist()),
    "whole floats": torch.tensor(ORDER).float(),
    "whole float list": [float(i) for i in ORDER],
}
STRINGS: dict[str, Any] = {
    "list": NAMES,
    "np.str_": [np.str_(name) for name in NAMES],
    "array": np.array(NAMES),
    "object array": np.array(NAMES, dtype=object),
    "bytes": [name.encode() for name in NAMES],
    "1-tuples": [(name,) for name in NAMES],
    "tuples of batches": [tuple(batch) for batch in batches(NAMES)],
}


def in_file(tmp_path: Path, key: str, value: Any) -> Space:
    torch.save({"features": torch.from_numpy(X), key: value}, tmp_path / "x.pt")
    return read(str(tmp_path / "x.pt"))


def in_group(tmp_path: Path, key: str, value: Any) -> Space:
    torch.save({"train": {"features": torch.from_numpy(X), key: value}}, tmp_path / "x.pt")
    return read(str(tmp_path / "x.pt"))


def in_memory(tmp_path: Path, key: str, value: Any) -> Space:
    return as_space({"features": X, key: value})


def given(tmp_path: Path, key: str, value: Any) -> Space:
    return Space(X, **{"ids" if key in ("id", "ids") else "labels": value})


WAYS = [in_file, in_group, in_memory, given]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("key", ["ids", "id", "labels", "label"])
@pytest.mark.parametrize("form", NUMBERS)
def test_numbers(way: Callable, key: str, form: str, tmp_path: Path) -> None:
    space = way(tmp_path, key, NUMBERS[form])
    assert (space.ids if "id" in key else space.labels).tolist() == ORDER.tolist()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", STRINGS)
def test_strings(way: Callable, form: str, tmp_path: Path) -> None:
    assert way(tmp_path, "ids", STRINGS[form]).ids.tolist() == NAMES


REFUSED: dict[str, tuple[Any, str]] = {
    "with None": ([None, *NAMES[1:]], "NoneType"),
    "mixed": (["a", *range(1, N)], "int"),
    "mixed later": ([*range(N - 1), "a"], "str"),
    "mixed with tuples": ([("a",), *NAMES[1:]], "mixes tuple and"),
    "empty list": ([], "0 ids"),
    "dict": ({"a": 1}, "dict"),
    "set": (set(NAMES), "set"),
    "one string": ("abc", "str"),
    "one number": (7, "int"),
    "pairs": ([(i, i) for i in range(N)], "40 ids"),
    "too few": (NAMES[:-1], "19 ids"),
    "bool": (torch.arange(N) > 3, "bool"),
    "list of bools": ([True] * N, "bool"),
    "fractions": (torch.arange(N) / 2, "0.5"),
    "NaN": (torch.full((N,), float("nan")), "nan"),
    "rounded float32": (torch.arange(N).float() + 2**24, "float32 rounds whole numbers from 16,777,216"),
    "rounded float16": (torch.arange(N).half() * 2 + 2048, "float16 rounds"),
    "rounded float64": (torch.arange(N).double() + 2.0**53, "float64 rounds"),
    "bfloat16": (torch.arange(N).bfloat16(), "bfloat16"),
    "complex": (torch.arange(N).to(torch.complex64), "complex64"),
    "matrix": (torch.zeros(N, 2, dtype=torch.int64), "(20, 2)"),
    "sparse": (torch.arange(N).to_sparse(), "sparse"),
}


@pytest.mark.parametrize("way", [in_file, in_group, in_memory])
@pytest.mark.parametrize("form", REFUSED)
def test_refused_naming_key_and_type(way: Callable, form: str, tmp_path: Path) -> None:
    value, words = REFUSED[form]
    with pytest.raises(InputError) as error:
        way(tmp_path, "ids", value)
    assert words in str(error.value)
    assert "ids" in str(error.value)
    assert len(str(error.value)) <= 400
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("form", REFUSED)
def test_a_space_refuses_the_same(form: str) -> None:
    with pytest.raises(InputError):
        Space(X, ids=REFUSED[form][0])


def test_none_means_no_ids(tmp_path: Path) -> None:
    assert in_file(tmp_path, "ids", None).ids is None
    assert in_memory(tmp_path, "labels", None).labels is None


def test_npz_and_hdf5_and_safetensors(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", features=X, ids=np.array(NAMES, dtype=object))
    np.savez(tmp_path / "dict.npz", features=X, ids={"a": 1})
    for name in ("objects", "dict"):
        with pytest.raises(InputError, match="key 'ids' is an object array"):
            read(str(tmp_path / f"{name}.npz"))
    with h5py.File(tmp_path / "group.h5", "w") as file:
        file["features"], file["ids/0"] = X, NAMES
    with pytest.raises(InputError, match="key 'ids' is a group: write one dataset"):
        read(str(tmp_path / "group.h5"))
    with h5py.File(tmp_path / "attribute.h5", "w") as file:
        file["features"] = X
        file.attrs["ids"] = NAMES
    assert read(str(tmp_path / "attribute.h5")).ids.tolist() == NAMES
    with h5py.File(tmp_path / "of_dataset.h5", "w") as file:
        file["train/features"] = X
        file["train/features"].attrs["ids"], file["train"].attrs["label"] = ORDER, NAMES
    assert read(str(tmp_path / "of_dataset.h5")).ids.tolist() == ORDER.tolist()
    assert read(str(tmp_path / "of_dataset.h5")).labels.tolist() == NAMES
    x = torch.from_numpy(X)
    save_file({"features": x}, tmp_path / "x.safetensors", {"ids": json.dumps(NAMES), "labels": json.dumps([1] * N)})
    assert read(str(tmp_path / "x.safetensors")).ids.tolist() == NAMES
    assert read(str(tmp_path / "x.safetensors")).labels.tolist() == [1] * N
    save_file({"features": x}, tmp_path / "x.safetensors", {"ids": "some.txt"})
    with pytest.raises(InputError, match="key 'ids' in the metadata is not a JSON list"):
        read(str(tmp_path / "x.safetensors"))


def test_what_is_not_numpy_is_not_unpickled(tmp_path: Path) -> None:
    torch.save({"features": torch.from_numpy(X), "ids": [uuid.UUID(int=i) for i in range(N)]}, tmp_path / "x.pt")
    with pytest.raises(InputError, match=r"Python objects \(uuid.UUID\) in addition to plain tensors"):
        read(str(tmp_path / "x.pt"))


def test_numpy_under_the_names_of_numpy_1(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"features": X, "ids": list(ORDER)}, path, _use_new_zipfile_serialization=False)
    for old in (path.read_bytes(), path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")):
        path.write_bytes(old)
        assert read(str(path)).ids.tolist() == ORDER.tolist()
        assert np.array_equal(read(str(path)).read(0, N), X)
    assert b"numpy._core" not in old


def test_ids_beyond_int64_stay_exact() -> None:
    big = [2**64 - 1 - i for i in range(N)]
    for ids in (np.array(big, dtype=np.uint64), big, [str(i) for i in big]):
        assert as_space({"features": X, "ids": ids}).ids.tolist() == [str(i) for i in big]
    small = np.arange(N, dtype=np.uint64)
    assert as_space({"features": X, "ids": small}).ids.dtype == np.int64


def test_ids_of_other_types_in_memory() -> None:
    uuids = [uuid.UUID(int=i + 1) for i in range(N)]
    for ids in (uuids, pd.Series(uuids), pd.Index(uuids)):
        assert Space(X, ids=ids).ids.tolist() == [str(i) for i in uuids]
    for ids in (pd.Series(NAMES), pd.Index(NAMES), pd.Series(NAMES, dtype="category"), map(str, NAMES)):
        if isinstance(ids, map):
            with pytest.raises(InputError, match="ids are a map"):
                Space(X, ids=ids)
        else:
            assert Space(X, ids=ids).ids.tolist() == NAMES
    assert Space(X, ids=[Path(name) for name in NAMES]).ids.tolist() == NAMES
    assert Space(X, ids=pd.Series(range(N), dtype="Int64")).ids.tolist() == list(range(N))
    with pytest.raises(InputError, match=r"nan|NAType"):
        Space(X, ids=pd.Series([pd.NA, *range(1, N)], dtype="Int64"))
    with pytest.raises(InputError, match="1 masked"):
        Space(X, ids=np.ma.masked_array(np.arange(N), np.arange(N) == 3))
    with pytest.raises(InputError, match="2 values for 20 rows"):
        Space(X, ids=["a", "b"])


def test_a_column_that_may_be_ids_is_named(tmp_path: Path) -> None:
    x = torch.from_numpy(X)
    torch.save({"embeddings": x, "filenames": NAMES, "epoch": 3}, tmp_path / "x.pt")
    np.savez(tmp_path / "x.npz", x=X, year=np.full(N, 2020), pk=ORDER + 100, caption=np.array(["a"] * N))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"], file["image_paths"] = X, NAMES
    np.savez(tmp_path / "none.npz", x=X, year=np.full(N, 2020))
    found = {"x.pt": "filenames", "x.npz": "pk", "x.h5": "image_paths", "none.npz": None}
    for name, candidate in found.items():
        assert inspect(str(tmp_path / name))["id_candidate"] == candidate
        assert read(str(tmp_path / name)).ids is None
    assert as_space({"x": X, "_id": NAMES}).source.id_candidate == "_id"
    assert as_space(pd.DataFrame({"emb": list(X), "pk": ORDER})).source.id_candidate == "pk"


def test_shards_agree_on_having_ids(tmp_path: Path) -> None:
    for name, ids in (("a", list(torch.arange(N))), ("b", list(np.arange(N, 2 * N)))):
        torch.save({"features": torch.from_numpy(X), "ids": ids}, tmp_path / f"{name}.pt")
    (tmp_path / "manifest.json").write_text(json.dumps({"shards": ["a.pt", "b.pt"]}))
    assert read(str(tmp_path)).ids.tolist() == list(range(2 * N))
    torch.save({"features": torch.from_numpy(X), "ids": {1: 2}}, tmp_path / "b.pt")
    with pytest.raises(InputError, match=r"b.pt: key 'ids' is a dict"):
        read(str(tmp_path))
    torch.save({"features": torch.from_numpy(X)}, tmp_path / "b.pt")
    with pytest.raises(InputError, match=r"b.pt: has no ids but other shards have"):
        read(str(tmp_path))


@pytest.mark.parametrize("role", ["ids", "labels"])
def test_ordered_collections_are_lists(role: str) -> None:
    names = [f"a{i}" for i in range(8)]
    x = np.eye(8)
    for values in (dict.fromkeys(names).keys(), deque(names), dict(enumerate(names)).values()):
        assert getattr(as_space({"features": x, role: values}), role).tolist() == names
        assert getattr(Space(x, **{role: values}), role).tolist() == names
    assert getattr(Space(x, **{role: range(8)}), role).tolist() == list(range(8))
    with pytest.raises(InputError, match=f"{role}.* is a set: save a list"):
        as_space({"features": x, role: set(names)})
