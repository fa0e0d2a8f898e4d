"""The whole page, put together from the plain JSON document of a comparison."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from manifold_probe.extraction.data import Data
from manifold_probe.measures.catalogue import detailed, printed
from manifold_probe.parts import silent
from manifold_probe.report.advice import next_steps
from manifold_probe.report.comparison import by_students, main_alarms
from manifold_probe.report.document import of_comparison, students_of
from manifold_probe.report.figures.look import PALETTE
from manifold_probe.report.page.account import facts_of
from manifold_probe.report.page.colours import MARKS, YARDSTICK_MARKS, style_sheet
from manifold_probe.report.page.embed import script
from manifold_probe.report.page.maps import Maps, maps_of, row_names, slice_tables
from manifold_probe.report.page.measures import Block, groups, main_measures
from manifold_probe.report.page.pictures import pictures
from manifold_probe.report.page.room import BYTES, FIGURES, SHEET, blocks, fewer, most_classes, most_rows
from manifold_probe.report.page.rows import classes, longest, worst_rows
from manifold_probe.report.page.strips import SHARES, class_strip
from manifold_probe.report.page.students import differences, many, table
from manifold_probe.report.page.thumbnails import of_maps, read_thumbnails
from manifold_probe.report.predictions import expectation
from manifold_probe.report.readings import catalogue, gloss, pairing, shared_notes, size, title
from manifold_probe.report.run import training_sentences
from manifold_probe.report.verdict import ranking, verdict
from manifold_probe.report.words import count, interval, number, one_line, shown, student_name, teacher_name

UNDEFINED = "\u2013"
STYLES_AND_IMAGES = "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
# The parts of the page in order, and what must not be empty for a part to be there.
PARTS = (
    ("account", "Where the loss went", "accounted"),
    ("maps", "Maps", "maps"),
    ("next", "What to do next", "steps"),
    ("alarms", "Alarms", "alarms"),
    ("causes", "Causes", "caused"),
    ("ladder", "Corrections", "corrected"),
    ("benign", "Differences that lose nothing", "harmless"),
    ("measures", "More measures", "groups"),
    ("differences", "Paired differences", "differences"),
    ("classes", "Classes", "classes"),
    ("slices", "Slices", "slices"),
    ("rows", "Rows that lost most", "worst"),
    ("figures", "Figures", "figures"),
    ("about", "About this report", "inputs"),
)
OF_DIAGNOSES = {"accounted": "accounts", "corrected": "ladder", "harmless": "benign"}
TOO_LARGE = "The sample of rows is left out: with it this page would exceed 5 MB. probe figures draws the maps."
SOME_LEFT_OUT = "Maps of the first {} students: with those of all {} this page would exceed 5 MB."


def render(
    document: dict[str, Any], thumbnails: Data | str | Path | None = None, notify: Callable[[str], None] = silent
) -> str:
    """The page as text: one file that asks for nothing else, the same bytes for the same document.

    ``thumbnails`` is the data that the features came from, for pictures or first words of the rows that are shown. Its
    further columns are slices: maps can be coloured by them, and each has a table. A comparison itself knows no slices.
    ``notify`` is called with one sentence where rows have no picture or text there.

    Raises
    ------
    InputError
        When the data for thumbnails cannot be opened.
    """
    template, context = environment().get_template("page.html"), _context(document)
    students = context["students"]
    room = BYTES - len(template.render(_with_parts(context)).encode())
    context |= _pictured(students, thumbnails, room - FIGURES)
    if thumbnails is not None and (warning := context["thumbnails"].warning):
        notify(warning)
    size = len(template.render(_with_parts(context)).encode())
    figures, left_out = pictures(_of_students(document, students), BYTES - size)
    return template.render(_with_parts({**context, "figures": figures, "figures_left_out": left_out}))


def _pictured(students: dict[str, dict[str, Any]], source: Data | str | Path | None, room: int) -> dict[str, Any]:
    """The maps, the thumbnails and the slices, as far as there is room for them."""
    all_maps = maps_of(students)
    maps = _fitting(all_maps, room, students)
    context: dict[str, Any] = {}
    if source is not None:
        thumbnails = read_thumbnails(students, source, min(SHEET, max(room - (maps.size if maps else 0), 0)))
        if maps:
            rows = next(names for each in students.values() if (names := row_names(each)))
            extras = of_maps(thumbnails, rows)
            maps = _fitting(maps_of(students, *extras), room - len(thumbnails.sheet), students, *extras)
        tiles = f'.thumb{{--tile:{thumbnails.tile}px;background-image:url("{thumbnails.sheet}")}}'
        context = {
            "thumbnails": thumbnails,
            "sheet": Markup(tiles if thumbnails.tile else ""),
            "slices": slice_tables(maps, students),
        }
    wanted, fit = (len(each.students) if each else 0 for each in (all_maps, maps))
    left_out = "" if fit == wanted else (SOME_LEFT_OUT.format(fit, wanted) if fit else TOO_LARGE)
    return {**context, "maps": maps, "map_data": maps.script if maps else "", "maps_left_out": left_out}


def _fitting(maps: Maps | None, room: int, students: dict[str, dict[str, Any]], *extras: Any) -> Maps | None:
    """The maps, or those of the first students, as many as fit into ``room`` bytes."""
    count = len(students)
    while maps and maps.size > room:
        count = min(count - 1, count * max(room, 0) // maps.size)
        maps = maps_of(dict(islice(students.items(), count)), *extras)
    return maps


def environment() -> Environment:
    """What templates are rendered with."""
    jinja = Environment(
        loader=FunctionLoader(text_of), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    jinja.filters |= {
        "shown": shown,
        "printed": printed,
        "plain": one_line,
        "number": lambda value: UNDEFINED if value is None else number(value),
        "limits": _limits,
        "verdict": verdict,
        "size": size,
        "count": count,
        "class_strip": class_strip,
        "sortable": lambda value: "" if value is None else value,
    }
    return jinja


def text_of(name: str) -> str:
    """The text of a file in the folder of this module."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _of_students(document: dict[str, Any], students: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The document with these of its students alone."""
    if len(students) == len(students_of(document)):
        return document
    differences = [row for row in document["differences"] if row["a"] in students and row["b"] in students]
    return {**document, "students": students, "differences": differences}


def _with_parts(context: dict[str, Any]) -> dict[str, Any]:
    """With the names of the parts that the page then has."""
    return {**context, "parts": [(id, text) for id, text, needed in PARTS if context[needed]]}


def _context(document: dict[str, Any]) -> dict[str, Any]:
    """Everything that the template names, but for the figures."""
    everyone, students = students_of(document), fewer(document)
    first = next(iter(students.values()))
    several = len(students) > 1
    grouped = groups(_of_students(document, students))
    main = [] if several else main_measures(document)
    gaps, leader = differences(document, students) if several else ([], None)
    most = most_rows(len(students), max(longest(each) for each in students.values()))
    clusters = first["settings"].get("classes") == "k-means"
    rows = classes(students)
    worst = {name: lost for name, each in students.items() if (lost := worst_rows(each, most))}
    diagnoses = _diagnoses(students)
    return {
        "title": _title(everyone),
        "expected": expectation(document),
        "diagnosed": {name: each["diagnosis"]["verdict"] for name, each in students.items() if name in diagnoses},
        **{
            part: {name: facts for name, facts in diagnoses.items() if facts[needed]}
            for part, needed in OF_DIAGNOSES.items()
        },
        "caused": diagnoses if any(facts["causes"] for facts in diagnoses.values()) else {},
        **frame([*main, *(block for group in grouped for block in group.blocks)]),
        "colours": len(PALETTE),
        "students": students,
        "all_students": len(everyone),
        "blocks": blocks(len(students)),
        "names": list(students),
        "several": several,
        "first": first,
        "ranking": ranking(document) if several else "",
        "training": training_sentences(students),
        "pairings": by_students(students, lambda each: [pairing(each)]),
        **_steps(students),
        "alarms": by_students(students, _alarms),
        "main": main,
        "table": table(document, students) if several else None,
        "differences": gaps,
        "pair_count": len(everyone) * (len(everyone) - 1) // 2,
        "leader": leader,
        "many": several and many(document),
        "kind": "cluster" if clusters else "class",
        "kinds": "clusters" if clusters else "classes",
        "stand_in": " (k-means of the teacher stands in for labels)" if clusters else "",
        "groups": grouped,
        "notes": [] if several else shared_notes(first),
        "voted": {
            name: each.title.removeprefix("k-NN ").replace("@{k}", "") for name, each in detailed("classes").items()
        },
        "classes": rows[: most_classes(len(students))] if len(rows) > 1 else [],
        "class_count": len(rows),
        "worst": worst,
        "by_id": any(row.id is not None for each in worst.values() for row in each.rows),
        "teacher": teacher_name(first),
        "maps": None,
        "slices": [],
        "maps_left_out": "",
        "thumbnails": None,
        "sheet": "",
        "figures": [],
        "figures_left_out": 0,
        "glossary": list(_glossary(document)),
        "inputs": list(_inputs(students)),
        "provenance": list(_provenance(students)),
        "json": script(_of_students(document, students)),
    }


def frame(blocks: Iterable[Block] = ()) -> dict[str, Any]:
    """What every page has: its style, its script and the policy that allows this script alone."""
    script = text_of("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {
        "css": style_sheet() + Markup(text_of("page.css")),
        "script": Markup(script),
        "policy": f"default-src 'none'; script-src 'sha256-{digest}'; {STYLES_AND_IMAGES}",
        "unit": SHARES,
        "marks": MARKS,
        "yardstick_marks": YARDSTICK_MARKS,
        "grids": {block.axis.steps: block.axis.ticks() for block in blocks} | {SHARES.steps: SHARES.ticks()},
    }


def _diagnoses(students: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the page shows of every student's diagnosis."""
    diagnoses = {name: of_comparison(each) for name, each in students.items()}
    return {name: facts_of(diagnosis) for name, diagnosis in diagnoses.items() if diagnosis is not None}


def _title(students: dict[str, dict[str, Any]]) -> str:
    first = next(iter(students.values()))
    if len(students) == 1:
        who, whose = student_name(first), "its"
    else:
        who, whose = f"{count(len(students)).capitalize()} students", "their"
    teacher = teacher_name(first)
    return f"{who} against {whose} teacher" + (f" {teacher}" if teacher != "teacher" else "")


def _steps(students: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What to do next: what holds for every student, and what for some."""
    steps = by_students(students, next_steps)
    of_some = {name: [step for step, names in steps if name in names] for name in students}
    return {
        "steps": steps,
        "shared_steps": [step for step, names in steps if not names],
        "steps_of": {name: sentences for name, sentences in of_some.items() if sentences},
    }


def _limits(thing: Any) -> str:
    """The interval of a measure, a difference or a class."""
    low, high = (thing.get("low"), thing.get("high")) if isinstance(thing, dict) else (thing.low, thing.high)
    return UNDEFINED if low is None or high is None else interval(low, high)


def _alarms(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (_spaced(alarm["code"]).capitalize(), one_line(alarm["message"])) for alarm in main_alarms(document["alarms"])
    ]


def _spaced(key: str) -> str:
    return shown(key).replace("_", " ")


def _glossary(document: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(key, printed name, what it is) of every measure that has words."""
    for key in catalogue(document):
        if (words := gloss(key, document)) != key:
            yield key, title(key, document), words[0].upper() + words[1:]


def _inputs(students: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(role, size, space) of the teacher and of every student."""
    first = next(iter(students.values()))
    yield "Teacher", size(first, "teacher", named=False), first["inputs"]["teacher"]
    for name, each in students.items():
        yield "Student", size(each, "student", named=False), {**each["inputs"]["student"], "name": name}


def _provenance(students: dict[str, dict[str, Any]]) -> Iterator[tuple[str, list[tuple[Any, list[str]]]]]:
    """(heading, items) where an item is a name and a value, with the students it holds for if not for all."""
    yield "Pairing", by_students(students, lambda each: items(each["pairing"]))
    yield "Settings", by_students(students, lambda each: items(each["settings"]))
    yield "Made with", by_students(students, lambda each: items(each["provenance"]))


def items(part: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values, those of a part within it among them."""
    facts = []
    for key, value in part.items():
        if isinstance(value, dict):
            facts += items(value)
        elif value is not None:
            words = ("no", "yes")[value] if isinstance(value, bool) else str(value)
            facts.append((_spaced(key), words))
    return facts
