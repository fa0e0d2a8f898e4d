"""Experiments are written as a user would write them: they import the public API alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "experiments"
PACKAGE = "manifold_probe"
PUBLIC = {PACKAGE, *(f"{PACKAGE}.{name}" for name in ("measures", "diagnosis", "distillation", "watch"))}
OUTSIDE = {  # folders that are not looked at
    "planted_faults": "plants faults inside the package's search and training",
    "broken_pipelines": "breaks extraction and training from the inside",
}
SCORES = "manifold_probe.evaluation"  # scores of one space, or of chosen rows; mp.evaluate scores both sides at once

BEYOND = {  # what a file imports beyond the public API, because that does not offer the same
    "claims/measures.py": {
        SCORES,
        "manifold_probe.measures.classes",  # votes of the neighbours of chosen queries
        "manifold_probe.measures.overlap",  # overlap of the neighbours of chosen queries
    },
    "claims/claim2_tintem.py": {
        SCORES,
        "manifold_probe.measures.overlap",  # as above
        "manifold_probe.models.heads",  # the untrained head of a method
    },
    "claims/claim3_ckd.py": {  # a teacher trained on labels alone: mp.distill would compare it with constant logits
        SCORES,
        "manifold_probe.distillation.config",
        "manifold_probe.distillation.train",
    },
    "claims/signed.py": {"manifold_probe.models.students"},  # a built-in student without its last layer
    "claims/study.py": {  # the training loop, stopped after a number of steps, and a head on other images
        "manifold_probe.distillation.config",
        "manifold_probe.distillation.run_folder",
        "manifold_probe.distillation.setting",
        "manifold_probe.extraction.processes",
        "manifold_probe.models.heads",
        "manifold_probe.models.load",
    },
    "speed/training.py": {"manifold_probe.models.students"},  # a bare loop around a built-in student
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
    assert imported(file) - PUBLIC == BEYOND.get(f"{file.parent.name}/{file.name}", set())


def test_every_exception_is_of_a_file_that_is_there() -> None:
    assert set(BEYOND) <= {f"{file.parent.name}/{file.name}" for file in FILES}
    assert all((ROOT / name).is_dir() for name in OUTSIDE)
