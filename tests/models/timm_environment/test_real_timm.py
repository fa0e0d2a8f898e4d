"""`probe extract` with models of timm, against timm called by itself: its own transforms, its own forward pass."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import manifold_probe as mp
from manifold_probe import cli
from manifold_probe.models.build import timm_preprocessing

Capture = pytest.CaptureFixture[str]
SIZES = ((48, 48), (64, 32), (64, 96), (300, 200), (201, 201))
SAMPLES = ((61, 83), (90, 47), (64, 64))
FLOAT32 = 1e-5  # of the largest value: the same sums in another order
FLOAT16 = 1e-3  # twice its rounding


def picture(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng([width, height])
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with images/{a,b}/*.png."""
    for place, size in enumerate(SIZES):
        path = tmp_path / "images" / "ab"[place % 2] / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(*size).save(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def network(name: str, **options: Any) -> Any:
    """A model whose weights are in NAME.pt; none is where initialisation left it, so that loaded ones can be told."""
    torch.manual_seed(5)
    module = timm.create_model(name, pretrained=False, num_classes=0, **options).eval()
    state = module.state_dict()
    for value in state.values():
        if value.is_floating_point():
            value += 0.02 * torch.rand_like(value)
    torch.save(state, f"{name}.pt")
    return module


@torch.no_grad()
def batch(module: torch.nn.Module) -> torch.Tensor:
    """The folder's pictures, in the order of their ids, through timm's own evaluation transform."""
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(module), is_training=False)
    return torch.stack([transform(Image.open(path).convert("RGB")) for path in sorted(Path("images").rglob("*.png"))])


def extract(name: str, *more: str) -> list[str]:
    weights = f"{name.partition('?')[0]}.pt"
    return ["extract", "--model", f"timm:{name}", "--weights", weights, "--data", "images", "--out", "feats", *more]


def ran(arguments: list[str], capfd: Capture) -> str:
    capfd.readouterr()
    code = cli.run(arguments)
    out, error = capfd.readouterr()
    assert code == 0, error
    return out + error


def refused(arguments: list[str], capfd: Capture) -> str:
    capfd.readouterr()
    assert cli.run(arguments) == 2
    out, error = capfd.readouterr()
    assert out == ""
    assert error.count("\n") == 1, error
    return error


def check(store: str, wanted: torch.Tensor, tolerance: float) -> None:
    found, expected = mp.load(store).read(0, len(wanted)), wanted.detach().numpy()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", FLOAT32), ("float16", FLOAT16)])
def test_features_are_those_of_timm(folder: Path, capfd: Capture, dtype: str, tolerance: float) -> None:
    module = network("resnet10t")
    assert f"5 images: features 512 as {dtype}" in ran(extract("resnet10t", "--dtype", dtype), capfd)
    check("feats", module(batch(module)), tolerance)
    space = mp.load("feats")
    assert space.ids.tolist() == ["a/0.png", "a/2.png", "a/4.png", "b/1.png", "b/3.png"]
    assert space.labels.tolist() == ["a", "a", "a", "b", "b"]
    assert "transformers" not in sys.modules  # which may not import where timm is installed


def test_the_manifest_records_timms_own_configuration(folder: Path, capfd: Capture) -> None:
    config = timm.data.resolve_model_data_config(network("resnet10t"))
    ran(extract("resnet10t"), capfd)
    manifest = json.loads(Path("feats/manifest.json").read_text())
    assert manifest["recorded"]["timm"] == timm.__version__
    assert manifest["shapes"] == {"features": [5, 512]}
    assert manifest["plan"]["preprocessing"] == {
        "kind": "images",
        "size": config["input_size"][1],
        "mean": list(config["mean"]),
        "std": list(config["std"]),
        "interpolation": config["interpolation"],
        "shorter": int(config["input_size"][1] / config["crop_pct"]),
        "channels": config["input_size"][0],
        "margin": "even",
    }


def test_again_and_verified(folder: Path, capfd: Capture) -> None:
    network("resnet10t")
    ran(extract("resnet10t"), capfd)
    before = {path: path.read_bytes() for path in Path("feats").iterdir()}
    assert "is finished: 5 rows; nothing to do" in ran(extract("resnet10t"), capfd)
    said = ran(extract("resnet10t", "--verify", "3"), capfd)
    assert "3 rows computed again" in said
    assert float(said.split()[-1]) < FLOAT16
    assert {path: path.read_bytes() for path in Path("feats").iterdir()} == before


@torch.no_grad()
def test_layers(folder: Path, capfd: Capture) -> None:
    module = network("resnet10t")
    listed = ran([*extract("resnet10t")[:-2], "--list-layers"], capfd).splitlines()
    assert [line.split()[0] for line in listed] == [name for name, _ in module.named_modules() if name]
    assert any(line.split()[:3] == ["layer4", "Sequential", "1"] and "512 x 6 x 6" in line for line in listed)
    ran(extract("resnet10t", "--layers", "layer4", "--pool", "mean"), capfd)
    check("feats", module.forward_features(batch(module)).mean((2, 3)), FLOAT16)


@torch.no_grad()
def test_unpooled_maps_and_tokens(folder: Path, capfd: Capture) -> None:
    maps = network("resnet10t", global_pool="")
    error = refused(extract("resnet10t?global_pool="), capfd)
    assert "(5, 512, 6, 6): choose how to pool it, --pool mean or --pool tokens or --pool flat" in error
    ran(extract("resnet10t?global_pool=", "--pool", "mean"), capfd)
    check("feats", maps(batch(maps)).mean((2, 3)), FLOAT16)
    tokens = network("test_vit", global_pool="")
    assert "choose how to pool it, --pool cls" in refused(extract("test_vit?global_pool=", "--out", "vit"), capfd)
    ran(extract("test_vit?global_pool=", "--pool", "cls", "--out", "vit"), capfd)
    check("vit", tokens(batch(tokens))[:, 0], FLOAT16)


def test_unknown_names_and_arguments(folder: Path, capfd: Capture) -> None:
    plain = ["extract", "--data", "images", "--out", "feats", "--model"]
    error = refused([*plain, "timm:resnet10x"], capfd)
    assert "timm:resnet10x: timm knows no model of this name; did you mean resnet10t or " in error
    error = refused([*plain, "timm:resnet10t?pretrained=false&depth=3"], capfd)
    assert "unexpected keyword argument 'depth'" in error
    assert not Path("feats").exists()


def configurations() -> list[dict[str, Any]]:
    """Every way in which timm's pretrained models want their pictures resized and cut."""
    found = {}
    for name in timm.list_models(pretrained=True):
        config = timm.data.resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
        found[tuple(config[key] for key in ("input_size", "crop_pct", "crop_mode", "interpolation"))] = config
    return list(found.values())


@pytest.mark.parametrize("uneven", [False, True])
def test_pictures_are_prepared_as_timm_does(uneven: bool) -> None:
    checked = 0
    for config in configurations():
        ours = timm_preprocessing(config)
        if ours is None:  # borders, oblong inputs: --size, --mean and --std are asked for
            continue
        transform = timm.data.create_transform(**config, is_training=False)
        for size in SAMPLES:
            margins = [(ours.shorter or ours.size) * side // min(size) - ours.size for side in size]
            if uneven == any(round(margin / 2) != margin // 2 for margin in margins):
                sample = picture(*size)
                np.testing.assert_allclose(ours(sample), transform(sample), atol=1e-5, err_msg=str((config, size)))
                checked += 1
    assert checked > 50
