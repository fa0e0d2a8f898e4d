"""Reading a folder of shards: ``manifest.json`` names them, and its order is the row order.

    {"shards": ["a.npy", {"file": "b.safetensors", "rows": 100, "sha256": "..."}],
     "key": "features", "ids": "ids.txt", "labels": "labels.npy", "table": "rows.csv"}

Only ``shards`` is required. Ids and labels come from the shards (all or none of them), from files of one value per row,
or from a table of ids and labels; ``"checksums": {"ids.txt": "..."}`` may protect these files. A ``schema`` of this
project must be one that this version reads. The file order on disk never matters.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.spaces.checks import bad, check_file, refusing
from manifold_probe.spaces.choose import choose_features
from manifold_probe.spaces.columns import attached
from manifold_probe.spaces.contents import ID_NAMES, LABEL_NAMES, Contents, Entry, array_entry
from manifold_probe.spaces.formats import READERS, open_file, read_column_file
from manifold_probe.spaces.labels import of_one_kind
from manifold_probe.spaces.stacked import Stacked

MANIFEST = "manifest.json"
FEATURES, RUN_FEATURES = "manifold-probe/features/1", "manifold-probe/run-features/1"  # schemas
EXAMPLE = '{"shards": ["part-0.npy", "part-1.npy"]}'


def is_run(path: str) -> bool:
    """Whether a path is the folder of a training run, finished or not."""
    return all(os.path.isfile(os.path.join(path, name)) for name in ("config.toml", "log.jsonl"))


def open_folder(path: str, key: str | None = None) -> Contents:
    """The stacked shards as "features", with the folder's "ids" and "labels".

    ``key`` is the array to take from each shard, by default the manifest's "key".
    """
    manifest = _manifest(path)
    key = key or manifest.get("key")
    layers = manifest.get("shapes")
    if key is None and isinstance(layers, dict) and len(layers) > 1 and "features" not in layers:
        listed = ", ".join(list(layers)[:4]) + (", ..." if len(layers) > 4 else "")
        raise bad(path, f"holds {len(layers)} layers ({listed}); pick one with {path}::{next(iter(layers))}")
    parts: list[Entry] = []
    columns = []
    for item in manifest["shards"]:
        part, ids_labels = _shard(path, item, key, parts[0] if parts else None)
        parts.append(part)
        columns.append(ids_labels)
    dtype, shape = parts[0].dtype, (sum(part.shape[0] for part in parts), parts[0].shape[1])
    entries = {"features": Entry("features", shape, dtype, lambda: Stacked([part.open() for part in parts], dtype))}
    for index, role in enumerate(("ids", "labels")):
        values = _column(path, manifest, role, [ids_labels[index] for ids_labels in columns], shape[0])
        if values is not None:
            entries[role] = array_entry(role, values)
    return Contents(path, "folder", entries)


def shard_files(path: str) -> list[str]:
    """The manifest and the shards in its order, for hashing."""
    return [os.path.join(path, MANIFEST), *(_inside(path, item["file"]) for item in _manifest(path)["shards"])]


def _manifest(path: str) -> dict[str, Any]:
    file = os.path.join(path, MANIFEST)
    if not os.path.exists(file) and os.path.exists(os.path.join(path, "unfinished.json")):
        raise bad(path, "is an unfinished extraction; give the same probe extract command again to finish it")
    if not os.path.exists(file) and is_run(path):
        raise bad(path, "is an unfinished run; give the same probe distill command again to finish it")
    if not os.path.exists(file):
        raise bad(path, _without_manifest(path))
    check_file(file)
    with refusing(file, "JSON"), open(file, encoding="utf-8") as text:
        manifest = json.load(text)
    _refuse_other_schema(file, manifest)
    shards = manifest.get("shards") if isinstance(manifest, dict) else None
    if not isinstance(shards, list) or not shards:
        raise bad(file, f"lists no shards; it looks like {EXAMPLE}")
    manifest["shards"] = [{"file": item} if isinstance(item, str) else item for item in shards]
    for item in manifest["shards"]:
        if not isinstance(item, dict) or not isinstance(item.get("file"), str):
            raise bad(file, 'has a shard that is neither a file name nor {"file": ..., "rows": ..., "sha256": ...}')
    for field in ("key", "ids", "labels", "table"):
        if not isinstance(manifest.get(field, ""), str):
            raise bad(file, f"field '{field}' is not a string; it names {'an array' if field == 'key' else 'a file'}")
    return manifest


def _without_manifest(path: str) -> str:
    """The message for a folder without a manifest, with the fix for shards, or for one vector per file."""
    names = sorted(name for name in os.listdir(path) if os.path.splitext(name)[1].lower() in READERS)
    text = f"is a folder without {MANIFEST}"
    if not names:
        return f"{text}; write one that lists its shards in row order: {EXAMPLE}"
    suffix = os.path.splitext(names[0])[1]
    count = f"{len(names):,} file{'s' * (len(names) > 1)}"
    files = f"files = sorted(Path({path!r}).glob('*{suffix}'))"
    if suffix == ".npy" and len(_npy_shape(os.path.join(path, names[0]))) == 1:
        stack = "np.savez('x.npz', features=np.stack([np.load(f) for f in files]), ids=[f.stem for f in files])"
        return f"{text} ({count}, one vector per file); stack them: {files}; {stack}"
    listed = f"files[0].with_name('{MANIFEST}').write_text(json.dumps({{'shards': [f.name for f in files]}}))"
    return f"{text} ({count}); list them in row order (text sorting puts 10 before 9): {files}; {listed}"


def _npy_shape(file: str) -> tuple[int, ...]:
    try:
        return open_file(file).entries["features"].shape
    except InputError:
        return ()


def _refuse_other_schema(file: str, manifest: Any) -> None:
    """Refuse a schema of this project that this version does not read; a user's manifest has none, or another."""
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if isinstance(schema, str) and schema.startswith("manifold-probe/") and schema not in (FEATURES, RUN_FEATURES):
        readable = RUN_FEATURES if "run-features" in schema else FEATURES
        raise bad(file, f"has schema {schema!r}, this version reads {readable!r}; extract the features again")


def _inside(path: str, name: str) -> str:
    """The path of the file ``name`` in the folder. Raises InputError if it, or the target of its link, lies outside."""
    file = os.path.join(path, name)
    with refusing(file, "a path"):
        root, real = os.path.realpath(path), os.path.realpath(file)
    if os.path.commonpath([root, real]) != root:
        raise bad(os.path.join(path, MANIFEST), f"names '{name}', which is outside the folder; move the shard into it")
    return file


def _shard(path: str, item: dict[str, Any], key: str | None, first: Entry | None) -> tuple[Entry, tuple[Any, Any]]:
    file = _inside(path, item["file"])
    contents = open_file(file)
    if item.get("sha256") is not None and file_sha256([file]) != item["sha256"]:
        raise bad(file, "has another sha256 than in the manifest; copy it again or fix the manifest")
    entry = choose_features(contents, key)
    if item.get("rows") is not None and item["rows"] != entry.shape[0]:
        raise bad(file, f"has {entry.shape[0]:,} rows, but the manifest says {item['rows']}; fix one of them")
    if first is not None and (entry.shape[1], entry.dtype) != (first.shape[1], first.dtype):
        raise bad(
            file,
            f"has rows of {entry.shape[1]} {entry.dtype}, but the first shard {first.shape[1]} {first.dtype}; "
            "extract all shards with one model",
        )
    return entry, attached(contents, entry.name, entry.shape[0])


def _column(path: str, manifest: dict[str, Any], role: str, parts: list[Any], n: int) -> np.ndarray | None:
    """Ids or labels of all n rows: from a file that the manifest names, else from the shards."""
    if role in manifest:
        return _read_named(path, manifest, role, ID_NAMES if role == "ids" else LABEL_NAMES, role, n)[0]
    if "table" in manifest:
        labels, ids = _read_named(path, manifest, "table", LABEL_NAMES, "labels", n)
        return ids if role == "ids" else labels
    present = [part for part in parts if part is not None]
    if not present:
        return None
    if len(present) < len(parts):
        file = manifest["shards"][[part is None for part in parts].index(True)]["file"]
        raise bad(os.path.join(path, file), f"has no {role} but other shards have; add them to every shard")
    if role == "labels":
        present = of_one_kind(*present)
    elif len({part.dtype.kind for part in present}) > 1:  # 7 and "a7": all as strings
        present = [part.astype(str) for part in present]
    return np.concatenate(present)


def _read_named(
    path: str, manifest: dict[str, Any], field: str, names: tuple[str, ...], role: str, n: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """The column, and its ids, in the file that a field of the manifest names; checks its checksum, if there is one."""
    name, _, key = manifest[field].partition("::")
    file, checksums = _inside(path, name), manifest.get("checksums")
    columns = read_column_file(file, key or None, names, role, n)
    if isinstance(checksums, dict) and name in checksums and file_sha256([file]) != checksums[name]:
        raise bad(file, "has another sha256 than in the manifest; copy it again, or extract it again")
    return columns


def file_sha256(files: list[str]) -> str:
    """The sha256 of the files' bytes, one after another."""
    digest = hashlib.sha256()
    for file in files:
        with refusing(file, "a file"), open(file, "rb") as data:
            while chunk := data.read(2**20):
                digest.update(chunk)
    return digest.hexdigest()
