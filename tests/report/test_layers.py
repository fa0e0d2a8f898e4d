"""Two feature folders layer by layer: document, lines, table and figure."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from manifold_probe.api.layers import compare_layers
from manifold_probe.errors import InputError
from manifold_probe.measures import debiased_linear_cka, linear_cka
from manifold_probe.measures.layer_files import open_layers
from manifold_probe.report.document import LAYERS, to_json
from manifold_probe.report.figures.layers import draw
from manifold_probe.report.figures.look import look_of
from manifold_probe.report.figures.save import contents
from manifold_probe.report.layers import Layers
from tests.report.figures.drawn import faults, words

N = 40
IDS = [f"img/{row:03d}.png" for row in range(N)]
ODD = ["$x_1$ \\textbf{a}", "a::b", "<b>" * 20, "n" * 60 + "m", "n" * 60 + "k", "\x1b[31mred", "=1+1", 'a,"b"', "中文"]
LOOKS = {"column": look_of("paper", "icml-column"), "paper": look_of("paper"), "slides": look_of("slides")}


def features(seed: int, names: list[str]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    base = np.random.default_rng(9).normal(size=(N, 5))
    return {
        name: (base @ rng.normal(size=(5, 3 + place)) + rng.normal(size=(N, 3 + place))).astype(np.float32)
        for place, name in enumerate(names)
    }


def folder(path: Path, layers: dict[str, np.ndarray], order: np.ndarray | None = None, cut: int = 17) -> str:
    """A feature folder of two shards, its rows in an order."""
    path.mkdir()
    order = np.arange(N) if order is None else order
    shards = []
    for place, rows in enumerate((order[:cut], order[cut:])):
        content = save({name: np.ascontiguousarray(values[rows]) for name, values in layers.items()})
        file = f"shard-{place:05d}.safetensors"
        (path / file).write_bytes(content)
        shards.append({"file": file, "rows": len(rows), "sha256": hashlib.sha256(content).hexdigest()})
    (path / "ids.txt").write_text("\n".join(IDS[row] for row in order) + "\n")
    shapes = {name: [len(order), values.shape[1]] for name, values in layers.items()}
    manifest = {"shapes": shapes, "shards": shards, "ids": "ids.txt"}
    manifest |= {"key": next(iter(layers))} if len(layers) == 1 else {}
    (path / "manifest.json").write_text(json.dumps(manifest))
    return str(path)


def made(
    teacher: int, student: int, values: np.ndarray | None = None, names: list[str] | None = None
) -> dict[str, Any]:
    """A document as far as a figure and the lines need it."""
    if values is None:
        values = np.random.default_rng(0).uniform(-0.1, 1, (teacher, student))
    cells = [[None if np.isnan(value) else value for value in row] for row in values.tolist()]
    return {
        "inputs": {"teacher": {"name": "dinov2_vitb14"}, "student": {"name": "efficientnet_lite0"}},
        "pairing": {"by": "position", "verified": False, "coverage": 1.0},
        "n": N,
        "teacher": (names or [f"blocks.{place}.mlp" for place in range(teacher)])[:teacher],
        "student": (names or [f"layer{place // 3}.{place % 3}.conv" for place in range(student)])[:student],
        "debiased_linear_cka": cells,
        "linear_cka": cells,
    }


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    """Two folders of the same ids in another order, the layers not in alphabetical order."""
    order = np.random.default_rng(1).permutation(N)
    return folder(tmp_path / "A", features(1, ["stem", "block", *ODD])), folder(
        tmp_path / "B", features(2, ["z", "a.0"]), order, cut=9
    )


def test_rows_join_by_id_and_the_numbers_are_those_of_each_pair(pair: tuple[str, str]) -> None:
    document = compare_layers(*pair).to_dict()
    teacher, student = features(1, ["stem", "block", *ODD]), features(2, ["z", "a.0"])
    assert document["schema"] == LAYERS
    assert (document["teacher"], document["student"]) == (list(teacher), list(student))
    assert (document["pairing"]["by"], document["pairing"]["verified"], document["n"]) == ("id", True, N)
    assert document["inputs"]["teacher"]["name"] == "A"
    assert document["inputs"]["student"]["layers"]["a.0"] == {"shape": [N, 4], "dtype": "float32"}
    for name, measure in (("linear_cka", linear_cka), ("debiased_linear_cka", debiased_linear_cka)):
        wanted = [[measure(x, y) for y in student.values()] for x in teacher.values()]
        np.testing.assert_allclose(document[name], wanted, rtol=1e-9)
    assert json.loads(to_json(document)) == document


def test_a_file_gives_its_matrices_of_the_ids_rows(tmp_path: Path, pair: tuple[str, str]) -> None:
    layers = features(2, ["z", "a.0"])
    file = str(tmp_path / "s.npz")
    np.savez(file, **layers, ids=IDS, labels=np.arange(N), logits=np.ones((N, 3)), weights=np.ones((3, 4)))
    assert list(open_layers(file)) == ["z", "a.0"]
    assert list(open_layers(f"{file}::a.0")) == ["a.0"]
    assert list(open_layers(f"{pair[0]}::block")) == ["block"]
    by_file, by_folder = (compare_layers(pair[0], teacher).to_dict() for teacher in (file, pair[1]))
    np.testing.assert_allclose(by_file["linear_cka"], by_folder["linear_cka"], rtol=1e-12)


def test_a_folder_of_one_array_is_one_layer(tmp_path: Path, pair: tuple[str, str]) -> None:
    one = folder(tmp_path / "one", features(2, ["features"]))
    assert {name: space.d for name, space in open_layers(one).items()} == {"features": 3}
    assert np.shape(compare_layers(one, pair[1]).to_dict()["linear_cka"]) == (1, 2)


def test_rows_without_a_partner_are_refused_or_left_out(tmp_path: Path, pair: tuple[str, str]) -> None:
    fewer = folder(tmp_path / "fewer", features(2, ["z", "a.0"]), np.arange(N)[::-2])
    with pytest.raises(InputError, match=r"does not match .*A by id: 20 "):
        compare_layers(pair[0], fewer)
    layers = compare_layers(pair[0], fewer, allow_missing=True)
    document = layers.to_dict()
    rows = np.arange(1, N, 2)
    wanted = linear_cka(features(1, ["stem"])["stem"][rows], features(2, ["z"])["z"][rows])
    assert document["linear_cka"][0][0] == pytest.approx(wanted, rel=1e-9)
    assert (document["n"], document["pairing"]["coverage"]) == (20, 0.5)
    assert "50% of the larger side" in layers.lines()[1].plain


def test_position_only_when_asked(tmp_path: Path, pair: tuple[str, str]) -> None:
    np.savez(tmp_path / "s.npz", **features(2, ["z", "a.0"]))
    with pytest.raises(InputError, match=r"s\.npz: has no ids but .*A has"):
        compare_layers(pair[0], str(tmp_path / "s.npz"))
    layers = compare_layers(pair[0], str(tmp_path / "s.npz"), positional=True)
    by_id = compare_layers(*pair).to_dict()
    np.testing.assert_allclose(layers.to_dict()["linear_cka"], by_id["linear_cka"], rtol=1e-9)
    assert "unverified" in layers.lines()[1].plain


def test_what_holds_no_layers_is_refused(tmp_path: Path, pair: tuple[str, str]) -> None:
    np.savez(tmp_path / "vectors.npz", a=np.ones(4), ids=IDS)
    np.savez(tmp_path / "mixed.npz", a=np.ones((4, 2)), b=np.ones((5, 2)))
    two_ids = {"p.a": np.ones((4, 2)), "p.ids": np.arange(4), "q.a": np.ones((4, 2)), "q.ids": np.arange(4) + 1}
    np.savez(tmp_path / "groups.npz", **two_ids)
    manifest = json.loads((Path(pair[0]) / "manifest.json").read_text())
    manifest["shapes"] = {"stem": [N, 3], "gone": [N, 3]}
    (Path(pair[0]) / "manifest.json").write_text(json.dumps(manifest))
    with open(Path(pair[1]) / "shard-00001.safetensors", "r+b") as shard:
        shard.seek(-3, 2)
        shard.write(b"\1")
    cases = {
        str(tmp_path / "vectors.npz"): "holds no layers (n, d)",
        str(tmp_path / "mixed.npz"): "key 'b' has 5 rows and 'a' 4",
        str(tmp_path / "groups.npz"): "has other ids than",
        pair[0]: "has no key 'gone'",
        pair[1]: "has another sha256",
        str(tmp_path): "is a folder without manifest.json",
        str(tmp_path / "none"): "no such file",
    }
    for path, said in cases.items():
        with pytest.raises(InputError) as refused:
            open_layers(path)
        assert said in str(refused.value)
        assert "\n" not in str(refused.value)


def test_lines_mark_the_best_match_and_fit_the_width() -> None:
    values = np.array([[0.2, 0.9, np.nan], [0.5, -0.1, 0.4], [np.nan] * 3])
    lines = [line.plain for line in Layers(made(3, 3, values)).lines(None)]
    assert [line.split() for line in lines if line.startswith("blocks")] == [
        ["blocks.0.mlp", "0.200", "0.900*", "-"],
        ["blocks.1.mlp", "0.500*", "-0.100", "0.400"],
        ["blocks.2.mlp", "-", "-", "-"],
    ]
    wide = Layers(made(4, 30)).lines(80)
    assert max(len(line.plain) for line in wide) <= 80
    odd = Layers(made(9, 9, names=ODD)).lines(None)
    assert not any("\x1b" in line.plain for line in odd)


def table(document: dict[str, Any], path: Path) -> str:
    Layers(document).to_table(path / "layers.csv")
    return (path / "layers.csv").read_text()


def test_the_table_holds_every_pair_in_full_precision(pair: tuple[str, str], tmp_path: Path) -> None:
    document = compare_layers(*pair).to_dict()
    rows = list(csv.DictReader(io.StringIO(table(document, tmp_path))))
    assert [(row["teacher"].removeprefix("'"), row["student"]) for row in rows] == [
        (teacher, student) for teacher in document["teacher"] for student in document["student"]
    ]
    for name in ("linear_cka", "debiased_linear_cka"):
        assert [float(row[name]) for row in rows] == [value for line in document[name] for value in line]
    assert "'=1+1" in table(document, tmp_path)
    assert table(made(1, 1, np.array([[np.nan]])), tmp_path).splitlines()[1] == "blocks.0.mlp,layer0.0.conv,,"


@pytest.mark.parametrize("look", list(LOOKS))
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (12, 12), (30, 30), (1, 60), (100, 7), (9, 9)])
def test_the_figure_holds_the_matrix_and_nothing_is_clipped(shape: tuple[int, int], look: str) -> None:
    values = np.random.default_rng(0).uniform(-0.1, 1, shape)
    values[0, -1] = np.nan
    document = made(*shape, values, ODD if shape == (9, 9) else None)
    figure = draw(document, LOOKS[look])
    assert faults(figure) == []
    image = figure.axes[0].images[0]
    np.testing.assert_array_equal(np.ma.filled(image.get_array(), np.nan), values)
    assert image.get_clim() == (0, 1)
    assert figure.get_size_inches()[0] == LOOKS[look].width
    assert figure.get_size_inches()[1] <= LOOKS[look].tallest + 1e-9
    for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
        assert 1 <= len(axis.get_ticklocs()) <= 40
    assert figure.axes[0].get_ylabel().startswith("teacher: ")
    assert figure.axes[0].get_xlabel().startswith("student: ")


def test_values_stand_in_the_cells_that_have_room() -> None:
    document = made(3, 5)
    value = document["debiased_linear_cka"][1][2]
    assert f"{value:.2f}".removeprefix("0") in words(draw(document, LOOKS["paper"]))
    assert not figure_values(draw(made(30, 30), LOOKS["paper"]))
    assert len(figure_values(draw(made(12, 12), LOOKS["paper"]))) == 144
    assert not figure_values(draw(made(12, 12), LOOKS["column"]))


def figure_values(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_the_same_bytes_twice() -> None:
    look = LOOKS["paper"]
    for kind in ("pdf", "svg", "png"):
        assert contents(draw(made(3, 5), look), look, kind) == contents(draw(made(3, 5), look), look, kind)
