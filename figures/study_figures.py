"""The figures of experiments/study, from its table and what analyse.py made of it.

predicts      how well measures order students by what they do, a panel a setting
early         how well they do so during the training
students      two measures against k-NN accuracy, a mark a student of images
claim-*       the claims of a paper: paired differences with intervals
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from manifold_probe.measures.catalogue import printed
from manifold_probe.report.figures.canvas import (
    dodged,
    finish,
    interval,
    interval_sample,
    legend_below,
    rows_axis,
    sample_line,
    sheet,
    value_axis,
    zero_line,
)
from manifold_probe.report.figures.look import GREY, INK, MAP_COLOURS, Look, colour, line, marker

RESULTS = Path(__file__).resolve().parent.parent / "experiments/study/results"
SETTINGS = {"fashion": "images", "composite": "composites", "text": "texts"}
MEASURES = ("overlap@10", "procrustes", "debiased_linear_cka", "linear_r2", "rankme_student", "norm_correlation")
SHAPES = "os^DvPp<>h"  # of students
WATCHED = {"overlap@10": "overlap@10", "debiased_linear_cka": "debiased linear CKA", "loss": "loss (its negative)"}
BEHAVIOURS = {
    "knn_accuracy": "k-NN accuracy",
    "linear_accuracy": "linear accuracy",
    "linear_accuracy_1%": "linear accuracy, 1% of the labels",
    "recall_1": "retrieval, recall@1",
    "knn_agreement": "the teacher's decisions, k-NN",
    "linear_agreement": "the teacher's decisions, linear",
    "neighbour_recall": "the teacher's search results",
    "transfer_linear_accuracy": "another task, linear accuracy",
    "corruption_accuracy": "accuracy on corrupted images",
    "ood_auroc_cosine": "detecting unusual inputs",
    "ood_rank_usual_cosine": "order of inputs, cosine distance",
    "ood_rank_usual_euclidean": "order of inputs, Euclidean distance",
}
CLAIMED = {  # a panel each
    "backbone overlap@10": "overlap@10",
    "backbone debiased_linear_cka": "debiased\nCKA",
    "backbone norm_correlation": "norm\ncorrelation",
    "logit_accuracy": "accuracy\nof the logits",
    "logit_agreement": "agreement\nof the logits",
    "knn_accuracy": "k-NN\naccuracy",
}
OPTIMISERS = {"adamw": "AdamW, a chosen rate", "paper": "the paper's optimiser and rate"}
METHODS = {
    "coss": "CoSS",
    "cosine": "cosine",
    "mse": "MSE",
    "tintem": "TinTeM",
    "ckd": "CKD",
    "seed": "SEED",
    "compress": "CompRess",
    "rkd": "RKD",
    "sp": "SP",
    "pkt": "PKT",
}
ARMS = {  # of the claims
    "coss 0": "cosine",
    "coss 0.5": "CoSS 0.5",
    "coss": "CoSS 1",
    "coss 0 neighbours": "cosine, neighbours",
    "coss neighbours": "CoSS 1, neighbours",
    "tintem": "TinTeM",
    "tintem tokens": "with tokens",
    "tintem pca": "PCA head",
    "tintem orthogonal": "orthogonal head",
    "ckd logits": "CKD",
    "from scratch": "no teacher",
    "kd": "KD",
    "dkd": "DKD",
    "dist": "DIST",
}
TEMPERATURES = {"ckd logits tau 0.25": "tau 0.25", "ckd logits": "tau 1", "ckd logits tau 4": "tau 4"}


def drawn(look: Look) -> dict[str, Figure]:
    """All figures by name."""
    table = pd.read_csv(RESULTS / "students.csv", index_col="name", low_memory=False)
    correlations = pd.read_csv(RESULTS / "correlations.csv")
    answers = json.loads((RESULTS / "answers.json").read_text())
    grid = correlations[correlations["where"].str.contains("grid")]
    figures = {
        "predicts": predicts(grid[grid.within.isna() & (grid.share == "100%")], look),
        "early": early(grid[grid.within == "method"], look),
        "students": students(table, look),
    }
    return figures | {f"claim-{name}": claim(rows, name, look) for name, rows in answers["claims"].items()}


def predicts(final: pd.DataFrame, look: Look) -> Figure:
    """Spearman's correlations of measures at the backbone with behaviours, over the students of a setting's grid."""
    rows = list(BEHAVIOURS)
    figure = sheet(look, (len(rows) * 0.5 * len(MEASURES) + 2) * look.row)
    body = figure.subfigures()
    panels = body.subplots(1, len(SETTINGS), sharey=True)
    for axes, (setting, words) in zip(panels, SETTINGS.items(), strict=True):
        some = final[final.setting == setting].set_index(["measure", "behaviour"])
        for place, name in enumerate(rows):
            if name not in some.index.get_level_values(1):
                axes.text(0.08, place, "not measured", color=GREY, ha="center", va="center", backgroundcolor="white")
            for turn, (measure, at) in enumerate(zip(MEASURES, dodged(place, len(MEASURES), 0.72), strict=True)):
                key = (f"backbone {measure}", name)
                if key in some.index:
                    _mark(axes, some.loc[key], some.loc[key].spearman, at, turn, look)
        zero_line(axes)
        axes.set_xlim(-0.9, 1.05)
        axes.set_xticks([-0.5, 0, 0.5, 1], labels=["\N{MINUS SIGN}0.5", "0", "0.5", "1"])
        axes.grid(axis="x")
        axes.set_title(f"{words}\nn = {int(some.n.iloc[0])}")
        for border in range(1, len(rows)):
            axes.axhline(border - 0.5, color=GREY, linewidth=0.3)
    _named(panels, [BEHAVIOURS[name] for name in rows])
    body.supxlabel("Spearman's correlation with the behaviour, over students", fontsize=look.text)
    names = [printed(name) + " (not for texts)" * (name == "norm_correlation") for name in MEASURES]
    legend_below(figure, look, [*_samples(names), interval_sample(look, "95% interval, for all measures")])
    return finish(figure)


def early(within: pd.DataFrame, look: Look) -> Figure:
    """How measures and the loss at shares of the training order the students of a method by their final accuracy."""
    shares = ("10%", "25%", "50%", "100%")
    figure = sheet(look, 0.4 * look.width)
    body = figure.subfigures()
    panels = body.subplots(1, len(SETTINGS), sharey=True)
    for axes, (setting, words) in zip(panels, SETTINGS.items(), strict=True):
        some = within[(within.setting == setting) & (within.behaviour == "knn_accuracy")].set_index("measure")
        for turn, measure in enumerate(WATCHED):
            names = [f"-{share} loss" if measure == "loss" else f"{share} backbone {measure}" for share in shares]
            places = [dodged(place, len(WATCHED), 0.6)[turn] for place in range(len(shares))]
            style = {"color": colour(turn), "marker": marker(turn), "linestyle": line(turn)}
            axes.plot(places, some.loc[names, "spearman"], **style, markersize=0.8 * look.mark)
            for place, name in zip(places, names, strict=True):
                axes.vlines(
                    place, some.loc[name, "low"], some.loc[name, "high"], color=colour(turn), linewidth=look.line
                )
        axes.axhline(0, color=INK, linewidth=0.6, zorder=0.5)
        axes.set_xticks(range(len(shares)), labels=shares)
        axes.set_xlim(-0.45, len(shares) - 0.55)
        axes.set_title(f"{words}\nn = {int(some.n.iloc[0])}")
        axes.grid(axis="y")
    panels[0].set_ylabel("Spearman's correlation with\nfinal k-NN accuracy,\nwithin a method")
    body.supxlabel("share of the training", fontsize=look.text)
    vertical = sample_line("95% interval", color=GREY, marker="|", linestyle="none", markersize=2 * look.mark)
    legend_below(figure, look, [*_samples(list(WATCHED.values()), lines=True), vertical])
    return finish(figure)


def students(table: pd.DataFrame, look: Look) -> Figure:
    """Overlap and CKA against k-NN accuracy, a mark a student of Fashion-MNIST."""
    grid = table[(table.setting == "fashion") & (table.part == "grid")]
    labels = table[(table.setting == "fashion") & (table.part == "fault") & (table.method == "from scratch")]
    untaught = {"color": INK, "marker": "x", "linestyle": "none"}
    figure = sheet(look, 0.45 * look.width)
    panels = figure.subplots(1, 2, sharey=True)
    styles = {
        method: {"color": MAP_COLOURS[turn], "marker": SHAPES[turn], "linestyle": "none"}
        for turn, method in enumerate(METHODS)
    }
    for axes, measure in zip(panels, ("overlap@10", "debiased_linear_cka"), strict=True):
        for method, style in styles.items():
            rows = grid[grid.method == method]
            axes.plot(rows[f"backbone {measure}"], rows.knn_accuracy, **style, markersize=0.7 * look.mark)
        axes.plot(labels[f"backbone {measure}"], labels.knn_accuracy, **untaught)
        axes.set_xlabel(printed(measure))
        axes.grid(axis="both")
    panels[0].set_ylabel("k-NN accuracy on test images")
    samples = [sample_line(METHODS[method], **style) for method, style in styles.items()]
    legend_below(figure, look, [*samples, sample_line("labels, no teacher", **untaught)])
    return finish(figure)


def claim(rows: list[dict[str, Any]], family: str, look: Look) -> Figure:
    """Paired differences of a paper's claims: a row a contrast, a panel a measure or behaviour, both optimisers."""
    contrasts = list(dict.fromkeys(contrast(row, family) for row in rows))
    columns = [name for name in CLAIMED if any(row["column"] == name for row in rows)]
    optimisers = [name for name in OPTIMISERS if any(row["optimiser"] == name for row in rows)]
    figure = sheet(look, (len(contrasts) + 2) * look.row * 1.6)
    body = figure.subfigures()
    panels = body.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for axes, column in zip(panels, columns, strict=True):
        shown = [row for row in rows if row["column"] == column]
        for row in shown:
            turn = optimisers.index(row["optimiser"])
            place = dodged(contrasts.index(contrast(row, family)), len(optimisers))[turn]
            _mark(axes, row, row["difference"], place, turn, look, filled=row["holm"] < 0.05)
        zero_line(axes)
        low, high = min(row["low"] for row in shown), max(row["high"] for row in shown)
        value_axis(axes, "x", min(low, 0), max(high, 0), most=None, ticks=3)
        axes.grid(axis="both")
        axes.set_title(CLAIMED[column])
    _named(panels, contrasts)
    seeds = sorted({row["seeds"] for row in rows})
    body.supxlabel(f"difference, paired by seed ({' or '.join(map(str, seeds))} seeds)", fontsize=look.text)
    hollow = sample_line("hollow: not significant (Holm)", color=GREY, marker="o", linestyle="none", mfc="white")
    names = [OPTIMISERS[name] for name in optimisers]
    legend_below(figure, look, [*_samples(names), interval_sample(look), hollow])
    return finish(figure)


def contrast(row: dict[str, Any], family: str) -> str:
    """The contrast of a paired difference in words."""
    names = ARMS | TEMPERATURES if family == "temperature" else ARMS
    words = f"{names[row['one']]} \N{MINUS SIGN} {names[row['other']]}"
    if family in ("temperature", "batch"):
        return f"{words}, batches of {row['batch']}"
    return words + (", no last ReLU" if row.get("network") == "conv4-signed" else "")


def _mark(axes: Axes, ends: Any, value: float, place: float, turn: int, look: Look, filled: bool = True) -> None:
    """A value with its interval in a row."""
    interval(axes, ends["low"], ends["high"], place, look)
    style = {"color": colour(turn), "marker": marker(turn), "markersize": 0.6 * look.mark, "zorder": 4}
    axes.plot([value], [place], **style, markerfacecolor=colour(turn) if filled else "white")


def _named(panels: Any, names: list[str]) -> None:
    """Panels next to each other with the same named rows."""
    rows_axis(panels[0], names)
    for axes in panels[1:]:
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)


def _samples(names: list[str], lines: bool = False) -> list[Any]:
    """The entries of a legend, one a name."""
    return [
        sample_line(name, color=colour(turn), marker=marker(turn), linestyle=line(turn) if lines else "none")
        for turn, name in enumerate(names)
    ]
