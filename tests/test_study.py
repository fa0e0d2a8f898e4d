"""The analysis of experiments/study: its statistics on made-up tables, and its committed answers from its table."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from manifold_probe.measures.catalogue import MEASURES
from manifold_probe.report.predictions import NEIGHBOURS, PREDICTING, PREDICTIONS, SETTINGS, STUDENTS

FOLDER = Path(__file__).resolve().parents[1] / "experiments" / "study"
RESULTS = FOLDER / "results"


@pytest.fixture(scope="module")
def analyse() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        patch.delitem(sys.modules, "analyse", raising=False)  # other experiments have a file of that name
        yield importlib.import_module("analyse")
        del sys.modules["analyse"]


def population(seed: int = 0) -> pd.DataFrame:
    """72 students: accuracy follows overlap, agreement both measures; CKA and the loss follow the method alone."""
    rng = np.random.default_rng(seed)
    rows = []
    for method in range(6):
        for width in (0.5, 1.0, 2.0):
            for run in range(4):
                overlap, cka = rng.uniform(0.1, 0.3) + 0.05 * width, 0.5 + 0.08 * method + 0.01 * rng.normal()
                rows.append(
                    {"setting": "s", "method": f"m{method}", "network": "n", "width": width, "seed": run, "samples": 10,
                     "backbone overlap@10": overlap, "backbone debiased_linear_cka": cka,
                     "backbone knn_agreement@10": 0.5 + overlap + 0.05 * rng.normal(), "backbone rankme_teacher": 5.0,
                     "knn_accuracy": 0.6 + overlap + 0.001 * rng.normal(),
                     "linear_agreement": overlap + cka + 0.001 * rng.normal(), "100% loss": 1.0 + method}
                )  # fmt: skip
    return pd.DataFrame(rows, index=[f"s{row}" for row in range(len(rows))])


def test_rank_correlations_are_spearmans(analyse: ModuleType) -> None:
    table = population()
    found = analyse.predictions(table).set_index(["behaviour", "measure"])
    assert set(found.index.get_level_values(1)) == {
        "backbone overlap@10", "backbone debiased_linear_cka", "backbone knn_agreement@10",
    }  # fmt: skip
    for (behaviour, measure), row in found.iterrows():
        assert row.spearman == pytest.approx(stats.spearmanr(table[measure], table[behaviour]).statistic)
        assert row.low <= row.spearman <= row.high
    best = analyse.best_of(found.reset_index(), labels=False).set_index("behaviour")
    assert best.loc["knn_accuracy", "measure"] == "backbone overlap@10"


def test_within_a_method_the_order_of_methods_does_not_count(analyse: ModuleType) -> None:
    table = population()
    table["knn_accuracy"] = table["backbone debiased_linear_cka"].round(2) + 0.001 * table["backbone overlap@10"]
    across, within = (
        analyse.predictions(table, how).set_index(["measure", "behaviour"]).spearman for how in (None, "method")
    )
    cka, overlap = "backbone debiased_linear_cka", "backbone overlap@10"
    assert across[cka, "knn_accuracy"] > 0.95
    assert across[overlap, "knn_accuracy"] < within[overlap, "knn_accuracy"] + 0.3
    ranks = table.groupby("method")[[overlap, "knn_accuracy"]].rank(pct=True) - 0.625
    assert within[overlap, "knn_accuracy"] == pytest.approx(ranks.corr().iloc[0, 1], abs=0.02)
    of_width = analyse.predictions(table, "width").set_index(["measure", "behaviour"]).spearman
    ranks = table.groupby("width")[[cka, "knn_accuracy"]].rank(pct=True)
    ranks -= ranks.groupby(table.width).transform("mean")
    assert of_width[cka, "knn_accuracy"] == pytest.approx(ranks.corr().iloc[0, 1])


def test_a_mean_within_groups_is_taken_away(analyse: ModuleType) -> None:
    values = np.array([[1.0, 10.0], [3.0, 30.0], [5.0, 5.0]])
    about = analyse.about_groups(values, np.array([0, 0, 2]))  # a sample may have nothing of a group
    assert about.tolist() == [[-1, -10], [1, 10], [0, 0]]


def test_texts_have_no_norm_correlation(analyse: ModuleType) -> None:
    table = population()
    table["backbone norm_correlation"] = table["backbone overlap@10"]
    assert "backbone norm_correlation" in analyse.measures_of(table)
    assert "backbone norm_correlation" not in analyse.measures_of(table.assign(setting="text"))


def test_the_order_of_two_students_is_the_more_certain_the_larger_their_difference(analyse: ModuleType) -> None:
    table = population()
    rng = np.random.default_rng(0)
    table["knn_accuracy"] = table["backbone overlap@10"] + 0.01 * rng.normal(size=len(table))
    rows = analyse.resolution(table, "backbone overlap@10", "knn_accuracy")
    x, y = (table[name].to_numpy() for name in ("backbone overlap@10", "knn_accuracy"))
    a, b = np.triu_indices(len(table), 1)
    apart = np.abs(x[a] - x[b])
    some = (apart >= 0.01) & (apart < 0.02)
    (row,) = (row for row in rows if row["difference"] == "0.01 to 0.02")
    assert row["pairs"] == some.sum()
    assert row["right"] == ((x[a] > x[b]) == (y[a] > y[b]))[some].mean()
    shares = [row["right"] for row in rows]
    assert shares == sorted(shares)
    assert shares[0] < 0.7
    assert shares[-1] > 0.98
    assert all(row["low"] <= row["right"] <= row["high"] for row in rows)
    assert sum(row["pairs"] for row in rows) == 72 * 71 // 2


def test_intervals_are_of_whole_clusters(analyse: ModuleType) -> None:
    table = population()
    for rows in analyse.resampled(table)[:5]:
        drawn = table.iloc[rows].groupby(["method", "width"]).size()
        assert (drawn % 4 == 0).all()
        assert drawn.sum() == 72


def test_a_second_measure_helps_where_two_are_needed(analyse: ModuleType) -> None:
    rows = analyse.second_measure(population()).set_index("behaviour")
    assert rows.loc["linear_agreement", "two"] > 0.95
    assert rows.loc["linear_agreement", "low"] > 0.1
    assert rows.loc["knn_accuracy", "one"] > 0.99
    assert rows.loc["knn_accuracy", "gain"] == pytest.approx(0, abs=0.01)


def test_stopping_by_a_measure_that_knows_keeps_the_best(analyse: ModuleType) -> None:
    table = population()
    cka = "backbone debiased_linear_cka"
    known, blind = analyse.stopping(table, ["knn_accuracy", cka], ["knn_accuracy"])
    assert (known["stopped"], known["low"], known["high"]) == (0.875, 0.875, 0.875)
    assert blind["stopped"] <= known["stopped"] - 0.5
    assert blind["low"] <= blind["stopped"] <= blind["high"]
    assert known["by_chance"] == pytest.approx(blind["stopped"], abs=0.25)
    with_loss, loss = analyse.turned_loss(table.assign(**{"10% loss": -table.knn_accuracy}), "10%")
    assert analyse.stopping(with_loss, [loss], ["knn_accuracy"], "method", 8)[0]["stopped"] == 0.875
    (of_method,) = analyse.stopping(table, [cka], ["knn_accuracy"], "method", 40)
    assert of_method["group"] == 12
    assert np.isnan(of_method["low"])  # all groups of a method are the same 12 students
    assert of_method["stopped"] <= known["stopped"] - 0.3


def test_pairs_of_equal_loss(analyse: ModuleType) -> None:
    table = population()
    table["backbone rankme_student"] = -table["backbone overlap@10"]
    table["100% loss"] = np.tile(np.repeat([1.0, 1.0001, 2.0], 4), 6) + np.tile([0.0, 0.1, 0.2, 0.3], 18)
    rows = analyse.equal_loss(table, ["knn_accuracy"]).set_index("measure")
    assert set(rows.pairs) == {6 * 4}  # the same run of two widths; no student is in two pairs
    assert rows.loc["backbone overlap@10", "seen"] > 0.95
    assert rows.loc["backbone rankme_student", "seen"] < 0.05
    assert rows.loc["backbone debiased_linear_cka", "low"] < 0.5 < rows.loc["backbone debiased_linear_cka", "high"]
    assert rows.typical.iloc[0] == pytest.approx(rows.all_pairs.iloc[0], rel=0.5)
    y = table.knn_accuracy.to_numpy().reshape(-1, 4)
    of_seeds = [abs(run[a] - run[b]) for run in y for a in range(4) for b in range(a)]
    assert rows.of_seeds.iloc[0] == pytest.approx(np.median(of_seeds))


def test_what_a_fault_changes_is_against_the_same_student_without_it(analyse: ModuleType) -> None:
    table = population().assign(part="grid", fault="none")
    table[analyse.CHANGED] = table.reindex(columns=analyse.CHANGED).fillna(0.5)
    broken = table[(table.seed == 0) & (table.width == 1.0)].assign(fault="inverted", part="fault")
    broken["knn_accuracy"] -= 0.25
    (row,) = analyse.faults(pd.concat([table, broken]))
    assert (row["fault"], row["students"]) == ("inverted", 6)
    assert row["knn_accuracy"] == pytest.approx(-0.25)
    assert row["backbone overlap@10"] == 0
    short = table[table.seed == 0].assign(part="length", samples=5, knn_accuracy=0.0)
    brief = table[table.seed == 0].assign(part="fault", samples=5, fault="tiny batches", knn_accuracy=0.5)
    (row,) = analyse.faults(pd.concat([table, short, brief]))
    assert row["knn_accuracy"] == 0.5


def test_students_of_labels_alone_are_compared_with_the_best_of_their_network(analyse: ModuleType) -> None:
    table = population().assign(part="grid")
    own = table.iloc[:1].assign(part="fault", method="from scratch", knn_accuracy=2.0)
    own.index = ["alone"]
    (row,) = analyse.without_a_teacher(pd.concat([table, own]))
    same = table[table.width == own.width.iloc[0]]
    assert row["own knn_accuracy"] == 2.0
    assert row["best knn_accuracy"] == same.knn_accuracy.max()


def test_which_of_two_measures_is_right_where_they_disagree(analyse: ModuleType) -> None:
    table = population()
    overlap, cka = "backbone overlap@10", "backbone debiased_linear_cka"
    found = analyse.opposed(table, overlap, cka, "knn_accuracy")
    a, b = np.triu_indices(len(table), 1)
    x, y, z = (table[name].to_numpy() for name in (overlap, cka, "knn_accuracy"))
    apart = (x[a] - x[b]) * (y[a] - y[b]) < 0
    assert found["pairs"] == apart.sum()
    assert found["right"] == ((x[a] > x[b]) == (z[a] > z[b]))[apart].mean()
    assert found["right"] > 0.98


def test_measures_that_disagree(analyse: ModuleType) -> None:
    table = population()
    first = analyse.disagreements(table, "backbone overlap@10", "backbone debiased_linear_cka", "knn_accuracy")[0]
    assert first["a backbone overlap@10"] > first["b backbone overlap@10"]
    assert first["a backbone debiased_linear_cka"] < first["b backbone debiased_linear_cka"]
    assert first["ranks_apart"] > 0.5


def test_paired_differences_and_holm(analyse: ModuleType) -> None:
    table = pd.DataFrame(
        {"method": ["a"] * 4 + ["b"] * 4, "seed": [0, 1, 2, 3] * 2, "x": [2.0, 3.5, 4.0, 5.5, 1.0, 2.0, 3.0, 4.0]}
    )
    (row,) = analyse.paired(table, "a", "b", ["x"])
    expected = stats.ttest_1samp([1.0, 1.5, 1.0, 1.5], 0)
    assert (row["difference"], row["seeds"], row["p"]) == (1.25, 4, pytest.approx(expected.pvalue))
    assert (row["low"], row["high"]) == pytest.approx(tuple(expected.confidence_interval()))
    corrected = analyse.holm([{"p": 0.01}, {"p": 0.04}, {"p": 0.03}])
    assert [row["holm"] for row in corrected] == pytest.approx([0.03, 0.06, 0.06])


@pytest.mark.skipif(not (RESULTS / "answers.json").exists(), reason="the study has no results yet")
def test_the_committed_answers_follow_from_the_table() -> None:
    table = pd.read_csv(RESULTS / "students.csv", index_col="name", low_memory=False)
    predicts = json.loads((RESULTS / "answers.json").read_text())["predicts"]
    assert len({row["behaviour"] for row in predicts}) >= 6
    for row in predicts:
        some = table.query(row["where"])
        assert len(some) == row["n"]
        assert row["spearman"] == pytest.approx(stats.spearmanr(some[row["measure"]], some[row["behaviour"]]).statistic)
        assert row["low"] <= row["spearman"] <= row["high"]


def test_every_column_of_the_table_is_described() -> None:
    text = (RESULTS / "COLUMNS.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)
    described = {name for cell in cells for name in re.findall(r"`(.+?)`", cell)}
    columns = set(pd.read_csv(RESULTS / "students.csv", nrows=0).columns)
    measured = {
        f"{share}{side} {measure.named(NEIGHBOURS)}"
        for share in ("", "10% ", "25% ", "50% ", "100% ")
        for side in ("backbone", "head")
        for measure in MEASURES
    } | {f"{share}% loss" for share in (10, 25, 50, 100)}
    assert columns - measured == described


def correlation(setting: str, measure: str, behaviour: str, every: pd.DataFrame) -> pd.Series:
    """A row of correlations.csv: of the grid, over all methods, at the end."""
    some = every[every["where"].str.contains("grid") & every.within.isna() & (every.share == "100%")]
    return some.set_index(["setting", "measure", "behaviour"]).loc[setting, f"backbone {measure}", behaviour]


def test_reports_and_documentation_say_what_the_study_found() -> None:
    every = pd.read_csv(RESULTS / "correlations.csv")
    for prediction in PREDICTIONS:
        rows = [correlation(name, PREDICTING.named(NEIGHBOURS), prediction.behaviour, every) for name in SETTINGS]
        assert tuple(round(row.spearman, 2) for row in rows) == prediction.spearman
        assert sum(row.n for row in rows) == STUDENTS
    page = (FOLDER.parents[1] / "docs/numbers.md").read_text(encoding="utf-8")
    lines = {"k-NN accuracy": "knn_accuracy", "linear accuracy, 1% of the labels": "linear_accuracy_1%",
             "order of inputs, Euclidean distance": "ood_rank_usual_euclidean"}  # fmt: skip
    columns = ("overlap@10", "procrustes", "debiased_linear_cka", "linear_r2", "rankme_student", "norm_correlation")
    for words, behaviour in lines.items():
        (line,) = re.findall(rf"^\| {words} \| (.+) \|$", page, re.MULTILINE)
        for cell, measure in zip(line.split(" | "), columns, strict=True):
            settings = [name for name in SETTINGS if (measure, name) != ("norm_correlation", "text")]
            values = [f"{correlation(name, measure, behaviour, every).spearman:.2f}" for name in settings]
            assert cell == " / ".join(values + ["-"] * (3 - len(values)))
    images = FOLDER.parents[1] / "docs/images"
    shown = [images / "predicts.png", images / "students.png", *images.glob("claim-*.png")]
    assert len(shown) == 2 + len(json.loads((RESULTS / "answers.json").read_text())["claims"])
    for image in shown:
        assert image.read_bytes() == (FOLDER.parents[1] / "figures/study" / image.name).read_bytes()


def test_the_text_of_the_study_has_the_numbers_of_its_table() -> None:
    every = pd.read_csv(RESULTS / "correlations.csv")
    text = " ".join((FOLDER / "README.md").read_text(encoding="utf-8").split())
    for words, behaviour in (
        ("k-NN accuracy", "knn_accuracy"),
        ("retrieval", "recall_1"),
        ("linear accuracy on it follows overlap with", "transfer_linear_accuracy"),
    ):
        values = [correlation(name, "overlap@10", behaviour, every).spearman for name in SETTINGS]
        assert f"{words} {' / '.join(f'{value:.2f}' for value in values)}" in text
    table = pd.read_csv(RESULTS / "students.csv", index_col="name", low_memory=False)
    assert f"{len(table)} students: " in text
    found = json.loads((RESULTS / "answers.json").read_text())
    (gain,) = (
        row
        for row in found["claims"]["coss"]
        if (row["one"], row["other"], row["optimiser"]) == ("coss", "coss 0", "adamw")
        and row["column"] == "backbone overlap@10"
    )
    words = f"{gain['difference']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f}, Holm p {gain['holm']:.3f})"
    for page in (text, " ".join((FOLDER.parents[1] / "docs/claims.md").read_text(encoding="utf-8").split())):
        assert words in page
    means = table[(table.part == "grid")].groupby(["setting", "method"]).mean(numeric_only=True)
    advice = " ".join((FOLDER.parents[1] / "docs/distilling.md").read_text(encoding="utf-8").split())
    overlap, norms = "backbone overlap@10", "backbone norm_correlation"
    assert f"{means.loc[('fashion', 'ckd'), overlap]:.3f} for CKD on features" in advice
    assert (
        f"CKD had {means.loc[('text', 'ckd'), overlap]:.3f}, TinTeM {means.loc[('text', 'tintem'), overlap]:.3f}"
        in advice
    )
    assert f"at its head and {means.loc[('fashion', 'mse'), norms]:.2f} at its backbone" in advice


@pytest.mark.parametrize(
    ("label", "method", "network", "optimiser"),
    [
        ("cosine (CoSS 0)", "coss 0", "conv4", "adamw"),
        ("CoSS 1", "coss", "conv4", "adamw"),
        ("CoSS 1, the paper's SGD", "coss", "conv4", "paper"),
        ("TinTeM, learned head", "tintem", "conv4-signed", "adamw"),
        ("PCA head", "tintem pca", "conv4-signed", "adamw"),
        ("cosine, no last ReLU", "coss 0", "conv4-signed", "adamw"),
    ],
)
def test_the_page_of_claims_has_the_means_of_the_table(label: str, method: str, network: str, optimiser: str) -> None:
    means = json.loads((RESULTS / "answers.json").read_text())["claim_means"]
    (arm,) = (
        arm
        for arm in means
        if (arm["method"], arm["network"], arm["optimiser"], arm["batch"]) == (method, network, optimiser, 128)
    )
    assert arm["seeds"] == 6
    columns = ("backbone overlap@10", "backbone overlap@10:euclidean", "backbone debiased_linear_cka",
               "backbone norm_correlation", "knn_accuracy", "knn_agreement")  # fmt: skip
    page = (FOLDER.parents[1] / "docs/claims.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| {re.escape(label)} \| (.+) \|$", page, re.MULTILINE)
    assert row.split(" | ") == [f"{arm[column]:.3f}" for column in columns]


def test_intervals_hold_for_all_measures_at_once(analyse: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analyse, "DRAWS", 100)
    rng = np.random.default_rng(0)
    names = [f"backbone m{turn}" for turn in range(8)]
    held = 0
    for _ in range(40):
        clusters = np.repeat(rng.normal(size=(30, 9)), 3, axis=0) + 0.3 * rng.normal(size=(90, 9))
        table = pd.DataFrame(clusters, columns=[*names, "knn_accuracy"])
        table = table.assign(
            setting="s", method=np.repeat([f"m{turn}" for turn in range(30)], 3), network="n", width=1.0
        )
        found = analyse.predictions(table)
        held += bool(((found.low <= 0) & (found.high >= 0)).all())
    assert 34 <= held <= 40
