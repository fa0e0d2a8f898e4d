"""Numbers and names as words: what every report says is put together from these."""

from __future__ import annotations

import unicodedata
from typing import Any

HALF = 0.0005  # of the last decimal that is printed
ROUNDING, TINY = 1e-7, 1e-12  # of computed values: closer to 1, or to 0, than this is 1 or 0
COUNTS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
FRACTIONS = (
    (1 / 10, "a tenth"),
    (1 / 5, "a fifth"),
    (1 / 4, "a quarter"),
    (1 / 3, "a third"),
    (1 / 2, "half"),
    (2 / 3, "two thirds"),
    (3 / 4, "three quarters"),
    (4 / 5, "four fifths"),
    (9 / 10, "nine tenths"),
)


def count(number: int) -> str:
    """A small count as a word.

    >>> count(10), count(15)
    ('ten', '15')
    """
    return COUNTS[number] if number < len(COUNTS) else f"{number:,}"


def neighbours(k: int) -> str:
    """ "ten nearest neighbours", or "nearest neighbour" for one."""
    return "nearest neighbour" if k == 1 else f"{count(k)} nearest neighbours"


def number(value: float | None) -> str:
    """A measured value, as every report, table and figure prints it.

    The rule: three decimals below 10, one below 100, none above. What is not quite 0 or 1 never reads as 0 or 1: it is
    "<0.001" or ">0.999". A value just below 0, which is noise around it, is "0.000". CSV, Parquet and JSON hold full
    precision.

    >>> [number(value) for value in (0.1612, 12.34, 1345.2, 0.00006, -0.00006, 0.99988, 1.0, None)]
    ['0.161', '12.3', '1,345', '<0.001', '0.000', '>0.999', '1.000', '-']
    """
    if value is None:
        return "-"
    if TINY < value < HALF:
        return "<0.001"
    if 1 - HALF <= value < 1 - ROUNDING:
        return ">0.999"
    return _rounded(value)


def quantity(value: float | None) -> str:
    """A number of no known scale, such as a loss or a norm: as `number`, but a small one keeps its size.

    >>> quantity(0.1612), quantity(-0.00006), quantity(0.99988)
    ('0.161', '-6e-05', '1.000')
    """
    if value is None:
        return "-"
    return f"{value:.1g}" if TINY < abs(value) < HALF else _rounded(value)


def ends(low: float, high: float) -> tuple[str, str]:
    """The ends of an interval as numbers; outwards where they would read as 1 or 0 without being it.

    >>> ends(0.1581, 0.1642), ends(0.99961, 0.99988), ends(-0.00006, 0.00006)
    (('0.158', '0.164'), ('0.999', '1.000'), ('0.000', '0.001'))
    """
    below_one, above_zero = 1 - HALF <= low < 1 - ROUNDING, TINY < high < HALF
    return "0.999" if below_one else _rounded(low), "0.001" if above_zero else _rounded(high)


def interval(low: float | None, high: float | None) -> str:
    """ "0.158 to 0.164", or "-" where there is none."""
    return "-" if low is None or high is None else " to ".join(ends(low, high))


def _rounded(value: float) -> str:
    size = abs(value)
    if size >= 99.95:
        return f"{value:,.0f}" if size < 1e7 else f"{value:.2g}"
    text = f"{value:.1f}" if size >= 9.9995 else f"{value:.3f}"
    return text.removeprefix("-") if text == "-0.000" else text


def percent(share: float) -> str:
    """A share of 1 in percent.

    >>> percent(0.161), percent(0.0091), percent(0.0001), percent(0.9996), percent(1)
    ('16%', '0.9%', '0.01%', '99.96%', '100%')
    """
    value = 100 * share
    if value in (0, 100) or 10 <= value < 99.5:
        return f"{value:.0f}%"
    if value >= 99.95:
        return f"{min(value, 99.99):.2f}%"
    if value >= 0.1:
        return f"{value:.1f}%"
    return f"{value:.1g}%" if value > 0.0001 else "0%"


def percents(low: float, high: float) -> str:
    """An interval of shares in percent.

    >>> percents(0.158, 0.164)
    '15.8 to 16.4%'
    """
    return f"{100 * low:.1f} to {100 * high:.1f}%"


def fraction(share: float) -> str:
    """A share as a reader would say it.

    >>> fraction(0.49), fraction(0.16), fraction(1.0)
    ('about half', '16%', 'all')
    """
    if share >= 0.9995:
        return "all"
    if share <= 0.0005:
        return "almost none"
    close = [words for value, words in FRACTIONS if abs(share - value) <= 0.012]
    return f"about {close[0]}" if close else percent(share)


def degree(value: float, *steps: tuple[float, str], otherwise: str) -> str:
    """The words of the first step whose bound ``value`` reaches.

    >>> degree(0.8, (0.9, "fully"), (0.5, "partly"), otherwise="hardly")
    'partly'
    """
    return next((words for bound, words in steps if value >= bound), otherwise)


def shown(thing: Any, limit: int = 48) -> str:
    r"""A name, id or label as it can be printed: control characters visible, the middle of a long one left out.

    >>> shown("a\x1b[31mb"), shown("x" * 100, limit=9)
    ('a\\x1b[31mb', 'xxx...xxx')
    """
    text = str(thing)
    if len(text) > limit:
        half = (limit - 3) // 2
        text = text[: limit - 3 - half] + "..." + text[len(text) - half :]
    return "".join(_visible(character) for character in text)


def listed(things: list[Any], most: int = 5, limit: int = 24) -> str:
    """The first few of a list, none longer than ``limit`` characters, and how many more there are.

    >>> listed([1, 2, 3], most=2)
    '1, 2 and 1 more'
    """
    text = ", ".join(shown(thing, limit) for thing in things[:most])
    return text if len(things) <= most else f"{text} and {len(things) - most:,} more"


def enumerated(texts: list[str]) -> str:
    """Words with commas and a last "and" between them.

    >>> enumerated(["a", "b", "c"]), enumerated(["a"])
    ('a, b and c', 'a')
    """
    return " and ".join([*([", ".join(texts[:-1])] if texts[:-1] else []), *texts[-1:]])


def one_line(text: str) -> str:
    """A message on one line, with control characters visible."""
    return "".join(_visible(character) for character in " ".join(text.splitlines()))


def student_name(document: dict[str, Any]) -> str:
    """How reports call the student: the name it was given, by default its file's without what follows the dot."""
    return shown(document["inputs"]["student"]["name"])


def teacher_name(document: dict[str, Any]) -> str:
    """How reports call the teacher: its file's name where that is where the name came from."""
    space = document["inputs"]["teacher"]
    return file_named(space) or shown(space["name"])


def file_named(space: dict[str, Any]) -> str:
    """The name of the file that one side was read from and named after; empty for any other side."""
    file = file_of(space)
    return file if file.split(".", 1)[0] == shown(space["name"]).split(".", 1)[0] else ""


def file_of(space: dict[str, Any]) -> str:
    """The name of the file or folder that one side was read from; empty for arrays."""
    return shown(str(space.get("path") or "").rstrip("/").rsplit("/", 1)[-1])


def paired_rows(how: dict[str, Any]) -> str:
    """How the rows were paired, from a document's ``pairing``.

    >>> paired_rows({"by": "id", "rows": 1003, "coverage": 1.0, "verified": True, "copies_left_out": 5})
    '1,003 rows paired by id; 5 identical copies under one id were left out'
    """
    text = f"{how['rows']:,} rows paired by {how['by']}"
    text += "" if how["verified"] else ", unverified: only their order says which belong together"
    if how["coverage"] < 1:
        text += f" ({percent(how['coverage'])} of the larger side; the rest has no partner)"
    if how.get("copies_left_out"):
        text += f"; {how['copies_left_out']:,} identical copies under one id were left out"
    return text + _labels_paired(how)


def _labels_paired(how: dict[str, Any]) -> str:
    """What pairing found of the labels, each part behind a semicolon; "" where there is nothing to say."""
    parts = []
    if how.get("label_conflicts"):
        parts.append(f"the labels of {how['label_conflicts']:,} rows differ between the files")
    if how.get("labels_recoded"):
        parts.append("the files name the same classes differently: labels were compared after the best recoding")
    if how.get("unlabelled"):
        which = "no row" if how["unlabelled"] == how["rows"] else f"{how['rows'] - how['unlabelled']:,} rows"
        left_out = "" if how["unlabelled"] == how["rows"] else ", the others are left out of the class measures"
        parts.append(f"{which} {'has' if which == 'no row' else 'have'} a label{left_out}")
    return "".join(f"; {part}" for part in parts)


def columns_left(inputs: dict[str, Any]) -> str:
    """Which columns of numbers were not taken for dimensions; empty where there are none.

    >>> columns_left({"teacher": {"columns_left": ["year"]}, "student": {}})
    'Not taken for dimensions: year (teacher).'
    """
    sides = {side: space["columns_left"] for side, space in inputs.items() if space and space.get("columns_left")}
    return (
        f"Not taken for dimensions: {'; '.join(f'{listed(left)} ({side})' for side, left in sides.items())}."
        if sides
        else ""
    )


def _visible(character: str) -> str:
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return character.encode("unicode_escape").decode()
    return character
