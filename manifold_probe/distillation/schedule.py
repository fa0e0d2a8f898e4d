"""The learning rate at any time of a run, as a pure function.

    cosine        from the end of warm-up to the end: final + (rate - final) (1 + cos(pi t)) / 2, t in 0..1, every step
    hold-cosine   rate in passes 0 to 4, then rate (1 + cos(pi p / P)) / 2 in pass p of P: CoSS's released schedule
    steps         rate, x 0.1 at 5/8, 6/8 and 7/8 of the run: epochs 150, 180 and 210 of 240
    constant      rate

Warm-up rises linearly from ``warmup_rate`` over ``warmup_epochs``, before every schedule.
"""

from __future__ import annotations

import math

from manifold_probe.distillation.config import Config

CONSTANT_PASSES = 5  # of hold-cosine
DROPS = (5 / 8, 6 / 8, 7 / 8)  # of steps, as shares of the run


def rate_at(config: Config, epoch: float) -> float:
    """The learning rate after ``epoch`` passes, which may be fractional.

    >>> from manifold_probe.distillation.config import resolved
    >>> coss = resolved({"method": "coss", "teacher": "t.pt", "student": "conv4", "data": "d.npz"})
    >>> rate_at(coss, 4.9), round(rate_at(coss, 5) / coss.rate, 3)
    (0.03, 0.905)
    """
    if epoch < config.warmup_epochs:
        return config.warmup_rate + (config.rate - config.warmup_rate) * epoch / config.warmup_epochs
    if config.schedule == "constant":
        return config.rate
    if config.schedule == "steps":
        return config.rate * 0.1 ** sum(epoch >= drop * config.epochs for drop in DROPS)
    if config.schedule == "hold-cosine":
        done = math.floor(epoch) / config.epochs
        return config.rate if epoch < CONSTANT_PASSES else config.rate * (1 + math.cos(math.pi * done)) / 2
    span = max(config.epochs - config.warmup_epochs, 1e-9)
    turn = (1 + math.cos(math.pi * min(1.0, (epoch - config.warmup_epochs) / span))) / 2
    return config.final_rate + (config.rate - config.final_rate) * turn
