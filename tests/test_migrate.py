"""Moving an index: what maps retain, by known truth; the verdicts; the saved map; bad input in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pandas as pd
import pytest

import manifold_probe as mp
from manifold_probe import cli
from manifold_probe.engine.moments import grouped
from manifold_probe.errors import InputError
from manifold_probe.evaluation.migration import Move
from manifold_probe.measures.linear_maps import reduced_rank
from manifold_probe.spaces.affine import Map
from manifold_probe.spaces.space import Space

N, D = 600, 16
RNG = np.random.default_rng(0)
OLD = RNG.normal(size=(N, D)).astype(np.float32)
ROTATION = np.linalg.qr(RNG.normal(size=(D, D)))[0].astype(np.float32)
STRETCH = RNG.normal(size=(D, 24)).astype(np.float32)
OTHER = RNG.normal(size=(N, 24)).astype(np.float32)
IDS = np.array([f"doc-{row}" for row in range(N)])


def moved(old: Any, new: Any, **options: Any) -> mp.Migration:
    return mp.migrate({"features": old, "ids": IDS}, {"features": new, "ids": IDS}, **options)


# Verdicts


def test_the_same_vectors_need_no_move() -> None:
    migration = moved(OLD, OLD + 1e-4 * RNG.normal(size=OLD.shape))
    assert migration.verdict == "not needed"
    assert migration.ways["unmapped"].retained.value > 0.99
    assert migration.churn["value"] < 0.01


def test_a_rotation_is_a_map() -> None:
    migration = moved(OLD, OLD @ ROTATION)
    ways = migration.ways
    assert migration.verdict == "map"
    assert migration.churn["value"] < 0.001
    assert ways["queries:orthogonal"].retained.value > 0.999
    assert ways["documents:orthogonal"].retained.value > 0.999
    assert ways["unmapped"].retained.high < 0.1  # raw coordinates of two models have nothing in common
    np.testing.assert_allclose(migration.map("queries")(OLD[7] @ ROTATION), OLD[7], atol=1e-4)
    np.testing.assert_allclose(migration.map("documents")(OLD[7]), OLD[7] @ ROTATION, atol=1e-4)
    kinds = {kind: migration.map(f"documents:{kind}") for kind in ("linear", "orthogonal", "low-rank")}
    assert [map.facts["map"] for map in kinds.values()] == list(kinds)
    with pytest.raises(InputError, match="there is none of 'rotations'; choose one of queries, documents, queries:lin"):
        migration.map("rotations")


def test_a_rotation_of_another_length_with_an_offset() -> None:
    new = 7 * (OLD + 1) @ ROTATION + 0.01 * RNG.normal(size=OLD.shape)
    migration = moved(OLD + 1, new)
    assert migration.ways["queries:orthogonal"].retained.value > 0.95
    np.testing.assert_allclose(migration.map("queries")(new[7]), OLD[7] + 1, atol=0.05)


def test_a_rotation_finds_the_same_for_queries_and_documents() -> None:
    new = np.maximum(OLD @ ROTATION + 0.3 * RNG.normal(size=OLD.shape) + 0.5, 0).astype(np.float32)  # not centred
    migration = moved(OLD, new)
    queries, documents = (migration.ways[f"{of}:orthogonal"].retained.value for of in ("queries", "documents"))
    assert queries == pytest.approx(documents, abs=0.002)
    assert 0.3 < queries < 0.9
    matrix = migration.map("queries:orthogonal").A.astype(float)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(D) * (matrix @ matrix.T)[0, 0], atol=1e-5)
    assert not migration.map("queries:orthogonal").b.any()


def test_a_linear_map_to_more_dimensions() -> None:
    migration = moved(OLD, OLD @ STRETCH)
    assert migration.verdict == "map"
    assert migration.best == "documents:linear"
    assert migration.ways["documents:linear"].retained.low > 0.99
    assert "unmapped" not in migration.ways  # other widths
    # the linear map of queries undoes the stretch, whose angles differ: that gives the old index's results
    assert migration.ways["queries:linear"].of_old.value > 0.99
    assert migration.ways["old"].retained.value < 0.9
    assert migration.ways["queries:linear"].retained.value == pytest.approx(
        migration.ways["old"].retained.value, abs=0.01
    )


def test_unrelated_models_must_embed_again() -> None:
    migration = moved(OLD, OTHER)
    assert migration.verdict == "re-embed"
    chance = 10 / (N // 2 - 1)
    for key, way in migration.ways.items():
        if key != "re-embedded":
            assert way.retained.low < chance < way.retained.high + 0.01
    assert migration.churn["value"] == pytest.approx(1 - 10 / (N - 1), abs=0.01)
    assert migration.churn["chance"] == pytest.approx(1 - 10 / (N - 1), abs=1e-6)


# Numbers


def test_retained_is_the_naive_share() -> None:
    new = np.tanh(OLD @ STRETCH * 0.3).astype(np.float32)
    move = Move(Space(OLD), Space(new), k=5, queries=50, seed=3)
    ways = dict(move.ways(lambda *_: None))
    x, y = OLD[move.searched].astype(float), new[move.searched].astype(float)

    def nearest(index: np.ndarray, asked: np.ndarray, row: int) -> set[int]:
        cosines = index @ asked / np.linalg.norm(index, axis=1)
        cosines[row] = -np.inf
        return set(np.argsort(-cosines)[:5].tolist())

    for key in ("old", "queries:linear", "documents:low-rank"):
        shares = []
        for row in move.asking.tolist():
            if key == "old":
                found = nearest(x, x[row], row)
            elif key == "queries:linear":
                found = nearest(x, ways[key].map(y[row]), row)
            else:
                found = nearest(ways[key].map(x), y[row], row)
            shares.append(len(found & nearest(y, y[row], row)) / 5)
        assert ways[key].retained.value == pytest.approx(np.mean(shares), abs=0.005)


def test_maps_are_judged_on_documents_that_they_were_not_fitted_on() -> None:
    move = Move(Space(OLD), Space(OTHER), k=5, queries=50, seed=0)
    fitted = {row.tobytes() for row in move.fit_old}
    assert len(fitted) == move.calibration == N // 2
    assert not fitted & {row.tobytes() for row in OLD[move.searched]}
    assert move.calibration + move.n == N


def test_the_documents_of_the_calibration_are_named() -> None:
    migration = moved(OLD, OLD @ ROTATION)
    named = migration.calibration
    assert len(set(named.tolist())) == len(named) == N // 2
    rows = np.searchsorted(np.sort(IDS), named)
    x, y = OLD[np.argsort(IDS)][rows], (OLD @ ROTATION)[np.argsort(IDS)][rows]
    np.testing.assert_allclose(migration.map("documents")(x), y, atol=1e-4)
    assert migration.to_dict()["settings"]["calibration_rows"] == len(named)
    assert mp.migrate(OLD, OTHER).calibration.dtype.kind == "i"  # rows, where there are no ids
    with pytest.raises(InputError, match="holds no maps"):
        _ = mp.Migration(migration.to_dict()).calibration


def test_reduced_rank_finds_the_rank() -> None:
    y = RNG.normal(size=(2000, 12))
    x = y @ RNG.normal(size=(12, 3)) @ RNG.normal(size=(3, 10)) + 0.01 * RNG.normal(size=(2000, 10))
    weights, rank = reduced_rank(grouped(x, y, np.arange(2000) % 8, 8), 0.999)
    assert rank == 3
    assert np.linalg.matrix_rank(weights, tol=1e-6) == 3
    assert np.var(x - y @ weights) < 2e-4


def test_the_curve_rises_to_the_whole_and_says_how_many_are_enough() -> None:
    migration = moved(OLD, OLD @ STRETCH)
    curve = {point.rows: point.value for point in migration.curve}
    assert list(curve) == [20, 50, 100, 300]
    assert curve[20] < curve[300]
    assert migration.to_dict()["enough"] == 50
    assert all(point.low <= point.value <= point.high for point in migration.curve)


def test_labels_are_scored() -> None:
    labels = np.arange(N) % 3
    near = OLD + 6 * np.eye(D, dtype=np.float32)[labels]
    migration = moved(near, near @ ROTATION, labels=labels)
    assert migration.ways["re-embedded"].precision.value > 0.95
    assert migration.ways["unmapped"].precision.value < 0.6
    assert "Results with the query's label: all embedded again " in migration.summary()
    assert "query's label" not in moved(OLD, OTHER).summary()
    assert moved(OLD, OTHER).ways["re-embedded"].precision is None


def test_documents_that_changed_their_place_lose_most() -> None:
    new = OLD @ ROTATION
    new[:30] = RNG.normal(size=(30, D))
    migration = moved(OLD, new)
    losing = migration.to_dict()["losing"]
    assert all(int(row["id"].removeprefix("doc-")) < 30 for row in losing[:5])
    lost = [row["times"] - row["kept"] for row in losing]
    assert lost == sorted(lost, reverse=True)
    assert all(0 < len(row["lost_by"]) <= 5 for row in losing)
    share = 1 - migration.ways[migration.best].retained.value
    assert sum(lost) <= round(share * 10 * 300)  # at most 100 are listed
    assert moved(OLD, OLD).to_dict()["losing"] == []


def test_duplicate_documents_lose_nothing() -> None:
    old = np.repeat(OLD[: N // 4], 4, axis=0)
    assert moved(old, old).ways["unmapped"].retained.value == 1


def test_a_sample_of_the_new_vectors_is_enough() -> None:
    new = {"features": (OLD @ ROTATION)[100:400][::-1], "ids": IDS[100:400][::-1]}
    with pytest.raises(InputError, match="--allow-missing"):
        mp.migrate({"features": OLD, "ids": IDS}, new)
    migration = mp.migrate({"features": OLD, "ids": IDS}, new, allow_missing=True)
    assert migration.verdict == "map"
    assert migration.to_dict()["pairing"]["rows"] == 300


def test_real_queries_need_no_old_model() -> None:
    asked = (RNG.normal(size=(80, D)) @ ROTATION).astype(np.float32)
    migration = moved(OLD, OLD @ ROTATION, queries=asked)
    assert migration.verdict == "map"
    assert "old" not in migration.ways
    assert migration.ways["queries:linear"].of_old is None
    assert migration.to_dict()["settings"]["queries"] == 80
    labelled = {"features": asked, "labels": np.arange(80) % 4}  # no document is in class 3
    labels = np.arange(N) % 3
    migration = moved(OLD, OLD @ ROTATION, queries=labelled, labels=labels.astype(str))
    document, (unit, index) = (
        migration.to_dict(),
        (x / np.linalg.norm(x, axis=1)[:, None] for x in (asked, OLD @ ROTATION)),
    )
    assert document["ways"]["re-embedded"]["retained"] == {"value": 1, "low": None, "high": None}
    searched = np.flatnonzero(~np.isin(IDS, migration.calibration))
    near = searched[np.argsort(-unit @ index[searched].T)[:, :10]]
    naive = (labels[near] == labelled["labels"][:, None]).mean()
    assert migration.ways["re-embedded"].precision.value == pytest.approx(naive, abs=1e-6)
    assert "80 real queries ask" in moved(OLD, OTHER, queries=RNG.normal(size=(80, 24))).summary()


def test_the_same_seed_gives_the_same_result() -> None:
    first, second = (moved(OLD, OTHER).to_dict() for _ in range(2))
    for document in (first, second):
        document["provenance"].pop("when")
    assert first == second


# The command line and what it writes


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    labels = np.arange(N) % 3
    np.savez(tmp_path / "old.npz", features=OLD, ids=IDS, labels=labels)
    order = RNG.permutation(N)
    np.savez(tmp_path / "new.npz", features=(OLD @ ROTATION)[order], ids=IDS[order])
    return str(tmp_path / "old.npz"), str(tmp_path / "new.npz")


def test_the_map_is_applied_in_three_lines(files: tuple[str, str], tmp_path: Path) -> None:
    old, new = files
    saved, documents = str(tmp_path / "map.safetensors"), str(tmp_path / "documents.safetensors")
    arguments = ["migrate", "--old", old, "--new", new, "--save-map", saved, "--save-document-map", documents]
    assert cli.run(arguments) == 0
    from manifold_probe.spaces import Map as Exported

    assert Exported is Map
    vector = OLD[3] @ ROTATION
    np.testing.assert_allclose(Map.load(saved)(vector), OLD[3], atol=1e-4)
    np.testing.assert_allclose(Map.load(documents)(OLD[3].tolist()), vector, atol=1e-4)
    assert Map.load(saved).facts["of"] == "queries"


def test_json_page_and_tables(files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = files
    page, table = tmp_path / "page.html", tmp_path / "table.csv"
    arguments = ["migrate", "--old", old, "--new", new, "--json", "--report", str(page), "--table", str(table)]
    assert cli.run(arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "manifold-probe/migration/1"
    assert document["verdict"] == "map"
    assert "What each way keeps" in page.read_text()
    frame = pd.read_csv(table)
    assert set(frame["part"]) == {"churn", "way", "curve"}
    (tmp_path / "saved.json").write_text(json.dumps(document))
    loaded = mp.load(tmp_path / "saved.json")
    assert isinstance(loaded, mp.Migration)
    assert loaded.to_dict() == document
    assert loaded.summary().startswith("Map: ")
    with pytest.raises(InputError, match="holds no maps"):
        loaded.map()
    (tmp_path / "saved.json").write_text(json.dumps(document | {"verdict": "maybe"}))
    with pytest.raises(InputError, match="'verdict' is 'maybe'"):
        mp.load(tmp_path / "saved.json")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.run(["migrate", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_bad_input(files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = files
    assert "--new: missing" in refused(capsys, "--old", old)
    assert "k is 0" in refused(capsys, "--old", old, "--new", new, "--k", "0")
    assert "needs at least 1200" in refused(capsys, "--old", old, "--new", new, "--k", "200")
    np.save(tmp_path / "queries.npy", np.ones((50, 7)))
    error = refused(capsys, "--old", old, "--new", new, "--queries", str(tmp_path / "queries.npy"))
    assert "has 7 dimensions, but the new model's vectors have 16" in error
    assert "queries is 1;" in refused(capsys, "--old", old, "--new", new, "--queries", "1")
    assert "no such file" in refused(capsys, "--old", old, "--new", new, "--queries", "many.npy")
    error = refused(capsys, "--old", old, "--new", new, "--save-map", str(tmp_path / "gone" / "map.safetensors"))
    assert "--save-map" in error
    assert "maps are written as .safetensors" in refused(capsys, "--old", old, "--new", new, "--save-map", old)
    same = str(tmp_path / "map.safetensors")
    error = refused(capsys, "--old", old, "--new", new, "--save-map", same, "--save-document-map", same)
    assert "is the file of --save-map" in error
    np.save(tmp_path / "zero.npy", np.zeros((50, D)))
    error = refused(capsys, "--old", old, "--new", new, "--queries", str(tmp_path / "zero.npy"))
    assert "holds 50 zero vectors" in error
    np.savez(tmp_path / "other.npz", features=OLD, ids=np.arange(N))
    error = refused(capsys, "--old", old, "--new", str(tmp_path / "other.npz"))
    assert "600 (" in error
    assert "teacher" not in error
    assert "student" not in error


def test_an_input_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors.numpy import save_file

    path = str(tmp_path / "old.safetensors")
    save_file({"features": OLD}, path)
    assert "is an input of this command" in refused(capsys, "--old", path, "--new", path, "--save-map", path)
    assert mp.load(path).n == N


def test_labels_that_are_no_classes_can_be_ignored(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = str(tmp_path / "asked.npz")
    np.savez(asked, features=(OLD @ ROTATION)[:50], labels=np.linspace(0, 1, 50))
    arguments = ["--old", files[0], "--new", files[1], "--queries", asked]
    assert "--ignore-labels" in refused(capsys, *arguments)
    assert cli.run(["migrate", *arguments, "--ignore-labels", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ways"]["re-embedded"]["precision"] is None


def test_an_index_without_stored_ids(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = faiss.IndexFlatIP(D)
    index.add(OLD)
    path = str(tmp_path / "old.faiss")
    faiss.write_index(index, path)
    error = refused(capsys, "--old", path, "--new", files[1])
    assert "stores no ids" in error
    assert "--old-ids FILE" in error
    np.save(tmp_path / "ids.npy", IDS)
    arguments = ["migrate", "--old", path, "--new", files[1], "--old-ids", str(tmp_path / "ids.npy"), "--json"]
    assert cli.run(arguments) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "map"
    rotated = faiss.IndexHNSWFlat(D, 8)
    rotated.add(OLD @ ROTATION)
    faiss.write_index(rotated, str(tmp_path / "new.index"))
    assert "stores no ids" in refused(capsys, "--old", path, "--new", str(tmp_path / "new.index"))
    assert cli.run(["migrate", "--old", path, "--new", str(tmp_path / "new.index"), "--positional", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == "map"
    assert [alarm["code"] for alarm in document["alarms"]] == ["unverified_pairing"]


def test_a_quantised_index_is_said(tmp_path: Path) -> None:
    index = faiss.index_factory(D, "IDMap,SQ4")
    index.train(OLD)
    index.add_with_ids(OLD, np.arange(5, N + 5))
    faiss.write_index(index, str(tmp_path / "old.faiss"))
    migration = mp.migrate(tmp_path / "old.faiss", {"features": OLD, "ids": np.arange(5, N + 5)})
    messages = {alarm["code"]: alarm["message"] for alarm in migration.to_dict()["alarms"]}
    assert "stores 8 of the 64 bytes of each vector" in messages["changed_by_index"]
    assert 0.3 < migration.ways["unmapped"].retained.value < 0.95
