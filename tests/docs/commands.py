"""The commands that a user reads, in the README, in docs/ and in every ``probe VERB --help``, and how a test runs them.

Output that a page shows, below a command in a ``console`` block or in a ``text`` block right after a ``python`` block,
is compared with what the command prints: see `not_printed`.

A command is taken as it is written. What may be changed before it runs is in three tables: `PLACEHOLDERS` (a model that
the reader has to bring), `SHORTER` (hours of training) and, in the default suite alone, `QUICKER`. A file or folder
that another page makes is made first, by the first command on any page that writes it.
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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import typer
import yaml

from manifold_probe import cli
from manifold_probe.cli.verbs import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = {path.relative_to(ROOT).as_posix(): path for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md")}
PAGES |= {path.relative_to(ROOT).as_posix(): path for path in sorted((ROOT / "docs").rglob("*.md"))}
LANGUAGES = {"sh", "console", "python", "yaml", "text", "json", "bibtex"}
NOT_RUN = {
    "make ": "installs packages; `probe demo`, which `make demo` runs, makes the folder of these tests",
    "source ": "activates an environment, which these tests have",
    "cd ": "these tests run in probe-demo",
    "git clone": "needs the network",
    "pip install": "needs a package index",
    "sudo ": "installs a package of the system",
    "python experiments/": "takes minutes to hours; tests/experiments and the committed results check these",
    "python figures/": "draws from committed results",
}
PLACEHOLDERS = {"hf:FOLDER": "hf:vision_model", "st:FOLDER": "st:text_model"}
SHORTER = {"--method tintem": "--method tintem --epochs 1 --batch-size 32", "--size 224": "--size 64"}
QUICKER = {
    "--figures figs": "--figures figs --no-maps",  # UMAP compiles for ten seconds
    "--report page.html": "--report page.html --no-maps",
    "--corruptions": "--corruptions --corrupted-images 20",
    "--epochs 8 ": "--epochs 4 ",
}
SLOW = ("torchrun", "hf:", "st:", "--pool tokens")  # two processes; an extra of the slow suite; a transformer
GATES = ("--fail-under", "--baseline")
OUTPUTS = ("--out", "-o", "--report", "--table", "--figures", "--save-repair", ">")


@dataclass(frozen=True)
class Command:
    """A command line, or Python where ``python`` is true, and the page on which it is."""

    text: str
    place: str
    python: bool = False
    shown: tuple[str, ...] = ()  # lines of output that the page shows

    @property
    def slow(self) -> bool:
        """Whether it is left to the slow tests."""
        return any(word in self.text for word in SLOW)

    @property
    def reason_not_to_run(self) -> str | None:
        """Why no test can run it; None where one does."""
        return next((why for start, why in NOT_RUN.items() if self.text.startswith(start)), None)

    @property
    def words(self) -> list[str]:
        """The words of a command line."""
        return [] if self.python else shlex.split(self.text, comments=True)

    @property
    def writes(self) -> list[str]:
        """The files and folders that a command line writes."""
        words = self.words
        options = (*OUTPUTS, "--second-round") if "merge" in words else OUTPUTS
        options = (*options, "--rows") if "diagnose" in words else options  # of other verbs it is how sets are read
        return [words[place + 1].rstrip("/") for place, word in enumerate(words[:-1]) if word in options]


def commands_of(text: str, place: str) -> list[Command]:
    """Every line of a ``sh`` block, ``$ `` line of a ``console`` block, ``run:`` of a ``yaml`` block and ``python``
    block, and every command between backticks that starts with a verb and has arguments.

    Raises
    ------
    ValueError
        For a block without a known language.
    """
    found: list[Command] = []
    lines = iter(text.splitlines())
    prose: list[str] = []
    after_python = False  # with nothing but empty lines in between

    def end_of_paragraph() -> None:
        spans = re.findall(r"`([^`]+)`", " ".join(prose))
        found.extend(Command(span, place) for span in spans if re.match(r"(probe [a-z]+|torchrun|pip install) ", span))
        prose.clear()

    for line in lines:
        if not line.startswith("```"):
            prose.append(line.strip())
            after_python &= not line.strip()
            if not line.strip():
                end_of_paragraph()
            continue
        end_of_paragraph()
        language, block = line[3:].split()[0] if line[3:] else "", list(iter(lambda: next(lines), "```"))
        if language not in LANGUAGES:
            raise ValueError(f"{place}: a block is marked {language!r}; known are {', '.join(sorted(LANGUAGES))}")
        if language == "python":
            found.append(Command("\n".join(block), place, python=True))
        elif language == "console":
            for part in re.split(r"^\$ ", "\n".join(block), flags=re.MULTILINE)[1:]:
                command, *shown = part.replace("\\\n", "").splitlines()
                found.append(Command(command, place, shown=tuple(shown)))
        elif language == "text" and after_python:
            found[-1] = replace(found[-1], shown=tuple(block))
        elif language == "sh":
            found += [Command(line, place) for line in joined(block)]
        elif language == "yaml":
            steps = [step for job in yaml.safe_load("\n".join(block))["jobs"].values() for step in job["steps"]]
            found += [Command(line, place) for step in steps for line in joined(step.get("run", "").splitlines())]
        after_python = language == "python"
    end_of_paragraph()
    return found


def joined(block: Sequence[str]) -> list[str]:
    """The lines of a shell block without comments, each with those that continue it."""
    whole = re.sub(r"\s*\\\n\s*", " ", "\n".join(block))
    return [line.strip() for line in whole.splitlines() if line.strip() and not line.strip().startswith("#")]


def documented() -> dict[str, list[Command]]:
    """The commands of every page."""
    return {name: commands_of(path.read_text(encoding="utf-8"), name) for name, path in PAGES.items()}


def help_commands(verb: str) -> list[Command]:
    """Every indented line of a verb's help that starts with ``probe`` and a verb."""
    start = re.compile(rf" +probe ({'|'.join(verbs())})( |$)")
    return [
        Command(line, f"probe {verb} --help")
        for line in joined([x for x in help_text(verb).splitlines() if start.match(x)])
    ]


def help_text(verb: str) -> str:
    """What ``probe VERB --help`` prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert cli.run([verb, "--help"]) == 0
    return out.getvalue()


def verbs() -> dict[str, Any]:
    """All verbs by name, as typer made them of their functions."""
    return typer.main.get_command(app).commands  # type: ignore[attr-defined]


@dataclass
class Runner:
    """Runs commands in the current folder; ``everything`` is where missing inputs are made from."""

    everything: Sequence[Command]
    quick: bool
    seconds: dict[str, float] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)  # files and folders of commands that ran with less work

    def run(self, commands: Sequence[Command]) -> list[str]:
        """What is wrong with how the commands went, in order; nothing where all is well."""
        faults = []
        for command in commands:
            if command.reason_not_to_run or (self.quick and command.slow):
                continue
            made = list(self.missing(command))
            faults += [self.fault_of(each) for each in (*made, command)]
        return [fault for fault in faults if fault]

    def missing(self, command: Command) -> Iterator[Command]:
        """The commands that make what this one reads and is not there, in the order in which they are needed."""
        for word in command.words:
            name = word.rpartition("=")[2].partition("::")[0].rstrip("/")
            if name in command.writes or Path(name).exists():
                continue
            for maker in self.everything:
                if any(name == made or name.startswith(f"{made}/") for made in maker.writes):
                    if not (maker.slow and self.quick):
                        yield from self.missing(maker)
                        yield maker
                    break

    def fault_of(self, command: Command) -> str | None:
        """Run one command; what is wrong with how it went, or None."""
        text = command.text
        for table in (PLACEHOLDERS, SHORTER, *([QUICKER] if self.quick else [])):
            for old, new in table.items():
                text = text.replace(old, new)
        start, clock = time.time() - 0.1, time.process_time()
        words = [] if command.python else shlex.split(text, comments=True)
        target = None
        if ">" in words:
            target = words[words.index(">") + 1]
            words = words[: words.index(">")]
        code, out, error = ran_python(text, command.place) if command.python else ran(words)
        if target is not None:
            Path(target).write_text(out)
        self.seconds[command.text] = time.process_time() - clock
        allowed = (0, 1) if any(word in GATES for word in words) else (0,)
        fault = None
        if code not in allowed:
            fault = f"exit code {code}"
        elif not out + error and not command.python:
            fault = "prints nothing"
        elif "--json" in words and not isinstance(json.loads(out), dict):
            fault = "prints no JSON object"
        elif absent := [
            name for name in command.writes if not written(Path(name), 0 if "--verify" in words else start)
        ]:
            fault = f"does not write {absent[0]}"
        elif self.as_written(command, text) and (line := not_printed(command.shown, out)) is not None:
            fault = f"does not print {line!r}, but\n{out}"
        return fault and f"{command.place}: {command.text}\n    {fault}: {error[-1500:].strip()}"

    def as_written(self, command: Command, text: str) -> bool:
        """Whether what ran is what the page says, and read nothing of a command that ran with less work."""
        if text != command.text:
            self.changed.update(command.writes)
            return False
        return not any(word.rstrip("/") in self.changed for word in command.words)


def not_printed(shown: Sequence[str], printed: str) -> str | None:
    """The first line of ``shown`` that is not in ``printed``; None where all are, in this order.

    A page may break lines anywhere, leave lines and the ends of lines out, and write "..." there. Words are compared
    one by one, numbers to half a unit of the last digit that is shown, and bars by their length.
    """
    words, place = printed.split(), 0
    for line in shown:
        wanted = line.split()
        if wanted in ([], ["..."]):
            continue
        last = len(words) - len(wanted)
        while place <= last and not all(map(same, wanted, words[place : place + len(wanted)])):
            place += 1
        if place > last:
            return line
        place += len(wanted)
    return None


def same(shown: str, printed: str) -> bool:
    """Whether a word that a page shows is the one that was printed.

    >>> same("0.744", "0.7441"), same("0.744", "0.7447"), same("(0.731", "(0.731"), same("##.", "#.."), same("a", "b")
    (True, False, True, True, False)
    """
    if set(shown) | set(printed) <= set("#|."):
        return len(shown) == len(printed)
    try:
        number, value = float(shown), float(printed)
    except ValueError:
        return shown == printed
    return abs(number - value) <= 0.5 * 10.0 ** -len(shown.partition(".")[2])


def written(path: Path, start: float) -> bool:
    """Whether a file, or at least one in a folder, was written since ``start``, and none is empty."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    if not files or not all(file.exists() and file.stat().st_size for file in files):
        return False
    return max(file.stat().st_mtime for file in files) >= start


def ran(words: list[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr: of `probe` in this process, of `torchrun` in new ones."""
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


def ran_python(text: str, place: str) -> tuple[int, str, str]:
    """The same of a block of Python."""
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            exec(compile(text, place, "exec"), {"__name__": place})
    except Exception:
        return 1, out.getvalue(), traceback.format_exc()
    return 0, out.getvalue(), ""
