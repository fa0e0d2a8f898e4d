"""The real timm, in an environment of its own: what it brings along must not change what the other tests import.

Its torchvision often does not import, and where that is installed transformers does not either (timm_environment/
conftest.py says why). The environment lies over this one and adds only what pip finds missing, so it takes seconds.
"""

from __future__ import annotations

import os
import site
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
TESTS = Path(__file__).parent / "timm_environment"


@pytest.mark.slow
def test_the_real_timm(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path], check=True)
    python = str(tmp_path / "bin/python")
    inside = Path(sysconfig.get_path("purelib", "venv", {"base": str(tmp_path), "platbase": str(tmp_path)}))
    below = [f"import site; site.addsitedir({folder!r})\n" for folder in site.getsitepackages()]
    (inside / "below.pth").write_text("".join(below))
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["timm"]
    # Naming the torch that is there keeps pip from taking another, of gigabytes, for the sake of a newer torchvision.
    pip = [python, "-m", "pip", "install", "--quiet", "-c", "constraints.txt", f"torch=={torch.__version__}"]
    installed = subprocess.run([*pip, *wanted], cwd=ROOT, capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"pip cannot install {wanted[0]}: {installed.stderr.strip().splitlines()[-1]}")
    environment = {**os.environ, "PROBE_TIMM_ENVIRONMENT": "1", "HF_HUB_OFFLINE": "1"}
    command = [python, "-m", "pytest", "-p", "no:cacheprovider", str(TESTS)]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    print(ran.stdout)
