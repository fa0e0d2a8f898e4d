"""Evidence from the training: curves of known course, students that are right on known rows only."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manifold_probe.diagnosis.course import read_course, read_log, trend
from manifold_probe.diagnosis.lab import EXAMINED
from manifold_probe.diagnosis.training import (
    Rows,
    Training,
    TrainingEvidence,
    evidence_of_training,
    leading,
    spread_of_classes,
)
from manifold_probe.errors import InputError
from manifold_probe.measures.catalogue import OVERLAP
from manifold_probe.spaces.pairing import Pair, pair
from manifold_probe.spaces.space import Space

N, D, K = 800, 12, 10
DRAW = np.random.default_rng(0)
LABELS = np.array([f"c{place}" for place in np.arange(N) % 8])
CENTRES = {f"c{place}": centre for place, centre in enumerate(DRAW.normal(size=(8, D)) * 2)}
TEACHER = np.array([CENTRES[label] for label in LABELS]) + DRAW.normal(size=(N, D)) * np.linspace(2, 0.4, D)
NOISE = DRAW.normal(size=(N, D))
SOUND = TEACHER + 0.15 * NOISE
SEEN = np.arange(N) % 16 < 8  # every class in halves
STEPS = np.arange(1, 301)
RIPPLE = 1 + 0.05 * np.random.default_rng(1).normal(size=300)


def pair_of(student: np.ndarray, rows: np.ndarray | slice = slice(None), labelled: bool = True) -> Pair:
    labels = LABELS[rows] if labelled else None
    ids = np.arange(N)[rows]
    both = Space(TEACHER[rows], ids=ids, labels=labels), {"student": Space(student[rows], ids=ids)}
    return next(iter(pair(*both).values()))


def worse(mask: np.ndarray, by: float = 2.0) -> np.ndarray:
    """The sound student with noise in some rows."""
    return SOUND + by * mask[:, None] * NOISE[::-1]


def pieces(found: TrainingEvidence) -> dict[str, float]:
    return {piece.name: piece.fraction for piece in found.pieces}


def names(found: TrainingEvidence) -> list[str]:
    return [cause["name"] for cause in found.causes]


def curve(values: np.ndarray) -> list[tuple[float, float]]:
    return list(zip(STEPS[: len(values)].tolist(), values.tolist(), strict=True))


# ---- the course of a loss

EXPONENTIAL = {part: np.exp(-5 * STEPS / 300 / part) for part in (0.1, 1.0, 4.0)}
COURSES = {
    "flat": [
        (0.05 + EXPONENTIAL[0.1]) * RIPPLE,
        1 + EXPONENTIAL[0.1] * RIPPLE,  # beside a floor
        -1 + EXPONENTIAL[0.1] + 0.01 * RIPPLE,  # a loss may be negative
        RIPPLE,
    ],
    "falling": [
        (0.02 + EXPONENTIAL[4.0]) * RIPPLE,
        3 - STEPS / 300 + 0.1 * RIPPLE,
        1 + 0.5 * (1 + np.cos(np.pi * STEPS / 300)) + 0.02 * RIPPLE,  # half in the last half, flat at its very end
        -STEPS / 300 + 0.1 * RIPPLE,
    ],
    "rising": [
        (0.3 + EXPONENTIAL[0.1] + STEPS / 300) * RIPPLE,
        np.exp(STEPS / 100) * RIPPLE,
    ],
    "jumping": [
        (0.1 + EXPONENTIAL[0.1]) * RIPPLE + (STEPS > 180) * (STEPS < 240) * 0.8,
    ],
    "not finite": [np.where(STEPS == 40, np.nan, 1 / STEPS), np.where(STEPS > 200, np.inf, 1 / STEPS)],
}


@pytest.mark.parametrize(
    ("kind", "place"), [(kind, place) for kind, each in COURSES.items() for place in range(len(each))]
)
def test_a_course_is_read(kind: str, place: int) -> None:
    found = read_course(curve(COURSES[kind][place]))
    assert found is not None
    assert (found.kind, found.sure) == (kind, True)
    assert found.points == 300


def test_a_course_does_not_depend_on_units() -> None:
    plain = read_course(curve(COURSES["falling"][0]))
    scaled = read_course([(100 * step, 1e4 * value - 3e3) for step, value in curve(COURSES["falling"][0])])
    assert plain is not None
    assert scaled is not None
    assert scaled.kind == plain.kind
    assert scaled.to_go == pytest.approx(plain.to_go)


def test_a_line_that_falls_steadily_has_most_to_go() -> None:
    found = read_course(curve(3 - STEPS / 300))
    assert found is not None
    # it fell by 1 over all steps, by 0.5 in the last half: every doubling wins at most 0.8 of the one before
    assert found.to_go == pytest.approx(0.5 * (0.8 + 0.64), rel=0.1)


@pytest.mark.parametrize("seed", range(40))
def test_noise_alone_is_flat(seed: int) -> None:
    found = read_course(curve(1 + 0.3 * np.random.default_rng(seed).normal(size=300)))
    assert found is not None
    assert found.kind == "flat"
    assert not found.learned


def test_few_points_prove_nothing() -> None:
    assert read_course([]) is None
    assert read_course([(1, 2.0)]) is None
    two = read_course([(1, 2.0), (2, 1.0)])
    assert two is not None
    assert (two.kind, two.sure) == ("falling", False)
    exploded = read_course([(1, 2.0), (2, 2.1), (3, 500.0)])
    assert exploded is not None
    assert (exploded.kind, exploded.sure) == ("rising", True)
    nearly = read_course([(1, 2.0), (2, 2.1), (3, 2.05)])
    assert nearly is not None
    assert nearly.kind == "flat"


def test_mann_kendall_by_hand() -> None:
    values = np.array([5.0, 4.0, 4.5, 2.0, 1.0])  # 9 of 10 pairs fall
    assert trend(values) == pytest.approx((8 - 1) / np.sqrt(5 * 4 * 15 / 18))
    assert trend(-values) == -trend(values)
    assert trend(np.ones(12)) == 0


# ---- a log is read


def test_a_log_of_every_form(tmp_path: Path) -> None:
    expected = [(1.0, 0.7), (2.0, 0.5), (3.0, float("inf"))]
    (tmp_path / "log.csv").write_text("epoch,step,loss,accuracy\n0,1,0.7,\n0,2,0.5,\n0,,,0.9\n1,3,inf,\n")
    (tmp_path / "log.tsv").write_text("step\tloss\n3\tinf\n1\t0.7\n2\t0.5\n")
    lines = [{"step": 1, "loss": 0.7}, {"step": 2, "eval_loss": 0.1}, {"epoch": 2, "loss": 0.5}]
    (tmp_path / "log.jsonl").write_text(
        "\n".join(map(json.dumps, [*lines, {"step": 3, "loss": float("inf")}])) + "\n\n"
    )
    for name in ("log.csv", "log.tsv", "log.jsonl"):
        assert read_log(tmp_path / name) == expected
    assert read_log(expected) == expected
    assert read_log([{"step": step, "loss": loss} for step, loss in expected]) == expected


def test_steps_that_are_counted_anew_in_every_epoch() -> None:
    lines = [{"epoch": epoch, "step": step, "loss": 5 - 2 * epoch - step} for epoch in (0, 1) for step in (0, 1)]
    assert read_log(lines) == [(1.0, 5.0), (2.0, 4.0), (3.0, 3.0), (4.0, 2.0)]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("none.csv", None, "cannot be read"),
        ("log.txt", "1 2", "a log is a .csv, .tsv or .jsonl"),
        ("log.csv", "", "holds no line"),
        ("log.csv", "step,loss\n", "holds no line"),
        ("log.csv", "step,error\n1,2\n", "no line has a loss, only step, error"),
        ("log.csv", "loss\n0.5\n", "line 2 has a loss but no step"),
        ("log.csv", "step,loss\n1,low\n", "line 2: loss is 'low', not a number"),
        ("log.csv", "step,loss\nfirst,2\n", "line 2: step is 'first', not a number"),
        ("log.csv", "step,loss\nnan,2\n", "step is nan, not a finite number"),
        ("log.jsonl", "", "holds no line"),
        ("log.jsonl", '{"step": 1, "loss": true}', "line 1: loss is 'True', not a number"),
        ("log.jsonl", "step 1 loss 2", "line 1 is not JSON"),
        ("log.jsonl", "[1, 2]", "line 1 is not a JSON object"),
        ("log.jsonl", '{"step": 1, "loss": [1]}', "not a number"),
    ],
)
def test_logs_that_cannot_be_read(name: str, text: str | None, words: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words) as raised:
        read_log(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_no_log_at_all() -> None:
    for given, words in ((7, "log: is a int"), ([1, 2], "entry 1 is '1'"), ([], "holds no line")):
        with pytest.raises(InputError, match=words):
            read_log(given)


# ---- what a course says of a pair


def log_of(kind: str, place: int = 0) -> list[tuple[float, float]]:
    return curve(COURSES[kind][place])


def test_causes_of_a_course() -> None:
    weak = pair_of(SOUND + NOISE)
    proved = {"falling": "undertrained", "rising": "unstable_training", "not finite": "unstable_training"}
    proved |= {"jumping": "unstable_training"}
    for kind, name in proved.items():
        found = evidence_of_training(weak, Training(log=log_of(kind)), K, 0)
        assert names(found) == [name]
        assert found.causes[0]["status"] == "proved"
        assert found.assessed == ["undertrained", "unstable_training", "too_small_student"]
        assert found.examined["log"]["course"] == kind
    flat = evidence_of_training(weak, Training(log=log_of("flat")), K, 0)
    assert [(each["name"], each["status"], each["or"]) for each in flat.causes] == [
        ("too_small_student", "suspected", ["overfit"])
    ]
    assert evidence_of_training(pair_of(SOUND), Training(log=log_of("flat")), K, 0).causes == []


def test_rows_trained_on_prove_a_small_student() -> None:
    weak = pair_of(SOUND + NOISE)
    training = Training(trained=SEEN, log=log_of("flat"))
    found = evidence_of_training(weak, training, K, 0)
    assert [(each["name"], each["status"]) for each in found.causes] == [("too_small_student", "proved")]
    assert found.causes[0]["share"] > 0.9
    never = evidence_of_training(weak, replace(training, log=log_of("flat", 3)), K, 0)
    assert [(each["name"], each["status"]) for each in never.causes] == [("too_small_student", "suspected")]
    overfit = evidence_of_training(pair_of(worse(~SEEN)), training, K, 0)
    assert names(overfit) == ["overfit"]


def test_what_was_watched_stands_for_a_short_log() -> None:
    weak = pair_of(SOUND + NOISE)
    rising = [(0.0, 0.1), (10.0, 0.2)]
    found = evidence_of_training(weak, Training(log=[(10.0, 1.0)], watched=rising), K, 0)
    assert [(each["name"], each["status"]) for each in found.causes] == [("undertrained", "suspected")]
    assert found.causes[0]["share"] == pytest.approx(3 / 11)  # three eighths of the fall so far are to go


# ---- rows trained on


def test_overfit_and_underfit_add_up() -> None:
    both = evidence_of_training(pair_of(worse(~SEEN)), Training(trained=SEEN), K, 0)
    assert names(both) == ["overfit"]
    assert both.assessed == ["overfit"]
    assert sum(pieces(both).values()) == pytest.approx(1)
    rows = Rows.of(pair_of(worse(~SEEN)), Training(trained=SEEN), None, K, 0)
    assert rows.held is not None
    gap, loss = rows.trained.mean() - rows.held.mean(), 1 - (rows.trained.mean() + rows.held.mean()) / 2
    assert pieces(both)["overfit"] == pytest.approx(gap / 2 / loss)
    for piece in both.pieces:
        assert 0 <= piece.low <= piece.fraction <= piece.high <= 1
    sound = evidence_of_training(pair_of(SOUND), Training(trained=SEEN), K, 0)
    assert names(sound) == []
    assert pieces(sound)["underfit"] > 0.9


def test_features_of_rows_trained_on_stand_beside_the_pair() -> None:
    student = worse(~SEEN)
    found = evidence_of_training(
        pair_of(student, np.flatnonzero(~SEEN)), Training(seen=pair_of(student, np.flatnonzero(SEEN))), K, 0
    )
    assert names(found) == ["overfit"]
    rows = found.examined["overfit"]
    loss = 1 - rows["unseen"]
    assert pieces(found)["overfit"] == pytest.approx((rows["seen"] - rows["unseen"]) / loss)


def test_all_rows_trained_on_is_underfit() -> None:
    found = evidence_of_training(pair_of(SOUND), Training(trained=np.ones(N, bool)), K, 0)
    assert pieces(found) == {"overfit": 0.0, "underfit": 1.0}
    assert found.causes == []


def test_few_rows_of_a_kind_are_refused() -> None:
    few = np.arange(N) < 20
    with pytest.raises(InputError, match="train ids: 20 of the paired rows were trained on; at least 60"):
        evidence_of_training(pair_of(SOUND), Training(trained=few), K, 0)


def test_leading_components_by_hand() -> None:
    x = np.diag([3.0, 2.0, 1.0]) + 5
    assert leading(x, 3) is x
    u, s, v = np.linalg.svd(x - x.mean(0))
    assert leading(x, 1) == pytest.approx(x.mean(0) + s[0] * np.outer(u[:, 0], v[0]))


# ---- classes


def test_absent_classes() -> None:
    absent = np.isin(LABELS, ["c5", "c6", "c7"])
    known = frozenset(f"c{place}" for place in range(5))
    found = evidence_of_training(pair_of(worse(absent, 1.0)), Training(classes=known), K, 0)
    assert names(found) == ["absent_classes"]
    assert found.causes[0]["where"] == {"classes": ["c5", "c6", "c7"]}
    assert 0.3 < pieces(found)["absent_classes"] < 0.9
    sound = evidence_of_training(pair_of(SOUND), Training(classes=known), K, 0)
    assert names(sound) == []
    assert sound.assessed == ["absent_classes"]


def test_denser_classes_are_not_absent_ones() -> None:
    """Of classes whose rows lie close together noise takes more, in a sound student too."""
    dense = np.isin(LABELS, ["c5", "c6", "c7"])
    centres = np.array([CENTRES[label] for label in LABELS])
    teacher = np.where(dense[:, None], centres + 0.3 * (TEACHER - centres), TEACHER)
    both = Space(teacher, labels=LABELS), {"s": Space(teacher + 0.3 * NOISE)}
    known = frozenset(f"c{place}" for place in range(5))
    found = evidence_of_training(next(iter(pair(*both).values())), Training(classes=known), K, 0)
    looked = found.examined["classes"]
    assert looked["present_overlap"] - looked["absent_overlap"] > 0.15
    assert looked["healthy_difference"] > 0.15
    assert names(found) == []


def test_absent_classes_follow_from_rows_trained_on() -> None:
    absent = np.isin(LABELS, ["c6", "c7"])
    trained = SEEN & ~absent
    found = evidence_of_training(pair_of(worse(absent, 1.0)), Training(trained=trained), K, 0)
    assert names(found) == ["absent_classes"]
    assert set(found.assessed) == {"absent_classes", "overfit"}
    assert sum(pieces(found).values()) == pytest.approx(1)
    assert pieces(found)["overfit"] < 0.1  # held-out rows of the classes trained on are kept as well


def test_classes_that_are_the_split_say_nothing_of_overfit() -> None:
    trained = np.isin(LABELS, ["c0", "c1", "c2", "c3"])
    found = evidence_of_training(pair_of(worse(~trained, 1.0)), Training(trained=trained), K, 0)
    assert names(found) == ["absent_classes"]
    assert found.assessed == ["absent_classes"]
    assert found.examined["underfit"]["rows"] == N // 2
    assert sum(pieces(found).values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("classes", "labelled", "words"),
    [
        (["c0", "cat"], True, "no row has the label 'cat'; the labels are c0, c1, c2"),
        (sorted(CENTRES), True, "holds all classes of the rows"),
        (["c0"], False, "the rows have no labels"),
    ],
)
def test_classes_that_cannot_be(classes: list[str], labelled: bool, words: str) -> None:
    with pytest.raises(InputError, match=words):
        evidence_of_training(pair_of(SOUND, labelled=labelled), Training(classes=frozenset(classes)), K, 0)


def test_classes_are_the_units_of_the_error() -> None:
    values = np.array([0.1, 0.3, 0.7, 0.9])
    classes, mine = np.array(["a", "b", "c", "d"]), np.array([True, True, False, False])
    assert spread_of_classes(values, classes, mine) == pytest.approx(np.sqrt(0.04 / 2 * (1 / 2 + 1 / 2)))
    assert spread_of_classes(values[1:3], classes[1:3], mine[1:3]) == 0


# ---- the other side


def test_the_other_side_keeps_more() -> None:
    lost = SOUND.copy()
    lost[:, :6] = NOISE[:, :6]
    found = evidence_of_training(pair_of(lost), Training(head=pair_of(SOUND)), K, 0)
    (cause,) = found.causes
    assert (cause["name"], cause["where"]) == ("misaligned_head", {"sides": ["backbone"]})
    assert cause["repair"]["after"] > cause["repair"]["before"] + 0.1
    assert cause["repair"]["measure"] == EXAMINED + OVERLAP.named(K)
    assert pieces(found)["lost_in_head"] > 0.3


def test_a_linear_head_is_a_map_and_no_loss() -> None:
    wild = SOUND @ np.diag(np.logspace(0, 2, D))
    found = evidence_of_training(pair_of(wild), Training(head=pair_of(SOUND)), K, 0)
    assert names(found) == ["misaligned_head"]
    assert pieces(found)["lost_in_head"] < 0.1


def test_a_side_that_keeps_less_is_no_cause() -> None:
    found = evidence_of_training(pair_of(SOUND), Training(head=pair_of(SOUND + NOISE)), K, 0)
    assert names(found) == []
    assert found.examined["head"]["difference"] < -0.2


def test_nothing_known_is_nothing_found() -> None:
    assert evidence_of_training(pair_of(SOUND), Training(), K, 0) == TrainingEvidence()
