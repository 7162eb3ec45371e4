"""Begin, resume, publish: a run from the first command to scores.duckdb, whatever interrupts it in between.

Stages: prepare → find or begin the run under its lock → score the shards that have no part → check → publish. Nothing
is remembered but what lies on the disk: a part for every finished shard, and run.json.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mimic.errors import MimicError
from mimic.files import make_folder, read_json, write_json
from mimic.models.checkpoint import Checkpoint
from mimic.runs import local
from mimic.runs.check import reference_check
from mimic.runs.config import MAIN, ScoreConfig
from mimic.runs.drawn import find_images, settle
from mimic.runs.embeddings import gather
from mimic.runs.inputs import Vectors
from mimic.runs.pair_worker import BATCHES_A_SHARD, PairWorker, dependence, shard_size
from mimic.runs.prepare import Prepared, prepare
from mimic.runs.progress import Progress
from mimic.runs.versions import versions
from mimic.runs.worker import LabelWorker
from mimic.scores import PAIR_SIGNALS, SIGNALS, meanings
from mimic.workspace.events import note
from mimic.workspace.layout import Run, Workspace, first_facts
from mimic.workspace.locks import held
from mimic.workspace.publish import damaged_parts, finished, publish, seconds_spent

# A shard is what is lost at worst, and one file: small for a short run, few for a long one.
_LEAST_SHARD = 256
_MOST_SHARDS = 1000
_MOST_SHARD = 1 << 16  # samples, however many shards that makes
_ATTEMPTS = 3  # at a shard whose part does not read back

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)

_LOG = logging.getLogger(__name__)


def score(
    workspace: Workspace,
    config: ScoreConfig,
    device: str = "auto",
    threads: int | None = None,
    execute: local.Executor = local.execute,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Run:
    """Score a data set: begin the run, or go on where an earlier attempt stopped, or find it published.

    Args:
        workspace: where the data set is and the run goes.
        config: what to do.
        device: see `prepare`.
        threads: how many threads decode; by default one a core.
        execute: who works through the shards.
        on_progress: told after every batch.

    Returns:
        The published run.

    Raises:
        MimicError: something does not fit; another process works on the run; nothing could be scored; no room to write.
    """
    prepared = prepare(workspace, config, device)
    folder = make_folder(workspace.runs_folder / prepared.id)
    with held(folder):
        found = finished(workspace, prepared.id)
        if found is not None and not found.missing:
            return found
        find_images(prepared)
        settle(prepared)
        run = begin(workspace, folder, _facts(prepared))
        with saying_why(run):
            _work(prepared, run, threads, execute, on_progress)
            return publish(run, prepared.dataset, _findings(prepared, run))


@contextmanager
def saying_why(run: Run) -> Iterator[None]:
    """Around a run's work: what it fails with stands in its run.json, and is a sentence where a user can mend it."""
    try:
        yield
    except KeyboardInterrupt:
        note(run, "stopped")
        raise
    except Exception as error:
        sentence = _sentence(error, run)
        _note(run, sentence or f"{type(error).__name__}: {error}")
        note(run, "failed", error=sentence or f"{type(error).__name__}: {error}")
        if sentence is None:
            raise
        raise MimicError(sentence) from error


def _note(run: Run, error: str) -> None:
    file = run.folder / "run.json"
    with suppress(OSError, MimicError):  # no room, or the run was removed: the sentence is still printed
        facts = read_json(file)
        # where locks do not work another machine may have published it meanwhile
        if "published" not in facts:
            write_json(file, {**facts, "error": error})


def begin(workspace: Workspace, folder: Path, facts: Mapping[str, Any]) -> Run:
    """The run as it is on the disk; a new one gets its run.json, of these facts, and a failed one forgets its error."""
    new = not (folder / "run.json").exists()
    if new:
        make_folder(folder / "parts")
        write_json(folder / "run.json", dict(facts))
    run = workspace.run(folder.name)
    note(run, "begun" if new else "resumed", samples=run.size, parts=len(run.parts))
    if run.error is not None:
        write_json(folder / "run.json", {key: value for key, value in run.facts.items() if key != "error"})
        run = workspace.run(folder.name)
    return run


def _work(
    prepared: Prepared,
    run: Run,
    threads: int | None,
    execute: local.Executor,
    on_progress: Callable[[Progress], None],
) -> None:
    """Score every shard that has no part yet, or whose part does not read back as it was written."""
    worker = LabelWorker if prepared.texts is None else PairWorker
    resumed: int | None = None
    unreadable = 0
    for _ in range(_ATTEMPTS):
        for name, why in damaged_parts(run).items():
            _LOG.warning("part %s of run %s is damaged (%s): its shard is scored again", name, run.id, why)
        missing = run.missing
        done = run.size - sum(len(shard) for shard in missing)
        resumed = done if resumed is None else resumed
        on_progress(Progress(run.id, done, run.size, resumed, unreadable))
        if not missing:
            return
        for step in execute(partial(worker, prepared, run, threads), missing):
            done += step.samples
            unreadable += step.unreadable
            on_progress(Progress(run.id, done, run.size, resumed, unreadable))
    raise MimicError(f"{run.folder} gives back other bytes than were written to it: check the disk, or use another one")


def _findings(prepared: Prepared, run: Run) -> dict[str, Any]:
    """What run.json says once everything is scored."""
    try:
        check = reference_check(prepared, run)
    except MimicError:
        # Nothing was scored: most likely the images have moved. Such parts must not stand in the next attempt's way.
        for part in run.parts:
            part.unlink()
        raise
    gather(run)
    draws = {} if prepared.texts is None else {"draws": {**run.facts["draws"], **dependence(run)}}
    return {"seconds": round(seconds_spent(run), 3), "check": check, **draws}


def _facts(prepared: Prepared) -> dict[str, Any]:
    """run.json of a new run."""
    config, scorer = prepared.config, prepared.scorer
    count = len(prepared.numbers)
    pairs = prepared.texts is not None
    least = max(_LEAST_SHARD, min(-(-count // _MOST_SHARDS), _MOST_SHARD), BATCHES_A_SHARD * config.batch_size * pairs)
    size = shard_size(count, least) if pairs else -(-least // config.batch_size) * config.batch_size
    parameters = sum(parameter.numel() for parameter in prepared.weights.built.module.parameters())
    direction = scorer.directions[0]
    return {
        **first_facts(prepared.dataset.workspace, prepared.id, prepared.dataset.name, "score"),
        "config": config.model_dump(mode="json"),
        "main": MAIN,
        "signals": prepared.signals,
        "meanings": meanings(prepared.signals, PAIR_SIGNALS if pairs else SIGNALS),
        "samples": count,
        "shards": {"count": -(-count // size), "size": size},
        "model": {
            "spec": config.model,
            "parameters": parameters,
            "preprocess": prepared.preprocess.model_dump(mode="json") if prepared.preprocess else None,
        },
        "reference": checkpoint_facts(prepared.weights.reference),
        "start": None if prepared.weights.as_built else checkpoint_facts(prepared.weights.start),
        "scope": config.scopes[0],
        "method": scorer.method,
        "method_reason": scorer.method_reason,
        "path_note": scorer.path_note,
        "loss": config.loss,
        **(_pair_facts(prepared) if pairs else {}),
        "precision": config.precision,
        "precision_check": {name: asdict(each) for name, each in scorer.agreements.items()},
        **({} if scorer.compile_note is None else {"compiled": scorer.compile_note}),
        "batch_size": config.batch_size,
        "split": config.split,
        "direction": {
            "norm": direction.norm,
            "tensors": len(direction.tensors),
            "parameters": direction.parameters,
        },
        "outputs": prepared.classes.outputs,
        "outputs_reason": prepared.classes.reason,
        "device": str(prepared.device),
        "versions": versions(),
    }


def _pair_facts(prepared: Prepared) -> dict[str, Any]:
    """What run.json says of captions beside."""
    config, images = prepared.config, prepared.images
    facts: dict[str, Any] = {
        "draws": {"count": config.draws, "seed": config.draw_seed},
    }
    if isinstance(images, Vectors):
        facts["features"] = {"name": images.features.name, "sha256": images.features.sha256}
    return facts


def checkpoint_facts(checkpoint: Checkpoint) -> dict[str, str]:
    """What run.json says of a set of weights."""
    return {"name": checkpoint.name, "sha256": checkpoint.sha256}


def _sentence(error: Exception, run: Run) -> str | None:
    """The error as a user can use it; None where it is a fault of ours."""
    if isinstance(error, MimicError):
        return str(error)
    if isinstance(error, torch.OutOfMemoryError):
        return f"no memory left on the device at {run.facts['batch_size']} samples a batch: use a smaller --batch-size"
    if isinstance(error, OSError):
        why = os.strerror(error.errno) if error.errno else str(error)
        file = error.filename if isinstance(error.filename, str) else None
        if error.errno in _FULL or (file is not None and Path(file).is_relative_to(run.folder)):
            return f"cannot write to {run.folder} ({why}): make room or permit it, then run the same command"
        return f"{file or 'a file'} cannot be read ({why}): bring it back or permit it, then run the same command"
    return None
