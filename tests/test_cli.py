"""The command line: streams, exit codes, gates. In this process where it can be, in real ones where streams matter."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer

from manifold_probe import api, cli
from manifold_probe.cli.arguments import named_students
from manifold_probe.cli.verbs import app
from tests.test_bad_input import PROBE

RNG = np.random.default_rng(0)
N = 60
TEACHER = RNG.normal(size=(N, 5))
Capture = pytest.CaptureFixture[str]
VERBS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("features")
    np.savez(place / "t.npz", features=TEACHER, ids=np.arange(N), labels=RNG.integers(0, 3, N))
    for name, noise in (("a", 0.05), ("b", 0.5)):
        np.savez(place / f"{name}.npz", features=TEACHER + noise * RNG.normal(size=(N, 5)), ids=np.arange(N))
    np.savez(place / "narrow.npz", features=TEACHER[:, :3], ids=np.arange(N))
    return place


def probe(folder: Path, capfd: Capture, *extra: str, student: str = "a") -> tuple[int, str, str]:
    sides = ["--teacher", f"{folder}/t.npz", "--student", f"{folder}/{student}.npz", "--k", "4"]
    code = cli.run(["compare", *sides, *extra])
    out, error = capfd.readouterr()
    return code, out, error


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    defaults: dict = {"capture_output": True, "text": True, "timeout": 300, "check": False}
    return subprocess.run([*PROBE, *arguments], **(defaults | options))


def test_the_report(folder: Path, capfd: Capture) -> None:
    code, out, error = probe(folder, capfd)
    assert code == 0
    assert error == ""
    assert out.startswith("a keeps ")
    assert "\x1b" not in out
    assert "60 rows paired by id. k = 4: neighbours of 60 query rows among all 60." in out


def test_json_is_one_object_and_nothing_else(folder: Path, capfd: Capture) -> None:
    code, out, _ = probe(folder, capfd, "--json", "--fail-under", "overlap@4=0.1")
    made = json.loads(out)
    assert code == 0
    assert out.count("\n") == 1
    assert made["schema"] == "manifold-probe/comparison/1"
    assert made["inputs"]["teacher"]["path"] == f"{folder}/t.npz"
    assert made["inputs"]["student"]["name"] == "a"


def test_several_students(folder: Path, capfd: Capture) -> None:
    code, out, _ = probe(folder, capfd, "--student", f"noisy={folder}/b.npz", "--json")
    made = json.loads(out)
    assert code == 0
    assert list(made["students"]) == ["a", "noisy"]
    code, out, _ = probe(folder, capfd, "--student", f"noisy={folder}/b.npz")
    assert "a keeps the most neighbours" in out
    assert "a minus noisy, paired over the same rows" in out


def test_gates(folder: Path, capfd: Capture) -> None:
    code, out, _ = probe(folder, capfd, "--fail-under", "overlap@4=0.1,overlap@4:euclidean=0.999")
    assert code == 1
    passed, failed = out.splitlines()[-2:]
    assert passed.startswith("PASS overlap@4 lower bound")
    assert failed.startswith("FAIL overlap@4:euclidean lower bound")
    code, out, error = probe(folder, capfd, "--fail-under", "overlap@4=0.999", "--json")
    assert code == 1
    assert json.loads(out)
    assert error.startswith("FAIL overlap@4")


def test_an_undefined_measure_fails_its_gate(folder: Path, capfd: Capture) -> None:
    code, out, _ = probe(folder, capfd, "--fail-under", "per_dimension_correlation=0", student="narrow")
    assert code == 1
    assert "FAIL per_dimension_correlation is undefined: the widths differ" in out


def test_a_baseline(folder: Path, capfd: Capture, tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text(probe(folder, capfd, "--json")[1])
    assert probe(folder, capfd, "--baseline", str(old))[0] == 0
    code, out, error = probe(folder, capfd, "--baseline", str(old), "--max-drop", "0.05", student="b")
    assert code == 1
    assert "FAIL overlap@4 " in out
    assert error == ""
    made = json.loads(old.read_text())
    made["inputs"]["teacher"]["sha256"] = "f" * 64
    old.write_text(json.dumps(made))
    code, _, error = probe(folder, capfd, "--baseline", str(old))
    assert code == 0
    assert error.startswith("probe: warning: the baseline was measured against another teacher")
    made["settings"]["k"] = 9
    old.write_text(json.dumps(made))
    code, out, error = probe(folder, capfd, "--baseline", str(old))
    assert (code, out) == (2, "")
    assert "k = 9, not 4" in error


def test_labels_and_ids_from_files(folder: Path, capfd: Capture, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("\n".join(f"x{place}" for place in range(N)))
    (tmp_path / "labels.csv").write_text("id,label\n" + "\n".join(f"x{place},{place % 2}" for place in range(N)))
    ids = ["--teacher-ids", str(tmp_path / "ids.txt"), "--student-ids", str(tmp_path / "ids.txt")]
    code, out, error = probe(folder, capfd, *ids, "--labels", str(tmp_path / "labels.csv"), "--json")
    assert code == 0, error
    assert {row["class"] for row in json.loads(out)["details"]["per_class"]} == {0, 1}


def test_names_of_students(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lr=0.1").mkdir()
    (tmp_path / "lr=0.1" / "s.npy").touch()
    (tmp_path / "x=y.npy").touch()
    monkeypatch.chdir(tmp_path)
    assert named_students(["x=y.npy"]) == {"x=y": "x=y.npy"}
    assert named_students(["lr=0.1/s.npy"]) == {"s": "lr=0.1/s.npy"}
    assert named_students(["best=lr=0.1/s.npy::a"]) == {"best": "lr=0.1/s.npy::a"}
    assert named_students(["a/run.1/s.pt::x"]) == {"s": "a/run.1/s.pt::x"}


def test_info(folder: Path, capfd: Capture) -> None:
    assert cli.run(["info", f"{folder}/t.npz"]) == 0
    out, _ = capfd.readouterr()
    assert "60 rows x 5 dimensions, float64; 0 NaN" in out
    assert "3 classes" in out


def test_help_and_version(capfd: Capture) -> None:
    for arguments in ([], ["--help"], ["compare", "--help"], ["--version"]):
        assert cli.run(arguments) == 0
        out, error = capfd.readouterr()
        assert out
        assert error == ""


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_has_groups_and_two_examples(verb: str, capfd: Capture) -> None:
    assert cli.run([verb, "--help"]) == 0
    long = capfd.readouterr().out
    assert cli.run([verb, "-h"]) == 0
    assert capfd.readouterr().out == long
    assert len(re.findall(r"^ +probe \w+", long, re.MULTILINE)) >= 2
    assert long.rstrip().endswith("Show this message and exit.")
    other = long.partition("\nOther:\n")[2]
    assert re.findall(r"^  (-\S+)", other, re.MULTILINE)[-2:] == ["--debug", "-h,"]
    assert "<list[" not in long


def test_distil_is_distill(capfd: Capture) -> None:
    assert cli.run(["distil", "--help"]) == 0
    one = capfd.readouterr().out
    assert cli.run(["distill", "--help"]) == 0
    assert capfd.readouterr().out == one.replace("probe distil [", "probe distill [")
    assert cli.run(["--help"]) == 0
    assert "distil " not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"), [("probe com", "compare"), ("probe distil", "distill"), ("probe compare --tea", "--teacher")]
)
def test_the_shell_completes(words: str, expected: str) -> None:
    asking = {"_PROBE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [sys.executable, "-m", "manifold_probe"], env=os.environ | asking, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout.split()


def test_sides_without_the_option_names(folder: Path, capfd: Capture) -> None:
    named = {"a": f"{folder}/a.npz", "noisy": f"{folder}/b.npz"}
    by_option = [word for name, path in named.items() for word in ("--student", f"{name}={path}")]
    found = []
    for sides in (
        [f"{folder}/t.npz", f"{folder}/a.npz", f"noisy={folder}/b.npz"],
        [f"{folder}/a.npz", f"noisy={folder}/b.npz", "--teacher", f"{folder}/t.npz"],
        ["--teacher", f"{folder}/t.npz", *by_option],
    ):
        assert cli.run(["compare", *sides, "--k", "4", "--json"]) == 0
        document = json.loads(capfd.readouterr().out)
        for student in document["students"].values():
            del student["provenance"]["when"]
        found.append(document)
    assert list(found[0]["students"]) == ["a", "noisy"]
    assert found[0] == found[1] == found[2]
    for verb in (["evaluate", "--tasks", "knn"], ["diagnose"]):
        sides = [f"{folder}/t.npz", f"{folder}/a.npz"], ["--teacher", f"{folder}/t.npz", "--student", f"{folder}/a.npz"]
        ended = []
        for each in sides:
            code = cli.run([*verb, *each, "--k", "4"])
            ended.append((code, *capfd.readouterr()))
        assert ended[0] == ended[1]


def test_thumbnails_and_width_reach_the_result(folder: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {}
    for name in ("to_html", "to_table"):
        monkeypatch.setattr(api.Comparison, name, lambda _, path, name=name, **how: given.update({name: (path, how)}))
    (folder / "pictures").mkdir()
    options = ["--report", f"{folder}/x.html", "--thumbnails", f"{folder}/pictures", "--no-maps"]
    options += ["--table", f"{folder}/x.tex", "--width", "icml-column"]
    assert probe(folder, capfd, *options)[0] == 0
    assert given["to_html"][0] == f"{folder}/x.html"
    assert given["to_html"][1]["thumbnails"] == f"{folder}/pictures"
    assert given["to_table"] == (f"{folder}/x.tex", {"width": "icml-column"})


def test_it_warns_of_rows_without_a_thumbnail(folder: Path, capfd: Capture, tmp_path: Path) -> None:
    def warned(*ids: object) -> list[str]:
        (tmp_path / "data.csv").write_text("\n".join(["id,text", *(f"{each},some words" for each in ids)]))
        page = ["--report", f"{tmp_path}/x.html", "--thumbnails", f"{tmp_path}/data.csv", "--no-maps"]
        code, _, error = probe(folder, capfd, *page)
        assert code == 0
        return [line for line in error.splitlines() if "warning" in line]

    assert warned(*range(N)) == []
    (line,) = warned("x0", "x1")
    assert re.search(r"(\d+) of the \1 rows on the page have no picture or text in .*data\.csv: their ids", line)
    assert re.search(r"such as \d+, are not among its ids, such as x0$", line)
    (line,) = warned(*range(N // 2))
    assert re.search(r"warning: \d+ of the \d+ rows on the page have no picture or text in .*data\.csv$", line)


def test_what_does_not_go_with_layers_is_refused(folder: Path, capfd: Capture) -> None:
    for option in ("--k=3", "--diagnose", "--seed=1", "--no-maps", "--measures=linear_cka", "--thumbnails=x"):
        assert cli.run(["compare", f"{folder}/t.npz", f"{folder}/a.npz", "--layers", option]) == 2
        name = option.partition("=")[0]
        assert capfd.readouterr().err.startswith(f"probe: {name}: does not go with --layers")


def test_an_internal_error_is_one_line(folder: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(api, "compare", fail)
    code, out, error = probe(folder, capfd)
    assert (code, out) == (70, "")
    assert error.count("\n") == 1
    assert error.startswith("probe: internal error: RuntimeError: two lines; --debug")
    code, _, error = probe(folder, capfd, "--debug")
    assert code == 70
    assert "Traceback" in error


def test_interrupted_in_the_middle(folder: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "compare", stop)
    assert probe(folder, capfd) == (130, "", "probe: interrupted\n")


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "manifold_probe", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == run("--version").stdout


def test_a_full_disk_is_one_line(folder: Path) -> None:
    for arguments in (["--help"], ["info", f"{folder}/t.npz"]):
        with open("/dev/full", "w") as full:
            done = run(*arguments, stdout=full, stderr=subprocess.PIPE, capture_output=False)
        assert done.returncode == 2
        assert done.stderr.startswith("probe: standard output: No space left on device")
        assert done.stderr.count("\n") == 1


def test_a_closed_pipe_is_quiet(folder: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = run("info", f"{folder}/t.npz", stdout=writer, stderr=subprocess.PIPE, capture_output=False)
    os.close(writer)
    assert done.returncode == 141
    assert done.stderr == ""


def test_ctrl_c(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("t", "s"):
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(200_000, 64)).astype(np.float32))
    command = [*PROBE, "compare", "--teacher", f"{tmp_path}/t.npy", "--student", f"{tmp_path}/s.npy"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = process.stderr.readline()  # the first line of progress: the work is under way
        assert first.startswith("probe: ")
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=300)
    assert process.returncode == 130
    assert out == ""
    assert error.splitlines()[-1] == "probe: interrupted"
    assert "Traceback" not in error


def test_a_terminal_gets_its_width_and_no_colour_is_honoured(folder: Path) -> None:
    arguments = ["compare", "--teacher", f"{folder}/t.npz", "--student", f"{folder}/a.npz", "--k", "4"]
    text = _on_terminal(arguments, COLUMNS="70", TERM="xterm-256color")
    assert "\x1b[1m" in text
    assert max(len(line) for line in _plain(text).splitlines()) <= 70
    text = _on_terminal(arguments, COLUMNS="70", TERM="xterm-256color", NO_COLOR="1")
    assert "\x1b[3" not in text


def _on_terminal(arguments: list[str], **environment: str) -> str:
    ours, theirs = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    with subprocess.Popen(
        [*PROBE, *arguments], stdout=theirs, stderr=subprocess.DEVNULL, env=clean | environment
    ) as process:
        os.close(theirs)
        chunks = []
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            try:
                chunk = os.read(ours, 65536)
            except OSError:
                break
            if not chunk:
                break
            chunks.append(chunk)
    os.close(ours)
    assert process.returncode == 0
    return b"".join(chunks).decode().replace("\r\n", "\n")


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_the_demo(tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    from manifold_probe import demo

    rng, shown = np.random.default_rng(0), []

    def quick(folder: str) -> demo.DemoData:
        Path(folder).mkdir()
        paths = {name: Path(folder) / f"{name}.npy" for name in ("teacher", "cosine", "coss", "labels", "images")}
        teacher = rng.normal(size=(150, 5))
        for place, name in enumerate(("teacher", "cosine", "coss")):
            np.save(paths[name], teacher + 0.1 * place * rng.normal(size=teacher.shape))
        students = {name: paths[name] for name in ("cosine", "coss")}
        return demo.DemoData(Path(folder), paths["teacher"], students, paths["labels"], paths["images"])

    def page(self: api.Comparisons, path: Path, thumbnails: Path) -> None:
        shown.append((thumbnails.name, "maps" in self["coss"].details, self["coss"].diagnosis is not None))
        path.write_text("page")

    monkeypatch.setattr(demo, "demo_data", quick)
    monkeypatch.setattr(api.Comparisons, "to_html", page)
    out_folder = tmp_path / "a place"
    assert cli.run(["demo", "--out", str(out_folder)]) == 0
    out, error = capfd.readouterr()
    assert "cosine minus coss" in out
    again = out.splitlines()[-1].strip()
    assert again.startswith(f"probe compare '{out_folder}/teacher.npy' 'cosine={out_folder}/cosine.npy'")
    assert f"linked maps: {out_folder}/report.html" in out
    assert error.startswith("probe: training")
    assert {path.name for path in out_folder.iterdir()} == {"cosine.npy", "coss.npy", "report.html", "teacher.npy"}
    assert shown == [("images.npy", True, True)]


def test_padding_copies_of_a_distributed_sampler(folder: Path, tmp_path: Path, capfd: Capture) -> None:
    order = np.array([row for rank in range(8) for row in [*range(N), *range(4)][rank::8]])  # 64 rows of 60
    whole = np.load(folder / "t.npz")
    rows = {name: whole[name][order] for name in ("features", "ids", "labels")}
    np.savez(tmp_path / "s.npz", **rows, layer2=rows["features"] ** 3)
    np.savez(tmp_path / "t.npz", **whole, layer2=whole["features"] ** 3)
    sides = ["--teacher", f"{tmp_path}/t.npz", "--student", f"{tmp_path}/s.npz"]
    for verb in (["compare"], ["diagnose"], ["evaluate"], ["compare", "--layers"]):
        rest = [] if "--layers" in verb else ["--k", "4"]
        assert cli.run([*verb, *sides, *rest]) == 2
        error = capfd.readouterr().err
        assert "s.npz: ids hold 4 duplicates (such as 0) whose rows are identical; keep the first of them" in error
        if verb[0] == "diagnose":
            continue  # refuses so few rows
        assert cli.run([*verb, *sides, *rest, "--keep-first", "--json"]) == 0
        found = json.loads(capfd.readouterr().out)
        pairing = found["pairing"]["test"] if verb == ["evaluate"] else found["pairing"]
        assert (pairing["rows"], pairing["coverage"], pairing["copies_left_out"]) == (N, 1.0, 4)
    assert found["linear_cka"][0][0] == pytest.approx(1)
    assert cli.run(["compare", *sides, "--keep-first", "--k", "4"]) == 0
    out = " ".join(capfd.readouterr().out.split())
    assert "60 rows paired by id; 4 identical copies under one id were left out." in out
    overlap = re.search(r"overlap@4 +([\d.]+)", out)
    assert overlap is not None
    assert float(overlap[1]) == 1


def test_columns_left_out_are_in_the_report(tmp_path: Path, capfd: Capture) -> None:
    names = [f"emb_{place}" for place in range(5)]
    rows = np.column_stack([TEACHER, RNG.integers(1900, 2000, N)])
    for name in ("t", "s"):
        np.savetxt(tmp_path / f"{name}.csv", rows, "%.6f," * 5 + "%d", header=",".join([*names, "year"]), comments="")
    sides = ["--teacher", f"{tmp_path}/t.csv", "--student", f"{tmp_path}/s.csv", "--k", "4"]
    assert cli.run(["compare", *sides]) == 0
    assert "Not taken for dimensions: year (teacher); year (student)." in capfd.readouterr().out
    assert cli.run(["compare", *sides, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["inputs"]["student"]["columns_left"] == ["year"]
    assert cli.run(["info", f"{tmp_path}/t.csv"]) == 0
    assert "year (named unlike emb_0)" in capfd.readouterr().out


def single_valued() -> list[tuple[str, str]]:
    """Every (verb, option) of the command line that takes one value."""
    verbs = typer.main.get_command(app).commands.items()  # type: ignore[attr-defined]
    options = [(verb, each) for verb, command in verbs for each in command.params if each.param_type_name == "option"]
    return [(verb, max(each.opts, key=len)) for verb, each in options if not (each.multiple or each.is_flag)]


@pytest.mark.parametrize(("verb", "option"), single_valued())
def test_no_option_is_lost_because_it_was_given_twice(verb: str, option: str, capfd: Capture) -> None:
    code = cli.run([verb, option, "1", f"{option}=2"])
    out, error = capfd.readouterr()
    assert code == 2
    assert out == ""
    assert error.startswith(f"probe: {option}: given 2 times, and it takes one value; ")
    assert error.count("\n") == 1
