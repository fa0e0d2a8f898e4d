"""The lab: its trials by hand, its experiments against the measures themselves, its twins and its halves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import norm

from manifold_probe.diagnosis.lab import CKA, COSINE, EUCLIDEAN, QUERY_ERROR_FACTOR, Lab, Trial, of_groups, paired
from manifold_probe.diagnosis.linear import fit_ridge
from manifold_probe.measures import debiased_linear_cka, neighbourhood_overlap
from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP, OVERLAP_EUCLIDEAN

Rows = np.ndarray
N, D, K = 400, 12, 10
KEY = OVERLAP.named(K)


def rows(seed: int = 0, n: int = N, d: int = D) -> Rows:
    draw = np.random.default_rng(seed)
    return draw.normal(size=(n, d)) * np.geomspace(2, 0.4, d) + 0.2 * draw.normal(size=d)


def noisy_image(teacher: Rows, size: float, seed: int = 1) -> Rows:
    """A turned teacher with noise of ``size`` of its deviation: a healthy student."""
    draw = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(draw.normal(size=(teacher.shape[1],) * 2))
    return teacher @ turn + size * teacher.std() * draw.normal(size=teacher.shape)


def lab_of(teacher: Rows, student: Rows, k: int = K, seed: int = 0) -> Lab:
    codes = np.random.default_rng(5).integers(0, 4, len(teacher))
    return Lab.of(teacher, student, codes, ["a", "b", "c", "d"], k=k, seed=seed)


def kept(lab: Lab, first: Rows, second: Rows, keep: Rows | None = None, metric: str = COSINE) -> float:
    """The mean overlap of the rows, each looked up within its half: by the measure itself."""
    keep = np.ones(len(first), bool) if keep is None else keep
    halves = [keep & (lab.fold == side) for side in (False, True)]
    found = [neighbourhood_overlap(first[half], second[half], lab.k, metric=metric) for half in halves]
    return float(np.average(found, weights=[half.sum() for half in halves]))


# ---- trials by hand


def test_a_paired_trial_by_hand() -> None:
    trial = paired("t", "undo", KEY, np.array([0.2, 0.4, 0.6]), np.array([0.5, 0.5, 0.8]), 0.6, healthy=0.05)
    assert (trial.before, trial.after) == pytest.approx((0.4, 0.6))
    assert trial.gain == pytest.approx(0.15)
    assert trial.error == pytest.approx(QUERY_ERROR_FACTOR * 0.1 / np.sqrt(3))
    assert trial.z == pytest.approx(0.15 / trial.error)
    assert trial.p == pytest.approx(norm.sf(trial.z))
    assert (trial.low, trial.high) == pytest.approx((0.6 - 1.96 * trial.error, 0.6 + 1.96 * trial.error))
    assert trial.share == pytest.approx(0.15 / 0.6)
    assert trial.n == 3


def test_a_twin_that_loses_gives_nothing() -> None:
    before, after = np.array([0.2, 0.4, 0.6]), np.array([0.5, 0.5, 0.8])
    assert paired("t", "undo", KEY, before, after, 1.0, healthy=-0.3).gain == pytest.approx(0.2)


def test_rows_that_were_not_asked_are_left_out() -> None:
    before, after = np.array([0.2, np.nan, 0.4, 0.6, 0.1]), np.array([0.5, 0.9, 0.5, 0.8, np.nan])
    trial = paired("t", "undo", KEY, before, after, 0.5, weight=0.5)
    assert trial.n == 3
    assert trial.gain == pytest.approx(0.2)
    assert trial.share == pytest.approx(0.2 * 0.5 / 0.5)


@pytest.mark.parametrize("known", [0, 1])
def test_a_trial_of_too_few_rows_proves_nothing(known: int) -> None:
    before, after = np.full(5, np.nan), np.full(5, 0.9)
    before[:known] = 0.1
    trial = paired("t", "undo", KEY, before, after, 0.5)
    assert (trial.n, trial.share) == (known, 0.0)
    assert not trial.p <= 0.05


def test_a_trial_of_two_groups_by_hand() -> None:
    trial = of_groups("t", "left out", KEY, np.array([0.1, 0.3]), np.array([0.5, 0.7, 0.9]), 0.8, weight=0.25)
    assert (trial.before, trial.after, trial.n) == (pytest.approx(0.2), pytest.approx(0.7), 2)
    assert trial.error == pytest.approx(QUERY_ERROR_FACTOR * np.sqrt(0.02 / 2 + 0.04 / 3))
    assert trial.share == pytest.approx(0.5 * 0.25 / 0.8)


@pytest.mark.parametrize(("after", "share"), [(0.1, 0.0), (0.9, 1.0)])
def test_a_share_lies_between_nothing_and_all(after: float, share: float) -> None:
    assert paired("t", "undo", KEY, np.full(9, 0.5), np.full(9, after), 0.2).share == share


def test_what_is_counted_needs_no_statistics() -> None:
    trial = Trial("t", "inflict", KEY, 0.5, 0.5, 0.1, 0.0, 0.3, 10, counted=True)
    assert (trial.z, trial.p) == (np.inf, 0.0)


# ---- what is measured


@pytest.mark.parametrize("metric", [COSINE, EUCLIDEAN])
@pytest.mark.parametrize("k", [1, 10])
def test_overlap_is_that_of_the_halves(metric: str, k: int) -> None:
    teacher = rows()
    student = noisy_image(teacher, 0.5)
    lab = lab_of(teacher, student, k)
    assert np.nanmean(lab.now[metric]) == pytest.approx(kept(lab, teacher, student, metric=metric), abs=1e-9)
    assert lab.loss(metric) == pytest.approx(1 - kept(lab, teacher, student, metric=metric), abs=1e-9)
    assert lab.loss(CKA) == pytest.approx(1 - debiased_linear_cka(teacher, student), abs=1e-5)


def test_keys_are_the_catalogues() -> None:
    lab = lab_of(rows(), rows())
    wanted = [OVERLAP.named(K), OVERLAP_EUCLIDEAN.named(K), DEBIASED_CKA.key]
    assert [lab.key(measure) for measure in (COSINE, EUCLIDEAN, CKA)] == wanted


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_size_is_no_matter(scale: float) -> None:
    teacher = rows()
    student = noisy_image(teacher, 0.5)
    plain = lab_of(teacher, student)
    assert np.isfinite(plain.student).all()
    assert np.square(plain.student - plain.student.mean(0)).sum(1).mean() == pytest.approx(1, rel=1e-4)
    scaled = lab_of((scale * teacher).astype(np.float32), (student / scale).astype(np.float32))
    assert scaled.overlap == pytest.approx(plain.overlap, abs=2e-3)


# ---- the experiments


def test_an_offset_is_undone_by_its_known_amount() -> None:
    teacher = rows()
    sound = noisy_image(teacher, 0.3)
    student = sound + 40.0
    lab = lab_of(teacher, student)
    trial = lab.undo("the offset taken away", lambda x: x - x.mean(0) + sound.mean(0) / 1e3, measures=(COSINE,))
    assert trial.before == pytest.approx(kept(lab, teacher, student), abs=5e-3)
    assert trial.after == pytest.approx(kept(lab, teacher, sound - sound.mean(0)), abs=0.03)
    assert (trial.kind, trial.measure, trial.n) == ("undo", KEY, N)
    assert lab.tried == [f"the offset taken away ({COSINE})"]


def test_the_surest_measure_is_told() -> None:
    teacher = rows()
    student = teacher / np.linalg.norm(teacher, axis=1, keepdims=True)
    lengths = np.linalg.norm(teacher, axis=1, keepdims=True)
    lab = lab_of(teacher, student)
    trial = lab.undo("lengths given back", lambda x: x * lengths)
    assert trial.measure == OVERLAP_EUCLIDEAN.named(K)
    assert trial.after == pytest.approx(1, abs=1e-3)
    assert trial.share > 0.9
    assert lab.tried == ["lengths given back (cosine)", "lengths given back (euclidean)"]


def test_a_repair_is_read_on_the_rows_that_it_concerns() -> None:
    teacher = rows()
    student, some = noisy_image(teacher, 0.2), np.arange(N) < 100
    shift = np.where(some[:, None], 3.0, 0.0)
    lab = lab_of(teacher, student + shift)
    size = np.sqrt(np.square(student + shift - (student + shift).mean(0)).sum(1).mean())
    trial = lab.undo("moved back", lambda x: x - shift / size, rows=some, measures=(EUCLIDEAN,))
    everything = lab.undo("moved back", lambda x: x - shift / size, measures=(EUCLIDEAN,))
    assert (trial.n, everything.n) == (100, N)
    assert trial.before == pytest.approx(np.mean(lab.now[EUCLIDEAN][some]))
    assert trial.gain > everything.gain
    assert trial.share == pytest.approx(trial.gain * 0.25 / lab.loss(EUCLIDEAN))


def test_rows_are_left_out_by_their_known_amount() -> None:
    teacher = rows()
    student, some = noisy_image(teacher, 0.2), np.arange(N) % 5 == 0
    student[some] = np.random.default_rng(2).normal(size=(some.sum(), D)) * teacher.std()
    lab = lab_of(teacher, student)
    trial = lab.leave_out("these left out", some, measures=(COSINE,))
    assert trial.before == pytest.approx(kept(lab, teacher, student), abs=1e-9)
    assert trial.after == pytest.approx(kept(lab, teacher, student, ~some), abs=1e-9)
    assert trial.kind == "left out"
    after = lab.without(some)
    assert after.overlap == pytest.approx(kept(lab, teacher, student, ~some), abs=1e-9)
    assert np.isnan(after.now[COSINE][some]).all()


def test_cka_without_the_rows_that_decide_it() -> None:
    teacher = rows()
    student, some = noisy_image(teacher, 0.1), np.arange(N) < 3
    student[some] += 300
    trial = lab_of(teacher, student).leave_out("far rows left out", some, measures=(CKA,))
    assert trial.measure == DEBIASED_CKA.key
    assert trial.before == pytest.approx(debiased_linear_cka(teacher, student), abs=1e-4)
    assert trial.after == pytest.approx(debiased_linear_cka(teacher[~some], student[~some]), abs=1e-4)


def test_damage_is_inflicted_by_its_known_amount() -> None:
    teacher = rows()
    student = noisy_image(teacher[:, :4], 0.1)
    lab = lab_of(teacher, student)
    trial = lab.inflict("cut to four columns", lambda x: x[:, :4])
    assert trial.before == pytest.approx(kept(lab, teacher, student), abs=1e-9)
    assert trial.after == pytest.approx(kept(lab, teacher[:, :4], student), abs=1e-9)
    lost = 1 - kept(lab, teacher, teacher[:, :4])
    assert trial.share == pytest.approx(min(trial.gain, lost) / lab.loss(COSINE), abs=1e-6)
    counted = lab.inflict("cut to four columns", lambda x: x[:, :4], counted=True)
    assert (counted.before, counted.after) == pytest.approx((1, 1 - lost))
    assert counted.share == pytest.approx(lost / lab.loss(COSINE), abs=1e-6)
    damaged = lab.against(teacher[:, :4])
    assert damaged.loss(COSINE) == lab.loss(COSINE)
    assert damaged.overlap == pytest.approx(trial.after, abs=1e-9)  # what is left is measured against the damaged side
    assert damaged.undo("nothing", lambda x: x, measures=(COSINE,)).before == pytest.approx(trial.after, abs=1e-9)


def test_shares_are_of_the_whole_loss() -> None:
    teacher = rows()
    student, some = noisy_image(teacher, 0.3), np.arange(N) < 40
    student[some] = np.random.default_rng(2).normal(size=(40, D))
    lab = lab_of(teacher, student + 20)
    first = lab.undo("centred", lambda x: x - x.mean(0), measures=(COSINE,), linear=True)
    later = lab.repaired(lab.student - lab.student.mean(0))
    second = later.leave_out("these left out", some, measures=(COSINE,))
    assert later.loss(COSINE) == lab.loss(COSINE) == pytest.approx(1 - lab.overlap)
    assert second.share == pytest.approx(second.gain / lab.loss(COSINE))
    assert first.share > 0.1
    assert second.share > 0.1
    assert first.share + second.share < 1
    assert later.tried is lab.tried


def test_dimensions_are_left_out_of_both_sides() -> None:
    teacher = rows()
    student = noisy_image(teacher, 0.2)
    lab = lab_of(teacher, student)
    assert lab.overlap > 0
    after = lab.without_columns([0, 3], [2])
    wanted = kept(lab, np.delete(teacher, [0, 3], 1), np.delete(student, [2], 1))
    assert after.overlap == pytest.approx(wanted, abs=1e-9)


# ---- twins


REPAIRS: dict[str, Callable[[Lab], Callable[[Rows], Rows]]] = {
    "centred": lambda lab: lambda x: x - x.mean(0),
    "unit deviation": lambda lab: lambda x: (x - x.mean(0)) / x.std(0),
    "unit length": lambda lab: lambda x: x / np.linalg.norm(x, axis=1, keepdims=True),
    "principal half": lambda lab: lambda x: (x - x.mean(0)) @ np.linalg.svd(x - x.mean(0), False)[2][:6].T,
    "mapped": lambda lab: lab.by_halves(lambda student, teacher: fit_ridge(student, teacher)),
}


@pytest.mark.parametrize("noise", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("name", REPAIRS)
def test_no_repair_gains_beyond_a_healthy_twin(name: str, noise: float) -> None:
    teacher = rows(n=800)
    lab = lab_of(teacher, noisy_image(teacher, noise))
    trial = lab.undo(name, REPAIRS[name](lab))
    assert trial.gain < 0.02
    assert trial.p > 0.001


@pytest.mark.parametrize("noise", [0.1, 0.5, 1.0])
def test_a_twin_is_as_weak_as_the_student(noise: float) -> None:
    teacher = rows(n=800)
    lab = lab_of(teacher, noisy_image(teacher, noise))
    assert np.mean(lab.twin_now[COSINE]) == pytest.approx(lab.overlap, abs=0.03)
    assert np.square(lab.twin - lab.expected).sum() == pytest.approx(np.square(lab.residual).sum(), rel=0.15)


def test_a_turned_twin_has_the_teachers_spectrum() -> None:
    teacher = rows(n=800)
    lab = lab_of(teacher, noisy_image(teacher, 0.1) * np.geomspace(1, 30, D))
    own, theirs = (np.linalg.eigvalsh(np.cov(x.T)) for x in (lab.turned_twin, lab.teacher))
    assert np.allclose(own, theirs, rtol=0.15)


# ---- halves


def memorised(student: Rows, teacher: Rows) -> Callable[[Rows], Rows]:
    """Rows that were seen as the teacher has them, and all others as they are."""
    known = {row.tobytes(): answer for row, answer in zip(student, teacher, strict=True)}
    return lambda x: np.stack([known.get(row.tobytes(), row) for row in x])


def test_a_repair_by_halves_is_not_judged_on_rows_that_it_saw() -> None:
    teacher = rows().astype(np.float32)
    lab = lab_of(teacher, np.random.default_rng(1).normal(size=teacher.shape))
    seen = []

    def fit(student: Rows, teacher: Rows) -> Callable[[Rows], Rows]:
        seen.append({row.tobytes() for row in student})
        return lambda x: seen.append({row.tobytes() for row in x}) or x

    lab.by_halves(fit)(lab.student)
    learnt, judged, other, rest = seen
    assert not learnt & judged
    assert not other & rest
    assert judged | rest == {row.tobytes() for row in lab.student}
    memory = lab.undo("memorised", lab.by_halves(memorised))
    assert memory.gain == 0
    assert lab.undo("known by heart", memorised(lab.student, lab.teacher), measures=(COSINE,)).after == 1


def test_rows_that_are_left_out_teach_nothing() -> None:
    lab = lab_of(rows(), rows()).without(np.arange(N) < 30)
    learnt: list[int] = []
    lab.by_halves(lambda student, teacher: learnt.append(len(student)) or (lambda x: x))(lab.student)
    assert sum(learnt) == N - 30


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:, 0], rf"it returned an array of shape \({N},\); return one of shape \({N}, d\)"),
        (lambda x: x[:-1], rf"it returned an array of shape \({N - 1}, {D}\); return one of shape \({N}, d\)"),
        (lambda x: x[:, :0], rf"it returned an array of shape \({N}, 0\); return one of shape \({N}, d\)"),
        (lambda x: np.where(x > 0, np.nan, x), "it returned values that are not finite float32; return float rows"),
        (lambda x: x.astype(str), "it returned values that are not finite float32; return float rows without NaN"),
    ],
)
def test_what_a_change_returns_is_checked(change: Callable[[Rows], Rows], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lab_of(rows(), rows()).undo("changed", change)
