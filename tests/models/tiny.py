"""Tiny modules that the tests load by their dotted names, written to a folder as a user would keep them."""

from __future__ import annotations

from pathlib import Path

import torch

SOURCE = """
import torch


class Net(torch.nn.Module):
    def __init__(self, width=8, classes=3):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, width, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(width)
        self.act = torch.nn.ReLU(inplace=True)
        self.head = torch.nn.Linear(width, classes)
        self.idle = torch.nn.Identity()

    def forward(self, x):
        return self.head(self.act(self.norm(self.conv(x))).mean((2, 3)))


class Shaped(torch.nn.Module):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, x):
        return self.make(x)


def make(seed=None, width=8, classes=3):
    if seed is not None:
        torch.manual_seed(seed)
    return Net(width, classes)


def echo(**arguments):
    module = torch.nn.Identity()
    module.arguments = arguments
    return module


def returning(what):
    made = {
        "tuple": lambda x: (x.mean((2, 3)), None),
        "dict": lambda x: {"logits": x, "features": x.mean((2, 3))},
        "two": lambda x: {"a": x, "b": x},
        "none": lambda x: None,
        "integers": lambda x: x.long(),
        "bfloat16": lambda x: x.bfloat16(),
        "memory": lambda x: (_ for _ in ()).throw(RuntimeError("DefaultCPUAllocator: can't allocate memory")),
    }
    return Shaped(made[what])


class Words(torch.nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.vectors = torch.nn.EmbeddingBag(256, width)

    def tokenize(self, texts):
        return {"letters": torch.tensor([[ord(letter) % 256 for letter in text[:5].ljust(5)] for text in texts])}

    def forward(self, letters):
        return self.vectors(letters)


def text():
    return "not a module"


def fails():
    raise RuntimeError("no such luck,\\nnot today")


def chatty():
    print("loading")
    return Net()


def leaves():
    raise SystemExit(3)


lazy = lambda: torch.nn.LazyLinear(3)
net = Net()
number = 3
"""


def write_tiny(folder: Path) -> None:
    """The module ``tinymodel``, a package with a broken module, and one that imports what is not there."""
    (folder / "tinymodel.py").write_text(SOURCE)
    package = folder / "tinypackage"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "broken.py").write_text("def f(:\n")
    (package / "needy.py").write_text("import a_package_that_is_not_there\n")
    (package / "leaving.py").write_text("import sys\nsys.exit(0)\n")


def images(count: int = 4, size: int = 8, seed: int = 0) -> torch.Tensor:
    """A prepared batch (count, 3, size, size)."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))
