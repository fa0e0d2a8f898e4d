"""Passes: whoever reads which span, and in which order results arrive, the merged states are the same bits."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifold_probe.engine.cloud import Cloud
from manifold_probe.engine.neighbours import Candidates
from manifold_probe.engine.partial import read_shard
from manifold_probe.engine.passes import BLOCK, Pass, States, Tree, in_this_process, read, read_span, spans, unwatched
from manifold_probe.engine.profile import Profiling
from manifold_probe.engine.ranks import Ranks
from manifold_probe.engine.sums import GroupedMoments
from manifold_probe.engine.threads import one_by_one, threads
from manifold_probe.errors import InputError
from manifold_probe.spaces.space import Space

N, WIDTHS = 5 * BLOCK - 1000, (6, 3)


def spaces() -> dict[str, Space]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, WIDTHS[0]))
    return {"teacher": Space(x), "student": Space((x[:, :3] + rng.normal(size=(N, 3))).astype(np.float32))}


def everything() -> Pass:
    """A pass with every kind of summary."""
    read_from = spaces()
    teacher, student = (Cloud(space, name) for name, space in read_from.items())
    queries = np.arange(0, N, 997)
    near = np.random.default_rng(1).integers(0, N, (len(queries), 4))
    shifts = (teacher.mean, student.mean)
    return Pass(
        read_from,
        {
            "profile": Profiling(teacher),
            "moments": GroupedMoments((teacher, student), np.arange(N) * 7 % 5, 5, shifts),
            "neighbours": Candidates(student, queries, 3, {"cosine": 20, "euclidean": 5}),
            "some": Candidates(teacher.of_rows(np.arange(0, N, 3)), queries[queries < N // 3], 3, {"cosine": 20}),
            "ranks": Ranks.of(teacher, queries, near, "cosine"),
        },
    )


def canonical(found: States) -> dict[str, np.ndarray]:
    """Every array by name; candidates are a set."""
    return {
        f"{summary}: {name}": np.sort(value) if value.dtype == np.uint64 and value.ndim == 2 else value
        for summary, state in found.items()
        for name, value in state.items()
    }


@pytest.fixture(scope="module")
def whole() -> dict[str, np.ndarray]:
    work = everything()
    return canonical(read(work, in_this_process(one_by_one), unwatched))


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


@pytest.mark.parametrize("n", [1, BLOCK, BLOCK + 1, 9 * BLOCK, 200 * BLOCK + 1])
def test_spans_hold_every_row_once_and_begin_on_the_grid(n: int) -> None:
    found = spans(n)
    assert [0, *(last for _, last in found)] == [*(first for first, _ in found), n]
    assert all(first % BLOCK == 0 for first, _ in found)


@pytest.mark.parametrize("count", [2, 3])
def test_threads_change_no_bit(whole: dict[str, np.ndarray], count: int) -> None:
    with threads(count) as each:
        assert_same(whole, canonical(read(everything(), in_this_process(each), unwatched)))


@pytest.mark.parametrize("order", [[4, 3, 2, 1, 0], [2, 0, 4, 1, 3]])
def test_the_order_in_which_spans_arrive_changes_no_bit(whole: dict[str, np.ndarray], order: list[int]) -> None:
    work = everything()
    wanted = spans(N)
    tree = Tree(work.summaries, len(wanted))
    for index in order:
        tree.add(index, read_span(work, wanted[index]))
    assert_same(whole, canonical(tree.result()))


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shards_change_no_bit(whole: dict[str, np.ndarray], count: int) -> None:
    work = everything()
    tree = Tree(work.summaries, len(spans(N)))
    for shard in reversed(range(count)):
        for (level, index), found in read_shard(work, (shard, count), one_by_one, unwatched).items():
            tree.add(index, found, level)
    assert_same(whole, canonical(tree.result()))


class Adding:
    """A summary whose merge shows the tree: the text of what was merged with what."""

    spaces = ("space",)

    def merge(self, one: dict, other: dict) -> dict:
        return {"text": np.array(f"({one['text']} {other['text']})")}


@given(st.permutations(range(7)))
@settings(max_examples=30)
def test_the_tree_is_fixed(order: list[int]) -> None:
    tree = Tree({"a": Adding()}, 7)
    for index in order:
        tree.add(index, {"a": {"text": np.array(str(index))}})
    assert str(tree.result()["a"]["text"]) == "(((0 1) (2 3)) ((4 5) 6))"


def test_a_value_that_is_no_number_is_refused_with_its_row() -> None:
    x = np.zeros((BLOCK + 10, 2))
    x[BLOCK + 3, 1] = np.nan
    x[0] = 1
    space = Space(x, name="t.npy")
    with pytest.raises(InputError, match=r"t.npy: holds 1 NaN value \(first in row 8195\)"):
        read(
            Pass({"space": space}, {"profile": Profiling(Cloud(Space(np.nan_to_num(x)), "space"))}),
            reading(),
            unwatched,
        )


def reading() -> Callable:
    return in_this_process(one_by_one)


def test_grouped_moments_are_those_of_each_group() -> None:
    from manifold_probe.engine.moments import Moments

    rng = np.random.default_rng(3)
    x, y, z = (rng.normal(3, 1, (500, d)) * scale for d, scale in ((4, 1e40), (3, 1.0), (6, 1e-9)))
    groups = rng.integers(0, 4, 500)  # 3 is left out
    clouds = tuple(Cloud(Space(rows), name) for rows, name in ((x, "x"), (y, "y"), (z, "z")))
    asked = GroupedMoments(clouds, groups, 3, tuple(cloud.mean for cloud in clouds))
    found = read(Pass({c.name: c.stored for c in clouds}, {"m": asked}), reading(), unwatched)
    for rows, cloud, (parts, squares) in zip((y, z), clouds[1:], asked.result(found["m"]), strict=True):
        ours = np.ldexp(x, -clouds[0].exponent), np.ldexp(rows, -cloud.exponent)
        for group, part in enumerate(parts):
            plain = Moments(clouds[0].mean, cloud.mean).update(*(each[groups == group] for each in ours))
            for name in ("n", "sx", "sy", "xx", "xy", "yy", "aa", "ab", "bb", "ax", "bx", "ay", "by"):
                np.testing.assert_allclose(getattr(part, name), getattr(plain, name), rtol=1e-12, atol=1e-12)
        away = [np.sum((each - shift) ** 2, 1) for each, shift in zip(ours, (clouds[0].mean, cloud.mean), strict=True)]
        np.testing.assert_allclose(squares, away, rtol=1e-12)
