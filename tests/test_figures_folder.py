"""The committed figures are what figures/draw.py makes of the committed results."""

from __future__ import annotations

import re
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
COMMITTED = sorted(path.relative_to(ROOT) for path in (ROOT / "figures").rglob("*.*") if path.suffix != ".py")


@pytest.fixture(scope="module")
def redrawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("redrawn")
    subprocess.run([sys.executable, ROOT / "figures/draw.py", folder / "figures"], check=True, cwd=folder)
    return folder


def test_every_figure_is_drawn_and_no_other(redrawn: Path) -> None:
    made = sorted(path.relative_to(redrawn) for path in redrawn.rglob("*.*"))
    assert made == COMMITTED
    assert len([path for path in made if path.suffix == ".pdf"]) >= 9


@pytest.mark.parametrize("path", COMMITTED, ids=str)
def test_the_committed_figure_is_reproduced(path: Path, redrawn: Path) -> None:
    assert unpacked(ROOT / path) == unpacked(redrawn / path)


def unpacked(path: Path) -> bytes:
    """What a file draws, however its pixels and streams were compressed: that differs between builds of zlib."""
    if path.suffix == ".png":
        return np.asarray(Image.open(path).convert("RGBA")).tobytes()
    content = path.read_bytes()
    if path.suffix in (".md", ".tex"):
        return content
    if path.suffix == ".svg":
        return re.sub(rb"data:image/png;base64,\s*[^\"]*", b"", content)
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)
    assert streams
    return b"".join(zlib.decompress(stream) for stream in streams if stream[:1] == b"x")
