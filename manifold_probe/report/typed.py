"""Records: the objects of a JSON document as dataclasses, from which the check of a saved document follows.

A field without a default is always written, as null where it is None; one with the default None is left out where it is
None. When a document is read, every field that may be None may be missing, and keys that no field names are ignored, so
that files of other versions can be read. Names that are words of Python end in "_" (``class_``, ``or_``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Self, cast, dataclass_transform, get_args, get_origin, get_type_hints

LARGEST = 1e100  # beyond the squares of what features hold; nothing larger can be drawn
SCALARS = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}

Name = str | int | float  # an id, a label or a class
Positive = Annotated[int, 1]  # a number of at least 1
NotNegative = Annotated[float, 0]


@dataclass_transform(eq_default=False, frozen_default=True)
class Record(Mapping[str, Any]):
    """A JSON object with typed fields; ``record["value"]`` reads a field as ``record.value`` does.

    Every subclass is a frozen dataclass, equal to any mapping with the same items. ``columns`` names the fields that
    are lists of one length; ``others`` is the type of the keys that no field names.
    """

    columns: ClassVar[tuple[str, ...]] = ()
    others: ClassVar[Any] = Any

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, eq=False)(cls)

    @classmethod
    def inconsistent(cls, thing: dict[str, Any]) -> str | None:
        """What contradicts itself in an object whose fields are sound; None where all is well."""
        lengths = {len(thing[name]) for name in cls.columns if thing.get(name) is not None}
        return "the lists of {where} differ in length" if len(lengths) > 1 else None

    @classmethod
    def from_json(cls, thing: Mapping[str, Any]) -> Self:
        """The record that a sound JSON object is."""
        return cls(**{name: _record(thing.get(key), kind) for name, key, kind in _layout(cls)})

    def __getitem__(self, key: str) -> Any:
        for name, known, _ in _layout(type(self)):
            if known == key:
                return getattr(self, name)
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        optional = {field.name for field in fields(cast(Any, self)) if field.default is not MISSING}
        for name, key, _ in _layout(type(self)):
            if name not in optional or getattr(self, name) is not None:
                yield key

    def __len__(self) -> int:
        return sum(1 for _ in self)


def names(kind: type[Record]) -> tuple[str, ...]:
    """The keys of a record's JSON object, in their order."""
    return tuple(key for _, key, _ in _layout(kind))


@cache
def _layout(kind: Any) -> list[tuple[str, str, Any]]:
    """(name, key, type) of every field."""
    types = get_type_hints(kind, include_extras=True)
    return [(field.name, field.name.removesuffix("_"), types[field.name]) for field in fields(kind)]


def plain(thing: Any) -> Any:
    """The same as JSON holds it: records as objects, numpy's scalars and arrays as Python's, what is not finite as
    None.

    >>> plain({"a": (1, float("nan"))})
    {'a': [1, None]}
    """
    if isinstance(thing, Mapping):
        return {str(key): plain(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [plain(value) for value in thing]
    if isinstance(thing, float):
        return float(thing) if math.isfinite(thing) else None
    if thing is None or type(thing) in (str, int, bool):
        return thing
    if hasattr(thing, "tolist"):
        return plain(thing.tolist())
    return str(thing)


def mismatch(thing: Any, kind: Any, where: str = "") -> str | None:
    """The first place where a JSON value is not of a type, in words; None where it is.

    >>> mismatch({"a": [1, "2"]}, dict[str, list[int]])
    "'a[1]' is not a whole number"
    """
    origin, of = get_origin(kind), get_args(kind)
    if kind is Any or (thing is None and NoneType in of):
        return None
    if origin is UnionType:
        kinds = [kind for kind in of if kind is not NoneType]
        if len(kinds) == 1:
            return mismatch(thing, kinds[0], where)
        return None if any(mismatch(thing, kind) is None for kind in kinds) else _wrong(where, "a name")
    if origin is Annotated:
        wrong = mismatch(thing, of[0], where)
        return wrong or (f"'{where}' is below {of[1]}" if thing < of[1] else None)
    if origin in (list, tuple):
        if not isinstance(thing, list):
            return _wrong(where, "a list")
        if origin is tuple and len(thing) != len(of):
            return f"'{where}' has not {len(of)} numbers"
        return _first(mismatch(item, of[0], f"{where}[{place}]") for place, item in enumerate(thing))
    if origin is dict or _is_record(kind):
        if not isinstance(thing, dict):
            return _wrong(where, "an object")
        if _is_record(kind):
            return _mismatch_of_record(thing, kind, where)
        return _first(mismatch(item, of[1], _below(where, key)) for key, item in thing.items())
    return None if _is_scalar(thing, kind) else _wrong(where, SCALARS[kind])


def _mismatch_of_record(thing: dict[str, Any], kind: Any, where: str) -> str | None:
    others = set(thing)
    for _, key, of_field in _layout(kind):
        others.discard(key)
        if key not in thing and NoneType not in get_args(of_field):
            return f"{_below(where, key)!r} is missing"
        if wrong := mismatch(thing.get(key), of_field, _below(where, key)):
            return wrong
    wrong = _first(mismatch(thing[key], kind.others, _below(where, key)) for key in thing if key in others)
    wrong = wrong or kind.inconsistent(thing)
    return None if wrong is None else wrong.replace("{where}", f"'{where}'")


def _is_scalar(thing: Any, kind: type) -> bool:
    if isinstance(thing, bool):
        return kind is bool
    if isinstance(thing, int | float) and not abs(thing) < LARGEST:  # NaN too
        return False
    return isinstance(thing, (int, float) if kind is float else kind)


def _record(thing: Any, kind: Any) -> Any:
    """A JSON value with its objects as the records of a type."""
    if thing is None:
        return None
    if _is_record(kind):
        return kind.from_json(thing)
    origin, of = get_origin(kind), [kind for kind in get_args(kind) if kind is not NoneType]
    if origin is UnionType and len(of) == 1:
        return _record(thing, of[0])
    if origin is list:
        return [_record(item, of[0]) for item in thing]
    return dict(thing) if isinstance(thing, dict) else thing


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Record)


def _below(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _wrong(where: str, wanted: str) -> str:
    return f"{where!r} is not {wanted}" if where else f"it is not {wanted}"


def _first(problems: Iterator[str | None]) -> str | None:
    return next((problem for problem in problems if problem is not None), None)
