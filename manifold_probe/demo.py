"""The demo: a teacher and two students trained in seconds on scikit-learn's digits, their features as files, and every
other input that the documentation names, so that its commands run in the demo's folder as they are written.

The teacher learns the labels. The students never see one: from the same images they imitate the teacher's embedding,
one by its directions alone (cosine), one by its directions and its dimensions (CoSS). They are narrower inside and end
in the teacher's width, so raw dimensions can be compared; and they are batch-normalised, as most backbones are, which
wipes out the norm of what passes through: it comes back only where the loss asks for it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn

from manifold_probe.distillation import cosine_loss, coss_loss
from manifold_probe.files import check_folder, write_whole

TRAINING_ROWS = 900
WIDTH = 64
PICTURES = {"images": 300, "test": 100}  # training digits as .png files, by folder
TEXTS = 40
INK = ("light", "medium", "dark")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MODEL = '''"""A small network for pictures, with random weights. Any callable that returns a torch.nn.Module will do."""

import torch
from torch import nn


def make(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(512, 64),
    )
'''


@dataclass(frozen=True)
class DemoData:
    """The files of the demo: features of a ``teacher`` and of the ``students`` "cosine" and "coss", the rows'
    ``labels`` and ``images``, and all else in ``folder``.

    ``mp.compare(data.teacher, data.students)`` compares them.
    """

    folder: Path
    teacher: Path
    students: dict[str, Path]
    labels: Path
    images: Path

    def to_dict(self) -> dict[str, Any]:
        """The paths as text."""
        students = {name: str(path) for name, path in self.students.items()}
        return {name: str(path) for name, path in vars(self).items()} | {"students": students}

    def summary(self) -> str:
        """One line about what was made, and where."""
        return (
            f"{self.folder}: features of a teacher and of the students {' and '.join(self.students)}, 897 digits each"
        )


def demo_data(folder: str | Path = "probe-demo", *, seed: int = 0, epochs: int = 120) -> DemoData:
    """Train a teacher and two students on digits, in seconds, and write their features and all inputs of the tour.

    Feature files are dicts of ``features`` (n, 64), ``ids`` (a digit's place in the data set) and ``labels``:

    - ``t.pt``, ``s.pt`` (the cosine student) and ``coss.pt``: 897 digits that no network was trained on;
    - ``t_train.pt``, ``s_train.pt``: the 900 training digits;
    - ``t_ood.pt``, ``s_ood.pt``: the 897 digits with dark and light exchanged, without labels.

    In addition: ``labels.csv`` and ``slices.csv`` (of the 897 digits), ``digits.npz`` (their images), ``images/``,
    ``images.csv`` and ``test/`` (300 and 100 of the training digits as pictures), ``texts.jsonl`` (40 of them in words)
    and ``tinymodel.py`` (a network with random weights).

    Parameters
    ----------
    folder : path
        Made if missing.
    seed : int
        Seed of the split, the initial weights and the batches.
    epochs : int
        Passes of each student over the 900 training digits.

    Returns
    -------
    DemoData

    Raises
    ------
    InputError
        When the folder cannot be written to.

    Examples
    --------
    >>> data = demo_data("probe-demo")  # doctest: +SKIP
    >>> list(mp.compare(data.teacher, data.students))  # doctest: +SKIP
    ['cosine', 'coss']
    """
    check_folder(folder, "folder")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
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

    data = DemoData(
        folder=folder,
        teacher=folder / "t.pt",
        students={"cosine": folder / "s.pt", "coss": folder / "coss.pt"},
        labels=folder / "labels.csv",
        images=folder / "digits.npz",
    )
    for name, path in {"teacher": data.teacher, **data.students}.items():
        _save(networks[name], images, unseen, path, labels)
        if name != "coss":
            _save(networks[name], images, seen, path.with_name(f"{path.stem}_train.pt"), labels)
            _save(networks[name], 1 - images, unseen, path.with_name(f"{path.stem}_ood.pt"), kind="inverted")
    _write_inputs(data, np.asarray(pixels), np.asarray(digits), seen.numpy(), unseen.numpy())
    return data


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


def _save(
    network: nn.Module,
    images: Tensor,
    rows: Tensor,
    path: Path,
    labels: Tensor | None = None,
    kind: str = "digits",
) -> None:
    """The features of some images as torch.save writes them, whole or not at all."""
    stored: dict = {"features": embed(network, images[rows]), "ids": [f"{kind}/{row:04d}" for row in rows.tolist()]}
    if labels is not None:
        stored["labels"] = labels[rows]
    content = io.BytesIO()
    torch.save(stored, content)
    write_whole(path, content.getvalue())


def _write_inputs(data: DemoData, pixels: np.ndarray, digits: np.ndarray, seen: np.ndarray, unseen: np.ndarray) -> None:
    """The inputs of the tour that are no features: labels, slices, images, texts and a model."""
    folder = data.folder
    pictures = (pixels.reshape(-1, 8, 8) / 16 * 255).round().astype(np.uint8).repeat(4, 1).repeat(4, 2)
    strokes = pixels.sum(1)
    inks = [INK[third] for third in np.searchsorted(np.quantile(strokes, [1 / 3, 2 / 3]), strokes)]
    ids = [f"digits/{row:04d}" for row in range(len(digits))]
    _write_table(data.labels, ("id", "label"), [(ids[row], digits[row]) for row in unseen])
    _write_table(folder / "slices.csv", ("id", "ink"), [(ids[row], inks[row]) for row in unseen])
    content = io.BytesIO()
    np.savez_compressed(content, images=pictures[unseen], labels=digits[unseen], ids=np.array(ids)[unseen])
    write_whole(data.images, content.getvalue())
    table = []
    for row, place in zip(seen, np.repeat(list(PICTURES), list(PICTURES.values())), strict=False):
        name = f"{place}/{digits[row]}/{row:04d}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pictures[row]).save(folder / name)
        table.append((name, digits[row], inks[row]))
    _write_table(folder / "images.csv", ("path", "label", "ink"), table[: PICTURES["images"]])
    texts = [
        {"id": ids[row], "text": f"Digit {row} is the {DIGITS[digits[row]]}, in {inks[row]} ink."}
        for row in seen[:TEXTS]
    ]
    write_whole(folder / "texts.jsonl", "".join(json.dumps(text) + "\n" for text in texts))
    write_whole(folder / "tinymodel.py", MODEL)


def _write_table(path: Path, names: tuple[str, ...], rows: list[tuple]) -> None:
    """Comma-separated values."""
    content = io.StringIO()
    csv.writer(content, lineterminator="\n").writerows([names, *rows])
    write_whole(path, content.getvalue())
