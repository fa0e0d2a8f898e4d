"""Bad files and bad options: one plain line on stderr, exit 2, stdout empty, no traceback, through ``probe`` itself."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from manifold_probe import cli
from tests.spaces.bad_files import BAD_FILES

SCRIPT = Path(sys.executable).parent / "probe"
PROBE = [str(SCRIPT)] if SCRIPT.exists() else [sys.executable, "-m", "manifold_probe"]
X = np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32)


@pytest.fixture
def good(tmp_path: Path) -> str:
    np.save(tmp_path / "good.npy", X)
    return str(tmp_path / "good.npy")


def check(code: int, out: str, error: str) -> None:
    assert code == 2, error
    assert out == ""
    assert error.startswith("probe: ")
    assert error.endswith("\n")
    assert error.count("\n") == 1, error
    assert "Traceback" not in error
    assert len(error) > 30


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files(name: str, good: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    path, _ = BAD_FILES[name](folder)
    teacher, student = (path, good) if len(name) % 2 else (good, path)
    code = cli.run(["compare", "--teacher", teacher, "--student", f"s={student}", "--k", "2"])
    out, error = capfd.readouterr()
    check(code, out, error)
    assert not (folder / "OWNED").exists()


def test_bad_files_through_real_processes(good: str, tmp_path: Path) -> None:
    paths = {}
    for name in BAD_FILES:
        if "bomb" not in name and len(paths) < 40:
            (tmp_path / name).mkdir()
            path = BAD_FILES[name](tmp_path / name)[0]
            paths |= {} if path.endswith(".pt") else {name: path}  # importing torch takes seconds
    assert len(paths) == 40

    def drive(path: str) -> subprocess.CompletedProcess[str]:
        command = [*PROBE, "compare", "--teacher", good, "--student", path, "--json"]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    with ThreadPoolExecutor(3) as threads:
        for path, done in zip(paths.values(), threads.map(drive, paths.values()), strict=True):
            assert "Traceback" not in done.stderr, path
            check(done.returncode, done.stdout, done.stderr)


def options(good: str) -> list[str]:
    return ["compare", "--teacher", good, "--student", f"s={good}"]


BAD_OPTIONS = {
    "k 0": (["--k", "0"], "k is 0"),
    "k negative": (["--k", "-3"], "k is -3"),
    "k of n": (["--k", "30"], "k is 30 but 30 rows are paired"),
    "k endless": (["--k", "9" * 40], "k is 999"),
    "k text": (["--k", "ten"], "'--k'"),
    "k fraction": (["--k", "2.5"], "'--k'"),
    "queries 0": (["--queries", "0"], "queries is 0"),
    "seed negative": (["--seed", "-1"], "seed is -1"),
    "seed beyond 32 bits": (["--seed", str(2**32)], "seed is 4294967296"),
    "unknown option": (["--cheese"], "No such option"),
    "stray argument": (["stray"], "stray: no such file"),
    "option without value": (["--labels"], "requires an argument"),
    "student twice": (["--student", "s=a.npy"], "both called 's'"),
    "student empty": (["--student", ""], "neither PATH nor NAME=PATH"),
    "student without path": (["--student", "a="], "neither PATH nor NAME=PATH"),
    "labels missing": (["--labels", "no.csv"], "no.csv: no such file"),
    "ids missing": (["--teacher-ids", "no.txt"], "no.txt: no such file"),
    "gate form": (["--fail-under", "overlap@10"], "is not MEASURE=NUMBER"),
    "gate name": (["--fail-under", "overlap@3=0.5"], "no measure is called 'overlap@3'"),
    "gate number": (["--fail-under", "overlap@10=high"], "is not a number"),
    "drop alone": (["--max-drop", "0.1"], "there is no --baseline"),
    "baseline missing": (["--baseline", "no.json"], "no.json: cannot be read"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_options(name: str, good: str, capfd: pytest.CaptureFixture[str]) -> None:
    extra, words = BAD_OPTIONS[name]
    code = cli.run(options(good) + extra)
    out, error = capfd.readouterr()
    check(code, out, error)
    assert words in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cheese"], "No such command 'cheese'"),
        (["compair"], "Did you mean 'compare'"),
        (["compare"], "--teacher: missing"),
        (["compare", "--teacher", "t.npy"], "--student: missing"),
        (["compare", "t.npy"], "--student: missing"),
        (["diagnose"], "--teacher: missing"),
        (["diagnose", "run/", "--teacher", "t.npy"], "the folder of a run goes without --teacher and --student"),
        (["diagnose", "t.npy", "a.npy", "b.npy"], "a.npy and b.npy are given; run the command once for each student"),
        (["evaluate", "t.npy"], "--student: missing"),
        (["compare", "t.npy", "s.npy", "--thumbnails", "x.npz"], "--thumbnails: are for the page; add --report"),
        (
            ["compare", "t.npy", "s.npy", "--report", "x.html", "--thumbnails", "no.npz"],
            "no.npz: no such file",
        ),
        (["compare", "t.npy", "s.npy", "--table", "x.tex", "--width", "wide"], "'wide' is no width"),
        (["info"], "Missing argument"),
        (["info", "no.npy"], "no.npy: no such file"),
        (["--cheese"], "No such option"),
        (["demo", "--out", "/proc/nowhere"], "/proc/nowhere: cannot be written to"),
        (["demo", "--out", "/dev/null"], "/dev/null: cannot be written to"),
    ],
)
def test_bad_usage(arguments: list[str], words: str, capfd: pytest.CaptureFixture[str]) -> None:
    code = cli.run(arguments)
    out, error = capfd.readouterr()
    check(code, out, error)
    assert words in error


def test_rows_that_do_not_pair(good: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "short.npy", X[:20])
    torch.save({"features": torch.from_numpy(X), "ids": list(range(30))}, tmp_path / "ids.pt")
    torch.save({"features": torch.from_numpy(X), "ids": list(range(1, 31))}, tmp_path / "other.pt")
    for teacher, student, words in (
        (good, "short.npy", "has 20 rows and"),
        (good, "ids.pt", "--positional"),
        (str(tmp_path / "ids.pt"), "other.pt", "--allow-missing"),
    ):
        code = cli.run(["compare", "--teacher", teacher, "--student", str(tmp_path / student)])
        out, error = capfd.readouterr()
        check(code, out, error)
        assert words in error
        assert student in error


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "manifold-probe/comparison/9"}', "\x00" * 50])
def test_bad_baselines(text: str, good: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old.json").write_text(text)
    code = cli.run([*options(good), "--baseline", str(tmp_path / "old.json")])
    out, error = capfd.readouterr()
    check(code, out, error)
    assert "old.json: " in error
