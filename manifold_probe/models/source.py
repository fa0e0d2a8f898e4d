"""The source of a model as one string: ``KIND:NAME?key=value&key=value``, or a checkpoint of the trainer.

A checkpoint is ``FILE.pt``, or the folder of a run with a `STUDENT`; with ``::head`` appended it is the backbone and
the head on it. Nothing is imported or downloaded before `load_model`.
"""

from __future__ import annotations

import os
import pickle
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from manifold_probe.spaces.checks import bad

CHECKPOINT = "manifold-probe/checkpoint/1"
BUILT_IN = "manifold_probe.models.students:make"  # the only Python code that a checkpoint may name
EXAMPLES = {
    "timm": "timm:vit_small_patch14_dinov2.lvd142m",
    "hf": "hf:facebook/dinov2-small or hf:FOLDER",
    "st": "st:all-MiniLM-L6-v2 or st:FOLDER",
    "python": "python:package.module:callable?seed=1",
}
SUFFIXES = (".pt", ".pth")
STUDENT = "student.pt"  # in the folder of a finished run
OUTPUTS = ("backbone", "head")
Value = int | float | bool | str


@dataclass(frozen=True)
class ModelSource:
    """A parsed model source: ``kind`` is a key of `EXAMPLES` or "checkpoint", ``text`` is the string as typed.

    ``output`` is "backbone" or "head", for a checkpoint.
    """

    kind: str
    name: str
    arguments: dict[str, Value]
    text: str
    output: str = "backbone"


def parse_source(text: str) -> ModelSource:
    """The parts of a model source.

    Raises
    ------
    InputError
        An unknown kind, a missing part or an argument that is not key=value; the message shows the form.

    >>> parse_source("python:tinymodel:make?seed=1&width=0.5&act=relu").arguments
    {'seed': 1, 'width': 0.5, 'act': 'relu'}
    """
    kind, colon, rest = text.partition(":")
    if kind not in EXAMPLES or not colon:
        path, output = _checkpoint(text)
        if path is None:
            run, colons, requested = text.rpartition("::")
            if colons and _checkpoint(run)[0] is not None:
                raise bad(text, f"has no output '{requested}'; give {run} for the backbone or {run}::head for the head")
            raise bad(text, f"is not a model; {_forms(kind if colon else '')}")
        return ModelSource("checkpoint", path, {}, text, output)
    name, question_mark, query = rest.partition("?")
    if not name:
        raise bad(text, f"has no model after '{kind}:'; write {EXAMPLES[kind]}")
    if kind == "python":
        _check_python(text, name)
    return ModelSource(kind, name, _arguments(text, query) if question_mark else {}, text)


def is_source(text: str) -> bool:
    """Whether a string names a model and not a feature file: a known kind, or a checkpoint of the trainer.

    Reads only the structure of a .pt; a damaged one is not a model, and reading it as features raises the error. A
    run's folder counts as features here; its ``student.pt`` is the model.

    >>> is_source("timm:resnet18"), is_source("features.npy")
    (True, False)
    """
    return has_kind(text) or _is_checkpoint(_split(text)[0])


def names_model(text: str) -> bool:
    """Whether a string can name a model where only models are allowed: a known kind, a .pt or a run's folder.

    >>> names_model("runs/a/student.pt::head"), names_model("vit-tiny")
    (True, False)
    """
    return has_kind(text) or _checkpoint(text)[0] is not None


def has_kind(text: str) -> bool:
    """Whether a string starts with a known kind of model; no file is read.

    >>> has_kind("python:nets:make?seed=1"), has_kind("checkpoint.pt")
    (True, False)
    """
    kind, colon, _ = text.partition(":")
    return bool(colon) and kind in EXAMPLES


def _split(text: str) -> tuple[str, str]:
    path, colons, output = text.rpartition("::")
    return (path, output) if colons and output in OUTPUTS else (text, OUTPUTS[0])


def _checkpoint(text: str) -> tuple[str | None, str]:
    """(the file of a checkpoint, if the string names one, else None; its output)."""
    path, output = _split(text)
    if os.path.isfile(os.path.join(path, STUDENT)):
        path = os.path.join(path, STUDENT)
    return path if Path(path).suffix.lower() in SUFFIXES else None, output


def _is_checkpoint(path: str) -> bool:
    if Path(path).suffix.lower() not in SUFFIXES or not os.path.isfile(path):
        return False
    import torch

    try:
        with open(path, "rb") as file:
            if file.read(4) != b"PK\x03\x04":  # the trainer writes the zip format; others cannot be memory-mapped
                return False
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError):
        return False
    return isinstance(loaded, dict) and str(loaded.get("format", "")).startswith("manifold-probe/checkpoint/")


def _forms(kind: str) -> str:
    near = get_close_matches(kind.lower(), EXAMPLES, 1)
    meant = f"did you mean {near[0]}:? " if near else ""
    return f"{meant}write {', '.join(EXAMPLES.values())}, a checkpoint FILE.pt, or the folder of a finished run"


def _check_python(text: str, name: str) -> None:
    module, colon, function = name.partition(":")
    if not colon or not function:
        raise bad(text, f"has no callable; write {EXAMPLES['python']}")
    if not all(part.isidentifier() for part in [*module.split("."), *function.split(".")]):
        raise bad(text, f"is not a dotted module and a callable; write {EXAMPLES['python']}")


def _arguments(text: str, query: str) -> dict[str, Value]:
    arguments: dict[str, Value] = {}
    for part in query.split("&"):
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier():
            raise bad(text, f"argument {part!r} is not key=value; write ?key=value&key=value")
        if key in arguments:
            raise bad(text, f"gives {key} twice; give it once")
        arguments[key] = _value(value)
    return arguments


def _value(text: str) -> Value:
    # int() and float() would also accept "1_0", "nan" and "infinity", which may be names
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"[+-]?[0-9]+", text):
        return int(text)
    if re.fullmatch(r"[+-]?([0-9]+\.[0-9]*|\.?[0-9]+)([eE][+-]?[0-9]+)?", text):
        return float(text)
    return text
