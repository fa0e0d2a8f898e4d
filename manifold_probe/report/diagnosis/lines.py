"""A diagnosis as lines of text: the verdict, the ladder as bars, the first causes, and what was not looked at."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from manifold_probe.measures.catalogue import DEBIASED_CKA
from manifold_probe.report.diagnosis import words
from manifold_probe.report.diagnosis.verdict import words_of
from manifold_probe.report.layout import GAP, columns, heading, pad, paragraph, sizes, total
from manifold_probe.report.sections import size
from manifold_probe.report.words import interval, number, one_line

CAUSES = 3
BAR, SHORT = 24, 14  # cells of a whole bar, and what columns must leave of it
FULL, EIGHTHS, PLAIN = "█", " ▏▎▍▌▋▊▉", "#"


def diagnosis_lines(document: dict[str, Any], width: int | None = None) -> list[Text]:
    """The whole report as styled lines; a width of None gives every line in full and bars of plain characters."""
    return [
        *paragraph(one_line(document["verdict"]), width, style="bold"),
        Text(),
        *paragraph(f"teacher {size(document, 'teacher')}; student {size(document, 'student')}.", width),
        *paragraph(words.compared(document), width),
        *_ladder(document, width),
        *_causes(document, width),
        *_listed("Measured beside", words.beside(document), width),
        *_listed("Differences that lose nothing", _benign(document), width),
        *_listed("Not assessed", _left(document), width),
    ]


def plain_diagnosis(document: dict[str, Any]) -> str:
    """The report as plain text, a line feed after every line."""
    return "".join(line.plain.rstrip() + "\n" for line in diagnosis_lines(document))


AMONG = "Neighbours are looked up among these rows alone, fewer than in probe compare: overlap is higher here."


def _ladder(document: dict[str, Any], width: int | None) -> list[Text]:
    keys = words.overlap_keys(document)
    if not keys:
        return []
    first = keys[0]
    names = [key.replace(DEBIASED_CKA.key, "CKA").replace(f"{first}:", "") for key in keys[1:]]
    header = ["repair", first, "95% interval", "gain", *names]
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
    title = "How faithful after each repair, on rows that it was not fitted on"
    lines = [*heading(title, width), *paragraph(AMONG, width, style="dim")]
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


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{'+' if value >= 0.0005 else ''}{number(value)}"


def _causes(document: dict[str, Any], width: int | None) -> list[Text]:
    causes = document["causes"]
    lines: list[Text] = []
    for place, cause in enumerate(causes[:CAUSES]):
        title = words_of(cause)
        lines += heading(f"{place + 1}. {title[0].upper()}{title[1:]} ({words.spaced(cause['name'])})", width)
        parts = [("sure", words.sure(cause))]
        parts += [("evidence", text) for text in words.evidence(cause)]
        parts += [("proof", words.proof(cause)), ("where", "; ".join(words.where(cause)))]
        parts += [("do", one_line(cause["advice"])), ("or", words.alternatives(cause))]
        parts += [("to tell", words.experiment(cause))]
        for name, text in parts:
            if text:
                lines += paragraph(text, width, indent=12, first=f"   {pad(name, 8)} ")
    if len(causes) > CAUSES:
        rest = ", ".join(words.spaced(cause["name"]) for cause in causes[CAUSES:])
        lines += [Text(), *paragraph(f"Further down, with less to explain: {rest} (--json has all).", width)]
    return lines


def _benign(document: dict[str, Any]) -> list[str]:
    return [
        f"{words.spaced(each['name'])} ({number(each['value'])}): {one_line(each['note'])}"
        for each in document["benign"]
    ]


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
