"""The cosine and CoSS losses against plain loops, their theory and the inputs that break naive versions."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from manifold_probe.distillation import cosine_loss, coss_loss, space_similarity_loss
from manifold_probe.errors import InputError

LOSSES = {
    "cosine": cosine_loss,
    "space": space_similarity_loss,
    "coss": coss_loss,
    "coss-weighted": partial(coss_loss, space_weight=0.5, scale=142.857),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())


def pair(rows=12, columns=5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, rows, columns, generator=generator, dtype=torch.float64)
    return student.to(dtype), (teacher + 0.5 * student).to(dtype)


def naive_cosine(u, v):
    dot = math.fsum(a * b for a, b in zip(u, v, strict=True))
    lengths = math.sqrt(math.fsum(a * a for a in u)) * math.sqrt(math.fsum(b * b for b in v))
    return dot / lengths if lengths else 0.0


def naive_mean_loss(student, teacher):
    terms = [1 - naive_cosine(s, t) for s, t in zip(student.tolist(), teacher.tolist(), strict=True)]
    return math.fsum(terms) / len(terms)


@pytest.mark.parametrize("shape", [(12, 5), (1, 7), (9, 1), (64, 33)])
def test_agrees_with_plain_loops(shape):
    student, teacher = pair(*shape)
    rows, columns = naive_mean_loss(student, teacher), naive_mean_loss(student.T, teacher.T)
    assert cosine_loss(student, teacher).item() == pytest.approx(rows, rel=1e-10)
    assert space_similarity_loss(student, teacher).item() == pytest.approx(columns, rel=1e-10)
    assert coss_loss(student, teacher).item() == pytest.approx(rows + columns, rel=1e-10)
    assert coss_loss(student, teacher, 0.5, 3.0).item() == pytest.approx(3 * (rows + 0.5 * columns), rel=1e-10)


@every_loss
def test_gradients(loss):
    student, teacher = (x.requires_grad_() for x in pair(6, 4))
    assert torch.autograd.gradcheck(loss, (student, teacher))
    assert torch.autograd.gradgradcheck(loss, (student, teacher))


@pytest.mark.parametrize(("factor", "value"), [(1.0, 0.0), (3.0, 0.0), (-1.0, 2.0)])
def test_parallel_and_opposite(factor, value):
    _, teacher = pair()
    assert cosine_loss(factor * teacher, teacher).item() == pytest.approx(value, abs=1e-12)
    assert space_similarity_loss(factor * teacher, teacher).item() == pytest.approx(value, abs=1e-12)
    assert coss_loss(factor * teacher, teacher, 0.5, 10).item() == pytest.approx(15 * value, abs=1e-11)


def test_orthogonal_is_one():
    student, teacher = torch.tensor([[0.0, 1.0], [-1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert cosine_loss(student, teacher).item() == 1
    assert space_similarity_loss(torch.tensor([[1.0], [1.0]]), torch.tensor([[1.0], [-1.0]])).item() == 1


def test_columns_are_not_centred():
    student, teacher = pair()
    assert space_similarity_loss(student + 1, teacher).item() != pytest.approx(
        space_similarity_loss(student, teacher).item(), abs=1e-3
    )


per_row = 10 ** torch.linspace(-1, 1, 12, dtype=torch.float64)[:, None]
per_column = 10 ** torch.linspace(-1, 1, 5, dtype=torch.float64)
rotation = torch.linalg.qr(pair(5, 5, seed=3)[0]).Q
CHANGES = {
    "one factor": lambda s, t: (7 * s, t),
    "a factor a row": lambda s, t: (per_row * s, t),
    "a factor a column": lambda s, t: (s * per_column, t),
    "offset": lambda s, t: (s + 1, t),
    "student rotated": lambda s, t: (s @ rotation, t),
    "both rotated": lambda s, t: (s @ rotation, t @ rotation),
    "rows permuted together": lambda s, t: (s.flip(0), t.flip(0)),
    "columns permuted together": lambda s, t: (s.flip(1), t.flip(1)),
    "student's rows permuted": lambda s, t: (s.flip(0), t),
    "student's columns permuted": lambda s, t: (s.flip(1), t),
    "swapped": lambda s, t: (t, s),
    "every row twice": lambda s, t: (s.repeat(2, 1), t.repeat(2, 1)),
}
ALWAYS = {"one factor", "rows permuted together", "columns permuted together", "swapped", "every row twice"}
INVARIANT = {
    cosine_loss: ALWAYS | {"a factor a row", "both rotated"},
    space_similarity_loss: ALWAYS | {"a factor a column"},
    coss_loss: ALWAYS,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("loss", INVARIANT)
def test_invariances_hold_and_nothing_else_does(loss, change):
    student, teacher = pair()
    before, after = loss(student, teacher).item(), loss(*CHANGES[change](student, teacher)).item()
    if change in INVARIANT[loss]:
        assert after == pytest.approx(before, abs=1e-12)
    else:
        assert abs(after - before) > 1e-3


def test_zero_coss_leaves_one_factor():
    """Minimised from a random start, the student is its teacher times one number; cosine alone leaves one a row."""

    def minimise(loss):
        student, teacher = pair(8, 4, seed=1)
        student.requires_grad_()
        optimiser = torch.optim.LBFGS([student], max_iter=500, tolerance_change=1e-16, line_search_fn="strong_wolfe")

        def closure():
            optimiser.zero_grad()
            value = loss(student, teacher)
            value.backward()
            return value

        optimiser.step(closure)
        ratios = (student / teacher).detach()
        return loss(student, teacher).item(), (ratios.std() / ratios.mean()).item()

    value, spread = minimise(coss_loss)
    assert value < 1e-9
    assert spread < 1e-3
    value, spread = minimise(cosine_loss)
    assert value < 1e-9
    assert spread > 0.1


@every_loss
@pytest.mark.parametrize("tiny", [0.0, 1e-13, 1e-30])
@pytest.mark.parametrize("side", ["student", "teacher", "both"])
@pytest.mark.parametrize("where", ["row", "column", "all"])
def test_zero_rows_and_columns(loss, tiny, side, where):
    student, teacher = pair()
    index = {"row": (3, slice(None)), "column": (slice(None), 2), "all": (slice(None), slice(None))}[where]
    for tensor, name in ((student, "student"), (teacher, "teacher")):
        if side in (name, "both"):
            tensor[index] = tiny
    student.requires_grad_()
    teacher.requires_grad_()
    value = loss(student, teacher)
    value.backward()
    assert torch.isfinite(value)
    for gradient in (student.grad, teacher.grad):
        assert torch.isfinite(gradient).all()
        assert gradient.abs().max() < 1e3 * max(1, value.item())


def test_zero_vectors_count_one():
    student, teacher = pair(4, 3)
    full = cosine_loss(student[1:], teacher[1:]).item()
    student[0] = 0
    assert cosine_loss(student, teacher).item() == pytest.approx((3 * full + 1) / 4, abs=1e-12)
    full = space_similarity_loss(student[:, 1:], teacher[:, 1:]).item()
    teacher[:, 0] = 0
    assert space_similarity_loss(student, teacher).item() == pytest.approx((2 * full + 1) / 3, abs=1e-12)


@every_loss
def test_identical_rows(loss):
    student, teacher = (x[:1].repeat(6, 1).requires_grad_() for x in pair())
    loss(student, teacher).backward()
    assert torch.isfinite(student.grad).all()
    torch.testing.assert_close(student.grad, student.grad[:1].expand(6, -1))


@every_loss
@pytest.mark.parametrize("size", [1e-10, 1e30])
def test_extreme_sizes_in_single_precision(loss, size):
    student, teacher = pair(dtype=torch.float32)
    torch.testing.assert_close(loss(size * student, teacher), loss(student, teacher))


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_computes_in_single(loss, dtype):
    student, teacher = pair(dtype=dtype)
    big = 2.0**12 * student  # squares overflow float16
    exact = loss(student.double(), teacher.double())
    assert loss(student, teacher).dtype is torch.float32
    for scaled in (student, big):
        torch.testing.assert_close(loss(scaled, teacher).double(), exact, rtol=1e-5, atol=1e-5)
    mixed = loss(student, teacher.float())
    torch.testing.assert_close(mixed.double(), exact, rtol=1e-5, atol=1e-5)
    student.requires_grad_()
    loss(student, teacher).backward()
    assert student.grad.dtype is dtype
    assert torch.isfinite(student.grad).all()


@every_loss
def test_nan_is_not_hidden(loss):
    student, teacher = pair()
    student[0, 0] = float("nan")
    assert torch.isnan(loss(student, teacher))


@every_loss
@pytest.mark.parametrize(
    ("student", "teacher", "words"),
    [
        (torch.ones(3, 4), torch.ones(3, 5), "one shape"),
        (torch.ones(3, 4), torch.ones(2, 4), "one shape"),
        (torch.ones(4), torch.ones(4), "one shape"),
        (torch.ones(2, 3, 4), torch.ones(2, 3, 4), "one shape"),
        (torch.ones(0, 4), torch.ones(0, 4), "non-empty"),
        (torch.ones(3, 0), torch.ones(3, 0), "non-empty"),
        (torch.ones(3, 4, dtype=torch.int64), torch.ones(3, 4), "floating-point"),
        (torch.ones(3, 4), torch.ones(3, 4, dtype=torch.complex64), "floating-point"),
    ],
)
def test_refuses(loss, student, teacher, words):
    with pytest.raises(InputError, match=words):
        loss(student, teacher)


@every_loss
@given(rows=st.integers(1, 20), columns=st.integers(1, 12), seed=st.integers(0, 2**16))
def test_permutations_and_range(loss, rows, columns, seed):
    student, teacher = pair(rows, columns, seed)
    generator = np.random.default_rng(seed)
    by_row, by_column = generator.permutation(rows), generator.permutation(columns)
    value = loss(student, teacher).item()
    permuted = loss(student[by_row][:, by_column], teacher[by_row][:, by_column]).item()
    assert permuted == pytest.approx(value, rel=1e-10, abs=1e-12)
    assert -1e-9 <= value <= 2 * 142.857 * 1.5 + 1e-9


@every_loss
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_same_on_a_gpu(loss):
    student, teacher = pair(64, 32, dtype=torch.float32)
    torch.testing.assert_close(loss(student.cuda(), teacher.cuda()).cpu(), loss(student, teacher))
