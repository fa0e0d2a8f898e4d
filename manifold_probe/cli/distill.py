"""`probe distill`: train a student, watch how faithful it becomes, and compare it with its teacher at the end."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from manifold_probe.cli.arguments import named_students
from manifold_probe.cli.options import Debug, Json, output
from manifold_probe.cli.shell import complain, show, write
from manifold_probe.errors import InputError

run_group = partial(typer.Option, rich_help_panel="The run")
optimising = partial(typer.Option, rich_help_panel="Optimisation, by default the method's paper's")
rows_group = partial(typer.Option, rich_help_panel="Rows and measurements")
images = partial(typer.Option, rich_help_panel="How the models see the data")
NOT_SETTINGS = ("out", "student", "config", "option", "dry_run", "tensorboard", "json", "debug")  # of the run itself


def distill(
    out: Annotated[
        str | None, run_group(metavar="DIR", help="The run's folder; the same command again goes on in it.")
    ] = None,
    method: Annotated[
        str | None,
        run_group(help="coss, cosine, mse, tintem, ckd, seed, compress, rkd, sp, pkt, kd, dkd or dist."),
    ] = None,
    teacher: Annotated[
        str | None, run_group(metavar="SOURCE", help="Features with ids, or a model as for probe extract.")
    ] = None,
    student: Annotated[
        list[str] | None,
        run_group(
            metavar="[NAME=]STUDENT",
            help="conv4, resnet8, ..., resnet18, vit-ti; or a model. Repeat it to train several with one teacher.",
        ),
    ] = None,
    data: Annotated[str | None, run_group(metavar="DATA", help="What both see, as for probe extract.")] = None,
    recipe: Annotated[
        str | None, run_group(help="A paper's settings: coss-imagenet, tintem-dinov2 or ckd-cifar100.")
    ] = None,
    config: Annotated[
        str | None, run_group(metavar="RUN.toml", help="Settings; those of the command line go over them.")
    ] = None,
    option: Annotated[
        list[str] | None, run_group(metavar="NAME=VALUE", help="A constant of the method, such as space_weight=0.5.")
    ] = None,
    head: Annotated[
        str | None,
        run_group(help="identity, linear, mlp, layernorm_linear, orthogonal or pca.  [default: the paper's]"),
    ] = None,
    weights: Annotated[str | None, run_group(metavar="FILE", help="A state dict for the student.")] = None,
    seed: Annotated[int | None, run_group(help="Seed of weights, batches and views.  [default: 0]")] = None,
    epochs: Annotated[int | None, optimising(help="Passes over the data.")] = None,
    batch_size: Annotated[int | None, optimising(help="Of all processes together.")] = None,
    rate: Annotated[float | None, optimising(help="The highest learning rate.")] = None,
    weight_decay: Annotated[float | None, optimising(help="Weight decay.")] = None,
    optimiser: Annotated[str | None, optimising(help="sgd or adamw.")] = None,
    schedule: Annotated[str | None, optimising(help="cosine, hold-cosine, steps or constant.")] = None,
    warmup_epochs: Annotated[float | None, optimising(help="Epochs in which the learning rate rises.")] = None,
    augment: Annotated[
        str | None,
        optimising(help="plain, crop-mirror-jitter, crop-mirror-colour or shift-mirror.  [default: plain]"),
    ] = None,
    neighbour_batches: Annotated[
        bool | None, optimising("--neighbour-batches", help="Batches of anchors and their neighbours, as CoSS.")
    ] = None,
    samples: Annotated[int | None, optimising(metavar="N", help="At most so many samples an epoch.")] = None,
    accumulate: Annotated[
        int | None, optimising(metavar="N", help="Run each batch in N parts, to save memory; the loss sees all of it.")
    ] = None,
    clip: Annotated[float | None, optimising(help="Largest norm of the gradient.")] = None,
    ema: Annotated[float | None, optimising(help="Save weights averaged with this decay, such as 0.999.")] = None,
    compile: Annotated[bool | None, optimising("--compile", help="Through torch.compile.")] = None,
    held_out: Annotated[
        float | None,
        rows_group(
            help="Share of rows kept out of training and measured; 0 for none.  [default: a tenth, from 100 to "
            "10,000 rows; none of fewer than 400]"
        ),
    ] = None,
    probe_every: Annotated[int | None, rows_group(help="Epochs between measurements.  [default: 1]")] = None,
    teacher_ids: Annotated[
        str | None, rows_group(metavar="FILE[::KEY]", help="Ids of the teacher's rows, where its file has none.")
    ] = None,
    positional: Annotated[
        bool | None,
        rows_group("--positional", help="Pair the teacher's rows with the data by position; marked unverified."),
    ] = None,
    ids: Annotated[str | None, rows_group(metavar="COLUMN", help="As for probe extract.")] = None,
    labels: Annotated[str | None, rows_group(metavar="COLUMN", help="As for probe extract.")] = None,
    size: Annotated[str | None, images(help="Side of the student's images.  [default: the data's]")] = None,
    mean: Annotated[str | None, images(help="As for probe extract.")] = None,
    std: Annotated[str | None, images(help="As for probe extract.")] = None,
    pool: Annotated[str | None, images(help="The student's, as for probe extract.")] = None,
    teacher_pool: Annotated[str | None, images(help="The teacher's, as for probe extract.")] = None,
    dry_run: Annotated[
        bool, output("--dry-run", help="Print the settings, the steps and the projected time; train nothing.")
    ] = False,
    tensorboard: Annotated[bool, output("--tensorboard", help="Write the log for TensorBoard too.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a student on its teacher's embedding, and compare them.

    The rows that were held out of training are compared with the teacher, and with the untrained student.

    \b
    Examples:
      probe distill --method coss --teacher t.pt --student conv4 --data digits.npz --epochs 8 --out coss/
      probe distill --config coss/config.toml --seed 1 --out coss-again/
      probe distill --recipe tintem-dinov2 --dry-run
    """
    settings = {name: value for name, value in locals().items() if name not in NOT_SETTINGS}
    named = named_students(student or [])
    settings |= {"config": config, "options": named_options(option or [])}
    from manifold_probe import api
    from manifold_probe.extraction.processes import Processes
    from manifold_probe.report.progress import Progress

    if dry_run:
        if len(named) > 1:
            raise InputError("--dry-run: times one student; give one --student")
        write(api.plan_distillation(**settings, student=next(iter(named.values()), None), notify=complain).summary())
        return
    if out is None:
        raise InputError("--out: missing; name the folder of the run, or give --dry-run")
    chosen = named if len(named) > 1 else next(iter(named.values()), None)
    with Progress() as progress:
        run = api.distill(out, **settings, student=chosen, tensorboard=tensorboard, notify=complain, progress=progress)
    if not Processes.join().first:
        return
    if json:
        write(run.comparison.to_json() + "\n")
    else:
        show(run.comparison.lines)


def named_options(texts: list[str]) -> dict[str, Any]:
    """{name: value} from NAME=VALUE, the value as JSON writes it or else a text.

    >>> named_options(["space_weight=0.5", "negatives=paper", "gather=true"])
    {'space_weight': 0.5, 'negatives': 'paper', 'gather': True}
    """
    import json

    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"--option: {text!r} is not NAME=VALUE; write --option space_weight=0.5")
        if name in options:
            raise InputError(f"--option: {name} is given 2 times, and it takes one value; give it once")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options
