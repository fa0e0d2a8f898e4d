"""Layer against layer: the numbers of a loop over pairs, from one pass over the rows."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from manifold_probe.errors import InputError
from manifold_probe.measures import debiased_linear_cka, layers, linear_cka
from manifold_probe.measures.layers import layer_bytes, layer_matrix
from manifold_probe.spaces.space import Space


class Counted(Space):
    """A space that notes which rows it is asked for."""

    def __init__(self, rows: Any) -> None:
        super().__init__(rows)
        self.asked: list[tuple[int, int]] = []

    def read(self, start: int, stop: int) -> np.ndarray:
        self.asked.append((start, min(stop, self.n)))
        return super().read(start, stop)


def spaces(n: int, dtype: str = "float64") -> tuple[dict[str, Any], dict[str, Any]]:
    rng = np.random.default_rng(n)
    base = rng.normal(size=(n, 6)) * np.arange(1, 7) + 5
    teacher = {"": base, "b.0/*": np.tanh(base @ rng.normal(size=(6, 9))), "$x$\n": rng.normal(size=(n, 3)) + 100}
    student = {"1": base[:, :2] ** 2, "élan": (base @ rng.normal(size=(6, 4))).repeat(2, 1)}
    teacher, student = ({k: v.astype(dtype) for k, v in side.items()} for side in (teacher, student))
    return teacher, student


def matrix(teacher: dict[str, Any], student: dict[str, Any]) -> dict[str, Any]:
    return layer_matrix({k: Space(v) for k, v in teacher.items()}, {k: Space(v) for k, v in student.items()})


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("n", [4, 63, 64, 65, 200])
def test_equals_a_loop_over_pairs_at_any_block_boundary(n: int, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "MIN_BLOCK_ROWS", 64)
    monkeypatch.setattr(layers, "BLOCK_BYTES", 1)
    teacher, student = spaces(n, dtype)
    found = matrix(teacher, student)
    assert (found["teacher"], found["student"], found["n"]) == (list(teacher), list(student), n)
    for name, measure in (("linear_cka", linear_cka), ("debiased_linear_cka", debiased_linear_cka)):
        wanted = [[measure(x.astype(float), y.astype(float)) for y in student.values()] for x in teacher.values()]
        np.testing.assert_allclose(np.array(found[name], dtype=float), wanted, rtol=1e-9, atol=1e-11)


def test_every_row_of_every_layer_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "MIN_BLOCK_ROWS", 50)
    monkeypatch.setattr(layers, "BLOCK_BYTES", 1)
    both = [{name: Counted(rows) for name, rows in side.items()} for side in spaces(120)]
    seen: list[tuple[str, int, int]] = []
    layer_matrix(*both, lambda *step: seen.append(step))
    for space in (space for side in both for space in side.values()):
        assert Counter(space.asked) == {(0, 50): 1, (50, 100): 1, (100, 120): 1}
    assert seen == [("comparing layers", done, 120) for done in (50, 100, 120)]


def test_a_layer_against_itself_is_one_and_the_matrix_transposes() -> None:
    teacher, student = spaces(90)
    there, back = matrix(teacher, student), matrix(student, teacher)
    for name in ("linear_cka", "debiased_linear_cka"):
        np.testing.assert_allclose(there[name], np.transpose(back[name]), rtol=1e-12)
        np.testing.assert_allclose(np.diag(matrix(teacher, teacher)[name]), 1, rtol=1e-12)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6 + 0.3])
def test_a_constant_layer_is_undefined_and_spoils_no_other(constant: float) -> None:
    teacher, student = spaces(300, "float32")
    flat = np.full((300, 4), constant, np.float32)
    found, plain = matrix({**teacher, "flat": flat}, {"flat": flat, **student}), matrix(teacher, student)
    for name in ("linear_cka", "debiased_linear_cka"):
        assert found[name][-1] == [None] * 3
        assert [row[0] for row in found[name]] == [None] * 4
        assert [row[1:] for row in found[name][:-1]] == plain[name]


def test_below_four_rows_only_the_biased_form_is_defined() -> None:
    found = matrix(*spaces(3))
    assert all(value is None for row in found["debiased_linear_cka"] for value in row)
    assert all(value is not None for row in found["linear_cka"] for value in row)


def test_far_from_the_origin_no_digit_is_lost() -> None:
    teacher, student = spaces(150)
    far = {name: rows + 1e7 for name, rows in teacher.items()}
    np.testing.assert_allclose(
        matrix(far, student)["debiased_linear_cka"], matrix(teacher, student)["debiased_linear_cka"], atol=1e-7
    )


def test_bytes_count_every_sum() -> None:
    assert layer_bytes({"a": Space(np.eye(5))}, {"b": Space(np.eye(5)[:, :3])}) == 8 * (25 + 9 + 15)


def test_refusals_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(10, 3))
    a = {"a": Space(x, name="t.npz::a")}
    hole = x.copy()
    hole[7, 1] = np.nan
    cases = [
        ({}, a, "teacher: has no layers"),
        (a, {}, "student: has no layers"),
        (a, {"b": Space(x[:9], name="s::b")}, "s::b: has 9 rows and t.npz::a has 10"),
        (a, {"b": Space(hole, name="s::b")}, "s::b: holds 1 NaN value (first in row 7)"),
    ]
    for teacher, student, words in cases:
        with pytest.raises(InputError) as refused:
            layer_matrix(teacher, student)
        assert str(refused.value).startswith(words)
        assert "\n" not in str(refused.value)
    monkeypatch.setattr(layers, "MIN_BLOCK_ROWS", 5)
    monkeypatch.setattr(layers, "BLOCK_BYTES", 1)
    grown = Space(np.concatenate([x[:5], 1e80 * x[5:]]), name="s::b")
    with pytest.raises(InputError, match=r"^s::b: the largest absolute value is .* times those of the first rows"):
        layer_matrix(a, {"b": grown})
    monkeypatch.setattr(layers, "layer_bytes", lambda *_: 2**60)
    with pytest.raises(InputError, match=r"1 x 1 layers: their sums take 1,073,741,824\.0 GiB"):
        layer_matrix(a, a)
