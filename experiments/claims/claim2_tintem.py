"""Claim 2, TinTeM: is its soft head worth it, and does it or CoSS predict how the teacher treats unusual images?

Heads: TinTeM against the cosine behind an MLP, and against TinTeM's student loss behind a hard orthogonal and a PCA
head, on three numbers of training images at equal steps.
Unusual images: two classes held out of distillation and of the bank, five splits; how well do a student's scores of the
test images order them as the teacher's do, within the known classes and within the held-out ones?
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import claim1_coss
import data
import numpy as np
import signed
import torch
from measures import METRICS, TEST, K, images, overlap, queries, teacher, teacher_neighbours, without_bank
from sizes import SEEDS as COUNT
from sizes import SIZES
from sizes import SPLITS as SPLIT_COUNT
from study import RATES, Run, best_rate, done, overlap_held_out, through

from manifold_probe.evaluation import auroc, fpr_at_tpr, knn_scores, mahalanobis_scores, rank_correlation
from manifold_probe.measures import Neighbours
from manifold_probe.models import saved_head

SEEDS = range(COUNT)
HEADS: dict[str, dict] = {
    "TinTeM": {"method": "tintem"},
    "orthogonal": {"method": "tintem", "head": "orthogonal"},
    "PCA": {"method": "tintem", "head": "pca"},
    "cosine": {"method": "cosine"},
}
UNUSUAL = ("CoSS 1", "cosine", "TinTeM")
SPLITS = np.random.default_rng(2).permutation(10).reshape(5, 2)
SCORES = (*METRICS, "Mahalanobis")


def head_run(label: str, size: int, seed: int, rate: float, part: str = "heads") -> Run:
    """A run of the comparison of heads; parts that end in "signed" have the student without its last ReLU."""
    rows, held, epochs = SIZES[size]
    fields = {"data": str(data.DATA / f"{claim1_coss.name(rows)}.npz"), "epochs": epochs, "held_out": held}
    if label == "orthogonal":
        fields["weight_decay"] = 0.0  # any weight decay turns torch's Householder parametrization into zeros
    if not part.startswith("rate"):
        fields["probe_rows"] = 50
    if part.endswith("signed"):
        fields |= signed.fields(seed)
    fields |= {"teacher": str(data.DATA / "lite2-train"), **HEADS[label]}

    def measure(run: Run, bank: dict, test: dict) -> dict[str, float]:
        if part.startswith("rate"):
            return {}
        found = {f"backbone: {key}": value for key, value in without_bank(test["backbone"]).items()}
        return found | (kept_by_head(run) if label != "cosine" else {})

    name = f"{label} {size}" if part.startswith("heads") else label
    return Run(
        "claim2", part, name, seed, rate, fields, lambda: images("test", TEST)[0], measure,
        {"head": label, "size": size, "epochs": epochs},
    )  # fmt: skip


@torch.no_grad()
def kept_by_head(run: Run) -> dict[str, float]:
    """What the teacher's head alone keeps of the teacher on test images: no student can copy more. And how orthogonal
    it is: the spread of its singular values, 0 for an exact rotation and projection."""
    state = torch.load(run.folder / "last.pt", map_location="cpu", weights_only=True)["method"]
    prefix = "teacher_head."
    state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    theirs = torch.from_numpy(teacher("lite2-test", "test", TEST))
    name = {"TinTeM": "layernorm_linear", "orthogonal": "orthogonal", "PCA": "pca"}[run.facts["head"]]
    head = saved_head(name, state)
    head.load_state_dict(state)
    out = head(theirs).numpy()
    near = Neighbours.search(out, K, metric="cosine", queries=queries())
    matrix = head.directions if name == "pca" else head.weight if name == "orthogonal" else head[1].weight
    values = torch.linalg.svdvals(matrix.detach().double())
    return {
        "teacher's head: overlap@10 cosine": overlap(teacher_neighbours("cosine"), near),
        "teacher's head: spread of singular values": float(values.std() / values.mean()),
    }


def rate_of(label: str, until: float = float("inf"), part: str = "rate") -> float | None:
    """The rate of TinTeM, chosen at 5,000 images, which serves its student loss behind any head; else claim 1's."""
    if label in claim1_coss.LOSSES:
        return claim1_coss.rate_of(label, until)
    runs = [head_run("TinTeM", 5_000, claim1_coss.CHOOSING, rate, part) for rate in RATES]
    through(runs, until)
    found = [each for each in map(done, runs) if each is not None]
    return best_rate(found, overlap_held_out) if len(found) == len(RATES) else None


@lru_cache
def split_name(split: int) -> str:
    """The data of a split: the first 6,000 training images of the other eight classes."""
    with np.load(data.fashion()[0]) as file:
        rows = np.flatnonzero(~np.isin(file["labels"], SPLITS[split]))[: claim1_coss.ROWS]
    return data.subset(f"train-split{split}", rows).stem


def scores(bank: np.ndarray, labels: np.ndarray, test: np.ndarray) -> dict[str, np.ndarray]:
    """How usual every test image is, more being more usual."""
    return {metric: knn_scores(bank, test, 1, metric) for metric in METRICS} | {
        "Mahalanobis": mahalanobis_scores(bank, labels, test)
    }


@lru_cache
def teacher_scores(split: int) -> dict[str, np.ndarray]:
    """The teacher's."""
    name = split_name(split)
    return scores(teacher("lite2-train", name), images(name, None)[1], teacher("lite2-test", "test", TEST))


def unusual_run(label: str, split: int, rate: float, part: str = "unusual") -> Run:
    """A run with two classes held out; its seed is its split."""
    loss = HEADS[label] if label == "TinTeM" else claim1_coss.LOSSES[label]
    fields = {"data": str(data.DATA / f"{split_name(split)}.npz"), "epochs": claim1_coss.EPOCHS, "probe_rows": 50}
    fields |= {"teacher": str(data.DATA / "lite2-train"), **loss}
    if part.endswith("signed"):
        fields |= signed.fields(split)

    def measure(run: Run, bank: dict, test: dict) -> dict[str, float]:
        labels = images(split_name(split), None)[1]
        outside = np.isin(images()[1], SPLITS[split])
        found = {}
        for place in ("backbone",) if label == "TinTeM" else ("backbone", "head"):
            student, theirs = scores(bank[place], labels, test[place]), teacher_scores(split)
            for name in SCORES:
                for among, rows in (("known", ~outside), ("held out", outside)):
                    ranks = rank_correlation(theirs[name][rows], student[name][rows])
                    found[f"{place}: {name}, rank among {among}"] = ranks
                found[f"{place}: {name}, AUROC"] = auroc(student[name][~outside], student[name][outside])
                found[f"{place}: {name}, FPR"] = fpr_at_tpr(student[name][~outside], student[name][outside])
                found[f"teacher: {name}, AUROC"] = auroc(theirs[name][~outside], theirs[name][outside])
                found[f"teacher: {name}, FPR"] = fpr_at_tpr(theirs[name][~outside], theirs[name][outside])
        return found

    classes = " and ".join(data.CLASSES[each] for each in SPLITS[split])
    return Run(
        "claim2", part, label, split, rate, fields, lambda: images("test", TEST)[0], measure,
        {"held_out_classes": classes, "epochs": claim1_coss.EPOCHS},
    )  # fmt: skip


def heads(until: float = float("inf"), seeds: range = SEEDS, labels: Iterable[str] = HEADS) -> None:
    """The comparison of heads, seed after seed; the cosine on 5,000 images is claim 1's run."""
    rates = {label: rate_of(label, until) for label in HEADS}
    for seed in seeds:
        runs = [
            head_run(label, size, seed, rates[label])
            for size in SIZES
            for label in labels
            if rates[label] is not None and (label, size) != ("cosine", 5_000)
        ]
        through(runs, until)


def heads_signed(until: float = float("inf"), seeds: range = SEEDS, labels: Iterable[str] = HEADS) -> None:
    """The heads again on 5,000 images, for the student whose features have both signs."""
    rates = {label: rate_of(label, until, "rate signed") for label in HEADS}
    for seed in seeds:
        wanted = [label for label in labels if rates[label] is not None]
        through([head_run(label, 5_000, seed, rates[label], "heads signed") for label in wanted], until)


def unusual_signed(until: float = float("inf"), splits: range = range(SPLIT_COUNT)) -> None:
    """The splits again, for that student."""
    rates = {label: rate_of(label, until, "rate signed") for label in UNUSUAL}
    for split in splits:
        wanted = [label for label in UNUSUAL if rates[label] is not None]
        through([unusual_run(label, split, rates[label], "unusual signed") for label in wanted], until)


def unusual(until: float = float("inf"), splits: range = range(SPLIT_COUNT)) -> None:
    """The splits."""
    rates = {label: rate_of(label, until) for label in UNUSUAL}
    for split in splits:
        through([unusual_run(label, split, rates[label]) for label in UNUSUAL if rates[label] is not None], until)


if __name__ == "__main__":
    heads()
    unusual()
    heads_signed()
    unusual_signed()
