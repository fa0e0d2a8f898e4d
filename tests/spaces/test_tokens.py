"""Sets of vectors (n, N, d): each token a row, or one vector a set, with the ids and labels of the sets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from manifold_probe.errors import InputError
from manifold_probe.measures.alarms_of_pairing import pairing
from manifold_probe.measures.request import Request
from manifold_probe.spaces.read import as_space, read
from manifold_probe.spaces.tokens import TokenRows

N, TOKENS, WIDTH = 7, 3, 4
SETS = np.random.default_rng(0).normal(size=(N, TOKENS, WIDTH)).astype(np.float32)
IDS = [f"image-{place}" for place in range(N)]


def files(folder: Path) -> dict[str, str]:
    """The same sets in every format that can hold them."""
    np.savez(folder / "sets.npz", features=SETS, ids=IDS, labels=np.arange(N))
    np.save(folder / "sets.npy", SETS)
    torch.save({"features": torch.from_numpy(SETS), "ids": IDS}, folder / "sets.pt")
    save_file({"features": SETS}, folder / "sets.safetensors")
    shards = folder / "shards"
    shards.mkdir()
    for name, part in (("a.npy", SETS[:3]), ("b.npy", SETS[3:])):
        np.save(shards / name, part)
    (shards / "manifest.json").write_text(json.dumps({"shards": ["a.npy", "b.npy"]}))
    return {path.name: str(path) for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["sets.npz", "sets.npy", "sets.pt", "sets.safetensors", "shards"])
def test_every_format_gives_the_rows_of_its_sets(tmp_path: Path, name: str) -> None:
    path = files(tmp_path)[name]
    expected = {"tokens": SETS.reshape(-1, WIDTH), "cls": SETS[:, 0], "mean": SETS.mean(1)}
    for how, rows in expected.items():
        space = read(path, rows=how)
        np.testing.assert_allclose(space.read(0, space.n), rows, rtol=1e-6)
        some = np.array([len(rows) - 1, 0, 2, 2])
        np.testing.assert_allclose(space.take(some), rows[some], rtol=1e-6)
        np.testing.assert_allclose(np.concatenate([block for _, block in space.blocks(2)]), rows, rtol=1e-6)


def test_tokens_have_the_ids_and_labels_of_their_set(tmp_path: Path) -> None:
    path = files(tmp_path)["sets.npz"]
    space, means = read(path, rows="tokens"), read(path, rows="mean")
    assert space.ids is not None
    assert space.labels is not None
    assert space.ids[:4].tolist() == ["image-0#0", "image-0#1", "image-0#2", "image-1#0"]
    assert space.labels.tolist() == np.repeat(np.arange(N), TOKENS).tolist()
    assert means.ids is not None
    assert means.ids.tolist() == IDS


def test_any_slice_reads_the_sets_it_needs() -> None:
    rows = TokenRows(SETS)
    flat = SETS.reshape(-1, WIDTH)
    for start in range(len(flat)):
        for stop in range(start, len(flat) + 2):
            np.testing.assert_array_equal(rows[start:stop], flat[start:stop])
    np.testing.assert_array_equal(rows[::-2], flat[::-2])


def test_vectors_are_pooled_already_but_are_no_tokens() -> None:
    assert as_space(SETS[:, 0], rows="cls").n == N
    with pytest.raises(InputError, match=r"x: key 'features' has shape \(7, 4\): --rows tokens needs \(n, N, d\)"):
        as_space(SETS[:, 0], "x", rows="tokens")


def test_sets_without_rows_and_unknown_rows_are_refused() -> None:
    with pytest.raises(InputError, match=r"pool it to .* or give --rows tokens, cls or mean"):
        as_space(SETS, "x")
    with pytest.raises(InputError, match="--rows: 'patches' is not known; choose one of tokens, cls, mean"):
        as_space(SETS, "x", rows="patches")
    with pytest.raises(InputError, match="pool it to"):
        as_space(SETS[None], "x", rows="tokens")


@pytest.mark.parametrize("labels", ["list", "file", "table"])
def test_labels_of_sets_stand_for_each_of_their_tokens(tmp_path: Path, labels: str) -> None:
    given: object = list("abcdefg")
    if labels != "list":
        header = "id,label" if labels == "table" else "label"
        lines = [f"{name},{label}" if labels == "table" else label for name, label in zip(IDS, "abcdefg", strict=True)]
        path = tmp_path / "labels.csv"
        path.write_text("\n".join([header, *(lines[::-1] if labels == "table" else lines)]) + "\n")
        given = str(path)
    sides = {"features": SETS, "ids": IDS}
    pair = Request(sides, {"student": sides}, labels=given, rows="tokens").open().pairs["student"]
    assert pair.labels is not None
    assert pair.labels.tolist() == np.repeat(list("abcdefg"), TOKENS).tolist()
    (alarm,) = [each for each in pairing(pair) if each.code == "tokens_as_rows"]
    assert "the 3 tokens of each of 7 sets" in alarm.message
    assert "stands for each of its 3 tokens" in alarm.message


def test_ids_of_sets_are_those_of_their_tokens() -> None:
    shuffled = np.array([3, 1, 0, 2, 6, 5, 4])
    ids = (IDS, [IDS[place] for place in shuffled])
    pair = Request(SETS, {"student": SETS[shuffled]}, ids=ids, rows="tokens").open().pairs["student"]
    assert pair.verified
    np.testing.assert_array_equal(pair.teacher.read(0, 99), pair.student.read(0, 99))


def test_another_number_of_tokens_is_refused() -> None:
    with pytest.raises(InputError, match="student: has 2 tokens a set, teacher has 3, and tokens pair by place"):
        Request(SETS, {"student": SETS[:, :2]}, rows="tokens").open()
    assert Request(SETS, {"student": SETS[:, :2]}, rows="mean").open().pairs["student"].teacher.n == N


def test_labels_of_another_number_are_explained_and_ids_of_tokens_are_known(tmp_path: Path) -> None:
    sides = {"features": SETS, "ids": IDS}
    with pytest.raises(InputError, match="labels: hold 5 values for 7 sets of 3 tokens; give one per set"):
        Request(sides, {"student": sides}, labels=list("abcde"), rows="tokens").open()
    path = tmp_path / "labels.csv"
    lines = [f"image-{image}#{place},{image + place}" for image in range(N) for place in range(TOKENS)]
    path.write_text("\n".join(["id,label", *lines]) + "\n")
    pair = Request(sides, {"student": sides}, labels=str(path), rows="tokens").open().pairs["student"]
    assert pair.labels is not None
    assert pair.labels[:4].tolist() == [0, 1, 2, 1]
