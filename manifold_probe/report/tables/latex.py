r"""A result as a booktabs table, as a paper prints it: pdflatex compiles it for any names of students."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import accumulate, pairwise, zip_longest
from typing import Any

from manifold_probe.report.document import students_of
from manifold_probe.report.figures.look import POINTS, inches_of
from manifold_probe.report.readings import headline, title
from manifold_probe.report.records import Reading
from manifold_probe.report.tables.rows import (
    distinct,
    facts,
    leaders,
    meanings,
    measured,
    yardsticks,
)
from manifold_probe.report.tables.tex_text import Symbol, escaped, joined, symbols
from manifold_probe.report.words import ends, number, shown, student_name

# Characters of a name and of a heading in one line.
ROOM = 16
HEAD = 11
# Points: the space on either side of a column, and what a character takes in a name, a heading and an interval at most.
GAPS = (2.0, 5.0)
NAME_PT, HEAD_PT, SMALL_PT = 4.6, 4.15, 3.45
MARGIN = 4.0  # for the error of these
COLUMN = 4.0  # inches; a wider table spans both columns of a page
ELLIPSIS = Symbol(r"\ldots{}", 1)
BREAKS = {symbol.code for symbol in symbols(" -_/.:=+")}
UNDEFINED = "--"


def latex_table(document: dict[str, Any], width: str | float = "page") -> str:
    """One student: the main measures down, with intervals and yardsticks. Several: students down, measures across, each
    value over its interval, yardsticks below.

    Parameters
    ----------
    document : dict
        A comparison of one or several students.
    width : str or float
        "column" (3.25 inches), "page" (5.5), a venue's name, inches, or points as in "240pt". Measures that do not fit
        next to each other stand in blocks below each other.

    Returns
    -------
    str
        A ``table`` (``table*`` for more than a column), which needs booktabs; names that it cuts or spells out stand in
        full in comments above it.

    Raises
    ------
    InputError
        For a width that does not exist.
    """
    inches = inches_of(width)
    points = inches * POINTS - MARGIN
    keys, students = headline(document), measured(document)
    names = _names(list(students))
    if len(students) == 1:
        columns, body, gap = _measures_down(document, keys, next(iter(students.values())), points)
    else:
        columns, body, gap = _students_down(document, keys, names, points)
    size = r"\footnotesize" if gap >= GAPS[0] else r"\scriptsize"
    kind = "table" if inches <= COLUMN else "table*"
    known = any(_interval(each.get(key)) for each in students.values() for key in keys)
    if len(students) == 1:
        first = [f"Student {student_name(next(iter(students_of(document).values())))}."]
    else:
        first = ["Below each value: its 95% interval."] if known else []
    caption = " ".join([*first, facts(document), *meanings(document)])
    return "\n".join(
        [
            *_comments(dict(zip(students, names, strict=True))),
            rf"\begin{{{kind}}}[t]",
            r"\centering",
            rf"\caption{{{escaped(caption)}}}",
            r"\label{tab:faithfulness}\medskip",
            rf"{size}\setlength{{\tabcolsep}}{{{min(max(gap, GAPS[0]), GAPS[1]):.1f}pt}}%",
            rf"\begin{{tabular}}{{@{{}}l{'c' * columns}@{{}}}}",
            r"\toprule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            rf"\end{{{kind}}}",
            "",
        ]
    )


def _measures_down(
    document: dict[str, Any], keys: list[str], student: dict[str, Reading], points: float
) -> tuple[int, list[str], float]:
    """The number of columns beyond the first, the rows, and the space on either side of a column."""
    below = yardsticks(document)
    heads = [["measure"], ["value"], ["95%", "interval"], *(_heading(row.label) for row in below)]
    titles = [title(key, document) for key in keys]
    body = [
        _row(
            [
                _escaped(name),
                _value(measure, False),
                _small(_interval(measure)),
                *(_range(row.values[key]) for row in below),
            ]
        )
        for name, key, measure in zip(titles, keys, map(student.get, keys), strict=True)
    ]
    taken = HEAD_PT * (max(map(len, titles), default=0) + sum(max(map(len, head)) for head in heads[1:])) + 2 * SMALL_PT
    gap = (points - taken) / (2 * len(heads) - 2)
    return len(heads) - 1, [*map(_row, _upright(heads)), r"\midrule", *body], gap


def _students_down(
    document: dict[str, Any], keys: list[str], names: list[tuple[str, str]], points: float
) -> tuple[int, list[str], float]:
    """The number of columns beyond the first, the rows, and the space on either side of a column."""
    students, ahead, below = measured(document), leaders(document), yardsticks(document)
    heads = {key: _heading(title(key, document)) for key in keys}
    spans = {key: [_interval(each.get(key)) for each in students.values()] for key in keys}
    first = NAME_PT * max(_width(line) for name in [*students, *(row.label for row in below)] for line in _lines(name))
    blocks, gap = _blocks(first, heads, spans, points)
    body: list[str] = []
    for block in blocks:
        body += [r"\midrule[\heavyrulewidth]"] if body else []
        body += [*map(_row, _upright([["student"], *(heads[key] for key in block)])), r"\midrule"]
        for place, (lines, (name, each)) in enumerate(zip(names, students.items(), strict=True)):
            body += [r"\addlinespace"] if place else []
            body += [
                _row([lines[0], *(_value(each.get(key), ahead.get(key) == name) for key in block)]),
                _row([lines[1], *(_small(spans[key][place]) for key in block)]),
            ]
        body += [r"\midrule"] if below else []
        body += [_row([escaped(row.label), *(_range(row.values[key]) for key in block)]) for row in below]
    return max(map(len, blocks)), body, gap


def _blocks(
    first: float, heads: dict[str, list[str]], spans: dict[str, list[str]], points: float
) -> tuple[list[list[str]], float]:
    """The measures of each block, in as few blocks as fit the width, and the space on either side of a column."""
    wide = {
        key: max(HEAD_PT * max(map(len, heads[key])), *(SMALL_PT * len(span.replace("$", "")) for span in spans[key]))
        for key in heads
    }
    keys = list(heads)
    for count in range(1, len(keys) + 1):
        ends = [-(-len(keys) * turn // count) for turn in range(count + 1)]
        blocks = [keys[start:end] for start, end in pairwise(ends)]
        columns = list(zip_longest(*blocks))
        taken = first + sum(max(wide[key] for key in column if key is not None) for column in columns)
        gap = (points - taken) / (2 * len(columns))
        if gap >= GAPS[0] or count == len(keys):
            return blocks, gap
    return [[]], GAPS[1]


def _upright(heads: list[list[str]]) -> list[tuple[str, ...]]:
    """The lines of headings as rows, all ending in the last."""
    lines = list(zip_longest(*(head[::-1] for head in heads), fillvalue=""))[::-1]
    return [tuple(map(_escaped, line)) for line in lines]


def _escaped(text: str) -> str:
    return escaped(text).replace("R$^{2}$", "$R^{2}$")


def _row(cells: Iterable[str]) -> str:
    return rf"{' & '.join(cells)} \\"


def _comments(names: dict[str, tuple[str, str]]) -> list[str]:
    """What the table needs; then the names that were cut or spelt out, in full."""
    full = [
        f"% {' '.join(lines).strip()}: {shown(name, 1000)}"
        for name, lines in names.items()
        if not (name.isascii() and len(name) <= 2 * ROOM)
    ]
    return [r"% Needs \usepackage{booktabs}.", *full]


def _names(names: list[str]) -> list[tuple[str, str]]:
    """Every name in two lines, of which the second may be empty; no two alike."""
    whole = distinct("\n".join(_code(line) for line in _lines(name)) for name in names)
    return [(first, last) for first, _, last in (name.partition("\n") for name in whole)]


def _lines(name: str) -> list[list[Symbol]]:
    """One line, or two, rather broken between words; where that is not enough the middle is left out."""
    parts = symbols(re.sub(" +", " ", name).strip(" "))
    first = _fitting(parts, ROOM)
    rest = parts[len(first) :]
    if _width(rest) > ROOM:
        first, rest = [*_fitting(parts, ROOM - 1), ELLIPSIS], _fitting(parts[::-1], ROOM)[::-1]
    elif rest:
        places = [place for place in range(1, len(first) + 1) if parts[place - 1].code in BREAKS]
        cut = max((place for place in places if _width(parts[place:]) <= ROOM + 4), default=len(first))
        first, rest = parts[:cut], parts[cut:]
    return [first, rest] if rest else [first]


def _code(line: list[Symbol]) -> str:
    return joined(line).strip(" ")


def _fitting(parts: list[Symbol], room: int) -> list[Symbol]:
    """As many of the first symbols as there is room for."""
    ends = accumulate(symbol.width for symbol in parts)
    return [symbol for symbol, end in zip(parts, ends, strict=True) if end <= room]


def _width(parts: list[Symbol]) -> int:
    return sum(symbol.width for symbol in parts)


def _heading(words: str) -> list[str]:
    """A title in short lines.

    >>> _heading("debiased linear CKA"), _heading("k-NN agreement@10")
    (['debiased', 'linear CKA'], ['k-NN', 'agreement', '@10'])
    """
    lines: list[str] = []
    for part in re.findall(r" ?[^ @]+|@[0-9]+", words.replace(",", "")):
        if lines and len(lines[-1] + part) <= HEAD:
            lines[-1] += part
        else:
            lines.append(part.strip())
    return lines


def _value(measure: Reading | None, bold: bool) -> str:
    if measure is None or measure.value is None:
        return UNDEFINED
    text = _single(measure.value)
    return rf"\textbf{{{text}}}" if bold else text


def _interval(measure: Reading | None) -> str:
    if measure is None or measure.value is None or measure.low is None or measure.high is None:
        return ""
    return _span(measure.low, measure.high)


def _range(values: list[float]) -> str:
    if not values:
        return UNDEFINED
    low, high = min(values), max(values)
    return _single(low) if _single(low) == _single(high) else _small(_span(low, high))


def _small(span: str) -> str:
    return span and rf"{{\scriptsize {span}}}"


def _single(value: float) -> str:
    """A number whose sign hangs out, so that the digits of a column stand below each other."""
    text = number(value)
    return rf"\llap{{${text[0]}$}}{text[1:]}" if text[0] in "<>-" else text


def _span(low: float, high: float) -> str:
    """An interval: a dash, or "to" where a minus would stand next to the dash."""
    return (" to " if low < 0 else "--").join(end.replace("-", "$-$") for end in ends(low, high))
