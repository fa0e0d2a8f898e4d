"""`probe watch` and `probe figures` on the log of a watch."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from manifold_probe import cli
from manifold_probe.cli.watch import screen, sparkline, watch
from manifold_probe.report.run import read_run

Capture = pytest.CaptureFixture[str]


def line(step: int, **more: Any) -> dict[str, Any]:
    values = {"overlap@10": 0.1 + step / 1000, "debiased_linear_cka": 0.5}
    return {
        "step": step,
        "probe": {"rows": 300, "held_out": True},
        "measures": {"backbone": values, "head": more.pop("head", values)},
        "rank": 20.0,
        "norm": 1.5,
        "warnings": [],
        **more,
    }


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    lines = [line(0), line(100, loss=0.5), line(200, loss=0.25, warnings=["norms drift: 1 to 2"])]
    path = tmp_path / "mine" / "watch.jsonl"
    path.parent.mkdir()
    path.write_text("".join(json.dumps(each) + "\n" for each in lines) + '{"step": 300')  # half a line
    return path


@pytest.mark.parametrize("given", ["mine", "mine/watch.jsonl"])
def test_the_state_of_a_run(log: Path, given: str, capfd: Capture) -> None:
    assert cli.run(["watch", given]) == 0
    out = capfd.readouterr().out.splitlines()
    assert out[0] == "mine: step 200, measured on 300 rows held out of training"
    assert "loss          0.500  0.250  █▁" in out
    assert "overlap@10    0.100  0.300  ▁▄█" in out
    assert out[-1] == "warning, step 200: norms drift: 1 to 2"
    narrow = screen(read_run(given), 30)
    assert all(len(text.plain) <= 30 for text in narrow[:-1])
    assert narrow[-1].plain == out[-1]  # a warning is wrapped, not cut


def test_following_goes_on_where_the_log_cannot_be_read(
    log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    new = json.dumps(line(900)) + "\n"
    turns = iter([lambda: log.write_text("broken\n"), log.unlink, lambda: log.write_text(new)])

    def sleep(seconds: float) -> None:
        turn = next(turns, None)
        if turn is None:
            raise KeyboardInterrupt
        turn()

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(KeyboardInterrupt):
        watch(str(log))
    out = capsys.readouterr().out
    assert "line 1 is no JSON" in out
    assert "cannot be read (No such file" in out
    assert "mine: step 900" in out


def test_a_screen_shows_the_last_warnings(log: Path) -> None:
    log.write_text("".join(json.dumps(line(step, warnings=[f"w{step}"])) + "\n" for step in range(8)))
    shown = [text.plain for text in screen(read_run(log), 80)]
    assert shown[-6:] == [
        "3 earlier warnings are in the log",
        *(f"warning, step {step}: w{step}" for step in range(3, 8)),
    ]


def test_backbone_and_head_have_lines(log: Path, capfd: Capture) -> None:
    log.write_text(json.dumps(line(0, head={"overlap@10": 0.9})) + "\n")
    assert cli.run(["watch", str(log)]) == 0
    out = capfd.readouterr().out
    assert "overlap@10, head" in out
    assert "overlap@10, backbone" in out


def test_figures_draw_it(log: Path, capfd: Capture) -> None:
    assert cli.run(["figures", "mine/watch.jsonl", "--out", "drawn", "--table", "t.csv"]) == 0
    assert Path("drawn/training.svg").exists()
    rows = list(csv.DictReader(Path("t.csv").read_text().splitlines()))
    assert [row["value"] for row in rows if row["measure"] == "loss"] == ["0.5", "0.25"]
    assert [row["step"] for row in rows if (row["measure"], row["side"]) == ("overlap@10", "head")] == [
        "0",
        "100",
        "200",
    ]
    assert "rate" not in {row["measure"] for row in rows}
    words = Path("drawn/training.svg").read_text()
    assert "steps" in words
    assert "encoded samples" not in words


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "w.jsonl: cannot be read"),
        ("", "w.jsonl: holds no line yet"),
        ('{"mine": 1}\n', "w.jsonl: line 1: "),
        ("mine\n", "w.jsonl: line 1 is no JSON"),
    ],
)
def test_what_is_no_log(content: str | None, message: str, tmp_path: Path, capfd: Capture) -> None:
    if content is not None:
        (tmp_path / "w.jsonl").write_text(content)
    assert cli.run(["watch", str(tmp_path / "w.jsonl")]) == 2
    error = capfd.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_long_course_keeps_its_last_value() -> None:
    course = sparkline([float(place) for place in range(1000)])
    assert len(course) == 30
    assert (course[0], course[-1]) == ("▁", "█")
