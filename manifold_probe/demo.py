"""The demo: a teacher and two students trained in seconds on scikit-learn's digits, and their features as files.

The teacher learns the labels. The students never see one: from the same images they imitate the teacher's embedding,
one by its directions alone (cosine), one by its directions and its dimensions (CoSS). They are narrower inside and end
in the teacher's width, so raw dimensions can be compared; and they are batch-normalised, as most backbones are, which
wipes out the norm of what passes through: it comes back only where the loss asks for it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from manifold_probe.distillation import cosine_loss, coss_loss
from manifold_probe.files import write_whole

TRAINING_ROWS = 900
WIDTH = 64


def run_demo(folder: str | Path, seed: int = 0, epochs: int = 120) -> dict[str, Path]:
    """Train the three networks and write their features of 897 digits that none of them was trained on.

    Parameters
    ----------
    folder : path
        Made if missing. Receives ``t.pt``, ``cosine.pt`` and ``coss.pt``, each a dict of ``features`` (897, 64),
        ``ids`` (the digit's place in the data set) and ``labels``.
    seed : int
        Seed of the split, the initial weights and the batches.
    epochs : int
        Passes of each student over the 900 training digits.

    Returns
    -------
    dict
        The files by name: "teacher", "cosine", "coss".
    """
    pixels, digits = load_digits(return_X_y=True)
    images, labels = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(digits)
    order = np.random.default_rng(seed).permutation(len(images))
    seen, unseen = torch.tensor(order[:TRAINING_ROWS]), torch.tensor(np.sort(order[TRAINING_ROWS:]))

    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(seed)
        teacher = train_teacher(images[seen], labels[seen])
        networks = {"teacher": teacher}
        for name, loss in {"cosine": cosine_loss, "coss": coss_loss}.items():
            torch.manual_seed(seed + 1)  # both students start from the same weights and see the same batches
            networks[name] = train_student(images[seen], embed(teacher, images[seen]), loss, epochs)

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / ("t.pt" if name == "teacher" else f"{name}.pt") for name in networks}
    ids = [f"digits/{row:04d}" for row in unseen.tolist()]
    for name, network in networks.items():
        _save({"features": embed(network, images[unseen]), "ids": ids, "labels": labels[unseen]}, paths[name])
    return paths


def train_teacher(images: Tensor, labels: Tensor) -> nn.Module:
    """A wide network supervised through a linear classifier, which is then dropped."""
    backbone = nn.Sequential(
        nn.Linear(images.shape[1], 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, WIDTH)
    )
    classifier = nn.Linear(WIDTH, 10)

    def loss(batch: Tensor) -> Tensor:
        return nn.functional.cross_entropy(classifier(backbone(images[batch])), labels[batch])

    _minimise(loss, nn.ModuleList([backbone, classifier]), rows=len(images), epochs=30, rate=1e-3)
    return backbone.eval()


def train_student(images: Tensor, targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor], epochs: int) -> nn.Module:
    """A small network that imitates ``targets`` (n, 64), the teacher's embedding of the same images, under ``loss``."""
    student = nn.Sequential(
        nn.Linear(images.shape[1], 32, bias=False),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Linear(32, 32, bias=False),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Linear(32, WIDTH),
    )
    _minimise(lambda batch: loss(student(images[batch]), targets[batch]), student, len(images), epochs, rate=3e-3)
    return student.eval()


@torch.no_grad()
def embed(network: nn.Module, images: Tensor) -> Tensor:
    """The network's output, without a gradient."""
    return network(images)


@contextmanager
def _one_thread() -> Iterator[None]:
    """These networks are so small that threads would spend their time waiting for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _minimise(loss: Callable[[Tensor], Tensor], model: nn.Module, rows: int, epochs: int, rate: float) -> None:
    """AdamW over shuffled batches of 128 row indices, the rate rising and falling once."""
    batch = 128
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=epochs * (rows // batch))
    for _ in range(epochs):
        for chosen in torch.randperm(rows)[: rows // batch * batch].split(batch):
            optimiser.zero_grad()
            loss(chosen).backward()
            optimiser.step()
            schedule.step()


def _save(features: dict, path: Path) -> None:
    """As torch writes it, whole or not at all."""
    content = io.BytesIO()
    torch.save(features, content)
    write_whole(path, content.getvalue())
