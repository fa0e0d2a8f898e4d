"""The search: the largest proved share wins, what was repaired gives nothing again, and bad causes are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from manifold_probe.diagnosis.cause import Cause, Damage, LeftOut, Proved, Repair, Signs
from manifold_probe.diagnosis.causes import CAUSES
from manifold_probe.diagnosis.lab import COSINE, Evidence, Lab, Trial
from manifold_probe.diagnosis.search import (
    FAMILY_ERROR,
    MIN_POINTS,
    SHARE_OF_A_MAP,
    SHARE_OF_GENERAL,
    Finding,
    passes,
    pursue,
    specific,
    winner,
)
from manifold_probe.errors import InputError

Rows = np.ndarray
N, D = 400, 12
SAID = [Evidence("a number", 1.0, 0.0)]
SHIFT, STRETCH = np.linspace(-3, 3, D) + 4, np.exp(np.linspace(-2.5, 2.5, D))


def lab_of(*changes: Callable[[Rows], Rows], size: float = 0.1) -> Lab:
    """A student that is the teacher with a little noise, then changed."""
    draw = np.random.default_rng(0)
    teacher = draw.normal(size=(N, D)) + 0.1
    student = teacher + size * draw.normal(size=(N, D))
    for change in changes:
        student = change(student)
    lab = Lab.of(teacher, student, draw.integers(0, 3, N), ["a", "b", "c"])
    return replace(
        lab, student=student.astype(np.float32)
    )  # at its own size, so that changes can be taken back by hand


def shifted(x: Rows) -> Rows:
    return x + SHIFT


def stretched(x: Rows) -> Rows:
    return x * STRETCH


def cause(name: str, undo: Any = None, inflict: Any = None, signs: Any = None, general: bool = False) -> Cause:
    """A cause whose signs are always there."""
    return Cause(name, name, "", "", signs or (lambda lab: Signs(SAID)), undo, inflict, general=general)


def taking_back(name: str, change: Callable[[Rows], Rows], kind: str = "undo") -> Cause:
    return cause(name, lambda lab, signs: Repair(name, change, (COSINE,), linear=True, kind=kind))


OFFSET = taking_back("offset taken back", lambda x: x - SHIFT)
CENTRED = taking_back("centred", lambda x: x - x.mean(0))
SCALES = taking_back("scales taken back", lambda x: (x - x.mean(0)) / STRETCH + x.mean(0))
BOTH = taking_back("both taken back", lambda x: (x - SHIFT) / STRETCH)


def found(lab: Lab, *causes: Cause) -> list[str]:
    return [each.name for each in pursue(lab, causes)[0]]


# ---- the order


def test_the_largest_proved_share_wins_whatever_the_order() -> None:
    lab = lab_of(stretched, shifted)
    alone = {each.name: pursue(lab_of(stretched, shifted), [each])[0] for each in (OFFSET, CENTRED)}
    assert all(alone.values())
    assert found(lab, OFFSET, BOTH) == found(lab, BOTH, OFFSET) == ["both taken back"]


def test_the_pair_is_repaired_before_the_next_is_asked() -> None:
    lab = lab_of(stretched, shifted)
    proved, suspected, after, _ = pursue(lab, [SCALES, OFFSET])
    assert {each.name for each in proved} == {"offset taken back", "scales taken back"}
    assert len(proved) == 2
    assert suspected == []
    assert after.overlap > lab.overlap + 0.3
    assert sum(each.share for each in proved) == pytest.approx(1 - (1 - after.overlap) / (1 - lab.overlap), abs=0.15)
    assert found(lab_of(stretched), OFFSET, SCALES) == ["scales taken back"]


def test_a_mimic_gets_nothing_afterwards() -> None:
    lab = lab_of(shifted)
    assert len(found(lab, OFFSET, CENTRED)) == 1
    assert len(found(lab, CENTRED, OFFSET)) == 1


def test_a_healthy_pair_has_no_cause() -> None:
    proved, suspected, after, _ = pursue(lab_of(), [OFFSET, CENTRED, SCALES, BOTH])
    assert (proved, suspected) == ([], [])
    assert after.original is None


def test_a_cause_is_named_once() -> None:
    half = taking_back("half of it", lambda x: x - x.mean(0) / 2)
    assert found(lab_of(shifted), half) == ["half of it"]


def test_damage_is_inflicted_on_the_reference() -> None:
    lab = lab_of(lambda x: x[:, :5])
    cut = cause("cut", inflict=lambda lab, signs: Damage("cut", lambda x: x[:, :5], linear=True))
    other = cause("cut elsewhere", inflict=lambda lab, signs: Damage("cut", lambda x: x[:, -5:], linear=True))
    proved, _, after, _ = pursue(lab, [other, cut])
    assert [each.name for each in proved] == ["cut"]
    assert np.array_equal(after.reference, lab.teacher[:, :5])
    assert proved[0].share > 0.7


def test_rows_are_left_out() -> None:
    bad = np.arange(N) < 80
    wrong = np.random.default_rng(9).normal(size=(N, D))
    lab = lab_of(lambda x: np.where(bad[:, None], wrong, x))
    left = cause("bad rows", lambda lab, signs: LeftOut("these left out", bad, (COSINE,)))
    proved, _, after, _ = pursue(lab, [left])
    assert [each.name for each in proved] == ["bad rows"]
    assert np.array_equal(after.keep, ~bad)


def test_general_causes_are_asked_when_nothing_else_explains() -> None:
    def general(x: Rows) -> Rows:
        return (x - SHIFT) / STRETCH

    everything = cause("all of it", lambda lab, signs: Repair("all", general, (COSINE,)), general=True)
    assert found(lab_of(shifted), everything, OFFSET)[0] == "offset taken back"
    assert "all of it" not in found(lab_of(shifted), everything, OFFSET)


def test_what_has_no_trial_is_suspected_and_repairs_nothing() -> None:
    much = cause("much", signs=lambda lab: Signs(SAID, share=0.5))
    little = cause("little", signs=lambda lab: Signs(SAID, share=MIN_POINTS / 2))
    lab = lab_of()
    proved, suspected, after, _ = pursue(lab, [much, little])
    assert proved == []
    assert [each.name for each in suspected] == ["much"]
    assert suspected[0].trial is None
    assert after is lab


# ---- what passes


def finding(z: float = 10.0, share: float = 0.5, gain: float = 0.2, kind: str = "undo", **more: Any) -> Finding:
    lab = more.pop("lab", None) or lab_of()
    trial = Trial("t", kind, lab.key(COSINE), 0.3, 0.3 + gain, gain / z, 0.0, share, 100, **more)
    return Finding(cause("c"), Signs(SAID), trial, lab)


@pytest.mark.parametrize("tried", [1, 7, 100])
def test_a_trial_passes_for_everything_that_was_tried(tried: int) -> None:
    limit = norm.isf(FAMILY_ERROR / tried)
    assert passes(finding(limit + 1e-6), tried)
    assert not passes(finding(limit - 1e-6), tried)


def test_a_trial_that_explains_nothing_does_not_pass() -> None:
    loss = 1 - lab_of().overlap
    assert passes(finding(share=1.01 * MIN_POINTS / loss), 1)
    assert not passes(finding(share=0.99 * MIN_POINTS / loss), 1)
    assert not passes(Finding(cause("c"), Signs(SAID, share=1.0), None, lab_of()), 1)


def test_what_is_counted_passes_where_it_explains_enough() -> None:
    assert passes(finding(gain=0.0, counted=True, z=1.0), 1000)
    assert not passes(finding(gain=0.0, counted=True, share=0.0, z=1.0), 1000)


def test_every_repair_that_was_tried_counts() -> None:
    lab = lab_of(shifted)
    several = cause("one of forty", lambda lab, signs: [Repair(f"{i}", lambda x: x, (COSINE,)) for i in range(40)])
    proved = pursue(lab, [several]).proved
    assert proved == []
    assert len(lab.tried) == 40
    both = lab_of(shifted)
    pursue(both, [cause("two measures", lambda lab, signs: Repair("r", lambda x: x))])
    assert both.tried == ["r (cosine)", "r (euclidean)"]


def test_the_best_of_many_useless_repairs_is_no_cause() -> None:
    draw = np.random.default_rng(3)

    def useless(lab: Lab, signs: Signs) -> list[Repair]:
        sizes = [1 + 0.1 * draw.normal(size=D) for _ in range(60)]
        return [Repair("scaled", lambda x, size=size: x * size, (COSINE,)) for size in sizes]

    assert found(lab_of(size=0.5), cause("luck", useless)) == []


# ---- specific before general repairs


def test_what_is_specific() -> None:
    kinds = {kind: specific(finding(kind=kind)) for kind in ("undo", "inflict", "mapped", "left out")}
    assert kinds == {"undo": 1, "inflict": 1, "mapped": 0, "left out": 0}
    whole = finding(lab=lab_of())
    some = replace(whole, signs=Signs(SAID, {"rows": [1, 2]}))
    assert specific(some) == 2  # the trial of 100 rows of 400
    assert specific(replace(whole, trial=replace(some.trial, kind="left out"))) == 0
    assert specific(replace(some, trial=replace(some.trial, n=N))) == 1


@pytest.mark.parametrize("kind", ["mapped", "left out"])
def test_a_specific_repair_goes_before_one_that_takes_back_many_faults(kind: str) -> None:
    lab = lab_of(stretched)
    whole = finding(share=0.8, kind=kind, lab=lab)
    least = SHARE_OF_A_MAP if kind == "mapped" else SHARE_OF_GENERAL
    enough, little = (finding(share=0.8 * part, lab=lab) for part in (least + 0.01, least - 0.01))
    assert winner([whole, enough]) is enough
    assert winner([whole, little]) is whole
    assert winner([]) is None
    assert winner([enough, little]) is enough
    local = replace(finding(share=0.6, lab=lab), signs=Signs(SAID, {"classes": ["a"]}))
    assert winner([whole, finding(share=0.8, lab=lab), local]) is local


# ---- causes of a user


def test_a_users_cause_is_found_beside_those_of_the_package() -> None:
    def signs(lab: Lab) -> Signs | None:
        return Signs(SAID) if (lab.student[lab.keep] > 0).all() and (lab.teacher < 0).any() else None

    mine = Cause(
        "exponentiated", "", "", "", signs, lambda lab, signs: Repair("log", lambda x: np.log(np.maximum(x, 1e-9)))
    )
    teacher = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
    for student, wanted in ((np.exp(2 * teacher), ["exponentiated"]), (teacher, [])):
        lab = Lab.of(teacher, student, np.arange(N) % 3, ["a", "b", "c"])
        assert found(lab, *CAUSES, mine)[:1] == wanted


def boom(*_: Any) -> Any:
    raise KeyError("no\nsuch   thing")


def rows_of(*rows: float) -> Callable[[Lab], Signs]:
    return lambda lab: Signs(SAID, {"rows": rows})


def repaired(change: Callable[[Rows], Any]) -> Callable[[Lab, Signs], Repair]:
    return lambda lab, signs: Repair("changed", change)


def damaged(change: Callable[[Rows], Any]) -> Callable[[Lab, Signs], Damage]:
    return lambda lab, signs: Damage("changed", change)


SHAPE = f"ValueError: it returned an array of shape {{}}; return one of shape ({N}, d)"
FINITE = "ValueError: it returned values that are not finite float32; return float rows without NaN"
BAD: dict[str, tuple[Cause, str]] = {
    "signs raise": (cause("mine", signs=boom), "KeyError: 'no\\nsuch thing'"),
    "undo raises": (cause("mine", boom), "KeyError: 'no\\nsuch thing'"),
    "inflict raises": (cause("mine", inflict=boom), "KeyError: 'no\\nsuch thing'"),
    "a repair raises": (cause("mine", repaired(boom)), "KeyError: 'no\\nsuch thing'"),
    "row n": (
        cause("mine", signs=rows_of(0, N)),
        f"ValueError: it names row {N} of a pair of {N} rows; name rows from 0 to {N - 1}",
    ),
    "row -1": (
        cause("mine", signs=rows_of(-1)),
        f"ValueError: it names row -1 of a pair of {N} rows; name rows from 0 to {N - 1}",
    ),
    "half a row": (
        cause("mine", signs=rows_of(0.5)),
        f"ValueError: it names row 0.5 of a pair of {N} rows; name rows from 0 to {N - 1}",
    ),
    "a mask for rows": (
        cause("mine", signs=lambda lab: Signs(SAID, {"rows": lab.keep})),
        f"ValueError: it names row True of a pair of {N} rows; name rows from 0 to {N - 1}",
    ),
    "one row short": (cause("mine", repaired(lambda x: x[1:])), SHAPE.format((N - 1, D))),
    "one column": (cause("mine", repaired(lambda x: x[:, 0])), SHAPE.format((N,))),
    "no column": (cause("mine", repaired(lambda x: x[:, :0])), SHAPE.format((N, 0))),
    "a number": (cause("mine", repaired(lambda x: 3.0)), SHAPE.format(())),
    "NaN": (cause("mine", repaired(lambda x: x * np.nan)), FINITE),
    "infinity": (cause("mine", repaired(lambda x: np.where(x > 0, np.inf, x))), FINITE),
    "text": (cause("mine", repaired(lambda x: x.astype(str))), FINITE),
    "damage of other rows": (cause("mine", inflict=damaged(lambda x: x[::2])), SHAPE.format((N // 2, D))),
    "damage to NaN": (cause("mine", inflict=damaged(lambda x: x * np.nan)), FINITE),
    "no signs": (cause("mine", signs=lambda lab: 5), "TypeError: 'int' object is not iterable"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_cause_is_refused_in_one_line(name: str) -> None:
    bad, said = BAD[name]
    with pytest.raises(InputError) as problem:
        pursue(lab_of(), [*CAUSES[:2], bad])
    assert str(problem.value) == f"cause mine: {said}; correct it or leave it out"
    assert "\n" not in str(problem.value)


def test_an_input_error_of_a_cause_is_passed_on() -> None:
    def signs(lab: Lab) -> Signs:
        raise InputError("mine.csv: no column 'a'; name one")

    with pytest.raises(InputError, match=r"^mine\.csv: no column 'a'; name one$"):
        pursue(lab_of(), [cause("mine", signs=signs)])


def test_a_cause_may_prove_itself() -> None:
    lab = lab_of(shifted)
    trial = Trial("shown", "undo", lab.key(COSINE), 0.2, 0.9, 0.02, 0.0, 1.0, 50)
    proof = cause("own proof", lambda lab, signs: Proved(trial, lab.repaired(lab.student - SHIFT)))
    proved, _, after, _ = pursue(lab, [proof, CENTRED])
    assert [each.name for each in proved] == ["own proof"]
    assert lab.tried[0] == "shown"
    assert after.overlap > 0.7
