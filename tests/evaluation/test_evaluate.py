"""Pairs of spaces, task by task, and `probe evaluate` on digits and on small models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from sklearn.datasets import load_digits

from manifold_probe.cli import shell
from manifold_probe.cli.evaluate import evaluate as verb
from manifold_probe.errors import InputError
from manifold_probe.evaluation.alarms import evaluation_alarms, leaked
from manifold_probe.evaluation.evaluate import evaluate, halves, possible_tasks
from manifold_probe.evaluation.outcome import Part
from tests.extraction.small import world

X, LABELS = load_digits(return_X_y=True)
X, LABELS = X[:700], LABELS[:700]
SMALLER = X @ np.random.default_rng(0).normal(size=(64, 12))
IDS = np.array([f"{place:04d}" for place in range(700)])
USUAL = LABELS < 8
TESTED = ["--teacher", "{}/t_test.npz", "--student", "{}/s_test.npz"]
Capture = pytest.CaptureFixture[str]


def part(rows: np.ndarray, name: str = "rows") -> Part:
    return Part(X[rows], SMALLER[rows], LABELS[rows], IDS[rows], name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("features")
    order = np.random.default_rng(1).permutation(700)
    logits = np.random.default_rng(2).normal(size=(700, 10)) + 3 * np.eye(10)[LABELS]
    for side, values in (("t", X), ("s", SMALLER)):
        for name, rows in {
            "all": np.arange(700),
            "test": np.flatnonzero(USUAL)[::2],
            "train": np.flatnonzero(USUAL)[1::2],
            "ood": np.flatnonzero(~USUAL),
        }.items():
            rows = rows if side == "t" else rows[np.argsort(order[rows])]  # the student's rows in another order
            named = {"ids": IDS[rows], "labels": LABELS[rows], "logits": logits[rows] if side == "t" else -logits[rows]}
            np.savez(place / f"{side}_{name}.npz", features=values[rows], **named)
    np.savez(place / "bare.npz", features=X, ids=IDS)
    np.savez(place / "one.npz", features=X, ids=IDS, labels=np.zeros(700, dtype=int))
    np.savez(place / "words.npz", features=X, ids=IDS, labels=np.array(list("abcdefghij"))[LABELS])
    np.savez(place / "labels.npz", labels=LABELS[::-1], ids=IDS[::-1])
    return place


def probe(capfd: Capture, *arguments: str) -> tuple[int, str, str]:
    app = typer.Typer(add_completion=False)
    app.command()(verb)
    app.callback()(lambda: None)
    code = shell.run(app, ["evaluate", *arguments])
    out, error = capfd.readouterr()
    return code, out, error


def sides(folder: Path, *names: str) -> list[str]:
    options = {"test": ("--teacher", "--student"), "train": ("--teacher-train", "--student-train")}
    options["ood"] = ("--teacher-ood", "--student-ood")
    return [
        word
        for name in names
        for option, side in zip(options.get(name, options["test"]), "ts", strict=True)
        for word in (option, f"{folder}/{side}_{name}.npz")
    ]


def test_a_teacher_against_itself_is_wholly_faithful() -> None:
    bank, test = (
        Part(each.teacher, each.teacher, each.labels, each.ids) for each in halves(part(np.flatnonzero(USUAL)), seed=0)
    )
    ood = Part(X[~USUAL], X[~USUAL])
    found = evaluate(["knn", "linear", "linear-sgd", "retrieval", "ood"], bank, test, ood)
    assert [each.key for each in found] == [
        "knn_accuracy@10",
        *(f"{name}{share}" for name in ("linear_accuracy", "linear_sgd_accuracy") for share in ("", ":10%", ":1%")),
        "recall@1",
        "recall@10",
        *(f"ood_{measure}:{m}" for m in ("cosine", "euclidean", "mahalanobis") for measure in ("auroc", "fpr95")),
    ]
    for outcome in found:
        assert outcome.teacher == outcome.student
        for name in {"agreement", "excess", "neighbour_recall", "rank_correlation_in"} & outcome.fidelity.keys():
            assert outcome.fidelity[name] == pytest.approx(1)
    assert found[0].teacher is not None
    assert found[0].teacher > 0.9


def test_an_independent_student_shows_no_excess() -> None:
    """A student whose rows are permuted within classes, and whose labels are partly wrong, errs on its own."""
    rng = np.random.default_rng(0)
    n = 4000
    labels = rng.integers(0, 5, n)
    teacher, student = (np.eye(5)[np.where(rng.random(n) < 0.7, labels, rng.integers(0, 5, n))] for _ in range(2))
    found = evaluate(["knn"], Part(np.eye(5), np.eye(5), np.arange(5)), Part(teacher, student, labels), k=1)[0]
    assert found.fidelity["excess"] == pytest.approx(0, abs=0.05)
    assert found.teacher == pytest.approx(0.76, abs=0.03)


def test_halves_are_stratified_seeded_and_apart() -> None:
    whole = part(np.arange(700))
    bank, test = halves(whole, seed=0)
    assert bank.ids is not None
    assert test.ids is not None
    assert sorted([*bank.ids, *test.ids]) == IDS.tolist()
    assert np.abs(np.bincount(bank.required_labels) - np.bincount(test.required_labels)).max() <= 1
    assert (halves(whole, seed=0)[0].ids == bank.ids).all()
    assert (halves(whole, seed=1)[0].ids != bank.ids).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: evaluate(["dance"], part(IDS < "9"), part(IDS < "9")), "task 'dance' is not known"),
        (lambda: evaluate(["ood"], part(IDS < "9"), part(IDS < "9")), "no unusual rows"),
        (lambda: evaluate(["logits"], part(IDS < "9"), part(IDS < "9")), "task logits: there are no logits"),
        (lambda: evaluate(["knn"], Part(X, SMALLER), part(IDS < "9")), "has no labels"),
        (
            lambda: evaluate(["knn"], Part(X, SMALLER, np.char.add("c", LABELS.astype(str))), part(IDS < "9")),
            "same codes",
        ),
        (lambda: possible_tasks(Part(X, SMALLER), None, None), "labels: missing"),
        (lambda: Part(X, SMALLER[:5]), "teacher has 700 rows and student 5"),
        (lambda: halves(Part(X[:2], X[:2], np.arange(2)), 0), "cannot be split in halves"),
    ],
)
def test_what_cannot_be_evaluated(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_the_table(folder: Path, capfd: Capture) -> None:
    code, out, error = probe(capfd, *sides(folder, "all"))
    assert (code, error) == (0, "")
    assert out.startswith("teacher t_all and student s_all: 350 test rows compared with 350 others of the same file")
    for key in ("knn_accuracy@10", "linear_accuracy:1%", "recall@10", "logits_top1", "logits_top5"):
        assert key in out
    assert "ood_auroc:" not in out


def test_the_document(folder: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    arguments = [*sides(folder, "test", "train", "ood"), "--json", "--out", f"{tmp_path}/result.json", "--seed", "4"]
    code, out, _ = probe(capfd, *arguments)
    assert code == 0
    assert (tmp_path / "result.json").read_text() == out
    assert probe(capfd, *arguments)[1] == out  # byte by byte
    document = json.loads(out, parse_constant=lambda name: pytest.fail(name))
    assert document["schema"] == "manifold-probe/evaluation/1"
    assert list(document) == ["schema", "inputs", "pairing", "settings", "tasks", "fidelity", "alarms", "provenance"]
    assert document["tasks"].keys() == document["fidelity"].keys()
    by_id = {"by": "id", "coverage": 1.0, "verified": True, "unlabelled": 0}
    assert document["pairing"]["ood"] == by_id | {"rows": int((~USUAL).sum())}
    assert document["settings"]["bank"] == "train"
    usual = np.flatnonzero(USUAL)
    expected = evaluate(["knn", "retrieval", "ood"], part(usual[1::2]), part(usual[::2]), part(~USUAL), seed=4)
    for outcome in expected:
        assert document["tasks"][outcome.key]["student"] == pytest.approx(outcome.student)
        assert document["fidelity"][outcome.key] == pytest.approx(outcome.fidelity)
    assert document["fidelity"]["recall@1"]["cross_recall"] is None
    assert document["tasks"]["recall@1"]["note"] == "cross_recall needs equal widths"


def test_labels_from_a_table_and_chosen_tasks(folder: Path, capfd: Capture) -> None:
    files = ["--teacher", f"{folder}/bare.npz", "--student", f"{folder}/s_all.npz"]
    first = probe(capfd, *files, "--labels", f"{folder}/labels.npz", "--tasks", "retrieval, knn", "--json")
    second = probe(capfd, *sides(folder, "all"), "--tasks", "knn,retrieval", "--json")
    assert json.loads(first[1])["tasks"] == json.loads(second[1])["tasks"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--teacher", "{}/bare.npz", "--student", "{}/bare.npz"], "labels: missing"),
        (["--teacher", "{}/bare.npz", "--student", "{}/bare.npz", "--tasks", "knn"], "test: has no labels"),
        (["--teacher", "{}/one.npz", "--student", "{}/bare.npz"], "one class only"),
        (["--teacher", "{}/t_all.npz", "--student", "{}/s_test.npz"], "does not match"),
        (
            ["--teacher", "{}/t_all.npz", "--student", "{}/s_all.npz", "--k", "351"],
            "k = 351 does not fit",
        ),
        (["--teacher", "{}/t_all.npz", "--student", "{}/s_all.npz", "--tasks", "kmm"], "tasks: 'kmm' is not known"),
        (["--teacher", "{}/t_all.npz", "--student", "{}/s_all.npz", "--tasks", "ood"], "no unusual rows"),
        (["--teacher", "{}/t_all.npz", "--student", "{}/s_all.npz", "--corruptions"], "is no model with data"),
        (["--teacher", "{}/t_all.npz", "--student", "{}/s_all.npz", "--teacher-ood", "{}/t_ood.npz"], "student ood: "),
        (["--teacher", "{}/t_all.npz", "--student", "{}/s_all.npz", "--train-labels", "{}/labels.npz"], "no rows to"),
        (["--teacher", "{}/t_all.npz", "--student", "{}/s_all.npz", "--out", "{}/no/x.json"], "--out"),
        (["--teacher", "{}/t_all.npz", "--student", "{}/s_all.npz", "--data", "images"], "--data: no side is a model"),
        (["--teacher", "python:m:f", "--student", "{}/s_all.npz"], "--data: missing"),
        (
            [*TESTED, "--teacher-train", "{}/words.npz", "--student-train", "{}/words.npz"],
            "is in the bank ('a',",
        ),
        (
            [*TESTED, "--teacher-train", "{}/t_train.npz", "--student-train", "{}/t_train.npz"],
            "bank has 64 dimensions and queries have 12",
        ),
    ],
)
def test_bad_input_is_one_line(folder: Path, capfd: Capture, arguments: list[str], message: str) -> None:
    code, out, error = probe(capfd, *(each.format(folder) for each in arguments))
    assert (code, out) == (2, "")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("extra", [[], ["--train-data", "images", "--ood-data", "images"]])
def test_models_on_images_and_on_corrupted_ones(
    tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch, extra: list[str]
) -> None:
    world(tmp_path, images=24)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    models = ["--teacher", "python:smallnet:make?seed=0", "--student", "python:smallnet:make?seed=0&width=4"]
    see = ["--data", "images", "--size", "16", "--mean", "0.5", "--std", "0.5", *extra]
    arguments = [*models, *see, "--corruptions", "--corrupted-images", "10", "--k", "3", "--json"]
    code, out, error = probe(capfd, *arguments)
    assert code == 0, error
    document = json.loads(out)
    found = {key: task for key, task in document["tasks"].items() if key.startswith("corruption_accuracy:")}
    assert len(found) == 12
    assert len(document["settings"]["corruptions"]) == 10
    each = [task for key, task in found.items() if not key.endswith((":none", ":mean"))]
    for task in each:
        assert task["n"] == 50
        assert task["teacher"] == pytest.approx(np.mean(task["by_severity"]["teacher"]))
    assert found["corruption_accuracy:mean"]["student"] == pytest.approx(np.mean([task["student"] for task in each]))
    assert (json.loads(probe(capfd, *arguments)[1])["tasks"]) == document["tasks"]
    if extra:
        assert document["tasks"]["ood_auroc:cosine"]["teacher"] == 0.5  # the same images


def test_both_models_see_the_same_corrupted_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same model twice, in batches of other sizes: the same features, and those of the picture corrupted alone."""
    from manifold_probe.evaluation.corruptions import corrupt
    from manifold_probe.evaluation.robustness import corrupted_features
    from manifold_probe.extraction.work import Request, prepared

    world(tmp_path, images=6)
    monkeypatch.syspath_prepend(str(tmp_path))
    how = {"size": "16", "mean": "0.5", "std": "0.5"}
    source = "python:smallnet:make?seed=0"
    works = tuple(prepared(Request(source, str(tmp_path / "images"), batch_size=size, **how)) for size in (4, 64))
    ids = works[0].data.ids[::-1]
    test = Part(np.ones((6, 2)), np.ones((6, 2)), np.arange(6), ids)
    seen = corrupted_features((works[0], works[1]), test, seed=3)
    for (corruption, severity), (teacher, student) in seen.items():
        np.testing.assert_array_equal(teacher, student)
        if severity == 5:
            picture = corrupt(works[0].data.read(5).content, corruption, severity, 3, str(ids[0]))
            alone = works[0].outputs(works[0].collate([works[0].prepare(5, picture)]))
            np.testing.assert_allclose(teacher[0], alone["features"][0], rtol=1e-5)
    with pytest.raises(InputError, match="holds no image 'zebra'"):
        corrupted_features((works[0], works[1]), Part(np.ones((1, 2)), np.ones((1, 2)), None, np.array(["zebra"])), 0)


def test_rows_without_a_label_are_left_out_and_counted(folder: Path, capfd: Capture, tmp_path: Path) -> None:
    gaps = np.arange(700) % 3 == 0
    for name, labels in {
        "codes": np.where(gaps, -1, LABELS),
        "floats": np.where(gaps, np.nan, LABELS),
        "names": np.where(gaps, "", np.char.add("c", LABELS.astype(str))),
        "other": np.where(gaps, 255, LABELS),
    }.items():
        np.savez(tmp_path / f"{name}.npz", features=X, ids=IDS, labels=labels)
    told = {}
    for name in ("codes", "floats", "names", "other"):
        files = [
            "--teacher",
            f"{tmp_path}/{name}.npz",
            "--student",
            f"{folder}/s_all.npz",
            "--tasks",
            "knn,retrieval,linear",
        ]
        extra = ["--unlabelled", "255"] if name == "other" else []
        told[name] = json.loads(probe(capfd, *files, *extra, "--json")[1])
        assert told[name]["pairing"]["test"]["unlabelled"] == gaps.sum()
        assert told[name]["tasks"] == told["codes"]["tasks"]
    bank, test = halves(Part(X, SMALLER, np.where(gaps, -1, LABELS), IDS), seed=0)
    known = [part.only(part.labels >= 0) for part in (bank, test)]
    (expected,) = evaluate(["knn"], *known)
    assert evaluate(["knn"], bank, test) == [expected]
    assert told["codes"]["tasks"]["knn_accuracy@10"]["n"] == expected.n == (test.labels >= 0).sum()
    assert told["codes"]["tasks"]["knn_accuracy@10"]["student"] == pytest.approx(expected.student)
    out = probe(capfd, *files[:4], "--tasks", "knn", "--unlabelled", "255")[1]
    assert f"left out of what asks for labels: {gaps.sum()} test rows" in " ".join(out.split())


def nearest_class(bank: Part, test: Part) -> list[float]:
    """Accuracy of the 1-nearest neighbour by cosine in both spaces, naively."""
    found = []
    for rows, asked in zip(bank.sides, test.sides, strict=True):
        near = [np.argmax(rows @ one / np.linalg.norm(rows, axis=1) / np.linalg.norm(one)) for one in asked]
        found.append(float((bank.required_labels[near] == test.required_labels).mean()))
    return found


@pytest.mark.parametrize("by", ["rows", "ids", "half precision"])
def test_leaked_rows_are_alarmed_with_numbers(by: str) -> None:
    clean, test = part(np.arange(300), "train"), part(np.arange(300, 400), "test")
    copies = part(np.arange(300, 350))
    away = 0.02 * np.random.default_rng(0).normal(size=copies.teacher.shape)
    rows = {"rows": copies.teacher, "ids": copies.teacher + away, "half precision": copies.teacher + away / 100}[by]
    ids = np.arange(350)
    ids[300:] = np.arange(50)
    names = {"rows": (None, None), "ids": (np.append(clean.ids, copies.ids), test.ids)}.get(by, (ids, np.arange(100)))
    if by == "half precision":  # ids that count the rows of both sets
        ids = np.append(np.arange(50, 350), np.arange(50))
        names = (ids, np.arange(100))
    bank = Part(
        np.append(clean.teacher, rows, axis=0),
        np.append(clean.student, copies.student, axis=0),
        np.append(clean.required_labels, copies.required_labels),
        names[0],
        "train",
    )
    test = Part(test.teacher, test.student, test.required_labels, names[1], "test")
    assert leaked(bank, test).tolist() == [False] * 300 + [True] * 50
    (alarm,) = evaluation_alarms(bank, test, k=1)
    assert alarm.code == "leaked_rows"
    assert alarm.message.startswith("50 of 100 test rows are also in the bank, as 50 of its 350 rows")
    for with_them in (bank, clean):
        teacher, student = nearest_class(with_them, test)
        assert f"{teacher:.3f} (teacher) and {student:.3f} (student)" in alarm.message
    assert "--drop-leaked" in alarm.message
    (dropped,), (expected,) = (
        evaluate(["knn"], bank, test, k=1, drop_leaked=True),
        evaluate(["knn"], clean, test, k=1),
    )
    assert dropped == expected
    with pytest.raises(InputError, match="none is left"):
        evaluate(["knn"], bank.only(np.arange(300, 350)), test, k=1, drop_leaked=True)


def test_row_numbers_as_ids_leak_nothing() -> None:
    bank, test = (part(rows) for rows in (np.arange(300), np.arange(300, 400)))
    bank, test = (Part(each.teacher, each.student, each.labels, np.arange(each.n)) for each in (bank, test))
    assert not leaked(bank, test).any()
    assert evaluation_alarms(bank, test, k=5) == []


def test_classes_that_the_bank_lacks_are_alarmed_with_numbers() -> None:
    bank, test = part(np.flatnonzero(LABELS[:400] < 8), "train"), part(np.arange(400, 700), "test")
    (alarm,) = evaluation_alarms(bank, test, k=1)
    unknown = test.required_labels >= 8
    assert alarm.code == "missing_classes"
    assert alarm.message.startswith(f"{unknown.sum()} of 300 test rows are of 2 classes that the bank lacks (8, 9)")
    for judged in (test, test.only(~unknown)):
        teacher, student = nearest_class(bank, judged)
        assert f"{teacher:.3f} (teacher) and {student:.3f} (student)" in alarm.message


def test_numbers_written_as_text_are_the_same_classes() -> None:
    bank, test = part(np.arange(300)), part(np.arange(300, 400))
    words = Part(bank.teacher, bank.student, bank.required_labels.astype(str), bank.ids)
    (here,), (there,) = evaluate(["knn"], words, test), evaluate(["knn"], bank, test)
    assert here == there


@pytest.mark.parametrize("half", [np.float16, "bfloat16"])
def test_copies_in_half_precision_leak(half: Any) -> None:
    rng = np.random.default_rng(0)
    x, other = rng.normal(size=(80, 6)).astype(np.float32), rng.normal(size=(200, 6)).astype(np.float32)
    rows = np.concatenate([other, x[:30]])
    stored = torch.from_numpy(rows).bfloat16().float().numpy() if half == "bfloat16" else rows.astype(half)
    found = leaked(Part(stored, stored), Part(x, x))
    assert found.tolist() == [False] * 200 + [True] * 30
    assert not leaked(Part(other, other), Part(x, x)).any()


def test_classes_that_only_leaked_rows_had_are_missing_once_these_are_dropped() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 4)), np.arange(200) % 3
    test = Part(x[:50], x[:50], y[:50], name="test")
    rest = np.flatnonzero(y[50:] != 2) + 50
    chosen = np.concatenate([np.arange(50), rest])
    bank = Part(x[chosen], x[chosen], y[chosen])
    assert [alarm.code for alarm in evaluation_alarms(bank, test, 3)] == ["leaked_rows"]
    dropped = evaluation_alarms(bank, test, 3, dropped=True)
    assert [alarm.code for alarm in dropped] == ["leaked_rows", "missing_classes"]
    assert "16 of 50 test rows are of 1 class that the bank lacks (2)" in dropped[1].message
    (whole,) = evaluation_alarms(test, test, 3)
    assert whole.message.endswith("undefined without; give another bank.")
