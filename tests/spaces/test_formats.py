"""Every format gives back exactly the values that were written, in every type it can hold."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from manifold_probe.errors import InputError
from manifold_probe.spaces import inspect, read, read_column, sha256

N, D = 37, 5
IDS = [f"img/{i:03d}" for i in range(N)]
LABELS = [i % 4 for i in range(N)]
RNG = np.random.default_rng(0)
VALUES = RNG.standard_normal((N, D))
NUMPY_TYPES = [
    "float16",
    "float32",
    "float64",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
]


def values(dtype: str) -> np.ndarray:
    return (np.abs(VALUES) * 30).astype(dtype)


def pt(path: Path, x: np.ndarray) -> Path:
    torch.save({"features": torch.from_numpy(x), "ids": IDS, "labels": torch.tensor(LABELS)}, path / "x.pt")
    return path / "x.pt"


def legacy_pt(path: Path, x: np.ndarray) -> Path:
    data = {"features": torch.from_numpy(x), "ids": IDS, "labels": LABELS}
    torch.save(data, path / "x.pth", _use_new_zipfile_serialization=False)
    return path / "x.pth"


def npz(path: Path, x: np.ndarray) -> Path:
    np.savez(path / "x.npz", x=x, ids=np.array(IDS), labels=np.array(LABELS, dtype=float))
    return path / "x.npz"


def compressed_npz(path: Path, x: np.ndarray) -> Path:
    np.savez_compressed(path / "c.npz", features=np.asfortranarray(x), ids=np.array(IDS).astype("S"), label=LABELS)
    return path / "c.npz"


def parquet(path: Path, x: np.ndarray, **options: object) -> Path:
    pq.write_table(arrow_table(x), path / "x.parquet", **options)
    return path / "x.parquet"


def grouped_parquet(path: Path, x: np.ndarray) -> Path:
    return parquet(path, x, row_group_size=10)


def arrow_table(x: np.ndarray, fixed: bool = True) -> pa.Table:
    flat = pa.array(np.ascontiguousarray(x).reshape(-1))
    rows = pa.FixedSizeListArray.from_arrays(flat, D)
    rows = rows if fixed else rows.cast(pa.list_(flat.type))
    return pa.table({"id": IDS, "features": rows, "label": pa.array(LABELS)})


def list_parquet(path: Path, x: np.ndarray) -> Path:
    pq.write_table(arrow_table(x, fixed=False), path / "l.parquet", row_group_size=10)
    return path / "l.parquet"


def column_parquet(path: Path, x: np.ndarray) -> Path:
    frame = pd.DataFrame(x, columns=[f"x.{i}" for i in range(D)], index=IDS).assign(labels=LABELS, note="n")
    frame.to_parquet(path / "c.parquet")
    return path / "c.parquet"


def feather(path: Path, x: np.ndarray) -> Path:
    pyarrow.feather.write_feather(arrow_table(x), str(path / "x.feather"), chunksize=10, compression="zstd")
    return path / "x.feather"


def arrow_stream(path: Path, x: np.ndarray) -> Path:
    table = arrow_table(x, fixed=False)
    with pa.ipc.new_stream(path / "x.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    return path / "x.arrow"


def arrow_file(path: Path, x: np.ndarray) -> Path:
    table = arrow_table(x)
    with pa.ipc.new_file(path / "x.ipc", table.schema) as writer:
        writer.write_table(table)
    return path / "x.ipc"


def hdf5(path: Path, x: np.ndarray) -> Path:
    with h5py.File(path / "x.h5", "w") as file:
        file["features"], file["ids"], file["labels"] = x, IDS, LABELS
    return path / "x.h5"


def chunked_hdf5(path: Path, x: np.ndarray) -> Path:
    with h5py.File(path / "c.hdf5", "w") as file:
        file.create_dataset("layer4/features", data=x, chunks=(10, 2), compression="gzip")
        file["layer4/ids"], file["labels"] = IDS, LABELS
    return path / "c.hdf5"


def folder(path: Path, x: np.ndarray) -> Path:
    for name, rows in (("z.npy", slice(0, 10)), ("a.npy", slice(10, 30)), ("m.npy", slice(30, N))):
        np.save(path / name, x[rows])
    (path / "ids.txt").write_text("\n".join(IDS) + "\n")
    np.save(path / "labels.npy", LABELS)
    manifest = {"shards": ["z.npy", {"file": "a.npy", "rows": 20}, "m.npy"], "ids": "ids.txt", "labels": "labels.npy"}
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


WRITERS = [
    pt, legacy_pt, npz, compressed_npz, parquet, grouped_parquet, list_parquet, column_parquet,
    feather, arrow_stream, arrow_file, hdf5, chunked_hdf5, folder,
]  # fmt: skip


@pytest.mark.parametrize("dtype", NUMPY_TYPES)
@pytest.mark.parametrize("write", WRITERS)
def test_values_ids_and_labels_come_back_exactly(write: Callable, dtype: str, tmp_path: Path) -> None:
    if write is legacy_pt and dtype in ("uint16", "uint32", "uint64"):
        pytest.skip("torch's old format never held these")
    x = values(dtype)
    space = read(str(write(tmp_path, x)))
    assert (space.n, space.d, space.dtype) == (N, D, dtype)
    assert space.read(0, N).dtype == (np.float32 if np.dtype(dtype).itemsize < 3 or dtype == "float32" else np.float64)
    assert np.array_equal(space.read(0, N), x.astype(np.float64))
    index = RNG.permutation(N)[:20]
    assert np.array_equal(space.take(index), x[index].astype(np.float64))
    assert np.array_equal(np.concatenate([block for _, block in space.blocks(8)]), x.astype(np.float64))
    assert space.ids.tolist() == IDS
    assert space.labels.tolist() == LABELS


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("suffix", ["pt", "pth", "safetensors"])
def test_low_precision_is_exact(dtype: torch.dtype, suffix: str, tmp_path: Path) -> None:
    x = torch.from_numpy(VALUES).to(dtype)
    path = str(tmp_path / f"x.{suffix}")
    if suffix == "pth" and dtype != torch.bfloat16:
        pytest.skip("torch's old format never held float8")
    if suffix == "safetensors":
        save_file({"x": x, "ids": torch.arange(N)}, path)
    else:
        torch.save({"x": x, "ids": range_list()}, path, _use_new_zipfile_serialization=suffix == "pt")
    space = read(path)
    assert space.dtype == str(dtype).removeprefix("torch.")
    assert np.array_equal(space.read(3, 9), x[3:9].float().numpy())
    assert np.array_equal(space.take(np.array([5, 1])), x[[5, 1]].float().numpy())
    assert space.ids.tolist() == range_list()


def range_list() -> list[int]:
    return list(range(N))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_safetensors_at_an_odd_place(dtype: torch.dtype, tmp_path: Path) -> None:
    x = torch.from_numpy(VALUES).to(dtype)
    parts = {"a": b"\1", "x": x.view(torch.uint8).numpy().tobytes()}
    places = {"a": [0, 1], "x": [1, 1 + len(parts["x"])]}
    code = {"bfloat16": "BF16"}.get(str(dtype)[6:], f"F{8 * x.element_size()}")
    header = {"a": {"dtype": "U8", "shape": [1], "data_offsets": places["a"]}}
    header["x"] = {"dtype": code, "shape": list(x.shape), "data_offsets": places["x"]}
    text = json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts.values()))
    space = read(f"{path}::x")
    assert np.array_equal(space.read(3, 9), x[3:9].to(torch.float64).numpy())
    assert np.array_equal(space.take(np.array([5, 1])), x[[5, 1]].to(torch.float64).numpy())


@pytest.mark.parametrize("dtype", NUMPY_TYPES)
def test_safetensors(dtype: str, tmp_path: Path) -> None:
    save_file({"features": torch.from_numpy(values(dtype))}, tmp_path / "x.safetensors")
    space = read(str(tmp_path / "x.safetensors"))
    assert space.dtype == dtype
    assert np.array_equal(space.read(0, N), values(dtype).astype(np.float64))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [*NUMPY_TYPES, ">f4", ">f8", ">f2", ">i4"])
def test_npy_in_any_byte_and_memory_order(dtype: str, order: str, tmp_path: Path) -> None:
    x = np.array(values(dtype), order=order)
    np.save(tmp_path / "x.npy", x)
    space = read(str(tmp_path / "x.npy"))
    assert space.dtype == np.dtype(dtype).name
    assert np.array_equal(space.read(0, N), x.astype(np.float64))
    assert space.ids is None


@pytest.mark.parametrize(("suffix", "separator"), [("csv", ","), ("tsv", "\t")])
def test_text_tables_are_exact(suffix: str, separator: str, tmp_path: Path) -> None:
    scale = 10.0 ** RNG.integers(-30, 30, (N, D))
    frame = pd.DataFrame(VALUES * scale).assign(
        id=[f"{i:03d}" for i in range(N)], label=[["=1+1", "-b", "c,d", '"7"'][i % 4] for i in range(N)]
    )
    frame.to_csv(tmp_path / f"x.{suffix}", sep=separator, index=False)
    space = read(str(tmp_path / f"x.{suffix}"))
    assert np.array_equal(space.read(0, N), VALUES * scale)
    assert space.ids[:2].tolist() == ["000", "001"]
    assert space.labels[:4].tolist() == ["=1+1", "-b", "c,d", '"7"']


def test_csv_with_index_without_header_and_with_plain_integers(tmp_path: Path) -> None:
    pd.DataFrame(VALUES, index=IDS).to_csv(tmp_path / "index.csv")
    assert read(str(tmp_path / "index.csv")).ids.tolist() == IDS
    pd.DataFrame(VALUES).to_csv(tmp_path / "range.csv")
    space = read(str(tmp_path / "range.csv"))
    assert space.ids is None
    assert space.d == D
    np.savetxt(tmp_path / "bare.csv", VALUES, delimiter=",")
    assert np.array_equal(read(str(tmp_path / "bare.csv")).read(0, N), VALUES)
    (tmp_path / "int.csv").write_text("ids,a,b\n7,1,2\n8,3,4.5\n")
    space = read(str(tmp_path / "int.csv"))
    assert space.ids.tolist() == [7, 8]
    assert space.read(0, 2).tolist() == [[1, 2], [3, 4.5]]


@pytest.mark.parametrize("new", [True, False])
def test_torch_oddities(new: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.from_numpy(VALUES).float()
    wide = torch.cat([x, x], 1)
    oddities = {
        "view": wide[:, ::2],
        "transposed": x.t().contiguous().t(),
        "grad": x.clone().requires_grad_(),
        "parameter": torch.nn.Parameter(x.clone()),
    }
    for name, tensor in oddities.items():
        torch.save(tensor, tmp_path / f"{name}.pt", _use_new_zipfile_serialization=new)
        assert np.array_equal(read(str(tmp_path / f"{name}.pt")).read(0, N), tensor.detach().numpy()), name
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:3")
    torch.save({"features": x}, tmp_path / "cuda.pt", _use_new_zipfile_serialization=new)
    assert b"cuda:3" in (tmp_path / "cuda.pt").read_bytes()
    assert np.array_equal(read(str(tmp_path / "cuda.pt")).read(0, N), x.numpy())


def test_nested_dicts_use_the_ids_of_their_group(tmp_path: Path) -> None:
    x = torch.from_numpy(VALUES)
    data = {"train": {"features": x[:20], "ids": IDS[:20]}, "test": {"features": x[20:], "ids": IDS[20:]}, "ids": [1]}
    torch.save(data, tmp_path / "x.pt")
    assert read(f"{tmp_path}/x.pt::test.features").ids.tolist() == IDS[20:]
    with pytest.raises(InputError, match=r"train.features \(20, 5\), test.features \(17, 5\)"):
        read(f"{tmp_path}/x.pt")


def test_key_choice(tmp_path: Path) -> None:
    x = VALUES
    np.savez(tmp_path / "two.npz", a=x, b=x[:, :2], ids=np.arange(N))
    with pytest.raises(InputError, match=r"a \(37, 5\), b \(37, 2\)\); pick one with .*two.npz::a$"):
        read(str(tmp_path / "two.npz"))
    assert read(f"{tmp_path}/two.npz::b").d == 2
    assert read(f"{tmp_path}/two.npz", "b").source.key == "b"
    np.savez(tmp_path / "default.npz", a=x, features=x[:, :2], logits=x)
    assert read(str(tmp_path / "default.npz")).d == 2
    np.savez(tmp_path / "only.npz", logits=x, labels=LABELS, embedding=x[:, :3], epoch=3)
    assert read(str(tmp_path / "only.npz")).source.key == "embedding"
    assert read(f"{tmp_path}/only.npz::logits").d == D
    (tmp_path / "odd::name.npz").write_bytes((tmp_path / "two.npz").read_bytes())
    assert read(f"{tmp_path}/odd::name.npz::a").d == D
    np.save(tmp_path / "odd::a.npy", x)
    assert read(f"{tmp_path}/odd::a.npy").d == D


def test_stored_npz_is_mapped_and_compressed_npz_is_not_held_twice(tmp_path: Path) -> None:
    assert isinstance(read(str(npz(tmp_path, VALUES)))._rows, np.memmap)
    assert not isinstance(read(str(compressed_npz(tmp_path, VALUES)))._rows, np.memmap)


@pytest.mark.parametrize("write", [compressed_npz, grouped_parquet, feather, chunked_hdf5])
def test_big_decoded_files_go_to_a_mapped_temporary_file(
    write: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manifold_probe.spaces.spool.MEMORY_BYTES", 100)
    monkeypatch.setattr("manifold_probe.spaces.arrow_file.BATCH_BYTES", 400)
    space = read(str(write(tmp_path, VALUES)))
    base = space._rows
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    assert np.array_equal(space.read(0, N), VALUES)


def test_memory_held_by_decoded_arrays_is_counted_and_given_back(tmp_path: Path) -> None:
    from manifold_probe.spaces import spool

    before = sum(spool._bytes_in_memory.values())
    space = read(str(compressed_npz(tmp_path, VALUES)))
    assert sum(spool._bytes_in_memory.values()) > before
    del space
    assert sum(spool._bytes_in_memory.values()) == before


@pytest.mark.parametrize("suffix", ["npy", "safetensors"])
def test_huge_sparse_file_is_never_loaded(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"huge.{suffix}"
    n, d = 10_000_000, 512
    with open(path, "wb") as file:
        if suffix == "npy":
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (n, d)})
        else:
            facts = {"dtype": "F32", "shape": [n, d], "data_offsets": [0, 4 * n * d]}
            header = json.dumps({"features": facts}).encode()
            file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(file.tell() + 4 * n * d)  # 20 GB that take no disk
    script = (
        "import sys; from manifold_probe.spaces import read\n"
        "anon = lambda: next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('RssAnon'))\n"
        "before = anon(); s = read(sys.argv[1]); b = s.read(9_000_000, 9_001_000)\n"
        "print(s.n, b.shape, anon() - before)"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    rows, *shape, grown = done.stdout.split()
    assert (rows, " ".join(shape)) == ("10000000", "(1000, 512)")
    assert int(grown) < 50_000  # KiB


def test_importing_spaces_costs_only_numpy() -> None:
    heavy = "{'torch', 'pyarrow', 'pandas', 'h5py', 'safetensors', 'scipy'}"
    script = f"import sys, manifold_probe.spaces; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_columns_from_any_format(tmp_path: Path) -> None:
    names = ("labels", "label")
    np.save(tmp_path / "l.npy", LABELS)
    torch.save(torch.tensor(LABELS), tmp_path / "l.pt")
    (tmp_path / "l.txt").write_text("\n".join(map(str, LABELS)))
    frame = pd.DataFrame({"id": IDS, "label": LABELS, "species": [f"s{label}" for label in LABELS]})
    frame.to_csv(tmp_path / "l.csv", index=False)
    frame.to_parquet(tmp_path / "l.parquet")
    for name in ("l.npy", "l.pt", "l.txt", "l.csv", "l.parquet"):
        found, ids = read_column(str(tmp_path / name), names, "labels")
        assert found.tolist() == LABELS, name
        assert (None if ids is None else ids.tolist()) == (
            IDS if "id" in name or name[2:] in ("csv", "parquet") else None
        )
    for name in ("l.csv", "l.parquet"):
        found, ids = read_column(f"{tmp_path}/{name}::species", names, "labels")
        assert found.tolist() == frame.species.tolist()
        assert ids.tolist() == IDS
    assert read_column(f"{tmp_path}/l.csv", ("ids", "id"), "ids")[0].tolist() == IDS
    assert read_column(str(pt(tmp_path, VALUES)), names, "labels")[0].tolist() == LABELS
    assert read_column(str(folder(tmp_path, VALUES)), names, "labels")[0].tolist() == LABELS
    (tmp_path / "crlf.txt").write_bytes(b"a\r\nb\r\n")
    assert read_column(f"{tmp_path}/crlf.txt", names, "labels")[0].tolist() == ["a", "b"]
    with pytest.raises(InputError, match="has no column 'colour', only id, label, species"):
        read_column(f"{tmp_path}/l.csv::colour", names, "labels")


def test_inspect_says_what_a_file_holds(tmp_path: Path) -> None:
    x = VALUES.copy()
    x[3, 1], x[4, 0], x[5] = np.nan, np.inf, 0
    path = str(pt(tmp_path, x))
    found = inspect(path)
    json.dumps(found, allow_nan=False)
    assert found["format"] == "torch"
    assert found["sha256"] == sha256(path)
    assert [item["key"] for item in found["keys"]] == ["features", "ids", "labels"]
    assert found["ids"] == {"count": N, "type": "string", "unique": True, "first": IDS[:3]}
    assert found["labels"] == {"count": N, "type": "integer", "classes": 4}
    features = found["features"]
    assert (features["nan"], features["inf"], features["zero_rows"]) == (1, 1, 1)
    whole = np.delete(x, [3, 4], axis=0)
    norms = np.linalg.norm(whole, axis=1)
    assert np.allclose(list(features["norms"].values()), [0, np.median(norms), norms.max()])
    assert features["range"] == {"min": whole.min(), "max": whole.max()}


def test_inspect_looks_into_files_that_cannot_be_compared(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", a=VALUES, b=VALUES)
    found = inspect(str(tmp_path / "two.npz"))
    assert "pick one with" in found["problem"]
    assert found["features"] is None
    assert len(inspect(f"{tmp_path}/two.npz::a")["keys"]) == 2


def test_folder_hash_follows_the_manifest(tmp_path: Path) -> None:
    first = sha256(str(folder(tmp_path, VALUES)))
    assert inspect(str(tmp_path))["sha256"] == first
    (tmp_path / "unlisted.npy").write_bytes(b"x")
    assert sha256(str(tmp_path)) == first
    np.save(tmp_path / "m.npy", VALUES[:7])
    assert sha256(str(tmp_path)) != first
