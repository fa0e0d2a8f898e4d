"""Pooling agrees with loops, and refuses what it cannot decide."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from manifold_probe.errors import InputError
from manifold_probe.models.pooling import OF_MAPS, OF_TEXTS, OF_TOKENS, POOLINGS, pool

TOKENS = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
MAPS = torch.randn(3, 4, 2, 3, generator=torch.Generator().manual_seed(1))
MASK = torch.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])


def naive_tokens(x: np.ndarray, how: str) -> np.ndarray:
    n, d = x.shape
    if how in ("cls", "last"):
        return x[0 if how == "cls" else -1]
    if how == "mean":
        return np.array([sum(x[i, j] for i in range(n)) / n for j in range(d)])
    return x if how == "tokens" else np.array([x[i, j] for i in range(n) for j in range(d)])


def naive_maps(x: np.ndarray, how: str) -> np.ndarray:
    c, h, w = x.shape
    if how == "mean":
        return np.array([sum(x[k, i, j] for i in range(h) for j in range(w)) / (h * w) for k in range(c)])
    if how == "tokens":
        return np.array([[x[k, i, j] for k in range(c)] for i in range(h) for j in range(w)])
    return np.array([x[k, i, j] for k in range(c) for i in range(h) for j in range(w)])


@pytest.mark.parametrize("how", OF_TOKENS)
def test_tokens(how: str) -> None:
    expected = np.stack([naive_tokens(x, how) for x in TOKENS.numpy()])
    np.testing.assert_allclose(pool(TOKENS, how).numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("how", OF_MAPS)
def test_maps(how: str) -> None:
    expected = np.stack([naive_maps(x, how) for x in MAPS.numpy()])
    np.testing.assert_allclose(pool(MAPS, how).numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("how", OF_TEXTS)
def test_texts_see_no_padding(how: str) -> None:
    expected = np.stack([naive_tokens(x[m.bool()].numpy(), how) for x, m in zip(TOKENS, MASK, strict=True)])
    np.testing.assert_allclose(pool(TOKENS, how, MASK).numpy(), expected, rtol=0, atol=1e-6)
    changed = torch.where(MASK[:, :, None].bool(), TOKENS, 1e6)
    assert torch.equal(pool(changed, how, MASK), pool(TOKENS, how, MASK))


def test_a_text_without_tokens_has_no_nan() -> None:
    assert torch.equal(pool(TOKENS[:1], "mean", torch.zeros(1, 5, dtype=torch.long)), torch.zeros(1, 4))


@pytest.mark.parametrize("how", [None, *POOLINGS])
def test_vectors_stay_as_they_are(how: str | None) -> None:
    assert torch.equal(pool(TOKENS[0], how), TOKENS[0])
    assert torch.equal(pool(TOKENS[0], how, MASK), TOKENS[0])


def test_float32_comes_out() -> None:
    assert pool(TOKENS.bfloat16(), "mean").dtype == torch.float32
    assert pool(TOKENS.double(), "cls", MASK.bool()).dtype == torch.float32


@pytest.mark.parametrize(
    ("output", "how", "mask", "words"),
    [
        (TOKENS, None, None, "output of shape (3, 5, 4): choose how to pool it, --pool cls or --pool mean or --pool"),
        (MAPS, None, None, "output of shape (3, 4, 2, 3): choose how to pool it, --pool mean or --pool tokens"),
        (MAPS, "cls", None, "maps have no cls token; choose --pool mean or --pool tokens or --pool flat"),
        (TOKENS, "max", None, "--pool: 'max' is not known; choose one of cls, last, mean, tokens, flat, projection"),
        (TOKENS[0], "max", None, "--pool: 'max' is not known"),
        (TOKENS[0, 0], "mean", None, "output of shape (4,): one of (B, D)"),
        (MAPS[None], "flat", None, "output of shape (1, 3, 4, 2, 3): one of (B, D)"),
        (TOKENS, "mean", MASK[:, :4], "mask of shape (3, 4): choose a layer that keeps the tokens"),
        (TOKENS, "flat", MASK, "--pool flat: texts differ in their number of tokens"),
        (TOKENS, "tokens", MASK, "--pool tokens: texts differ"),
        (TOKENS, "last", None, "--pool last: it is only for texts; choose --pool cls or --pool mean"),
        (
            TOKENS,
            "projection",
            MASK,
            "it is not a projected embedding; choose --pool cls or --pool last or --pool mean",
        ),
    ],
)
def test_refused(output: torch.Tensor, how: str | None, mask: torch.Tensor | None, words: str) -> None:
    with pytest.raises(InputError) as caught:
        pool(output, how, mask)
    assert words in str(caught.value)
