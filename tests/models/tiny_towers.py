"""Tiny CLIP and SigLIP as Hugging Face saves them, with a tokenizer of a few words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


def save_tiny_towers(folder: Path) -> Path:
    """Folders ``clip`` and ``siglip`` in the folder."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: i for i, word in enumerate(["<pad>", "<end>", "a", "cat", "dog"])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<end>")
    text = {
        "vocab_size": 5,
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    text |= {
        "max_position_embeddings": 6,
        "eos_token_id": 1,
        "bos_token_id": 0,
        "pad_token_id": 0,
        "projection_size": 8,
    }
    vision = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision |= {"image_size": 16, "patch_size": 8}
    processor = {"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "resample": 3}
    processor |= {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 16, "width": 16}}
    torch.manual_seed(0)
    for name, config, model, further in (
        ("clip", transformers.CLIPConfig, transformers.CLIPModel, {"projection_dim": 8}),
        ("siglip", transformers.SiglipConfig, transformers.SiglipModel, {}),
    ):
        model(config(text_config=text, vision_config=vision, **further)).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
        transformers.SiglipImageProcessor(**processor).save_pretrained(folder / name)
    return folder
