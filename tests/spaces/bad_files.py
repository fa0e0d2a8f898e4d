"""Files nobody should measure: name -> builder(folder) -> (path to type, words its one-line refusal contains).

Each builder is a few lines, so that it shows what is wrong. Whoever tests a way into the package drives it over
`BAD_FILES`; reading means opening the space and reading all its rows.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file

Builder = Callable[[Path], tuple[str, str]]
BAD_FILES: dict[str, Builder] = {}
X = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22\nsize 12345\n"


def add(name: str, words: str, file: str, write: Callable[[Path], object]) -> None:
    """The file called ``file`` is what ``write(path)`` leaves there; "x.npz::a" is typed as it stands."""

    def build(folder: Path) -> tuple[str, str]:
        write(folder / file.partition("::")[0])
        return str(folder / file), words

    BAD_FILES[name] = build


def put(data: bytes | str) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data.encode() if isinstance(data, str) else data)


def npy(x: Any, **options: Any) -> Callable[[Path], object]:
    return lambda path: np.save(path, x, **options)


def npz(**arrays: Any) -> Callable[[Path], object]:
    return lambda path: np.savez(path, **arrays)


def pt(thing: Any) -> Callable[[Path], object]:
    return lambda path: torch.save(thing, path)


def table(**columns: Any) -> Callable[[Path], object]:
    return lambda path: pq.write_table(pa.table(columns), path)


def cut(write: Callable[[Path], object], share: float = 0.6) -> Callable[[Path], None]:
    """What ``write`` leaves, cut short."""

    def write_cut(path: Path) -> None:
        write(path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return write_cut


def h5(fill: Callable[[Any, Path], object]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            fill(file, path)

    return write


def folder(manifest: Any, **shards: np.ndarray) -> Callable[[Path], None]:
    """A folder with this manifest (or this text) and these .npy shards."""

    def write(path: Path) -> None:
        path.mkdir()
        (path / "manifest.json").write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))
        for name, rows in shards.items():
            np.save(path / f"{name}.npy", rows)

    return write


# Not a feature file at all.
add("missing", "no such file", "x.npy", lambda path: None)
add("missing_with_newline", "no such file", "a\nb.npy", lambda path: None)
add("inside_a_file", "no such file", "x.npy/y.npy", lambda path: path.parent.write_bytes(b"x"))
add("unknown_extension", "extension '.mat'", "x.mat", put(b"MATLAB 5.0"))
add("no_extension", "no extension", "features", put(b"abc"))
add("named_pipe", "not a regular file", "x.npy", lambda path: os.mkfifo(path))
add("pickle", "is a pickle", "x.pkl", put(pickle.dumps(X)))
for suffix in ("npy", "npz", "pt", "safetensors", "parquet", "arrow", "csv", "h5"):
    add(f"empty_{suffix}", "is empty (0 bytes)", f"x.{suffix}", put(b""))
    add(f"lfs_{suffix}", "git-lfs pointer", f"x.{suffix}", put(LFS))
    if suffix != "csv":
        add(f"garbage_{suffix}", f"x.{suffix}", f"x.{suffix}", put(b"\x07garbage, not a file of features\n" * 40))
add("parquet_named_npy", "is named .npy but holds Parquet data", "x.npy", table(a=[1.0, 2.0]))
add("npy_named_pt", "is named .pt but holds a numpy array", "x.pt", lambda path: np.save(path.open("wb"), X))
add("npz_named_pt", "that torch.save did not write", "x.pt", lambda path: np.savez(path.open("wb"), X))
add("pt_named_npz", "holds no arrays", "x.npz", pt(torch.from_numpy(X)))

# Cut short, or with sizes that lie.
add("cut_npy", "is cut short", "x.npy", cut(npy(X)))
add("cut_npy_header", "x.npy", "x.npy", cut(npy(X), 0.1))
add("cut_npz", "cut short", "x.npz", cut(npz(x=X)))
add("cut_pt", "cut short", "x.pt", cut(pt(torch.from_numpy(X))))
add("cut_safetensors", "cut short", "x.safetensors", cut(lambda path: save_file({"x": torch.from_numpy(X)}, path)))
add("cut_parquet", "cut short", "x.parquet", cut(table(a=X[:, 0], b=X[:, 1])))
add(
    "cut_feather",
    "cut short",
    "x.feather",
    cut(lambda p: pyarrow.feather.write_feather(pa.table({"a": X[:, 0]}), str(p))),
)
add("cut_h5", "cut short", "x.h5", cut(h5(lambda file, path: file.update({"x": X}))))
add("safetensors_header_lies", "x.safetensors", "x.safetensors", put(b"\xff" * 7 + b"\x7f" + b"{}" * 20))
add("expanded_tensor", "is an expanded tensor: 4 bytes claim", "x.pt", pt(torch.zeros(1).expand(10**6, 10**6)))


def _two_npys(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, X)
        np.save(file, X)


add("two_npys_in_one", "was np.save called twice", "x.npy", _two_npys)

# Bombs: small files that claim gigabytes.
GROUP = pa.table({"x": pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(2**23, np.float64)), 64)})


def _npz_bomb(path: Path) -> None:
    """A genuine deflate stream: one compressed 16 MiB of zeros, repeated 128 times."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2**20, 2**9)})
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(header.getvalue()) + packer.flush(zlib.Z_FULL_FLUSH)
    packed += (packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)) * 128 + packer.flush()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("features.npy", packed)
    data = bytearray(path.read_bytes())
    size = struct.pack("<I", 2**31 + len(header.getvalue()))
    central = data.rindex(b"PK\x01\x02")
    for start, method, length in ((0, 8, 22), (central, 10, 24)):  # mark the member as deflated, at its true size
        data[start + method] = 8
        data[start + length : start + length + 4] = size
    path.write_bytes(data)


def _parquet_bomb(path: Path) -> None:
    with pq.ParquetWriter(path, GROUP.schema, use_dictionary=False, compression="zstd") as writer:
        for _ in range(17):
            writer.write_table(GROUP)


def _feather_bomb(path: Path) -> None:
    pyarrow.feather.write_feather(pa.concat_tables([GROUP] * 17), str(path), compression="zstd")


def _compressed_pt(path: Path) -> None:
    plain = io.BytesIO()
    torch.save({"features": torch.zeros(1000, 1000)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in source.namelist():
            archive.writestr(name, source.read(name))


add("bomb_npz", "decompression bomb", "x.npz", _npz_bomb)
add("bomb_parquet", "decompression bomb", "x.parquet", _parquet_bomb)
add("bomb_feather", "decompression bomb", "x.feather", _feather_bomb)
add("bomb_pt", "compressed archive", "x.pt", _compressed_pt)
add(
    "bomb_h5", "decompression bomb", "x.h5", h5(lambda f, p: f.create_dataset("x", (10**9, 512), "f4", chunks=(1, 512)))
)
add("unwritten_h5", "decompression bomb", "x.h5", h5(lambda f, p: f.create_dataset("x", (10**9, 512), "f4")))

# The wrong type.
add("complex", "is complex64: take .real", "x.npy", npy(X.astype(np.complex64)))
add("complex_pt", "is complex64: take .real", "x.pt", pt(torch.from_numpy(X).to(torch.complex64)))
add("bool", "is bool", "x.npy", npy(X > 0))
add("text", "holds text", "x.npy", npy(X.astype(str)))
add("object", "object array", "x.npy", npy(X.astype(object), allow_pickle=True))
add("object_npz", "object array", "x.npz", npz(features=X.astype(object)))
add("structured", "structured array with fields a, b", "x.npy", npy(np.zeros(9, [("a", "f4"), ("b", "f4")])))
add("float128", "float", "x.npy", npy(X.astype(np.longdouble)))
add("sparse", "is a sparse tensor: save x.to_dense()", "x.pt", pt({"features": torch.from_numpy(X).to_sparse()}))
add("nested_tensor", "x.pt", "x.pt", lambda path: torch.save(_nested(), path))
add("quantised", "is a quantised tensor", "x.pt", lambda path: torch.save(_quantised(), path))
add("python_objects", "Python objects", "x.pt", pt({"features": torch.from_numpy(X), "when": Path("x")}))
add("raw_pickle_pt", "x.pt", "x.pt", put(pickle.dumps({"features": X})))
add("no_tensors", "holds a dict (epoch, name) without tensors", "x.pt", pt({"epoch": 3, "name": "model"}))
add(
    "batches_of_two_widths",
    "batches of different widths (4 in item 0, 3 in item 1)",
    "x.pt",
    pt([torch.ones(2, 4), torch.ones(2, 3)]),
)
add(
    "rows_of_two_lengths",
    "rows of different lengths (4 in item 0, 3 in item 1)",
    "x.pt",
    pt([torch.ones(4), torch.ones(3)]),
)
add("tuple_of_two", "save them by name", "x.pt", pt((torch.from_numpy(X), torch.arange(20))))
add("state_dict", "look like a model's weights", "x.pt", pt(torch.nn.Linear(12, 20).state_dict()))
add("running_pickle", "Python objects", "x.pt", lambda path: path.write_bytes(pickle.dumps(_Runs(path.parent), 2)))


class _Runs:
    """A pickle that would leave a file called OWNED."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.folder}/OWNED",)


def _nested() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([torch.ones(2)] * 3)


def _quantised() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.from_numpy(X), 0.1, 0, torch.qint8)


# The wrong shape.
add("scalar", "has shape (): features are a matrix", "x.npy", npy(np.float32(3)))
add("vector", "has shape (20,): features are a matrix", "x.npy", npy(X[:, 0]))
add("three_d", "has shape (5, 7, 8): pool it to (n, d) first", "x.npy", npy(np.zeros((5, 7, 8), np.float32)))
add("four_d", "has shape (5, 7, 7, 64): pool it", "x.pt", pt({"features": torch.zeros(5, 7, 7, 64)}))
add("no_rows", "0 rows, at least 2", "x.npy", npy(X[:0]))
add("one_row", "1 row, at least 2", "x.pt", pt(torch.from_numpy(X[:1])))
add("no_columns", "rows without dimensions", "x.npz", npz(x=X[:, :0]))
add("several_candidates", "pick one with", "x.npz", npz(a=X, b=X[:, :2]))
add("missing_key", "has no key 'c'; it holds a (20, 4), b (20, 2)", "x.npz::c", npz(a=X, b=X[:, :2]))
add("only_labels", "holds no matrix of features", "x.npz", npz(labels=np.arange(20), logits=X))
add("empty_npz", "holds no arrays", "x.npz", npz())

# Values that cannot be measured.
HOLED = X.copy()
HOLED[7, 2] = np.nan
add("nan_npy", "holds 1 NaN value (first in row 7)", "x.npy", npy(HOLED))
add("nan_pt", "key 'features' holds 1 NaN value (first in row 7)", "x.pt", pt({"features": torch.from_numpy(HOLED)}))
add("inf_npz", "holds 4 Inf values (first in row 3)", "x.npz", npz(x=np.where(np.arange(20)[:, None] == 3, np.inf, X)))
add("nan_parquet", "NaN value (first in row 1)", "x.parquet", table(a=[1.0, np.nan, 2.0], b=[1.0, 2.0, 3.0]))

# Columns and tables.
LISTS = pa.list_(pa.float32())
add("null_row", "holds 1 nulls (first in row 1)", "x.parquet", table(x=pa.array([[1, 2], None, [3, 4]], LISTS)))
add("null_first_row", "holds 1 nulls (first in row 0)", "x.parquet", table(x=pa.array([None, [1, 2], [3, 4]], LISTS)))
add("null_cell", "holds 1 nulls (first in row 2)", "x.parquet", table(x=pa.array([[1, 2], [2, 3], [None, 4]], LISTS)))
add("null_number", "column 'b' holds 1 nulls", "x.parquet", table(a=[1.0, 2.0], b=[1.0, None]))
add("ragged", "is ragged: row 1 has 1 values", "x.parquet", table(x=pa.array([[1, 2], [3], [4, 5, 6]], LISTS)))
add("lists_of_lists", "lists of lists: pool", "x.parquet", table(x=pa.array([[[1.0], [2.0]], [[3.0], [4.0]]])))
add("text_columns", "no matrix of features", "x.parquet", table(a=["x", "y"], b=["z", "w"]))
add("null_ids", "column 'ids' holds 1 nulls", "x.parquet", table(ids=["a", None], x=[1.0, 2.0], y=[1.0, 2.0]))
add("csv_bad_cell", "column 'b' holds 'oops' in line 3", "x.csv", put("a,b\n1,2\n3,oops\n"))
add("csv_empty_cell", "column 'a' is empty in line 3", "x.csv", put("a,b\n1,2\n,4\n"))
add("csv_nan", "column 'b' holds 'nan' in line 2", "x.csv", put("a,b\n1,nan\n3,4\n"))
add("csv_inf", "1 Inf value (first in row 1)", "x.csv", put("a,b\n1,2\n3,inf\n"))
add("csv_long_line", "has 3 cells in line 3, but 2 in its first", "x.csv", put("a,b\n1,2\n3,4,5\n"))
add("csv_long_first_line", "has lines of more than 2 cells", "x.csv", put("a,b\n1,2,3\n3,4,5\n"))
add("csv_short_line", "column 'b' is empty in line 3", "x.csv", put("a,b\n1,2\n3\n"))
add("csv_header_only", "0 rows, at least 2", "x.csv", put("a,b\n"))
add("csv_decimal_commas", "decimal commas", "x.csv", put("a;b\n1,5;2,5\n3,5;4,5\n"))
add("csv_shortened_vectors", "shortened to '...' by NumPy", "x.csv", put("id,v\na,[0.1 ... 0.2]\nb,[0.1 ... 0.3]\n"))
add("json_lines_ragged", "ragged: line 2 has 1 values", "x.jsonl", put('{"v": [1, 2]}\n{"v": [3]}\n'))
add("json_lines_cut", "line 2 is not JSON", "x.jsonl", put('{"v": [1, 2]}\n{"v": [3, 4'))
add("json_without_vectors", "no matrix of features", "x.json", put('{"a": 1}'))
add("compressed", "is compressed", "x.csv.gz", put(b"\x1f\x8b\x08"))
add("csv_not_utf8", "x.csv", "x.csv", put(b"a,b\n1,2\n\xff\xfe\x00,3\n"))
add("csv_blank_first_line", "begins with an empty line", "x.csv", put("\n1,2\n3,4\n"))

# HDF5 that leads out of the file.
LAYOUT = h5py.VirtualLayout(shape=(20, 4), dtype="f4")
LAYOUT[:] = h5py.VirtualSource("other.h5", "x", shape=(20, 4))
add("h5_external_link", "external link", "x.h5", h5(lambda f, p: f.update({"x": h5py.ExternalLink("y.h5", "/x")})))


def _half_written(file: Any, path: Path) -> None:
    file.create_dataset("x", (20, 4), "f4", chunks=(5, 4))[:10] = X[:10]


add("h5_half_written", "was only partly written (2 of 4)", "x.h5", h5(_half_written))
add("h5_soft_link", "soft link", "x.h5", h5(lambda f, p: f.update({"x": h5py.SoftLink("/y")})))
add("h5_virtual", "virtual dataset", "x.h5", h5(lambda f, p: f.create_virtual_dataset("x", LAYOUT)))
add("h5_empty", "holds no datasets", "x.h5", h5(lambda f, p: None))
add(
    "h5_external_storage",
    "stored in an external file",
    "x.h5",
    h5(lambda f, p: f.create_dataset("x", (20, 4), "f4", external=[("/etc/passwd", 0, 320)])),
)

# Ids and labels that do not fit.
add("short_ids", "holds 19 ids for 20 rows", "x.npz", npz(x=X, ids=np.arange(19)))
add("float_ids", "ids hold 0.1257302165031433 in row 0 (float32)", "x.npz", npz(x=X, ids=X[:, 0]))
add("fractional_labels", "labels hold 0.5 in row 0", "x.npz", npz(x=X, labels=np.full(20, 0.5)))
add("one_hot_labels", "labels are one value per row", "x.npz", npz(x=X, labels=np.zeros((20, 3))))
add("mixed_ids", "ids hold '7' (int) in row 1", "x.pt", pt({"x": torch.from_numpy(X), "ids": ["a", 7] * 10}))
add("object_ids", "object array", "x.npz", npz(x=X, ids=np.array(["a"] * 20, dtype=object)))

# Folders.
add("folder_without_manifest", "is a folder without manifest.json", "shards", lambda path: path.mkdir())
add("manifest_no_json", "cannot be read as JSON", "shards", folder("{shards: oops"))
add("manifest_no_shards", "lists no shards", "shards", folder({"files": []}))
add("manifest_bad_shard", "neither a file name nor", "shards", folder({"shards": [7]}))
add("manifest_bad_field", "field 'key' is not a string", "shards", folder({"shards": ["a.npy"], "key": 7}))
add("shard_missing", "b.npy: no such file", "shards", folder({"shards": ["a.npy", "b.npy"]}, a=X))
add("shard_outside", "outside the folder", "shards", folder({"shards": ["../../a.npy"]}))
add("shard_absolute", "outside the folder", "shards", folder({"shards": ["/etc/passwd.npy"]}))
add(
    "shard_widths",
    "rows of 3 float32, but the first shard 4",
    "shards",
    folder({"shards": ["a.npy", "b.npy"]}, a=X, b=X[:, 1:]),
)
add(
    "shard_types",
    "rows of 4 float64, but the first",
    "shards",
    folder({"shards": ["a.npy", "b.npy"]}, a=X, b=X.astype("f8")),
)
add("shard_rows", "the manifest says 7", "shards", folder({"shards": [{"file": "a.npy", "rows": 7}]}, a=X))
add("shard_sha256", "another sha256", "shards", folder({"shards": [{"file": "a.npy", "sha256": "00"}]}, a=X))
add("shard_ids", "ids for 20 rows", "shards", folder({"shards": ["a.npy"], "ids": "b.npy"}, a=X, b=np.arange(19)))


def _some_ids(path: Path) -> None:
    folder({"shards": ["a.npz", "b.npz"]})(path)
    np.savez(path / "a.npz", x=X, ids=np.arange(20))
    np.savez(path / "b.npz", x=X)


def _linked(path: Path) -> None:
    folder({"shards": ["a.npy"]})(path)
    np.save(path.parent / "outside.npy", X)
    (path / "a.npy").symlink_to(path.parent / "outside.npy")


add("shard_without_ids", "b.npz: has no ids but other shards have", "shards", _some_ids)
add("shard_linked_outside", "outside the folder", "shards", _linked)
