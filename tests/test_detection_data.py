"""The detection set of experiments/detection: the same bytes from the same seed, and right boxes."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

FOLDER = Path(__file__).resolve().parents[1] / "experiments" / "detection"


@pytest.fixture(scope="module")
def data() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        patch.delitem(sys.modules, "data", raising=False)  # other experiments have a file of that name
        module = importlib.import_module("data")
        if not module.FASHION.exists():
            pytest.skip("needs the package dataset-fashion-mnist")
        yield module
        del sys.modules["data"]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_seed_gives_the_same_bytes(data: ModuleType, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        data.write(tmp_path / name, "val", seed, 4)
    assert sorted(content(tmp_path / "a")) == ["val/annotations.json", *(f"val/images/{n:05d}.png" for n in range(4))]
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert content(tmp_path / "a")["val/images/00000.png"] != content(tmp_path / "c")["val/images/00000.png"]


def test_annotations_are_those_of_coco(data: ModuleType, tmp_path: Path) -> None:
    place = data.write(tmp_path, "val", 0, 30)
    found = json.loads((place / "annotations.json").read_text())
    assert [image["id"] for image in found["images"]] == list(range(30))
    for image in found["images"]:
        assert Image.open(place / "images" / image["file_name"]).size == (image["width"], image["height"])
    assert [category["name"] for category in found["categories"]][9:11] == ["ankle boot", "digit 0"]
    assert [annotation["id"] for annotation in found["annotations"]] == list(range(1, len(found["annotations"]) + 1))
    by_image: dict[int, list[list[int]]] = {image: [] for image in range(30)}
    for annotation in found["annotations"]:
        x, y, width, height = annotation["bbox"]
        assert 0 <= x < x + width <= data.CANVAS
        assert 0 <= y < y + height <= data.CANVAS
        assert annotation["area"] == width * height
        assert annotation["iscrowd"] == 0
        assert data.SIZES[0] <= max(width, height) <= data.SIZES[1]
        by_image[annotation["image_id"]].append(annotation["bbox"])
    assert all(1 <= len(boxes) <= data.MOST_OBJECTS for boxes in by_image.values())
    for boxes in by_image.values():
        for i, box in enumerate(boxes):
            assert all(data.overlap(box, other) <= data.MOST_OVERLAP for other in boxes[:i])


def test_boxes_bound_their_objects(data: ModuleType) -> None:
    by_class = data.sources("val")
    rng = np.random.default_rng(0)
    alone = 0
    while alone < 20:
        canvas, objects = data.draw(rng, by_class, noise=0)
        if len(objects) > 1:
            continue
        alone += 1
        x, y, width, height = objects[0][1]
        rows, columns = np.nonzero(canvas.any(1))[0], np.nonzero(canvas.any(0))[0]
        assert (columns[0], columns[-1] + 1, rows[0], rows[-1] + 1) == (x, x + width, y, y + height)


def test_splits_share_no_source(data: ModuleType) -> None:
    train, val = (
        {image.tobytes() for images in data.sources(split) for image in images[:300]} for split in ("train", "val")
    )
    assert len(train) > 4000
    assert len(val) > 3000
    assert not train & val


def test_overlap(data: ModuleType) -> None:
    assert data.overlap((0, 0, 4, 4), (2, 2, 4, 8)) == 4 / 16
    assert data.overlap((0, 0, 4, 4), (4, 0, 4, 4)) == 0
    assert data.overlap((0, 0, 10, 10), (2, 2, 2, 2)) == 1
