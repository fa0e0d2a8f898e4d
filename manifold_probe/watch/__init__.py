"""Faithfulness while a student trains, in anybody's training loop: `Watch`, and one adapter a framework.

`manifold_probe.watch.lightning.WatchCallback`, `manifold_probe.watch.transformers.WatchCallback`,
`manifold_probe.watch.sentence_transformers.WatchEvaluator`.
"""

from manifold_probe.watch.watch import Watch

__all__ = ["Watch"]
