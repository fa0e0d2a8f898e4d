"""Extraction through the command line: once, resumably, and never two things mixed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

import manifold_probe as mp
from manifold_probe import cli
from manifold_probe.extraction import shards
from manifold_probe.extraction import work as extraction
from manifold_probe.extraction.store import Store
from tests.extraction.small import Capture, command, contents, ran, refused, world

ROOT = Path(__file__).resolve().parents[2]


def test_features_are_those_of_the_model(folder: Path, capfd: Capture) -> None:
    error = ran(command(), capfd)
    assert "30 images: features 6 as float16" in error
    assert "30 rows in" in error
    space = mp.load("feats")
    names = sorted(f"{path.parent.name}/{path.name}" for path in (folder / "images").rglob("*.png"))
    assert space.ids.tolist() == names
    assert space.labels.tolist() == [name.split("/")[0] for name in names]
    sys.path.insert(0, str(folder))
    import smallnet  # type: ignore[import-not-found]

    model = smallnet.make(seed=1).eval()
    pixels = [
        np.asarray(Image.open(folder / "images" / name).resize((32, 32), Image.Resampling.BILINEAR)) for name in names
    ]
    batch = torch.tensor(np.stack(pixels)).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        wanted = model((batch - 0.5) / 0.5).numpy()
    assert np.abs(space.read(0, 30) - wanted).max() < 2e-3 * np.abs(wanted).max()


def test_the_manifest_says_what_it_is(folder: Path, capfd: Capture) -> None:
    ran(command(), capfd)
    manifest = json.loads((folder / "feats/manifest.json").read_text())
    assert manifest["schema"] == "manifold-probe/features/1"
    assert manifest["shapes"] == {"features": [30, 6]}
    assert [shard["rows"] for shard in manifest["shards"]] == [8, 8, 8, 6]
    assert manifest["plan"]["preprocessing"]["size"] == 32
    assert manifest["plan"]["batch_size"] == 7
    assert 0 < manifest["rounding"]["features"] < 1e-3
    assert manifest["recorded"]["torch"] == torch.__version__
    table = pd.read_parquet(folder / "feats/rows.parquet")
    assert list(table.columns) == ["id", "label", "content"]
    assert sorted(path.name for path in (folder / "feats").iterdir()) == [
        "manifest.json", "rows.parquet", *(f"shard-0000{place}.safetensors" for place in range(4))
    ]  # fmt: skip
    full = ran(command("full", "smallnet:make?seed=1", "--dtype", "float32"), capfd)
    assert "as float32" in full
    assert json.loads((folder / "full/manifest.json").read_text())["rounding"] == {"features": 0.0}


def test_again_does_nothing_and_another_request_is_refused(folder: Path, capfd: Capture) -> None:
    ran(command(), capfd)
    before = contents(folder / "feats")
    assert "is finished: 30 rows; nothing to do" in ran(command(), capfd)
    for more, words in (
        (["--model", "python:smallnet:make?seed=2"], "the model's weights ('"),
        (["--size", "28"], "the preprocessing: size (32 there, 28 now)"),
        (["--dtype", "float32"], "the stored type ('float16' there, 'float32' now)"),
        (["--batch-size", "5"], "the batch size (7 there, 5 now)"),
        (["--layers", "0", "--pool", "mean"], "the layers ([] there, ['0'] now)"),
    ):
        assert words in refused([*command(), *more], capfd)
    (folder / "images/cat/000.png").rename(folder / "images/cat/new.png")
    assert "the data's ids and labels" in refused(command(), capfd)
    assert contents(folder / "feats") == before


def test_a_finished_run_given_again_does_not_run_the_model(
    folder: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(command(), capfd)
    seen = rows_through_the_model(monkeypatch)
    assert "nothing to do" in ran(command(), capfd)
    assert seen == []


@pytest.mark.parametrize("at", ["the arrays", "the note", "the table", "the manifest"])
def test_a_run_that_dies_anywhere_ends_with_the_same_bytes(
    at: str, folder: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(command("whole"), capfd)
    name = {
        "the arrays": "shard-00002.safetensors",
        "the note": "shard-00002.json",
        "the table": "rows.parquet",
        "the manifest": "manifest.json",
    }[at]
    real = Store._write

    def dies(self: Store, file: str, content: bytes) -> None:
        if file == name:
            (self.folder / f".{file}.0123abcd.part").write_bytes(content[: len(content) // 2])
            raise KeyboardInterrupt
        real(self, file, content)

    monkeypatch.setattr(Store, "_write", dies)
    assert cli.run(command()) == 130
    monkeypatch.setattr(Store, "_write", real)
    assert "is an unfinished extraction; give the same probe extract" in refused(
        ["compare", "--teacher", "feats", "--student", "whole", "--k", "3"], capfd
    )
    assert "differs in" in refused(command("feats", "smallnet:make?seed=2"), capfd)
    ran(command(), capfd)
    assert contents(folder / "feats") == contents(folder / "whole")


def test_a_run_that_dies_while_it_tidies_up_ends_with_the_same_bytes(
    folder: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(command("whole"), capfd)

    def dies(self: Store) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Store, "tidy", dies)
        assert cli.run(command()) == 130
    assert (folder / "feats/unfinished.json").exists()
    ran(command(), capfd)
    assert contents(folder / "feats") == contents(folder / "whole")


def test_a_full_disk_leaves_the_folder_resumable(folder: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    ran(command("whole"), capfd)
    real, calls = os.fsync, []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) > 4:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left on device); free some space and give the same command again" in refused_later(capfd)
    monkeypatch.setattr(os, "fsync", real)
    assert not list((folder / "feats").glob("*.part"))
    ran(command(), capfd)
    assert contents(folder / "feats") == contents(folder / "whole")


def refused_later(capfd: Capture) -> str:
    """A run that fails after it has begun: the last line says why."""
    assert cli.run(command()) == 2
    return capfd.readouterr().err.splitlines()[-1]


def test_unreadable_images_stop_the_run_or_are_quarantined(folder: Path, capfd: Capture) -> None:
    (folder / "images/cat/010.png").write_bytes(b"no image")
    whole = (folder / "images/dog/021.png").read_bytes()
    (folder / "images/dog/021.png").write_bytes(whole[: len(whole) // 2])
    assert cli.run(command()) == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert "2 of 30 cannot be read (cat/010.png: " in error
    assert "dog/021.png: " in error
    assert "--skip-bad" in error
    assert "2 of 30 could not be read; see quarantine.csv" in ran([*command("rest"), "--skip-bad"], capfd)
    space = mp.load("rest")
    assert space.n == 28
    assert not {"cat/010.png", "dog/021.png"} & set(space.ids.tolist())
    listed = pd.read_csv(folder / "rest/quarantine.csv")
    assert listed["id"].tolist() == ["cat/010.png", "dog/021.png"]
    assert json.loads((folder / "rest/manifest.json").read_text())["quarantined"] == 2


def test_verify_finds_changed_images_and_changed_features(folder: Path, capfd: Capture) -> None:
    ran(command(), capfd)
    assert cli.run([*command(), "--verify", "30"]) == 0
    assert "30 rows computed again" in capfd.readouterr().out
    image = folder / "images/cat/004.png"
    Image.fromarray(np.zeros((40, 36, 3), dtype=np.uint8)).save(image)
    assert "the content of 1 of 30 rows is not what was extracted (cat/004.png)" in refused(
        [*command(), "--verify", "30"], capfd
    )
    assert "holds no finished features" in refused([*command("nowhere"), "--verify", "3"], capfd)
    assert not (folder / "nowhere").exists()


def test_layers_are_listed_without_preprocessing_and_without_data(folder: Path, capfd: Capture) -> None:
    model = ["extract", "--model", "python:smallnet:make", "--list-layers"]
    listed = [["0", "Conv2d"], ["1", "ReLU"], ["2", "AdaptiveAvgPool2d"], ["3", "Flatten"]]
    for more, needed in (([], "--data"), (["--data", "images"], "--size, --mean and --std")):
        assert cli.run([*model, *more]) == 0
        out, error = capfd.readouterr()
        assert [line.split() for line in out.splitlines()] == listed
        assert error == f"probe: the shapes of the layers are left out; they need {needed}\n"
    assert "--data: missing" in refused(["extract", "--model", "python:smallnet:make", "--out", "x"], capfd)


def test_layers_by_name_and_glob(folder: Path, capfd: Capture) -> None:
    assert cli.run([*command(), "--list-layers"]) == 0
    assert capfd.readouterr().out.splitlines()[0].split() == ["0", "Conv2d", "1", "x", "6", "x", "7", "x", "7"]
    ran(command("layers", "smallnet:make?seed=1", "--layers", "[01]", "--pool", "mean"), capfd)
    arrays = load_file(folder / "layers/shard-00000.safetensors")
    assert {name: array.shape for name, array in arrays.items()} == {"0": (8, 6), "1": (8, 6)}
    assert (arrays["1"] >= 0).all()
    assert (arrays["0"] < 0).any()
    assert mp.load("layers::1").shape if hasattr(mp.load("layers::1"), "shape") else mp.load("layers::1").d == 6
    assert "no layer is called 'bodyy'" in refused(command("x", "smallnet:make", "--layers", "bodyy"), capfd)


@pytest.mark.parametrize(
    ("model", "more", "words"),
    [
        ("smallnet:maps", (), "choose how to pool it"),
        ("smallnet:broken", (), "holds NaN or infinite values"),
        ("smallnet:huge", (), "give --dtype float32"),
        ("smallnet:nothing", (), "smallnet has no 'nothing'"),
        ("smallnet:make", ("--dtype", "int8"), "--dtype: 'int8' is not known"),
        ("smallnet:make", ("--batch-size", "0"), "--batch-size: 0 is below 1"),
        ("smallnet:make", ("--data", "nowhere"), "nowhere"),
    ],
)
def test_a_request_that_fails_leaves_nothing(
    model: str, more: tuple[str, ...], words: str, folder: Path, capfd: Capture
) -> None:
    assert words in refused([*command("x", model), *more], capfd)
    assert not (folder / "x").exists()


def test_a_folder_with_other_files_is_left_alone(folder: Path, capfd: Capture) -> None:
    (folder / "x").mkdir()
    (folder / "x/thesis.tex").write_text("years of work")
    assert "holds other files" in refused(command("x"), capfd)
    (folder / "y").mkdir()
    (folder / "y/manifest.json").write_text('{"schema": "manifold-probe/features/9"}')
    assert "schema is 'manifold-probe/features/9'" in refused(command("y"), capfd)
    assert [path.name for path in (folder / "x").iterdir()] == ["thesis.tex"]


def test_missing_preprocessing_is_not_guessed(folder: Path, capfd: Capture) -> None:
    bare = ["extract", "--model", "python:smallnet:make", "--data", "images", "--out", "x"]
    assert "give --size, --mean and --std" in refused(bare, capfd)
    assert "--std: missing; give" in refused([*bare, "--size", "32", "--mean", "0.5"], capfd)


def test_two_stores_compare_by_id(folder: Path, capfd: Capture) -> None:
    ran(command("a", "smallnet:make?seed=1"), capfd)
    ran(command("b", "smallnet:make?seed=1&width=9"), capfd)
    assert cli.run(["compare", "--teacher", "a", "--student", "b", "--k", "3", "--json"]) == 0
    result = json.loads(capfd.readouterr().out)
    assert (result["pairing"]["by"], result["pairing"]["rows"], result["pairing"]["verified"]) == ("id", 30, True)


def test_memory_errors_halve_the_batch(folder: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    real = extraction.Work.outputs

    def small(self: extraction.Work, batch: list[torch.Tensor]) -> dict[str, np.ndarray]:
        if len(batch[0]) > 3 and (folder / "x/unfinished.json").exists():
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return real(self, batch)

    monkeypatch.setattr(extraction.Work, "outputs", small)
    ran(command("x"), capfd)
    manifest = json.loads((folder / "x/manifest.json").read_text())
    assert manifest["plan"]["batch_size"] == 7  # what was asked for
    assert {shard["batch_size"] for shard in manifest["shards"]} == {3}
    assert mp.load("x").n == 30
    assert "nothing to do" in ran(command("x"), capfd)
    assert cli.run([*command("x"), "--verify", "30"]) == 0


def test_views_are_stored_beside_the_plain_features(folder: Path, capfd: Capture) -> None:
    ran([*command(), "--dtype", "float32"], capfd)
    ran([*command("views"), "--dtype", "float32", "--views", "2", "--seed", "3"], capfd)
    plain, first, second = (mp.load(key) for key in ("feats", "views", "views::features@2"))
    assert np.array_equal(plain.read(0, 30), first.read(0, 30))
    assert second.ids.tolist() == plain.ids.tolist()
    assert not np.allclose(first.read(0, 30), second.read(0, 30), atol=1e-3)
    # recomputed at random access, alone, from nothing but seed, id and view number
    import smallnet  # type: ignore[import-not-found]

    from manifold_probe.extraction.recipe import named_recipe, view_parameters
    from manifold_probe.extraction.views import apply_views

    row = 17
    parameters = view_parameters(3, plain.ids[row], 2, named_recipe("crop-mirror-jitter"))
    pixels = torch.tensor(np.asarray(Image.open(folder / "images" / plain.ids[row]))).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        wanted = smallnet.make(seed=1)((apply_views(pixels, [parameters], 32) - 0.5) / 0.5).numpy()
    assert np.allclose(second.read(row, row + 1), wanted, atol=1e-5)
    assert "the request for views: count (2 there, 3 now)" in refused(
        [*command("views"), "--dtype", "float32", "--views", "3", "--seed", "3"], capfd
    )


def test_other_content_under_the_same_ids_is_refused(folder: Path, capfd: Capture) -> None:
    ran(command("a"), capfd)
    Image.fromarray(np.zeros((40, 36, 3), dtype=np.uint8)).save(folder / "images/dog/007.png")
    ran(command("b"), capfd)
    error = refused(["compare", "--teacher", "a", "--student", "b", "--k", "3"], capfd)
    assert "b: 1 of 30 rows were made from other content than in a under the same ids (dog/007.png)" in error


@pytest.fixture
def saving(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One shard of 30 rows, and a clock by which every batch of 7 takes 20 s: a part is saved after two."""
    monkeypatch.setattr(extraction, "SHARD_ROWS", 30)
    seconds = iter(range(0, 10**6, 10))  # read twice a batch where a part is saved, else once
    monkeypatch.setattr(shards, "clock", lambda: float(next(seconds)))
    monkeypatch.setattr(shards, "SAVE_EVERY", 20.0)
    return folder


def rows_through_the_model(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of every batch that the model sees from now on."""
    real, seen = extraction.Work.outputs, []

    def counted(self: extraction.Work, views: list[torch.Tensor]) -> dict[str, np.ndarray]:
        seen.append(len(views[0]))
        return real(self, views)

    monkeypatch.setattr(extraction.Work, "outputs", counted)
    return seen


@pytest.mark.parametrize("at", ["part-000.safetensors", "part-000.json", "part-001.safetensors", "00000.safetensors"])
def test_a_shard_that_takes_long_is_saved_in_parts(at: str, saving: Path, capfd: Capture) -> None:
    (saving / "images/cat/004.png").write_bytes(b"no image")
    ran(command("whole", "smallnet:make?seed=1", "--skip-bad"), capfd)
    real = Store._write

    def dies(self: Store, file: str, content: bytes) -> None:
        if file.endswith(at):
            (self.folder / f".{file}.0123abcd.part").write_bytes(content[: len(content) // 2])
            raise KeyboardInterrupt
        real(self, file, content)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Store, "_write", dies)
        assert cli.run(command("feats", "smallnet:make?seed=1", "--skip-bad")) == 130
        seen = rows_through_the_model(patched)
        patched.setattr(Store, "_write", real)
        done = {"part-000.safetensors": 0, "part-000.json": 0, "part-001.safetensors": 13, "00000.safetensors": 27}[at]
        error = ran(command("feats", "smallnet:make?seed=1", "--skip-bad"), capfd)
    assert sum(seen[2:]) == 29 - done  # the first two are the projection of size and time
    assert "29 rows" in error
    assert contents(saving / "feats") == contents(saving / "whole")


def test_parts_of_other_batches_or_of_other_content_are_not_used(
    saving: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Store._write

    def dies(self: Store, file: str, content: bytes) -> None:
        if file.endswith("part-001.safetensors"):
            raise KeyboardInterrupt
        real(self, file, content)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Store, "_write", dies)
        assert cli.run(command()) == 130
    kept = contents(saving / "feats")
    assert "shard-00000.part-000.safetensors" in kept
    Image.fromarray(np.zeros((40, 36, 3), dtype=np.uint8)).save(saving / "images/cat/002.png")
    assert "the content of 1 rows of images changed since (cat/002.png)" in refused(command(), capfd)
    assert contents(saving / "feats") == kept
    ran(command("whole"), capfd)
    note = json.loads(kept["shard-00000.part-000.json"])
    del note["check"]
    note |= {"batch_size": 9, "digests": [row["content"] for row in rows_of(saving / "whole")[:14]]}
    note["check"] = hashlib.sha256(json.dumps(note, sort_keys=True).encode()).hexdigest()
    (saving / "feats/shard-00000.part-000.json").write_text(json.dumps(note))
    ran(command(), capfd)
    assert contents(saving / "feats") == contents(saving / "whole")


def rows_of(store: Path) -> list[dict[str, str]]:
    """The table of rows of a finished store."""
    return pd.read_parquet(store / "rows.parquet").to_dict("records")


@pytest.mark.slow
def test_a_process_killed_within_a_shard_goes_on_from_its_last_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world(tmp_path))
    code = (
        "import sys; from manifold_probe.extraction import shards; shards.SAVE_EVERY = 2.0; "
        "from manifold_probe import cli; sys.exit(cli.run(sys.argv[1:]))"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}

    def start(out: str) -> subprocess.Popen[str]:
        arguments = [sys.executable, "-c", code, *command(out, "smallnet:slow")]
        return subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True)

    assert start("whole").wait() == 0
    process = start("feats")
    while not list(tmp_path.glob("feats/shard-*.part-000.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = start("feats")
    assert again.wait() == 0
    assert "30 rows, 16 of them now," in (again.stderr.read() if again.stderr else "")
    assert contents(tmp_path / "feats") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_a_killed_process_resumes_and_a_second_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world(tmp_path))
    code = (
        "import sys; from manifold_probe.extraction import work; work.SHARD_ROWS = 6; from manifold_probe import cli; "
    )
    code += "sys.exit(cli.run(sys.argv[1:]))"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}

    def start(out: str) -> subprocess.Popen[str]:
        arguments = command(out, "smallnet:slow")
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments], env=environment, stderr=subprocess.PIPE, text=True
        )

    assert start("whole").wait() == 0
    process = start("feats")
    while not list(tmp_path.glob("feats/shard-*.json")):
        time.sleep(0.01)
    second = start("feats")
    assert second.wait() == 2
    assert "another process is extracting into it" in (second.stderr.read() if second.stderr else "")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "feats/manifest.json").exists()
    assert start("feats").wait() == 0
    assert contents(tmp_path / "feats") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_many_processes_make_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world(tmp_path, images=60))
    (tmp_path / "small.py").write_text(
        "import sys; from manifold_probe.extraction import work; work.SHARD_ROWS = 6\n"
        "from manifold_probe import cli; sys.exit(cli.run(sys.argv[1:]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    subprocess.run([sys.executable, "small.py", *command("one")], env=environment, check=True)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "3", "--standalone", "small.py"]
    for _ in range(2):  # the second run finds it finished
        subprocess.run([*torchrun, *command("three")], env=environment, check=True, timeout=300)
    assert contents(tmp_path / "three") == contents(tmp_path / "one")
    (tmp_path / "images/dog/015.png").write_bytes(b"no image")
    failed = subprocess.run(
        [*torchrun, *command("bad")], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    said = [line for line in failed.stderr.splitlines() if line.startswith("probe: ")]
    assert len(said) == 2  # the projection, and what stopped the run
    assert "1 of 60 cannot be read (dog/015.png: " in said[1]
    assert "terminate" not in failed.stderr
    subprocess.run([*torchrun, *command("bad"), "--skip-bad"], env=environment, check=True, timeout=300)
    subprocess.run([sys.executable, "small.py", *command("rest"), "--skip-bad"], env=environment, check=True)
    assert contents(tmp_path / "bad") == contents(tmp_path / "rest")


def test_models_are_compared_behind_the_scenes(folder: Path, capfd: Capture) -> None:
    shared = ["--data", "images", "--size", "32", "--mean", "0.5", "--std", "0.5", "--k", "3", "--json"]
    sides = ["--teacher", "python:smallnet:make?seed=1", "--student", "narrow=python:smallnet:make?seed=1&width=3"]
    assert cli.run(["compare", *sides, *shared]) == 0
    out, error = capfd.readouterr()
    result = json.loads(out)
    assert result["inputs"]["student"]["shape"] == [30, 3]
    assert result["pairing"]["by"] == "id"
    assert error.count("30 rows in") == 2
    stores = sorted(path.name for path in (folder / "probe-features").iterdir())
    assert len(stores) == 2
    assert cli.run(["compare", *sides, *shared]) == 0  # found again
    out, error = capfd.readouterr()
    assert error.count("is finished") == 2
    again = json.loads(out)
    assert again["measures"] == result["measures"]
    both = ["--teacher", f"probe-features/{stores[0]}", "--student", f"probe-features/{stores[1]}", "--k", "3"]
    assert cli.run(["compare", *both, "--json"]) == 0
    capfd.readouterr()
    assert "--data: missing" in refused(["compare", *sides, "--k", "3"], capfd)
    assert "--data: no side is a model" in refused(["compare", *both, "--data", "images"], capfd)
    assert "--size: there is nothing to extract" in refused(["compare", *both, "--size", "32"], capfd)


LAYER_FILES = ["captions.md", "captions.tex", "layers.pdf", "layers.png", "layers.svg"]


def test_layers_are_compared_with_each_other(folder: Path, capfd: Capture) -> None:
    for out, seed in (("a", 1), ("b", 2)):
        ran(command(out, f"smallnet:make?seed={seed}", "--layers", "[012]", "--pool", "mean"), capfd)
    both = ["compare", "--teacher", "a", "--student", "b", "--layers"]
    assert cli.run([*both, "--json", "--table", "l.csv", "--figures", "f"]) == 0
    result = json.loads(capfd.readouterr().out)
    assert result["schema"] == "manifold-probe/layers/1"
    assert result["teacher"] == result["student"] == ["0", "1", "2"]
    pair = mp.compare("a::1", "b::2", k=3).measures["debiased_linear_cka"].value
    assert result["debiased_linear_cka"][1][2] == pytest.approx(pair, abs=1e-9)
    assert len(pd.read_csv(folder / "l.csv")) == 9
    assert sorted(path.name for path in (folder / "f").iterdir()) == LAYER_FILES
    (folder / "l.json").write_text(json.dumps(result))
    assert cli.run(["figures", "l.json", "--out", "again", "--table", "again.csv"]) == 0
    assert contents(folder / "again") == contents(folder / "f")
    assert (folder / "again.csv").read_bytes() == (folder / "l.csv").read_bytes()
    capfd.readouterr()
    assert cli.run(["figures", "l.json", "--report", "p.html"]) == 0
    assert "<h1>Comparison of layers</h1>" in (folder / "p.html").read_text()
    (folder / "bad.json").write_text(json.dumps({**result, "teacher": ["0", "1"]}))
    assert "bad.json: 'linear_cka' has not a row for every" in refused(["figures", "bad.json", "--out", "f2"], capfd)
    assert cli.run(both) == 0
    assert "best match of the teacher's layer" in capfd.readouterr().out
    assert "one student at a time" in refused([*both, "--student", "a"], capfd)
    assert "written as .csv" in refused([*both, "--table", "l.tex"], capfd)


def test_weights_and_architecture_make_a_model_not_its_place(folder: Path, capfd: Capture) -> None:
    from manifold_probe.distillation.learner import BUILT_IN
    from manifold_probe.models.source import CHECKPOINT
    from manifold_probe.models.students import make_student

    def saved(name: str, seed: int) -> str:
        torch.manual_seed(seed)
        state = make_student("conv4").state_dict()
        record = {"format": CHECKPOINT, "model": BUILT_IN, "arguments": {"name": "conv4"}, "state": state}
        torch.save(record, folder / name)
        return name

    def request(name: str, *more: str) -> list[str]:
        asked = command("feats", "", *more)
        asked[asked.index("--model") + 1] = name
        return asked

    ran(request(saved("here.pt", 5)), capfd)
    assert "nothing to do" in ran(request(saved("there.pt", 5)), capfd)
    assert "the model's weights" in refused(request(saved("there.pt", 6)), capfd)
    sides = ["compare", "--teacher", "feats", "--student", "there.pt", "--k", "3", "--data", "images"]
    for seed in (6, 7):  # trained on under the same name: a second store, not a refusal
        saved("there.pt", seed)
        assert cli.run([*sides, "--size", "32", "--mean", "0.5", "--std", "0.5"]) == 0
    assert len(list((folder / "probe-features").iterdir())) == 2


def test_other_versions_are_warned_about(folder: Path, capfd: Capture) -> None:
    ran(command(), capfd)
    ran(command("other", "smallnet:make?seed=2"), capfd)
    manifest = json.loads((folder / "feats" / "manifest.json").read_text())
    manifest["recorded"]["torch"] = "1.0"
    (folder / "feats" / "manifest.json").write_text(json.dumps(manifest))
    now = importlib.metadata.version("torch")
    assert f"warning: feats: was made with other versions of libraries (torch 1.0 and {now})" in ran(command(), capfd)
    assert cli.run(["compare", "--teacher", "feats", "--student", "other", "--k", "3"]) == 0
    assert "warning: feats and other were made with different libraries: torch 1.0" in capfd.readouterr().err


def test_other_preprocessing_is_said(folder: Path, capfd: Capture) -> None:
    for out, more in {"a": [], "b": ["--size", "28"], "c": ["--mean", "0.4,0.5,0.6"]}.items():
        ran([*command(out), *more], capfd)

    def said(teacher: str, student: str) -> list[str]:
        result = mp.compare(teacher, student, k=3)
        return [alarm["message"] for alarm in result.alarms if alarm["code"] == "different_preprocessing"]

    assert said("a", "a") == said("b", "b") == []
    assert "different preprocessing (size 32 and 28); unless" in said("a", "b")[0]
    assert "(size 28 and 32; mean 0.5 and 0.4, 0.5, 0.6); unless" in said("b", "c")[0]
    assert cli.run(["compare", "--teacher", "a", "--student", "b", "--student", "same=a", "--k", "3", "--json"]) == 0
    students = json.loads(capfd.readouterr().out)["students"]
    codes = {name: [alarm["code"] for alarm in each["alarms"]] for name, each in students.items()}
    assert [codes[name].count("different_preprocessing") for name in ("b", "same")] == [1, 0]
    assert cli.run(["compare", "--teacher", "a", "--student", "b", "--k", "3"]) == 0
    assert "size 32 and 28" in capfd.readouterr().out


def test_many_layers_are_counted(folder: Path, capfd: Capture) -> None:
    error = ran(command("out", "smallnet:make?seed=1", "--layers", "*", "--pool", "mean"), capfd)
    line = next(line for line in error.splitlines() if " images: " in line)
    layers = json.loads((folder / "out" / "manifest.json").read_text())["shapes"]
    assert line.count(", ") <= 6
    assert (f" and {len(layers) - 3} more as " in line) == (len(layers) > 3)


def test_a_model_of_grey_pictures_gets_one_channel(folder: Path, capfd: Capture) -> None:
    (folder / "grey.py").write_text(
        "import torch\n"
        "def make(): return torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.AdaptiveAvgPool2d(1), "
        "torch.nn.Flatten())\n"
    )
    ran(command("grey", "grey:make"), capfd)
    assert json.loads((folder / "grey" / "manifest.json").read_text())["plan"]["preprocessing"]["channels"] == 1
