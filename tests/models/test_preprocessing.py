"""Preprocessing agrees with a naive transcription, survives a manifest and a process, and refuses in one line."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from manifold_probe.errors import InputError
from manifold_probe.models.preprocessing import ImagePreprocessing, TextPreprocessing, image_preprocessing

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (37, 52, 3), dtype=np.uint8)
CASES = [
    ImagePreprocessing(16, 0.5, 0.5),
    ImagePreprocessing(16, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bicubic"),
    ImagePreprocessing(16, 0.0, 1.0, "lanczos", shorter=21),
    ImagePreprocessing(21, 0.1, [1, 2, 3], "nearest", shorter=21),
    ImagePreprocessing(9, 0.3, 0.2, channels=1),
]


def naive(pre: ImagePreprocessing, pixels: np.ndarray) -> np.ndarray:
    """Pixel by pixel in float64, from the resized picture on."""
    picture = Image.fromarray(pixels).convert("RGB" if pre.channels == 3 else "L")
    how = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}[pre.interpolation]
    if pre.shorter is None:
        resized = np.asarray(picture.resize((pre.size, pre.size), Image.Resampling(how)))
    else:
        h, w = pixels.shape[:2]
        scale = pre.shorter / min(h, w)
        resized = np.asarray(picture.resize((int(w * scale + 1e-9), int(h * scale + 1e-9)), Image.Resampling(how)))
        top, left = (resized.shape[0] - pre.size) // 2, (resized.shape[1] - pre.size) // 2
        resized = resized[top : top + pre.size, left : left + pre.size]
    out = np.zeros((pre.channels, pre.size, pre.size))
    for c in range(pre.channels):
        mean = pre.mean if isinstance(pre.mean, float) else pre.mean[c]
        std = pre.std if isinstance(pre.std, float) else pre.std[c]
        for i in range(pre.size):
            for j in range(pre.size):
                value = resized[i, j] if pre.channels == 1 else resized[i, j, c]
                out[c, i, j] = (value / 255 - mean) / std
    return out


@pytest.mark.parametrize("pre", CASES)
@pytest.mark.parametrize(
    "pixels", [PIXELS, PIXELS.transpose(1, 0, 2)[:-1], PIXELS[:12, :12]], ids=["wide", "tall", "small"]
)
def test_agrees_with_a_naive_transcription(pre: ImagePreprocessing, pixels: np.ndarray) -> None:
    pixels = np.ascontiguousarray(pixels)
    tensor = pre(pixels)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    np.testing.assert_allclose(tensor.numpy(), naive(pre, pixels), rtol=0, atol=2e-6)
    assert torch.equal(pre(Image.fromarray(pixels)), tensor)


def test_kinds_of_pictures() -> None:
    colour, grey = CASES[0], CASES[4]
    flat = PIXELS[:, :, 0]
    assert torch.equal(colour(flat), colour(np.repeat(flat[:, :, None], 3, axis=2)))
    assert torch.equal(colour(flat[:, :, None]), colour(flat))
    assert torch.equal(colour(np.dstack([PIXELS, flat])), colour(PIXELS))  # transparency is dropped
    assert torch.equal(colour(torch.from_numpy(PIXELS)), colour(PIXELS))
    assert torch.equal(colour(PIXELS[:, ::-1]), colour(PIXELS[:, ::-1].copy()))
    assert torch.equal(grey(Image.fromarray(flat)), grey(flat))
    assert torch.equal(colour(Image.fromarray(flat.astype(np.uint16) * 257)), colour(flat))
    assert torch.equal(
        colour(Image.fromarray(PIXELS).convert("P")), colour(Image.fromarray(PIXELS).convert("P").convert("RGB"))
    )
    assert grey(PIXELS).shape == (1, 9, 9)


def test_collate() -> None:
    pre = CASES[0]
    assert torch.equal(pre.collate([pre(PIXELS), pre(PIXELS[:20])])[1], pre(PIXELS[:20]))


@pytest.mark.parametrize("pre", CASES)
def test_record_round_trip(pre: ImagePreprocessing) -> None:
    again = ImagePreprocessing.from_record(json.loads(json.dumps(pre.record())))
    assert again == pre == pickle.loads(pickle.dumps(pre))
    assert again.record() == json.loads(json.dumps(pre.record()))
    assert again.fingerprint == pre.fingerprint
    assert torch.equal(again(PIXELS), pre(PIXELS))


def test_the_fingerprint_changes_with_every_setting() -> None:
    pre = CASES[2]
    others = [{"size": 15}, {"mean": 0.1}, {"std": 0.9}, {"interpolation": "box"}, {"shorter": 22}, {"channels": 1}]
    assert (
        len({pre.fingerprint, *(replace(pre, **({"mean": 0.0, "std": 1.0} | other)).fingerprint for other in others)})
        == 7
    )
    assert ImagePreprocessing(8, 0.5, 1).fingerprint == ImagePreprocessing(8, [0.5, 0.5, 0.5], 1.0).fingerprint


def test_from_the_command_line() -> None:
    assert image_preprocessing("32", "0.5", "0.25") == ImagePreprocessing(32, 0.5, 0.25)
    assert image_preprocessing(32, 0.5, 0.25) == ImagePreprocessing(32, 0.5, 0.25)
    assert image_preprocessing("8", "0.485,0.456,0.406", " 1, 2,3").mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    ("size", "mean", "std", "words"),
    [
        (None, "0.5", "0.5", "--size: missing; give all three"),
        ("32", None, "0.5", "--mean: missing"),
        ("32", "0.5", None, "--std: missing"),
        ("big", "0.5", "0.5", "--size: 'big' is not a whole number of pixels"),
        ("3.5", "0.5", "0.5", "--size: '3.5' is not a whole"),
        ("0", "0.5", "0.5", "--size: 0 is not a number of pixels from 1"),
        ("99999999", "0.5", "0.5", "--size: 99999999 is not"),
        ("32", "half", "0.5", "--mean: 'half' is not one number or one per channel"),
        ("32", "0.5,", "0.5", "--mean: '0.5,' is not"),
        ("32", "0.5,0.5", "0.5", "--mean: 2 numbers for 3 channels"),
        ("32", "nan", "0.5", "--mean: nan is not a finite number"),
        ("32", "0.5", "0", "--std: 0.0 is not a number above 0"),
        ("32", "0.5", "-1", "--std: -1.0 is not a number above 0"),
        ("32", "0.5", "inf", "--std: inf is not a number above 0"),
    ],
)
def test_bad_options(size: str | None, mean: str | None, std: str | None, words: str) -> None:
    with pytest.raises(InputError) as caught:
        image_preprocessing(size, mean, std)
    assert str(caught.value).startswith(words)


GOOD = CASES[0].record()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": None}, "size: None is not a number of pixels"),
        ({"size": True}, "size: True is not"),
        ({"interpolation": "cubic"}, "interpolation: 'cubic' is not known; choose one of nearest"),
        ({"shorter": 8}, "shorter: 8 is not a number of pixels from 16"),
        ({"channels": 4}, "channels: 4 is not 1 (grey) or 3"),
        ({"mean": "half"}, "mean: 'half' is not a number"),
        ({"mean": {}}, "mean: {} is not a number"),
        ({"crop": 3}, "preprocessing: crop is not known; give channels"),
        ({"kind": "texts"}, "preprocessing: kind 'texts' is not known"),
    ],
)
def test_bad_records(changes: dict, words: str) -> None:
    with pytest.raises(InputError) as caught:
        ImagePreprocessing.from_record(GOOD | changes)
    assert str(caught.value).startswith(words)
    for key in ("size", "mean", "std"):
        with pytest.raises(InputError, match=f"preprocessing: {key} is missing"):
            ImagePreprocessing.from_record({name: value for name, value in GOOD.items() if name != key})


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (PIXELS.astype(np.float32), "image of type float32: give uint8"),
        (PIXELS[:, :, :2], "image of shape (37, 52, 2): give (H, W)"),
        (PIXELS[None], "image of shape (1, 37, 52, 3)"),
        (PIXELS[:0], "image of shape (0, 52, 3)"),
        (Image.new("F", (4, 4)), "image of mode F: its scale is unknown"),
        (Image.new("I", (4, 4)), "image of mode I:"),
    ],
)
def test_bad_pictures(picture: object, words: str) -> None:
    with pytest.raises(InputError) as caught:
        CASES[0](picture)
    assert str(caught.value).startswith(words)


def test_texts() -> None:
    def tokenize(texts: list[str]) -> dict:
        return {"input_ids": torch.tensor([[len(text)] for text in texts]), "modality": "text"}

    pre = TextPreprocessing(tokenize, {"tokenizer": "lengths", "vocabulary": "abc"})
    assert list(pre.collate(["a", "bb"])) == ["input_ids"]
    assert pre.record() == {"kind": "texts", "tokenizer": "lengths", "vocabulary": "abc"}
    assert pre.fingerprint != TextPreprocessing(tokenize, {"tokenizer": "lengths", "vocabulary": "abd"}).fingerprint
