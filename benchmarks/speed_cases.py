"""The models and batches that speed is measured on, each with a reference as far from it as fine-tuning goes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mimic.losses import Loss, get_loss
from mimic.models.calling import Inputs
from mimic.models.small import SMALL


@dataclass(frozen=True)
class Case:
    """A model, a reference near it, and a batch; `blocks` where a scope of the last two blocks makes sense."""

    name: str
    start: nn.Module
    reference: dict[str, Tensor]
    inputs: Inputs
    labels: Tensor | None
    loss: str = "cross_entropy"
    blocks: bool = False

    @property
    def function(self) -> Loss:
        """The per-sample loss."""
        return get_loss(self.loss)

    def first(self, samples: int) -> Case:
        """The same with so many of its samples at most."""
        several = isinstance(self.inputs, tuple)
        inputs = tuple(each[:samples] for each in self.inputs) if several else self.inputs[:samples]
        return replace(self, inputs=inputs, labels=None if self.labels is None else self.labels[:samples])

    def to(self, dtype: torch.dtype) -> Case:
        """The same in another precision."""
        several = isinstance(self.inputs, tuple)
        inputs = tuple(_cast(each, dtype) for each in self.inputs) if several else _cast(self.inputs, dtype)
        return replace(self, start=copy.deepcopy(self.start).to(dtype), inputs=inputs)


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def resnet20() -> Case:
    """ResNet-20 on 256 images of 32×32, its running statistics those of noise."""
    start = SMALL["resnet20"](10).train()
    with torch.no_grad():
        start(torch.randn(256, 3, 32, 32))
    return _case("resnet20", start, torch.randn(256, 3, 32, 32), torch.randint(10, (256,)))


def vit_tiny() -> Case:
    """timm's ViT-Tiny, untrained, on 16 images of 224×224."""
    import timm

    start = timm.create_model("vit_tiny_patch16_224", pretrained=False)
    return replace(_case("vit-tiny", start, torch.randn(16, 3, 224, 224), torch.randint(1000, (16,))), blocks=True)


def two_tower() -> Case:
    """A small CLIP of open_clip's: 4 blocks of width 192 on 64×64 images, 4 of width 128 on 32 words; 128 pairs."""
    import open_clip

    vision = {"image_size": 64, "patch_size": 8, "width": 192, "layers": 4, "head_width": 64}
    text = {"context_length": 32, "vocab_size": 1000, "width": 128, "heads": 4, "layers": 4}
    start = open_clip.CLIP(128, vision, text)
    inputs = (torch.randn(128, 3, 64, 64), torch.randint(1, 1000, (128, 32)))
    return _case("two-tower", start, inputs, None, "clip")


CASES: dict[str, Callable[[], Case]] = {"resnet20": resnet20, "vit-tiny": vit_tiny, "two-tower": two_tower}


def _case(name: str, start: nn.Module, inputs: Inputs, labels: Tensor | None, loss: str = "cross_entropy") -> Case:
    """A reference as far from the start as fine-tuning goes: a tenth of each weight's own spread."""
    start = start.eval()
    reference = {key: each.clone() for key, each in start.state_dict().items()}
    for key, parameter in start.named_parameters():
        reference[key] += 0.1 * parameter.detach().std(correction=0) * torch.randn_like(parameter)
    return Case(name, start, reference, inputs, labels, loss)
