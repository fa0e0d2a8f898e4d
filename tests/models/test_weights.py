"""Weights and checkpoints: exactly fitting, never unpickled, and fingerprinted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from manifold_probe.errors import InputError
from manifold_probe.models.load import forward, load_model
from manifold_probe.models.preprocessing import ImagePreprocessing
from manifold_probe.models.source import CHECKPOINT
from manifold_probe.models.students import make_student
from manifold_probe.models.weights import fingerprint
from tests.models.tiny import images

SOURCE = "python:tinymodel:make?seed=1"
TRAINED = "python:tinymodel:make?seed=2"
State = dict[str, Any]


@pytest.fixture
def state(tiny: Path) -> State:
    return dict(load_model(TRAINED).module.state_dict())


@pytest.mark.parametrize("wrap", [None, "state_dict", "model", "state"])
@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_weights_are_found(state: State, wrap: str | None, suffix: str) -> None:
    torch.save(state if wrap is None else {"epoch": 3, wrap: state}, f"w{suffix}")
    assert load_model(SOURCE, f"w{suffix}").fingerprint == load_model(TRAINED).fingerprint


def test_safetensors(state: State) -> None:
    save_file(state, "w.safetensors")
    assert load_model(SOURCE, "w.safetensors").fingerprint == load_model(TRAINED).fingerprint


def test_low_precision_weights_are_run_in_float32(state: State) -> None:
    torch.save({key: value.half() if value.is_floating_point() else value for key, value in state.items()}, "w.pt")
    model = load_model(SOURCE, "w.pt")
    assert {parameter.dtype for parameter in model.module.parameters()} == {torch.float32}
    torch.testing.assert_close(forward(model, images()), forward(load_model(TRAINED), images()), rtol=0, atol=1e-2)


def drop(*keys: str) -> Callable[[State], State]:
    return lambda state: {key: value for key, value in state.items() if key not in keys}


MISFITS: dict[str, tuple[Callable[[State], State], str]] = {
    "missing": (drop("head.bias"), "of 9 keys, 1 missing (head.bias); give the state dict"),
    "unexpected": (lambda s: s | {"extra": torch.ones(2)}, "1 unexpected (extra); give"),
    "wrong size": (
        lambda s: s | {"head.weight": torch.ones(3, 9)},
        "1 of the wrong size (head.weight is (3, 9), the model's (3, 8))",
    ),
    "not a tensor": (lambda s: s | {"head.bias": 3}, "head.bias is int, the model's (3,)"),
    "all three": (
        lambda s: drop("conv.bias")(s) | {"a": torch.ones(1), "head.bias": torch.ones(1)},
        "1 missing (conv.bias), 1 unexpected (a), 1 of the wrong size (head.bias is (1,), the model's (3,))",
    ),
    "many": (lambda s: {"a": torch.ones(1)}, "9 missing (conv.weight, conv.bias, norm.weight, ...), 1 unexpected (a)"),
    "prefix": (
        lambda s: {f"module.{key}": value for key, value in s.items()},
        "its keys have the extra prefix 'module.': remove it",
    ),
    "no tensors": (lambda s: {"epoch": 3}, "holds a dict without weights; save only the state dict"),
    "empty": (lambda s: {}, "holds a dict without weights"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_misfits(state: State, name: str) -> None:
    change, words = MISFITS[name]
    torch.save(change(state), "w.pt")
    with pytest.raises(InputError) as caught:
        load_model(SOURCE, "w.pt")
    assert str(caught.value).startswith("w.pt: ")
    assert words in str(caught.value)


class Runs:
    """A pickle that would make a folder called owned."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("owned",)


BAD_FILES: dict[str, tuple[str, Callable[[str], object], str]] = {
    "absent": ("w.pt", lambda path: None, "no such file"),
    "empty": ("w.pt", lambda path: Path(path).write_bytes(b""), "is empty"),
    "garbage": ("w.pt", lambda path: Path(path).write_bytes(b"\x07garbage" * 50), "w.pt: "),
    "lfs": ("w.pt", lambda path: Path(path).write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "git lfs"),
    "format": ("w.bin", lambda path: Path(path).write_bytes(b"abc"), "give .pt, .pth or .safetensors"),
    "tensor": ("w.pt", lambda path: torch.save(torch.ones(3), path), "holds a Tensor without weights"),
    "module": ("w.pt", lambda path: torch.save(torch.nn.Linear(2, 2), path), "save only the state dict"),
    "running": ("w.pt", lambda path: torch.save({"a": Runs()}, path), "save only the state dict"),
    "safetensors": ("w.safetensors", lambda path: Path(path).write_bytes(b"\xff" * 50), "cannot be read as a safetens"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files(tiny: Path, name: str) -> None:
    path, write, words = BAD_FILES[name]
    write(path)
    with pytest.raises(InputError) as caught:
        load_model(SOURCE, path)
    assert words in str(caught.value)
    assert not Path("owned").exists()


def test_the_fingerprint_changes_with_any_weight_and_buffer(state: State) -> None:
    model = load_model(TRAINED)
    assert fingerprint(model.module) == model.fingerprint
    seen = {model.fingerprint}
    for tensor in [*model.module.parameters(), *model.module.buffers()]:
        with torch.no_grad():
            tensor.view(-1)[-1] += 1
        seen.add(fingerprint(model.module))
    assert len(seen) == 1 + len(state)


def test_the_fingerprint_knows_names_types_shapes_and_unsaved_buffers_but_no_order() -> None:
    def module(**tensors: torch.Tensor) -> torch.nn.Module:
        made = torch.nn.Module()
        for name, tensor in tensors.items():
            made.register_buffer(name, tensor, persistent=name != "unsaved")
        return made

    a, b = torch.arange(6.0), torch.ones(2)
    assert fingerprint(module(a=a, b=b)) == fingerprint(module(b=b, a=a))
    others = [
        module(a=a, b=b),
        module(a=b, b=a),
        module(a=a, c=b),
        module(a=a.view(2, 3), b=b),
        module(a=a.bfloat16(), b=b),
        module(a=a, b=b, unsaved=b),
        module(a=a, b=torch.tensor(1.0)),
    ]
    assert len({fingerprint(each) for each in others}) == len(others)
    assert fingerprint(module(a=a.view(2, 3).t(), b=b)) == fingerprint(module(a=a.view(2, 3).t().contiguous(), b=b))


CONV4 = "python:manifold_probe.models.students:make"


@pytest.fixture
def conv4() -> State:
    torch.manual_seed(2)
    return dict(make_student("conv4").state_dict())


def record(weights: State, **changes: Any) -> dict[str, Any]:
    made = {"format": CHECKPOINT, "model": CONV4, "arguments": {"name": "conv4"}, "state": weights}
    return {key: value for key, value in (made | changes).items() if value is not None}


def test_checkpoints_are_rebuilt(conv4: State, tiny: Path) -> None:
    preprocessing = ImagePreprocessing(8, 0.5, 0.25)
    torch.save(record(conv4, preprocessing=preprocessing.record()), "c.pt")
    model = load_model("c.pt")
    assert model.source.kind == "checkpoint"
    assert model.preprocessing == preprocessing
    assert all(torch.equal(value, conv4[key]) for key, value in model.module.state_dict().items())
    torch.save(record(conv4, model=f"{CONV4}?name=conv4", arguments=None), "plain.pt")
    assert load_model("plain.pt").preprocessing is None
    assert load_model(f"{CONV4}?name=conv4", "c.pt").fingerprint == model.fingerprint


def test_a_checkpoint_runs_no_code_that_it_names(state: State) -> None:
    torch.save(record(state, model="python:os:mkdir", arguments={"path": "owned"}), "c.pt")
    with pytest.raises(InputError) as caught:
        load_model("c.pt")
    assert "c.pt: model python:os:mkdir: is Python code, which is not run because a file names it" in str(caught.value)
    assert "--model 'python:...' --weights c.pt" in str(caught.value)
    assert not Path("owned").exists()
    assert load_model(SOURCE, "c.pt").fingerprint == load_model(TRAINED).fingerprint  # the fix works
    for name in ("os.path:join", "manifold_probe.models.students.conv:conv4", "manifold_probe.files:write_whole"):
        torch.save(record(state, model=f"python:{name}"), "c.pt")
        with pytest.raises(InputError, match="which is not run because a file names it"):
            load_model("c.pt")
    torch.save(record(state, arguments={"name": "conv4", "more": {"file": "evil.pt"}}), "c.pt")
    with pytest.raises(InputError, match="argument 'more' is not a number, boolean or string"):
        load_model("c.pt")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": None}, "is not a checkpoint of probe distill"),
        ({"format": "manifold-probe/checkpoint/2"}, "has format 'manifold-probe/checkpoint/2', this version reads"),
        ({"model": None}, "key 'model' is missing or not of type str"),
        ({"state": None}, "key 'state' is missing or not of type dict"),
        ({"model": "resnet18"}, "model resnet18: is not a model"),
        ({"model": "c.pt"}, "c.pt: is a checkpoint;"),
        ({"arguments": {"name": "conv5"}}, "no student is called 'conv5'"),
        ({"arguments": {"name": "conv4", "channels": 1}}, f"c.pt: does not fit {CONV4}: of "),
        ({"arguments": {"name": "conv4", "depth": 4}}, "student conv4 takes no argument 'depth'"),
        ({"arguments": [4]}, "key 'arguments' is missing or not of type dict"),
        ({"preprocessing": {"size": 8}}, "preprocessing: mean is missing"),
        ({"preprocessing": "no"}, "key 'preprocessing' is missing or not of type dict"),
    ],
)
def test_bad_checkpoints(conv4: State, tiny: Path, changes: dict[str, Any], words: str) -> None:
    torch.save(record(conv4, **changes), "c.pt")
    with pytest.raises(InputError) as caught:
        load_model("c.pt")
    assert str(caught.value).startswith("c.pt: ")
    assert words in str(caught.value)
