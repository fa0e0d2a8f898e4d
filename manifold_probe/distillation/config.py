"""What a training run is asked for: a method's published recipe, a TOML file over it, the command line over that.

    config = resolved({"method": "coss", "teacher": "t.pt", "student": "conv4", "data": "digits.npz", "epochs": 8})

Every field is settled before training, saved in the run's folder, and compared when the run is resumed.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from manifold_probe.distillation.methods import constants, method_named
from manifold_probe.errors import InputError
from manifold_probe.extraction.recipe import RECIPES, named_recipe

OPTIMISERS = ("sgd", "adamw")
SCHEDULES = ("cosine", "hold-cosine", "steps", "constant")
HELD_OUT, FEWEST_HELD, MOST_HELD, MOST_SHARE = 0.1, 100, 10_000, 0.25  # where nothing is said: see `held_rows`
FEWEST_MEASURED = 12  # rows: ten neighbours are searched among the others

# Published optimisation. CoSS, TinTeM and CKD as their papers' code; RKD, SP, PKT, KD, DKD and DIST as the CIFAR-100
# comparisons of CRD and DKD train them; the others, which share CoSS's setting, as CoSS.
_IMAGENET = {"optimiser": "sgd", "rate": 0.03, "weight_decay": 1e-4, "momentum": 0.9, "batch_size": 256}
_CIFAR = {"optimiser": "sgd", "rate": 0.05, "weight_decay": 5e-4, "momentum": 0.9, "batch_size": 64}
_COSS = {**_IMAGENET, "epochs": 25, "schedule": "hold-cosine"}
_TINTEM = {
    "optimiser": "adamw", "rate": 5e-4, "weight_decay": 0.05, "batch_size": 1024, "epochs": 300,
    "schedule": "cosine", "warmup_epochs": 5.0, "warmup_rate": 1e-6, "final_rate": 1e-5,
}  # fmt: skip
_STEPS = {**_CIFAR, "epochs": 240, "schedule": "steps"}
PUBLISHED: dict[str, dict[str, Any]] = {
    "coss": _COSS,
    "cosine": {**_IMAGENET, "epochs": 130, "schedule": "cosine"},
    "mse": {**_IMAGENET, "epochs": 130, "schedule": "cosine"},
    "tintem": _TINTEM,
    "cospress": _TINTEM,
    "ckd": {**_CIFAR, "epochs": 480, "schedule": "cosine"},
    "seed": {**_IMAGENET, "epochs": 200, "schedule": "cosine"},
    "compress": {**_IMAGENET, "epochs": 130, "schedule": "cosine"},
    **dict.fromkeys(("rkd", "sp", "pkt", "kd", "dkd", "dist"), _STEPS),
}


@dataclass(frozen=True)
class Config:
    """A run, settled.

    ``rate`` is the highest learning rate. ``warmup_rate`` and ``final_rate`` are where the schedule begins and ends.
    ``options`` are the method's constants. ``augment`` is a recipe of views, "plain" for none. ``held_out`` is the
    share of rows that are kept out of training and measured instead; None is settled when the number of rows is known,
    see `held_rows`. ``probe_rows`` are watched every ``probe_every`` epochs. ``log_every`` counts steps.
    ``epoch_steps`` ends an epoch after so many steps; the next one goes on in the same pass over the rows.
    ``positional`` pairs the teacher's rows with the data by position; ``teacher_ids`` names a file of ids for them.
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
    epoch_steps: int | None = None
    held_out: float | None = None
    probe_rows: int = 2000
    probe_every: int = 1
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

    def settled(self, n: int) -> Config:
        """The same for data of ``n`` rows: with the share that is held out."""
        return self if self.held_out is not None else replace(self, held_out=held_rows(n) / n)

    def toml(self) -> str:
        """The config as a TOML file that gives it back."""
        values = {name: value for name, value in asdict(self).items() if value is not None and name != "options"}
        lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
        lines += ["", "[options]", *(f"{name} = {json.dumps(value)}" for name, value in self.options.items())]
        return "\n".join(lines) + "\n"


def held_rows(n: int) -> int:
    """How many of ``n`` rows are held out where nothing is said: a tenth, but at least 100 and at most 10,000.

    None of fewer than 400 rows: training would miss more than a quarter of them.

    >>> [held_rows(n) for n in (160, 400, 1_797, 1_000_000)]
    [0, 100, 180, 10000]
    """
    held = min(max(round(HELD_OUT * n), FEWEST_HELD), MOST_HELD)
    return held if held <= MOST_SHARE * n else 0


def warm_up_warning(config: Config) -> str | None:
    """What is wrong with a run that ends before its warm-up does, and the fix; None for other runs.

    >>> asked = {"method": "tintem", "teacher": "t.pt", "student": "conv4", "data": "d.npz", "epochs": 3}
    >>> warm_up_warning(resolved(asked))
    'the run of 3 epochs ends within the warm-up of 5: the learning rate never reaches --rate; give --warmup-epochs 0.3'
    """
    short = f"give --warmup-epochs {config.epochs / 10:g}"
    if 0 < config.epochs <= config.warmup_epochs:
        return (
            f"the run of {epochs(config.epochs)} ends within the warm-up of {config.warmup_epochs:g}: the learning "
            f"rate never reaches --rate; {short}"
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


def resolved(given: Mapping[str, Any], file: str | None = None) -> Config:
    """The published recipe of the method, under the TOML ``file``, under what is ``given`` (None: not given).

    Raises
    ------
    InputError
        An unknown field (with the nearest), a wrong type, a value out of range, a missing field, or an option that the
        method does not have.
    """
    asked = read_toml(file) if file is not None else {}
    options = dict(asked.pop("options", {}))
    given = {name: value for name, value in given.items() if value is not None}
    options |= given.get("options", {})
    asked |= {name: value for name, value in given.items() if name != "options"}
    for name in ("method", "teacher", "student", "data"):
        if name not in asked:
            raise InputError(f"--{name}: missing; give it, or a --config file that holds it")
    known = {each.name: each for each in fields(Config)}
    for name in asked:
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise InputError(f"{name}: is no setting of a run; {f'did you mean {near[0]}?' if near else 'see --help'}")
    method = str(asked["method"]).lower()
    method_named(method)
    values = {**PUBLISHED[method], **asked, "method": method}
    values["options"] = settled_options(method, options)
    values = {name: converted(name, value, str(known[name].type)) for name, value in values.items()}
    config = Config(**values)
    _check(config)
    return config


def read_toml(path: str) -> dict[str, Any]:
    """A TOML file's table.

    Raises
    ------
    InputError
        When it cannot be read or is no TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--config: {path}: cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:
        raise InputError(f"--config: {path}: is not TOML ({error}); write lines such as epochs = 25") from error


def settled_options(method: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The method's constants, those that are asked for in place of the paper's."""
    known = constants(method)
    for name in asked:
        if name not in known:
            near = get_close_matches(name, known, 1)
            meant = f"did you mean {near[0]}? " if near else ""
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise InputError(f"--option: {name}: {method} has no such constant; {meant}{has}")
    settled = {}
    for name, value in known.items():
        found = asked.get(name, value)
        if isinstance(value, tuple):
            found = list(found) if isinstance(found, list | tuple) else [found]
            kinds: Any = list
        else:
            kinds = (int, float) if isinstance(value, float) else type(value)
        if not isinstance(found, kinds) or (isinstance(found, bool) and not isinstance(value, bool)):
            raise InputError(f"--option: {name} is {found!r}; give a value like {value!r}")
        settled[name] = float(found) if isinstance(value, float) else found
    return settled


def converted(name: str, value: Any, kind: str) -> Any:
    """A value as its field's type has it; 1 is a float where one is wanted."""
    wanted = kind.removesuffix(" | None")
    if wanted == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted == "str" and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)  # size = 32 in a file
    kinds = {"int": int, "float": float, "str": str, "bool": bool}
    if wanted in kinds and (not isinstance(value, kinds[wanted]) or (wanted == "int" and isinstance(value, bool))):
        raise InputError(f"--{name.replace('_', '-')}: {value!r} is no {wanted}; look at the value")
    return value


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Every field in which two records of configs differ, the two values side by side.

    A setting that the old record does not know, of an earlier version, differs only where it is asked for.

    >>> differences({"epochs": 8, "seed": 0}, {"epochs": 9, "seed": 0})
    ['epochs (8 there, 9 now)']
    """
    flat = [{**{k: v for k, v in each.items() if k != "options"}, **each.get("options", {})} for each in (old, new)]
    names = {**flat[0], **flat[1]}
    return [
        f"{name} ({_short(flat[0].get(name))} there, {_short(flat[1].get(name))} now)"
        for name in names
        if flat[0].get(name) != flat[1].get(name) and (name in flat[0] or flat[1][name])
    ]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:16]}...{text[-8:]}"


def _check(config: Config) -> None:
    for name in ("epochs", "batch_size", "probe_every", "log_every", "epoch_steps"):
        count = getattr(config, name)
        if count is not None and count < 1:
            raise InputError(f"--{name.replace('_', '-')}: {count} is below 1; give at least 1")
    for name in ("rate", "weight_decay", "momentum", "warmup_epochs", "warmup_rate", "final_rate"):
        if not 0 <= getattr(config, name) < float("inf"):
            option = name.replace("_", "-")
            raise InputError(f"--{option}: {getattr(config, name)} is no number of at least 0; give one")
    if config.held_out is not None and not 0 <= config.held_out <= 0.9:
        raise InputError(f"--held-out: {config.held_out} is no share; give a number from 0 to 0.9")
    if config.probe_rows < FEWEST_MEASURED:
        raise InputError(
            f"probe_rows: {config.probe_rows} are too few to measure anything; give at least {FEWEST_MEASURED}"
        )
    for name, choices in (("optimiser", OPTIMISERS), ("schedule", SCHEDULES), ("augment", tuple(RECIPES))):
        if getattr(config, name) not in choices:
            raise InputError(f"--{name}: {getattr(config, name)!r} is not known; choose one of {', '.join(choices)}")
    named_recipe(config.augment)
