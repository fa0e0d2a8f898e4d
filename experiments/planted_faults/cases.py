"""The cases of the benchmark: each is one fault, two faults, or a healthy pair, drawn by its number alone.

The list of N cases is the beginning of every longer one. Of 20 cases 11 are single faults, 3 pairs and 6 healthy;
every fault occurs at every severity, and bases in turn; a third of the faults is masked. The tuning half has even
seeds, the reporting half other bases and odd seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import bases
import faults
import healthy
import numpy as np
import visible

SEVERITIES = (0.3, 0.5, 0.75, 1.0)
HALVES = ("tuning", "reporting")
KINDS = "sshsspshsshspsshshph"  # of every 20: 11 single, 3 pairs, 6 healthy


@dataclass(frozen=True)
class Case:
    """One case. ``seed`` draws the rows and all random choices of the fault."""

    id: str
    half: str
    kind: str
    names: tuple[str, ...]
    severity: float
    base: str
    family: str
    seed: int
    mask: bool


@dataclass
class Prepared:
    """A case with its arrays and the facts to judge an answer."""

    teacher: np.ndarray
    student: np.ndarray
    labels: np.ndarray
    facts: dict[str, Any]


def cases(half: str, count: int, chosen: list[str] | None = None) -> list[Case]:
    """The first ``count`` cases of a half, on all of its bases or on those chosen."""
    parity = HALVES.index(half)
    bank = [name for name in bases.names(half) if chosen is None or name in chosen]
    rng = np.random.default_rng([parity, 5])
    single, pair, base = deck(singles, rng), deck(pairs, rng), deck(lambda: bank, rng)
    families, listed = list(healthy.families()), []
    numbers = {"s": 0, "p": 0, "h": 0}
    for place in range(count):
        letter = KINDS[place % len(KINDS)]
        number, seed = numbers[letter], 2 * place + parity
        numbers[letter] += 1
        start = f"{half[0]}{place:04d}"
        if letter == "h":
            family = families[number % len(families)]
            seed = 2 * (number // len(families)) + parity
            listed.append(Case(f"{start}-{family}", half, "healthy", (), 0.0, "", family, seed, False))
            continue
        if not bank:
            continue
        names, severity = next(single if letter == "s" else pair)
        kind, mask, on = "single" if letter == "s" else "pair", number % 3 == 2, next(base)
        title = f"{start}-{'+'.join(names)}-{severity:g}-{on}{'-masked' if mask else ''}"
        listed.append(Case(title, half, kind, names, severity, on, "", seed, mask))
    return listed


def deck(make: Callable[[], list[Any]], rng: np.random.Generator) -> Iterator[Any]:
    """The items that ``make`` lists, shuffled, without end."""
    while True:
        cards = make()
        if not cards:
            return
        yield from (cards[place] for place in rng.permutation(len(cards)))


def singles() -> list[tuple[tuple[str, ...], float]]:
    """Every fault at every severity."""
    return [((name,), severity) for name in faults.FAULTS for severity in SEVERITIES]


def pairs() -> list[tuple[tuple[str, ...], float]]:
    """Every two compatible faults, at a severity of .5 or more."""
    names = list(faults.FAULTS)
    return [
        ((a, b), severity)
        for place, a in enumerate(names)
        for b in names[place + 1 :]
        if faults.compatible(a, b)
        for severity in SEVERITIES[1:]
    ]


def prepared(case: Case, rows: int = bases.ROWS) -> Prepared | None:
    """The arrays of a case; None where the student cannot have the fault."""
    return healthy_pair(case, rows) if case.kind == "healthy" else faulty_pair(case, rows)


def healthy_pair(case: Case, rows: int) -> Prepared:
    """A pair of healthy.py; its known fault is visible if it is visible against the teacher itself."""
    pair = healthy.pair(case.family, case.seed, case.half, rows)
    after = visible.state(pair.teacher, pair.student)
    before = visible.state(pair.teacher, pair.teacher) if pair.truth else after
    overlap = float(after.overlap["cosine"].mean())
    facts = {
        "truth": [sorted(pair.truth)] if pair.truth else [],
        "allowed": sorted(pair.allowed),
        "visible": bool(pair.truth) and bool(visible.visible(before, after)["visible"]),
        "domain": pair.setting.split(",")[0],
        "setting": pair.setting,
        "quality": visible.quality(overlap),
        "overlap_before": overlap,
        "overlap_after": overlap,
    }
    return Prepared(pair.teacher, pair.student, pair.labels, facts)


def faulty_pair(case: Case, rows: int) -> Prepared | None:
    """A base with its faults. Two faults are visible when each is visible alone and in addition to the other."""
    base = bases.base(case.base, rows, case.seed)

    def planted(*names: str) -> faults.Planted | None:
        rng = np.random.default_rng([case.seed, 4])
        return faults.plant(base.teacher, base.student, base.labels, names, case.severity, rng, case.mask, base.aligned)

    whole, none = planted(*case.names), planted()
    if whole is None or none is None:
        return None

    def measured(made: faults.Planted) -> visible.State:
        return visible.state(base.teacher, made.student, (case.base, rows, case.seed))

    def shown(before: visible.State, after: visible.State, made: faults.Planted) -> dict[str, Any]:
        return visible.visible(before, after, np.isin(base.labels, made.classes) if made.classes else None)

    clean, ill = measured(none), measured(whole)
    signs = shown(clean, ill, whole)
    show, costless = bool(signs["visible"]), [] if signs["costs"] else list(case.names)
    if len(case.names) == 2:
        alone = [planted(name) for name in case.names]
        states = [measured(one_fault) for one_fault in alone if one_fault is not None]
        show = len(states) == 2
        if show:
            beside = [shown(states[1 - this], ill, alone[this]) for this in range(2)]
            show = all(
                shown(clean, states[this], alone[this])["visible"] and beside[this]["visible"] for this in range(2)
            )
            costless = [
                name for name, signs_of_one in zip(case.names, beside, strict=True) if not signs_of_one["costs"]
            ]
    overlap = float(clean.overlap["cosine"].mean())
    facts = {
        "truth": [sorted(names) for names in whole.truth],
        "allowed": sorted(base.own),
        "visible": show,
        "domain": base.domain,
        "setting": "",
        "quality": visible.quality(overlap),
        "overlap_before": overlap,
        "overlap_after": float(ill.overlap["cosine"].mean()),
        "costless": costless,
        "signs": {key: round(float(value), 4) for key, value in signs.items()},
        "classes": list(whole.classes),
        "rows": None if whole.rows is None else np.flatnonzero(whole.rows).tolist(),
    }
    return Prepared(base.teacher, whole.student, base.labels, facts)


def as_dict(case: Case) -> dict[str, Any]:
    """A case for JSON."""
    return asdict(case)
