"""Requests that cannot be met, or only in part: one line that says what to do, and nothing half done is left."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import manifold_probe as mp
from manifold_probe import cli
from manifold_probe.spaces.labels import plain_labels
from manifold_probe.spaces.read import read
from tests.extraction.small import Capture, command, ran, refused
from tests.extraction.test_trust import interrupt, repaint

TWO = ["compare", "--teacher", "a", "--student", "b"]


def with_data(arguments: list[str], data: str) -> list[str]:
    return [data if each == "images" else each for each in arguments]


def test_chosen_columns_are_kept_and_slices_step_aside(folder: Path, capfd: Capture) -> None:
    paths = [str(path.relative_to(folder)) for path in sorted((folder / "images").rglob("*.png"))]
    table = pd.DataFrame({"path": paths, "id": range(30), "label": "old", "content": "c", "label_": "older"})
    table["country"] = ["fr", "de", "it"] * 10
    table.to_csv(folder / "x.csv", index=False)
    ran([*with_data(command(), "x.csv"), "--labels", "country", "--ids", "path"], capfd)
    space = mp.load("feats")
    assert space.ids.tolist() == paths
    assert space.labels.tolist() == table["country"].tolist()
    rows = pd.read_parquet(folder / "feats/rows.parquet")
    assert set(rows) == {"id", "label", "content", "id_", "label_", "label__", "content_"}
    assert rows["id_"].tolist() == list(range(30))
    assert rows["content"].str.len().eq(64).all()
    assert "nothing to do" in ran([*with_data(command(), "x.csv"), "--labels", "country", "--ids", "path"], capfd)


@pytest.mark.parametrize(
    ("model", "more", "words"),
    [
        ("first", (), "python:smallnet:first: its output has shape (1, 3) for 7 inputs, not one row per input"),
        ("leaves", (), "python:smallnet:leaves: cannot take tensor(7, 3, 32, 32) (SystemExit: 3)"),
        ("odd", (), "(KeyError: 'nothing')"),
        ("broken", (), "python:smallnet:broken: its output holds NaN or infinite values for 7 of 7 rows (cat/000.png,"),
        ("huge", (), "rows (cat/000.png, cat/002.png, cat/004.png, ...); give --dtype float32"),
        ("make", ("--layers", "0"), "python:smallnet:make: layer 0: output of shape (7, 6, 7, 7): choose how to pool"),
        ("make", ("--layers", "[3]x*"), "no layer is called '[3]x*'"),
        ("make", ("--out", "smallnet.py"), "--out: smallnet.py is a file; give a new folder"),
        ("make", ("--out", "smallnet.py/x"), "--out: smallnet.py/x: cannot be written to"),
    ],
)
def test_what_a_model_gives_is_refused_by_name(
    model: str, more: tuple[str, ...], words: str, folder: Path, capfd: Capture
) -> None:
    assert words in refused(command("x", f"smallnet:{model}", *more), capfd)
    assert not (folder / "x").exists()


def test_sequences_first_are_told_by_the_last_batch(folder: Path, capfd: Capture) -> None:
    assert cli.run(command("x", "smallnet:sequence", "--pool", "mean")) == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert "its output has shape (7, 1, 3) for 1 inputs, not one row per input" in error
    assert not (folder / "x").exists()


def test_layers_need_no_output_that_can_be_told(folder: Path, capfd: Capture) -> None:
    assert "or choose --layers" in refused(command("x", "smallnet:two"), capfd)
    for name, layers in (("x", "0"), ("y", "?")):
        ran(command(name, "smallnet:two", "--layers", layers, "--pool", "mean"), capfd)
    assert mp.load("x").d == 6


def test_what_does_not_go_with_layers_is_refused(folder: Path, capfd: Capture) -> None:
    both = [*TWO, "--layers"]
    for option, value in {
        "--fail-under": "overlap@10=0.9", "--report": "r.html", "--baseline": "b.json", "--labels": "l.npy",
        "--k": "5", "--queries": "9", "--seed": "3", "--data": "images", "--size": "32", "--batch-size": "3",
        "--teacher-ids": "i.npy", "--max-drop": "0.1",
    }.items():  # fmt: skip
        assert refused([*both, option, value], capfd).startswith(f"probe: {option}: does not go with --layers")
    assert "--no-maps: does not go with --layers" in refused([*both, "--no-maps"], capfd)
    models = ["compare", "--teacher", "python:smallnet:make", "--student", "b", "--layers", "--data", "images"]
    assert "extract both with probe extract --layers first" in refused(models, capfd)


def test_a_comparison_of_several_layers_says_which_to_pick(folder: Path, capfd: Capture) -> None:
    for out in ("a", "b"):
        ran(command(out, "smallnet:make?seed=1", "--layers", "[01]", "--pool", "mean"), capfd)
    assert "a: holds 2 layers (0, 1); pick one with a::0" in refused([*TWO, "--k", "3"], capfd)
    assert cli.run(["compare", "--teacher", "a::0", "--student", "b::1", "--k", "3"]) == 0


def test_a_comparison_gives_no_advice_that_it_cannot_take(folder: Path, capfd: Capture) -> None:
    shared = ["--data", "images", "--size", "32", "--mean", "0.5", "--std", "0.5", "--k", "3"]

    def sides(name: str) -> list[str]:
        return ["compare", "--teacher", f"python:smallnet:{name}", "--student", "python:smallnet:make", *shared]

    extract = "belongs to probe extract: run that, and give its folder in place of the model)"
    assert f"(--dtype {extract}" in refused(sides("huge"), capfd)
    (folder / "images/cat/000.png").write_bytes(b"no image")
    assert f"(--skip-bad {extract}" in refused(sides("make"), capfd)
    assert list((folder / "probe-features").iterdir()) == []


def test_skip_bad_may_be_added_after_a_stop(folder: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    good = (folder / "images/dog/029.png").read_bytes()
    (folder / "images/dog/029.png").write_bytes(b"no image")
    assert cli.run(command()) == 2  # in the last of four shards
    assert "1 of 30 cannot be read (dog/029.png: " in capfd.readouterr().err.splitlines()[-1]
    assert len(list((folder / "feats").glob("shard-*.json"))) == 3
    error = ran([*command(), "--skip-bad"], capfd)
    assert "29 rows, 5 of them now, in" in error
    ran([*command("whole"), "--skip-bad"], capfd)
    assert (folder / "feats/manifest.json").read_bytes() == (folder / "whole/manifest.json").read_bytes()
    assert "29 rows; nothing to do" in ran([*command(), "--skip-bad"], capfd)
    assert "1 rows were left out with --skip-bad, because they cannot be read (dog/029.png)" in refused(
        command(), capfd
    )
    (folder / "images/dog/029.png").write_bytes(good)
    assert "the content of 1 rows of images changed since (dog/029.png)" in refused([*command(), "--skip-bad"], capfd)


def test_a_first_shard_of_bad_images_is_no_obstacle(folder: Path, capfd: Capture) -> None:
    for path in sorted((folder / "images").rglob("*.png"))[:8]:
        path.write_bytes(b"no image")
    error = ran([*command(), "--skip-bad"], capfd)
    assert "22 rows in" in error
    assert mp.load("feats").n == 22
    assert cli.run([*command(), "--skip-bad", "--verify", "30"]) == 0


def test_nothing_but_bad_images_leaves_nothing(folder: Path, capfd: Capture) -> None:
    names = [str(path.relative_to(folder)) for path in (folder / "images").rglob("*.png")]
    for name in names:
        (folder / name).write_bytes(b"no image")
    assert cli.run([*command(), "--skip-bad"]) == 2
    assert "images: none of its 30 images can be read; fix them" in capfd.readouterr().err.splitlines()[-1]
    assert not (folder / "feats").exists()
    assert "30 of 30 cannot be read" in refused(command(), capfd)
    for name in names:
        repaint(folder, name)
    ran([*command(), "--skip-bad"], capfd)


def test_bad_data_at_the_start_leaves_no_folder(folder: Path, capfd: Capture) -> None:
    (folder / "images/cat/014.png").write_bytes(b"no image")  # in the second batch, the first shard
    assert cli.run(command()) == 2
    assert not (folder / "feats").exists()


def test_an_interrupted_run_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(monkeypatch, "shard-00001.safetensors")
    assert (folder / "feats/shard-00000.json").exists()
    assert json.loads((folder / "feats/unfinished.json").read_text())["plan"]["rows"] == 30


def test_items_may_lack_a_label(folder: Path) -> None:
    (folder / "x.csv").write_text("path,label\nimages/cat/000.png,cat\nimages/dog/001.png,\n")
    assert cli.run(with_data(command(), "x.csv")) == 0
    assert plain_labels(read(str(folder / "feats")).labels) == ["cat", None]


def test_empty_texts_and_empty_folders_are_one_line(folder: Path, capfd: Capture) -> None:
    (folder / "x.jsonl").write_text('{"text": "a"}\n{"text": "  "}\n')
    assert "x.jsonl: line 2 is empty" in refused(with_data(command(), "x.jsonl"), capfd)
    (folder / "none").mkdir()
    assert "none: holds no images" in refused(with_data(command(), "none"), capfd)
    np.savez(folder / "x.npz", images=np.zeros((0, 8, 8), np.uint8))
    assert "x.npz: holds no images" in refused(with_data(command(), "x.npz"), capfd)
