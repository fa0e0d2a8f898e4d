"""Command lines of tests: a base command with some of its options changed."""

from __future__ import annotations

import typer

from manifold_probe.cli.verbs import app


def changed(arguments: list[str]) -> list[str]:
    """The command line with every option that takes one value as it was given last.

    >>> changed(["compare", "--k", "5", "--json", "--k", "3"])
    ['compare', '--json', '--k', '3']
    """
    verb = typer.main.get_command(app).commands[arguments[0]]  # type: ignore[attr-defined]
    options = [each for each in verb.params if each.param_type_name == "option" and not each.is_flag]
    single = {name for each in options if not each.multiple for name in each.opts}
    kept: list[str] = []
    place = 0
    while place < len(arguments):
        name = arguments[place]
        width = 2 if any(name in each.opts for each in options) else 1
        if not (name in single and name in arguments[place + width :]):
            kept += arguments[place : place + width]
        place += width
    return kept
