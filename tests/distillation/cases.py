"""Every loss beside its naive twin, with the widths and the further arguments it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from manifold_probe import distillation
from tests.distillation import naive

ROWS, WIDE, NARROW, KEYS = 7, 5, 4, 9


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def directions(*shape: int, seed: int) -> Tensor:
    return torch.nn.functional.normalize(normal(*shape, seed=seed))


def labels(rows: int) -> Tensor:
    return torch.arange(rows) % WIDE


@dataclass(frozen=True)
class Case:
    name: str
    width: int = WIDE  # the student's; the teacher's is WIDE
    more: Callable[[int], tuple[Tensor, ...]] = lambda rows: ()
    options: dict[str, Any] = field(default_factory=dict)
    tokens: tuple[int, ...] = ()
    zero_when_equal: bool = True
    least_rows: int = 1

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return getattr(distillation, self.name)(student, teacher, *self.more(len(student)), **self.options)

    def slow(self, student: Tensor, teacher: Tensor) -> float:
        more = (x.tolist() for x in self.more(len(student)))
        return getattr(naive, self.name)(student.tolist(), teacher.tolist(), *more, **self.options)

    def pair(self, rows: int = ROWS, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
        teacher = normal(rows, *self.tokens, WIDE, seed=seed)
        student = normal(rows, *self.tokens, self.width, seed=seed + 1) + teacher[..., : self.width] / 2
        return student.to(dtype), teacher.to(dtype)


def one_queue(rows: int) -> tuple[Tensor, ...]:
    return (directions(KEYS, WIDE, seed=5),)


def two_queues(rows: int) -> tuple[Tensor, ...]:
    return directions(KEYS, NARROW, seed=6), directions(KEYS, WIDE, seed=5)


CASES = {
    "cosine": Case("cosine_loss"),
    "space": Case("space_similarity_loss"),
    "coss": Case("coss_loss"),
    "coss, weighted": Case("coss_loss", options={"space_weight": 0.5, "scale": 142.857}),
    "mse": Case("mse_loss"),
    "neighbours": Case("neighbour_embedding_loss", NARROW, least_rows=2),
    "neighbours, one temperature": Case("neighbour_embedding_loss", options={"temperatures": (0.3,)}, least_rows=2),
    "neighbours of tokens": Case("neighbour_embedding_loss", NARROW, tokens=(3,)),
    "token sets": Case("token_set_loss", tokens=(3,)),
    "ckd": Case("ckd_loss", zero_when_equal=False, least_rows=2),
    "ckd, paper": Case(
        "ckd_loss", options={"temperature": 0.5, "negatives": "paper"}, zero_when_equal=False, least_rows=2
    ),
    "seed": Case("seed_loss", more=one_queue, zero_when_equal=False),
    "compress": Case("compress_loss", NARROW, more=two_queues),
    "rkd distance": Case("rkd_distance_loss", NARROW),
    "rkd angle": Case("rkd_angle_loss", NARROW),
    "rkd": Case("rkd_loss", NARROW),
    "sp": Case("sp_loss", NARROW),
    "pkt": Case("pkt_loss", NARROW),
    "kd": Case("kd_loss"),
    "kd, cold": Case("kd_loss", options={"temperature": 0.5}),
    "dkd": Case("dkd_loss", more=lambda rows: (labels(rows),)),
    "dkd, other weights": Case(
        "dkd_loss", more=lambda rows: (labels(rows),), options={"alpha": 2.0, "beta": 0.5, "temperature": 1.0}
    ),
    "dist": Case("dist_loss"),
    "dist, warm": Case("dist_loss", options={"beta": 2.0, "gamma": 0.5, "temperature": 4.0}),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
