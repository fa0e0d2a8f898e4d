"""`probe partial`: one machine's share of a comparison, written to a file that `probe merge` reads."""

from __future__ import annotations

import functools
import re
from typing import Annotated

import typer

from manifold_probe.cli.arguments import measures_named, named_students, two_sides
from manifold_probe.cli.options import (
    AllowMissing,
    Debug,
    IgnoreLabels,
    KeepFirst,
    Labels,
    Measures,
    Neighbours,
    Positional,
    Queries,
    Seed,
    Sides,
    StudentIds,
    TeacherIds,
    Unlabelled,
    features,
)
from manifold_probe.cli.shell import tell
from manifold_probe.errors import InputError

share_group = functools.partial(typer.Option, rich_help_panel="The share")


def partial(
    shard: Annotated[str, share_group(metavar="I/N", help="Which share of the rows: 0/4 is the first of four.")],
    out: Annotated[str, share_group("--out", "-o", metavar="FILE", help="Where the share is written.")],
    second_round: Annotated[
        str | None,
        share_group(metavar="FILE", help="Read the rows a second time, after what probe merge --second-round wrote."),
    ] = None,
    sides: Sides = None,
    teacher: Annotated[str | None, features(metavar="FILE[::KEY]", help="The teacher's features.")] = None,
    student: Annotated[
        list[str] | None,
        features(metavar="[NAME=]FILE[::KEY]", help="A student's features; repeat it for several."),
    ] = None,
    labels: Labels = None,
    unlabelled: Unlabelled = None,
    ignore_labels: IgnoreLabels = False,
    teacher_ids: TeacherIds = None,
    student_ids: StudentIds = None,
    positional: Positional = False,
    allow_missing: AllowMissing = False,
    keep_first: KeepFirst = False,
    k: Neighbours = 10,
    queries: Queries = 5000,
    seed: Seed = 0,
    measures: Measures = None,
    debug: Debug = False,
) -> None:
    """Read one share of the rows of a comparison, on one machine.

    Every machine reads the files under the same paths. When all shares are written, probe merge gives the result.

    \b
    Examples:
      probe partial t.pt s.pt --shard 0/2 -o part_0
      probe partial --teacher t.pt --student s.pt --shard 1/2 -o part_1
      probe merge part_0 part_1
    """
    from manifold_probe.api import check_settings
    from manifold_probe.files import check_file
    from manifold_probe.measures.request import Request
    from manifold_probe.measures.shared_out import write_partial, write_second
    from manifold_probe.report.progress import Progress

    share = shard_named(shard)
    check_file(out, "--out")
    if second_round is not None:
        if teacher is not None or student or sides:
            raise InputError("--second-round: the file says which features; leave out --teacher and --student")
        with Progress() as progress:
            write_second(second_round, share, out, progress)
        tell([f"wrote {out}"])
        return
    teacher, texts = two_sides(sides, teacher, student)
    check_settings(k, queries, seed)
    students = named_students(texts)
    refuse_models([teacher, *students.values()])
    request = Request(
        teacher,
        students,
        labels,
        (teacher_ids, student_ids),
        unlabelled or (),
        ignore_labels,
        positional,
        allow_missing,
        keep_first,
    )
    settings = {"k": k, "queries": queries, "seed": seed, "measures": measures_named(measures, k)}
    with Progress() as progress:
        write_partial(request, settings, len(students) > 1, share, out, progress)
    tell([f"wrote {out}"])


def shard_named(text: str) -> tuple[int, int]:
    """The share that "0/4" names: the first of four.

    >>> shard_named("0/4")
    (0, 4)
    """
    numbers = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if numbers is None or not int(numbers[1]) < int(numbers[2]):
        raise InputError(f"--shard: {text!r} is no share; write I/N with I from 0 to N - 1, such as 0/4")
    return int(numbers[1]), int(numbers[2])


def refuse_models(sides: list[str]) -> None:
    """Refuse model sources: every machine would extract their features again."""
    from manifold_probe.models.source import is_source

    for text in sides:
        if is_source(text):
            raise InputError(f"{text}: is a model; extract its features first with probe extract")
