"""Two processes under one watch: the weights are as without it, the log has each measurement once, nobody waits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.watch import two_processes
from tests.watch.test_adapters import lines

pytestmark = pytest.mark.slow
STEPS = {"plain": [0, 4, 8], "sharded": [], "lightning": [0, 4, 6], "transformers": [0, 6, 12]}


@pytest.mark.parametrize("framework", STEPS)
def test_two_processes(framework: str, tmp_path: Path) -> None:
    pytest.importorskip({"plain": "torch", "sharded": "torch"}.get(framework, framework))
    script = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", two_processes.__file__]
    command = [sys.executable, *script, framework, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    log = tmp_path / "w.jsonl"
    assert [line["step"] for line in (lines(log) if log.exists() else [])] == STEPS[framework]
    assert ("the model is sharded" in done.stderr) == (framework == "sharded")
