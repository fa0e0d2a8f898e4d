"""A watch in the Trainer of transformers: ``trainer.add_callback(WatchCallback(watch, trainer))``.

Measures every ``watch.every`` steps, or at every evaluation where it is None, and at the end. The values go through
``trainer.log`` to all that it reports to. A callback has no other way there: transformers gives it no trainer, and its
trackers have seen the values of a step before it. Without the trainer they stand in the watch's log alone.

An evaluation has the values too: with ``metric_for_best_model="eval_watch/overlap_at_10"`` overlap chooses the best
checkpoint.
"""

from __future__ import annotations

from typing import Any
from weakref import proxy

from manifold_probe.errors import InputError, to_install
from manifold_probe.watch.watch import Watch

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise InputError(f"watch: transformers is not installed; {to_install('text')}") from error


class WatchCallback(TrainerCallback):
    """Measures the model that is trained."""

    def __init__(self, watch: Watch, trainer: Any = None) -> None:
        self.watch = watch
        self.trainer = None if trainer is None else proxy(trainer)  # which holds this callback, and is freed with it
        self.loss: float | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> Any:
        """Measure the student before training."""
        if self.trainer is None and args.report_to:
            fix = "use trainer.add_callback(WatchCallback(watch, trainer))"
            self.watch.logger.warning(f"watch: its values do not reach {', '.join(args.report_to)}; {fix}")
        return self._measure(state, control, model)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> Any:
        """Measure where it is due."""
        due = self.watch.is_due(state.global_step) or state.global_step == state.max_steps
        return self._measure(state, control, model) if due else control

    def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, metrics: Any = None, **_: Any) -> Any:
        """Measure where no number of steps is given."""
        if self.watch.every is None and self.watch.last != state.global_step:
            control = self._measure(state, control, model)
        metrics.update({f"eval_{name}": value for name, value in self.watch.values.items()})
        return control

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Keep the loss for the next measurement."""
        self.loss = (logs or {}).get("loss", self.loss)

    def _measure(self, state: Any, control: Any, model: Any) -> Any:
        measured = self.watch.measure(model, state.global_step, self.loss, state.epoch)
        if measured and self.trainer is not None:
            should_log = control.should_log  # trainer.log resets it, and the loss of this step would not be logged
            self.trainer.log(dict(self.watch.values))
            control.should_log = should_log
        return control
