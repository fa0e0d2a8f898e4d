"""A model from its source: built, given its weights, fingerprinted, and run without gradients."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from manifold_probe.errors import InputError
from manifold_probe.models.build import Built, from_python, from_timm, reason
from manifold_probe.models.heads import Headed, saved_head
from manifold_probe.models.hub import from_hf, from_st, renamed
from manifold_probe.models.outputs import describe, one_tensor, token_states
from manifold_probe.models.pooling import pool
from manifold_probe.models.preprocessing import ImagePreprocessing, TextPreprocessing
from manifold_probe.models.source import BUILT_IN, CHECKPOINT, ModelSource, parse_source
from manifold_probe.models.weights import fingerprint, fit, read_plain, read_state
from manifold_probe.spaces.checks import bad


@dataclass
class Model:
    """A module in eval mode with float32 weights, what it takes, and the fingerprint of its weights.

    ``preprocessing`` is None where the model brings none. Two modules with the same weights and another architecture
    share a fingerprint; ``architecture`` distinguishes them, as far as what a module prints and its configuration do.
    The last five: see `Built`.
    """

    module: torch.nn.Module
    takes: Literal["images", "texts"]
    preprocessing: ImagePreprocessing | TextPreprocessing | None
    source: ModelSource
    fingerprint: str
    run: Callable[..., Any] | None = None
    unused: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    projected: bool = False
    unprojected: bool = False

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

    def notes(self, pooling: str | None) -> list[str]:
        """What a reader of its features should know: weights that are not used or not there, and the projection."""
        kind, found = type(self.module).__name__, []
        if self.unused:
            found.append(f"{len(self.unused):,} weights in its file are not used by {kind} ({_few(self.unused)})")
        if self.missing:
            found.append(
                f"{len(self.missing):,} weights are not in its file and were drawn at random, which the last "
                f"hidden state does not see ({_few(self.missing)})"
            )
        if self.unprojected:
            found.append(f"{kind} has no projection: its features are hidden states, not the joint embedding")
        if self.projected and pooling not in (None, "projection"):
            found.append(
                f"its features are hidden states before the projection, as --pool {pooling} asks; leave --pool "
                "out for the projected embedding"
            )
        return [f"{self.source.text}: {each}" for each in found]

    @property
    def channels(self) -> int:
        """Channels of the pictures it takes: 1 where its first convolution says so, else 3."""
        first = next((each for each in self.module.modules() if isinstance(each, torch.nn.Conv2d)), None)
        return 1 if first is not None and first.in_channels == 1 else 3


def load_model(text: str, weights: str | None = None, takes: str | None = None) -> Model:
    """The model that a source names (`parse_source`), with the weights of a file where one is given.

    ``takes``, "images" or "texts", picks the side of a model that has both, such as CLIP; images where it is None.

    Loading folders and checkpoints needs no network, and never runs code that lies in them. A callable that draws its
    weights without a seed of its own draws the same ones every time.

    Raises
    ------
    InputError
        An unknown source, a package that is not installed, or weights that do not fit: one line with the fix.
    """
    source = parse_source(text)
    # What a model's own code prints goes to stderr: stdout belongs to the result.
    with torch.random.fork_rng(devices=[]), redirect_stdout(sys.stderr):
        torch.default_generator.manual_seed(0)
        built = _build(source, weights is None, takes)
    if weights is not None:
        state = read_state(weights)
        fit(built.module, renamed(built.module, state) if source.kind == "hf" else state, weights, text)
    module = built.module.float().eval()
    return Model(module, built.takes, built.preprocessing, source, fingerprint(module), *built[3:])


def forward(model: Model, batch: Any, pooling: str | None = None) -> torch.Tensor:
    """The model's output for a prepared batch, float32: (B, D), tokens (B, N, D) or maps (B, C, H, W).

    ``pooling`` decides between a projected embedding and the hidden states before it: see `one_tensor`. No gradient is
    kept, and inside ``torch.autocast`` the output is float32 all the same.

    Raises
    ------
    InputError
        As in `returned`, or it is not clear which tensor is meant in what the model returned.
    """
    return one_tensor(returned(model, batch), model.source.text, pooling).float()


def returned(model: Model, batch: Any) -> Any:
    """What the module returns for a prepared batch, without gradients, of any type.

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
        fix = "check --size, --mean and --std" if model.takes == "images" else "check the model and its tokenizer"
        raise bad(model.source.text, f"cannot take {describe(batch)} ({reason(error)}); {fix}") from error


def call(model: Model, batch: Any) -> Any:
    """What the module returns for a prepared batch, with gradients where they are on."""
    run = model.run or model.module
    return run(**batch) if isinstance(batch, Mapping) else run(batch)


SOME_TEXT = "a b c d e f g h"


def check_pooling(model: Model, pooling: str | None) -> None:
    """Refuse the pooling "cls" for texts whose first token says nothing about the rest, and name what fits where no
    pooling is given and the output of texts needs one.

    The first token says nothing in causal models (GPT-2, LLaMA, CLIP's text side), where a token sees only those before
    it, which is tried out on one text; and where the tokenizer has no token to put first.

    Raises
    ------
    InputError
        With the reason, and the poolings that fit.
    """
    preprocessing = model.preprocessing
    if pooling not in (None, "cls") or not isinstance(preprocessing, TextPreprocessing):
        return
    batch = preprocessing.collate([SOME_TEXT])
    if pooling is None and one_tensor(returned(model, batch), model.source.text).ndim == 2:
        return
    why = _unfit_cls(model, preprocessing, batch)
    fix = "choose --pool last or --pool mean" if why else "choose --pool cls, --pool last or --pool mean"
    if pooling is None:
        raise bad(model.source.text, f"returns a vector for every token; {fix}")
    if why:
        raise bad(model.source.text, f"--pool cls: {why}; {fix}")


def _unfit_cls(model: Model, preprocessing: TextPreprocessing, batch: Any) -> str:
    """Why the state of the first token of a text does not stand for it; empty where it may."""
    if _sees_only_itself(model, batch):
        return "it is a causal model: the first token sees none of the others, and is much the same for all texts"
    return "" if preprocessing.has_first_token else "its tokenizer puts no CLS token before a text"


def _sees_only_itself(model: Model, batch: Any) -> bool:
    """Whether the state of a text's first token stays as it is when all tokens behind it are replaced."""
    ids = batch["input_ids"]
    others = torch.cat([ids[:, :1], torch.where(ids[:, 1:] > 0, ids[:, 1:] - 1, 1)], 1)
    before, after = (token_states(returned(model, {**batch, "input_ids": each})) for each in (ids, others))
    if before is None or after is None or before.shape[1] < 2:
        return False
    return torch.allclose(before[:, 0], after[:, 0], rtol=0, atol=1e-5 * float(before.abs().max()))


def _build(source: ModelSource, pretrained: bool, takes: str | None = None) -> Built:
    if source.kind == "checkpoint":
        return _from_checkpoint(source)
    if source.kind == "python":
        return from_python(source)
    if source.kind == "st":
        return from_st(source)
    return from_timm(source, pretrained) if source.kind == "timm" else from_hf(source, pretrained, takes)


def _from_checkpoint(source: ModelSource) -> Built:
    """What a checkpoint of our trainer describes: {"format", "model", "arguments", "state", "preprocessing"}, and what
    its head needs: {"head": {"name", "state"}, "pooling"}.

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
            fix = f"name it yourself: --model 'python:...' --weights {path}"
            raise bad(record["model"], f"is code, which no file may have run; if you trust it, {fix}")
        inner = replace(inner, arguments=_harmless(inner.arguments | record["arguments"]))
        built = _build(inner, pretrained=False)
        if record["preprocessing"]:
            built = built._replace(preprocessing=ImagePreprocessing.from_record(record["preprocessing"]))
    except InputError as error:
        raise bad(path, f"model {error}") from error
    fit(built.module, record["state"], path, record["model"])
    return _with_head(built, path, record) if source.output == "head" else built


def _with_head(built: Built, path: str, record: dict[str, Any]) -> Built:
    """The backbone with the head that was trained on it."""
    head, pooling = record.get("head"), record.get("pooling")
    if not isinstance(head, dict) or not isinstance(head.get("state"), dict) or not isinstance(head.get("name"), str):
        raise bad(path, f"holds no head; give {path} without ::head")
    run = built.run or built.module

    def embed(*inputs: Any, **named: Any) -> torch.Tensor:
        return pool(one_tensor(run(*inputs, **named), path, pooling), pooling, named.get("attention_mask"))

    module = saved_head(head["name"], head["state"])
    fit(module, head["state"], path, f"a {head['name']} head")
    return built._replace(module=Headed(built.module, module, embed), run=None)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


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
