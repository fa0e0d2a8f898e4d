"""A small world to train in: 160 digits, a random teacher, and the short form of the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from manifold_probe import cli
from tests.command_line import changed

ROWS = 160


def world(folder: Path) -> Path:
    """digits.npz and t.pt, whose rows are in another order and number more."""
    pixels, digits = load_digits(return_X_y=True)
    pixels, digits = pixels[: ROWS + 20], digits[: ROWS + 20]
    ids = np.array([f"d{row:04d}" for row in range(len(pixels))])
    images = (pixels.reshape(-1, 8, 8) / 16 * 255).round().astype(np.uint8).repeat(2, 1).repeat(2, 2)
    np.savez(folder / "digits.npz", images=images[:ROWS], labels=digits[:ROWS], ids=ids[:ROWS])
    generator = torch.Generator().manual_seed(0)
    values = torch.tensor(pixels / 16, dtype=torch.float32)
    features = values @ torch.randn(64, 24, generator=generator) / 8 + 0.3
    logits = values @ torch.randn(64, 10, generator=generator)
    order = torch.randperm(len(ids), generator=generator)
    content: dict[str, Any] = {
        "features": features[order],
        "logits": logits[order],
        "ids": [str(ids[row]) for row in order.tolist()],
    }
    torch.save(content, folder / "t.pt")
    return folder


def command(out: str = "run", method: str = "coss", *more: str) -> list[str]:
    """The short form of the README, at a few seconds; with conv4 unless students are given."""
    student = () if "--student" in more else ("--student", "conv4")
    return changed([
        "distill", "--method", method, "--teacher", "t.pt", *student, "--data", "digits.npz",
        "--epochs", "2", "--batch-size", "32", "--seed", "3", "--out", out, *more,
    ])  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a run whose bytes are promised: all but the clock's, and the result, which says when."""
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.name not in ("seconds.json", "result.json", "last.pt")
    }


def ran(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What a command that succeeds writes to stdout and to stderr."""
    capfd.readouterr()
    code = cli.run(changed(arguments))
    out, error = capfd.readouterr()
    assert code == 0, error
    return out, error
