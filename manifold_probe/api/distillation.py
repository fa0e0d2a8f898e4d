"""``distill``: train a student on its teacher's embedding, and compare the two."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from manifold_probe.api.arguments import MEASURES, MODEL, Notify, Number, OnProgress, PerChannel, model_options
from manifold_probe.api.comparison import compare
from manifold_probe.api.results import Comparison, Comparisons, of_document
from manifold_probe.errors import InputError
from manifold_probe.parts import Parts, Progress, silent
from manifold_probe.report.document import read_document


@dataclass(frozen=True)
class Distillation:
    """A finished run: its folder, and the comparison of the trained student with its teacher.

    ``comparison`` is of the rows held out of training: a `Comparison`, or the `Comparisons` of "backbone" and "head"
    where the student has a head.
    """

    folder: Path
    comparison: Comparison | Comparisons

    @property
    def student(self) -> Path:
        """The trained model, as ``mp.extract(model=...)`` loads it."""
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
    student: str | Path | None = None,
    data: str | Path | None = None,
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
    student : str
        A built-in network ("conv4", "resnet8", ..., "resnet18", "vit-ti") or a model source.
    data : path
        What both see, as for `extract`.
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
    from manifold_probe.distillation.config import resolved
    from manifold_probe.distillation.run_folder import RESULT, RunFolder
    from manifold_probe.distillation.train import train
    from manifold_probe.extraction.processes import Processes
    from manifold_probe.report.tensorboard import check_tensorboard, write_events

    notify = notify or silent
    images = {name: value for name, value in model_options(size, mean, std, None, None).items() if value is not None}
    given = {"method": method, "teacher": teacher, "student": student, "data": data, **images, **settings}
    given = {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}
    given["options"] = dict(options or {})
    settled = resolved(given, None if config is None else str(config))
    if tensorboard:
        check_tensorboard()  # before the hours of training, not after
    finished_before = RunFolder(out).finished
    parts = Parts(progress, {"training": MODEL, "comparison": MEASURES})
    folder = train(settled, out, tell=notify, progress=parts["training"])
    processes = Processes.join()
    comparison = None
    with processes.together():  # a process that left earlier would end the others
        if processes.first:
            if tensorboard:
                notify(f"wrote {write_events(out)}")
            with suppress(InputError):  # of another version: compared again
                comparison = _read(folder.path / RESULT) if finished_before else None
            comparison = comparison or _compared(folder.path, notify, parts["comparison"])
    return Distillation(folder.path, comparison or _read(folder.path / RESULT))  # the other processes read it


def _read(path: Path) -> Comparison | Comparisons:
    """The comparison that a run's folder holds. Raises InputError where it is missing or of another version."""
    return of_document(read_document(path))


def _compared(folder: Path, notify: Notify, progress: Progress) -> Comparison | Comparisons:
    """The comparison of a trained student with its teacher, saved in the run's folder."""
    from manifold_probe.distillation.run_folder import RESULT

    notify(f"{folder}: comparing the student with its teacher")
    comparison = compare_run(folder, progress=progress)
    comparison.save(folder / RESULT)
    return comparison


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
