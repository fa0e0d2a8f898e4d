"""Heads: shapes, orthogonality at every step, principal directions, and rebuilding from a name and widths."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from manifold_probe.errors import InputError
from manifold_probe.models.heads import HEADS, make_head

WIDTHS = [(6, 6), (6, 9), (9, 6)]


def sample(width, rows=40):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rows, width, generator=generator) * torch.arange(1.0, width + 1) + 3


def possible(name, width_in, width_out):
    return not (name == "identity" and width_in != width_out) and not (name == "pca" and width_out > width_in)


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("name", HEADS)
def test_shapes_and_rebuilding(name, widths):
    if not possible(name, *widths):
        with pytest.raises(InputError, match="linear"):
            make_head(name, *widths, sample(widths[0]))
        return
    head = make_head(name, *widths, sample(widths[0]))
    rows = sample(widths[0], 5)
    assert head(rows).shape == (5, widths[1])
    assert head(rows[:, None].expand(5, 3, -1)).shape == (5, 3, widths[1])
    rebuilt = make_head(name, *widths)
    rebuilt.load_state_dict(head.state_dict())
    assert torch.equal(rebuilt(rows), head(rows))


def test_layers():
    assert [type(layer) for layer in make_head("mlp", 4, 6)] == [nn.Linear, nn.ReLU, nn.Linear]
    assert make_head("mlp", 4, 6)[0].weight.shape == (2048, 4)
    assert [type(layer) for layer in make_head("layernorm_linear", 4, 6)] == [nn.LayerNorm, nn.Linear]
    assert make_head("layernorm_linear", 4, 6)[1].bias.shape == (6,)
    assert make_head("orthogonal", 4, 6).bias is None


@pytest.mark.parametrize("widths", WIDTHS)
def test_orthogonal_at_every_step(widths):
    head = make_head("orthogonal", *widths)
    optimiser = torch.optim.SGD(head.parameters(), lr=0.5)
    first = head.weight.detach().clone()
    for step in range(5):
        optimiser.zero_grad()
        (head(sample(widths[0])) - step).square().mean().backward()
        optimiser.step()
        weight = head.weight.detach()
        small = weight @ weight.T if widths[1] <= widths[0] else weight.T @ weight
        torch.testing.assert_close(small, torch.eye(len(small)), atol=1e-5, rtol=0)
    assert (head.weight - first).abs().max() > 0.01


def test_pca_gives_the_principal_components_with_the_mean_put_back():
    rows = sample(9)
    head = make_head("pca", 9, 4, rows)
    peer = PCA(4).fit(rows.numpy())
    expected = peer.transform(rows.numpy()) + peer.components_ @ peer.mean_
    signs = np.sign((expected * head(rows).numpy()).sum(0))
    np.testing.assert_allclose(head(rows).numpy(), expected * signs, atol=1e-3)
    assert not list(head.parameters())
    assert torch.equal(make_head("pca", 9, 4, rows).directions, head.directions)
    torch.testing.assert_close(make_head("pca", 9, 9, rows)(rows).norm(dim=1), rows.norm(dim=1))


def test_an_unfitted_pca_is_seen():
    assert torch.isnan(make_head("pca", 9, 4)(sample(9))).all()


@pytest.mark.parametrize("rows", [torch.ones(4, 9), torch.ones(40, 8), torch.ones(9)])
def test_pca_refuses(rows):
    with pytest.raises(InputError, match=r"must be \(n, 9\) with n above 4"):
        make_head("pca", 9, 4, rows)


@pytest.mark.parametrize(("name", "near"), [("lineal", "linear"), ("MLP", "mlp"), ("layernorm", "layernorm_linear")])
def test_unknown_names(name, near):
    with pytest.raises(InputError, match=f"no head is called '{name}'; did you mean '{near}'"):
        make_head(name, 4, 4)


def test_no_width():
    with pytest.raises(InputError, match="at least 1"):
        make_head("linear", 0, 4)
