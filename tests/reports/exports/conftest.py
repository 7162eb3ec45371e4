"""60 images that nobody would wish for: hostile names, a missing file, a missing label, missing scores, two splits."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from mimic.data import Sample
from mimic.files import write_json
from mimic.filters.signal_rules import ThresholdRule
from mimic.reports.exports import Selection
from mimic.workspace.datasets import Source, create_dataset
from mimic.workspace.layout import FORMAT, Workspace
from mimic.workspace.publish import part_schema, publish, write_part
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.dense import Dense
from mimic.workspace.queries.export import DECIDED

N = 60
CLASSES = ["cat", '=HYPERLINK("http://x")', "../up", "שלום\u202e 🐈"]
IDS = {0: "=1+1", 1: "-2", 2: "@x", 3: "'quoted", 4: "line\nbreak", 5: 'a,b"c\td', 6: "＝wide", 7: "é" * 3000}
CAPTIONS = {0: "NA", 1: "tab\there", 2: 'say "hi"', 3: "two\nlines", 4: "007", 5: "null"}
MISSING, WITHOUT_LABEL = 10, 11
DROPPED, RELABELLED, RESCUED = 20, 21, 22


@dataclass(frozen=True, repr=False)
class Pile:
    """The pile as arrays, and as a selection with and without decisions."""

    root: Path
    ids: list[str]
    labels: list[str | None]
    captions: list[str]
    scores: np.ndarray
    rule: Selection
    decided: Selection

    def kept(self, decisions: bool = False) -> np.ndarray:
        kept = np.isnan(self.scores) | (self.scores >= 0)
        if decisions:
            kept[DROPPED], kept[RELABELLED], kept[RESCUED] = False, True, True
        return np.flatnonzero(kept)


@pytest.fixture(scope="session")
def pile(tmp_path_factory: pytest.TempPathFactory) -> Pile:
    root = tmp_path_factory.mktemp("images' root")
    rng = np.random.default_rng(1)
    scores = rng.normal(size=N).astype(np.float32)
    scores[[30, 31]] = np.nan
    scores[[DROPPED, MISSING, WITHOUT_LABEL]] = 1
    scores[[RELABELLED, RESCUED]] = -1
    ids = [IDS.get(i, f"id {i}") for i in range(N)]
    labels = [None if i == WITHOUT_LABEL else CLASSES[i % 3] for i in range(N)]  # the fourth class is empty
    captions = [CAPTIONS.get(i, f"a thing number {i}") for i in range(N)]
    samples = []
    for i in range(N):
        path = f"{'=x' if i % 2 else 'plain'}/{i} é.{'JPG' if i % 4 == 0 else 'png'}"
        (root / path).parent.mkdir(exist_ok=True)
        if i != MISSING:
            Image.fromarray(np.full((5, 4, 3), i * 4, np.uint8)).save(root / path)
        extra = {"caption": captions[i], "uid": f"{(N - i) * 2**80 + i:032x}"}
        samples.append(Sample(i, ids[i], path, labels[i], None, "train" if i % 5 else "te st", extra))
    workspace = Workspace(tmp_path_factory.mktemp("workspace"))
    columns = {"caption": pa.string(), "uid": pa.string()}
    dataset = create_dataset(workspace, "d", samples, CLASSES, Source("manifest", Path("x")), root, columns)
    published = _published(workspace, dataset, scores)
    rows = [(DROPPED, "drop", None), (RELABELLED, "relabel", CLASSES[3]), (RESCUED, "keep", None), (23, "skip", None)]
    decided = pa.table([list(column) for column in zip(*rows, strict=True)], schema=DECIDED)
    rule = ThresholdRule(run=published.run, signal="mimic", threshold=0.0)
    table = Dense(workspace, dataset)
    plain, overruled = Selection(table, rule), Selection(table, rule, decided)
    return Pile(root, ids, labels, captions, scores, plain, overruled)


def _published(workspace, dataset, scores) -> Published:
    (workspace.runs_folder / "r").mkdir(parents=True)
    facts = {"format": FORMAT, "run": "r", "dataset": "d", "created": "now", "samples": N, "main": "mimic"}
    facts |= {"shards": {"count": 1, "size": N}, "signals": ["mimic"], "outputs": CLASSES, "config": {}}
    write_json(workspace.runs_folder / "r" / "run.json", facts | {"versions": {"torch": "2.6"}})
    run = workspace.run("r")
    codes, logprob = pa.array(np.arange(N) % 4, pa.int32()), pa.array(np.full(N, -1), pa.float32())
    reasons = pa.array(["broken" if np.isnan(score) else None for score in scores], pa.string())
    columns = [pa.array(range(N), pa.int32()), scores, codes, codes, codes, logprob, logprob, logprob]
    columns += [pa.array([True] * N)] * 2 + [reasons]
    write_part(run, run.shards[0], pa.table(columns, schema=part_schema(["mimic"])))
    return Published.of(publish(run, dataset, {}), dataset)
