"""The modules: named terms that sum to the loss, heads on the right side, what is trained, queues and their state."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from manifold_probe import distillation
from manifold_probe.distillation import (
    CKD,
    DIST,
    DKD,
    KD,
    MSE,
    PKT,
    RKD,
    SEED,
    SP,
    CompRess,
    Cosine,
    CosPress,
    CoSS,
    TinTeM,
    ckd_loss,
    compress_loss,
    coss_loss,
    dist_loss,
    dkd_loss,
    kd_loss,
    mse_loss,
    pkt_loss,
    rkd_loss,
    seed_loss,
    sp_loss,
)
from manifold_probe.distillation.method import Method
from manifold_probe.distillation.queue import Queue
from manifold_probe.errors import InputError
from tests.distillation.cases import normal

SMALL = {"SEED": {"queue_size": 20}, "CompRess": {"queue_size": 20}}
METHODS = {
    name: value
    for name in distillation.__all__
    if isinstance(value := getattr(distillation, name), type) and issubclass(value, Method) and name != "CosPress"
}
every_method = pytest.mark.parametrize("name", METHODS)
B, NARROW, WIDE = 8, 5, 7


def build(name, student_width=WIDE, teacher_width=WIDE, **options):
    torch.manual_seed(0)
    return METHODS[name](student_width, teacher_width, **SMALL.get(name, {}), **options)


def batch(student_width=WIDE, seed=0):
    student, teacher = normal(B, student_width, seed=seed).float(), normal(B, WIDE, seed=seed + 100).float()
    return student, teacher, torch.arange(B) % WIDE


def total(terms):
    return sum(terms.values())


def test_every_method_is_here():
    assert len(METHODS) == 13
    assert CosPress is TinTeM


@every_method
def test_terms_are_scalars_with_gradients_for_the_student_and_none_for_the_teacher(name):
    method = build(name)
    student, teacher, labels = batch()
    student.requires_grad_()
    teacher.requires_grad_()
    terms = method(student, teacher, labels)
    assert all(term.shape == () and torch.isfinite(term) for term in terms.values())
    total(terms).backward()
    assert student.grad.abs().max() > 0
    assert teacher.grad is None
    for parameter in method.parameters():
        assert parameter.requires_grad
        assert parameter.grad is not None


@pytest.mark.parametrize(
    ("method", "function"),
    [
        (Cosine(WIDE, WIDE), distillation.cosine_loss),
        (CoSS(WIDE, WIDE, space_weight=0.5, scale=3), lambda s, t: coss_loss(s, t, 0.5, 3)),
        (MSE(WIDE, WIDE, head="identity"), mse_loss),
        (CKD(WIDE, WIDE), lambda s, t: 10 * ckd_loss(s, t)),
        (
            CKD(WIDE, WIDE, weight=2, temperature=0.5, negatives="paper"),
            lambda s, t: 2 * ckd_loss(s, t, 0.5, "paper"),
        ),
        (RKD(WIDE, WIDE), rkd_loss),
        (SP(WIDE, WIDE), lambda s, t: 3000 * sp_loss(s, t)),
        (PKT(WIDE, WIDE), lambda s, t: 30_000 * pkt_loss(s, t)),
        (KD(WIDE, WIDE), kd_loss),
        (KD(WIDE, WIDE, weight=9, temperature=2), lambda s, t: 9 * kd_loss(s, t, 2)),
        (DIST(WIDE, WIDE), lambda s, t: 2 * dist_loss(s, t)),
        (
            DIST(WIDE, WIDE, weight=1, beta=2, gamma=3, temperature=4),
            lambda s, t: dist_loss(s, t, beta=2, gamma=3, temperature=4),
        ),
    ],
)
def test_without_labels_the_terms_sum_to_the_function_times_its_weight(method, function):
    student, teacher, labels = batch()
    terms = method(student, teacher)
    assert total(terms).item() == pytest.approx(function(student, teacher).item(), rel=1e-5)
    if type(method).labels == "optional":
        with_labels = method(student, teacher, labels)
        expected = functional.cross_entropy(student, labels)
        torch.testing.assert_close(with_labels.pop("classification"), expected)
        torch.testing.assert_close(with_labels, terms)
    else:
        assert type(method).labels == "unused"
        torch.testing.assert_close(method(student, teacher, labels), terms)


def test_dkd_ramps_up_over_twenty_epochs():
    method = build("DKD")
    student, teacher, labels = batch()
    full = dkd_loss(student, teacher, labels).item()
    for epoch, share in ((1, 0.05), (10, 0.5), (20, 1.0), (200, 1.0)):
        method.set_epoch(epoch)
        terms = method(student, teacher, labels)
        assert terms["classification"].item() == pytest.approx(functional.cross_entropy(student, labels).item())
        assert (terms["target"] + terms["non_target"]).item() == pytest.approx(share * full, rel=1e-5)
    assert DKD(WIDE, WIDE, warmup=0)(student, teacher, labels)["target"] > 0
    with pytest.raises(InputError, match="DKD needs labels"):
        method(student, teacher)


@pytest.mark.parametrize(
    ("name", "unequal", "equal"),
    [
        ("Cosine", "mlp", "identity"),
        ("CoSS", "mlp", "identity"),
        ("MSE", "layernorm_linear", "layernorm_linear"),
        ("TinTeM", "layernorm_linear", "layernorm_linear"),
        ("SEED", "mlp", "mlp"),
        ("CompRess", "identity", "identity"),
        ("RKD", "identity", "identity"),
        ("SP", "identity", "identity"),
        ("PKT", "identity", "identity"),
    ],
)
@pytest.mark.parametrize("asked", [None, "auto"])
def test_published_heads(name, unequal, equal, asked):
    assert build(name, NARROW, WIDE, head=asked).head == unequal
    assert build(name, WIDE, WIDE, head=asked).head == equal
    method = build(name, NARROW, WIDE, head=asked)
    on_teacher = name == "TinTeM"
    published = unequal != "identity"
    assert isinstance(method.student_head, nn.Identity) == (on_teacher or not published)
    assert isinstance(method.teacher_head, nn.Identity) == (not on_teacher)
    student, teacher, labels = batch(NARROW)
    assert torch.isfinite(total(method(student, teacher, labels)))


@pytest.mark.parametrize("name", ["CKD", "KD", "DKD", "DIST"])
def test_methods_without_a_head_need_equal_widths_or_a_named_head(name):
    with pytest.raises(InputError, match="got 5 and 7; give it a head: linear, mlp or orthogonal"):
        build(name, NARROW, WIDE)
    student, teacher, labels = batch(NARROW)
    method = build(name, NARROW, WIDE, head="linear")
    assert torch.isfinite(total(method(student, teacher, labels)))


@pytest.mark.parametrize("head", ["identity", "linear", "mlp", "layernorm_linear", "orthogonal", "pca"])
@every_method
def test_any_head(name, head):
    width = WIDE if head == "identity" else NARROW
    sample = normal(30, WIDE).float()
    method = build(name, width, WIDE, head=head, sample=sample)
    student, teacher, labels = batch(width)
    if head == "pca" and name in ("CKD", "KD", "DKD", "DIST"):
        labels = labels % width
    terms = method(student.requires_grad_(), teacher, labels)
    total(terms).backward()
    assert student.grad.abs().max() > 0
    if head == "pca":
        assert not list(method.parameters())
        assert isinstance(method.student_head, nn.Identity)
    rebuilt = METHODS[name](width, WIDE, head=head, **SMALL.get(name, {}))
    rebuilt.load_state_dict(method.state_dict())
    with torch.no_grad():
        again, same = rebuilt.eval()(student, teacher, labels), method.eval()(student, teacher, labels)
    assert all(torch.equal(again[term], same[term]) for term in same)


@every_method
def test_widths_that_are_not_what_it_was_built_for(name):
    method = build(name)
    with pytest.raises(InputError, match=f"the student is 6 wide, but {name} was built for 7"):
        method(torch.ones(B, 6), torch.ones(B, WIDE), torch.arange(B) % WIDE)
    with pytest.raises(InputError, match="the teacher is 9 wide"):
        method(torch.ones(B, WIDE), torch.ones(B, 9), torch.arange(B) % WIDE)


@pytest.mark.parametrize("name", ["CKD", "KD", "DKD", "DIST"])
@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (torch.arange(B - 1), "one integer for each of 8 rows"),
        (torch.ones(B), "one integer"),
        (torch.ones(B, dtype=torch.bool), "one integer"),
        (torch.arange(B), "from 0 to 7 do not fit the logits of 7 classes"),
        (torch.arange(B) - 3, "from -3 to 4 do not fit"),
    ],
)
def test_labels_that_are_none(name, labels, words):
    with pytest.raises(InputError, match=words):
        build(name)(*batch()[:2], labels)


@pytest.mark.parametrize("name", ["CKD", "KD", "DKD", "DIST"])
def test_labels_of_any_integer_type(name):
    student, teacher, labels = batch()
    for dtype in (torch.uint8, torch.int32):
        torch.testing.assert_close(
            build(name)(student, teacher, labels.to(dtype)), build(name)(student, teacher, labels)
        )


def test_an_unknown_head():
    with pytest.raises(InputError, match="did you mean 'orthogonal'"):
        CoSS(NARROW, WIDE, head="orthgonal")


@every_method
def test_half_precision_input_and_autocast(name):
    method = build(name)
    student, teacher, labels = batch()
    for dtype in (torch.float16, torch.bfloat16):
        terms = copy.deepcopy(method)(student.to(dtype), teacher.to(dtype), labels)
        assert all(term.dtype is torch.float32 and torch.isfinite(term) for term in terms.values())
    with torch.autocast("cpu", torch.bfloat16):
        terms = method(student.requires_grad_(), teacher, labels)
    total(terms).backward()
    assert torch.isfinite(student.grad).all()


def steps(method, first, last):
    """The losses of some seeded steps of the method and of a linear student."""
    optimiser = torch.optim.SGD(method.parameters(), lr=0.01) if list(method.parameters()) else None
    losses = []
    for step in range(first, last):
        student, teacher, labels = batch(seed=step)
        if hasattr(method, "set_epoch"):
            method.set_epoch(step)
        loss = total(method(student, teacher, labels))
        if optimiser and loss.requires_grad:
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        losses.append(loss.item())
    return losses


@every_method
def test_a_resumed_run_continues_bit_for_bit(name):
    whole = build(name)
    expected = steps(whole, 0, 6)
    first = build(name)
    assert steps(first, 0, 3) == expected[:3]
    second = METHODS[name](WIDE, WIDE, **SMALL.get(name, {}))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert steps(second, 3, 6) == expected[3:]
    for key, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[key])


@pytest.mark.parametrize("tokens", [False, True])
def test_tintem_trains_its_head_by_neighbours_and_its_student_by_cosines_alone(tokens):
    method = build("TinTeM", NARROW)
    shape = (B, 3) if tokens else (B,)
    student, teacher = normal(*shape, NARROW).float().requires_grad_(), normal(*shape, WIDE, seed=1).float()
    terms = method(student, teacher)
    head = list(method.parameters())
    for term, value in terms.items():
        grads = torch.autograd.grad(value, [student, *head], allow_unused=True, retain_graph=True)
        trains_student = term in ("token", "feature")
        assert (grads[0] is not None) == trains_student
        assert all((gradient is not None) != trains_student for gradient in grads[1:])
    target = method.teacher_head(teacher).detach()
    if tokens:
        assert set(terms) == {"neighbour", "token", "neighbour_local", "feature"}
        pooled = method(student[:, 0], teacher[:, 0])
        torch.testing.assert_close(terms["token"], pooled["token"])
        torch.testing.assert_close(terms["neighbour"], pooled["neighbour"])
        expected = distillation.token_set_loss(student, target)
        torch.testing.assert_close(terms["feature"], expected)
    else:
        assert set(terms) == {"neighbour", "token"}
        torch.testing.assert_close(terms["token"], distillation.cosine_loss(student, target))


def test_tintems_head_learns_to_keep_the_neighbours():
    """The teacher varies in as many dimensions as the student has, so a head that keeps them all exists."""
    torch.manual_seed(0)
    teacher = functional.normalize(normal(256, 6).float()) @ torch.linalg.qr(normal(12, 6, seed=1).float()).Q.T
    teacher = teacher - teacher.mean(1, keepdim=True)
    method = TinTeM(6, 12, temperatures=(0.1, 0.3))
    optimiser = torch.optim.Adam(method.parameters(), lr=0.02)
    before = None
    for _ in range(200):
        loss = method(torch.ones(256, 6), teacher)["neighbour"]
        before = before or loss.item()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1 * before


@pytest.mark.parametrize("name", ["CKD", "TinTeM"])
def test_one_row_is_no_contrast(name):
    with pytest.raises(InputError, match="a contrastive loss needs at least 2 rows"):
        build(name)(torch.ones(1, WIDE), torch.ones(1, WIDE))


def in_order(rows):
    return rows[rows[:, 0].argsort()]


def test_queue_wraps_around_whatever_the_batch():
    queue, pushed = Queue(10, 3), []
    start = queue.read()
    for step, rows in enumerate([4, 4, 4, 25, 1]):
        vectors = normal(rows, 3, seed=step).float()
        queue.push(vectors)
        pushed.extend(functional.normalize(vectors))
        expected = pushed[-10:] if len(pushed) >= 10 else [*start[len(pushed) :], *pushed]
        torch.testing.assert_close(in_order(queue.rows), in_order(torch.stack(expected)))
    oldest = queue.rows[queue.next].clone()
    torch.testing.assert_close(oldest, pushed[-10])


def test_queue_starts_as_seeded_random_directions():
    queue = Queue(1000, 16)
    torch.testing.assert_close(queue.rows.norm(dim=1), torch.ones(1000))
    assert queue.rows.mean(0).abs().max() < 0.05
    torch.rand(3)  # whatever else is drawn
    assert torch.equal(Queue(1000, 16).rows, queue.rows)
    assert not torch.equal(Queue(1000, 16, seed=1).rows, queue.rows)
    with pytest.raises(InputError, match="at least 1 row"):
        Queue(0, 3)


def test_published_queue_sizes():
    assert len(SEED(2, 2).queue.rows) == 65_536
    assert len(CompRess(2, 3).student_queue.rows) == len(CompRess(2, 3).teacher_queue.rows) == 128_000


def test_queues_are_read_before_the_push_and_pushed_in_training_only():
    student, teacher, _ = batch()
    seed, compress = build("SEED", head="identity"), build("CompRess")
    keys = seed.queue.read()
    expected = seed_loss(student, teacher, keys, 0.2, 1e-4)
    both = compress.student_queue.read(), compress.teacher_queue.read()
    for training in (False, True):
        seed.train(training)
        compress.train(training)
        torch.testing.assert_close(seed(student, teacher)["contrastive"], expected)
        torch.testing.assert_close(
            compress(student, teacher)["similarity"], compress_loss(student, teacher, *both, 0.04)
        )
        assert torch.equal(seed.queue.rows, keys) != training
    torch.testing.assert_close(seed.queue.rows[:B], functional.normalize(teacher))
    torch.testing.assert_close(compress.student_queue.rows[:B], functional.normalize(student))
    assert not math.isclose(seed(student, teacher)["contrastive"].item(), expected.item())


def test_what_each_needs():
    assert {name for name, method in METHODS.items() if "features" in method.needs} == {
        *("CoSS", "CKD", "CompRess", "Cosine", "MSE", "PKT", "RKD", "SEED", "SP", "TinTeM")
    }
    assert {name for name, method in METHODS.items() if "logits" in method.needs} == {"CKD", "DIST", "DKD", "KD"}
    assert [name for name, method in METHODS.items() if method.labels == "needed"] == ["DKD"]


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if "features" in method.needs])
def test_which_losses_see_the_lengths_of_the_students_vectors(name):
    student, teacher, _ = batch()
    lengths = torch.linspace(0.2, 5, B)[:, None]
    values = []
    for rows in (student, student * lengths):
        method = build(name, head="identity").eval()  # a head could make angles of lengths
        values.append(float(total(method(rows, teacher, None))))
    assert METHODS[name].sees_lengths == (abs(values[1] - values[0]) > 1e-4 * abs(values[0]))
