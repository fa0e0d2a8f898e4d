"""RT-DETR from transformers in two small sizes, from random weights, and what goes in and out of it as tensors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig

QUERIES = 20
WIDTHS = {  # of the transformer; of the backbone's stem and its four stages, at strides 4, 4, 8, 16 and 32
    "teacher": (128, 32, (32, 64, 128, 128)),
    "student": (48, 8, (8, 16, 24, 32)),
}


def build(size: str, classes: int, seed: int) -> RTDetrForObjectDetection:
    """A detector of one size; the seed decides its weights."""
    width, stem, stages = WIDTHS[size]
    backbone = RTDetrResNetConfig(
        num_channels=1,
        embedding_size=stem,
        hidden_sizes=list(stages),
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_indices=[2, 3, 4],
    )
    config = RTDetrConfig(
        backbone_config=backbone,
        freeze_backbone_batch_norms=False,
        encoder_in_channels=list(stages[1:]),
        encoder_hidden_dim=width,
        encoder_ffn_dim=2 * width,
        encoder_attention_heads=4,
        hidden_expansion=0.5,
        d_model=width,
        decoder_in_channels=[width] * 3,
        decoder_ffn_dim=2 * width,
        decoder_attention_heads=4,
        decoder_layers=2,
        num_queries=QUERIES,
        num_denoising=10,
        num_labels=classes,
    )
    torch.manual_seed(seed)
    model = RTDetrForObjectDetection(config)
    for module in model.modules():
        # transformers starts them near 0, which expects published weights to follow: from there nothing is learned.
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    return model


@dataclass(frozen=True)
class Split:
    """One split in memory: pixels (n, 1, side, side) as bytes, and what RT-DETR takes as labels of each image."""

    annotations: Path
    pixels: Tensor
    targets: list[dict[str, Tensor]]

    @classmethod
    def read(cls, folder: Path) -> Split:
        """The split that ``data.write`` wrote."""
        annotations = folder / "annotations.json"
        content = json.loads(annotations.read_text(encoding="utf-8"))
        images = [np.asarray(Image.open(folder / "images" / image["file_name"])) for image in content["images"]]
        objects: dict[int, list[tuple[int, list[int]]]] = {image["id"]: [] for image in content["images"]}
        for annotation in content["annotations"]:
            objects[annotation["image_id"]].append((annotation["category_id"], annotation["bbox"]))
        targets = []
        for image in content["images"]:
            labels, boxes = zip(*objects[image["id"]], strict=True)
            corner = torch.tensor(boxes, dtype=torch.float32) / torch.tensor([image["width"], image["height"]] * 2)
            centred = torch.cat([corner[:, :2] + corner[:, 2:] / 2, corner[:, 2:]], 1)
            targets.append({"class_labels": torch.tensor(labels), "boxes": centred})
        return cls(annotations, torch.from_numpy(np.stack(images))[:, None], targets)

    def batch(self, rows: Tensor) -> tuple[Tensor, list[dict[str, Tensor]]]:
        """Pixels (B, 1, side, side) of about unit spread, and the labels."""
        return self.pixels[rows].float() / 64 - 0.5, [self.targets[row] for row in rows.tolist()]
