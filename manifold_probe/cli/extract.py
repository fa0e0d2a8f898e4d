"""`probe extract`: a model and data, turned into features on disk."""

from __future__ import annotations

from typing import Annotated

import typer

from manifold_probe.cli.options import Debug
from manifold_probe.cli.shell import complain, write
from manifold_probe.errors import InputError


def extract(
    model: Annotated[
        str,
        typer.Option(
            metavar="SOURCE",
            help="timm:NAME, hf:NAME, st:NAME, python:package.module:callable?key=value; RUN or RUN/student.pt of "
            "probe distill, RUN::head for the output of its head.",
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="A folder of images, a table, .npz or idx arrays, or lines of text."),
    ] = None,
    out: Annotated[str | None, typer.Option(metavar="DIR", help="Where the features are written.")] = None,
    weights: Annotated[str | None, typer.Option(metavar="FILE", help="A state dict to load into the model.")] = None,
    size: Annotated[str | None, typer.Option(help="Side of the input images, in pixels.")] = None,
    mean: Annotated[
        str | None, typer.Option(help="Subtracted from pixels in 0..1: one number, or one per channel.")
    ] = None,
    std: Annotated[str | None, typer.Option(help="Divides them then: one number, or one per channel.")] = None,
    layers: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Submodules, by name or glob, in place of the output.")
    ] = None,
    list_layers: Annotated[
        bool, typer.Option("--list-layers", help="Print the submodules and leave; --data adds shapes.")
    ] = False,
    pool: Annotated[
        str | None,
        typer.Option(
            help="cls, last, mean, tokens or flat, for outputs that need it; projection: the embedding, where a model "
            "projects to one.  [default: projection, where there is one]"
        ),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Inputs at a time.  [default: by device]")] = None,
    dtype: Annotated[str, typer.Option(help="How features are stored: float16 or float32.")] = "float16",
    ids: Annotated[str | None, typer.Option(metavar="COLUMN", help="The column or array that holds the ids.")] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column or array that holds the labels.")
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out what cannot be read, and list it.")] = False,
    verify: Annotated[
        int | None, typer.Option(metavar="N", help="Compute N rows of a finished folder again and compare.")
    ] = None,
    views: Annotated[int, typer.Option(metavar="N", help="Augmented views of every image beside the plain one.")] = 0,
    recipe: Annotated[str, typer.Option(help="How views differ: crop-mirror-jitter or plain.")] = "crop-mirror-jitter",
    seed: Annotated[int, typer.Option(help="Seed of the views.")] = 0,
    apply: Annotated[
        str | None,
        typer.Option(
            metavar="MAP.safetensors", help="Store features after this map, which probe diagnose --save-repair wrote."
        ),
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
    from manifold_probe.extraction import run as extraction
    from manifold_probe.extraction import verify as checking
    from manifold_probe.report.progress import Progress

    request = extraction.Request(
        model=model,
        data=data or "",
        weights=weights,
        size=size,
        mean=mean,
        std=std,
        layers=tuple(layers or ()),
        pooling=pool,
        batch_size=batch_size,
        dtype=dtype,
        ids=ids,
        labels=labels,
        skip_bad=skip_bad,
        views=views,
        recipe=recipe,
        seed=seed,
        apply=apply,
    )
    if list_layers and verify is not None:
        raise InputError("--list-layers: does not go with --verify; ask for one at a time")
    if list_layers:
        write("".join(f"{line}\n" for line in checking.layer_lines(request, tell=complain)))
    elif data is None:
        raise InputError("--data: missing; give what the model shall see")
    elif out is None:
        raise InputError("--out: missing; give the folder that receives the features")
    elif verify is not None:
        write("".join(f"{line}\n" for line in checking.verified_lines(request, out, verify)))
    else:
        with Progress() as progress:
            extraction.extract(request, out, tell=complain, progress=progress)
