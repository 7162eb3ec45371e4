"""Two towers: what they return, which parameters their scopes have, and Hugging Face's as the library calls them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from mimic.errors import MimicError
from mimic.models.build import build_model
from mimic.models.calling import pairs_of, run
from mimic.models.checkpoint import load_checkpoint, match_state
from mimic.models.scope import scope_parameters
from tests.models.tiny_towers import save_tiny_towers


def test_the_small_one() -> None:
    built = build_model("small:two-tower/6x5x4", 0)
    images, texts = torch.randn(3, 6), torch.randn(3, 5)
    found, words, scale = pairs_of(built.module(images, texts), 3)
    torch.testing.assert_close(found, F.normalize(images @ built.module.visual.proj.weight.T, dim=1))
    torch.testing.assert_close(words.norm(dim=1), torch.ones(3))
    assert scale.item() == pytest.approx(1 / 0.07, rel=1e-5)
    assert scope_parameters(built.module, "image-last") == ["visual.proj.weight"]
    assert scope_parameters(built.module, "text-last") == ["text.proj.weight"]
    assert scope_parameters(built.module, "projections") == ["visual.proj.weight", "text.proj.weight"]
    with pytest.raises(MimicError, match="no pretrained weights of its own"):
        build_model("small:two-tower", 0, pretrained=True)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_towers(tmp_path_factory.mktemp("hf"))


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_hugging_face(folders: Path, name: str) -> None:
    transformers = pytest.importorskip("transformers")
    spec = f"hf:{folders / name}"
    built = build_model(spec, 0, pretrained=True)
    theirs = transformers.AutoModel.from_pretrained(folders / name).eval()
    assert built.tokenize is not None
    words, images = built.tokenize(["a cat", "a dog a dog a dog a dog"]), torch.randn(2, 3, 16, 16)
    assert words.shape == (2, 6)
    with torch.no_grad():
        expected = theirs(input_ids=words, pixel_values=images)
        found = pairs_of(built.module(images, words), 2)
    torch.testing.assert_close(found[0], expected.image_embeds)
    torch.testing.assert_close(found[1], expected.text_embeds)
    logits = found[2] * found[0] @ found[1].T + (found[3] if len(found) > 3 else 0)
    torch.testing.assert_close(logits, expected.logits_per_image)
    assert set(dict(built.module.named_parameters())) == set(dict(theirs.named_parameters()))
    plain = build_model(spec, 0).module
    plain.load_state_dict(match_state(plain, load_checkpoint(folders / name / "model.safetensors").tensors))
    with torch.no_grad():
        torch.testing.assert_close(plain(images, words)[0], expected.image_embeds)
        moved = run(built.module, (images, words), {"logit_scale": built.module.logit_scale + 1})
    torch.testing.assert_close(moved[2], found[2] * torch.e)
    assert all(each.startswith("vision_model.") for each in scope_parameters(built.module, "image-last"))
    assert all(each.startswith("text_model.") for each in scope_parameters(built.module, "text-last"))


def test_hugging_face_refuses_one_tower(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    transformers.ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2).save_pretrained(tmp_path)
    with pytest.raises(MimicError, match="is a vit model, and images with captions need two towers"):
        build_model(f"hf:{tmp_path}", 0)
