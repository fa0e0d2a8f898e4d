"""Average precision on a split, by pycocotools."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import torch
from detector import Split
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from transformers import RTDetrForObjectDetection

BATCH = 50
SCORES = ("AP", "AP50", "AP75")  # the first three of COCOeval's twelve


@torch.inference_mode()
def predictions(model: RTDetrForObjectDetection, split: Split) -> np.ndarray:
    """Rows of image, x, y, width, height (pixels), score and class: for each image its best queries and classes."""
    model.eval()
    side, rows = split.pixels.shape[-1], []
    for part in torch.arange(len(split.pixels)).split(BATCH):
        pixels, _ = split.batch(part)
        output = model(pixel_values=pixels)
        queries, classes = output.logits.shape[1:]
        score, place = output.logits.sigmoid().flatten(1).topk(queries)  # as RT-DETR's image processor does
        centred = output.pred_boxes.gather(1, (place // classes)[..., None].expand(-1, -1, 4)) * side
        corner = torch.cat([centred[..., :2] - centred[..., 2:] / 2, centred[..., 2:]], -1)
        image = part[:, None].expand_as(score)
        rows.append(torch.cat([image[..., None], corner, score[..., None], (place % classes)[..., None]], -1))
    return torch.cat(rows).flatten(0, 1).double().numpy()


def average_precision(found: np.ndarray, split: Split) -> dict[str, float]:
    """AP (IoU .5 to .95), AP50 and AP75."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(split.annotations))
        evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: float(value) for name, value in zip(SCORES, evaluation.stats, strict=False)}
