"""Two-tower models of images and captions: a small one of our own, and Hugging Face's CLIP and SigLIP.

All return (image features (B, D), text features (B, D), both of unit length, scale[, bias]), which is what a loss of
pairs reads. open_clip's models do so by themselves.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimic.errors import MimicError

SMALL_TWO_TOWER = "two-tower"
# Of sample_data/captions: principal components of the features of EfficientNet-Lite0 and MiniLM, and the width.
_SIZES = (128, 128, 128)


class TwoTower(nn.Module):
    """Frozen features of images and captions, each projected by one matrix into a common space.

    Named on the command line as ``small:two-tower`` or ``small:two-tower/IMAGExTEXTxWIDTH``; its inputs come from a
    file, see `mimic.models.features`. Trained in seconds.

    Args:
        image: numbers of an image's features.
        text: numbers of a caption's features.
        width: of the common space.
    """

    def __init__(self, image: int, text: int, width: int) -> None:
        super().__init__()
        self.visual = nn.Sequential(OrderedDict(proj=nn.Linear(image, width, bias=False)))
        self.text = nn.Sequential(OrderedDict(proj=nn.Linear(text, width, bias=False)))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # CLIP's own start

    def forward(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return F.normalize(self.visual(images), dim=1), F.normalize(self.text(texts), dim=1), self.logit_scale.exp()


def build_two_tower(name: str) -> TwoTower:
    """``two-tower`` or ``two-tower/IMAGExTEXTxWIDTH``.

    Raises:
        MimicError: the sizes are no three positive numbers.
    """
    _, _, sizes = name.partition("/")
    found = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", sizes) if sizes else None
    if sizes and not found:
        raise MimicError(f"small:{name}: sizes are written small:two-tower/IMAGExTEXTxWIDTH, e.g. /1280x384x256")
    return TwoTower(*(map(int, found.groups()) if found else _SIZES))


class HuggingFaceTowers(nn.Module):
    """A CLIP or SigLIP model of transformers under its own parameters' names, called as (images, token ids).

    No attention mask is needed: CLIP's text tower is causal and reads the end-of-text token, SigLIP's is trained on
    padded texts without one.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        for name, child in model.named_children():
            self.add_module(name, child)
        self.logit_scale: nn.Parameter
        for name, parameter in model.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        self._whole = (model,)  # in a tuple: registered, its parameters would count twice

    def forward(self, images: Tensor, texts: Tensor) -> tuple[Tensor, ...]:
        found = self._whole[0](input_ids=texts, pixel_values=images)
        bias = getattr(self, "logit_bias", None)
        towers = (found.image_embeds, found.text_embeds, self.logit_scale.exp().reshape(()))
        return towers if bias is None else (*towers, bias.reshape(()))


def hugging_face_tokenizer(tokenizer: Any, length: int) -> Callable[[list[str]], Tensor]:
    """Captions → (B, length) int64 token ids, padded and cut."""

    def tokenize(captions: list[str]) -> Tensor:
        found: Tensor = tokenizer(
            captions, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        )["input_ids"]
        return found

    return tokenize
