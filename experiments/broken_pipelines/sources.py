"""Data, teachers and students: made once, stored in data/ (ignored by git), always the same.

Pictures: 7,500 of Fashion-MNIST's test set, "grey" unchanged and "colour" with a garment and a background of random
hues (independent of the class), because channels matter only with colour. Texts: sentences from the descriptions of
installed Debian packages. Teachers: EfficientNet-Lite2 and MiniLM. Students: conv4 and resnet8 distilled from scratch,
MiniLM cut to its first one or two layers and trained further; and the teacher itself with its weights rounded to
bfloat16, as a nearly perfect student. Some rows are held out of every training, the same for the same data: these are
measured.
"""

from __future__ import annotations

import colorsys
import csv
import gzip
import os
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch

from manifold_probe.distillation.config import resolved
from manifold_probe.distillation.run_folder import RunFolder
from manifold_probe.distillation.train import train
from manifold_probe.extraction.run import extract
from manifold_probe.extraction.work import Request
from manifold_probe.spaces.read import read

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "planted_faults"))
torch.set_num_threads(1)
DATA = Path("data")  # below HERE, where everything runs
IMAGES = Path("/usr/share/datasets/fashion-mnist")
ROWS, HELD_OUT = 7_500, 1_500
LITE_OPTIONS = {"size": "64", "mean": "0.498039", "std": "0.501961"}  # as in the training of the Lite networks
CONV_OPTIONS = {"size": "28", "mean": "0.5", "std": "0.5"}  # as in the training of conv4 and resnet8 here
Arrays = dict[str, np.ndarray]


def kept(path: Path, make: Callable[[], Arrays]) -> Path:
    """An .npz, made if it is missing."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez(part, **make())  # type: ignore[arg-type]
        part.replace(path)
    return path


def arrays(path: Path) -> Arrays:
    """The arrays of an .npz."""
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


# ---- data


def pictures(kind: str) -> Path:
    """ "grey" or "colour" pictures with ids and labels."""
    return kept(DATA / f"{kind}.npz", grey if kind == "grey" else colour)


def grey() -> Arrays:
    """The first test images, unchanged."""
    images, labels = (
        np.frombuffer(gzip.decompress((IMAGES / f"t10k-{name}-ubyte.gz").read_bytes()), np.uint8, offset=skip)
        for name, skip in (("images-idx3", 16), ("labels-idx1", 8))
    )
    names = np.array([f"class {label}" for label in labels[:ROWS]])
    return {"images": images.reshape(-1, 28, 28)[:ROWS], "ids": named("test", ROWS), "labels": names}


def colour() -> Arrays:
    """The grey pictures, with garment and background each in a random hue."""
    made = grey()
    rng = np.random.default_rng(0)
    front, back = (
        np.array([colorsys.hsv_to_rgb(hue, saturation, value) for hue in rng.random(ROWS)])
        for saturation, value in ((0.8, 1.0), (0.7, 0.5))
    )
    light = made["images"][..., None] / 255
    mixed = light * front[:, None, None] + (1 - light) * back[:, None, None]
    return {**made, "images": (255 * mixed).round().astype(np.uint8)}


def named(kind: str, count: int) -> np.ndarray:
    """Ids such as "test/00001"."""
    return np.array([f"{kind}/{row:05d}" for row in range(count)])


def part(
    data: Path, name: str, rows: np.ndarray, change: Callable[[Arrays], Arrays] = lambda data_rows: data_rows
) -> Path:
    """Some rows of pictures, changed."""
    whole = arrays(data)
    return kept(DATA / f"{name}.npz", lambda: change({key: column[rows] for key, column in whole.items()}))


@lru_cache
def sentences() -> tuple[list[str], np.ndarray]:
    """Sentences and the section of the package that each describes."""
    import bases

    texts, sections, _ = bases.sentences()
    return texts, sections


def texts(words: int | None = None) -> Path:
    """All sentences, or the first few words of each, as a table with ids and labels."""
    path = DATA / ("texts.csv" if words is None else f"texts-{words}.csv")
    if not path.exists():
        lines, sections = sentences()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "text", "label"])
            for id, line, section in zip(named("text", len(lines)), lines, sections, strict=True):
                writer.writerow([id, " ".join(line.split()[:words]), section])
    return path


def text_rows(rows: np.ndarray, name: str) -> Path:
    """Some rows of the texts."""
    path = DATA / f"{name}.csv"
    if not path.exists():
        head, *lines = texts().read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text(head + "".join(lines[row] for row in rows), encoding="utf-8")
    return path


def minilm(layers: int = 6) -> Path:
    """The first layers of MiniLM as a model folder, with its vocabulary reduced to the words that occur here."""
    import bases
    from transformers import AutoModel, AutoTokenizer, BertTokenizerFast

    folder = DATA / "models" / f"minilm-{layers}"
    if not folder.exists():
        bases.minilm(["unpacks the model"], (6,))
        tokenizer, network = (kind.from_pretrained(bases.DATA / "minilm") for kind in (AutoTokenizer, AutoModel))
        special = set(tokenizer.all_special_ids)
        used = sorted(special.union(*tokenizer(sentences()[0])["input_ids"]))
        unfinished = folder.with_suffix(".part")
        unfinished.mkdir(parents=True, exist_ok=True)
        words = tokenizer.convert_ids_to_tokens(used)
        old = network.embeddings.word_embeddings.weight.data
        network.resize_token_embeddings(len(used))
        network.embeddings.word_embeddings.weight.data = old[used].clone()
        network.encoder.layer = network.encoder.layer[:layers]
        network.config.num_hidden_layers = layers
        network.config.pad_token_id = used.index(tokenizer.pad_token_id)
        network.save_pretrained(unfinished)
        BertTokenizerFast(vocab={word: place for place, word in enumerate(words)}, model_max_length=64).save_pretrained(
            unfinished
        )
        unfinished.rename(folder)
    return folder


# ---- features


def features(name: str, model: str, data: Path, **options: Any) -> Path:
    """The features of data in the order of the data, with ids and labels; ``options`` as for `probe extract`."""

    def made() -> Arrays:
        store = DATA / "stores" / name
        extract(Request(model, str(data), dtype="float32", **options), store, tell=lambda _: None)
        space = read(str(store))
        assert space.ids is not None
        assert space.labels is not None
        return {"features": space.read(0, space.n), "ids": np.asarray(space.ids), "labels": np.asarray(space.labels)}

    return kept(DATA / "features" / f"{name}.npz", made)


def teacher(kind: str, network: str = "lite2") -> Path:
    """The teacher's features of all rows: "grey", "colour" or "text"; another network, or texts of a few words."""
    if kind == "text":
        words = None if network == "lite2" else int(network)
        name = "teacher-text" if words is None else f"teacher-text-{words}"
        return features(name, f"hf:{minilm()}", texts(words), pooling="mean")
    return features(f"teacher-{kind}-{network}", f"python:students:lite?name={network}", pictures(kind), **LITE_OPTIONS)


# ---- students

ADAM = {
    "optimiser": "adamw",
    "schedule": "cosine",
    "batch_size": 64,
    "log_every": 10,
    "probe_every": 4,
    "weight_decay": 0.0,
}
CONV = {"student": "conv4", "method": "mse", "head": "linear", "rate": 3e-3, "epochs": 6}
RES = {"student": "resnet8", "method": "coss", "head": "linear", "rate": 3e-3, "epochs": 5}
TEXT = {"method": "mse", "head": "identity", "rate": 5e-4, "epochs": 4, "pool": "mean"}


def run(name: str, kind: str, recipe: dict[str, Any], data: Path | None = None, targets: Path | None = None) -> Path:
    """The folder of a finished training; ``targets``: another teacher than that of the data."""
    folder = DATA / "runs" / name
    if not RunFolder(folder).finished:
        file = data or (texts() if kind == "text" else pictures(kind))
        given = {
            "teacher": str(targets or teacher(kind)),
            "data": str(file),
            "held_out": HELD_OUT / ROWS if kind != "text" else 1 / 3,
            **ADAM,
            **recipe,
        }
        train(resolved(given), folder, tell=lambda line: print(line, file=sys.stderr))
    return folder


def sound(student: str) -> Path:
    """The run of a sound student: "grey-conv4", "colour-resnet8", "text-minilm2", ..."""
    kind, _, network = student.partition("-")
    if kind == "text":
        return run(student, kind, {**TEXT, "student": f"hf:{minilm(int(network[-1]))}"})
    return run(student, kind, {"conv4": CONV, "resnet8": RES}[network])


def trained(folder: Path) -> np.ndarray:
    """Which rows of a run's data were trained on: (n,) of bool."""
    seen = RunFolder(folder).trained_ids()
    return np.array([str(id) in seen for id in np.asarray(read(str(folder)).ids).tolist()])


def of_run(folder: Path, rows: np.ndarray, key: str = "backbone") -> Arrays:
    """Features of some rows of a run's data."""
    space = read(f"{folder}::{key}")
    return {"features": space.take(rows), "ids": np.asarray(space.ids)[rows]}
