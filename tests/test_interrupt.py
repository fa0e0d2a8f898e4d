"""Ctrl-C and SIGTERM at any moment: one line, exit code 130 or 143, nothing half-written."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from manifold_probe import files
from tests.test_bad_input import PROBE

AS_PROBE = "import sys; from manifold_probe import cli; sys.argv = ['probe', *sys.argv[1:]]; "
INSIDE_AN_IMPORT = """
import os, time

class Finder:
    def find_spec(self, name, *_):
        if name == {name!r}:
            sys.meta_path.remove(self)
            {act}

sys.meta_path.insert(0, Finder())
cli.main()
"""
INSIDE_THE_WORK = """
import os, signal, threading, time
from pathlib import Path
from manifold_probe import api

def work(*_, **__):
{act}

api.compare = work
cli.main()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("t", "s"):
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(100, 4)))
    return tmp_path


def ran(folder: Path, script: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", AS_PROBE + script, "compare", "--teacher", "t.npy", "--student", "s.npy", "--json"]
    given: dict = {"capture_output": True, "text": True, "timeout": 300, "cwd": folder, "check": False, **options}
    path = os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, **given)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.name not in ("t.npy", "s.npy"))


@pytest.mark.parametrize("name", ["typer", "numpy", "scipy.linalg"])
@pytest.mark.parametrize(("number", "code", "said"), [(2, 130, "interrupted"), (15, 143, "terminated")])
def test_while_modules_are_imported(folder: Path, name: str, number: int, code: int, said: str) -> None:
    done = ran(folder, INSIDE_AN_IMPORT.format(name=name, act=f"os.kill(os.getpid(), {number})"))
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"probe: {said}\n")


def test_one_that_a_library_loses_comes_again(folder: Path) -> None:
    lost = """
            try:
                os.kill(os.getpid(), 2)
                time.sleep(1)
            except BaseException:
                pass
            time.sleep(30)"""
    began = time.monotonic()
    done = ran(folder, INSIDE_AN_IMPORT.format(name="scipy.linalg", act=lost))
    assert (done.returncode, done.stderr) == (130, "probe: interrupted\n")
    assert time.monotonic() - began < 25


def test_one_that_is_lost_where_nothing_can_be_raised_is_not_shown(folder: Path) -> None:
    act = """
    class Lost:
        def __del__(self):
            signal.raise_signal(2)
    Lost()
    time.sleep(30)
"""
    done = ran(folder, INSIDE_THE_WORK.format(act=act))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "probe: interrupted\n")


def test_one_that_a_library_makes_another_error_of(folder: Path) -> None:
    act = """
    try:
        signal.raise_signal(15)
    except BaseException:
        raise RuntimeError("compilation failed")
"""
    done = ran(folder, INSIDE_THE_WORK.format(act=act))
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "probe: terminated\n")


def test_a_second_one_does_not_disturb_the_cleaning_up(folder: Path) -> None:
    act = """
    try:
        signal.raise_signal(2)
    finally:
        signal.raise_signal(2)
        time.sleep(0.7)  # longer than it takes to come again
        signal.raise_signal(15)
        Path("cleaned").touch()
"""
    done = ran(folder, INSIDE_THE_WORK.format(act=act))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "probe: interrupted\n")
    assert left(folder) == ["cleaned"]


def test_threads_at_work_are_not_waited_for(folder: Path) -> None:
    act = """
    threading.Thread(target=time.sleep, args=(60,)).start()
    signal.raise_signal(2)
"""
    began = time.monotonic()
    done = ran(folder, INSIDE_THE_WORK.format(act=act))
    assert (done.returncode, done.stderr) == (130, "probe: interrupted\n")
    assert time.monotonic() - began < 50


def test_one_that_the_process_was_started_to_ignore_stays_ignored(folder: Path) -> None:
    done = ran(
        folder,
        INSIDE_AN_IMPORT.format(name="scipy.linalg", act="os.kill(os.getpid(), 2)"),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert done.returncode == 0
    assert done.stdout.startswith("{")


def test_files_are_written_all_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted_at(name: str, call: int) -> None:
        calls, real = [], getattr(os, name)

        def fail(*given: object) -> None:
            calls.append(given)
            if name == "replace":
                real(*given)
            if len(calls) == call:
                raise KeyboardInterrupt

        monkeypatch.setattr(files.os, name, fail)
        with pytest.raises(KeyboardInterrupt):
            files.write_all({tmp_path / f"{each}.txt": each for each in "abc"})
        monkeypatch.undo()

    interrupted_at("fsync", 2)
    assert os.listdir(tmp_path) == []
    interrupted_at("replace", 2)
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "b.txt", "c.txt"]


COMMANDS = {
    "compare": "compare --teacher demo/t.pt --student demo/s.pt --report out/p.html --table out/t.csv --figures out/f",
    "models": "compare --teacher python:tinymodel:make?seed=1 --student python:tinymodel:make?seed=2 "
    "--data demo/images --size 32 --mean 0.5 --std 0.5",
    "diagnose": "diagnose --teacher demo/t.pt --student demo/s.pt --rows out/r.csv --figures out/f --report out/p.html",
    "evaluate": "evaluate --teacher demo/t.pt --student demo/s.pt --out out/e.json",
    "extract": "extract --model python:tinymodel:make?seed=1 --data demo/images --size 32 --mean 0.5 --std 0.5 "
    "--out out/features",
    "distill": "distill --method coss --teacher demo/t.pt --student conv4 --data demo/digits.npz --epochs 2 "
    "--batch-size 128 --out out/run",
    "demo": "demo --out out/demo",
}


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from manifold_probe.demo import demo_data

    place = tmp_path_factory.mktemp("interrupted")
    demo_data(place / "demo")
    return place


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_at_any_moment(demo_folder: Path, name: str) -> None:
    path = os.pathsep.join([os.getcwd(), str(demo_folder / "demo")])
    out = demo_folder / "out"

    def started() -> subprocess.Popen[str]:
        out.mkdir(exist_ok=True)
        options: dict = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": demo_folder}
        return subprocess.Popen([*PROBE, *COMMANDS[name].split()], env={**os.environ, "PYTHONPATH": path}, **options)

    def made() -> dict[str, str]:
        found = {str(each.relative_to(out)): each.read_bytes() for each in out.rglob("*") if each.is_file()}
        for name, content in found.items():
            if name.endswith((".json", ".html", "last.pt")):  # may hold the time
                assert name.endswith(".pt") or content.rstrip().endswith((b"}", b"</html>"))
                found[name] = b""
        return {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}

    def emptied() -> None:
        for each in (out, demo_folder / "probe-features"):
            shutil.rmtree(each, ignore_errors=True)

    emptied()
    began = time.monotonic()
    assert started().wait(timeout=600) == 0
    took, finished = time.monotonic() - began, made()
    for place, number in enumerate([signal.SIGINT, signal.SIGTERM] * 4):
        emptied()
        process = started()
        time.sleep(took * (place + 1) / 9)  # not while Python itself starts, which we cannot change
        process.send_signal(number)
        _, error = process.communicate(timeout=600)
        assert process.returncode in (0, 128 + number)
        assert "Traceback" not in error
        assert "Exception ignored" not in error
        names = [each.name for each in out.rglob("*")]
        assert not [each for each in names if each.endswith(".part") or each == ".lock"]
        if name not in ("extract", "distill"):  # which grow, and are resumed
            assert made().items() <= finished.items()
    assert started().wait(timeout=600) == 0
    assert made() == finished
    emptied()
