"""A cause: why a student may diverge, declared once.

    signs(lab)             its evidence: `Signs`, several of them, or None where there is none
    undo(lab, signs)       a repair of the student, (n, d') -> (n, d''); the lab judges it
    inflict(lab, signs)    damage to the teacher, (n, d) -> (n, d''); the lab compares the student with it

A cause has ``undo`` where the fault can be reversed, ``inflict`` where it cannot. A cause that concerns single rows may
return `LeftOut` from ``undo``, and one with a proof of another kind `Proved`: a trial, and the pair afterwards. A cause
without either is suspected at most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from manifold_probe.diagnosis.lab import METRICS, Change, Evidence, Lab, Trial
from manifold_probe.errors import InputError


@dataclass(frozen=True)
class Signs:
    """The evidence of a cause.

    ``where`` names what it concerns: {"rows": numbers, "dimensions": numbers, "classes": names}. ``facts`` is passed to
    the repair or the damage. ``share`` is the share of the whole loss, where no experiment measures it.
    """

    evidence: list[Evidence]
    where: dict[str, Any] = field(default_factory=dict)
    facts: Any = None
    share: float = 0.0
    confusable: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Repair:
    """A change of the student: its name in words, and the measures and rows that judge it; see `Lab.undo`.

    ``kind`` is "mapped" where a whole map is fitted to the teacher, which reverses many faults.
    """

    name: str
    change: Change
    measures: Sequence[str] = METRICS
    rows: np.ndarray | None = None
    linear: bool = False
    kind: str = "undo"


@dataclass(frozen=True)
class LeftOut:
    """Rows, a mask (n,), that are set aside; see `Lab.leave_out`."""

    name: str
    rows: np.ndarray
    measures: Sequence[str] = METRICS


@dataclass(frozen=True)
class Damage:
    """A change of the teacher, or of its prediction of the student (``on_image``); see `Lab.inflict`."""

    name: str
    change: Change
    on_image: bool = False
    linear: bool = False
    counted: bool = False


@dataclass(frozen=True)
class Proved:
    """A trial made by the cause itself, and the pair once the cause is removed."""

    trial: Trial
    after: Lab


Undo = Callable[[Lab, Signs], "Repair | LeftOut | Proved | Sequence[Repair] | None"]
Inflict = Callable[[Lab, Signs], "Damage | None"]


@dataclass(frozen=True)
class Cause:
    """Why a student may diverge from its teacher.

    Parameters
    ----------
    name : str
        Its name in the document, such as "offset".
    words : str
        Its description, such as "a shared offset hides the differences from cosines".
    advice : str
        What to do about it.
    falsified_by : str
        An observation that would disprove it.
    signs : callable
        Lab -> Signs, a sequence of them, or None.
    undo, inflict : callable, optional
        See the module.
    confusable : tuple of str
        Causes that outputs alone cannot distinguish from it.
    general : bool
        Whether it would explain part of any loss: such a cause is tried once no other explains anything.
    harmless : str
        A note for a student with its signs that loses nothing to it; empty for no note.

    Examples
    --------
    A user's cause, in addition to those of the package:

    >>> import numpy as np
    >>> import manifold_probe as mp
    >>> from manifold_probe.diagnosis import CAUSES, Cause, Evidence, Repair, Signs
    >>> def signs(lab):
    ...     student, teacher = (float((x[lab.keep] < 0).mean()) for x in (lab.student, lab.teacher))
    ...     return Signs([Evidence("share of negative values", student, teacher)]) if student == 0 < teacher else None
    >>> def undo(lab, signs):
    ...     def logarithm(rows):
    ...         logs = np.log(np.maximum(rows, 1e-12))
    ...         return logs - logs.mean(axis=0)
    ...     return Repair("logarithm taken", logarithm)
    >>> mine = Cause("exponentiated", "the student's values were exponentiated", "Save the features before exp().",
    ...              "a student whose logarithm is no nearer to the teacher", signs, undo)
    >>> teacher = np.random.default_rng(0).normal(size=(400, 12))
    >>> mp.diagnose(teacher, np.exp(2 * teacher), causes=[*CAUSES, mine]).causes[0].name
    'exponentiated'
    """

    name: str
    words: str
    advice: str
    falsified_by: str
    signs: Callable[[Lab], Signs | Sequence[Signs] | None]
    undo: Undo | None = None
    inflict: Inflict | None = None
    confusable: tuple[str, ...] = ()
    general: bool = False
    harmless: str = ""


def check_causes(causes: Any) -> None:
    """Refuse anything but a list of causes. Raises InputError."""
    if not isinstance(causes, Sequence) or isinstance(causes, str):
        raise InputError(f"causes: is a {type(causes).__name__}; give a list such as [*CAUSES, mine]")
    names: set[str] = set()
    for place, cause in enumerate(causes):
        if not isinstance(cause, Cause):
            kind = cause.__name__ if isinstance(cause, type) else type(cause).__name__
            raise InputError(f"causes: number {place} is a {kind}; give declarations, Cause(name, words, ...)")
        for part in ("name", "words", "advice", "falsified_by"):
            text = getattr(cause, part)
            if not isinstance(text, str) or not text.strip():
                raise InputError(f"causes: number {place}: {part} is {text!r}; give a text")
        if not callable(cause.signs):
            raise InputError(f"cause {cause.name}: signs is not a function; give a function of the lab")
        if cause.name in names:
            raise InputError(f"cause {cause.name}: is given twice; give one of the two another name")
        names.add(cause.name)
