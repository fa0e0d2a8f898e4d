"""Maps: the same rows in both spaces, the same layout on every run, and a student that starts where its teacher is."""

from __future__ import annotations

import json

import numpy as np
import pytest

import manifold_probe as mp

RNG = np.random.default_rng(0)
CENTRES = RNG.normal(size=(4, 10)) * 5
CODES = np.arange(160) % 4
TEACHER = CENTRES[CODES] + RNG.normal(size=(160, 10))


def compared(student: np.ndarray, teacher: np.ndarray = TEACHER, **more: object) -> mp.Comparison:
    return mp.compare(teacher, student, labels=CODES[: len(teacher)], k=5, maps=True, **more)


@pytest.fixture(scope="module")
def twin() -> mp.Comparison:
    return compared(TEACHER + 0.01 * RNG.normal(size=TEACHER.shape))


def test_maps_are_only_made_when_asked_for() -> None:
    assert "maps" not in mp.compare(TEACHER, TEACHER, k=5).details


def test_rows_classes_and_overlap_belong_together(twin: mp.Comparison) -> None:
    maps = twin.details["maps"]
    assert maps["rows"] == list(range(160))
    assert [maps["classes"][code] for code in maps["class"]] == CODES.tolist()
    assert np.mean(maps["overlap"]) == pytest.approx(twin.measures["overlap@5"].value, abs=2e-3)
    assert np.asarray(maps["teacher"]).shape == np.asarray(maps["student"]).shape == (160, 2)
    assert np.isfinite([maps["teacher"], maps["student"]]).all()


def test_a_twin_stays_where_its_teacher_is(twin: mp.Comparison) -> None:
    teacher, student = (np.asarray(twin.details["maps"][side]) for side in ("teacher", "student"))
    for axis in range(2):
        assert np.corrcoef(teacher[:, axis], student[:, axis])[0, 1] > 0.9
    stranger = compared(RNG.normal(size=TEACHER.shape)).details["maps"]
    assert stranger["teacher"] == twin.details["maps"]["teacher"]
    gap = np.linalg.norm(np.asarray(stranger["student"]) - teacher, axis=1).mean()
    assert gap > 3 * np.linalg.norm(student - teacher, axis=1).mean()


def test_classes_form_groups_on_the_map(twin: mp.Comparison) -> None:
    places = np.asarray(twin.details["maps"]["teacher"])
    centres = np.array([places[code == CODES].mean(0) for code in range(4)])
    nearest = np.linalg.norm(places[:, None] - centres, axis=2).argmin(1)
    assert (nearest == CODES).mean() > 0.95


def test_two_runs_give_the_same_bytes() -> None:
    first, second = (compared(TEACHER[:, ::-1].copy(), seed=3).to_dict() for _ in range(2))
    for each in (first, second):
        each["provenance"].pop("when")
    assert json.dumps(first) == json.dumps(second)


def test_at_most_two_thousand_rows_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    from manifold_probe.measures import maps

    monkeypatch.setattr(maps, "MAP_ROWS", 50)
    drawn = compared(TEACHER, queries=100).details["maps"]
    assert len(drawn["rows"]) == 50
    assert drawn["rows"] == sorted(set(drawn["rows"]))


@pytest.mark.parametrize("kind", ["same rows", "zero rows", "copies", "few"])
def test_awkward_spaces_are_drawn_or_left_out(kind: str) -> None:
    teacher = {
        "same rows": np.ones((40, 3)),
        "zero rows": np.vstack([np.zeros((20, 3)), RNG.normal(size=(20, 3))]),
        "copies": np.repeat(RNG.normal(size=(20, 3)), 2, axis=0),
        "few": RNG.normal(size=(9, 3)),
    }[kind]
    maps = mp.compare(teacher, teacher + 0.1, k=3, maps=True).details.get("maps")
    assert (maps is None) == (kind == "few")
    if maps is not None:
        assert np.isfinite([maps["teacher"], maps["student"]]).all()


def test_neighbours_of_drawn_rows_come_from_all_rows() -> None:
    """Kept, lost and gained are those of all rows; where they stand is their own place, or the drawn row nearest."""
    student = np.tanh(TEACHER[:, :4] + 0.5 * RNG.normal(size=(len(TEACHER), 4)))
    found = compared(student, queries=100).details["maps"]
    rows, k = np.asarray(found["rows"]), 5
    units = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (TEACHER.astype(float), student)]
    closeness = [u @ u.T - 2 * np.eye(len(u)) for u in units]
    lists = [np.argsort(-each[rows], axis=1)[:, :k] for each in closeness]
    for place in range(len(rows)):
        before, after = (set(each[place].tolist()) for each in lists)
        for kind, named in (("kept", before & after), ("lost", before - after), ("gained", after - before)):
            wanted = []
            for row in named:
                if row in rows:
                    wanted.append((int(np.flatnonzero(rows == row)[0]),) * 2)
                else:
                    wanted.append(tuple(int(-1 - np.argmax(each[row, rows])) for each in closeness))
            pairs = found["neighbours"][kind][place]
            assert sorted(zip(pairs[::2], pairs[1::2], strict=True)) == sorted(wanted)
