"""A measure is one declaration: what is declared here appears everywhere, and no module names a measure of its own."""

from __future__ import annotations

import ast
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import manifold_probe as mp
from manifold_probe.evaluation import watch
from manifold_probe.measures.catalogue import MEASURES, declaration, general
from manifold_probe.report.figures import curves
from manifold_probe.report.gates import check_gates, parse_gates
from manifold_probe.report.run import Run
from tests.docs.commands import ROOT

K = 5
MINE = [
    mp.Measure(
        "one_to_one",
        "one to one",
        "Coordinates",
        "share of a dimension's covariances that its largest has (median)",
        bounds=(0.0, 1.0),
        value=lambda sums: np.abs(sums.m.covariance[1]).max(1) / np.abs(sums.m.covariance[1]).sum(1),
        chance=lambda sums: 1 / len(sums.m.sy),
    ),
    mp.Measure(
        "any_kept@{k}",
        "any kept@{k}",
        "Neighbourhoods",
        "points that keep one of their {neighbours} at least",
        bounds=(0.0, 1.0),
        needs="neighbours",
        metric="cosine",
        value=lambda lists: lists.common("cosine") > 0,
        chance=lambda lists: 1 - (1 - lists.k / (lists.n - 1)) ** lists.k,
        class_chance=lambda lists: 0.25,
        note=lambda lists, value: f"of {len(lists.queries)} queries",
        itself=1.0,
        headline=True,
        watched=True,
    ),
    mp.Measure(
        "both_right@{k}",
        "both right@{k}",
        "Classes",
        "points whose class the neighbours name in both spaces",
        bounds=(0.0, 1.0),
        needs="classes",
        metric="cosine",
        value=lambda votes: (votes.teacher_votes == votes.query_codes) & (votes.student_votes == votes.query_codes),
        watched=True,
    ),
    mp.Measure(
        "rank_share@{k}",
        "rank share@{k}",
        "Neighbourhoods",
        "where the student's neighbours stand in the teacher",
        higher_is_better=None,
        bounds=(0.0, 1.0),
        needs="ranks",
        metric="cosine",
        value=lambda ranked: (ranked.student.weights * ranked.in_teacher[0]).sum(1) / (ranked.k * ranked.n),
        chance=0.5,
    ),
]
KEYS = [each.named(K) for each in MINE]


@pytest.fixture(scope="module")
def both() -> mp.Comparisons:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 300)
    x = 2 * rng.normal(size=(4, 6))[labels] + rng.normal(size=(300, 6))
    students = {"wide": x + 0.3 * rng.normal(size=x.shape), "narrow": x[:, :4] + 0.5 * rng.normal(size=(300, 4))}
    return mp.compare(x, students, labels=labels, k=K, measures=[*mp.MEASURES, *MINE])


@pytest.mark.parametrize("key", KEYS)
def test_a_declaration_is_all_that_a_measure_takes(both: mp.Comparisons, key: str) -> None:
    for student in both.values():
        found = student.measures[key]
        assert found.low < found.value < found.high
        if key != "both_right@5":
            assert 0 < found.chance < 1
    assert both["wide"].measures[key].n == 300
    assert next(row for row in both.differences if row["measure"] == key)["low"] is not None


def test_what_it_declares_stands_in_the_result(both: mp.Comparisons) -> None:
    wide, narrow = (both[name].measures for name in ("wide", "narrow"))
    assert wide["any_kept@5"].class_chance == 0.25
    assert wide["any_kept@5"].note == "of 300 queries"
    assert wide["any_kept@5"].reference == 1
    assert 0.5 < narrow["any_kept@5"].reference <= 1  # the teacher's principal components
    assert 0 < narrow["one_to_one"].reference < 1
    assert 0 < narrow["rank_share@5"].reference < 0.5
    assert set(wide["one_to_one"].quantiles) == {"0.05", "0.25", "0.5", "0.75", "0.95"}
    assert wide["one_to_one"].class_chance is not None
    accuracy = wide["knn_accuracy_student@5"].value
    assert wide["both_right@5"].value <= accuracy


def test_it_is_in_json_terminal_page_figures_and_tables(both: mp.Comparisons, tmp_path: Path) -> None:
    both.save(tmp_path / "both.json")
    again = mp.load(tmp_path / "both.json")
    assert again.to_dict() == both.to_dict()
    again.to_html(tmp_path / "page.html")
    again.to_table(tmp_path / "table.csv")
    page, table = (tmp_path / "page.html").read_text(), (tmp_path / "table.csv").read_text()
    frame = set(again.to_frame()["measure"])
    figure = drawn_words(again)
    for each, key in zip(MINE, KEYS, strict=True):
        title = each.title.replace("{k}", str(K))
        assert key in again.summary()
        assert key in again["wide"].summary()
        assert title in page
        assert key in table or key.partition("@")[0] in table
        assert key.partition("@")[0] in frame
        assert (title in figure) == bool(each.higher_is_better)


def drawn_words(result: mp.Comparisons) -> set[str]:
    """The labels of the figure of measures."""
    from manifold_probe.report.figures.look import look_of
    from manifold_probe.report.figures.measures import draw

    figure = draw(result.to_dict(), look_of("paper", 12))
    assert figure is not None
    return {label.get_text() for label in figure.axes[0].get_yticklabels()}


def test_gates_know_it(both: mp.Comparisons) -> None:
    gates = parse_gates("any_kept@5=0.1,one_to_one=1.1", K, list(both["wide"].measures))
    assert [outcome.passed for outcome in check_gates(both["wide"].to_dict(), gates)] == [True, False]


def test_it_alone_can_be_asked_for() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 5))
    y = x + rng.normal(size=x.shape)
    for each in MINE:
        found = mp.compare(x, y, k=K, measures=[each]).measures
        assert list(found) == [each.named(K)]
        assert found[each.named(K)].value is not None


def test_training_is_watched_by_what_is_declared_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (watch, curves):
        monkeypatch.setattr(module, "MEASURES", (*MEASURES, *MINE))
    rng = np.random.default_rng(2)
    x = rng.normal(size=(100, 5))
    labels = rng.integers(0, 3, 100)
    found = watch.watched(x + 0.1 * rng.normal(size=x.shape), x, labels, k=K)
    assert {key for key in found if key in KEYS} == {"any_kept@5", "both_right@5"}
    assert set(found) - set(KEYS) == {each.named(K) for each in MEASURES if each.watched}
    assert set(watch.watched(x, x, k=K)) == {key for key in found if declared(key).needs != "classes"}
    line = {"step": 0, "epoch": 0, "encoded": 0, "measures": {"backbone": found, "head": found}}
    assert curves.measured_keys([Run("run", [], [line])])[-2:] == ["any_kept@5", "both_right@5"]


def declared(key: str) -> mp.Measure:
    return next(each for each in (*MEASURES, *MINE) if each.key == general(key))


def test_a_declaration_is_refused_where_it_is_wrong() -> None:
    with pytest.raises(mp.InputError, match="value is not a function"):
        mp.Measure("key", "title", "group", "gloss", value=3)  # type: ignore[arg-type]
    with pytest.raises(mp.InputError, match="needs is 'votes'; give one of moments, neighbours, ranks, classes"):
        mp.Measure("key", "title", "group", "gloss", needs="votes")
    with pytest.raises(mp.InputError, match="'overlap@5' is given twice or is the key of a built-in"):
        mp.compare(np.eye(30), np.eye(30), k=K, measures=[mp.Measure("overlap@{k}", "t", "g", "g", value=lambda _: 1)])


def test_results_and_reports_have_their_orders() -> None:
    assert all(one.place < other.place for one, other in pairwise(MINE))
    headings = [each.group for each in MEASURES]
    assert len(set(headings)) == sum(one != other for one, other in pairwise([None, *headings]))
    # `watch` searches neighbours, and makes no ranks
    assert {each.needs for each in MEASURES if each.watched} <= {"moments", "neighbours", "classes"}


# Examples in docstrings are for readers.
NAMING = {"measures/catalogue.py", "measures/__init__.py"}

STARTS = {each.key.partition("{k}")[0] for each in MEASURES if "{k}" in each.key}  # as in f"overlap@{k}"


def test_no_module_names_a_measure_of_its_own() -> None:
    package = ROOT / "manifold_probe"
    found = []
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        if name in NAMING:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = [
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        found += [f"{name}: {text}" for text in texts if declaration(text) or text.endswith("overlap@")]
    assert found == []
