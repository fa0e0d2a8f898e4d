"""Records: the objects of a JSON document as dataclasses, from which the check of a saved document follows.

A field without a default is always written, as null where it is None; one with the default None is left out where it is
None. When a document is read, every field that may be None may be missing, and keys that no field names are ignored, so
that files of other versions can be read. Names that are words of Python end in "_" (``class_``, ``or_``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Self, dataclass_transform, get_args, get_origin, get_type_hints

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
        types = _types(cls)
        return cls(**{name: _record(thing.get(key), types[name]) for name, key in _keys(cls).items()})

    def __getitem__(self, key: str) -> Any:
        name = next((name for name, known in _keys(type(self)).items() if known == key), None)
        if name is None:
            raise KeyError(key)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        for field in _fields(type(self)):
            if field.default is MISSING or getattr(self, field.name) is not None:
                yield key_of(field.name)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def names(kind: type[Record]) -> tuple[str, ...]:
    """The keys of a record's JSON object, in their order."""
    return tuple(_keys(kind).values())


def key_of(name: str) -> str:
    """The key of a field."""
    return name.removesuffix("_")


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
        kinds = [each for each in of if each is not NoneType]
        if len(kinds) == 1:
            return mismatch(thing, kinds[0], where)
        fits = any(mismatch(thing, each) is None for each in kinds)
        return None if fits else _wrong(where, "a name")
    if origin is Annotated:
        wrong = mismatch(thing, of[0], where)
        return wrong or (f"'{where}' is below {of[1]}" if thing < of[1] else None)
    if origin in (list, tuple):
        if not isinstance(thing, list):
            return _wrong(where, "a list")
        if origin is tuple and len(thing) != len(of):
            return f"'{where}' has not {len(of)} numbers"
        return _first(mismatch(each, of[0], f"{where}[{place}]") for place, each in enumerate(thing))
    if origin is dict or _is_record(kind):
        if not isinstance(thing, dict):
            return _wrong(where, "an object")
        if origin is dict:
            return _first(mismatch(each, of[1], _below(where, key)) for key, each in thing.items())
        return _mismatch_of_record(thing, kind, where)
    return None if _is_scalar(thing, kind) else _wrong(where, SCALARS[kind])


def _mismatch_of_record(thing: dict[str, Any], kind: Any, where: str) -> str | None:
    types = _types(kind)
    for name, key in _keys(kind).items():
        if key not in thing and NoneType not in get_args(types[name]):
            return f"{_below(where, key)!r} is missing"
        if wrong := mismatch(thing.get(key), types[name], _below(where, key)):
            return wrong
    rest = (key for key in thing if key not in _keys(kind).values())
    wrong = _first(mismatch(thing[key], kind.others, _below(where, key)) for key in rest) or kind.inconsistent(thing)
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
    origin, of = get_origin(kind), [each for each in get_args(kind) if each is not NoneType]
    if origin is UnionType and len(of) == 1:
        return _record(thing, of[0])
    if origin is list:
        return [_record(each, of[0]) for each in thing]
    return dict(thing) if isinstance(thing, dict) else thing


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Record)


def _below(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _wrong(where: str, wanted: str) -> str:
    return f"{where!r} is not {wanted}" if where else f"it is not {wanted}"


def _first(problems: Iterator[str | None]) -> str | None:
    return next((each for each in problems if each is not None), None)


@cache
def _types(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


@cache
def _fields(kind: Any) -> tuple[Field[Any], ...]:
    return fields(kind)


@cache
def _keys(kind: Any) -> dict[str, str]:
    """{field name: key}."""
    return {field.name: key_of(field.name) for field in fields(kind)}
