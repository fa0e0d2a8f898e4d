"""A detection set that needs no download: Fashion-MNIST garments and scikit-learn's digits on larger canvases.

    python experiments/detection/data.py data/detection --seed 0    # FOLDER/train and FOLDER/val

Each split is a folder with images/*.png (grey, 8 bits) and annotations.json in COCO format. The sources of the splits
are disjoint images. The same seed gives the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

FASHION = Path("/usr/share/datasets/fashion-mnist")  # Debian package dataset-fashion-mnist
GARMENTS = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
CLASSES = (*GARMENTS, *(f"digit {digit}" for digit in range(10)))
IMAGES = {"train": 6000, "val": 500}
FIRST_DIGITS = 1400  # of 1,797: the sources of train; the others are those of val
CANVAS = 96  # pixels a side
SIZES = (20, 44)  # the longer side of an object, in pixels
MOST_OBJECTS = 4
MOST_OVERLAP = 0.1  # intersection over the smaller box
INK = 32  # a source pixel at or above this (of 255) belongs to the object
TRIES = 30


def read_idx(name: str) -> np.ndarray:
    """An idx file of bytes: two zeros, the type, the number of axes, their lengths (big-endian), the values."""
    content = gzip.decompress((FASHION / f"{name}.gz").read_bytes())
    axes = content[3]
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(np.frombuffer(content, ">u4", axes, 4))


def cropped(image: np.ndarray) -> np.ndarray:
    """The image cut to the bounding box of its object."""
    rows, columns = np.nonzero((image >= INK).any(1))[0], np.nonzero((image >= INK).any(0))[0]
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def sources(split: str) -> list[list[np.ndarray]]:
    """The cropped objects of one split, as one list for each class."""
    prefix = {"train": "train", "val": "t10k"}[split]
    garments, garment_labels = read_idx(f"{prefix}-images-idx3-ubyte"), read_idx(f"{prefix}-labels-idx1-ubyte")
    digits = load_digits()
    part = slice(FIRST_DIGITS) if split == "train" else slice(FIRST_DIGITS, None)
    digit_images = np.minimum(digits.images[part] * 16, 255).astype(np.uint8)
    by_class: list[list[np.ndarray]] = [[] for _ in CLASSES]
    for images, labels in ((garments, garment_labels), (digit_images, digits.target[part] + len(GARMENTS))):
        for image, label in zip(images, labels, strict=True):
            by_class[label].append(image)
    return by_class


def overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Intersection of two boxes (x, y, width, height) over the smaller area."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0) / min(a[2] * a[3], b[2] * b[3])


def draw(
    rng: np.random.Generator, by_class: list[list[np.ndarray]], noise: float = 16.0
) -> tuple[np.ndarray, list[tuple[int, tuple[int, int, int, int]]]]:
    """One canvas (CANVAS, CANVAS) of bytes and its objects: class and box (x, y, width, height) in pixels."""
    level = rng.uniform(1, 2) * noise
    canvas = rng.normal(level, noise, (CANVAS, CANVAS)) if noise else np.zeros((CANVAS, CANVAS))
    objects: list[tuple[int, tuple[int, int, int, int]]] = []
    for _ in range(rng.integers(1, MOST_OBJECTS + 1)):
        label = int(rng.integers(len(by_class)))
        image = cropped(by_class[label][rng.integers(len(by_class[label]))])
        scale = rng.integers(SIZES[0], SIZES[1] + 1) / max(image.shape)
        height, width = (max(round(side * scale), 4) for side in image.shape)
        for _ in range(TRIES):
            x, y = int(rng.integers(CANVAS - width + 1)), int(rng.integers(CANVAS - height + 1))
            box = (x, y, width, height)
            if all(overlap(box, other) <= MOST_OVERLAP for _, other in objects):
                patch = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR), float)
                place = np.s_[y : y + height, x : x + width]
                canvas[place] = np.maximum(canvas[place], patch * rng.uniform(0.6, 1.0))
                objects.append((label, box))
                break
    return canvas.clip(0, 255).astype(np.uint8), objects


def write(folder: Path, split: str, seed: int = 0, count: int | None = None) -> Path:
    """FOLDER/SPLIT with images/*.png and annotations.json, written last; returns the folder of the split."""
    rng = np.random.default_rng([seed, list(IMAGES).index(split)])
    by_class = sources(split)
    place = folder / split
    (place / "images").mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number in range(IMAGES[split] if count is None else count):
        canvas, objects = draw(rng, by_class)
        name = f"{number:05d}.png"
        Image.fromarray(canvas).save(place / "images" / name)
        images.append({"id": number, "file_name": name, "width": CANVAS, "height": CANVAS})
        for label, (x, y, width, height) in objects:
            annotations.append(
                {
                    "id": len(annotations) + 1,  # pycocotools takes 0 for "no match"
                    "image_id": number,
                    "category_id": label,
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
    categories = [{"id": label, "name": name} for label, name in enumerate(CLASSES)]
    content = {"info": {"seed": seed}, "images": images, "annotations": annotations, "categories": categories}
    (place / "annotations.json").write_text(json.dumps(content) + "\n", encoding="utf-8")
    return place


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for split in IMAGES:
        print(write(arguments.folder, split, arguments.seed))


if __name__ == "__main__":
    main()
