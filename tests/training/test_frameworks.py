"""Grad-Mimic in other people's loops. Each test is an example to copy: what matters are the lines about `reweight`."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mimic import Direction, GradMimic
from mimic.models.small import SMALL
from mimic.training.visits import read_visits

CLASSES = 4


class Shapes(Dataset[dict[str, Tensor]]):
    """Blurred one-per-class patterns of 16×16, a third of them mislabelled; `right` says which are not."""

    def __init__(self, samples: int, seed: int, wrong: float = 0.0) -> None:
        generator = torch.Generator().manual_seed(seed)
        patterns = torch.randn(CLASSES, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        truth = torch.randint(CLASSES, (samples,), generator=generator)
        self.images = patterns[truth] + 1.5 * torch.randn(samples, 1, 16, 16, generator=generator)
        self.right = torch.rand(samples, generator=generator) >= wrong
        self.labels = torch.where(self.right, truth, (truth + 1) % CLASSES)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        return {"pixel_values": self.images[i], "labels": self.labels[i], "ids": torch.tensor(i)}


def clean_reference(model: nn.Module, logits: Any = lambda model, images: model(images)) -> nn.Module:
    """Trains the model a little on other, clean samples, and a copy of it some more: a start and a reference."""
    clean = Shapes(256, seed=1)
    pretrain(model, clean, logits, steps=10)
    reference = copy.deepcopy(model)
    pretrain(reference, clean, logits, steps=20)
    return reference


def pretrain(model: nn.Module, clean: Shapes, logits: Any, steps: int) -> None:
    optimiser = torch.optim.AdamW(model.train().parameters(), lr=2e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(logits(model, clean.images), clean.labels).backward()
        optimiser.step()


def check_record(folder: Path, data: Shapes, epochs: int) -> None:
    """Every sample was seen once an epoch, and mislabelled ones score lower."""
    visits = read_visits(folder)
    assert visits.values.shape == (len(data), epochs)
    assert (visits.epochs == torch.arange(epochs).numpy()).all()
    first = torch.from_numpy(visits.values[:, 0])
    assert first[data.right].mean() > first[~data.right].mean()


def test_a_plain_loop(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = SMALL["convnet"](CLASSES, size=16)
    reference, data = clean_reference(model), Shapes(64, seed=2, wrong=0.3)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.02)

    reweight = GradMimic(model, reference.state_dict(), temperature=0.1, record=tmp_path)
    for epoch in range(2):
        for batch in DataLoader(data, batch_size=16, shuffle=True):
            losses = F.cross_entropy(model(batch["pixel_values"]), batch["labels"], reduction="none")
            loss = reweight(losses, ids=batch["ids"], labels=batch["labels"], epoch=epoch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    reweight.close()
    check_record(tmp_path, data, epochs=2)


@pytest.mark.parametrize("scope", ["last", "full"])
def test_hugging_face_trainer(tmp_path: Path, scope: str) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        image_size=16, patch_size=4, num_channels=1, num_labels=CLASSES,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.ViTForImageClassification(config)
    reference = clean_reference(model, lambda model, images: model(images).logits)
    data = Shapes(64, seed=2, wrong=0.3)

    class ReweightedTrainer(transformers.Trainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            ids, labels = inputs.pop("ids"), inputs["labels"]
            outputs = model(pixel_values=inputs["pixel_values"])
            losses = F.cross_entropy(outputs.logits, labels, reduction="none")
            if not model.training:
                return (losses.mean(), outputs) if return_outputs else losses.mean()
            loss = reweight(losses, ids=ids, labels=labels, epoch=int(self.state.epoch))
            return (loss, outputs) if return_outputs else loss

    reweight = GradMimic(model, reference.state_dict(), 0.1, scope, record=tmp_path / "record")
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"),
        num_train_epochs=2,
        per_device_train_batch_size=16,
        learning_rate=1e-3,
        remove_unused_columns=False,  # or the ids would be dropped before they reach compute_loss
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
        logging_strategy="no",
    )
    before = model.classifier.weight.detach().clone()
    ReweightedTrainer(model=model, args=arguments, train_dataset=data).train()
    reweight.close()
    assert reweight.method == ("closed" if scope == "last" else "backward"), reweight.reason
    assert not torch.equal(before, model.classifier.weight)
    check_record(tmp_path / "record", data, epochs=2)


@pytest.mark.filterwarnings("ignore")  # Lightning's own, about workers and loggers
def test_lightning(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning")
    torch.manual_seed(0)
    network = SMALL["mlp"](CLASSES, size=16)
    reference, data = clean_reference(network), Shapes(64, seed=2, wrong=0.3)

    class Reweighted(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.reweight = GradMimic(network, reference.state_dict(), 0.1, record=tmp_path / "record")

        def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
            losses = F.cross_entropy(self.network(batch["pixel_values"]), batch["labels"], reduction="none")
            return self.reweight(losses, ids=batch["ids"], labels=batch["labels"], epoch=self.current_epoch)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.02)

        def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            checkpoint["reweight"] = self.reweight.state_dict()

        def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            self.reweight.load_state_dict(checkpoint["reweight"])

    def trainer(epochs: int) -> Any:
        return lightning.Trainer(
            max_epochs=epochs, accelerator="cpu", logger=False, enable_progress_bar=False,
            enable_model_summary=False, enable_checkpointing=False, default_root_dir=tmp_path,
        )  # fmt: skip

    loader = DataLoader(data, batch_size=16, shuffle=True)
    module = Reweighted()
    first = trainer(1)
    first.fit(module, loader)
    first.save_checkpoint(tmp_path / "half.ckpt")
    module.reweight.close()
    resumed = Reweighted()
    trainer(2).fit(resumed, loader, ckpt_path=tmp_path / "half.ckpt")
    resumed.reweight.close()
    assert resumed.reweight.step == 8
    check_record(tmp_path / "record", data, epochs=2)


@pytest.mark.parametrize(("scope", "method"), [("full", "jvp"), ("image-last", "double")])
def test_open_clip(tmp_path: Path, scope: str, method: str) -> None:
    open_clip = pytest.importorskip("open_clip")
    torch.manual_seed(0)
    towers = {
        "vision_cfg": {"image_size": 16, "layers": 2, "width": 32, "head_width": 16, "patch_size": 4},
        "text_cfg": {"context_length": 6, "vocab_size": 32, "width": 32, "heads": 2, "layers": 2},
    }
    model = open_clip.CLIP(embed_dim=16, **towers).double()
    reference = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    images, texts = torch.randn(8, 3, 16, 16).double(), torch.randint(1, 31, (8, 6))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def clip_losses(image_features: Tensor, text_features: Tensor, logit_scale: Tensor) -> Tensor:
        """(B,): the mean of each pair's row and column term, as `open_clip.ClipLoss` sums them up."""
        logits = logit_scale * image_features @ text_features.T
        target = torch.arange(len(logits), device=logits.device)
        rows = F.cross_entropy(logits, target, reduction="none")
        return (rows + F.cross_entropy(logits.T, target, reduction="none")) / 2

    reweight = GradMimic(model, reference.state_dict(), temperature=0.1, scope=scope, record=tmp_path)
    names = set(Direction.between(model, reference.state_dict(), scope).tensors)
    for epoch in range(2):
        expected = scores_by_difference(model, reference, names, lambda: clip_losses(*model(images, texts)))
        image_features, text_features, logit_scale = model(images, texts)
        losses = clip_losses(image_features, text_features, logit_scale)
        loss = reweight(losses, ids=[f"pair {i}" for i in range(8)], epoch=epoch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        torch.testing.assert_close(reweight.scores, expected, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(
            losses.mean(), open_clip.ClipLoss()(image_features, text_features, logit_scale), rtol=1e-5, atol=1e-6
        )
    reweight.close()
    assert reweight.method == method, reweight.reason
    assert read_visits(tmp_path).values.shape == (8, 2)


def scores_by_difference(
    model: nn.Module, reference: nn.Module, names: set[str], losses: Any, step: float = 1e-5
) -> Tensor:
    """−dℓ/dε along v/‖v‖, by moving the named parameters there and back."""
    moving = {name: each for name, each in model.named_parameters() if name in names}
    here = [each.detach().clone() for each in moving.values()]
    v = [reference.get_parameter(name).detach() - each for name, each in zip(moving, here, strict=True)]
    norm = torch.sqrt(sum(each.square().sum() for each in v))

    @torch.no_grad()
    def at(distance: float) -> Tensor:
        for parameter, each, towards in zip(moving.values(), here, v, strict=True):
            parameter.copy_(each + distance / norm * towards)
        return losses()

    slope = (at(step) - at(-step)) / (2 * step)
    at(0.0)
    return -slope
