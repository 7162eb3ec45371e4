"""The small networks are what they are called: right shapes, the right layers, nothing shared between samples."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mimic.models.head import find_head
from mimic.models.small import SMALL, AttentionBlock, ConvNet, ResidualBlock, ResNet20, small_preprocess

NAMES = sorted(SMALL)


def example(name: str, count: int = 4) -> torch.Tensor:
    preprocess = small_preprocess(name)
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, len(preprocess.mean), *preprocess.size, generator=generator)


@pytest.mark.parametrize("name", NAMES)
def test_the_defaults_fit_the_preprocessing_and_the_head_is_linear(name: str) -> None:
    module = SMALL[name](7).eval()
    assert module(example(name)).shape == (4, 7)
    assert find_head(module, example(name)) == ("head", module.get_submodule("head"))


@pytest.mark.parametrize("name", NAMES)
def test_other_channels_and_sizes(name: str) -> None:
    assert SMALL[name](3, channels=2, size=16)(torch.randn(2, 2, 16, 16)).shape == (2, 3)


@pytest.mark.parametrize("name", NAMES)
def test_in_eval_mode_no_sample_sees_another(name: str) -> None:
    torch.manual_seed(0)
    module, images = SMALL[name](5).double().eval(), example(name).double()
    alone = torch.cat([module(image[None]) for image in images])
    torch.testing.assert_close(module(images), alone)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_matters(name: str) -> None:
    module = SMALL[name](5)
    F.cross_entropy(module(example(name)), torch.tensor([0, 1, 2, 3])).backward()
    unused = [key for key, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert unused == []


def test_running_statistics_are_where_the_names_say() -> None:
    running = {name: any(True for _ in SMALL[name](3).buffers()) for name in NAMES}
    assert running == {"attention": False, "convnet": True, "convnet-group": False, "mlp": False, "resnet20": True}


def test_the_two_convnets_differ_in_their_norms_alone() -> None:
    batch, group = ConvNet(10), ConvNet(10, norm="group")
    assert {k: v.shape for k, v in batch.named_parameters()} == {k: v.shape for k, v in group.named_parameters()}


def test_resnet20_has_twenty_layers_and_the_published_size() -> None:
    module = ResNet20(10)
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(layers) == 20
    assert round(sum(p.numel() for p in module.parameters()), -4) == 270_000  # He et al. 2016, table 6: 0.27 M


def test_a_widening_block_without_convolutions_is_its_shortcut() -> None:
    block = ResidualBlock(2, 4).eval()
    for conv in (block.conv1, block.conv2):
        nn.init.zeros_(conv.weight)
    images = torch.rand(1, 2, 6, 6)
    expected = torch.cat([images[:, :, ::2, ::2], torch.zeros(1, 2, 3, 3)], dim=1)
    torch.testing.assert_close(block(images), expected)


def test_attention_is_multi_head_attention() -> None:
    torch.manual_seed(0)
    ours, theirs = AttentionBlock(8, heads=2).double(), nn.MultiheadAttention(8, 2, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        theirs.in_proj_bias.copy_(ours.qkv.bias)
    theirs.out_proj.load_state_dict(ours.project.state_dict())
    nn.init.zeros_(ours.narrow.weight)
    nn.init.zeros_(ours.narrow.bias)  # leaves the attention and the identity
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    normed = ours.norm1(x)
    torch.testing.assert_close(ours(x) - x, theirs(normed, normed, normed)[0])
