"""How much work a measurement is, so that one number says how far it is: of the two passes, maps and measures.

Counted in multiplications, roughly; each kind at the rate at which it was measured to run.
"""

from __future__ import annotations

from manifold_probe.measures.sides import Settings
from manifold_probe.parts import Progress
from manifold_probe.spaces.pairing import Pair

PARTS = 1000
ROUNDED, PRODUCTS, DECOMPOSED = 4e8, 6e10, 6e9  # per second: values of rows, single products, decompositions
RANKED, FIXED, DRAWN = 1_000, 0.3, 8.0  # queries; seconds a student; seconds a map


class Work:
    """Progress through the whole of a measurement: what was begun, and how far it is."""

    def __init__(self, pairs: dict[str, Pair], settings: Settings, maps: bool, report: Progress) -> None:
        widths = [next(iter(pairs.values())).teacher.d, *(pair.student.d for pair in pairs.values())]
        n, total = next(iter(pairs.values())).teacher.n, sum(widths)
        queries = min(n, settings.queries) * settings.searches
        sums = (widths[0] * total + sum(d * d for d in widths)) * settings.asks("moments")
        ranked = min(n, RANKED) * settings.asks("ranks")
        decomposed = (widths[0] ** 3 + sum(d**3 for d in widths[1:])) / DECOMPOSED
        self.seconds = {
            "reading and searching": n * total / ROUNDED + n * (queries * total + sums) / PRODUCTS,
            "ranking neighbours": n * ranked * total * 3 / PRODUCTS,
            "maps": DRAWN * len(widths) * maps,
            "measures and intervals": (FIXED + 10 * decomposed) * len(pairs),
        }
        self.shares = {"maps": len(widths)}
        self.report, self.done, self.now, self.stage = report, 0.0, 0.0, ""

    def begin(self, stage: str) -> None:
        """The next part; what was begun before is over."""
        self._close()
        self.stage = stage
        self._tell()

    def advance(self, share: float) -> None:
        """A further share of what was begun is done."""
        self.now = min(self.now + share, 1.0)
        self._tell()

    def _close(self) -> None:
        if self.stage:
            self.done += self._weight()
            self.now = 0.0

    def _weight(self) -> float:
        return self.seconds[self.stage] / self.shares.get(self.stage, 1)

    def _tell(self) -> None:
        whole = sum(self.seconds.values())
        share = min((self.done + self.now * self._weight()) / whole, 1.0)
        self.report(self.stage, int(PARTS * share), PARTS)
