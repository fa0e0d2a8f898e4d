"""Alarms of an evaluation: test rows that are also in the bank, classes that are missing in the bank.

Two rows are the same if the teacher's features are equal (as float32; if one side holds only half-precision values, the
other is rounded to them), or if the ids are equal. Ids that only number the rows of both sets, 0, 1, 2, ..., do not
identify an item: such rows are the same only if their features differ by no more than rounding.
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

ROUNDING = 0.01  # share of a row's length that storing it in half precision may change


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
    bank_hashes, test_hashes = map(hash_rows, _of_one_precision(bank.teacher, test.teacher))
    is_leaked = np.isin(bank_hashes, test_hashes)
    if bank.ids is None or test.ids is None:
        return is_leaked
    bank_ids, test_ids = (np.asarray(part.ids).astype(str) for part in (bank, test))
    order = np.argsort(test_ids, kind="stable")
    position = locate(bank_ids, test_ids[order])
    shared = np.flatnonzero(position >= 0)
    if _counts_rows(bank_ids) and _counts_rows(test_ids):
        rows, others = bank.teacher[shared], test.teacher[order[position[shared]]]
        shared = shared[np.linalg.norm(rows - others, axis=1) <= ROUNDING * np.linalg.norm(rows, axis=1)]
    is_leaked[shared] = True
    return is_leaked


def _of_one_precision(*sides: np.ndarray) -> list[np.ndarray]:
    """The rows of both sides as float32; rounded to half precision if one side was stored in it."""
    rows = [np.ascontiguousarray(side, dtype=np.float32) for side in sides]
    for rounded in (_as_bfloat16, _as_float16):  # bfloat16 first: most of its values are float16 values too
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
    """The bank without the rows that are also test rows. Raises InputError if no row is left."""
    is_leaked = leaked(bank, test)
    if is_leaked.all():
        raise InputError(
            f"{bank.name}: all {bank.n:,} rows are also {test.name} rows, so none is left; "
            "give another bank, or leave --drop-leaked (drop_leaked) out"
        )
    return bank.only(~is_leaked)


def _counts_rows(names: np.ndarray) -> bool:
    """Whether ids, as text, are 0..n-1 or 1..n in some order."""
    numbers = [{str(row + first) for row in range(len(names))} for first in (0, 1)]
    return set(names.tolist()) in numbers


def evaluation_alarms(bank: Part, test: Part, k: int, dropped: bool = False) -> list[Alarm]:
    """Leaked rows, classes that the bank lacks, and labels that may mean "none", with their effect on k-NN accuracy.

    ``bank`` still holds the leaked rows; ``dropped``: they are left out afterwards.
    """
    alarms = []
    is_leaked = leaked(bank, test)
    if is_leaked.any():
        with_them = _accuracies(bank, test, k)
        without = None if is_leaked.all() else _accuracies(bank.only(~is_leaked), test, k)
        effect = f": k-NN accuracy is {with_them} with them in the bank and {without or 'undefined'} without"
        fix = "they were left out" if dropped else "leave them out of the bank with --drop-leaked (drop_leaked=True)"
        fix = "give another bank" if is_leaked.all() else fix
        rows = int(leaked(test, bank).sum())
        alarms.append(
            Alarm(
                "leaked_rows",
                f"{rows:,} of {test.n:,} {test.name} rows are also in the bank, as {int(is_leaked.sum()):,} of its "
                f"{bank.n:,} rows{effect if with_them else ''}; {fix}.",
            )
        )
    if dropped and not is_leaked.all():
        bank = bank.only(~is_leaked)
    if bank.has_label.any() and test.has_label.any():
        alarms += _missing_classes(bank.labelled, test.labelled, k)
    for part in (bank, test):
        alarms += [] if part.labels is None else suspicious_labels(part.labels, part.name)
    return alarms


def _missing_classes(bank: Part, test: Part, k: int) -> list[Alarm]:
    test_labels, bank_labels = of_one_kind(test.required_labels, bank.required_labels)
    unknown = ~np.isin(test_labels, bank_labels)
    if not unknown.any() or unknown.all():
        return []
    names, n = np.unique(test.required_labels[unknown]), int(unknown.sum())
    with_them, without = _accuracies(bank, test, k), _accuracies(bank, test.only(~unknown), k)
    effect = f": k-NN accuracy is {with_them} with them and {without} without" if with_them else ""
    return [
        Alarm(
            "missing_classes",
            f"{n:,} of {test.n:,} {test.name} rows are of {len(names):,} class{'es' * (len(names) > 1)} that the bank "
            f"lacks ({_listed(names)}) and count as wrong{effect}.",
        )
    ]


def _listed(names: np.ndarray) -> str:
    first = ", ".join(str(name)[:40] for name in names[:5].tolist())
    return first + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")


def _accuracies(bank: Part, test: Part, k: int) -> str | None:
    """ "0.880 (teacher) and 0.700 (student)", or None if k-NN is not possible with this bank."""
    if not bank.has_label.any() or not test.has_label.any():
        return None
    bank, test = bank.labelled, test.labelled
    bank_labels, test_labels = of_one_kind(bank.required_labels, test.required_labels)
    if bank.n < k or len(np.unique(bank_labels)) < 2 or not np.isin(test_labels, bank_labels).any():
        return None
    teacher, student = (
        accuracy(knn_predict(rows, bank_labels, queries, k), test_labels)
        for rows, queries in zip(bank.sides, test.sides, strict=True)
    )
    return f"{teacher:.3f} (teacher) and {student:.3f} (student)"
