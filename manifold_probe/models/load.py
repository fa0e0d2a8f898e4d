"""A model from its source: built, given its weights, fingerprinted, and run without gradients."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from manifold_probe.errors import InputError
from manifold_probe.models.build import Built, from_python, from_timm, reason
from manifold_probe.models.hub import from_hf, from_st, renamed
from manifold_probe.models.outputs import describe, one_tensor
from manifold_probe.models.preprocessing import ImagePreprocessing, TextPreprocessing
from manifold_probe.models.source import BUILT_IN, CHECKPOINT, ModelSource, parse_source
from manifold_probe.models.weights import fingerprint, fit, read_plain, read_state
from manifold_probe.spaces.checks import bad


@dataclass
class Model:
    """A module in eval mode with float32 weights, what it takes, and the fingerprint of its weights.

    ``preprocessing`` is None where the model brings none. Two modules with the same weights and another architecture
    share a fingerprint; ``architecture`` tells them apart, as far as what a module prints and its configuration do.
    """

    module: torch.nn.Module
    takes: Literal["images", "texts"]
    preprocessing: ImagePreprocessing | TextPreprocessing | None
    source: ModelSource
    fingerprint: str

    @property
    def identity(self) -> str:
        """What the model is called: its source, or, where that is a file or folder, which may be moved, its kind."""
        if self.source.kind in ("timm", "python") or not os.path.exists(self.source.name):
            return self.source.text
        return self.source.kind

    @property
    def architecture(self) -> str:
        """SHA-256 of how the module prints and of the configurations of transformers in it, without what says where
        it came from, and with which library.
        """
        held: list[Any] = [getattr(each, "config", None) for each in self.module.modules()]
        found = {id(config): config for config in held if callable(getattr(config, "to_dict", None))}
        configs = [_lasting(config.to_dict()) for config in found.values()]
        written = json.dumps([repr(self.module), configs], sort_keys=True, default=str)
        written = re.sub(r" at 0x[0-9a-fA-F]+", "", written)  # addresses change from run to run
        return hashlib.sha256(written.encode()).hexdigest()

    @property
    def channels(self) -> int:
        """Channels of the pictures it takes: 1 where its first convolution says so, else 3."""
        first = next((each for each in self.module.modules() if isinstance(each, torch.nn.Conv2d)), None)
        return 1 if first is not None and first.in_channels == 1 else 3


def load_model(text: str, weights: str | None = None) -> Model:
    """The model that a source names (`parse_source`), with the weights of a file where one is given.

    Loading folders and checkpoints needs no network, and never runs code that lies in them. A callable that draws its
    weights without a seed of its own draws the same ones every time.

    Raises
    ------
    InputError
        An unknown source, a package that is not installed, or weights that do not fit: one line with the mend.
    """
    source = parse_source(text)
    # What a model's own code prints goes to stderr: stdout belongs to the result.
    with torch.random.fork_rng(devices=[]), redirect_stdout(sys.stderr):
        torch.default_generator.manual_seed(0)
        built = _build(source, pretrained=weights is None)
    if weights is not None:
        state = read_state(weights)
        fit(built.module, renamed(built.module, state) if source.kind == "hf" else state, weights, text)
    module = built.module.float().eval()
    return Model(module, built.takes, built.preprocessing, source, fingerprint(module))


def forward(model: Model, batch: Any) -> torch.Tensor:
    """The model's output for a prepared batch, float32: (B, D), tokens (B, N, D) or maps (B, C, H, W).

    No gradient is kept, and inside ``torch.autocast`` the output is float32 all the same.

    Raises
    ------
    InputError
        As in `returned`, or no single tensor can be told from what the model returned.
    """
    return one_tensor(returned(model, batch), model.source.text).float()


def returned(model: Model, batch: Any) -> Any:
    """What the module returns for a prepared batch, without gradients, whatever it is.

    Running out of memory raises what torch raises, so that the caller can halve the batch.

    Raises
    ------
    InputError
        The batch does not fit the model, or its own code failed.
    """
    try:
        with torch.no_grad():
            return call(model, batch)
    except (Exception, SystemExit) as error:  # a user's own module may raise anything
        # CUDA's errors and memory's are no fault of the input
        shortage = isinstance(error, MemoryError) or any(word in str(error) for word in ("memory", "CUDA", "cuda"))
        if isinstance(error, InputError) or shortage:
            raise
        mend = "check --size, --mean and --std" if model.takes == "images" else "check the model and its tokenizer"
        raise bad(model.source.text, f"cannot take {describe(batch)} ({reason(error)}); {mend}") from error


def call(model: Model, batch: Any) -> Any:
    """What the module returns for a prepared batch, with gradients where they are on."""
    if model.source.kind == "st":
        return model.module({"modality": "text", **batch})  # a copy: its modules write into what they get
    return model.module(**batch) if isinstance(batch, Mapping) else model.module(batch)


def _build(source: ModelSource, pretrained: bool) -> Built:
    if source.kind == "checkpoint":
        return _from_checkpoint(source)
    if source.kind == "python":
        return from_python(source)
    if source.kind == "st":
        return from_st(source)
    return from_timm(source, pretrained) if source.kind == "timm" else from_hf(source, pretrained)


def _from_checkpoint(source: ModelSource) -> Built:
    """What a checkpoint of our trainer describes: {"format", "model", "arguments", "state", "preprocessing"}.

    The file is data and may come from anyone: of Python it may name our own students alone.
    """
    path = source.name
    loaded = read_plain(path)
    if not isinstance(loaded, dict) or "format" not in loaded:
        raise bad(path, "is no checkpoint of ours; name what builds the model and give this file with --weights")
    if loaded["format"] != CHECKPOINT:
        raise bad(path, f"has format {loaded['format']!r}, this version reads {CHECKPOINT!r}; use another version")
    record: dict[str, Any] = {"arguments": {}, "preprocessing": {}} | loaded
    for key, kind in (("model", str), ("state", dict), ("arguments", dict), ("preprocessing", dict)):
        if not isinstance(record.get(key), kind):
            raise bad(path, f"key {key!r} is missing or no {kind.__name__}; save the checkpoint again")
    try:
        inner = parse_source(record["model"])
        if inner.kind == "checkpoint":
            raise bad(record["model"], "is a checkpoint itself; name what builds the model")
        if inner.kind == "python" and inner.name != BUILT_IN:
            mend = f"name it yourself: --model 'python:...' --weights {path}"
            raise bad(record["model"], f"is code, which no file may have run; if you trust it, {mend}")
        inner = replace(inner, arguments=_harmless(inner.arguments | record["arguments"]))
        built = _build(inner, pretrained=False)
        if record["preprocessing"]:
            built = built._replace(preprocessing=ImagePreprocessing.from_record(record["preprocessing"]))
    except InputError as error:
        raise bad(path, f"model {error}") from error
    fit(built.module, record["state"], path, record["model"])
    return built


def _harmless(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that a checkpoint records, without those of timm that would read weights from further files."""
    for name, value in arguments.items():
        if not isinstance(name, str) or not isinstance(value, int | float | str):
            raise InputError(f"argument {name!r} is no number, truth value or text; save the checkpoint again")
    return {k: v for k, v in arguments.items() if not k.startswith(("checkpoint", "pretrained"))}


def _lasting(value: Any) -> Any:
    """A configuration without what changes as a folder is moved, converted or saved by another version."""
    if isinstance(value, Mapping):
        passing = ("transformers_version", "dtype", "torch_dtype")
        return {str(k): _lasting(v) for k, v in value.items() if k not in passing and not str(k).startswith("_")}
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return [_lasting(each) for each in value] if isinstance(value, list | tuple) else value
