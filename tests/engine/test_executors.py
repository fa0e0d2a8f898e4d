"""Serial, threads, Dask and partial files give the same JSON; a Dask worker that dies costs only its spans."""

import contextlib
import io
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import manifold_probe as mp
from manifold_probe import cli
from manifold_probe.engine.executors import _check_workers, on_dask
from manifold_probe.engine.passes import Advance, Pass, States
from manifold_probe.errors import InputError
from manifold_probe.measures.measure import measure_students
from manifold_probe.measures.reading import spaces_of_text
from manifold_probe.measures.request import Request

ROWS = 20_000


class Ran(NamedTuple):
    """How a command line ended."""

    returncode: int
    stdout: str
    stderr: str


def probe(*arguments: str, cwd: Path) -> Ran:
    """Run a command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(list(arguments))
    return Ran(code, out.getvalue(), err.getvalue())


def write_pair(folder: Path, rows: int = ROWS) -> list[str]:
    """A teacher with labels for some rows, and two students; their options."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 6, rows)
    x = rng.normal(size=(6, 8))[labels] * 2 + rng.normal(size=(rows, 8))
    x[5] *= 200  # a far row, and copies: alarms that read the pair again
    x[100 : 100 + rows // 5] = x[99]
    y = (x @ rng.normal(size=(8, 5)) + 0.3 * rng.normal(size=(rows, 5))).astype(np.float16)
    y[100 : 100 + rows // 5] = y[99]
    np.savez(folder / "t.npz", features=x.astype(np.float32), labels=np.where(labels == 3, -1, labels))
    np.save(folder / "a.npy", y)
    np.save(folder / "b.npy", x + 1)
    return ["--teacher", "t.npz", "--student", "a.npy", "--student", "b.npy", "--queries", "120"]


def compared(text: str) -> dict[str, Any]:
    """A result without what may differ."""
    document = json.loads(text)
    for each in document.get("students", {"": document}).values():
        assert each["settings"].pop("executor")
        each.pop("provenance")
    return document


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pair")
    write_pair(path)
    return path


OPTIONS = ["--teacher", "t.npz", "--student", "a.npy", "--student", "b.npy", "--queries", "120"]


@pytest.fixture(scope="module")
def serial(folder: Path) -> dict[str, Any]:
    found = probe("compare", *OPTIONS, "--json", cwd=folder)
    assert found.returncode == 0, found.stderr
    return compared(found.stdout)


def test_partial_files_give_what_one_process_gives(folder: Path, serial: dict[str, Any]) -> None:
    for shard in range(3):
        found = probe("partial", *OPTIONS, "--shard", f"{shard}/3", "-o", f"part_{shard}", cwd=folder)
        assert found.returncode == 0, found.stderr
    parts = ["part_2", "part_0", "part_1"]
    found = probe("merge", *parts, "--json", cwd=folder)
    assert found.returncode == 0, found.stderr
    assert compared(found.stdout) == serial

    found = probe("merge", *parts, "--second-round", "second", cwd=folder)
    assert found.returncode == 0
    assert "probe partial --second-round second --shard I/N" in found.stderr
    for shard in range(2):
        probe("partial", "--second-round", "second", "--shard", f"{shard}/2", "-o", f"second_{shard}", cwd=folder)
    found = probe("merge", "second", "second_0", "second_1", "--json", cwd=folder)
    assert found.returncode == 0, found.stderr
    assert compared(found.stdout) == serial
    assert not [path.name for path in folder.iterdir() if path.name.endswith(".part")]


def test_what_needs_no_ranks_needs_one_round(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(300, 6))
    np.save(tmp_path / "t.npy", x)
    np.save(tmp_path / "s.npy", x[:, :4] + 0.1 * x[:, 2:])
    options = ["--teacher", "t.npy", "--student", "s.npy", "--measures", "debiased_linear_cka,overlap@10:euclidean"]
    probe("partial", *options, "--shard", "0/1", "-o", "part", cwd=tmp_path)
    found = probe("merge", "part", "--second-round", "second", "--json", cwd=tmp_path)
    alone = probe("compare", *options, "--json", cwd=tmp_path)
    assert compared(found.stdout)["measures"] == compared(alone.stdout)["measures"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["part_0"], "part 1 of 2 missing"),
        (["part_0", "part_0"], "part_0: is part 0 of 2, as part_0 is"),
        (["part_0", "other_k"], "other_k: was made with k = 5, part_0 with 10"),
        (["part_0", "other_rows"], 'other_rows: was made with teacher = "u.npz", part_0 with "t.npz"'),
        (["part_0", "part_of_three"], "part_of_three: is part 1 of 3, and part_0 one of 2"),
        (["part_0", "t.npz"], "t.npz: not a partial file"),
        (["part_0", "nowhere"], "nowhere: no such file"),
        (["part_0", "cut"], "cut: not a partial file, or damaged"),
    ],
)
def test_parts_that_do_not_belong_together_are_named(parts: Path, arguments: list[str], said: str) -> None:
    found = probe("merge", *arguments, "--json", cwd=parts)
    assert (found.returncode, found.stdout) == (2, "")
    assert said in found.stderr
    assert found.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parts")
    options = write_pair(path, 300)[:4]
    (path / "u.npz").write_bytes((path / "t.npz").read_bytes())
    of_other = ["--teacher", "u.npz", *options[2:]]
    for name, given, shard in (
        ("part_0", options, "0/2"),
        ("part_1", options, "1/2"),
        ("other_k", [*options, "--k", "5"], "1/2"),
        ("other_rows", of_other, "1/2"),
        ("part_of_three", options, "1/3"),
    ):
        found = probe("partial", *given, "--shard", shard, "-o", name, cwd=path)
        assert found.returncode == 0, found.stderr
    (path / "cut").write_bytes((path / "part_1").read_bytes()[:5000])
    return path


def test_files_that_changed_since_are_refused(tmp_path: Path) -> None:
    options = write_pair(tmp_path, 300)[:4]
    probe("partial", *options, "--shard", "0/1", "-o", "part", cwd=tmp_path)
    np.save(tmp_path / "a.npy", np.load(tmp_path / "a.npy") * 2)
    found = probe("merge", "part", cwd=tmp_path)
    assert found.returncode == 2
    assert "made from other rows of the student a than the parts" in found.stderr


@pytest.mark.parametrize("shard", ["3/3", "-1/2", "1", "1/0", "a/b", "4/3"])
def test_a_share_that_is_none_is_refused(tmp_path: Path, shard: str) -> None:
    options = write_pair(tmp_path, 300)[:4]
    found = probe("partial", *options, f"--shard={shard}", "-o", "part", cwd=tmp_path)
    assert found.returncode == 2
    assert f"--shard: '{shard}' is no share" in found.stderr
    assert not (tmp_path / "part").exists()


@pytest.mark.parametrize("executor", ["spark", "dask:", "dask://nowhere", "ray://a:1", "dask://a:b"])
def test_an_unknown_executor_is_refused(executor: str) -> None:
    x = np.random.default_rng(0).normal(size=(50, 3))
    with pytest.raises(InputError, match=r"executor: .* is not known; give 'dask'"):
        mp.compare(x, x, executor=executor)


def test_rows_in_memory_cannot_be_sent() -> None:
    x = np.random.default_rng(0).normal(size=(50, 3))
    with pytest.raises(InputError, match="executor: teacher is in memory"):
        mp.compare(x, x, executor="dask")


def test_a_scheduler_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("manifold_probe.engine.executors.ANSWER_SECONDS", 1)
    monkeypatch.chdir(tmp_path)
    write_pair(tmp_path, 300)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(InputError, match=f"no Dask scheduler answered at 127.0.0.1:{port} within 1 seconds"):
        mp.compare("t.npz", "a.npy", executor=f"dask://127.0.0.1:{port}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as found:
        yield found


def address_of(cluster: Any) -> str:
    return cluster.scheduler_address.replace("tcp://", "dask://")


def test_dask_gives_what_one_process_gives(
    folder: Path, serial: dict[str, Any], cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {name: str(folder / f"{name}.npy") for name in ("a", "b")}
    found = mp.compare(str(folder / "t.npz"), paths, queries=120, executor=address_of(cluster))
    document = compared(found.to_json())
    for name, each in document["students"].items():
        for part in ("measures", "details", "alarms", "pairing"):
            assert each[part] == serial["students"][name][part], (name, part)
    assert document["differences"] == serial["differences"]


def test_a_worker_that_dies_costs_only_its_spans(folder: Path, serial: dict[str, Any], cluster: Any) -> None:
    from distributed import Client

    request = Request(str(folder / "t.npz"), {"a": str(folder / "a.npy"), "b": str(folder / "b.npy")})
    pairs = request.open().pairs
    killed = []
    with Client(cluster) as client, on_dask(address_of(cluster), request.to_text(), spaces_of_text) as execute:

        def killing(
            work: Pass, wanted: list[tuple[int, int]], advance: Advance
        ) -> Iterator[tuple[tuple[int, int], States]]:
            for node in execute(work, wanted, advance):
                if not killed:
                    killed.append(next(iter(client.run(os.getpid).values())))
                    os.kill(killed[0], signal.SIGKILL)
                yield node

        found = measure_students(pairs, queries=120, execute=killing)
    assert killed
    for name, measurement in found.items():
        for key, measure in serial["students"][name]["measures"].items():
            assert measurement.measures[key].value == measure["value"], key
            assert measurement.measures[key].low == measure["low"], key


def test_a_worker_that_cannot_read_a_path_says_which(tmp_path: Path, cluster: Any) -> None:
    write_pair(tmp_path, 300)
    request = Request(str(tmp_path / "t.npz"), {"a": str(tmp_path / "a.npy")})
    pairs, text = request.open().pairs, request.to_text()
    elsewhere = text.replace("a.npy", "elsewhere.npy")  # what a worker on another machine does not find
    with (
        on_dask(address_of(cluster), elsewhere, spaces_of_text) as execute,
        pytest.raises(InputError, match=r"worker tcp://127.0.0.1:\d+: .*elsewhere.npy"),
    ):
        measure_students(pairs, queries=120, execute=execute)


class Workers:
    """A client whose workers answer as they are told to."""

    def __init__(self, imported: dict[str, Any], versions: dict[str, str]) -> None:
        self.answers = [imported, versions]

    def run(self, *_: Any, **__: Any) -> dict[str, Any]:
        return self.answers.pop(0)


@pytest.mark.parametrize(
    ("imported", "versions", "said"),
    [
        ({}, {}, "the scheduler at a:1 has no workers; start some with 'dask worker a:1'"),
        (
            {"tcp://b:2": None, "tcp://c:3": ModuleNotFoundError("No module named 'manifold_probe'")},
            {},
            r"worker tcp://c:3 cannot import manifold_probe \(No module named 'manifold_probe'\); install the same",
        ),
        (
            {"tcp://b:2": None},
            {"tcp://b:2": "0.0.1"},
            "worker tcp://b:2 has manifold_probe 0.0.1, but this process has",
        ),
    ],
)
def test_workers_that_cannot_help_are_named(imported: dict[str, Any], versions: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        _check_workers(Workers(imported, versions), "a:1")
