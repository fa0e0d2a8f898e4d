"""Tables as people have them: which columns are dimensions, vectors as text, separators, lists without a header."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import manifold_probe as mp
from manifold_probe.errors import InputError
from manifold_probe.spaces import as_space, inspect, read, read_column
from manifold_probe.spaces.lines import id_lines

N, D = 40, 6
RNG = np.random.default_rng(3)
X = RNG.normal(size=(N, D)).round(6)
IDS = [f'doc {i:03d}, part "{i % 3}"' for i in range(N)]
LABELS = ("labels", "label")
WIDE = pd.DataFrame(X, columns=[f"emb_{i}" for i in range(D)])
STRAY = {
    "Unnamed: 0": np.arange(N),
    "index": RNG.permutation(N),
    "pk": 9_000_000 + np.arange(N),
    "year": 1990 + np.arange(N) // 12,
    "token_count": RNG.integers(20, 500, N),
    "score": RNG.normal(size=N) * 1e6,
}


def as_csv(frame: pd.DataFrame, path: Path) -> str:
    frame.to_csv(path / "t.csv", index=False)
    return str(path / "t.csv")


def as_parquet(frame: pd.DataFrame, path: Path) -> str:
    frame.to_parquet(path / "t.parquet", index=False)
    return str(path / "t.parquet")


def as_feather(frame: pd.DataFrame, path: Path) -> str:
    frame.to_feather(path / "t.feather")
    return str(path / "t.feather")


def as_records(frame: pd.DataFrame, path: Path) -> str:
    frame.to_json(path / "t.jsonl", orient="records", lines=True, double_precision=15)
    return str(path / "t.jsonl")


def in_memory(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    return frame


WAYS = [as_csv, as_parquet, as_feather, as_records, in_memory]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", STRAY)
def test_a_column_that_is_no_dimension_is_left_out_and_named(name: str, way: Callable, tmp_path: Path) -> None:
    space = as_space(way(WIDE.assign(**{name: STRAY[name]}), tmp_path))
    assert np.array_equal(space.read(0, N), X)
    assert list(space.source.columns_left) == [name]


@pytest.mark.parametrize("way", WAYS)
def test_columns_without_a_pattern(way: Callable, tmp_path: Path) -> None:
    frame = pd.DataFrame(X, columns=["height", "width", "mass", "age", "dose", "x"])
    space = as_space(way(frame.assign(year=STRAY["year"], pk=STRAY["pk"], note="n"), tmp_path))
    assert np.array_equal(space.read(0, N), X)
    assert space.source.columns_left == {
        "year": "whole numbers next to columns with fractions",
        "pk": "counts the rows",
    }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "called", ["dim{}", "f{:03d}", "{}", "x.{}", "embedding_{}", "PC{}", "v[{}]", "f_{}_v2", "l4.{}.out"]
)
def test_patterns_and_whole_numbers(called: str, way: Callable, tmp_path: Path) -> None:
    quantised = RNG.integers(-128, 127, (N, D)).astype(np.int8)
    frame = pd.DataFrame(quantised, columns=[called.format(i) for i in range(D)])
    assert np.array_equal(as_space(way(frame.assign(year=STRAY["year"]), tmp_path)).read(0, N), quantised)
    dead = frame * 0.5
    dead[called.format(2)] = 0  # written as 0 among fractions, and still a dimension
    assert np.array_equal(as_space(way(dead, tmp_path)).read(0, N), dead)


@pytest.mark.parametrize("way", WAYS)
def test_capitals_do_not_make_another_pattern(way: Callable, tmp_path: Path) -> None:
    frame = pd.DataFrame(X, columns=[f"{'Emb' if i % 2 else 'emb'}_{i}" for i in range(D)])
    assert np.array_equal(as_space(way(frame.assign(**STRAY), tmp_path)).read(0, N), X)
    both = pd.concat(
        [frame.set_axis([f"X{i}" for i in range(D)], axis=1), WIDE.set_axis([f"x{i}" for i in range(D)], axis=1)],
        axis=1,
    )
    with pytest.raises(InputError, match=r"several arrays could be the features \(X \(40, 6\), x \(40, 6\)\)"):
        as_space(way(both, tmp_path))


def test_columns_that_pandas_numbered_because_they_had_one_name(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "x,x.1,x.2,n\n" + "".join(f"{a},{b},{c},{i}\n" for i, (a, b, c) in enumerate(X[:, :3]))
    )
    assert np.array_equal(read(str(tmp_path / "t.csv")).read(0, N), X[:, :3])


@pytest.mark.parametrize("way", [as_csv, as_parquet, as_records])
def test_two_patterns(way: Callable, tmp_path: Path) -> None:
    small = pd.DataFrame(X[:, :1].repeat(2, 1), columns=["tsne_0", "tsne_1"])
    wide = pd.DataFrame(np.tile(X, 3), columns=[f"emb_{i}" for i in range(3 * D)])
    path = way(pd.concat([small, wide], axis=1), tmp_path)
    assert read(path).d == 3 * D
    assert np.array_equal(read(f"{path}::tsne_").read(0, N), small)
    path = way(pd.concat([WIDE, WIDE.add_prefix("old_")], axis=1), tmp_path)
    with pytest.raises(
        InputError, match=r"several arrays could be the features \(emb_ \(40, 6\), old_emb_ \(40, 6\)\)"
    ):
        read(path)
    assert np.array_equal(read(f"{path}::old_emb_").read(0, N), X)


def test_vectors_beside_a_pattern(tmp_path: Path) -> None:
    boxes = [v.tolist() for v in RNG.normal(size=(N, 4))]
    written = [json.dumps(box) for box in boxes]
    for path in (
        as_parquet(WIDE.assign(box=boxes), tmp_path),
        as_csv(WIDE.assign(box=written), tmp_path),
        as_records(WIDE.assign(box=boxes), tmp_path),
    ):
        with pytest.raises(InputError, match=r"several arrays could be the features .*emb_ \(40, 6\).*pick one with"):
            read(path)
        assert np.array_equal(read(f"{path}::emb_").read(0, N), X)
        assert np.allclose(read(f"{path}::box").read(0, N), boxes)
    long = [np.tile(v, 8) for v in X]
    assert read(as_parquet(WIDE.assign(embedding=long), tmp_path)).d == 48


def test_tables_as_r_writes_them(tmp_path: Path) -> None:
    for suffix, mark in (("txt", " "), ("tsv", "\t"), ("csv", ",")):
        names = mark.join(f'"V{i + 1}"' for i in range(D))
        lines = [f'"{i + 1}"{mark}' + mark.join(map(str, row)) for i, row in enumerate(X.tolist())]
        (tmp_path / f"t.{suffix}").write_text("\n".join([names, *lines]) + "\n")  # write.table
        space = read(str(tmp_path / f"t.{suffix}"))
        assert np.array_equal(space.read(0, N), X)
        assert space.ids.tolist() == list(range(1, N + 1))


def test_a_table_of_row_numbers_holds_no_features(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no matrix of features"):
        read(as_csv(pd.DataFrame({"year": 1990 + np.arange(N), "name": IDS}), tmp_path))


def test_two_patterns_in_memory() -> None:
    with pytest.raises(
        InputError, match=r"several arrays could be the features \(emb_ \(40, 6\), old_emb_ \(40, 6\)\)"
    ):
        as_space(pd.concat([WIDE, WIDE.add_prefix("old_")], axis=1), "teacher")


def test_unrelated_spaces_are_at_chance_whatever_column_they_share(tmp_path: Path) -> None:
    n = 200
    t, s = (pd.DataFrame(RNG.normal(size=(n, 16))).add_prefix("emb_").assign(year=1990 + np.arange(n)) for _ in "ts")
    t.to_csv(tmp_path / "t.csv"), s.to_csv(tmp_path / "s.csv")  # with pandas' index
    found = mp.compare(str(tmp_path / "t.csv"), str(tmp_path / "s.csv"))
    assert abs(found.measures["debiased_linear_cka"].value) < 0.1
    assert found.measures["overlap@10"].value < 0.1
    assert found.inputs["teacher"]["columns_left"] == ["year"]
    assert "columns_left" not in mp.compare(t[["emb_0", "emb_1"]], s[["emb_0", "emb_1"]]).inputs["teacher"]


def test_info_lists_the_columns(tmp_path: Path) -> None:
    from manifold_probe.report.info import contents_blocks
    from manifold_probe.report.render.terminal import plain_text

    found = inspect(as_parquet(WIDE.assign(year=STRAY["year"], filename=IDS), tmp_path))
    assert found["features"]["columns"] == list(WIDE.columns)
    assert found["features"]["columns_left"] == {"year": "named unlike emb_0"}
    assert found["id_candidate"] == "filename"
    assert [entry["key"] for entry in found["keys"]] == ["features", "year", "filename"]
    text = plain_text(contents_blocks(found))
    assert "emb_0 to emb_5" in text
    assert "year (named unlike emb_0)" in text
    assert "t.parquet::filename" in text


WRITTEN = {
    "json": lambda v: json.dumps(v.tolist()),
    "json_tight": lambda v: json.dumps(v.tolist(), separators=(",", ":")),
    "numpy": lambda v: str(v),  # breaks lines
    "postgres": lambda v: "{" + ",".join(map(str, v)) + "}",
    "commas": lambda v: ",".join(map(str, v)),
    "blanks": lambda v: " ".join(map(str, v)),
    "semicolons": lambda v: ";".join(map(str, v)),
}


@pytest.mark.parametrize("style", WRITTEN)
@pytest.mark.parametrize("way", [as_csv, as_parquet, as_feather, in_memory])
def test_vectors_as_text(style: str, way: Callable, tmp_path: Path) -> None:
    wide = np.tile(X, 4)  # NumPy's print takes several lines
    frame = pd.DataFrame({"id": IDS, "embedding": [WRITTEN[style](v) for v in wide], "chunk": range(N), "text": IDS})
    space = as_space(way(frame, tmp_path))
    expected = (
        np.array([[float(part) for part in str(v).strip("[]").split()] for v in wide]) if style == "numpy" else wide
    )
    assert np.array_equal(space.read(0, N), expected)
    assert space.ids.tolist() == IDS


@pytest.mark.parametrize("way", [as_csv, as_parquet])
@pytest.mark.parametrize(
    ("row", "cell", "words"),
    [
        (0, "[0.1 0.2 ... 0.9]", r"in row 0 was shortened to '...' by NumPy.*; write json"),
        (9, "[0.1 0.2 ... 0.9]", r"in row 9 was shortened to '...' by NumPy"),
        (7, "[1, 2]", "is ragged: row 7 has 2 values, others 6"),
        (7, "[1, 2, 3, null, 5, 6]", "row 7 holds '.1, 2, 3, null, 5, 6.', not a vector"),
        (3, "oops", "holds 'oops', not a vector"),
        (3, "[0,5; 1; 2; 3; 4; 5]", "decimal commas"),
    ],
)
def test_vectors_as_text_that_cannot_be_read(row: int, cell: str, words: str, way: Callable, tmp_path: Path) -> None:
    cells = [json.dumps(v.tolist()) for v in X]
    cells[row] = cell
    with pytest.raises(InputError, match=words) as error:
        read(way(pd.DataFrame({"id": IDS, "embedding": cells}), tmp_path))
    assert len(str(error.value)) <= 400


@pytest.mark.parametrize("way", [as_csv, as_parquet, as_records, in_memory])
@pytest.mark.parametrize(
    "show",
    [
        lambda v: repr(v.astype(np.float32)),
        lambda v: repr(torch.tensor(v)),
        lambda v: str(list(v.astype(np.float32))),
        lambda v: str([v.tolist()]),
        lambda v: repr(v[None] * 1e-9),
        lambda v: "|".join(map(str, v.tolist())),
    ],
)
def test_vectors_as_python_shows_them(show: Callable, way: Callable, tmp_path: Path) -> None:
    cells = [show(v) for v in X]
    space = as_space(way(pd.DataFrame({"id": IDS, "embedding": cells, "note": IDS}), tmp_path))
    scale = 1e-9 if "e-" in cells[0] else 1
    assert np.allclose(space.read(0, N) / scale, X, atol=1e-4)
    assert space.ids.tolist() == IDS
    alone = as_space(pd.Series(cells, index=IDS))
    assert np.array_equal(alone.read(0, N), space.read(0, N))
    assert alone.ids.tolist() == IDS


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("last", ["label", "note", "emb_5"])
def test_a_short_line_is_refused(mark: str, last: str, tmp_path: Path) -> None:
    frame = WIDE.assign(label=np.arange(N) % 3, note="n")[[*[c for c in WIDE if c != last], last]]
    frame.to_csv(tmp_path / "t.csv", sep=mark, index=False)
    lines = (tmp_path / "t.csv").read_text().splitlines()
    lines[30] = mark.join(cell for place, cell in enumerate(lines[30].split(mark)) if place != 2)
    (tmp_path / "t.csv").write_text("\n".join(lines))
    words = "is empty in line 31" if last == "emb_5" else "cells in line 31, but . in others; make them equal"
    with pytest.raises(InputError, match=words):
        read(str(tmp_path / "t.csv"))


def test_text_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    WIDE.assign(id=IDS).to_csv(tmp_path / "t.csv", index=False, encoding="utf-16")
    with pytest.raises(InputError, match="is not UTF-8 text; save it again as UTF-8"):
        read(str(tmp_path / "t.csv"))


def test_a_line_before_the_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("# written by hand\n" + WIDE.to_csv(index=False))
    with pytest.raises(InputError, match="6 cells in line 2, but 1 in its first; make them equal, or remove lines"):
        read(str(tmp_path / "t.csv"))


@pytest.mark.parametrize("suffix", ["csv", "tsv", "txt"])
@pytest.mark.parametrize("mark", [",", ";", "\t", "|", " "])
@pytest.mark.parametrize("header", [True, False])
def test_separators(mark: str, suffix: str, header: bool, tmp_path: Path) -> None:
    path = tmp_path / f"t.{suffix}"
    names = mark.join(WIDE.columns) if header else ""
    np.savetxt(path, X, delimiter=mark, header=names, comments="", fmt="%.18e")
    if not header:
        path.write_text(path.read_text().lstrip("\n"))
    space = read(str(path))
    assert np.array_equal(space.read(0, N), X)
    if header:
        np.savetxt(path, X, delimiter=mark, header=names)  # a comment
        assert np.array_equal(read(str(path)).read(0, N), X)


@pytest.mark.parametrize("mark", [";", "\t"])
def test_separated_tables_keep_ids_and_labels(mark: str, tmp_path: Path) -> None:
    WIDE.assign(id=IDS, label=["a b", "c"] * (N // 2)).to_csv(tmp_path / "t.csv", sep=mark, index=False)
    space = read(str(tmp_path / "t.csv"))
    assert space.ids.tolist() == IDS
    assert space.labels.tolist() == ["a b", "c"] * (N // 2)
    assert np.array_equal(space.read(0, N), X)


@pytest.mark.parametrize("mark", [";", "\t"])
@pytest.mark.parametrize("header", [True, False])
def test_decimal_commas_are_named(mark: str, header: bool, tmp_path: Path) -> None:
    WIDE.to_csv(tmp_path / "t.csv", sep=mark, decimal=",", index=False, header=header)
    with pytest.raises(InputError, match=r"decimal commas \(0,5\); write them with decimal points"):
        read(str(tmp_path / "t.csv"))


def test_wide_rows_apart_by_blanks_give_a_short_message_or_are_read(tmp_path: Path) -> None:
    x = RNG.normal(size=(20, 9000))  # a line longer than a cell of the csv module may be
    np.savetxt(tmp_path / "t.csv", x)
    assert read(str(tmp_path / "t.csv")).d == 9000
    (tmp_path / "u.csv").write_text("\n".join("word " * 4000 for _ in range(5)))
    with pytest.raises(InputError) as error:
        read(str(tmp_path / "u.csv"))
    assert len(str(error.value)) <= 400
    (tmp_path / "t.csv.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(InputError, match=r"is compressed; unpack it first and give t.csv$"):
        read(str(tmp_path / "t.csv.gz"))


def test_a_table_without_header_keeps_its_first_row(tmp_path: Path) -> None:
    pd.concat([pd.Series(IDS), WIDE], axis=1).to_csv(tmp_path / "t.csv", index=False, header=False)
    space = read(str(tmp_path / "t.csv"))
    assert np.array_equal(space.read(0, N), X)
    assert space.source.id_candidate == "0"
    assert read_column(f"{tmp_path}/t.csv::0", ("ids", "id"), "ids", N)[0].tolist() == IDS
    labelled = pd.concat([WIDE.assign(emb_3=0), pd.Series(np.arange(N) % 3)], axis=1)
    labelled.to_csv(tmp_path / "l.csv", index=False, header=False)
    space = read(str(tmp_path / "l.csv"))  # labels among fractions are no dimension, a dead dimension is one
    assert np.array_equal(space.read(0, N), WIDE.assign(emb_3=0))
    assert space.source.columns_left == {str(D): "whole numbers next to columns with fractions"}
    text = pd.DataFrame({"a": IDS, "b": [json.dumps(v.tolist()) for v in X], "c": np.arange(N) % 3})
    text.to_csv(tmp_path / "v.csv", index=False, header=False)
    assert np.array_equal(read(str(tmp_path / "v.csv")).read(0, N), X)


@pytest.mark.parametrize("suffix", ["txt", "csv", "tsv"])
@pytest.mark.parametrize("n", [N, None])
@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("", [f"class{i % 5}" for i in range(N)]),
        ("", [str(i) for i in range(N)]),
        ("", [f"a {i}" for i in range(N)]),
        ("label", [f"class{i % 5}" for i in range(N)]),
        ("Label", [str(i % 5) for i in range(N)]),
        ("species", [str(i % 5) for i in range(N)]),
    ],
)
def test_lists_with_and_without_header(
    header: str, cells: list[str], n: int | None, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"l.{suffix}"
    path.write_text("\n".join([header] * bool(header) + cells) + "\n")
    found, ids = read_column(str(path), LABELS, "labels", n)
    assert ids is None
    assert list(map(str, found.tolist())) == cells


@pytest.mark.parametrize("suffix", ["txt", "csv", "tsv"])
def test_the_count_decides_what_the_first_line_is(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"l.{suffix}"
    path.write_text("species\ncat\ndog\n")
    assert read_column(str(path), LABELS, "labels", 2)[0].tolist() == ["cat", "dog"]
    assert read_column(str(path), LABELS, "labels", 3)[0].tolist() == ["species", "cat", "dog"]
    path.write_text("label\ncat\n")
    assert read_column(str(path), LABELS, "labels", 2)[0].tolist() == ["label", "cat"]


def test_a_table_of_labels_without_header_where_the_count_tells(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("".join(f"img{i}.jpg,class{i % 3}\n" for i in range(N)))
    assert read_column(f"{tmp_path}/l.csv::1", LABELS, "labels", N)[0].tolist() == [f"class{i % 3}" for i in range(N)]
    with pytest.raises(InputError, match="only 0, 1; name the labels column"):
        read_column(f"{tmp_path}/l.csv", LABELS, "labels", N)


def test_lists_without_header_in_compare(tmp_path: Path) -> None:
    order = RNG.permutation(N)
    np.save(tmp_path / "t.npy", X), np.save(tmp_path / "s.npy", X[order])
    for suffix in ("txt", "csv"):
        (tmp_path / f"t.{suffix}").write_text("".join(f"img{i}\n" for i in range(N)))
        (tmp_path / f"s.{suffix}").write_text("".join(f"img{i}\n" for i in order))
        ids = (str(tmp_path / f"t.{suffix}"), tmp_path / f"s.{suffix}")
        found = mp.compare(str(tmp_path / "t.npy"), str(tmp_path / "s.npy"), ids=ids, labels=str(tmp_path / "t.txt"))
        assert found.measures["overlap@10"].value == pytest.approx(1)
        assert found.pairing["by"] == "id"


ODD_IDS = [
    "a,b",
    'say "a"',
    "'q'",
    " lead",
    "trail ",
    "new\nline",
    "\r",
    "tab\t",
    "007",
    "7",
    "",
    "\x85\u2028",
    "é",
    "\x1f",
]


def test_lists_of_ids_come_back_as_they_were(tmp_path: Path) -> None:
    from manifold_probe.distillation.run_folder import TRAINED, RunFolder

    (tmp_path / "run").mkdir()
    run = RunFolder(tmp_path / "run")
    run.begin("", {}, np.array(ODD_IDS))
    assert run.trained_ids() == set(ODD_IDS)
    assert read_column(f"{tmp_path}/run/{TRAINED}", ("ids", "id"), "ids")[0].tolist() == ODD_IDS
    (tmp_path / "old.txt").write_text("".join(f"{json.dumps(each, ensure_ascii=False)}\n" for each in ODD_IDS))
    assert read_column(f"{tmp_path}/old.txt", ("ids", "id"), "ids")[0].tolist() == ODD_IDS
    (tmp_path / "plain.txt").write_text("007\n'a'\n\"b\n")
    assert read_column(f"{tmp_path}/plain.txt", ("ids", "id"), "ids")[0].tolist() == ["007", "'a'", '"b']
    assert id_lines(range(2)) == '"0"\n"1"\n'


def test_train_ids_of_a_run_are_known(tmp_path: Path) -> None:
    (tmp_path / "train_ids.txt").write_text(id_lines(range(300)))
    x = RNG.normal(size=(600, 8))
    found = mp.diagnose(x, x + 0.1 * RNG.normal(size=x.shape), ids=np.arange(600), train_ids=tmp_path / "train_ids.txt")
    assert found.to_dict()["pairing"]["rows"] == 600


@pytest.mark.parametrize("way", [as_csv, as_parquet, as_records])
@pytest.mark.parametrize("name", ["filenames", "_id", "pk", "image_names"])
def test_ids_under_another_name_are_named_and_taken(name: str, way: Callable, tmp_path: Path) -> None:
    order = RNG.permutation(N)
    values = np.array(IDS) if name != "pk" else 9_000_000 + np.arange(N)
    for side, rows in (("t", np.arange(N)), ("s", order)):
        (tmp_path / side).mkdir()
        way(WIDE.assign(**{name: values}).iloc[rows].reset_index(drop=True), tmp_path / side)
    t, s = (str(next((tmp_path / side).iterdir())) for side in "ts")
    found = mp.compare(t, s)
    assert found.measures["overlap@10"].value < 0.6
    message = next(alarm["message"] for alarm in found.alarms if alarm["code"] == "unverified_pairing")
    assert f"--teacher-ids {t}::{name} and --student-ids {s}::{name}" in message
    assert mp.compare(t, s, ids=(f"{t}::{name}", f"{s}::{name}")).measures["overlap@10"].value == pytest.approx(1)
    with pytest.raises(InputError, match=f"--student-ids {s}::{name}"):
        mp.compare(as_space(t).with_ids(values), s)
    with pytest.raises(InputError, match=f"--teacher-ids {t}::{name}"):
        mp.compare(t, as_space(s).with_ids(values))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["ID", "Id", "IDS"])
def test_ids_in_capitals_are_ids(name: str, way: Callable, tmp_path: Path) -> None:
    space = as_space(way(WIDE.assign(**{name: IDS, "LABEL": 3}), tmp_path))
    assert space.ids.tolist() == IDS
    assert space.labels.tolist() == [3] * N
    assert np.array_equal(space.read(0, N), X)


def test_capitals_in_other_files(tmp_path: Path) -> None:
    torch.save({"features": torch.tensor(X), "ID": IDS}, tmp_path / "t.pt")
    assert read(str(tmp_path / "t.pt")).ids.tolist() == IDS


def as_jsonl(records: list, path: Path, name: str = "t.jsonl") -> str:
    (path / name).write_text("".join((json.dumps(record) if record is not None else "") + "\n" for record in records))
    return str(path / name)


RECORDS = [
    {"id": name, "vector": row.tolist(), "text": "t", "label": i % 3}
    for i, (name, row) in enumerate(zip(IDS, X, strict=True))
]


@pytest.mark.parametrize("name", ["t.jsonl", "t.ndjson"])
def test_json_lines(name: str, tmp_path: Path) -> None:
    space = read(as_jsonl([*RECORDS[:3], None, *RECORDS[3:]], tmp_path, name))
    assert np.array_equal(space.read(0, N), X)
    assert space.ids.tolist() == IDS
    assert space.labels.tolist() == [i % 3 for i in range(N)]
    nested = [
        {"_id": record["id"], "_source": {"embedding": record["vector"], "meta": {"a": [1]}}} for record in RECORDS
    ]
    path = as_jsonl(nested, tmp_path, name)
    assert np.array_equal(read(f"{path}::_source.embedding").read(0, N), X)
    two = [{**record, "other": record["vector"][:2]} for record in RECORDS]
    with pytest.raises(InputError, match=r"several arrays could be the features \(vector \(40, 6\), other \(40, 2\)\)"):
        read(as_jsonl(two, tmp_path, name))


def test_json_lines_of_lists_and_of_vectors_as_text(tmp_path: Path) -> None:
    assert np.array_equal(read(as_jsonl(X.tolist(), tmp_path)).read(0, N), X)
    path = as_jsonl([{"id": name, "v": json.dumps(row.tolist())} for name, row in zip(IDS, X, strict=True)], tmp_path)
    assert np.array_equal(read(path).read(0, N), X)


def test_json(tmp_path: Path) -> None:
    forms = {
        "records": RECORDS,
        "wrapped": {"model": "m", "data": RECORDS},
        "columns": {"features": X.tolist(), "ids": IDS, "labels": [i % 3 for i in range(N)]},
        "by_id": dict(zip(IDS, X.tolist(), strict=True)),
        "matrix": X.tolist(),
    }
    for name, form in forms.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(form))
        space = read(str(tmp_path / f"{name}.json"))
        assert np.array_equal(space.read(0, N), X), name
        assert name == "matrix" or space.ids.tolist() == IDS
    mp.compare(X, X).save(tmp_path / "result.json")
    with pytest.raises(InputError, match=r"is a saved result \(manifold-probe/comparison/1\), not features"):
        read(str(tmp_path / "result.json"))
    assert isinstance(mp.load(tmp_path / "result.json"), mp.Comparison)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vector": [1, 2]}, "field 'vector' is ragged: line 5 has 2 values, others 6"),
        ({"vector": [1, 2, 3, None, 5, 6]}, "field 'vector' holds null in line 5"),
        ({"vector": None}, "field 'vector' is missing in line 5"),
        ({"vector": [1, 2, 3, float("nan"), 5, 6]}, "holds NaN or Inf in line 5"),
        ({"vector": [1, 2, 3, float("-inf"), 5, 6]}, "holds NaN or Inf in line 5"),
        ({"vector": [1, 2, 3, "4", 5, 6]}, "not a list of numbers, in line 5"),
        ({"id": None}, "ids hold 'None'"),
    ],
)
def test_json_lines_that_cannot_be_read(change: dict, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        read(as_jsonl([*RECORDS[:4], RECORDS[4] | change, *RECORDS[5:]], tmp_path))


@pytest.mark.parametrize("text", ["{", "[1, 2]\n[3]\n", '{"vector": [1]}\nnot json\n', "\n\n", "7"])
def test_json_that_is_none(text: str, tmp_path: Path) -> None:
    for name in ("t.jsonl", "t.json"):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError) as error:
            read(str(tmp_path / name))
        assert len(str(error.value)) <= 400
