"""What holds for every loss: agreement with plain loops, gradients, precision, and inputs that break naive versions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from manifold_probe.errors import InputError
from tests.distillation.cases import CASES, ROWS, every_case


@every_case
@pytest.mark.parametrize("rows", [2, 3, ROWS, 20])
def test_agrees_with_plain_loops(case, rows):
    student, teacher = case.pair(rows)
    assert case.loss(student, teacher).item() == pytest.approx(case.slow(student, teacher), rel=1e-10, abs=1e-13)


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=25, deadline=None)  # plain loops take their time
@given(rows=st.integers(2, 9), seed=st.integers(0, 2**16))
def test_agrees_with_plain_loops_anywhere(name, rows, seed):
    student, teacher = CASES[name].pair(rows, seed)
    value = CASES[name].loss(student, teacher).item()
    assert value == pytest.approx(CASES[name].slow(student, teacher), rel=1e-9, abs=1e-12)
    assert value > -1e-12


@every_case
def test_gradients(case):
    student, teacher = (x.requires_grad_() for x in case.pair(5))
    assert torch.autograd.gradcheck(case.loss, (student, teacher))


@every_case
def test_a_perfect_match(case):
    if case.zero_when_equal and not case.more(ROWS) and case.width == 5:
        _, teacher = case.pair()
        assert abs(case.loss(teacher, teacher).item()) < 1e-4  # DIST's 1e-8 under the fraction is what remains
        gradient = torch.autograd.grad(case.loss(teacher.requires_grad_(), teacher.detach()), teacher)[0]
        assert gradient.abs().max() < 1e-5


@every_case
def test_single_precision(case):
    student, teacher = case.pair(32, dtype=torch.float32)
    value = case.loss(student, teacher)
    assert value.dtype is torch.float32
    exact = case.loss(student.double(), teacher.double()).item()
    assert value.item() == pytest.approx(exact, rel=1e-5)


@every_case
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_computes_in_single(case, dtype):
    student, teacher = case.pair(dtype=dtype)
    exact = case.loss(student.double(), teacher.double()).item()
    assert case.loss(student, teacher).dtype is torch.float32
    assert case.loss(student, teacher).item() == pytest.approx(exact, rel=1e-5, abs=1e-6)
    assert case.loss(student, teacher.float()).item() == pytest.approx(exact, rel=1e-5, abs=1e-6)
    student.requires_grad_()
    case.loss(student, teacher).backward()
    assert student.grad.dtype is dtype
    assert torch.isfinite(student.grad).all()


@every_case
def test_the_same_under_autocast(case):
    student, teacher = case.pair(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        inside = case.loss(student, teacher)
    assert torch.equal(inside, case.loss(student, teacher))


@every_case
@pytest.mark.parametrize("tiny", [0.0, 1e-13, 1e-30])
@pytest.mark.parametrize("side", ["student", "teacher", "both"])
@pytest.mark.parametrize("where", ["row", "column", "all"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_rows_and_columns(case, tiny, side, where, dtype):
    student, teacher = case.pair(dtype=dtype)
    index = {"row": (3,), "column": (..., 2), "all": (...,)}[where]
    for tensor, name in ((student, "student"), (teacher, "teacher")):
        if side in (name, "both"):
            tensor[index] = tiny
    check_bounded(case, student, teacher)


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("side", ["student", "teacher", "both"])
@pytest.mark.parametrize("repeated", [2, ROWS])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_identical_rows(case, side, repeated, size, dtype):
    student, teacher = case.pair(dtype=dtype)
    for tensor, name in ((student, "student"), (teacher, "teacher")):
        if side in (name, "both"):
            tensor *= size
            tensor[:repeated] = tensor[:1].clone()
    check_bounded(case, student, teacher, 1e3 * max(1, 1 / size))


def check_bounded(case, student, teacher, most=1e3):
    """Finite, bounded gradients, and in float64 the value that the conventions give."""
    student.requires_grad_()
    teacher.requires_grad_()
    value = case.loss(student, teacher)
    value.backward()
    if value.dtype is torch.float64 and student.abs().max() < 100:  # beyond, the naive softmax underflows
        assert value.item() == pytest.approx(case.slow(student, teacher), rel=1e-7, abs=1e-12)
    assert torch.isfinite(value)
    for gradient in (student.grad, teacher.grad):
        assert torch.isfinite(gradient).all()
        assert gradient.abs().max() < most * max(1, value.item())


@every_case
def test_one_row(case):
    student, teacher = (x.requires_grad_() for x in case.pair(1))
    if case.least_rows > 1:
        with pytest.raises(InputError, match="a contrastive loss needs at least 2 rows, got 1"):
            case.loss(student, teacher)
        return
    value = case.loss(student, teacher)
    value.backward()
    assert torch.isfinite(student.grad).all()
    expected = 0 if case.name.startswith(("rkd", "sp_", "pkt")) else case.slow(student, teacher)
    assert value.item() == pytest.approx(expected, rel=1e-10, abs=1e-12)


@every_case
def test_nan_is_not_hidden(case):
    student, teacher = case.pair()
    student.view(-1)[0] = float("nan")
    assert torch.isnan(case.loss(student, teacher))


@every_case
@pytest.mark.parametrize(
    ("student", "teacher", "words"),
    [
        (torch.ones(3, 4), torch.ones(2, 4), "must be"),
        (torch.ones(4), torch.ones(4), "must be"),
        (torch.ones(2, 2, 3, 4), torch.ones(2, 2, 3, 4), "must be"),
        (torch.ones(0, 4), torch.ones(0, 4), "non-empty"),
        (torch.ones(3, 0), torch.ones(3, 0), "non-empty"),
        (torch.ones(3, 5, dtype=torch.int64), torch.ones(3, 5), "floating-point|must be"),
        (torch.ones(3, 5), torch.ones(3, 5, dtype=torch.complex64), "floating-point|must be"),
    ],
)
def test_refuses(case, student, teacher, words):
    with pytest.raises(InputError, match=words) as error:
        case.loss(student, teacher)
    assert "\n" not in str(error.value)


@every_case
def test_unequal_widths(case):
    student, teacher = torch.ones(3, *case.tokens, 4), torch.ones(3, *case.tokens, 5)
    if case.width == 4 or case.name == "neighbour_embedding_loss":
        assert torch.isfinite(case.loss(student, teacher))
    else:
        with pytest.raises(InputError, match="put a head on the student"):
            case.loss(student, teacher)


@every_case
def test_layout_does_not_matter(case):
    student, teacher = case.pair()
    strided = torch.stack([student, student], -1)[..., 0], torch.stack([teacher, teacher], -1)[..., 0]
    torch.testing.assert_close(case.loss(*strided), case.loss(student, teacher), rtol=1e-12, atol=1e-14)


@every_case
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_same_on_a_gpu(case):
    student, teacher = case.pair(64, dtype=torch.float32)
    more = [x.cuda() for x in case.more(64)]
    from manifold_probe import distillation

    value = getattr(distillation, case.name)(student.cuda(), teacher.cuda(), *more, **case.options)
    torch.testing.assert_close(value.cpu(), case.loss(student, teacher), rtol=1e-5, atol=1e-6)
