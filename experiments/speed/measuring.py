"""What the parts share: the features they are measured on, whole processes timed and watched, the machine in words."""

from __future__ import annotations

import datetime
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from peers import installed

PROBE = [sys.executable, "-m", "manifold_probe"]
RESULTS = Path(__file__).resolve().parent / "results"
BLOCK = 8192  # rows at a time, as the engine reads them
CLUSTERS, FACTORS = 1000, 64
MB = 1e6


# Features


def write_pair(folder: Path, rows: int, widths: tuple[int, int], dtype: str = "float32") -> list[Path]:
    """A teacher and a student, in a folder of this size inside ``folder``; what is there already is kept."""
    folder = folder / f"{rows}x{widths[0]}x{widths[1]}-{dtype}"
    folder.mkdir(parents=True, exist_ok=True)
    teacher = write_teacher(folder / "t.npy", rows, widths[0], dtype)
    return [teacher, write_student(folder / "s.npy", teacher, widths[1], dtype)]


def write_teacher(path: Path, rows: int, width: int, dtype: str = "float32") -> Path:
    """Rows around 1,000 centres, all in 64 decaying directions of the space, with a little noise in every direction."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CLUSTERS, FACTORS), dtype=np.float32)
    directions = rng.standard_normal((FACTORS, width), dtype=np.float32) / np.float32(FACTORS**0.5)
    directions *= np.linspace(2, 0.2, FACTORS, dtype=np.float32)[:, None]

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, rows, BLOCK):
            count = min(BLOCK, rows - start)
            within = np.float32(0.5) * rng.standard_normal((count, FACTORS), dtype=np.float32)
            noise = np.float32(0.05) * rng.standard_normal((count, width), dtype=np.float32)
            yield (centres[rng.integers(0, CLUSTERS, count)] + within) @ directions + noise

    return write_rows(path, (rows, width), dtype, blocks())


def write_student(
    path: Path, teacher: Path, width: int, dtype: str = "float32", noise: float = 0.8, seed: int = 1
) -> Path:
    """A random linear map of the teacher's rows, plus noise."""
    x = np.load(teacher, mmap_mode="r")
    rng = np.random.default_rng(seed)
    linear = rng.standard_normal((x.shape[1], width), dtype=np.float32) / np.float32(x.shape[1] ** 0.5)

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(x), BLOCK):
            rows = x[start : start + BLOCK].astype(np.float32)
            yield rows @ linear + np.float32(noise) * rng.standard_normal((len(rows), width), dtype=np.float32)

    return write_rows(path, (len(x), width), dtype, blocks())


def write_rows(path: Path, shape: tuple[int, int], dtype: str, blocks: Iterator[np.ndarray]) -> Path:
    """Write an .npy file block by block; a file of this shape and type that is there already is kept."""
    if path.exists():
        there = np.load(path, mmap_mode="r")
        if there.shape == shape and there.dtype == dtype:
            return path
    unfinished = path.with_suffix(".unfinished")
    file = np.lib.format.open_memmap(unfinished, "w+", dtype, shape)
    start = 0
    for block in blocks:
        file[start : start + len(block)] = block
        start += len(block)
    file.flush()
    unfinished.replace(path)
    return path


# Processes


@dataclass
class Run:
    """One process from start to exit. Memory is in MB (10^6 bytes) and covers the processes that it started:
    ``resident_mb`` is the sum of their own peaks, ``anonymous_mb`` the peak of the sum of RssAnon, seen every 20 ms.
    """

    seconds: float = 0.0
    resident_mb: float = 0.0
    anonymous_mb: float = 0.0
    code: int = 0
    out: str = ""
    err: str = ""
    stopped: str = ""  # "time" or "memory" where it was ended at a limit
    course: list[tuple[float, float]] = field(default_factory=list)  # (seconds, anonymous MB)

    def figures(self) -> dict[str, float]:
        """What is kept in results."""
        return {
            "seconds": round(self.seconds, 3),
            "resident_mb": round(self.resident_mb),
            "anonymous_mb": round(self.anonymous_mb),
        }


def run(
    command: list[str],
    *,
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
    seconds: float = float("inf"),
    megabytes: float = float("inf"),
) -> Run:
    """Run a command in a session of its own and watch it; it is ended where it passes a limit."""
    found = Run()
    ended = threading.Event()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        whole = {**os.environ, **(environment or {})}
        process = subprocess.Popen(command, stdout=out, stderr=err, env=whole, cwd=folder, start_new_session=True)
        limits = {"time": seconds, "memory": megabytes}
        watcher = threading.Thread(target=_watch, args=(process.pid, start, limits, found, ended))
        watcher.start()
        try:
            found.code = process.wait()
        finally:
            found.seconds = time.perf_counter() - start
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
            ended.set()
            watcher.join()
        found.out, found.err = (stream.seek(0) or stream.read().decode() for stream in (out, err))
    return found


def checked(command: list[str], **options: Any) -> Run:
    """``run``, where a command that fails ends the experiment."""
    found = run(command, **options)
    if found.code:
        raise SystemExit(f"{' '.join(command)}\nfailed with exit code {found.code} {found.stopped}:\n{found.err}")
    return found


def alternately(commands: dict[str, list[str]], rounds: int, **options: Any) -> dict[str, dict[str, Any]]:
    """Every command once a round, so that a slow minute of the machine meets them all: the median of the seconds, all
    seconds, the largest memory."""
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            runs[name].append(checked(command, **options))
            print(f"{name}: {runs[name][-1].figures()}", flush=True)
    return {name: summary(of_name) for name, of_name in runs.items()}


def summary(runs: list[Run]) -> dict[str, Any]:
    """Several runs of one command."""
    every = [each.figures() for each in runs]
    return {
        "seconds": round(statistics.median(each["seconds"] for each in every), 3),
        "resident_mb": max(each["resident_mb"] for each in every),
        "anonymous_mb": max(each["anonymous_mb"] for each in every),
        "all_seconds": [each["seconds"] for each in every],
    }


def ratio(above: dict[str, Any], below: dict[str, Any]) -> dict[str, float]:
    """The median, least and largest ratio of the seconds of one round."""
    ratios = [a / b for a, b in zip(above["all_seconds"], below["all_seconds"], strict=True)]
    found = {"median": statistics.median(ratios), "least": min(ratios), "largest": max(ratios)}
    return {name: round(value, 3) for name, value in found.items()}


def said_of_ratio(share: dict[str, float]) -> str:
    """ "0.45 (0.43 to 0.48)": the median, and in brackets the least and the largest."""
    return f"{share['median']:.2f} ({share['least']:.2f} to {share['largest']:.2f})"


def _watch(pid: int, start: float, limits: dict[str, float], found: Run, ended: threading.Event) -> None:
    peaks: dict[int, float] = {}
    while not ended.is_set():
        memory = {each: _memory(each) for each in _tree(pid)}
        peaks |= {each: kb["VmHWM"] for each, kb in memory.items() if "VmHWM" in kb}
        now, anonymous = time.perf_counter() - start, sum(kb.get("RssAnon", 0) for kb in memory.values()) * 1024 / MB
        if anonymous:
            found.course.append((now, anonymous))
            found.anonymous_mb = max(found.anonymous_mb, anonymous)
            found.resident_mb = sum(peaks.values()) * 1024 / MB
        passed = [name for name, value in (("time", now), ("memory", anonymous)) if value > limits[name]]
        if passed and not found.stopped:
            found.stopped = passed[0]
            os.killpg(pid, signal.SIGKILL)
        ended.wait(0.02)


def _tree(pid: int) -> list[int]:
    """A process and all that it started."""
    try:
        started = " ".join(file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children"))
    except OSError:  # it ended in this moment
        started = ""
    return [pid, *(below for child in started.split() for below in _tree(int(child)))]


def _memory(pid: int) -> dict[str, int]:
    """VmHWM and RssAnon of a process in units of 1,024 bytes; nothing once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmHWM", "RssAnon"))}


# The machine


def machine() -> dict[str, Any]:
    """What it ran on and when, without naming the host; a load far above zero at the start makes times too long."""
    packages = ("manifold_probe", "numpy", "scipy", "scikit-learn", "torch", "faiss-cpu", "distributed")
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": _line("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(_line("/proc/meminfo", "MemTotal").split()[0]) / 2**20, 1),
        "load_at_start": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": installed(packages),
    }


def free_mb() -> float:
    """The memory that processes could still take, in MB."""
    return int(_line("/proc/meminfo", "MemAvailable").split()[0]) * 1024 / MB


def _line(path: str, key: str) -> str:
    lines = Path(path).read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")


def said(on: dict[str, Any]) -> str:
    """The machine in a sentence."""
    versions = ", ".join(f"{name} {version}" for name, version in on["versions"].items())
    return (
        f"{on['date']}, {on['cpu']}, {on['cores']} cores, {on['memory_gib']:g} GiB; load at the start "
        f"{on['load_at_start']:g}; Python {on['python']}, {versions}."
    )


def table(head: list[str], rows: list[list[Any]]) -> list[str]:
    """A table in Markdown; numbers are aligned to the right."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(map(str, cells))} |" for cells in (head, rule, *rows)]
