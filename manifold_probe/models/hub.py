"""Modules from transformers and sentence-transformers, by hub name or from a local folder without network.

Code stored with a model is never run (trust_remote_code=False).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

from manifold_probe.models.build import Built, loading, needed
from manifold_probe.models.preprocessing import ImagePreprocessing, TextPreprocessing
from manifold_probe.models.source import ModelSource
from manifold_probe.spaces.checks import bad

LIBRARIES = ("transformers", "sentence_transformers", "huggingface_hub")
SAMPLE_SIZES = ((61, 83), (90, 47))  # heights and widths, odd and even, tall and wide
# architectures that AutoModel would load as another class: towers with their projection, single encoders, DPR
SPECIAL_CLASSES = ("WithProjection", "EncoderModel", "ContextEncoder", "QuestionEncoder")
POOLED_EMBEDDING = ("siglip", "siglip2")  # models whose pooled output is the embedding, without a projection
UNLIMITED = 10**6  # tokenizers without a limit state about 1e30


def from_hf(source: ModelSource, pretrained: bool, takes: str | None = None) -> Built:
    """The model of a folder or hub name, and its image processor or tokenizer.

    - A model with a projection gives the projected embedding (``image_embeds``, ``text_embeds``), SigLIP its pooled
      output; see `one_tensor` for when hidden states are used instead.
    - A model of images and texts (CLIP, SigLIP, ALIGN, ...) is run on the side ``takes``, "images" or "texts"; by
      default on images.
    - Of an encoder-decoder (T5, BART, Marian, ...) only the encoder is run.

    With ``pretrained`` False the model is built from the configuration, with random weights.

    Raises
    ------
    InputError
        An unknown name or folder, missing weights, or a model of neither images nor texts.
    """
    transformers = needed("transformers", "text", source)
    name, options, fix = _located(source)
    with _quiet(), loading(source, fix):
        config = transformers.AutoConfig.from_pretrained(name, **options)
        module, report = _loaded(transformers, name, config, options, pretrained)
        missing = _check_complete(source, report)
    run, reads = _entry(source, module, config, takes)
    kind = type(module).__name__
    facts: dict[str, Any] = {
        "run": run,
        "unused": tuple(sorted(report.get("unexpected_keys", ()))),
        "missing": missing,
        "projected": isinstance(run, partial) or kind.endswith("WithProjection"),
        "unprojected": run is None and hasattr(transformers, f"{kind}WithProjection"),
    }
    if reads == "pixel_values":
        return Built(module, "images", _image_preprocessing(transformers, name, options), **facts)
    if reads != "input_ids":
        raise bad(source.text, f"reads {reads}; models of images (pixel_values) and texts (input_ids) are supported")
    with _quiet(), loading(source, "the model's folder must hold its tokenizer: tokenizer.save_pretrained(folder)"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, **options)
        if not tokenizer.get_vocab().keys() - set(tokenizer.all_special_tokens):
            raise bad(
                source.text,
                "has no vocabulary; save its tokenizer in the same folder: tokenizer.save_pretrained(folder)",
            )
    return Built(module, "texts", _text_preprocessing(tokenizer, getattr(config, "text_config", config)), **facts)


def _loaded(
    transformers: Any, name: str, config: Any, options: dict[str, Any], pretrained: bool
) -> tuple[Any, dict[str, Any]]:
    """The module, and transformers' report on its weights.

    The class is AutoModel's choice. It is the class named in the configuration if AutoModel knows none, or if it is one
    of `SPECIAL_CLASSES` or an encoder-decoder; and the class with a projection if the file holds its weights.
    """
    class_name = next(iter(getattr(config, "architectures", None) or ()), "")
    by_name = type(config) not in transformers.MODEL_MAPPING or getattr(config, "is_encoder_decoder", False)
    named: Any = getattr(transformers, class_name, None) if by_name or class_name.endswith(SPECIAL_CLASSES) else None
    if not (isinstance(named, type) and issubclass(named, transformers.PreTrainedModel)):  # a file may name anything
        named = None
    if not pretrained:
        if named is None:
            return transformers.AutoModel.from_config(config, trust_remote_code=False), {}
        return named(config), {}
    # weights of another shape are accepted here, and refused with their name in `_check_complete`
    options = {**options, "config": config, "output_loading_info": True, "ignore_mismatched_sizes": True}
    module, report = (named or transformers.AutoModel).from_pretrained(name, **options)
    projected = getattr(transformers, f"{type(module).__name__}WithProjection", None)
    if projected is not None and any("projection" in key for key in report["unexpected_keys"]):
        module, report = projected.from_pretrained(name, **options)
    return module, report


def _entry(source: ModelSource, module: Any, config: Any, takes: str | None) -> tuple[Callable[..., Any] | None, str]:
    """(what to call instead of the module, or None; the name of its input)."""
    if hasattr(config, "vision_config") and hasattr(config, "text_config"):
        if not (hasattr(module, "get_image_features") and hasattr(module, "get_text_features")):
            raise bad(source.text, "holds an image and a text model; save the one you need in a separate folder")
        if takes == "texts":
            return partial(_joint, module.get_text_features, "text_embeds"), "input_ids"
        return partial(_joint, module.get_image_features, "image_embeds"), "pixel_values"
    reads = str(module.main_input_name)
    if str(getattr(config, "model_type", "")).startswith(POOLED_EMBEDDING):
        return partial(_joint, module, "image_embeds" if reads == "pixel_values" else "text_embeds"), reads
    if getattr(config, "is_encoder_decoder", False):
        return module.get_encoder(), reads
    return None, reads


def _joint(call: Callable[..., Any], name: str, *inputs: Any, **named: Any) -> Any:
    """The result of ``call``, with its pooled output, which is the embedding, under ``name``."""
    output = call(*inputs, **named)
    if isinstance(output, torch.Tensor):
        return {name: output}
    pooled = output.get("pooler_output")
    return output if pooled is None else {**output, name: pooled}


def from_st(source: ModelSource) -> Built:
    """A SentenceTransformer, with its tokenizer, maximal length and default prompt."""
    sentence_transformers = needed("sentence_transformers", "text", source)
    name, options, fix = _located(source)
    with _quiet(), loading(source, fix):
        module = sentence_transformers.SentenceTransformer(name, device="cpu", **options)
        prompt = module.prompts.get(module.default_prompt_name or "") or None
        facts = _facts(module.tokenizer, module.max_seq_length) | {"prompt": prompt}
    tokenize = partial(_sentence_batch, module, prompt)
    preprocessing = TextPreprocessing(tokenize, facts, _first_token(module.tokenizer))
    return Built(module, "texts", preprocessing, run=partial(_sentences, module))


def _sentences(module: Any, **batch: Any) -> Any:
    return module({"modality": "text", **batch})  # a copy, because its modules write into the batch


def renamed(module: Any, state: dict[str, Any]) -> dict[str, Any]:
    """A state dict with the module's names: files of transformers may have names of old versions.

    A state dict that does not fit is returned unchanged.
    """
    if state.keys() == module.state_dict().keys():
        return state
    try:
        with _quiet():
            filled, report = type(module).from_pretrained(
                None, config=module.config, state_dict=state, output_loading_info=True
            )
    except Exception:  # such as other sizes, which `fit` reports
        return state
    return state if any(report.values()) else filled.state_dict()


def _sentence_batch(module: Any, prompt: str | None, texts: list[str]) -> dict[str, Any]:
    batch = module.preprocess(texts, prompt=prompt)
    if "prompt_length" in batch:  # a number, for pooling that leaves out the prompt's tokens
        batch["prompt_length"] = torch.full((len(texts),), int(batch["prompt_length"]))
    return batch


def _located(source: ModelSource) -> tuple[str, dict[str, Any], str]:
    """Folder or hub name, the loading options, and the fix if loading fails."""
    unknown = source.arguments.keys() - {"revision"}
    if unknown:
        raise bad(source.text, f"argument {min(unknown)} is not known; the only one is ?revision=...")
    options: dict[str, Any] = {"trust_remote_code": False}
    folder = os.path.expanduser(source.name)
    if os.path.isdir(folder):
        return folder, options | {"local_files_only": True}, "is it a folder that save_pretrained wrote?"
    if source.name.startswith((".", "/", "~")) or source.name.count("/") > 1 or os.path.exists(folder):
        raise bad(source.text, f"there is no folder {folder}; give one that save_pretrained wrote, or a hub name")
    if "revision" in source.arguments:
        options["revision"] = str(source.arguments["revision"])
    return source.name, options, "check the name on the hub and the network, or give a local folder"


def _check_complete(source: ModelSource, report: Mapping[str, Any]) -> tuple[str, ...]:
    """The missing weights of poolers. Raises InputError for other missing weights, and for weights of another shape.

    transformers fills missing weights with random numbers and only warns. Poolers come after the last hidden state, and
    many files of weights leave them out.
    """
    if mismatched := sorted(report.get("mismatched_keys", ())):
        key, stored, wanted = mismatched[0]
        more = f", and {len(mismatched) - 1:,} more do not fit" if len(mismatched) > 1 else ""
        raise bad(
            source.text,
            f"weight {key} has shape {tuple(stored)} in its file, {tuple(wanted)} in its configuration{more}; download "
            "or save the model again",
        )
    missing = report.get("missing_keys", ())
    needed_keys = sorted(key for key in missing if "pooler." not in key)
    if needed_keys:
        first = ", ".join(needed_keys[:3]) + (", ..." if len(needed_keys) > 3 else "")
        raise bad(source.text, f"its weights lack {len(needed_keys)} keys ({first}); download or save the model again")
    return tuple(sorted(missing))


def _image_preprocessing(transformers: Any, name: str, options: dict[str, Any]) -> ImagePreprocessing | None:
    """Our preprocessing for a model's image processor, if both give the same result on sample images; else None."""
    from PIL import Image

    rng = np.random.default_rng(0)
    try:
        with _quiet():
            processor = transformers.AutoImageProcessor.from_pretrained(name, backend="pil", **options)
            ours = _translated(processor.to_dict())
            for height, width in SAMPLE_SIZES:
                image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
                theirs = np.asarray(processor(image, return_tensors="np")["pixel_values"][0])
                np.testing.assert_allclose(ours(image).numpy(), theirs, atol=1e-4)
    except Exception:  # no processor, one that needs another package, or one with other steps
        return None
    return ours


def _translated(facts: Mapping[str, Any]) -> ImagePreprocessing:
    from PIL import Image

    edge = facts["size"].get("shortest_edge")
    size = facts["crop_size"]["height"] if facts.get("do_center_crop") else edge or facts["size"]["height"]
    shorter = edge
    if facts.get(
        "crop_pct"
    ):  # ConvNeXt: small inputs are cropped from larger images, large inputs resized without a crop
        shorter = int(edge / facts["crop_pct"]) if edge < 384 else None
    mean, std = (facts["image_mean"], facts["image_std"]) if facts.get("do_normalize") else (0.0, 1.0)
    interpolation = Image.Resampling(facts["resample"]).name.lower()
    return ImagePreprocessing(size, mean, std, interpolation=interpolation, shorter=shorter)


def _text_preprocessing(tokenizer: Any, config: Any) -> TextPreprocessing:
    tokenizer.padding_side = "right"  # on the left padding would shift learned positions
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # as in GPT-2; the mask hides it
    limits = (tokenizer.model_max_length, getattr(config, "max_position_embeddings", None) or UNLIMITED)
    limit = min(limits) if min(limits) < UNLIMITED else None
    facts = _facts(tokenizer, limit)  # before its first use, which changes its truncation settings
    # SigLIP reads its last position, with padding as in its training; for other models padding only costs time.
    padding = "max_length" if limit and str(getattr(config, "model_type", "")).startswith(POOLED_EMBEDDING) else True
    call = partial(tokenizer, padding=padding, truncation=limit is not None, max_length=limit, return_tensors="pt")
    return TextPreprocessing(call, facts, _first_token(tokenizer))


def _first_token(tokenizer: Any) -> bool:
    """Whether the tokenizer has a token that starts every text."""
    return getattr(tokenizer, "cls_token", None) is not None or getattr(tokenizer, "bos_token", None) is not None


def _facts(tokenizer: Any, limit: int | None) -> dict[str, Any]:
    return {"tokenizer": type(tokenizer).__name__, "max_length": limit, "vocabulary": _vocabulary_hash(tokenizer)}


def _vocabulary_hash(tokenizer: Any) -> str:
    """SHA-256 of all rules of the tokenizer if it can export them, else of its vocabulary."""
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    rules = json.loads(backend.to_str()) if hasattr(backend, "to_str") else dict(tokenizer.get_vocab())
    rules |= {"padding": None, "truncation": None}
    special = getattr(tokenizer, "special_tokens_map", None)
    return hashlib.sha256(json.dumps([rules, str(special)], sort_keys=True).encode()).hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """A context without the libraries' warnings and progress bars on stderr; this package does the checks."""
    from transformers.utils import logging as bars

    loggers = [logging.getLogger(name) for name in LIBRARIES]
    levels, shown = [logger.level for logger in loggers], bars.is_progress_bar_enabled()
    try:
        bars.disable_progress_bar()
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if shown:
            bars.enable_progress_bar()
