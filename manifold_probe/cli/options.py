"""Options that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

Teacher = Annotated[
    str, typer.Option(metavar="FILE[::KEY]", help="The teacher's features; or a model source, which needs --data.")
]
Students = Annotated[
    list[str],
    typer.Option(
        metavar="[NAME=]FILE[::KEY]", help="A student's features, or its model; repeat it to compare several."
    ),
]
Neighbours = Annotated[int, typer.Option("--k", help="Neighbours of each point.")]
Queries = Annotated[int, typer.Option(help="Points whose neighbours are looked up, among all points.")]
Seed = Annotated[int, typer.Option(help="Seed of everything drawn at random.")]
Measures = Annotated[
    str | None, typer.Option(metavar="MEASURE,...", help="Measure these only, such as overlap@10,linear_cka.")
]
Labels = Annotated[
    str | None, typer.Option(metavar="FILE[::KEY]", help="Class labels, in the teacher's row order or with ids.")
]
TeacherIds = Annotated[str | None, typer.Option(metavar="FILE[::KEY]", help="Ids of the teacher's rows.")]
StudentIds = Annotated[str | None, typer.Option(metavar="FILE[::KEY]", help="Ids of the students' rows.")]
Positional = Annotated[bool, typer.Option("--positional", help="Pair by position whatever the ids say.")]
AllowMissing = Annotated[bool, typer.Option("--allow-missing", help="Drop rows without a partner.")]
Page = Annotated[str | None, typer.Option(metavar="FILE.html", help="Write the report as one page, offline.")]
Table = Annotated[
    str | None, typer.Option(metavar="FILE", help="Write a table: .csv or .parquet (tidy), .tex or .md (to print).")
]
Unlabelled = Annotated[
    list[str] | None, typer.Option(metavar="LABEL", help="A label that means 'no label'; repeat it for several.")
]
IgnoreLabels = Annotated[bool, typer.Option("--ignore-labels", help="Go on as if no feature file had labels.")]
KeepFirst = Annotated[
    bool, typer.Option("--keep-first", help="Of identical rows under one id, a sampler's copies, keep the first.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

# Of the verbs that extract features of models themselves.
Size = Annotated[str | None, typer.Option(help="With --data: side of the input images, in pixels.")]
Mean = Annotated[
    str | None, typer.Option(help="With --data: subtracted from pixels in 0..1; one number, or one per channel.")
]
Std = Annotated[str | None, typer.Option(help="With --data: divides them then; one number, or one per channel.")]
Pool = Annotated[
    str | None, typer.Option(help="With --data: how tokens or maps become one vector, as for probe extract.")
]
BatchSize = Annotated[int | None, typer.Option(help="With --data: inputs at a time.  [default: by device]")]
