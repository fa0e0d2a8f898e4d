"""The study's questions, answered from results/students.csv alone.

    python experiments/study/analyse.py          under a minute

results/answers.json         the answers
results/correlations.csv     every measure with every behaviour, at the end of the training and at shares of it
results/tables.md            both as tables

Rank correlations are Spearman's. Their intervals come from a bootstrap of the clusters (method, network, width),
because students of a cluster are alike; in 95% of samples they hold for all measures at once, so for the one that was
best, too. Measures are of the backbone, on rows held out of training; behaviours are of test rows. What is higher is
better, but for ood_fpr95.
"""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

RESULTS = Path(__file__).resolve().parent / "results"
CLUSTER = ["method", "network", "width"]
DRAWS, LEVEL = 1_000, 0.05
ALMOST_ONE = 1 - 1e-9  # Fisher's scale has no place for 1
EARLY = ("10%", "25%", "50%")  # shares of the training
SETTINGS = ("fashion", "composite", "text")
BEHAVIOURS = (
    "knn_accuracy", "linear_accuracy", "linear_accuracy_10%", "linear_accuracy_1%", "knn_agreement", "linear_agreement",
    "knn_agreement_excess", "linear_agreement_excess", "transfer_knn_accuracy", "transfer_linear_accuracy", "recall_1",
    "recall_10", "neighbour_recall", "ood_auroc_cosine", "ood_auroc_euclidean", "ood_auroc_mahalanobis",
    "ood_rank_cosine", "ood_rank_euclidean", "ood_rank_mahalanobis", "ood_rank_usual_cosine",
    "ood_rank_usual_euclidean", "ood_rank_usual_mahalanobis", "corruption_accuracy", "corruption_agreement",
)  # fmt: skip
EQUAL = 0.01  # losses that differ by less, relative to the larger, are called equal
SEEING = ("backbone overlap@10", "backbone debiased_linear_cka", "backbone rankme_student")
LABELLED = ("knn_agreement", "knn_kappa", "knn_accuracy")  # measures that need labels
SOUND = "fault == 'none' and part != 'claim' and setting == '{setting}'"
SAME_LENGTH = "part == 'grid' and setting == '{setting}'"


def measures_of(table: pd.DataFrame, prefix: str = "backbone ") -> list[str]:
    """The columns with a measure of the student: known for all rows, and not the same for all."""
    columns = [name for name in table if name.startswith(prefix) and "teacher" not in name]
    return [name for name in columns if table[name].notna().all() and table[name].nunique() > 1]


def behaviours_of(table: pd.DataFrame) -> list[str]:
    """The behaviours that are known for all rows."""
    return [name for name in BEHAVIOURS if name in table and table[name].notna().all() and table[name].nunique() > 1]


def needs_labels(measure: str) -> bool:
    """Whether a measure needs labels."""
    return any(f" {name}" in measure for name in LABELLED)


# ---- rank correlations


def correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson's correlations (p, q) of columns (n, p) with columns (n, q)."""
    x, y = (columns - columns.mean(0) for columns in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (x / np.linalg.norm(x, axis=0)).T @ (y / np.linalg.norm(y, axis=0))


def resampled(table: pd.DataFrame, seed: int = 0) -> list[np.ndarray]:
    """Row numbers of DRAWS samples of whole clusters, with replacement."""
    clusters = list(table.reset_index(drop=True).groupby(CLUSTER).indices.values())
    rng = np.random.default_rng(seed)
    return [
        np.concatenate([clusters[pick] for pick in rng.integers(len(clusters), size=len(clusters))])
        for _ in range(DRAWS)
    ]


def ranked(table: pd.DataFrame, columns: list[str], within: str | None) -> np.ndarray:
    """Ranks (n, p) of columns; ``within``: about their mean within the groups of this column, from 0 to 1."""
    if within is None:
        return table[columns].rank().to_numpy()
    ranks = table.groupby(within)[columns].rank(pct=True)
    return (ranks - ranks.groupby(table[within]).transform("mean")).to_numpy()


def predictions(
    table: pd.DataFrame,
    within: str | None = None,
    columns: list[str] | None = None,
    targets: list[str] | None = None,
) -> pd.DataFrame:
    """Spearman's correlation of every measure with every behaviour, with an interval that holds for all measures.

    ``within`` "method" asks whether the measure orders the students of a method, whatever the methods' order is.
    """
    measures, targets = columns or measures_of(table), targets or behaviours_of(table)
    x, y = ranked(table, measures, within), ranked(table, targets, within)
    value = correlations(x, y)
    draws = []
    for rows in resampled(table):
        one, other = x[rows], y[rows]
        if within is None:
            one, other = stats.rankdata(one, axis=0), stats.rankdata(other, axis=0)
        draws.append(correlations(one, other))
    low, high = simultaneous(value, np.array(draws))
    return pd.DataFrame(
        [
            {"behaviour": target, "measure": measure, "labels": needs_labels(measure), "n": len(table),
             "spearman": value[i, j], "low": low[i, j], "high": high[i, j]}
            for j, target in enumerate(targets)
            for i, measure in enumerate(measures)
        ]
    )  # fmt: skip


def simultaneous(value: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intervals (p, q) of correlations (p, q) with q targets that hold for all p measures at once, from draws of them.

    On Fisher's scale: the deviation over the draws, times the 95% quantile of the largest distance of a draw from the
    value, in deviations, among the measures. NaN where all draws are equal: too few students to say anything.
    """
    centre, drawn = (np.arctanh(np.clip(r, -ALMOST_ONE, ALMOST_ONE)) for r in (value, draws))
    deviation = np.nanstd(drawn, axis=0)
    deviation[deviation < 1e-12] = np.nan
    largest = np.nanmax(np.abs(drawn - centre) / deviation, axis=1)
    reach = np.quantile(largest, 1 - LEVEL, axis=0) * deviation
    return np.tanh(centre - reach), np.tanh(centre + reach)


def best_of(found: pd.DataFrame, labels: bool) -> pd.DataFrame:
    """The measure with the greatest correlation for every behaviour, of those that need labels or of the others."""
    return greatest(found[found.labels == labels])


def greatest(found: pd.DataFrame) -> pd.DataFrame:
    """The row with the greatest correlation, of either sign, for every behaviour."""
    return found.loc[found.spearman.abs().groupby(found.behaviour, sort=False).idxmax()]


# ---- a second measure


def left_out(table: pd.DataFrame, target: str, measures: list[str], count: int) -> np.ndarray:
    """What a regression on ``count`` measures predicts (n,) for the students of each method, from all others.

    The measures are chosen on the other methods too: the first has the greatest squared correlation with the target,
    the second with what the first leaves.
    """
    x = stats.zscore(table[measures].to_numpy())
    y, predicted = table[target].to_numpy(), np.empty(len(table))
    for rows in table.reset_index(drop=True).groupby("method").indices.values():
        rest = np.setdiff1d(np.arange(len(table)), rows)
        chosen: list[int] = []
        remainder = y[rest] - y[rest].mean()
        for _ in range(count):
            chosen.append(int(np.nanargmax(np.abs(correlations(x[rest], remainder[:, None])[:, 0]))))
            design = np.column_stack([np.ones(len(rest)), x[np.ix_(rest, chosen)]])
            weights, *_ = np.linalg.lstsq(design, y[rest], rcond=None)
            remainder = y[rest] - design @ weights
        predicted[rows] = np.column_stack([np.ones(len(rows)), x[np.ix_(rows, chosen)]]) @ weights
    return predicted


def second_measure(table: pd.DataFrame) -> pd.DataFrame:
    """R2 on the method left out with one measure and with two, and the gain with its interval over clusters."""
    measures = [name for name in measures_of(table) if not needs_labels(name)]
    rows, samples = [], resampled(table)
    for target in behaviours_of(table):
        y = table[target].to_numpy()
        errors = [(y - left_out(table, target, measures, count)) ** 2 for count in (1, 2)]
        total = (y - y.mean()) ** 2
        gains = [(errors[0][draw].sum() - errors[1][draw].sum()) / total[draw].sum() for draw in samples]
        low, high = np.quantile(gains, [LEVEL / 2, 1 - LEVEL / 2])
        r2 = [1 - error.sum() / total.sum() for error in errors]
        rows.append({"behaviour": target, "one": r2[0], "two": r2[1], "gain": r2[1] - r2[0], "low": low, "high": high})
    return pd.DataFrame(rows)


# ---- early warning


def turned_loss(table: pd.DataFrame, share: str) -> tuple[pd.DataFrame, str]:
    """The table with the loss at a share of the training as a measure, its sign turned, and the name of that column."""
    loss = f"{share} loss"
    return table.assign(**{f"-{loss}": -table[loss]}), f"-{loss}"


def early(table: pd.DataFrame, share: str, targets: list[str], within: str | None = None) -> pd.DataFrame:
    """How measures at a share of the training order students as their behaviour at its end does.

    Within a method the loss is one of them.
    """
    measures = measures_of(table, f"{share} backbone ")
    if within is not None:
        table, loss = turned_loss(table, share)
        measures = [*measures, loss]
    return predictions(table, within, measures, targets).assign(share=share)


def stopping(
    table: pd.DataFrame, share: str, measure: str, target: str, within: str | None = None, group: int = 16
) -> dict[str, Any]:
    """What is lost when the worse runs are stopped early.

    Of DRAWS random groups of students (``within`` "method": of one method each) the share with the smallest early
    ``measure`` is stopped. ``stopped`` is the largest share, in eighths of a group or students, at which the best
    student that is left is within ``tolerance`` of the group's best in 95% of the groups; ``by_chance`` the same for a
    random choice. The tolerance is the standard deviation of the target over the seeds of a cluster: what another seed
    would change.
    """
    rng = np.random.default_rng(0)
    spread = table.groupby(CLUSTER)[target].std().dropna()
    tolerance = float(np.sqrt((spread**2).mean()))
    pools = [np.arange(len(table))]
    if within is not None:
        pools = list(table.reset_index(drop=True).groupby(within).indices.values())
    group = min(group, *map(len, pools))
    counts = np.arange(0, group, max(1, group // 8))
    x, y = table[measure].to_numpy(), table[target].to_numpy()
    losses: dict[str, list[list[float]]] = {"stopped": [], "by_chance": []}
    for _ in range(DRAWS):
        rows = rng.choice(pools[rng.integers(len(pools))], group, replace=False)
        for name, order in (("stopped", rows[np.argsort(x[rows])]), ("by_chance", rng.permutation(rows))):
            losses[name].append([y[rows].max() - y[order[count:]].max() for count in counts])
    kept = {name: (np.array(values) <= tolerance).mean(0) for name, values in losses.items()}
    return {
        "share": share, "measure": measure, "behaviour": target, "within": within, "tolerance": tolerance,
        "group": group, "n": len(table),
        **{name: float(counts[np.flatnonzero(good >= 0.95).max()] / group) for name, good in kept.items()},
    }  # fmt: skip


def early_answers(
    table: pd.DataFrame, targets: list[str]
) -> tuple[list[pd.DataFrame], list[dict[str, Any]], list[dict[str, Any]]]:
    """All early correlations, the best measure of each behaviour, and how many runs can be stopped."""
    every, best, stopped = [], [], []
    seeds = bool((table.groupby(CLUSTER).seed.nunique() > 1).any())
    for share in (*EARLY, "100%"):
        also = ["backbone overlap@10"] if share in EARLY else []  # at the end it would predict itself
        for within in (None, "method"):
            found = early(table, share, targets + also, within).assign(within=within)
            every.append(found)
            if share in EARLY:
                best += greatest(found).to_dict("records")
        if share in EARLY and seeds:
            overlap = f"{share} backbone overlap@10"
            with_loss, loss = turned_loss(table, share)
            for target in targets + also:
                stopped.append(stopping(table, share, overlap, target))
                stopped += [stopping(with_loss, share, measure, target, "method", 8) for measure in (overlap, loss)]
    return every, best, stopped


# ---- equal loss


def equal_loss(table: pd.DataFrame, targets: list[str]) -> pd.DataFrame:
    """Pairs of students of one method and number of samples whose final losses differ by less than 1%.

    No student is in two pairs. ``typical`` is the median difference of a behaviour in such pairs, ``all_pairs`` that of
    all pairs of a method; ``seen`` the share of the pairs that a measure orders as the behaviour does, with a 95%
    interval (Wilson): one half for a measure that knows nothing.
    """
    pairs, others = [], []
    loss = table["100% loss"].to_numpy()
    for rows in table.reset_index(drop=True).groupby(["method", "samples"]).indices.values():
        of_group = [(abs(loss[a] - loss[b]) / max(abs(loss[a]), abs(loss[b])), a, b) for a, b in combinations(rows, 2)]
        others += [(a, b) for _, a, b in of_group]
        used: set[int] = set()
        for gap, a, b in sorted(of_group):
            if gap < EQUAL and not {a, b} & used:
                used |= {a, b}
                pairs.append((a, b))
    if not pairs:
        return pd.DataFrame()
    (a, b), (c, d) = np.array(pairs).T, np.array(others).T
    found = []
    for target in targets:
        y = table[target].to_numpy()
        gap = y[a] - y[b]
        sizes = {"typical": float(np.median(np.abs(gap))), "all_pairs": float(np.median(np.abs(y[c] - y[d])))}
        for measure in SEEING:
            x = table[measure].to_numpy()
            right, ordered = int((np.sign(x[a] - x[b]) == np.sign(gap)).sum()), int((gap != 0).sum())
            low, high = stats.binomtest(right, ordered).proportion_ci(method="wilson")
            found.append({"behaviour": target, "pairs": ordered, **sizes, "measure": measure,
                          "seen": right / ordered, "low": float(low), "high": float(high)})  # fmt: skip
    return pd.DataFrame(found)


# ---- disagreements


def disagreements(table: pd.DataFrame, one: str, other: str, target: str, count: int = 2) -> list[dict[str, Any]]:
    """The pairs of students that two measures order in opposite ways by the most ranks, and what they really do."""
    x, y = table[one].rank(pct=True).to_numpy(), table[other].rank(pct=True).to_numpy()
    gap = np.minimum(x[:, None] - x[None], y[None] - y[:, None])  # a is ahead in one, b in the other
    found: list[dict[str, Any]] = []
    used: set[int] = set()
    for flat in np.argsort(-gap, axis=None):
        a, b = map(int, np.unravel_index(flat, gap.shape))
        if {a, b} & used:
            continue
        used |= {a, b}
        columns = [one, other, target]
        found.append({"a": table.index[a], "b": table.index[b], "ranks_apart": float(gap[a, b]),
                      **{f"a {name}": float(table[name].iloc[a]) for name in columns},
                      **{f"b {name}": float(table[name].iloc[b]) for name in columns}})  # fmt: skip
        if len(found) == count:
            break
    return found


# ---- claims


def paired(table: pd.DataFrame, one: str, other: str, columns: list[str], **where: Any) -> list[dict[str, Any]]:
    """The difference one - other of two methods, paired by seed: mean and 95% t-interval over seeds."""
    some = table
    for name, value in where.items():
        some = some[some[name] == value]
    a, b = (some[some.method == name].set_index("seed") for name in (one, other))
    seeds = a.index.intersection(b.index)
    rows: list[dict[str, Any]] = []
    for column in (name for name in columns if name in table):
        gap = (a.loc[seeds, column] - b.loc[seeds, column]).dropna()
        if len(gap) < 3:
            continue
        mean, error = float(gap.mean()), float(gap.std() / np.sqrt(len(gap)))
        reach = stats.t.ppf(1 - LEVEL / 2, len(gap) - 1) * error
        p = 2 * stats.t.sf(abs(mean) / error, len(gap) - 1) if error else float(mean == 0)
        rows.append({"one": one, "other": other, **where, "column": column, "seeds": len(gap), "difference": mean,
                     "low": mean - reach, "high": mean + reach, "p": float(p)})  # fmt: skip
    return rows


def holm(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Holm's corrected p over a family of tests."""
    order = sorted(range(len(rows)), key=lambda row: rows[row]["p"])
    largest = 0.0
    for place, row in enumerate(order):
        largest = max(largest, min(1.0, (len(rows) - place) * rows[row]["p"]))
        rows[row]["holm"] = largest
    return rows


KEPT = ["backbone overlap@10", "backbone overlap@10:euclidean", "backbone debiased_linear_cka",
        "backbone norm_correlation", "knn_accuracy", "linear_accuracy", "knn_agreement", "ood_rank_usual_cosine",
        "ood_rank_usual_euclidean", "ood_rank_usual_mahalanobis", "transfer_linear_accuracy",
        "corruption_accuracy"]  # fmt: skip
AT_HEAD = ["head overlap@10", "head debiased_linear_cka", "head norm_correlation", "head per_dimension_correlation",
           "head space_similarity"]  # fmt: skip
CLASSIFIED = ["logit_accuracy", "logit_agreement", "knn_accuracy", "linear_accuracy"]
CONV4 = {"setting": "fashion", "network": "conv4"}
SIGNED = {"setting": "fashion", "network": "conv4-signed"}  # without the last ReLU, which is unfair to TinTeM
OTHERS = ("from scratch", "kd", "dkd", "dist")
CONTRASTS: dict[str, list[tuple[str, str, dict[str, Any]]]] = {  # (one, other, where) of each family, for an optimiser
    "coss": [
        ("coss", "coss 0", CONV4), ("coss 0.5", "coss 0", CONV4),
        ("coss neighbours", "coss", CONV4), ("coss 0 neighbours", "coss 0", CONV4),
    ],
    "tintem": [
        ("tintem", "coss", CONV4), ("tintem", "coss 0", CONV4), ("tintem", "coss 0", SIGNED),
        ("tintem", "coss", SIGNED), ("tintem", "tintem pca", SIGNED), ("tintem", "tintem orthogonal", SIGNED),
        ("tintem tokens", "tintem", SIGNED),
    ],
    "ckd": [("ckd logits", other, {"setting": "composite", "batch": 64}) for other in OTHERS],
    "temperature": [
        *(("ckd logits", "from scratch", {"setting": "composite", "batch": batch}) for batch in (16, 256)),
        *((f"ckd logits tau {tau:g}", "ckd logits", {"setting": "composite", "batch": batch})
          for batch in (16, 64, 256) for tau in (0.25, 4)),
        *(("ckd logits tau 0.25", other, {"setting": "composite", "batch": 64}) for other in OTHERS[1:]),
    ],
}  # fmt: skip
MEASURED = {"coss": KEPT + AT_HEAD, "tintem": KEPT, "ckd": CLASSIFIED, "temperature": CLASSIFIED[:2]}


def claims(table: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """The papers' claims, a family of tests each."""
    some = table[table.part == "claim"]
    return {
        family: holm([
            row
            for optimiser in ("adamw", "paper")
            for one, other, where in contrasts
            for row in paired(some, one, other, MEASURED[family], **where, optimiser=optimiser)
        ])
        for family, contrasts in CONTRASTS.items()
    }  # fmt: skip


def claim_means(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The mean over seeds of every arm of the claims."""
    arm = ["setting", "network", "optimiser", "batch", "method"]
    columns = [name for name in dict.fromkeys([*KEPT, *AT_HEAD, *CLASSIFIED]) if name in table]
    arms = table[table.part == "claim"].groupby(arm)
    means = arms[columns].mean().assign(seeds=arms.size(), seconds=arms.train_seconds.mean())
    return means.reset_index().to_dict("records")


# ---- all


def answers(table: pd.DataFrame) -> tuple[dict[str, Any], pd.DataFrame]:
    """All answers, and every correlation."""
    every: list[pd.DataFrame] = []
    result: dict[str, Any] = {name: [] for name in ("predicts", "within", "second", "early", "stopping", "equal_loss")}
    result["disagreements"] = {}
    for setting in SETTINGS:
        where = SOUND.format(setting=setting)
        some = table.query(where)
        if len(some) < 20:
            continue
        for name, within in (("predicts", None), ("within", "method")):
            found = predictions(some, within)
            every.append(found.assign(setting=setting, share="100%", within=within, where=where))
            for labels in (False, True):
                best = best_of(found, labels).assign(where=where)
                result[name] += best.to_dict("records")
        result["second"] += second_measure(some).assign(where=where).to_dict("records")
        where = SAME_LENGTH.format(setting=setting)
        some = table.query(where)
        some = some[some["10% loss"].notna()]
        if len(some) < 20:
            continue
        targets = [name for name in ("knn_accuracy", "linear_accuracy", "knn_agreement", "ood_rank_cosine",
                                     "transfer_linear_accuracy") if name in behaviours_of(some)]  # fmt: skip
        found_early, best_early, stopped = early_answers(some, targets)
        every += [found.assign(setting=setting, where=where) for found in found_early]
        for name, rows in (("early", best_early), ("stopping", stopped)):
            result[name] += [row | {"where": where} for row in rows]
        result["equal_loss"] += equal_loss(some, targets).assign(where=where).to_dict("records")
        result["disagreements"][setting] = disagreements(
            some[some.seed == 0], "backbone overlap@10", "backbone debiased_linear_cka", "knn_accuracy", count=3
        )
    result["claims"] = claims(table)
    result["claim_means"] = claim_means(table)
    return result, pd.concat(every)


def markdown(rows: pd.DataFrame) -> str:
    """A table in Markdown, numbers with three digits."""
    cells = rows.map(lambda value: f"{value:.3g}" if isinstance(value, float) else str(value)).to_numpy().tolist()
    lines = [list(rows.columns), ["---"] * rows.shape[1], *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tables(found: dict[str, Any]) -> str:
    """The answers as Markdown."""
    parts = ["# The study in tables", "Made by analyse.py from students.csv."]
    titles = {
        "predicts": "Which measure orders students as each behaviour does (all methods)",
        "within": "The same within a method",
        "second": "What a second measure adds (R2 on the method that is left out)",
        "early": "The best early measure",
        "stopping": "Share of the runs that can be stopped early",
        "equal_loss": "Students of equal loss",
        "claim_means": "Means of the claims' students",
    }
    for name, title in titles.items():
        rows = pd.DataFrame(found[name])
        if len(rows):
            parts += [f"## {title}", markdown(rows)]
    for name, rows in found["claims"].items():
        if rows:
            parts += [f"## Claim: {name}", markdown(pd.DataFrame(rows))]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    table = pd.read_csv(RESULTS / "students.csv", index_col="name", low_memory=False).copy()
    table = table[table["failed"].isna()] if "failed" in table else table
    found, every = answers(table)
    text = json.dumps(found, indent=1, default=float)
    (RESULTS / "answers.json").write_text(re.sub(r"\bNaN\b", "null", text) + "\n")
    every.to_csv(RESULTS / "correlations.csv", index=False, float_format="%.4f")
    (RESULTS / "tables.md").write_text(tables(found))


if __name__ == "__main__":
    main()
