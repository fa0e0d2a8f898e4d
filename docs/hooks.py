"""Pages that are made from the code and the README, so that they cannot differ from them.

A line becomes:

    <!-- readme -->               the README, its links as they are from here
    <!-- commands -->             the reference of every verb of the command line
    <!-- members of MODULE -->    the documentation of every function and class in the module's ``__all__``
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from manifold_probe.cli.verbs import app

README = Path(__file__).parents[1] / "README.md"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """MkDocs calls this for every page, before Markdown becomes HTML."""
    markdown = re.sub("<!-- readme -->", lambda _: readme(), markdown)
    markdown = re.sub("<!-- commands -->", lambda _: command_reference(), markdown)
    return re.sub(r"<!-- members of ([\w.]+) -->", lambda found: members(found[1]), markdown)


def readme() -> str:
    """The README; what a link names outside docs/ stays as text."""
    text = README.read_text(encoding="utf-8").replace("](docs/", "](").replace('src="docs/', 'src="')
    pages = Path(__file__).parent
    return re.sub(r"\[([^]]+)\]\(([^)#]+)\)", lambda link: link[0] if (pages / link[2]).exists() else link[1], text)


def members(module: str) -> str:
    """A directive for every function and class of a module; what its rooms export is left to their pages."""
    home = import_module(module)
    values = {name: getattr(home, name) for name in home.__all__}
    of_rooms = {name for room in values.values() if inspect.ismodule(room) for name in getattr(room, "__all__", ())}
    documented = [
        value
        for name, value in values.items()
        if name not in of_rooms and (inspect.isroutine(value) or inspect.isclass(value))
    ]
    return "\n\n".join(dict.fromkeys(f"::: {each.__module__}.{each.__qualname__}" for each in documented))


def command_reference() -> str:
    """Every verb: what it does, examples, and its arguments and options in tables."""
    verbs = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return "\n\n".join(_verb(name, command) for name, command in verbs.items())


def _verb(name: str, command: Any) -> str:
    paragraphs, examples = _prose_and_examples("\n\n".join(filter(None, (command.help, command.epilog))))
    parts = [f"## probe {name}", *paragraphs, "```sh\n" + "\n".join(examples) + "\n```"]
    context = typer.Context(command, info_name=name)
    groups: dict[str, list[str]] = {}
    for parameter in command.get_params(context):
        if (record := parameter.get_help_record(context)) is not None:  # what --help prints
            kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
            names, meaning = (" ".join(text.split()).replace("|", "\\|") for text in record)
            groups.setdefault(parameter.rich_help_panel or kind, []).append(f"| `{names}` | {_plain(meaning)} |")
    for title, rows in groups.items():
        parts.append("\n".join([f"| {title} | |", "| --- | --- |", *rows]))
    return "\n\n".join(parts)


def _prose_and_examples(text: str) -> tuple[list[str], list[str]]:
    """Paragraphs as single lines, and the lines that show commands."""
    examples = [line.strip() for line in text.splitlines() if re.match(r"\s+(probe|torchrun)\b", line)]
    lines = [line for line in text.splitlines() if line.strip() not in (*examples, "\b", "Example:", "Examples:")]
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines).replace("\b", ""))
    return [" ".join(each.split()) for each in paragraphs if each.strip()], examples


def _plain(text: str) -> str:
    """Text whose brackets and asterisks Markdown leaves as they are."""
    return re.sub(r"([\[\]*_<>])", r"\\\1", text)
