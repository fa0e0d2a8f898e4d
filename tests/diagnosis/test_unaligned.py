"""Rows in another order: every named order is found, proved and put right; what is no order is not called one."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import manifold_probe as mp
from manifold_probe import cli
from manifold_probe.diagnosis.copies import distinct_rows
from manifold_probe.errors import InputError
from manifold_probe.measures import neighbourhood_overlap
from manifold_probe.spaces.pairing import pair
from manifold_probe.spaces.space import Space
from tests.test_bad_input import check

N = 403
Capture = pytest.CaptureFixture[str]


def world(n: int = N, seed: int = 0, by_class: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Teacher (n, 16), student (n, 12) and classes (n,); ``by_class`` sorts the rows by class."""
    draw = np.random.default_rng(seed)
    classes = draw.integers(0, 6, n)
    classes = np.sort(classes) if by_class else classes
    teacher = draw.normal(size=(6, 16))[classes] * 2 + draw.normal(size=(n, 16))
    student = teacher @ draw.normal(size=(16, 12)) + 0.3 * draw.normal(size=(n, 12))
    return teacher, student, classes


def ranked(n: int, ranks: int, padded: bool = False) -> np.ndarray:
    """The samples as a loop over ranks appends them."""
    samples = list(range(n))
    if padded:
        samples += samples[: -n % ranks]
    return np.array([samples[place] for rank in range(ranks) for place in range(rank, len(samples), ranks)])[:n]


def batched(n: int, ranks: int, batch: int) -> np.ndarray:
    """The samples as ranks join them after every batch."""
    samples = list(range(n)) + list(range(-n % ranks))
    shares = [samples[rank::ranks] for rank in range(ranks)]
    found = []
    for start in range(0, len(shares[0]), batch):
        for share in shares:
            found += share[start : start + batch]
    return np.array(found[:n])


def as_text(n: int, first: int = 0, name: str = "{}") -> np.ndarray:
    return np.array(sorted(range(n), key=lambda row: name.format(row + first)))


ROWS = np.arange(N)
ORDERS: dict[str, tuple[np.ndarray, str]] = {
    "off by one": (np.roll(ROWS, 1), "shifted by 1 (the student's row i is the teacher's row i - 1)"),
    "seven early": (np.roll(ROWS, -7), "shifted by 7 (the student's row i is the teacher's row i + 7)"),
    "reversed": (ROWS[::-1], "the student's rows are in reverse order"),
    "two ranks": (ranked(N, 2), "the student's rows are joined rank by rank from 2 ranks"),
    "64 ranks": (ranked(N, 64), "the student's rows are joined rank by rank from 64 ranks"),
    "padded": (ranked(N, 8, padded=True), "from 8 ranks, padding copies among them"),
    "teacher's ranks": (np.argsort(ranked(N, 5)), "the teacher's rows are joined rank by rank from 5 ranks"),
    "batches": (batched(N, 4, 16), "the student's rows are joined batch by batch (16 rows) from 4 ranks"),
    "text": (as_text(N), "the student's rows are in text order (0, 1, 10, 100, ...)"),
    "text from one": (as_text(N, 1), "the student's rows are in text order (1, 10, 100, 101, ...)"),
    "names with an ending": (as_text(N, 0, "img{}_a"), "in text order (0, 100, 101, 102, ...)"),
    "shards as text": (
        np.concatenate([np.array_split(ROWS, 16)[shard] for shard in sorted(range(16), key=str)]),
        "the student's rows are in the text order of 16 shards",
    ),
    "teacher's text": (np.argsort(as_text(N)), "the teacher's rows are in text order (0, 1, 10, 100, ...)"),
}


@pytest.mark.parametrize("by_class", [False, True])
@pytest.mark.parametrize("name", ORDERS)
def test_a_named_order_is_found_and_put_right(name: str, by_class: bool) -> None:
    teacher, student, classes = world(by_class=by_class)
    order, words = ORDERS[name]
    found = mp.diagnose(teacher, student[order], labels=classes)
    assert [cause.name for cause in found.causes] == ["unaligned_rows"]
    assert words in found.causes[0].where["orders"][0]
    proof, right = found.causes[0].repair, neighbourhood_overlap(teacher, student)
    assert proof["low"] - 0.03 < right < proof["high"] + 0.03
    assert found.causes[0].advice.startswith("Pair by the order that was found: mp.compare(")
    again = mp.compare(teacher, student[order], ids=found.order(), allow_missing=True)
    assert again.pairing["rows"] >= N - 7
    assert again.measures["overlap@10"].value == pytest.approx(right, abs=0.01)
    kept = {(t, s) for t, s in zip(*(ids.tolist() for ids in found.order()), strict=True)}
    assert len(kept) == N
    for row, id in enumerate(found.order()[1].tolist()):
        assert id.startswith("unpaired-") or int(id) == order[row]


def test_rows_sorted_by_class_are_found_by_the_labels() -> None:
    teacher, student, classes = world()
    found = mp.diagnose(teacher, student[np.argsort(classes, kind="stable")], labels=classes)
    assert found.causes[0].where == {"count": 1, "orders": ["the student's rows are sorted by class label"]}


def test_a_lost_row_has_no_partner() -> None:
    teacher, student, classes = world()
    found = mp.diagnose(teacher[:-1], student[1:], labels=classes[:-1])
    assert found.order()[1].tolist() == [*map(str, range(1, N - 1)), f"unpaired-{N - 2}"]
    assert "allow_missing=True" in found.causes[0].advice


@pytest.mark.parametrize("lost", [100, 400])
def test_a_row_lost_in_the_middle_shifts_those_behind_it(lost: int) -> None:
    teacher, student, classes = world(1200)
    order = np.delete(np.arange(1200), lost)
    found = mp.diagnose(teacher[:-1], student[order], labels=classes[:-1])
    where = found.causes[0].where["orders"][0]
    assert where.startswith("from about row ")
    assert where.endswith(", the rows are shifted by 1 (the student's row i is the teacher's row i + 1)")
    assert abs(int(where.split()[3]) - lost) <= 25
    teacher_ids, student_ids = found.order()
    right = sum(id == str(row) for id, row in zip(student_ids.tolist(), order.tolist(), strict=True))
    assert right >= 1199 - 25
    again = mp.compare(teacher[:-1], student[order], ids=(teacher_ids, student_ids), allow_missing=True)
    assert again.measures["overlap@10"].value > 0.9 * neighbourhood_overlap(teacher, student)


@pytest.mark.parametrize("by_class", [False, True])
def test_an_unknown_order_is_the_only_cause(by_class: bool) -> None:
    teacher, student, classes = world(by_class=by_class)
    draw = np.random.default_rng(1)
    order = np.lexsort((draw.random(N), classes)) if by_class else draw.permutation(N)
    found = mp.diagnose(teacher, student[order], labels=classes)
    assert [cause.name for cause in found.causes] == ["unaligned_rows"]
    assert found.verdict.startswith("Rows are in an unknown order")
    assert found.causes[0].repair is None
    assert found.causes[0].advice.startswith("Pair the rows by id")
    with pytest.raises(InputError, match="no named order"):
        found.order()


def test_ids_that_vouch_make_it_a_real_loss() -> None:
    teacher, student, classes = world()
    order = np.random.default_rng(1).permutation(N)
    found = mp.diagnose(teacher, student[order], labels=classes, ids=np.arange(N))
    assert "unaligned_rows" not in [cause.name for cause in found.causes]


@pytest.mark.parametrize("noise", [0.3, 2.0, 4.0, 6.0])
def test_a_weak_student_is_not_called_unaligned(noise: float) -> None:
    teacher, student, classes = world()
    weak = student + noise * student.std() * np.random.default_rng(2).normal(size=student.shape)
    found = mp.diagnose(teacher, weak, labels=classes)
    assert "unaligned_rows" not in [cause.name for cause in found.causes]


def test_a_shuffled_end_is_ranked_by_what_it_explains() -> None:
    """First, of a narrow student too: that it is narrow is suspected at most."""
    teacher, narrow, classes = world(800)
    draw = np.random.default_rng(3)
    order = np.r_[np.arange(560), 560 + draw.permutation(240)]
    wide = teacher @ np.linalg.qr(draw.normal(size=(16, 16)))[0] + 0.2 * teacher.std() * draw.normal(size=teacher.shape)
    for student in (wide, narrow):
        causes = mp.diagnose(teacher, student[order], labels=classes).causes
        assert causes[0].name == "row_misalignment"
        assert causes[0].status == "proved"
        assert set(causes[0].where["rows"]) <= set(range(560, 800))
        assert len(causes[0].where["rows"]) > 220


def test_the_printed_commands_work(tmp_path: Path, capfd: Capture) -> None:
    teacher, student, classes = world()
    np.savez(tmp_path / "the teacher.npz", features=teacher, labels=classes)
    np.save(tmp_path / "s.npy", student[ORDERS["text"][0]])
    sides = ["--teacher", f"{tmp_path}/the teacher.npz", "--student", f"{tmp_path}/s.npy"]
    assert cli.run(["diagnose", *sides]) == 0
    first, second = [part for part in capfd.readouterr().out.split("`") if part.startswith("probe ")]
    assert cli.run(shlex.split(first.replace("order.csv", f"{tmp_path}/order.csv"))[1:]) == 0
    capfd.readouterr()
    assert cli.run([*shlex.split(second.replace("order.csv", f"{tmp_path}/order.csv"))[1:], "--json"]) == 0
    made = json.loads(capfd.readouterr().out)
    assert made["pairing"]["by"] == "id"
    assert made["pairing"]["verified"]
    assert made["pairing"]["coverage"] == 1.0
    right = neighbourhood_overlap(teacher, student)
    assert made["measures"]["overlap@10"]["value"] == pytest.approx(right, abs=1e-9)


def test_an_order_as_plain_text_holds_one_row_number_a_line(tmp_path: Path) -> None:
    teacher, student, classes = world()
    order = ORDERS["text"][0]
    mp.diagnose(teacher, student[order], labels=classes).save_order(tmp_path / "order.txt")
    assert (tmp_path / "order.txt").read_text().split() == order.astype(str).tolist()


@pytest.mark.parametrize(
    ("extra", "words"),
    [(["--save-order", "order.json"], ".csv or .txt"), (["--save-order", "S"], "is an input of this command")],
)
def test_a_place_for_the_order_is_checked_first(extra: list[str], words: str, tmp_path: Path, capfd: Capture) -> None:
    teacher, student, _ = world(100)
    np.savetxt(tmp_path / "s.csv", student, delimiter=",", header=",".join("abcdefghijkl"), comments="")
    np.save(tmp_path / "t.npy", teacher)
    extra = [str(tmp_path / "s.csv") if each == "S" else each for each in extra]
    code = cli.run(["diagnose", "--teacher", f"{tmp_path}/t.npy", "--student", f"{tmp_path}/s.csv", *extra])
    out, error = capfd.readouterr()
    check(code, out, error)
    assert words in error


def rotated(uniques: np.ndarray) -> np.ndarray:
    return uniques @ np.linalg.qr(np.random.default_rng(5).normal(size=(32, 32)))[0]


def unrelated(uniques: np.ndarray) -> np.ndarray:
    return np.random.default_rng(6).normal(size=uniques.shape)


@pytest.mark.parametrize(("change", "faithful"), [(np.copy, True), (rotated, True), (unrelated, False)])
def test_copies_decide_nothing(change: Callable[[np.ndarray], np.ndarray], faithful: bool) -> None:
    uniques = np.random.default_rng(4).normal(size=(60, 32))
    teacher, student = (np.repeat(x, 12, axis=0) for x in (uniques, change(uniques)))
    found = mp.diagnose(teacher, student)
    assert found.verdict.startswith("Faithful") == faithful
    assert [cause.name for cause in found.causes] == ([] if faithful else ["unaligned_rows"])
    assert "92% of the rows are copies of others" in found.verdict
    assert found.examined["copies"] == 660
    assert found.examined["rows"] == 60
    with pytest.raises(InputError, match=r"59 paired rows \(649 of 708 are copies of others\) are too few"):
        mp.diagnose(teacher[12:], student[12:])


def test_distinct_rows_are_those_of_a_plain_count() -> None:
    draw = np.random.default_rng(7)
    teacher, student = draw.integers(0, 3, (500, 2)), draw.integers(0, 2, (500, 2))
    known: dict[tuple, int] = {}
    for row, (a, b) in enumerate(zip(teacher.tolist(), student.tolist(), strict=True)):
        known.setdefault((*a, *b), row)
    found = pair(Space(teacher), {"student": Space(student)})["student"]
    assert distinct_rows(found).tolist() == sorted(known.values())


@pytest.mark.parametrize("order", [ORDERS["text"][0], np.random.default_rng(1).permutation(N)])
def test_every_form_of_the_report_holds_the_order(order: np.ndarray, tmp_path: Path) -> None:
    teacher, student, classes = world()
    found = mp.diagnose(teacher, student[order], labels=classes, slices=classes % 3)
    found.to_html(tmp_path / "d.html")
    found.figures(tmp_path / "figures")
    found.to_table(tmp_path / "d.csv")
    found.save(tmp_path / "d.json")
    again = mp.load(tmp_path / "d.json")
    assert again.to_dict() == found.to_dict()
    assert again.summary() == found.summary()
    assert found.verdict in found._repr_html_().replace("&#x27;", "'")
    with pytest.raises(InputError, match="was loaded"):
        again.order()
    assert [step["repair"] for step in found.ladder] == ["identity", "reordered"][: len(found.ladder)]
    why = "they can be assessed once rows are paired correctly"
    assert found.not_assessed == [{"name": "all other causes", "why": why}]


def test_ids_that_are_off_by_a_row_are_found_out() -> None:
    teacher, student, _ = world()
    ids = np.array([f"row-{row}" for row in range(len(teacher))])
    shifted = mp.diagnose({"features": teacher, "ids": ids}, {"features": np.roll(student, 1, axis=0), "ids": ids})
    assert (shifted.causes[0].name, shifted.causes[0].status) == ("unaligned_rows", "proved")
    assert "shifted by 1" in shifted.causes[0].words
    noise = np.random.default_rng(5).normal(size=student.shape)
    unrelated = mp.diagnose({"features": teacher, "ids": ids}, {"features": noise, "ids": ids})
    assert unrelated.causes == []
    assert unrelated.verdict.startswith("No specific fault found: 9")
