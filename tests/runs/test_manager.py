"""A run gives the library's scores, whatever kills it and whoever watches it."""

import errno
import fcntl
import multiprocessing
import os
import resource
import shutil
import threading
import time
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
import torch

from mimic.errors import MimicError
from mimic.models.build import build_model
from mimic.models.checkpoint import load_checkpoint, load_into
from mimic.models.direction import Direction
from mimic.runs.importing import import_dataset
from mimic.runs.manager import saying_why, score
from mimic.runs.progress import Progress
from mimic.scores.mimic import mimic_scores
from mimic.workspace.datasets import relocate
from mimic.workspace.layout import Run, Workspace
from mimic.workspace.locks import held
from mimic.workspace.queries.progress import progress, running_histogram
from tests.runs.conftest import FILES, JUDGED, MODEL, Digits

TABLES = ("scores", "predictions", "failures", "bins")
REPEATS = 4
PARTS = 10

# Real processes, forked from one that has imported everything: each would otherwise spend seconds on importing torch.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["mimic.runs.manager", "mimic.models.small", "pytest"])
os.environ.setdefault("OMP_NUM_THREADS", "1")


def table(run: Run, name: str) -> pd.DataFrame:
    assert run.scores_file is not None
    with duckdb.connect(run.scores_file, read_only=True) as connection:
        return connection.sql(f"SELECT * FROM {name}").df()


@pytest.fixture(scope="module")
def many(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the digits four times over and some broken files: enough for ten parts."""
    folder = tmp_path_factory.mktemp("many")
    shutil.copytree(digits.folder / "images", folder / "images")
    (folder / "images/broken.png").write_bytes((folder / "images/0.png").read_bytes()[:100])
    rows = pd.read_csv(digits.manifest, dtype=str)
    rows = pd.concat([rows.assign(id=f"{k}-" + rows.index.astype(str)) for k in range(REPEATS)])
    rows.loc[rows["id"].str.endswith("7"), "path"] = "images/broken.png"
    rows.to_csv(folder / "manifest.csv", index=False)
    import_dataset(Workspace(folder / "workspace"), folder / "manifest.csv", "digits")
    return folder / "workspace"


@pytest.fixture(scope="module")
def uninterrupted(many: Path, digits: Digits) -> dict[str, pd.DataFrame]:
    run = score(Workspace(many), digits.config())
    tables = {name: table(run, name) for name in TABLES}
    shutil.rmtree(run.folder)
    return tables


def test_the_pipeline_gives_the_library_s_scores(workspace: Workspace, digits: Digits) -> None:
    run = score(workspace, digits.config(batch_size=50))
    module = build_model(MODEL, 10).module
    load_into(module, load_checkpoint(digits.start))
    direction = Direction.between(module, load_checkpoint(digits.reference).tensors)
    expected = mimic_scores(module, digits.pixels, digits.given, direction).numpy()
    scores = table(run, "scores").set_index("sample").sort_index()
    np.testing.assert_allclose(scores["mimic"], expected, atol=1e-5)
    reference = build_model(MODEL, 10).module
    load_into(reference, load_checkpoint(digits.reference))
    logprobs = reference(digits.pixels).log_softmax(1)
    own = logprobs.gather(1, digits.given[:, None])[:, 0].detach().numpy()
    np.testing.assert_allclose(scores["ref_logprob"], own, rtol=1e-4, atol=1e-5)
    best = table(run, "predictions").query("rank == 1").sort_values("sample")
    assert best["label"].astype(int).tolist() == logprobs.argmax(1).tolist()


def test_it_does_not_depend_on_batches_or_threads(workspace: Workspace, digits: Digits) -> None:
    runs = [score(workspace, digits.config(batch_size=size), threads=t) for size, t in [(64, 1), (300, 4)]]
    first, second = (table(run, "scores").set_index("sample").sort_index() for run in runs)
    np.testing.assert_allclose(first, second, atol=1e-5)  # sums in another order: the last digits may differ


def test_killed_again_and_again_the_same_command_ends_with_the_same_tables(
    many: Path, digits: Digits, uninterrupted: dict[str, pd.DataFrame]
) -> None:
    workspace = Workspace(many)
    for moment in (0, 1, 4, 8, "publishing"):
        child = processes.Process(target=score, args=(workspace, digits.config()))
        child.start()
        deadline = time.monotonic() + 60
        while child.is_alive() and time.monotonic() < deadline and not reached(many, moment):
            time.sleep(0.001)
        child.kill()
        child.join()
        (interrupted,) = workspace.runs()
        assert interrupted.state == "interrupted"
        finished = len(interrupted.parts)
        assert finished >= (PARTS if moment == "publishing" else int(moment))
    seen: list[Progress] = []
    run = score(workspace, digits.config(), on_progress=seen.append)
    assert seen[0].resumed == min(finished * 256, run.size)
    assert seen[-1].done == run.size == REPEATS * JUDGED
    for name, expected in uninterrupted.items():
        pd.testing.assert_frame_equal(table(run, name), expected, check_exact=True)
    assert {path.name for path in run.folder.iterdir()} == FILES
    shutil.rmtree(run.folder)


def reached(workspace: Path, parts: int | str) -> bool:
    if parts == "publishing":
        return bool(list(workspace.glob("runs/*/.scores.duckdb.*.tmp")))
    begun = bool(list(workspace.glob("runs/*/run.json")))
    return begun and len(list(workspace.glob("runs/*/parts/0*.parquet"))) >= int(parts)


def test_readers_never_block_a_run(many: Path, workspace: Workspace, digits: Digits) -> None:
    """What the app does: other runs held open, and the running one told from its parts, all the while."""
    published = score(workspace, digits.config())
    other = Workspace(many)
    assert published.scores_file is not None
    readers = [
        duckdb.connect(published.scores_file, read_only=True),
        duckdb.connect(other.dataset("digits").samples_file, read_only=True),
    ]
    child = processes.Process(target=score, args=(other, digits.config()))
    child.start()
    states = set()
    while child.is_alive():
        for run in other.runs():
            states.add(progress(run).state)
            running_histogram(run, "mimic")
        readers[0].execute("SELECT avg(mimic) FROM scores").fetchall()
        readers[1].execute("SELECT count(*) FROM samples").fetchall()
    child.join()
    assert child.exitcode == 0
    assert "running" in states
    (run,) = other.runs()
    assert run.state == "published"
    shutil.rmtree(run.folder)


def test_the_same_run_twice_at_once_is_refused(workspace: Workspace, digits: Digits) -> None:
    seen: list[str] = []

    def second(state: Progress) -> None:
        if not seen:
            with pytest.raises(MimicError, match="is being worked on by another process") as caught:
                score(workspace, digits.config())
            seen.append(str(caught.value))

    run = score(workspace, digits.config(), on_progress=second)
    assert run.state == "published"
    assert "mimic show" in seen[0]


def test_a_watcher_s_glance_does_not_look_like_a_second_run(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    with (tmp_path / "lock").open("rb") as glance:
        fcntl.flock(glance, fcntl.LOCK_SH)
        threading.Timer(0.2, lambda: fcntl.flock(glance, fcntl.LOCK_UN)).start()
        with held(tmp_path):
            pass


def test_a_published_run_is_found_not_done_again(workspace: Workspace, digits: Digits) -> None:
    first = score(workspace, digits.config())
    seen: list[Progress] = []
    assert score(workspace, digits.config(), on_progress=seen.append) == first
    assert seen == []


def test_broken_files_are_counted_and_the_rest_is_published(many: Path, uninterrupted: dict[str, pd.DataFrame]) -> None:
    broken = [i + k * JUDGED for k in range(REPEATS) for i in range(JUDGED) if i % 10 == 7]
    failures = uninterrupted["failures"]
    assert failures["sample"].tolist() == broken
    assert failures["reason"].str.contains("broken image").all()
    scores = uninterrupted["scores"].set_index("sample")
    assert scores.loc[broken].isna().all(axis=None)
    assert scores.drop(index=broken).notna().all(axis=None)


def test_images_that_moved_do_not_become_a_published_run(workspace: Workspace, digits: Digits, tmp_path: Path) -> None:
    away, there = tmp_path / "away", digits.folder / "images"
    there.rename(away)
    try:
        with pytest.raises(MimicError, match=r"holds none of the first images .*mimic relocate digits --root"):
            score(workspace, digits.config())
    finally:
        away.rename(there)
    assert workspace.runs() == []
    relocate(workspace.dataset("digits"), digits.folder)
    assert score(workspace, digits.config()).counts == {"scored": JUDGED, "not_scored": 0}


def test_images_none_of_which_can_be_read_do_not_become_a_published_run(digits: Digits, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(digits.folder / "images", folder / "images")
    shutil.copy(digits.manifest, folder)
    workspace = Workspace(tmp_path / "workspace")
    import_dataset(workspace, folder / "manifest.csv", "digits")
    for image in (folder / "images").iterdir():
        image.write_bytes(b"no picture")
    with pytest.raises(MimicError, match=r"0 of 600 .* not an image"):
        score(workspace, digits.config())
    (failed,) = workspace.runs()
    assert (failed.state, progress(failed).done) == ("failed", 0)


def test_no_room_to_write_is_a_sentence_and_the_run_goes_on_later(workspace: Workspace, digits: Digits) -> None:
    free = resource.getrlimit(resource.RLIMIT_FSIZE)

    def narrow(state: Progress) -> None:
        if state.done == 256:  # a part does not fit, run.json does
            resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, free[1]))

    try:
        with pytest.raises(MimicError, match=r"cannot write .*File too large.* run the same command"):
            score(workspace, digits.config(), on_progress=narrow)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, free)
    (failed,) = workspace.runs()
    assert failed.state == "failed"
    assert progress(failed).done == 256
    assert [path.name for path in (failed.folder / "parts").iterdir()] == ["00000.parquet"]
    run = score(workspace, digits.config())
    assert (run.state, run.error) == ("published", None)


def test_what_cannot_be_read_is_not_blamed_on_writing(workspace: Workspace, digits: Digits) -> None:
    run = score(workspace, digits.config())
    refused = PermissionError(errno.EACCES, "Permission denied", "/data/features.npz")
    for error, words in (
        (refused, r"^/data/features\.npz cannot be read \(Permission denied\)"),
        (OSError(errno.EIO, "Input/output error", "/data/a.parquet"), r"^/data/a\.parquet cannot be read"),
        (OSError("connection reset"), r"^a file cannot be read \(connection reset\)"),
        (OSError(errno.ENOSPC, "No space left on device"), "^cannot write to .*No space left"),
        (PermissionError(errno.EACCES, "Permission denied", str(run.folder / "parts/0")), "^cannot write to .*denied"),
    ):
        with pytest.raises(MimicError, match=words), saying_why(run):
            raise error


def test_splits_and_limits(digits: Digits, tmp_path: Path) -> None:
    rows = pd.read_csv(digits.manifest, dtype=str)
    rows["split"] = np.where(rows.index < 400, "train", "test")
    rows.loc[3, "label"] = ""
    rows.to_csv(digits.folder / "split.csv", index=False)
    workspace = Workspace(tmp_path)
    import_dataset(workspace, digits.folder / "split.csv", "digits")
    run = score(workspace, digits.config())
    assert (run.facts["split"], run.size, run.counts["not_scored"]) == ("train", 400, 1)
    assert table(run, "failures")["reason"].tolist() == ["has no label"]
    assert score(workspace, digits.config(split="all")).size == 600
    limited = score(workspace, digits.config(split="test", limit=20))
    assert table(limited, "scores")["sample"].sort_values().tolist() == list(range(400, 600, 10))
    with pytest.raises(MimicError, match="no split 'val': it has train, test"):
        score(workspace, digits.config(split="val"))


def test_only_the_signals_asked_for(workspace: Workspace, digits: Digits) -> None:
    run = score(workspace, digits.config(signals=("mimic", "logprob"), scopes=("last", "full")))
    columns = table(run, "scores").columns.tolist()
    assert columns == ["sample", *run.signals]
    assert set(run.signals) == {"mimic", "mimic_full", "logprob"}
    assert run.check is not None
    assert run.check["start_agreement"] > 0


def test_without_a_start_the_model_as_built_is_the_start(workspace: Workspace, digits: Digits) -> None:
    first = score(workspace, digits.config(start=None))
    assert first.facts["start"] is None
    torch.manual_seed(1234)
    assert score(workspace, digits.config(start=None)).id == first.id  # built the same in every process


@pytest.mark.parametrize(
    "settings", [{"method": "difference", "scopes": ("full",)}, {"precision": "bf16"}], ids=["difference", "bf16"]
)
def test_what_the_first_samples_settle_is_the_same_after_a_resume(
    workspace: Workspace, digits: Digits, settings: dict[str, object]
) -> None:
    class Stop(Exception):
        pass

    def stop_half_way(state: Progress) -> None:
        if state.done >= 256:
            raise Stop

    whole = score(workspace, digits.config(**settings))
    expected = table(whole, "scores")
    shutil.rmtree(whole.folder)
    with pytest.raises(Stop):
        score(workspace, digits.config(**settings), on_progress=stop_half_way)
    resumed = score(workspace, digits.config(**settings))
    assert resumed.id == whole.id
    pd.testing.assert_frame_equal(table(resumed, "scores"), expected)
    if "precision" in settings:
        assert resumed.facts["precision_check"]["mimic"]["spearman"] >= 0.99
    else:
        assert "step" in resumed.facts["method_reason"]


def test_smoothed_labels_are_another_loss_and_another_run(workspace: Workspace, digits: Digits) -> None:
    plain, smooth = score(workspace, digits.config()), score(workspace, digits.config(label_smoothing=0.2))
    assert plain.id != smooth.id
    assert not np.allclose(table(plain, "scores")["mimic"], table(smooth, "scores")["mimic"], atol=1e-3)
