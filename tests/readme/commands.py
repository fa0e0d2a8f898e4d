"""The commands that a user reads, from the README and from every ``probe VERB --help``, and how a test runs them.

A command is taken as it is written. What may be changed before it runs stands in three tables: `PLACEHOLDERS` (a folder
that the reader has to bring), `SHORTER` (hours of training) and, in the default suite alone, `QUICKER`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from manifold_probe import cli
from manifold_probe.cli.verbs import app

ROOT = Path(__file__).resolve().parents[2]
NOT_RUN = {
    "make demo": "installs the package; `probe demo`, which it runs then, makes the folder of these tests",
    "make test": "runs this test",
    "pip install": "needs a package index",
}
PLACEHOLDERS = {
    "hf:FOLDER": "hf:vision_model",
    "st:FOLDER": "st:text_model",
    "to_html(path)": "to_html('loaded.html')",
    "to_table(path)": "to_table('loaded.csv')",
}
SHORTER = {"--method tintem": "--method tintem --epochs 1 --batch-size 32", "--size 224": "--size 64"}
QUICKER = {
    "--figures figs": "--figures figs --no-maps",  # UMAP compiles for ten seconds
    "--report page.html": "--report page.html --no-maps",
    "--corruptions": "--corruptions --corrupted-images 20",
    "--epochs 8 --out coss/": "--epochs 1 --out coss/",
}
SLOW = ("torchrun", "hf:", "st:")  # two processes; an extra that the default suite does without
GATES = ("--fail-under", "--baseline")
OUTPUTS = ("--out", "--report", "--table", "--figures", "--rows", "--save-repair")


@dataclass(frozen=True)
class Command:
    """A command line, or Python where ``python`` is true, and the place that says it."""

    text: str
    place: str
    python: bool = False

    @property
    def slow(self) -> bool:
        """Whether it is left to the slow tests."""
        return any(word in self.text for word in SLOW)

    @property
    def reason_not_to_run(self) -> str | None:
        """Why no test can run it; None where one does."""
        return next((why for start, why in NOT_RUN.items() if self.text.startswith(start)), None)


def readme_commands(text: str) -> list[Command]:
    """Every indented line, every ``$ `` line and Python block between fences, and every command inside a sentence.

    ``mp.load(...)`` inside a sentence is Python, and so is every ``.method()`` that its paragraph names after it.
    """
    found: list[Command] = []
    lines = iter(text.splitlines())
    prose: list[str] = []

    def end_of_paragraph() -> None:
        loaded = ""
        for span in re.findall(r"`([^`]+)`", " ".join(prose)):
            if span.startswith("mp."):
                loaded = span
                found.append(Command(span, "README", python=True))
            elif loaded and re.match(r"\.\w", span):  # what can be done with it
                found.append(Command(loaded + span, "README", python=True))
            elif re.match(r"(probe \w+|torchrun|pip install) |make \w+$", span):
                found.append(Command(span, "README"))
        prose.clear()

    for line in lines:
        if line.startswith("```"):
            end_of_paragraph()
            block = list(iter(lambda: next(lines), "```"))
            if line == "```python":
                found.append(Command("\n".join(block), "README", python=True))
            found += [Command(each[2:], "README") for each in block if each.startswith("$ ")]
        elif line.startswith("    ") and not prose:
            found.append(Command(joined(line, lines), "README"))
        elif not line.strip():
            end_of_paragraph()
        else:
            prose.append(line.strip())
    end_of_paragraph()
    return found


def help_commands(verb: str) -> list[Command]:
    """Every indented line of a verb's help that starts with ``probe`` and a verb."""
    lines = iter(help_text(verb).splitlines())
    start = re.compile(rf" +probe ({'|'.join(verbs())})( |$)")
    return [Command(joined(line, lines), f"probe {verb} --help") for line in lines if start.match(line)]


def joined(line: str, following: Iterator[str]) -> str:
    """A line and those that continue it."""
    text = line.strip()
    while text.endswith("\\"):
        text = f"{text[:-1].rstrip()} {next(following).strip()}"
    return text


def help_text(verb: str) -> str:
    """What ``probe VERB --help`` prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert cli.run([verb, "--help"]) == 0
    return out.getvalue()


def verbs() -> dict[str, Any]:
    """All verbs by name, as typer made them of their functions."""
    return typer.main.get_command(app).commands  # type: ignore[attr-defined]


def completed(command: Command, before: list[Command]) -> str:
    """The command line in full: ``torchrun ... -m manifold_probe VERB ...`` is the first command of that verb, into
    another folder, on two processes."""
    text = command.text
    if text.startswith("torchrun") and text.endswith(" ..."):
        verb = text.split()[-2]
        first = next(each.text for each in before if each.text.startswith(f"probe {verb} "))
        words = shlex.split(first, comments=True)[2:]
        words[words.index("--out") + 1] = f"{verb}-of-two/"
        text = f"{text.removesuffix('...').replace(' N ', ' 2 ')}{shlex.join(words)}"
    return text


def fault_of(command: Command, before: list[Command], quick: bool) -> str | None:
    """Run a command in the current folder; what is wrong with how it went, or None."""
    text = completed(command, before)
    for table in (PLACEHOLDERS, SHORTER, *([QUICKER] if quick else [])):
        for old, new in table.items():
            text = text.replace(old, new)
    start = time.time() - 0.1
    words = shlex.split(text, comments=True) if not command.python else []
    target = None
    if ">" in words:
        target = words[words.index(">") + 1]
        words = words[: words.index(">")]
    code, out, error = ran_python(text) if command.python else ran(words)
    if target is not None:
        Path(target).write_text(out)
    allowed = (0, 1) if any(word in GATES for word in words) else (0,)
    named = [words[place + 1] for place, word in enumerate(words) if word in OUTPUTS] + ([target] if target else [])
    fault = None
    if code not in allowed:
        fault = f"exit code {code}"
    elif not out + error:
        fault = "prints nothing"
    elif "--json" in words and not isinstance(json.loads(out), dict):
        fault = "prints no JSON object"
    elif missing := [name for name in named if not written(Path(name), 0 if "--verify" in words else start)]:
        fault = f"does not write {missing[0]}"
    return fault and f"{command.place}: {command.text}\n    {fault}: {error[-1500:].strip()}"


def written(path: Path, start: float) -> bool:
    """Whether a file, or at least one in a folder, was written since ``start``, and none is empty."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    if not files or not all(file.exists() and file.stat().st_size for file in files):
        return False
    return max(file.stat().st_mtime for file in files) >= start


def ran(words: list[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr: of `probe` in this process, of `torchrun` in processes of its own."""
    if words[0] == "torchrun":
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", *words[1:]]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(launch, capture_output=True, text=True, env=environment, timeout=300, check=False)
        return done.returncode, done.stdout, done.stderr
    if words[0] != "probe":
        return -1, "", f"nothing here runs {words[0]}"
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        code = cli.run(words[1:])
    return code, out.getvalue(), error.getvalue()


def ran_python(text: str) -> tuple[int, str, str]:
    """The same of a block of Python; an expression is printed."""
    out = io.StringIO()
    if "\n" not in text:
        text = f"import manifold_probe as mp\nprint({text})"
    try:
        with contextlib.redirect_stdout(out):
            exec(compile(text, "README.md", "exec"), {"__name__": "README"})
    except Exception:
        return 1, out.getvalue(), traceback.format_exc()
    return 0, out.getvalue(), ""
