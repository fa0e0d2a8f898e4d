"""How long `probe compare` takes and how much memory, beside packages that compute one of its measures.

    python experiments/speed/run.py [--peers PYTHON] [--runs 5]     10,000 rows, 512 against 384 dimensions
    python experiments/speed/run.py --million FOLDER                1,000,000 rows, 768 against 384, float16, on disk
    python experiments/speed/run.py --million FOLDER --shown        the same with figures and page, and without

Whole commands, from process start to exit, each in a process of its own; memory is the process's peak resident set.
Writes results/speed.json or results/million.json and results/README.md.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PROBE = [sys.executable, "-m", "manifold_probe"]
PEERS = {
    "ckatorch": "ckatorch, debiased CKA",
    "rsatoolbox": "rsatoolbox, CKA",
    "sklearn": "scikit-learn, trustworthiness both ways",
    "zadu": "zadu, trustworthiness and continuity",
}
PEER_LIMIT = 900  # seconds
MIB = 2**20


def write_pair(folder: Path, rows: int, widths: tuple[int, int], dtype: str, seed: int = 0) -> list[Path]:
    """t.npy and s.npy: two noisy linear images of the same 64 decaying factors, written block by block."""
    rng = np.random.default_rng(seed)
    decay = np.linspace(2, 0.2, 64, dtype=np.float32)
    mixing = [rng.standard_normal((64, width), dtype=np.float32) / 8 for width in widths]
    paths = [folder / "t.npy", folder / "s.npy"]
    files = [
        np.lib.format.open_memmap(path, "w+", dtype, (rows, width)) for path, width in zip(paths, widths, strict=True)
    ]
    for start in range(0, rows, 10_000):
        factors = rng.standard_normal((min(10_000, rows - start), 64), dtype=np.float32) * decay
        for file, mix in zip(files, mixing, strict=True):
            noise = rng.standard_normal((len(factors), mix.shape[1]), dtype=np.float32)
            file[start : start + len(factors)] = factors @ mix + np.float32(0.3) * noise
    for file in files:
        file.flush()
    return paths


def timed(command: list[str], limit: float = 3600) -> dict[str, Any]:
    """Run a command: its seconds from start to exit, peak resident MiB, exit code and output."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, env={**os.environ, "COLUMNS": "120"})
        anonymous = watch(process.pid, limit, start)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        texts = [stream.seek(0) or stream.read().decode() for stream in (out, err)]
    return {
        "seconds": seconds,
        "peak_mib": usage.ru_maxrss / 1024,
        "anonymous_mib": anonymous,
        "code": process.returncode,
        "out": texts[0],
        "err": texts[1],
    }


def watch(pid: int, limit: float, start: float) -> list[tuple[float, float]]:
    """(seconds, anonymous resident MiB) of a process every 20 ms until it ends; ended here when past its limit."""
    samples: list[tuple[float, float]] = []
    while True:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return samples
        now = time.perf_counter() - start
        anonymous = next((line for line in status.splitlines() if line.startswith("RssAnon")), None)
        if anonymous is None:  # a zombie has no memory left
            return samples
        samples.append((now, int(anonymous.split()[1]) / 1024))
        if now > limit:
            os.kill(pid, 9)
            return samples
        time.sleep(0.02)


def repeated(command: list[str], runs: int) -> dict[str, Any]:
    """Median seconds and largest memory of several runs; all seconds are kept."""
    done = [timed(command) for _ in range(runs)]
    if any(run["code"] for run in done):
        raise SystemExit(f"{' '.join(command)} failed:\n{done[-1]['err']}")
    seconds = [round(run["seconds"], 3) for run in done]
    return {
        "seconds": statistics.median(seconds),
        "peak_mib": round(max(run["peak_mib"] for run in done)),
        "all_seconds": seconds,
    }


def measure_peers(python: str, paths: list[Path]) -> dict[str, Any]:
    """Time and memory of each peer that is installed; the others are named and left out."""
    found = {}
    for name in PEERS:
        run = timed([python, str(HERE / "peers.py"), name, *map(str, paths)], PEER_LIMIT)
        if run["code"]:
            last = run["err"].strip().splitlines()[-1:] or [f"stopped after {PEER_LIMIT} s"]
            print(f"{name}: left out ({last[0]})")
            continue
        answer = json.loads(run["out"].splitlines()[-1])
        found[name] = {
            "version": answer["version"],
            "value": answer["value"],
            "seconds": round(run["seconds"], 2),
            "computing_seconds": round(answer["seconds"], 2),
            "peak_mib": round(run["peak_mib"]),
        }
        print(f"{name}: {found[name]}")
    return found


def machine() -> dict[str, Any]:
    """What it ran on, without naming the host; a load far above zero at the start makes times too long."""
    model = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / MIB
    packages = ("manifold_probe", "numpy", "scipy", "scikit-learn", "torch", "faiss-cpu")
    return {
        "cpu": model[0] if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory, 1),
        "load_at_start": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def ten_thousand(peers: str, runs: int) -> dict[str, Any]:
    """probe compare, probe --help and the peers at 10,000 rows."""
    results: dict[str, Any] = {"machine": machine(), "rows": 10_000, "dimensions": [512, 384]}
    with tempfile.TemporaryDirectory() as folder:
        paths = write_pair(Path(folder), 10_000, (512, 384), "float32")
        compare = [*PROBE, "compare", "--teacher", str(paths[0]), "--student", str(paths[1])]
        results["compare"] = repeated(compare, runs)
        results["help"] = repeated([*PROBE, "--help"], runs)
        shown = [*compare, "--figures", f"{folder}/figures", "--report", f"{folder}/page.html"]
        results["shown"] = repeated([*shown, "--no-maps"], runs)
        results["shown_with_maps"] = repeated(shown, runs)
        results["page_mib"] = round(os.path.getsize(f"{folder}/page.html") / MIB, 2)
        print({name: results[name] for name in ("compare", "help", "shown", "shown_with_maps")})
        measures = json.loads(timed([*compare, "--json"])["out"])["measures"]
        keys = ("linear_cka", "debiased_linear_cka", "trustworthiness@10", "continuity@10")
        results["values"] = {key: measures[key]["value"] for key in keys}
        results["peers"] = measure_peers(peers, paths)
    return results


def million(folder: Path, shown: bool) -> dict[str, Any]:
    """probe compare --json over a million memory-mapped rows: seconds, peak anonymous memory and its course.

    With ``shown`` the seconds with figures and page, and without them, in one go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"machine": machine(), "rows": 1_000_000, "dimensions": [768, 384], "dtype": "float16"}
    paths = write_pair(folder, 1_000_000, (768, 384), "float16")
    compare = [*PROBE, "compare", "--teacher", str(paths[0]), "--student", str(paths[1]), "--json"]
    run = timed(compare)
    if run["code"]:
        raise SystemExit(run["err"])
    if shown:
        more = timed([*compare, "--figures", f"{folder}/figures", "--report", f"{folder}/page.html"])
        results["seconds"], results["shown_seconds"] = round(run["seconds"], 1), round(more["seconds"], 1)
        results["page_mib"] = round(os.path.getsize(folder / "page.html") / MIB, 2)
        return results
    samples = run["anonymous_mib"]
    results["seconds"] = round(run["seconds"], 1)
    results["peak_anonymous_mib"] = round(max(mib for _, mib in samples))
    results["peak_resident_mib"] = round(run["peak_mib"])
    results["anonymous_mib"] = [[round(when, 1), round(mib)] for when, mib in samples[:: max(1, len(samples) // 100)]]
    results["measures"] = {key: each["value"] for key, each in json.loads(run["out"])["measures"].items()}
    print({key: results[key] for key in ("seconds", "peak_anonymous_mib", "peak_resident_mib")})
    return results


def page() -> str:
    """results/README.md, from the JSON files that are there."""
    lines = ["# Measured", "", "Written by run.py from the JSON files beside it.", ""]
    if (RESULTS / "speed.json").exists():
        found = json.loads((RESULTS / "speed.json").read_text())
        ours = found["compare"]
        lines += [
            f"## {found['rows']:,} rows, {found['dimensions'][0]} against {found['dimensions'][1]} dimensions",
            "",
            _on(found["machine"]),
            "",
            "| whole process | seconds | against `probe compare` | peak MiB | against `probe compare` |",
            "|---|---|---|---|---|",
            f"| `probe compare`, all measures | {ours['seconds']:.2f} | 1 | {ours['peak_mib']:,} | 1 |",
        ]
        for key, what in (("shown", "`--figures --report --no-maps`"), ("shown_with_maps", "`--figures --report`")):
            if key in found:
                ratio = found[key]["seconds"] / ours["seconds"]
                peak = found[key]["peak_mib"]
                cells = f"{found[key]['seconds']:.1f} | {ratio:.2f} | {peak:,} | {peak / ours['peak_mib']:.2f}"
                lines.append(f"| the same with {what} | {cells} |")
        lines.append(f"| `probe --help` | {found['help']['seconds']:.2f} | | {found['help']['peak_mib']:,} | |")
        for name, peer in found["peers"].items():
            slower, larger = peer["seconds"] / ours["seconds"], peer["peak_mib"] / ours["peak_mib"]
            label = f"{PEERS[name]} ({peer['version']})"
            lines.append(f"| {label} | {peer['seconds']:.1f} | {slower:.1f} | {peer['peak_mib']:,} | {larger:.1f} |")
        lines += ["", f"`probe compare` is the median of {len(ours['all_seconds'])} runs; peers ran once.", ""]
        if "shown" in found:
            more = [found[key]["seconds"] - ours["seconds"] for key in ("shown", "shown_with_maps")]
            text = (
                f"Figures and page take {more[0]:.1f} s beyond the comparison, {more[1]:.1f} s with maps (2,000 rows); "
            )
            lines += [f"{text}the page has {found['page_mib']:g} MiB.", ""]
        lines += ["It samples queries (5,000 of the rows, 1,000 for trustworthiness); the peers use all rows.", ""]
        lines += ["What they found, ours first:", ""]
        lines += [f"- {key}: {value:.6f}" for key, value in found["values"].items()]
        lines += [f"- {PEERS[name]}: {_numbers(peer['value'])}" for name, peer in found["peers"].items()]
        lines.append("")
    if (RESULTS / "million.json").exists():
        found = json.loads((RESULTS / "million.json").read_text())
        lines += [
            f"## {found['rows']:,} rows, {found['dimensions'][0]} against {found['dimensions'][1]}, {found['dtype']}",
            "",
            _on(found["machine"]),
            "",
            f"{found['seconds']:.0f} s, peak anonymous memory {found['peak_anonymous_mib']:,} MiB (peak resident set "
            f"{found['peak_resident_mib']:,} MiB, which counts mapped pages of the files).",
            "",
        ]
    if (RESULTS / "million_shown.json").exists():
        found = json.loads((RESULTS / "million_shown.json").read_text())
        ratio = found["shown_seconds"] / found["seconds"]
        lines += [
            "With `--figures --report` and maps, the two runs one after the other, other work beside them: "
            f"{found['seconds']:.0f} s without, {found['shown_seconds']:.0f} s with, {ratio:.2f} times as long; the "
            f"page has {found['page_mib']:g} MiB.",
            "",
        ]
    return "\n".join(lines)


def _on(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']:g} GiB; load at the start "
        f"{machine['load_at_start']:g}; Python {machine['python']}, {versions}."
    )


def _numbers(value: float | list[float]) -> str:
    return ", ".join(f"{each:.6f}" for each in (value if isinstance(value, list) else [value]))


def main() -> None:
    """Measure and write results/."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON", help="interpreter that has the peers")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--million", type=Path, metavar="FOLDER", help="where the 2.3 GB of features are written")
    parser.add_argument("--shown", action="store_true", help="with --million: time figures and page")
    asked = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    if asked.million:
        name, results = "million_shown" if asked.shown else "million", million(asked.million, asked.shown)
    else:
        name, results = "speed", ten_thousand(asked.peers, asked.runs)
    (RESULTS / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / "README.md").write_text(page())


if __name__ == "__main__":
    main()
