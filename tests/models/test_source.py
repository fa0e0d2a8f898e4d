"""Model sources as text: what they mean, and the one line that a wrong one gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from manifold_probe.errors import InputError
from manifold_probe.models.source import CHECKPOINT, is_source, parse_source


@pytest.mark.parametrize(
    ("text", "kind", "name", "arguments"),
    [
        ("timm:resnet18", "timm", "resnet18", {}),
        ("timm:hf-hub:someone/net?pretrained=false", "timm", "hf-hub:someone/net", {"pretrained": False}),
        ("hf:facebook/dinov2-small", "hf", "facebook/dinov2-small", {}),
        ("hf:/some/folder", "hf", "/some/folder", {}),
        ("st:./folder", "st", "./folder", {}),
        ("python:a.b:C.make", "python", "a.b:C.make", {}),
        ("python:a:b?seed=1&width=0.5&big=true", "python", "a:b", {"seed": 1, "width": 0.5, "big": True}),
        ("python:a:b?x=-3&y=1e-3&z=.5&w=2.", "python", "a:b", {"x": -3, "y": 1e-3, "z": 0.5, "w": 2.0}),
        ("python:a:b?x=nan&y=1_0&z=&w=a=b", "python", "a:b", {"x": "nan", "y": "1_0", "z": "", "w": "a=b"}),
        ("runs/a.pt", "checkpoint", "runs/a.pt", {}),
        ("a:b.pth", "checkpoint", "a:b.pth", {}),
    ],
)
def test_parts(text: str, kind: str, name: str, arguments: dict) -> None:
    source = parse_source(text)
    assert (source.kind, source.name, source.arguments, source.text) == (kind, name, arguments, text)
    assert [type(value) for value in source.arguments.values()] == [type(value) for value in arguments.values()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tim:resnet18", "did you mean timm:?"),
        ("resnet18", "is not a model; write timm:"),
        ("", "is not a model; write timm:"),
        ("timm", "is not a model; write timm:"),
        ("features.npy", "is not a model; write timm:"),
        ("timm:", "has no model after 'timm:'; write timm:vit"),
        ("hf:?revision=a", "has no model after 'hf:'"),
        ("python:tinymodel", "has no callable; write python:package.module:callable?seed=1"),
        ("python:tinymodel:", "has no callable"),
        ("python::make", "is not a dotted module"),
        ("python:./tiny.py:make", "is not a dotted module"),
        ("python:a:b?seed", "argument 'seed' is not key=value"),
        ("python:a:b?", "argument '' is not key=value"),
        ("python:a:b?1=2", "argument '1=2' is not key=value"),
        ("python:a:b?s=1&s=2", "gives s twice"),
        ("hf\n:x", "is not a model"),
    ],
)
def test_refused(text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_source(text)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


def test_another_output_of_a_run_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    torch.save({"format": CHECKPOINT}, tmp_path / "run" / "student.pt")
    assert parse_source(f"{tmp_path}/run::head").output == "head"
    with pytest.raises(InputError, match=r"has no output 'nose'; give .*run for the backbone or .*run::head for the"):
        parse_source(f"{tmp_path}/run::nose")


def test_what_names_a_model_and_what_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format": CHECKPOINT, "model": "python:a:b", "state": {}}, "model.pt")
    torch.save({"features": torch.ones(3, 2)}, "features.pt")
    torch.save(torch.ones(3, 2), "tensor.pt")
    Path("damaged.pt").write_bytes(Path("model.pt").read_bytes()[:90])
    Path("empty.pt").write_bytes(b"")
    Path("folder.pt").mkdir()
    np.save("x.npy", np.ones((3, 2)))
    assert [text for text in ("timm:a", "hf:a", "st:a", "python:a:b", "model.pt") if not is_source(text)] == []
    others = (
        "features.pt",
        "features.pt::x",
        "tensor.pt",
        "damaged.pt",
        "empty.pt",
        "folder.pt",
        "no.pt",
        "x.npy",
        "feats/",
        "x:y",
    )
    assert [text for text in others if is_source(text)] == []
