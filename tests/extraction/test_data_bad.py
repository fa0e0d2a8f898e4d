"""Data that is refused: one plain line that names the source, and for single items the id and the reason."""

from __future__ import annotations

import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from manifold_probe.errors import InputError
from manifold_probe.extraction.data import Unreadable, open_data
from tests.extraction.bad_data import BAD_DATA, BAD_IMAGES, GREYS, PNG, picture


@pytest.mark.parametrize("name", BAD_DATA)
def test_refused_when_opened(name: str, tmp_path: Path) -> None:
    source, words = BAD_DATA[name](tmp_path)
    with pytest.raises(InputError) as caught:
        open_data(source)
    message = str(caught.value)
    assert words in message
    assert message.startswith(str(tmp_path))
    assert "\n" not in message


@pytest.mark.filterwarnings("ignore")  # pytest undoes our filter for Pillow's warning of bombs
@pytest.mark.parametrize("name", BAD_IMAGES)
def test_unreadable_images(name: str, tmp_path: Path) -> None:
    raw, words = BAD_IMAGES[name]
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / name).write_bytes(raw)
    data = open_data(str(tmp_path))
    with pytest.raises(Unreadable) as caught:
        data.read(0)
    assert caught.value.id == f"a/{name}"
    assert words in caught.value.reason
    assert str(caught.value) == f"a/{name}: {caught.value.reason}"
    assert "\n" not in str(caught.value)


def test_unreadable_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(Unreadable("a\nb", "is\nempty")))
    assert (error.id, error.reason, str(error)) == ("a\nb", "is empty", "'a\\nb': is empty")
    assert isinstance(error, InputError)


def test_images_that_vanish_or_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "gone.png").write_bytes(PNG)
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    data = open_data(str(tmp_path))
    (tmp_path / "gone.png").unlink()
    reasons = {}
    for row in range(data.n):
        with pytest.raises(Unreadable) as caught:
            data.read(row)
        reasons[caught.value.id] = caught.value.reason
    assert reasons == {
        "broken.png": "no such file",
        "gone.png": "no such file",
        "pipe.png": "is not a regular file",
    }


def test_arrays_that_change_after_they_were_opened(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, images=GREYS)
    data = open_data(str(path))
    data.read(0)
    np.savez(path, images=GREYS[:2])
    with pytest.raises(Unreadable, match="was changed after it was opened"):
        data.read(3)
    path.unlink()
    with pytest.raises(Unreadable, match="is no longer there"):
        data.read(3)


@pytest.mark.parametrize("file", ["x.csv", "x.jsonl"])
def test_empty_texts(file: str, tmp_path: Path) -> None:
    text = "id,text\na,x\nb,  \n" if file == "x.csv" else '{"id": "a", "text": "x"}\n{"id": "b", "text": ""}\n'
    (tmp_path / file).write_text(text)
    data = open_data(str(tmp_path / file))
    assert data.read(0).content == "x"
    with pytest.raises(Unreadable, match="b: the text is empty"):
        data.read(1)


NULL_TEXTS = {
    "null.jsonl": '{"id": "a", "text": "x"}\n{"id": "b", "text": null}\n{"id": "c", "text": "z"}\n',
    "nan.jsonl": '{"id": "a", "text": "x"}\n{"id": "b", "text": NaN}\n{"id": "c", "text": "z"}\n',
    "absent.jsonl": '{"id": "a", "text": "x"}\n{"id": "b"}\n{"id": "c", "text": "z"}\n',
    "x.csv": "id,text\na,x\nb,\nc,z\n",
    "x.tsv": "id\ttext\na\tx\nb\t\nc\tz\n",
}


@pytest.mark.parametrize("file", [*NULL_TEXTS, "x.parquet", "dictionary.parquet"])
def test_a_null_text_is_one_item_that_cannot_be_read(file: str, tmp_path: Path) -> None:
    if file.endswith(".parquet"):
        texts = pa.array(["x", None, "z"])
        texts = texts.dictionary_encode() if file == "dictionary.parquet" else texts
        pq.write_table(pa.table({"id": ["a", "b", "c"], "text": texts}), tmp_path / file)
    else:
        (tmp_path / file).write_text(NULL_TEXTS[file])
    data = open_data(str(tmp_path / file))
    assert [data.read(row).content for row in (0, 2)] == ["x", "z"]
    with pytest.raises(Unreadable, match=r"b: (there is no text \(null\)|the text is empty)"):
        data.read(1)
    assert (data.digest(1) is None) == (not file.endswith(("csv", "tsv")))


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("x.csv", "path,label\na.png,1\n", "has no column 'group' for the {}"),
        ("x.jsonl", '{"text": "a", "label": 1}\n', "has no field 'group' for the {}"),
        ("x.txt", "a\nb\n", "is a text file and has no column 'group'"),
    ],
)
@pytest.mark.parametrize("role", ["ids", "labels"])
def test_columns_that_are_absent(file: str, text: str, words: str, role: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(InputError) as caught:
        open_data(str(tmp_path / file), **{role: "group"})
    assert words.format(role) in str(caught.value)


def test_keys_and_folders_that_lack_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=GREYS)
    with pytest.raises(InputError, match="has no key 'group' for the labels; it holds images"):
        open_data(str(tmp_path / "x.npz"), labels="group")
    picture().save(tmp_path / "a.png")
    with pytest.raises(InputError, match="is a folder of images and has no column 'group'"):
        open_data(str(tmp_path), labels="group")


@pytest.mark.filterwarnings("ignore")
def test_decoding_in_threads_leaves_the_warnings_alone(tmp_path: Path) -> None:
    import warnings

    for name in ("small_bomb.png", "cut.jpg"):
        (tmp_path / name).write_bytes(BAD_IMAGES[name][0])
    data = open_data(str(tmp_path))
    before = list(warnings.filters)

    def read() -> None:
        for row in (0, 1) * 20:
            with pytest.raises(Unreadable):
                data.read(row)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def test_a_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0)
    (tmp_path / "a.png").write_bytes(PNG)
    if os.access(tmp_path / "shut", os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(InputError, match="shut: cannot be listed"):
        open_data(str(tmp_path))


def test_limit_is_on_pixels_not_on_shape(tmp_path: Path) -> None:
    Image.new("L", (20_000, 2)).save(tmp_path / "wide.png")
    assert open_data(str(tmp_path)).read(0).content.size == (20_000, 2)
