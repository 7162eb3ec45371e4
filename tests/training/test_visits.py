"""Recorded visits: complete, exact, in spite of kills and resumes, and without holding up a step."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from mimic import GradMimic
from mimic.data import Sample
from mimic.errors import MimicError
from mimic.files import write_json
from mimic.training import recorder as recording
from mimic.training.recorder import Recorder, Visit
from mimic.training.visits import parts_of, publish_visits, read_visits, run_tables
from mimic.workspace.datasets import Source, create_dataset
from mimic.workspace.layout import FORMAT, Workspace
from mimic.workspace.publish import publish

from .conftest import make_case

TRAINING = """
import sys
from pathlib import Path
import torch, torch.nn.functional as F
from mimic import GradMimic
from mimic.data import Sample
from mimic.models.small import SMALL
from mimic.training import recorder

torch.set_num_threads(1)
recorder.ROWS = 40  # many parts
folder, slow = Path(sys.argv[1]), float(sys.argv[2])
torch.manual_seed(0)
model = SMALL["mlp"](4, size=8)
reference = {name: each + 0.1 * torch.randn_like(each) for name, each in model.state_dict().items()}
images, labels = torch.randn(32, 1, 8, 8), torch.randint(4, (32,))
optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
reweight = GradMimic(model, reference, 0.1, record=folder / "record", window=10**6)
step = 0
if (folder / "checkpoint").exists():
    saved = torch.load(folder / "checkpoint", weights_only=True)
    model.load_state_dict(saved["model"])
    optimiser.load_state_dict(saved["optimiser"])
    reweight.load_state_dict(saved["reweight"])
    step = saved["step"]
while step < 40:
    epoch = step // 4
    order = torch.randperm(32, generator=torch.Generator().manual_seed(epoch))
    batch = order[8 * (step % 4) : 8 * (step % 4) + 8]
    losses = F.cross_entropy(model(images[batch]), labels[batch], reduction="none")
    optimiser.zero_grad()
    reweight(losses, ids=batch, labels=labels[batch], epoch=epoch).backward()
    optimiser.step()
    step += 1
    if step % 7 == 0:
        state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(),
                 "reweight": reweight.state_dict(), "step": step}
        torch.save(state, folder / "new")
        (folder / "new").replace(folder / "checkpoint")
    print(step, flush=True)
    if slow:
        sys.stdin.readline()
reweight.close()
"""


def tables(folder: Path) -> dict[str, object]:
    with duckdb.connect(publish_visits(folder), read_only=True) as connection:
        return {name: connection.execute(f"SELECT * FROM {name}").fetchnumpy() for name in ("visits", "scores")}


def same(a: dict, b: dict) -> None:
    for table in a:
        assert a[table].keys() == b[table].keys()
        for column in a[table]:
            np.testing.assert_array_equal(np.ma.getdata(a[table][column]), np.ma.getdata(b[table][column]), column)


def test_killed_at_any_step_and_resumed_the_record_is_the_same(tmp_path: Path) -> None:
    def start(folder: Path, slow: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", TRAINING, str(folder), str(slow)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    uninterrupted = start(whole, 0)
    first = start(killed, 1)
    for _ in range(18):
        first.stdout.readline()
        first.stdin.write("\n")
        first.stdin.flush()
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert uninterrupted.communicate()[0].split()[-1] == "40"
    assert uninterrupted.returncode == 0
    found = read_visits(killed / "record")  # what was handed over is readable, whole or not
    assert found.values.shape[0] == 32
    second = start(killed, 0)
    out, _ = second.communicate()
    assert out.split()[0] == "15"  # from the checkpoint on
    assert second.returncode == 0
    same(tables(whole / "record"), tables(killed / "record"))


def record(folder: Path, rows: int = 10**6, monkeypatch: pytest.MonkeyPatch | None = None, names: bool = False):
    """Two epochs of six samples in batches of three, with the values that were seen."""
    if monkeypatch:
        monkeypatch.setattr(recording, "ROWS", rows)
    case = make_case("mlp", seed=1)
    reweight = GradMimic(case.model, case.state, record=folder)
    seen = {}
    for epoch in range(2):
        for batch in torch.randperm(6, generator=torch.Generator().manual_seed(epoch)).split(3):
            losses = torch.nn.functional.cross_entropy(
                case.model(case.images[batch]), case.labels[batch], reduction="none"
            )
            ids = [f"photo {i}" for i in batch.tolist()] if names else batch
            reweight(losses, ids=ids, labels=case.labels[batch], epoch=epoch).backward()
            for i, *row in zip(batch.tolist(), reweight.scores, reweight.weights, losses, strict=True):
                seen[i, epoch] = [value.item() for value in row]
            with torch.no_grad():
                for parameter in case.model.parameters():
                    parameter -= 0.1 * parameter.grad
                    parameter.grad = None
    reweight.close()
    return case, seen


@pytest.mark.parametrize("rows", [1, 5, 10**6])
def test_every_visit_is_there_whatever_the_size_of_the_parts(tmp_path, monkeypatch, rows) -> None:
    _, seen = record(tmp_path, rows, monkeypatch)
    for column, measure in enumerate(("score", "weight", "loss")):
        visits = read_visits(tmp_path, measure)
        assert visits.samples.tolist() == [*range(6)]
        assert visits.epochs.tolist() == [[0, 1]] * 6
        expected = [[seen[i, epoch][column] for epoch in range(2)] for i in range(6)]
        np.testing.assert_array_equal(visits.values, np.array(expected, dtype=np.float32))
    assert json.loads((tmp_path / "visits.json").read_text())["policy"] == "softmax"


def test_names_margins_and_the_published_tables(tmp_path: Path) -> None:
    case, seen = record(tmp_path, names=True)
    found = tables(tmp_path)
    assert found["visits"]["id"].tolist() == [f"photo {i}" for i in range(6) for _ in range(2)]
    assert found["visits"]["visit"].tolist() == [0, 1] * 6
    assert found["visits"]["batch_size"].tolist() == [3] * 12
    order = [int(name[-1]) for name in found["scores"]["id"]]
    means = [np.mean([seen[i, 0][0], seen[i, 1][0]]) for i in order]
    assert means == sorted(means)
    np.testing.assert_allclose(found["scores"]["mimic_mean"], means, rtol=1e-6)
    np.testing.assert_allclose(found["scores"]["mimic_last"], [seen[i, 1][0] for i in order], rtol=1e-6)
    first = make_case("mlp", seed=1)
    with torch.no_grad():
        logits = first.model(first.images)
    margins = [float(z[y] - max(z[k] for k in range(5) if k != y)) for z, y in zip(logits, case.labels, strict=True)]
    batch = torch.randperm(6, generator=torch.Generator().manual_seed(0)).split(3)[0].tolist()
    recorded = read_visits(tmp_path, "margin").values[:, 0]
    np.testing.assert_allclose(recorded[batch], np.array(margins)[batch], rtol=1e-5)


def test_without_labels_the_margin_is_null(tmp_path: Path) -> None:
    case = make_case("mlp")
    reweight = GradMimic(case.model, case.state, record=tmp_path)
    reweight(case.losses(), ids=range(6))
    reweight.close()
    assert tables(tmp_path)["visits"]["margin"].mask.all()
    assert pq.read_table(parts_of(tmp_path)[0])["epoch"].null_count == 6
    assert np.isnan(read_visits(tmp_path, "margin").values).all()


def test_what_cannot_be_recorded_is_refused(tmp_path: Path) -> None:
    case = make_case("mlp")
    with pytest.raises(MimicError, match="no recorded visits"):
        read_visits(tmp_path)
    with pytest.raises(MimicError, match="no recorded visits"):
        publish_visits(tmp_path)
    reweight = GradMimic(case.model, case.state, record=tmp_path)
    with pytest.raises(MimicError, match="no ids for 6 samples"):
        reweight(case.losses())
    with pytest.raises(MimicError, match="5 ids for 6 samples"):
        reweight(case.losses(), ids=range(5))
    reweight(case.losses(), ids=range(6))
    reweight.close()
    with pytest.raises(MimicError, match="there is no measure"):
        read_visits(tmp_path, "mimic")
    again = GradMimic(case.model, case.state, record=tmp_path)
    with pytest.raises(MimicError, match="an earlier run"):
        again(case.losses(), ids=range(6))


def test_a_record_is_finished_when_its_owner_is_gone(tmp_path: Path) -> None:
    case = make_case("mlp")
    reweight = GradMimic(case.model, case.state, record=tmp_path)
    reweight(case.losses(), ids=range(6))
    assert not parts_of(tmp_path)
    del reweight
    assert len(read_visits(tmp_path).samples) == 6
    assert not case.model._forward_hooks


def test_a_run_of_visits_is_published_like_any_run(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    samples = (Sample(i, f"id{i}", f"{i}.png", "abcde"[i % 5]) for i in range(6))
    dataset = create_dataset(workspace, "d", samples, list("abcde"), Source("folder", tmp_path), tmp_path)
    folder = workspace.runs_folder / "r"
    facts = {"format": FORMAT, "run": "r", "dataset": "d", "created": "now", "samples": 6, "main": "mimic_mean"}
    facts |= {"signals": ["mimic_mean", "margin_mean"], "config": {}, "outputs": list("abcde")}
    folder.mkdir(parents=True)
    write_json(folder / "run.json", facts)
    _, seen = record(folder)
    run = publish(workspace.run("r"), dataset, {"seconds": 1.0}, make_tables=run_tables)
    assert run.state == "published"
    assert run.counts == {"scored": 6, "not_scored": 0}
    with duckdb.connect(run.scores_file, read_only=True) as connection:
        scores = connection.execute("SELECT sample, mimic_mean FROM scores").fetchall()
        assert connection.execute("SELECT count(*) FROM visits").fetchall() == [(12,)]
        assert connection.execute("SELECT DISTINCT signal FROM bins ORDER BY 1").fetchall() == [
            ("margin_mean",),
            ("mimic_mean",),
        ]
    means = {i: np.mean([seen[i, 0][0], seen[i, 1][0]]) for i in range(6)}
    assert [sample for sample, _ in scores] == sorted(means, key=means.get)


def test_nan_stays_nan_in_the_parts_and_is_null_in_the_tables(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, {})
    values = torch.tensor([1.0, float("nan"), 3.0])
    recorder.add(Visit(0, 0, range(3), values, values, values))
    recorder.close()
    np.testing.assert_array_equal(read_visits(tmp_path).values[:, 0], values.numpy())
    assert tables(tmp_path)["scores"]["mimic_mean"].mask.tolist() == [False, False, True]


def test_an_exhausted_reference_is_kept_in_the_record(tmp_path: Path) -> None:
    case = make_case("mlp")
    away = {name: 2 * each - case.state[name] for name, each in case.model.state_dict().items()}
    scores = GradMimic(case.model, case.state)
    scores(case.losses())
    state = away if scores.scores.mean() > 0 else case.state
    reweight = GradMimic(case.model, state, record=tmp_path, window=1)
    with pytest.warns(UserWarning, match="caught up"):
        reweight(case.losses(), ids=range(6))
    facts = json.loads((tmp_path / "visits.json").read_text())
    assert facts["exhausted"] == {"step": 0, "mean": reweight.exhausted.mean}
    reweight.close()


def test_a_disk_that_fails_is_said(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, {})
    ones = torch.ones(3)
    recorder.add(Visit(0, None, range(3), ones, ones, ones))
    (tmp_path / "parts").write_text("in the way")
    with pytest.raises(OSError, match="parts"):
        recorder.flush()


def test_keeping_a_visit_takes_microseconds(tmp_path: Path) -> None:
    """≤ 50 µs a step for what the training waits for; the thread does the rest."""
    recorder = Recorder(tmp_path, {})
    values, logits, ids = torch.randn(256), torch.randn(256, 10), torch.arange(256)
    times = []
    for step in range(300):
        begin = time.perf_counter()
        recorder.add(Visit(step, 0, ids, values, values, values, logits, ids % 10))
        times.append(time.perf_counter() - begin)
    assert sorted(times)[150] < 50e-6
    recorder.close()
    assert read_visits(tmp_path).values.shape == (256, 300)
