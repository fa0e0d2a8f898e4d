"""What a folder of features is trusted with: nothing that changed, was damaged or came from elsewhere goes unseen."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import manifold_probe as mp
from manifold_probe import cli
from manifold_probe.extraction.store import Store
from tests.extraction.small import Capture, command, contents, ran, refused

SIDES = ["compare", "--teacher", "python:smallnet:make?seed=1", "--student", "python:smallnet:make?seed=2", "--k", "3"]
SHARED = ["--size", "32", "--mean", "0.5", "--std", "0.5", "--json"]


def repaint(folder: Path, name: str, shade: int = 0) -> None:
    Image.fromarray(np.full((40, 36, 3), shade, dtype=np.uint8)).save(folder / name)


def interrupt(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make the next run of ``command()`` die where it would write a file."""
    real = Store._write

    def dies(self: Store, file: str, content: bytes) -> None:
        if file == name:
            raise KeyboardInterrupt
        real(self, file, content)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "_write", dies)
        assert cli.run(command()) == 130


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


DAMAGES: dict[str, Callable[[Path], object]] = {"gone": Path.unlink, "cut": cut, "flipped": flip}


def test_other_pictures_under_the_same_names_are_extracted_anew(folder: Path, capfd: Capture) -> None:
    shutil.copytree(folder / "images", folder / "other")
    for path in (folder / "other").rglob("*.png"):
        repaint(folder, str(path), shade=int(path.stem))
    results = []
    for data in ("images", "other", "images"):
        capfd.readouterr()
        assert cli.run([*SIDES, *SHARED, "--data", data]) == 0
        results.append(json.loads(capfd.readouterr().out)["measures"])
    assert results[0] == results[2] != results[1]
    assert len(list((folder / "probe-features").iterdir())) == 4
    repaint(folder, "images/cat/004.png")  # a new store, no dead end
    assert cli.run([*SIDES, *SHARED, "--data", "images"]) == 0
    assert len(list((folder / "probe-features").iterdir())) == 6


def test_changed_content_is_refused_on_a_finished_folder(folder: Path, capfd: Capture) -> None:
    ran(command(), capfd)
    before = contents(folder / "feats")
    repaint(folder, "images/cat/004.png")
    (folder / "images/dog/007.png").write_bytes(b"")
    error = refused(command(), capfd)
    assert "the content of 2 rows of images changed since (cat/004.png, dog/007.png); give another --out" in error
    assert contents(folder / "feats") == before


def test_changed_content_is_refused_on_resume_only_where_shards_are_done(
    folder: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(monkeypatch, "shard-00002.safetensors")
    original = (folder / "images/cat/000.png").read_bytes()
    repaint(folder, "images/cat/000.png")
    assert "the content of 1 rows of images changed since (cat/000.png)" in refused(command(), capfd)
    (folder / "images/cat/000.png").write_bytes(original)
    repaint(folder, "images/dog/029.png")  # of the last shard, which is not there yet
    ran(command(), capfd)
    ran(command("whole"), capfd)
    assert contents(folder / "feats") == contents(folder / "whole")


def test_arrays_and_texts_are_checked_too(folder: Path, capfd: Capture) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (12, 40, 36, 3), dtype=np.uint8)
    ids = np.array([f"p{place}" for place in range(12)])
    np.savez(folder / "x.npz", images=pictures, ids=ids)
    asked = command()
    asked[asked.index("images")] = "x.npz"
    ran(asked, capfd)
    assert "nothing to do" in ran(asked, capfd)
    pictures[7] = 0
    np.savez(folder / "x.npz", images=pictures, ids=ids)
    assert "the content of 1 rows of x.npz changed since (p7)" in refused(asked, capfd)


@pytest.mark.parametrize("file", ["shard-00001.safetensors", "rows.parquet"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_not_called_finished(damage: str, file: str, folder: Path, capfd: Capture) -> None:
    ran(command(), capfd)
    DAMAGES[damage](folder / "feats" / file)
    for more in ([], ["--verify", "30"]):
        error = refused([*command(), *more], capfd)
        assert f"feats/{file}: is {'missing' if damage == 'gone' else 'damaged'}" in error
        assert "remove the folder, or give another --out" in error


def test_another_table_of_rows_is_refused_by_a_comparison(folder: Path, capfd: Capture) -> None:
    ran(command("a"), capfd)
    ran(command("b"), capfd)
    table = pd.read_parquet(folder / "b/rows.parquet")
    table["id"] = table["id"].iloc[::-1].tolist()
    table.to_parquet(folder / "b/rows.parquet")
    error = refused(["compare", "--teacher", "a", "--student", "b", "--k", "3"], capfd)
    assert "b/rows.parquet: has another sha256 than in the manifest" in error


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_shards_of_an_unfinished_folder_are_made_again(
    damage: str, folder: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(command("whole"), capfd)
    interrupt(monkeypatch, "manifest.json")
    DAMAGES[damage](folder / "feats/shard-00001.safetensors")
    assert "30 rows, 8 of them now, in" in ran(command(), capfd)
    assert contents(folder / "feats") == contents(folder / "whole")


@pytest.mark.parametrize("note", ["{}", "[]", "not json", "", '{"place": 1, "rows": null}', "edited"])
def test_a_damaged_note_means_a_missing_shard(
    note: str, folder: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(command("whole"), capfd)
    interrupt(monkeypatch, "manifest.json")
    path = folder / "feats/shard-00001.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rounding": {}}) if note == "edited" else note)
    ran(command(), capfd)
    assert contents(folder / "feats") == contents(folder / "whole")


@pytest.mark.parametrize("field", ["rows", "shards", "shapes", "plan", "checksums"])
def test_a_manifest_that_lacks_a_field_is_one_line(field: str, folder: Path, capfd: Capture) -> None:
    ran(command(), capfd)
    manifest = json.loads((folder / "feats/manifest.json").read_text())
    del manifest[field]
    (folder / "feats/manifest.json").write_text(json.dumps(manifest))
    for more in ([], ["--verify", "3"]):
        assert f"feats/manifest.json: field '{field}' is missing or not of type " in refused([*command(), *more], capfd)


@pytest.mark.parametrize("version", [0, 2])
def test_another_schema_is_refused_by_every_verb(version: int, folder: Path, capfd: Capture) -> None:
    ran(command("a"), capfd)
    ran(command("b"), capfd)
    manifest = json.loads((folder / "b/manifest.json").read_text())
    manifest["schema"] = f"manifold-probe/features/{version}"
    (folder / "b/manifest.json").write_text(json.dumps(manifest))
    for arguments in (
        ["compare", "--teacher", "a", "--student", "b", "--k", "3"],
        ["info", "b"],
        command("b"),
        [*command("b"), "--verify", "3"],
    ):
        error = refused(arguments, capfd)
        assert f"manifold-probe/features/{version}" in error
        assert "manifold-probe/features/1" in error
    for schema in (None, "mine/7", "manifold-probe/run-features/1"):
        (folder / "b/manifest.json").write_text(json.dumps({**manifest, "schema": schema}))
        assert mp.load("b").n == 30


def test_verify_refuses_what_it_cannot_say(folder: Path, capfd: Capture) -> None:
    ran(command(), capfd)
    for rows in ("0", "-3"):
        assert "--verify: " in refused([*command(), "--verify", rows], capfd)
    assert "--list-layers: does not go with --verify" in refused([*command(), "--verify", "3", "--list-layers"], capfd)
    (folder / "images/cat/004.png").write_bytes(b"no image")
    assert "the content of 1 of 30 rows is not what was extracted (cat/004.png)" in refused(
        [*command(), "--verify", "30"], capfd
    )


def test_an_architecture_that_changed_is_refused(folder: Path, capfd: Capture) -> None:
    def written(name: str) -> None:
        code = (
            "import torch\ndef make():\n    torch.manual_seed(0)\n    return torch.nn.Sequential(torch.nn.Flatten(), "
        )
        (folder / "act.py").write_text(f"{code}torch.nn.Linear(3072, 4), torch.nn.{name}())\n")
        sys.modules.pop("act", None)
        shutil.rmtree(folder / "__pycache__", ignore_errors=True)

    written("ReLU")
    ran(command("feats", "act:make"), capfd)
    assert "nothing to do" in ran(command("feats", "act:make"), capfd)
    written("Tanh")
    assert "the model's architecture ('" in refused(command("feats", "act:make"), capfd)


def test_an_address_in_what_a_module_prints_is_no_architecture() -> None:
    from manifold_probe.models.load import Model
    from manifold_probe.models.source import parse_source

    class Told(torch.nn.Module):
        def extra_repr(self) -> str:
            return repr(object())

    source = parse_source("python:a:b")
    kept = [Told(), Told()]
    assert len({Model(module, "images", None, source, "").architecture for module in kept}) == 1


def test_only_our_own_files_are_deleted(folder: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(monkeypatch, "shard-00002.safetensors")
    mine = ["shard-notes.json", "thesis.part", ".thesis.tex.0123abcd.part", "shard-00000.json.bak"]
    for name in mine:
        (folder / "feats" / name).write_text("years of work")
    (folder / "feats/.shard-00002.safetensors.0123abcd.part").write_text("half")
    ran(command(), capfd)
    left = {path.name for path in (folder / "feats").iterdir()}
    assert set(mine) <= left
    assert ".shard-00002.safetensors.0123abcd.part" not in left
    assert "shard-00000.json" not in left


def test_batches_halve_before_the_first_shard_and_the_folder_goes_on(
    folder: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from manifold_probe.extraction.work import Work

    real = Work.outputs

    def small(self: Work, batch: list[torch.Tensor]) -> dict[str, np.ndarray]:
        if len(batch[0]) > 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return real(self, batch)

    def none(self: Work, batch: list[torch.Tensor]) -> dict[str, np.ndarray]:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(Work, "outputs", small)
        assert "3 a batch" in ran(command("whole"), capfd)
        interrupt(patched, "shard-00002.safetensors")
    ran(command(), capfd)  # memory is back, and the shards that are left are made as the first were
    assert contents(folder / "feats") == contents(folder / "whole")
    monkeypatch.setattr(Work, "outputs", none)
    assert "memory does not suffice for one input at a time" in refused(command("x"), capfd)
    assert not (folder / "x").exists()
