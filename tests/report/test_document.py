"""The JSON document: strict, complete, checked when it is read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from manifold_probe.errors import InputError
from manifold_probe.files import write_whole
from manifold_probe.report.document import read_document, readings, to_json
from manifold_probe.report.typed import Record, names, plain
from tests.report.hand import document, documents, measurement

MAPS = {"classes": ["a"], "class": [0], "overlap": [0.5], "teacher": [[0.0, 1.0]], "student": [[0.0, 1.0]]}
FIELDS = {"value", "low", "high", "confidence", "chance", "class_chance", "reference", "n", "metric", "note"}


def test_every_field_is_always_there() -> None:
    made = document(measurement({"linear_r2": None}))
    for measure in made["measures"].values():
        assert set(measure) == FIELDS
    assert made["measures"]["linear_r2"]["value"] is None
    assert made["measures"]["linear_r2"]["low"] is None


def test_numpy_and_nan_become_plain() -> None:
    thing = {"a": np.float32(0.5), "b": np.array([1, 2]), "c": [np.nan, np.int64(3)], "d": np.str_("x"), 1: np.bool_(1)}
    assert plain(thing) == {"a": 0.5, "b": [1, 2], "c": [None, 3], "d": "x", "1": True}
    assert json.loads(to_json(plain(thing)))["c"] == [None, 3]


class Example(Record):
    class_: int
    later: str | None
    seldom: float | None = None


def test_a_record_is_the_object_it_was_read_from() -> None:
    given = {"class": 3, "later": None}
    made = Example.from_json(given)
    assert made == given
    assert (made.class_, made["class"], made.seldom) == (3, 3, None)
    assert plain([made, Example(class_=1, later="x", seldom=np.float32(0.5))]) == [
        given,
        {"class": 1, "later": "x", "seldom": 0.5},
    ]
    assert names(Example) == ("class", "later", "seldom")
    with pytest.raises(KeyError):
        made["class_"]


def test_differences_are_paired() -> None:
    both = documents(a=measurement({"overlap@10": 0.5}), b=measurement({"overlap@10": 0.4}))
    row = next(row for row in both["differences"] if row["measure"] == "overlap@10")
    assert (row["a"], row["b"]) == ("a", "b")
    assert row["value"] == pytest.approx(0.1)
    assert row["low"] == pytest.approx(row["high"])  # the same deviations cancel


def test_saved_and_read_again(tmp_path: Path) -> None:
    for made in (document(), documents(a=measurement(), b=measurement())):
        write_whole(tmp_path / "x.json", to_json(made))
        assert read_document(tmp_path / "x.json") == made
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    assert readings(document())["overlap@10"].reference == 0.84


def test_a_place_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for place in ("missing/x.json", "folder"):
        with pytest.raises(InputError, match="cannot be written"):
            write_whole(tmp_path / place, "{}")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def _broken(change: object) -> str:
    made = document()
    change(made)  # type: ignore[operator]
    return json.dumps(made)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"a": NaN}', "not valid JSON"),
        ("[]", "has no schema"),
        ('{"schema": "manifold-probe/comparison/2"}', "comparison/2', which this version does not read"),
        ('{"schema": "manifold-probe/comparison/1"}', "'inputs' is missing"),
        ('{"schema": "manifold-probe/comparisons/1", "students": {}, "differences": []}', "'students' is empty"),
        ('{"schema": "manifold-probe/comparisons/1", "students": {}}', "'differences' is missing"),
        ('{"schema": "manifold-probe/comparisons/1", "students": {"a": 1}, "differences": []}', "'students.a' is not"),
        (
            _broken(lambda d: d["measures"]["overlap@10"].update(value="high")),
            "'measures.overlap@10.value' is not a number",
        ),
        (_broken(lambda d: d["measures"].update({"overlap@10": 3})), "'measures.overlap@10' is not an object"),
        (_broken(lambda d: d["measures"]["overlap@10"].update(chance=True)), "'measures.overlap@10.chance' is not"),
        (_broken(lambda d: d["settings"].clear()), "'settings.k' is missing"),
        (_broken(lambda d: d["inputs"].clear()), "'inputs.teacher' is missing"),
        (_broken(lambda d: d["pairing"].update(verified="yes")), "'pairing.verified' is not true or false"),
        (_broken(lambda d: d["measures"]["overlap@10"].update(reference=10**400)), "'measures.overlap@10.reference'"),
        (_broken(lambda d: d["settings"].update(k=0)), "'settings.k' is below 1"),
        (_broken(lambda d: d["details"].update(overlap_by_k={"k": [0], "cosine": [1], "chance": [1]})), "below 1"),
        (
            _broken(lambda d: d["details"].update(overlap_by_k={"k": [1], "cosine": [1]})),
            "'details.overlap_by_k.chance' is missing",
        ),
        (_broken(lambda d: d["details"].update(spectra={"teacher": [-1], "student": [1]})), "below 0"),
        (_broken(lambda d: d["alarms"].append("no")), "'alarms[0]' is not an object"),
        (_broken(lambda d: d["details"].update(spectra={"teacher": [1, None]})), "'details.spectra.teacher[1]'"),
        (
            _broken(lambda d: d["details"].update(overlap_by_k={"k": [1], "cosine": [], "chance": [0]})),
            "differ in length",
        ),
        (_broken(lambda d: d["details"].update(maps=MAPS | {"class": [3]})), "'details.maps.class' names a class"),
        (_broken(lambda d: d["details"].update(maps=MAPS | {"teacher": [[0.5]]})), "has not 2 numbers"),
    ],
)
def test_damaged_documents_are_refused_in_one_line(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"old\.json") as error:
        read_document(path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_document_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.json: cannot be read"):
        read_document(tmp_path / "no.json")
