"""Real small data for runs: scikit-learn's digits as 28×28 images, one label in five wrong, a reference and a start."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn

from mimic.models.build import build_model
from mimic.models.checkpoint import save_checkpoint
from mimic.runs.config import ScoreConfig
from mimic.runs.importing import import_dataset
from mimic.workspace.layout import Workspace

JUDGED = 600
MODEL = "small:mlp"
FILES = {"events.jsonl", "lock", "parts", "run.json", "scores.duckdb"}  # of a finished run


@dataclass(frozen=True)
class Digits:
    """The judged images and where they lie: `folder` holds manifest.csv, images/, reference and start .safetensors."""

    folder: Path
    pixels: Tensor  # (600, 1, 28, 28), as the model takes them
    given: Tensor  # (600,) labels, one in five wrong
    truth: Tensor  # (600,)

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.csv"

    @property
    def reference(self) -> str:
        return str(self.folder / "reference.safetensors")

    @property
    def start(self) -> str:
        return str(self.folder / "start.safetensors")

    def config(self, **settings: object) -> ScoreConfig:
        given = {"dataset": "digits", "model": MODEL, "reference": self.reference, "start": self.start}
        return ScoreConfig.checked(**(given | settings))


def train(
    module: nn.Module, pixels: Tensor, labels: Tensor, epochs: int, seed: int = 0, rate: float = 1e-3
) -> nn.Module:
    """A few epochs of Adam; deterministic."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(module.parameters(), rate)
    module.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(pixels), generator=generator).split(64):
            optimiser.zero_grad()
            F.cross_entropy(module(pixels[rows]), labels[rows]).backward()
            optimiser.step()
    return module.eval()


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("digits")
    (folder / "images").mkdir()
    data = load_digits()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(data.target))
    preprocess = build_model(MODEL, 10).preprocess
    assert preprocess is not None
    images = [Image.fromarray((data.images[i] * 16).clip(0, 255).astype(np.uint8)).resize((28, 28)) for i in order]
    pixels = torch.stack([preprocess(image) for image in images])
    truth = torch.from_numpy(data.target[order])
    given = truth.clone()
    wrong = torch.from_numpy(rng.random(len(truth)) < 0.2)
    given[wrong] = (given[wrong] + torch.from_numpy(rng.integers(1, 10, int(wrong.sum())))) % 10
    rows = []
    for i in range(JUDGED):
        images[i].save(folder / f"images/{i}.png")
        rows.append({"path": f"images/{i}.png", "label": int(given[i]), "truth": int(truth[i])})
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    module = build_model(MODEL, 10).module
    train(module, pixels[JUDGED:], truth[JUDGED:], epochs=8)
    notes = {"classes": json.dumps([str(i) for i in range(10)])}
    save_checkpoint(folder / "reference.safetensors", module.state_dict(), notes)
    nn.init.normal_(module.head.weight, std=0.01)
    nn.init.zeros_(module.head.bias)
    train(module, pixels[:JUDGED], given[:JUDGED], epochs=1, rate=3e-4)
    save_checkpoint(folder / "start.safetensors", module.state_dict(), notes)
    return Digits(folder, pixels[:JUDGED], given[:JUDGED], truth[:JUDGED])


@pytest.fixture
def workspace(tmp_path: Path, digits: Digits) -> Workspace:
    """A workspace of its own that holds the digits as a data set."""
    made = Workspace(tmp_path / "workspace")
    import_dataset(made, digits.manifest, "digits")
    return made


@pytest.fixture
def save(tmp_path: Path) -> Callable[[str, nn.Module], str]:
    """Saves a module's weights and gives the path."""

    def saved(name: str, module: nn.Module) -> str:
        path = tmp_path / f"{name}.safetensors"
        save_checkpoint(path, module.state_dict(), {"classes": json.dumps([str(i) for i in range(10)])})
        return str(path)

    return saved
