"""``timm:`` sources against a stand-in for the package, which shows what is asked of it."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from manifold_probe.errors import InputError
from manifold_probe.models.build import timm_preprocessing
from manifold_probe.models.load import load_model
from manifold_probe.models.preprocessing import ImagePreprocessing

CONFIG: dict[str, Any] = {
    "input_size": (3, 224, 224),
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "interpolation": "bicubic",
    "crop_pct": 0.875,
    "crop_mode": "center",
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    calls: list[tuple[str, dict[str, Any]]] = []

    def create_model(name: str, **options: Any) -> torch.nn.Module:
        calls.append((name, options))
        if "fail" in options:
            raise RuntimeError("no pretrained weights\nexist")
        return torch.nn.Linear(2, 2)

    stand_in = SimpleNamespace(
        is_model=lambda name: name == "resnet18",
        list_models=lambda: ["resnet18", "vit_tiny"],
        create_model=create_model,
        data=SimpleNamespace(resolve_model_data_config=lambda module: CONFIG),
    )
    monkeypatch.setitem(sys.modules, "timm", stand_in)
    return calls


def test_models_come_pretrained_without_their_classifier(asked: list[tuple[str, dict[str, Any]]]) -> None:
    model = load_model("timm:resnet18")
    assert model.takes == "images"
    assert model.preprocessing == ImagePreprocessing(
        224, CONFIG["mean"], CONFIG["std"], "bicubic", shorter=256, margin="even"
    )
    load_model("timm:resnet18?pretrained=false&global_pool=")
    load_model("timm:hf-hub:someone/net")
    assert asked == [
        ("resnet18", {"pretrained": True, "num_classes": 0}),
        ("resnet18", {"pretrained": False, "num_classes": 0, "global_pool": ""}),
        ("hf-hub:someone/net", {"pretrained": True, "num_classes": 0}),
    ]


def test_weights_take_the_place_of_pretrained_ones(asked: list[tuple[str, dict[str, Any]]], tmp_path: Any) -> None:
    torch.save({"weight": torch.ones(2, 2), "bias": torch.ones(2)}, tmp_path / "w.pt")
    assert torch.equal(load_model("timm:resnet18", str(tmp_path / "w.pt")).module.weight, torch.ones(2, 2))
    assert asked == [("resnet18", {"pretrained": False, "num_classes": 0})]


def test_refused(asked: list[tuple[str, dict[str, Any]]]) -> None:
    with pytest.raises(InputError, match=r"timm:resnet19: timm knows no model of this name; did you mean resnet18\?"):
        load_model("timm:resnet19")
    with pytest.raises(InputError, match=r"\(RuntimeError: no pretrained weights exist\); check the arguments"):
        load_model("timm:resnet18?fail=true")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"crop_pct": 1.0}, {"shorter": 224}),
        ({"crop_pct": 1.0, "crop_mode": "squash"}, {"shorter": None}),
        ({"crop_mode": "squash"}, None),
        ({"crop_mode": "border"}, None),
        ({"input_size": (3, 224, 192)}, None),
        ({"interpolation": "random"}, None),
        ({"input_size": (4, 224, 224)}, None),
        ({"input_size": (1, 28, 28), "mean": (0.5,), "std": (0.5,)}, {"channels": 1, "size": 28, "shorter": 32}),
    ],
)
def test_data_configurations(changes: dict[str, Any], expected: dict[str, Any] | None) -> None:
    made = timm_preprocessing(CONFIG | changes)
    assert (made is None) == (expected is None)
    if expected:
        assert {name: getattr(made, name) for name in expected} == expected
