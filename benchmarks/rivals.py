"""What people use where we push forward: every sample's gradient, by the tools there are, for `benchmarks.speed`.

Each entry makes a call for a case; the call does what the tool must do to a batch before or in scoring it, and returns
the scores (B,) where the tool can give the same number, else None. The libraries are optional: `pip install opacus
traker captum dattri`, best in an environment of their own. What is missing or does not apply raises `Skipped`.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import itertools
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.speed_cases import Case
from mimic import Direction
from mimic.scores.differentiate import outputs_for

Call = Callable[[], Tensor | None]


class Skipped(Exception):
    """Why a method has no row."""


def backward_loop(case: Case) -> Call:
    """One backward a sample, and the inner product with v."""
    v = Direction.between(case.start, case.reference, "full")
    weights = [case.start.get_parameter(name) for name in v.tensors]

    def inner(loss: Tensor, retain: bool = False) -> Tensor:
        gradients = torch.autograd.grad(loss, weights, retain_graph=retain, materialize_grads=True)
        return -sum((g * each).sum() for g, each in zip(gradients, v.tensors.values(), strict=True)) / v.norm

    def call() -> Tensor:
        if case.labels is None:  # a pair's loss needs its whole batch: one forward, a backward a pair
            losses = case.function(outputs_for(case.function, case.start, case.inputs), None)
            return torch.stack([inner(loss, retain=True) for loss in losses])
        samples = zip(case.inputs.split(1), case.labels.split(1), strict=True)
        return torch.stack([inner(case.function(case.start(x), y).sum()) for x, y in samples])

    return call


def vmap_grad(case: Case) -> Call:
    """Per-sample gradients by vmap, as in the paper's released code."""
    labels = _labels(case)
    v = Direction.between(case.start, case.reference, "full")
    point = {name: each.detach() for name, each in case.start.named_parameters()}

    def loss(state: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(case.start, state, (image[None],)), label[None])

    each_gradient = vmap(grad(loss), in_dims=(None, 0, 0))

    def call() -> Tensor:
        gradients = each_gradient(point, case.inputs, labels)
        return -sum(gradients[name].flatten(1) @ v.tensors[name].flatten() for name in v.tensors) / v.norm

    return call


def opacus(case: Case) -> Call:
    """Opacus' per-sample gradients; BatchNorm, which it refuses, is replaced by GroupNorm as its own validator does."""
    labels = _labels(case)
    library = _library("opacus.grad_sample", "opacus")
    start = importlib.import_module("opacus.validators").ModuleValidator.fix(case.start)
    wrapped = library.GradSampleModule(start.train(), strict=False, loss_reduction="sum")  # it hooks in train mode only
    v = Direction.between(case.start, case.reference, "full")
    plain = not any(isinstance(each, nn.BatchNorm2d) for each in case.start.modules())

    def call() -> Tensor | None:
        wrapped.zero_grad(set_to_none=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            case.function(wrapped(case.inputs), labels).sum().backward()
        samples = {name.removeprefix("_module."): each.grad_sample for name, each in wrapped.named_parameters()}
        scores = -sum(samples[name].flatten(1) @ v.tensors[name].flatten() for name in v.tensors) / v.norm
        return scores if plain else None

    return call


def trak(case: Case) -> Call:
    """TRAK's featurize: per-sample gradients, projected to 512 numbers."""
    labels = _labels(case)
    library = _library("trak", "traker")
    projectors = importlib.import_module("trak.projectors")
    size = sum(each.numel() for each in case.start.parameters())
    with _silent():
        projector = projectors.BasicProjector(size, 512, 0, projectors.ProjectionType.rademacher, "cpu", model_id=0)
        options = {"device": "cpu", "use_half_precision": False, "projector": projector}
        traker = library.TRAKer(case.start, "image_classification", len(labels), tempfile.mkdtemp(), **options)
    models = itertools.count()

    def call() -> None:
        with _silent():  # each call featurizes for another model, or it would find its work done
            traker.load_checkpoint(case.start.state_dict(), model_id=next(models))
            traker.featurize(batch=(case.inputs, labels), num_samples=len(labels))

    return call


def captum(case: Case) -> Call:
    """captum's TracInCPFast: every sample's influence on itself, by the last layer alone."""
    labels = _labels(case)
    library = _library("captum.influence", "captum")
    head = next(name for name, each in reversed(list(case.start.named_modules())) if isinstance(each, nn.Linear))
    tracin = library.TracInCPFast(
        case.start,
        case.start.get_submodule(head),
        DataLoader(TensorDataset(case.inputs, labels), batch_size=len(labels)),
        ["start"],
        checkpoints_load_func=lambda module, checkpoint: 1.0,
        loss_fn=nn.CrossEntropyLoss(reduction="sum"),
    )

    def call() -> None:
        tracin.self_influence((case.inputs, labels))

    return call


def dattri(case: Case) -> Call:
    """dattri's TracIn of the batch on one test sample: per-sample gradients and their inner products."""
    labels = _labels(case)
    size = sum(each.numel() for each in case.start.parameters())
    if size > 10**6:
        raise Skipped(
            f"{size / 1e6:.1f} M parameters: 32 samples took 17 GB of memory, and two over 110 s of a busy machine"
        )
    task = _library("dattri.task", "dattri")
    attributor = importlib.import_module("dattri.algorithm.tracin").TracInAttributor

    def loss(state: dict[str, Tensor], sample: tuple[Tensor, Tensor]) -> Tensor:
        image, label = sample
        logits = functional_call(case.start, state, (image[None],))
        return F.cross_entropy(logits, label[None])

    attribute = attributor(
        task=task.AttributionTask(loss_func=loss, model=case.start, checkpoints=case.start.state_dict()),
        weight_list=torch.ones(1),
        normalized_grad=False,
        device="cpu",
    )
    train = DataLoader(TensorDataset(case.inputs, labels), batch_size=len(labels))
    test = DataLoader(TensorDataset(case.inputs[:1], labels[:1]), batch_size=1)

    def call() -> None:
        with _silent():
            attribute.attribute(train, test)

    return call


RIVALS: dict[str, Callable[[Case], Call]] = {
    "loop of backward()": backward_loop,
    "vmap(grad), as the paper's code": vmap_grad,
    "Opacus": opacus,
    "TRAK featurize": trak,
    "captum TracInCPFast (last layer)": captum,
    "dattri TracIn": dattri,
}

# Of these a large model's few samples are measured: hundreds of random signs are made for each parameter and sample.
HEAVY = ("TRAK featurize",)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without the libraries' progress bars, logs and warnings."""
    level = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(level)


def _labels(case: Case) -> Tensor:
    if case.labels is None:
        raise Skipped("computes another quantity where the loss couples the batch")
    return case.labels


def _library(module: str, package: str) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as error:
        raise Skipped(f"not installed ({error}): pip install {package}") from None
