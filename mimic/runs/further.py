"""Further signals of a scored run: a run of its own, which holds the scored run's columns and those computed later.

Stages: prepare what the scored run was made from → one pass over the images (`mimic.runs.observe`) → signals of the
whole set → parts like the scored run's, with more columns → publish. Interrupted, it starts again, and the pass from
where it was.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mimic.errors import MimicError, MissingExtra
from mimic.files import make_folder
from mimic.runs.caption_signals import caption_columns
from mimic.runs.config import ScoreConfig
from mimic.runs.manager import begin
from mimic.runs.observe import Observed, Observer
from mimic.runs.prepare import Prepared, prepare
from mimic.runs.progress import Progress
from mimic.runs.prompts import prompt_scores
from mimic.scores import FURTHER_PAIR_SIGNALS, FURTHER_SIGNALS, PAIR_LOSSES, PAIR_SIGNALS, SIGNALS, VERSION, meanings
from mimic.scores.heads import Frozen
from mimic.scores.image import IMAGE_SIGNALS
from mimic.scores.table import PACKAGES, TABLE_SIGNALS, Table
from mimic.workspace.layout import Run, Workspace, first_facts
from mimic.workspace.locks import held
from mimic.workspace.publish import finished, part_schema, publish, read_part, write_part
from mimic.workspace.samples import read_inputs

PROMPTED = "clip"  # of labels, by a model of its own

# What a run says of its own publication and progress, and its further run says anew.
_OWN = ("published", "published_at", "counts", "seconds", "error")


def possible(run: Run, clip: str | None = None) -> tuple[list[str], dict[str, str]]:
    """A run's further signals that can be computed here, and for each other one the package that is missing."""
    known = [name for name in further(run) if name != PROMPTED or clip]
    missing = {name: package for name, package in PACKAGES.items() if name in known and find_spec(package) is None}
    return [name for name in known if name not in missing], missing


def further(run: Run) -> dict[str, str]:
    """The further signals of a run's task: name → meaning."""
    return FURTHER_PAIR_SIGNALS if run.config.get("loss") in PAIR_LOSSES else FURTHER_SIGNALS


def add_signals(
    workspace: Workspace,
    run: Run,
    signals: Sequence[str],
    device: str = "auto",
    threads: int | None = None,
    seed: int = 0,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    clip: str | None = None,
) -> Run:
    """Compute further signals of a published scoring run. The same again gives the run that is there.

    Args:
        workspace: holds the run and its data set.
        run: a published run of `mimic score`.
        signals: names in `FURTHER_SIGNALS`, or `FURTHER_PAIR_SIGNALS` for captions.
        device, threads: see `mimic.runs.manager.score`.
        seed: of the heads' batches and folds.
        on_progress: told as the pass over the images goes on.
        clip: spec of the CLIP model that signal ``clip`` of labels needs, with its weights.

    Returns:
        The published run, with the scored run's signals and these.

    Raises:
        MimicError: the run is no published scoring run, or its checkpoints or data set are not what they were; a signal
            is unknown, or needs a package that is not installed.
    """
    _check(run, signals, clip)
    prepared = prepare(workspace, ScoreConfig(**run.config), device)
    if prepared.id != run.id:
        raise MimicError(
            f"run {run.id} was made from other files than are there now (they give {prepared.id}): score again first"
        )
    what = {"of": run.id, "signals": list(signals), "seed": seed, "scores": VERSION}
    told = json.dumps(what | ({"clip": clip} if PROMPTED in signals and prepared.texts is None else {}))
    folder = make_folder(workspace.runs_folder / f"{run.id}-more-{hashlib.sha256(told.encode()).hexdigest()[:6]}")
    with held(folder):
        if (found := finished(workspace, folder.name)) is not None:
            return found
        made = begin(workspace, folder, _facts(run, folder.name, signals, seed))
        began = time.monotonic()

        def looked(done: int) -> None:
            on_progress(Progress(made.id, done, made.size, 0, 0))

        if prepared.texts is None:
            rest = [name for name in signals if name != PROMPTED]
            observer = Observer(prepared, workspace.cache_folder / "features", threads) if rest else None
            columns = _columns(prepared, observer(looked), rest, seed) if observer else {}
            if PROMPTED in signals:
                columns[PROMPTED] = prompt_scores(prepared, clip or "", threads, looked)
        else:
            columns = caption_columns(prepared, run, signals, workspace.cache_folder / "features", threads, looked)
        for shard in made.shards:
            part = read_part(run, shard)
            places = np.searchsorted(prepared.numbers, part["sample"].to_numpy())
            some = {name: values[places] for name, values in columns.items()}
            write_part(made, shard, _widened(part, made.signals, some))
        return publish(made, prepared.dataset, {"seconds": round(time.monotonic() - began, 3), "check": run.check})


def _check(run: Run, signals: Sequence[str], clip: str | None) -> None:
    if run.facts.get("kind") != "score" or run.scores_file is None:
        raise MimicError(f"run {run.id} is no published run of `mimic score`, and only to such a one signals are added")
    if not signals:
        raise MimicError(f"no signal was asked for: some of {', '.join(further(run))}")
    for name in signals:
        if name not in further(run):
            raise MimicError(f"there is no further signal {name!r} of this run: one of {', '.join(further(run))}")
        if name == PROMPTED and not clip:
            raise MimicError("the signal clip needs a CLIP model: --clip open_clip:NAME/WEIGHTS or hf:FOLDER")
        if name in PACKAGES and find_spec(PACKAGES[name]) is None:
            raise MissingExtra(f"the signal {name}", "baselines")


def _facts(run: Run, name: str, signals: Sequence[str], seed: int) -> dict[str, Any]:
    """The scored run's, with what differs."""
    kept = {key: value for key, value in run.facts.items() if key not in _OWN}
    every = [*run.signals, *signals]
    known = (PAIR_SIGNALS if run.config.get("loss") in PAIR_LOSSES else SIGNALS) | further(run)
    return kept | {
        **first_facts(run.workspace, name, run.dataset, "signals"),
        "of": run.id,
        "config": {**run.config, "further": list(signals), "seed": seed},
        "signals": every,
        "meanings": meanings(every, known),
    }


def _columns(prepared: Prepared, seen: Observed, signals: Sequence[str], seed: int) -> dict[str, NDArray[np.float32]]:
    """Signal → (N,) values; NaN where the image could not be read."""
    rows = np.flatnonzero(seen.readable)
    codes = read_inputs(prepared.dataset, prepared.numbers).codes
    labels = prepared.classes.labels(codes)[rows]
    frozen = Frozen(seen.features[rows], labels, seen.reference.shape[1], seed=seed)
    table = Table(frozen, seen.reference[rows], seen.hashes[rows])
    columns = {}
    for name in signals:
        if name in IMAGE_SIGNALS:
            columns[name] = seen.pictures[:, list(IMAGE_SIGNALS).index(name)]
        else:
            columns[name] = np.full(len(seen.readable), np.nan, np.float32)
            columns[name][rows] = TABLE_SIGNALS[name](table)
    return columns


def _widened(part: pa.Table, signals: Sequence[str], columns: dict[str, NDArray[np.float32]]) -> pa.Table:
    """A part of the scored run with further columns."""
    schema = part_schema(signals)
    arrays = [columns[name] if name in columns else part[name] for name in schema.names]
    return pa.table(arrays, schema=schema)
