"""References of another classifier, and adapters against the forward pass they stand for."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from mimic import Direction
from mimic.errors import MimicError
from mimic.models.adapt import reference_state
from mimic.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mimic.models.small import SMALL

CLASSES = ["cat", "dog", "owl", "fox"]


def models():
    torch.manual_seed(0)
    return SMALL["convnet"](2), SMALL["convnet"](4)


def test_the_same_names_pass_through_without_their_prefix():
    start, _ = models()
    state = {f"module.{name}": each + 1 for name, each in start.state_dict().items()}
    got = reference_state(start, Checkpoint(state))
    assert torch.equal(got["head.bias"], start.head.bias + 1)


def test_another_classifier_needs_a_rule():
    start, reference = models()
    with pytest.raises(
        MimicError,
        match=r"ref: head has 4 outputs there and 2 in the model; --head map .* --head reset|another classifier",
    ):
        reference_state(start, Checkpoint(reference.state_dict(), name="ref"))


def test_map_takes_the_classes_by_name():
    start, reference = models()
    checkpoint = Checkpoint(reference.state_dict(), {"classes": json.dumps(CLASSES)})
    got = reference_state(start, checkpoint, "map", ["fox", "dog"])
    assert torch.equal(got["head.weight"], reference.head.weight[[3, 1]])
    assert torch.equal(got["head.bias"], reference.head.bias[[3, 1]])
    with pytest.raises(MimicError, match="knows no class 'cow'"):
        reference_state(start, checkpoint, "map", ["cow", "dog"])
    with pytest.raises(MimicError, match="does not name its 4 classes"):
        reference_state(start, Checkpoint(reference.state_dict()), "map", ["fox", "dog"])
    with pytest.raises(MimicError, match="names of the model's 2 outputs"):
        reference_state(start, checkpoint, "map")


def test_reset_leaves_the_classifier_out_of_the_direction():
    start, reference = models()
    got = reference_state(start, Checkpoint(reference.state_dict()), "reset")
    assert torch.equal(got["head.weight"], start.head.weight)
    direction = Direction.between(start, got, "full")
    assert not direction.tensors["head.weight"].any()
    with pytest.raises(MimicError, match="equals the start over scope last"):
        Direction.between(start, got, "last")


def test_another_architecture_is_still_refused():
    start, _ = models()
    with pytest.raises(MimicError, match="another architecture than ConvNet"):
        reference_state(start, Checkpoint(SMALL["mlp"](2).state_dict()), "reset")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 3)
        self.body = nn.Linear(6, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, images):
        return self.head(self.body(self.conv(images).mean((2, 3))).tanh())


def adapter(folder, **config):
    """A PEFT adapter of rank 2 on the convolution and the body, with the head saved whole."""
    torch.manual_seed(1)
    parts = {
        "conv.lora_A.weight": torch.randn(2, 2, 3, 3), "conv.lora_B.weight": torch.randn(6, 2, 1, 1),
        "body.lora_A.weight": torch.randn(2, 6), "body.lora_B.weight": torch.randn(5, 2),
        "head.weight": torch.randn(3, 5), "head.bias": torch.randn(3),
    }  # fmt: skip
    tensors = {f"base_model.model.{name}": each for name, each in parts.items()}
    save_checkpoint(folder / "adapter_model.safetensors", tensors)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 6, **config}))
    return parts


@pytest.mark.parametrize(
    ("config", "conv_scale", "body_scale"),
    [({}, 3, 3), ({"use_rslora": True}, 6 / 2**0.5, 6 / 2**0.5), ({"alpha_pattern": {"body": 10}}, 3, 5)],
)
def test_an_adapter_is_the_start_with_its_side_branches(tmp_path, config, conv_scale, body_scale):
    parts = adapter(tmp_path, **config)
    torch.manual_seed(0)
    start = Net()
    images = torch.randn(4, 2, 7, 7)
    merged = Net()
    merged.load_state_dict(reference_state(start, load_checkpoint(tmp_path)))
    with torch.no_grad():
        branch = nn.functional.conv2d(
            nn.functional.conv2d(images, parts["conv.lora_A.weight"]), parts["conv.lora_B.weight"]
        )
        features = (start.conv(images) + conv_scale * branch).mean((2, 3))
        side = features @ parts["body.lora_A.weight"].T @ parts["body.lora_B.weight"].T
        hidden = (start.body(features) + body_scale * side).tanh()
        expected = hidden @ parts["head.weight"].T + parts["head.bias"]
        torch.testing.assert_close(merged(images), expected, rtol=1e-4, atol=1e-5)


def test_adapters_that_are_refused(tmp_path):
    start = Net()
    adapter(tmp_path, use_dora=True)
    with pytest.raises(MimicError, match="DoRA"):
        reference_state(start, load_checkpoint(tmp_path))
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(MimicError, match=r"adapter_config\.json is broken"):
        load_checkpoint(tmp_path)
    (tmp_path / "adapter_config.json").unlink()
    checkpoint = load_checkpoint(tmp_path)
    with pytest.raises(MimicError, match=r"adapter_config\.json, with lora_alpha, must lie beside it"):
        reference_state(start, checkpoint)
    config = {"adapter_config": json.dumps({"lora_alpha": 2})}
    with pytest.raises(MimicError, match="lora_embedding_A, which is no low-rank product"):
        reference_state(
            start, Checkpoint(checkpoint.tensors | {"base_model.model.x.lora_embedding_A": torch.ones(2)}, config)
        )
    only_lora = {name: each for name, each in checkpoint.tensors.items() if "lora" in name}
    with pytest.raises(MimicError, match="adapts body, which Linear does not have whole"):
        reference_state(nn.Linear(5, 3), Checkpoint(only_lora, config))
