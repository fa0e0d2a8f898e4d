"""What each of two processes runs: a training in a framework, watched or not; then its weights are written.

python -m torch.distributed.run --nproc_per_node 2 two_processes.py FRAMEWORK WATCHED FOLDER
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from manifold_probe.watch import Watch
from tests.watch.test_adapters import TEACHER, Regressor, X, same, student


def plain(watch: Watch | None, folder: Path) -> nn.Module:
    """DistributedDataParallel by hand; the loop calls the watch in both processes."""
    model = nn.parallel.DistributedDataParallel(student())
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    mine = X[torch.distributed.get_rank() :: 2], TEACHER[torch.distributed.get_rank() :: 2]
    loss = None
    for step in range(9):
        if watch is not None:
            values = watch.step(model, step, loss)
            assert (step % 4 == 0) == bool(values)
        rows = torch.randint(len(mine[0]), (16,))
        loss = (model(mine[0][rows]) - mine[1][rows]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


def sharded(watch: Watch | None, folder: Path) -> nn.Module:
    """FSDP: the watch says that it cannot measure, and no process waits for another."""
    from torch.distributed.fsdp import fully_shard

    mesh = torch.distributed.init_device_mesh("cpu", (2,))
    model = student()
    fully_shard(model[3], mesh=mesh)
    if watch is not None and not torch.distributed.get_rank():
        assert watch.step(model, 0) == {}
    model(X).sum().backward()
    return nn.Identity()


def lightning(watch: Watch | None, folder: Path) -> nn.Module:
    """Lightning's ddp strategy, with a checkpoint that overlap chooses."""
    import lightning.pytorch as pl
    from lightning.pytorch.callbacks import ModelCheckpoint

    from manifold_probe.watch.lightning import WatchCallback
    from tests.watch.test_adapters import lightning_module

    best = ModelCheckpoint(folder / "best", monitor="watch/overlap_at_10", mode="max")
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        strategy="ddp",
        devices=2,
        callbacks=[WatchCallback(watch), best] if watch else [],
        enable_checkpointing=watch is not None,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = lightning_module()
    loader = DataLoader(TensorDataset(X, TEACHER), batch_size=16, shuffle=True)
    trainer.fit(module, loader)
    assert watch is None or best.best_model_path
    return module


def transformers(watch: Watch | None, folder: Path) -> nn.Module:
    """The Trainer of transformers, with a checkpoint that overlap chooses."""
    from transformers import Trainer, TrainingArguments

    from manifold_probe.watch.transformers import WatchCallback

    data: Any = [{"x": X[row], "labels": TEACHER[row]} for row in range(len(X))]
    arguments = TrainingArguments(
        str(folder / "out"),
        num_train_epochs=2,
        per_device_train_batch_size=8,
        eval_strategy="epoch",  # an evaluation draws random numbers, with or without a watch
        save_strategy="epoch",
        metric_for_best_model="eval_watch/overlap_at_10" if watch else None,
        greater_is_better=True if watch else None,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(Regressor(), arguments, train_dataset=data, eval_dataset=data)
    if watch is not None:
        trainer.add_callback(WatchCallback(watch, trainer))
    trainer.train()
    assert watch is None or trainer.state.best_model_checkpoint
    return trainer.model


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    _, framework, name = sys.argv
    folder, weights = Path(name), []
    if framework in ("plain", "sharded"):
        torch.distributed.init_process_group("gloo")
    for watched in (False, True):
        every = None if framework == "transformers" else 4
        watch = Watch(TEACHER, X, every=every, out=folder / "w.jsonl") if watched else None
        torch.manual_seed(3)
        weights.append(globals()[framework](watch, folder).state_dict())
    assert same(weights)
    torch.distributed.barrier()
    if framework in ("plain", "sharded"):  # gloo may abort when it ends after these, watched or not
        sys.stderr.flush()
        os._exit(0)
    torch.distributed.destroy_process_group()
