"""Options that several verbs share, and the groups in which ``--help`` lists them."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

features = partial(typer.Option, rich_help_panel="Features")
pairing = partial(typer.Option, rich_help_panel="Pairing of rows")
labelling = partial(typer.Option, rich_help_panel="Labels")
measuring = partial(typer.Option, rich_help_panel="Measuring")
gate = partial(typer.Option, rich_help_panel="Gates, exit code 1 where one fails")
output = partial(typer.Option, rich_help_panel="Output")
models = partial(typer.Option, rich_help_panel="Models in place of features")
training = partial(typer.Option, rich_help_panel="Training")

# The two sides.
Sides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TEACHER STUDENT", help="The teacher, then each student, in place of --teacher and --student."
    ),
]
Teacher = Annotated[
    str | None,
    features(metavar="FILE[::KEY]", help="The teacher's features; or a model source, which needs --data."),
]
Student = Annotated[str | None, features(metavar="FILE[::KEY]", help="The student's features, or its model.")]
Students = Annotated[
    list[str] | None,
    features(metavar="[NAME=]FILE[::KEY]", help="A student's features, or its model; repeat it to compare several."),
]

# Which rows belong together, and their labels.
TeacherIds = Annotated[str | None, pairing(metavar="FILE[::KEY]", help="Ids of the teacher's rows.")]
StudentIds = Annotated[str | None, pairing(metavar="FILE[::KEY]", help="Ids of the students' rows.")]
Positional = Annotated[bool, pairing("--positional", help="Pair by position and ignore the ids.")]
AllowMissing = Annotated[bool, pairing("--allow-missing", help="Leave out rows without a partner.")]
KeepFirst = Annotated[
    bool, pairing("--keep-first", help="Of identical rows under one id, a sampler's copies, keep the first.")
]
Rows = Annotated[str | None, features("--rows", help="How sets of vectors (n, N, d) become rows: tokens, cls or mean.")]
Labels = Annotated[
    str | None, labelling(metavar="FILE[::KEY]", help="Class labels, in the teacher's row order or with ids.")
]
Unlabelled = Annotated[
    list[str] | None, labelling(metavar="LABEL", help="A label that means 'no label'; repeat it for several.")
]
IgnoreLabels = Annotated[bool, labelling("--ignore-labels", help="Go on as if no feature file had labels.")]

# How it is measured.
Neighbours = Annotated[int, measuring("--k", help="Neighbours of each point.")]
Queries = Annotated[int, measuring(help="Points whose neighbours are looked up, among all points.")]
Seed = Annotated[int, measuring(help="Seed of everything drawn at random.")]
Measures = Annotated[
    str | None, measuring(metavar="MEASURE,...", help="Measure these only, such as overlap@10,linear_cka.")
]

# What is written.
Json = Annotated[bool, output("--json", help="Write one JSON object to stdout instead of the report.")]
Page = Annotated[str | None, output(metavar="FILE.html", help="Write the report as one page, offline.")]
Table = Annotated[
    str | None, output(metavar="FILE", help="Write a table: .csv or .parquet (tidy), .tex or .md (to print).")
]
Figures = Annotated[str | None, output(metavar="DIR", help="Write the figures there, as PDF, SVG and PNG.")]
Width = Annotated[
    str | None,
    output(
        metavar="WIDTH",
        help="Of figures and .tex tables: column, page, neurips, icml-column, icml-page, cvpr-column, cvpr-page, "
        "inches, or points as in 240pt.",
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

# Of the verbs that extract features of models themselves.
Data = Annotated[
    str | None, models(metavar="DATA", help="What models see, as for probe extract; kept in probe-features.")
]
Size = Annotated[str | None, models(help="With --data: side of the input images, in pixels.")]
Mean = Annotated[str | None, models(help="With --data: subtracted from pixels in 0..1: one number, or one a channel.")]
Std = Annotated[str | None, models(help="With --data: divides them then: one number, or one a channel.")]
Pool = Annotated[str | None, models(help="With --data: how tokens or maps become one vector, as for probe extract.")]
BatchSize = Annotated[int | None, models(help="With --data: inputs at a time.  [default: by device]")]
