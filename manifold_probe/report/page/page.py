"""The whole page, put together from the plain JSON document of a comparison."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from manifold_probe.measures.catalogue import detailed, printed
from manifold_probe.report.advice import next_steps
from manifold_probe.report.diagnosis.document import of_comparison
from manifold_probe.report.document import students_of
from manifold_probe.report.figures import draw_diagnosis
from manifold_probe.report.figures.look import PAGE, PALETTE
from manifold_probe.report.page.account import facts_of
from manifold_probe.report.page.colours import MARKS, YARDSTICK_MARKS, style_sheet
from manifold_probe.report.page.embed import script
from manifold_probe.report.page.measures import groups
from manifold_probe.report.page.pictures import pictures
from manifold_probe.report.page.room import BYTES, MAPS, blocks, fewer, most_classes, most_rows
from manifold_probe.report.page.rows import classes, listed, longest, worst_rows
from manifold_probe.report.page.strips import SHARES, Strip, class_strip
from manifold_probe.report.page.students import by_students, differences, many, table
from manifold_probe.report.readings import catalogue, gloss, shared_notes, title
from manifold_probe.report.sections import pairing, size, told
from manifold_probe.report.students import ranking
from manifold_probe.report.training import training_sentences
from manifold_probe.report.verdict import verdict
from manifold_probe.report.words import count, interval, number, one_line, shown, student_name, teacher_name

UNDEFINED = "\u2013"
# The parts of the page in order, and what must not be empty for a part to be there.
PARTS = (
    ("account", "Where the loss went", "accounted"),
    ("causes", "Causes", "caused"),
    ("benign", "Differences that lose nothing", "harmless"),
    ("next", "What to do next", "steps"),
    ("alarms", "Alarms", "alarms"),
    ("students", "Side by side", "table"),
    ("measures", "Measures", "groups"),
    ("figures", "Figures", "figures"),
    ("classes", "Classes", "classes"),
    ("rows", "Rows that lost most", "worst"),
    ("about", "About this report", "inputs"),
)


def render(document: dict[str, Any]) -> str:
    """The page as text: one file that asks for nothing else, the same bytes for the same document."""
    template, context = environment().get_template("page.html"), _context(document)
    text = template.render(_with_parts(context, [], 0))
    drawn = pictures(_of_students(document, context["students"]), BYTES - len(text.encode()))
    return template.render(_with_parts(context, *drawn)) if any(drawn) else text


def environment() -> Environment:
    """What templates are rendered with."""
    found = Environment(
        loader=FunctionLoader(own), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    found.filters |= {
        "shown": shown,
        "printed": printed,
        "plain": one_line,
        "number": lambda value: UNDEFINED if value is None else number(value),
        "limits": _limits,
        "verdict": verdict,
        "size": size,
        "count": count,
        "class_strip": _class_strip,
    }
    return found


def own(name: str) -> str:
    """The text of a file that lies beside this module."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _of_students(document: dict[str, Any], students: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The document with these of its students alone."""
    if len(students) == len(students_of(document)):
        return document
    differences = [row for row in document["differences"] if row["a"] in students and row["b"] in students]
    return {**document, "students": students, "differences": differences}


def _with_parts(context: dict[str, Any], figures: list[tuple[Markup, str]], left_out: int) -> dict[str, Any]:
    """With the figures, and the parts that the page then has."""
    context = {**context, "figures": figures, "figures_left_out": left_out}
    return {**context, "parts": [(id, text) for id, text, needed in PARTS if context[needed]]}


def _context(document: dict[str, Any]) -> dict[str, Any]:
    """Everything that the template names, but for the figures."""
    everyone, students = students_of(document), fewer(document)
    first = next(iter(students.values()))
    several = len(students) > 1
    grouped = groups(_of_students(document, students))
    gaps, leader = differences(document, students) if several else ([], None)
    most = most_rows(len(students), max(longest(each) for each in students.values()))
    clusters = first["settings"].get("classes") == "k-means"
    rows = classes(students)
    worst = {name: found for name, each in students.items() if (found := worst_rows(each, most))}
    diagnoses = _diagnoses(students)
    return {
        "title": _title(everyone),
        "diagnoses": diagnoses,
        "diagnosed": {name: each["diagnosis"]["verdict"] for name, each in students.items() if name in diagnoses},
        "accounted": [name for name, facts in diagnoses.items() if facts["accounts"]],
        "caused": [name for name, facts in diagnoses.items() if facts["causes"]],
        "harmless": [name for name, facts in diagnoses.items() if facts["benign"]],
        "css": style_sheet() + Markup(own("page.css")),
        "marks": MARKS,
        "yardstick_marks": YARDSTICK_MARKS,
        "grids": {block.axis.steps: block.axis.ticks() for group in grouped for block in group.blocks}
        | {SHARES.steps: SHARES.ticks()},
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
        "table": table(document, students) if several else [],
        "differences": gaps,
        "pair_count": len(everyone) * (len(everyone) - 1) // 2,
        "leader": leader,
        "many": several and many(document),
        "kind": "cluster" if clusters else "class",
        "kinds": "clusters" if clusters else "classes",
        "stand_in": " (k-means of the teacher stands in for labels)" if clusters else "",
        "groups": grouped,
        "notes": [] if several else shared_notes(first),
        "unit": SHARES,
        "voted": {
            name: each.title.removeprefix("k-NN ").replace("@{k}", "") for name, each in detailed("classes").items()
        },
        "classes": rows[: most_classes(len(students))] if len(rows) > 1 else [],
        "class_count": len(rows),
        "worst": worst,
        "worst_count": max(len(listed(each)) for each in students.values()),
        "worst_shown": most,
        "by_id": any(row.id is not None for rows in worst.values() for row in rows),
        "glossary": list(_glossary(document)),
        "inputs": list(_inputs(students)),
        "provenance": list(_provenance(students)),
        "json": script(_of_students(document, students)),
    }


def _diagnoses(students: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the page shows of every student's diagnosis; figures of the first `MAPS` of them."""
    found = {}
    for place, (name, each) in enumerate(students.items()):
        document = of_comparison(each)
        if document is not None:
            drawn = draw_diagnosis(document, PAGE) if place < MAPS else {}
            found[name] = facts_of(document, drawn, f"-{place}" if len(students) > 1 else "")
    return found


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
    own = {name: [step for step, names in steps if name in names] for name in students}
    return {
        "steps": steps,
        "shared_steps": [step for step, names in steps if not names],
        "own_steps": {name: sentences for name, sentences in own.items() if sentences},
    }


def _limits(thing: Any) -> str:
    """The interval of a measure, a difference or a class."""
    low, high = (thing.get("low"), thing.get("high")) if isinstance(thing, dict) else (thing.low, thing.high)
    return UNDEFINED if low is None or high is None else interval(low, high)


def _class_strip(row: dict[str, Any]) -> Strip:
    return class_strip(row.get("overlap"), row.get("low"), row.get("high"))


def _alarms(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(_spaced(alarm["code"]).capitalize(), one_line(alarm["message"])) for alarm in told(document["alarms"])]


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
    found = []
    for key, value in part.items():
        if isinstance(value, dict):
            found += items(value)
        elif value is not None:
            words = ("no", "yes")[value] if isinstance(value, bool) else str(value)
            found.append((_spaced(key), words))
    return found
