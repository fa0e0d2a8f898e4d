"""``distill``: train a student on its teacher's embedding, and compare the two."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from manifold_probe.api.arguments import MEASURES, MODEL, Notify, Number, OnProgress, PerChannel, model_options
from manifold_probe.api.comparison import compare
from manifold_probe.api.results import Comparison, Comparisons, of_document
from manifold_probe.errors import InputError
from manifold_probe.parts import Parts, silent
from manifold_probe.report.document import read_document

if TYPE_CHECKING:
    from manifold_probe.distillation.config import Config
    from manifold_probe.distillation.plan import Plan


@dataclass(frozen=True)
class Distillation:
    """A finished run: its folder, and the comparison of the trained student with its teacher.

    ``comparison`` is of the rows held out of training: a `Comparison`, or the `Comparisons` of "backbone" and "head"
    where the student has a head. Where several students were trained together it compares their backbones, and
    ``students`` holds the run of each.
    """

    folder: Path
    comparison: Comparison | Comparisons
    students: dict[str, Distillation] = field(default_factory=dict)

    @property
    def student(self) -> Path:
        """The trained model, as ``mp.extract(model=...)`` loads it; of several students, see ``students``."""
        return self.folder / "student.pt"

    @cached_property
    def log(self) -> list[dict[str, Any]]:
        """The lines of the training's log: terms of the loss, and measures of the rows that were watched."""
        from manifold_probe.distillation.run_folder import read_log

        return read_log(self.folder)

    def to_dict(self) -> dict[str, Any]:
        """``{"folder": path, "comparison": the JSON document of the comparison}``."""
        return {"folder": str(self.folder), "comparison": self.comparison.to_dict()}

    def summary(self) -> str:
        """The report of the comparison as plain text."""
        return self.comparison.summary()


def distill(
    out: str | Path,
    *,
    method: str | None = None,
    teacher: str | Path | None = None,
    student: str | Path | Mapping[str, str | Path] | None = None,
    data: str | Path | None = None,
    recipe: str | None = None,
    config: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    size: Number | None = None,
    mean: PerChannel | None = None,
    std: PerChannel | None = None,
    tensorboard: bool = False,
    notify: Notify | None = None,
    progress: OnProgress | None = None,
    **settings: Any,
) -> Distillation:
    """Train a student on its teacher's embedding, and compare it with its teacher.

    A run that is stopped at any moment goes on when it is called again with the same arguments; a finished one gives
    its saved result. Rows held out of training are compared, with the teacher and with the untrained student.

    Parameters
    ----------
    out : path
        The run's folder; made if missing.
    method : str
        "coss", "cosine", "mse", "tintem", "cospress", "ckd", "seed", "compress", "rkd", "sp", "pkt", "kd", "dkd" or
        "dist".
    teacher : path
        Features with ids, or a model source as for `extract`.
    student : str, or dict of named students
        A built-in network ("conv4", "resnet8", ..., "resnet18", "vit-ti") or a model source. Several students train
        together, each in ``out``/NAME, and a teacher that runs during training runs once for all.
    data : path
        What both see, as for `extract`.
    recipe : str, optional
        All settings of a paper's run: "coss-imagenet", "tintem-dinov2" or "ckd-cifar100"; the other arguments go over
        them.
    config : path of a .toml, optional
        Settings, such as the ``config.toml`` of another run; the arguments go over them.
    options : dict, optional
        Constants of the method, such as ``{"space_weight": 0.5}``.
    size, mean, std : optional
        How the student's images are made, as for `extract`.
    tensorboard : bool
        Also write the log for TensorBoard.
    notify : callable, optional
        Called with one sentence about each thing worth knowing: warnings, where the run goes on, that it is finished.
    progress : callable, optional
        Called as ``progress(stage, done, total)``, with a note while it trains.
    **settings
        The other fields of `manifold_probe.distillation.config.Config`: ``epochs``, ``batch_size``, ``seed``, ``rate``,
        ``held_out`` and so on; by default the method's paper's.

    Returns
    -------
    Distillation

    Raises
    ------
    InputError
        For what cannot be used, a folder of another run, and a training that diverged.

    Examples
    --------
    >>> run = distill("run/", method="coss", teacher="t.pt", student="conv4", data="digits.npz")  # doctest: +SKIP
    >>> overlap = run.comparison["backbone"].measures["overlap@10"].value  # doctest: +SKIP
    """
    from manifold_probe.distillation.run_folder import RunFolder
    from manifold_probe.distillation.train import train_together
    from manifold_probe.extraction.processes import Processes
    from manifold_probe.report.tensorboard import check_tensorboard, write_events

    notify = notify or silent
    images = {name: value for name, value in model_options(size, mean, std, None, None).items() if value is not None}
    given: dict[str, Any] = {"method": method, "teacher": teacher, "data": data, "recipe": recipe, "options": options}
    given |= images | settings
    named = _named(student, Path(out))
    configs = {folder: _settled(config, given | {"student": source}) for folder, source in named.items()}
    if tensorboard:
        check_tensorboard()  # before the hours of training, not after
    finished = {folder for folder in configs if RunFolder(folder).finished}
    parts = Parts(progress, {"training": MODEL, "comparison": MEASURES})
    try:
        train_together(configs, tell=notify, progress=parts["training"])
    finally:
        with suppress(OSError):  # of several students that were refused, an empty folder
            Path(out).rmdir()
    processes = Processes.join()
    with processes.together():  # a process that left earlier would end the others
        if processes.first:
            comparing = Parts(parts["comparison"], dict.fromkeys((*map(str, configs), "students"), 1.0))
            for folder in configs:
                if tensorboard:
                    notify(f"wrote {write_events(folder)}")
                _result(
                    folder, folder in finished, notify, partial(compare_run, folder, progress=comparing[str(folder)])
                )
            if isinstance(student, Mapping):
                compared = partial(_compare_runs, dict(zip(student, configs, strict=True)), comparing["students"])
                _result(Path(out), len(finished) == len(configs), notify, compared, list(student))
    runs = [Distillation(folder, _read(folder)) for folder in configs]
    if not isinstance(student, Mapping):
        return runs[0]
    return Distillation(Path(out), _read(Path(out)), dict(zip(student.keys(), runs, strict=True)))


def plan_distillation(
    *,
    config: str | Path | None = None,
    size: Number | None = None,
    mean: PerChannel | None = None,
    std: PerChannel | None = None,
    notify: Notify | None = None,
    **settings: Any,
) -> Plan:
    """What `distill` would do with the same arguments, and how long it would take; nothing is written.

    Without teacher, student or data, the settled configuration alone. With them, a few steps are timed.

    Raises
    ------
    InputError
        What `distill` would raise before its first epoch.

    Examples
    --------
    >>> plan = plan_distillation(recipe="ckd-cifar100")
    >>> plan.config.epochs, plan.config.rate, plan.steps
    (480, 0.05, None)
    """
    from manifold_probe.distillation.plan import plan_of

    images = {name: value for name, value in model_options(size, mean, std, None, None).items() if value is not None}
    return plan_of(_settled(config, settings | images, incomplete=True), notify or silent)


def _settled(config: str | Path | None, settings: Mapping[str, Any], incomplete: bool = False) -> Config:
    from manifold_probe.distillation.config import resolved

    given: dict[str, Any] = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
    given["options"] = dict(given.get("options") or {})
    return resolved(given, None if config is None else str(config), incomplete)


def _named(student: Any, out: Path) -> dict[Path, Any]:
    """{folder of its run: student}."""
    from manifold_probe.distillation.run_folder import RESULT

    if not isinstance(student, Mapping):
        return {out: student}
    for name in student:
        if not isinstance(name, str) or not name.strip() or "/" in name or name.startswith(".") or name == RESULT:
            raise InputError(f"--student: {name!r} is no name for a folder; write --student NAME=SOURCE")
    if not student:
        raise InputError("--student: the dict of students is empty; give at least one name and its source")
    return {out / name: source for name, source in student.items()}


def _result(
    folder: Path,
    finished: bool,
    notify: Notify,
    compared: Callable[[], Comparison | Comparisons],
    students: list[str] | None = None,
) -> None:
    """See that a run's folder holds its comparison; one of these students that it holds already stays."""
    from manifold_probe.distillation.run_folder import RESULT

    if finished:
        with suppress(InputError):  # of another version: compared again
            saved = _read(folder)
            if students is None or (isinstance(saved, Comparisons) and list(saved) == students):
                return
    notify(f"{folder}: comparing the {'student with its' if students is None else 'students with their'} teacher")
    compared().save(folder / RESULT)


def _read(folder: Path) -> Comparison | Comparisons:
    """The comparison that a run's folder holds. Raises InputError where it is missing or of another version."""
    from manifold_probe.distillation.run_folder import RESULT

    return of_document(read_document(folder / RESULT))


def compare_run(folder: str | Path, *, progress: OnProgress | None = None) -> Comparison | Comparisons:
    """The student of a finished training run against its teacher: at the backbone and, where there is one, at the head.

    Measured are the rows that were held out of training, or all rows where none were. ``details["training"]`` says how
    many of the rows were trained on and what training gained over the untrained student; where it gained nothing, there
    is the alarm ``no_better_than_untrained``.

    Returns
    -------
    Comparison, or Comparisons of "backbone" and "head"

    Raises
    ------
    InputError
        Where the folder holds no finished run, or the teacher's features are gone.
    """
    from manifold_probe.distillation.run_folder import RunFolder

    sides = RunFolder(folder).sides()
    rows = np.arange(sides.backbone.n) if sides.trained.all() else np.flatnonzero(~sides.trained)
    students = {"backbone": sides.backbone.select(rows)}
    if sides.head is not None:
        students["head"] = sides.head.select(rows)
    labels = None if sides.backbone.labels is None else sides.backbone.labels[rows]
    teacher = sides.teacher.select(rows)
    both = compare(teacher, students, labels=labels, positional=sides.positional, progress=progress)
    return both if sides.head is not None else both["backbone"]


def _compare_runs(folders: Mapping[str, Path], progress: OnProgress) -> Comparison | Comparisons:
    """The backbones of students that were trained together against their teacher, on the rows held out of training."""
    from manifold_probe.distillation.run_folder import RunFolder

    sides = {name: RunFolder(folder).sides() for name, folder in folders.items()}
    first = next(iter(sides.values()))
    rows = np.arange(first.backbone.n) if first.trained.all() else np.flatnonzero(~first.trained)
    students = {name: side.backbone.select(rows) for name, side in sides.items()}
    labels = None if first.backbone.labels is None else first.backbone.labels[rows]
    return compare(first.teacher.select(rows), students, labels=labels, positional=first.positional, progress=progress)
