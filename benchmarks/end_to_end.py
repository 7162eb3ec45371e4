"""A folder of photos to a published run, against a bare loop that only decodes and runs the model, on the same cores.

    python -m benchmarks.end_to_end [--photos 2000] [--rounds 5] [--model timm:mobilenetv2_050] [--busy]

The photos are made here from a seed: JPEGs of 500×375 with smooth colours, edges and grain. The bare loop is the best
that one would write by hand: threads decode the next batch while the model works on this one. The reference differs
from the start in its head, as after a linear probe, so scope `last` needs one forward; importing the folder, the
reference check, writing the parts and publishing are in the time. The same once more in as many processes as there are
cores. Last, the command itself, start-up included, for a sixteenth, a quarter and all of the photos. `--busy`: one
thread a model, processor time, and no processes.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageFilter

from benchmarks.tables import Section, markdown, write_csv, write_section
from benchmarks.timing import CLOCKS
from mimic.models.build import build_model
from mimic.models.checkpoint import save_checkpoint
from mimic.runs import forked, local, manager
from mimic.runs.config import ScoreConfig
from mimic.runs.importing import import_dataset
from mimic.runs.loading import decoding_threads
from mimic.runs.memory import keep_freed
from mimic.workspace.layout import Workspace

SIZE = (500, 375)
CLASSES = 10
BATCH = 128
# `mimic …`, which prints last how many KiB it held at most.
WEIGHED = r"""
import atexit, re, pathlib
atexit.register(lambda: print(re.search(r"VmHWM:\s+(\d+)", pathlib.Path("/proc/self/status").read_text())[1]))
from mimic.cli import main
main()
"""


def draw_photos(root: Path, count: int, seed: int = 0) -> None:
    """Writes JPEGs of 30 to 60 KB, in one folder a class."""
    rng = np.random.default_rng(seed)
    for code in range(CLASSES):
        (root / f"class-{code}").mkdir(parents=True)
    for i in range(count):
        colours = rng.integers(0, 255, (5, 6, 3), dtype=np.uint8)
        picture = Image.fromarray(colours).resize(SIZE, Image.Resampling.BICUBIC)
        shapes = Image.fromarray(rng.integers(0, 255, (12, 16), dtype=np.uint8)).resize(SIZE, Image.Resampling.NEAREST)
        picture = Image.composite(picture, picture.filter(ImageFilter.CONTOUR), shapes)
        grain = rng.normal(0, 6, (SIZE[1], SIZE[0], 1))
        pixels = np.clip(np.asarray(picture, np.float32) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / f"class-{i % CLASSES}" / f"{i:05}.jpg", quality=85)


def make_checkpoints(spec: str, folder: Path) -> tuple[Path, Path]:
    """A start, and a reference with another head."""
    torch.manual_seed(0)
    built = build_model(spec, CLASSES)
    state = {key: each.clone() for key, each in built.module.state_dict().items()}
    start, reference = folder / "start.safetensors", folder / "reference.safetensors"
    save_checkpoint(start, state, {})
    head = [key for key, each in state.items() if each.is_floating_point()][-2:]
    for key in head:
        state[key] += 0.1 * torch.randn_like(state[key])
    save_checkpoint(reference, state, {})
    return start, reference


def bare_loop(spec: str, paths: list[Path]) -> Callable[[], None]:
    """Decode and forward, as one would write it by hand."""
    built = build_model(spec, CLASSES)
    assert built.preprocess is not None
    preprocess, module = built.preprocess, built.module
    threads = decoding_threads()

    def decode(path: Path) -> torch.Tensor:
        with Image.open(path) as image:
            return preprocess(image.convert("RGB"))

    def call() -> None:
        with ThreadPoolExecutor(threads) as pool, torch.inference_mode():
            batches = [paths[first : first + BATCH] for first in range(0, len(paths), BATCH)]
            ahead = [pool.submit(decode, path) for path in batches[0]]
            for following in [*batches[1:], []]:
                waiting, ahead = ahead, [pool.submit(decode, path) for path in following]
                module(torch.stack([each.result() for each in waiting]))

    return call


def scoring(
    spec: str, root: Path, checkpoints: tuple[Path, Path], folder: Path, processes: int = 1
) -> Callable[[], None]:
    """The folder to a published run, in a workspace of its own each time."""
    execute = local.execute if processes == 1 else partial(forked.execute, processes=processes)
    start, reference = (str(each) for each in checkpoints)

    def call() -> None:
        workspace = Workspace(Path(tempfile.mkdtemp(dir=folder)))
        import_dataset(workspace, root, "photos")
        config = ScoreConfig.checked(dataset="photos", model=spec, reference=reference, start=start, batch_size=BATCH)
        threads = max(decoding_threads() // processes, 1)
        assert manager.score(workspace, config, "cpu", threads, execute).counts["scored"] > 0

    return call


def growth(spec: str, root: Path, checkpoints: tuple[Path, Path], folder: Path, photos: int) -> dict[str, float]:
    """Seconds and memory of `mimic score --limit photos`, from the command to the published run."""
    place = Path(tempfile.mkdtemp(dir=folder))
    import_dataset(Workspace(place), root, "photos")
    start, reference = (str(each) for each in checkpoints)
    command = [sys.executable, "-c", WEIGHED, "score", "photos", "--model", spec, "--reference", reference]
    command += ["--start", start, "--limit", str(photos), "--device", "cpu", "--workspace", str(place)]
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    held = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"photos": photos, "seconds": seconds, "processor seconds": processor, "peak MiB": int(held) / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="timm:mobilenetv2_050")
    parser.add_argument("--busy", action="store_true", help="one thread a model, processor time")
    asked = parser.parse_args()
    if asked.busy:
        torch.set_num_threads(1)
    now = CLOCKS["processor" if asked.busy else "wall"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_photos(folder / "photos", asked.photos)
        paths = sorted((folder / "photos").rglob("*.jpg"))
        made = (asked.model, folder / "photos", make_checkpoints(asked.model, folder), folder)
        calls = {"bare loop": bare_loop(asked.model, paths), "mimic score": scoring(*made)}
        if not asked.busy and decoding_threads() > 1:
            calls[f"mimic score --processes {decoding_threads()}"] = scoring(*made, decoding_threads())
        seconds: dict[str, list[float]] = {key: [] for key in calls}
        for turn in range(-1, asked.rounds):
            for key, call in calls.items():
                begin = now()
                call()
                if turn >= 0:
                    seconds[key].append(now() - begin)
                    print(key, f"{seconds[key][-1]:.2f} s", flush=True)
        grown = pd.DataFrame([growth(*made, asked.photos // share) for share in (16, 4, 1)])
    report(asked, seconds, grown)


def report(asked: argparse.Namespace, seconds: dict[str, list[float]], grown: pd.DataFrame) -> None:
    """Prints the tables; for all the photos, also writes results/end_to_end*.csv and the section of docs/results.md."""
    rows = []
    for key, each in seconds.items():
        median = statistics.median(each)
        share = statistics.median(a / b for a, b in zip(seconds["bare loop"], each, strict=True))
        rows.append(
            {"what": key, "seconds": median, "photos a second": asked.photos / median, "of the bare loop": share}
        )
    table = pd.DataFrame(rows)
    print(table.to_string(index=False), grown.to_string(index=False), sep="\n")
    if asked.photos < 2000:
        return
    write_csv("end_to_end", table)
    write_csv("end_to_end_growth", grown)
    clock = "processor time, one thread a model" if asked.busy else "wall time"
    body = f"""{asked.photos:,} JPEGs of {SIZE[0]}×{SIZE[1]} in a folder to a published run, scope `last`, model
`{asked.model}`, against a loop that decodes them the same way in threads and runs the model: medians of
{asked.rounds} rounds in turns, {clock}; load of the machine at the end {os.getloadavg()[0]:.1f}.

{markdown(table, 2)}

The command for fewer and for all of them, start-up included:

{markdown(grown, 1)}"""
    write_section(Section("end_to_end", "From a folder to a run", "python -m benchmarks.end_to_end", body))


if __name__ == "__main__":
    keep_freed()
    main()
