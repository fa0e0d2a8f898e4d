"""Runs as curves: the table against the log, the figure and its layout, TensorBoard's events, what is refused."""

from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manifold_probe.cli.shell import run as command
from manifold_probe.cli.verbs import app
from manifold_probe.distillation.run_folder import RunFolder
from manifold_probe.errors import InputError
from manifold_probe.report.figures.curves import MOST, draw, layout, measured_keys, said_of_rows
from manifold_probe.report.figures.look import MAP_COLOURS, WIDTHS, look_of
from manifold_probe.report.figures.save import contents
from manifold_probe.report.run import SIDES, Run, Runs, manifest_of, read_run, read_runs, run_folders
from manifold_probe.report.tensorboard import FILE, write_events
from tests.report.figures.drawn import faults, words

LOOKS = {
    **{name: look_of("paper", name) for name in WIDTHS},
    "slides": look_of("slides"),
    "a narrow slide": look_of("slides", 5),
    "free": look_of("paper", 12.5),
}
QUICK, SLOW = ("neurips", "icml-column", "slides"), pytest.mark.slow
NAMES = {
    "one": ["run"],
    "two": ["coss", "mse"],
    "five": ["a", "$x_1$ \\textbf{a}", "<b>" * 30, "n" * 60 + "m", "n" * 60 + "k"],
    "many": [f"model {place}" for place in range(MOST)],
}
MEASURES = ("overlap@10", "debiased_linear_cka", "norm_correlation", "per_dimension_correlation", "space_similarity")


def log(
    seed: int = 0,
    epochs: int = 5,
    *,
    terms: tuple[str, ...] = ("cosine", "space"),
    batch: int = 128,
    rows: int = 1797,
    held_out: bool = False,
    labelled: bool = True,
    head: bool = True,
) -> list[dict[str, Any]]:
    """The lines of a run, ten steps an epoch; without head per-dimension measures are undefined throughout."""
    rng = np.random.default_rng(seed)
    lines: list[dict[str, Any]] = []
    for epoch in range(epochs + 1):
        place = {"step": 10 * epoch, "epoch": epoch, "encoded": 10 * batch * epoch}
        if epoch:
            named = {term: float(rng.uniform(0.5, 1) / epoch) for term in terms}
            lines.append({**place, "rate": 0.03, "loss": sum(named.values()), "terms": named})
        sides: dict[str, dict[str, float | None]] = {}
        for side in SIDES:
            values = {key: float(rng.uniform(-0.2, 1)) for key in MEASURES}
            wide = {key: None for key in MEASURES[3:] if side == "backbone"}
            more = {"knn_agreement@10": float(rng.uniform(0.9, 1))} if labelled else {}
            sides[side] = {**values, **wide, **more}
        if not head:
            sides["head"] = sides["backbone"]
        lines.append({**place, "probe": {"rows": rows, "held_out": held_out}, "measures": sides})
    return lines


def folder(path: Path, lines: list[dict[str, Any]], finished: bool = True) -> str:
    path.mkdir(parents=True)
    (path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (path / "config.toml").write_text("")
    if finished:
        (path / "manifest.json").write_text("{}")
    return str(path)


def as_run(lines: list[dict[str, Any]], name: str = "run", finished: bool = True) -> Run:
    return Run(
        name, [line for line in lines if "loss" in line], [line for line in lines if "measures" in line], finished
    )


def table(runs: list[Run], path: Path) -> str:
    Runs(runs).to_table(path / "runs.csv")
    return (path / "runs.csv").read_text()


def runs_of(kind: str) -> list[Run]:
    return [as_run(log(place), name) for place, name in enumerate(NAMES[kind])]


def test_the_table_holds_every_number_of_the_log(tmp_path: Path) -> None:
    lines = log()
    [run] = read_runs({folder(tmp_path / "runs" / "coss", lines): None})
    rows = list(csv.DictReader(io.StringIO(table([run], tmp_path))))
    assert tuple(rows[0]) == ("run", "step", "epoch", "encoded", "side", "measure", "value")
    assert {row["run"] for row in rows} == {"coss"}
    got = {
        (int(row["step"]), row["side"], row["measure"]): float(row["value"]) if row["value"] else None for row in rows
    }
    wanted: dict[tuple[int, str, str], float | None] = {}
    for line in lines:
        if "loss" in line:
            wanted |= {(line["step"], "", key): line[key] for key in ("loss", "rate")}
            wanted |= {(line["step"], "", f"loss:{term}"): value for term, value in line["terms"].items()}
        else:
            for side in SIDES:
                wanted |= {(line["step"], side, key): value for key, value in line["measures"][side].items()}
    assert got == wanted
    assert len(rows) == len(got)
    assert all(int(row["encoded"]) == 128 * int(row["step"]) for row in rows)
    assert [int(row["step"]) for row in rows] == sorted(int(row["step"]) for row in rows)


def test_a_watch_knows_how_many_rows_are_trained_on() -> None:
    lines = [{**line, "probe": {"rows": 300, "held_out": False, "seen": 4}} for line in log() if "measures" in line]
    assert said_of_rows([as_run(lines)]) == "Measured on 300 rows, of which training saw 4."


def test_the_rank_and_norm_of_a_watch_have_panels(tmp_path: Path) -> None:
    lines = [{**line, "rank": 40.0 - line["step"], "norm": 2.5} for line in log() if "measures" in line]
    run = as_run(lines)
    assert measured_keys([run])[-2:] == ["rank", "norm"]
    said = words(draw([run], look_of())["training"])
    assert "effective rank of the student" in said
    assert {row["value"] for row in run.numbers() if row["measure"] == "norm"} == {2.5}
    assert {row["side"] for row in run.numbers() if row["measure"] == "rank"} == {"backbone"}


def test_a_watch_that_does_not_know_what_is_trained_on() -> None:
    lines = [{**line, "probe": {"rows": 300, "held_out": None}} for line in log() if "measures" in line]
    assert said_of_rows([as_run(lines)]) == "Measured on 300 rows."


def test_a_measure_that_is_undefined_throughout_is_left_out(tmp_path: Path) -> None:
    lines = log(head=False)
    run = as_run(lines)
    assert "space_similarity" not in table([run], tmp_path)
    said = words(draw([run], look_of())["training"])
    assert "space similarity" not in said
    assert "overlap@10" in said
    assert "no head" not in said
    assert "run (no head)" in words(draw([run, replace(as_run(log()), name="other")], look_of())["training"])
    assert "run: head" not in said  # it would hide the other


def test_the_curves_are_those_of_the_log() -> None:
    runs = runs_of("two")
    axes = {axes.get_title(loc="left"): axes for axes in draw(runs, look_of())["training"].axes}
    assert list(axes) == [
        "loss",
        "overlap@10",
        "debiased linear CKA",
        "per-dimension, raw",
        "space similarity",
        "norm correlation",
        "k-NN agreement@10",
    ]
    for turn, run in enumerate(runs):
        mine = [line for line in axes["loss"].lines if line.get_color() == MAP_COLOURS[turn]]
        assert [line.get_ydata().tolist() for line in mine] == [[line["loss"] for line in run.losses]]
        assert mine[0].get_xdata().tolist() == [line["encoded"] for line in run.losses]
        mine = [line for line in axes["overlap@10"].lines if line.get_color() == MAP_COLOURS[turn]]
        backbone, first, head, other = mine
        for drawn, start, side in ((backbone, first, "backbone"), (head, other, "head")):
            assert drawn.get_ydata().tolist() == run.values(side, "overlap@10")
            assert start.get_ydata().tolist() == run.values(side, "overlap@10")[:1]  # the untrained student
            assert (start.get_xdata().tolist(), start.get_markerfacecolor()) == ([0], "white")
        assert (backbone.get_linestyle(), head.get_linestyle()) == ("-", "--")
        mine = [line for line in axes["space similarity"].lines if line.get_color() == MAP_COLOURS[turn]]
        assert [line.get_linestyle() for line in mine] == ["--", "None"]  # undefined at the backbone


def test_one_run_shows_the_terms_of_its_loss() -> None:
    [run] = runs_of("one")
    axes = {axes.get_title(loc="left"): axes for axes in draw([run], look_of())["training"].axes}
    for term in ("cosine", "space"):
        assert axes[f"{term} term"].lines[0].get_ydata().tolist() == [line["terms"][term] for line in run.losses]
    assert "squared error term" not in words(draw([as_run(log(terms=("squared_error",)))], look_of())["training"])


def test_long_runs_count_in_thousands_and_far_losses_on_a_log_scale() -> None:
    many = as_run(log(batch=4096), "many")
    for line in many.losses[3:]:
        line["loss"] /= 1e4
    said = words(draw([many, as_run(log())], look_of())["training"])
    assert "encoded samples (thousands)" in said
    assert "loss, log scale" in said


@pytest.mark.parametrize("look", [name if name in QUICK else pytest.param(name, marks=SLOW) for name in LOOKS])
@pytest.mark.parametrize("kind", list(NAMES))
def test_nothing_is_clipped_or_hidden(kind: str, look: str) -> None:
    runs = runs_of(kind)
    drawn = draw(runs, LOOKS[look])
    assert sum(len(figure.axes) for figure in drawn.values()) == sum(map(len, layout(runs, LOOKS[look])))
    assert next(iter(drawn)) == "training"
    for name, figure in drawn.items():
        assert faults(figure) == [], name
        assert figure.get_figwidth() == LOOKS[look].width
        assert min(axes.get_position().height * figure.get_figheight() for axes in figure.axes) > 0.3
        assert figure.get_figheight() < LOOKS[look].tallest + (0.01 if kind in ("one", "two") else 0.7)  # the legend
    if look == "neurips":
        assert list(drawn) == ["training"]


@pytest.mark.parametrize(
    "lines",
    [
        log()[:1],
        log()[:2],
        log()[1:2],
        log(labelled=False),
        log(terms=("a", "b", "c")),
        log(terms=("a", "b", "c", "d")),
        log(terms=("a_very_long_name_of_a_term_that_never_ends", "b")),
        [{**line, **({"loss": 0.0} if "loss" in line else {})} for line in log()],
        [{**line, **({"loss": -1e-7 * line["step"]} if "loss" in line else {})} for line in log()],
        [{**line, **({"loss": 123456.7 * line["step"]} if "loss" in line else {})} for line in log()],
    ],
)
@pytest.mark.parametrize("look", ["icml-column", "slides"])
def test_short_and_odd_runs_are_drawn(lines: list[dict[str, Any]], look: str) -> None:
    for name, figure in draw([as_run(lines, finished=False)], LOOKS[look]).items():
        assert faults(figure) == [], name
        assert any("(unfinished)" in word for word in words(figure)) or not any("measures" in line for line in lines)


def test_a_run_that_is_being_written_draws_its_whole_lines(tmp_path: Path) -> None:
    path = folder(tmp_path / "run", log(), finished=False)
    with open(Path(path) / "log.jsonl", "a") as out:
        out.write('{"step": 60, "epo')
    run = read_run(path)
    assert (len(run.losses), len(run.measured), run.finished) == (5, 6, False)


def test_it_is_said_which_rows_were_measured() -> None:
    seen, held = as_run(log(), "seen"), as_run(log(rows=359, held_out=True), "held")
    assert said_of_rows([seen]) == "Measured on 1,797 rows that training saw."
    assert said_of_rows([held]) == "Measured on 359 rows held out of training."
    both = said_of_rows([seen, as_run(log(), "again"), held])
    assert both == (
        "Measured on different rows, which do not compare: held on 359 rows held out of training; "
        "the others on 1,797 rows that training saw."
    )
    assert "359 rows held out of training" in " ".join(words(draw([held], look_of())["training"]))


def test_the_same_bytes_twice() -> None:
    for kind in ("pdf", "svg", "png"):
        first, second = (contents(draw(runs_of("two"), look_of())["training"], look_of(), kind) for _ in range(2))
        assert first == second


def test_the_verb_draws_runs_and_writes_their_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = folder(tmp_path / "a" / "run", log(1)), folder(tmp_path / "b" / "run", log(2), finished=False)
    out, table = tmp_path / "drawn", tmp_path / "x.csv"
    assert command(app, ["figures", one, f"other={two}", "--out", str(out), "--table", str(table)]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        *("captions.md", "captions.tex"),
        *(f"training.{kind}" for kind in ("pdf", "png", "svg")),
    ]
    assert {row["run"] for row in csv.DictReader(io.StringIO(table.read_text()))} == {"run", "other"}
    assert "wrote 1 figure, as PDF, SVG and PNG" in capsys.readouterr().err


def test_what_a_shell_makes_of_a_star_is_the_folder(tmp_path: Path) -> None:
    path = folder(tmp_path / "run", log())
    (tmp_path / "run" / "tensorboard").mkdir()
    files: dict[str, str | None] = {str(each): None for each in sorted(Path(path).iterdir())}
    assert run_folders(files) == {path: None}
    assert run_folders({f"{path}/log.jsonl": "x"}) == {path: "x"}
    assert run_folders({f"{path}/result.json": None}) is None  # a saved result as ever


def test_what_cannot_be_drawn_is_refused_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = folder(tmp_path / "a" / "run", log(1)), folder(tmp_path / "b" / "run", log(2))
    (tmp_path / "empty").mkdir()
    (tmp_path / "r.json").write_text("{}")
    none = folder(tmp_path / "none", [])
    bad = folder(tmp_path / "bad", log())
    (Path(bad) / "log.jsonl").write_text('{"step": 1}\n')
    torn = folder(tmp_path / "torn", log())
    (Path(torn) / "log.jsonl").write_text('{"step": 1\n{}\n')
    binary = folder(tmp_path / "binary", log())
    (Path(binary) / "log.jsonl").write_bytes(b"\xff\n")
    out = ["--out", str(tmp_path / "drawn")]
    cases = [
        ([one, two, *out], f"{two}: the run {one} is called 'run' too; name them, as in run1={one} run2={two}"),
        ([f"x={one}", f"x={two}", *out], "is called 'x' too"),
        ([one, f"{one}/", *out], "is given twice; give every run once"),
        ([one, str(tmp_path / "r.json"), *out], f"r.json: is no run folder, and {one} is of one; draw runs and saved"),
        ([str(tmp_path / "empty"), *out], "log.jsonl: cannot be read (No such file or directory); give a folder that"),
        ([none, *out], "log.jsonl: holds no line yet"),
        ([bad, *out], "log.jsonl: line 1: 'rate' is missing"),
        ([torn, *out], "log.jsonl: line 1 is no JSON"),
        ([binary, *out], "log.jsonl: is no log"),
        ([one, "--report", str(tmp_path / "x.html")], "--report: has no page for runs"),
        ([one, "--table", str(tmp_path / "x.tex")], "x.tex: the table of runs is written as .csv"),
        ([one], "--out: nothing is asked for"),
        ([one, *out, "--width", "wide"], "--width: 'wide' is no width"),
        ([*(f"{place}={folder(tmp_path / str(place), log())}" for place in range(MOST + 1)), *out], "11 runs, and a"),
    ]
    for arguments, said in cases:
        assert command(app, ["figures", *arguments]) == 2, arguments
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    assert not (tmp_path / "drawn").exists()


def test_tensorboard_gets_the_scalars_of_the_log(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    lines = log()
    path = folder(tmp_path / "run", lines)
    out = write_events(path)
    assert out == Path(path) / "tensorboard"
    found = EventAccumulator(str(out), size_guidance={"tensors": 0, "scalars": 0}).Reload()
    assert "space_similarity/backbone" not in found.Tags()["scalars"]
    for tag, wanted in {
        "loss/total": [line["loss"] for line in lines if "loss" in line],
        "loss/space": [line["terms"]["space"] for line in lines if "loss" in line],
        "overlap@10/head": [line["measures"]["head"]["overlap@10"] for line in lines if "measures" in line],
    }.items():
        events = found.Scalars(tag)
        np.testing.assert_allclose([event.value for event in events], wanted, rtol=1e-6)
    assert [event.step for event in found.Scalars("rate")] == [10, 20, 30, 40, 50]


def test_tensorboards_events_are_replaced_and_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    one, two = (folder(tmp_path / name, log()) for name in ("a", "b"))
    first, second = ((write_events(path) / FILE).read_bytes() for path in (one, two))
    assert first == second
    (Path(one) / "tensorboard" / "events.out.tfevents.1.host").write_text("older")
    (Path(one) / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log(1)))
    assert (write_events(one) / FILE).read_bytes() != first
    assert [path.name for path in (Path(one) / "tensorboard").iterdir()] == [FILE]


def test_without_tensorboard_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(InputError, match=r"pip install 'tensorboard>=2.16'"):
        write_events(folder(tmp_path / "run", log()))


def test_a_run_of_targets_paired_by_position_says_so() -> None:
    lines = log(rows=180, held_out=True)
    lines[0]["pairing"] = {"by": "position", "verified": False}
    assert said_of_rows([as_run(lines)]) == (
        "Measured on 180 rows held out of training, taught by targets paired by position (unverified)."
    )
    lines[0]["pairing"] = {"by": "id", "verified": True}
    assert said_of_rows([as_run(lines)]) == "Measured on 180 rows held out of training."


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"head": "yes"}, "'head' is not true or false"),
        ({"training": {"rows": 180, "held_out": True, "head": {"measure": 3}}}, "'training.head.measure' is not text"),
        ({"pairing": {"by": "id"}}, "'pairing.verified' is missing"),
    ],
)
def test_a_damaged_manifest_is_refused_in_a_line(changed: dict[str, Any], expected: str, tmp_path: Path) -> None:
    manifest = {"schema": "manifold-probe/run-features/1", "teacher": "t.pt", "head": True, "training": None}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert manifest_of(RunFolder(tmp_path)) == manifest
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | changed))
    with pytest.raises(InputError, match=rf"manifest\.json: .*{expected}"):
        manifest_of(RunFolder(tmp_path))
