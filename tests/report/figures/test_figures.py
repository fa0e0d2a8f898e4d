"""Figures: every number from the document, every label whole, the same bytes twice."""

from __future__ import annotations

import io
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import manifold_probe as mp
from manifold_probe.errors import InputError
from manifold_probe.report.figures import FIGURES, draw, picture
from manifold_probe.report.figures.captions import caption
from manifold_probe.report.figures.curves import draw as draw_runs
from manifold_probe.report.figures.labels import slugs
from manifold_probe.report.figures.look import MARKERS, PAGE, PALETTE, WIDTHS, colour, look_of, marker
from manifold_probe.report.figures.measures import from_first
from manifold_probe.report.figures.save import contents, svg_with_text, write_figures
from manifold_probe.report.run import Run
from manifold_probe.report.tables.tex_text import escaped
from tests.report.figures.drawn import faults, words
from tests.report.hand import document, measurement
from tests.report.hand import documents as hand_documents

LABELS = ["$a_b^{2}$", "</script>", "50%_&#{}\\", "x" * 200, "\u202eright to left", "\x1b[31mred\n", "中文", "  "]
NAMES = {
    "one": ["s"],
    "two": ["cosine", "coss"],
    "hostile": ["$x_1$ \\textbf{a} & 50%", "<b>bold</b>" * 20, "n" * 200, "n" * 99 + "m" + "n" * 100, "\u202ename"],
}
LOOKS = {
    **{name: look_of("paper", name) for name in WIDTHS},
    "slides": look_of("slides"),
    "a narrow slide": look_of("slides", 4),
    "free": look_of("paper", 12.5),
    "page": PAGE,
}
CURVES = {"per_dimension": {kind: [0.9, 0.8, 0.7] for kind in ("permutation", "orthogonal", "ridge")} | {"raw": None}}
Drawn = dict[str, dict[str, Figure]]
QUICK, SLOW = ("neurips", "icml-column", "slides", "page"), pytest.mark.slow


def compared(names: list[str], labels: list[str] | None = None, n: int = 240) -> dict[str, Any]:
    """The document of students that are ever worse copies of a teacher, the last ones narrower."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(8, 12)) * 3
    codes = np.arange(n) % 8
    teacher = (centres[codes] + rng.normal(size=(n, 12))) * rng.uniform(0.5, 2, (n, 1))
    students = {
        name: (teacher + rng.normal(size=teacher.shape) * (0.2 + place))[:, : 12 - place]
        for place, name in enumerate(names)
    }
    labels = np.array(labels or [f"class {code}" for code in range(8)])[codes]
    result = mp.compare(teacher, students, labels=labels, k=7)
    return result.to_dict() if len(names) > 1 else result[names[0]].to_dict()


@pytest.fixture(scope="module")
def documents() -> dict[str, dict[str, Any]]:
    """One, two and five students; the maps by hand, since the layout is not what is tested."""
    made = {kind: compared(names, LABELS if kind == "hostile" else None) for kind, names in NAMES.items()}
    for each in made.values():
        for student in each.get("students", {"": each}).values():
            student["details"]["maps"] = maps(student)
    return made


@pytest.fixture(scope="module")
def drawn(documents: dict[str, dict[str, Any]]) -> dict[str, dict[str, Figure]]:
    """Their figures for a NeurIPS page."""
    return {kind: draw(document, look_of()) for kind, document in documents.items()}


def maps(student: dict[str, Any]) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    names = sorted(row["class"] for row in student["details"]["per_class"])
    places = rng.normal(size=(2, 120, 2)).round(3)
    return {
        "classes": names,
        "class": (np.arange(120) % len(names)).tolist(),
        "overlap": rng.uniform(size=120).round(3).tolist(),
        "teacher": places[0].tolist(),
        "student": places[1].tolist(),
    }


@pytest.mark.parametrize("look", [name if name in QUICK else pytest.param(name, marks=SLOW) for name in LOOKS])
@pytest.mark.parametrize("kind", NAMES)
def test_nothing_is_clipped_or_hidden(kind: str, look: str, documents: dict[str, dict[str, Any]]) -> None:
    drawn = draw(documents[kind], LOOKS[look])
    several = len(NAMES[kind]) > 1
    assert len(drawn) == len(FIGURES) - (not several) + len(NAMES[kind])
    for name, figure in drawn.items():
        assert figure.get_figwidth() == LOOKS[look].width
        assert faults(figure) == [], name


def test_every_width_that_venues_ask_for() -> None:
    assert {name: look_of("paper", name).width for name in WIDTHS} == {
        "neurips": 5.5,
        "icml-column": 3.25,
        "icml-page": 6.75,
        "cvpr-column": 3.25,
        "cvpr-page": 6.875,
    }
    assert all(look_of("paper", name).text >= 7 for name in WIDTHS)  # points, in print
    assert look_of("slides").text == 16
    assert look_of("paper", "4.2").width == 4.2


@pytest.mark.parametrize(
    ("style", "width", "words"),
    [
        ("poster", None, "--style: there is no style 'poster'"),
        ("paper", "wide", "--width: 'wide' is no width"),
        ("paper", "0", "'0' is no width"),
        ("paper", "nan", "'nan' is no width"),
    ],
)
def test_styles_and_widths_that_do_not_exist(style: str, width: str | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        look_of(style, width)


def test_the_measures_are_those_of_the_document(documents: dict[str, dict[str, Any]], drawn: Drawn) -> None:
    figure = drawn["one"]["measures"]
    axes = figure.axes[0]
    rows = dict(zip([label.get_text() for label in axes.get_yticklabels()], axes.get_yticks(), strict=True))
    for key, label in (("overlap@7", "overlap@7"), ("debiased_linear_cka", "debiased linear CKA")):
        measure = documents["one"]["measures"][key]
        at = [line for line in axes.lines if line.get_ydata()[0] == rows[label] and len(line.get_xdata()) < 3]
        drawn = {tuple(line.get_xdata()) for line in at}
        assert (measure["value"],) in drawn
        assert (measure["low"], measure["high"]) in drawn
        assert {(measure[part],) for part in ("chance", "class_chance", "reference")} <= drawn
    assert any(f"{documents['one']['measures']['overlap@7']['value']:.3f}" in text for text in words(figure))
    assert "k-NN accuracy@7, teacher" not in rows  # the student's panel does not take credit for the teacher


def test_curves_are_those_of_the_document(documents: dict[str, dict[str, Any]], drawn: Drawn) -> None:
    figures = drawn["two"]
    for name, turn in (("cosine", 0), ("coss", 1)):
        details = documents["two"]["students"][name]["details"]
        lines = [line for line in figures["overlap-by-k"].axes[0].lines if line.get_color() == colour(turn)]
        assert [line.get_ydata().tolist() for line in lines] == [details["overlap_by_k"]["cosine"]]
        assert lines[0].get_xdata().tolist() == details["overlap_by_k"]["k"]
        medians = [row[2] for row in details["rank_quantiles"]["teacher_neighbours_in_student"]]
        ranks = [
            line.get_ydata().tolist() for line in figures["ranks"].axes[0].lines if line.get_color() == colour(turn)
        ]
        assert medians in ranks
        spectrum = np.array(details["spectra"]["student"])
        shares = [line.get_ydata() for line in figures["spectra"].axes[0].lines if line.get_color() == colour(turn)]
        assert np.allclose(shares[0], spectrum / np.linalg.norm(spectrum))
        for kind, axes in zip(("permutation", "orthogonal", "ridge"), figures["dimensions"].axes[-3:], strict=True):
            curve = [line.get_ydata() for line in axes.lines if line.get_color() == colour(turn)]
            assert np.allclose(curve[0], sorted(filter(None, details["per_dimension"][kind]), reverse=True))


def test_a_narrower_student_has_fewer_partners(documents: dict[str, dict[str, Any]], drawn: Drawn) -> None:
    values = documents["two"]["students"]["coss"]["details"]["per_dimension"]["permutation"]
    assert (len(values), values.count(None)) == (12, 1)
    axes = drawn["two"]["dimensions"].axes[1]
    assert axes.get_title(loc="left") == "permuted"
    curve = next(line for line in axes.lines if line.get_color() == colour(1))
    assert max(curve.get_xdata()) == pytest.approx(100 * 10.5 / 12)  # it ends early: one has no partner


def test_one_direction_is_a_dot_and_one_neighbour_a_bar() -> None:
    ranks = {
        "k": 1, "n": 100, "quantiles": [0.05, 0.25, 0.5, 0.75, 0.95],
        "teacher_neighbours_in_student": [[1.0, 2.0, 4.0, 8.0, 16.0]],
        "student_neighbours_in_teacher": [[1.0, 2.0, 4.0, 8.0, 16.0]],
    }  # fmt: skip
    details = {"spectra": {"teacher": [2.0, 1.0, 0.5], "student": [3.0, 0.0, 0.0]}, "rank_quantiles": ranks}
    figures = draw(document(measurement(details=details)), look_of())
    student = figures["spectra"].axes[0].lines[1]
    assert student.get_xdata().tolist() == [1]
    assert student.get_marker() == "o"
    whole, half = figures["ranks"].axes[0].collections
    assert [bars.get_segments()[0][:, 1].tolist() for bars in (whole, half)] == [[1, 16], [2, 8]]
    assert {"middle half", "nine tenths", "kept in order"} <= set(words(figures["ranks"]))


def test_figures_of_many_students_fit_a_page_and_a_slide() -> None:
    made = {f"model {place}": measurement() for place in range(40)}
    for look in (look_of(), look_of("paper", "icml-column"), look_of("slides")):
        for name, figure in draw(hand_documents(**made), look).items():
            boxes = [axes.get_position() for axes in figure.axes]
            panels = figure.get_figheight() * (max(box.y1 for box in boxes) - min(box.y0 for box in boxes))
            assert panels < look.tallest + 1, name  # the legend comes on top
            assert faults(figure) == [], name


def test_classes_are_sorted_by_overlap(documents: dict[str, dict[str, Any]], drawn: Drawn) -> None:
    figure = drawn["one"]["classes"]
    order = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    rows = sorted(documents["one"]["details"]["per_class"], key=lambda row: row["overlap"])
    assert order == [row["class"] for row in rows]


def test_many_classes_and_few() -> None:
    rows = [{"class": code, "n": 9, "overlap": code / 1000, "knn_agreement": 0.9} for code in range(1000)]
    look = look_of("paper", "icml-column")
    figure = draw(document(measurement(details={"per_class": rows})), look)["classes"]
    assert len(figure.axes[0].get_yticks()) == 25
    assert "the 25 lowest of 1,000 classes" in words(figure)
    assert faults(figure) == []
    assert "classes" not in draw(document(measurement(details={"per_class": rows[:1]})), look)


def test_differences_are_from_the_first_student() -> None:
    rows = [
        {"measure": "overlap@10", "a": "a", "b": "b", "value": 0.1, "low": 0.05, "high": 0.15},
        {"measure": "overlap@10", "a": "c", "b": "a", "value": 0.2, "low": -0.1, "high": 0.5},
        {"measure": "linear_cka", "a": "a", "b": "b", "value": None, "low": None, "high": None},
    ]
    both = {"schema": "manifold-probe/comparisons/1", "differences": rows}
    assert from_first(both, "a", "b") == {"overlap@10": {"value": -0.1, "low": -0.15, "high": -0.05}}
    assert from_first(both, "a", "c") == {"overlap@10": {"value": 0.2, "low": -0.1, "high": 0.5}}
    both["students"] = {name: document(name=name) for name in "abc"}
    axes = draw(both, look_of())["differences"].axes[0]
    marks = {line.get_xdata()[0]: line.get_markerfacecolor() for line in axes.lines if len(line.get_xdata()) == 1}
    assert marks == {-0.1: colour(1), 0.2: "white"}  # filled only where the interval excludes zero


def test_without_details_the_measures_are_still_drawn() -> None:
    drawn = draw(document(), look_of())
    assert list(drawn) == ["measures"]
    assert faults(drawn["measures"]) == []
    undefined = document(measurement({"overlap@10": None, "linear_r2": -40.0, "debiased_linear_cka": -0.02}))
    assert faults(draw(undefined, look_of("paper", "cvpr-column"))["measures"]) == []


def test_students_differ_in_more_than_colour() -> None:
    looks = [(colour(place), marker(place)) for place in range(len(PALETTE) * len(MARKERS))]
    assert len(set(looks)) == len(looks)
    grey = [0.299 * int(c[1:3], 16) + 0.587 * int(c[3:5], 16) + 0.114 * int(c[5:], 16) for c in PALETTE]
    assert max(grey) < 180  # dark enough on white


def test_labels_survive_as_they_are(drawn: Drawn) -> None:
    seen = words(drawn["hostile"]["classes"])
    for label in ("$a_b^{2}$", "</script>", "50%_&#{}\\", "\\u202eright to left", "\\x1b[31mred\\n"):
        assert label in seen
    names = words(drawn["hostile"]["overlap-by-k"])
    assert sum(name.startswith("nnnn") for name in names) == 2
    assert len(set(names)) == len(names)


def test_the_same_bytes_twice(documents: dict[str, dict[str, Any]]) -> None:
    look = look_of()
    first, second = (draw(documents["one"], look) for _ in range(2))
    for name in first:
        for format in ("pdf", "svg", "png"):
            assert contents(first[name], look, format) == contents(second[name], look, format), (name, format)


def test_fonts_are_embedded_as_type_42(drawn: Drawn) -> None:
    for name, figure in drawn["one"].items():
        pdf = contents(figure, look_of(), "pdf")
        parts = [pdf, *map(_inflated, re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL))]
        assert any(b"/FontFile2" in part for part in parts), name  # a TrueType program
        assert not any(b"/Type3" in part for part in parts), name
        assert b"CreationDate" not in pdf


def _inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


def test_svg_for_a_page_keeps_text_as_text(drawn: Drawn) -> None:
    svg = svg_with_text(drawn["hostile"]["classes"], PAGE)
    assert "&lt;/script&gt;" in svg
    assert "$a_b^{2}$" in svg
    assert "<script" not in svg


def test_pictures_have_the_asked_width(documents: dict[str, dict[str, Any]]) -> None:
    look = look_of("paper", "icml-column")
    png = Image.open(io.BytesIO(contents(draw(documents["one"], look)["spectra"], look, "png")))
    assert png.width == round(3.25 * 300)
    assert len(png.convert("L").getcolors() or []) > 10


def test_all_files_or_none(drawn: Drawn, tmp_path: Path) -> None:
    look = look_of()
    figures = {name: drawn["one"][name] for name in ("spectra", "ranks")}
    written = write_figures(figures, tmp_path / "new" / "folder", look)
    captions = {"captions.md", "captions.tex"}
    assert {path.name for path in (tmp_path / "new/folder").iterdir()} == {path.name for path in written} | captions
    assert len(written) == 6
    (tmp_path / "old").mkdir()
    (tmp_path / "old/spectra.svg").write_text("old")
    (tmp_path / "old/ranks.png").mkdir()
    with pytest.raises(InputError, match=r"ranks\.png: cannot be written \(it is a folder\)"):
        write_figures(figures, tmp_path / "old", look)
    assert (tmp_path / "old/spectra.svg").read_text() == "old"
    assert len(list((tmp_path / "old").iterdir())) == 2
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="taken"):
        write_figures(figures, tmp_path / "taken", look)
    with pytest.raises(InputError, match="taken"):
        write_figures(figures, tmp_path / "taken" / "below", look)
    assert (tmp_path / "taken").read_text() == ""


def test_names_of_files() -> None:
    assert slugs(["x", "x-2", "x!", "x?"]) == ["x", "x-2", "x-3", "x-4"]
    found = slugs(["../../etc/passwd", "a/b", "A B", "", "中文", "x" * 300, "x" * 301, "..", "con"])
    assert len(set(found)) == len(found)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.-]*", slug) and len(slug) < 50 for slug in found)


def test_captions_lie_next_to_the_figures(drawn: Drawn, tmp_path: Path) -> None:
    write_figures({"ranks": drawn["one"]["ranks"]}, tmp_path, look_of())
    text = drawn["one"]["ranks"].get_label()
    assert "seven nearest neighbours" in text
    assert (tmp_path / "captions.md").read_text() == f"![ranks](ranks.png)\n\n**ranks.** {text}\n"
    lines = (tmp_path / "captions.tex").read_text().splitlines()
    assert lines[2:5] == [r"\includegraphics{ranks.pdf}", rf"\caption{{{escaped(text)}}}", r"\label{fig:ranks}"]


def test_the_picture_is_a_small_png_of_the_main_measures(documents: dict[str, dict[str, Any]]) -> None:
    for made in (documents["one"], documents["two"]):
        image = Image.open(io.BytesIO(picture(made)))
        assert image.format == "PNG"
        assert image.width == round(5.5 * 110)
        assert len(picture(made)) < 60_000
    nothing = document(measurement(dict.fromkeys(document()["measures"])))
    assert picture(nothing) == b""


def test_an_interval_is_drawn_over_its_mark(drawn: Drawn) -> None:
    axes = drawn["two"]["measures"].axes[0]
    mark = next(line for line in axes.lines if line.get_marker() == marker(0))
    whiskers = [line for line in axes.lines if line.get_marker() == "|" and len(line.get_xdata()) == 2]
    assert len(whiskers) >= 20
    assert all(line.get_zorder() > mark.get_zorder() for line in whiskers)
    assert all(line.get_markersize() > mark.get_markersize() for line in whiskers)  # its caps stick out of the mark


def test_classes_have_the_intervals_of_the_document_or_none(documents: dict[str, dict[str, Any]], drawn: Drawn) -> None:
    rows = sorted(documents["one"]["details"]["per_class"], key=lambda row: row["overlap"])
    for axes, ends in zip(
        drawn["one"]["classes"].axes, (("low", "high"), ("agreement_low", "agreement_high")), strict=True
    ):
        bars = [tuple(line.get_xdata()) for line in axes.lines if line.get_marker() == "|"]
        assert bars == [(row[ends[0]], row[ends[1]]) for row in rows]
    older = [{name: value for name, value in row.items() if "agreement_" not in name} for row in rows]
    axes = draw(document(measurement(details={"per_class": older})), look_of())["classes"].axes
    assert [sum(line.get_marker() == "|" for line in each.lines) for each in axes] == [len(rows), 0]


def test_overlap_by_k_keeps_its_yardsticks_with_several_students(
    documents: dict[str, dict[str, Any]], drawn: Drawn
) -> None:
    figure = drawn["two"]["overlap-by-k"]
    (axes,) = figure.axes
    assert {"reference, 11 dims", "chance", "class chance (k = 7)", "95% interval"} <= set(words(figure))
    bars = [line for line in axes.lines if line.get_marker() == "_"]
    curves = [each["details"]["overlap_by_k"] for each in documents["two"]["students"].values()]
    known = [
        (low, high)
        for curve in curves
        for low, high in zip(curve["low"], curve["high"], strict=True)
        if low is not None
    ]
    assert sorted(tuple(line.get_ydata()) for line in bars) == sorted(known)
    highest = max(np.nanmax(line.get_ydata()) for line in axes.lines)
    assert axes.get_ylim()[1] <= 1.05 * highest
    older = {**documents["one"], "details": {"overlap_by_k": curves[0] | {"low": None, "high": None}}}
    assert "95% interval (k = 7)" in words(draw(older, look_of())["overlap-by-k"])


def test_several_students_have_no_empty_panel_and_every_panel_its_ticks() -> None:
    made = hand_documents(a=measurement(details=CURVES), b=measurement(details=CURVES))
    for look in (look_of(), look_of("paper", "icml-column")):
        panels = draw(made, look)["dimensions"].axes
        assert [axes.get_title(loc="left") for axes in panels] == ["permuted", "rotated", "linear map"]
        assert all(len(axes.lines) == 2 for axes in panels)
        for axes in panels:
            assert axes.get_xticklabels()[0].get_text() == "0"
            assert axes.xaxis.get_tick_params()["labelbottom"]


def test_maps_name_their_classes_and_title_every_panel(drawn: Drawn) -> None:
    axes = drawn["one"]["maps"].axes[:4]
    assert [each.get_title(loc="right") for each in axes] == ["by class"] * 2 + ["neighbours kept"] * 2
    assert [each.get_title(loc="left")[:7] for each in axes] == ["teacher", "student"] * 2
    for each in axes[:2]:
        assert len({text.get_text() for text in each.texts}) >= 6


def test_captions_are_sentences(documents: dict[str, dict[str, Any]], drawn: Drawn) -> None:
    for kind, made in documents.items():
        for name in drawn[kind]:
            text = caption(name, made)
            assert text.endswith("."), (kind, name)
            assert "{" not in text.replace("{a}", "")


def test_losses_of_different_terms_do_not_share_an_axis() -> None:
    def run(name: str, *terms: str) -> Run:
        lines = [
            {
                "step": step,
                "epoch": step,
                "encoded": 100 * step,
                "rate": 0.1,
                "loss": 1 / step,
                "terms": dict.fromkeys(terms, 0.5),
            }
            for step in (1, 2, 3)
        ]
        return Run(name, lines, [])

    figure = draw_runs([run("a", "cosine"), run("b", "squared_error"), run("c", "cosine")], look_of())["training"]
    assert {axes.get_title(loc="left"): len(axes.lines) for axes in figure.axes} == {
        "loss: cosine": 2,
        "loss: squared error": 1,
    }
    assert faults(figure) == []
