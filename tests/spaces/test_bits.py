"""Packed bits: read as rows of -1 and 1 where asked, alarmed where they are read as numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import manifold_probe as mp
from manifold_probe.errors import InputError
from manifold_probe.spaces import read, sha256
from manifold_probe.spaces.read import split_key

N, D, K = 120, 64, 5
RNG = np.random.default_rng(0)
TEACHER = RNG.standard_normal((N, D)).astype(np.float32)
BITS = (TEACHER + 0.3 * RNG.standard_normal((N, D)) > 0).astype(np.uint8)
PACKED = np.packbits(BITS, axis=1)
SIGNS = np.where(BITS == 1, 1.0, -1.0)


def naive_overlap(left: np.ndarray, right: np.ndarray) -> float:
    """Mean overlap of K-neighbourhoods of two distance matrices (n, n), ties at the last place shared."""

    def shares(row: np.ndarray) -> np.ndarray:
        last = np.sort(row)[K - 1]
        inside, tied = row < last, row == last
        return inside + tied * (K - inside.sum()) / tied.sum()

    total = 0.0
    for i in range(N):
        others = np.arange(N) != i
        total += np.minimum(shares(left[i, others]), shares(right[i, others])).sum()
    return total / (N * K)


def euclidean(x: np.ndarray) -> np.ndarray:
    return ((x[:, None].astype(np.float64) - x[None]) ** 2).sum(2)


def hamming(bits: np.ndarray) -> np.ndarray:
    return (bits[:, None] != bits[None]).sum(2)


def test_the_bits_come_back(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", PACKED)
    np.savez(tmp_path / "x.npz", codes=PACKED, ids=np.arange(N), signed=(PACKED.astype(np.int16) - 128).astype(np.int8))
    torch.save({"train": {"codes": torch.from_numpy(PACKED)}}, tmp_path / "x.pt")
    for path in ("x.npy?bits", "x.npz::codes?bits", "x.npz::signed?bits", "x.pt::train.codes?bits", "x.pt?bits"):
        space = read(f"{tmp_path}/{path}")
        assert (space.n, space.d, space.dtype) == (N, D, "int8")
        assert np.array_equal(space.read(3, 50), SIGNS[3:50]), path
        assert np.array_equal(space.take(np.array([7, 2])), SIGNS[[7, 2]])
        assert sha256(f"{tmp_path}/{path}") == sha256(f"{tmp_path}/{path.partition('::')[0].removesuffix('?bits')}")
    assert read(f"{tmp_path}/x.npz::codes?bits").ids.tolist() == list(range(N))
    (tmp_path / "manifest.json").write_text(json.dumps({"shards": ["x.npy", "x.npy"]}))
    assert np.array_equal(read(f"{tmp_path}?bits").read(0, 2 * N), np.concatenate([SIGNS, SIGNS]))


def test_widths_that_are_no_multiple_of_eight(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.packbits(BITS[:, :61], axis=1))
    found = read(f"{tmp_path}/x.npy?bits").read(0, N)
    assert np.array_equal(found[:, :61], SIGNS[:, :61])
    assert (found[:, 61:] == -1).all()


def test_only_bytes_have_bits(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", TEACHER)
    with pytest.raises(InputError, match=r"x.npy: key 'features' has type float32: \?bits unpacks bytes"):
        read(f"{tmp_path}/x.npy?bits")
    np.save(tmp_path / "odd?bits.npy", TEACHER)
    assert read(f"{tmp_path}/odd?bits.npy").d == D
    (tmp_path / "whole?bits").mkdir()
    assert split_key(f"{tmp_path}/whole?bits")[1] is None


def cosine(x: np.ndarray) -> np.ndarray:
    unit = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    return -(unit @ unit.T)


def test_overlap_is_that_of_hamming_distances(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", codes=PACKED)
    found = mp.compare(TEACHER, f"{tmp_path}/s.npz::codes?bits", k=K)
    for metric, distances in (("", cosine(TEACHER)), (":euclidean", euclidean(TEACHER))):
        expected = naive_overlap(distances, hamming(BITS))
        assert found.measures[f"overlap@{K}{metric}"].value == pytest.approx(expected, abs=1e-9)
    assert "packed_bits" not in {alarm["code"] for alarm in found.alarms}


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32])
@pytest.mark.parametrize("swapped", [False, True])
def test_packed_bits_are_alarmed(dtype: type, swapped: bool, tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", codes=PACKED)
    sides = [(100 * TEACHER).astype(dtype), f"{tmp_path}/s.npz::codes"]
    found = mp.compare(*(sides[::-1] if swapped else sides), k=K)
    message = next(alarm["message"] for alarm in found.alarms if alarm["code"] == "packed_bits")
    assert message.startswith("teacher" if swapped else "student")
    assert f"{tmp_path}/s.npz::codes?bits" in message


def test_bytes_of_other_widths_are_not_alarmed() -> None:
    for student in (PACKED[:, :5], RNG.integers(0, 256, (N, D), dtype=np.uint8)):
        found = mp.compare(TEACHER, student, k=K)
        assert "packed_bits" not in {alarm["code"] for alarm in found.alarms}


@pytest.mark.parametrize("write", ["csv", "jsonl", "parquet", "int64"])
@pytest.mark.parametrize("signed", [False, True])
def test_bytes_that_a_table_holds_as_integers(write: str, signed: bool, tmp_path: Path) -> None:
    codes = PACKED.astype(np.int64) - 128 * signed
    frame = pd.DataFrame(codes, columns=[f"b{i}" for i in range(D // 8)])
    path = f"{tmp_path}/x.{write.replace('int64', 'npy')}"
    if write == "csv":
        frame.to_csv(path, index=False)
    elif write == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif write == "parquet":
        pd.DataFrame({"code": codes.tolist()}).to_parquet(path)
    else:
        np.save(path, codes)
    assert np.array_equal(read(f"{path}?bits").read(0, N), SIGNS)
    np.save(tmp_path / "t.npy", TEACHER)
    found = mp.compare(str(tmp_path / "t.npy"), path)
    assert "packed_bits" in {alarm["code"] for alarm in found.alarms}


def test_unpacked_bits_of_the_same_type_as_packed_ones_are_no_excuse() -> None:
    for teacher, student in ((BITS, PACKED), (PACKED, BITS)):
        found = mp.compare(teacher, student)
        assert "packed_bits" in {alarm["code"] for alarm in found.alarms}
    small = RNG.integers(0, 255, (N, 8)).astype(np.uint8)
    wide = RNG.integers(0, 255, (N, 64)).astype(np.uint8)
    assert "packed_bits" not in {alarm["code"] for alarm in mp.compare(wide, small).alarms}
