"""How a command runs: exit codes, one line for an error, and what goes to which stream.

Exit codes: 0 all is well, 1 a gate failed, 2 bad input (one plain line on stderr), 70 an internal error, 130 Ctrl-C,
143 a request to terminate; interrupt.py has the last two.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup

from manifold_probe.cli import interrupt
from manifold_probe.errors import InputError

# What typer raises for wrong usage: click's exception, wherever this version of typer keeps it.
UsageProblem: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


class Verbs(TyperGroup):
    """The verbs; "distil" is read as "distill"."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The verb of a name, None where there is none."""
        return super().get_command(ctx, {"distil": "distill"}.get(cmd_name, cmd_name))


class Verb(TyperCommand):
    """A command that lists its options in groups, and refuses one that is given twice and takes one value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """What is left of ``args`` once options are taken. Raises InputError for a repeated option."""
        given: list[Any] = self.make_parser(ctx).parse_args(args=list(args))[2]
        for option in given:
            if option.param_type_name == "option" and not (option.multiple or option.is_flag or option.count):
                check_once(max(option.opts, key=len), given.count(option))
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments and options with their help, each group under its name, in the order of the function."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            known = parameter.get_help_record(ctx)
            if known is not None:
                if parameter.param_type_name == "argument":  # without the type that typer puts there
                    groups.setdefault("Arguments", []).append((str(parameter.metavar), known[1]))
                else:
                    groups.setdefault(getattr(parameter, "rich_help_panel", None) or "Other", []).append(known)
        groups["Other"] = groups.pop("Other")  # last
        for name, records in groups.items():
            with formatter.section(name):
                formatter.write_dl(records)


def check_once(option: str, times: int) -> None:
    """Refuse an option that was given several times.

    >>> check_once("--k", 2)
    Traceback (most recent call last):
    manifold_probe.errors.InputError: --k: given 2 times, and it takes one value; give it once
    """
    several = "run the command once for each student" if option == "--student" else "give it once"
    if times > 1:
        raise InputError(f"{option}: given {times} times, and it takes one value; {several}")


def main(app: typer.Typer) -> int:
    """Run the command line of this process; the exit code."""
    if sys.stderr is None:
        sys.stderr = io.StringIO()
    if sys.stdout is None:
        complain("standard output is closed; leave it open or send it to a file")
        return 2
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if "--debug" not in sys.argv:
        warnings.simplefilter("ignore")
    if completing := os.environ.get("_PROBE_COMPLETE"):
        typer.main.get_command(app).main(prog_name="probe")  # prints what the shell asks for, and exits
        raise AssertionError(f"{completing}: the shell's question was not answered")
    return run(app, sys.argv[1:])


def run(app: typer.Typer, arguments: list[str]) -> int:
    """Run a command line; the exit code."""
    debug = "--debug" in arguments
    try:
        command = typer.main.get_command(app)
        with command.make_context("probe", list(arguments)) as context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as error:
        return _flushed(error.exit_code)
    except BrokenPipeError:
        return _flushed(141)
    except InputError as error:
        return _fail(str(error), 2, debug)
    except UsageProblem as error:
        verb = getattr(getattr(error, "ctx", None), "command_path", "probe")
        return _fail(f"{error.format_message().rstrip('.')}; see {verb} --help", 2, debug)
    except OSError as error:
        where = error.filename or "standard output"
        return _fail(f"{where}: {error.strerror or error}; free some space or choose another place", 2, debug)
    except Exception as error:
        message = f"internal error: {type(error).__name__}: {error}; --debug shows the traceback, please report it"
        return _fail(message, 70, debug)
    return 0


def show(lines: Callable[[int | None], list[Any]]) -> None:
    """Lines made for a width: styled and wrapped on a terminal, plain and unwrapped (a width of None) elsewhere."""
    if not sys.stdout.isatty():
        write("".join(line.plain.rstrip() + "\n" for line in lines(None)))
        return
    width = shutil.get_terminal_size().columns
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    for line in lines(width):
        console.print(line, soft_wrap=True)


def tell(lines: list[str]) -> None:
    """What was written, on stderr."""
    for line in lines:
        complain(line)


def judge(outcomes: list[Any], stream: Any) -> None:
    """Print a line for every gate; leave with 1 if any failed."""
    for outcome in outcomes:
        print(outcome.line, file=stream)
    if not all(outcome.passed for outcome in outcomes):
        raise typer.Exit(1)


def write(text: str) -> None:
    """To stdout, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def complain(message: str) -> None:
    """One line on stderr."""
    from manifold_probe.report.words import one_line

    with contextlib.suppress(OSError):
        print(f"probe: {one_line(message)}", file=sys.stderr, flush=True)


def _fail(message: str, code: int, debug: bool) -> int:
    """One line on stderr, unless a library has made another error of an interruption."""
    if (interruption := interrupt.interruption()) is not None:
        raise interruption
    if debug:
        traceback.print_exc()
    complain(message)
    return _flushed(code)


def _flushed(code: int) -> int:
    """The exit code; what stdout cannot take any more is dropped, so that Python does not complain at exit."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code
