"""Modules from Python callables and from timm.

A builder takes a source and returns what it built; errors of foreign code become one line that names the source.
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
    """A module, what it takes, and the preprocessing that it brings, where it brings one.

    ``run`` is called with a batch in place of the module, where it is not the module itself that gives the features.
    ``unused`` are weights in its file that the module has no place for, ``missing`` those that it drew at random.
    ``projected``: it gives an embedding behind a projection; ``unprojected``: it is the tower of a family whose
    embeddings are, without its projection.
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

    Raises
    ------
    InputError
        An unknown module or name, an exception inside either, or something else than a torch.nn.Module returned.
    """
    module_name, _, name = source.name.partition(":")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())  # as with `python -m`; left there for what the module imports later
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise failure(source, error, f"install what {module_name} imports") from error
        fix = "it is searched in the current folder, on PYTHONPATH and among installed packages"
        raise bad(source.text, f"there is no module {error.name!r}; {fix}") from error
    except (Exception, SystemExit) as error:
        raise failure(source, error, f"importing {module_name} has to work first") from error
    try:
        make = reduce(getattr, name.split("."), module)
    except AttributeError as error:
        near = get_close_matches(name, [each for each in vars(module) if not each.startswith("_")], 3)
        fix = f"did you mean {' or '.join(near)}?" if near else "check the name"
        raise bad(source.text, f"{module_name} has no {name!r}; {fix}") from error
    if not callable(make) or isinstance(make, torch.nn.Module):
        raise bad(source.text, f"{name} is a {type(make).__name__}; name a callable that returns a torch.nn.Module")
    torch.default_generator.manual_seed(0)  # anew, because a first import may have drawn, and a second does not
    try:
        made = make(**source.arguments)
    except (Exception, SystemExit) as error:
        raise failure(source, error, f"check {name} and its arguments") from error
    if not isinstance(made, torch.nn.Module):
        raise bad(source.text, f"{name} returned a {type(made).__name__}; it must return a torch.nn.Module")
    if any(torch.nn.parameter.is_lazy(each) for each in [*made.parameters(), *made.buffers()]):
        raise bad(source.text, f"{name} returned lazy layers without shapes; run one batch before returning the module")
    return Built(made, "images")


def from_timm(source: ModelSource, pretrained: bool) -> Built:
    """A timm model without its classifier, and the preprocessing of its own data configuration."""
    timm = needed("timm", "timm", source)
    if ":" not in source.name and not timm.is_model(source.name):  # "hf-hub:..." and "local-dir:..." are timm's own
        near = get_close_matches(source.name, timm.list_models(), 3)
        fix = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() lists them"
        raise bad(source.text, f"timm knows no model of this name; {fix}")
    options = {"pretrained": pretrained, "num_classes": 0} | source.arguments
    with loading(source, "check the arguments; pretrained weights are downloaded once, ?pretrained=false does without"):
        module = timm.create_model(source.name, **options)
        return Built(module, "images", timm_preprocessing(timm.data.resolve_model_data_config(module)))


def timm_preprocessing(config: Mapping[str, Any]) -> ImagePreprocessing | None:
    """A timm data configuration as ours; None where it asks for what ours has not (oblong inputs, borders)."""
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
        Naming what to install; or, where the package is there and broken, what it said.
    """
    try:
        return importlib.import_module(package)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == package:
            raise bad(
                source.text, f"needs the package {package}, which is not installed; {to_install(extra)}"
            ) from error
        raise failure(source, error, f"{package} is installed but cannot be imported, repair that first") from error


@contextmanager
def loading(source: ModelSource, fix: str) -> Iterator[None]:
    """Around a library's loading calls: any exception becomes one InputError with this fix."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except Exception as error:
        raise failure(source, error, fix) from error


def failure(source: ModelSource, error: BaseException, fix: str) -> InputError:
    """What foreign code said while a model was loaded, with the fix."""
    return bad(source.text, f"cannot be loaded ({reason(error)}); {fix}")


def reason(error: BaseException) -> str:
    """An exception's type and message, cut to one line.

    >>> reason(ValueError("no\\nsuch thing"))
    'ValueError: no such thing'
    """
    said = textwrap.shorten(str(error), 160, placeholder=" ...")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
