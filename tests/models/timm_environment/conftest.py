"""Tests of the real timm, run by ../test_timm_for_real.py in an environment of their own; anywhere else none is seen.

timm imports torchvision, whose wheels on the package index are built for torch with CUDA. Beside a CPU build of torch
its compiled operators do not load, and importing it fails at the two below, of which its Python code describes the
shapes. Nothing here calls them, so declared they may be without being there.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import torch

HERE = "PROBE_TIMM_ENVIRONMENT" in os.environ
collect_ignore_glob = [] if HERE else ["*"]
LIBRARY: list[torch.library.Library] = []  # a Library takes its operators along when it goes


def declare_missing_operators() -> None:
    """Before torchvision is first imported: a failed import cannot be tried again."""
    spec = importlib.util.find_spec("torchvision")
    assert spec is not None
    assert spec.origin is not None
    try:
        torch.ops.load_library(str(Path(spec.origin).parent / "_C.so"))  # as torchvision itself does
    except OSError:
        LIBRARY.append(torch.library.Library("torchvision", "DEF"))
        for name in ("nms", "qnms"):
            LIBRARY[0].define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


if HERE:
    declare_missing_operators()
