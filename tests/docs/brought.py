"""The models that a reader of the documentation brings: made here, tiny and random, so that nothing is downloaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch


def brought_models() -> None:
    """``vision_model`` and ``text_model`` in the current folder, as ``save_pretrained`` writes them."""
    transformers = pytest.importorskip("transformers")
    st = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer import modules

    torch.manual_seed(0)
    vision = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=14
    )
    transformers.Dinov2Model(vision).save_pretrained("vision_model")
    processor = transformers.BitImageProcessorPil(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, resample=3
    )
    processor.save_pretrained("vision_model")

    texts = [json.loads(line)["text"] for line in Path("texts.jsonl").read_text().splitlines()]
    words = sorted({word for text in texts for word in text.lower().replace(".", " ").replace(",", " ").split()})
    Path("bert").mkdir()
    Path("bert/vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", *words]))
    transformers.BertTokenizer("bert/vocab.txt", model_max_length=16).save_pretrained("bert")
    language = transformers.BertConfig(
        vocab_size=len(words) + 7, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
    )
    transformers.BertModel(language).save_pretrained("bert")
    parts = [modules.Transformer("bert"), modules.Pooling(32, "mean")]
    st.SentenceTransformer(modules=parts, device="cpu").save("text_model")
