"""Builds this folder from Fashion-MNIST: 3,500 photos, labels with known faults, a reference and a start.

    python -m sample_data.make [--source /usr/share/datasets/fashion-mnist] [--output sample_data]

Stages: draw three disjoint sets of photos → spoil a fifth of the judged labels → write PNGs and the manifest → train
the reference on other photos with clean labels → train the start's head on the spoilt labels → SHA256SUMS → run the
real pipeline on the result and print what it finds. Takes about two minutes on one core.

The same pixels and rows come out every time. The networks are trained in float64: the last digits of a float32 sum
depend on the processor and the number of threads, and training makes such a difference grow until the weights differ.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from mimic.errors import MimicError
from mimic.models.build import BuiltModel, build_model
from mimic.models.checkpoint import save_checkpoint
from mimic.runs import demo, manager
from mimic.runs.config import ScoreConfig
from mimic.runs.importing import import_dataset
from mimic.workspace.layout import Workspace

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
CLASSES = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
CONFUSABLE = {"Shirt": "T-shirt", "T-shirt": "Shirt", "Pullover": "Coat", "Coat": "Pullover"}
CONFUSABLE |= {"Sneaker": "Ankle boot", "Ankle boot": "Sneaker"}
JUDGED, TEST, REFERENCE = 3_000, 500, 16_000  # photos
FAULTS = {"uniform": 300, "confusable": 300}  # wrong labels among the judged
SEED = 2501_06708  # the paper's number


@dataclass(frozen=True)
class Draw:
    """Which photos are taken: sorted indices into Fashion-MNIST's training file, `test` into its test file."""

    judged: NDArray[np.int64]
    reference: NDArray[np.int64]
    test: NDArray[np.int64]


def draw(seed: int = SEED) -> Draw:
    """Three sets without a photo in common."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(60_000)[: JUDGED + REFERENCE]
    test = rng.permutation(10_000)[:TEST]
    return Draw(np.sort(order[:JUDGED]), np.sort(order[JUDGED:]), np.sort(test))


def spoil(truth: Sequence[str], seed: int = SEED) -> tuple[list[str], list[str]]:
    """Labels with known faults.

    Args:
        truth: (N,) true class names.

    Returns:
        (N,) given labels, and (N,) faults: ``"uniform"`` for any other class, all equally likely; ``"confusable"`` for
        the class it is easily taken for; ``"none"`` where the label is the true one.
    """
    rng = np.random.default_rng([seed, 1])
    order = rng.permutation(len(truth))
    uniform = order[: FAULTS["uniform"]]
    pairs = [i for i in order[FAULTS["uniform"] :] if truth[i] in CONFUSABLE][: FAULTS["confusable"]]
    labels, faults = list(truth), ["none"] * len(truth)
    for i in uniform:
        labels[i] = str(rng.choice([name for name in CLASSES if name != truth[i]]))
        faults[i] = "uniform"
    for i in pairs:
        labels[i] = CONFUSABLE[truth[i]]
        faults[i] = "confusable"
    return labels, faults


def read_idx(path: Path) -> NDArray[np.uint8]:
    """An array in the idx format of MNIST, gzipped.

    Raises:
        MimicError: the file is not there.
    """
    if not path.is_file():
        raise MimicError(f"{path} is missing: apt-get install dataset-fashion-mnist, or name its folder with --source")
    data = gzip.decompress(path.read_bytes())
    dimensions = data[3]
    shape = np.frombuffer(data, ">i4", dimensions, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


@dataclass(frozen=True)
class Photos:
    """Pixels (N, 28, 28) uint8 and true class codes (N,) uint8."""

    pixels: NDArray[np.uint8]
    codes: NDArray[np.uint8]

    @classmethod
    def read(cls, source: Path, part: str) -> Photos:
        """Fashion-MNIST's ``"train"`` or ``"t10k"`` part."""
        return cls(read_idx(source / f"{part}-images-idx3-ubyte.gz"), read_idx(source / f"{part}-labels-idx1-ubyte.gz"))

    def take(self, indices: NDArray[np.int64]) -> Photos:
        """Some of them."""
        return Photos(self.pixels[indices], self.codes[indices])

    @property
    def names(self) -> list[str]:
        return [CLASSES[code] for code in self.codes]


def write_photos(folder: Path, split: str, indices: NDArray[np.int64], photos: Photos) -> list[str]:
    """One PNG a photo, named by its index in Fashion-MNIST.

    Returns:
        Their paths, relative to `folder`.
    """
    (folder / split).mkdir(parents=True, exist_ok=True)
    for earlier in (folder / split).glob("*.png"):
        earlier.unlink()
    paths = [f"{split}/{index:05}.png" for index in indices]
    for path, pixels in zip(paths, photos.pixels, strict=True):
        Image.fromarray(pixels).save(folder / path, optimize=True)
    return paths


def write_samples(folder: Path, judged: Photos, test: Photos, drawn: Draw) -> list[str]:
    """The PNGs of both splits and manifest.csv.

    Returns:
        The given labels of the judged photos, in order of the manifest.
    """
    labels, faults = spoil(judged.names)
    rows = zip(write_photos(folder, "train", drawn.judged, judged), labels, judged.names, faults, strict=True)
    clean = zip(write_photos(folder, "test", drawn.test, test), test.names, strict=True)
    manifest = [(path, label, truth, "train", fault) for path, label, truth, fault in rows]
    manifest += [(path, name, name, "test", "none") for path, name in clean]
    columns = ["path", "label", "truth", "split", "fault"]
    pd.DataFrame(manifest, columns=columns).to_csv(folder / "manifest.csv", index=False, lineterminator="\n")
    return labels


def inputs(model: BuiltModel, photos: Photos) -> Tensor:
    """(N, C, H, W) float64, as the pipeline would feed the model."""
    assert model.preprocess is not None  # our small networks bring theirs
    return torch.stack([model.preprocess(Image.fromarray(pixels)) for pixels in photos.pixels]).double()


def batches(count: int, size: int, seed: int) -> Iterator[Tensor]:
    """One epoch's shuffled indices."""
    order = np.random.default_rng(seed).permutation(count)  # NumPy's stream is the same on every platform
    yield from torch.from_numpy(order).split(size)


def initialise(module: nn.Module, seed: int) -> None:
    """Every convolution and linear layer anew from the seed: weights uniform with variance 2 / fan-in, biases zero."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                bound = (6 / layer.weight[0].numel()) ** 0.5
                layer.weight.copy_(torch.from_numpy(rng.uniform(-bound, bound, layer.weight.shape)))
                if layer.bias is not None:
                    layer.bias.zero_()


def train_reference(
    photos: Photos, seed: int = SEED, epochs: int = 4, batch: int = 64, rate: float = 8e-3
) -> nn.Module:
    """The reference: the whole network, on clean labels of photos that are not judged."""
    model = build_model(demo.MODEL, len(CLASSES))
    module = model.module.double().train()
    initialise(module, seed)
    images, codes = inputs(model, photos), torch.from_numpy(photos.codes).long()
    steps = epochs * -(-len(codes) // batch)
    optimiser = torch.optim.AdamW(module.parameters(), rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    for epoch in range(epochs):
        for chosen in batches(len(codes), batch, seed + epoch):
            optimiser.zero_grad()
            F.cross_entropy(module(images[chosen]), codes[chosen]).backward()
            optimiser.step()
            schedule.step()
        print(f"reference: epoch {epoch + 1} of {epochs}", flush=True)
    return module.eval()


def train_start(
    reference: nn.Module, photos: Photos, labels: Sequence[str], seed: int = SEED, batch: int = 64, rate: float = 5e-4
) -> nn.Module:
    """The model being scored: the reference's backbone, and a small random head after one epoch on the given labels.

    Its backbone stays the reference's own, so both share one coordinate system, and the direction lies in the head.
    """
    model = build_model(demo.MODEL, len(CLASSES))
    module = model.module.double().eval()
    module.load_state_dict(reference.state_dict())
    head = module.get_submodule("head")
    assert isinstance(head, nn.Linear)
    rng = np.random.default_rng([seed, 2])
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(rng.normal(0, 0.02, head.weight.shape)))
        head.bias.zero_()
    images, codes = inputs(model, photos), torch.tensor([CLASSES.index(label) for label in labels])
    optimiser = torch.optim.AdamW(head.parameters(), rate)
    for chosen in batches(len(codes), batch, seed):
        optimiser.zero_grad()
        F.cross_entropy(module(images[chosen]), codes[chosen]).backward()
        optimiser.step()
    return module


def write_checkpoint(path: Path, module: nn.Module) -> str:
    """The weights in float32, with what is needed to use them; returns the file's SHA-256."""
    tensors = {name: tensor.float() for name, tensor in module.state_dict().items()}
    save_checkpoint(path, tensors, {"classes": json.dumps(CLASSES), "model": demo.MODEL})
    return hashlib.sha256(path.read_bytes()).hexdigest()


def accuracy(module: nn.Module, photos: Photos) -> float:
    """Share of photos whose true class is the model's first guess."""
    images = inputs(build_model(demo.MODEL, len(CLASSES)), photos)
    with torch.inference_mode():
        guesses = torch.cat([module(chunk).argmax(1) for chunk in images.split(500)])
    return float(np.mean(guesses.numpy() == photos.codes))


def report(folder: Path) -> None:
    """What the pipeline makes of the folder: each signal's detection of the faults, and the reference check."""
    settings = {name: str(folder / f"{name}.safetensors") for name in ("reference", "start")}
    with tempfile.TemporaryDirectory() as temporary:
        workspace = Workspace(Path(temporary))
        dataset, _ = import_dataset(workspace, folder / "manifest.csv", demo.DATASET)
        run = manager.score(workspace, ScoreConfig.checked(dataset=demo.DATASET, model=demo.MODEL, **settings))
        print(demo.detection(run, dataset).round(4).to_string(index=False))
        for name, value in run.facts["check"].items():
            print(f"{name:>20}  {value}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=DEBIAN, help="folder of Fashion-MNIST's four .gz files")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent)
    asked = parser.parse_args()
    try:
        build(asked.source, asked.output)
    except MimicError as error:
        parser.exit(2, f"{error}\n")


def build(source: Path, folder: Path) -> None:
    """The whole folder, README and this script excepted."""
    drawn = draw()
    photos, holdout = Photos.read(source, "train"), Photos.read(source, "t10k")
    judged, test = photos.take(drawn.judged), holdout.take(drawn.test)
    labels = write_samples(folder, judged, test, drawn)
    reference = train_reference(photos.take(drawn.reference))
    start = train_start(reference, judged, labels)
    sums = []
    for name, module in {"reference": reference, "start": start}.items():
        sums.append(f"{write_checkpoint(folder / f'{name}.safetensors', module)}  {name}.safetensors\n")
        print(f"{name}: {accuracy(module, holdout):.2%} of Fashion-MNIST's 10,000 test photos")
    (folder / "SHA256SUMS").write_text("".join(sums))
    report(folder)


if __name__ == "__main__":
    main()
