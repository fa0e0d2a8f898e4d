"""Every command of the README and of every help text runs, as it is written, in the folder that `probe demo` makes."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import pytest

from manifold_probe import cli
from tests.readme.commands import ROOT, Command, fault_of, help_commands, readme_commands, verbs, written
from tests.readme.folder import brought_models

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("quick", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["quick", "all"])
def test_every_command_runs(quick: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["demo"]) == 0
    monkeypatch.chdir("probe-demo")
    monkeypatch.syspath_prepend(os.getcwd())
    monkeypatch.delitem(sys.modules, "tinymodel", raising=False)
    if not quick:
        brought_models()
    commands = readme_commands(README)
    for verb in verbs():
        commands += help_commands(verb)
    faults, seconds = [], {}
    for place, command in enumerate(commands):
        if command.reason_not_to_run or (quick and command.slow):
            continue
        start = time.process_time()
        faults.append(fault_of(command, commands[:place], quick))
        seconds[command.text] = time.process_time() - start
    sys.modules.pop("tinymodel", None)
    for text, took in sorted(seconds.items(), key=lambda pair: -pair[1]):
        print(f"{took:6.1f} s  {text}")
    assert not any(faults), "\n\n".join(filter(None, faults))


def test_a_command_without_a_runner_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "A title\n\n    probes compare \\\n        --out x/\n\nBetween `probe info x.npy` and\n`torchrun -m\nx`.\n"
    first, second, third = readme_commands(text)
    assert [first.text, second.text, third.text] == ["probes compare --out x/", "probe info x.npy", "torchrun -m x"]
    assert "nothing here runs probes" in str(fault_of(first, [], quick=True))
    assert "exit code 2" in str(fault_of(second, [], quick=True))
    assert "NameError" in str(fault_of(Command("nothing", "README", python=True), [], quick=True))
    assert not written(tmp_path, start=0)
    (tmp_path / "x").touch()
    assert not written(tmp_path / "x", start=0)
    (tmp_path / "x").write_text("x")
    assert written(tmp_path, start=0)
    assert not written(tmp_path, start=time.time() + 60)


@pytest.mark.parametrize("verb", sorted(verbs()))
def test_every_verb_has_an_example_and_every_option_a_meaning(verb: str) -> None:
    assert help_commands(verb)
    for parameter in verbs()[verb].params:
        words = (parameter.help or "").partition("[default")[0]
        assert words.strip().endswith((".", "?")), (parameter.name, words)


def test_every_option_that_the_readme_names_exists() -> None:
    known = {option for verb in verbs().values() for parameter in verb.params for option in parameter.opts}
    assert set(re.findall(r"--[a-z][a-z-]+", README)) <= known | {"--nproc-per-node"}
