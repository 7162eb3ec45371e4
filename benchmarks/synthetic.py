"""A synthetic workspace of any size, for timing the app and for its tests.

The real import writes the first thousand samples, the real publication the run; samples beyond are added in DuckDB, as
the import would have written them (a test compares), for which Python would take minutes at ten million.

    python -m benchmarks.synthetic --rows 10_000_000 --workspace big-workspace

Every number is drawn from the seed, a shard at a time, so that a test can draw the same again and compare. One label in
ten is wrong; each signal sees that to a degree of its own; three samples in a thousand could not be scored.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from mimic.data import Sample, Shard
from mimic.evaluation.reference_check import check_reference
from mimic.files import write_json
from mimic.workspace.datasets import Source, create_dataset
from mimic.workspace.files import building
from mimic.workspace.layout import FORMAT, Dataset, Run, Workspace
from mimic.workspace.publish import part_schema, publish, write_part

# signal → (scale, how many deviations a wrong label costs, share of what all signals have in common)
SIGNALS = {
    "mimic": (0.02, 2.2, 0.7),
    "ref_logprob": (1.5, 2.0, 0.8),
    "logprob": (1.0, 1.2, 0.6),
    "margin": (2.0, 1.3, 0.6),
    "mimic_path": (0.03, 1.8, 0.9),
}
WRONG, FAILED = 0.1, 0.003
PICTURES = 500
IMPORTED = 1000


@dataclass(frozen=True)
class Drawn:
    """The truth about some rows: class codes (N,) int32, signals (N,) float32 with NaN where not scored."""

    label: NDArray[np.int32]
    truth: NDArray[np.int32]
    signals: dict[str, NDArray[np.float32]]

    @property
    def wrong(self) -> NDArray[np.bool_]:
        return self.label != self.truth


def draw(shard: Shard, classes: int, seed: int, first: int = len(SIGNALS)) -> Drawn:
    """The rows of a shard: the same for the same seed, shard and number of classes; the first so many signals."""
    rng = np.random.default_rng([seed, shard.index])
    n = len(shard)
    # skewed, as class sizes are
    truth = np.minimum(rng.exponential(classes / 3, n), classes - 1).astype(np.int32)
    other = (truth + rng.integers(1, max(classes, 2), n)) % classes
    label = np.where(rng.random(n) < WRONG, other, truth).astype(np.int32)
    hardness, failed = rng.normal(size=n), rng.random(n) < FAILED
    signals = {}
    for name, (scale, cost, common) in islice(SIGNALS.items(), first):
        noise = np.sqrt(common) * hardness + np.sqrt(1 - common) * rng.standard_t(6, n)
        values = (scale * (1.0 + noise - cost * (label != truth))).astype(np.float32)
        signals[name] = np.where(failed, np.float32(np.nan), values)
    return Drawn(label, truth, signals)


def build(
    workspace: Workspace, rows: int, *, classes: int = 10, shard: int = 250_000, seed: int = 0,
    pictures: int = PICTURES, imported: int = IMPORTED,
) -> Run:  # fmt: skip
    """Write a data set and a published run of `rows` samples, which share `pictures` image files between them.

    Args:
        imported: how many samples go through the real import; the others are added in DuckDB.
    """
    run = begun(workspace, rows, classes=classes, shard=shard, seed=seed, pictures=pictures, imported=imported)
    first = draw(run.shards[0], classes, seed)
    return publish(run, workspace.dataset(run.dataset), {"seconds": 1.0, "check": _check(first)})


def begun(
    workspace: Workspace, rows: int, *, classes: int = 10, shard: int = 250_000, seed: int = 0,
    pictures: int = PICTURES, imported: int = IMPORTED, signals: int = len(SIGNALS),
) -> Run:  # fmt: skip
    """The same with every part and not yet published, and with the first so many signals."""
    names = [f"class {code:03}" for code in range(classes)]
    shards = [Shard(i, a, min(a + shard, rows)) for i, a in enumerate(range(0, rows, shard))]
    root = workspace.path.resolve() / "pictures"
    _draw_pictures(root, pictures)
    columns = {"note": pa.string()}
    samples = islice(_samples(shards, names, seed, pictures), max(imported, 1))
    name = f"synthetic-{rows}"
    dataset = create_dataset(workspace, name, samples, names, Source("manifest", root), root, columns)
    if rows > dataset.size:
        dataset = _grown(dataset, shards, names, seed, pictures)
    run = begin(workspace, dataset, f"synthetic-{rows}", shard, list(SIGNALS)[:signals])
    for piece in shards:
        write_part(run, piece, part(piece, draw(piece, classes, seed, signals), run.signals))
    return run


def begin(
    workspace: Workspace, dataset: Dataset, name: str, shard: int, signals: Sequence[str] = tuple(SIGNALS)
) -> Run:
    """A run of a data set before its first part."""
    folder = workspace.runs_folder / name
    folder.mkdir(parents=True)
    facts = {
        "format": FORMAT,
        "run": name,
        "dataset": dataset.name,
        "kind": "score",
        "created": "2026-01-01T00:00:00+00:00",
        "config": {},
        "main": "mimic",
        "signals": list(signals),
        "outputs": dataset.classes,
        "samples": dataset.size,
        "shards": {"count": -(-dataset.size // shard), "size": shard},
        "model": {"spec": "synthetic", "parameters": 0},
        "reference": {"name": "synthetic", "sha256": "0" * 64},
        "scope": "last",
        "method": "closed",
    }
    write_json(folder / "run.json", facts)
    return workspace.run(name)


def _samples(shards: Sequence[Shard], names: Sequence[str], seed: int, pictures: int) -> Iterator[Sample]:
    for shard in shards:
        drawn = draw(shard, len(names), seed)
        for i, label, truth in zip(range(shard.first, shard.last), drawn.label, drawn.truth, strict=True):
            extra = {"note": f"picture {i % pictures} of {names[truth]}"}
            yield Sample(i, f"id-{i:09}", f"{i % pictures:05}.png", names[label], names[truth], "train", extra)


def _grown(dataset: Dataset, shards: Sequence[Shard], names: Sequence[str], seed: int, pictures: int) -> Dataset:
    """The same data set with all its samples: those that were imported, and the further ones as `_samples` has them."""
    pool = pa.array(names, pa.string())
    with building(dataset.samples_file) as connection:
        connection.execute(f"ATTACH '{dataset.samples_file}' AS imported (READ_ONLY)")
        connection.execute("CREATE TABLE samples AS FROM imported.samples ORDER BY sample")
        connection.execute("CREATE TABLE classes AS FROM imported.classes ORDER BY code")
        for shard in shards:
            drawn = draw(shard, len(names), seed, 0)
            label, truth = (pa.DictionaryArray.from_arrays(codes, pool) for codes in (drawn.label, drawn.truth))
            numbers = np.arange(shard.first, shard.last, dtype=np.int32)
            columns = {"sample": numbers, "label": label, "truth": truth, "label_code": drawn.label}
            connection.register("drawn", pa.table(columns))
            connection.execute(
                "INSERT INTO samples BY NAME SELECT sample, 'id-' || lpad(sample::VARCHAR, 9, '0') AS id,"
                f" lpad((sample % {pictures})::VARCHAR, 5, '0') || '.png' AS path, label::VARCHAR AS label, label_code,"
                " truth::VARCHAR AS truth, 'train' AS split,"
                f" 'picture ' || (sample % {pictures}) || ' of ' || truth::VARCHAR AS note"
                f" FROM drawn WHERE sample >= {dataset.size}"
            )
            connection.unregister("drawn")
        connection.execute("DETACH imported")
    rows = shards[-1].last
    content = hashlib.sha256(f"{rows} {len(names)} {seed} {pictures}".encode()).hexdigest()
    facts = {**dataset.facts, "samples": rows, "splits": {"train": rows}, "content": content}
    write_json(dataset.folder / "dataset.json", facts)
    return Dataset(dataset.folder, facts)


def part(shard: Shard, drawn: Drawn, signals: Sequence[str]) -> pa.Table:
    n, classes = len(shard), int(max(drawn.truth.max(), drawn.label.max())) + 1
    guesses = [((drawn.truth + k) % max(classes, 3)).astype(np.int32) for k in range(3)]
    logprobs = [np.full(n, np.log(p), np.float32) for p in (0.7, 0.2, 0.1)]
    failed = np.isnan(drawn.signals["mimic"])
    reasons = pa.array(["file is missing" if bad else None for bad in failed], pa.string())
    agrees = ~drawn.wrong
    columns = [np.arange(shard.first, shard.last, dtype=np.int32), *(drawn.signals[s] for s in signals)]
    return pa.table([*columns, *guesses, *logprobs, agrees, agrees, reasons], schema=part_schema(signals))


def _check(drawn: Drawn) -> dict[str, Any] | None:
    """A reference check on the first shard, with a reference and a start that are right now and then."""
    scored = ~np.isnan(drawn.signals["mimic"])
    agrees = ~drawn.wrong & (drawn.signals["ref_logprob"] > -0.5)
    weaker = agrees & (drawn.signals["logprob"] > 0)
    of = [values[scored] for values in (drawn.signals["mimic"], agrees, weaker, drawn.label)]
    found = check_reference(*of, norm=3.0)
    return found.facts() if found else None


def _draw_pictures(root: Path, pictures: int) -> None:
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(pictures):
        blocks = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize((96, 96), Image.Resampling.BICUBIC).save(root / f"{i:05}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=lambda text: int(text.replace("_", "")), default=100_000)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workspace", type=Path, default=Path("synthetic-workspace"))
    asked = parser.parse_args()
    started = time.perf_counter()
    run = build(Workspace(asked.workspace), asked.rows, classes=asked.classes, seed=asked.seed)
    print(f"run {run.id} of {run.size:,} samples in {time.perf_counter() - started:.1f} s: mimic app {asked.workspace}")


if __name__ == "__main__":
    main()
