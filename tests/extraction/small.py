"""A small world: images on disk, models that are quick, and the command line that extracts them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from manifold_probe import cli
from tests.command_line import changed

Capture = pytest.CaptureFixture[str]
MODULE = '''
import torch

def make(seed=0, width=6):
    """Mean over positions of one convolution: (B, width)."""
    torch.manual_seed(seed)
    body = torch.nn.Conv2d(3, width, 5, stride=4)
    return torch.nn.Sequential(body, torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())

def maps(seed=0):
    """A convolution's output as it is: (B, 4, H, W)."""
    torch.manual_seed(seed)
    return torch.nn.Conv2d(3, 4, 5, stride=8)

class Broken(torch.nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :3] * float("nan")

def broken():
    return Broken()

class Huge(torch.nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :3] * 1e6 + 1e6

def huge():
    return Huge()

class Whole(torch.nn.Module):
    """What `change` makes of the batch, as it is."""
    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, x):
        return self.change(x)

def first():
    return Whole(lambda x: x.flatten(2).mean(2)[:1])

def sequence():
    return Whole(lambda x: x.flatten(2)[:, :, :7].permute(2, 0, 1))

def leaves():
    return Whole(lambda x: exit(3))

def two():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 6, 5, stride=4), Whole(lambda x: {"a": x, "b": x}))

def odd():
    return Whole(lambda x: {}["nothing"])

class Slow(torch.nn.Module):
    """Takes its time, so that a test can interrupt it."""
    def forward(self, x):
        import time
        time.sleep(1.5)
        return x.flatten(2).mean(2)

def slow():
    return Slow()
'''


def world(folder: Path, images: int = 30) -> Path:
    """``folder`` with smallnet.py and images/{cat,dog}/*.png."""
    rng = np.random.default_rng(0)
    (folder / "smallnet.py").write_text(MODULE)
    for place in range(images):
        path = folder / "images" / ("cat", "dog")[place % 2] / f"{place:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 36, 3), dtype=np.uint8)).save(path)
    return folder


def command(out: str = "feats", model: str = "smallnet:make?seed=1", *more: str) -> list[str]:
    """The short form of the README."""
    return changed([
        "extract", "--model", f"python:{model}", "--data", "images", "--size", "32", "--mean", "0.5", "--std", "0.5",
        "--batch-size", "7", "--out", out, *more,
    ])  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def ran(arguments: list[str], capfd: Capture) -> str:
    """What a command that succeeds says on stderr."""
    capfd.readouterr()
    assert cli.run(changed(arguments)) == 0, capfd.readouterr().err
    return capfd.readouterr().err


def refused(arguments: list[str], capfd: Capture) -> str:
    """The one line of a command that is refused."""
    capfd.readouterr()
    assert cli.run(changed(arguments)) == 2
    out, error = capfd.readouterr()
    assert out == ""
    assert error.count("\n") == 1, error
    return error
