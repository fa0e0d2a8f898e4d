"""Which output of a transformers model is its embedding: projections, poolings, encoders; against the model alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from manifold_probe.errors import InputError
from manifold_probe.extraction.run import extract
from manifold_probe.extraction.work import Request, prepared
from manifold_probe.models.load import Model, check_pooling, forward, load_model
from manifold_probe.models.pooling import pool
from manifold_probe.spaces.read import read

transformers = pytest.importorskip("transformers")
WORDS = ["river", "stone", "bread", "window", "quiet", "a", "b", "c", "d", "e", "f", "g", "h"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "</s>"]
TEXTS = ["river", "stone bread window quiet", "a b c d e f g h a b c", "bread stone"]
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = {**SMALL, "image_size": 32, "patch_size": 8}
TEXT = {**SMALL, "vocab_size": len(SPECIAL + WORDS), "max_position_embeddings": 32}
CLIP_TEXT = {**TEXT, "projection_dim": 16, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
PIXELS = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
T5 = {"vocab_size": TEXT["vocab_size"], "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
BART = {
    "vocab_size": TEXT["vocab_size"], "d_model": 32, "encoder_layers": 1, "decoder_layers": 1,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
    "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3,
    "decoder_start_token_id": 2, "forced_eos_token_id": 3,
}  # fmt: skip


def built(name: str, config: Any) -> Any:
    torch.manual_seed(0)
    return getattr(transformers, name)(config).eval()


def config(name: str, **settings: Any) -> Any:
    return getattr(transformers, name)(**settings)


def saved(module: Any, folder: Path, *, first_token: bool = True, side: str = "right") -> Path:
    """The module in a folder, beside a tokenizer of words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = Tokenizer(models.WordLevel({word: n for n, word in enumerate(SPECIAL + WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    named = {"unk_token": "[UNK]", "pad_token": "[PAD]", "eos_token": "</s>"}
    if first_token:
        words.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        named |= {"cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=32, **named)
    tokenizer.padding_side = side
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def one_by_one(folder: Path, call: Callable[..., torch.Tensor], **options: Any) -> torch.Tensor:
    """What ``call`` makes of every text alone, without padding."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        return torch.cat([call(**tokenizer(text, return_tensors="pt", **options)) for text in TEXTS])


def texts_through(model: Model, pooling: str | None = None) -> torch.Tensor:
    assert model.preprocessing is not None
    batch = model.preprocessing.collate(TEXTS)  # type: ignore[arg-type]
    return pool(forward(model, batch, pooling), pooling, batch.get("attention_mask"))


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=2e-6)


@pytest.mark.parametrize("family", ["CLIP", "MetaClip2"])
def test_a_projection_is_used_unless_another_pooling_is_asked_for(family: str, tmp_path: Path) -> None:
    tower = built(f"{family}VisionModelWithProjection", config(f"{family}VisionConfig", **VISION, projection_dim=16))
    tower.save_pretrained(tmp_path / "vision")
    model = load_model(f"hf:{tmp_path / 'vision'}")
    with torch.no_grad():
        wanted = tower(pixel_values=PIXELS)
    for pooling in (None, "projection"):
        close(pool(forward(model, PIXELS, pooling), pooling), wanted.image_embeds)
        assert model.notes(pooling) == []
    close(pool(forward(model, PIXELS, "cls"), "cls"), wanted.last_hidden_state[:, 0])
    (note,) = model.notes("cls")
    assert "hidden states before the projection, because of --pool cls" in note
    texts = built(f"{family}TextModelWithProjection", config(f"{family}TextConfig", **CLIP_TEXT))
    folder = saved(texts, tmp_path / "texts")
    close(texts_through(load_model(f"hf:{folder}")), one_by_one(folder, lambda **batch: texts(**batch).text_embeds))


def test_a_tower_without_projection_is_named_as_such(tmp_path: Path) -> None:
    built("CLIPVisionModel", config("CLIPVisionConfig", **VISION, projection_dim=16)).save_pretrained(tmp_path)
    model = load_model(f"hf:{tmp_path}")
    assert "CLIPVisionModel has no projection: its features are hidden states" in model.notes("cls")[0]
    with pytest.raises(InputError, match="has no projection; leave --pool projection out"):
        forward(model, PIXELS, "projection")


def test_weights_of_a_projection_are_used_whatever_the_configuration_calls_the_model(tmp_path: Path) -> None:
    import json

    tower = built("CLIPVisionModelWithProjection", config("CLIPVisionConfig", **VISION, projection_dim=16))
    tower.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    for named in (["CLIPVisionModel"], None):
        (tmp_path / "config.json").write_text(json.dumps({**settings, "architectures": named}))
        with torch.no_grad():
            close(forward(load_model(f"hf:{tmp_path}"), PIXELS), tower(pixel_values=PIXELS).image_embeds)


FULL = {
    "CLIP": lambda: config("CLIPConfig", text_config=CLIP_TEXT, vision_config={**VISION, "projection_dim": 16}),
    "Siglip": lambda: config("SiglipConfig", text_config=TEXT, vision_config=VISION),
    "ChineseCLIP": lambda: config("ChineseCLIPConfig", text_config=TEXT, vision_config=VISION, projection_dim=16),
    "Align": lambda: config(
        "AlignConfig",
        text_config=TEXT,
        vision_config={"image_size": 32, "width_coefficient": 0.1, "hidden_dim": 64, "num_block_repeats": [1] * 7},
    ),
}


@pytest.mark.parametrize("family", sorted(FULL))
def test_a_model_of_images_and_texts_gives_the_side_that_the_data_asks_for(family: str, tmp_path: Path) -> None:
    whole = built(f"{family}Model", FULL[family]())
    folder = saved(whole, tmp_path)
    with torch.no_grad():
        wanted = whole.get_image_features(pixel_values=PIXELS).pooler_output
    close(forward(load_model(f"hf:{folder}"), PIXELS), wanted)
    close(forward(load_model(f"hf:{folder}", takes="images"), PIXELS, "projection"), wanted)
    options = {"padding": "max_length", "max_length": 32} if family == "Siglip" else {}
    wanted = one_by_one(folder, lambda **batch: whole.get_text_features(**batch).pooler_output, **options)
    close(texts_through(load_model(f"hf:{folder}", takes="texts")), wanted)


def test_siglip_towers_give_their_pooled_output(tmp_path: Path) -> None:
    tower = built("SiglipVisionModel", config("SiglipVisionConfig", **VISION))
    tower.save_pretrained(tmp_path / "vision")
    with torch.no_grad():
        close(forward(load_model(f"hf:{tmp_path / 'vision'}"), PIXELS), tower(pixel_values=PIXELS).pooler_output)
    texts = built("SiglipTextModel", config("SiglipTextConfig", **TEXT))
    folder = saved(texts, tmp_path / "texts")
    options = {"padding": "max_length", "max_length": 32}
    wanted = one_by_one(folder, lambda **batch: texts(**batch).pooler_output, **options)
    close(texts_through(load_model(f"hf:{folder}")), wanted)


ENCODERS = {
    "T5Model": lambda: config("T5Config", **T5),
    "T5EncoderModel": lambda: config("T5Config", **T5),
    "T5ForConditionalGeneration": lambda: config("T5Config", **T5),
    "BartForConditionalGeneration": lambda: config("BartConfig", **BART),
    "MarianMTModel": lambda: config("MarianConfig", **BART),
}


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_an_encoder_decoder_is_its_encoder(name: str, tmp_path: Path) -> None:
    whole = built(name, ENCODERS[name]())
    folder = saved(whole, tmp_path, first_token=False)
    model = load_model(f"hf:{folder}")
    encoder = whole.get_encoder()
    wanted = one_by_one(folder, lambda input_ids, **_: encoder(input_ids=input_ids).last_hidden_state.mean(1))
    close(texts_through(model, "mean"), wanted)
    assert model.notes("mean") == []
    with pytest.raises(InputError, match="its tokenizer adds no CLS token before a text; choose --pool last"):
        check_pooling(model, "cls")


CAUSAL = {
    "GPT2Model": lambda: config("GPT2Config", vocab_size=18, n_embd=32, n_layer=2, n_head=2, n_positions=64),
    "LlamaModel": lambda: config("LlamaConfig", **TEXT),
    "OPTModel": lambda: config(
        "OPTConfig", vocab_size=18, hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=64, word_embed_proj_dim=32,
    ),
}  # fmt: skip


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", sorted(CAUSAL))
def test_the_last_token_of_a_causal_model(name: str, side: str, tmp_path: Path) -> None:
    module = built(name, CAUSAL[name]())
    folder = saved(module, tmp_path, side=side)
    model = load_model(f"hf:{folder}")
    wanted = one_by_one(folder, lambda input_ids, **_: module(input_ids=input_ids).last_hidden_state[:, -1])
    close(texts_through(model, "last"), wanted)
    with pytest.raises(InputError, match=r"--pool cls: it is a causal model.*; choose --pool last or --pool mean"):
        check_pooling(model, "cls")


def test_only_poolings_that_fit_are_named_where_none_is_given(tmp_path: Path) -> None:
    causal = load_model(f"hf:{saved(built('GPT2Model', CAUSAL['GPT2Model']()), tmp_path / 'causal')}")
    with pytest.raises(InputError, match="returns a vector for every token; choose --pool last or --pool mean"):
        check_pooling(causal, None)
    encoder = load_model(f"hf:{saved(built('BertModel', config('BertConfig', **TEXT)), tmp_path / 'encoder')}")
    with pytest.raises(InputError, match="choose --pool cls, --pool last or --pool mean"):
        check_pooling(encoder, None)


def test_a_weight_of_another_shape_is_named(tmp_path: Path) -> None:
    folder = saved(built("BertModel", config("BertConfig", **TEXT)), tmp_path)
    file = f"{folder}/model.safetensors"
    state = load_file(file)
    name = next(key for key in sorted(state) if key.endswith("encoder.layer.0.output.dense.bias"))
    save_file({**state, name: state[name][:7]}, file, metadata={"format": "pt"})
    with pytest.raises(
        InputError, match=r"weight .*output\.dense\.bias has shape \(7,\) in its file, \(32,\) in its conf"
    ):
        load_model(f"hf:{folder}")


def test_what_is_not_used_or_not_there_is_named_and_recorded(tmp_path: Path) -> None:
    module = built("BertForMaskedLM", config("BertConfig", **TEXT))
    folder = saved(module, tmp_path / "bert")
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    request = Request(f"hf:{folder}", str(tmp_path / "texts.txt"), pooling="cls")
    said: list[str] = []
    store = extract(request, tmp_path / "out", tell=said.append)
    plan = store.manifest()["plan"]
    unused = plan["unused_weights"]
    assert plan["missing_weights"] == ["pooler.dense.bias", "pooler.dense.weight"]
    assert "cls.predictions.transform.dense.weight" in unused
    assert f"{len(unused)} weights in its file are not used by BertModel (cls.predictions" in said[0]
    assert "2 weights are not in its file and are random; the last hidden state does not depend on them" in said[1]
    wanted = one_by_one(folder, lambda **batch: module.bert(**batch).last_hidden_state[:, 0])
    close(torch.from_numpy(read(str(store.folder)).read(0, 4)).float(), wanted.half().float())
    with pytest.raises(InputError, match=r"layer pooler.dense has no weights in its file; choose another layer"):
        prepared(Request(f"hf:{folder}", str(tmp_path / "texts.txt"), layers=("pooler.dense",)))
    every = prepared(Request(f"hf:{folder}", str(tmp_path / "texts.txt"), pooling="mean", layers=("*",)))
    assert not any(name.startswith("pooler") for name in every.plan["layers"])


def test_the_side_follows_from_the_data(tmp_path: Path) -> None:
    folder = saved(built("CLIPModel", FULL["CLIP"]()), tmp_path / "clip")
    transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(
        folder
    )
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    (tmp_path / "images").mkdir()
    for place in range(3):
        pixels = np.random.default_rng(place).integers(0, 256, (40, 36, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{place}.png")
    for data, rows in (("texts.txt", 4), ("images", 3)):
        store = extract(Request(f"hf:{folder}", str(tmp_path / data)), tmp_path / f"out-{data}", tell=lambda _: None)
        assert store.manifest()["shapes"] == {"features": [rows, 512]}
