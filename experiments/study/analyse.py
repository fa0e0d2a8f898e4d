"""The study's questions, answered from results/students.csv alone.

    python experiments/study/analyse.py          under a minute

results/answers.json         the answers
results/correlations.csv     every measure with every behaviour, at the end of the training and at shares of it
results/tables.md            both as tables

Students are those of the grid (every method, network and width at equal length, three seeds), where nothing else is
said. Rank correlations are Spearman's. Their intervals come from a bootstrap of the clusters (method, network, width),
because students of a cluster are alike; in 95% of samples they hold for all measures at once, so for the one that was
best, too. Measures are of the backbone, on rows held out of training; behaviours are of test rows.
"""

from __future__ import annotations

import json
import re
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

RESULTS = Path(__file__).resolve().parent / "results"
CLUSTER = ["method", "network", "width"]
WITHIN = {"method": ["method"], "width": ["network", "width"]}  # whose students are compared with each other only
DRAWS, LEVEL = 1_000, 0.05
GROUPS = 20_000  # of students: with fewer, chance decides which share can be stopped
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
EQUAL = 0.02  # losses that differ by less are called equal: a share of the range of the method's losses
GAPS = (0.005, 0.01, 0.02, 0.04)  # differences of overlap, from which on the order of two students is certain?
OVERLAP, CKA, PROCRUSTES = "backbone overlap@10", "backbone debiased_linear_cka", "backbone procrustes"
SEEING = (OVERLAP, CKA, "backbone rankme_student")
CHANGED = [OVERLAP, CKA, PROCRUSTES, "knn_accuracy", "knn_agreement", "transfer_linear_accuracy"]  # by a fault
LABELLED = ("knn_agreement", "knn_kappa", "knn_accuracy")  # measures that need labels
UNTAUGHT = ("untrained", "from scratch")  # have no teacher
GRID = "part == 'grid' and setting == '{setting}'"
EVERY = "fault == 'none' and part != 'claim' and setting == '{setting}'"  # other rates and lengths, no teacher, too


def measures_of(table: pd.DataFrame, prefix: str = "backbone ") -> list[str]:
    """The columns with a measure of the student: known for all rows, and not the same for all.

    Not the norm correlation of texts: their teacher's vectors have length 1, and differ by rounding alone.
    """
    columns = [name for name in table if name.startswith(prefix) and "teacher" not in name]
    columns = [name for name in columns if "norm_correlation" not in name or "text" not in set(table.setting)]
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


def resampled(table: pd.DataFrame, cluster: list[str] | None = None, draws: int | None = None) -> list[np.ndarray]:
    """Row numbers of ``draws`` (DRAWS) samples of whole clusters, with replacement."""
    clusters = list(table.reset_index(drop=True).groupby(cluster or CLUSTER).indices.values())
    rng = np.random.default_rng(0)
    return [
        np.concatenate([clusters[pick] for pick in rng.integers(len(clusters), size=len(clusters))])
        for _ in range(draws or DRAWS)
    ]


def interval(drawn: Any) -> np.ndarray:
    """The 95% interval (2, ...) of values (draws, ...) over samples; NaN counts for nothing."""
    return np.nanquantile(drawn, [LEVEL / 2, 1 - LEVEL / 2], axis=0)


def pairs_of(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of two students; a sample has some of them more than once, and none of these is a pair with itself."""
    a, b = (rows[places] for places in np.triu_indices(len(rows), 1))
    return a[a != b], b[a != b]


def about_groups(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Values (n, p) minus their mean in each of the groups (n,), numbers from 0."""
    members = np.eye(groups.max() + 1)[groups]
    counts = np.maximum(members.sum(0), 1)
    return values - members @ ((members.T @ values) / counts[:, None])


def predictions(
    table: pd.DataFrame,
    within: str | None = None,
    columns: list[str] | None = None,
    targets: list[str] | None = None,
    cluster: list[str] | None = None,
) -> pd.DataFrame:
    """Spearman's correlation of every measure with every behaviour, with an interval that holds for all measures.

    ``within`` "method" asks whether the measure orders the students of a method, whatever the methods' order is: ranks
    are taken within each method, as shares of its size, about their mean; "width" the same for the students of a
    network and width.
    """
    measures, targets = columns or measures_of(table), targets or behaviours_of(table)
    if within is None:
        groups = np.zeros(len(table), int)
        x, y = (stats.rankdata(table[names], axis=0) for names in (measures, targets))
    else:
        of_group = table.groupby(WITHIN[within])
        groups = of_group.ngroup().to_numpy()
        x, y = (of_group[names].rank(pct=True).to_numpy() for names in (measures, targets))
    value = correlations(about_groups(x, groups), about_groups(y, groups))
    draws = []
    for rows in resampled(table, cluster):
        one, other = x[rows], y[rows]
        if within is None:
            one, other = stats.rankdata(one, axis=0), stats.rankdata(other, axis=0)
        draws.append(correlations(about_groups(one, groups[rows]), about_groups(other, groups[rows])))
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


def resolution(table: pd.DataFrame, measure: str, target: str) -> list[dict[str, Any]]:
    """How often the student that is ahead in a measure is ahead in a behaviour, by the gap between them.

    Over all pairs of students, by bins of the difference of the measure (GAPS); pairs that are equal in the measure or
    in the behaviour count one half. 95% intervals, of each bin alone, are quantiles over samples of clusters.
    """
    x, y = table[measure].to_numpy(), table[target].to_numpy()
    names = [
        f"below {GAPS[0]:g}",
        *(f"{low:g} to {high:g}" for low, high in pairwise(GAPS)),
        f"above {GAPS[-1]:g}",
    ]

    def shares(rows: np.ndarray) -> tuple[list[float], list[int]]:
        a, b = pairs_of(rows)
        kind = np.digitize(np.abs(x[a] - x[b]), GAPS)
        right = (np.sign(x[a] - x[b]) * np.sign(y[a] - y[b]) + 1) / 2
        counts = np.bincount(kind, minlength=len(names))
        with np.errstate(invalid="ignore"):
            return (np.bincount(kind, right, len(names)) / counts).tolist(), counts.tolist()

    value, counts = shares(np.arange(len(table)))
    low, high = interval([shares(rows)[0] for rows in resampled(table, draws=200)])
    return [
        {"measure": measure, "behaviour": target, "difference": name, "pairs": counts[kind], "right": value[kind],
         "low": float(low[kind]), "high": float(high[kind])}
        for kind, name in enumerate(names)
        if counts[kind]
    ]  # fmt: skip


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
    """R2 on the method left out with one measure and with two, and the gain with its 95% interval.

    The interval is over samples of clusters, whose errors are taken from the regressions on the whole table.
    """
    measures = [name for name in measures_of(table) if not needs_labels(name)]
    rows, samples = [], resampled(table)
    for target in behaviours_of(table):
        y = table[target].to_numpy()
        errors = [(y - left_out(table, target, measures, count)) ** 2 for count in (1, 2)]
        total = (y - y.mean()) ** 2
        gains = [(errors[0][draw].sum() - errors[1][draw].sum()) / total[draw].sum() for draw in samples]
        low, high = interval(gains)
        r2 = [1 - error.sum() / total.sum() for error in errors]
        rows.append({"behaviour": target, "one": r2[0], "two": r2[1], "gain": r2[1] - r2[0], "low": low, "high": high})
    return pd.DataFrame(rows)


# ---- early warning


def turned_loss(table: pd.DataFrame, share: str) -> tuple[pd.DataFrame, str]:
    """The table with the loss at a share of the training as a measure, its sign turned, and the name of that column."""
    loss = f"{share} loss"
    return table.assign(**{f"-{loss}": -table[loss]}), f"-{loss}"


def stopping(
    table: pd.DataFrame, measures: list[str], targets: list[str], within: str | None = None, group: int = 16
) -> list[dict[str, Any]]:
    """How many runs can be stopped early by each of ``measures``, of a share of the training.

    Of GROUPS random groups of students (``within`` "method": of one method each) the share with the smallest measure is
    stopped. ``stopped`` is the largest share, in eighths of a group (in students where it has fewer than 16), at which
    the best student that is left is within ``tolerance`` of the group's best in 95% of the groups; ``by_chance`` the
    same for a random choice. The tolerance is the standard deviation of the target over the seeds of a cluster: what
    another seed would change.
    ``low`` and ``high`` are 95% quantiles of ``stopped`` over 100 samples of clusters, of whose different students the
    groups are made; NaN where a pool has fewer than two groups.
    """
    some = table.reset_index(drop=True)
    pool = some.groupby(WITHIN[within]).ngroup().to_numpy() if within else np.zeros(len(some), int)
    group = min(group, int(np.bincount(pool).min()))
    counts = np.arange(0, group, max(1, group // 8))
    values = {name: some[name].to_numpy() for name in (*measures, *targets)}
    spread = {name: some.groupby(CLUSTER)[name].var().dropna() for name in targets}
    tolerance = {name: float(np.sqrt(variances.mean())) for name, variances in spread.items()}
    rng = np.random.default_rng(0)

    def found(every: np.ndarray, groups: int) -> dict[tuple[str, str], float]:
        pools = [rows for kind in range(pool.max() + 1) if len(rows := every[pool[every] == kind]) >= group]
        rows = np.array([rng.choice(pools[rng.integers(len(pools))], group, replace=False) for _ in range(groups)])
        orders = {name: np.argsort(values[name][rows], axis=1) for name in measures}
        orders["by chance"] = np.argsort(rng.random(rows.shape), axis=1)
        shares = {}
        for target in targets:
            y = values[target][rows]
            for name, order in orders.items():
                left = np.maximum.accumulate(np.take_along_axis(y, order, 1)[:, ::-1], axis=1)[:, ::-1]
                good = (y.max(1, keepdims=True) - left[:, counts] <= tolerance[target]).mean(0)
                shares[name, target] = float(counts[np.flatnonzero(good >= 0.95).max()] / group)
        return shares

    stopped = found(np.arange(len(some)), GROUPS)
    ends = dict.fromkeys(stopped, (np.nan, np.nan))
    if np.bincount(pool).min() >= 2 * group:
        samples = [found(np.unique(rows), 200) for rows in resampled(some, draws=100)]
        ends = {key: tuple(interval([sample[key] for sample in samples])) for key in stopped}
    return [
        {"measure": name, "behaviour": target, "within": within, "tolerance": tolerance[target], "group": group,
         "n": len(table), "stopped": stopped[name, target], "low": float(ends[name, target][0]),
         "high": float(ends[name, target][1]), "by_chance": stopped["by chance", target]}
        for target in targets
        for name in measures
    ]  # fmt: skip


def early_answers(
    table: pd.DataFrame, targets: list[str]
) -> tuple[list[pd.DataFrame], list[dict[str, Any]], list[dict[str, Any]]]:
    """All early correlations, the best measure of each behaviour, and how many runs can be stopped."""
    every, best, stopped = [], [], []
    for share in (*EARLY, "100%"):
        also = [OVERLAP] if share in EARLY else []  # at the end it would predict itself
        with_loss, loss = turned_loss(table, share)
        for within in (None, "method"):
            measures = [*measures_of(table, f"{share} backbone "), *([loss] if within else [])]
            found = predictions(with_loss, within, measures, targets + also).assign(share=share, within=within)
            every.append(found)
            if share in EARLY:
                best += greatest(found).to_dict("records")
        if share in EARLY:
            overlap = f"{share} backbone overlap@10"
            rows = stopping(table, [overlap], targets + also) + stopping(
                with_loss, [overlap, loss], targets + also, "method", 8
            )
            stopped += [row | {"share": share} for row in rows]
    return every, best, stopped


# ---- equal loss


def equal_loss(table: pd.DataFrame, targets: list[str]) -> pd.DataFrame:
    """Pairs of students of one method, of another network or width, whose final losses are nearly equal.

    Equal is a difference below EQUAL of the range of the method's losses. No student is in two pairs. ``typical`` is
    the median difference of a behaviour in such pairs (``typical_low`` and ``typical_high``: 95% quantiles over
    samples of pairs), ``of_seeds`` that of two seeds of one cluster, ``all_pairs``
    that of all pairs of a method; ``seen`` the share of the ``ordered`` pairs, which differ in the behaviour, that a
    measure orders as the behaviour does, with a 95% interval (Wilson's, as if pairs were independent): one half for a
    measure that knows nothing.
    """
    loss, cluster = table["100% loss"].to_numpy(), table.groupby(CLUSTER).ngroup().to_numpy()
    pairs, seeds, others = [], [], []
    for rows in table.reset_index(drop=True).groupby("method").indices.values():
        largest = EQUAL * np.ptp(loss[rows])
        of_group = sorted((abs(loss[a] - loss[b]), a, b) for a, b in combinations(rows, 2))
        others += [(a, b) for _, a, b in of_group]
        seeds += [(a, b) for _, a, b in of_group if cluster[a] == cluster[b]]
        used: set[int] = set()
        for gap, a, b in of_group:
            if gap < largest and cluster[a] != cluster[b] and not {a, b} & used:
                used |= {a, b}
                pairs.append((a, b))
    if not pairs:
        return pd.DataFrame()
    a, b = np.array(pairs).T
    rng, found = np.random.default_rng(0), []
    for target in targets:
        y = table[target].to_numpy()
        gap = y[a] - y[b]
        drawn = np.median(np.abs(gap)[rng.integers(len(gap), size=(DRAWS, len(gap)))], axis=1)
        sizes = {name: float(np.median(np.abs(np.diff(y[np.array(some)])))) for name, some in
                 (("typical", pairs), ("of_seeds", seeds), ("all_pairs", others))}  # fmt: skip
        ends = dict(zip(("typical_low", "typical_high"), interval(drawn), strict=True))
        for measure in SEEING:
            x = table[measure].to_numpy()
            right, ordered = int((np.sign(x[a] - x[b]) == np.sign(gap))[gap != 0].sum()), int((gap != 0).sum())
            low, high = stats.binomtest(right, ordered).proportion_ci(method="wilson")
            found.append(
                {"behaviour": target, "pairs": len(pairs), **sizes, **ends, "measure": measure, "ordered": ordered,
                 "seen": right / ordered, "low": float(low), "high": float(high)}
            )  # fmt: skip
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


def opposed(table: pd.DataFrame, one: str, other: str, target: str) -> dict[str, Any]:
    """Of all pairs of students that two measures order in opposite ways, the share in which ``one`` is right.

    The 95% interval is of quantiles over samples of clusters.
    """
    values = table[[one, other, target]].to_numpy()

    def share(rows: np.ndarray) -> tuple[float, int]:
        a, b = pairs_of(rows)
        first, second, truth = np.sign(values[a] - values[b]).T
        apart = (first * second < 0) & (truth != 0)
        return float((first == truth)[apart].mean()), int(apart.sum())

    right, pairs = share(np.arange(len(table)))
    low, high = interval([share(rows)[0] for rows in resampled(table, draws=200)])
    return {"one": one, "other": other, "behaviour": target, "pairs": pairs, "right": right, "low": float(low),
            "high": float(high)}  # fmt: skip


# ---- students that something is wrong with, and students without a teacher


def faults(table: pd.DataFrame) -> list[dict[str, Any]]:
    """What each fault changes: the mean over students of a measure or behaviour of the faulty student minus its twin.

    The twin has the same method, network, width and seed, and nothing wrong; of tiny batches, which see fewer samples,
    it is the student that was trained as briefly.
    """
    rows: list[dict[str, Any]] = []
    sound = table[table["fault"] == "none"]
    for (setting, fault), some in table[table["fault"] != "none"].groupby(["setting", "fault"], sort=False):
        gaps = []
        for _, one in some.iterrows():
            twins = sound[(sound.part == "length") & (sound.samples == one.samples)]
            twins = twins if len(twins) else sound[sound.part == "grid"]
            same = (twins[["setting", *CLUSTER, "seed"]] == one[["setting", *CLUSTER, "seed"]]).all(axis=1)
            gaps.append((one[CHANGED] - twins.loc[same, CHANGED].iloc[0]).astype(float))
        rows.append({"setting": setting, "fault": fault, "students": len(gaps), **pd.DataFrame(gaps).mean().to_dict()})
    return rows


def without_a_teacher(table: pd.DataFrame, target: str = "knn_accuracy") -> list[dict[str, Any]]:
    """Students that learned labels alone, each with the best distilled student of the grid of its network and width."""
    rows = []
    for name, one in table[(table.method == "from scratch") & (table.part == "fault")].iterrows():
        same = ["setting", "network", "width"]
        others = table[(table.part == "grid") & (table[same] == one[same]).all(axis=1)]
        best = others.loc[others[target].idxmax()]
        values = {
            f"{who} {key}": float(row[key]) for who, row in (("own", one), ("best", best)) for key in (target, OVERLAP)
        }
        rows.append({"student": name, "setting": one.setting, "best": best.name, **values})
    return rows


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


KEPT = [OVERLAP, "backbone overlap@10:euclidean", CKA,
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
        ("coss", "coss 0", CONV4), ("coss 0.5", "coss 0", CONV4), ("coss", "coss 0.5", CONV4),
        ("coss neighbours", "coss", CONV4), ("coss 0 neighbours", "coss 0", CONV4),
    ],
    "tintem": [
        ("tintem", "coss", CONV4), ("tintem", "coss 0", CONV4), ("tintem", "coss 0", SIGNED),
        ("tintem", "coss", SIGNED), ("tintem", "tintem pca", SIGNED), ("tintem", "tintem orthogonal", SIGNED),
        ("tintem tokens", "tintem", SIGNED),
    ],
    "ckd": [("ckd logits", other, {"setting": "composite", "batch": 64}) for other in OTHERS],
    "batch": [
        ("ckd logits", other, {"setting": "composite", "batch": batch}) for batch in (16, 256) for other in OTHERS
    ],
    "temperature": [
        (f"ckd logits tau {tau:g}", "ckd logits", {"setting": "composite", "batch": batch})
        for batch in (16, 64, 256)
        for tau in (0.25, 4)
    ],
}  # fmt: skip
FEW = ["logit_accuracy", "logit_agreement", OVERLAP]
MEASURED = {"coss": KEPT + AT_HEAD, "tintem": KEPT, "ckd": CLASSIFIED, "batch": FEW, "temperature": FEW}


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
    lists = ("predicts", "within", "new_method", "resolution", "second", "early", "stopping", "equal_loss", "opposed")
    result: dict[str, Any] = {name: [] for name in lists} | {"disagreements": {}}
    for setting in SETTINGS:
        where = GRID.format(setting=setting)
        some = table.query(where)
        if len(some) < 20:
            continue
        everything = EVERY.format(setting=setting)
        distilled = f"{everything} and method not in {UNTAUGHT}"
        for name, population, within in (
            ("predicts", where, None), ("predicts", distilled, None), ("predicts", everything, None),
            ("within", where, "method"), ("within", where, "width"),
        ):  # fmt: skip
            found = predictions(table.query(population), within).assign(where=population)
            every.append(found.assign(setting=setting, share="100%", within=within))
            chosen = pd.concat([best_of(found, False), best_of(found, True), found[found.measure == OVERLAP]])
            chosen = chosen.drop_duplicates(["behaviour", "measure"])
            result[name] += (chosen if within is None else chosen.assign(within=within)).to_dict("records")
        found = predictions(some, None, None, ["knn_accuracy", "knn_agreement"], ["method"])
        result["new_method"] += found[found.measure.isin(SEEING)].assign(where=where).to_dict("records")
        result["resolution"] += [row | {"where": where} for row in resolution(some, OVERLAP, "knn_accuracy")]
        result["second"] += second_measure(some).assign(where=where).to_dict("records")
        targets = [name for name in ("knn_accuracy", "linear_accuracy", "knn_agreement", "ood_rank_cosine",
                                     "transfer_linear_accuracy") if name in behaviours_of(some)]  # fmt: skip
        found_early, best_early, stopped = early_answers(some, targets)
        every += [found.assign(setting=setting, where=where) for found in found_early]
        for name, rows in (("early", best_early), ("stopping", stopped)):
            result[name] += [row | {"where": where} for row in rows]
        result["equal_loss"] += equal_loss(some, targets).assign(where=where).to_dict("records")
        result["disagreements"][setting] = disagreements(some[some.seed == 0], OVERLAP, CKA, "knn_accuracy", count=3)
        result["opposed"] += [
            opposed(some, OVERLAP, other, "knn_accuracy") | {"where": where} for other in (CKA, PROCRUSTES)
        ]
    result["faults"], result["without_a_teacher"] = faults(table), without_a_teacher(table)
    result["claims"] = claims(table)
    result["claim_means"] = claim_means(table)
    return result, pd.concat(every)


def markdown(rows: pd.DataFrame) -> str:
    """A table in Markdown, numbers with three digits."""
    cells = rows.map(lambda value: f"{value:.3g}" if isinstance(value, float) else str(value)).to_numpy().tolist()
    lines = [list(rows.columns), ["---"] * rows.shape[1], *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


TITLES = {
    "predicts": ("Which measure orders students best as each behaviour does",
                 "Of the measures that need no labels, and of those that do: Spearman's correlation over n students."),
    "within": ("The same within a method, or a network and width", ""),
    "new_method": ("The same over all methods, with intervals for another choice of methods", ""),
    "resolution": ("How large a difference counts?",
                   "right: share of the pairs in which the student with the larger measure has the larger behaviour."),
    "second": ("What a second measure adds", "R2 on the method that is left out, with one measure and with two."),
    "early": ("The best early measure", "The first word: share of the training. -10% loss: the loss, its sign turned."),
    "stopping": ("Share of the runs that can be stopped early", "See `stopping` in analyse.py; group is their number."),
    "equal_loss": ("Students of equal loss",
                   "Median differences of a behaviour: typical, in pairs of equal loss; of two seeds; of all pairs. "
                   "seen: share of the ordered pairs that the measure orders as the behaviour does."),
    "opposed": ("Pairs that two measures order in opposite ways", "right: share in which the first of them is right."),
    "faults": ("What a fault changes", "Means of differences to the same student without it."),
    "without_a_teacher": ("Students that learned labels alone", "With the best distilled student of their network."),
    "claim_means": ("Means of the claims' students", ""),
}  # fmt: skip


def tables(found: dict[str, Any]) -> str:
    """The answers as Markdown."""
    parts = ["# The study in tables", "Made by analyse.py from students.csv; COLUMNS.md says what is measured."]
    families = {
        name: (f"Claim: {name}", "Differences paired by seed; holm: p corrected for this table.") for name in CONTRASTS
    }
    for name, (title, note) in (TITLES | families).items():
        rows = pd.DataFrame(found[name] if name in found else found["claims"][name])
        if "where" in rows:
            rows["where"] = rows["where"].map(students_in_words)
        parts += [f"## {title}", *([note] if note else []), markdown(rows.rename(columns={"where": "students"}))]
    return "\n\n".join(parts) + "\n"


def students_in_words(where: str) -> str:
    """A choice of students, such as "fashion, grid"."""
    (setting,) = (name for name in SETTINGS if f"'{name}'" in where)
    kind = "grid" if where == GRID.format(setting=setting) else "all sound"
    return f"{setting}, {kind}{', distilled' if 'untrained' in where else ''}"


def main() -> None:
    table = pd.read_csv(RESULTS / "students.csv", index_col="name", low_memory=False).copy()
    table = table[table["failed"].isna()] if "failed" in table else table
    found, every = answers(table)
    text = json.dumps(found, indent=1, default=float)
    (RESULTS / "answers.json").write_text(re.sub(r"\bNaN\b", "null", text) + "\n")
    every.to_csv(RESULTS / "correlations.csv", index=False, float_format="%.6f")
    (RESULTS / "tables.md").write_text(tables(found))


if __name__ == "__main__":
    main()
