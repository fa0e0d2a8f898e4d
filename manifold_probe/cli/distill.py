"""`probe distill`: train a student, watch how faithful it becomes, and compare it with its teacher at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from manifold_probe.cli.arguments import MEASURES, MODEL
from manifold_probe.cli.options import Debug
from manifold_probe.cli.shell import complain, show, write
from manifold_probe.errors import InputError
from manifold_probe.parts import Parts

if TYPE_CHECKING:
    from manifold_probe.distillation.run_folder import RunFolder


def distill(
    out: Annotated[str, typer.Option(metavar="DIR", help="The run's folder; the same command again goes on in it.")],
    method: Annotated[
        str | None,
        typer.Option(help="coss, cosine, mse, tintem, ckd, seed, compress, rkd, sp, pkt, kd, dkd or dist."),
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Features with ids, or a model as for probe extract.")
    ] = None,
    student: Annotated[
        str | None, typer.Option(metavar="NAME|SOURCE", help="conv4, resnet8, ..., resnet18, vit-ti; or a model.")
    ] = None,
    data: Annotated[str | None, typer.Option(metavar="DATA", help="What both see, as for probe extract.")] = None,
    config: Annotated[
        str | None, typer.Option(metavar="RUN.toml", help="Settings; those of the command line go over them.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data.  [default: the paper's]")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Of all processes together.  [default: the paper's]")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, batches and views.  [default: 0]")] = None,
    rate: Annotated[float | None, typer.Option(help="The highest learning rate.  [default: the paper's]")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay.  [default: the paper's]")] = None,
    optimiser: Annotated[str | None, typer.Option(help="sgd or adamw.  [default: the paper's]")] = None,
    schedule: Annotated[
        str | None, typer.Option(help="cosine, hold-cosine, steps or constant.  [default: the paper's]")
    ] = None,
    warmup_epochs: Annotated[
        float | None, typer.Option(help="Epochs in which the learning rate rises.  [default: the paper's]")
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(help="identity, linear, mlp, layernorm_linear, orthogonal or pca.  [default: the paper's]"),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A constant of the method, such as space_weight=0.5.")
    ] = None,
    augment: Annotated[str | None, typer.Option(help="plain or crop-mirror-jitter.  [default: plain]")] = None,
    neighbour_batches: Annotated[
        bool | None, typer.Option("--neighbour-batches", help="Batches of anchors and their neighbours, as CoSS.")
    ] = None,
    held_out: Annotated[
        float | None,
        typer.Option(
            help="Share of rows kept out of training and measured; 0 for none.  [default: a tenth, from 100 to "
            "10,000 rows; none of fewer than 400]"
        ),
    ] = None,
    positional: Annotated[
        bool | None,
        typer.Option("--positional", help="Pair the teacher's rows with the data by position; marked unverified."),
    ] = None,
    teacher_ids: Annotated[
        str | None, typer.Option(metavar="FILE[::KEY]", help="Ids of the teacher's rows, where its file has none.")
    ] = None,
    probe_every: Annotated[int | None, typer.Option(help="Epochs between measurements.  [default: 1]")] = None,
    weights: Annotated[str | None, typer.Option(metavar="FILE", help="A state dict for the student.")] = None,
    size: Annotated[str | None, typer.Option(help="Side of the student's images.  [default: the data's]")] = None,
    mean: Annotated[str | None, typer.Option(help="As for probe extract.")] = None,
    std: Annotated[str | None, typer.Option(help="As for probe extract.")] = None,
    pool: Annotated[str | None, typer.Option(help="The student's, as for probe extract.")] = None,
    teacher_pool: Annotated[str | None, typer.Option(help="The teacher's.")] = None,
    ids: Annotated[str | None, typer.Option(metavar="COLUMN", help="As for probe extract.")] = None,
    labels: Annotated[str | None, typer.Option(metavar="COLUMN", help="As for probe extract.")] = None,
    compile: Annotated[bool | None, typer.Option("--compile", help="Through torch.compile.")] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write the log for TensorBoard too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Write the result to stdout instead of the report.")] = False,
    debug: Debug = False,
) -> None:
    """Train a student on its teacher's embedding, and report how faithful it became.

    The rows that were held out of training are compared with the teacher, and with the untrained student.

    \b
    Examples:
      probe distill --method coss --teacher t.pt --student conv4 --data digits.npz --epochs 8 --out coss/
      probe distill --config coss/config.toml --seed 1 --out coss-again/
    """
    given = {**locals()}
    from manifold_probe.distillation.config import resolved
    from manifold_probe.distillation.run_folder import RunFolder
    from manifold_probe.distillation.train import train
    from manifold_probe.extraction.processes import Processes
    from manifold_probe.report.progress import Progress
    from manifold_probe.report.tensorboard import check_tensorboard, write_events

    for name in ("out", "config", "option", "tensorboard", "json", "debug"):
        given.pop(name)
    given["options"] = named_options(option or [])
    settled = resolved(given, config)
    if tensorboard:
        check_tensorboard()  # before the hours of training, not after
    before = RunFolder(out).finished
    with Progress() as progress:
        parts = Parts(progress, {"training": MODEL, "comparison": MEASURES})
        folder = train(settled, out, tell=complain, progress=parts["training"])
        processes = Processes.join()
        with processes.together():  # a process that left earlier would end the others
            if processes.first:
                if tensorboard:
                    complain(f"wrote {write_events(out)}")
                result = (saved_result(folder) if before else None) or compared_result(folder, parts["comparison"])
    if not processes.first:
        return
    if json:
        write(result.to_json() + "\n")
    else:
        show(result.to_dict())


def saved_result(folder: RunFolder) -> Any:
    """The comparison that a finished run has; None where it is missing or of another version."""
    from manifold_probe.api import load
    from manifold_probe.distillation.run_folder import RESULT

    try:
        return load(folder.path / RESULT)
    except InputError:
        return None


def compared_result(folder: RunFolder, progress: Any) -> Any:
    """The comparison of a trained student with its teacher, saved in the run's folder."""
    from manifold_probe.api import compare_run
    from manifold_probe.distillation.run_folder import RESULT

    complain(f"{folder.path}: comparing the student with its teacher")
    result = compare_run(folder.path, progress=progress)
    result.save(folder.path / RESULT)
    return result


def named_options(texts: list[str]) -> dict[str, Any]:
    """{name: value} from NAME=VALUE, the value as JSON writes it or else a text.

    >>> named_options(["space_weight=0.5", "negatives=paper", "gather=true"])
    {'space_weight': 0.5, 'negatives': 'paper', 'gather': True}
    """
    import json

    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"--option: {text!r} is not NAME=VALUE; write --option space_weight=0.5")
        if name in found:
            raise InputError(f"--option: {name} is given 2 times, and it takes one value; give it once")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found
