"""Workspaces of captions for the pages: the sample data with scores that see its faults; captions without images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks import synthetic
from mimic.data import Sample
from mimic.runs.importing import import_dataset
from mimic.workspace.datasets import Source, create_dataset
from mimic.workspace.layout import Dataset, Run, Workspace
from mimic.workspace.publish import part_schema, publish, write_part
from mimic.workspace.queries.nearest import FOLDER
from mimic.workspace.samples import read_samples
from tests import hostile

SAMPLE = Path(__file__).parents[2] / "sample_data" / "captions"
SIGNALS = ["mimic", "clip"]


def build(workspace: Workspace) -> Run:
    """The caption sample, scored."""
    dataset, _ = import_dataset(workspace, SAMPLE, "captions")
    run = score(workspace, dataset, "captions-run")
    rng = np.random.default_rng(0)
    (run.folder / FOLDER).mkdir()
    np.save(run.folder / FOLDER / "samples.npy", np.arange(dataset.size, dtype=np.int32))
    image = rng.normal(size=(dataset.size, 8))
    for name, vectors in (("image", image), ("text", image + 0.3 * rng.normal(size=image.shape))):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        np.save(run.folder / FOLDER / f"{name}.npy", unit.astype(np.float16))
    return run


def build_without_images(workspace: Workspace) -> Run:
    """Captions that would like to be something else than words, with scores and nothing else."""
    texts = [*hostile.CAPTIONS, "x" * 5000, "", None]
    samples = (
        Sample(i, f"{i:032x}", None, caption=text, fault="", extra={"width": i}) for i, text in enumerate(texts * 9)
    )
    source = Source("metadata", Path("x"))
    columns = {"width": pa.int64()}
    dataset = create_dataset(workspace, "texts", samples, [], source, workspace.path, columns, task="captions")
    return score(workspace, dataset, "texts-run")


def score(workspace: Workspace, dataset: Dataset, name: str) -> Run:
    """A published run of signals that see the data set's faults, more or less."""
    run = synthetic.begin(workspace, dataset, name, dataset.size, SIGNALS)
    rng = np.random.default_rng(1)
    wrong = np.array([bool(sample.fault) for sample in read_samples(dataset, 0, dataset.size)])
    scores = [(rng.normal(size=dataset.size) - cost * wrong).astype(np.float32) for cost in (2, 1)]
    nobody = pa.nulls(dataset.size, pa.int32())
    unknown = pa.nulls(dataset.size, pa.float32())
    no = pa.array([False] * dataset.size)
    columns = [pa.array(range(dataset.size), pa.int32()), *scores, *[nobody] * 3, *[unknown] * 3, no, no]
    table = pa.table([*columns, pa.nulls(dataset.size, pa.string())], schema=part_schema(SIGNALS))
    write_part(run, run.shards[0], table)
    return publish(run, dataset, {})
