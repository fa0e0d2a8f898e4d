"""The configuration of a training run: a method's published recipe, overridden by a TOML file and the command line.

    config = resolved({"method": "coss", "teacher": "t.pt", "student": "conv4", "data": "digits.npz", "epochs": 8})

All fields are final before training starts. They are saved in the run's folder and compared when the run is resumed.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from manifold_probe.distillation.methods import METHODS, constants, method_named
from manifold_probe.distillation.recipes import PUBLISHED, training_recipe
from manifold_probe.errors import InputError
from manifold_probe.extraction.recipe import RECIPES, named_recipe

TOKENS = "tokens"
OPTIMISERS = ("sgd", "adamw")
SCHEDULES = ("cosine", "hold-cosine", "steps", "constant")
HELD_OUT_SHARE, MIN_HELD_OUT, MAX_HELD_OUT, MAX_HELD_OUT_SHARE = 0.1, 100, 10_000, 0.25  # see `default_held_out`
MIN_PROBE_ROWS = 12  # ten neighbours are searched among the other rows


@dataclass(frozen=True)
class Config:
    """All settings of a run.

    ``rate`` is the highest learning rate. The schedule starts at ``warmup_rate`` and ends at ``final_rate``.
    ``options`` are the method's constants. ``augment`` is a recipe of views, "plain" for none. ``held_out`` is the
    share of rows that are kept out of training and measured instead; None is replaced once the number of rows is known,
    see `default_held_out`. ``probe_rows`` rows are measured every ``probe_every`` epochs, or after the epochs in
    ``probe_at``, and always after the last. ``log_every`` counts steps.
    ``samples`` cuts a pass over the rows into epochs of that many; what is left over is dropped.
    ``positional`` pairs the teacher's rows with the data by position; ``teacher_ids`` names a file of ids for them.
    ``accumulate`` is the number of parts in which a batch runs through the student, ``clip`` the largest norm of the
    gradient, and ``ema`` the decay of the averaged weights, which are then measured and saved in place of the last
    ones; None for each of them turns it off.
    """

    method: str
    teacher: str
    student: str
    data: str
    epochs: int
    batch_size: int
    seed: int = 0
    optimiser: str = "sgd"
    rate: float = 0.03
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "cosine"
    warmup_epochs: float = 0.0
    warmup_rate: float = 0.0
    final_rate: float = 0.0
    head: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    augment: str = "plain"
    neighbour_batches: bool = False
    samples: int | None = None
    held_out: float | None = None
    probe_rows: int = 2000
    probe_every: int = 1
    probe_at: list[int] | None = None
    log_every: int = 50
    weights: str | None = None
    size: str | None = None
    mean: str | None = None
    std: str | None = None
    pool: str | None = None
    teacher_pool: str | None = None
    ids: str | None = None
    labels: str | None = None
    positional: bool = False
    teacher_ids: str | None = None
    compile: bool = False
    accumulate: int | None = None
    clip: float | None = None
    ema: float | None = None

    def measures_after(self, epoch: int) -> bool:
        """Whether the held-out rows are measured after this epoch, counted from 1."""
        if epoch == self.epochs:
            return True
        return epoch % self.probe_every == 0 if self.probe_at is None else epoch in self.probe_at

    @property
    def tokens(self) -> bool:
        """Whether student and teacher give a set of vectors for each input."""
        return self.pool == TOKENS

    def settled(self, n: int) -> Config:
        """The config for data of ``n`` rows: with the default held-out share where none is given."""
        return self if self.held_out is not None else replace(self, held_out=default_held_out(n) / n)

    def toml(self) -> str:
        """The text of a TOML file with this config."""
        values = {name: value for name, value in asdict(self).items() if value is not None and name != "options"}
        lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
        lines += ["", "[options]", *(f"{name} = {json.dumps(value)}" for name, value in self.options.items())]
        return "\n".join(lines) + "\n"


def default_held_out(n: int) -> int:
    """How many of ``n`` rows are held out by default: a tenth, but at least 100 and at most 10,000.

    With fewer than 400 rows none, because training would lose more than a quarter of them.

    >>> [default_held_out(n) for n in (160, 400, 1_797, 1_000_000)]
    [0, 100, 180, 10000]
    """
    count = min(max(round(HELD_OUT_SHARE * n), MIN_HELD_OUT), MAX_HELD_OUT)
    return count if count <= MAX_HELD_OUT_SHARE * n else 0


def warm_up_warning(config: Config) -> str | None:
    """A message for a run that ends before its warm-up, with the fix; None for other runs.

    >>> values = {"method": "tintem", "teacher": "t.pt", "student": "conv4", "data": "d.npz", "epochs": 3}
    >>> warm_up_warning(resolved(values))
    'the run of 3 epochs ends within the warm-up of 5: the learning rate never reaches --rate; give --warmup-epochs 0.3'
    """
    if 0 < config.epochs <= config.warmup_epochs:
        return (
            f"the run of {epochs(config.epochs)} ends within the warm-up of {config.warmup_epochs:g}: the learning "
            f"rate never reaches --rate; give --warmup-epochs {config.epochs / 10:g}"
        )
    ramp = config.options.get("warmup", 0)
    if config.epochs < ramp:
        return (
            f"the run of {epochs(config.epochs)} ends within the warm-up of {ramp} of {config.method}'s loss, which "
            f"never gets its full weight; give --option warmup={config.epochs // 10}"
        )
    return None


def epochs(count: int) -> str:
    """ "1 epoch", "3 epochs"."""
    return f"{count:,} epoch{'s' * (count != 1)}"


def resolved(given: Mapping[str, Any], file: str | None = None, incomplete: bool = False) -> Config:
    """The method's published settings, overridden by ``given["recipe"]``, by the TOML ``file``, by the rest of
    ``given`` (None: not given).

    ``incomplete`` leaves teacher, student and data empty where they are missing.

    Raises
    ------
    InputError
        An unknown field (the message suggests the nearest), a wrong type, a value out of range, a missing field, or an
        option that the method does not have.
    """
    given = {name: value for name, value in given.items() if value is not None}
    recipe = training_recipe(given.pop("recipe")) if "recipe" in given else {}
    chosen: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for settings in (recipe, read_toml(file) if file is not None else {}, given):
        options |= settings.get("options", {})
        chosen |= {name: value for name, value in settings.items() if name != "options"}
    if recipe and str(chosen["method"]).lower() != recipe["method"]:
        raise InputError(f"--method: {chosen['method']} is not the recipe's {recipe['method']}; leave one of them out")
    if incomplete:
        chosen = {**dict.fromkeys(("teacher", "student", "data"), ""), **chosen}
    for name in ("method", "teacher", "student", "data"):
        if name not in chosen:
            raise InputError(f"--{name}: missing; give it, or a --config file that holds it")
    types = {setting.name: str(setting.type) for setting in fields(Config)}
    for name in chosen:
        if name not in types:
            near = get_close_matches(name, types, 1)
            fix = f"did you mean {near[0]}?" if near else "see probe distill --help"
            raise InputError(f"{name}: is not a setting of a run; {fix}")
    method = str(chosen["method"]).lower()
    method_named(method)
    values = {**PUBLISHED[method], **chosen, "method": method}
    values["options"] = method_options(method, options)
    values = {name: converted(name, value, types[name]) for name, value in values.items()}
    if values.get("pool") == TOKENS and values.get("teacher_pool") is None:
        values["teacher_pool"] = TOKENS
    config = Config(**values)
    _check(config)
    return config


def read_toml(path: str) -> dict[str, Any]:
    """A TOML file's table.

    Raises
    ------
    InputError
        When it cannot be read or is not valid TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--config: {path}: cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:
        raise InputError(f"--config: {path}: is not valid TOML ({error}); write lines such as epochs = 25") from error


def method_options(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The method's constants: the paper's values, replaced where others are given."""
    published = constants(method)
    for name in given:
        if name not in published:
            near = get_close_matches(name, published, 1)
            meant = f"did you mean {near[0]}? " if near else ""
            has = f"it has {', '.join(published)}" if published else "it has none"
            raise InputError(f"--option: {name}: {method} has no such constant; {meant}{has}")
    options = {}
    for name, default in published.items():
        value = given.get(name, default)
        if isinstance(default, tuple):
            value = list(value) if isinstance(value, list | tuple) else [value]
            kinds: Any = list
        else:
            kinds = (int, float) if isinstance(default, float) else type(default)
        if not isinstance(value, kinds) or (isinstance(value, bool) and not isinstance(default, bool)):
            raise InputError(f"--option: {name} is {value!r}; give a value like {default!r}")
        options[name] = float(value) if isinstance(default, float) else value
    return options


def converted(name: str, value: Any, kind: str) -> Any:
    """A value in the type of its field: 1 becomes 1.0 for a float, 32 becomes "32" for a str."""
    wanted = kind.removesuffix(" | None")
    if wanted == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted == "str" and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)  # such as size = 32 in a TOML file
    kinds = {"int": int, "float": float, "str": str, "bool": bool, "list[int]": list}
    if wanted in kinds and (not isinstance(value, kinds[wanted]) or (wanted == "int" and isinstance(value, bool))):
        raise InputError(f"--{name.replace('_', '-')}: {value!r} is not of type {wanted}; give a value of that type")
    return value


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Every field in which two records of configs differ, with both values.

    A setting that an old record of an earlier version lacks differs only if it is set in the new record.

    >>> differences({"epochs": 8, "seed": 0}, {"epochs": 9, "seed": 0})
    ['epochs (8 there, 9 now)']
    """
    old, new = (
        {**{name: value for name, value in record.items() if name != "options"}, **record.get("options", {})}
        for record in (old, new)
    )
    return [
        f"{name} ({_short(old.get(name))} there, {_short(new.get(name))} now)"
        for name in {**old, **new}
        if old.get(name) != new.get(name) and (name in old or new[name])
    ]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:16]}...{text[-8:]}"


def _check(config: Config) -> None:
    for name in ("epochs", "batch_size", "probe_every", "log_every", "samples", "accumulate"):
        count = getattr(config, name)
        if count is not None and count < 1:
            raise InputError(f"--{name.replace('_', '-')}: {count} is below 1; give at least 1")
    for name in ("rate", "weight_decay", "momentum", "warmup_epochs", "warmup_rate", "final_rate"):
        if not 0 <= getattr(config, name) < float("inf"):
            option = name.replace("_", "-")
            raise InputError(f"--{option}: {getattr(config, name)} is not a finite number of at least 0; give one")
    if config.held_out is not None and not 0 <= config.held_out <= 0.9:
        raise InputError(f"--held-out: {config.held_out} is not a share of the rows; give a number from 0 to 0.9")
    if config.samples is not None and config.samples < config.batch_size:
        raise InputError(
            f"--samples: {config.samples} samples an epoch are less than one batch of {config.batch_size}; give more, "
            "or a smaller --batch-size"
        )
    if config.probe_rows < MIN_PROBE_ROWS:
        raise InputError(
            f"probe_rows: {config.probe_rows} are too few to measure anything; give at least {MIN_PROBE_ROWS}"
        )
    for epoch in config.probe_at or []:
        if not isinstance(epoch, int) or not 1 <= epoch <= config.epochs:
            raise InputError(f"probe_at: {epoch!r} is not an epoch; give numbers from 1 to {config.epochs}")
    if config.clip is not None and not 0 < config.clip < float("inf"):
        raise InputError(f"--clip: {config.clip} is not a finite number above 0; give the largest norm of the gradient")
    if config.ema is not None and not 0 < config.ema < 1:
        raise InputError(f"--ema: {config.ema} is not a decay; give a number between 0 and 1, such as 0.999")
    if (config.accumulate or 1) > config.batch_size:
        raise InputError(
            f"--accumulate: a batch of {config.batch_size} rows has no {config.accumulate} parts; give at most "
            f"{config.batch_size}"
        )
    if TOKENS in (config.pool, config.teacher_pool):
        if config.pool != config.teacher_pool:
            student, teacher = (how or "no pooling" for how in (config.pool, config.teacher_pool))
            raise InputError(
                f"--pool: {student} of the student and {teacher} of the teacher do not fit; tokens are learnt from "
                "tokens, give tokens for both"
            )
        if not method_named(config.method).takes_tokens:
            takers = ", ".join(name for name, kind in METHODS.items() if kind.takes_tokens)
            raise InputError(
                f"--pool: {config.method} takes one vector an input, not tokens; give cls or mean, or --method {takers}"
            )
    for name, choices in (("optimiser", OPTIMISERS), ("schedule", SCHEDULES), ("augment", tuple(RECIPES))):
        if getattr(config, name) not in choices:
            raise InputError(f"--{name}: {getattr(config, name)!r} is not known; choose one of {', '.join(choices)}")
    named_recipe(config.augment)
