"""Results of the finished runs: results/runs.csv, results/tables.md, results/tables.json, figures/.

    python experiments/claims/analyse.py [--quick]

With --quick it reads results/runs.csv where runs/ is missing, so tables and figures can be made again from the
committed files. Differences are paired by seed (or split): mean, 95% t-interval, p of the paired t-test, Holm's p
within the table. A dash means that a value cannot be computed: a single pair has no interval.
"""

from __future__ import annotations

import csv
import json
import os
import platform
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from scipy import stats
from sizes import HERE, QUICK, RUNS

mpl.use("Agg")
import matplotlib.pyplot as plt

RESULTS, FIGURES = HERE / "results", HERE / "figures"
if not QUICK:
    RESULTS, FIGURES = RESULTS / "full", FIGURES / "full"
COLUMNS = ("claim", "part", "label", "seed", "rate", "encoded", "train_seconds", "cpu_seconds", "measure", "value")
COSS = ["cosine", "CoSS 0.5", "CoSS 1"]
LOSSES = [*COSS, *(f"{loss}, neighbours" for loss in COSS), "MSE", "SEED", "RKD", "SP", "PKT"]
BASELINES = ["from scratch", "untrained"]
KEPT = [  # at either place
    "overlap@10 cosine",
    "overlap@10 euclidean",
    "debiased CKA",
    "norm correlation",
    "k-NN accuracy",
    "k-NN agreement",
]
BY_DIMENSION = ["per-dimension correlation", "space similarity"]
HEADS = ["TinTeM", "orthogonal", "PCA", "cosine"]
SCORES = {"cosine": "k-NN, cosine", "euclidean": "k-NN, Euclidean", "Mahalanobis": "Mahalanobis"}
METHODS = ["none", "KD", "DKD", "DIST", "CKD"]
COLOURS = {"blue": "#0072B2", "orange": "#D55E00", "green": "#009E73", "grey": "#777777", "purple": "#AA4499"}
Rows = list[dict[str, Any]]


def collect() -> Rows:
    """A row for every number of every run, also into results/runs.csv."""
    path = RESULTS / "runs.csv"
    files = sorted(RUNS.glob("claim*/*.json"))
    if not files:
        with path.open(newline="") as file:
            rows = [{**row, "seed": int(row["seed"]), "value": float(row["value"])} for row in csv.DictReader(file)]
            return [{**row, "rate": float(row["rate"])} for row in rows]
    rows = []
    for file in files:
        record = json.loads(file.read_text())
        values = dict(record["measures"])
        if record["part"] == "rate":
            for place, measures in record["watched"].items():
                values |= {f"held out, {place}: {key}": value for key, value in measures.items()}
        same = {key: record[key] for key in COLUMNS[:8]}
        rows += [{**same, "measure": key, "value": value} for key, value in values.items() if value is not None]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "value": f"{row['value']:.6g}"} for row in rows)
    return rows


class Study:
    """The numbers, by claim, part, label, measure and seed."""

    def __init__(self, rows: Rows) -> None:
        self.values: dict[tuple[str, str, str, str], dict[int, float]] = {}
        self.seconds: dict[tuple[str, str, str], list[float]] = {}
        self.rates: dict[tuple[str, str, str], float] = {}
        for row in rows:
            key = (row["claim"], row["part"], row["label"])
            self.values.setdefault((*key, row["measure"]), {})[row["seed"]] = row["value"]
            self.rates[key] = row["rate"]
        for key in {(row["claim"], row["part"], row["label"]) for row in rows}:
            per_run = {
                row["seed"]: float(row["train_seconds"]) for row in rows if key == tuple(row[c] for c in COLUMNS[:3])
            }
            self.seconds[key] = list(per_run.values())

    def get(self, claim: str, part: str, label: str, measure: str) -> dict[int, float]:
        """Seed to value."""
        if (claim, part, label) == ("claim2", "heads", "cosine 5000"):  # claim 1 trained it
            claim, part, label = "claim1", "main", "cosine"
        return self.values.get((claim, part, label, measure), {})

    def has(self, claim: str, part: str, label: str) -> bool:
        """Whether there is a run of it."""
        return any(key[:3] == (claim, part, label) for key in self.values)


def spread(values: Iterable[float], digits: int = 3) -> str:
    """Mean and, of several, the standard deviation."""
    values = list(values)
    if not values:
        return "-"
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


def paired(first: dict[int, float], second: dict[int, float]) -> dict[str, Any] | None:
    """First minus second over the seeds that both have."""
    seeds = sorted(first.keys() & second.keys())
    gaps = np.array([first[seed] - second[seed] for seed in seeds])
    if not len(gaps):
        return None
    difference: dict[str, Any] = {
        "n": len(gaps),
        "difference": float(gaps.mean()),
        "low": None,
        "high": None,
        "p": None,
    }
    if len(gaps) > 1 and gaps.std() > 0:
        half = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / np.sqrt(len(gaps))
        p = float(stats.ttest_1samp(gaps, 0).pvalue)
        difference |= {"low": float(gaps.mean() - half), "high": float(gaps.mean() + half), "p": p}
    return difference


def holm(tests: list[dict[str, Any]]) -> None:
    """Add Holm's p to each test."""
    ordered = sorted((test for test in tests if test["p"] is not None), key=lambda test: test["p"])
    largest = 0.0
    for place, test in enumerate(ordered):
        largest = max(largest, min(1.0, test["p"] * (len(ordered) - place)))
        test["holm"] = largest


def family(wanted: Iterable[tuple[str, str, Callable[[], dict[str, Any] | None]]]) -> list[dict[str, Any]]:
    """The tests of one table, Holm-corrected together."""
    tests = [{"comparison": a, "measure": b, **result} for a, b, test in wanted if (result := test()) is not None]
    holm(tests)
    return tests


def table(head: list[str], rows: list[list[str]]) -> str:
    """A markdown table."""
    lines = [f"| {' | '.join(row)} |" for row in [head, *rows]]
    return "\n".join([lines[0], f"|{'---|' * len(head)}", *lines[1:]]) + "\n"


def tests_table(tests: list[dict[str, Any]]) -> str:
    """Differences with their intervals."""

    def shown(test: dict[str, Any]) -> list[str]:
        inside = f"{test['low']:+.3f} to {test['high']:+.3f}" if test["low"] is not None else "-"
        chances = [f"{test[key]:.2g}" if test.get(key) is not None else "-" for key in ("p", "holm")]
        return [test["comparison"], test["measure"], str(test["n"]), f"{test['difference']:+.3f}", inside, *chances]

    return table(["difference", "measure", "pairs", "mean", "95% interval", "p", "Holm p"], [shown(t) for t in tests])


def claim1(study: Study) -> tuple[str, dict[str, Any]]:
    """CoSS."""

    def get(label: str, measure: str) -> dict[int, float]:
        return study.get("claim1", "main", label, measure)

    parts = ["## Claim 1: CoSS\n"]
    for place, measures in (("backbone", KEPT), ("head", [*KEPT, *BY_DIMENSION])):
        labels = [label for label in [*LOSSES, *BASELINES] if get(label, f"{place}: {measures[0]}")]
        rows = [
            [label, str(len(get(label, f"{place}: {measures[0]}"))), f"{study.rates['claim1', 'main', label]:g}"]
            + [spread(get(label, f"{place}: {measure}").values()) for measure in measures]
            + [spread(study.seconds["claim1", "main", label], 0)]
            for label in labels
        ]
        parts += [f"At the {place}:\n", table(["loss", "seeds", "rate", *measures, "seconds"], rows)]

    def test(one: str, other: str, measure: str) -> tuple[str, str, Callable[[], dict[str, Any] | None]]:
        return f"{one} - {other}", measure, lambda: paired(get(one, measure), get(other, measure))

    compared = [f"backbone: {label}" for label in KEPT] + [f"head: {label}" for label in [*KEPT, *BY_DIMENSION]]
    few = [f"backbone: {KEPT[place]}" for place in (0, 2, 3, 4, 5)]
    families = {
        "space term": family(test("CoSS 1", "cosine", measure) for measure in compared),
        "against others": family(
            test("CoSS 1", other, measure) for other in ("MSE", "SEED", "RKD", "SP", "PKT") for measure in few
        ),
        "neighbours": family(
            test(f"{one}, neighbours", one, measure) for one in COSS for measure in [*few, "head: overlap@10 cosine"]
        ),
    }
    for name, tests in families.items():
        parts += [f"Tests, {name}:\n", tests_table(tests)]
    return "\n".join(parts), families


def claim2(study: Study) -> tuple[str, dict[str, Any]]:
    """TinTeM: the built-in student, and the one whose features have both signs."""
    parts, families = ["## Claim 2: TinTeM\n"], {}
    for kind in ("", " signed"):
        text, tests_of_student = claim2_student(study, kind)
        title = "The student without its last ReLU" if kind else "The built-in student, whose features are at least 0"
        parts += [f"### {title}\n", text]
        families |= {f"{name}{kind}": tests for name, tests in tests_of_student.items()}
    return "\n".join(parts), families


def claim2_student(study: Study, kind: str) -> tuple[str, dict[str, Any]]:
    """The tables of one student."""
    measures = [
        f"backbone: {measure}" for measure in (*KEPT[:4], "k-NN accuracy, among test", "k-NN agreement, among test")
    ]
    inner = ["teacher's head: overlap@10 cosine", "teacher's head: spread of singular values"]
    sizes = head_sizes(study)
    rows = []
    for size in sizes:
        for label in HEADS:
            columns = [study.get("claim2", f"heads{kind}", f"{label} {size}", values) for values in [*measures, *inner]]
            if columns[0]:
                rows.append(
                    [f"{size:,}", label, str(len(columns[0])), *(spread(values.values()) for values in columns)]
                )
    parts = ["Heads, at the backbone:\n"]
    parts.append(table(["images", "head", "seeds", *(m.removeprefix("backbone: ") for m in measures), *inner], rows))

    def heads_test(size: int, other: str, measure: str) -> tuple[str, str, Callable[[], dict[str, Any] | None]]:
        pair = [study.get("claim2", f"heads{kind}", f"{label} {size}", measure) for label in ("TinTeM", other)]
        return f"TinTeM - {other}, {size:,} images", measure, lambda: paired(*pair)

    families = {
        "heads": family(heads_test(s, o, measures[p]) for s in sizes for o in HEADS[1:] for p in (0, 2, 3)),
    }
    parts += ["Tests, heads:\n", tests_table(families["heads"])]

    def unusual(label: str, place: str, score: str, what: str) -> dict[int, float]:
        return study.get("claim2", f"unusual{kind}", label, f"{place}: {score}, {what}")

    places = [
        ("cosine", "backbone"),
        ("CoSS 1", "backbone"),
        ("TinTeM", "backbone"),
        ("cosine", "head"),
        ("CoSS 1", "head"),
    ]
    rows = []
    for score, name in SCORES.items():
        rows.append(
            [name, "teacher", "", "1", "1"]
            + [spread(unusual("CoSS 1", "teacher", score, what).values()) for what in ("AUROC", "FPR")]
        )
        for label, place in places:
            whats = ("rank among known", "rank among held out", "AUROC", "FPR")
            columns = [unusual(label, place, score, what) for what in whats]
            if columns[0]:
                rows.append([name, label, place, *(spread(columns[i].values()) for i in (0, 1, 2, 3))])
    head = ["score", "student", "at", "rank, known classes", "rank, held-out classes", "AUROC", "FPR at 95% TPR"]
    parts += ["Unusual images, Spearman's correlation of scores with the teacher's:\n", table(head, rows)]

    def unusual_test(
        one: tuple[str, str], other: tuple[str, str], score: str, what: str
    ) -> tuple[str, str, Callable[[], dict[str, Any] | None]]:
        names = [label if place == "backbone" else f"{label} (head)" for label, place in (one, other)]
        pair = [unusual(*side, score, what) for side in (one, other)]
        return f"{names[0]} - {names[1]}", f"{SCORES[score]}, {what}", lambda: paired(*pair)

    families["unusual"] = family(
        unusual_test(one, other, score, what)
        for score in SCORES
        for what in ("rank among known", "rank among held out")
        for one, other in (
            (("CoSS 1", "backbone"), ("TinTeM", "backbone")),
            (("CoSS 1", "head"), ("TinTeM", "backbone")),
            (("CoSS 1", "backbone"), ("cosine", "backbone")),
        )
    )
    parts += ["Tests, unusual images:\n", tests_table(families["unusual"])]
    return "\n".join(parts), families


def head_sizes(study: Study) -> list[int]:
    """The numbers of images in the comparison of heads."""
    labels = {key[2] for key in study.values if key[0] == "claim2" and key[1].startswith("heads")}
    return sorted({int(label.split()[-1]) for label in labels})


def cell(study: Study, label: str, batch: int, tau: float = 1.0) -> dict[str, dict[int, float]]:
    """Measures of a cell of CKD's grid."""
    measures: dict[str, dict[int, float]] = {}
    grid = f"{label} B {batch}" + (f" tau {tau:g}" if label == "CKD" else "")
    where = [("main", label)] if (batch, tau) == (64, 1.0) else [("grid", grid)]
    for part, name in where:
        for key, values in study.values.items():
            if key[:3] == ("claim3", part, name):
                measures[key[3]] = values
    return measures


def claim3(study: Study) -> tuple[str, dict[str, Any]]:
    """CKD."""

    def get(label: str, measure: str) -> dict[int, float]:
        return study.get("claim3", "main", label, measure)

    measures = ["accuracy", "garment accuracy", "digit accuracy", "agreement", "agreement, excess"]
    rows = [
        [label, str(len(get(label, "accuracy"))), f"{study.rates['claim3', 'main', label]:g}"]
        + [spread(get(label, measure).values()) for measure in measures]
        + [spread(study.seconds["claim3", "main", label], 0)]
        for label in METHODS
        if get(label, "accuracy")
    ]
    parts = ["## Claim 3: CKD\n", table(["method", "seeds", "rate", *measures, "seconds"], rows)]
    pairs = [*(("CKD", other) for other in METHODS[:4]), *((other, "none") for other in METHODS[1:4])]
    tests = family(
        (f"{one} - {other}", measure, lambda one=one, other=other, m=measure: paired(get(one, m), get(other, m)))
        for one, other in pairs
        for measure in ("accuracy", "agreement")
    )
    parts += ["Tests:\n", tests_table(tests), "The grid over batch size and temperature:\n"]
    lines = []
    for batch in (16, 64, 256):
        none = cell(study, "none", batch).get("accuracy", {})
        for tau in (0.25, 1.0, 4.0):
            measured = cell(study, "CKD", batch, tau)
            if measured:
                gap = paired(measured["accuracy"], none)
                term = np.mean(list(measured["last epoch: contrastive"].values())) / 10
                low = np.mean(list(measured["floor"].values()))
                bounds = (np.log(batch), low, term)
                shown = [*map("{:.3f}".format, bounds), f"{(np.log(batch) - term) / (np.log(batch) - low):.2f}"]
                shown += [spread(measured["accuracy"].values()), spread(none.values())]
                shown += [f"{gap['difference']:+.3f}" if gap else "-", spread(measured["agreement"].values())]
                lines.append([str(batch), f"{tau:g}", str(len(measured["accuracy"])), *shown])
    head = ["B", "tau", "seeds", "uniform log B", "floor", "reached", "of the way down", "accuracy", "none at this B"]
    parts.append(table([*head, "gain", "agreement"], lines))
    return "\n".join(parts), {"methods": tests}


def dots(
    axis: Any, place: float, values: Iterable[float], colour: str, hollow: bool = False, width: float = 0.28
) -> None:
    """Every run a dot, the mean a bar."""
    values = np.array(list(values))
    if len(values):
        face = "white" if hollow else colour
        axis.plot(values, np.full(len(values), place), "o", ms=4, mfc=face, mec=colour, mew=0.9, alpha=0.9, zorder=3)
        axis.plot([values.mean()] * 2, [place - width, place + width], "-", color=colour, lw=2, zorder=2)


def style(axis: Any) -> None:
    """Light frame."""
    axis.grid(axis="x", color="#dddddd", lw=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.tick_params(axis="y", length=0)


def save(figure: Any, name: str) -> None:
    """PNG for reading, SVG for print."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURES / f"{name}.png", dpi=160, bbox_inches="tight")
    figure.savefig(FIGURES / f"{name}.svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def figure1(study: Study) -> None:
    """Claim 1: what each loss keeps."""
    shown = {0: "overlap@10 (cosine)", 2: "debiased CKA", 3: "norm correlation", 5: "k-NN agreement"}
    labels = [label for label in [*LOSSES, *BASELINES] if study.has("claim1", "main", label)]
    if not labels:
        return
    figure, axes = plt.subplots(1, 4, figsize=(10, 4.2), sharey=True)
    for axis, (place, title) in zip(axes, shown.items(), strict=True):
        for row, label in enumerate(labels):
            colour = "blue" if "CoSS" in label else "grey" if label in BASELINES else "orange"
            if label.startswith("cosine"):
                colour = "green"
            for where, shift, hollow in (("backbone", 0.16, False), ("head", -0.16, True)):
                values = study.get("claim1", "main", label, f"{where}: {KEPT[place]}").values()
                dots(axis, len(labels) - row + shift, values, COLOURS[colour], hollow, 0.15)
        axis.set_title(title, fontsize=10)
        style(axis)
    axes[0].set_yticks(np.arange(len(labels), 0, -1), labels)
    figure.suptitle(
        "At the backbone (filled) and at the head (hollow); a dot is a seed, a bar the mean", fontsize=9, y=0.02
    )
    figure.tight_layout()
    save(figure, "claim1")


def figure2(study: Study) -> None:
    """Claim 2: heads over the number of images, and scores of unusual images."""
    sizes = head_sizes(study)
    figure = plt.figure(figsize=(11, 4))
    axes = [
        figure.add_axes((left, 0.2, width, 0.7)) for left, width in ((0, 0.22), (0.42, 0.18), (0.61, 0.18), (0.8, 0.18))
    ]
    colours = dict(zip(HEADS, ("blue", "purple", "green", "orange"), strict=True))
    for label in HEADS:
        values_of_sizes = [
            list(study.get("claim2", "heads", f"{label} {s}", f"backbone: {KEPT[0]}").values()) for s in sizes
        ]
        measured = [(size, values) for size, values in zip(sizes, values_of_sizes, strict=True) if values]
        if measured:
            where = [size for size, _ in measured]
            axes[0].plot(
                where, [np.mean(v) for _, v in measured], "-", color=COLOURS[colours[label]], lw=1.5, label=label
            )
            for size, values in measured:
                axes[0].plot([size] * len(values), values, "o", ms=3.5, color=COLOURS[colours[label]], alpha=0.8)
        values = list(study.get("claim2", "heads signed", f"{label} 5000", f"backbone: {KEPT[0]}").values())
        axes[0].plot([5_000] * len(values), values, "x", ms=6, mew=1.5, color=COLOURS[colours[label]])
    axes[0].plot([], [], "x", color="black", label="without the last ReLU")
    axes[0].set_xscale("log")
    axes[0].set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes[0].minorticks_off()
    axes[0].set_xlabel("training images, equal steps")
    axes[0].set_title("overlap@10 at the backbone", fontsize=10)
    axes[0].legend(frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.45, -0.18), ncols=2)
    for side in ("top", "right"):
        axes[0].spines[side].set_visible(False)
    one = [("cosine", "backbone"), ("CoSS 1", "backbone"), ("CoSS 1", "head"), ("TinTeM", "backbone")]
    students = [(kind, *student) for kind in ("", " signed") for student in one]
    palette = {"cosine": "green", "CoSS 1": "orange", "TinTeM": "blue"}
    for axis, (score, name) in zip(axes[1:], SCORES.items(), strict=True):
        for row, (kind, label, place) in enumerate(students):
            for what, shift, hollow in (("known", 0.16, False), ("held out", -0.16, True)):
                values = study.get("claim2", f"unusual{kind}", label, f"{place}: {score}, rank among {what}").values()
                dots(axis, len(students) - row + shift, values, COLOURS[palette[label]], hollow, 0.14)
        named = [
            (label if place == "backbone" else f"{label}, head") + (", no ReLU" if kind else "")
            for kind, label, place in students
        ]
        axis.set_yticks(np.arange(len(students), 0, -1), named if axis is axes[1] else [""] * len(students))
        axis.set_title(name, fontsize=10)
        style(axis)
    note = "Spearman's correlation of scores with the teacher's; known classes filled, held-out classes hollow"
    figure.text(0.7, 0.03, note, ha="center", fontsize=9)
    save(figure, "claim2")


def figure3(study: Study) -> None:
    """Claim 3: methods, and the grid."""
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.1), gridspec_kw={"width_ratios": [1.2, 1, 1]})
    for row, label in enumerate(METHODS):
        colour = {"none": "grey", "CKD": "blue"}.get(label, "orange")
        dots(axes[0], len(METHODS) - row, study.get("claim3", "main", label, "accuracy").values(), COLOURS[colour])
    axes[0].set_yticks(np.arange(len(METHODS), 0, -1), METHODS)
    axes[0].set_title("test accuracy, 100 classes", fontsize=10)
    style(axes[0])
    batches, taus = (16, 64, 256), (0.25, 1.0, 4.0)
    cells = [[cell(study, "CKD", batch, tau) for tau in taus] for batch in batches]
    none = [cell(study, "none", batch).get("accuracy", {}) for batch in batches]
    gains = np.array(
        [
            [(paired(c["accuracy"], n) or {"difference": np.nan})["difference"] if c else np.nan for c in row]
            for row, n in zip(cells, none, strict=True)
        ]
    )
    down = np.full((3, 3), np.nan)
    for i, batch in enumerate(batches):
        for j in range(3):
            if cells[i][j]:
                term = np.mean(list(cells[i][j]["last epoch: contrastive"].values())) / 10
                low = np.mean(list(cells[i][j]["floor"].values()))
                down[i, j] = (np.log(batch) - term) / (np.log(batch) - low)
    for axis, values, title, form in (
        (axes[1], gains, "CKD's gain in accuracy\nover none at the same B", "{:+.3f}"),
        (axes[2], down, "contrastive term: share of the way\nfrom log B down to its floor", "{:.2f}"),
    ):
        shown = np.ma.masked_invalid(values)
        if values is gains:
            most = np.nanmax(np.abs(gains)) if np.isfinite(gains).any() else 1
            axis.imshow(shown, cmap="RdBu", vmin=-most, vmax=most, alpha=0.75)
        else:
            axis.imshow(shown, cmap="Greys", vmin=0, vmax=1.6)
        for i in range(3):
            for j in range(3):
                text = form.format(values[i, j]) if np.isfinite(values[i, j]) else "not run"
                axis.text(j, i, text, ha="center", va="center", fontsize=9)
        axis.set_xticks(range(3), [f"{tau:g}" for tau in taus])
        axis.set_yticks(range(3), [f"B {batch}" for batch in batches])
        axis.set_xlabel("temperature")
        axis.set_title(title, fontsize=10)
        axis.tick_params(length=0)
        for side in axis.spines.values():
            side.set_visible(False)
    figure.tight_layout()
    save(figure, "claim3")


def machine() -> str:
    """The machine and the Python version."""
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    processor = names[0] if names else platform.processor()
    return f"{processor}, {os.cpu_count()} cores shared with other work, Python {platform.python_version()}"


def main() -> None:
    """Write everything."""
    rows = collect()
    study = Study(rows)
    parts, families = [], {}
    for number, claim in enumerate((claim1, claim2, claim3), 1):
        text, families[f"claim{number}"] = claim(study)
        parts.append(text)
    runs = {tuple(row[column] for column in COLUMNS[:5]) for row in rows}
    head = (
        f"# Tables\n\nWritten by `analyse.py` from {len(runs)} runs; what they mean is in [the README](../README.md).\n"
    )
    means = "Mean ± standard deviation over seeds (splits for unusual images); differences are paired.\n"
    (RESULTS / "tables.md").write_text("\n".join([head, means, *parts]).rstrip() + "\n")
    (RESULTS / "tables.json").write_text(json.dumps({"machine": machine(), "tests": families}, indent=1) + "\n")
    for draw in (figure1, figure2, figure3):
        draw(study)
    print(f"{len(runs)} runs: {RESULTS / 'tables.md'}")


if __name__ == "__main__":
    main()
