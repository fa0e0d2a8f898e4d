"""The affine map that a diagnosis saves: as a file, over a space, and in an extraction."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import manifold_probe as mp
from manifold_probe.errors import InputError
from manifold_probe.spaces.affine import Map
from manifold_probe.spaces.read import sha256
from manifold_probe.spaces.space import Space
from tests.extraction.small import Capture, command, ran, refused, world

RNG = np.random.default_rng(0)
MAP = Map(RNG.normal(size=(4, 3)).astype(np.float32), np.ones(3, np.float32), {"repair": "ridge"})


def test_a_map_is_saved_and_loaded(tmp_path: Path) -> None:
    MAP.save(tmp_path / "m.safetensors")
    again = Map.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.A, MAP.A)
    np.testing.assert_array_equal(again.b, MAP.b)
    assert again.facts == {"repair": "ridge"}
    again.save(tmp_path / "n.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == (tmp_path / "n.safetensors").read_bytes()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_space_is_mapped_lazily(dtype: str) -> None:
    rows = RNG.normal(size=(50, 4)).astype(dtype)
    space = Space(rows, ids=np.arange(50), labels=np.arange(50) % 2, name="s")
    mapped = space.apply(MAP)
    wanted = rows.astype(np.float64) @ MAP.A.astype(np.float64) + 1
    np.testing.assert_allclose(mapped.read(0, 50), wanted, atol=1e-5)
    np.testing.assert_allclose(mapped.select(np.array([7, 3])).take(np.array([1])), wanted[[3]], atol=1e-5)
    assert (mapped.n, mapped.d, mapped.name) == (50, 3, "s")
    assert mapped.dtype == ("float64" if dtype == "float64" else "float32")
    assert mapped.ids is space.ids
    assert mapped.labels is space.labels
    assert mapped.source.path is None


def test_a_mapped_space_is_compared() -> None:
    student = RNG.normal(size=(80, 4)).astype(np.float32)
    teacher = MAP.apply(student)
    made = mp.compare(teacher, Space(student).apply(MAP), k=5)
    assert made.measures["overlap@5"].value == 1.0


def test_another_width_is_refused() -> None:
    with pytest.raises(InputError, match="map: takes 4 dimensions, not 5"):
        Space(np.eye(5)).apply(MAP)


@pytest.mark.parametrize(
    ("A", "b", "words"),
    [
        (np.ones(3), np.ones(3), "have shapes"),
        (np.ones((3, 2)), np.ones(3), "have shapes"),
        (np.ones((0, 2)), np.ones(2), "have shapes"),
        (np.full((3, 2), np.nan), np.ones(2), "NaN or infinity"),
    ],
)
def test_what_is_no_map(A: np.ndarray, b: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Map(A, b)


def test_files_that_hold_no_map(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(InputError, match="no such file"):
        Map.load(path)
    path.write_bytes(b"not a map at all")
    with pytest.raises(InputError, match="cannot be read as a map"):
        Map.load(path)
    save_file({"A": np.eye(2), "b": np.ones(2)}, path)
    with pytest.raises(InputError, match="holds no affine map"):
        Map.load(path)
    save_file({"A": np.eye(2), "b": np.ones(3)}, path, {"format": "manifold-probe/map/1", "kind": "affine"})
    with pytest.raises(InputError, match=r"m\.safetensors: A and b have shapes"):
        Map.load(path)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(world(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("smallnet", None)
    return tmp_path


def test_an_extraction_applies_it(folder: Path, capfd: Capture) -> None:
    turn = Map(np.roll(np.eye(6, dtype=np.float32), 1, axis=1) * 2, np.ones(6, np.float32))
    turn.save("m.safetensors")
    ran(command("plain"), capfd)
    ran([*command("turned"), "--apply", "m.safetensors"], capfd)
    plain, turned = mp.load("plain"), mp.load("turned")
    np.testing.assert_allclose(turned.read(0, 30), turn.apply(plain.read(0, 30)), atol=4e-3)
    plan = json.loads((folder / "turned/manifest.json").read_text())
    assert sha256("m.safetensors") in json.dumps(plan)
    assert "nothing to do" in ran([*command("turned"), "--apply", "m.safetensors"], capfd)
    assert "the map (--apply)" in refused(command("turned"), capfd)


def test_maps_that_an_extraction_refuses(folder: Path, capfd: Capture) -> None:
    MAP.save("m.safetensors")
    assert "m.safetensors: takes 4 dimensions, not 6" in refused([*command(), "--apply", "m.safetensors"], capfd)
    assert "--apply: does not go with --layers" in refused(
        [*command(), "--apply", "m.safetensors", "--layers", "0"], capfd
    )
    assert "none.safetensors: no such file" in refused([*command(), "--apply", "none.safetensors"], capfd)
