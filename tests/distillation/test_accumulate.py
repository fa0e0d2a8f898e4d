"""A batch in parts has the loss and the gradients of the whole batch."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from manifold_probe.distillation.accumulate import backward, outputs_of, parts_of
from manifold_probe.distillation.method import Method
from manifold_probe.distillation.methods import METHODS

ROWS, WIDTH, OUT = 24, 5, 4


def network(dropout: float = 0.0, norm: bool = False) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Linear(WIDTH, 8), nn.BatchNorm1d(8) if norm else nn.Identity(), nn.Tanh(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(8, OUT)).double().train()


def gradients(
    module: nn.Module, method: Method, x: Tensor, teacher: Tensor, parts: int
) -> tuple[dict[str, Tensor], Tensor]:
    """Gradients of network and head, and the loss; ``parts`` 1 is the plain way."""
    module, method = copy.deepcopy(module), copy.deepcopy(method)
    torch.manual_seed(1)
    split = parts_of(x, parts)
    outputs = module(x) if parts == 1 else outputs_of(module, module, split)
    loss = torch.stack(list(method(outputs, teacher, torch.arange(ROWS) % OUT).values())).sum()
    loss.backward()
    if parts > 1:
        backward(module, split, outputs)
    named = [*module.named_parameters(), *((f"head.{name}", each) for name, each in method.named_parameters())]
    return {name: each.grad for name, each in named if each.grad is not None}, loss.detach()


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"cospress"}))
@pytest.mark.parametrize("parts", [2, 5, ROWS])
def test_gradients_are_those_of_the_whole_batch(name: str, parts: int) -> None:
    torch.manual_seed(2)
    x, teacher = torch.randn(ROWS, WIDTH).double(), torch.randn(ROWS, OUT).double()
    method = METHODS[name](OUT, OUT).double()
    expected, loss = gradients(network(), method, x, teacher, 1)
    found, same = gradients(network(), method, x, teacher, parts)
    assert torch.allclose(same, loss, rtol=1e-12)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.allclose(found[key], value, rtol=1e-9, atol=1e-12), key


def test_both_passes_draw_the_same_dropout() -> None:
    module = network(dropout=0.5)
    x = torch.randn(ROWS, WIDTH).double()
    parts = parts_of(x, 3)
    torch.manual_seed(3)
    outputs = outputs_of(module, module, parts)
    again = torch.cat([module(part) for part in parts])
    assert torch.equal(outputs, again)
    assert not torch.equal(again, torch.cat([module(part) for part in parts]))


def test_batch_normalisation_counts_a_batch_once() -> None:
    module = network(norm=True)
    parts = parts_of(torch.randn(ROWS, WIDTH).double(), 4)
    before = copy.deepcopy(module.state_dict())
    outputs = outputs_of(module, module, parts)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    outputs.grad = torch.ones_like(outputs)
    backward(module, parts, outputs)
    assert int(module[1].num_batches_tracked) == 4  # type: ignore[index, arg-type]


def test_a_dict_of_tensors_is_split_by_rows() -> None:
    batch = {"input_ids": torch.arange(6).reshape(3, 2), "mask": torch.ones(3, 2), "prompt_length": 4}
    first, second = parts_of(batch, 2)
    assert first["input_ids"].tolist() == [[0, 1], [2, 3]]
    assert second["input_ids"].tolist() == [[4, 5]]
    assert first["prompt_length"] == second["prompt_length"] == 4
