"""Load a model from its source, with weights and fingerprint, and run it without gradients."""

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
    """A module in eval mode with float32 weights, the kind of data it takes, and the fingerprint of its weights.

    ``preprocessing`` is None if the model has none. Two modules with the same weights and different architectures have
    the same fingerprint; ``architecture`` distinguishes them, if their repr or configuration differs. For the last five
    fields see `Built`.
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
        """The model's source, or only its kind if the source is a file or folder, because these may be moved."""
        if self.source.kind in ("timm", "python") or not os.path.exists(self.source.name):
            return self.source.text
        return self.source.kind

    @property
    def architecture(self) -> str:
        """SHA-256 of the module's repr and of the transformers configurations in it, without paths and versions."""
        configs: list[Any] = [getattr(layer, "config", None) for layer in self.module.modules()]
        unique = {id(config): config for config in configs if callable(getattr(config, "to_dict", None))}
        records = [_stable(config.to_dict()) for config in unique.values()]
        text = json.dumps([repr(self.module), records], sort_keys=True, default=str)
        text = re.sub(r" at 0x[0-9a-fA-F]+", "", text)  # addresses differ between runs
        return hashlib.sha256(text.encode()).hexdigest()

    def notes(self, pooling: str | None) -> list[str]:
        """Notes on the features: weights that are not used or missing, and the projection."""
        kind, notes = type(self.module).__name__, []
        if self.unused:
            notes.append(f"{len(self.unused):,} weights in its file are not used by {kind} ({_first(self.unused)})")
        if self.missing:
            notes.append(
                f"{len(self.missing):,} weights are not in its file and are random; the last hidden state does not "
                f"depend on them ({_first(self.missing)})"
            )
        if self.unprojected:
            notes.append(f"{kind} has no projection: its features are hidden states, not the joint embedding")
        if self.projected and pooling not in (None, "projection"):
            notes.append(
                f"its features are hidden states before the projection, because of --pool {pooling}; leave --pool "
                "out for the projected embedding"
            )
        return [f"{self.source.text}: {note}" for note in notes]

    @property
    def channels(self) -> int:
        """Channels of its input images: 1 if its first convolution has one input channel, else 3."""
        first = next((layer for layer in self.module.modules() if isinstance(layer, torch.nn.Conv2d)), None)
        return 1 if first is not None and first.in_channels == 1 else 3


def load_model(text: str, weights: str | None = None, takes: str | None = None) -> Model:
    """The model of a source (see `parse_source`), with the weights of a file if one is given.

    ``takes``, "images" or "texts", picks the side of a model that has both, such as CLIP; by default images.

    Loading folders and checkpoints needs no network, and never runs code in them. A callable that draws its weights
    without setting a seed draws the same weights every time.

    Raises
    ------
    InputError
        An unknown source, a package that is not installed, or weights that do not fit: one line with the fix.
    """
    source = parse_source(text)
    # prints of a model's code go to stderr, because stdout is for the result
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

    ``pooling`` decides between a projected embedding and the hidden states before it: see `one_tensor`. There are no
    gradients, and the output is float32 inside ``torch.autocast`` too.

    Raises
    ------
    InputError
        As in `returned` and `one_tensor`.
    """
    return one_tensor(returned(model, batch), model.source.text, pooling).float()


def returned(model: Model, batch: Any) -> Any:
    """The module's output for a prepared batch, without gradients, of any type.

    If memory runs out, torch's error is raised, so that the caller can halve the batch.

    Raises
    ------
    InputError
        The batch does not fit the model, or the model's code failed.
    """
    try:
        with torch.no_grad():
            return call(model, batch)
    except (Exception, SystemExit) as error:  # a user's module may raise anything
        # CUDA and memory errors are not caused by the input
        is_device_error = isinstance(error, MemoryError) or any(
            word in str(error) for word in ("memory", "CUDA", "cuda")
        )
        if isinstance(error, InputError) or is_device_error:
            raise
        fix = "check --size, --mean and --std" if model.takes == "images" else "check the model and its tokenizer"
        raise bad(model.source.text, f"cannot take {describe(batch)} ({reason(error)}); {fix}") from error


def call(model: Model, batch: Any) -> Any:
    """The module's output for a prepared batch, with gradients if they are enabled."""
    run = model.run or model.module
    return run(**batch) if isinstance(batch, Mapping) else run(batch)


SAMPLE_TEXT = "a b c d e f g h"


def check_pooling(model: Model, pooling: str | None) -> None:
    """Refuse the pooling "cls" for a text model whose first token does not depend on the rest of the text, and no
    pooling for a text model with an output per token.

    The first token does not depend on the rest in causal models (GPT-2, LLaMA, CLIP's text side), which is tested on
    one text. It does not stand for the text either if the tokenizer adds no first token.

    Raises
    ------
    InputError
        With the reason, and the poolings that fit.
    """
    preprocessing = model.preprocessing
    if pooling not in (None, "cls") or not isinstance(preprocessing, TextPreprocessing):
        return
    batch = preprocessing.collate([SAMPLE_TEXT])
    if pooling is None and one_tensor(returned(model, batch), model.source.text).ndim == 2:
        return
    problem = _cls_problem(model, preprocessing, batch)
    fix = "choose --pool last or --pool mean" if problem else "choose --pool cls, --pool last or --pool mean"
    if pooling is None:
        raise bad(model.source.text, f"returns a vector for every token; {fix}")
    if problem:
        raise bad(model.source.text, f"--pool cls: {problem}; {fix}")


def _cls_problem(model: Model, preprocessing: TextPreprocessing, batch: Any) -> str:
    """The reason why the first token of a text does not represent it; empty if it may."""
    if _is_causal(model, batch):
        return "it is a causal model, whose first token does not depend on the others and is similar for all texts"
    return "" if preprocessing.has_first_token else "its tokenizer adds no CLS token before a text"


def _is_causal(model: Model, batch: Any) -> bool:
    """Whether the state of a text's first token stays the same if all later tokens are replaced."""
    ids = batch.get("input_ids")
    if ids is None:
        return False
    others = torch.cat([ids[:, :1], torch.where(ids[:, 1:] > 0, ids[:, 1:] - 1, 1)], 1)
    before, after = (token_states(returned(model, {**batch, "input_ids": tokens})) for tokens in (ids, others))
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
    """The model of a trainer's checkpoint: {"format", "model", "arguments", "state", "preprocessing"}, and for its
    head: {"head": {"name", "state"}, "pooling"}.

    The file may come from anyone, so the only Python code that it may name is that of the built-in students.
    """
    path = source.name
    loaded = read_plain(path)
    if not isinstance(loaded, dict) or "format" not in loaded:
        raise bad(path, "is not a checkpoint of probe distill; give the model's source, and this file with --weights")
    if loaded["format"] != CHECKPOINT:
        raise bad(path, f"has format {loaded['format']!r}, this version reads {CHECKPOINT!r}; use another version")
    record: dict[str, Any] = {"arguments": {}, "preprocessing": {}} | loaded
    for key, kind in (("model", str), ("state", dict), ("arguments", dict), ("preprocessing", dict)):
        if not isinstance(record.get(key), kind):
            raise bad(path, f"key {key!r} is missing or not of type {kind.__name__}; save the checkpoint again")
    try:
        inner = parse_source(record["model"])
        if inner.kind == "checkpoint":
            raise bad(record["model"], "is a checkpoint; a checkpoint must name a model's source")
        if inner.kind == "python" and inner.name != BUILT_IN:
            fix = f"give it with --model 'python:...' --weights {path}"
            raise bad(
                record["model"], f"is Python code, which is not run because a file names it; if you trust it, {fix}"
            )
        inner = replace(inner, arguments=_safe_arguments(inner.arguments | record["arguments"]))
        built = _build(inner, pretrained=False)
        if record["preprocessing"]:
            built = built._replace(preprocessing=ImagePreprocessing.from_record(record["preprocessing"]))
    except InputError as error:
        raise bad(path, f"model {error}") from error
    fit(built.module, record["state"], path, record["model"])
    return _with_head(built, path, record) if source.output == "head" else built


def _with_head(built: Built, path: str, record: dict[str, Any]) -> Built:
    """The backbone with its trained head."""
    head, pooling = record.get("head"), record.get("pooling")
    if not isinstance(head, dict) or not isinstance(head.get("state"), dict) or not isinstance(head.get("name"), str):
        raise bad(path, f"holds no head; give {path} without ::head")
    run = built.run or built.module

    def embed(*inputs: Any, **named: Any) -> torch.Tensor:
        return pool(one_tensor(run(*inputs, **named), path, pooling), pooling, named.get("attention_mask"))

    module = saved_head(head["name"], head["state"])
    fit(module, head["state"], path, f"a {head['name']} head")
    return built._replace(module=Headed(built.module, module, embed), run=None)


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _safe_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments in a checkpoint, without those of timm that would read weights from other files."""
    for name, value in arguments.items():
        if not isinstance(name, str) or not isinstance(value, int | float | str):
            raise InputError(f"argument {name!r} is not a number, boolean or string; save the checkpoint again")
    return {k: v for k, v in arguments.items() if not k.startswith(("checkpoint", "pretrained"))}


def _stable(value: Any) -> Any:
    """A configuration without the fields that change if a folder is moved, converted or saved by another version."""
    if isinstance(value, Mapping):
        volatile = ("transformers_version", "dtype", "torch_dtype")
        return {str(k): _stable(v) for k, v in value.items() if k not in volatile and not str(k).startswith("_")}
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return [_stable(item) for item in value] if isinstance(value, list | tuple) else value
