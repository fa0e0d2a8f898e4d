"""Two processes with gathered negatives are one process with the joined batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from manifold_probe.distillation.gather import gather
from tests.distillation import one_of_two

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, one_of_two.__file__, str(rank), str(folder / "meeting"), str(folder / "result")],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    return [torch.load(folder / f"result.{rank}") for rank in (0, 1)]


@pytest.mark.parametrize("name", one_of_two.methods())
def test_two_processes_are_one_with_the_joined_batch(both, name):
    expected, buffers = one_of_two.step(name, slice(None))
    if name == "coss, each process its own":
        halves = [one_of_two.step(name, half)[0] for half in (slice(0, 4), slice(4, 8))]
        expected = [(x + y) / 2 for x, y in zip(*halves, strict=True)]
    for result in both:
        for found, wanted in zip(result[name][0], expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
        for found, wanted in zip(result[name][1], buffers, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-14)


def test_rows_come_in_the_order_of_ranks(both):
    expected = torch.arange(12.0).view(3, 4).T
    for result in both:
        assert torch.equal(result["rows"], torch.cat([expected[:, :1], expected[:, 2:3]]))


def test_without_a_process_group_nothing_happens():
    rows = torch.ones(2, 3, requires_grad=True)
    assert gather(rows) is rows
