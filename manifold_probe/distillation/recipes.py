"""The published settings: how each method's paper optimises (`PUBLISHED`), and whole recipes by name (`RECIPES`).

    probe distill --recipe coss-imagenet --teacher TEACHER --student STUDENT --data DATA --out run/
    probe distill --recipe ckd-cifar100 --dry-run              print every setting, train nothing

What is given next to a recipe goes over it. Where a paper's code varies a constant by pair of networks, the recipe has
the first of its values and its comment names the others.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from manifold_probe.errors import InputError

# CoSS, TinTeM and CKD as their papers' code; RKD, SP, PKT, KD, DKD and DIST as the CIFAR-100 comparisons of CRD and
# DKD train them; the others, which share CoSS's setting, as CoSS.
_IMAGENET = {"optimiser": "sgd", "rate": 0.03, "weight_decay": 1e-4, "momentum": 0.9, "batch_size": 256}
_CIFAR = {"optimiser": "sgd", "rate": 0.05, "weight_decay": 5e-4, "momentum": 0.9, "batch_size": 64}
_COSS = {**_IMAGENET, "epochs": 25, "schedule": "hold-cosine"}
_TINTEM = {
    "optimiser": "adamw", "rate": 5e-4, "weight_decay": 0.05, "batch_size": 1024, "epochs": 300,
    "schedule": "cosine", "warmup_epochs": 5.0, "warmup_rate": 1e-6, "final_rate": 1e-5,
}  # fmt: skip
_CKD = {**_CIFAR, "epochs": 480, "schedule": "cosine"}
_STEPS = {**_CIFAR, "epochs": 240, "schedule": "steps"}
PUBLISHED: dict[str, dict[str, Any]] = {
    "coss": _COSS,
    "cosine": {**_IMAGENET, "epochs": 130, "schedule": "cosine"},
    "mse": {**_IMAGENET, "epochs": 130, "schedule": "cosine"},
    "tintem": _TINTEM,
    "cospress": _TINTEM,
    "ckd": _CKD,
    "seed": {**_IMAGENET, "epochs": 200, "schedule": "cosine"},
    "compress": {**_IMAGENET, "epochs": 130, "schedule": "cosine"},
    **dict.fromkeys(("rkd", "sp", "pkt", "kd", "dkd", "dist"), _STEPS),
}

RECIPES: dict[str, dict[str, Any]] = {
    # Singh & Wang 2024, released script: 16 anchors with 15 of their 31 nearest neighbours a batch, each anchor once a
    # pass; MoCo v2's views; temperatures 0.07 and 0.1 on normalised vectors, a factor of 1 / 0.007 on the loss. The
    # code's default space_weight is 0.5, its scripts give 1.
    "coss-imagenet": {
        **_COSS,
        "method": "coss",
        "neighbour_batches": True,
        "augment": "crop-mirror-jitter",
        "size": "224",
        "options": {"space_weight": 1.0, "scale": 1 / 0.007, "gather": False},
    },
    # Mannix et al. 2024: DINOv2 ViT-S/14 to ViT-Ti/14, tokens with the class token first.
    "tintem-dinov2": {
        **_TINTEM,
        "method": "tintem",
        "augment": "crop-mirror-colour",
        "size": "224",
        "pool": "tokens",
        "teacher_pool": "tokens",
        "options": {"gather": True},
    },
    # Zhu et al. 2025. Weights of 10, 50 and 100, temperatures of 1 and 2, batches of 64 and 32 by pair of networks; a
    # rate of 0.01 for MobileNetV2 and ShuffleNet.
    "ckd-cifar100": {
        **_CKD,
        "method": "ckd",
        "augment": "shift-mirror",
        "size": "32",
        "options": {"weight": 10.0, "temperature": 1.0, "negatives": "student"},
    },
}


def training_recipe(name: str) -> dict[str, Any]:
    """The settings of a recipe.

    Raises
    ------
    InputError
        An unknown name, with the nearest.

    >>> training_recipe("tintem-dinov2")["rate"]
    0.0005
    """
    if name not in RECIPES:
        near = get_close_matches(name.lower(), RECIPES, 1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"--recipe: no recipe is called {name!r}; {meant}there are {', '.join(RECIPES)}")
    return RECIPES[name]
