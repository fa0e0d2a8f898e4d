"""Tables as files: tidy CSV and Parquet, Markdown and LaTeX as a paper prints them."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from manifold_probe.errors import InputError
from manifold_probe.report.figures import draw
from manifold_probe.report.figures.look import inches_of, look_of
from manifold_probe.report.frame import COLUMNS, tidy_rows
from manifold_probe.report.tables.latex import latex_table
from manifold_probe.report.tables.markdown import escaped as markdown_escaped
from manifold_probe.report.tables.markdown import markdown_table
from manifold_probe.report.tables.tex_text import escaped as latex_escaped
from manifold_probe.report.tables.write import check_table, csv_table, parquet_table, write_table
from manifold_probe.report.words import HALF, ends, number
from tests.report.figures.drawn import words
from tests.report.hand import CLASSES, document, documents, measurement, plain_report

HOSTILE = (
    "</script><script>alert(1)</script>",
    "$x_1$ & 50% \\textbf{a} <b> ~^#|",
    "\u202egnp.exe\u202c" + "ü" * 200,
    "中文 عربي 😀",
    "[x] *y* \"q\" 'r' `s` --- ?` !`",
    "a\nb\r\tc\x1b[31m\ud800",
    "β-Ω ώ é ñ ő ž İ ï ß ế",
    "",
    "x" * 99 + "y" + "x" * 100,
    "x" * 200,
)


def of_classes(*names: Any) -> dict[str, Any]:
    return document(measurement(details={"per_class": [{**CLASSES[0], "class": name} for name in names]}))


def hostile() -> dict[str, Any]:
    made = documents(**{name: measurement() for name in HOSTILE})
    for place, each in enumerate(made["students"].values()):
        each["inputs"]["student"]["shape"][1] = 512 - 50 * place
        each["inputs"]["teacher"]["name"] = "t\n\\end{tabular} %"
    return made


def three(**values: Any) -> dict[str, Any]:
    """Students whose overlap differs clearly, and whose CKA does not."""
    sure = {"overlap@10": (0.7, 0.5, 0.3), "debiased_linear_cka": (0.8, 0.79, 0.78)}
    made = documents(
        **{
            name: measurement({key: each[place] for key, each in sure.items()}, **values)
            for place, name in enumerate("abc")
        }
    )
    for row in made["differences"]:
        if row["measure"] == "debiased_linear_cka":
            row["low"], row["high"] = row["value"] - 0.1, row["value"] + 0.1
    return made


def cells(text: str) -> list[list[str]]:
    """The cells of a LaTeX table's rows."""
    return [line.removesuffix(r" \\").split(" & ") for line in text.splitlines() if line.endswith(r" \\")]


def test_every_tidy_row_is_in_the_csv_in_full_precision() -> None:
    made = documents(a=measurement({"overlap@10": 0.1 + 0.2}, details={"per_class": CLASSES}), b=measurement())
    header, *rows = csv.reader(io.StringIO(csv_table(made)))
    expected = tidy_rows(made)
    assert tuple(header) == COLUMNS
    assert len(rows) == len(expected)
    for row, each in zip(rows, expected, strict=True):
        assert row == ["" if value is None else str(value) for value in each.values()]
        assert each["value"] is None or float(row[COLUMNS.index("value")]) == each["value"]
    assert "0.30000000000000004" in csv_table(made)


@pytest.mark.parametrize("text", ["=1+1", "+a", "-a", "@a", "\ta", "\ra", "=1", "-1+1", "\uff1d1"])
def test_no_cell_of_the_csv_runs_as_a_formula(text: str) -> None:
    made = of_classes(text)
    made["inputs"]["student"]["name"] = text
    table = pd.read_csv(io.StringIO(csv_table(made), newline=""), dtype=str)
    assert set(table["student"]) == {f"'{text}"}
    assert set(table["class"].dropna()) == {f"'{text}"}


def test_numbers_are_no_formulas() -> None:
    made = of_classes("-1.5e3", "+7", -2)
    table = pd.read_csv(io.StringIO(csv_table(made)), dtype=str)
    assert set(table["class"].dropna()) == {"-1.5e3", "+7", "-2"}


def test_line_ends_quotes_and_commas_do_not_break_a_row_of_the_csv() -> None:
    names = ["a\nb", "c\rd", 'e"f', "g,h", "\0", "i\ud800"]
    table = pd.read_csv(io.StringIO(csv_table(of_classes(*names)), newline=""), dtype=str)
    assert list(table["class"].dropna().unique()) == ["a\nb", "c\rd", 'e"f', "g,h", r"\x00", r"i\ud800"]
    assert len(table) == len(tidy_rows(of_classes(*names)))


@pytest.mark.parametrize(
    ("names", "expected"),
    [((3, 12), [3, 12]), ((3, "x"), ["3", "x"]), ((True, 1), ["True", "1"]), ((2**63, 1), [str(2**63), "1"])],
)
def test_parquet_gives_the_rows_back_with_one_type_for_classes(names: Any, expected: list[Any], tmp_path: Path) -> None:
    made = of_classes(*names)
    write_table(made, tmp_path / "x.parquet")
    table = pd.read_parquet(tmp_path / "x.parquet")
    rows = tidy_rows(made)
    assert tuple(table.columns) == COLUMNS
    assert list(table["class"].dropna().unique()) == expected
    for column in set(COLUMNS) - {"class"}:
        assert [None if pd.isna(value) else value for value in table[column]] == [row[column] for row in rows], column
    assert str(table["k"].dtype) == str(table["n"].dtype) == "Int64"


def test_columns_without_a_value_keep_their_type_in_parquet() -> None:
    made = document(measurement(chance=None, class_chance=None, reference=None))
    schema = pq.read_schema(io.BytesIO(parquet_table(made)))
    types = {column: str(schema.field(column).type) for column in ("student", "note", "reference", "k", "value")}
    assert types == {"student": "string", "note": "string", "reference": "double", "k": "int64", "value": "double"}


def test_the_same_result_gives_the_same_bytes(tmp_path: Path) -> None:
    for suffix in (".csv", ".parquet", ".tex", ".MD"):
        for name in ("a", "b"):
            write_table(hostile(), tmp_path / f"{name}{suffix}")
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    assert len(list(tmp_path.iterdir())) == 8


@pytest.mark.parametrize("name", ["x.xlsx", "x", "csv", "x\n.exe"])
def test_an_unknown_suffix_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    for refuse in (lambda: check_table(tmp_path / name), lambda: write_table(document(), tmp_path / name)):
        with pytest.raises(InputError, match=r"\.csv, \.parquet, \.tex or \.md") as caught:
            refuse()
        assert name.splitlines()[0] in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_student_alone_has_its_measures_down() -> None:
    made = document(measurement({"norm_correlation": -0.012, "debiased_linear_cka": None}))
    rows = cells(latex_table(made))
    heads = [" ".join(filter(None, column)) for column in zip(*rows[:2], strict=True)]
    assert heads == ["measure", "value", r"95\% interval", "chance", "class chance", "PCA 384 dims"]
    overlap = made["measures"]["overlap@10"]
    span = rf"{{\scriptsize {overlap['low']:.3f}--{overlap['high']:.3f}}}"
    assert rows[2] == ["overlap@10", "0.161", span, "0.001", "0.009", "0.840"]
    assert rows[4] == ["debiased linear CKA", "--", "", "0.001", "0.009", "0.840"]
    assert rows[5][:3] == ["norm correlation", r"\llap{$-$}0.012", r"{\scriptsize $-$0.018 to $-$0.006}"]
    assert rows[6][:2] == ["k-NN agreement@10", "0.836"]


def test_students_are_rows_with_their_intervals_below() -> None:
    rows = cells(latex_table(three()))
    heads = [" ".join(filter(None, column)) for column in zip(*rows[:3], strict=True)]
    assert heads[:3] == ["student", "overlap@10", "overlap@10 Euclidean"]
    assert [row[0] for row in rows[3:]] == ["a", "", "b", "", "c", "", "chance", "class chance", "PCA, 384 dims"]
    assert rows[3][1] == r"\textbf{0.700}"
    assert rows[4][1] == r"{\scriptsize 0.694--0.706}"
    assert rows[9][1:] == ["0.001"] * 5


def test_the_caption_is_text_and_says_what_the_table_holds() -> None:
    lines = latex_table(three()).splitlines()
    assert lines[0] == r"% Needs \usepackage{booktabs}."
    assert lines[1] == r"\begin{table*}[t]"
    assert lines[3].startswith(
        r"\caption{Below each value: its 95\% interval. Teacher t.pt, 500 rows, k = 10. Bold: ahead of"
    )
    assert lines[-1] == r"\end{table*}"
    assert r"\caption{Student s. Teacher t.pt, 500 rows, k = 10. Chance:" in latex_table(document())


def test_a_column_holds_the_measures_in_blocks_below_each_other() -> None:
    page, column = latex_table(three()), latex_table(three(), "column")
    assert column.splitlines()[1] == r"\begin{table}[t]"
    assert page.count(r"\midrule[\heavyrulewidth]") == 0
    blocks = column.count(r"\midrule[\heavyrulewidth]") + 1
    assert blocks > 1
    assert sum(row[0] == "student" for row in cells(column)) == blocks
    values = re.compile(r"\d\.\d{3}")
    assert sorted(values.findall(page)) == sorted(values.findall(column))
    assert latex_table(three(), 3.25) == column
    assert latex_table(three(), "235pt").count("student") == column.count("student")


@pytest.mark.parametrize("width", ["wide", "0", "20pt", -1, "nan"])
def test_a_width_that_does_not_exist_is_refused(width: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--width: .* is no width; give one of column, page,"):
        write_table(document(), tmp_path / "x.tex", width)
    assert not list(tmp_path.iterdir())


def test_bold_only_where_every_paired_difference_excludes_zero() -> None:
    made = three()
    text = latex_table(made)
    assert r"\textbf{0.700}" in text
    assert text.count(r"\textbf") == 1
    assert markdown_table(made).count("**") == 2
    assert "| a | **0.700** (0.694 to 0.706)" in markdown_table(made)
    for row in made["differences"]:
        if row["measure"] == "overlap@10" and row["b"] == "c":
            row["low"] = -0.01
    assert r"\textbf" not in latex_table(made)
    assert "**" not in markdown_table(made)


def test_yardsticks_of_students_that_differ_are_ranges_and_a_row_for_every_width() -> None:
    made = three()
    for place, each in enumerate(made["students"].values()):
        each["inputs"]["student"]["shape"][1] = (512, 64, 8)[place]
        for measure in each["measures"].values():
            measure["chance"], measure["reference"] = 0.1 + place / 100, (1.0, 0.9, 0.8)[place]
    rows = {row[0]: row[1] for row in cells(latex_table(made))}
    assert rows["chance"] == r"{\scriptsize 0.100--0.120}"
    assert rows["class chance"] == "0.009"
    assert {name: value for name, value in rows.items() if name.startswith("PCA")} == {
        "PCA, 64 dims": "0.900",
        "PCA, 8 dims": "0.800",
    }
    assert "| chance | 0.100 to 0.120 |" in markdown_table(made)


def test_without_yardsticks_there_is_no_row_for_them() -> None:
    made = document(measurement(chance=None, class_chance=None, reference=None))
    for text in (latex_table(made), markdown_table(made)):
        assert "hance" not in text
        assert "PCA" not in text


def test_what_rounds_to_nothing_or_everything_says_so() -> None:
    made = document(measurement({"overlap@10": 0.0002, "overlap@10:euclidean": 0.9997, "norm_correlation": 1.0}))
    rows = {row[0]: row[1] for row in cells(latex_table(made))}
    assert rows["overlap@10"] == r"\llap{$<$}0.001"
    assert rows["overlap@10, Euclidean"] == r"\llap{$>$}0.999"
    assert rows["norm correlation"] == "1.000"
    assert "| s | <0.001 (" in markdown_table(made)


@pytest.mark.parametrize("value", [0.0, 0.0001, 0.0005, 0.5, 0.9994, 0.9995, 0.99999, 1.0])
def test_a_number_reads_alike_everywhere_and_as_0_or_1_only_where_it_is(value: float) -> None:
    made = document(measurement({"overlap@10": value}))
    figure = draw(made, look_of())["measures"]
    for text in (markdown_table(made), plain_report(made), " ".join(words(figure))):
        assert number(value) in text
    assert (number(value) in ("0.000", "1.000")) == (value in (0, 1))
    low, high = ends(value, value)
    assert (low == "1.000") == (value == 1)
    assert (high == "0.000") == (value == 0)
    assert float(low) - HALF <= value <= float(high) + HALF


def test_clusters_are_not_called_classes() -> None:
    made = document(measurement(classes="k-means"))
    assert "Cluster chance" in latex_table(made)
    assert "k-means cluster" in markdown_table(made)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\\{}$&#%_", r"\textbackslash{}\{\}\$\&\#\%\_"),
        ("^~<>|", r"\textasciicircum{}\textasciitilde{}\textless{}\textgreater{}\textbar{}"),
        ("\"'`", r"\char34{}\char39{}\char96{}"),
        ("[a]*", "{[}a{]}{*}"),
        ("--", "-{}-"),
        ("éïőßŁ", r"\'{e}\"{\i}\H{o}\ss{}\L{}"),
        ("αΑΩάς", r"$\alpha$A$\Omega$$\acute{\alpha}$$\varsigma$"),
        ("中\u202e\n😀", r"\textbackslash{}u4e2d\textbackslash{}u202e\textbackslash{}n\textbackslash{}U0001f600"),
        ("ế", r"\textbackslash{}u1ebf"),
    ],
)
def test_any_text_is_plain_latex(text: str, expected: str) -> None:
    assert latex_escaped(text) == expected


def test_hostile_names_stay_names_and_are_told_apart() -> None:
    text = latex_table(hostile())
    table = [line for line in text.splitlines() if not line.startswith("%")]
    assert "\n".join(table).isascii()
    assert "of them.}" in text
    assert {len(row) for row in cells(text)} == {6}
    assert sum(line == r"\end{tabular}" for line in table) == 1
    labels = [row[0] for row in cells(text)[3:-11]]
    names = list(zip(labels[::2], labels[1::2], strict=True))
    assert len(set(names)) == len(HOSTILE)
    assert max(len(re.sub(r"\\[A-Za-z]+(\{\})?|[{}\\]", ".", part)) for name in names for part in name) < 100
    assert "% " + r"\textbackslash{}u4e2d" in text
    assert "中文 عربي 😀" in text


def test_hostile_names_do_not_break_a_markdown_table() -> None:
    text = markdown_table(hostile())
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {7}
    assert "<script" not in text
    assert "\u202e" not in text
    names = [row.split(" | ")[0] for row in rows[2 : 2 + len(HOSTILE)]]
    assert len(set(names)) == len(HOSTILE)
    assert markdown_escaped("a|b*_`[") == r"a\|b\*\_\`\["


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
@pytest.mark.parametrize("width", ["page", "column", "240pt"])
@pytest.mark.parametrize("made", [hostile(), document(), three(error=0.4)], ids=["hostile", "one", "three"])
def test_pdflatex_sets_the_table_in_its_width(made: dict[str, Any], width: str, tmp_path: Path) -> None:
    write_table(made, tmp_path / "table.tex", width)
    page = rf"""\documentclass{{article}}\usepackage{{booktabs}}
\setlength{{\textwidth}}{{{inches_of(width):.3f}in}}\setlength{{\textheight}}{{30in}}\sloppy
\begin{{document}}\input{{table.tex}}\end{{document}}
"""
    (tmp_path / "page.tex").write_text(page)
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "-no-shell-escape", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert "Missing character" not in (tmp_path / "page.log").read_text(errors="replace")
