"""`probe extract`: a model and data, turned into features on disk."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from manifold_probe.cli.options import Debug, output
from manifold_probe.cli.shell import complain, write
from manifold_probe.errors import InputError

data_group = partial(typer.Option, rich_help_panel="Data")
model_group = partial(typer.Option, rich_help_panel="Model")
looking = partial(typer.Option, rich_help_panel="Looking, without extracting")


def extract(
    model: Annotated[
        str,
        model_group(
            metavar="SOURCE",
            help="timm:NAME, hf:NAME, st:NAME, python:package.module:callable?key=value; RUN or RUN/student.pt of "
            "probe distill, RUN::head for the output of its head.",
        ),
    ],
    weights: Annotated[str | None, model_group(metavar="FILE", help="A state dict to load into the model.")] = None,
    size: Annotated[str | None, model_group(help="Side of the input images, in pixels.")] = None,
    mean: Annotated[
        str | None, model_group(help="Subtracted from pixels in 0..1: one number, or one per channel.")
    ] = None,
    std: Annotated[str | None, model_group(help="Divides them then: one number, or one per channel.")] = None,
    layers: Annotated[
        list[str] | None, model_group(metavar="NAME", help="Submodules, by name or glob, in place of the output.")
    ] = None,
    pool: Annotated[
        str | None,
        model_group(
            help="cls, last, mean, tokens or flat, for outputs that need it; projection: the embedding, where a model "
            "projects to one.  [default: projection, where there is one]"
        ),
    ] = None,
    batch_size: Annotated[int | None, model_group(help="Inputs at a time.  [default: by device]")] = None,
    data: Annotated[
        str | None,
        data_group(metavar="DATA", help="A folder of images, a table, .npz or idx arrays, or lines of text."),
    ] = None,
    ids: Annotated[str | None, data_group(metavar="COLUMN", help="The column or array that holds the ids.")] = None,
    labels: Annotated[
        str | None, data_group(metavar="COLUMN", help="The column or array that holds the labels.")
    ] = None,
    skip_bad: Annotated[bool, data_group("--skip-bad", help="Leave out what cannot be read, and list it.")] = False,
    views: Annotated[
        int, data_group(metavar="N", help="Augmented views of every image, in addition to the plain one.")
    ] = 0,
    recipe: Annotated[str, data_group(help="How views differ: crop-mirror-jitter or plain.")] = "crop-mirror-jitter",
    seed: Annotated[int, data_group(help="Seed of the views.")] = 0,
    out: Annotated[str | None, output(metavar="DIR", help="Where the features are written.")] = None,
    dtype: Annotated[str, output(help="How features are stored: float16 or float32.")] = "float16",
    apply: Annotated[
        str | None,
        output(
            metavar="MAP.safetensors", help="Store features after this map, which probe diagnose --save-repair wrote."
        ),
    ] = None,
    list_layers: Annotated[
        bool, looking("--list-layers", help="Print the submodules and leave; --data adds shapes.")
    ] = False,
    verify: Annotated[
        int | None, looking(metavar="N", help="Compute N rows of a finished folder again and compare.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Turn a model and data into features on disk: once, resumably.

    \b
    Examples:
      probe extract --model 'python:tinymodel:make?seed=1' --data images/ --size 32 --mean 0.5 --std 0.5 --out features/
      probe extract --model hf:FOLDER --pool cls --data images.csv --out vision/
      probe extract --model 'python:tinymodel:make?seed=1' --data images/ --size 32 --mean 0.5 --std 0.5 --list-layers
    """
    from manifold_probe import api
    from manifold_probe.report.progress import Progress

    options: dict[str, Any] = {"weights": weights, "size": size, "mean": mean, "std": std, "layers": layers or ()}
    options |= {"pool": pool, "batch_size": batch_size, "dtype": dtype, "ids": ids, "labels": labels}
    options |= {"skip_bad": skip_bad, "views": views, "recipe": recipe, "seed": seed, "apply": apply}
    if list_layers and verify is not None:
        raise InputError("--list-layers: does not go with --verify; ask for one at a time")
    if list_layers or verify is not None:
        look(model, data, out, verify, options)
    elif data is None:
        raise InputError("--data: missing; give what the model shall see")
    elif out is None:
        raise InputError("--out: missing; give the folder that receives the features")
    else:
        with Progress() as progress:
            api.extract(model, data, out, **options, notify=complain, progress=progress)


def look(model: str, data: str | None, out: str | None, verify: int | None, options: dict[str, Any]) -> None:
    """List the layers of a model or, with ``verify``, compute some rows of a finished folder again."""
    from manifold_probe.api.extraction import request_of
    from manifold_probe.extraction import verify as checking

    request = request_of(model, data or "", **options)
    if verify is None:
        lines = checking.layer_lines(request, tell=complain)
    elif data is None:
        raise InputError("--data: missing; give what the model shall see")
    elif out is None:
        raise InputError("--out: missing; give the folder that holds the features")
    else:
        lines = checking.verified_lines(request, out, verify)
    write("".join(f"{line}\n" for line in lines))
