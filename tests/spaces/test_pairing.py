"""Pairing by id is a join; by position it is a promise nobody checks; everything doubtful is refused."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifold_probe.errors import InputError
from manifold_probe.spaces import Pair, Space, pair


def space(
    ids: list | np.ndarray | None, labels: list | None = None, name: str = "s.npy", n: int | None = None
) -> Space:
    """Row i holds the hash of its id, so that a pairing can be checked by its rows."""
    rows = [hash(str(item)) % 1000 for item in ids] if ids is not None else range(n or 0)
    x = np.array([[row, -row] for row in rows], dtype=float)
    as_array = None if ids is None else np.asarray(ids)
    return Space(x, ids=as_array, labels=None if labels is None else np.asarray(labels), name=name)


def one(teacher: Space, student: Space, **options: object) -> Pair:
    return pair(teacher, {"student": student}, **options)["student"]


def rows(one_space: Space) -> np.ndarray:
    return one_space.read(0, one_space.n)


unique_ids = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=30, unique=True),
    st.lists(st.text(st.characters(exclude_characters="\0"), max_size=8), min_size=2, max_size=30, unique=True),
)


@given(unique_ids, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_permuting_a_student_with_ids_changes_nothing(ids: list, random: object) -> None:
    shuffled = random.sample(ids, len(ids))
    straight, permuted = one(space(ids), space(ids)), one(space(ids), space(shuffled))
    assert np.array_equal(rows(straight.student), rows(permuted.student))
    assert np.array_equal(rows(permuted.teacher), rows(permuted.student))
    assert permuted.ids.tolist() == ids
    assert (permuted.by, permuted.coverage, permuted.verified) == ("id", 1.0, True)


@given(unique_ids, st.data())
@settings(max_examples=100, deadline=None)
def test_allow_missing_keeps_the_common_rows_in_teacher_order(ids: list, data: st.DataObject) -> None:
    left = data.draw(st.permutations(ids))[: data.draw(st.integers(1, len(ids)))]
    right = data.draw(st.permutations(ids))[: data.draw(st.integers(1, len(ids)))]
    common = [item for item in left if item in set(right)]
    if len(common) < 2:
        with pytest.raises(InputError, match="at least 2"):
            one(space(left), space(right), allow_missing=True)
        return
    found = one(space(left), space(right), allow_missing=True)
    assert found.ids.tolist() == common
    assert np.array_equal(rows(found.teacher), rows(found.student))
    assert found.coverage == len(common) / max(len(left), len(right))


def test_integers_match_the_same_numbers_as_text() -> None:
    found = one(space([3, 10, 7]), space(["7", "3", "10"]))
    assert np.array_equal(rows(found.teacher), rows(found.student))
    assert found.ids.tolist() == [3, 10, 7]


def test_all_students_end_on_the_same_rows() -> None:
    teacher = space(list("abcdef"))
    found = pair(teacher, {"x": space(list("fedcb")), "y": space(list("abcdq"))}, allow_missing=True)
    assert found["x"].ids.tolist() == found["y"].ids.tolist() == list("bcd")
    assert np.array_equal(rows(found["x"].student), rows(found["y"].student))


def test_position_is_unverified_unless_ids_agree() -> None:
    found = one(space(None, n=4), space(None, n=4))
    assert (found.by, found.verified, found.ids) == ("position", False, None)
    assert one(space([1, 2]), space(["1", "2"]), positional=True).verified
    swapped = one(space(["a", "b"]), space(["b", "a"]), positional=True)
    assert not swapped.verified
    assert swapped.ids.tolist() == ["a", "b"]
    assert rows(swapped.student)[0, 0] == hash("b") % 1000
    assert one(space(["a", "b"]), space(None, n=2), positional=True).ids.tolist() == ["a", "b"]


def test_rows_in_place_are_not_selected_again() -> None:
    teacher, student = space(["a", "b"]), space(["a", "b"])
    found = one(teacher, student)
    assert found.teacher is teacher
    assert found.student is student


def test_given_ids_replace_those_of_the_files() -> None:
    found = one(space(None, n=3), space(None, n=3), teacher_ids=["a", "b", "c"], student_ids=["c", "b", "a"])
    assert rows(found.student)[:, 0].tolist() == [2, 1, 0]
    assert found.teacher.ids.tolist() == ["a", "b", "c"]
    with pytest.raises(InputError, match=r"s.npy: ids hold 2 values for 3 rows"):
        one(space(None, n=3), space(None, n=3), teacher_ids=["a", "b"])


def test_labels_by_order_by_id_and_from_the_files() -> None:
    teacher, student = space(["a", "b", "c"]), space(["c", "b", "a"], labels=[30, 20, 10])
    assert one(teacher, student).labels.tolist() == [10, 20, 30]
    assert one(teacher, student, labels=["x", "y", "z"]).labels.tolist() == ["x", "y", "z"]
    found = one(teacher, student, labels=[1.0, 2.0, 3.0, 4.0], labels_ids=["c", "a", "d", "b"])
    assert found.labels.tolist() == [2, 4, 1]
    labelled = space(["a", "b", "c"], labels=["10", "20", "99"])
    found = one(labelled, student)
    assert found.labels.tolist() == ["10", "20", "99"]
    assert found.label_conflicts == 1
    part = one(labelled, space(["c", "a"], labels=[1, 2]), labels=[5, 6, 7], allow_missing=True)
    assert part.labels.tolist() == [5, 7]


@pytest.mark.parametrize(
    ("teacher", "student", "options", "words"),
    [
        (["a", "b", "a"], ["a", "b", "c"], {}, r"t.npy: ids hold 1 duplicates \(such as 'a'\)"),
        (["a", "b"], ["b", "b"], {}, "s.npy: ids hold 1 duplicates"),
        (["a", "b", "c", "d"], ["b", "a", "x"], {}, r"2 \('c', 'd'\) are only there and 1 \('x'\) only here"),
        (list("abcdefg"), list("fg"), {}, r"5 \('a', 'b', 'c', ...\) are only there and 0 only here"),
        (["a", "b"], None, {}, "s.npy: has no ids but t.npy has.*--positional"),
        (None, ["a", "b"], {"teacher_n": 2}, "t.npy: has no ids but s.npy has"),
        (["a", "b"], None, {"positional": True}, "3 rows and t.npy has 2"),
        (None, None, {"teacher_n": 5}, "3 rows and t.npy has 5.*add ids"),
        (["a", "b"], ["b", "c"], {"allow_missing": True}, "only 1 of its 2 rows are in s.npy;"),
        (["a", "b"], ["a", "b"], {"labels": [1]}, "labels: labels hold 1 values for 2 rows"),
        (
            ["a", "b"],
            ["a", "b"],
            {"labels": [1], "labels_ids": ["c"]},
            r"labels: none of t.npy's ids \('a', 'b'\) is in the table, which has 'c'",
        ),
        (["a", "b"], ["a", "b"], {"labels": [1, 2], "labels_ids": ["a", "a"]}, "labels: ids hold 1 duplicates"),
        (
            None,
            None,
            {"teacher_n": 3, "labels": [1, 2, 3], "labels_ids": list("abc")},
            "t.npy: has no ids but the labels",
        ),
        (["a", "b"], ["a", "b"], {"labels": [1.5, 2]}, "1.5 in row 0"),
    ],
)
def test_doubtful_pairings_are_refused(teacher: list, student: list, options: dict, words: str) -> None:
    n = options.pop("teacher_n", None)
    with pytest.raises(InputError, match=words) as error:
        one(space(teacher, name="t.npy", n=n), space(student, n=3), **options)
    assert "\n" not in str(error.value)


def padded() -> tuple[Space, Space]:
    """A distributed sampler's 1,003 rows on 8 ranks: 1,008 of them, the first five again, rank after rank."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1003, 4))
    index = [*range(1003), *range(5)]
    order = np.array([row for rank in range(8) for row in index[rank::8]])
    labels = np.arange(1003) % 7
    teacher = Space(x, ids=np.arange(1003), labels=labels, name="t.npz")
    return teacher, Space(-x[order], ids=order, labels=labels[order], name="s.npz")


@pytest.mark.parametrize("text", [False, True])
def test_keep_first_keeps_one_of_identical_rows_under_one_id(text: bool) -> None:
    teacher, student = padded()
    if text:
        teacher, student = (each.with_ids(np.char.add("img", each.ids.astype(str))) for each in (teacher, student))
    with pytest.raises(InputError, match=r"s.npz: ids hold 5 duplicates .* rows are identical; .*--keep-first"):
        one(teacher, student)
    found = one(teacher, student, keep_first=True)
    assert (found.by, found.coverage, found.verified, found.copies_left_out) == ("id", 1.0, True, 5)
    assert np.array_equal(rows(found.student), -rows(teacher))
    assert found.label_conflicts == 0
    both = one(student, student, keep_first=True, labels=np.arange(1008))
    assert (both.teacher.n, both.copies_left_out) == (1003, 10)
    first = {item: row for row, item in reversed(list(enumerate(student.ids.tolist())))}
    assert both.labels.tolist() == sorted(first.values())
    assert one(teacher, teacher, keep_first=True).copies_left_out == 0


def test_keep_first_refuses_rows_that_differ_and_rows_without_ids() -> None:
    teacher, student = padded()
    x = rows(student)
    x[np.flatnonzero(student.ids == 3)[1], 2] += 1e-9
    other = Space(x, ids=student.ids, name="s.npz")
    with pytest.raises(InputError, match=r"ids hold 5 duplicates \(such as 0\), and rows with the same id differ"):
        one(teacher, other)
    with pytest.raises(InputError, match=r"s.npz: rows with the same id differ for 1 \(3\) ids, so they are no copies"):
        one(teacher, other, keep_first=True)
    with pytest.raises(InputError, match=r"t.npz: has no ids, which --keep-first"):
        one(teacher.with_ids(None), teacher.with_ids(None), keep_first=True)


def test_a_million_ids_join_in_seconds() -> None:
    n = 1_000_000
    ids = np.array([f"img{i:07d}" for i in range(n)])
    order = np.random.default_rng(0).permutation(n)
    teacher, student = Space(np.zeros((n, 1)), ids=ids), Space(order[:, None], ids=ids[order])
    begun = time.perf_counter()
    found = one(teacher, student)
    assert time.perf_counter() - begun < 20  # 3 s on a quiet core
    assert np.array_equal(found.student.read(0, 100)[:, 0], np.arange(100))
