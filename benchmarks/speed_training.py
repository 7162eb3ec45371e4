"""What a Grad-Mimic step costs, against a plain step of the same model on the same batch in the same process.

python -m benchmarks.speed_training [--rounds 15] [--models "resnet20;vit-tiny"] [--busy]

Rows: the plain step, Grad-Mimic by scope and method, with and without a record, and what the paper's released code does
(every sample's gradient by vmap(grad), then their weighted sum). Methods take turns within a round; the ratio is the
median over rounds of each round's own ratio, so that a busy machine slows both alike; on a very busy one, `--busy`
takes CPU time on one thread instead of the clock on all of them. `resnet20` has frozen batch statistics, as fine-tuning
often does; in `resnet20, batch statistics` they move, which couples the samples.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from benchmarks.tables import Section, markdown, write_csv, write_section
from benchmarks.timing import interleaved, with_allocator
from mimic import GradMimic
from mimic.models.small import SMALL

OPTIMISERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=1e-4),
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, lr=1e-6),
}


@dataclass(frozen=True)
class Problem:
    """A model in the mode that it is trained in, a reference near it, and a batch."""

    model: nn.Module
    reference: dict[str, Tensor]
    images: Tensor
    labels: Tensor


def resnet20(frozen_statistics: bool) -> Problem:
    model = SMALL["resnet20"](10).train()
    for each in model.modules():
        if isinstance(each, nn.BatchNorm2d) and frozen_statistics:
            each.eval()
    return _problem(model, torch.randn(256, 3, 32, 32), 10)


def vit_tiny() -> Problem:
    import timm

    model = timm.create_model("vit_tiny_patch16_224", num_classes=1000).train()
    return _problem(model, torch.randn(16, 3, 224, 224), 1000)


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "resnet20": lambda: resnet20(frozen_statistics=True),
    "resnet20, batch statistics": lambda: resnet20(frozen_statistics=False),
    "vit-tiny": vit_tiny,
}

# method → (scope, further settings of GradMimic); None is the plain step
METHODS: dict[str, tuple[str, dict[str, Any]] | None] = {
    "plain step": None,
    "last": ("last", {}),
    "last, recorded": ("last", {"record": True}),
    "full, one backward": ("full", {"method": "backward"}),
    "full, jvp": ("full", {"method": "jvp"}),
    "full, difference": ("full", {"method": "difference"}),
}
COUPLED = {name: each for name, each in METHODS.items() if name != "full, one backward"}


def measure(name: str, optimiser: str, rounds: int, clock: str = "wall") -> pd.DataFrame:
    """The table of one problem and optimiser: method, milliseconds, and the ratio to the plain step."""
    torch.manual_seed(0)
    problem = PROBLEMS[name]()
    coupled = "statistics" in name
    with tempfile.TemporaryDirectory() as folder:
        steps = {
            method: _mimic_step(problem, optimiser, settings, Path(folder) / method)
            for method, settings in (COUPLED if coupled else METHODS).items()
        }
        if not coupled:
            steps["vmap(grad), as the paper's code"] = _vmap_step(problem, optimiser)
        times = interleaved(steps, rounds, clock=clock)
    return pd.DataFrame(
        {
            "model": name,
            "batch": len(problem.images),
            "optimiser": optimiser,
            "method": method,
            "ms": times.milliseconds(method),
            "ratio": times.ratio(method, "plain step"),
        }
        for method in steps
    )


def _problem(model: nn.Module, images: Tensor, classes: int) -> Problem:
    reference = {
        name: each + 0.01 * torch.randn_like(each) if each.is_floating_point() else each
        for name, each in model.state_dict().items()
    }
    return Problem(model, reference, images, torch.randint(classes, (len(images),)))


def _mimic_step(
    problem: Problem, optimiser: str, settings: tuple[str, dict[str, Any]] | None, folder: Path
) -> Callable[[], None]:
    model = copy.deepcopy(problem.model)
    update = OPTIMISERS[optimiser](model.parameters())
    reweight = None
    record = False
    if settings is not None:
        scope, further = settings
        record = bool(further.get("record"))
        further = {**further, "record": folder} if record else further
        reweight = GradMimic(model, problem.reference, scope=scope, window=10**9, **further)
    ids = torch.arange(len(problem.images))

    def step() -> None:
        update.zero_grad()
        losses = F.cross_entropy(model(problem.images), problem.labels, reduction="none")
        if reweight is None:
            losses.mean().backward()
        elif settings is not None and settings[0] == "full":
            reweight.backward(losses)
        else:
            known = {"ids": ids, "labels": problem.labels, "epoch": 0} if record else {}
            reweight(losses, **known).backward()
        update.step()

    return step


def _vmap_step(problem: Problem, optimiser: str) -> Callable[[], None]:
    model = copy.deepcopy(problem.model)
    parameters = dict(model.named_parameters())
    update = OPTIMISERS[optimiser](parameters.values())

    def loss(state: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, state, (image[None],)), label[None])

    each_gradient = vmap(grad(loss), in_dims=(None, 0, 0), randomness="different")

    def step() -> None:
        state = {name: each.detach() for name, each in parameters.items()}
        gradients = each_gradient(state, problem.images, problem.labels)
        v = {name: problem.reference[name] - each for name, each in state.items()}
        norm = torch.stack([each.norm() for each in v.values()]).norm()
        scores = -sum(gradients[name].flatten(1) @ v[name].flatten() for name in v) / norm
        weights = torch.softmax(scores, dim=0)
        for name, parameter in parameters.items():
            parameter.grad = torch.tensordot(weights, gradients[name], dims=1)
        update.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--models", default=";".join(PROBLEMS), help="separated by ;")
    parser.add_argument("--optimisers", default=",".join(OPTIMISERS))
    parser.add_argument("--busy", action="store_true", help="CPU time on one thread")
    arguments = parser.parse_args()
    if arguments.busy:
        torch.set_num_threads(1)
    clock = "processor" if arguments.busy else "wall"
    tables = []
    for name in arguments.models.split(";"):
        for optimiser in arguments.optimisers.split(","):
            table = measure(name, optimiser, arguments.rounds, clock)
            print(table.to_string(index=False), flush=True)
            tables.append(table)
    table = pd.concat(tables)
    write_csv("speed_training", table)
    how = "CPU time on one thread of a busy machine" if arguments.busy else f"{torch.get_num_threads()} threads"
    body = f"A Grad-Mimic step relative to a plain step of the same model on the same batch, in one process; {how}.\n\n"
    command = "python -m benchmarks.speed_training" + " --busy" * arguments.busy
    write_section(Section("speed_training", "The cost of a Grad-Mimic step", command, body + markdown(table, 2)))


if __name__ == "__main__":
    with_allocator("benchmarks.speed_training")
    main()
