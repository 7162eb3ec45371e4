"""The demonstration: the sample data of a clone, imported and scored, and how well each signal finds its faults."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mimic.errors import MimicError
from mimic.evaluation.detection import detection_table
from mimic.runs.config import ScoreConfig
from mimic.runs.importing import import_dataset
from mimic.scores import SIGNALS
from mimic.workspace.layout import Dataset, Run, Workspace
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.rows import judged

DATASET = "sample"
MODEL = "small:convnet-group"
CAPTIONS = "captions"
TOWERS = "small:two-tower"

_FOLDER = Path(__file__).resolve().parents[2] / "sample_data"


def sample_folder() -> Path:
    """Where the sample data lies.

    Raises:
        MimicError: this is no clone, so there is none.
    """
    if not (_FOLDER / "manifest.csv").is_file():
        raise MimicError(
            "the demo needs the sample data of a clone of the repository, and this is an installed package: "
            "clone it and run `make demo`, or import images of your own with `mimic import`"
        )
    return _FOLDER


def import_sample(workspace: Workspace) -> Dataset:
    """The sample data as a data set of the workspace."""
    return import_dataset(workspace, sample_folder() / "manifest.csv", DATASET)[0]


def config() -> ScoreConfig:
    """What the demonstration scores first: every signal of a pass, on the split that is there to be judged."""
    folder = sample_folder()
    return ScoreConfig.checked(
        dataset=DATASET,
        model=MODEL,
        reference=str(folder / "reference.safetensors"),
        start=str(folder / "start.safetensors"),
        signals=tuple(SIGNALS),
    )


def import_captions(workspace: Workspace) -> Dataset:
    """The sample data with captions as a data set of the workspace."""
    return import_dataset(workspace, sample_folder() / "captions", CAPTIONS)[0]


def captions_config() -> ScoreConfig:
    """What the demonstration scores of captions: the split that is there to be judged, by features made beforehand."""
    folder = sample_folder() / "captions"
    files = {name: str(folder / f"{name}.safetensors") for name in ("reference", "start", "features")}
    return ScoreConfig.checked(dataset=CAPTIONS, model=TOWERS, loss="clip", scopes=("projections",), **files)


def detection(run: Run, dataset: Dataset) -> pd.DataFrame:
    """How well each signal finds the labels (or captions) that are wrong; see `detection_table`."""
    known = judged(Published.of(run, dataset))
    return detection_table(known.signals, known.wrong)


def faults(run: Run, dataset: Dataset) -> int:
    """How many of the judged labels (or captions) are wrong."""
    return int(judged(Published.of(run, dataset)).wrong.sum())
