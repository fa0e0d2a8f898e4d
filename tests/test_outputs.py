"""The files of --figures, --report and --table, and `probe figures` from saved results, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import manifold_probe as mp
from manifold_probe import cli
from tests.report.hand import document, documents, measurement

Capture = pytest.CaptureFixture[str]
FIGURES = ["classes", "dimensions", "measures", "overlap-by-k", "ranks", "spectra"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=(80, 6))
    labels = np.arange(80) % 3
    np.savez(tmp_path / "t.npz", features=teacher, labels=labels, ids=np.arange(80))
    for name, noise in (("a", 0.2), ("b", 0.5)):
        np.savez(tmp_path / f"{name}.npz", features=teacher + noise * rng.normal(size=(80, 6)), ids=np.arange(80))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compare(*more: str, students: str = "a") -> list[str]:
    files = [word for name in students for word in ("--student", f"{name}.npz")]
    return ["compare", "--teacher", "t.npz", *files, "--k", "4", *more]


def test_all_outputs_at_once(folder: Path, capfd: Capture) -> None:
    outputs = ["--figures", "f/g", "--report", "page.html", "--table", "x.csv", "--no-maps", "--json"]
    assert cli.run(compare(*outputs, students="ab")) == 0
    out, error = capfd.readouterr()
    result = json.loads(out)
    assert list(result["students"]) == ["a", "b"]
    assert "maps" not in result["students"]["a"]["details"]
    assert error.splitlines() == [
        "probe: wrote 7 figures, as PDF, SVG and PNG, to f/g",
        "probe: wrote the table x.csv",
        "probe: wrote the page page.html",
    ]
    names = {path.stem for path in (folder / "f/g").iterdir()}
    assert names == {*FIGURES, "differences", "captions"}
    assert len(list((folder / "f/g").iterdir())) == 3 * 7 + 2
    page = (folder / "page.html").read_text()
    value = result["students"]["a"]["measures"]["overlap@4"]["value"]
    assert f"{value:.3f}" in page
    assert repr(value) in (folder / "x.csv").read_text()


def test_maps_come_with_figures_and_stay_in_the_result(folder: Path, capfd: Capture) -> None:
    assert cli.run(compare("--figures", "f", "--json")) == 0
    maps = json.loads(capfd.readouterr().out)["details"]["maps"]
    assert len(maps["teacher"]) == len(maps["student"]) == 80
    assert (folder / "f/maps.png").stat().st_size > 10_000
    assert cli.run(compare("--table", "x.md", "--json")) == 0
    assert "maps" not in json.loads(capfd.readouterr().out)["details"]


def test_figures_from_saved_results_alone(folder: Path, capfd: Capture) -> None:
    for name in "ab":
        mp.compare("t.npz", f"{name}.npz", k=4).save(f"{name}.json")
    for path in folder.glob("*.npz"):
        path.unlink()
    arguments = ["figures", "a.json", "other=b.json", "--out", "f", "--style", "slides", "--table", "x.md"]
    assert cli.run([*arguments, "--report", "p.html"]) == 0
    out, error = capfd.readouterr()
    assert out == ""
    assert "not all students were compared together" in error.lower()
    assert sorted(path.stem for path in (folder / "f").glob("*.pdf")) == FIGURES
    assert "| other |" in (folder / "x.md").read_text()
    first = {path.name: path.read_bytes() for path in (folder / "f").iterdir()}
    assert cli.run(arguments) == 0
    assert {path.name: path.read_bytes() for path in (folder / "f").iterdir()} == first


def test_results_draw_themselves(folder: Path) -> None:
    result = mp.compare("t.npz", {"a": "a.npz", "b": "b.npz"}, k=4)
    figures = result.figures()
    assert sorted(figures) == sorted([*FIGURES, "differences"])
    written = [*result["a"].figures("out", style="slides", width=8), Path("out/captions.md"), Path("out/captions.tex")]
    assert sorted(written) == sorted(Path("out").iterdir())
    result.to_html("page.html")
    result.to_table("table.tex")
    assert "\\begin{tabular}" in Path("table.tex").read_text()
    assert Path("page.html").read_text().startswith("<!DOCTYPE html>")


BAD = {
    "table suffix": (compare("--table", "x.xls"), "x.xls"),
    "table without suffix": (
        compare("--table", "x"),
        "--table: x: a comparison is written as .csv, .parquet, .tex or .md",
    ),
    "table over an input": (compare("--table", "in.csv", "--labels", "in.csv"), "--table: in.csv is an input"),
    "report suffix": (compare("--report", "page.pdf"), "ends in .html"),
    "report in no folder": (compare("--report", "no/page.html"), "the folder no does not exist"),
    "report is a folder": (compare("--report", "a.html"), "a.html is a folder"),
    "figures in a file": (compare("--figures", "t.npz"), "t.npz"),
    "figures in /proc": (compare("--figures", "/proc/x"), "/proc/x: cannot be written to"),
    "no path": (compare("--figures", "a\0b"), "no path"),
    "style": (["figures", "one.json", "--out", "f", "--style", "poster"], "no style 'poster'"),
    "width": (["figures", "one.json", "--out", "f", "--width", "2"], "'2' is no width"),
    "nothing asked": (["figures", "one.json"], "--out: nothing is asked for"),
    "missing": (["figures", "no.json", "--out", "f"], "no.json: cannot be read"),
    "empty": (["figures", "empty.json", "--out", "f"], "empty.json: not valid JSON"),
    "broken": (["figures", "broken.json", "--out", "f"], "broken.json: not valid JSON"),
    "other version": (["figures", "two.json", "--out", "f"], "two.json: schema is 'manifold-probe/comparison/2'"),
    "clash": (["figures", "one.json", "several.json", "--out", "f"], "a student of one.json is called 's' too"),
    "other teacher": (["figures", "one.json", "x=far.json", "--out", "f"], "far.json: student 'x' has another teacher"),
    "twice": (["figures", "one.json", "x=one.json", "--out", "f"], "one.json is given twice"),
    "no name": (["figures", "=one.json", "--out", "f"], "neither PATH nor NAME=PATH"),
    "features": (["figures", "t.npz", "--out", "f"], "t.npz: not valid JSON"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(name: str, folder: Path, capfd: Capture) -> None:
    far = document()
    far["inputs"]["teacher"]["sha256"] = "f" * 64
    results = {"one": document(), "several": documents(s=measurement(), b=measurement()), "far": far}
    for stem, made in results.items():
        (folder / f"{stem}.json").write_text(json.dumps(made))
    (folder / "two.json").write_text(json.dumps(document() | {"schema": "manifold-probe/comparison/2"}))
    (folder / "empty.json").write_text("")
    (folder / "broken.json").write_text(json.dumps(document())[:-100])
    (folder / "in.csv").write_text("labels\n" + "0\n" * 80)
    (folder / "a.html").mkdir()
    before = sorted((str(path), path.stat().st_size) for path in folder.rglob("*"))
    arguments, words = BAD[name]
    assert cli.run(arguments) == 2
    out, error = capfd.readouterr()
    assert out == ""
    assert error.startswith("probe: ")
    assert error.count("\n") == 1
    assert words in error
    assert sorted((str(path), path.stat().st_size) for path in folder.rglob("*")) == before


def test_a_full_disk_leaves_no_half_written_file(folder: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    mp.compare("t.npz", "a.npz", k=4).save("a.json")
    (folder / "f").mkdir()
    (folder / "f/ranks.svg").write_text("old")
    real, calls = os.fsync, []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) > 5:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    assert cli.run(["figures", "a.json", "--out", "f"]) == 2
    assert "No space left on device" in capfd.readouterr().err
    assert [(path.name, path.read_text()) for path in (folder / "f").iterdir()] == [("ranks.svg", "old")]
