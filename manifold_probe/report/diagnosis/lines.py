"""A diagnosis as lines of text: the verdict, the account of the whole loss, the first causes, the held-out steps."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP, printed
from manifold_probe.report.diagnosis import words
from manifold_probe.report.layout import GAP, columns, heading, pad, paragraph, sizes, table, total
from manifold_probe.report.sections import size
from manifold_probe.report.words import interval, number, one_line, shown

CAUSES = 3
BAR, SHORT = 24, 14  # cells of a whole bar, and what columns must leave of it
FULL, EIGHTHS, PLAIN = "█", " ▏▎▍▌▋▊▉", "#"
THIN, PLAIN_THIN = "▏", "|"  # a part too small for a cell
COLOURS = {words.WIDTH: "bright_black", words.REGAINED: "cyan", words.CLASSES: "yellow", words.LOST: "red"}


def diagnosis_lines(document: dict[str, Any], width: int | None = None) -> list[Text]:
    """The whole report as styled lines; a width of None gives every line in full and bars of plain characters."""
    return [
        *paragraph(one_line(document["verdict"]), width, style="bold"),
        *account_lines(document, width),
        Text(),
        *paragraph(f"teacher {size(document, 'teacher')}; student {size(document, 'student')}.", width),
        *paragraph(words.compared(document), width),
        *cause_lines(document, width),
        *_ladder(document, width),
        *_listed("Measured beside", words.beside(document), width),
        *benign_lines(document, width),
        *_listed("Not assessed", _left(document), width),
    ]


def plain_diagnosis(document: dict[str, Any]) -> str:
    """The report as plain text, a line feed after every line."""
    return "".join(line.plain.rstrip() + "\n" for line in diagnosis_lines(document))


def account_lines(document: dict[str, Any], width: int | None) -> list[Text]:
    """Where the loss went, in overlap and in CKA: from 1 part by part down to the student."""
    k = document["settings"]["k"]
    lines: list[Text] = []
    told: set[str] = set()
    for account, key in (("accounting", OVERLAP.named(k)), ("accounting_cka", DEBIASED_CKA.key)):
        if document[account]:
            lines += _waterfall(document[account], key, document["measures"][key], told, width)
            told |= {each["sentence"] for each in document[account]}
    if lines:
        lines += [Text(), *paragraph(words.held_out(document), width, style="dim")]
    return lines


def _waterfall(
    account: list[dict[str, Any]], key: str, measured: dict[str, Any], told: set[str], width: int | None
) -> list[Text]:
    """The parts as rows of a waterfall; a sentence that was told already is not told again."""
    parts = words.lost(account)
    known = measured.get("low") is not None
    rows = [["", "points", "95% interval"], ["teacher", "100.0", ""]]
    rows += [[words.part(each["name"]).words, f"-{words.points(each['share'])}", words.limits(each)] for each in parts]
    last = {"low": measured["low"], "high": measured["high"]} if known else {}
    rows.append(["student", words.points(measured["value"]), words.limits(last)])
    for dropped in (3, 2):
        kept = [row[:dropped] for row in rows]
        widths = sizes(kept)
        if width is None or total(widths) + len(GAP) + SHORT <= width:
            break
    room = BAR if width is None else max(min(2 * BAR, width - total(widths) - len(GAP)), 0)
    title = f"Where the loss went: {printed(key)} from 1 to {number(measured['value'])}, in points of 0.01"
    lines = heading(title, width)
    levels = [1.0]
    for each in parts:
        levels.append(levels[-1] - each["share"])
    for place, text in enumerate(columns(kept, widths)):
        if place == 0:
            lines.append(Text(text, style="dim"))
            continue
        whole = place in (1, len(kept) - 1)
        line = Text(f"{text}{GAP}", style="bold" if whole else "")
        low, high = (0.0, (1.0, measured["value"])[place > 1]) if whole else (levels[place - 1], levels[place - 2])
        kind = "" if whole else words.part(parts[place - 2]["name"]).kind
        line.append(span(low, high, room, plain=width is None), style=COLOURS.get(kind, "blue"))
        lines.append(line)
        if not whole and parts[place - 2]["sentence"] not in told:
            lines += paragraph(one_line(parts[place - 2]["sentence"]), width, style="dim", indent=4)
    nothing = words.unlost(account)
    return [*lines, *paragraph(f"Nothing lost to: {', '.join(nothing)}." if nothing else "", width, style="dim")]


def span(low: float, high: float, room: int, *, plain: bool) -> str:
    """The part from ``low`` to ``high`` of a bar of ``room`` cells that stands for 1.

    >>> span(0.25, 0.75, 8, plain=True), span(0.5, 0.51, 8, plain=True)
    ('..####..', '....|...')
    """
    start, stop = (round(min(max(value, 0.0), 1.0) * room) for value in (low, high))
    filled = (PLAIN if plain else FULL) * (stop - start)
    if not filled and high > low and room:
        start, filled = min(start, room - 1), PLAIN_THIN if plain else THIN
    empty = "." if plain else " "
    return empty * start + filled + empty * (room - start - len(filled))


def bar(value: float | None, room: int, *, plain: bool) -> str:
    """A share of 1 as a bar of at most ``room`` cells.

    >>> bar(0.5, 8, plain=True), bar(0.55, 8, plain=False)
    ('####....', '████▍   ')
    """
    share = min(max(value or 0.0, 0.0), 1.0)
    if plain:
        cells = round(share * room)
        return PLAIN * cells + "." * (room - cells)
    whole, rest = divmod(int(share * room * 8), 8)
    return pad(FULL * whole + EIGHTHS[rest].strip(), room)


def accounts_lines(documents: dict[str, dict[str, Any]], width: int | None) -> list[Text]:
    """The accounts of several students' overlap side by side: a row for every part that any of them lost."""
    accounts = {name: one["accounting"] for name, one in documents.items()}
    names = words.rows_of(*accounts.values())
    if not names:
        return []
    shares = {name: {each["name"]: each["share"] for each in account} for name, account in accounts.items()}
    rows = [["part", *(shown(name, 24) for name in documents)]]
    rows += [[words.part(part).words, *(_points_lost(of, part) for of in shares.values())] for part in names]
    k = next(iter(documents.values()))["settings"]["k"]
    kept = [(one["measures"].get(OVERLAP.named(k)) or {}).get("value") for one in documents.values()]
    rows.append(["student", *("-" if value is None else words.points(value) for value in kept)])
    title = f"Where the loss went: {OVERLAP.named(k)} from 1 to each student's, in points of 0.01"
    more = "Intervals, the account of CKA and what would win each part back are in --json and --report."
    return [*heading(title, width), *table(rows, width), *paragraph(more, width, style="dim")]


def _points_lost(shares: dict[str, float], part: str) -> str:
    """What a student lost to a part; "-" where it has no account."""
    if not shares:
        return "-"
    return f"-{words.points(shares[part])}" if shares.get(part, 0.0) >= words.LEAST_POINTS else "0"


def cause_lines(document: dict[str, Any], width: int | None, of: str = "") -> list[Text]:
    """The first causes, each with its proof and what to do; ``of`` is a student's name where there are several."""
    causes = document["causes"]
    lines: list[Text] = []
    for place, cause in enumerate(causes[:CAUSES]):
        title = words.capital(words.words_of(cause))
        name = words.spaced(cause["name"])
        title += "" if title.lower() == name.lower() else f" ({name})"
        lines += heading(f"{f'{of}: ' if of else ''}{place + 1}. {title}", width)
        parts = [("status", words.standing(cause))]
        parts += [("evidence", text) for text in words.evidence(cause)]
        parts += [("proof", words.proof(cause)), ("where", "; ".join(words.where(cause)))]
        parts += [("do", one_line(cause["advice"])), ("wrong if", one_line(cause["falsified_by"]))]
        parts += [("or", words.alternatives(cause)), ("to tell", words.experiment(cause))]
        for label, text in parts:
            if text:
                lines += paragraph(text, width, indent=12, first=f"   {pad(label, 8)} ")
    if len(causes) > CAUSES:
        rest = "; ".join(f"{words.words_of(each)} ({words.standing(each)})" for each in causes[CAUSES:])
        lines += [Text(), *paragraph(f"Further down: {rest}. --json has all.", width)]
    return lines


def benign_lines(document: dict[str, Any], width: int | None, of: str = "") -> list[Text]:
    """Differences that lose nothing."""
    said = []
    for each in document["benign"]:
        value = "" if each["value"] is None else f" ({number(each['value'])})"
        said.append(f"{one_line(each['words'])}{value}: {one_line(each['note'])}")
    return _listed(f"{f'{of}: ' if of else ''}Differences that lose nothing", said, width)


def _ladder(document: dict[str, Any], width: int | None) -> list[Text]:
    keys = words.overlap_keys(document)
    if not keys:
        return []
    first = keys[0]
    bare = first.removeprefix(words.HELD_OUT)
    names = [key.removeprefix(words.HELD_OUT).replace(DEBIASED_CKA.key, "CKA") for key in keys[1:]]
    header = ["step", bare, "95% interval", "gain", *(name.replace(f"{bare}:", "") for name in names)]
    rows = [header]
    for step in document["ladder"]:
        measured = step["measures"].get(first) or {}
        rest = [number((step["measures"].get(key) or {}).get("value")) for key in keys[1:]]
        rows.append(
            [
                words.rung(step["repair"]),
                number(measured.get("value")),
                interval(measured.get("low"), measured.get("high")),
                _signed(measured.get("gain")),
                *rest,
            ]
        )
    for dropped in ((), (2,), (2, *range(4, len(header)))):
        kept = [[cell for place, cell in enumerate(row) if place not in dropped] for row in rows]
        widths = sizes(kept)
        if width is None or total(widths) + len(GAP) + SHORT <= width:
            break
    lines = heading("Corrections, each judged on rows that it was not fitted on", width)
    for place, text in enumerate(columns(kept, widths)):
        if place == 0:
            lines.append(Text(text, style="dim"))
            continue
        value = (document["ladder"][place - 1]["measures"].get(first) or {}).get("value")
        room = BAR if width is None else max(min(BAR, width - total(widths) - len(GAP)), 0)
        line = Text(f"{text}{GAP}")
        line.append(bar(value, room, plain=width is None), style="cyan")
        lines.append(line)
    return lines


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{'+' if value >= 0.0005 else ''}{number(value)}"


def _left(document: dict[str, Any]) -> list[str]:
    """Causes that were not looked for, those with the same reason together."""
    reasons: dict[str, list[str]] = {}
    for each in document["not_assessed"]:
        reasons.setdefault(each["why"], []).append(words.spaced(each["name"]))
    return [f"{', '.join(names)}: {one_line(why)}" for why, names in reasons.items()]


def _listed(title: str, sentences: list[str], width: int | None) -> list[Text]:
    if not sentences:
        return []
    lines = heading(title, width)
    for sentence in sentences:
        lines += paragraph(sentence, width, indent=4, first="- ")
    return lines
