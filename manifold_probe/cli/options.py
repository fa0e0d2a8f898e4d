"""Options that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

Page = Annotated[str | None, typer.Option(metavar="FILE.html", help="Write the report as one page, offline.")]
Table = Annotated[
    str | None, typer.Option(metavar="FILE", help="Write a table: .csv or .parquet (tidy), .tex or .md (to print).")
]
Unlabelled = Annotated[
    list[str] | None, typer.Option(metavar="LABEL", help="A label that means 'no label'; repeat it for several.")
]
IgnoreLabels = Annotated[bool, typer.Option("--ignore-labels", help="Go on as if no file had labels.")]
KeepFirst = Annotated[
    bool, typer.Option("--keep-first", help="Of identical rows under one id, a sampler's copies, keep the first.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
