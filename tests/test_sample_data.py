"""The sample data is what its README says: real, small, disjoint, with the faults it lists, and good for a demo."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks.quality import correlations, published
from mimic.models.build import build_model
from mimic.models.checkpoint import load_checkpoint, load_into
from mimic.runs import demo, further, manager
from mimic.scores.table import TABLE_SIGNALS
from mimic.workspace.layout import Workspace
from sample_data import make

FOLDER = Path(make.__file__).parent
MANIFEST = pd.read_csv(FOLDER / "manifest.csv", dtype=str, keep_default_na=False)
JUDGED = MANIFEST[MANIFEST.split == "train"]
needs_source = pytest.mark.skipif(
    not make.DEBIAN.is_dir(), reason="needs the Debian package dataset-fashion-mnist (apt-get install it)"
)


def indices(split: str) -> set[int]:
    return {int(Path(path).stem) for path in MANIFEST.path[MANIFEST.split == split]}


def test_every_row_has_its_photo_and_every_photo_its_row() -> None:
    photos = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.png")}
    assert set(MANIFEST.path) == photos
    assert MANIFEST.path.is_unique
    assert MANIFEST.split.value_counts().to_dict() == {"train": 3000, "test": 500}
    with Image.open(FOLDER / MANIFEST.path[0]) as image:
        assert (image.size, image.mode) == ((28, 28), "L")


def test_a_fifth_of_the_judged_labels_is_wrong_in_two_ways() -> None:
    wrong = JUDGED[JUDGED.label != JUDGED.truth]
    assert wrong.fault.value_counts().to_dict() == {"uniform": 300, "confusable": 300}
    assert set(JUDGED.fault[JUDGED.label == JUDGED.truth]) == {"none"}
    confusable = wrong[wrong.fault == "confusable"]
    assert (confusable.label == confusable.truth.map(make.CONFUSABLE)).all()
    uniform = wrong[wrong.fault == "uniform"]
    assert uniform.label.value_counts().between(15, 50).all()
    assert uniform.label.nunique() == 10


def test_the_test_split_is_clean() -> None:
    test = MANIFEST[MANIFEST.split == "test"]
    assert (test.label == test.truth).all()


def test_the_reference_saw_no_judged_photo() -> None:
    drawn = make.draw()
    assert set(drawn.judged) == indices("train")
    assert set(drawn.test) == indices("test")
    assert len(set(drawn.reference)) >= 15_000
    assert not set(drawn.reference) & set(drawn.judged)


def test_it_is_small() -> None:
    captions = FOLDER / "captions"  # tests/test_sample_captions.py
    files = [path for path in FOLDER.rglob("*") if path.suffix != ".pyc" and captions not in path.parents]
    sizes = {path: path.stat().st_size for path in files}
    assert sum(sizes.values()) < 4_000_000
    assert all(size < 1_500_000 for path, size in sizes.items() if path.suffix == ".safetensors")


def test_the_checkpoints_are_those_listed_and_say_what_they_are() -> None:
    lines = (FOLDER / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert sorted(listed) == ["reference.safetensors", "start.safetensors"]
    for name, digest in listed.items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest
        checkpoint = load_checkpoint(FOLDER / name)
        assert checkpoint.classes == make.CLASSES
        load_into(build_model(checkpoint.metadata["model"], len(make.CLASSES)).module, checkpoint)


def test_both_checkpoints_share_their_backbone() -> None:
    reference, start = (load_checkpoint(FOLDER / f"{name}.safetensors").tensors for name in ("reference", "start"))
    differing = {name for name in reference if not reference[name].equal(start[name])}
    assert differing == {"head.weight", "head.bias"}


def test_the_demo_finds_the_faults_and_its_signals_differ(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    dataset = demo.import_sample(workspace)
    run = further.add_signals(workspace, manager.score(workspace, demo.config()), list(TABLE_SIGNALS))
    table = demo.detection(run, dataset).set_index("signal")
    assert table.auroc["mimic"] > 0.85
    assert table.auroc["ensemble"] > table.auroc.max() - 0.005
    assert (table.scored == 3000).all()
    written = pd.read_csv(FOLDER.parent / "results" / "quality_sample.csv")
    assert written[written.faults == "all"].set_index("signal").auroc.to_dict() == pytest.approx(
        table.auroc.to_dict(), abs=0.005
    )

    check = run.facts["check"]
    assert check["verdict"] == "Good"
    assert check["mean_low"] > 0
    rival = max(check["start_agreement"], check["majority_agreement"])
    assert check["reference_agreement"] > rival + 0.05 + 2 * np.sqrt(0.5 / check["samples"])

    rows = published(run, dataset)
    named = ["mimic", "ref_logprob", "logprob", "mimic_path"]
    ranks = correlations({name: rows[name].to_numpy() for name in named})[named].to_numpy()
    assert np.abs(ranks[~np.eye(4, dtype=bool)]).max() < 0.99


@needs_source
def test_the_pixels_and_rows_are_made_again_the_same(tmp_path: Path) -> None:
    drawn = make.draw()
    judged = make.Photos.read(make.DEBIAN, "train").take(drawn.judged)
    test = make.Photos.read(make.DEBIAN, "t10k").take(drawn.test)
    labels = make.write_samples(tmp_path, judged, test, drawn)
    assert labels == JUDGED.label.tolist()
    assert (tmp_path / "manifest.csv").read_bytes() == (FOLDER / "manifest.csv").read_bytes()
    for path in MANIFEST.path:
        with Image.open(tmp_path / path) as again, Image.open(FOLDER / path) as ours:
            assert np.array_equal(np.asarray(again), np.asarray(ours)), path


@pytest.mark.slow
@needs_source
def test_training_again_gives_the_same_checkpoints_within_half_a_point(tmp_path: Path) -> None:
    make.build(make.DEBIAN, tmp_path)
    holdout = make.Photos.read(make.DEBIAN, "t10k")
    for name in ("reference", "start"):
        shares = []
        for folder in (FOLDER, tmp_path):
            module = build_model(demo.MODEL, len(make.CLASSES)).module
            load_into(module, load_checkpoint(folder / f"{name}.safetensors"))
            shares.append(make.accuracy(module.double(), holdout))
        assert shares[0] == pytest.approx(shares[1], abs=0.005)


def test_a_missing_source_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("sys.argv", ["make.py", "--source", str(tmp_path), "--output", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        make.main()
    assert stopped.value.code == 2
    assert "apt-get install dataset-fashion-mnist" in capsys.readouterr().err
