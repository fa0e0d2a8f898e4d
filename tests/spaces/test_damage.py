"""Good files, cut and flipped at random: they are read or refused, and nothing else ever happens."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from manifold_probe.errors import InputError
from manifold_probe.spaces import read, read_column
from tests.spaces import test_formats as good
from tests.spaces.test_bad_files import read_all

X = good.VALUES


def npy(path: Path, x: np.ndarray) -> Path:
    np.save(path / "x.npy", x)
    return path / "x.npy"


def safetensors(path: Path, x: np.ndarray) -> Path:
    save_file({"features": torch.from_numpy(x).bfloat16(), "ids": torch.arange(len(x))}, path / "x.safetensors")
    return path / "x.safetensors"


def csv(path: Path, x: np.ndarray) -> Path:
    pd.DataFrame(x).assign(ids=good.IDS, labels=good.LABELS).to_csv(path / "x.csv", index=False)
    return path / "x.csv"


def manifest(path: Path, x: np.ndarray) -> Path:
    return good.folder(path, x) / "manifest.json"


WRITERS = [
    npy, good.npz, good.compressed_npz, good.pt, good.legacy_pt, safetensors, good.parquet, good.list_parquet,
    good.column_parquet, good.feather, good.arrow_stream, good.arrow_file, good.hdf5, good.chunked_hdf5, csv, manifest,
]  # fmt: skip


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Some bytes replaced (mostly near the ends, where headers and directories lie), then perhaps cut short."""
    places = st.one_of(st.floats(0, 1), st.floats(0, 0.1), st.floats(0.9, 1))
    flips = draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=6))
    keep = draw(st.one_of(st.just(1.0), st.floats(0, 1)))

    def apply(data: bytes) -> bytes:
        changed = bytearray(data)
        for place, value in flips:
            changed[min(int(place * len(data)), len(data) - 1)] = value
        return bytes(changed[: round(keep * len(data))])

    return apply


@pytest.mark.parametrize("write", WRITERS)
def test_damaged_files_are_read_or_refused(write: Callable, tmp_path: Path) -> None:
    path = write(tmp_path, X)
    whole = path.read_bytes()
    typed = str(path.parent if path.name == "manifest.json" else path)

    @given(damage())
    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    def check(change: Callable[[bytes], bytes]) -> None:
        path.unlink()  # an earlier example's maps must not see the file shrink
        path.write_bytes(change(whole))
        begun = time.perf_counter()
        for use in (lambda: read_all(typed), lambda: read_column(typed, ("labels", "label"), "labels")):
            with contextlib.suppress(InputError):
                use()
        assert time.perf_counter() - begun < 5

    check()


def test_every_cut_of_small_files_is_read_or_refused(tmp_path: Path) -> None:
    for write in (npy, good.npz, safetensors, good.pt):
        path = write(tmp_path, X)
        whole = path.read_bytes()
        for length in range(0, len(whole), 1 + len(whole) // 150):
            path.unlink()
            path.write_bytes(whole[:length])
            with pytest.raises(InputError):
                read(str(path))


def test_nothing_huge_was_allocated() -> None:
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 3 * 2**20  # KiB
