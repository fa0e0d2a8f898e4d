"""A prepared run: data, teacher, student, method, optimiser and the order of rows, from a configuration."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from manifold_probe.distillation import learner as learners
from manifold_probe.distillation.config import MIN_PROBE_ROWS, TOKENS, Config, warm_up_warning
from manifold_probe.distillation.learner import Learner
from manifold_probe.distillation.method import Method
from manifold_probe.distillation.methods import method_named
from manifold_probe.distillation.order import Order, in_parts, neighbour_batches, shuffled, steps_of
from manifold_probe.distillation.targets import Targets, constant_kind, live_targets, only_logits, stored_targets
from manifold_probe.engine.inputs import codes_of
from manifold_probe.errors import InputError
from manifold_probe.extraction.batches import batches
from manifold_probe.extraction.cache import features_of
from manifold_probe.extraction.data import Data, open_data
from manifold_probe.extraction.examples import Examples
from manifold_probe.extraction.processes import Processes
from manifold_probe.extraction.recipe import named_recipe
from manifold_probe.extraction.run import projection
from manifold_probe.extraction.work import Request, Work, prepared
from manifold_probe.models.build import reason
from manifold_probe.models.load import forward, load_model
from manifold_probe.models.pooling import pool
from manifold_probe.models.source import is_source
from manifold_probe.models.weights import fingerprint
from manifold_probe.parts import Progress
from manifold_probe.spaces.labels import marked

KEPT_BATCHES = 4  # one more than are read ahead
TRIAL_ROWS = 64
EMBED_ROWS = 256  # rows at a time without training
PCA_ROWS = 20_000
SPLIT_STREAM = 1  # the stream of random numbers that splits rows


@dataclass
class Setting:
    """All that the training loop needs. ``rows`` are the rows to train on, ``probe`` the rows to measure."""

    config: Config
    data: Data
    targets: Targets
    learner: Learner
    method: Method
    optimiser: torch.optim.Optimizer
    examples: Examples
    order: Order
    rows: np.ndarray
    probe: np.ndarray
    labels: np.ndarray | None  # class numbers
    learns_labels: bool  # whether the loss sees them
    names: np.ndarray | None  # labels as given
    device: torch.device
    first_weights: str
    teacher_sha: str
    averaged: AveragedModel | None = None

    @property
    def measured(self) -> tuple[Learner, Method]:
        """Student and method as they are measured and saved: with averaged weights, if there are any."""
        if self.averaged is None:
            return self.learner, self.method
        student, method = self.averaged.module.children()
        assert isinstance(method, Method)
        return self.learner.with_module(student), method

    @property
    def steps(self) -> int:
        """Steps per epoch."""
        return len(self.order(0))

    @property
    def has_head(self) -> bool:
        """Whether there is a layer between the backbone and the loss."""
        return self.learner.classifier is not None or not isinstance(self.method.student_head, nn.Identity)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All trained parameters."""
        return [parameter for group in self.optimiser.param_groups for parameter in group["params"]]

    def record(self) -> dict[str, Any]:
        """All that determines the result of the run: it can only be resumed with the same record."""
        return {
            **asdict(self.config),
            "the data's ids and labels": self.data.listing,
            "the teacher's features": self.teacher_sha,
            "the student's first weights": self.first_weights,
        }

    def view_of(self, epoch: int) -> int:
        """The view of an epoch: a new one every epoch, as far as there are stored ones."""
        if self.config.augment == "plain":
            return 0
        return 1 + (epoch if self.targets.views is None else epoch % self.targets.views)

    def target(self, rows: np.ndarray, view: int) -> Tensor:
        """The teacher's vectors of a batch, on the device."""
        return self.targets.batch(rows, view).to(self.device, non_blocking=True)

    def batch_labels(self, rows: np.ndarray) -> Tensor | None:
        """The labels of a batch; None if the loss does not see labels or there are none."""
        if self.labels is None or not self.learns_labels:
            return None
        return torch.from_numpy(self.labels[rows]).to(self.device)

    def autocast(self) -> Any:
        """bfloat16 autocast if the device supports it."""
        if self.device.type == "cuda" and torch.cuda.is_bf16_supported():
            return torch.autocast("cuda", torch.bfloat16)
        return nullcontext()

    @torch.no_grad()
    def embed(self, rows: np.ndarray, progress: Callable[[int], None] | None = None) -> tuple[Any, Any]:
        """Backbone (n, d) and head (n, d'), float32, of rows in the plain view, in eval mode; ``progress`` receives the
        number of rows done."""
        learner, method = self.measured
        learner.module.eval()
        method.eval()
        parts = []
        for start in range(0, len(rows), EMBED_ROWS):
            with self.autocast():
                backbone, output = learner.embed(self.examples.batch(rows[start : start + EMBED_ROWS]))
            head = method.student_head((backbone if learner.gives_tokens else output).float())
            parts.append((backbone.float().cpu().numpy(), head.float().cpu().numpy()))
            if progress is not None:
                progress(start + len(parts[-1][0]))
        return tuple(np.concatenate(side) for side in zip(*parts, strict=True))  # type: ignore[return-value]

    @torch.no_grad()
    def teacher_side(self, teacher: Tensor) -> np.ndarray:
        """The teacher's vectors as the loss receives them: after the teacher's head, if the method has one."""
        _, method = self.measured
        method.eval()
        features: np.ndarray = method.teacher_head(teacher.to(self.device)).float().cpu().numpy()
        return features


def prepare(
    config: Config,
    processes: Processes,
    tell: Callable[[str], None],
    progress: Progress | None = None,
    other: Setting | None = None,
    trial: bool = False,
) -> Setting:
    """Open everything that a configuration names, and check that it is consistent; ``progress`` reports the extraction
    of features if the teacher is a model.

    ``other`` is a setting of the same run but for the student: its data and teacher are shared. For a ``trial`` of a
    few steps a teacher that is a model is not run on all rows: it has the features of its first rows, repeated.

    Raises
    ------
    InputError
        For a field that does not fit.
    """
    device = torch.device("cuda", processes.local % torch.cuda.device_count()) if torch.cuda.is_available() else None
    device = device or torch.device("cpu")
    data = open_data(config.data, ids=config.ids, labels=config.labels) if other is None else other.data
    config = config.settled(data.n)
    kind = method_named(config.method)
    needs, use = kind.needs, kind.labels
    if needs not in ("features", "logits"):  # a method that takes both uses what the teacher's path names
        needs = "logits" if only_logits(config.teacher) else "features"
        if needs == "features" and use == "optional":
            use = "unused"  # optional is a cross-entropy, which needs logits
    if other is not None:
        targets = other.targets
    elif is_source(config.teacher):
        targets = _targets_of_model(config, data, needs, device, processes, tell, progress, trial)
    else:
        targets = stored_targets(config, data, needs)
    names = data.labels if data.labels is not None else targets.labels
    labels = None if names is None else _codes(names, config.method, use, data.source)
    if use == "needed" and labels is None:
        raise InputError(f"--method: {config.method} needs labels, and {data.source} has none; add them, or --labels")
    _check_constant(config.teacher, targets, uses_labels=use != "unused" and labels is not None, tell=tell)
    seed = config.seed
    learner = learners.make(
        config.student,
        data,
        seed,
        classes=targets.width if needs == "logits" else None,
        weights=config.weights,
        size=config.size,
        mean=config.mean,
        std=config.std,
        pooling=config.pool,
        tokens=targets.tokens,
    )
    if labels is not None and needs == "logits" and use != "unused" and labels.max() >= targets.width:
        raise InputError(
            f"{data.source}: has {labels.max() + 1} classes, but the teacher has logits for {targets.width}; give "
            "labels of the teacher's classes"
        )
    if other is not None and other.learner.preprocessing == learner.preprocessing:
        examples = other.examples
    else:
        examples = Examples(data, learner.preprocessing, named_recipe(config.augment), seed, device)
    learner.module.to(device)
    if device.type == "cuda":
        learner.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    width = _width(learner, examples, targets.tokens)
    torch.manual_seed(seed)  # for the head's weights, and for random numbers drawn during training
    rows, probe = split(config, data.n)
    method = _method(config, kind, width, targets, rows).to(device)
    learner.module.train()
    setting = Setting(
        config=config,
        data=data,
        targets=targets,
        learner=learner,
        method=method,
        optimiser=_optimiser(config, learner, method, device),
        examples=examples,
        order=_order(config, rows, targets, processes),
        rows=rows,
        probe=probe,
        labels=labels,
        learns_labels=use != "unused",
        names=names,
        device=device,
        first_weights=fingerprint(learner.module),
        teacher_sha=_digest(targets.plain),
        averaged=_averaged(config, learner, method),
    )
    if config.batch_size == processes.count:
        _check_single(setting)
    return setting


def warnings_of(setting: Setting) -> list[str]:
    """Warnings to print before training: an unverified pairing, a warm-up longer than the run."""
    config, pairing = setting.config, setting.targets.pairing
    warnings = []
    if not pairing["verified"]:
        doubt = "if their order differs, the student learns the targets of other items"
        if other := pairing.get("other_ids"):
            doubt = (
                f"the ids of {other:,} of {len(setting.data.ids):,} rows differ, so the student learns the targets of "
                "other items unless the ids are wrong; leave --positional out to pair by ids"
            )
        warnings.append(
            f"unverified: the rows of {config.teacher} and {config.data} are paired by position alone; {doubt}"
        )
    whole_pass = steps_of(replace(config, samples=None), len(setting.rows)) * config.batch_size
    if config.samples is not None and config.samples > whole_pass:
        warnings.append(f"--samples: {config.samples:,} are more than a pass has; an epoch has {whole_pass:,}")
    too_short = warm_up_warning(config)
    return warnings if too_short is None else [*warnings, too_short]


def _targets_of_model(
    config: Config,
    data: Data,
    needs: str,
    device: torch.device,
    processes: Processes,
    tell: Callable[[str], None],
    progress: Progress | None,
    trial: bool,
) -> Targets:
    for option, given in (("--positional", config.positional), ("--teacher-ids", config.teacher_ids is not None)):
        if given:
            raise InputError(f"{option}: is for a file of features; {config.teacher} is a model; leave {option} out")
    model = load_model(config.teacher, takes=data.kind)
    has_preprocessing = model.preprocessing is not None
    live_tokens = config.tokens and config.augment != "plain"  # then the class tokens alone are stored, to be measured
    request = Request(
        config.teacher,
        config.data,
        ids=config.ids,
        labels=config.labels,
        pooling="cls" if live_tokens else config.teacher_pool,
        dtype="float32",
        size=None if has_preprocessing else config.size,
        mean=None if has_preprocessing else config.mean,
        std=None if has_preprocessing else config.std,
    )
    if config.tokens:
        _check_grid(config, data, prepared(replace(request, pooling=TOKENS), processes.local, model))
    if not trial:
        path = features_of(request, tell=tell, progress=progress)
        if config.tokens and not live_tokens:
            return stored_targets(replace(config, teacher=str(path)), data, needs)
    work = prepared(request, processes.local, model)
    assert work.model.preprocessing is not None
    examples = Examples(data, work.model.preprocessing, named_recipe(config.augment), config.seed, device)

    @recent
    def teacher_view(rows: np.ndarray, view: int) -> Tensor:
        batch = examples.batch(rows, view)
        with torch.no_grad():
            mask = batch.get("attention_mask") if hasattr(batch, "get") else None
            return pool(forward(work.model, batch, config.teacher_pool), config.teacher_pool, mask)

    if trial:
        tell(f"the teacher's features: {projection(work)}")
        return _trial_targets(config, data, teacher_view)
    tokens = teacher_view(np.arange(1), 1).shape[1] if live_tokens else None
    return live_targets(path, data, teacher_view, tokens)


def _check_grid(config: Config, data: Data, work: Work) -> None:
    """Refuse a student of another grid than the teacher's before the teacher runs on all rows. Raises InputError."""
    (first, *_) = batches(data, range(1), 1, work.prepare, work.collate)
    if not first.rows:
        return  # the extraction names what cannot be read
    tokens = work.outputs(first.input)["features"].shape[1]
    learner = learners.make(
        config.student,
        data,
        config.seed,
        weights=config.weights,
        size=config.size,
        mean=config.mean,
        std=config.std,
        pooling=config.pool,
        tokens=tokens,
    )
    _width(learner, Examples(data, learner.preprocessing, named_recipe("plain"), config.seed), tokens)


def _trial_targets(config: Config, data: Data, teacher_view: Callable[[np.ndarray, int], Tensor]) -> Targets:
    """Targets of the right shapes and cost: the teacher's features of the first rows stand for all rows."""
    first = teacher_view(np.arange(min(TRIAL_ROWS, data.n)), 0)
    rows = torch.arange(data.n) % len(first)

    def stored(batch: np.ndarray, _: int) -> Tensor:
        return first[rows[torch.from_numpy(batch)]]

    view = stored if config.augment == "plain" else teacher_view
    plain = (first[:, 0] if config.tokens else first)[rows]
    tokens = first.shape[1] if config.tokens else None
    return Targets(config.teacher, plain, None, None, view, {"by": "id", "verified": True}, tokens)


def recent(view: Callable[[np.ndarray, int], Tensor]) -> Callable[[np.ndarray, int], Tensor]:
    """The same function, which keeps its last few results: students that train together ask for the same batches."""
    kept: dict[tuple[bytes, int], Tensor] = {}
    lock = Lock()

    def remembered(rows: np.ndarray, view_number: int) -> Tensor:
        key = (rows.tobytes(), view_number)
        with lock:
            if key not in kept:
                kept[key] = view(rows, view_number)
                while len(kept) > KEPT_BATCHES:
                    del kept[next(iter(kept))]
            return kept[key]

    return remembered


def _codes(names: np.ndarray, method: str, use: str, source: str) -> np.ndarray | None:
    """Labels as class numbers, -1 for rows without a label; None if no row has one.

    Raises InputError if the method trains on labels and only some rows have one.
    """
    codes, classes = codes_of(marked(names))
    unlabelled = int((codes < 0).sum())
    if use != "unused" and 0 < unlabelled < len(codes):
        raise InputError(
            f"{source}: {unlabelled:,} of {len(codes):,} items have no label, and {method} trains on labels; leave "
            "these items out, or choose a method that needs no labels"
        )
    return codes if len(classes) else None


def _width(learner: Learner, examples: Examples, tokens: int | None) -> int:
    """Dimensions of the loss's input, from two rows."""
    learner.module.eval()
    try:
        with torch.no_grad():
            output = learner.embed(examples.batch(np.arange(min(2, examples.data.n))))[1]
    except RuntimeError as error:
        raise InputError(f"{learner.model}: cannot take the images ({reason(error)}); check --size") from error
    if learner.gives_tokens and output.shape[1] != tokens:
        raise InputError(
            f"--pool: the student {learner.model} gives {output.shape[1]} tokens an input and the teacher "
            f"{tokens}, and tokens are learnt place by place; give both the same grid (--size, patch size), or "
            "--pool cls"
        )
    return int(output.shape[-1])


def _averaged(config: Config, learner: Learner, method: Method) -> AveragedModel | None:
    """The moving average of the weights of student and method; None without ``config.ema``."""
    if config.ema is None:
        return None
    both = nn.ModuleList([learner.module, method])
    return AveragedModel(both, multi_avg_fn=get_ema_multi_avg_fn(config.ema))


def _check_constant(teacher: str, targets: Targets, *, uses_labels: bool, tell: Callable[[str], None]) -> None:
    """Refuse a teacher whose rows are all equal; only warn if the method also trains on labels."""
    kind = constant_kind(targets.plain)
    if kind is None:
        return
    problem = f"{teacher}: the teacher's rows are {kind}: nothing to distil"
    if not uses_labels:
        raise InputError(f"{problem}; check how they were extracted")
    tell(f"warning: {problem}; the student learns from the labels only")


def split(config: Config, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(rows to train on, rows to measure): the held-out rows are measured, or, if there are none, training rows."""
    order = np.random.default_rng([config.seed, SPLIT_STREAM]).permutation(n)
    held = round((config.held_out or 0) * n)
    if n < MIN_PROBE_ROWS:
        raise InputError(f"--data: {n} rows are too few to train on and measure; give at least {MIN_PROBE_ROWS}")
    if config.held_out and held < MIN_PROBE_ROWS:
        raise InputError(
            f"--held-out: {held} of {n:,} rows are too few to measure anything; hold out at least {MIN_PROBE_ROWS}"
        )
    probe = order[:held] if held else order
    return np.sort(order[held:]), np.sort(probe[: config.probe_rows])


def _method(config: Config, kind: type[Method], width: int, targets: Targets, rows: np.ndarray) -> Method:
    options: dict[str, Any] = dict(config.options)
    if config.head == "pca":
        options["sample"] = targets.plain[torch.from_numpy(rows[:PCA_ROWS])].float()
    try:
        return kind(width, targets.width, head=config.head, **options)
    except InputError as error:
        raise InputError(f"--method: {config.method}: {error}") from error


def _check_single(setting: Setting) -> None:
    """Try a batch of one row, on a copy: many losses compare rows, and batch norm needs more than one value."""
    learner, method = copy.deepcopy((setting.learner, setting.method))
    row = setting.rows[:1]
    try:
        with torch.no_grad():
            output = learner.embed(setting.examples.batch(row))[1].float()
            method(output, setting.target(row, 0), setting.batch_labels(row))
    except (InputError, ValueError, RuntimeError) as error:
        raise InputError(f"--batch-size: 1 row is too few to train on ({error}); give a larger batch") from error


def _optimiser(config: Config, learner: Learner, method: Method, device: torch.device) -> torch.optim.Optimizer:
    """The optimiser of backbone and head. A parametrised weight, as in the orthogonal head, has no weight decay: its
    parameters are angles, and torch's map becomes ill-conditioned when they shrink."""
    named = [*learner.module.named_parameters(), *method.named_parameters()]
    trained = [(name, parameter) for name, parameter in named if parameter.requires_grad]
    plain = [parameter for name, parameter in trained if "parametrizations" not in name]
    angles = [parameter for name, parameter in trained if "parametrizations" in name]
    groups: list[dict[str, Any]] = [{"params": plain}]
    if angles:
        groups.append({"params": angles, "weight_decay": 0.0})
    fused = device.type == "cuda"
    if config.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=config.rate, weight_decay=config.weight_decay, fused=fused)
    return torch.optim.SGD(
        groups, lr=config.rate, momentum=config.momentum, weight_decay=config.weight_decay, fused=fused
    )


def _order(config: Config, rows: np.ndarray, targets: Targets, processes: Processes) -> Order:
    if config.batch_size % processes.count:
        raise InputError(
            f"--batch-size: {config.batch_size} is not a multiple of the {processes.count} processes; give one"
        )
    if config.neighbour_batches:
        features = targets.plain[torch.from_numpy(rows)].numpy()
        order = neighbour_batches(rows, features, config.batch_size, config.seed)
    else:
        order = shuffled(rows, config.batch_size, config.seed)
    return order if config.samples is None else in_parts(order, config.samples // config.batch_size)


def _digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()
