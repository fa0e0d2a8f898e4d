"""Every command and Python block of the README, of docs/ and of every help text runs, in the folder of `probe demo`."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from manifold_probe import cli
from tests.docs.brought import brought_models
from tests.docs.commands import (
    PAGES,
    Command,
    Runner,
    commands_of,
    documented,
    help_commands,
    not_printed,
    verbs,
    written,
)

ALL = documented()
HELP = [command for verb in verbs() for command in help_commands(verb)]
RUN = {name: commands for name, commands in ALL.items() if any(not each.reason_not_to_run for each in commands)}


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `probe demo` writes, made once for all processes of a test run."""
    shared = tmp_path_factory.getbasetemp().parent / "demo-of-docs"
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            making = tmp_path_factory.mktemp("demo")
            with contextlib.chdir(making):
                assert cli.run(["demo"]) == 0
            shutil.copytree(making / "probe-demo", shared)
    return shared


@pytest.mark.parametrize("quick", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["quick", "all"])
@pytest.mark.parametrize("page", [*RUN, "help"])
def test_every_command_runs(
    page: str, quick: bool, demo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(demo_folder, tmp_path / "probe-demo")
    monkeypatch.chdir(tmp_path / "probe-demo")
    monkeypatch.syspath_prepend(os.getcwd())
    monkeypatch.delitem(sys.modules, "tinymodel", raising=False)
    commands = HELP if page == "help" else RUN[page]
    if not quick and any(each.slow for each in commands):
        brought_models()
    runner = Runner([command for commands in ALL.values() for command in commands], quick)
    faults = runner.run(commands)
    sys.modules.pop("tinymodel", None)
    for text, took in sorted(runner.seconds.items(), key=lambda pair: -pair[1]):
        print(f"{took:6.1f} s  {text}")
    assert not faults, "\n\n".join(faults)


def test_a_command_without_a_runner_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    block = "```sh\nprobes compare \\\n    --out x/  # why\n```"
    text = f"A title\n\n{block}\n\nBetween `probe info x.npy` and\n`torchrun -m\nx`.\n"
    first, second, third = commands_of(text, "page")
    assert [first.text, second.text, third.text] == [
        "probes compare --out x/  # why",
        "probe info x.npy",
        "torchrun -m x",
    ]
    runner = Runner([], quick=True)
    assert "nothing here runs probes" in str(runner.fault_of(first))
    assert "exit code 2" in str(runner.fault_of(second))
    assert "NameError" in str(runner.fault_of(Command("nothing", "page", python=True)))
    assert not written(tmp_path, start=0)
    (tmp_path / "x").touch()
    assert not written(tmp_path / "x", start=0)
    (tmp_path / "x").write_text("x")
    assert written(tmp_path, start=0)
    assert not written(tmp_path, start=time.time() + 60)


def test_shown_output_is_held_against_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = "the first line, which\nis wrapped\n\nvalue  1.24  0.1 to 2  ##..\nlast  3\n"
    assert not_printed(["the first", "line, which is", "...", "value 1.2 0.1 to 2", "last  3"], printed) is None
    assert not_printed(["last 3", "the first"], printed) == "the first"
    assert not_printed(["value 1.3"], printed) == "value 1.3"
    assert not_printed(["value 1.24 0.1 to 2 #..."], printed) is None
    block = "```console\n$ probe info \\\n    t.pt\nfile  t.pt\n...\n$ probe info s.pt\n```"
    text = f"{block}\n\n```python\nprint(1)\n```\n\n```text\n2\n```\n\nprose\n\n```text\nanything\n```"
    first, second, third = commands_of(text, "page")
    assert (first.text.split(), first.shown) == (["probe", "info", "t.pt"], ("file  t.pt", "..."))
    assert (second.shown, third.shown) == ((), ("2",))
    monkeypatch.chdir(tmp_path)
    assert "does not print '2', but\n1" in str(Runner([], quick=True).fault_of(third))


def test_what_a_command_reads_is_made_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, second, third = commands_of(
        "```sh\nprobe distill --out run/\nprobe figures run/ --json > s.json\nprobe diagnose s.json::a\n```", "page"
    )
    assert list(Runner([first, second], quick=True).missing(third)) == [first, second]
    assert not list(Runner([third], quick=True).missing(third))
    with pytest.raises(ValueError, match="a block is marked ''"):
        commands_of("```\nprobe info\n```", "page")


def test_blocks_of_a_workflow_are_its_run_lines() -> None:
    steps = "      - uses: x\n      - run: |\n          probe info \\\n            t.pt\n          b\n"
    text = f"```yaml\njobs:\n  a:\n    steps:\n{steps}```"
    assert [each.text for each in commands_of(text, "page")] == ["probe info t.pt", "b"]


@pytest.mark.parametrize("verb", sorted(verbs()))
def test_every_verb_has_an_example_and_every_option_a_meaning(verb: str) -> None:
    assert help_commands(verb)
    for parameter in verbs()[verb].params:
        words = (parameter.help or "").partition("[default")[0]
        assert words.strip().endswith((".", "?")), (parameter.name, words)


@pytest.mark.parametrize("page", PAGES)
def test_every_option_that_a_page_names_exists(page: str) -> None:
    known = {option for verb in verbs().values() for parameter in verb.params for option in parameter.opts}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGES[page].read_text(encoding="utf-8")))
    elsewhere = {"--nproc-per-node", "--no-deps", "--quick", "--help", "--install-completion"}
    assert named <= known | elsewhere, named - known
