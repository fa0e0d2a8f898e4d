"""Data nobody should extract: name -> builder(folder) -> (source to type, words its one-line refusal contains).

`BAD_DATA` is refused when it is opened. `BAD_IMAGES` and their like show when an item is read: name -> (bytes, words).
"""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

Builder = Callable[[Path], tuple[str, str]]
BAD_DATA: dict[str, Builder] = {}
GREYS = np.random.default_rng(0).integers(0, 256, (4, 6, 5), dtype=np.uint8)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    """An image as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def picture(width: int = 40, height: int = 30) -> Image.Image:
    """Noise in colour, so that a truncated file lacks pixels that matter."""
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8))


def png_header(width: int, height: int) -> bytes:
    """A .png that claims this size and holds no pixels."""
    chunks = b""
    for kind, body in ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b""))):
        chunks += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return b"\x89PNG\r\n\x1a\n" + chunks


def idx(array: np.ndarray) -> bytes:
    """An array of unsigned bytes as an idx file."""
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


PNG, JPEG = encoded(picture(), "PNG"), encoded(picture(), "JPEG")
BAD_IMAGES = {
    "empty.png": (b"", "is empty (0 bytes)"),
    "text.png": (b"this is no image\n" * 20, "is not an image"),
    "cut.jpg": (JPEG[: len(JPEG) // 2], "damaged or cut short"),
    "cut.png": (PNG[: len(PNG) // 2], "damaged or cut short"),
    "header.png": (PNG[:20], "damaged or cut short"),
    "garbled.png": (PNG[:60] + bytes(40) + PNG[100:], "damaged or cut short"),
    "bomb.png": (png_header(50_000, 50_000), "claims more than 89,478,485 pixels"),
    "small_bomb.png": (png_header(10_000, 10_000), "claims 10,000 x 10,000 pixels"),
    "flat.png": (png_header(0, 10), "is not an image"),
    "pointer.png": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "run git lfs pull"),
    "floats.tif": (encoded(Image.new("F", (4, 4), 0.5), "TIFF"), "holds floats"),
    "long.tif": (encoded(Image.new("I", (4, 4), 7), "TIFF"), "holds 32-bit integers"),
    "program.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image"),
}


def add(name: str, words: str, file: str, write: Callable[[Path], object]) -> None:
    """The file or folder ``file`` is what ``write(path)`` leaves there; "x.npz::a" is typed as it stands."""

    def build(folder: Path) -> tuple[str, str]:
        write(folder / file.partition("::")[0])
        return str(folder / file), words

    BAD_DATA[name] = build


def put(data: bytes | str) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data.encode() if isinstance(data, str) else data)


def npz(**arrays: Any) -> Callable[[Path], object]:
    return lambda path: np.savez(path, **arrays)


def table(**columns: Any) -> Callable[[Path], object]:
    return lambda path: pq.write_table(pa.table(columns), path)


def lines(*records: Any) -> Callable[[Path], object]:
    return put("".join(json.dumps(record) + "\n" for record in records))


def images(*names: str | bytes) -> Callable[[Path], None]:
    """A folder of one image under each of these names."""

    def write(path: Path) -> None:
        for name in names:
            file = os.fsencode(path) + b"/" + os.fsencode(name)
            os.makedirs(os.path.dirname(file), exist_ok=True)
            with open(file, "wb") as out:
                out.write(PNG)

    return write


def _link_loop(path: Path) -> None:
    images("a/b/x.png")(path)
    (path / "a/b/up").symlink_to(path)


def _idx_pair(images: bytes, labels: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(images)
        path.with_name(path.name.replace("images-idx3", "labels-idx1")).write_bytes(labels)

    return write


# Not data at all.
add("missing", "no such file", "images", lambda path: None)
add("one_image", "is not a supported kind of data", "x.png", put(PNG))
add("empty_file", "is empty (0 bytes)", "x.csv", put(""))
add("named_pipe", "not a regular file", "x.csv", lambda path: os.mkfifo(path))
add("lfs", "git-lfs pointer", "x.csv", put(BAD_IMAGES["pointer.png"][0]))

# Folders.
add("no_images", "holds no images", "images", images(".hidden.png", ".hidden/x.png", "notes.txt"))
add("empty_folder", "holds no images", "images", lambda path: path.mkdir())
add("link_loop", "is a link to a folder that contains it", "images", _link_loop)
add("not_utf8", "is not UTF-8; rename it", "images", images(b"a\xff.png"))
add("folder_key", "has no column 'x'", "images::x", images("a.png"))

# Tables.
add(
    "neither_column",
    "neither a column 'path' (images) nor a column 'text'; it holds file, id",
    "x.csv",
    put("file,id\na,b\n"),
)
add("both_columns", "pick the texts with", "x.csv", put("path,text\na.png,hello\n"))
add("no_such_text", "has no column 'body'; it holds id, text", "x.csv::body", put("id,text\na,hello\n"))
add("text_without_id", "has no column 'id'", "x.csv", put("text,label\nhello,1\n"))
add("text_twice", "has 1 duplicate ids, such as 'a' (2 times)", "x.csv", put("id,text\na,x\nb,y\na,z\n"))
add("path_twice", "such as 'a.png' (2 times)", "x.csv", put("path\na.png\n./b/../a.png\n"))
add("no_rows", "holds no images", "x.csv", put("path,label\n"))
add("no_id", "has an empty id in row 1", "x.csv", put("id,text\na,x\n,y\n"))
add("no_path", "column 'path' holds '' in row 0", "x.csv", put("path,label\n,1\n"))
add("climbing", "which leaves the table's folder", "x.csv", put("path\na/../../secret.png\n"))
add("absolute", "add a column 'id'", "x.csv", put("path\n/data/a.png\n"))
add("long_line", "has 3 cells in line 3, but 2 in its first", "x.csv", put("id,text\na,x\nb,y,z\n"))
add("short_line", "has 1 cells in line 2, but 2 in its first", "x.tsv", put("id\ttext\na\n"))
add("open_quote", "cannot be read as a table", "x.csv", put('id,text\na,"x\n'))
add("latin_1", "cannot be read as a table", "x.csv", put("id,text\na,Zürich\n".encode("latin-1")))
add("column_twice", "has two columns called 'id'", "x.csv", put("id,id,text\na,b,x\n"))
add("null_id", "column 'id' holds 1 nulls", "x.parquet", table(id=["a", None], text=["x", "y"]))
add("null_texts", "column 'text' holds only nulls", "x.parquet", table(id=["a"], text=pa.array([None], "string")))
add("null_lines", "line 1 holds no text in a field 'text', 'None'", "x.jsonl", put('{"id": "a", "text": null}\n'))
add("null_line_without_id", "line 2 is empty", "x.jsonl", put('{"text": "a"}\n{"text": null}\n'))
add("number_text", "column 'text' holds '1' (int) in row 0", "x.parquet", table(id=["a", "b"], text=[1, 2]))
add("float_id", "ids hold 1.5 in row 0 (float64)", "x.parquet", table(id=[1.5, 2.5], text=["x", "y"]))
add("bytes_column", "column 'image' holds binary", "x.parquet", table(path=["a.png"], image=[b"x"]))
add("cut_parquet", "cannot be read as a Parquet file", "x.parquet", put(b"PAR1" + bytes(30)))

# Arrays.
add("no_key", "has no key 'images'; it holds x (4, 6, 5)", "x.npz", npz(x=GREYS))
add("float_images", "is float64: images are uint8", "x.npz", npz(images=GREYS / 255))
add("channels_first", "has shape (2, 3, 6, 5)", "x.npz", npz(images=np.zeros((2, 3, 6, 5), np.uint8)))
add("flat_images", "has shape (4, 30)", "x.npz", npz(images=GREYS.reshape(4, 30)))
add("no_pixels", "has shape (4, 0, 5)", "x.npz", npz(images=GREYS[:, :0]))
add("no_array_rows", "holds no images", "x.npz", npz(images=GREYS[:0]))
add("few_labels", "holds 3 labels for 4 rows", "x.npz", npz(images=GREYS, labels=np.arange(3)))
add("array_id_twice", "duplicate ids", "x.npz", npz(images=GREYS, ids=np.array(["a", "b", "c", "a"])))
add("cut_idx", "is cut short", "t-images-idx3-ubyte", put(idx(GREYS)[:-1]))
add("long_idx", "more than the", "t-images-idx3-ubyte", put(idx(GREYS) + b"x"))
add("long_idx_gz", "more than the", "t-images-idx3-ubyte.gz", put(gzip.compress(idx(GREYS) + b"x")))
add("short_idx_gz", "is cut short", "t-images-idx3-ubyte.gz", put(gzip.compress(idx(GREYS)[:-3])))
add("cut_idx_gz", "cannot be read as an idx file", "t-images-idx3-ubyte.gz", put(gzip.compress(idx(GREYS))[:-9]))
add("no_idx", "does not start as an idx file", "t-images-idx3-ubyte", put(PNG))
bomb = gzip.compress(bytes((0, 0, 8, 3)) + struct.pack(">III", 2**22, 32, 32))
add("idx_bomb", "decompression bomb", "t-images-idx3-ubyte.gz", put(bomb))
few = idx(np.arange(3, dtype=np.uint8))
add("few_idx_labels", "holds 3 labels for 4 images", "t-images-idx3-ubyte", _idx_pair(idx(GREYS), few))

# Texts.
add("empty_lines", "line 2, 4 is empty", "x.txt", put("a\n\nb\n  \n"))
add("utf16", "cannot be read as lines of UTF-8 text", "x.txt", put("hello\n".encode("utf-16")))
add("no_json", "line 2 is not JSON", "x.jsonl", put('{"text": "a"}\n{"text":\n'))
add("deep_json", "line 1 is not JSON", "x.jsonl", put("[" * 100_000))
add("json_list", "line 1 is not a JSON object", "x.jsonl", lines(["a"]))
add("no_field", "line 1 holds no text in a field 'text', only body", "x.jsonl", lines({"body": "a"}))
add("no_such_field", "no text in a field 'title'", "x.jsonl::title", lines({"text": "a"}))
add("number_field", "no text in a field 'text', '7'", "x.jsonl", lines({"text": 7}))
add("some_ids", "line 2 has no id (1 in all)", "x.jsonl", lines({"text": "a", "id": "x"}, {"text": "b"}))
add(
    "mixed_labels",
    "labels hold '1' (int) in row 1",
    "x.jsonl",
    lines({"text": "a", "label": "x"}, {"text": "b", "label": 1}),
)
add("json_id_twice", "duplicate ids", "x.jsonl", lines({"text": "a", "id": 1}, {"text": "b", "id": 1}))
add("half_a_letter", "cannot be read as UTF-8 text", "x.jsonl", put('{"text": "\\ud800"}\n'))
add("half_an_id", "is not UTF-8", "x.jsonl", put('{"text": "a", "id": "\\ud800"}\n'))
