"""Small networks of our own: fast on a laptop's CPU, for the demo, the tests and the benchmarks.

Named on the command line as `small:NAME`. All take images (B, channels, size, size), float32, and return logits (B, K)
from a final `nn.Linear` called `head`.

`convnet` and `resnet20` keep running statistics (BatchNorm). A path that swaps in the reference's weights but not its
statistics passes through networks nobody trained, so whoever wants a meaningful score over every parameter takes
`convnet-group`: the same network normalised within each sample, without statistics.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimic.models.preprocess import Preprocess


class MLP(nn.Module):
    """Two hidden layers of 128 units on the flattened pixels."""

    def __init__(self, num_classes: int, channels: int = 1, size: int = 28) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(channels * size * size, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()
        )
        self.head = nn.Linear(128, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images))
        return logits


class ConvNet(nn.Module):
    """Four 3×3 convolutions of 16, 32, 48 and 64 channels, then the global mean: about 47,000 parameters.

    Args:
        num_classes: K, the number of outputs.
        channels: of the image, 1 or 3.
        size: unused by the network, which pools over whatever size is left; taken so that all factories look alike.
        norm: ``"batch"`` keeps running statistics; ``"group"`` (eight groups) keeps none.
    """

    def __init__(
        self, num_classes: int, channels: int = 1, size: int = 28, norm: Literal["batch", "group"] = "batch"
    ) -> None:
        super().__init__()
        widths = (channels, 16, 32, 48, 64)
        layers: list[nn.Module] = []
        for depth in range(4):
            width = widths[depth + 1]
            layers += [
                nn.Conv2d(widths[depth], width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width) if norm == "batch" else nn.GroupNorm(8, width),
                nn.ReLU(),
            ]
            if depth < 2:
                layers.append(nn.MaxPool2d(2))
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images).mean(dim=(2, 3)))
        return logits


def convnet_group(num_classes: int, channels: int = 1, size: int = 28) -> ConvNet:
    """`ConvNet` with GroupNorm: no running statistics, so a score over every parameter means what it says."""
    return ConvNet(num_classes, channels, size, norm="group")


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions and the identity; where the width grows, the shortcut is strided and padded with zeros."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stride = 1 if inputs == outputs else 2
        self.padding = outputs - inputs
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=self.stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.padding))
        x = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(x)) + shortcut)


class ResNet20(nn.Module):
    """The 20-layer residual network for 32×32 images of He et al. 2016 (section 4.2), shortcut option A."""

    def __init__(self, num_classes: int, channels: int = 3, size: int = 32) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        widths = (16, 16, 16, 16, 32, 32, 32, 64, 64, 64)
        self.body = nn.Sequential(*(ResidualBlock(a, b) for a, b in pairwise(widths)))
        self.head = nn.Linear(64, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(self.stem(images)).mean(dim=(2, 3)))
        return logits


class AttentionBlock(nn.Module):
    """A pre-norm transformer block: self-attention, then a GELU network twice as wide."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, tokens, width / heads)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, width)
        x = x + self.project(attended)
        hidden: Tensor = self.narrow(F.gelu(self.widen(self.norm2(x))))
        return x + hidden


class Attention(nn.Module):
    """A tiny vision transformer: 4×4 patches, width 64, two blocks of four heads, the mean over tokens.

    Args:
        num_classes: K, the number of outputs.
        channels: of the image, 1 or 3.
        size: side of the image in pixels, a multiple of 4; the positions' table depends on it.
    """

    def __init__(self, num_classes: int, channels: int = 1, size: int = 28) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, 64, 4, stride=4)
        self.positions = nn.Parameter(0.02 * torch.randn(1, (size // 4) ** 2, 64))
        self.blocks = nn.Sequential(AttentionBlock(64, heads=4), AttentionBlock(64, heads=4))
        self.norm = nn.LayerNorm(64)
        self.head = nn.Linear(64, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.positions  # (B, tokens, 64)
        logits: Tensor = self.head(self.norm(self.blocks(tokens)).mean(dim=1))
        return logits


# name → factory(num_classes, channels=…, size=…)
SMALL: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "convnet": ConvNet,
    "convnet-group": convnet_group,
    "resnet20": ResNet20,
    "attention": Attention,
}


def small_preprocess(name: str) -> Preprocess:
    """How images become the input of `SMALL[name]` with its default channels and size: squashed, scaled to −1 … 1."""
    mode: Literal["L", "RGB"] = "RGB" if name == "resnet20" else "L"
    side = 32 if name == "resnet20" else 28
    half = (0.5,) * (3 if mode == "RGB" else 1)
    return Preprocess(mode=mode, size=(side, side), resize="squash", interpolation="bilinear", mean=half, std=half)
