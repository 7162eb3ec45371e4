"""The command that scores a data set."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mimic.cli.terminal import WorkspaceOption, console, print_frame, print_ready, print_summary, stopping
from mimic.errors import MimicError
from mimic.scores import DEFAULT_PAIR_SIGNALS, DEFAULT_SIGNALS, PAIR_SIGNALS, SIGNALS
from mimic.workspace.layout import DEFAULT, Run, Workspace

if TYPE_CHECKING:
    from mimic.runs.local import Executor

SPECS = (
    "timm:NAME, torchvision:NAME, open_clip:NAME, hf:FOLDER, module:package.module:factory, or a small one of our own: "
    "small:mlp, small:convnet, small:convnet-group, small:resnet20, small:attention, small:two-tower"
)
SCOPES = "last (default), last-weight, last:K, full, re:PATTERN; of two towers image-last, text-last, projections"
LOSSES = "cross_entropy of labels; clip or siglip of captions; by default what the data set has"
# What `mimic score` and `mimic train` ask for alike.
DatasetArgument = Annotated[str, typer.Argument(help="The data set's name.")]
ModelOption = Annotated[str, typer.Option(help=f"Model spec: {SPECS}.")]
ReferenceOption = Annotated[
    str,
    typer.Option(
        help="The pretrained reference: a checkpoint (.safetensors, .pt), or a model spec. docs/models.md says how to "
        "make one."
    ),
]
FeaturesOption = Annotated[
    str | None,
    typer.Option(
        help="File of frozen features of images and captions, read instead of them (.safetensors, or DataComp's .npz)."
    ),
]
SmoothingOption = Annotated[float, typer.Option(min=0, max=0.999, help="Of the cross-entropy.")]
HeadOption = Annotated[
    str | None,
    typer.Option(help="If the reference's classifier has another number of outputs: map (by class name) or reset."),
]
PreprocessOption = Annotated[
    Path | None, typer.Option(help="JSON file with size, mean, std, …, instead of the model's own preprocessing.")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Threads that decode; by default one a core.")]
# What `mimic score` and `mimic demo` ask for alike.
Place = Literal["here", "ray"]
OnOption = Annotated[
    Place, typer.Option("--on", help="here: this process (or --processes); ray: actors of a Ray cluster.")
]
AddressOption = Annotated[
    str | None, typer.Option(help="With --on ray: the cluster's address, or auto; by default one of this machine.")
]
ActorsOption = Annotated[
    int | None, typer.Option(min=1, help="With --on ray: how many actors at most; by default as many as have room.")
]
GpusOption = Annotated[
    float, typer.Option("--gpus-per-actor", min=0, help="With --on ray: GPUs that each takes; 0: one CPU a --threads.")
]

_SIGNALS = f"Of labels {','.join(SIGNALS)}; of captions {','.join(PAIR_SIGNALS)}"
_USUAL = f"by default {','.join(DEFAULT_SIGNALS)}, or {','.join(DEFAULT_PAIR_SIGNALS)}"


def score(
    dataset: DatasetArgument,
    model: ModelOption,
    reference: ReferenceOption,
    start: Annotated[
        str | None, typer.Option(help="Checkpoint of the model being trained; by default the model as built.")
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(help=f"Parameters of the direction: {SCOPES}. May be repeated."),
    ] = None,
    loss: Annotated[str | None, typer.Option(help=f"What a sample is judged by: {LOSSES}.")] = None,
    features: FeaturesOption = None,
    draws: Annotated[int, typer.Option(min=1, help="Times captions are dealt into batches; scores are the mean.")] = 8,
    draw_seed: Annotated[int, typer.Option(min=0, help="Of these.")] = 0,
    signals: Annotated[str | None, typer.Option(help=f"{_SIGNALS}; {_USUAL}.")] = None,
    method: Annotated[str, typer.Option(help="How the derivative is taken: auto, closed, jvp, difference.")] = "auto",
    label_smoothing: SmoothingOption = 0.0,
    precision: Annotated[
        str, typer.Option(help="fp32, or bf16: about half the cost, checked against fp32 on the first samples.")
    ] = "fp32",
    force: Annotated[bool, typer.Option("--force", help="Use bf16 even where it ranks otherwise than fp32.")] = False,
    compile: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Scores beyond the last layer by torch.compile. Takes minutes at first: for long runs of "
            "convolutional networks; transformers are faster without.",
        ),
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples a forward pass.")] = 128,
    limit: Annotated[
        int | None, typer.Option(min=2, help="Score at most so many samples, spread evenly over the data set.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="The split to score; by default train where there is one; all: everything.")
    ] = None,
    head: HeadOption = None,
    preprocess: PreprocessOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes of one thread each that share a CPU's cores.")] = 1,
    on: OnOption = "here",
    address: AddressOption = None,
    actors: ActorsOption = None,
    gpus_per_actor: GpusOption = 0.0,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Score a data set. The same command again resumes an interrupted run, and finds a finished one."""
    from mimic.runs.config import ScoreConfig
    from mimic.workspace.queries.connection import Published
    from mimic.workspace.queries.summary import signal_summary

    place = Workspace(workspace)
    asked: dict[str, Any] = {"scopes": tuple(scope)} if scope else {}
    if signals is not None:
        asked["signals"] = tuple(name.strip() for name in signals.split(",") if name.strip())
    config = ScoreConfig.checked(
        dataset=dataset,
        model=model,
        reference=absolute(reference),
        start=absolute(start) if start else None,
        **asked,
        loss=loss or usual_loss(place, dataset),
        features=features and absolute(features),
        draws=draws,
        draw_seed=draw_seed,
        label_smoothing=label_smoothing,
        method=method,
        precision=precision,
        force=force,
        compile=compile,
        batch_size=batch_size,
        limit=limit,
        split=split,
        head=head,
        preprocess=json_file(preprocess) if preprocess else None,
    )
    run = scored(place, config, work(device, threads, processes, on, address, actors, gpus_per_actor))
    print_summary(run)
    if len(config.scopes) > 1:
        told = "mimic is of the first, and the others' signals bear their names"
        console().print(f"scopes      {', '.join(config.scopes)}: {told}")
        print_frame(signal_summary(Published.of(run, place.dataset(dataset))))


@dataclass(frozen=True)
class Work:
    """Who does a run: on which device, with how many decoding threads, in what kind of place."""

    device: str
    threads: int
    execute: Executor


def work(
    device: str,
    threads: int | None,
    processes: int = 1,
    on: Place = "here",
    address: str | None = None,
    actors: int | None = None,
    gpus: float = 0.0,
) -> Work:
    """What the options of a command say.

    Raises:
        MimicError: some of them do not go together.
    """
    from mimic.runs import forked, local, on_ray
    from mimic.runs.loading import decoding_threads

    if on == "ray":
        if processes > 1:
            raise MimicError("--processes is for this machine alone: with --on ray, --actors says how many")
        if device not in ("auto", "cuda" if gpus else "cpu"):
            raise MimicError(
                f"--device {device} does not go with --on ray --gpus-per-actor {gpus:g}: actors compute on GPUs where "
                "they take some, else on CPUs"
            )
        size = on_ray.Size(actors, threads or 1, gpus)
        return Work(device if gpus else "cpu", size.cpus, partial(on_ray.execute, size=size, address=address))
    if address or actors or gpus:
        raise MimicError("--address, --actors and --gpus-per-actor are for --on ray: add it, or leave them out")
    execute = local.execute if processes == 1 else partial(forked.execute, processes=processes)
    return Work(device, threads or max(decoding_threads() // processes, 1), execute)


def scored(workspace: Workspace, config: Any, by: Work) -> Run:
    """The published run of a configuration, with progress on stderr."""
    from mimic.runs import manager
    from mimic.runs.terminal import ProgressDisplay

    began = time.monotonic()
    with stopping(), ProgressDisplay(console(stderr=True)) as display:
        run = manager.score(workspace, config, by.device, by.threads, by.execute, on_progress=display)
    print_ready(run, display, began)
    return run


def usual_loss(workspace: Workspace, dataset: str) -> str:
    """The loss that reads what the data set has."""
    return "clip" if workspace.dataset(dataset).task == "captions" else "cross_entropy"


def absolute(source: str) -> str:
    """A path that works from anywhere; a model's spec stays as it is."""
    path = Path(source).expanduser()
    return str(path.resolve()) if path.exists() else source


def json_file(path: Path) -> dict[str, Any]:
    """The object in a user's JSON file.

    Raises:
        MimicError: there is none.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise MimicError(f"{path} cannot be read as JSON ({error}): it needs size, mean and std") from None
    if not isinstance(value, dict):
        raise MimicError(f"{path} holds no JSON object: it needs size, mean and std")
    return value
