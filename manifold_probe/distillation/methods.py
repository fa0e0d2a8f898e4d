"""The methods by name, as `probe distill --method` takes them."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from typing import Any

from manifold_probe.distillation.ckd import CKD
from manifold_probe.distillation.compress import CompRess
from manifold_probe.distillation.cosine import Cosine
from manifold_probe.distillation.coss import CoSS
from manifold_probe.distillation.dist import DIST
from manifold_probe.distillation.dkd import DKD
from manifold_probe.distillation.kd import KD
from manifold_probe.distillation.method import Method
from manifold_probe.distillation.mse import MSE
from manifold_probe.distillation.pkt import PKT
from manifold_probe.distillation.rkd import RKD
from manifold_probe.distillation.seed import SEED
from manifold_probe.distillation.sp import SP
from manifold_probe.distillation.tintem import TinTeM
from manifold_probe.errors import InputError

METHODS: dict[str, type[Method]] = {
    "coss": CoSS,
    "cosine": Cosine,
    "mse": MSE,
    "tintem": TinTeM,
    "cospress": TinTeM,
    "ckd": CKD,
    "seed": SEED,
    "compress": CompRess,
    "rkd": RKD,
    "sp": SP,
    "pkt": PKT,
    "kd": KD,
    "dkd": DKD,
    "dist": DIST,
}


def method_named(name: str) -> type[Method]:
    """The class of a method.

    Raises
    ------
    InputError
        For an unknown name; the message suggests the nearest one.

    >>> method_named("coss").__name__
    'CoSS'
    """
    method = METHODS.get(name.lower())
    if method is None:
        near = get_close_matches(name.lower(), METHODS, 1, 0.3)
        meant = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"--method: no method is called {name!r}; {meant}there are {', '.join(METHODS)}")
    return method


def constants(name: str) -> dict[str, Any]:
    """The constants of a method with the paper's values; ``--option NAME=VALUE`` changes them.

    >>> constants("coss")["space_weight"]
    1.0
    """
    parameters = inspect.signature(method_named(name).__init__).parameters.values()
    return {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in ("head", "sample")
    }
