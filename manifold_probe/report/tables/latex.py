r"""A result as a booktabs table, as a paper prints it: one that pdflatex compiles whatever the students are called."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

from manifold_probe.report.document import Reading
from manifold_probe.report.readings import headline, title
from manifold_probe.report.tables.rows import (
    distinct,
    facts,
    leaders,
    meanings,
    measured,
    yardsticks,
)
from manifold_probe.report.tables.tex_text import Symbol, escaped, symbols
from manifold_probe.report.words import number, shown

# Characters of a name and of a heading in one line, so that seven measures fit the text of a conference's page.
ROOM = 16
HEAD = 11
# Points: that page's 5.5 inches, the least and the most left beside a column, and about what a character takes in a
# name, a heading and an interval.
PAGE = 397
GAPS = (2, 5)
NAME_PT, HEAD_PT, SMALL_PT = 4.6, 4.15, 3.45
ELLIPSIS = Symbol(r"\ldots{}", 1)
BREAKS = {symbol.code for symbol in symbols(" -_/.:=+")}
UNDEFINED = "--"


def latex_table(document: dict[str, Any]) -> str:
    """Students down, the main measures across, each value over its interval; yardsticks below.

    The lines above the table are comments: what it needs, what it holds, and in full the names it cuts or spells out.
    """
    keys, ahead, students = headline(document), leaders(document), measured(document)
    names, below = _names(list(students)), yardsticks(document)
    heads = [_heading(title(key, document)) for key in keys]
    spans = {name: [_interval(each.get(key)) for key in keys] for name, each in students.items()}
    first = max(_width(line) for name in [*students, *(row.label for row in below)] for line in _lines(name))
    gap = _gap(first, heads, list(spans.values()))
    size, small = (r"\footnotesize", r"\scriptsize") if gap >= GAPS[0] else (r"\scriptsize", r"\tiny")
    body: list[str] = []
    for lines, (name, each) in zip(names, students.items(), strict=True):
        body += [r"\addlinespace"] if body else []
        body += [
            _row([lines[0], *(_value(each.get(key), ahead.get(key) == name) for key in keys)]),
            _row([lines[1], *(span and rf"{{{small} {span}}}" for span in spans[name])]),
        ]
    return "\n".join(
        [
            *_comments(document, dict(zip(students, names, strict=True))),
            rf"{{{size}\setlength{{\tabcolsep}}{{{min(max(gap, GAPS[0]), GAPS[1]):.1f}pt}}%",
            rf"\begin{{tabular}}{{@{{}}l{'c' * len(keys)}@{{}}}}",
            r"\toprule",
            *map(_row, _upright([["student"], *heads])),
            r"\midrule",
            *body,
            *([r"\midrule"] if below else []),
            *(_row([escaped(row.label), *(_range(row.values[key], small) for key in keys)]) for row in below),
            r"\bottomrule",
            r"\end{tabular}}",
            "",
        ]
    )


def _gap(first: int, heads: list[list[str]], spans: list[list[str]]) -> float:
    """Points left on either side of a column when all of them stand on the page in full size, roughly."""
    columns = [
        max(HEAD_PT * max(map(len, head)), *(SMALL_PT * len(row[place].replace("$", "")) for row in spans))
        for place, head in enumerate(heads)
    ]
    return (PAGE - NAME_PT * first - sum(columns)) / (2 * max(len(columns), 1))


def _upright(heads: list[list[str]]) -> list[tuple[str, ...]]:
    """The lines of headings as rows, all ending in the last."""
    height = max(map(len, heads))
    lines = zip(*([*[""] * (height - len(head)), *head] for head in heads), strict=True)
    return [tuple(escaped(cell).replace("R$^{2}$", "$R^{2}$") for cell in line) for line in lines]


def _row(cells: Iterable[str]) -> str:
    return rf"{' & '.join(cells)} \\"


def _comments(document: dict[str, Any], names: dict[str, tuple[str, str]]) -> list[str]:
    """A line of what the table needs and holds; then the names that were cut or spelt out, in full."""
    what = " ".join([facts(document), "Small, below each value: its 95% interval.", *meanings(document)])
    full = [
        f"% {' '.join(lines).strip()}: {shown(name, 1000)}"
        for name, lines in names.items()
        if not (name.isascii() and len(name) <= 2 * ROOM)
    ]
    return [rf"% Needs \usepackage{{booktabs}}. {what}", *full]


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
    return "".join(symbol.code for symbol in line).strip(" ")


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


def _range(values: list[float], small: str) -> str:
    if not values:
        return UNDEFINED
    low, high = min(values), max(values)
    return _single(low) if _single(low) == _single(high) else rf"{{{small} {_span(low, high)}}}"


def _single(value: float) -> str:
    """Three decimals; a sign hangs out, so that the digits of a column stand below each other.

    What would read as nothing or as everything says that it is not quite that.
    """
    if 1e-12 < value < 0.0005:
        return r"\llap{$<$}0.001"
    if 0.9995 <= value < 1 - 1e-7:
        return r"\llap{$>$}0.999"
    text = _decimals(value)
    return rf"\llap{{$-$}}{text[1:]}" if text.startswith("-") else text


def _span(low: float, high: float) -> str:
    """An interval: a dash, or "to" where a minus would stand beside the dash."""
    ends = [_decimals(value).replace("-", "$-$") for value in (low, high)]
    return (" to " if low < 0 else "--").join(ends)


def _decimals(value: float) -> str:
    return number(value) if abs(value) >= 9.9995 else f"{value:.3f}".replace("-0.000", "0.000")
