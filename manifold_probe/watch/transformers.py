"""A watch in the Trainer of transformers: ``trainer.add_callback(WatchCallback(watch, trainer))``.

Measures every ``watch.every`` steps, or at every evaluation where it is None. With the trainer the values go through
``trainer.log`` to all that it reports to; ``Trainer(callbacks=[WatchCallback(watch)])`` writes only the watch's log.
"""

from __future__ import annotations

from typing import Any

from manifold_probe.errors import InputError, to_install
from manifold_probe.watch.watch import Watch

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise InputError(f"watch: transformers is not installed; {to_install('text')}") from error


class WatchCallback(TrainerCallback):
    """Measures the model that is trained."""

    def __init__(self, watch: Watch, trainer: Any = None) -> None:
        self.watch, self.trainer = watch, trainer
        self.loss: float | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> Any:
        """Measure the student before training."""
        return self._measure(state, control, model)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> Any:
        """Measure where it is due."""
        due = self.watch.every is not None and state.global_step % self.watch.every == 0
        return self._measure(state, control, model) if due else control

    def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> Any:
        """Measure where no number of steps is given."""
        return self._measure(state, control, model) if self.watch.every is None else control

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
