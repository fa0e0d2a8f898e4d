"""Data sources: what each lists, that ids and listings stay the same, and that pixels are what they should be."""

from __future__ import annotations

import gzip
import hashlib
import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from manifold_probe.extraction.content import digests
from manifold_probe.extraction.data import Data, open_data
from manifold_probe.extraction.images import decode
from tests.extraction.bad_data import GREYS, PNG, encoded, idx, images, picture

NAMES = ["cats/b.png", "dogs/old/a.PNG", "cats/a.jpg", "cats/é.png"]
SORTED = ["cats/a.jpg", "cats/b.png", "cats/é.png", "dogs/old/a.PNG"]


def contents(data: Data) -> list[Any]:
    return [data.read(row).content for row in range(data.n)]


def pixel(raw: bytes, at: tuple[int, int] = (0, 0)) -> Any:
    return decode(raw, "x").getpixel(at)


def test_folder(tmp_path: Path) -> None:
    images(*NAMES, ".hidden/x.png", "cats/.x.png", "cats/notes.txt")(tmp_path / "images")
    data = open_data(str(tmp_path / "images"))
    assert (data.kind, data.n, data.slices) == ("images", 4, {})
    assert data.ids.tolist() == SORTED
    assert data.labels is not None
    assert data.labels.tolist() == ["cats", "cats", "cats", "dogs"]
    item = data.read(1)
    assert item.digest == hashlib.sha256(PNG).hexdigest()
    assert item.content.mode == "RGB"
    assert np.array_equal(item.content, picture())
    assert open_data(f"{tmp_path}/images/").listing == data.listing
    images("top.png")(tmp_path / "images")
    more = open_data(str(tmp_path / "images"))
    assert more.labels is None
    assert more.ids.tolist() == [*SORTED, "top.png"]
    assert more.listing != data.listing


def test_folders_are_followed_through_links(tmp_path: Path) -> None:
    images("a.png")(tmp_path / "elsewhere")
    (tmp_path / "images").mkdir()
    for name in ("one", "two"):
        (tmp_path / "images" / name).symlink_to(tmp_path / "elsewhere")
    assert open_data(str(tmp_path / "images")).ids.tolist() == ["one/a.png", "two/a.png"]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_manifest(suffix: str, tmp_path: Path) -> None:
    images(*NAMES)(tmp_path)
    frame = pd.DataFrame(
        {"path": ["cats//b.png", "./dogs/old/../old/a.PNG"], "label": ["cat", "dog"], "site": [7, 8], "age": [1.5, 2.5]}
    )
    path = tmp_path / f"list.{suffix}"
    if suffix == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="," if suffix == "csv" else "\t")
    data = open_data(str(path))
    assert data.kind == "images"
    assert data.ids.tolist() == ["cats/b.png", "dogs/old/a.PNG"]
    assert data.labels is not None
    assert data.labels.tolist() == ["cat", "dog"]
    assert {name: column.tolist() for name, column in data.slices.items()} == {"site": [7, 8], "age": ["1.5", "2.5"]}
    assert data.read(0) == open_data(str(tmp_path)).read(1)
    by_site = open_data(str(path), labels="site", ids="label")
    assert by_site.labels is not None
    assert (by_site.labels.tolist(), by_site.ids.tolist()) == ([7, 8], ["cat", "dog"])


def test_manifest_is_the_same_in_any_format(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": ["007", "8"], "text": ["a, b", 'say "c"\nd'], "label": [1, 0], "site": ["x", "y"]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    frame[["site", "text", "label", "id"]].to_csv(tmp_path / "u.tsv", index=False, sep="\t")
    found = [open_data(str(tmp_path / name)) for name in ("t.csv", "t.parquet", "u.tsv", "t.csv::text")]
    assert len({data.listing for data in found}) == 1
    for data in found:
        assert (data.kind, data.ids.tolist()) == ("texts", ["007", "8"])
        assert contents(data) == ["a, b", 'say "c"\nd']
        assert data.read(0).digest == hashlib.sha256(b"a, b").hexdigest()


def test_cells_of_a_text_table_are_names_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,text\n1.5,a\n\n1.50,b\n")
    assert open_data(str(tmp_path / "t.csv"), ids="name").ids.tolist() == ["1.5", "1.50"]


def test_absolute_paths_need_ids(tmp_path: Path) -> None:
    images("a.png")(tmp_path / "far")
    (tmp_path / "list").mkdir()
    (tmp_path / "list/m.csv").write_text(f"path,id\n{tmp_path}/far/a.png,first\n")
    data = open_data(str(tmp_path / "list/m.csv"))
    assert data.ids.tolist() == ["first"]
    assert np.array_equal(data.read(0).content, picture())


def test_manifest_typed_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images("a.png")(tmp_path)
    (tmp_path / "m.csv").write_text("path\na.png\n")
    monkeypatch.chdir(tmp_path)
    assert open_data("m.csv").read(0).content.size == (40, 30)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(save: Any, tmp_path: Path) -> None:
    colours = np.stack([GREYS, GREYS // 2, 255 - GREYS], axis=3)
    save(tmp_path / "x.npz", images=GREYS, labels=np.arange(4)[:, None], more=colours, names=np.array(list("abcd")))
    data = open_data(str(tmp_path / "x.npz"))
    assert data.ids.tolist() == [hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in GREYS]
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 2, 3]
    assert np.array_equal(data.read(2).content, np.repeat(GREYS[2][:, :, None], 3, axis=2))
    assert data.read(2).digest == hashlib.sha256(GREYS[2].tobytes()).hexdigest()
    named = open_data(f"{tmp_path}/x.npz::more", ids="names", labels="names")
    assert named.ids.tolist() == ["a", "b", "c", "d"]
    assert np.array_equal(named.read(3).content, colours[3])


def test_large_arrays_travel_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((3000, 64, 64), np.uint8))
    assert len(pickle.dumps(open_data(str(tmp_path / "x.npz")))) < 400_000


@pytest.mark.parametrize("packed", [False, True])
def test_idx_pair(packed: bool, tmp_path: Path) -> None:
    end, pack = (".gz", gzip.compress) if packed else ("", bytes)
    path = tmp_path / f"train-images-idx3-ubyte{end}"
    path.write_bytes(pack(idx(GREYS)))
    assert open_data(str(path)).labels is None
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.array([3, 1, 2, 9], np.uint8)))
    data = open_data(str(path))
    assert data.ids.tolist() == [hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in GREYS]
    assert data.labels is not None
    assert data.labels.tolist() == [3, 1, 2, 9]
    assert np.array_equal(np.asarray(data.read(1).content)[:, :, 0], GREYS[1])
    assert data.read(1).digest == hashlib.sha256(GREYS[1].tobytes()).hexdigest()


def test_lines(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes("\ufeffZürich\r\na\x0bb \u2028c\nlast".encode())
    data = open_data(str(tmp_path / "t.txt"))
    assert (data.kind, data.labels) == ("texts", None)
    assert contents(data) == ["Zürich", "a\x0bb \u2028c", "last"]
    assert data.read(0).digest == hashlib.sha256("Zürich".encode()).hexdigest()


def test_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(
        '{"id": 5, "text": "a", "title": "A", "label": "x"}\n{"id": 6, "text": "b", "title": "B", "label": "y"}\n'
    )
    data = open_data(str(path))
    assert data.labels is not None
    assert (data.ids.tolist(), data.labels.tolist(), contents(data)) == (["5", "6"], ["x", "y"], ["a", "b"])
    titles = open_data(f"{path}::title", ids="text", labels="id")
    assert titles.labels is not None
    assert (titles.ids.tolist(), titles.labels.tolist(), contents(titles)) == (["a", "b"], [5, 6], ["A", "B"])
    path.write_text('{"text": "a"}\n{"text": "b"}\n')
    assert open_data(str(path)).ids.tolist() == ["ca978112ca1bbdca", "3e23e8160039594a"]


def test_ids_made_from_content_stay_when_rows_move_or_go(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"

    def names(*lines: str) -> dict[str, str]:
        path.write_text("".join(f"{line}\n" for line in lines))
        data = open_data(str(path))
        return {str(data.read(row).content): data.ids[row] for row in range(data.n)}

    all_of_them = names("a", "b", "c", "d")
    assert names("d", "b") == {line: all_of_them[line] for line in ("d", "b")}
    path.write_text("a\nb\na\n")
    assert open_data(str(path)).ids.tolist() == [all_of_them["a"], all_of_them["b"], f"{all_of_them['a']}-2"]


def test_listing_knows_everything_but_the_content(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"

    def listing(table: str) -> str:
        path.write_text(table)
        return open_data(str(path)).listing

    base = "id,text,label,site\na,x,1,p\nb,y,2,q\n"
    others = [
        base.replace("b,y", "c,y"),
        base.replace("2,q", "3,q"),
        base.replace("2,q", "2,p"),
        base.replace("site", "place"),
        base.replace("label", "class"),
        "id,text,label,site\nb,y,2,q\na,x,1,p\n",
    ]
    assert listing(base) == listing(base.replace(",y,", ",z,"))
    assert len({listing(base), *map(listing, others)}) == 7


def read_all(data: Data) -> list[tuple[str, bytes]]:
    items = [data.read(row) for row in range(data.n)]
    return [(item.digest, item.content.tobytes()) for item in items]


def test_threads_and_processes_read_the_same(tmp_path: Path) -> None:
    images(*NAMES)(tmp_path / "images")
    (tmp_path / "images/m.csv").write_text("path\ncats/b.png\n")
    (tmp_path / "t-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(GREYS)))
    np.savez(tmp_path / "x.npz", images=GREYS)
    sources = [
        open_data(str(tmp_path / name)) for name in ("images", "images/m.csv", "x.npz", "t-images-idx3-ubyte.gz")
    ]
    here = [read_all(data) for data in sources]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(read_all, sources * 5)) == here * 5
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        assert list(processes.map(read_all, sources)) == here


def test_exif_orientation_is_applied() -> None:
    wide = Image.new("RGB", (40, 20), "black")
    wide.paste("white", (0, 0, 20, 20))  # the left half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise: left becomes top
    upright = decode(encoded(wide, "JPEG", exif=exif, quality=95), "x")
    assert upright.size == (20, 40)
    assert np.asarray(upright)[:16].min() > 240
    assert np.asarray(upright)[24:].max() < 15
    assert decode(encoded(wide, "JPEG", quality=95), "x").size == (40, 20)


def test_sixteen_bit_greys_are_scaled() -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    for format in ("PNG", "TIFF"):
        read = np.asarray(decode(encoded(Image.fromarray(values), format), "x"))
        assert read[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]
        assert (read == read[:, :, :1]).all()
    graymap = b"P5 2 1 65535\n" + np.array([257, 65535], ">u2").tobytes()
    assert [pixel(graymap), pixel(graymap, (1, 0))] == [(1, 1, 1), (255, 255, 255)]


def test_palettes_and_transparency() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((1, 0), 1)
    assert [pixel(encoded(palette, "PNG"), (x, 0)) for x in (0, 1)] == [(10, 20, 30), (200, 100, 50)]
    see_through = encoded(palette, "PNG", transparency=0)
    assert [pixel(see_through, (x, 0)) for x in (0, 1)] == [(255, 255, 255), (200, 100, 50)]
    hidden = Image.new("RGBA", (1, 1), (90, 0, 0, 0))
    assert pixel(encoded(hidden, "PNG")) == (255, 255, 255)
    half = Image.new("LA", (1, 1), (0, 128))
    assert pixel(encoded(half, "PNG")) == (127, 127, 127)
    assert pixel(encoded(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG", transparency=(1, 2, 3))) == (255, 255, 255)


def test_other_modes_and_animations() -> None:
    assert pixel(encoded(Image.new("1", (1, 1), 1), "PNG")) == (255, 255, 255)
    assert pixel(encoded(Image.new("L", (1, 1), 77), "BMP")) == (77, 77, 77)
    assert pixel(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF")) == (255, 0, 0)
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    assert pixel(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])) == (255, 0, 0)


def test_open_files_are_closed(tmp_path: Path) -> None:
    images("a.png")(tmp_path)
    data = open_data(str(tmp_path))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        data.read(0)
    assert len(os.listdir("/proc/self/fd")) == before


def test_digests_need_no_decoding(tmp_path: Path) -> None:
    images("a.png", "b.jpg")(tmp_path / "images")
    (tmp_path / "images/c.png").write_bytes(b"no image")
    (tmp_path / "images/d.png").write_bytes(b"")
    (tmp_path / "x.csv").write_text("path,label\nimages/a.png,1\nimages/b.jpg,2\n")
    (tmp_path / "x.txt").write_text("good morning\ngood night\n")
    (tmp_path / "x.jsonl").write_text('{"id": "a", "text": "one"}\n{"id": "b", "text": "two"}\n')
    (tmp_path / "t.csv").write_text("id,text\na,one\nb,two\n")
    np.savez(tmp_path / "x.npz", images=GREYS)
    for name in ("images", "x.csv", "x.txt", "x.jsonl", "t.csv", "x.npz"):
        data = open_data(str(tmp_path / name))
        assert [data.digest(row) for row in (0, 1)] == [data.read(row).digest for row in (0, 1)]
        assert digests(data, [1, 0]) == [data.digest(1), data.digest(0)]
    broken = open_data(str(tmp_path / "images"))
    assert digests(broken, range(4))[2:] == [hashlib.sha256(b"no image").hexdigest(), None]
