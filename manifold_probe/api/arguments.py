"""What several verbs do with their arguments: check the settings, and pass on how a model sees its data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from manifold_probe.engine.inputs import as_whole
from manifold_probe.errors import InputError

Notify = Callable[[str], None]
OnProgress = Callable[..., None]
Number = int | float | str
PerChannel = Number | Sequence[float]
MODEL, MEASURES = 20.0, 1.0  # how long it takes, roughly: to run models over data, to measure


def check_settings(k: Any, queries: Any, seed: Any) -> None:
    """Refuse what no comparison can be run with.

    Raises
    ------
    InputError
        For a k or queries too small, a seed that is negative or beyond 32 bits, and what is no whole number.
    """
    for name, value, smallest, limit in (
        ("k", k, 1, 2**31),
        ("queries", queries, 2, 2**31),
        ("seed", seed, 0, 2**32),
    ):
        whole = as_whole(value)
        if whole is None or not smallest <= whole < limit:
            raise InputError(f"{name} is {value!r}; give a whole number of at least {smallest} and below {limit:,}")


def model_options(
    size: Number | None, mean: PerChannel | None, std: PerChannel | None, pool: str | None, batch_size: int | None
) -> dict[str, Any]:
    """The arguments of these names as the fields of an extraction's request, which holds text.

    >>> model_options(32, 0.5, (0.2, 0.3, 0.4), None, None)
    {'size': '32', 'mean': '0.5', 'std': '0.2,0.3,0.4', 'pooling': None, 'batch_size': None}
    """
    numbers = {"size": size, "mean": mean, "std": std}
    return {name: _text(value) for name, value in numbers.items()} | {"pooling": pool, "batch_size": batch_size}


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return ",".join(map(str, value)) if isinstance(value, Sequence) or hasattr(value, "tolist") else str(value)
