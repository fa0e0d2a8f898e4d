"""Training: the detector's loss, and for a student a distillation loss on the class logits of shared proposals.

RT-DETR's encoder scores every cell of its feature grid ("anchor"), and the grids of teacher and student are the same.
The proposals are the anchors that the teacher ranks highest, as many as it has queries; the student's class logits are
read at the same anchors.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial

import torch
from detector import QUERIES, Split
from torch import Tensor, nn
from transformers import RTDetrForObjectDetection

from manifold_probe.distillation import ckd_loss, kd_loss

BATCH = 16  # images a step
LR = {"teacher": 1e-3, "student": 1e-3}
WEIGHT_DECAY = 1e-4
WARM_UP = 100  # steps
CLIP = 5.0  # norm of the gradient
Distillation = Callable[[Tensor, Tensor, int], Tensor]  # of logits (B, N, C), twice, and the objects in the batch


def contrastive(student: Tensor, teacher: Tensor, objects: int, weight: float = 0.1) -> Tensor:
    """CKD, at the weight that the paper adds to the detector's loss."""
    return weight * ckd_loss(student, teacher)


def binary_divergence(student: Tensor, teacher: Tensor, objects: int) -> Tensor:
    """KD for logits that go into a sigmoid: KL of each class against its absence, a sum over proposals and classes.

    Weight and divisor are those of the detector's class loss: weight 1, over the number of objects. The logits (z, 0)
    of a softmax are the logit z of a sigmoid, so this is ``kd_loss`` with two classes.
    """
    pairs = (torch.stack([logits, torch.zeros_like(logits)], -1).flatten(0, -2) for logits in (student, teacher))
    return student.numel() / objects * kd_loss(*pairs, temperature=1.0)


METHODS: dict[str, Distillation | None] = {
    "none": None,
    "ckd": contrastive,
    "kd": binary_divergence,
    "ckd10": partial(contrastive, weight=10.0),  # the lowest weight that the paper publishes for classification
}


@torch.inference_mode()
def anchor_logits(model: RTDetrForObjectDetection, split: Split) -> Tensor:
    """The encoder's class logits of every anchor of every image, (n, anchors, classes), in half precision."""
    model.eval()
    parts = torch.arange(len(split.pixels)).split(50)
    return torch.cat([model(pixel_values=split.batch(part)[0]).enc_outputs_class.half() for part in parts])


def at_proposals(student: Tensor, teacher: Tensor, count: int = QUERIES) -> tuple[Tensor, Tensor]:
    """Both (B, count, C), from (B, anchors, C), at the anchors with the highest class score of the teacher."""
    best = teacher.amax(-1).topk(count).indices[..., None].expand(-1, -1, teacher.shape[-1])
    return student.gather(1, best), teacher.gather(1, best)


def distilled(distillation: Distillation, student: Tensor, teacher: Tensor, labels: list[dict[str, Tensor]]) -> Tensor:
    """The distillation loss of one batch, from the logits (B, anchors, C) of both."""
    return distillation(*at_proposals(student, teacher.float()), sum(len(image["class_labels"]) for image in labels))


def train(
    model: RTDetrForObjectDetection,
    split: Split,
    *,
    steps: int,
    seed: int,
    lr: float,
    distillation: Distillation | None = None,
    teacher: Tensor | None = None,
    report: Callable[[str], None] = print,
) -> dict[str, float]:
    """Train in place; ``seed`` decides the order of the images and RT-DETR's denoising queries.

    Returns the means over the last tenth of the steps: the detector's loss, the distillation loss, and seconds a step.
    """
    torch.manual_seed(seed)
    order = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / WARM_UP, 0.5 * (1 + math.cos(math.pi * step / steps)))
    )
    rows = torch.empty(0, dtype=torch.int64)
    model.train()
    history, start = [], time.perf_counter()
    for step in range(steps):
        if len(rows) < BATCH:
            rows = torch.cat([rows, torch.randperm(len(split.pixels), generator=order)])
        now, rows = rows[:BATCH], rows[BATCH:]
        pixels, labels = split.batch(now)
        output = model(pixel_values=pixels, labels=labels)
        loss = output.loss
        extra = loss.new_zeros(())
        if distillation is not None and teacher is not None:
            extra = distilled(distillation, output.enc_outputs_class, teacher[now], labels)
        optimiser.zero_grad()
        (loss + extra).backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimiser.step()
        schedule.step()
        history.append((loss.item(), extra.item()))
        if (step + 1) % 100 == 0:
            recent = torch.tensor(history[-100:]).mean(0)
            each = (time.perf_counter() - start) / (step + 1)
            report(f"step {step + 1} of {steps}: loss {recent[0]:.3f} + {recent[1]:.4f}, {each:.3f} s a step")
    last = torch.tensor(history[-max(steps // 10, 1) :]).mean(0)
    seconds = (time.perf_counter() - start) / steps
    return {"detector_loss": float(last[0]), "distillation_loss": float(last[1]), "seconds_a_step": seconds}


def contrast(teacher: Tensor, batches: int = 10) -> dict[str, float]:
    """What CKD could learn of logits (n, anchors, C): means over batches, in which the teacher is its own student.

    ``cosine`` of different proposals, ``self_loss`` and its value log(samples) where all cosines are equal;
    ``centred_self_loss`` with each proposal's mean logit taken off.
    """
    found = []
    for batch in teacher[: batches * BATCH].float().split(BATCH):
        logits = at_proposals(batch, batch)[0].flatten(0, 1)
        unit = nn.functional.normalize(logits)
        cosine = (unit.sum(0).square().sum() - len(unit)) / (len(unit) * (len(unit) - 1))
        centred = logits - logits.mean(1, keepdim=True)
        uniform = torch.tensor(math.log(len(unit)))
        found.append(torch.stack([cosine, ckd_loss(logits, logits), uniform, ckd_loss(centred, centred)]))
    names = ("cosine", "self_loss", "uniform_loss", "centred_self_loss")
    return dict(zip(names, torch.stack(found).mean(0).tolist(), strict=True))


def gradient_norms(
    model: RTDetrForObjectDetection, split: Split, distillation: Distillation, teacher: Tensor
) -> dict[str, float]:
    """Norms of the gradients of the detector's loss and of the distillation loss on the first batch of the split."""
    rows = torch.arange(BATCH)
    model.train()
    pixels, labels = split.batch(rows)
    output = model(pixel_values=pixels, labels=labels)
    terms = {
        "detector_gradient": output.loss,
        "distillation_gradient": distilled(distillation, output.enc_outputs_class, teacher[rows], labels),
    }
    norms = {}
    for name, term in terms.items():
        gradients = torch.autograd.grad(term, list(model.parameters()), retain_graph=True, allow_unused=True)
        norms[name] = float(torch.stack([g.norm() for g in gradients if g is not None]).norm())
    return norms
