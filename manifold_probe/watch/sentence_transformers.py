"""A watch as an evaluator: ``SentenceTransformerTrainer(..., evaluator=WatchEvaluator(watch))``.

It runs when the trainer evaluates, and the trainer logs its values. With ``metric_for_best_model`` set to "eval_" and
``evaluator.primary_metric`` (as in "eval_watch/overlap_at_10"), overlap chooses the best checkpoint.
"""

from __future__ import annotations

from typing import Any

from manifold_probe.errors import InputError, to_install
from manifold_probe.measures.catalogue import OVERLAP
from manifold_probe.watch.watch import Watch, tracked_name

try:
    from sentence_transformers.base.evaluation import BaseEvaluator
except ImportError as error:
    raise InputError(f"watch: sentence-transformers is not installed; {to_install('text')}") from error


class WatchEvaluator(BaseEvaluator):
    """Measures the model whenever it is evaluated; the watch's inputs are texts."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch
        self.greater_is_better = True
        self.primary_metric: str = tracked_name(OVERLAP.named(watch.k))

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, Any]:
        """The values by name; where the measurement failed, NaN, which is never the best."""
        step = steps if steps >= 0 else self.watch.last or 0
        self.watch.measure(model, step, epoch=epoch if epoch >= 0 else None)
        return dict(self.watch.values)
