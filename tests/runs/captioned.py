"""A small data set of captions on frozen features: sixty pairs that share a hidden vector; towers that learnt it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mimic.data import Sample
from mimic.models.checkpoint import save_checkpoint
from mimic.models.features import save_features
from mimic.models.two_tower import TwoTower
from mimic.runs import manager
from mimic.runs.config import ScoreConfig
from mimic.workspace.datasets import Source, create_dataset
from mimic.workspace.layout import Dataset, Workspace

N, SWAPPED, TRAINED = 60, 12, 45
MODEL = "small:two-tower/7x5x4"


@dataclass(frozen=True)
class Captioned:
    """The pairs: sample i is ``s<i>``; the first twelve captions have moved on by one."""

    folder: Path
    images: Tensor  # (60, 7)
    texts: Tensor  # (60, 5)
    start: TwoTower
    reference: TwoTower

    def config(self, **settings: object) -> ScoreConfig:
        given = {"dataset": "pairs", "model": MODEL, "loss": "clip", "batch_size": 10, "draws": 3, "draw_seed": 4}
        files = {name: str(self.folder / f"{name}.safetensors") for name in ("start", "reference", "features")}
        return ScoreConfig.checked(**(given | files | settings))

    def dataset(self, workspace: Workspace, count: int = N) -> Dataset:
        samples = [
            Sample(
                i, f"s{i}", None, caption=None if i == 3 else f"thing {i % 50}", fault="swapped" if i < SWAPPED else ""
            )
            for i in range(count)
        ]
        source = Source("manifest", Path("pairs.csv"))
        return create_dataset(workspace, "pairs", samples, [], source, workspace.path, task="captions")


def make(folder: Path) -> Captioned:
    """The same every time."""
    rng = torch.Generator().manual_seed(0)
    hidden = torch.randn(N, 3, generator=rng)
    images = hidden @ torch.randn(3, 7, generator=rng) + 0.1 * torch.randn(N, 7, generator=rng)
    texts = hidden @ torch.randn(3, 5, generator=rng) + 0.1 * torch.randn(N, 5, generator=rng)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        start, reference = TwoTower(7, 5, 4), TwoTower(7, 5, 4)
        reference.load_state_dict(start.state_dict())
    optimizer = torch.optim.Adam(reference.parameters(), 0.02)
    for _ in range(80):
        towers = reference(images, texts)
        logits = towers[2] * towers[0] @ towers[1].T
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, torch.arange(N)).backward()
        optimizer.step()
    texts[:SWAPPED] = texts[np.roll(np.arange(SWAPPED), 1)]
    for name, towers in (("start", start), ("reference", reference)):
        save_checkpoint(folder / f"{name}.safetensors", towers.state_dict())
    save_features(folder / "features.safetensors", [f"s{i}" for i in range(N)], images, texts)
    return Captioned(folder, images, texts, start.eval(), reference.eval())


def split_and_scored(folder: Path) -> Workspace:
    """A workspace with the pairs, the last fifteen a split of their own and the others scored."""
    given, workspace = make(folder), Workspace(folder / "workspace")
    samples = [
        Sample(
            i, f"s{i}", None, split="train" if i < TRAINED else "test", caption=f"thing {i}",
            caption_group="one image" if i > 57 else None, fault="swapped" if i < SWAPPED else "",
        )
        for i in range(N)
    ]  # fmt: skip
    create_dataset(workspace, "pairs", samples, [], Source("manifest", Path("p.csv")), folder, task="captions")
    manager.score(workspace, given.config(split="train"))
    return workspace
