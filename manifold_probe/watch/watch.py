"""Watch how faithful a student becomes, on a fixed set of rows, in a training loop of any kind.

    watch = Watch(teacher=features, inputs=dataset, every=100)      # features (n, d), one row for each input
    for step, batch in enumerate(loader):
        watch.step(model, step, loss)                               # loss of the step before, a number or a tensor
        ...

A measurement embeds the rows, logs the catalogue's watched measures to a file of JSON lines, to Python's logging and to
``log(values, step)``, and warns early (`signs`). It never changes the training, and its errors never end it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from manifold_probe.engine.inputs import as_codes, as_matrix, check_k
from manifold_probe.errors import InputError
from manifold_probe.evaluation.watch import watched
from manifold_probe.files import check_file
from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP
from manifold_probe.measures.dimensions import rankme
from manifold_probe.models.outputs import one_tensor
from manifold_probe.models.pooling import pool
from manifold_probe.spaces.read import as_space
from manifold_probe.spaces.space import Space
from manifold_probe.watch.inputs import Inputs, first_of, moved, shared_rows
from manifold_probe.watch.signs import Point, overlaps, points_of, signs
from manifold_probe.watch.untouched import untouched

Sides = Mapping[str, tuple[Any, Any]]  # "backbone" and "head": features of student (n, ds) and teacher (n, dt)
Measures = dict[str, dict[str, float | None]]
Embed = Callable[[Any, Any], Any]


class Watch:
    """The measures of a student on a fixed set of rows, during its training.

    Parameters
    ----------
    teacher : array-like (n, d), Space or path
        The teacher's features of the inputs, in their order; with ``ids``, features that have ids.
    inputs : tensor, list, dict of columns, data set or DataLoader
        What the student is given, n rows; of a loader its data set in order, with its collate function. They are read
        once, so random augmentations stay the same.
    labels : array-like (n,), optional
        In the teacher's row order, for the class measures; by default those in the teacher's file.
    ids : array-like (n,), optional
        The ids of the inputs, which find the teacher's rows.
    trained : optional
        What is trained on: ids where ``ids`` are given, else inputs. Watched rows among them are reported.
    every : int or None
        Steps between measurements; None leaves the choice to an adapter: every epoch or evaluation.
    rows : int
        How many rows are watched at most, a sample by ``seed``.
    out : path or None
        The log, a JSON line a measurement. A resumed training continues it: later lines are replaced.
    embed : callable, optional
        ``embed(model, batch)``: features (b, d), or {"backbone": (b, d), "head": (b, d')}. By default the model's one
        output after ``pooling`` ("cls", "mean", "last" or "flat"); of texts ``model.encode``.
    log : callable, optional
        ``log({name: value}, step)`` for a tracker, such as ``wandb.log`` or ``mlflow.log_metrics``.
    logger : logging.Logger, optional
        By default ``logging.getLogger("manifold_probe.watch")``.
    k : int
        Neighbours.
    strict : bool
        Raise the error of a measurement, which is otherwise logged.

    Raises
    ------
    InputError
        If features, inputs, ids or labels do not fit each other, or ``out`` cannot be written.

    Examples
    --------
    >>> x = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
    >>> watch = Watch(teacher=x, inputs=x, every=10, out=None)
    >>> watch.step(torch.nn.Identity(), 0)["overlap@10"]
    1.0
    """

    def __init__(
        self,
        teacher: Any,
        inputs: Any,
        labels: Any = None,
        *,
        ids: Any = None,
        trained: Any = None,
        every: int | None = 100,
        rows: int = 2000,
        out: str | Path | None = "watch.jsonl",
        embed: Embed | None = None,
        pooling: str | None = None,
        log: Callable[[dict[str, float], int], Any] | None = None,
        logger: logging.Logger | None = None,
        k: int = 10,
        seed: int = 0,
        strict: bool = False,
    ) -> None:
        for name, value in (("every", every), ("rows", rows)):
            if value is not None and not (isinstance(value, int) and value > 0):
                raise InputError(f"{name}: {value!r} is not a number of at least 1; give one")
        self.every, self.k, self.seed, self.strict = every, k, seed, strict
        self.embed, self.pooling, self.log = embed or self._output, pooling, log
        self.logger = logger or logging.getLogger("manifold_probe.watch")
        with untouched():  # a data set may draw random views
            given = Inputs(inputs)
            space = as_space(teacher, "teacher")
            place = np.arange(space.n) if ids is None else _joined(space, ids)
            if len(place) != given.n:
                name = f"teacher: {space.n:,} rows" if ids is None else f"ids: {len(place):,}"
                raise InputError(f"{name} for {given.n:,} inputs; give one for each input, in the same order")
            chosen = np.sort(np.random.default_rng(seed).permutation(given.n)[:rows])
            check_k(k, len(chosen))
            labels = space.labels if labels is None else labels
            self.labels = None if labels is None else as_codes(labels, space.n)[0][place[chosen]]
            self.teacher = as_matrix(space.take(place[chosen]), "teacher").astype(np.float32)
            self.batches = given.batches(chosen)
            shared = None if trained is None else shared_rows(given, chosen, trained, ids)
        self.rank, self.norm = rank_and_norm(self.teacher)
        self.rows, self.held_out = len(chosen), None if shared is None else not shared
        if shared:
            self.logger.warning(
                f"watch: {shared:,} of the {self.rows:,} watched rows are trained on, so the measures do not show how "
                "faithful the student is on new rows; give rows that are held out"
            )
        self.values: dict[str, float] = {}  # of the last measurement, by the names for trackers
        self.points: list[Point] = []
        self.raised: dict[str, str] = {}  # warnings that held at the last measurement
        self.width: dict[str, int] = {}
        self.losses: list[Any] = []
        self.last: int | None = None
        self.out = None if out is None else Path(out)
        if self.out is not None:
            check_file(self.out, "out")
            read_lines(self.out)

    def step(self, model: Any, step: int, loss: Any = None, epoch: float | None = None) -> dict[str, float] | None:
        """Measure at the first call and at multiples of ``every``, as `measure`; None at other steps.

        ``step`` is the number of updates of the weights so far, ``loss`` that of the last update.
        """
        if loss is not None:
            self.losses.append(loss.detach() if isinstance(loss, torch.Tensor) else loss)
        if step == self.last or self.every is None or (self.last is not None and step % self.every):
            return None
        return self.measure(model, step, epoch=epoch)

    def measure(self, model: Any, step: int, loss: float | None = None, epoch: float | None = None) -> dict[str, Any]:
        """Measure now: {measure: value} of the backbone; {} if it failed, and in all processes but the first."""
        first, losses = self.last is None, self.losses
        self.last, self.losses = step, []
        if torch.distributed.is_available() and torch.distributed.is_initialized() and torch.distributed.get_rank():
            return {}
        try:
            if first:
                self._resume(step)
            if loss is None and losses:
                loss = sum(float(value) for value in losses) / len(losses)
            loss = loss if loss is not None and np.isfinite(loss) else None
            with untouched(model):
                sides = self.features(model)
            values, warnings = self.judge(sides, step, loss)
            self._report(values, warnings, epoch)
        except Exception as error:
            if self.strict:
                raise
            self.logger.error(f"watch: no measurement at step {step:,} ({error}); the training goes on")
            return {}
        return values["backbone"]

    def _report(self, values: Measures, warnings: list[str], epoch: float | None) -> None:
        """The last point: a line of the log, of Python's logging, and the tracker's values."""
        point, backbone = self.points[-1], values["backbone"]
        if self.out is not None:
            known = {"step": point.step, "epoch": epoch, "loss": point.loss}
            line = {
                **{name: value for name, value in known.items() if value is not None},
                "probe": {"rows": self.rows, "held_out": self.held_out},
                "measures": values,
                "rank": point.rank,
                "norm": point.norm,
                "warnings": warnings,
            }
            with open(self.out, "a", encoding="utf-8") as log:
                log.write(json.dumps(line, allow_nan=False) + "\n")
        shown = {key: backbone[key] for key in (OVERLAP.named(self.k), DEBIASED_CKA.key)} | {"rank": point.rank}
        words = ", ".join(f"{key} {value:.3g}" for key, value in shown.items() if value is not None)
        self.logger.info(f"watch: step {point.step:,}: {words}")
        for warning in warnings:
            self.logger.warning(f"watch: step {point.step:,}: {warning}")
        named = {**backbone, "rank": point.rank, "norm": point.norm}
        if values["head"] is not backbone:
            named |= {f"head/{key}": value for key, value in values["head"].items()}
        self.values = {tracked_name(key): value for key, value in named.items() if value is not None}
        if self.log is not None:
            self.log(self.values, point.step)

    def features(self, model: Any) -> Sides:
        """The features of student and teacher, at the backbone and at the head; without a head both are one."""
        if isinstance(model, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
            model = model.module
        if any(kind.__name__ in ("FSDPModule", "FullyShardedDataParallel") for kind in type(model).__mro__):
            raise InputError("the model is sharded (FSDP), and one process alone cannot run it; measure checkpoints")
        parameter = next(model.parameters(), None) if isinstance(model, torch.nn.Module) else None
        device = None if parameter is None else parameter.device
        parts: dict[str, list[torch.Tensor]] = {}
        for batch in self.batches:
            output = self.embed(model, moved(batch, device))
            for side, x in (output if isinstance(output, Mapping) else {"backbone": output}).items():
                parts.setdefault(side, []).append(torch.as_tensor(x).detach().float().cpu())
        if "backbone" not in parts:
            raise InputError(f"embed: gave {', '.join(parts)}; give 'backbone', and 'head' where there is one")
        student = {side: torch.cat(blocks).numpy() for side, blocks in parts.items()}
        return {side: (student.get(side, student["backbone"]), self.teacher) for side in ("backbone", "head")}

    def judge(self, sides: Sides, step: int, loss: float | None) -> tuple[Measures, list[str]]:
        """The measures of these features, and the warnings that did not hold before. The points go on with them.

        Raises
        ------
        InputError
            If the student's vectors are not (n, d), their width changed, or they are not finite.
        """
        for side, (student, _) in sides.items():
            if np.ndim(student) != 2 or len(student) != self.rows:
                raise InputError(f"{side}: the student gave {np.shape(student)}; give one vector for each input")
            if self.width.setdefault(side, student.shape[1]) != student.shape[1]:
                before, width = self.width[side], student.shape[1]
                raise InputError(
                    f"{side}: the student gave {before} dimensions before and {width} now; embed one layer"
                )
        backbone = sides["backbone"][0]
        values: Measures = {}
        for side, (student, teacher) in sides.items():
            same = side != "backbone" and student is backbone and teacher is sides["backbone"][1]
            values[side] = values["backbone"] if same else watched(student, teacher, self.labels, self.k, self.seed)
        self.points.append(Point(step, loss, overlaps(values), *rank_and_norm(backbone)))
        raised = signs(self.points, min(self.rank, backbone.shape[1]), self.norm)
        fresh = [sentence for kind, sentence in raised.items() if kind not in self.raised]
        self.raised = raised
        return values, fresh

    def _output(self, model: Any, batch: Any) -> torch.Tensor:
        """The model's features of a batch."""
        if isinstance(batch, list) and isinstance(batch[0], str):
            if not hasattr(model, "encode"):
                raise InputError(f"{type(model).__name__}: has no encode() for texts; give embed=, or tokenised inputs")
            encoded: torch.Tensor = model.encode(batch, convert_to_tensor=True, show_progress_bar=False)
            return encoded
        batch = first_of(batch)
        output = model(**batch) if isinstance(batch, Mapping) else model(batch)
        mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
        name = type(model).__name__
        try:
            return pool(one_tensor(output, name, self.pooling), self.pooling, mask)
        except InputError as error:
            raise InputError(str(error).replace("--pool ", "pooling ").replace("--layers", "embed=")) from error

    def _resume(self, step: int) -> None:
        """Keep the log of an earlier part of this training, up to this step."""
        if self.out is not None:
            kept = [line for line in read_lines(self.out) if line["step"] < step]
            self.points = points_of(kept)
            self.out.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")


def rank_and_norm(x: np.ndarray) -> tuple[float, float]:
    """The effective rank and the median norm of vectors (n, d)."""
    norm = float(np.median(np.linalg.norm(x, axis=1)))
    return rankme(x) if x.any() else 1.0, norm


def tracked_name(key: str) -> str:
    """A measure's name for trackers, of which some refuse "@".

    >>> tracked_name("overlap@10")
    'watch/overlap_at_10'
    """
    return "watch/" + key.replace("@", "_at_")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a watch's log; [] where there is none. Raises InputError if the file holds anything else."""
    if not path.exists():
        return []
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
        if all("measures" in line and isinstance(line["step"], int) for line in lines):
            return lines
    except (OSError, ValueError, TypeError, KeyError):
        pass
    raise InputError(f"out: {path} is not the log of a watch; choose another file")


def _joined(teacher: Space, ids: Any) -> np.ndarray:
    """The teacher's row of every id."""
    if teacher.ids is None:
        raise InputError("teacher: has no ids to join the inputs by; give features with ids, or leave ids out")
    row_of = {str(id): row for row, id in enumerate(np.asarray(teacher.ids).tolist())}
    wanted = [str(id) for id in np.asarray(ids).tolist()]
    if missing := [id for id in wanted if id not in row_of]:
        raise InputError(f"ids: {len(missing):,} are not among the teacher's ids, the first {missing[0]!r}; add them")
    return np.array([row_of[id] for id in wanted])
