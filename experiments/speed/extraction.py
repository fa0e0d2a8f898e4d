"""How much slower `probe extract` is than the model alone, and whether its memory grows with the data.

    python experiments/speed/extraction.py

EfficientNet-Lite0 (see experiments/real_features for the package) at 224 px over PNG images of 256 px on disk; beside
it, in the same run and with the same batches, the bare forward pass over preloaded tensors. Memory: a model that costs
nothing, over 1,000 and 4,000 images, each in a process of its own. Writes results/extraction.json and extraction.md.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import PROBE, RESULTS, machine
from PIL import Image

IMAGES, SIDE, SIZE, BATCH, REPEATS = 512, 256, 224, 32, 3
CHEAP = """import torch


def cheap():
    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten())
"""


def write_images(folder: Path, count: int, side: int) -> None:
    """Smooth random pictures, about as large on disk as photographs of this size."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for place in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8))
        noise = rng.integers(-8, 9, (side, side, 3))
        pixels = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), dtype=int) + noise
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{place:05d}.png")


def extract(folder: Path, model: str, images: str, size: int, *more: str) -> dict[str, Any]:
    """Rows a second, the share of writing and the peak memory of one extraction into a new folder."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [*PROBE, "extract", "--model", model, "--data", images]
        command += ["--size", str(size), "--mean", "0.5", "--std", "0.5", "--batch-size", str(BATCH), *more]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
        process = subprocess.Popen(
            [*command, "--out", f"{scratch}/out"], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
    found = re.search(r"([\d,]+) rows in ([\d.]+) s \(([\d,]+) a second, ([\d.]+)% of it writing\)", said)
    if status or found is None:
        raise SystemExit(said)
    rows, seconds, share = int(found[1].replace(",", "")), float(found[2]), float(found[4])
    return {"rows_a_second": rows / seconds, "writing_percent": share, "peak_mib": round(usage.ru_maxrss / 1024)}


def bare(count: int) -> float:
    """Rows a second of the model alone, over tensors that are in memory."""
    from efficientnet_lite_pytorch import EfficientNet

    torch.manual_seed(0)
    model = EfficientNet.from_name("efficientnet-lite0").eval()
    batch = torch.randn(BATCH, 3, SIZE, SIZE)
    with torch.inference_mode():
        model(batch)
        start = time.perf_counter()
        for _ in range(count // BATCH):
            model(batch)
        return count / (time.perf_counter() - start)


def main() -> None:
    """Measure and write the results."""
    results: dict[str, Any] = {"machine": machine(), "images": IMAGES, "size": SIZE, "batch": BATCH, "runs": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "cheapmodel.py").write_text(CHEAP)
        write_images(folder / "photos", IMAGES, SIDE)
        source = "python:efficientnet_lite_pytorch:EfficientNet.from_name?model_name=efficientnet-lite0"
        for _ in range(REPEATS):  # one after the other, so that a slow minute hits both
            alone, whole = bare(IMAGES), extract(folder, source, "photos", SIZE)
            results["runs"].append({"bare_rows_a_second": alone, **whole, "ratio": whole["rows_a_second"] / alone})
            print(results["runs"][-1])
        for count in (1_000, 4_000):
            write_images(folder / f"small{count}", count, 64)
            results[f"peak_mib_{count}"] = extract(folder, "python:cheapmodel:cheap", f"small{count}", 64)["peak_mib"]
    results["ratio"] = sorted(run["ratio"] for run in results["runs"])[REPEATS // 2]
    (RESULTS / "extraction.json").write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / "extraction.md").write_text(page(results))


def page(results: dict[str, Any]) -> str:
    """The results as a page."""
    middle = sorted(results["runs"], key=lambda run: run["ratio"])[REPEATS // 2]
    writing = max(run["writing_percent"] for run in results["runs"])
    least, most = (pick(run["ratio"] for run in results["runs"]) for pick in (min, max))
    machine = results["machine"]
    return "\n".join(
        [
            "# Extraction, measured",
            "",
            f"{machine['cpu']}, {machine['cores']} cores, load at the start {machine['load_at_start']:g}. "
            f"EfficientNet-Lite0 at {results['size']} px, {results['batch']} a batch, {results['images']} PNG images.",
            "",
            "| | images a second |",
            "|---|---|",
            f"| bare forward pass, preloaded tensors | {middle['bare_rows_a_second']:.1f} |",
            f"| `probe extract`, from PNG files to shards | {middle['rows_a_second']:.1f} |",
            "",
            f"Ratio {results['ratio']:.2f} (median of {len(results['runs'])} pairs, "
            f"{least:.2f} to {most:.2f}); "
            f"writing took at most {writing:.1f}% of the time. Peak memory over 1,000 and 4,000 small images: "
            f"{results['peak_mib_1000']:,} and {results['peak_mib_4000']:,} MiB.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
