"""Blocks as terminal text, HTML and Markdown: nothing is lost where there is little room, and nothing is markup."""

from __future__ import annotations

import pytest

from manifold_probe.report.blocks import Block, Facts, Items, Picture, Row, Section, Sentence, Table, Value
from manifold_probe.report.render.html import html
from manifold_probe.report.render.markdown import markdown
from manifold_probe.report.render.terminal import plain_text
from tests.report.hand import documents, measurement, plain_report
from tests.report.test_page import Page

VALUES = Table(
    ("measure", "a", "b"),
    [
        Row(
            ("overlap", Value("0.48", "0.46", "0.49", best=True), Value("0.41", "0.40", "0.43")),
            "what is kept",
            "Shape",
        ),
        Row(("cka", Value("-0.01", "-0.02", "0.01"), Value("-")), group="Shape"),
    ],
    "meaning",
)
SPARE = Table(("part", "points", "interval"), [Row(("width", "-2.1", "1 to 3"), "wider", bar=(0.9, 1.0))], spare=(2,))
NASTY = "<b>|*x*"
ALL: list[Block] = [
    Sentence(NASTY, "strong"),
    Items([NASTY], "1"),
    Facts([(NASTY, NASTY), ("none", "")]),
    Table((NASTY, "x"), [Row((NASTY, Value(NASTY, NASTY, NASTY)), NASTY, NASTY)], NASTY),
    Section(NASTY, [Sentence("inside")]),
    Section("nothing inside", []),
    Picture(NASTY, lambda: b"png"),
]


def test_a_pipe_gets_values_intervals_and_notes_on_one_line() -> None:
    assert plain_text([VALUES]).splitlines() == [
        "measure                       a                     b  meaning",
        "Shape",
        "overlap    0.48 (0.46 to 0.49)*  0.41 (0.40 to 0.43)   what is kept",
        "cka      -0.01 (-0.02 to 0.01)                     -",
    ]


def test_intervals_go_below_their_values_where_there_is_less_room() -> None:
    assert plain_text([VALUES], 35).splitlines() == [
        "measure            a          b",
        "Shape",
        "overlap        0.48*      0.41",
        "           0.46-0.49  0.40-0.43",
        "    what is kept",
        "cka           -0.01          -",
        "         -0.02..0.01",
    ]


def test_columns_that_do_not_fit_follow_in_another_table_with_their_intervals() -> None:
    text = plain_text([VALUES], 30)
    assert text.count("measure") == 2
    for interval in ("(0.46 to 0.49)*", "(0.40 to 0.43)", "(-0.02 to 0.01)"):
        assert interval in text


def test_spare_columns_move_into_the_notes() -> None:
    assert plain_text([SPARE]).splitlines()[1] == f"width    -2.1    1 to 3  {'.' * 22}##"
    narrow = ["part   points", "width    -2.1", "    wider [interval 1 to", "    3]"]
    assert plain_text([SPARE], 20).splitlines() == narrow


@pytest.mark.parametrize("width", [60, 80])
def test_four_students_keep_their_intervals(width: int) -> None:
    text = plain_report(documents(**dict.fromkeys(("first", "second", "third", "fourth"), measurement())), width)
    low, high = "0.155", "0.167"
    assert text.count(f"{low}-{high}") + text.count(f"({low} to {high})") >= 4
    assert max(map(len, text.splitlines())) <= width


def test_html_is_well_formed_and_escaped() -> None:
    text = html(ALL)
    page = Page(text)
    assert page.open == []
    assert "<b>|" not in text
    assert page.text.count(NASTY) == 11
    assert "nothing inside" not in text
    assert 'src="data:image/png;base64,cG5n"' in text


def test_markdown_is_escaped() -> None:
    text = markdown(ALL)
    assert "<b>" not in text
    assert text.splitlines()[0] == r"**&lt;b&gt;\|\*x\***"
    assert "## &lt;b&gt;\\|\\*x\\*\n\ninside" in text
    assert "nothing inside" not in text
