"""`mp.diagnose` and `probe diagnose`: the document's contract, every option, every refusal."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import manifold_probe as mp
from manifold_probe import cli
from manifold_probe.diagnosis.lab import HELD_OUT
from manifold_probe.errors import InputError
from manifold_probe.measures.catalogue import DEBIASED_CKA, OVERLAP, OVERLAP_EUCLIDEAN
from manifold_probe.report.document import DIAGNOSIS, read_result
from manifold_probe.spaces.affine import Map
from tests.extraction.small import world
from tests.test_bad_input import check

N, D = 360, 12
RNG = np.random.default_rng(0)
CLASSES = np.arange(N) % 6
CENTRES = RNG.normal(size=(6, D)) * 2.5
TEACHER = (CENTRES[CLASSES] + RNG.normal(size=(N, D)) * np.linspace(2, 0.4, D)).astype(np.float32)
TURN = np.linalg.qr(RNG.normal(size=(D, D)))[0].astype(np.float32)
STUDENT = TEACHER @ TURN + 0.15 * RNG.normal(size=(N, D)).astype(np.float32)
SHIFTED = STUDENT + 30
IDS = np.array([f"row-{place:03d}" for place in range(N)])
SLICE = (np.arange(N) // 7) % 6  # across the classes
BROKEN = STUDENT + (SLICE == 4)[:, None] * RNG.normal(size=(N, D)).astype(np.float32) * 4
SEEN = np.arange(N) % 4 < 2  # in every class
LEARNED = STUDENT + (~SEEN)[:, None] * RNG.normal(size=(N, D)).astype(np.float32) * 2
TOP = ("schema", "verdict", "measures", "accounting", "accounting_cka", "held_out", "causes", "benign", "ladder")
TOP += ("not_assessed", "examined", "inputs", "pairing", "settings", "provenance")
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("features")
    np.savez(place / "t.npz", features=TEACHER, ids=IDS, labels=CLASSES)
    for name, rows in (("s", STUDENT), ("shifted", SHIFTED), ("broken", BROKEN), ("learned", LEARNED)):
        np.savez(place / f"{name}.npz", features=rows, ids=IDS)
    np.save(place / "same.npy", np.ones((N, D), np.float32))
    np.save(place / "bare.npy", TEACHER)
    np.savez(place / "nan.npz", features=np.where(np.arange(N)[:, None] == 7, np.nan, STUDENT), ids=IDS)
    np.savez(place / "few.npz", features=TEACHER[:40], ids=IDS[:40])
    pd.DataFrame({"id": IDS, "slice": [f"s{each}" for each in SLICE]}).to_csv(place / "slices.csv", index=False)
    pd.DataFrame({"id": [f"other {row}" for row in range(90)], "slice": "x"}).to_csv(place / "lost.csv", index=False)
    pd.DataFrame({"id": IDS, "slice": "x"}).to_csv(place / "one.csv", index=False)
    (place / "seen.txt").write_text("\n".join(IDS[SEEN]))
    (place / "some.txt").write_text("\n".join(IDS[:20]))
    (place / "others.txt").write_text("a\nb\nc")
    return place


@pytest.fixture(scope="module")
def shifted(folder: Path) -> Any:
    return mp.diagnose(folder / "t.npz", folder / "shifted.npz")


def probe(folder: Path, capfd: Capture, *extra: str, student: str = "shifted.npz") -> tuple[int, str, str]:
    capfd.readouterr()
    code = cli.run(["diagnose", "--teacher", f"{folder}/t.npz", "--student", f"{folder}/{student}", *extra])
    out, error = capfd.readouterr()
    return code, out, error


def numbers(thing: Any) -> list[float]:
    if isinstance(thing, dict | list):
        return [each for part in (thing.values() if isinstance(thing, dict) else thing) for each in numbers(part)]
    return [thing] if isinstance(thing, float) else []


def test_the_document(shifted: Any, tmp_path: Path) -> None:
    made = shifted.to_dict()
    assert set(made) == set(TOP)
    assert made["schema"] == DIAGNOSIS
    assert made["settings"] == {"k": 10, "seed": 0, "classes": "labels"}
    assert made["pairing"]["by"] == "id"
    assert set(made["measures"]) == {OVERLAP.named(10), OVERLAP_EUCLIDEAN.named(10), DEBIASED_CKA.key}
    assert made["inputs"]["student"]["shape"] == [N, D]
    assert all(map(math.isfinite, numbers(made)))
    for cause in made["causes"]:
        assert {"name", "words", "status", "share", "evidence", "repair", "where", "falsified_by", "or"} <= set(cause)
        assert cause["status"] in ("proved", "suspected")
        assert 0 <= cause["share"] <= 1
        assert cause["advice"].endswith(".")
    assert sum(part["share"] for part in made["accounting"]) == pytest.approx(
        1 - made["measures"]["overlap@10"]["value"], abs=1e-9
    )
    first, *rest = made["ladder"]
    assert first["repair"] == "identity"
    assert set(first["measures"]) == {HELD_OUT + key for key in made["measures"]}
    assert {each["repair"] for each in rest} >= {"centring", "orthogonal", "ridge", "nonlinear", "teacher_norms"}
    assert {each["name"] for each in made["not_assessed"]} >= {"preprocessing", "misaligned_head", "overfit"}
    shifted.save(tmp_path / "d.json")
    assert read_result(tmp_path / "d.json") == made
    assert mp.load(tmp_path / "d.json").to_dict() == made


def test_an_offset_is_named_and_proved(shifted: Any) -> None:
    cause = shifted.causes[0]
    assert cause.name == "offset"
    assert cause.repair is not None
    assert cause.repair["after"] > cause.repair["before"] + 0.05
    assert repr(shifted).startswith("<Diagnosis: ")
    assert shifted.summary().startswith(shifted.verdict)


def test_the_same_twice(shifted: Any, folder: Path) -> None:
    again = mp.diagnose(folder / "t.npz", folder / "shifted.npz").to_dict()
    first = shifted.to_dict()
    for made in (first, again):
        del made["provenance"]["when"]
    assert json.dumps(first) == json.dumps(again)


def test_arrays_frames_and_spaces_give_the_same() -> None:
    plain = mp.diagnose(TEACHER, SHIFTED, labels=CLASSES, k=5)
    frame = mp.diagnose(pd.DataFrame(TEACHER), mp.Space(SHIFTED), labels=pd.Series(CLASSES), k=5)
    assert frame.verdict == plain.verdict
    assert frame.ladder == plain.ladder
    assert next(iter(plain.ladder[0]["measures"])) == HELD_OUT + OVERLAP.named(5)


def test_rows_pair_by_id() -> None:
    order = RNG.permutation(N)
    found = mp.diagnose(TEACHER, SHIFTED[order], ids=(IDS, IDS[order]), labels=CLASSES)
    assert found.ladder == mp.diagnose(TEACHER, SHIFTED, ids=IDS, labels=CLASSES).ladder


def test_slices_are_looked_at_too(folder: Path) -> None:
    found = mp.diagnose(folder / "t.npz", folder / "broken.npz", slices=folder / "slices.csv")
    named = [each for each in found.causes if each.name == "slice_failure" and "slices" in (each.where or {})]
    assert [each.where["slices"] for each in named] == [["s4"]]
    assert found.examined["slices"] == {"count": 6}
    one_a_row = mp.diagnose(folder / "t.npz", folder / "broken.npz", slices=[f"s{each}" for each in SLICE])
    assert [each.where for each in one_a_row.causes] == [each.where for each in found.causes]


def test_rows_without_a_slice_or_label_are_no_class(folder: Path) -> None:
    teacher, broken = folder / "t.npz", folder / "broken.npz"
    slices = [f"s{each}" if row % 5 else None for row, each in enumerate(SLICE)]
    found = mp.diagnose(teacher, broken, slices=slices)
    named = [each for each in found.causes if each.name == "slice_failure" and "slices" in (each.where or {})]
    assert [each.where["slices"] for each in named] == [["s4"]]
    assert found.examined["slices"] == {"count": 6}
    found = mp.diagnose(teacher, broken, labels=[None if each == 4 else f"c{each}" for each in SLICE])
    known = {f"c{each}" for each in SLICE if each != 4}
    assert {name for cause in found.causes for name in (cause.where or {}).get("classes", [])} <= known
    assert found.to_dict()["pairing"]["unlabelled"] == int((SLICE == 4).sum())


def test_few_slices_are_said_to_be_few(folder: Path) -> None:
    found = mp.diagnose(folder / "t.npz", folder / "s.npz", slices=np.arange(N) % 2)
    assert {"name": "slice_failure", "why": "2 slices are too few to compare one with the others"} in found.not_assessed


def test_seen_against_unseen_rows(folder: Path) -> None:
    found = mp.diagnose(folder / "t.npz", folder / "learned.npz", train_ids=folder / "seen.txt")
    assert "overfit" in [each.name for each in found.causes]
    assert "overfit" not in [each["name"] for each in found.not_assessed]
    looked = found.examined["overfit"]
    assert looked["rows"] == N // 2
    assert looked["low"] < looked["difference"] < looked["high"]
    sound = mp.diagnose(folder / "t.npz", folder / "s.npz", train_ids=IDS[SEEN])
    assert "overfit" not in [each.name for each in sound.causes]
    assert abs(sound.examined["overfit"]["difference"]) < 0.05


def test_a_head_that_keeps_more(folder: Path) -> None:
    found = mp.diagnose(folder / "t.npz", folder / "broken.npz", student_head=folder / "s.npz")
    (cause,) = [each for each in found.causes if each.name == "misaligned_head"]
    assert cause.where == {"count": 1, "sides": ["backbone"]}
    assert cause.repair is not None
    assert cause.repair["after"] > cause.repair["before"]
    assert found.to_dict()["inputs"]["student_head"]["path"].endswith("s.npz")
    assert "misaligned_head" not in [each["name"] for each in found.not_assessed]


def test_a_head_that_keeps_less(folder: Path) -> None:
    found = mp.diagnose(folder / "t.npz", folder / "s.npz", student_head=folder / "broken.npz")
    assert "misaligned_head" not in [each.name for each in found.causes]
    assert found.examined["head"]["difference"] < -0.05


def test_a_head_that_keeps_as_much(folder: Path) -> None:
    found = mp.diagnose(folder / "t.npz", folder / "s.npz", student_head=STUDENT, ids=IDS)
    assert "misaligned_head" not in [each.name for each in found.causes]
    assert found.examined["head"]["difference"] == 0


def test_row_table(folder: Path, tmp_path: Path) -> None:
    found = mp.diagnose(folder / "t.npz", folder / "broken.npz")
    frame = found.rows()
    assert len(frame) == N
    assert frame["overlap@10"].is_monotonic_increasing
    assert set(frame["label"]) == set(range(6))
    for _, row in frame.iterrows():
        assert len(row["lost_ranks"]) == len(row["lost_neighbours"]) == round(10 * (1 - row["overlap@10"]))
        assert all(rank > 10 for rank in row["lost_ranks"])
    row = frame.iloc[0]
    angles = BROKEN / np.linalg.norm(BROKEN, axis=1, keepdims=True)
    near = angles @ angles[row["row"]]
    near[row["row"]] = -np.inf
    places = [int(np.flatnonzero(each == IDS)[0]) for each in row["lost_neighbours"]]
    assert [int((near > near[place]).sum()) + 1 for place in places] == list(row["lost_ranks"])
    found.save_rows(tmp_path / "r.csv")
    found.save_rows(tmp_path / "r.parquet")
    listed = pd.read_parquet(tmp_path / "r.parquet")
    joined = pd.read_csv(tmp_path / "r.csv")
    assert list(listed) == list(joined) == list(frame)
    assert list(listed["lost_ranks"][0]) == [int(rank) for rank in joined["lost_ranks"][0].split(";")]


def test_a_repair_that_proved_itself(shifted: Any, folder: Path, tmp_path: Path) -> None:
    shifted.save_repair(tmp_path / "m.safetensors")
    map = Map.load(tmp_path / "m.safetensors")
    assert float(map.facts["after"]) > float(map.facts["before"]) + 0.05
    assert map.facts["student_sha256"] == shifted.to_dict()["inputs"]["student"]["sha256"]
    mapped = mp.load(folder / "shifted.npz").apply(map)
    before = mp.compare(folder / "t.npz", folder / "shifted.npz").measures["overlap@10"].value
    after = mp.compare(folder / "t.npz", mapped).measures["overlap@10"].value
    assert after > before + 0.05


def test_nothing_to_repair(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="repair: no map is proved to help"):
        mp.diagnose(folder / "t.npz", folder / "s.npz").save_repair(tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()


def test_the_command(folder: Path, capfd: Capture, tmp_path: Path) -> None:
    outputs = ("--report", "d.html", "--figures", "figs", "--rows", "r.parquet", "--save-repair", "m.safetensors")
    placed = [each if each.startswith("--") else str(tmp_path / each) for each in outputs]
    code, out, error = probe(folder, capfd, *placed)
    assert code == 0
    assert "\x1b" not in out
    assert "1. A shared offset hides the differences from cosines (offset)" in out
    assert "Corrections, each judged on rows" in out
    assert "Not assessed" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.html", "figs", "m.safetensors", "r.parquet"]
    assert {"ladder.pdf", "ladder.png", "ladder.svg"} <= {path.name for path in (tmp_path / "figs").iterdir()}
    assert [line.split()[1] for line in error.splitlines()] == ["wrote"] * 4


def test_json_is_one_object_and_nothing_else(folder: Path, capfd: Capture, tmp_path: Path) -> None:
    code, out, error = probe(folder, capfd, "--json", "--seed", "3", "--k", "5")
    assert (code, error, out.count("\n")) == (0, "", 1)
    made = json.loads(out)
    assert (made["schema"], made["settings"]["k"], made["settings"]["seed"]) == (DIAGNOSIS, 5, 3)
    (tmp_path / "d.json").write_text(out)
    arguments = ["figures", f"{tmp_path}/d.json", "--out", f"{tmp_path}/f", "--report", f"{tmp_path}/d.html"]
    assert cli.run([*arguments, "--table", f"{tmp_path}/d.csv"]) == 0
    assert (tmp_path / "f/ladder.pdf").exists()
    assert "overlap@5" in (tmp_path / "d.html").read_text()
    capfd.readouterr()
    assert cli.run(["figures", f"{tmp_path}/d.json", "x=b.json", "--out", f"{tmp_path}/f"]) == 2
    assert cli.run(["figures", f"{tmp_path}/d.json", "--table", f"{tmp_path}/d.tex"]) == 2


def test_options_of_the_command(folder: Path, capfd: Capture) -> None:
    more = ("--slices", f"{folder}/slices.csv", "--train-ids", f"{folder}/seen.txt")
    more += ("--student-head", f"{folder}/s.npz", "--labels", f"{folder}/t.npz::labels")
    code, out, _ = probe(folder, capfd, *more, student="broken.npz")
    assert code == 0
    assert "6 slices were examined in place of classes, too" in out
    assert "rows that were trained on" in out
    assert "at the backbone" in out
    code, _, error = probe(folder, capfd, "--positional", student="bare.npy")
    assert (code, error) == (0, "")
    code, out, _ = probe(folder, capfd, "--allow-missing", "--student-ids", f"{folder}/s.npz::ids", student="s.npz")
    assert code == 0


def test_a_healthy_pair_has_no_map_but_its_report(folder: Path, capfd: Capture, tmp_path: Path) -> None:
    code, out, error = probe(folder, capfd, "--save-repair", f"{tmp_path}/m.safetensors", student="s.npz")
    assert code == 2
    assert "Corrections, each judged on rows" in out
    assert error.count("\n") == 1
    assert "no map is proved to help" in error


@pytest.mark.parametrize(
    ("student", "extra", "words"),
    [
        ("none.npz", (), "no such file"),
        ("nan.npz", (), "nan.npz: key 'features' holds 12 NaN values (first in row 7)"),
        ("same.npy", ("--positional",), "all 360 rows are the same, so that nothing can be assessed"),
        ("few.npz", ("--allow-missing",), "40 paired rows are too few"),
        ("few.npz", (), "does not match"),
        ("s.npz", ("--k", "100"), "at least 404 are needed for k = 100"),
        ("s.npz", ("--k", "0"), "k is 0"),
        ("s.npz", ("--seed", "-1"), "seed is -1"),
        ("s.npz", ("--labels", "one.csv::slice"), "labels: hold only one class"),
        ("s.npz", ("--slices", "one.csv"), "slices: hold only one class"),
        ("s.npz", ("--slices", "lost.csv"), "slices: none of"),
        ("s.npz", ("--slices", "t.npz::nothing"), "has no key 'nothing'"),
        ("s.npz", ("--train-ids", "others.txt"), "train ids: none of the 360 rows are among them"),
        ("s.npz", ("--train-ids", "t.npz"), "train ids: all of the 360 rows are among them"),
        ("s.npz", ("--train-ids", "some.txt"), "train ids: 20 of the paired rows were trained on; at least 60"),
        ("s.npz", ("--student-head", "bare.npy"), "has no ids but"),
        ("s.npz", ("--student-head", "few.npz"), "does not match"),
        ("s.npz", ("--rows", "x.txt"), "rows are written as .parquet or .csv"),
        ("s.npz", ("--rows", "no/where/x.csv"), "--rows: "),
        ("s.npz", ("--save-repair", "m.npz"), "maps are written as .safetensors"),
        ("s.npz", ("--report", "x.txt"), "is no page"),
        ("s.npz", ("--figures", "t.npz/x"), "--figures: "),
        ("s.npz", ("--size", "32"), "--size: there is nothing to extract"),
        ("s.npz", ("--data", "images"), "--data: no side is a model"),
    ],
)
def test_bad_input(
    student: str, extra: tuple[str, ...], words: str, folder: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    code, out, error = probe(folder, capfd, *extra, student=student)
    check(code, out, error)
    assert words in error
    assert sorted(folder.iterdir()) == before


def test_an_output_never_overwrites_an_input(folder: Path, capfd: Capture, tmp_path: Path) -> None:
    pd.DataFrame({"id": IDS, "slice": SLICE}).to_csv(tmp_path / "x.csv", index=False)
    code, out, error = probe(folder, capfd, "--slices", f"{tmp_path}/x.csv", "--rows", f"{tmp_path}/x.csv")
    check(code, out, error)
    assert "is an input of this command" in error


def test_bad_input_in_python(folder: Path) -> None:
    for more, words in (
        ({"slices": np.arange(5)}, "slices: slices hold 5 values for 360 rows"),
        ({"slices": pd.DataFrame({"id": IDS})}, "slices: the table has no column"),
        ({"slices": pd.DataFrame({"id": IDS, "slice": SLICE})}, "has no ids but the slices have"),
        ({"train_ids": IDS}, "train ids: the rows have no ids"),
        ({"labels": np.zeros(N, int)}, "labels: hold only one class"),
    ):
        with pytest.raises(InputError, match=words):
            mp.diagnose(TEACHER, STUDENT, **more)


@pytest.mark.parametrize(("of_teacher", "of_student"), [(1e25, 1e25), (1.0, 1e-42), (1e60, 1e-60)])
def test_no_cause_depends_on_a_scale(of_teacher: float, of_student: float) -> None:
    plain = mp.diagnose(TEACHER.astype(np.float64), STUDENT.astype(np.float64)).to_dict()
    found = mp.diagnose(TEACHER * np.float64(of_teacher), STUDENT * np.float64(of_student)).to_dict()
    assert [cause["name"] for cause in found["causes"]] == [cause["name"] for cause in plain["causes"]]
    for step, expected in zip(found["ladder"], plain["ladder"], strict=True):
        for key, measure in step["measures"].items():
            assert measure["value"] == pytest.approx(expected["measures"][key]["value"], abs=1e-5)


def test_models_are_extracted_first(capfd: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world(tmp_path, 80))
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("smallnet", None)
    models = ["--teacher", "python:smallnet:make?seed=1", "--student", "python:smallnet:make?seed=2"]
    more = ["--data", "images", "--size", "32", "--mean", "0.5", "--std", "0.5", "--json"]
    assert cli.run(["diagnose", *models, *more]) == 0
    made = json.loads(capfd.readouterr().out)
    assert made["pairing"]["rows"] == 80
    assert "preprocessing" not in [each["name"] for each in made["not_assessed"]]
    assert made["examined"]["interventions"][0]["name"] == "as it is"


def test_the_teachers_recipe_is_read_from_its_features(tmp_path: Path) -> None:
    from manifold_probe.diagnosis.given import recipe_of
    from manifold_probe.models.preprocessing import ImagePreprocessing

    recipe = ImagePreprocessing(32, mean=0.5, std=0.25)
    (tmp_path / "manifest.json").write_text(json.dumps({"plan": {"preprocessing": recipe.record()}}))
    assert recipe_of(str(tmp_path)) == recipe
    (tmp_path / "manifest.json").write_text(json.dumps({"plan": {"preprocessing": {"kind": "texts"}}}))
    assert recipe_of(str(tmp_path)) is None
    assert recipe_of(str(tmp_path / "t.npz")) is None


def test_the_same_file_on_both_sides_is_said(folder: Path, capfd: Capture) -> None:
    same = ["--teacher", f"{folder}/t.npz", "--student", f"{folder}/t.npz"]
    for verb in (["diagnose"], ["evaluate", "--tasks", "knn"]):
        assert cli.run([*verb, *same]) == 0
        told = capfd.readouterr()
        assert "teacher and student are the same file" in told.out + told.err


def test_the_file_of_an_order_comes_with_the_options_that_take_it(capfd: Capture, tmp_path: Path) -> None:
    draw = np.random.default_rng(4)
    teacher = draw.normal(size=(300, 12)) @ draw.normal(size=(12, 12))
    np.save(tmp_path / "t.npy", teacher)
    np.save(tmp_path / "s.npy", np.roll(teacher + 0.1 * draw.normal(size=teacher.shape), 3, 0))
    sides = ["--teacher", f"{tmp_path}/t.npy", "--student", f"{tmp_path}/s.npy"]
    order = f"{tmp_path}/order.csv"
    assert cli.run(["diagnose", *sides, "--save-order", order]) == 0
    told = capfd.readouterr()
    assert "within halves" not in told.out
    options = f"--teacher-ids {order}::teacher --student-ids {order}::student"
    assert f"pair by it with {options}" in told.err
    assert cli.run(["compare", *sides, *options.split(), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["measures"]["overlap@10"]["value"] > 0.8
