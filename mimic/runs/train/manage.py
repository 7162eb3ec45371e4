"""Begin, resume, publish: a training run from the command to scores.duckdb, whatever interrupts it in between.

Stages: prepare → find or begin the run under its lock → train its arms, one after the other → publish. On the disk:

    run.json                            as of any run
    parts/*.parquet, visits.json        the visits, as `mimic.training.recorder` writes them
    curves.jsonl                        the points of the learning curves
    checkpoint.safetensors              where the training stands; gone once the run is published
    progress.json                       how far it is, for whoever watches
    model.safetensors, uniform.safetensors   an arm's final model; its existence means that the arm is done
    scores.duckdb                       at the end: scores, visits, curves, failures, bins
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import duckdb
import torch

from mimic.errors import MimicError
from mimic.files import make_folder, read_json, write_json
from mimic.models.checkpoint import save_checkpoint
from mimic.runs.manager import begin, checkpoint_facts, saying_why
from mimic.runs.progress import Progress
from mimic.runs.train.arm import Arm
from mimic.runs.train.batches import epoch_order
from mimic.runs.train.beside import joined
from mimic.runs.train.checkpoint import load_state, save_state
from mimic.runs.train.config import GRAD_MIMIC, MAIN, VERSION, TrainConfig
from mimic.runs.train.prepare import PreparedTraining, prepare_training
from mimic.training import together
from mimic.training.exhaustion import ReferenceExhausted
from mimic.training.visits import SIGNALS, run_tables
from mimic.workspace.curves import append_point, curves_table, forget_points
from mimic.workspace.layout import Run, Workspace, first_facts
from mimic.workspace.locks import held
from mimic.workspace.publish import finished, publish

POINTS = 10  # of an epoch's learning curve
CHECKPOINT_SECONDS = 60.0  # between checkpoints, beside the one at the end of each epoch
_TOLD_SECONDS = 1.0
_ECHO_SECONDS = 5.0

MODELS = {"grad_mimic": "model.safetensors", "uniform": "uniform.safetensors"}


def train(
    workspace: Workspace,
    config: TrainConfig,
    device: str = "auto",
    threads: int | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Run:
    """Train on a data set: begin the run, or go on where an earlier attempt stopped, or find it published.

    Args:
        workspace: where the data set is and the run goes.
        config: what to do.
        device, threads: see `mimic.runs.manager.score`.
        on_progress: told after every step.

    Returns:
        The published run; `MODELS` names the final models in its folder.

    Raises:
        MimicError: something does not fit; another process works on the run; the loss is no number any more.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the step that was being made is kept.
    """
    with joined(device) as own_device:
        prepared = prepare_training(workspace, config, own_device, threads)
        folder = make_folder(workspace.runs_folder / prepared.id)
        leads = together.leads()
        with held(folder) if leads else nullcontext():
            together.wait()
            if (found := finished(workspace, prepared.id)) is not None:
                return found
            together.wait()
            run = begin(workspace, folder, _facts(prepared)) if leads else None
            together.wait()
            run = run or workspace.run(prepared.id)
            with saying_why(run) if leads else nullcontext(), asked_to_stop() as stopping:
                training = Training(prepared, run, on_progress if leads else lambda progress: None, stopping)
                training.go()
                together.wait()
                published = _publish(prepared, run, training) if leads else None
                together.wait()
                return published or workspace.run(prepared.id)


class Training:
    """The arms of a run, from wherever they stand to their final models. Of several processes the first one writes."""

    def __init__(
        self,
        prepared: PreparedTraining,
        run: Run,
        on_progress: Callable[[Progress], None],
        stopping: Callable[[], bool],
    ) -> None:
        self.seconds = 0.0  # spent, over all attempts
        self._prepared, self._run = prepared, run
        self._config, self._train = prepared.config, prepared.train
        self._on_progress, self._stopping = on_progress, stopping
        self._checkpoint = run.folder / "checkpoint.safetensors"
        self._least = max(together.processes(), 2)  # samples of a batch
        if self._config.batch_size < self._least:
            raise MimicError(f"--batch-size {self._config.batch_size} is less than a sample for each process")
        self._epoch_steps = len(epoch_order(len(self._train), self._config.batch_size, 0, 0, self._least))
        self._steps = self._epoch_steps * self._config.epochs
        self._start = self._began = self._saved = self._told = time.monotonic()
        self._done = self._unread = 0  # visits
        self._resumed = 0  # visits that earlier attempts have made
        self._last: dict[str, Any] = {}  # the curve's newest point

    def go(self) -> None:
        """Train what is not trained yet.

        Raises:
            MimicError: nothing can be read; the loss is no number any more.
            KeyboardInterrupt: when asked to stop, after a checkpoint.
        """
        saved = load_state(self._checkpoint) if self._checkpoint.exists() else None
        if saved is not None:
            self.seconds = saved["seconds"]
            self._train.reasons.update(saved["reasons"])
        self._done = self._resumed = self._kept(saved)
        self._read_images()
        self._start = self._began = time.monotonic()
        for place, name in enumerate(self._config.arms):
            if not self._model(name).exists():
                self._begin(name, place, saved if saved is not None and saved["arm"] == name else None)

    def _begin(self, name: str, place: int, saved: Mapping[str, Any] | None) -> None:
        """One arm; torch's own random numbers are its, and put back after it."""
        config, device = self._config, self._prepared.fitted.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(config.seed)
            record = self._run.folder if name == GRAD_MIMIC else None
            arm = Arm(name, config, self._prepared.task, self._prepared.fitted, self._steps, record)
            if saved is not None:
                arm.load_state_dict(saved["state"])
            elif arm.reweight is not None:
                arm.reweight.load_state_dict(arm.reweight.state_dict())  # visits of an attempt without a checkpoint go
            self._forget_after(name, arm.step)
            self._done = place * len(self._train) * config.epochs + self._visits(arm.step)
            self._last = {}
            self._tell(arm, force=True)
            try:
                self._epochs(arm)
            finally:
                arm.close()
        metadata = {"classes": json.dumps(self._prepared.fitted.classes.outputs), "model": config.model}
        together.wait()  # everybody's visits are on the disk before the arm counts as done
        if together.leads():
            save_checkpoint(self._model(name), arm.module.state_dict(), metadata)
        together.wait()

    def _epochs(self, arm: Arm) -> None:
        if arm.step == 0:
            self._validate(arm, 0)
        while arm.step < self._steps:
            epoch, first = divmod(arm.step, self._epoch_steps)
            order = epoch_order(len(self._train), self._config.batch_size, self._config.seed, epoch, self._least)
            try:
                self._epoch(arm, epoch, first, order[first:])
            except ReferenceExhausted:
                self._save(arm)
                return
            self._validate(arm, epoch)
            self._may_stop(arm, save=True)

    def _epoch(self, arm: Arm, epoch: int, first: int, order: list[Any]) -> None:
        every = max(self._epoch_steps // POINTS, 1)
        for place, batch in enumerate(self._train.batches(order), first + 1):
            if len(batch.numbers) >= self._least:
                arm.learn(batch, epoch)
            else:
                arm.step += 1  # nothing left of it that could be weighed
            self._done += len(batch.numbers) + batch.skipped
            self._unread += batch.skipped
            if place % every == 0 or place == self._epoch_steps:
                self._note(arm, epoch, "train", arm.point())
            self._tell(arm)
            if place < self._epoch_steps:  # the last step's checkpoint comes after the points that end the epoch
                self._may_stop(arm, time.monotonic() - self._saved > CHECKPOINT_SECONDS)

    def _may_stop(self, arm: Arm, save: bool) -> None:
        """A checkpoint if it is time for one, or if the training is to stop, which it then does."""
        stop, save = self._agreed(self._stopping(), save)
        if stop or save:
            self._save(arm)
        if stop:
            raise KeyboardInterrupt

    def _agreed(self, *asked: bool) -> list[bool]:
        """What any of the processes asks for, all do."""
        if together.processes() == 1:
            return list(asked)
        counts = together.total(torch.tensor(asked, dtype=torch.int32, device=self._prepared.fitted.device))
        return [count > 0 for count in counts.tolist()]

    def _validate(self, arm: Arm, epoch: int) -> None:
        for split, examples in self._prepared.held.items():
            order = epoch_order(len(examples), max(self._config.batch_size, 128), 0, 0)
            self._note(arm, epoch, split, arm.evaluate(examples.batches(order)))

    def _note(self, arm: Arm, epoch: int, split: str, measured: Mapping[str, Any]) -> None:
        place = {"arm": arm.name, "epoch": epoch, "step": arm.step, "split": split}
        if together.leads():
            append_point(self._run, {**place, **measured})
        self._last[split] = dict(measured)

    def _save(self, arm: Arm) -> None:
        now = time.monotonic()
        self.seconds += now - self._began
        self._began = self._saved = now
        state = {"arm": arm.name, "seconds": self.seconds, "reasons": self._train.reasons, "state": arm.state_dict()}
        together.wait()  # everybody's visits up to here are on the disk
        if together.leads():
            save_state(self._checkpoint, state)
        self._tell(arm, force=True, kept=True)

    def _forget_after(self, name: str, step: int) -> None:
        """Points of the curves that this attempt will make again. The point before the first step is one of them."""
        order = self._config.arms

        def kept(point: Mapping[str, Any]) -> bool:
            place = order.index(point["arm"]) - order.index(name)
            return place < 0 or (place == 0 and 0 < step >= point["step"])

        if together.leads():
            forget_points(self._run, kept)

    def _tell(self, arm: Arm, force: bool = False, kept: bool = False) -> None:
        total = self._run.facts["visits"]
        note = _words(self._config, arm, self._epoch_steps, self._last)
        self._on_progress(Progress(self._run.id, self._done, total, self._resumed, self._unread, "visits", note))
        now = time.monotonic()
        if together.leads() and (force or now - self._told > _TOLD_SECONDS):
            self._told = now
            file = self._run.folder / "progress.json"
            before = read_json(file)["kept"] if file.exists() else 0
            rate = (self._done - self._resumed) / max(now - self._start, 1e-9)
            keeps = self._done if kept else before
            write_json(file, {"done": self._done, "kept": keeps, "rate": rate, "note": note})

    def _read_images(self) -> None:
        total = self._run.facts["visits"]
        for examples in (self._train, *self._prepared.held.values()):
            size = f"{len(examples):,}"

            def told(done: int, size: str = size) -> None:
                note = f"reading images: {done:,} of {size}"
                self._on_progress(Progress(self._run.id, self._done, total, self._resumed, 0, "visits", note))
                if self._stopping():
                    raise KeyboardInterrupt

            examples.keep(told)
        if len(self._train) and len(self._train.reasons) >= self._run.size:
            number, reason = next(iter(self._train.reasons.items()))
            raise MimicError(
                f"no image of data set {self._prepared.dataset.name!r} can be read (sample {number}: {reason}): if "
                f"they have moved, run `mimic relocate {self._prepared.dataset.name} --root FOLDER"
                f"{self._prepared.dataset.workspace.option}`"
            )

    def _kept(self, saved: Mapping[str, Any] | None) -> int:
        """Visits of finished arms and of the checkpoint."""
        whole = len(self._train) * self._config.epochs
        finished = [name for name in self._config.arms if self._model(name).exists()]
        begun = saved is not None and saved["arm"] not in finished
        return len(finished) * whole + (self._visits(saved["state"]["step"]) if saved is not None and begun else 0)

    def _visits(self, step: int) -> int:
        epochs, rest = divmod(step, self._epoch_steps)
        return min(epochs * len(self._train) + rest * self._config.batch_size, self._config.epochs * len(self._train))

    def _model(self, name: str) -> Path:
        return self._run.folder / MODELS[name]


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Inside, Ctrl-C and SIGTERM only ask: training ends after the step that it is at. A second one ends it at once.

    torchrun passes on to each process what the terminal has sent them already: so soon after the first it is the same.
    """
    asked = 0.0

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked and (together.processes() == 1 or time.monotonic() - asked > _ECHO_SECONDS):
            raise KeyboardInterrupt
        asked = asked or time.monotonic()

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked > 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _words(config: TrainConfig, arm: Arm, epoch_steps: int, last: Mapping[str, Any]) -> str:
    """Where an arm is and how it does, on one line."""
    epoch = min(arm.step // epoch_steps + 1, config.epochs)
    words = [arm.name.replace("_", "-"), f"epoch {epoch} of {config.epochs}"]
    trained = last.get("train", {})
    if "loss" in trained:
        words.append(f"loss {trained['loss']:.3f}")
    if "mean_score" in trained:
        words.append(f"mean score {trained['mean_score']:.3g}")
    if "validation" in last:
        words.append(f"validation accuracy {last['validation']['accuracy']:.1%}")
    if arm.reweight is not None and arm.reweight.exhausted is not None:
        words.append("reference exhausted")
    return " · ".join(words)


def _publish(prepared: PreparedTraining, run: Run, training: Training) -> Run:
    visits = read_json(run.folder / "visits.json")
    reasons = prepared.train.reasons

    def make_tables(connection: duckdb.DuckDBPyConnection, run: Run) -> None:
        run_tables(connection, run, reasons)
        curves_table(connection, run)

    facts = {
        "seconds": round(training.seconds, 3),
        "exhausted": visits.get("exhausted"),
        "models": {arm: MODELS[arm] for arm in prepared.config.arms},
    }
    published = publish(run, prepared.dataset, facts, make_tables)
    for name in ("checkpoint.safetensors", "progress.json"):
        (run.folder / name).unlink(missing_ok=True)
    return published


def _facts(prepared: PreparedTraining) -> dict[str, Any]:
    """run.json of a new run."""
    config, fitted = prepared.config, prepared.fitted
    count = len(prepared.train)
    size = count + len(prepared.train.reasons)
    return {
        **first_facts(prepared.dataset.workspace, prepared.id, prepared.dataset.name, "train"),
        "config": config.model_dump(mode="json"),
        "main": MAIN,
        "signals": list(SIGNALS),
        "meanings": {name: meaning for name, (_, meaning) in SIGNALS.items()},
        "samples": size,
        "visits": count * config.epochs * len(config.arms),
        "shards": {"count": 1, "size": size},
        "epoch_steps": len(epoch_order(count, config.batch_size, 0, 0)),
        "validation": {split: len(examples) for split, examples in prepared.held.items()},
        "model": {
            "spec": config.model,
            "parameters": sum(each.numel() for each in fitted.weights.built.module.parameters()),
            "preprocess": fitted.identity["preprocess"],
        },
        "reference": checkpoint_facts(fitted.weights.reference),
        "start": None if fitted.weights.as_built else checkpoint_facts(fitted.weights.start),
        "scope": config.scope,
        "loss": config.loss,
        "precision": config.precision,
        "batch_size": config.batch_size,
        "split": config.split,
        "outputs": fitted.classes.outputs,
        "outputs_reason": fitted.classes.reason,
        "device": str(fitted.device),
        "versions": {"mimic": version("mimic-score"), "training": VERSION, "torch": torch.__version__},
    }
