"""The progress of a measurement as one number, over its two passes, maps and measures.

Work is estimated in multiplications; the rate of each kind was measured.
"""

from __future__ import annotations

from manifold_probe.measures.sides import Settings
from manifold_probe.parts import Progress
from manifold_probe.spaces.pairing import Pair

PROGRESS_STEPS = 1000
VALUES_A_SECOND, PRODUCTS_A_SECOND, DECOMPOSITION_A_SECOND = 4e8, 6e10, 6e9  # rows read, float32 products, eigenvalues
RANK_QUERIES, SECONDS_A_STUDENT, SECONDS_A_MAP = 1_000, 0.3, 8.0


class Work:
    """Progress of a whole measurement: the current stage, and its share that is done."""

    def __init__(self, pairs: dict[str, Pair], settings: Settings, maps: bool, report: Progress) -> None:
        widths = [next(iter(pairs.values())).teacher.d, *(pair.student.d for pair in pairs.values())]
        n, total = next(iter(pairs.values())).teacher.n, sum(widths)
        queries = min(n, settings.queries) * settings.searches
        sums = (widths[0] * total + sum(d * d for d in widths)) * settings.asks("moments")
        ranked = min(n, RANK_QUERIES) * settings.asks("ranks")
        decomposed = (widths[0] ** 3 + sum(d**3 for d in widths[1:])) / DECOMPOSITION_A_SECOND
        self.seconds = {
            "reading and searching": n * total / VALUES_A_SECOND + n * (queries * total + sums) / PRODUCTS_A_SECOND,
            "ranking neighbours": n * ranked * total * 3 / PRODUCTS_A_SECOND,
            "maps": SECONDS_A_MAP * len(widths) * maps,
            "measures and intervals": (SECONDS_A_STUDENT + 10 * decomposed) * len(pairs),
        }
        self.shares = {"maps": len(widths)}
        self.report, self.done, self.now, self.stage = report, 0.0, 0.0, ""

    def begin(self, stage: str) -> None:
        """Begin the next stage; the one before is done."""
        self._close()
        self.stage = stage
        self._report()

    def advance(self, share: float) -> None:
        """A further share of the current stage is done."""
        self.now = min(self.now + share, 1.0)
        self._report()

    def _close(self) -> None:
        if self.stage:
            self.done += self._weight()
            self.now = 0.0

    def _weight(self) -> float:
        return self.seconds[self.stage] / self.shares.get(self.stage, 1)

    def _report(self) -> None:
        total = sum(self.seconds.values())
        share = min((self.done + self.now * self._weight()) / total, 1.0)
        self.report(self.stage, int(PROGRESS_STEPS * share), PROGRESS_STEPS)
