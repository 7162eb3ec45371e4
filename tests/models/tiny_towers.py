"""Tiny CLIP and SigLIP as Hugging Face saves them, with a tokenizer of a few words; a tiny CLIP of open_clip's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mimic.models.build import build_model
from mimic.models.checkpoint import save_checkpoint


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


def open_clip_weights(folder: Path, name: str) -> Any:
    """open_clip, which now knows a tiny model by that name; start.safetensors and reference.safetensors of it."""
    open_clip = pytest.importorskip("open_clip")
    config = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "patch_size": 16, "head_width": 8},
        "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
    }
    (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    for seed, weights in enumerate(("start", "reference")):
        torch.manual_seed(seed)
        save_checkpoint(folder / f"{weights}.safetensors", build_model(f"open_clip:{name}", 0).module.state_dict())
    return open_clip
