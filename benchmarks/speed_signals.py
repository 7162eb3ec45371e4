"""What each signal costs a sample, by itself, relative to a plain forward pass with per-sample losses.

    python -m benchmarks.speed_signals [--rounds 9] [--samples 8000] [--busy]

- Of a batch: a scorer asked for that one signal, relative to the same model's forward on the same batch, once with a
  reference that differs in its last layer only, and once in every layer: then its own forward is in the price.
- Of the whole set: from frozen features of so many samples in ten classes, relative to ViT-Tiny's forward of as many
  images of 224×224. The features are made up; `ensemble`, `margin_mean`, `forgetting` and `confident` train heads.
- Of the picture: from a decoded photo of 500×375, relative to ViT-Tiny's forward of one image.

`--busy` is for a machine on which others compute: one thread, and the processor's time instead of the wall's.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from benchmarks.end_to_end import draw_photos
from benchmarks.speed import forward
from benchmarks.speed_cases import CASES, Case
from benchmarks.tables import Section, markdown, write_csv, write_section
from benchmarks.timing import CLOCKS, interleaved, with_allocator
from mimic.models.head import guess_head
from mimic.scores.duplicates import perceptual_hash
from mimic.scores.heads import Frozen
from mimic.scores.image import IMAGE_SIGNALS, Picture
from mimic.scores.logits import BATCH_SIGNALS
from mimic.scores.pairs import BATCH_PAIR_SIGNALS
from mimic.scores.scorer import SignalScorer
from mimic.scores.table import TABLE_SIGNALS, Table

FORWARD = "forward"
CLASSES, DIMENSIONS = 10, 1280
Row = dict[str, object]


def head_only(case: Case) -> Case:
    """The same with a reference that differs in the last layer alone."""
    name, _ = guess_head(case.start)
    start = case.start.state_dict()
    kept = {key: case.reference[key] if key.startswith(f"{name}.") else start[key] for key in start}
    return Case(f"{case.name}, reference's head", case.start, kept, case.inputs, case.labels, case.loss)


def of_a_batch(case: Case, rounds: int, clock: str) -> Iterator[Row]:
    """Each signal that a scorer gives, asked for alone; Mimic Scores over the last layer, or the image tower's."""
    further, scope = (BATCH_SIGNALS, "last") if case.labels is not None else (BATCH_PAIR_SIGNALS, "image-last")
    names = ["mimic", "mimic_path", *further]
    calls: dict[str, Callable[[], object]] = {FORWARD: forward(case)}
    for name in names:
        scorer = SignalScorer(case.start, case.reference, scope, [name], case.loss)
        calls[name] = partial(scorer, case.inputs, case.labels)
    times = interleaved(calls, rounds, clock=clock)
    each = len(case.inputs[0]) if isinstance(case.inputs, tuple) else len(case.inputs)
    for name in names:
        milliseconds = times.milliseconds(name) / each
        yield {"signal": name, "of": case.name, "ms": milliseconds, "of a forward": times.ratio(name, FORWARD)}


def of_the_set(samples: int, unit: float, clock: Callable[[], float]) -> Iterator[Row]:
    """Each signal of the whole set once, what it shares with others included."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, CLASSES, samples)
    centres = rng.normal(size=(CLASSES, DIMENSIONS))
    features = (centres[truth] + 4 * rng.normal(size=(samples, DIMENSIONS))).astype(np.float32)
    labels = np.where(rng.random(samples) < 0.2, rng.integers(0, CLASSES, samples), truth)
    reference = torch.from_numpy(features @ centres.T / 16).float().log_softmax(dim=1).numpy()
    hashes = rng.integers(0, 2**63, samples).astype(np.uint64)
    for name, signal in TABLE_SIGNALS.items():
        table = Table(Frozen(features, labels, CLASSES), reference, hashes)
        begin = clock()
        signal(table)
        milliseconds = 1e3 * (clock() - begin) / samples
        yield {
            "signal": name,
            "of": f"{samples:,} × {DIMENSIONS:,}",
            "ms": milliseconds,
            "of a forward": milliseconds / unit,
        }


def of_the_picture(unit: float, rounds: int, clock: str) -> Iterator[Row]:
    """Each signal of ten decoded photos, its grey pixels included."""
    with tempfile.TemporaryDirectory() as folder:
        draw_photos(Path(folder), 10)
        images = [Image.open(path).convert("RGB") for path in Path(folder).rglob("*.jpg")]
    calls: dict[str, Callable[[], object]] = {
        name: lambda signal=signal: [signal(Picture(each, 0)) for each in images]
        for name, signal in IMAGE_SIGNALS.items()
    }
    calls["duplicate, its hash"] = lambda: [perceptual_hash(each) for each in images]
    times = interleaved(calls, rounds, clock=clock)
    for name in calls:
        milliseconds = times.milliseconds(name) / len(images)
        yield {"signal": name, "of": "a photo of 500×375", "ms": milliseconds, "of a forward": milliseconds / unit}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--samples", type=int, default=8_000)
    parser.add_argument("--busy", action="store_true")
    asked = parser.parse_args()
    with_allocator("benchmarks.speed_signals")
    clock = "processor" if asked.busy else "wall"
    torch.set_num_threads(1 if asked.busy else len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    cases = {name: make() for name, make in CASES.items()}
    image = interleaved({FORWARD: forward(cases["vit-tiny"])}, asked.rounds, clock=clock)
    unit = image.milliseconds(FORWARD) / len(cases["vit-tiny"].inputs)
    rows: list[Row] = []
    for case in cases.values():
        for each in [head_only(case), case] if case.labels is not None else [case]:
            rows += of_a_batch(each, asked.rounds, clock)
            print(f"{each.name}: done", flush=True)
    rows += of_the_set(asked.samples, unit, CLOCKS[clock])
    rows += of_the_picture(unit, asked.rounds, clock)
    table = pd.DataFrame(rows)
    how = f"{asked.rounds} rounds, {torch.get_num_threads()} threads, {clock} time, load {os.getloadavg()[0]:.1f}"
    write_csv("speed_signals", table.assign(how=how))
    print(table.round(3).to_string(index=False))
    body = f"""Milliseconds a sample, and relative to a plain forward with per-sample losses; {how}. A forward of
ViT-Tiny takes {unit:.1f} ms an image. Several signals of a batch share its forwards, and several of the set its
neighbours and heads, so that together they cost less than the sum.

{markdown(table)}
"""
    section = Section("speed_signals", "What each signal costs", "python -m benchmarks.speed_signals", body)
    print(write_section(section))


if __name__ == "__main__":
    main()
