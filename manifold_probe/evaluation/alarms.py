"""What would mislead a reader of an evaluation: test rows that are also in the bank, classes that the bank lacks.

A row is the same in both where the teacher's features are equal (as float32; where one side holds half-precision values
alone, the other is rounded to them), or where the ids are. Ids that only count the rows of both sets, 0, 1, 2, ...,
name no item: of those a row is the same where its features differ by rounding.
"""

from __future__ import annotations

import numpy as np

from manifold_probe.engine.rows import hash_rows
from manifold_probe.errors import InputError
from manifold_probe.evaluation.fidelity import accuracy
from manifold_probe.evaluation.knn import knn_predict
from manifold_probe.evaluation.outcome import Part
from manifold_probe.measures.alarms_of_pairing import suspicious_labels
from manifold_probe.measures.results import Alarm
from manifold_probe.spaces.labels import of_one_kind
from manifold_probe.spaces.pairing import locate

ROUNDING = 0.01  # of a row's length: what storing it in half precision may change


def leaked(bank: Part, test: Part) -> np.ndarray:
    """Which rows of the bank (m,) are also among the test rows.

    Examples
    --------
    >>> bank, test = Part(np.eye(3), np.eye(3)), Part(np.eye(3)[:1], np.eye(3)[:1])
    >>> leaked(bank, test).tolist()
    [True, False, False]
    """
    if bank.teacher.shape[1] != test.teacher.shape[1]:
        return np.zeros(bank.n, dtype=bool)
    hashes, others = map(hash_rows, _of_one_precision(bank.teacher, test.teacher))
    found = np.isin(hashes, others)
    if bank.ids is None or test.ids is None:
        return found
    names, others = (np.asarray(part.ids).astype(str) for part in (bank, test))
    order = np.argsort(others, kind="stable")
    place = locate(names, others[order])
    known = np.flatnonzero(place >= 0)
    same = order[place[known]]
    if _counts_rows(names) and _counts_rows(others):
        rows, away = bank.teacher[known], bank.teacher[known] - test.teacher[same]
        known = known[np.linalg.norm(away, axis=1) <= ROUNDING * np.linalg.norm(rows, axis=1)]
    found[known] = True
    return found


def _of_one_precision(*sides: np.ndarray) -> list[np.ndarray]:
    """Rows of both sides as float32, rounded to the half precision that one of them was stored in."""
    rows = [np.ascontiguousarray(side, dtype=np.float32) for side in sides]
    for rounded in (_as_bfloat16, _as_float16):  # the coarser first: float16 holds most of its values
        if any(np.array_equal(side, rounded(side)) for side in rows):
            return [rounded(side) for side in rows]
    return rows


def _as_float16(rows: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return rows.astype(np.float16).astype(np.float32)


def _as_bfloat16(rows: np.ndarray) -> np.ndarray:
    bits = rows.view(np.uint32)  # a bfloat16 is the upper half of a float32, here rounded to the nearest, ties to even
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32)


def without_leaked(bank: Part, test: Part) -> Part:
    """The bank without what is also among the test rows. Raises InputError where nothing is left."""
    twice = leaked(bank, test)
    if twice.all():
        raise InputError(
            f"{bank.name}: all {bank.n:,} rows are also among the {test.name} rows, so that none is left; "
            "give another bank, or leave --drop-leaked (drop_leaked) out"
        )
    return bank.only(~twice)


def _counts_rows(names: np.ndarray) -> bool:
    """Whether ids, as text, are 0..n-1 or 1..n in some order."""
    numbers = [{str(row + first) for row in range(len(names))} for first in (0, 1)]
    return set(names.tolist()) in numbers


def evaluation_alarms(bank: Part, test: Part, k: int, dropped: bool = False) -> list[Alarm]:
    """Leaked rows, classes that the bank lacks, and labels that look like none, with what they do to k-NN accuracy.

    ``bank`` still holds the leaked rows; ``dropped`` says that they are left out afterwards.
    """
    alarms = []
    twice = leaked(bank, test)
    if twice.any():
        with_them = _accuracies(bank, test, k)
        without = None if twice.all() else _accuracies(bank.only(~twice), test, k)
        numbers = f": k-NN accuracy is {with_them} with them in the bank and {without or 'undefined'} without"
        end = "they were left out" if dropped else "leave them out of the bank with --drop-leaked (drop_leaked=True)"
        end = "give another bank" if twice.all() else end
        rows = int(leaked(test, bank).sum())
        alarms.append(
            Alarm(
                "leaked_rows",
                f"{rows:,} of {test.n:,} {test.name} rows are also in the bank, as {int(twice.sum()):,} of its "
                f"{bank.n:,} rows{numbers if with_them else ''}; {end}.",
            )
        )
    if dropped and not twice.all():
        bank = bank.only(~twice)
    if bank.has_label.any() and test.has_label.any():
        alarms += _missing_classes(bank.labelled, test.labelled, k)
    for part in (bank, test):
        alarms += [] if part.labels is None else suspicious_labels(part.labels, part.name)
    return alarms


def _missing_classes(bank: Part, test: Part, k: int) -> list[Alarm]:
    labels, known = of_one_kind(test.known, bank.known)
    unknown = ~np.isin(labels, known)
    if not unknown.any() or unknown.all():
        return []
    names, n = np.unique(test.known[unknown]), int(unknown.sum())
    whole, rest = _accuracies(bank, test, k), _accuracies(bank, test.only(~unknown), k)
    numbers = f": k-NN accuracy is {whole} with them and {rest} without" if whole else ""
    return [
        Alarm(
            "missing_classes",
            f"{n:,} of {test.n:,} {test.name} rows are of {len(names):,} class{'es' * (len(names) > 1)} that the bank "
            f"lacks ({_listed(names)}) and count as wrong{numbers}.",
        )
    ]


def _listed(names: np.ndarray) -> str:
    few = ", ".join(str(name)[:40] for name in names[:5].tolist())
    return few + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")


def _accuracies(bank: Part, test: Part, k: int) -> str | None:
    """ "0.880 (teacher) and 0.700 (student)", or None where the bank cannot vote."""
    if not bank.has_label.any() or not test.has_label.any():
        return None
    bank, test = bank.labelled, test.labelled
    known, labels = of_one_kind(bank.known, test.known)
    if bank.n < k or len(np.unique(known)) < 2 or not np.isin(labels, known).any():
        return None
    found = [
        accuracy(knn_predict(rows, known, asked, k), labels) for rows, asked in zip(bank.sides, test.sides, strict=True)
    ]
    return f"{found[0]:.3f} (teacher) and {found[1]:.3f} (student)"
