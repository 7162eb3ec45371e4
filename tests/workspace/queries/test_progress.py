"""Progress told from parts: share, rate over the newest stretch, a histogram of what is there."""

import os
import shutil

import numpy as np
import pytest

from mimic.files import write_json
from mimic.workspace.queries.progress import progress, running_histogram


@pytest.fixture
def running(known, tmp_path):
    """The first run again, as it was before it was published, with parts written at known times."""
    run = known.workspace.run("first")
    folder = tmp_path / "runs" / "first"
    shutil.copytree(run.folder / "parts", folder / "parts")
    write_json(folder / "run.json", {k: v for k, v in run.facts.items() if k != "published"})
    return type(run)(folder, {k: v for k, v in run.facts.items() if k != "published"})


def stamp(run, times):
    for part, time in zip(run.parts, times, strict=True):
        os.utime(part, (time, time))


def test_rate_and_remaining_time(running):
    running.part(running.shards[2]).unlink()
    stamp(running, [1000, 1010])
    found = progress(running)
    assert (found.state, found.done, found.size) == ("interrupted", 1000, 1200)
    assert found.share == pytest.approx(1000 / 1200)
    assert found.rate == pytest.approx(50)
    assert found.remaining == pytest.approx(4)


def test_a_night_between_two_parts_is_no_speed(running):
    stamp(running, [1000, 50_000, 50_010])
    assert progress(running).rate == pytest.approx(20)  # the last shard of 200 in 10 s


def test_before_the_second_part_there_is_no_rate(running):
    for shard in running.shards[1:]:
        running.part(shard).unlink()
    found = progress(running)
    assert (found.done, found.rate, found.remaining) == (500, None, None)
    shutil.rmtree(running.folder / "parts")
    assert progress(running).done == 0


def test_the_histogram_of_what_is_there(known, running):
    scores = known.scores["fine"].astype(np.float64)
    frame = running_histogram(running, "fine", bars=20)
    assert frame["n"].sum() == (~np.isnan(scores)).sum()
    for row in frame.itertuples():
        inside = (scores >= row.low) & (scores < row.high)
        assert row.n == pytest.approx(inside.sum(), abs=1)
    assert running_histogram(running, "never").empty
