"""CKD on sets of proposals: the class logits of a detector, (B, N, C)."""

from __future__ import annotations

import pytest
import torch

from manifold_probe.distillation import CKD, ckd_loss
from manifold_probe.errors import InputError
from tests.distillation import naive
from tests.distillation.cases import labels, normal

IMAGES, PROPOSALS, CLASSES = 3, 4, 5


def pair(images: int = IMAGES, proposals: int = PROPOSALS) -> tuple[torch.Tensor, torch.Tensor]:
    teacher = normal(images, proposals, CLASSES, seed=1)
    return normal(images, proposals, CLASSES, seed=2) + teacher / 2, teacher


@pytest.mark.parametrize("negatives", ["student", "paper"])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_every_proposal_of_the_batch_is_a_sample(negatives: str, temperature: float) -> None:
    student, teacher = pair()
    rows = [[row for image in sets.tolist() for row in image] for sets in (student, teacher)]
    expected = naive.ckd_loss(*rows, temperature, negatives)
    assert ckd_loss(student, teacher, temperature, negatives).item() == pytest.approx(expected, rel=1e-10)


def test_proposals_of_other_images_are_negatives() -> None:
    student, teacher = pair()
    by_image = torch.stack([ckd_loss(s, t) for s, t in zip(student, teacher, strict=True)])
    assert ckd_loss(student, teacher) > by_image.max()


@pytest.mark.parametrize("negatives", ["student", "paper"])
def test_gradient(negatives: str) -> None:
    student, teacher = pair()
    assert torch.autograd.gradcheck(lambda s: ckd_loss(s, teacher, 0.7, negatives), student.requires_grad_())


def test_one_image_of_two_proposals_is_enough() -> None:
    # Rows equal to the teacher's, opposite to each other: the floor log(1 + exp(-2)).
    teacher = torch.tensor([[[1.0, -1.0], [-1.0, 1.0]]])
    assert ckd_loss(teacher, teacher).item() == pytest.approx(0.126928, abs=1e-6)
    with pytest.raises(InputError, match="at least 2"):
        ckd_loss(teacher[:, :1], teacher[:, :1])


def test_the_module_is_the_loss_of_the_samples() -> None:
    student, teacher = pair()
    method = CKD(CLASSES, CLASSES, weight=0.1)
    assert method(student, teacher) == {"contrastive": 0.1 * ckd_loss(student, teacher)}
    truth = labels(IMAGES * PROPOSALS)
    with_labels = method(student, teacher, truth.view(IMAGES, PROPOSALS))
    expected = torch.nn.functional.cross_entropy(student.flatten(0, 1), truth)
    torch.testing.assert_close(with_labels["classification"], expected)
    with pytest.raises(InputError, match="one integer for each of 12 rows"):
        method(student, teacher, truth.view(PROPOSALS, IMAGES))


def test_a_head_takes_sets() -> None:
    student, teacher = pair()
    method = CKD(3, CLASSES, head="linear").double()
    expected = 10 * ckd_loss(method.student_head(student[..., :3]), teacher)
    torch.testing.assert_close(method(student[..., :3], teacher)["contrastive"], expected)


@pytest.mark.parametrize("loss", [ckd_loss, CKD(CLASSES, CLASSES)])
def test_unequal_counts_of_proposals(loss) -> None:
    student, _ = pair(proposals=6)
    _, teacher = pair()
    message = (
        "the student has 6 proposals for each of 3 images and the teacher 4 proposals for each of 3 images; "
        "give the class logits of the same proposals"
    )
    with pytest.raises(InputError, match=message):
        loss(student, teacher)
    with pytest.raises(InputError, match="3 images and the teacher 4 proposals for each of 2 images"):
        loss(pair()[0], teacher[:2])


def test_a_set_against_rows() -> None:
    student, teacher = pair()
    with pytest.raises(InputError, match=r"student \(3, 4, 5\) and teacher \(3, 5\)"):
        ckd_loss(student, teacher[:, 0])
