"""A watch in Lightning: ``Trainer(callbacks=[WatchCallback(watch)])``.

Measures every ``watch.every`` steps, or at the end of every epoch where it is None, and when training ends. The values
go to the trainer's loggers and to its ``callback_metrics``: ``ModelCheckpoint(monitor="watch/overlap_at_10",
mode="max")`` works.
"""

from __future__ import annotations

from typing import Any

from manifold_probe.errors import InputError, to_install
from manifold_probe.watch.watch import Watch

try:
    from lightning.pytorch import Callback
except ImportError:
    try:
        from pytorch_lightning import Callback
    except ImportError as error:
        raise InputError(f"watch: Lightning is not installed; {to_install('lightning')}") from error


class WatchCallback(Callback):
    """Measures the module that is trained; ``watch.embed`` gets the LightningModule."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Measure the student before training."""
        self._measure(trainer, pl_module, trainer.current_epoch)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Measure where it is due."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        self.watch.add(loss)
        if self.watch.is_due(trainer.global_step):
            self._measure(trainer, pl_module, trainer.current_epoch)
            pl_module.log_dict(self.watch.values, logger=False, on_step=True, on_epoch=False)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Measure where no number of steps is given."""
        if self.watch.every is None:
            self._measure(trainer, pl_module, trainer.current_epoch + 1)
        pl_module.log_dict(self.watch.values, logger=False, on_step=False, on_epoch=True)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Measure the student that was trained."""
        if self.watch.last != trainer.global_step:
            self._measure(trainer, pl_module, trainer.current_epoch)

    def _measure(self, trainer: Any, pl_module: Any, epoch: int) -> None:
        if self.watch.measure(pl_module, trainer.global_step, epoch=epoch):
            for logger in trainer.loggers:
                logger.log_metrics(self.watch.values, step=trainer.global_step)
