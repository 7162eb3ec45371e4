"""Specs of other libraries: built without weights, with the library's own pixels, refused with a sentence."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from mimic.errors import MimicError
from mimic.models.build import build_model

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (61, 83, 3), np.uint8)).resize((332, 244))


def outputs(built, classes):
    with torch.no_grad():
        output = built.module(built.preprocess(PHOTO)[None])
    assert getattr(output, "logits", output).shape == (1, classes)
    assert not built.module.training


def test_timm():
    timm = pytest.importorskip("timm")
    built = build_model("timm:test_vit.r160_in1k", 5)
    outputs(built, 5)
    rule = timm.data.resolve_model_data_config(built.module)
    theirs = timm.data.create_transform(**rule, is_training=False)
    torch.testing.assert_close(built.preprocess(PHOTO), theirs(PHOTO))


def test_torchvision():
    models = pytest.importorskip("torchvision.models")
    built = build_model("torchvision:resnet18", 5)
    outputs(built, 5)
    theirs = models.ResNet18_Weights.DEFAULT.transforms()
    torch.testing.assert_close(built.preprocess(PHOTO), theirs(PHOTO))


@pytest.fixture
def tiny_clip(tmp_path):
    open_clip = pytest.importorskip("open_clip")
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "patch_size": 8, "head_width": 16},
        "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
    }
    (tmp_path / "tiny-clip.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path)
    return open_clip


def test_open_clip(tiny_clip):
    built = build_model("open_clip:tiny-clip", 1)
    texts = built.tokenize(["a cat", "a dog"])
    with torch.no_grad():
        images, captions, scale = built.module(torch.zeros(2, 3, 32, 32), texts)
    assert images.shape == captions.shape == (2, 16)
    assert scale.ndim == 0
    theirs = tiny_clip.transform.image_transform_v2(tiny_clip.transform.PreprocessCfg(size=32), is_train=False)
    torch.testing.assert_close(built.preprocess(PHOTO), theirs(PHOTO))


@pytest.fixture
def hf_folder(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=8,
        num_labels=5,
    )  # fmt: skip
    model = transformers.ViTForImageClassification(config)
    model.save_pretrained(tmp_path)
    return tmp_path, model


def test_hf(hf_folder):
    transformers = pytest.importorskip("transformers")
    folder, model = hf_folder
    built = build_model(f"hf:{folder}", 3)
    assert built.preprocess is None  # the folder says nothing of pixels
    rule = transformers.ViTImageProcessor(size={"height": 32, "width": 32}, resample=3)
    rule.save_pretrained(folder)
    built = build_model(f"hf:{folder}", 3)
    outputs(built, 3)
    theirs = rule(PHOTO, return_tensors="pt")["pixel_values"][0]
    assert (built.preprocess(PHOTO) - theirs).abs().max() < 0.02  # theirs resizes a tensor, ours a picture: one level
    pretrained = build_model(f"hf:{folder}", 3, pretrained=True)
    outputs(pretrained, 5)
    assert torch.equal(pretrained.module.classifier.weight, model.classifier.weight)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("timm:resnet1899", "timm has no model 'resnet1899'$"),
        ("timm:vit_tiny", r"timm has no model 'vit_tiny': did you mean .*vit_tiny_patch16_224"),
        ("torchvision:resnet", r"torchvision has no model 'resnet': did you mean .*resnet101"),
        ("torchvision:resnet18/V9", r"did you mean resnet18/IMAGENET1K_V1"),
        ("open_clip:vit-b-32", r"open_clip has no model 'vit-b-32': did you mean .*ViT-B-32"),
        ("hf:./no/such/folder", r"hf:\./no/such/folder could not be built"),
    ],
)
def test_refusals(spec, message, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pytest.importorskip({"hf": "transformers"}.get(spec.partition(":")[0], spec.partition(":")[0]))
    with pytest.raises(MimicError, match=message):
        build_model(spec, 5)


def test_weights_that_nobody_named():
    pytest.importorskip("open_clip")
    with pytest.raises(MimicError, match="does not say which weights: one of ViT-B-32/openai"):
        build_model("open_clip:ViT-B-32", 1, pretrained=True)
    with pytest.raises(MimicError, match="no pretrained weights of its own"):
        build_model("small:mlp", 5, pretrained=True)


@pytest.mark.parametrize(
    ("spec", "library", "extra"),
    [
        ("timm:resnet18", "timm", "models"),
        ("torchvision:resnet18", "torchvision.models", "models"),
        ("open_clip:ViT-B-32", "open_clip", "models"),
        ("hf:somebody/model", "transformers", "hf"),
    ],
)
def test_a_missing_extra_names_the_command(spec, library, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)  # as if it were not installed
    with pytest.raises(MimicError, match=rf'{spec} needs .*: pip install "mimic-score\[{extra}\]"'):
        build_model(spec, 5)
