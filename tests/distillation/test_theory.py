"""What the theory says of each loss: invariances that hold and those that do not, floors, and values worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from manifold_probe.distillation import (
    ckd_loss,
    compress_loss,
    dist_loss,
    dkd_loss,
    kd_loss,
    mse_loss,
    neighbour_embedding_loss,
    pkt_loss,
    rkd_angle_loss,
    rkd_distance_loss,
    seed_loss,
    sp_loss,
    token_set_loss,
)
from manifold_probe.errors import InputError
from tests.distillation.cases import ROWS, WIDE, Case, directions, labels, normal, one_queue, two_queues

rotation = torch.linalg.qr(normal(WIDE, WIDE, seed=3)).Q
per_row = 10 ** torch.linspace(-0.5, 0.5, ROWS, dtype=torch.float64)[:, None]
# What is done to the student alone, unless it says both.
CHANGES = {
    "scaled": lambda s, t: (3 * s, t),
    "a factor a row": lambda s, t: (per_row * s, t),
    "a constant a row": lambda s, t: (s + per_row, t),
    "a vector added": lambda s, t: (s + normal(WIDE, seed=8), t),
    "rotated": lambda s, t: (s @ rotation, t),
    "both rotated": lambda s, t: (s @ rotation, t @ rotation),
    "columns permuted": lambda s, t: (s.flip(1), t),
    "both columns permuted": lambda s, t: (s.flip(1), t.flip(1)),
    "rows permuted": lambda s, t: (s.flip(0), t),
    "both rows permuted": lambda s, t: (s.flip(0), t.flip(0)),
}
TURNED = {"rotated", "both rotated", "columns permuted", "both columns permuted", "both rows permuted", "scaled"}
LOGITS = {"a constant a row", "both columns permuted", "both rows permuted"}
INVARIANT = {
    "mse_loss": {"both rotated", "both columns permuted", "both rows permuted"},
    "neighbour_embedding_loss": TURNED | {"a factor a row"},
    "ckd_loss": {"scaled", "a factor a row", "both rotated", "both columns permuted", "both rows permuted"},
    "rkd_distance_loss": TURNED | {"a vector added"},
    "rkd_angle_loss": TURNED | {"a vector added"},
    "sp_loss": TURNED,
    "pkt_loss": TURNED | {"a factor a row"},
    "kd_loss": LOGITS,
    "dist_loss": LOGITS,
}
# A constant a row is the vector (1, ..., 1) times per_row: no loss on features allows it, all on logits do.


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", INVARIANT)
def test_invariances_hold_and_nothing_else_does(name, change):
    case = Case(name)
    student, teacher = case.pair()
    before, after = case.loss(student, teacher).item(), case.loss(*CHANGES[change](student, teacher)).item()
    if change in INVARIANT[name]:
        assert after == pytest.approx(before, rel=1e-6 if name == "pkt_loss" else 1e-9)  # PKT adds 1e-7 to its lengths
    else:
        assert after != pytest.approx(before, rel=1e-4)


def test_losses_with_more_arguments():
    student, teacher = normal(ROWS, WIDE, seed=1), normal(ROWS, WIDE)
    (queue,), y = one_queue(ROWS), labels(ROWS)
    narrow, queues = normal(ROWS, 4, seed=2), two_queues(ROWS)
    turn = torch.linalg.qr(normal(4, 4, seed=4)).Q
    for changed, plain in [
        (seed_loss(per_row * student, 2 * teacher, queue), seed_loss(student, teacher, queue)),
        (
            seed_loss(student @ rotation, teacher @ rotation, queue @ rotation),
            seed_loss(student, teacher, queue),
        ),
        (seed_loss(student, teacher, queue.flip(0)), seed_loss(student, teacher, queue)),
        (compress_loss(per_row * narrow, teacher, *queues), compress_loss(narrow, teacher, *queues)),
        (
            compress_loss(narrow @ turn, teacher, queues[0] @ turn, queues[1]),
            compress_loss(narrow, teacher, *queues),
        ),
        (
            compress_loss(narrow, teacher, queues[0].flip(0), queues[1].flip(0)),
            compress_loss(narrow, teacher, *queues),
        ),
        (dkd_loss(student + per_row, teacher, y), dkd_loss(student, teacher, y)),
        (dkd_loss(student.flip(1), teacher.flip(1), WIDE - 1 - y), dkd_loss(student, teacher, y)),
    ]:
        assert changed.item() == pytest.approx(plain.item(), rel=1e-10)
    for changed, plain in [
        (seed_loss(student, teacher, queue @ rotation), seed_loss(student, teacher, queue)),
        (compress_loss(narrow, teacher, queues[0].flip(0), queues[1]), compress_loss(narrow, teacher, *queues)),
        (dkd_loss(2 * student, teacher, y), dkd_loss(student, teacher, y)),
    ]:
        assert changed.item() != pytest.approx(plain.item(), rel=1e-3)


def test_neighbours_do_not_see_one_constant_added_to_all_cosines():
    teacher = directions(4, 6, seed=0)
    cosines = 0.2 * (teacher @ teacher.T).fill_diagonal_(5.0)  # far enough apart for any constant to be possible
    plain, raised = (torch.linalg.cholesky((cosines + c).fill_diagonal_(1.0)) for c in (0.0, 0.3))
    assert neighbour_embedding_loss(raised, plain).item() == pytest.approx(0, abs=1e-12)
    bent = torch.linalg.cholesky((1.5 * cosines).fill_diagonal_(1.0))
    assert neighbour_embedding_loss(bent, plain).item() > 1e-3


def test_neighbours_of_two_rows_say_nothing():
    student, teacher = normal(2, 4, seed=1), normal(2, WIDE)
    assert neighbour_embedding_loss(student, teacher).item() == pytest.approx(0, abs=1e-12)


def test_neighbours_by_hand():
    """Three rows; the student's are all alike, so each P_ij is 1/6."""
    teacher = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    near, far = (math.e / (math.e + 1), 1 / (math.e + 1))
    p = [2 * near / 6, (far + 0.5) / 6, (far + 0.5) / 6]  # pairs 01, 02, 12, each twice
    expected = sum(2 * a * math.log(6 * a) for a in p)
    head = torch.ones(3, 1, dtype=torch.float64)
    assert neighbour_embedding_loss(head, teacher, temperatures=(1.0,)).item() == pytest.approx(expected, rel=1e-12)


def test_token_sets_see_the_tokens_norms():
    tokens = normal(4, 3, WIDE)
    uneven = tokens * torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)[:, None]
    assert token_set_loss(5 * tokens, tokens).item() == pytest.approx(0, abs=1e-12)
    assert token_set_loss(uneven, tokens).item() > 0.01


def simplex(rows):
    """Rows at equal angles, all cosines -1 / (rows - 1)."""
    return torch.eye(rows, dtype=torch.float64) - 1 / rows


@pytest.mark.parametrize("negatives", ["student", "paper"])
@pytest.mark.parametrize(("rows", "temperature"), [(2, 1.0), (8, 1.0), (64, 1.0), (8, 0.1), (8, 2.0)])
def test_the_floor_of_ckd(rows, temperature, negatives):
    floor = math.log1p((rows - 1) * math.exp(-rows / ((rows - 1) * temperature)))
    rigid = simplex(rows)
    assert ckd_loss(rigid, rigid, temperature, negatives).item() == pytest.approx(floor, rel=1e-10)
    for seed in range(5):
        bent = rigid + 0.3 * normal(rows, rows, seed=seed)
        assert ckd_loss(bent, rigid, temperature, negatives).item() > floor
        assert ckd_loss(bent, bent, temperature, negatives).item() > floor
    if (rows, temperature) == (64, 1.0):
        assert floor == pytest.approx(3.17, abs=5e-3)  # as published beside log 64
        assert ckd_loss(torch.ones_like(rigid), rigid).item() == pytest.approx(math.log(64), rel=1e-10)


def minimise(loss, student, steps=300):
    student = student.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([student], max_iter=steps, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        value = loss(student)
        value.backward()
        return value

    optimiser.step(closure)
    return loss(student).item()


def test_ckd_reaches_its_floor_from_a_random_student():
    floor = math.log1p(7 * math.exp(-8 / 7))
    assert minimise(lambda s: ckd_loss(s, simplex(8)), normal(8, 8)) == pytest.approx(floor, abs=1e-6)


def test_ckd_wants_more_separation_than_the_teacher_has():
    teacher = normal(48, 10)
    assert minimise(lambda s: ckd_loss(s, teacher), teacher) < ckd_loss(teacher, teacher).item() - 5e-3


def test_ckd_negatives_by_hand():
    """cos(t_i, s_j) is 0 throughout but cos(t_1, s_2) = 1; cos(s_1, s_2) = 0."""
    student = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    teacher = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    assert ckd_loss(student, teacher).item() == pytest.approx((math.log(1 + math.e) + math.log(2)) / 2)
    assert ckd_loss(student, teacher, negatives="paper").item() == pytest.approx(math.log(2))


def test_seed_at_a_cold_teacher_is_infonce():
    student, teacher, (queue,) = normal(ROWS, WIDE, seed=1), normal(ROWS, WIDE), one_queue(ROWS)
    s, t = torch.nn.functional.normalize(student), torch.nn.functional.normalize(teacher)
    logits = torch.cat([(s * t).sum(1, keepdim=True), s @ queue.T], 1) / 0.2
    expected = torch.nn.functional.cross_entropy(logits, torch.zeros(ROWS, dtype=torch.int64))
    assert seed_loss(student, teacher, queue, 0.2, 1e-4).item() == pytest.approx(expected.item(), rel=1e-12)


def test_rkd_does_not_see_what_it_should_not():
    """Zero for a student that is its teacher turned into more dimensions, shifted and scaled."""
    teacher = normal(ROWS, WIDE)
    turn = torch.linalg.qr(normal(9, WIDE, seed=2)).Q
    student = 4 * teacher @ turn.T + normal(9, seed=7)
    for loss in (rkd_distance_loss, rkd_angle_loss):
        assert loss(student, teacher).item() == pytest.approx(0, abs=1e-20)
    assert sp_loss(4 * teacher @ turn.T, teacher).item() == pytest.approx(0, abs=1e-20)
    assert pkt_loss(4 * teacher @ turn.T, teacher).item() == pytest.approx(0, abs=1e-12)


def test_rkd_counts_equal_rows_as_released():
    """Teacher distances 1, 1, 0: the mean over d > 0 takes the third as 1e-6; the student's are equal."""
    teacher = torch.tensor([[0.0], [0.0], [1.0]], dtype=torch.float64)
    student = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(0.75)]], dtype=torch.float64)
    mean = (2 + 1e-6) / 3
    expected = (4 * (1 / mean - 1) ** 2 / 2 + 2 * (1e-6 / mean - 1) ** 2 / 2) / 9
    assert rkd_distance_loss(student, teacher).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("offset", [0.0, 1e2])
def test_rkd_keeps_near_rows_apart_in_single_precision(offset):
    """A common offset and one pair of rows a thousandth apart: where |x|^2 + |y|^2 - 2 xy keeps no digits."""
    student, teacher = normal(20, 8, dtype=torch.float32), normal(20, 8, seed=1, dtype=torch.float32)
    student[1] = student[0] + 1e-3 * normal(8, seed=2, dtype=torch.float32)
    student = student + offset
    for loss in (rkd_distance_loss, rkd_angle_loss):
        exact = loss(student.double(), teacher.double()).item()
        assert loss(student, teacher).item() == pytest.approx(exact, rel=1e-5)


def test_kd_is_target_plus_rest_by_the_teachers_doubt():
    student, teacher, y = normal(1, WIDE, seed=1), normal(1, WIDE), torch.tensor([2])
    for temperature in (1.0, 4.0):
        sure = torch.softmax(teacher / temperature, 1)[0, 2].item()
        decoupled = dkd_loss(student, teacher, y, alpha=1.0, beta=1 - sure, temperature=temperature)
        assert decoupled.item() == pytest.approx(kd_loss(student, teacher, temperature).item(), rel=1e-12)


def test_kd_at_a_high_temperature_is_the_squared_error_of_centred_logits():
    student, teacher = normal(ROWS, WIDE, seed=1), normal(ROWS, WIDE)
    centred = (x - x.mean(1, keepdim=True) for x in (student, teacher))
    assert kd_loss(student, teacher, 1e4).item() == pytest.approx(mse_loss(*centred).item() / 2, rel=1e-3)


def test_decoupled_targets_of_a_sure_teacher_in_single_precision():
    """A margin of 100 leaves 1 - p_y = 0 in float32, yet the student must hear which class comes second."""
    student, teacher = torch.zeros(1, 4), torch.tensor([[100.0, 1.0, 0.0, 0.0]])
    exact = dkd_loss(student.double(), teacher.double(), torch.tensor([0]), temperature=1.0).item()
    assert dkd_loss(student, teacher, torch.tensor([0]), temperature=1.0).item() == pytest.approx(exact, rel=1e-5)
    student = 1e3 * torch.ones(1, 4) * torch.tensor([-1.0, 1.0, 0.0, 0.0])
    assert torch.isfinite(dkd_loss(student, teacher, torch.tensor([0])))


def test_decoupling_needs_two_classes():
    with pytest.raises(InputError, match="at least 2 classes, got 1"):
        dkd_loss(torch.ones(3, 1), torch.ones(3, 1), torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize("queue", [torch.ones(0, WIDE), torch.ones(WIDE), torch.ones(9, WIDE + 1)])
def test_queues_that_do_not_fit(queue):
    rows = torch.ones(3, WIDE)
    with pytest.raises(InputError, match=r"must be a non-empty \(K, 5\) tensor of unit rows"):
        seed_loss(rows, rows, queue)
    with pytest.raises(InputError, match="the teacher's queue"):
        compress_loss(rows, rows, torch.ones(9, WIDE), queue)
    with pytest.raises(InputError, match="the student's queue"):
        compress_loss(rows, rows, queue, torch.ones(9, WIDE))


def test_negatives_that_there_are_not():
    with pytest.raises(InputError, match="must be 'student' or 'paper', got 'teacher'"):
        ckd_loss(torch.ones(3, 2), torch.ones(3, 2), negatives="teacher")


def test_one_token_is_no_contrast():
    with pytest.raises(InputError, match="at least 2 tokens an image, got 1"):
        neighbour_embedding_loss(torch.ones(3, 1, 4), torch.ones(3, 1, 5))


def test_dist_does_not_see_predictions_mixed_with_the_uniform_one():
    """A factor and a constant a row, on probabilities, leave the rows' part at zero; the columns' part sees them."""
    teacher = normal(ROWS, WIDE)
    share = torch.linspace(0.3, 0.9, ROWS, dtype=torch.float64)[:, None]
    student = (share * torch.softmax(teacher, 1) + (1 - share) / WIDE).log()
    assert dist_loss(student, teacher, gamma=0.0).item() == pytest.approx(0, abs=1e-6)
    assert dist_loss(student, teacher, beta=0.0).item() > 1e-3
    assert kd_loss(student, teacher).item() > 1e-3


def test_dist_of_one_row_has_no_columns_to_compare():
    teacher = normal(1, WIDE)
    assert dist_loss(teacher, teacher, temperature=2.0).item() == pytest.approx(4.0, abs=1e-5)
