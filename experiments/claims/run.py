"""The three claims at a small scale: trains missing runs, the most important first, then writes results/ and figures/.

    python experiments/claims/run.py                          # full size: a day on two cores
    python experiments/claims/run.py --quick                  # the committed size
    python experiments/claims/run.py --quick --until 00:30    # start no run after that; the next start continues
    python experiments/claims/run.py --quick --part claim3    # one claim alone

A second process shares the work. `analyse.py` alone writes results/ from the finished runs.
"""

from __future__ import annotations

import argparse
import time
from datetime import datetime, timedelta
from functools import partial

import claim1_coss
import claim2_tintem
import claim3_ckd
import data

QUICK_HEADS = {"labels": ("TinTeM", "PCA", "cosine")}  # a hard orthogonal head costs half a second a step
HEADS_SOON = partial(claim2_tintem.heads, **QUICK_HEADS)
SIGNED_SOON = partial(claim2_tintem.heads_signed, **QUICK_HEADS)
STAGES = [  # a first look at everything, then more seeds
    ("claim1", claim1_coss.work, range(2)),
    ("claim3", claim3_ckd.work, range(3)),
    ("claim2", claim2_tintem.unusual, range(5)),
    ("claim3", claim3_ckd.grid, range(1)),
    ("claim2", claim2_tintem.unusual_signed, range(5)),
    ("claim1", claim1_coss.work, range(3)),
    ("claim2", HEADS_SOON, range(1)),
    ("claim2", SIGNED_SOON, range(3)),
    ("claim3", claim3_ckd.grid, range(2)),
    ("claim1", claim1_coss.work, range(4)),
    ("claim2", HEADS_SOON, range(3)),
    ("claim1", claim1_coss.work, claim1_coss.SEEDS),
    ("claim2", HEADS_SOON, claim2_tintem.SEEDS),
    ("claim2", SIGNED_SOON, claim2_tintem.SEEDS),
    ("claim3", claim3_ckd.work, claim3_ckd.SEEDS),
    ("claim3", claim3_ckd.grid, claim3_ckd.SEEDS),
    ("claim2", claim2_tintem.heads, claim2_tintem.SEEDS),
    ("claim2", claim2_tintem.heads_signed, claim2_tintem.SEEDS),
]


def moment(text: str) -> float:
    """The next time that the clock shows HH:MM, in seconds."""
    now = datetime.now()
    hour, minute = map(int, text.split(":"))
    then = now.replace(hour=hour, minute=minute, second=0)
    return (then if then > now else then + timedelta(days=1)).timestamp()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the smaller study whose results are committed")
    parser.add_argument("--until", type=moment, default=float("inf"), metavar="HH:MM", help="start no run after this")
    parser.add_argument("--part", choices=["claim1", "claim2", "claim3"], help="one claim alone")
    arguments = parser.parse_args()
    data.teacher()
    for name, stage, seeds in STAGES:
        if arguments.part in (None, name) and time.time() < arguments.until:
            stage(arguments.until, seeds)
    import analyse

    analyse.main()


if __name__ == "__main__":
    main()
