"""Experiments are written as a user would write them: they import the public API alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "experiments"
PACKAGE = "manifold_probe"
ROOMS = ("measures", "diagnosis", "distillation", "evaluation", "models", "watch")
PUBLIC = {PACKAGE, *(f"{PACKAGE}.{name}" for name in ROOMS)}
OUTSIDE = {  # folders that are not looked at
    "planted_faults": "plants faults inside the package's search and training",
    "broken_pipelines": "breaks extraction and training from the inside",
}


def imported(file: Path) -> set[str]:
    """The modules of the package that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] == PACKAGE}


FILES = sorted(file for file in ROOT.glob("*/*.py") if file.parent.name not in OUTSIDE)


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_an_experiment_imports_the_public_api(file: Path) -> None:
    assert imported(file) <= PUBLIC


def test_every_folder_that_is_left_out_is_there() -> None:
    assert all((ROOT / name).is_dir() for name in OUTSIDE)
