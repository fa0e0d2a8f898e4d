"""The adapters with the real libraries: the training is untouched, values reach the trackers, the best is chosen."""

from __future__ import annotations

import json
import math
import os
import struct
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from manifold_probe.watch import Watch

pytestmark = pytest.mark.slow
N = 96
X = torch.randn(N, 6, generator=torch.Generator().manual_seed(0))
TEACHER = X @ torch.randn(6, 8, generator=torch.Generator().manual_seed(1))


def student() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.2), nn.Linear(16, 8))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def same(weights: list[dict[str, torch.Tensor]]) -> bool:
    return all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard reads from a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events: dict[str, list[tuple[int, float]]] = {}
    for file in sorted(folder.rglob("*tfevents*")):
        read = EventAccumulator(str(file)).Reload()
        for tag in read.Tags()["scalars"]:
            events.setdefault(tag, []).extend((event.step, event.value) for event in read.Scalars(tag))
    return events


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow, which writes to a folder."""
    module = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    module.set_tracking_uri((tmp_path / "mlruns").as_uri())
    yield module
    while module.active_run():
        module.end_run()


def history(mlflow: Any, name: str) -> list[tuple[int, float]]:
    """The values of a metric in the only run."""
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([each.experiment_id for each in client.search_experiments()])
    return [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)]


def close(values: list[tuple[int, float]], wanted: list[tuple[int, float]]) -> bool:
    """Whether two courses are the same to the precision of a tracker."""
    return np.allclose(values, wanted, rtol=1e-6)


def overlaps(log: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["measures"]["backbone"]["overlap@10"]) for line in lines(log)]


def lightning_module() -> Any:
    import lightning.pytorch as pl

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.student = student()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.student(x)

        def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
            assert self.student.training
            return (self(batch[0]) - batch[1]).square().mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), 1e-2)

    return Module()


@pytest.mark.parametrize("every", [4, None], ids=["steps", "epochs"])
def test_lightning(every: int | None, tmp_path: Path) -> None:
    pl = pytest.importorskip("lightning.pytorch")
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.loggers import TensorBoardLogger

    from manifold_probe.watch.lightning import WatchCallback

    log, weights = tmp_path / "w.jsonl", []
    for watched in (False, True):
        loader = DataLoader(TensorDataset(X, TEACHER), batch_size=16, shuffle=True)
        callbacks: list[Any] = [WatchCallback(Watch(TEACHER, loader, every=every, out=log, strict=True))]
        best = ModelCheckpoint(
            tmp_path / "best", monitor="watch/overlap_at_10", mode="max", save_on_train_epoch_end=True
        )
        module = lightning_module()
        torch.manual_seed(3)
        trainer = pl.Trainer(
            max_epochs=2,
            accelerator="cpu",
            callbacks=[*callbacks, best] if watched else [],
            logger=TensorBoardLogger(tmp_path / "tb") if watched else False,
            enable_checkpointing=watched,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1,
        )
        trainer.fit(module, loader)
        weights.append(module.state_dict())
    assert same(weights)
    assert [line["step"] for line in lines(log)] == ([0, 4, 8, 12] if every else [0, 6, 12])
    assert lines(log)[-1]["loss"] < lines(log)[1]["loss"]
    assert close(scalars(tmp_path / "tb")["watch/overlap_at_10"], overlaps(log))
    assert best.best_model_score == pytest.approx(max(value for _, value in overlaps(log)[1:]))


@pytest.mark.parametrize(("every", "fails"), [(100, False), (4, True)], ids=["rarely", "diverged"])
def test_lightning_goes_on_where_there_is_no_value(every: int, fails: bool, tmp_path: Path) -> None:
    pl = pytest.importorskip("lightning.pytorch")
    from lightning.pytorch.callbacks import ModelCheckpoint

    from manifold_probe.watch.lightning import WatchCallback

    loader = DataLoader(TensorDataset(X, TEACHER), batch_size=16)
    embed = (lambda model, batch: batch[0] * math.nan) if fails else None
    watch = Watch(TEACHER, loader, every=every, out=tmp_path / "w.jsonl", embed=embed)
    best = ModelCheckpoint(tmp_path, monitor="watch/overlap_at_10", mode="max")
    module = lightning_module()
    type(module).validation_step = lambda self, batch, index: None
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        callbacks=[WatchCallback(watch), best],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, loader, loader)
    assert trainer.global_step == 12
    assert not fails or not (tmp_path / "w.jsonl").exists()
    assert fails or [line["step"] for line in lines(tmp_path / "w.jsonl")] == [0, 12]


class Regressor(nn.Module):
    """A model as the Trainer of transformers trains it."""

    def __init__(self) -> None:
        super().__init__()
        self.student = student()

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        features = self.student(x)
        return {"features": features} | ({} if labels is None else {"loss": (features - labels).square().mean()})


def wandb_history(folder: Path, name: str) -> list[tuple[int, float]]:
    """The values of a metric in the only offline run of Weights & Biases, by the step that its callback logs.

    Its file is a LevelDB log: after 7 bytes, blocks of 32 KiB of records with a checksum, a size and a kind.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = folder.rglob("*.wandb")
    data, place, part, values = file.read_bytes(), 7, b"", []
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        size, kind = struct.unpack_from("<HB", data, place + 4) if left >= 7 else (left - 7, 0)
        part += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            items = Record.FromString(part).history.item
            row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in items}
            part = b""
            if name in row:
                values.append((row["train/global_step"], row[name]))
    return values


@pytest.mark.parametrize("reports_to", ["tensorboard", "mlflow", "wandb"])
def test_transformers(reports_to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow: Any) -> None:
    pytest.importorskip("accelerate")
    wandb = pytest.importorskip("wandb") if reports_to == "wandb" else None
    from transformers import Trainer, TrainingArguments

    from manifold_probe.watch.transformers import WatchCallback

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "tb"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    data = [{"x": X[row], "labels": TEACHER[row]} for row in range(N)]
    log, weights, losses = tmp_path / "w.jsonl", [], []
    for watched in (False, True):
        model = Regressor()
        arguments = TrainingArguments(
            str(tmp_path / "out"),
            num_train_epochs=2,
            per_device_train_batch_size=16,
            learning_rate=1e-2,
            logging_steps=4,
            save_strategy="no",
            report_to=[reports_to] if watched else [],
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = Trainer(model, arguments, train_dataset=data)
        if watched:
            trainer.add_callback(WatchCallback(Watch(TEACHER, data, every=4, out=log, strict=True), trainer))
        trainer.train()
        weights.append(model.state_dict())
        losses.append([(line["step"], line["loss"]) for line in trainer.state.log_history if "loss" in line])
    assert same(weights)
    assert losses[0] == losses[1]
    kept = weakref.ref(trainer)
    del trainer
    assert kept() is None  # else its group of processes would outlive it, and abort at the end
    assert [step for step, _ in losses[1]] == [4, 8, 12]
    assert [line["step"] for line in lines(log)] == [0, 4, 8, 12]
    if reports_to == "tensorboard":
        assert close(scalars(tmp_path / "tb")["train/watch/overlap_at_10"], overlaps(log))
    elif wandb:
        wandb.teardown()  # finish() returns before its process has written all
        assert close(wandb_history(tmp_path, "train/watch/overlap_at_10"), overlaps(log))
    else:
        assert close(history(mlflow, "watch/overlap_at_10"), overlaps(log))


@pytest.mark.parametrize("fails", [False, True], ids=["sound", "diverged"])
def test_transformers_chooses_the_best_checkpoint(
    fails: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("accelerate")
    from transformers import Trainer, TrainingArguments

    from manifold_probe.watch.transformers import WatchCallback

    data: Any = [{"x": X[row], "labels": TEACHER[row]} for row in range(N)]
    arguments = TrainingArguments(
        str(tmp_path),
        num_train_epochs=3,
        per_device_train_batch_size=16,
        learning_rate=1e-2,
        eval_strategy="epoch",
        save_strategy="epoch",
        metric_for_best_model="eval_watch/overlap_at_10",
        greater_is_better=True,
        report_to=["tensorboard"],
        use_cpu=True,
        disable_tqdm=True,
    )
    log = tmp_path / "w.jsonl"
    embed = (lambda model, batch: batch["x"] * math.nan) if fails else None
    watch = Watch(TEACHER, data, every=None, out=log, embed=embed)
    trainer = Trainer(Regressor(), arguments, train_dataset=data, eval_dataset=data, callbacks=[WatchCallback(watch)])
    trainer.train()
    assert trainer.state.global_step == 18
    assert "its values do not reach tensorboard; use trainer.add_callback" in caplog.text
    if fails:
        assert "the training goes on" in caplog.text
    else:
        assert [step for step, _ in overlaps(log)] == [0, 6, 12, 18]
        best = max(overlaps(log)[1:], key=lambda pair: pair[1])
        assert os.path.basename(trainer.state.best_model_checkpoint or "") == f"checkpoint-{best[0]}"


def test_a_plain_loop_logs_to_mlflow(tmp_path: Path, mlflow: Any) -> None:
    watch = Watch(TEACHER, X, every=1, out=tmp_path / "w.jsonl", log=mlflow.log_metrics, strict=True)
    model = student()
    with mlflow.start_run():
        for step in range(3):
            watch.step(model, step)
    assert close(history(mlflow, "watch/overlap_at_10"), overlaps(tmp_path / "w.jsonl"))


def test_sentence_transformers(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    datasets = pytest.importorskip("datasets")
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MSELoss
    from sentence_transformers.sentence_transformer.modules import BoW, Dense

    from manifold_probe.watch.sentence_transformers import WatchEvaluator

    words = [f"w{place}" for place in range(30)]
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(words, 6)) for _ in range(N)]
    teacher = np.stack([[text.split().count(word) for word in words] for text in texts]).astype(np.float32)
    teacher = teacher @ rng.normal(size=(30, 8)).astype(np.float32)
    data = datasets.Dataset.from_dict({"text": texts, "label": teacher.tolist()})
    log, weights = tmp_path / "w.jsonl", []
    for watched in (False, True):
        torch.manual_seed(0)
        model = SentenceTransformer(modules=[BoW(words), Dense(30, 8)], device="cpu")
        evaluator = WatchEvaluator(Watch(teacher, texts, every=None, out=log, strict=True)) if watched else None
        arguments = SentenceTransformerTrainingArguments(
            str(tmp_path / f"out{watched}"),
            num_train_epochs=3,
            per_device_train_batch_size=16,
            learning_rate=1e-2,
            eval_strategy="epoch" if watched else "no",
            save_strategy="epoch" if watched else "no",
            load_best_model_at_end=False,
            metric_for_best_model="eval_watch/overlap_at_10" if watched else None,
            greater_is_better=True if watched else None,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = SentenceTransformerTrainer(
            model, arguments, train_dataset=data, loss=MSELoss(model), evaluator=evaluator
        )
        trainer.train()
        weights.append(model.state_dict())
    assert same(weights)
    assert evaluator is not None
    assert f"eval_{evaluator.primary_metric}" == "eval_watch/overlap_at_10"
    assert [step for step, _ in overlaps(log)] == [6, 12, 18]
    best_step, best = max(overlaps(log), key=lambda pair: pair[1])
    assert trainer.state.best_metric == pytest.approx(best)
    assert os.path.basename(trainer.state.best_model_checkpoint) == f"checkpoint-{best_step}"


def test_a_failed_evaluation_is_never_the_best(tmp_path: Path) -> None:
    from manifold_probe.watch.sentence_transformers import WatchEvaluator

    evaluator = WatchEvaluator(Watch(TEACHER, ["a"] * N, every=None, out=None))
    assert np.isnan(evaluator(nn.Identity(), steps=1)[evaluator.primary_metric])
