"""The files a user asked for in addition to the report: checked before any work, written after it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manifold_probe.errors import InputError
from manifold_probe.files import check_file, check_folder, check_no_input
from manifold_probe.report.result import ComparisonResult, Result


@dataclass(frozen=True)
class Outputs:
    """A page, a table and a folder of figures, each where asked for, of one kind of result."""

    report: str | None = None
    table: str | None = None
    figures: str | None = None
    style: str = "paper"
    width: str | None = None
    figures_option: str = "--figures"
    thumbnails: str | None = None
    kind: type[Result] = ComparisonResult

    def check(self, inputs: Iterable[str | None] = ()) -> None:
        """Refuse what cannot be written, and what would overwrite one of the inputs ("FILE" or "FILE::KEY").

        Raises
        ------
        InputError
            Naming the option.
        """
        if self.figures is not None or self.width is not None:
            from manifold_probe.report.figures.look import look_of

            look_of(self.style, self.width)
        if self.thumbnails is not None and self.report is None:
            raise InputError("--thumbnails: are for the page; add --report FILE.html, or leave them out")
        if self.thumbnails is not None and not os.path.exists(self.thumbnails):
            raise InputError(f"--thumbnails: {self.thumbnails}: no such file or folder; check the path")
        if self.figures is not None:
            check_folder(self.figures, self.figures_option)
        if self.report is not None:
            if Path(self.report).suffix.lower() not in (".html", ".htm"):
                raise InputError(f"--report: {self.report} is no page; give it a name that ends in .html")
            check_file(self.report, "--report")
        if self.table is not None:
            self.kind.check_table(self.table, "--table")
            check_file(self.table, "--table")
            check_no_input(self.table, "--table", inputs)

    def write(self, result: Result) -> list[str]:
        """Write them; a line about each, and one where rows have no thumbnail.

        Raises
        ------
        InputError
            When a place cannot be written to any more.
        """
        lines: list[str] = []
        if self.figures is not None:
            written = result.figures(self.figures, style=self.style, width=self.width)
            count = len({path.stem for path in written})
            plural = "" if count == 1 else "s"
            lines.append(f"wrote {count} figure{plural}, as PDF, SVG and PNG, to {self.figures}")
        if self.table is not None:
            result.to_table(self.table, **({} if self.width is None else {"width": self.width}))
            lines.append(f"wrote the table {self.table}")
        if self.report is not None:
            pictures: dict[str, Any] = (
                {} if self.thumbnails is None else {"thumbnails": self.thumbnails, "notify": lines.append}
            )
            result.to_html(self.report, **pictures)
            lines.append(f"wrote the page {self.report}")
        return lines
