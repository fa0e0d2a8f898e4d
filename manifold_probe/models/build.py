"""Modules from Python callables and from timm.

A builder takes a source and returns a `Built` model; errors of foreign code become one line with the source.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import reduce
from typing import Any, Literal, NamedTuple

import torch

from manifold_probe.errors import InputError, to_install
from manifold_probe.models.preprocessing import ImagePreprocessing, TextPreprocessing
from manifold_probe.models.source import ModelSource
from manifold_probe.spaces.checks import bad


class Built(NamedTuple):
    """A module, the kind of data it takes, and its preprocessing, if it has one.

    ``run`` is called with a batch instead of the module, if given. ``unused`` are weights of its file that the module
    does not use, ``missing`` weights that are not in the file and are random. ``projected``: its features are a
    projected embedding; ``unprojected``: its family has projected embeddings, but this module has no projection.
    """

    module: torch.nn.Module
    takes: Literal["images", "texts"]
    preprocessing: ImagePreprocessing | TextPreprocessing | None = None
    run: Callable[..., Any] | None = None
    unused: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    projected: bool = False
    unprojected: bool = False


def from_python(source: ModelSource) -> Built:
    """Import ``package.module`` and call ``callable`` with the arguments; the current folder is importable.

    A module with a method ``tokenize`` takes texts: ``tokenize(texts)`` gives a dict of tensors (B, ...), which the
    module takes by name.

    Raises
    ------
    InputError
        An unknown module or name, an exception in one of them, or a result that is not a torch.nn.Module.
    """
    module_name, _, name = source.name.partition(":")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())  # as with `python -m`; not removed, because the module may import more later
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise failure(source, error, f"install what {module_name} imports") from error
        fix = "it is searched in the current folder, on PYTHONPATH and among installed packages"
        raise bad(source.text, f"there is no module {error.name!r}; {fix}") from error
    except (Exception, SystemExit) as error:
        raise failure(source, error, f"fix the import of {module_name}") from error
    try:
        make = reduce(getattr, name.split("."), module)
    except AttributeError as error:
        near = get_close_matches(name, [attribute for attribute in vars(module) if not attribute.startswith("_")], 3)
        fix = f"did you mean {' or '.join(near)}?" if near else "check the name"
        raise bad(source.text, f"{module_name} has no {name!r}; {fix}") from error
    if not callable(make) or isinstance(make, torch.nn.Module):
        raise bad(source.text, f"{name} is a {type(make).__name__}; name a callable that returns a torch.nn.Module")
    torch.default_generator.manual_seed(0)  # again, because the import may have drawn numbers
    try:
        model = make(**source.arguments)
    except (Exception, SystemExit) as error:
        raise failure(source, error, f"check {name} and its arguments") from error
    if not isinstance(model, torch.nn.Module):
        raise bad(source.text, f"{name} returned a {type(model).__name__}; it must return a torch.nn.Module")
    if any(torch.nn.parameter.is_lazy(tensor) for tensor in [*model.parameters(), *model.buffers()]):
        raise bad(source.text, f"{name} returned lazy layers without shapes; run one batch before returning the module")
    tokenize = getattr(model, "tokenize", None)
    if not callable(tokenize):
        return Built(model, "images")
    return Built(model, "texts", TextPreprocessing(tokenize, {"tokenizer": source.text}, has_first_token=False))


def from_timm(source: ModelSource, pretrained: bool) -> Built:
    """A timm model without its classifier, and the preprocessing of its data configuration."""
    timm = needed("timm", "timm", source)
    if ":" not in source.name and not timm.is_model(source.name):  # timm accepts "hf-hub:..." and "local-dir:..." too
        near = get_close_matches(source.name, timm.list_models(), 3)
        fix = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() lists them"
        raise bad(source.text, f"timm knows no model of this name; {fix}")
    options = {"pretrained": pretrained, "num_classes": 0} | source.arguments
    with loading(source, "check the arguments; pretrained weights are downloaded once, ?pretrained=false does without"):
        module = timm.create_model(source.name, **options)
        return Built(module, "images", timm_preprocessing(timm.data.resolve_model_data_config(module)))


def timm_preprocessing(config: Mapping[str, Any]) -> ImagePreprocessing | None:
    """The preprocessing of a timm data configuration; None for unsupported ones (non-square inputs, borders)."""
    channels, height, width = config["input_size"]
    shorter = math.floor(height / config["crop_pct"])
    squeezed = config["crop_mode"] == "squash" and shorter == height
    if height != width or not (squeezed or config["crop_mode"] == "center"):
        return None
    try:
        return ImagePreprocessing(
            size=height,
            mean=config["mean"],
            std=config["std"],
            interpolation=config["interpolation"],
            shorter=None if squeezed else shorter,
            channels=channels,
            margin="even",
        )
    except InputError:
        return None


def needed(package: str, extra: str, source: ModelSource) -> Any:
    """Import an optional package.

    Raises
    ------
    InputError
        With the package to install; or, if an installed package cannot be imported, with its error.
    """
    try:
        return importlib.import_module(package)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == package:
            raise bad(
                source.text, f"needs the package {package}, which is not installed; {to_install(extra)}"
            ) from error
        raise failure(source, error, f"{package} is installed but cannot be imported; fix that first") from error


@contextmanager
def loading(source: ModelSource, fix: str) -> Iterator[None]:
    """A context for a library's loading calls: any exception becomes an InputError with this fix."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except Exception as error:
        raise failure(source, error, fix) from error


def failure(source: ModelSource, error: BaseException, fix: str) -> InputError:
    """The InputError for an exception of foreign code while a model was loaded."""
    return bad(source.text, f"cannot be loaded ({reason(error)}); {fix}")


def reason(error: BaseException) -> str:
    """An exception's type and message, cut to one line.

    >>> reason(ValueError("no\\nsuch thing"))
    'ValueError: no such thing'
    """
    message = textwrap.shorten(str(error), 160, placeholder=" ...")
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
