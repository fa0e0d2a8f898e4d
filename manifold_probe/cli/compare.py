"""`probe compare`: how faithful is a student to its teacher? Of features, of models on data, of layers."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manifold_probe.cli.arguments import (
    DEFAULT_DROP,
    FILES,
    advising_extract,
    checked_drop,
    measures_named,
    named_students,
    two_sides,
)
from manifold_probe.cli.options import (
    AllowMissing,
    BatchSize,
    Data,
    Debug,
    Figures,
    IgnoreLabels,
    Json,
    KeepFirst,
    Labels,
    Mean,
    Measures,
    Neighbours,
    Page,
    Pool,
    Positional,
    Queries,
    Rows,
    Seed,
    Sides,
    Size,
    Std,
    StudentIds,
    Students,
    Table,
    Teacher,
    TeacherIds,
    Unlabelled,
    Width,
    gate,
    measuring,
    output,
)
from manifold_probe.cli.shell import complain, judge, show, tell, write
from manifold_probe.errors import InputError
from manifold_probe.parts import Parts

if TYPE_CHECKING:
    from manifold_probe.api import Comparison, Comparisons

SIDES = ("teacher", "student")
WITH_LAYERS = {  # what goes with --layers
    *("sides", "teacher", "student", "positional", "allow_missing", "keep_first", "layers", "json", "table", "figures"),
    "debug",
}


def compare(
    context: typer.Context,
    sides: Sides = None,
    teacher: Teacher = None,
    student: Students = None,
    rows: Rows = None,
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
    diagnose: Annotated[
        bool, measuring("--diagnose", help="Also say where each student's loss went, and why.")
    ] = False,
    layers: Annotated[
        bool, measuring("--layers", help="Compare every layer of both folders: the matrix of linear CKA.")
    ] = False,
    executor: Annotated[
        str | None,
        measuring(metavar="dask[://HOST:PORT]", help="Read rows on Dask workers: made here, or running there."),
    ] = None,
    json: Json = False,
    report: Page = None,
    thumbnails: Annotated[
        str | None,
        output(
            metavar="DATA",
            help="With --report: show images or texts of the rows, from data as for probe extract; further columns of "
            "it are slices.",
        ),
    ] = None,
    no_maps: Annotated[
        bool, output("--no-maps", help="Leave the maps (UMAP), which are slow, out of figures and page.")
    ] = False,
    table: Table = None,
    figures: Figures = None,
    width: Width = None,
    fail_under: Annotated[
        str | None, gate(metavar="MEASURE=X,...", help="Fail where a lower confidence bound is below X.")
    ] = None,
    baseline: Annotated[
        str | None, gate(metavar="OLD.json", help="Fail where a measure fell against this saved result.")
    ] = None,
    max_drop: Annotated[
        float | None, gate(help=f"How far a measure may fall from the baseline.  [default: {DEFAULT_DROP}]")
    ] = None,
    data: Data = None,
    size: Size = None,
    mean: Mean = None,
    std: Std = None,
    pool: Pool = None,
    batch_size: BatchSize = None,
    debug: Debug = False,
) -> None:
    """Measure how faithfully a student kept its teacher's space.

    Each point's neighbours, the overall shape and the classes, with intervals and what chance would give; several
    students in one table.

    \b
    Examples:
      probe compare t.pt s.pt
      probe compare t.pt cosine=s.pt coss=coss.pt --report page.html
      probe compare --teacher t.pt --student s.pt --diagnose --report page.html
      probe compare --teacher t.pt --student s.pt --labels labels.csv --fail-under overlap@10=0.7
    """
    from manifold_probe.api import check_settings
    from manifold_probe.report.outputs import Outputs
    from manifold_probe.report.progress import Progress

    check_settings(k, queries, seed)
    teacher, texts = two_sides(sides, teacher, student)
    students = named_students(texts)
    if layers:
        refuse_with_layers([teacher, *students.values()], context)
        rules = {"positional": positional, "allow_missing": allow_missing, "keep_first": keep_first}
        show_layers(teacher, students, rules, json=json, table=table, figures=figures)
        return
    outputs = Outputs(report=report, table=table, figures=figures, width=width, thumbnails=thumbnails)
    outputs.check([teacher, *students.values(), labels, teacher_ids, student_ids, baseline])
    chosen = measures_named(measures, k)
    gates = Gates.asked(fail_under, baseline, max_drop, list(students), k, chosen)
    with Progress() as progress:
        parts = Parts(progress, {"comparison": 1.0, "files": FILES if report or table or figures else 0.0})
        with advising_extract():
            result = compared(
                teacher,
                students,
                labels=labels,
                ids=(teacher_ids, student_ids),
                k=k,
                queries=queries,
                seed=seed,
                positional=positional,
                allow_missing=allow_missing,
                unlabelled=unlabelled or (),
                ignore_labels=ignore_labels,
                keep_first=keep_first,
                rows=rows,
                measures=chosen,
                maps=not no_maps and bool(report or figures),
                diagnose=diagnose,
                executor=executor,
                data=data,
                size=size,
                mean=mean,
                std=std,
                pool=pool,
                batch_size=batch_size,
                notify=complain,
                progress=parts["comparison"],
            )
        document = result.to_dict()
        for warning in [*version_warnings_of(document), *gates.warnings(document)]:
            complain(f"warning: {warning}")
        with progress.aside():
            if json:
                write(result.to_json() + "\n")
            else:
                show(result.lines)
        parts["files"]("writing the files", 0, 1)
        written = outputs.write(result)
    outcomes = gates.outcomes(document)
    if outcomes and not json:
        write("\n")
    tell(written)
    judge(outcomes, sys.stderr if json else sys.stdout)


def compared(teacher: str, students: dict[str, str], **options: Any) -> Comparison | Comparisons:
    """One student's comparison, or the comparisons of several; ``options`` are those of `api.compare`."""
    from manifold_probe import api

    results = api.compare(teacher, students, **options)
    return results if len(students) > 1 else next(iter(results.values()))


def version_warnings_of(document: dict[str, Any]) -> list[str]:
    """A line for every student whose features were made with other libraries than the teacher's."""
    from manifold_probe.extraction.agree import version_warnings
    from manifold_probe.report.document import students_of

    sides = [[student["inputs"][side]["path"] for side in SIDES] for student in students_of(document).values()]
    return [warning for paths in sides for warning in version_warnings(*paths)]


@dataclass(frozen=True)
class Gates:
    """What must hold of a result: lower bounds that are wanted, and how far a measure may fall from a baseline."""

    wanted: list[Any]
    before: dict[str, Any] | None
    drop: float
    measures: list[str] | None

    @classmethod
    def asked(
        cls,
        fail_under: str | None,
        baseline: str | None,
        max_drop: float | None,
        students: list[str],
        k: int,
        measures: list[str] | None,
    ) -> Gates:
        """The gates that the options ask for. Raises InputError before any work, where they cannot be used."""
        from manifold_probe.report import gates
        from manifold_probe.report.document import read_document

        wanted = [] if fail_under is None else gates.parse_gates(fail_under, k, measures)
        drop = checked_drop(max_drop, baseline)
        before = None if baseline is None else read_document(baseline)
        if before is not None and baseline is not None:
            gates.check_baseline(before, baseline, students, k)
        return cls(wanted, before, drop, measures)

    def outcomes(self, document: dict[str, Any]) -> list[Any]:
        """How each gate ended."""
        from manifold_probe.report import gates

        ended = gates.check_gates(document, self.wanted)
        return (
            ended if self.before is None else ended + gates.check_drops(document, self.before, self.drop, self.measures)
        )

    def warnings(self, document: dict[str, Any]) -> list[str]:
        """Where the baseline is of other features."""
        from manifold_probe.report import gates

        return [] if self.before is None else gates.baseline_warnings(document, self.before)


def refuse_with_layers(sides: list[str], context: typer.Context) -> None:
    """Refuse what the layer-by-layer comparison does not read: a model, or an option that only the other has."""
    from manifold_probe.models.source import is_source

    for text in sides:
        if is_source(text):
            raise InputError(f"--layers: {text} is a model; extract both with probe extract --layers first")
    for option in context.command.params:
        source = context.get_parameter_source(str(option.name))
        if source is not None and source.name == "COMMANDLINE" and option.name not in WITH_LAYERS:
            name = max(option.opts, key=len)
            raise InputError(f"{name}: does not go with --layers, which gives the matrix of CKA alone; leave it out")


def show_layers(
    teacher: str,
    students: dict[str, str],
    rules: dict[str, bool],
    *,
    json: bool,
    table: str | None,
    figures: str | None,
) -> None:
    """The matrix of every teacher layer against every student layer, shown and written where asked."""
    from manifold_probe.api.layers import compare_layers
    from manifold_probe.report.layers import Layers
    from manifold_probe.report.outputs import Outputs
    from manifold_probe.report.progress import Progress

    if len(students) > 1:
        raise InputError("--layers: compares one student at a time; give one student")
    outputs = Outputs(table=table, figures=figures, kind=Layers)
    outputs.check()
    student = next(iter(students.values()))
    with Progress() as progress:
        result = compare_layers(teacher, student, **rules, progress=progress)
    if json:
        write(result.to_json() + "\n")
    else:
        show(result.lines)
    tell(outputs.write(result))
