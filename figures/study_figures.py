"""The figures of experiments/study, from its table, its correlations and its answers.

predicts      how well measures order students by what they do, a panel a setting
early         the same at 10%, 25% and all of the training
students      two measures against k-NN accuracy, a mark a student
claim-*       the claims of a paper: paired differences with intervals
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
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
    zero_line,
)
from manifold_probe.report.figures.look import MAP_COLOURS, Look, colour, line, marker

RESULTS = Path(__file__).resolve().parent.parent / "experiments/study/results"
SETTINGS = {"fashion": "images", "composite": "composites", "text": "texts"}
MEASURES = ("overlap@10", "debiased_linear_cka", "linear_r2", "norm_correlation", "rankme_student", "knn_agreement@10")
WATCHED = ("overlap@10", "debiased_linear_cka", "norm_correlation", "knn_agreement@10")
BEHAVIOURS = {
    "knn_accuracy": "k-NN accuracy",
    "linear_accuracy": "linear accuracy",
    "linear_accuracy_1%": "linear accuracy, 1% of labels",
    "transfer_knn_accuracy": "k-NN accuracy, other task",
    "transfer_linear_accuracy": "linear accuracy, other task",
    "recall_1": "retrieval, recall@1",
    "ood_auroc_cosine": "OOD, AUROC of cosine",
    "ood_auroc_mahalanobis": "OOD, AUROC of Mahalanobis",
    "corruption_accuracy": "accuracy on corrupted images",
    "knn_agreement": "k-NN agreement",
    "linear_agreement": "linear agreement",
    "corruption_agreement": "agreement on corrupted images",
    "neighbour_recall": "neighbour recall",
    "ood_rank_usual_cosine": "rank of OOD scores, cosine",
    "ood_rank_usual_euclidean": "rank of OOD scores, Euclidean",
    "ood_rank_usual_mahalanobis": "rank of OOD scores, Mahalanobis",
}
CLAIMED = {  # a panel each
    "backbone overlap@10": "overlap@10",
    "backbone debiased_linear_cka": "CKA",
    "backbone norm_correlation": "norm corr.",
    "knn_accuracy": "k-NN acc.",
    "logit_accuracy": "accuracy",
    "logit_agreement": "agreement",
}
OPTIMISERS = {"adamw": "AdamW", "paper": "the paper's optimiser"}
METHODS = {
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
    "ckd logits tau 0.25": "CKD 0.25",
    "ckd logits tau 4": "CKD 4",
    "from scratch": "no teacher",
    "kd": "KD",
    "dkd": "DKD",
    "dist": "DIST",
}


def drawn(look: Look) -> dict[str, Figure]:
    """All figures by name."""
    table = pd.read_csv(RESULTS / "students.csv", index_col="name", low_memory=False)
    correlations = pd.read_csv(RESULTS / "correlations.csv")
    answers = json.loads((RESULTS / "answers.json").read_text())
    figures = {
        "predicts": predicts(correlations, look),
        "early": early(correlations, look),
        "students": students(table, look),
    }
    families = {name: rows for name, rows in answers["claims"].items() if rows}
    return figures | {f"claim-{name}": claim(rows, look) for name, rows in families.items()}


def predicts(correlations: pd.DataFrame, look: Look) -> Figure:
    """Spearman's correlations of measures at the backbone with behaviours, over all sound students of a setting."""
    final = correlations[~correlations["where"].str.contains("grid") & correlations.within.isna()]
    settings = [name for name in SETTINGS if (final.setting == name).any()]
    rows = [name for name in BEHAVIOURS if (final.behaviour == name).any()]
    figure = sheet(look, (len(rows) + 2) * look.row * 1.25)
    panels = figure.subplots(1, len(settings), sharey=True, squeeze=False)[0]
    for axes, setting in zip(panels, settings, strict=True):
        some = final[final.setting == setting].set_index(["measure", "behaviour"])
        for turn, measure in enumerate(MEASURES):
            style = {"color": colour(turn), "marker": marker(turn), "linestyle": "none", "markersize": 0.8 * look.mark}
            places = [place for place, name in enumerate(rows) if (f"backbone {measure}", name) in some.index]
            values = [some.loc[(f"backbone {measure}", rows[place]), "spearman"] for place in places]
            axes.plot(values, places, **style)
        zero_line(axes)
        axes.set_xlim(-1.05, 1.05)
        axes.set_xticks([-1, 0, 1], labels=["\N{MINUS SIGN}1", "0", "1"])
        axes.grid(axis="both")
        axes.set_title(f"{SETTINGS[setting]}\nn = {int(some.n.iloc[0])}")
    rows_axis(panels[0], [BEHAVIOURS[name] for name in rows])
    for axes in panels[1:]:
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    panels[len(panels) // 2].set_xlabel("Spearman's correlation with the behaviour over students")
    samples = [
        sample_line(printed(name), color=colour(turn), marker=marker(turn), linestyle="none")
        for turn, name in enumerate(MEASURES)
    ]
    legend_below(figure, look, samples)
    return finish(figure)


def early(correlations: pd.DataFrame, look: Look) -> Figure:
    """How measures and the loss at shares of the training order the students of a method at its end."""
    grid = correlations["where"].str.contains("grid") & (correlations.setting == "fashion")
    within = correlations[grid & (correlations.within == "method")]
    targets = {name: words for name, words in BEHAVIOURS.items() if name in ("knn_accuracy", "knn_agreement")}
    shares = {"10%": 10, "25%": 25, "50%": 50, "100%": 100}
    columns = [*WATCHED, "-loss"]
    figure = sheet(look, 0.42 * look.width)
    panels = figure.subplots(1, len(targets), sharey=True)
    for axes, (target, words) in zip(panels, targets.items(), strict=True):
        for turn, column in enumerate(columns):
            points = {}
            for share, place in shares.items():
                name = f"-{share} loss" if column == "-loss" else f"{share} backbone {column}"
                row = within[(within.measure == name) & (within.behaviour == target)]
                if len(row):
                    points[place] = row.spearman.iloc[0]
            axes.plot(
                list(points), list(points.values()), color=colour(turn), marker=marker(turn), linestyle=line(turn)
            )
        axes.set_xticks(list(shares.values()), labels=list(shares))
        axes.set_xlabel("share of the training")
        axes.set_title(words)
        axes.grid(axis="y")
    panels[0].set_ylabel("Spearman's correlation\nwithin a method")
    names = [*(printed(name) for name in WATCHED), "loss (its negative)"]
    legend_below(
        figure,
        look,
        [
            sample_line(name, color=colour(turn), marker=marker(turn), linestyle=line(turn))
            for turn, name in enumerate(names)
        ],
    )
    return finish(figure)


def students(table: pd.DataFrame, look: Look) -> Figure:
    """Overlap and CKA against k-NN accuracy, a mark a student of Fashion-MNIST."""
    some = table[(table.setting == "fashion") & (table.fault == "none") & (table.part != "claim")]
    figure = sheet(look, 0.45 * look.width)
    panels = figure.subplots(1, 2, sharey=True)
    methods = list(some.method.unique())
    for axes, measure in zip(panels, ("overlap@10", "debiased_linear_cka"), strict=True):
        for turn, method in enumerate(methods):
            rows = some[some.method == method]
            style = {
                "color": MAP_COLOURS[turn % len(MAP_COLOURS)],
                "marker": marker(turn),
                "linestyle": "none",
                "markersize": 0.8 * look.mark,
            }
            axes.plot(rows[f"backbone {measure}"], rows.knn_accuracy, **style)
        axes.set_xlabel(printed(measure))
        axes.grid(axis="both")
    panels[0].set_ylabel("k-NN accuracy on test images")
    legend_below(
        figure,
        look,
        [
            sample_line(method, color=MAP_COLOURS[turn % len(MAP_COLOURS)], marker=marker(turn), linestyle="none")
            for turn, method in enumerate(methods)
        ],
    )
    return finish(figure)


def claim(rows: list[dict[str, Any]], look: Look) -> Figure:
    """Paired differences of a paper's claims: a row a contrast, a panel a measure or behaviour, both optimisers."""
    contrasts = list(dict.fromkeys(contrast(row) for row in rows))
    columns = [name for name in CLAIMED if any(row["column"] == name for row in rows)]
    optimisers = [name for name in OPTIMISERS if any(row["optimiser"] == name for row in rows)]
    figure = sheet(look, (len(contrasts) + 2) * look.row * 1.6)
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for axes, column in zip(panels, columns, strict=True):
        for row in (row for row in rows if row["column"] == column):
            turn = optimisers.index(row["optimiser"])
            place = dodged(contrasts.index(contrast(row)), len(optimisers))[turn]
            style = {"color": colour(turn), "marker": marker(turn), "markersize": 0.8 * look.mark}
            axes.plot([row["difference"]], [place], **style)
            interval(axes, row["low"], row["high"], place, look)
        zero_line(axes)
        axes.grid(axis="both")
        axes.margins(x=0.1)
        axes.set_title(CLAIMED[column])
        axes.locator_params(axis="x", nbins=2)
    rows_axis(panels[0], contrasts)
    for axes in panels[1:]:
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    panels[len(panels) // 2].set_xlabel("paired difference over seeds")
    samples = [
        sample_line(OPTIMISERS[name], color=colour(turn), marker=marker(turn), linestyle="none")
        for turn, name in enumerate(optimisers)
    ]
    legend_below(figure, look, [*samples, interval_sample(look)])
    return finish(figure)


def contrast(row: dict[str, Any]) -> str:
    """The contrast of a paired difference in words."""
    where = f" (batches of {row['batch']})" if row.get("batch", 64) != 64 else ""
    where += " (no ReLU)" if row.get("network") == "conv4-signed" else ""
    return f"{METHODS.get(row['one'], row['one'])} \N{MINUS SIGN} {METHODS.get(row['other'], row['other'])}{where}"
