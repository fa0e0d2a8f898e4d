"""The causes, each with its proof: the measure before and after what was done, and what a sound pair gains by it."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from manifold_probe.report.diagnosis import words
from manifold_probe.report.figures.canvas import finish, legend_below, sample_line, sheet, text_width
from manifold_probe.report.figures.labels import fitting
from manifold_probe.report.figures.look import FAINT, GREY, INK, Look, colour
from manifold_probe.report.words import percent

MOST = 8
WIDEST = 120  # characters of a line
TICKS = [0, 0.25, 0.5, 0.75, 1]
TALL = 3.1  # rows of text that a cause takes: its words, its standing, its proof


def draw(document: dict[str, Any], look: Look) -> Figure | None:
    """A block for every cause, what explains most on top; None where none has a proof to draw."""
    causes = document["causes"][:MOST] if any(cause["repair"] for cause in document["causes"]) else []
    if not causes:
        return None
    room = int((look.tallest - 5 * look.row) / (TALL * look.row))
    causes = causes[: max(room, 1)]
    figure = sheet(look, (TALL * len(causes) + 1.8) * look.row)
    axes = figure.add_subplot()
    axes.set_ylim(len(causes), 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    ends = [0.0, 1.0]
    for place, cause in enumerate(causes):
        top, bottom = place + 1.95 / TALL, place + 2.75 / TALL  # below the words, which no line crosses
        axes.vlines(TICKS, top, bottom, color=FAINT, linewidth=look.text / 14, zorder=0)
        _words(axes, place, cause, look)
        ends += _proof(axes, place + 2.35 / TALL, cause, look)
        if place:
            axes.axhline(place, color=GREY, linewidth=0.4 * look.line, zorder=0)
    axes.set_xlim(min(ends) - 0.02, max(ends) + 0.02)
    axes.set_xticks(TICKS, labels=[f"{tick:g}" for tick in TICKS])
    legend_below(figure, look, _legend(causes, look))
    return finish(figure)


def _words(axes: Axes, place: int, cause: dict[str, Any], look: Look) -> None:
    """The cause in words, and below how it stands and in which measure it was proved."""
    where: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center"}
    title = f"{place + 1}. {words.capital(words.words_of(cause))}"
    axes.text(0, place + 0.55 / TALL, _cut(title, look, "bold"), fontweight="bold", **where)
    trial = cause["repair"]
    share = "" if cause["share"] is None else f"; {percent(round(cause['share'], 2))} of the loss"
    measure = (
        "not undone" if trial is None else words.called(trial["measure"]).replace(" on held-out rows", ", held out")
    )
    said = f"{cause['status']}{share}; {measure}"
    axes.text(0, place + 1.45 / TALL, _cut(said, look, "normal"), color=GREY, **where)


def _cut(text: str, look: Look, weight: str) -> str:
    """A line of text that is no wider than the sheet."""
    found, room = fitting(text, WIDEST), look.width - 0.35
    while (width := text_width(found, look, weight)) > room:
        found = fitting(text, int(len(found) * room / width) - 1)
    return found


def _proof(axes: Axes, place: float, cause: dict[str, Any], look: Look) -> list[float]:
    """The measure before and after, its interval, and a sound pair's gain; the ends of what was drawn."""
    trial = cause["repair"] or {}
    before, after = trial.get("before"), trial.get("after")
    if before is None or after is None:
        return []
    tint = colour(0 if cause["status"] == "proved" else 1)
    axes.annotate(
        "",
        (after, place),
        (before, place),
        arrowprops={"arrowstyle": "-", "color": tint, "linewidth": 0.9 * look.line, "shrinkA": 0, "shrinkB": 0},
    )
    ends = [before, after]
    if trial.get("low") is not None and trial.get("high") is not None:
        ends += [trial["low"], trial["high"]]
        axes.barh(
            [place], [trial["high"] - trial["low"]], left=[trial["low"]], height=0.55 / TALL, color=tint, alpha=0.4
        )
    axes.plot([before], [place], **_mark(tint, look, proved=False, sign="o"))
    axes.plot([after], [place], **_mark(tint, look, proved=True, sign="o" if cause["status"] == "proved" else "s"))
    if trial.get("healthy_gain") is not None:
        ends.append(before + trial["healthy_gain"])
        axes.plot(ends[-1:], [place], **_sound(look))
    return ends


def _mark(tint: str, look: Look, *, proved: bool, sign: str) -> dict[str, Any]:
    return {
        "marker": sign,
        "color": tint,
        "markerfacecolor": tint if proved else "#ffffff",
        "markersize": 1.05 * look.mark,
        "markeredgewidth": look.line,
        "linestyle": "none",
        "zorder": 3,
    }


def _sound(look: Look) -> dict[str, Any]:
    return {"marker": "|", "color": INK, "markersize": 2.4 * look.mark, "markeredgewidth": look.line, "zorder": 4}


def _legend(causes: list[dict[str, Any]], look: Look) -> list[Any]:
    """Only of what is drawn."""
    tried = [cause for cause in causes if cause["repair"] is not None]
    handles = [sample_line("before", **_mark(INK, look, proved=False, sign="o"))] if tried else []
    for status, turn, sign in (("proved", 0, "o"), ("suspected", 1, "s")):
        if any(cause["status"] == status for cause in tried):
            label = f"after, {status}"
            handles.append(sample_line(label, **_mark(colour(turn), look, proved=True, sign=sign)))
    if any(cause["repair"].get("healthy_gain") is not None for cause in tried):
        handles.append(sample_line("after, of a sound pair", linestyle="none", **_sound(look)))
    return handles
