"""Files that hold features in another way than one matrix: read, or refused with a line that fixes them."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from manifold_probe.errors import InputError, shortened
from manifold_probe.spaces import Space, as_space, check_finite, inspect, read, read_column
from manifold_probe.spaces.checks import bad
from manifold_probe.spaces.labels import is_labelled

RNG = np.random.default_rng(0)
N, D = 30, 8
X = RNG.standard_normal((N, D)).astype(np.float32)
NAMES = [f"{i:05d}.jpg" for i in range(N)]


def refusal(path: Path | str) -> str:
    with pytest.raises(InputError) as error:
        read(str(path))
    message = str(error.value)
    assert len(message) <= 400
    assert str(path) in message
    return message


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", [list, tuple])
def test_batches_and_rows_in_a_list(dtype: torch.dtype, kind: Callable, tmp_path: Path) -> None:
    x = torch.from_numpy(X).to(dtype)
    for form in (x.split(7), x.split(1), x.unbind(), [x]):
        torch.save(kind(form), tmp_path / "x.pt")
        torch.save({"embeddings": kind(form), "ids": NAMES}, tmp_path / "dict.pt")
        for name in ("x.pt", "dict.pt"):
            space = read(f"{tmp_path}/{name}")
            assert (space.n, space.d, space.dtype) == (N, D, str(dtype).removeprefix("torch."))
            assert np.array_equal(space.read(5, 25), x[5:25].double().numpy())
            assert np.array_equal(space.take(np.array([20, 3, 9])), x[[20, 3, 9]].double().numpy())
    assert read(f"{tmp_path}/dict.pt").ids.tolist() == NAMES


def test_lists_that_cannot_be_joined(tmp_path: Path) -> None:
    x = torch.from_numpy(X)
    for thing, words in (
        ([x, x[:, :3]], "batches of different widths (8 in item 0, 3 in item 1)"),
        ([x, x.double()], "mixed types (float32, float64)"),
        ((x, torch.arange(N)), "save them by name"),
        ([x, "a"], "is a list of Tensor, str"),
        ([x[None], x[None]], "(1, 30, 8)"),
        ([x, x.to_sparse()], "item 1"),
    ):
        torch.save(thing, tmp_path / "x.pt")
        assert words in refusal(tmp_path / "x.pt")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_one_vector_an_item(dtype: type, tmp_path: Path) -> None:
    x = X.astype(dtype)
    vectors = dict(zip(NAMES, x, strict=True))
    torch.save({name: torch.from_numpy(row) for name, row in vectors.items()}, tmp_path / "x.pt")
    torch.save({name: torch.from_numpy(row)[None] for name, row in vectors.items()}, tmp_path / "rows.pt")
    torch.save({"val": {name: torch.from_numpy(row) for name, row in vectors.items()}}, tmp_path / "group.pt")
    torch.save(dict(enumerate(torch.from_numpy(x))), tmp_path / "numbers.pt")
    np.savez(tmp_path / "x.npz", **vectors)
    np.savez_compressed(tmp_path / "compressed.npz", **vectors)
    save_file({name: torch.from_numpy(row) for name, row in vectors.items()}, tmp_path / "x.safetensors")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name, row in vectors.items():
            file[name] = row
    for name in ("x.pt", "rows.pt", "group.pt", "numbers.pt", "x.npz", "compressed.npz", "x.safetensors", "x.h5"):
        space = read(f"{tmp_path}/{name}")
        order = np.argsort([str(item) for item in space.ids]) if name == "x.safetensors" else np.arange(N)
        assert space.ids[order].tolist() == (list(range(N)) if name == "numbers.pt" else NAMES), name
        assert np.array_equal(space.read(0, N)[order], x.astype(np.float64)), name
        assert space.dtype == np.dtype(dtype).name


def test_columns_are_not_taken_for_rows(tmp_path: Path) -> None:
    np.savez(tmp_path / "columns.npz", **{f"emb_{i}": column for i, column in enumerate(X.T)})
    assert "if they are the rows, save np.stack" in refusal(tmp_path / "columns.npz")
    np.savez(tmp_path / "curves.npz", loss=X[:, 0], accuracy=X[:, 1])
    refusal(tmp_path / "curves.npz")
    np.savez(tmp_path / "ids.npz", ids=np.arange(N), loss=X[:, 0], accuracy=X[:, 1], error=X[:, 2])
    refusal(tmp_path / "ids.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_bfloat16_as_numpy_writes_it(save: Callable, tmp_path: Path) -> None:
    exact = torch.from_numpy(X).bfloat16()
    plain = exact.view(torch.uint16).numpy().view("V2")  # what np.save leaves of an array of ml_dtypes.bfloat16
    np.save(tmp_path / "x.npy", plain)
    np.save(tmp_path / "fortran.npy", np.asfortranarray(plain))
    save(tmp_path / "x.npz", features=plain, ids=NAMES)
    for name in ("x.npy", "fortran.npy", "x.npz"):
        space = read(f"{tmp_path}/{name}")
        assert space.dtype == "bfloat16"
        assert np.array_equal(space.read(3, 9), exact[3:9].float().numpy())
        assert np.array_equal(space.take(np.array([4, 1])), exact[[4, 1]].float().numpy())
    np.save(tmp_path / "float8.npy", plain.view("V1"))
    assert "types of ml_dtypes: save x.astype(np.float32)" in refusal(tmp_path / "float8.npy")


def test_a_raw_memmap_called_npy(tmp_path: Path) -> None:
    raw = np.memmap(tmp_path / "x.npy", "float32", "w+", shape=(N, D))
    raw[:] = X
    raw.flush()
    message = refusal(tmp_path / "x.npy")
    fix = re.search(r"np.save\('new.npy', np.fromfile\(.*\).reshape\(n, d\)\)", message)
    assert fix is not None
    eval(fix[0].replace("new.npy", f"{tmp_path}/new.npy"), {"np": np, "n": N, "d": D})
    assert np.array_equal(read(f"{tmp_path}/new.npy").read(0, N), X)


@pytest.mark.parametrize("per_item", [False, True])
def test_a_dict_saved_by_numpy(per_item: bool, tmp_path: Path) -> None:
    thing = dict(zip(NAMES, X, strict=True)) if per_item else {"features": X, "ids": NAMES}
    np.save(tmp_path / "x.npy", thing, allow_pickle=True)
    message = refusal(tmp_path / "x.npy")
    fix = re.search(r"np.savez\('new.npz', .*\)", message)
    assert fix is not None
    eval(fix[0].replace("new.npz", f"{tmp_path}/new.npz"), {"np": np})
    assert np.array_equal(read(f"{tmp_path}/new.npz").read(0, N), X)
    assert read(f"{tmp_path}/new.npz").ids.tolist() == NAMES


@pytest.mark.parametrize("one_each", [False, True])
def test_a_folder_without_a_manifest(one_each: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i, part in enumerate(X if one_each else np.split(X, 3)):
        np.save(tmp_path / f"part-{i:02d}.npy", part)
    message = refusal(tmp_path)
    assert ("one vector per file" in message) == one_each
    monkeypatch.chdir(tmp_path.parent)
    exec(message[message.index("files = ") :], {"np": np, "json": json, "Path": Path})
    space = read("x.npz" if one_each else str(tmp_path))
    assert np.array_equal(space.read(0, N), X)
    if one_each:
        assert space.ids[:2].tolist() == ["part-00", "part-01"]


def test_hdf5_two_groups_down(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["model/layer4/features"], file["model/layer4/ids"] = X, NAMES
    assert read(f"{tmp_path}/x.h5").ids.tolist() == NAMES


def test_weights_are_no_features(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(D, N).state_dict(), tmp_path / "x.pth")
    assert "look like a model's weights; extract its features first" in refusal(tmp_path / "x.pth")
    assert read(f"{tmp_path}/x.pth::weight").d == D


def test_axes_of_one_are_flattened_not_pooled(tmp_path: Path) -> None:
    for shape in ((N, D, 1, 1), (N, 1, D)):
        np.save(tmp_path / "x.npy", X.reshape(shape))
        assert "x.flatten(1)" in refusal(tmp_path / "x.npy")


def test_long_messages_keep_the_file_and_the_fix() -> None:
    fix = "; pick one with t.npz::features"
    for middle in (398, 400, 401, 5_000, 100_000):
        message = "t.npz: several arrays could be the features (" + "a" * middle + ")" + fix
        assert len(str(InputError(message))) <= 400
        assert str(InputError(message)).startswith("t.npz: several arrays could be the features (aaa")
        assert str(InputError(message)).endswith(fix)
    short = "t.npz: is empty; write it again"
    assert str(InputError(short)) == short == shortened(short)
    assert str(bad("x" * 1000, "is empty; write it again")).endswith("; write it again")
    assert len(str(InputError("a" * 1000))) == 400


def test_a_listing_of_many_keys_stays_short(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **{f"layer_with_a_very_long_name_{'x' * 60}_{i}": X for i in range(50)})
    assert refusal(tmp_path / "x.npz").endswith("_0")


def finite_message(space: Space) -> str:
    def check() -> None:
        for start, block in space.blocks(4):
            check_finite(block, start, space)

    with pytest.raises(InputError) as error:
        check()
    return str(error.value)


def test_rows_and_ids_that_hold_nan_are_counted() -> None:
    x = X.copy()
    x[7, 3], x[20], x[21:26, 0] = np.nan, np.nan, np.inf
    message = finite_message(Space(x, ids=NAMES, name="t"))
    assert message.startswith("t: holds 9 NaN and 5 Inf values (first in row 7) in 7 rows")
    assert "(ids '00007.jpg', '00020.jpg', '00021.jpg', ...)" in message
    x = X.copy()
    x[7, 3] = np.nan
    assert "(first in row 7) (id 7); drop" in finite_message(Space(x, ids=np.arange(N), name="t"))
    assert "row 7); drop" in finite_message(Space(x, name="t"))


def test_overflow_of_float16_is_named(tmp_path: Path) -> None:
    with np.errstate(over="ignore"):
        half = (X * 4e4).astype(np.float16)
    rows = int(np.isinf(half).any(1).sum())
    torch.save({"features": torch.from_numpy(half), "ids": NAMES}, tmp_path / "x.pt")
    message = finite_message(read(f"{tmp_path}/x.pt"))
    assert f"in {rows} rows" in message
    assert "the largest float16 is 65,504, save float32" in message
    assert "65,504" not in finite_message(Space(np.where(X > 1, np.inf, X), name="t"))


def test_inspect_names_what_was_taken(tmp_path: Path) -> None:
    from manifold_probe.report.info import contents_blocks
    from manifold_probe.report.render.terminal import plain_text

    torch.save({"embeddings": torch.from_numpy(X), "filenames": NAMES}, tmp_path / "x.pt")
    text = plain_text(contents_blocks(inspect(f"{tmp_path}/x.pt")))
    option = f"--teacher-ids or --student-ids {tmp_path}/x.pt::filenames"
    assert f"none, but 'filenames' may be ids: take it with {option}" in text
    torch.save({"embeddings": torch.from_numpy(X), "ids": {1, 2}}, tmp_path / "x.pt")
    text = plain_text(contents_blocks(inspect(f"{tmp_path}/x.pt")))
    assert "is a set: save a list or tensor" in text


def test_fields_that_only_later_records_have_are_not_dropped(tmp_path: Path) -> None:
    records = [{"id": f"a{i}", "label": i % 3, "vector": row.tolist()} for i, row in enumerate(X)]
    path = tmp_path / "x.jsonl"

    def written(*without: str) -> str:
        first = {key: value for key, value in records[0].items() if key not in without}
        path.write_text("\n".join(map(json.dumps, [first, *records[1:]])))
        return str(path)

    assert is_labelled(read(written("label")).labels).tolist() == [False] + [True] * (len(X) - 1)
    with pytest.raises(InputError, match=r"ids hold 'None' .* in row 0"):
        read(written("id"))
    with pytest.raises(InputError, match="field 'vector' is missing in line 1; fix or drop it"):
        read(written("vector"))


def test_text_in_json_columns_is_a_candidate_for_ids(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"features": X.tolist(), "paths": [f"{i}.png" for i in range(len(X))]}))
    assert read(str(path)).source.id_candidate == "paths"
    pd.DataFrame(X).to_json(path)
    with pytest.raises(InputError, match=r"and no list; write records.*orient='records'"):
        read(str(path))


@pytest.mark.parametrize("name", [None, "img"])
def test_a_parquet_file_takes_the_index_as_a_frame_does(name: str | None, tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(len(X))]
    frame = pd.DataFrame(X, index=pd.Index(names, name=name)).add_prefix("e")
    path = tmp_path / "x.parquet"
    frame.to_parquet(path)
    assert read(str(path)).ids.tolist() == as_space(frame).ids.tolist() == names
    frame.reset_index(drop=True).rename_axis(name).sort_index().to_parquet(path, index=True)
    assert read(str(path)).ids is None  # it counts the rows
    if name is not None:
        frame.to_parquet(path)
        assert read_column(f"{path}::img", ("ids",), "ids")[0].tolist() == names


def test_ids_in_bytes_that_are_no_text(tmp_path: Path) -> None:
    ids = [uuid.UUID(int=255 << 120 | i) for i in range(len(X))]
    frame = pd.DataFrame({"id": [each.bytes for each in ids], "v": list(X)})
    frame.to_parquet(tmp_path / "x.parquet")
    expected = [str(each) for each in ids]
    assert read(str(tmp_path / "x.parquet")).ids.tolist() == as_space(frame).ids.tolist() == expected
    assert as_space({"features": X, "ids": [b"\xff\x01"] * len(X)}).ids[0] == "ff01"


def test_vectors_as_text_in_arrays(tmp_path: Path) -> None:
    cells = np.array([str(row.tolist()) for row in X])
    np.save(tmp_path / "x.npy", cells)
    np.savez(tmp_path / "x.npz", emb=cells, ids=np.arange(len(X)) + 5)
    torch.save({"features": cells.tolist()}, tmp_path / "x.pt")
    for name in ("x.npy", "x.npz", "x.pt"):
        assert np.array_equal(read(f"{tmp_path}/{name}").read(0, len(X)), X)
    np.save(tmp_path / "x.npy", X.astype(str))
    with pytest.raises(InputError, match=r"holds text: .*; save x.astype\(np.float32\)"):
        read(f"{tmp_path}/x.npy")


def test_npy_of_version_3(tmp_path: Path) -> None:
    with open(tmp_path / "x.npy", "wb") as file:
        np.lib.format.write_array(file, X, version=(3, 0))
    assert np.array_equal(read(f"{tmp_path}/x.npy").read(0, len(X)), X)


def test_columns_of_two_levels() -> None:
    frame = pd.DataFrame(X, columns=pd.MultiIndex.from_product([["emb"], range(X.shape[1])]))
    assert np.array_equal(as_space(frame).read(0, len(X)), X)


def test_what_two_matrices_in_memory_need() -> None:
    with pytest.raises(InputError, match=r"; give only one, such as image, as \{'features': x, 'ids': ids\}$"):
        as_space({"image": X, "text": X})
