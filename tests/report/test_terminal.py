"""The terminal report: honest words, every width, nothing misread as markup."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from manifold_probe.measures.catalogue import MEASURES
from manifold_probe.report.advice import AT_CHANCE, BY_ID, MISPAIRED, next_steps
from manifold_probe.report.verdict import verdict
from manifold_probe.report.words import number, shown
from tests.report.hand import CLASSES, document, documents, measurement, plain_report, report_lines

ALARM = ("unverified_pairing", "rows were paired by position and no ids vouch for it")
WORST = [{"row": 3, "id": "img_3", "label": 1, "overlap": 0.0}]


def full() -> dict:
    every = dict.fromkeys((each.named(10) for each in MEASURES), 0.5)
    return document(measurement(every, alarms=(ALARM,), details={"per_class": CLASSES, "worst_rows": WORST}))


def test_every_measure_is_declared_once_with_its_words() -> None:
    assert len({each.key for each in MEASURES}) == len(MEASURES) == 25
    assert all(each.reading and each.bounds[0] < each.bounds[1] for each in MEASURES)


def test_the_verdict_names_value_interval_and_yardsticks() -> None:
    text = verdict(document())
    assert text.startswith("s keeps 16% of each point's ten nearest neighbours (95% interval 15.5 to 16.7%")
    for part in ("chance 0.1%", "class structure alone 0.9%", "a PCA of the teacher to the same width keeps 84%"):
        assert part in text
    assert text.endswith("kept in part (debiased linear CKA 0.772), and most of the fine structure is lost.")


@pytest.mark.parametrize(
    ("overlap", "cka", "words"),
    [
        (0.001, 0.0, "no better than chance"),
        (0.008, 0.9, "mostly kept (debiased linear CKA 0.900), but neighbourhoods hold no more than the classes"),
        (0.05, 0.97, "but almost all of the fine structure is lost"),
        (0.4, 0.97, "but about half of the fine structure that its width allows is kept"),
        (0.6, 0.97, "and most of the fine structure that its width allows is kept"),
        (0.83, 0.97, "and nearly all of the fine structure that its width allows is kept"),
    ],
)
def test_the_verdict_grows_with_overlap(overlap: float, cka: float, words: str) -> None:
    assert words in verdict(document(measurement({"overlap@10": overlap, "debiased_linear_cka": cka}, error=1e-4)))


def test_misaligned_rows_come_before_any_number() -> None:
    found = measurement(alarms=(("misaligned_rows", "rows 0 to 99"),))
    assert "fix that before believing any number" in verdict(document(found, verified=False))
    assert "fix that" not in verdict(document(found, verified=True))  # the student may have lost those rows


def test_neighbourhoods_at_chance_send_the_reader_to_the_pairing() -> None:
    lost = measurement({"overlap@10": 0.001}, alarms=(ALARM, ("dead_dimensions", "teacher: 9 of 10 dimensions")))
    assert next_steps(document(lost, verified=False)) == [MISPAIRED]
    assert next_steps(document(lost, verified=True))[0] == AT_CHANCE + BY_ID
    assert MISPAIRED not in next_steps(document(verified=False))


def test_clusters_are_not_called_classes() -> None:
    text = plain_report(document(measurement(classes="k-means", details={"per_class": CLASSES})))
    assert "cluster structure alone" in text
    assert "Worst clusters (k-means of the teacher stands in for labels)" in text
    assert "Give --labels FILE" in text


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    for made in (full(), documents(a=measurement(), b=measurement({"overlap@10": 0.3}), c=measurement())):
        text = plain_report(made, width)
        assert max(len(line) for line in text.splitlines()) <= width
        assert "overlap@10" in text
        assert "debiased_linear_cka" in text


def test_a_pipe_gets_every_line_in_full() -> None:
    lines = plain_report(full()).splitlines()
    row = next(line for line in lines if line.startswith("overlap@10 "))
    assert row.endswith("survive")
    for part in ("0.500", "0.494 to 0.506", "0.001", "0.009", "0.840"):
        assert part in row
    assert any(line.startswith("per_dimension_correlation:orthogonal ") for line in lines)
    assert not any("\x1b" in line for line in lines)
    assert "500 rows paired by id. k = 10: neighbours of 500 query rows among all 500." in lines


def test_undefined_measures_say_why() -> None:
    made = document(measurement({"linear_r2": None}, note="the widths differ"))
    row = next(line for line in plain_report(made).splitlines() if line.startswith("linear_r2"))
    assert row.split()[1] == "-"
    assert row.endswith("undefined: the widths differ")


def test_alarms_classes_and_steps_are_shown() -> None:
    text = plain_report(full())
    assert "! unverified_pairing: rows were paired by position" in text
    assert text.index("shirt") < text.index("boot") < text.index("bag ")
    assert "Look at class shirt: it keeps 5.0%, the median class 28%; at that median 7.7% more" in text


def test_positional_pairing_is_called_unverified() -> None:
    text = plain_report(document(by="position", verified=False, coverage=0.982, label_conflicts=3))
    assert "paired by position, unverified: only their order says which belong together" in text
    assert "98% of the larger side" in text
    assert "the labels of 3 rows differ" in text


def test_markup_control_characters_and_endless_ids_are_shown_literally() -> None:
    rows = [
        {"row": 0, "id": "[bold]x[/bold]\x1b[31m\n", "overlap": 0.0},
        {"row": 1, "id": "y" * 10_000, "overlap": 0.0},
    ]
    found = measurement({"overlap@10": 0.8}, details={"worst_rows": rows, "per_class": CLASSES})
    made = document(found, name="[red]s[/red]\u202e")
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, highlight=False, markup=False, emoji=False)
    for line in report_lines(made, 80):
        console.print(line, soft_wrap=True)
    text = " ".join(out.getvalue().split())
    assert "[bold]x[/bold]" in text
    assert "\\x1b[31m\\n" in text
    assert "[red]s[/red]\\u202e" in text
    assert "\x1b[31m" not in text
    assert "y" * 30 not in text
    assert len(shown("y" * 10_000)) == 48


def test_numbers_keep_what_matters() -> None:
    assert [number(x) for x in (0.0, -0.01, 1.0, 0.99998, 1e-5, 12.345, 3456.0, 1e9)] == [
        "0.000",
        "-0.010",
        "1.000",
        ">0.999",
        "<0.001",
        "12.3",
        "3,456",
        "1e+09",
    ]
