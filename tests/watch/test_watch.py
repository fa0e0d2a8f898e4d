"""The watch: its values, what it leaves untouched, its log, its warnings, and what it refuses."""

from __future__ import annotations

import json
import logging
import random
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from manifold_probe.errors import InputError
from manifold_probe.evaluation.watch import watched
from manifold_probe.spaces.space import Space
from manifold_probe.watch import Watch
from manifold_probe.watch.inputs import Inputs
from manifold_probe.watch.signs import Point, signs
from manifold_probe.watch.watch import tracked_name

N = 120
X = torch.randn(N, 6, generator=torch.Generator().manual_seed(0))
TEACHER = (X @ torch.randn(6, 8, generator=torch.Generator().manual_seed(1))).numpy()
LABELS = np.arange(N) % 3


def student(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.2), nn.Linear(16, 8))


def train(model: nn.Module, watch: Watch | None, steps: int = 12, start: int = 0) -> None:
    """Twelve steps of a plain loop, whose dropout, rows and noise come from all random states."""
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    loss = None
    for step in range(start, start + steps):
        if watch is not None:
            watch.step(model, step, loss)
        rows = torch.randint(N, (32,))
        noise = random.random() + np.random.rand()  # noqa: NPY002
        loss = (model(X[rows] + 0.01 * noise) - torch.from_numpy(TEACHER)[rows]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    if watch is not None:
        watch.step(model, start + steps, loss)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_it_measures_what_watched_measures(tmp_path: Path) -> None:
    seen: list[tuple[dict[str, float], int]] = []
    model = student()
    watch = Watch(
        TEACHER, X, LABELS, every=4, out=tmp_path / "w.jsonl", log=lambda *values: seen.append(values), strict=True
    )
    train(model, watch)
    log = lines(tmp_path / "w.jsonl")
    assert [line["step"] for line in log] == [0, 4, 8, 12] == [step for _, step in seen]
    with torch.no_grad():
        features = model.eval()(X).numpy()
    wanted = watched(features, TEACHER, LABELS)
    assert log[-1]["measures"]["backbone"] == pytest.approx(wanted, abs=1e-6)
    assert log[-1]["measures"]["head"] == log[-1]["measures"]["backbone"]
    assert log[-1]["norm"] == pytest.approx(np.median(np.linalg.norm(features, axis=1)), rel=1e-5)
    assert "loss" not in log[0]
    assert log[1]["loss"] > log[-1]["loss"]
    assert log[0]["probe"] == {"rows": N, "seen": None, "held_out": None}
    assert seen[-1][0]["watch/overlap_at_10"] == log[-1]["measures"]["backbone"]["overlap@10"]
    assert seen[-1][0]["watch/rank"] == log[-1]["rank"]


def test_the_training_is_the_same_with_and_without(tmp_path: Path) -> None:
    weights = []
    for watch in (None, Watch(TEACHER, X, every=1, out=None, strict=True)):
        model = student()
        model[1].eval()  # a layer that the caller has frozen
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        train(model, watch)
        assert [module.training for module in model.modules()] == [True, True, False, True, True]
        weights.append({name: value.clone() for name, value in model.state_dict().items()})
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


class Restless(nn.Module):
    """Counts its calls, also in evaluation, and merges a weight there, which rounds it when it is taken out again."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weight = nn.Parameter(torch.randn(8, 6))
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(8))
        self.merged = torch.randn(8, 6)

    def train(self, mode: bool = True) -> Restless:
        if mode != self.training:
            self.weight.data += -self.merged if mode else self.merged
        return super().train(mode)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x @ self.weight.T * (1 + 1e-3 * self.calls)
        self.calls = self.calls + 1
        self.mean.mul_(0.9).add_(0.1 * y.detach().mean(0))
        return y + self.mean


@pytest.mark.parametrize("precision", [None, torch.bfloat16], ids=["full", "autocast"])
def test_the_training_of_an_unusual_model_is_the_same(precision: torch.dtype | None) -> None:
    weights = []
    for watch in (None, Watch(TEACHER, X, every=1, out=None, strict=True)):
        model = Restless()
        optimiser = torch.optim.SGD(model.parameters(), 1e-2)
        for step in range(8):
            with torch.autocast("cpu", precision, enabled=precision is not None):
                loss = (model(X) - torch.from_numpy(TEACHER)).square().mean() / 2
                if watch is not None:
                    watch.step(model, step, loss)  # between forward and backward
            loss.backward()
            if step % 2:  # gradients of two batches
                optimiser.step()
                optimiser.zero_grad()
        weights.append({name: value.clone() for name, value in model.state_dict().items()})
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_making_a_watch_leaves_the_random_states() -> None:
    class Augmented(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return N

        def __getitem__(self, row: int) -> torch.Tensor:
            return X[row] + torch.randn(6)

    torch.manual_seed(7)
    before = torch.get_rng_state()
    watch = Watch(TEACHER, Augmented(), out=None, strict=True)
    assert torch.equal(torch.get_rng_state(), before)
    assert watch.measure(nn.Identity(), 0) == watch.measure(nn.Identity(), 1)


@pytest.mark.parametrize(
    "inputs",
    [
        X,
        X.numpy(),
        list(X),
        TensorDataset(X, torch.arange(N)),
        DataLoader(TensorDataset(X, torch.arange(N)), batch_size=50, shuffle=True),
        {"x": X, "labels": torch.arange(N)},
    ],
    ids=["tensor", "array", "list", "data set", "shuffled loader", "columns"],
)
def test_inputs_of_every_kind_are_the_same(inputs: Any) -> None:
    class Student(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :4]

    watch = Watch(TEACHER, inputs, rows=80, out=None, strict=True)
    rows = np.sort(np.random.default_rng(0).permutation(N)[:80])
    assert watch.measure(Student(), 0) == pytest.approx(watched(X.numpy()[rows, :4], TEACHER[rows]), abs=1e-6)


class Tokens(nn.Module):
    """The mean embedding of tokens, in double precision where asked; its forward names its columns."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(50, 8)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        mask = attention_mask[..., None]
        return (self.table(input_ids) * mask).sum(1) / mask.sum(1)


IDS = torch.randint(50, (N, 4), generator=torch.Generator().manual_seed(2)).tolist()
COLUMNS: dict[str, list[Any]] = {
    "text": ["a text"] * N,
    "input_ids": IDS,
    "attention_mask": [[1] * 4] * N,
    "label": list(range(N)),
}
ROWS = [{name: column[row] for name, column in COLUMNS.items()} for row in range(N)]
RAGGED = [{"input_ids": ids[: 2 + row % 2]} for row, ids in enumerate(IDS)]


@pytest.mark.parametrize("inputs", [ROWS, COLUMNS, pd.DataFrame(COLUMNS, index=range(N, 0, -1))], ids=type)
def test_tokenised_rows(inputs: Any) -> None:
    model = Tokens()
    with torch.no_grad():
        wanted = watched(model(torch.tensor(IDS), torch.ones(N, 4)).numpy(), TEACHER)
    assert Watch(TEACHER, inputs, out=None, strict=True).measure(model, 0) == pytest.approx(wanted, abs=1e-6)


def test_rows_that_make_no_batch() -> None:
    with pytest.raises(InputError, match=r"inputs: rows 0 to 119 make no batch \(expected sequence .* pads them"):
        Watch(TEACHER, RAGGED, out=None)

    def pad(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        ids = [torch.tensor(row["input_ids"]) for row in rows]
        mask = [torch.ones(len(row)) for row in ids]
        padded = (nn.utils.rnn.pad_sequence(part, batch_first=True) for part in (ids, mask))
        return dict(zip(("input_ids", "attention_mask"), padded, strict=True))

    assert Watch(TEACHER, DataLoader(RAGGED, 16, collate_fn=pad), out=None, strict=True).measure(Tokens(), 0)


@pytest.mark.parametrize("texts", [pd.Series(list("ab"), index=[1, 0]), np.array(list("ab"))], ids=type)
def test_texts_of_every_kind_keep_their_order(texts: Any) -> None:
    assert Inputs(texts).batches(np.arange(2)) == [["a", "b"]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_floats_take_the_type_of_the_model(dtype: torch.dtype) -> None:
    model = nn.Linear(6, 8).to(dtype)
    values = Watch(TEACHER, X.double().numpy(), out=None, strict=True).measure(model, 0)
    with torch.no_grad():
        assert values == pytest.approx(watched(model(X.to(dtype)).float().numpy(), TEACHER), abs=1e-6)


def test_ids_join_the_teacher() -> None:
    order = np.random.default_rng(0).permutation(N)
    ids = np.array([f"row {row}" for row in range(N)])
    teacher = Space(TEACHER[order], ids=ids[order], labels=LABELS[order])
    joined = Watch(teacher, X, ids=ids, out=None, strict=True).measure(nn.Identity(), 0)
    assert joined == pytest.approx(watched(X.numpy(), TEACHER, LABELS), abs=1e-6)


def test_backbone_and_head(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(
        TEACHER,
        X,
        out=None,
        strict=True,
        embed=lambda model, batch: {"backbone": batch[:, :1], "head": torch.from_numpy(TEACHER)[: len(batch)]},
    )
    watch.batches = [X]
    watch.measure(nn.Identity(), 0)
    watch.measure(nn.Identity(), 1)
    assert watch.values["watch/head/overlap_at_10"] == 1
    assert "the head is faithful and the backbone is not" in caplog.text


def test_a_resumed_training_goes_on_in_its_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "w.jsonl"
    train(student(), Watch(TEACHER, X, every=4, out=path))
    first = lines(path)
    with path.open("a") as log:
        log.write('{"step": 16, "pro')  # killed while it wrote
    watch = Watch(TEACHER, X, every=4, out=path)
    train(student(), watch, start=8)
    assert [line["step"] for line in lines(path)] == [0, 4, 8, 12, 16, 20]
    assert lines(path)[:2] == first[:2]
    assert "2 of its 4 measurements, from step 8 on, are replaced" in caplog.text
    assert [point.step for point in watch.points] == [0, 4, 8, 12, 16, 20]


def test_an_error_never_ends_a_training(caplog: pytest.LogCaptureFixture) -> None:
    widths = iter([4, 3, 4])

    def embed(model: Any, batch: torch.Tensor) -> torch.Tensor:
        return batch[:, : next(widths)]

    watch = Watch(TEACHER, X, every=1, out=None, embed=embed)
    model = student()
    assert watch.step(model, 0)
    assert watch.step(model, 1) == {}
    assert "no measurement at step 1 (backbone: the student gave 4 dimensions before and 3 now" in caplog.text
    assert "the training goes on" in caplog.text
    assert watch.step(model, 2)
    strict = Watch(TEACHER, X, out=None, strict=True, embed=lambda model, batch: batch * torch.nan)
    with pytest.raises(InputError, match="NaN"):
        strict.step(model, 0)
    assert all(module.training for module in model.modules())


def test_what_fails_outside_the_model_ends_no_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def log(values: dict[str, float], step: int) -> None:
        raise ConnectionError("no tracker")

    out = tmp_path / "run" / "w.jsonl"
    out.parent.mkdir()
    watch = Watch(TEACHER, X, every=1, out=out, log=log)
    model = student()
    for step, loss in enumerate([None, {"mine": 1}, torch.ones(3)]):
        assert watch.step(model, step, loss) == {}
    assert caplog.text.count("ConnectionError: no tracker") == 3
    assert ["loss" in line for line in lines(out)] == [False, False, True]
    assert watch.values["watch/overlap_at_10"] > 0  # the measurement itself is sound
    shutil.rmtree(out.parent)
    assert watch.step(model, 3) == {}
    assert "No such file" in caplog.text


def test_a_measurement_is_due_where_a_multiple_is_reached() -> None:
    watch = Watch(TEACHER, X, every=10, out=None)
    steps = [7, 9, 11, 13, 19, 22, 22, 29, 40]
    assert [step for step in steps if watch.step(student(), step)] == [7, 11, 22, 40]


@pytest.mark.parametrize("with_ids", [False, True], ids=["by content", "by ids"])
def test_rows_that_are_trained_on_are_reported(with_ids: bool, caplog: pytest.LogCaptureFixture) -> None:
    ids = [str(row) for row in range(N)]
    teacher = Space(TEACHER, ids=np.array(ids))
    given: dict[str, Any] = {"ids": ids, "trained": [*ids[100:], "x"]} if with_ids else {"trained": X[100:]}
    shared = Watch(teacher, X, out=None, **given)
    assert "20 of the 120 watched rows are trained on" in caplog.text
    assert shared.shared == 20
    apart = Watch(teacher, X, out=None, **(given | {"trained": ["x"] if with_ids else X + 1}))
    assert apart.shared == 0


def test_two_thousand_rows_take_less_than_a_second() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(2000, 384)).astype(np.float32))
    watch = Watch(rng.normal(size=(2000, 768)), x, rng.integers(0, 10, 2000), out=None, strict=True)
    watch.measure(nn.Identity(), 0)
    start = time.process_time()
    watch.measure(nn.Identity(), 1)
    assert time.process_time() - start < 2  # 0.3 s on a quiet core


TEACHERS = {"rank": 20.0, "norm": 1.0}


def course(**more: list[float]) -> list[Point]:
    """Five measurements of a training that goes well, but for what is given."""
    given = {
        "loss": [1.0, 0.8, 0.6, 0.5, 0.4],
        "overlap": [0.1, 0.2, 0.3, 0.4, 0.5],
        "rank": [30.0, 25.0, 22.0, 21.0, 20.0],
        "norm": [5.0, 1.2, 1.1, 1.0, 1.0],
    } | more
    columns = zip(*(given[name] for name in ("loss", "overlap", "rank", "norm")), strict=True)
    head = given.get("head", given["overlap"])
    return [
        Point(100 * turn, loss, {"backbone": overlap, "head": head[turn]}, rank, norm)
        for turn, (loss, overlap, rank, norm) in enumerate(columns)
    ]


@pytest.mark.parametrize(
    ("kind", "more", "said"),
    [
        ("stall", {"overlap": [0.2, 0.3, 0.301, 0.302, 0.304]}, "overlap stalls: 0.300 at step 100"),
        ("rank", {"rank": [30.0, 25.0, 15.0, 12.0, 9.0]}, "about 9.0 dimensions, after 30.0 at step 0 (teacher 20.0)"),
        ("norm", {"norm": [5.0, 1.2, 1.5, 2.0, 2.5]}, "went from 1.2 at step 100 to 2.5 (teacher 1)"),
        ("backbone", {"head": [0.1, 0.3, 0.5, 0.6, 0.7]}, "overlap 0.700 against 0.500"),
    ],
)
def test_signs(kind: str, more: dict[str, list[float]], said: str) -> None:
    assert signs(course(), **TEACHERS) == {}
    raised = signs(course(**more), **TEACHERS)
    assert list(raised) == [kind]
    assert said in raised[kind]
    assert "\n" not in raised[kind]


@pytest.mark.parametrize(
    "more",
    [
        {"overlap": [0.2, 0.3, 0.3, 0.3, 0.3], "loss": [1.0, 1.0, 1.0, 1.0, 0.99]},  # nothing moves
        {"overlap": [0.91, 0.92, 0.92, 0.92, 0.92]},  # nothing left to gain
        {"rank": [60.0, 40.0, 25.0, 21.0, 19.0]},  # towards the teacher
        {"norm": [5.0, 0.2, 0.4, 0.6, 0.8]},  # towards the teacher
        {"norm": [5.0, 1.5, 1.2, 0.8, 0.6]},  # past the teacher, and near it
    ],
)
def test_no_sign_where_nothing_is_wrong(more: dict[str, list[float]]) -> None:
    assert signs(course(**more), **TEACHERS) == {}


def test_a_warning_is_given_once(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    scale = iter([1.0, 1.0, 3.0, 4.0, 1.0, 5.0])
    watch = Watch(X, X, every=1, out=tmp_path / "w.jsonl", strict=True, embed=lambda model, batch: batch * next(scale))
    with caplog.at_level(logging.INFO, "manifold_probe.watch"):
        for step in range(6):
            watch.step(None, step)
    assert [len(line["warnings"]) for line in lines(tmp_path / "w.jsonl")] == [0, 0, 1, 0, 0, 1]
    assert caplog.text.count("norms drift") == 2
    assert "watch: step 5: overlap@10 1, debiased_linear_cka 1, rank " in caplog.text


class Endless(torch.utils.data.IterableDataset):
    def __len__(self) -> int:
        return N

    def __iter__(self) -> Any:
        return iter(X)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"inputs": X[:50]}, "teacher: 120 rows for 50 inputs"),
    ({"inputs": iter(X)}, "inputs: .* has no rows to choose"),
    ({"inputs": {"a": X, "b": X[:3]}}, r"inputs: the columns have \[3, 120\] rows"),
    ({"ids": list(range(N))}, "teacher: has no ids to join"),
    ({"teacher": Space(TEACHER, ids=np.arange(N)), "ids": [*range(1, N), 999]}, "ids: 1 are not .* first '999'"),
    ({"teacher": Space(TEACHER, ids=np.arange(N)), "ids": [0] * N}, "ids: an id stands there twice"),
    ({"teacher": Space(TEACHER, ids=np.zeros(N, int)), "ids": range(N)}, "teacher: an id stands there twice"),
    ({"inputs": Endless()}, "inputs: Endless has no rows to choose"),
    ({"rows": 5}, "k = 10"),
    ({"every": 0}, "every: 0 is not a number of at least 1"),
    ({"out": "/proc/nowhere/w.jsonl"}, "out: /proc/nowhere/w.jsonl"),
    ({"labels": [1]}, "labels have shape"),
    ({"teacher": TEACHER * np.nan}, "NaN"),
]


@pytest.mark.parametrize(("more", "message"), BAD)
def test_bad_input(more: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Watch(**{"teacher": TEACHER, "inputs": X, "out": None, **more})


def test_another_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.jsonl").write_text('{"mine": 1}\n')
    with pytest.raises(InputError, match="is not the log of a watch"):
        Watch(TEACHER, X, out=tmp_path / "notes.jsonl")
    assert tracked_name("knn_agreement@10") == "watch/knn_agreement_at_10"


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (nn.Identity(), torch.zeros(N, 4, 3), "choose how to pool it, pooling cls or"),
        (nn.Identity(), ["a text"] * N, "Identity: has no encode"),
        (lambda x: (x, x), X, "returned tuple"),
    ],
)
def test_a_student_that_cannot_be_read(model: Any, inputs: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Watch(TEACHER, inputs, out=None, strict=True).measure(model, 0)
