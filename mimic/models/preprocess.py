"""From a decoded image to the model's input: mode, resize, crop, scale, normalise. Recorded in every run's run.json.

Pillow and torch only. Where torchvision has the same rule (Resize, CenterCrop, ToTensor, Normalize on a PIL image), the
numbers are identical to its, because a score computed on other pixels is the score of another sample.
"""

from __future__ import annotations

import math
from typing import Literal, Self

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator
from torch import Tensor

from mimic.images import UnreadableImage

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class Preprocess(BaseModel):
    """What a model expects of its pixels. Frozen: a run's id depends on it.

    Attributes:
        mode: ``"L"`` gives one channel, ``"RGB"`` three. Images of another mode are converted first; transparency is
            dropped, as torchvision's loader does.
        size: (height, width) of the model's input in pixels.
        resize: ``"crop"`` resizes the shorter side to `shorter`, keeping the shape, and cuts out the centre;
            ``"squash"`` resizes to `size` whatever the shape; ``"none"`` takes images of exactly `size`.
        shorter: length of the shorter side before the cut, for ``"crop"`` only; by default the longer side of `size`.
        interpolation: ``"nearest"``, ``"bilinear"``, ``"bicubic"`` or ``"lanczos"``; Pillow's filters, antialiased.
        mean: subtracted from each channel after scaling to 0 … 1; one number a channel.
        std: divides each channel after that; one positive number a channel.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["L", "RGB"] = "RGB"
    size: tuple[PositiveInt, PositiveInt]
    resize: Literal["crop", "squash", "none"] = "crop"
    shorter: PositiveInt | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        channels = 1 if self.mode == "L" else 3
        if len(self.mean) != channels or len(self.std) != channels:
            raise ValueError(f"mode {self.mode} needs {channels} numbers in mean and in std")
        if not all(value > 0 for value in self.std):
            raise ValueError("std must be positive")
        if self.shorter is not None and self.resize != "crop":
            raise ValueError('shorter goes with resize "crop" only')
        if self.shorter is not None and self.shorter < max(self.size):
            raise ValueError(f"shorter must be at least {max(self.size)}, or the cut would leave the image")
        return self

    def __call__(self, image: Image.Image) -> Tensor:
        """The model's input for one image.

        Args:
            image: any loaded Pillow image.

        Returns:
            (C, H, W) float32, contiguous.

        Raises:
            UnreadableImage: `resize` is ``"none"`` and the image has another size; or ``"crop"``, and with the shorter
                side as long as asked it would have more pixels than Pillow's limit.
        """
        pixels = np.asarray(self._fit(image.convert(self.mode)))  # (H, W) or (H, W, C) uint8
        planes = pixels.reshape(*self.size, -1).transpose(2, 0, 1).astype(np.float32, order="C")
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        return torch.from_numpy(planes).div_(255).sub_(mean[:, None, None]).div_(std[:, None, None])

    def _fit(self, image: Image.Image) -> Image.Image:
        height, width = self.size
        if self.resize == "none":
            if image.size != (width, height):
                raise UnreadableImage(f"is {image.width}×{image.height} pixels, the model takes {width}×{height}")
            return image
        if self.resize == "squash":
            return image.resize((width, height), FILTERS[self.interpolation])
        shorter, least = self.shorter or max(self.size), min(image.size)
        # Cut down, not rounded: torchvision's rule for the longer side (and exact for the shorter one).
        resized = (int(shorter * image.width / least), int(shorter * image.height / least))
        if resized[0] * resized[1] > (Image.MAX_IMAGE_PIXELS or math.inf):
            raise UnreadableImage(f"sides are too unequal to be cut ({image.width}×{image.height} pixels)")
        image = image.resize(resized, FILTERS[self.interpolation])
        left, top = round((image.width - width) / 2), round((image.height - height) / 2)
        return image.crop((left, top, left + width, top + height))
