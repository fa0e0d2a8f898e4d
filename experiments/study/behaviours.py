"""What a student's features are good for, and whether they decide as the teacher's do: every behaviour of a student.

All are of the backbone, which is deployed. The bank holds training rows with labels; no test row was seen in training.
The teacher's part is computed once a process. Range 0 to 1 and higher is better, but for ood_fpr95 (lower is better),
the rank agreements (-1 to 1) and the excess of agreement (at most 1, 0 for independent errors).
"""

from __future__ import annotations

from functools import lru_cache

import data
import numpy as np

from manifold_probe.evaluation import (
    accuracy,
    agreement,
    auroc,
    corrupt,
    fpr_at_tpr,
    knn_predict,
    knn_scores,
    labelled_rows,
    linear_predict,
    mahalanobis_scores,
    neighbour_recall,
    rank_correlation,
    recall,
)

K, BANK, SEED = 10, 4_000, 0
SHARES = {"linear_accuracy": 1.0, "linear_accuracy_10%": 0.1, "linear_accuracy_1%": 0.01}
CORRUPTED, SEVERITIES = 200, (1, 3, 5)  # test images, and how strongly they are corrupted
CORRUPTIONS = ("gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "motion_blur",
               "brightness", "contrast", "elastic", "pixelate", "jpeg")  # fmt: skip
Features = dict[str, np.ndarray]  # of "bank", "test", "other" and, of images, "corrupted"


@lru_cache
def labels(setting: str, part: str) -> np.ndarray:
    """The labels (n,) of a part; those of the bank for "bank"."""
    found = data.inputs(setting, "train" if part == "bank" else part)["labels"]
    return found[:BANK] if part == "bank" else found


@lru_cache
def corrupted_images(setting: str) -> np.ndarray:
    """The first test images with every corruption at every severity: (corruptions * severities * CORRUPTED, H, W)."""
    from PIL import Image

    def make() -> dict[str, np.ndarray]:
        images = data.inputs(setting, "test")["images"][:CORRUPTED]
        ids = data.inputs(setting, "test")["ids"]
        changed = [
            np.asarray(corrupt(Image.fromarray(image), name, severity, SEED, str(ids[row])).convert("L"))
            for name in CORRUPTIONS
            for severity in SEVERITIES
            for row, image in enumerate(images)
        ]
        return {"images": np.stack(changed), "ids": data.named("corrupted", len(changed))}

    return data.arrays(data.stored(f"{setting}-corrupted", make))["images"]


@lru_cache
def of_teacher(setting: str) -> Features:
    """The teacher's features."""
    parts = {part: data.features(setting, part) for part in ("train", "test", "other")}
    parts["bank"] = parts.pop("train")[:BANK]
    if setting != "text":
        corrupted_images(setting)
        parts["corrupted"] = data.features(setting, "corrupted")
    return parts


def decisions(setting: str, features: Features) -> dict[str, np.ndarray]:
    """Every label and score that features give to test rows and to others."""
    bank, test, other, known = features["bank"], features["test"], features["other"], labels(setting, "bank")
    made = {"knn": knn_predict(bank, known, test, K)}
    for name, share in SHARES.items():
        rows = labelled_rows(known, share, SEED)
        made[name] = linear_predict(bank[rows], known[rows], test)
    both = np.concatenate([test, other])
    made["ood_cosine"] = knn_scores(bank, both, 1, "cosine")
    made["ood_euclidean"] = knn_scores(bank, both, 1, "euclidean")
    made["ood_mahalanobis"] = mahalanobis_scores(bank, known, both)
    if "corrupted" in features:
        made["corrupted"] = knn_predict(bank, known, features["corrupted"], K)
    task = labels(setting, "other")
    learnt = labelled_rows(task, 0.5, SEED)
    rest = np.setdiff1d(np.arange(len(task)), learnt)
    made["transfer_knn"] = knn_predict(other[learnt], task[learnt], other[rest], K)
    made["transfer_linear"] = linear_predict(other[learnt], task[learnt], other[rest])
    made["transfer_truth"] = task[rest]
    return made


@lru_cache
def teacher_decisions(setting: str) -> dict[str, np.ndarray]:
    """`decisions` of the teacher."""
    return decisions(setting, of_teacher(setting))


def behaviours(setting: str, features: Features) -> dict[str, float]:
    """All behaviours of a student's features by name."""
    truth, made, theirs = labels(setting, "test"), decisions(setting, features), teacher_decisions(setting)
    values: dict[str, float | None] = {"knn_accuracy": accuracy(made["knn"], truth)}
    values |= {name: accuracy(made[name], truth) for name in SHARES}
    for kind, predicted in (("knn", "knn"), ("linear", "linear_accuracy")):
        agreed = agreement(theirs[predicted], made[predicted], truth)
        values |= {f"{kind}_agreement": agreed["agreement"], f"{kind}_agreement_excess": agreed["excess"]}
    for kind in ("knn", "linear"):
        values[f"transfer_{kind}_accuracy"] = accuracy(made[f"transfer_{kind}"], made["transfer_truth"])
    values |= {f"recall_{k}": recall(features["test"], truth, k) for k in (1, 10)}
    values["neighbour_recall"] = neighbour_recall(of_teacher(setting)["test"], features["test"], K)
    for score in ("cosine", "euclidean", "mahalanobis"):
        scores, usual = made[f"ood_{score}"], len(truth)
        values[f"ood_auroc_{score}"] = auroc(scores[:usual], scores[usual:])
        values[f"ood_fpr95_{score}"] = fpr_at_tpr(scores[:usual], scores[usual:])
        values[f"ood_rank_{score}"] = rank_correlation(theirs[f"ood_{score}"], scores)
        values[f"ood_rank_usual_{score}"] = rank_correlation(theirs[f"ood_{score}"][:usual], scores[:usual])
    if "corrupted" in made:
        repeated = np.tile(truth[:CORRUPTED], len(CORRUPTIONS) * len(SEVERITIES))
        values["corruption_accuracy"] = accuracy(made["corrupted"], repeated)
        values["corruption_agreement"] = float((made["corrupted"] == theirs["corrupted"]).mean())
    return {name: float("nan") if value is None else float(value) for name, value in values.items()}
