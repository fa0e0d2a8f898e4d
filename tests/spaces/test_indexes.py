"""Indexes of vector databases, each written by its real library and read back."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import faiss
import numpy as np
import pytest

import manifold_probe as mp
from manifold_probe.errors import InputError
from manifold_probe.spaces import inspect, read, sha256

N, D = 300, 16
ROWS = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
IDS = np.random.default_rng(1).permutation(10_000)[:N]
NAMES = [f"d{number}" for number in IDS]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def saved(index, path):
    faiss.write_index(index, str(path))
    return str(path)


def built(kind, rows=ROWS):
    index = faiss.index_factory(rows.shape[1], kind)
    index.train(rows)
    index.add(rows)
    return index


# FAISS


@pytest.mark.parametrize("kind", ["Flat", "HNSW8,Flat", "IVF4,Flat", "NSG8,Flat", "IVF4,Flat,RFlat", "RR16,Flat"])
def test_faiss_vectors_come_back(tmp_path, kind):
    space = read(saved(built(kind), tmp_path / "x.faiss"))
    np.testing.assert_allclose(space.read(0, N), ROWS, atol=2e-6)
    assert space.ids is None  # 0, 1, 2, ... identifies nothing
    assert space.source.lost is None


@pytest.mark.parametrize("kind", ["IDMap,Flat", "IDMap2,Flat", "IDMap,HNSW8,Flat", "IVF4,Flat"])
def test_faiss_ids_name_their_rows(tmp_path, kind):
    index = faiss.index_factory(D, kind)
    index.train(ROWS)
    index.add_with_ids(ROWS, IDS)
    space = read(saved(index, tmp_path / "x.index"))
    rows = dict(zip(space.ids.tolist(), space.read(0, N), strict=True))
    np.testing.assert_array_equal(np.stack([rows[number] for number in IDS.tolist()]), ROWS)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("PQ4x4np", "stores 2 of the 64 bytes of each vector (IndexPQ)"),
        ("SQ8", "stores 16 of the 64 bytes"),
        ("IVF4,PQ4x4np", "IndexIVFPQ"),
        ("HNSW8,SQfp16", "stores 32 of the 64 bytes"),
        ("PCA8,Flat", "stores 8 of 16 dimensions (PCAMatrix)"),
    ],
)
def test_quantised_faiss_says_what_was_lost(tmp_path, kind, said):
    path = saved(built(kind), tmp_path / "x.faiss")
    space = read(path)
    assert said in space.source.lost
    assert np.corrcoef(space.read(0, N).ravel(), ROWS.ravel())[0, 1] > 0.5
    comparison = mp.compare(ROWS, path, measures=["overlap@10"])
    (message,) = (alarm["message"] for alarm in comparison.alarms if alarm["code"] == "changed_by_index")
    assert said in message


def test_eight_bits_lose_little(tmp_path):
    space = read(saved(built("SQ8"), tmp_path / "x.faiss"))
    steps = (ROWS.max(0) - ROWS.min(0)) / 255
    assert (np.abs(space.read(0, N) - ROWS) <= steps).all()


def test_faiss_that_cannot_be_reconstructed(tmp_path):
    path = saved(built("ITQ,LSH"), tmp_path / "x.faiss")
    with pytest.raises(InputError, match=r"ITQTransform, IndexLSH.* cannot be reconstructed; give") as refused:
        read(path)
    assert "\n" not in str(refused.value)


def test_faiss_that_would_end_the_process(tmp_path):
    index = faiss.index_factory(D, "IVF4,PQ4x4fs")
    index.train(ROWS)
    index.add_with_ids(ROWS, IDS)
    with pytest.raises(InputError, match=r"IndexIVFPQFastScan.* cannot be reconstructed; give"):
        read(saved(index, tmp_path / "x.faiss"))
    assert read(saved(built("IVF4,PQ4x4fs,RFlat"), tmp_path / "y.faiss")).n == N  # keeps the vectors themselves too
    assert "of the 64 bytes" in read(saved(built("PQ4x4fs"), tmp_path / "z.faiss")).source.lost


def test_damaged_and_binary_faiss(tmp_path):
    path = tmp_path / "x.faiss"
    saved(built("Flat"), path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="cannot be read as a FAISS index"):
        read(str(path))
    binary = faiss.IndexBinaryFlat(64)
    binary.add(np.zeros((5, 8), np.uint8))
    faiss.write_index_binary(binary, str(path))
    with pytest.raises(InputError, match=r"binary FAISS index.*bits.npy\?bits"):
        read(str(path))


# LanceDB, Chroma, Qdrant


@pytest.fixture(scope="module")
def lance(tmp_path_factory):
    lancedb = pytest.importorskip("lancedb")
    path = tmp_path_factory.mktemp("lance")
    rows = [{"id": NAMES[row], "vector": ROWS[row].tolist(), "label": row % 3} for row in range(N)]
    table = lancedb.connect(str(path)).create_table("docs", rows[:200])
    table.add(rows[200:])
    table.delete(f"id = '{NAMES[7]}'")
    return str(path)


@pytest.fixture(scope="module")
def chroma(tmp_path_factory):
    chromadb = pytest.importorskip("chromadb")
    path = str(tmp_path_factory.mktemp("chroma"))
    client = chromadb.PersistentClient(path, settings=chromadb.config.Settings(anonymized_telemetry=False))
    collection = client.create_collection("docs")
    collection.add(ids=NAMES, embeddings=ROWS, metadatas=[{"label": row % 3} for row in range(N)])
    return path


def fill(client, models, name="docs", distance="Dot"):
    size = models.VectorParams(size=D, distance=distance)
    client.create_collection(name, vectors_config=size)
    points = [
        models.PointStruct(id=int(IDS[row]), vector=ROWS[row].tolist(), payload={"label": row % 3}) for row in range(N)
    ]
    client.upsert(name, points)


@pytest.fixture(scope="module")
def qdrant(tmp_path_factory):
    library = pytest.importorskip("qdrant_client")
    path = str(tmp_path_factory.mktemp("qdrant"))
    client = library.QdrantClient(path=path)
    fill(client, library.models)
    client.close()
    return path


def pick(refused):
    """The path that a message says to give."""
    assert "\n" not in str(refused.value)
    return str(refused.value).rpartition("pick one with ")[2]


def check(space, names=NAMES, rows=ROWS):
    places = {name: place for place, name in enumerate(names)}
    order = [places[name] for name in space.ids.tolist()]
    np.testing.assert_allclose(space.read(0, space.n), rows[order], rtol=1e-5)
    assert space.labels.tolist() == [place % 3 for place in order]


@pytest.mark.slow
def test_lancedb(lance):
    for path in (lance, f"{lance}/docs.lance", f"{lance}::docs", f"{lance}/docs.lance::vector"):
        space = read(path)
        assert space.n == N - 1  # one was deleted
        check(space)
    assert inspect(lance)["features"]["shape"] == [N - 1, D]
    assert sha256(lance) == sha256(lance)


@pytest.mark.slow
def test_lancedb_with_two_tables(tmp_path):
    lancedb = pytest.importorskip("lancedb")
    database = lancedb.connect(str(tmp_path))
    for name in ("new", "old"):
        database.create_table(name, [{"vector": row.tolist()} for row in ROWS])
    with pytest.raises(InputError, match=r"holds the tables new, old; pick one with .*new\.lance") as refused:
        read(str(tmp_path))
    assert read(pick(refused)).n == N
    assert read(f"{tmp_path}::old").n == N
    with pytest.raises(InputError, match="has no table 'other'; it holds the tables new, old"):
        read(f"{tmp_path}::other")


@pytest.mark.slow
def test_lancedb_with_two_columns_of_vectors(tmp_path):
    lancedb = pytest.importorskip("lancedb")
    database = lancedb.connect(str(tmp_path))
    rows = [{"key": NAMES[row], "vector": ROWS[row].tolist(), "half": ROWS[row, :8].tolist()} for row in range(N)]
    database.create_table("both", rows)
    database.create_table("one", [{"key": row["key"], "vector": row["vector"]} for row in rows])
    with pytest.raises(InputError, match="several arrays could be the features") as refused:
        read(f"{tmp_path}::both")
    assert read(pick(refused)).d == D
    with pytest.raises(InputError, match=r"'key' may hold them: give --old-ids .*/one\.lance::key"):
        mp.migrate(f"{tmp_path}::one", ROWS)


@pytest.mark.slow
def test_empty_collections(tmp_path):
    lancedb, chromadb, library = map(pytest.importorskip, ("lancedb", "chromadb", "qdrant_client"))
    import pyarrow as pa

    schema = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32(), D))])
    lancedb.connect(str(tmp_path / "lance")).create_table("docs", schema=schema)
    settings = chromadb.config.Settings(anonymized_telemetry=False)
    chromadb.PersistentClient(str(tmp_path / "chroma"), settings=settings).create_collection("docs")
    client = library.QdrantClient(path=str(tmp_path / "qdrant"))
    client.create_collection("docs", vectors_config=library.models.VectorParams(size=D, distance="Dot"))
    client.close()
    with pytest.raises(InputError, match="0 rows, at least 2 are needed"):
        read(str(tmp_path / "lance"))
    for folder in ("chroma", "qdrant"):
        with pytest.raises(InputError, match="collection 'docs' holds no vectors"):
            read(str(tmp_path / folder))


@pytest.mark.slow
def test_chroma(chroma):
    before = sha256(chroma)
    check(read(chroma))
    check(read(f"{chroma}::docs"))
    assert sha256(chroma) == before  # reading changes nothing
    with pytest.raises(InputError, match="has no collection 'x'; it holds docs"):
        read(f"{chroma}::x")


@pytest.mark.slow
def test_qdrant_folder(qdrant):
    before = sha256(qdrant)
    check(read(qdrant), IDS.tolist())
    check(read(f"{qdrant}::docs"), IDS.tolist())
    assert sha256(qdrant) == before


@pytest.mark.slow
def test_qdrant_named_vectors(tmp_path):
    library = pytest.importorskip("qdrant_client")
    models = library.models
    client = library.QdrantClient(path=str(tmp_path))
    size = models.VectorParams(size=D, distance="Cosine")
    client.create_collection("docs", vectors_config={"title": size, "body": size})
    vector = {"title": ROWS[0].tolist(), "body": ROWS[1].tolist()}
    client.upsert("docs", [models.PointStruct(id=number, vector=vector) for number in (3, 4)])
    client.close()
    with pytest.raises(InputError, match=r"has the vectors title, body; pick one with .*::docs/title"):
        read(str(tmp_path))
    space = read(f"{tmp_path}::docs/body")
    np.testing.assert_allclose(space.read(0, 2), ROWS[[1, 1]], rtol=1e-6)
    assert space.ids.tolist() == [3, 4]
    assert space.source.lost is None


@pytest.mark.slow
def test_qdrant_points_that_have_the_vector(tmp_path):
    library = pytest.importorskip("qdrant_client")
    models = library.models
    client = library.QdrantClient(path=str(tmp_path))
    size = models.VectorParams(size=D, distance="Dot")
    client.create_collection("docs", vectors_config={"old": size, "new": size})
    for row in range(N):  # a sample was embedded by the new model
        vector = {"old": ROWS[row].tolist()} | ({"new": (2 * ROWS[row]).tolist()} if row % 3 else {})
        client.upsert("docs", [models.PointStruct(id=int(IDS[row]), vector=vector)])
    client.close()
    old, new = f"{tmp_path}::docs/old", f"{tmp_path}::docs/new"
    space = read(new)
    sampled = {int(id): row for row, id in enumerate(IDS) if row % 3}
    assert set(space.ids.tolist()) == set(sampled)
    np.testing.assert_allclose(space.read(0, space.n), 2 * ROWS[[sampled[id] for id in space.ids.tolist()]], rtol=1e-6)
    with pytest.raises(InputError, match=r"docs/old by id: 100 \(.*\) are only there and 0 only here"):
        mp.migrate(old, new)
    migration = mp.migrate(old, new, allow_missing=True)
    assert migration.verdict == "not needed"
    assert f"From {tmp_path.name}::docs/old (16 dimensions) to {tmp_path.name}::docs/new" in migration.summary()


@pytest.mark.slow
def test_qdrant_without_one_dense_vector_a_point(tmp_path):
    library = pytest.importorskip("qdrant_client")
    models = library.models
    client = library.QdrantClient(path=str(tmp_path))
    several = models.MultiVectorConfig(comparator="max_sim")
    size = models.VectorParams(size=D, distance="Dot", multivector_config=several)
    client.create_collection("several", vectors_config=size)
    client.create_collection("sparse", vectors_config={}, sparse_vectors_config={"words": models.SparseVectorParams()})
    client.close()
    with pytest.raises(InputError, match="'several' has several vectors a point"):
        read(f"{tmp_path}::several")
    with pytest.raises(InputError, match="'sparse' has sparse vectors only"):
        read(f"{tmp_path}::sparse")


@pytest.mark.slow
def test_qdrant_folder_in_use(qdrant):
    library = pytest.importorskip("qdrant_client")
    client = library.QdrantClient(path=qdrant)
    with pytest.raises(InputError, match="is in use by another process; close its QdrantClient"):
        read(qdrant)
    client.close()


@pytest.mark.slow
def test_qdrant_server(server):
    space = read(f"{server}::docs")
    check(space, IDS.tolist(), unit(ROWS))
    assert space.source.path == server
    assert "at length 1 (distance Cosine)" in space.source.lost
    comparison = mp.compare({"features": ROWS, "ids": IDS}, f"{server}::docs", measures=["overlap@10"])
    assert comparison.measures["overlap@10"].value == 1
    assert len(comparison.inputs["student"]["sha256"]) == 64


@pytest.mark.slow
def test_server_that_does_not_answer():
    pytest.importorskip("qdrant_client")
    with pytest.raises(InputError, match="is no Qdrant server that answers") as refused:
        read("http://127.0.0.1:9::docs")
    assert "\n" not in str(refused.value)


@pytest.fixture
def server():
    """A server that speaks Qdrant's protocol, with the library's own store in memory behind it."""
    library = pytest.importorskip("qdrant_client")
    store = library.QdrantClient(":memory:")
    fill(store, library.models, distance="Cosine")

    class Handler(BaseHTTPRequestHandler):
        def answer(self, result):
            content = json.dumps({"result": result, "status": "ok", "time": 0.0}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self):
            if self.path == "/collections":
                self.answer(store.get_collections().model_dump(mode="json"))
            else:
                self.answer(store.get_collection("docs").model_dump(mode="json", exclude_none=True))

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            points, following = store.scroll(
                "docs",
                limit=asked["limit"],
                offset=asked.get("offset"),
                with_payload=asked["with_payload"],
                with_vectors=asked.get("with_vector", False),
            )
            rows = [point.model_dump(mode="json", exclude_none=True) for point in points]
            self.answer({"points": rows, "next_page_offset": following})

        def log_message(self, *_):
            pass

    served = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()


# Hugging Face datasets


@pytest.fixture(scope="module")
def hugging(tmp_path_factory):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    path = tmp_path_factory.mktemp("datasets")
    columns = {"id": NAMES, "embedding": ROWS.tolist(), "label": [row % 3 for row in range(N)]}
    rows = datasets.Dataset.from_dict(
        columns,
        features=datasets.Features(
            {
                "id": datasets.Value("string"),
                "embedding": datasets.List(datasets.Value("float32")),
                "label": datasets.ClassLabel(names=["a", "b", "c"]),
            }
        ),
    )
    rows.save_to_disk(path / "one", num_shards=2)
    datasets.DatasetDict(train=rows.select(range(N - 9, -1, -1)), test=rows.select(range(5))).save_to_disk(path / "two")
    return path


@pytest.mark.slow
def test_saved_data_sets(hugging):
    assert len([name for name in os.listdir(hugging / "one") if name.endswith(".arrow")]) == 2
    check(read(str(hugging / "one")))
    check(read(f"{hugging / 'one'}::embedding"))
    check(read(str(hugging / "two" / "train")))
    check(read(f"{hugging / 'two'}::test"))
    with pytest.raises(InputError, match=r"holds the splits train, test; pick one with .*two/train"):
        read(str(hugging / "two"))


@pytest.mark.slow
def test_damaged_data_set(hugging, tmp_path):
    (tmp_path / "state.json").write_text('{"_data_files": [{"filename": "gone.arrow"}]}')
    with pytest.raises(InputError, match=r"gone\.arrow: no such file"):
        read(str(tmp_path))
    (tmp_path / "state.json").write_text('{"_data_files": []}')
    with pytest.raises(InputError, match="lists no data files"):
        read(str(tmp_path))
