"""A small published workspace whose every number is also at hand as an array: what the queries are checked against.

Ties are common, some samples were not scored, some have no label or no truth, one signal is constant, one never there.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mimic.data import Sample
from mimic.files import write_json
from mimic.workspace.datasets import Source, create_dataset
from mimic.workspace.decisions import Decisions
from mimic.workspace.layout import FORMAT, Dataset, Run, Workspace
from mimic.workspace.publish import part_schema, publish, write_part
from mimic.workspace.queries.connection import Published

N = 1200
CLASSES = ["cat", "dog's", "ü", "empty"]
SIGNALS = ["mimic", "fine", "flat", "never"]


@dataclass(frozen=True, repr=False)
class Known:
    """The same facts twice: as a published run, and as arrays."""

    workspace: Workspace
    published: Published
    second: Published
    scores: dict[str, np.ndarray]
    second_scores: dict[str, np.ndarray]
    labels: np.ndarray
    truths: np.ndarray
    texts: list[str]

    @property
    def wrong(self) -> np.ndarray:
        both = np.array([a is not None and b is not None for a, b in zip(self.labels, self.truths, strict=True)])
        return both & (self.labels != self.truths)

    @property
    def judged(self) -> np.ndarray:
        return np.array([a is not None and b is not None for a, b in zip(self.labels, self.truths, strict=True)])


def draw_scores(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    mimic = rng.standard_t(2, N).round(1).astype(np.float32)
    fine = rng.normal(size=N).astype(np.float32) + mimic
    mimic[rng.random(N) < 0.05] = np.nan
    fine[np.isnan(mimic)] = np.nan
    fine[rng.random(N) < 0.05] = np.nan
    flat = np.where(np.isnan(mimic), np.nan, 0.25).astype(np.float32)
    return {"mimic": mimic, "fine": fine, "flat": flat, "never": np.full(N, np.nan, np.float32)}


def write_run(
    workspace: Workspace, dataset: Dataset, name: str, scores: dict[str, np.ndarray], shard: int = 500
) -> Run:
    folder = workspace.runs_folder / name
    folder.mkdir(parents=True)
    facts = {"format": FORMAT, "run": name, "dataset": dataset.name, "created": "now", "samples": N, "main": "mimic"}
    facts |= {"shards": {"count": 3, "size": shard}, "signals": SIGNALS, "outputs": CLASSES, "config": {}}
    write_json(folder / "run.json", facts)
    run = workspace.run(name)
    for piece in run.shards:
        rows = np.arange(piece.first, piece.last)
        codes, logprob = pa.array(rows % 4, pa.int32()), pa.array(-rows, pa.float32())
        reasons = pa.array([f"no {i % 3}" if np.isnan(scores["mimic"][i]) else None for i in rows], pa.string())
        agrees = pa.array(rows % 2 == 0)
        columns = [pa.array(rows, pa.int32()), *(scores[s][rows] for s in SIGNALS), codes, codes, codes]
        columns += [logprob, logprob, logprob, agrees, agrees, reasons]
        write_part(run, piece, pa.table(columns, schema=part_schema(SIGNALS)))
    return publish(run, dataset, {})


def forget(known: Known) -> None:
    """Undo every decision: the workspace is everybody's, and decisions overrule filters."""
    decisions = Decisions(known.workspace, known.workspace.dataset("d"))
    log = decisions.history(limit=100_000)
    for row in log[(log["action"] != "undo") & ~log["undone"]].itertuples():
        decisions.undo(row.who, row.event)


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    workspace = Workspace(tmp_path_factory.mktemp("queries' workspace"))
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 3, N)
    labels = np.array([None if rng.random() < 0.03 else CLASSES[c] for c in codes], dtype=object)
    wrong = rng.random(N) < 0.2
    truths = np.array([CLASSES[(c + 1) % 3 if w else c] for c, w in zip(codes, wrong, strict=True)], dtype=object)
    truths[rng.random(N) < 0.1] = None
    texts = [f"A {'Red' if i % 7 == 0 else 'blue'} thing 100%_{i}" for i in range(N)]
    samples = (
        Sample(i, f"Id/{i}", f"{i}.png", labels[i], truths[i], "train", {"ca'ption": texts[i]}) for i in range(N)
    )
    columns = {"ca'ption": pa.string()}
    source = Source("manifest", Path("x"))
    dataset = create_dataset(workspace, "d", samples, CLASSES, source, workspace.path, columns)
    first, second = draw_scores(0), draw_scores(1)
    runs = [write_run(workspace, dataset, name, s) for name, s in (("first", first), ("second", second))]
    published = [Published.of(run, dataset) for run in runs]
    return Known(workspace, *published, first, second, labels, truths, texts)
