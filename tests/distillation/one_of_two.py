"""One of two processes, each with half of the batch: gradients averaged as DistributedDataParallel does, to a file.

python one_of_two.py RANK MEETING_FILE OUTPUT
"""

from __future__ import annotations

import sys

import torch
from torch import distributed

from manifold_probe.distillation import CKD, SEED, CompRess, CoSS, TinTeM
from manifold_probe.distillation.gather import gather

ROWS, PIXELS, NARROW, WIDE = 8, 6, 4, 5


def methods():
    return {
        "coss": CoSS(NARROW, WIDE, gather=True),
        "coss, each process its own": CoSS(NARROW, WIDE),
        "ckd": CKD(NARROW, WIDE, head="linear", gather=True),
        "ckd, paper": CKD(NARROW, WIDE, head="linear", gather=True, negatives="paper"),
        "tintem": TinTeM(NARROW, WIDE),
        "tintem of tokens": TinTeM(NARROW, WIDE),
        "seed": SEED(NARROW, WIDE, queue_size=12),
        "compress": CompRess(NARROW, WIDE, queue_size=12),
    }


def step(name, part):
    """Loss, gradients and buffers of one step on the rows that ``part`` picks from the batch."""
    torch.manual_seed(0)
    method = methods()[name].double()
    backbone = torch.nn.Linear(PIXELS, NARROW).double()
    tokens = (3,) if "tokens" in name else ()
    images = torch.randn(ROWS, *tokens, PIXELS, dtype=torch.float64)
    teacher = torch.randn(ROWS, *tokens, WIDE, dtype=torch.float64)
    labels = torch.arange(ROWS) % WIDE if name.startswith("ckd") else None
    terms = method(backbone(images[part]), teacher[part], None if labels is None else labels[part])
    loss = sum(terms.values())
    loss.backward()
    gradients = [parameter.grad for module in (backbone, method) for parameter in module.parameters()]
    return [loss.detach(), *gradients], list(method.buffers())


def main(rank, meeting, output):
    distributed.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=2)
    half = slice(rank * ROWS // 2, (rank + 1) * ROWS // 2)
    results = {}
    for name in methods():
        averaged, buffers = step(name, half)
        for tensor in averaged:
            distributed.all_reduce(tensor)
            tensor /= 2
        results[name] = averaged, buffers
    rows = torch.arange(12.0).view(3, 4).T[:, half.start // 2 : half.start // 2 + 1]  # strided
    results["rows"] = gather(rows)
    torch.save(results, f"{output}.{rank}")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
