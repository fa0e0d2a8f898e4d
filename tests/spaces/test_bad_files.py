"""Bad files are refused in one line that names the file; damaged ones never raise anything else."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from manifold_probe.errors import InputError
from manifold_probe.spaces import check_finite, inspect, read
from tests.spaces.bad_files import BAD_FILES


def read_all(path: str) -> None:
    space = read(path)
    for start, block in space.blocks(7):
        check_finite(block, start, space)


@pytest.mark.parametrize("name", BAD_FILES)
def test_refused_in_one_line_naming_the_file(name: str, tmp_path: Path) -> None:
    path, words = BAD_FILES[name](tmp_path)
    with pytest.raises(InputError) as error:
        read_all(path)
    message = str(error.value)
    assert words in message
    assert "\n" not in message
    assert str(tmp_path) in message
    assert not (tmp_path / "OWNED").exists()
    with contextlib.suppress(InputError):  # a look inside may work where a measurement cannot
        inspect(path)


def test_there_are_many() -> None:
    assert len(BAD_FILES) >= 100


def test_bombs_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    names = [name for name in BAD_FILES if "bomb" in name or name in ("expanded_tensor", "unwritten_h5")]
    paths = []
    for name in names:
        (tmp_path / name).mkdir()
        paths.append(BAD_FILES[name](tmp_path / name)[0])
    script = (
        "import sys, resource, torch, h5py, pyarrow.parquet\n"
        "from manifold_probe.spaces import read\n"
        "from manifold_probe.errors import InputError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sys.argv[1:]:\n"
        "    try: read(path)\n"
        "    except InputError: print('refused')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True, check=True)
    *refused, grown = done.stdout.split()
    assert len(refused) == len(paths)
    assert int(grown) < 60_000  # KiB


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
def test_unreadable(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.eye(3))
    (tmp_path / "x.npy").chmod(0)
    with pytest.raises(InputError, match=r"cannot be opened \(Permission denied\)"):
        read(str(tmp_path / "x.npy"))


def test_missing_h5py_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "x.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(InputError, match=r"pip install 'h5py>=3.11'"):
        read(str(tmp_path / "x.h5"))


def test_a_full_temporary_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from manifold_probe.spaces import spool

    np.savez_compressed(tmp_path / "x.npz", x=np.ones((100, 100)))
    monkeypatch.setattr(spool, "MEMORY_BYTES", 100)
    monkeypatch.setattr(spool.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 10}))
    with pytest.raises(InputError, match=r"x.npz: needs 80,000 bytes of temporary disk"):
        read(str(tmp_path / "x.npz"))
