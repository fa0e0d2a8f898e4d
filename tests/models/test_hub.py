"""``hf:`` and ``st:`` folders, built here at random and loaded without a network."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from manifold_probe.errors import InputError
from manifold_probe.extraction.run import extract
from manifold_probe.extraction.work import Request, prepared
from manifold_probe.models.layers import capture, list_layers, resolve_layers
from manifold_probe.models.load import forward, load_model
from manifold_probe.models.pooling import pool
from manifold_probe.models.preprocessing import ImagePreprocessing

transformers = pytest.importorskip("transformers")
TEXTS = ["a cat sat", "the quick brown fox jumps over the lazy dog", "dog"]
WORDS = sorted({word for text in TEXTS for word in text.split()})
TINY = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
PICTURES = [np.random.default_rng(i).integers(0, 256, (40 + i, 53, 3), dtype=np.uint8) for i in range(3)]


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dino")
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=14
    )
    transformers.Dinov2Model(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    transformers.BertTokenizer(str(folder / "vocab.txt"), model_max_length=8).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
    )
    transformers.BertModel(config).save_pretrained(folder)
    return folder


def add_processor(folder: Path, **settings: Any) -> None:
    transformers.BitImageProcessorPil(**settings).save_pretrained(folder)


def test_image_model(dino: Path) -> None:
    model = load_model(f"hf:{dino}")
    assert (model.takes, model.preprocessing) == ("images", None)
    assert not model.module.training
    batch = torch.randn(2, 3, 28, 28)
    output = forward(model, batch)
    assert output.shape == (2, 5, 32)
    with torch.no_grad():
        assert torch.equal(output, model.module(pixel_values=batch).last_hidden_state)
    assert pool(output, "cls").shape == (2, 32)
    names = resolve_layers(model.module, ["encoder.layer.?"])
    with capture(model.module, names) as outputs:
        forward(model, batch)
    assert [tuple(outputs[name].shape) for name in names] == [(2, 5, 32)] * 2
    assert ("encoder.layer.1", "Dinov2Layer", (2, 5, 32)) in list_layers(model, batch)
    assert load_model(f"hf:{dino}").fingerprint == model.fingerprint


@pytest.mark.parametrize(
    "settings",
    [
        {"size": {"shortest_edge": 36}, "crop_size": {"height": 28, "width": 28}},
        {"size": {"height": 28, "width": 28}, "do_center_crop": False, "resample": 2, "image_mean": [0.1, 0.2, 0.3]},
        {"size": {"shortest_edge": 28}, "crop_size": {"height": 28, "width": 28}, "do_normalize": False},
    ],
)
def test_image_processors_are_taken_over(dino: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    folder = copied(dino, tmp_path)
    add_processor(folder, **settings)
    preprocessing = load_model(f"hf:{folder}").preprocessing
    assert isinstance(preprocessing, ImagePreprocessing)
    theirs = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    for picture in PICTURES:
        expected = theirs(Image.fromarray(picture), return_tensors="np")["pixel_values"][0]
        np.testing.assert_allclose(preprocessing(picture).numpy(), expected, rtol=0, atol=1e-5)


def test_convnext_crops_small_pictures(dino: Path, tmp_path: Path) -> None:
    for edge, shorter in ((28, 32), (384, None)):
        folder = copied(dino, tmp_path / str(edge))
        transformers.ConvNextImageProcessorPil(size={"shortest_edge": edge}).save_pretrained(folder)
        preprocessing = load_model(f"hf:{folder}").preprocessing
        assert isinstance(preprocessing, ImagePreprocessing)
        assert (preprocessing.size, preprocessing.shorter) == (edge, shorter)


@pytest.mark.parametrize(
    "settings",
    [
        {"size": {"shortest_edge": 28}, "do_center_crop": False},  # oblong tensors
        {"size": {"height": 40, "width": 40}, "crop_size": {"height": 28, "width": 28}},
        {"size": {"height": 28, "width": 28}, "do_center_crop": False, "rescale_factor": 1 / 127.5},
    ],
)
def test_what_ours_cannot_do_is_not_guessed(dino: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    folder = copied(dino, tmp_path)
    add_processor(folder, **settings)
    assert load_model(f"hf:{folder}").preprocessing is None


def test_text_model(bert: Path) -> None:
    model = load_model(f"hf:{bert}")
    assert model.takes == "texts"
    assert model.preprocessing is not None
    assert model.preprocessing.record()["max_length"] == 8
    batch = model.preprocessing.collate(TEXTS)
    assert batch["input_ids"].shape == (3, 8)  # the second text is cut
    output = forward(model, batch)
    assert output.shape == (3, 8, 32)
    # a text alone, without padding, has the same mean
    alone = model.preprocessing.collate(TEXTS[:1])
    pooled = pool(output, "mean", batch["attention_mask"])[:1]
    torch.testing.assert_close(pooled, forward(model, alone).mean(1), rtol=0, atol=1e-6)


def test_the_text_fingerprint_is_that_of_the_vocabulary(bert: Path, tmp_path: Path) -> None:
    first = load_model(f"hf:{bert}").preprocessing
    assert first is not None
    before = first.fingerprint
    first.collate(TEXTS)
    again = load_model(f"hf:{bert}").preprocessing
    assert again is not None
    assert first.fingerprint == again.fingerprint == before
    folder = copied(bert, tmp_path)
    rules = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = rules["model"]["vocab"]
    vocabulary[WORDS[0]], vocabulary[WORDS[1]] = vocabulary[WORDS[1]], vocabulary[WORDS[0]]
    (folder / "tokenizer.json").write_text(json.dumps(rules))
    other = load_model(f"hf:{folder}").preprocessing
    assert other is not None
    assert other.fingerprint != before
    assert json.loads(json.dumps(other.record())) == other.record()


def test_a_missing_pooler_is_the_same_every_time(bert: Path, tmp_path: Path) -> None:
    folder = copied(bert, tmp_path)
    rewrite(folder, lambda key: not key.startswith("pooler."))
    torch.manual_seed(1)
    first = load_model(f"hf:{folder}")
    torch.manual_seed(2)
    assert load_model(f"hf:{folder}").fingerprint == first.fingerprint


def test_the_configuration_is_part_of_the_architecture_and_its_place_is_not(bert: Path, tmp_path: Path) -> None:
    before = load_model(f"hf:{bert}")
    moved = load_model(f"hf:{copied(bert, tmp_path / 'moved')}")
    assert (moved.architecture, moved.identity) == (before.architecture, before.identity)
    folder = copied(bert, tmp_path / "heads")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_attention_heads": 2}))
    other = load_model(f"hf:{folder}")
    assert other.fingerprint == before.fingerprint
    assert repr(other.module) == repr(before.module)
    assert other.architecture != before.architecture


def test_a_glob_passes_over_layers_that_do_not_run_for_every_input(bert: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("a cat sat\ndog\nthe quick brown fox\nfox\nthe lazy dog\n")
    request = Request(f"hf:{bert}", str(texts), pooling="mean", layers=("*",), batch_size=2)
    work = prepared(request)
    assert "encoder.layer.1.output.dense" in work.plan["layers"]
    assert "embeddings.position_embeddings" not in work.plan["layers"]
    store = extract(request, tmp_path / "feats")
    assert store.manifest()["shapes"]["encoder.layer.0"] == [5, 32]
    again = prepared(replace(request, layers=("encoder.layer.?", "pooler")))
    assert again.plan["layers"] == ["encoder.layer.0", "encoder.layer.1", "pooler"]
    with pytest.raises(InputError, match=r"layer embeddings\.position_embeddings has shape"):
        extract(replace(request, layers=("embeddings.position_embeddings",)), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_size_is_no_setting_of_a_text_model(bert: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a cat sat\ndog\n")
    with pytest.raises(InputError, match="takes texts, not images; leave them out"):
        prepared(Request(f"hf:{bert}", str(tmp_path / "texts.txt"), pooling="mean", size="32"))


def test_missing_weights_are_refused(bert: Path, tmp_path: Path) -> None:
    folder = copied(bert, tmp_path)
    rewrite(folder, lambda key: "layer.1." not in key)
    with pytest.raises(InputError, match=r"its weights lack 16 keys \(encoder.layer.1.*, ...\); download or save"):
        load_model(f"hf:{folder}")


def test_weights_alone_need_no_weights_in_the_folder(dino: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((dino / "config.json").read_text())
    model = load_model(f"hf:{tmp_path}", str(dino / "model.safetensors"))
    assert model.fingerprint == load_model(f"hf:{dino}").fingerprint
    torch.save(model.module.state_dict(), tmp_path / "state.pt")
    assert load_model(f"hf:{tmp_path}", str(tmp_path / "state.pt")).fingerprint == model.fingerprint
    torch.save(dict(model.module.state_dict()) | {"extra": torch.ones(1)}, tmp_path / "state.pt")
    with pytest.raises(InputError, match=r"of 43 keys, 1 unexpected \(extra\); give"):
        load_model(f"hf:{tmp_path}", str(tmp_path / "state.pt"))


def test_half_precision_folders_are_run_in_float32(dino: Path, tmp_path: Path) -> None:
    transformers.Dinov2Model.from_pretrained(dino).bfloat16().save_pretrained(tmp_path)
    assert forward(load_model(f"hf:{tmp_path}"), torch.randn(1, 3, 28, 28)).dtype == torch.float32


def test_a_tokenizer_without_padding_token(bert: Path, tmp_path: Path) -> None:
    folder = copied(bert, tmp_path)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config |= {"pad_token": None, "eos_token": "[SEP]", "padding_side": "left"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    model = load_model(f"hf:{folder}")
    assert model.preprocessing is not None
    mask = model.preprocessing.collate(TEXTS)["attention_mask"]
    assert mask[2].tolist() == [1, 1, 1, 0, 0, 0, 0, 0]


def test_sentence_transformer(bert: Path, tmp_path: Path) -> None:
    st = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer import modules as models

    folder = tmp_path / "sentences"
    words = models.Transformer(str(bert))
    parts = [words, models.Pooling(32, "mean", include_prompt=False), models.Normalize()]
    prompts = {"prompts": {"fox": "the fox "}, "default_prompt_name": "fox"}
    for name, settings in (("plain", {}), ("prompted", prompts)):
        st.SentenceTransformer(modules=parts, device="cpu", **settings).save(str(folder / name))
        model = load_model(f"st:{folder / name}")
        assert model.takes == "texts"
        assert model.preprocessing is not None
        batch = model.preprocessing.collate(TEXTS)
        assert all(isinstance(value, torch.Tensor) for value in batch.values())
        keys = list(batch)
        output = forward(model, batch)
        assert list(batch) == keys
        np.testing.assert_allclose(output.numpy(), model.module.encode(TEXTS), rtol=0, atol=1e-6)
        assert ("1", "Pooling", (3, 32)) in list_layers(model, batch)
    plain, prompted = (load_model(f"st:{folder / name}") for name in ("plain", "prompted"))
    assert plain.fingerprint == prompted.fingerprint
    assert plain.preprocessing is not None
    assert prompted.preprocessing is not None
    assert plain.preprocessing.fingerprint != prompted.preprocessing.fingerprint


@pytest.mark.parametrize("kind", ["hf", "st"])
def test_folders_that_are_no_models(kind: str, tmp_path: Path, dino: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "st":
        pytest.importorskip("sentence_transformers")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for name, words in (
        ("/no/such/folder", "there is no folder /no/such/folder; give one"),
        ("./nothing", "there is no folder ./nothing"),
        ("file", "there is no folder file"),
        ("empty", "cannot be loaded (ValueError: Unrecognized model"),
        ("nobody/nothing", "check the name on the hub and the network"),
        (f"{dino}?trust_remote_code=true", "argument trust_remote_code is not known; the only one is ?revision=..."),
    ):
        refused(f"{kind}:{name}", words)


def test_folders_of_other_models(bert: Path, tmp_path: Path) -> None:
    no_tokenizer = copied(bert, tmp_path / "no_tokenizer")
    for file in no_tokenizer.glob("*token*"):
        file.unlink()
    (no_tokenizer / "vocab.txt").unlink()
    refused(f"hf:{no_tokenizer}", "tokenizer.save_pretrained(folder)")
    transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**TINY, num_conv_pos_embedding_groups=4)).save_pretrained(
        tmp_path / "speech"
    )
    refused(f"hf:{tmp_path / 'speech'}", "reads input_values; models of images (pixel_values) and texts")
    language = transformers.LlamaConfig(**TINY, vocab_size=9, num_key_value_heads=4)
    vision = transformers.CLIPVisionConfig(**TINY, image_size=28, patch_size=14)
    chat = transformers.LlavaConfig(text_config=language, vision_config=vision, image_token_index=8)
    transformers.LlavaModel(chat).save_pretrained(tmp_path / "chat")
    refused(f"hf:{tmp_path / 'chat'}", "holds an image and a text model")
    damaged = copied(bert, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"\xff" * 100)
    refused(f"hf:{damaged}", "cannot be loaded (")


def test_code_beside_a_model_is_not_run(bert: Path, tmp_path: Path) -> None:
    folder = copied(bert, tmp_path / "remote")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w')")
    refused(f"hf:{folder}", "cannot be loaded (")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("text", "package", "needed"),
    [
        ("hf:a", "transformers", "'sentence-transformers>=6' 'transformers>=5'"),
        ("st:a", "sentence_transformers", "'sentence-transformers>=6' 'transformers>=5'"),
        ("timm:resnet18", "timm", "'timm>=1.0'"),
    ],
)
def test_missing_packages(text: str, package: str, needed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    refused(text, f"needs the package {package}, which is not installed; pip install {needed}")


def copied(folder: Path, to: Path) -> Path:
    to.mkdir(exist_ok=True)
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


def rewrite(folder: Path, keep: Any) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in state.items() if keep(k)}, folder / "model.safetensors", metadata={"format": "pt"})


def refused(text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        load_model(text)
    assert words in str(caught.value)
    assert str(caught.value).startswith(text.partition("?")[0])
    assert str(caught.value).isprintable()
