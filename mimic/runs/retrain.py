"""Retraining: does a model get better by dropping what a filter drops? Many small fits, a part a job, resumable.

Stages: signals and filters → which samples each arm trains on, and how they are weighed → jobs: with frozen features
(of images, or of pairs) one a seed, all arms of it at once; with the user's model one a fit → processes work through
the jobs that have no part. The test split is one that no scoring run has looked at.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mimic.data import ABSTAIN, DROP
from mimic.errors import MimicError
from mimic.filters.rules import read_rule
from mimic.runs.config import ScoreConfig
from mimic.runs.observe import Observer
from mimic.runs.prepare import prepare
from mimic.runs.progress import Progress
from mimic.runs.retrain_fits import Bench, Fit, load_bench, save_bench
from mimic.runs.retrain_pairs import OUTCOME, PairBench, pair_bench
from mimic.workspace.filters import load_filter
from mimic.workspace.layout import Dataset, Run, Workspace
from mimic.workspace.locks import held
from mimic.workspace.queries.dense import Dense
from mimic.workspace.queries.views import true_codes
from mimic.workspace.retrains import NEEDED, Retrain, begin_retrain, untouched, write_fits

BUDGETS = (0.95, 0.9, 0.8, 0.7, 0.6)
VERSION = "1"


@dataclass(frozen=True)
class Asked:
    """What to retrain.

    Attributes:
        names: signals as RUN:SIGNAL, or named filters; empty: every signal of the data set.
        budgets: shares to keep, of signals; a filter keeps what it keeps.
        seeds: how many.
        weights: whether each budget is also tried as importance weights.
        model: train the run's own model rather than a head on its features.
        run: whose model and start to use; None: the newest scoring run.
        test: the split to test on; None: the first that no run has scored.
        epochs: of every fit.
    """

    names: tuple[str, ...] = ()
    budgets: tuple[float, ...] = BUDGETS
    seeds: int = 5
    weights: bool = False
    model: bool = False
    run: str | None = None
    test: str | None = None
    epochs: int = 10


def retrain(
    workspace: Workspace,
    dataset: Dataset,
    asked: Asked,
    processes: int = 1,
    device: str = "auto",
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Retrain:
    """Retrain, or go on where an earlier attempt stopped, or find it finished.

    Args:
        processes: how many work at once, each with one thread.
        on_progress: told after every job.

    Raises:
        MimicError: captions and the run's own model; no run with a model; a name, budget or split that does not work;
            another process is at it.
    """
    if dataset.task == "captions" and asked.model:
        raise MimicError(f"{dataset.name} has captions, and those are retrained on features alone: leave --model out")
    for budget in asked.budgets:
        if not 0 < budget < 1:
            raise MimicError(f"--budgets {budget}: a budget is a share to keep, above 0 and below 1")
    base = _base(workspace, dataset, asked.run)
    config = ScoreConfig(**base.config)
    test = asked.test or _untouched(workspace, dataset)
    if test not in dataset.splits or test == config.split:
        known = ", ".join(dataset.splits) or "no splits"
        raise MimicError(
            f"--test {test}: it must be a split of {dataset.name} other than the one scored; it has {known}"
        )
    columns = _columns(workspace, dataset, asked.names)
    told = {
        "content": dataset.content, "base": base.id, "test": test, "budgets": asked.budgets, "seeds": asked.seeds,
        "weights": asked.weights, "model": asked.model, "epochs": asked.epochs, "version": VERSION,
        "columns": {name: hashlib.sha256(values.tobytes()).hexdigest() for name, (values, _) in columns.items()},
    }  # fmt: skip
    id = f"{dataset.name[:60]}-{hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:10]}"
    bench = _bench(workspace, dataset, base, config, test, asked, device)
    fits = _fits(bench, columns, asked, Dense(workspace, dataset))
    jobs = [[fit] for fit in fits] if asked.model else [[f for f in fits if f.seed == s] for s in range(asked.seeds)]
    made = begin_retrain(
        workspace,
        id,
        {
            "kind": "retrain", "dataset": dataset.name, "base": base.id, "split": config.split, "test_split": test,
            "created": datetime.now(UTC).isoformat(timespec="seconds"), "samples": len(bench.samples),
            "test": bench.tested, "jobs": len(jobs), "fits": len(fits), "budgets": list(asked.budgets),
            "seeds": asked.seeds, "filters": list(columns), "path": "model" if asked.model else "features",
            "epochs": asked.epochs, "weights": asked.weights,
            **({"outcome": OUTCOME, "ways": 2} if isinstance(bench, PairBench) else {}),
        },
    )  # fmt: skip
    with held(made.folder):
        _work(made, bench, jobs, processes, on_progress)
    return made


def _base(workspace: Workspace, dataset: Dataset, run: str | None) -> Run:
    """The scoring run whose model is used."""
    chosen: Run | None
    if run is not None:
        chosen = workspace.run(run)
        chosen = workspace.run(str(chosen.facts["of"])) if chosen.facts.get("of") else chosen
    else:
        scored = (one for one in workspace.runs(dataset.name) if one.facts.get("kind") == "score")
        chosen = next((one for one in scored if one.state == "published"), None)
    if chosen is None or chosen.facts.get("kind") != "score" or chosen.dataset != dataset.name:
        raise MimicError(
            f"data set {dataset.name!r} has no published run of `mimic score` to take a model from: score it first,"
            " or name one with --run"
        )
    return chosen


def _untouched(workspace: Workspace, dataset: Dataset) -> str:
    """The first split that no run has scored."""
    free = untouched(workspace, dataset)
    if not free:
        raise MimicError(
            f"data set {dataset.name!r} has no split that scoring has left untouched, so no model can be tested fairly:"
            f" {NEEDED}"
        )
    return free[0]


def _columns(
    workspace: Workspace, dataset: Dataset, names: Sequence[str]
) -> dict[str, tuple[NDArray[np.float32], bool]]:
    """Name → ((size,) scores, False), or of a named filter (1 kept, 0 dropped, True)."""
    dense = Dense(workspace, dataset)
    found: dict[str, tuple[NDArray[np.float32], bool]] = {}
    if not names:
        for run in workspace.runs(dataset.name):
            for signal in run.signals if run.state == "published" else []:
                if signal not in found:
                    found[signal] = dense.scores(run.id, signal), False
    filters = {path.stem for path in workspace.filters()}
    for name in names:
        if name in filters:
            votes = read_rule(load_filter(workspace, name).rule).votes(dense).votes
            found[name] = np.where(votes == ABSTAIN, 1, votes != DROP).astype(np.float32), True
        elif ":" in name:
            run_id, _, signal = name.partition(":")
            found[signal if signal not in found else name] = dense.scores(run_id, signal), False
        else:
            newest = next((run for run in workspace.runs(dataset.name)
                           if run.state == "published" and name in run.signals), None)  # fmt: skip
            if newest is None:
                raise MimicError(
                    f"{name!r} is no signal or filter of data set {dataset.name!r}: use RUN:SIGNAL or a name"
                )
            found[name] = dense.scores(newest.id, name), False
    return found


def _bench(
    workspace: Workspace, dataset: Dataset, base: Run, config: ScoreConfig, test: str, asked: Asked, device: str
) -> Bench | PairBench:
    """What is trained on and what is tested."""
    cache = workspace.cache_folder / "features"
    prepared, tested = (
        prepare(workspace, config.model_copy(update=change), device)
        for change in ({"split": config.split}, {"split": test, "limit": None})
    )
    if dataset.task == "captions":
        known = Dense(workspace, dataset).truth()
        return pair_bench(prepared, tested, None if known is None else known.wrong, cache, asked.epochs)
    seen, seen_test = (Observer(each, cache)() for each in (prepared, tested))
    codes, _ = Dense(workspace, dataset).labels()
    truth, right = _truth(workspace, dataset, base.id)
    rows = seen.readable & (codes[prepared.numbers] >= 0)
    labels = truth[tested.numbers] if truth is not None else codes[tested.numbers]
    test_rows = seen_test.readable & (labels >= 0)
    samples = prepared.numbers[rows]
    return Bench(
        samples=samples,
        features=seen.features[rows],
        labels=codes[samples].astype(np.int64),
        right=None if right is None else right[samples],
        test_samples=tested.numbers[test_rows],
        test_features=seen_test.features[test_rows],
        test_labels=labels[test_rows].astype(np.int64),
        classes=len(dataset.classes),
        epochs=asked.epochs,
        workspace=workspace.path,
        config=config.model_dump(mode="json") if asked.model else None,
    )


def _truth(
    workspace: Workspace, dataset: Dataset, run: str
) -> tuple[NDArray[np.int32] | None, NDArray[np.bool_] | None]:
    """(size,) true class codes (the given one where nobody knows), and whether the given label is right."""
    if not dataset.has_truth:
        return None, None
    dense = Dense(workspace, dataset)
    given, _ = dense.labels()
    true = true_codes(dense.published(run), dataset.size)
    true = np.where(true >= 0, true, given)
    return true, true == given


def _fits(
    bench: Bench | PairBench, columns: dict[str, tuple[NDArray[np.float32], bool]], asked: Asked, dense: Dense
) -> list[Fit]:
    """Every fit, with its weights of the training samples."""
    n, fits = len(bench.samples), []
    ones = np.ones(n, np.float32)
    budgets = set(asked.budgets)
    for seed in range(asked.seeds):
        fits.append(Fit("everything", "", 1.0, seed, ones))
        if bench.right is not None:
            fits.append(Fit("oracle", "", float(bench.right.mean()), seed, bench.right.astype(np.float32)))
        for name, (values, is_filter) in columns.items():
            own = values[bench.samples]
            if is_filter:
                share = float(own.mean())
                budgets.add(share)
                fits.append(Fit("kept", name, share, seed, own))
                continue
            for budget in asked.budgets:
                fits.append(Fit("kept", name, budget, seed, keeping(own, budget)))
                if asked.weights:
                    fits.append(Fit("weights", name, budget, seed, ramp(own, budget)))
        for budget in sorted(budgets):
            drawn = np.random.default_rng([seed, round(1e6 * budget)]).permutation(n) < round(budget * n)
            fits.append(Fit("random", "", budget, seed, drawn.astype(np.float32)))
    return fits


def keeping(scores: NDArray[np.float32], budget: float) -> NDArray[np.float32]:
    """(N,) 1 for the best share and for what is not scored, else 0; ties at the line are kept."""
    rising = np.sort(scores[~np.isnan(scores)])
    if not rising.size:
        return np.ones(len(scores), np.float32)
    line = rising[min(int((1 - budget) * len(rising) + 1e-9), len(rising) - 1)]
    return np.asarray(np.isnan(scores) | (scores >= line), dtype=np.float32)


def ramp(scores: NDArray[np.float32], budget: float) -> NDArray[np.float32]:
    """(N,) weights 0 … 1 by rank, rising over twice the share that the cut drops, so that as much weight is left."""
    ranks = np.full(len(scores), 1.0)
    known = ~np.isnan(scores)
    ranks[known] = (np.argsort(np.argsort(scores[known], kind="stable")) + 0.5) / max(known.sum(), 1)
    width = min(2 * (1 - budget), 1.0)
    return np.asarray(np.clip(ranks / width, 0, 1), dtype=np.float32)


def _work(
    made: Retrain,
    bench: Bench | PairBench,
    jobs: list[list[Fit]],
    processes: int,
    on_progress: Callable[[Progress], None],
) -> None:
    """Every job that has no part yet."""
    missing, total = made.missing, sum(map(len, jobs))
    resumed = done = total - sum(len(jobs[job]) for job in missing)
    on_progress(Progress(made.id, done, total, resumed, 0, "fits"))
    if processes <= 1 or len(missing) <= 1:
        for job in missing:
            write_fits(made, job, bench.fit(jobs[job]))
            done += len(jobs[job])
            on_progress(Progress(made.id, done, total, resumed, 0, "fits"))
        return
    place, facts = save_bench(made.folder, bench)
    with ProcessPoolExecutor(min(processes, len(missing)), mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(_elsewhere, type(bench), place, facts, jobs[job]): job for job in missing}
        for future in as_completed(waiting):
            write_fits(made, waiting[future], future.result())
            done += len(jobs[waiting[future]])
            on_progress(Progress(made.id, done, total, resumed, 0, "fits"))
    place.unlink(missing_ok=True)


def _elsewhere(
    kind: type[Bench] | type[PairBench], place: Path, facts: dict[str, Any], fits: list[Fit]
) -> list[dict[str, Any]]:
    """A job in a process of its own, with one thread."""
    torch.set_num_threads(1)
    return load_bench(kind, place, facts).fit(fits)
