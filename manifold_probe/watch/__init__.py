"""Faithfulness while a student trains, in anybody's training loop.

`Watch` measures a fixed set of rows; one adapter a framework: `manifold_probe.watch.lightning.WatchCallback`,
`manifold_probe.watch.transformers.WatchCallback` and `manifold_probe.watch.sentence_transformers.WatchEvaluator`.
"""

from typing import Any

__all__ = ["Watch"]


def __getattr__(name: str) -> Any:
    if name == "Watch":
        from manifold_probe.watch.watch import Watch

        return Watch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
