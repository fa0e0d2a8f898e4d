"""Watch how faithful a student becomes, on a fixed set of rows, in a training loop of any kind.

    watch = Watch(teacher=features, inputs=dataset, every=100)      # features (n, d), one row for each input
    for step, batch in enumerate(loader):
        watch.step(model, step, loss)                               # loss of the step before, a number or a tensor
        ...

A measurement embeds the rows, logs the catalogue's watched measures to a file of JSON lines, to Python's logging and to
``log(values, step)``, and warns early (`signs`). It never changes the training, and its errors never end it.
"""

from __future__ import annotations

import inspect
import json
import logging
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import linalg

from manifold_probe.engine.inputs import as_codes, as_matrix, check_k
from manifold_probe.engine.scale import at_unit_scale
from manifold_probe.errors import InputError
from manifold_probe.evaluation.watch import watched
from manifold_probe.files import check_file, write_whole
from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP
from manifold_probe.measures.dimensions import effective_rank
from manifold_probe.models.outputs import one_tensor
from manifold_probe.models.pooling import pool
from manifold_probe.spaces.columns import clean_column
from manifold_probe.spaces.pairing import locate
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
            ids = None if ids is None else clean_column(ids, "ids", "ids")
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
        self.rows, self.shared, self.held_out = len(chosen), shared, None if shared is None else not shared
        if shared:
            self.logger.warning(
                f"watch: {shared:,} of the {self.rows:,} watched rows are trained on, and do not show how faithful the "
                "student is on new rows; give rows that are held out"
            )
        self.values: dict[str, float] = {}  # of the last measurement, by the names for trackers
        self.points: list[Point] = []
        self.width: dict[str, int] = {}
        self.total: Any = 0.0  # of the losses since the last measurement
        self.count = 0
        self.last: int | None = None
        self.kept: str | None = None  # of an earlier log, until the first line is written
        self.out = None if out is None else Path(out)
        if self.out is not None:
            check_file(self.out, "out")
            read_lines(self.out)

    def step(self, model: Any, step: int, loss: Any = None, epoch: float | None = None) -> dict[str, float] | None:
        """Measure at the first call and where a multiple of ``every`` is reached, as `measure`; None at other steps.

        ``step`` is the number of updates of the weights so far, ``loss`` that of the last update.
        """
        self.add(loss)
        return self.measure(model, step, epoch=epoch) if self.is_due(step) else None

    def add(self, loss: Any) -> None:
        """A loss for the mean of the next measurement, a number or a tensor; without a wait for its device."""
        with suppress(TypeError, ValueError, RuntimeError):  # the loss is left out, and the training goes on
            if loss is not None:
                self.total += loss.detach().float().mean() if isinstance(loss, torch.Tensor) else float(loss)
                self.count += 1

    def is_due(self, step: int) -> bool:
        """Whether `step` measures there."""
        if self.every is None:
            return False
        return self.last is None or step // self.every != self.last // self.every

    def measure(self, model: Any, step: int, loss: float | None = None, epoch: float | None = None) -> dict[str, Any]:
        """Measure now: {measure: value} of the backbone; {} if it failed. Of several processes the first reports it."""
        first, total, count = self.last is None, self.total, self.count
        self.last, self.total, self.count = step, 0.0, 0
        self.values = {tracked_name(OVERLAP.named(self.k)): math.nan}  # never the best, if the measurement fails
        of_several = torch.distributed.is_available() and torch.distributed.is_initialized()
        reports = not of_several or torch.distributed.get_rank() == 0
        try:
            if first and reports:
                self._resume(step)
            loss = float(total) / count if loss is None and count else loss
            loss = loss if loss is not None and np.isfinite(loss) else None
            _check_whole(model)
            with untouched(model):
                sides = self.features(model)
            values, warnings = self.judge(sides, step, loss)
            point, backbone = self.points[-1], values["backbone"]
            named = {**backbone, "rank": point.rank, "norm": point.norm}
            if values["head"] is not backbone:
                named |= {f"head/{key}": value for key, value in values["head"].items()}
            self.values = {tracked_name(key): value for key, value in named.items() if value is not None}
            if reports:
                self._report(point, values, warnings, epoch)
        except Exception as error:
            if self.strict:
                raise
            why = error if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            self.logger.error(f"watch: no measurement at step {step:,} ({why}); the training goes on")
            return {}
        return backbone

    def _report(self, point: Point, values: Measures, warnings: list[str], epoch: float | None) -> None:
        """A line of the log, of Python's logging, and the tracker's values."""
        if self.out is not None:
            known = {"step": point.step, "epoch": epoch, "loss": point.loss}
            line = {
                **{name: value for name, value in known.items() if value is not None},
                "probe": {"rows": self.rows, "seen": self.shared, "held_out": self.held_out},
                "measures": values,
                "rank": point.rank,
                "norm": point.norm,
                "warnings": warnings,
            }
            self._write(json.dumps(line, allow_nan=False) + "\n")
        shown = {**values["backbone"], "rank": point.rank}
        main = [key for key in (OVERLAP.named(self.k), DEBIASED_CKA.key, "rank") if shown[key] is not None]
        words = ", ".join(f"{key} {shown[key]:.3g}" for key in main)
        self.logger.info(f"watch: step {point.step:,}: {words}")
        for warning in warnings:
            self.logger.warning(f"watch: step {point.step:,}: {warning}")
        if self.log is not None:
            self.log(self.values, point.step)

    def _write(self, line: str) -> None:
        """Add a line to the log; the first with what is kept of an earlier one, at once, for whoever follows it."""
        assert self.out is not None
        if self.kept is not None:
            write_whole(self.out, self.kept + line)
            self.kept = None
        else:
            with open(self.out, "a", encoding="utf-8") as log:
                log.write(line)

    def features(self, model: Any) -> Sides:
        """The features of student and teacher, at the backbone and at the head; without a head both are one."""
        if isinstance(model, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
            model = model.module
        parameters = model.parameters() if isinstance(model, torch.nn.Module) else ()
        like = next((parameter for parameter in parameters if parameter.is_floating_point()), None)
        parts: dict[str, list[torch.Tensor]] = {}
        for batch in self.batches:
            output = self.embed(model, moved(batch, like))
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
            if (first := self.width.setdefault(side, student.shape[1])) != student.shape[1]:
                now = student.shape[1]
                raise InputError(f"{side}: the student gave {first} dimensions before and {now} now; embed one layer")
        backbone = sides["backbone"][0]
        values: Measures = {}
        for side, (student, teacher) in sides.items():
            same = side != "backbone" and student is backbone and teacher is sides["backbone"][1]
            values[side] = values["backbone"] if same else watched(student, teacher, self.labels, self.k, self.seed)
        self.points.append(Point(step, loss, overlaps(values), *rank_and_norm(backbone)))
        rank = min(self.rank, backbone.shape[1])
        held = signs(self.points[:-1], rank, self.norm)
        raised = signs(self.points, rank, self.norm)
        return values, [sentence for kind, sentence in raised.items() if kind not in held]

    def _output(self, model: Any, batch: Any) -> torch.Tensor:
        """The model's features of a batch."""
        if isinstance(batch, list) and isinstance(batch[0], str):
            if not hasattr(model, "encode"):
                raise InputError(f"{type(model).__name__}: has no encode() for texts; give embed=, or tokenised inputs")
            encoded: torch.Tensor = model.encode(batch, convert_to_tensor=True, show_progress_bar=False)
            return encoded
        batch = first_of(batch)
        if isinstance(batch, Mapping):
            taken = inspect.signature(getattr(model, "forward", model)).parameters  # not a text beside its tokens
            batch = {name: value for name, value in batch.items() if name in taken} or batch
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
            lines = read_lines(self.out)
            kept = [line for line in lines if line["step"] < step]
            self.points = points_of(kept)
            self.kept = "".join(json.dumps(line) + "\n" for line in kept)
            if len(kept) < len(lines):
                replaced = f"{len(lines) - len(kept):,} of its {len(lines):,} measurements"
                self.logger.warning(f"watch: {self.out}: {replaced}, from step {step:,} on, are replaced")


def rank_and_norm(x: np.ndarray) -> tuple[float, float]:
    """The effective rank (`measures.rankme`, from the smaller product) and the median norm of vectors (n, d)."""
    norm = float(np.median(np.linalg.norm(x, axis=1)))
    scaled = at_unit_scale(x).astype(np.float64)
    products = scaled.T @ scaled if x.shape[1] < len(x) else scaled @ scaled.T
    rank = effective_rank(np.sqrt(np.maximum(linalg.eigvalsh(products), 0)))
    return (rank if x.any() else 1.0), norm


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


def _joined(teacher: Space, ids: np.ndarray) -> np.ndarray:
    """The teacher's row of every id."""
    if teacher.ids is None:
        raise InputError("teacher: has no ids to join the inputs by; give features with ids, or leave ids out")
    known, wanted = np.asarray(teacher.ids).astype(str), ids.astype(str)
    for name, several in (("teacher", known), ("ids", wanted)):
        if len(several) > len(np.unique(several)):
            raise InputError(f"{name}: an id stands there twice; make every id unique")
    place = locate(wanted, known)
    if (missing := wanted[place < 0]).size:
        first = str(missing[0])
        raise InputError(f"ids: {len(missing):,} are not among the teacher's ids, the first {first!r}; add them")
    return place


def _check_whole(model: Any) -> None:
    """Refuse a model whose weights are spread over processes: one alone would wait for the others for ever."""
    parts = [*model.modules(), *model.parameters()] if isinstance(model, torch.nn.Module) else []
    kinds = {kind.__name__ for part in parts for kind in type(part).__mro__}
    if kinds & {"FullyShardedDataParallel", "FSDPModule", "DTensor"} or any(hasattr(part, "ds_id") for part in parts):
        raise InputError("the model is sharded, and one process alone cannot run it; measure its checkpoints")
