"""Layers by name, glob and hook; hooks never outlive their block."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from manifold_probe.errors import InputError
from manifold_probe.models.layers import capture, list_layers, resolve_layers
from manifold_probe.models.load import Model, forward, load_model
from tests.models.tiny import images


@pytest.fixture
def model(tiny: Path) -> Model:
    return load_model("python:tinymodel:make?seed=1")


def hooks(module: torch.nn.Module) -> int:
    return sum(len(each._forward_hooks) for each in module.modules())


class Odd(torch.nn.Module):
    """Layers that return a tuple, a nested dict and nothing; one runs twice, under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(4, 5, batch_first=True)
        self.scale = torch.nn.Linear(5, 5)
        self.again = self.scale
        self.pack = Packs()
        self.nothing = Nothing()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states, _ = self.lstm(x)
        self.nothing(x)
        return self.pack(self.again(self.scale(states)))["inner"]["value"]


class Packs(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> dict:
        return {"count": torch.tensor([1, 2]), "inner": {"value": x + 1}}


class Nothing(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> None:
        return None


def test_list(model: Model) -> None:
    assert list_layers(model, images(2)) == [
        ("conv", "Conv2d", (2, 8, 8, 8)),
        ("norm", "BatchNorm2d", (2, 8, 8, 8)),
        ("act", "ReLU", (2, 8, 8, 8)),
        ("head", "Linear", (2, 3)),
        ("idle", "Identity", None),
    ]
    assert hooks(model.module) == 0


def test_names_and_globs() -> None:
    block = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
    module = torch.nn.ModuleDict({"stem": torch.nn.Linear(2, 2), "blocks": torch.nn.Sequential(block, block)})
    assert resolve_layers(module, ["stem"]) == ["stem"]
    assert resolve_layers(module, ["blocks.?"]) == ["blocks.0", "blocks.1"]
    assert resolve_layers(module, ["blocks.1*", "stem", "stem"]) == ["stem", "blocks.1", "blocks.1.0", "blocks.1.1"]
    assert resolve_layers(module, ["*"])[0] == "stem"
    assert len(resolve_layers(module, ["*"])) == 8
    with pytest.raises(InputError, match=r"no layer is called 'block.0'; did you mean blocks.0 or .*--list-layers"):
        resolve_layers(module, ["stem", "block.0"])
    with pytest.raises(InputError, match=r"no layer is called 'Z\*'; did you mean stem or blocks or blocks.0\?"):
        resolve_layers(module, ["Z*"])
    with pytest.raises(InputError, match=r"no layer is called 'a'; --list-layers"):
        resolve_layers(torch.nn.ReLU(), ["a"])


def test_capture_agrees_with_running_the_layers_by_hand(model: Model) -> None:
    net, x = model.module, images()
    with capture(net, ["head", "conv", "norm", "act"]) as outputs:
        forward(model, x)
    with torch.no_grad():
        conv = net.conv(x)
        norm = net.norm(conv)
        act = torch.relu(norm)
        head = net.head(act.mean((2, 3)))
    # norm is what the in-place ReLU after it overwrites
    for name, expected in {"conv": conv, "norm": norm, "act": act, "head": head}.items():
        torch.testing.assert_close(outputs[name], expected, rtol=0, atol=0)
        assert not outputs[name].requires_grad
    assert hooks(net) == 0


def test_every_forward_pass_fills_the_dict_anew(model: Model) -> None:
    with capture(model.module, ["head"]) as outputs:
        first = forward(model, images(seed=1))
        assert torch.equal(outputs["head"], first)
        second = forward(model, images(2, seed=2))
        assert torch.equal(outputs["head"], second)


def test_low_precision_is_captured_as_float32(model: Model) -> None:
    with torch.autocast("cpu", torch.bfloat16), capture(model.module, ["conv"]) as outputs:
        forward(model, images())
    assert outputs["conv"].dtype == torch.float32


def test_odd_layers() -> None:
    torch.manual_seed(0)
    odd, x = Odd().eval(), torch.randn(2, 3, 4)
    with capture(odd, ["lstm", "scale", "again", "pack"]) as outputs, torch.no_grad():
        result = odd(x)
    with torch.no_grad():
        states = odd.lstm(x)[0]
        last = odd.scale(odd.scale(states))
    torch.testing.assert_close(outputs["lstm"], states)
    torch.testing.assert_close(outputs["scale"], last)
    torch.testing.assert_close(outputs["again"], last)
    torch.testing.assert_close(outputs["pack"], result)
    assert hooks(odd) == 0


def test_a_layer_without_a_tensor_is_refused(model: Model) -> None:
    odd = Odd().eval()
    with pytest.raises(InputError, match="nothing returned NoneType, not a tensor"), capture(odd, ["nothing"]):
        odd(torch.randn(2, 3, 4))
    assert hooks(odd) == 0


def test_a_layer_that_did_not_run_is_refused(model: Model) -> None:
    with (
        pytest.raises(InputError, match="idle did not run in the forward pass"),
        capture(model.module, ["act", "idle"]),
    ):
        forward(model, images())
    with capture(model.module, ["idle"]) as outputs:
        pass  # nothing ran at all
    assert outputs == {}


def test_hooks_go_when_anything_fails(model: Model) -> None:
    with pytest.raises(ZeroDivisionError), capture(model.module, ["conv", "act"]):
        _ = 1 / (hooks(model.module) - 2)
    assert hooks(model.module) == 0
    with pytest.raises(InputError), capture(model.module, ["conv"]):
        forward(model, images()[:, :1])
    with pytest.raises(InputError):
        list_layers(model, images()[:, :1])
    with pytest.raises(KeyError), capture(model.module, ["conv", "nosuch"]):
        pass
    assert hooks(model.module) == 0
