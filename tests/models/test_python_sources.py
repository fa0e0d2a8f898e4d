"""``python:`` sources: imported, called with their arguments, and refused in one line where that fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import manifold_probe as mp
from manifold_probe.errors import InputError
from manifold_probe.models.load import forward, load_model
from manifold_probe.models.preprocessing import TextPreprocessing
from tests.models.tiny import images


def test_arguments_reach_the_callable(tiny: Path) -> None:
    model = load_model("python:tinymodel:echo?seed=1&rate=0.5&name=a&deep=false")
    assert model.module.arguments == {"seed": 1, "rate": 0.5, "name": "a", "deep": False}


def test_output_and_mode(tiny: Path) -> None:
    model = load_model("python:tinymodel:make?seed=1")
    assert (model.takes, model.preprocessing, model.source.kind) == ("images", None, "python")
    assert not model.module.training
    output = forward(model, images())
    assert output.shape == (4, 3)
    assert not output.requires_grad
    torch.testing.assert_close(output, model.module(images()).detach(), rtol=0, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert forward(model, images()).dtype == torch.float32


def test_a_module_that_tokenizes_takes_texts(tiny: Path, tmp_path: Path) -> None:
    texts = ["first", "second", "third"]
    model = load_model("python:tinymodel:Words?width=3")
    assert model.takes == "texts"
    assert isinstance(model.preprocessing, TextPreprocessing)
    vectors = model.module.vectors.weight.detach()
    expected = torch.stack([vectors[[ord(letter) for letter in text[:5]]].mean(0) for text in texts])
    torch.testing.assert_close(forward(model, model.preprocessing.collate(texts)), expected)
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n")
    found = mp.extract("python:tinymodel:Words?width=3", tmp_path / "texts.txt", tmp_path / "out", dtype="float32")
    assert found.space().read(0, 3) == pytest.approx(expected.numpy(), abs=1e-6)


def test_what_the_callable_prints_leaves_stdout_alone(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_model("python:tinymodel:chatty")
    assert capsys.readouterr() == ("", "loading\n")


def test_methods_and_classes_are_callables_too(tiny: Path) -> None:
    assert forward(load_model("python:tinymodel:Net?width=5"), images()).shape == (4, 3)


def test_the_current_folder_is_importable(tiny: Path) -> None:
    code = "from manifold_probe.models.load import load_model; print(load_model('python:tinymodel:make').fingerprint)"
    root = Path(__file__).parents[2]  # the interpreter is started outside the folder, as the command is
    start = f"import os, sys; sys.path = [p for p in sys.path if p]; sys.path.append({str(root)!r}); "
    command = [sys.executable, "-c", f"{start}os.chdir({str(tiny)!r}); {code}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == load_model("python:tinymodel:make").fingerprint


def test_a_callable_without_a_seed_draws_the_same_weights_every_time(tiny: Path) -> None:
    torch.manual_seed(5)
    first = load_model("python:tinymodel:make").fingerprint
    before = torch.rand(3)
    torch.manual_seed(5)
    assert load_model("python:tinymodel:make").fingerprint == first
    assert torch.equal(torch.rand(3), before)  # and the caller's own draws are not moved


@pytest.mark.parametrize("what", ["tuple", "dict"])
def test_the_tensor_that_is_meant(tiny: Path, what: str) -> None:
    output = forward(load_model(f"python:tinymodel:returning?what={what}"), images())
    torch.testing.assert_close(output, images().mean((2, 3)))


def test_low_precision_comes_out_as_float32(tiny: Path) -> None:
    assert forward(load_model("python:tinymodel:returning?what=bfloat16"), images()).dtype == torch.float32


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("python:nosuchmodule:make", "there is no module 'nosuchmodule'; it is searched in the current folder"),
        ("python:tinypackage.nosuch:make", "there is no module 'tinypackage.nosuch'"),
        ("python:tinypackage.needy:make", "a_package_that_is_not_there'); install what tinypackage.needy imports"),
        ("python:tinypackage.broken:make", "SyntaxError"),
        ("python:tinypackage.leaving:make", "SystemExit: 0); fix the import of tinypackage.leaving"),
        ("python:tinymodel:mak", "tinymodel has no 'mak'; did you mean make?"),
        ("python:tinymodel:Net.nothing", "tinymodel has no 'Net.nothing'"),
        ("python:tinymodel:number", "number is a int; name a callable"),
        ("python:tinymodel:net", "net is a Net; name a callable"),
        ("python:tinymodel:text", "text returned a str; it must return a torch.nn.Module"),
        ("python:tinymodel:fails", "RuntimeError: no such luck, not today); check fails and its arguments"),
        ("python:tinymodel:leaves", "SystemExit: 3); check leaves"),
        ("python:tinymodel:make?sed=1", "unexpected keyword argument 'sed'"),
        ("python:tinymodel:lazy", "python:tinymodel:lazy: lazy returned lazy layers"),
    ],
)
def test_refused(tiny: Path, text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        load_model(text)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("two", "returned dict(a: tensor(4, 3, 8, 8), b: tensor(4, 3, 8, 8)); return one tensor"),
        ("none", "returned NoneType; return one tensor"),
        ("integers", "returned int64 tensor(4, 3, 8, 8); return one tensor of floating-point numbers"),
    ],
)
def test_outputs_that_cannot_be_told(tiny: Path, what: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        forward(load_model(f"python:tinymodel:returning?what={what}"), images())
    assert words in str(caught.value)


def test_a_batch_that_does_not_fit(tiny: Path) -> None:
    with pytest.raises(
        InputError, match=r"cannot take tensor\(4, 1, 8, 8\) \(RuntimeError: .*\); check --size"
    ) as caught:
        forward(load_model("python:tinymodel:make"), images()[:, :1])
    assert str(caught.value).isprintable()


def test_lack_of_memory_is_left_to_the_caller(tiny: Path) -> None:
    with pytest.raises(RuntimeError, match="allocate memory"):
        forward(load_model("python:tinymodel:returning?what=memory"), images())
