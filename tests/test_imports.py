"""torch takes seconds to import: only tensors, .pt files and models may need it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

N, D = 80, 4


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same features in every format."""
    folder = tmp_path_factory.mktemp("files")
    rows = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
    ids = [f"row {place}" for place in range(N)]
    np.save(folder / "x.npy", rows)
    np.savez(folder / "x.npz", features=rows, ids=np.array(ids))
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        save_file({"features": torch.from_numpy(rows).to(getattr(torch, dtype))}, folder / f"{dtype}.safetensors")
    save_file({"features": torch.from_numpy(100 * rows).to(torch.int8)}, folder / "int8.safetensors")
    frame = pd.DataFrame({"id": ids, **{f"f{column}": rows[:, column] for column in range(D)}})
    frame.to_parquet(folder / "x.parquet")
    frame.to_feather(folder / "x.feather")
    frame.to_csv(folder / "x.csv", index=False)
    (folder / "x.json").write_text(json.dumps({"features": rows.tolist(), "ids": ids}))
    return folder


def modules_after(script: str, *arguments: str | Path) -> set[str]:
    """What a Python of its own has imported after a script."""
    script += "\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


READ = """
import sys
import numpy as np
from manifold_probe.spaces import read
for path in sys.argv[1:]:
    space = read(path)
    assert space.read(0, 10).shape == space.take(np.arange(10)).shape == (10, 4), path
    assert "torch" not in sys.modules, path
"""


def test_features_are_read_without_torch(files: Path) -> None:
    assert "torch" not in modules_after(READ, *sorted(files.iterdir()))


def test_files_are_described_without_torch(files: Path) -> None:
    script = "import sys\nfrom manifold_probe.cli import main\ntry: main()\nexcept SystemExit: pass\n"
    assert not {"torch", "scipy"} & modules_after(script, "info", files / "bfloat16.safetensors")


def test_hdf5_is_read_without_torch(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["features"] = np.random.default_rng(0).normal(size=(N, D))
    assert "torch" not in modules_after(READ, tmp_path / "x.h5")


MEASURE = """
import sys
import manifold_probe as mp
teacher, folder, *students = sys.argv[1:]
for student in students:
    found = mp.compare(teacher, student, positional=True)
found.to_json(), found.to_html(f"{folder}/x.html"), found.to_frame(), found.figures(folder), found.summary()
found = mp.diagnose(teacher, students[0], positional=True)
found.to_json(), found.to_html(f"{folder}/x.html"), found.summary()
"""


def test_pairs_are_measured_and_diagnosed_without_torch(files: Path, tmp_path: Path) -> None:
    students = [files / name for name in ("x.npz", "bfloat16.safetensors", "x.parquet")]
    assert "torch" not in modules_after(MEASURE, files / "x.npy", tmp_path, *students)


def test_importing_the_package_imports_nothing_large() -> None:
    large = {"numpy", "scipy", "torch", "pandas", "pyarrow", "sklearn", "matplotlib"}
    assert not large & modules_after("import manifold_probe, manifold_probe.cli")
