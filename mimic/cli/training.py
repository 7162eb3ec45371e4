"""The command that trains a model by Grad-Mimic."""

from __future__ import annotations

import math
import time
from typing import Annotated, Any

import typer

from mimic.cli.scoring import (
    LOSSES,
    SCOPES,
    DatasetArgument,
    DeviceOption,
    FeaturesOption,
    HeadOption,
    ModelOption,
    PreprocessOption,
    ReferenceOption,
    SmoothingOption,
    ThreadsOption,
    absolute,
    json_file,
    usual_loss,
)
from mimic.cli.terminal import WorkspaceOption, console, print_ready, print_summary, speaks, stopping
from mimic.runs.train.config import GRAD_MIMIC, UNIFORM
from mimic.workspace.layout import DEFAULT, Run, Workspace


def train(
    dataset: DatasetArgument,
    model: ModelOption,
    reference: ReferenceOption,
    start: Annotated[str | None, typer.Option(help="Checkpoint to start from; by default the model as built.")] = None,
    scope: Annotated[
        str | None, typer.Option(help=f"Parameters that samples are scored by: {SCOPES}; of captions image-last.")
    ] = None,
    policy: Annotated[str, typer.Option(help="From scores to weights: softmax, clamp, top or uniform.")] = "softmax",
    temperature: Annotated[float, typer.Option(help="Of softmax; lower focuses harder.")] = 1.0,
    temperature_end: Annotated[
        float | None, typer.Option(help="The temperature at the end, reached by the same factor each step.")
    ] = None,
    share: Annotated[float, typer.Option(help="Of a batch, that policy top keeps.")] = 0.5,
    variant: Annotated[
        str, typer.Option(help="mimic, or cosine: the score over the length of the sample's own gradient.")
    ] = "mimic",
    parameters: Annotated[
        str, typer.Option(help="Which get the weighted gradient: all, or those scored (the others the plain mean).")
    ] = "all",
    on_exhausted: Annotated[
        str, typer.Option(help="Once the mean score is not positive any more: continue, uniform (weights) or stop.")
    ] = "continue",
    window: Annotated[int, typer.Option(help="Steps a mean score is taken over.")] = 50,
    method: Annotated[str, typer.Option(help="How scopes beyond the last layer are scored.")] = "auto",
    compare: Annotated[
        str | None, typer.Option(help="uniform: train a second time with equal weights, to compare with.")
    ] = None,
    loss: Annotated[str | None, typer.Option(help=f"What is learnt: {LOSSES}.")] = None,
    features: FeaturesOption = None,
    label_smoothing: SmoothingOption = 0.0,
    trainable: Annotated[
        str, typer.Option(help="Parameters that are trained, a scope; last: a linear probe.")
    ] = "full",
    epochs: Annotated[int, typer.Option(min=1, help="How often every sample is visited.")] = 5,
    batch_size: Annotated[int, typer.Option(min=2, help="Samples a step.")] = 32,
    optimizer: Annotated[str, typer.Option(help="adamw, adam or sgd.")] = "adamw",
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 1e-4,
    weight_decay: Annotated[float | None, typer.Option(help="By default the optimizer's own.")] = None,
    momentum: Annotated[float, typer.Option(help="Of sgd.")] = 0.9,
    schedule: Annotated[str, typer.Option(help="Of the learning rate: constant, or cosine, down to 0.")] = "constant",
    augment: Annotated[str, typer.Option(help="none, flip, or flip-crop (moved by up to an eighth).")] = "none",
    precision: Annotated[str, typer.Option(help="Of the forward passes: fp32 or bf16.")] = "fp32",
    seed: Annotated[int, typer.Option(min=0, help="Of order, augmentation, dropout and what is held back.")] = 0,
    split: Annotated[
        str | None, typer.Option(help="The split to train on; by default train where there is one; all: everything.")
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(help="The split to validate on, or none; by default the data set's own, else a part of --split."),
    ] = None,
    validation_share: Annotated[float, typer.Option(help="How large that part is.")] = 0.1,
    limit: Annotated[int | None, typer.Option(min=2, help="Train on at most so many samples, spread evenly.")] = None,
    head: HeadOption = None,
    preprocess: PreprocessOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Train by Grad-Mimic. The same command again resumes an interrupted run, and finds a finished one.

    On several GPUs, or cores: torchrun --nproc-per-node N -m -- mimic.cli train …; the result is that of one process.
    """
    from mimic.runs.terminal import ProgressDisplay
    from mimic.runs.train import manage
    from mimic.runs.train.config import TrainConfig

    place = Workspace(workspace)
    loss = loss or usual_loss(place, dataset)
    config = TrainConfig.checked(
        dataset=dataset,
        model=model,
        reference=absolute(reference),
        start=absolute(start) if start else None,
        label_smoothing=label_smoothing,
        split=split,
        limit=limit,
        head=head,
        preprocess=json_file(preprocess) if preprocess else None,
        loss=loss,
        features=features and absolute(features),
        scope=scope or ("last" if loss == "cross_entropy" else "image-last"),
        policy=policy,
        temperature=temperature,
        temperature_end=temperature_end,
        share=share,
        on_exhausted=on_exhausted,
        window=window,
        method=method,
        variant=variant,
        parameters=parameters,
        compare=compare,
        trainable=trainable,
        epochs=epochs,
        seed=seed,
        optimizer=optimizer,
        lr=lr,
        weight_decay=weight_decay,
        momentum=momentum,
        schedule=schedule,
        batch_size=batch_size,
        precision=precision,
        augment=augment,
        validation=validation,
        validation_share=validation_share,
    )
    if not speaks():
        with stopping():
            manage.train(place, config, device, threads)
        return
    began = time.monotonic()
    with stopping(), ProgressDisplay(console(stderr=True)) as display:
        run = manage.train(place, config, device, threads, display)
    print_ready(run, display, began)
    print_summary(run)
    print_training(run)


def print_training(run: Run) -> None:
    """What the arms came to, and where the models lie."""
    from mimic.workspace.curves import by_epoch, read_curves, standing

    out, curves = console(), read_curves(run)
    if run.facts["exhausted"]:
        at, mean = run.facts["exhausted"]["step"], run.facts["exhausted"]["mean"]
        out.print(
            f"exhausted   at step {at}: the mean score was {mean:.3g}; the model has caught up with the reference"
        )
    last = standing(curves).set_index(["arm", "split"])
    for arm, file in run.facts["models"].items():
        words = [
            f"{split} {last.loc[arm, split].accuracy:.1%} (loss {last.loc[arm, split].loss:.4g})"
            for split in ("train", "validation", "truth")
            if (arm, split) in last.index
        ]
        out.print(f"{arm:<11} {', '.join(words)}")
        out.print(f"            {run.folder / file}")
    if compared := _compared(last):
        out.print(f"compared    {compared}")
    out.print(f"mean score  {_course(by_epoch(curves, GRAD_MIMIC)['mean_score'].dropna())}")


def _compared(last: Any) -> str | None:
    """Both arms on held samples, at their true labels where those are known; None where there is nothing to compare."""
    for split, of in (("truth", "held samples at their true labels"), ("validation", "held samples")):
        if (GRAD_MIMIC, split) in last.index and (UNIFORM, split) in last.index:
            count = int(last.loc[GRAD_MIMIC, split].samples)
            ours, others = (float(last.loc[arm, split].accuracy) for arm in (GRAD_MIMIC, UNIFORM))
            ends = [f"{share:.1%} ± {math.sqrt(share * (1 - share) / count):.1%}" for share in (ours, others)]
            return (
                f"{GRAD_MIMIC} {ends[0]} against {UNIFORM} {ends[1]} on {count:,} {of}: {100 * (ours - others):+.1f} "
                "points (± one binomial standard error)"
            )
    return None


def _course(means: Any) -> str:
    """Whether an epoch's mean score turned negative, which says that the model has caught up with its reference."""
    if not len(means):
        return "no sample had one"
    negative = means[means < 0]
    if len(negative):
        return f"turned negative in epoch {int(negative.index[0]) + 1} ({negative.iloc[0]:.3g})"
    return f"stayed positive: {means.iloc[0]:.3g} in the first epoch, {means.iloc[-1]:.3g} in the last"
