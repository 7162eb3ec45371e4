"""The paper's protocol with a small network on made-up pictures, through torchvision's own classes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.transforms.functional import to_tensor

from benchmarks import gradmimic_paper as paper

torch.set_num_threads(1)


class Network(nn.Module):
    """Pixels are the features; the head starts at zero."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = nn.Flatten()
        self.head = nn.Linear(3 * 32 * 32, classes) if classes else nn.Identity()

    def forward(self, images):
        return self.head(self.body(images))


@pytest.fixture
def bench(tmp_path) -> paper.Bench:
    return paper.Bench(Network, to_tensor, tmp_path, batch=8, rate=1e-4)


def write_cifar10(root, monkeypatch) -> None:
    """A small CIFAR-10 in its own layout on the disk, a class a colour."""
    folder, rng = root / "cifar-10-batches-py", np.random.default_rng(0)
    folder.mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        labels = rng.integers(0, 3, 12)
        planes = rng.integers(0, 80, (12, 3, 1024))
        planes[np.arange(12), labels] += 150
        data = planes.reshape(12, 3072).astype(np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": labels.tolist()}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)  # they are not the real files


def test_probe_and_fine_tuning_on_a_small_cifar10(bench, tmp_path, monkeypatch, capsys):
    write_cifar10(tmp_path, monkeypatch)
    table = paper.run(bench, tmp_path, ["CIFAR10", "DTD"], seeds=1)
    assert "DTD is left out" in capsys.readouterr().out
    assert set(table.protocol) == {"linear probe", "fine-tuning"}
    probe = table[table.protocol == "linear probe"]
    assert {"SGD", "Grad-Mimic", "reference", "Grad-Match", "AGRA", "RHO-loss"} <= set(probe.arm)
    assert set(probe.labels) == {"clean", *(f"symmetric {noise}" for noise in paper.NOISES)}
    assert table[table.arm == "reference"].accuracy.min() > 60  # colours are easy
    shown = paper.beside_the_paper(table)
    assert shown["paper: SGD"].dropna().tolist() == [92.9, 92.1, 91.2]
    assert len(shown) == 6


def test_finished_parts_are_not_done_again(bench, tmp_path, monkeypatch):
    write_cifar10(tmp_path, monkeypatch)
    first = paper.run(bench, tmp_path, ["CIFAR10"], seeds=1)
    monkeypatch.setattr(paper, "train", None)  # would fail if it were called
    assert paper.run(bench, tmp_path, ["CIFAR10"], seeds=1).equals(first)


def test_without_any_set_it_says_what_would_work(bench, tmp_path):
    with pytest.raises(SystemExit, match="--download"):
        paper.report(paper.run(bench, tmp_path, ["DTD", "STL10"], seeds=1))
