"""Images on a server give the scores that the same images give here, whatever the server does."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from mimic.errors import MimicError
from mimic.runs import forked, manager, on_ray
from mimic.runs.importing import import_dataset
from mimic.storage import Remote, location
from mimic.workspace.datasets import relocate
from mimic.workspace.layout import Run, Workspace
from tests.runs.conftest import Digits
from tests.s3 import Server, bad_days


def scores(run: Run) -> pd.DataFrame:
    with duckdb.connect(str(run.scores_file), read_only=True) as connection:
        return connection.execute("SELECT * FROM scores ORDER BY sample").df()


def test_a_manifest_on_s3_gives_the_run_of_the_same_files_here(
    server: Server,
    digits: Digits,
    tmp_path: Path,
) -> None:
    here, there = Workspace(tmp_path / "here"), Workspace(tmp_path / "there")
    url = server.upload(digits.folder, "digits")
    server.fault = bad_days
    import_dataset(here, digits.manifest, "digits")
    import_dataset(there, location(f"{url}/manifest.csv"), "digits")
    config = digits.config(limit=100, batch_size=50)
    runs = [manager.score(workspace, config, "cpu", 2) for workspace in (here, there)]
    assert runs[0].id == runs[1].id
    assert runs[1].counts == {"scored": 100, "not_scored": 0}
    pd.testing.assert_frame_equal(scores(runs[1]), scores(runs[0]), check_exact=True)
    assert there.dataset("digits").root == Remote(url)
    assert 100 < len(server.asked) < 300  # one request an image, and those that failed once more


def test_images_can_move_to_a_server(server: Server, digits: Digits, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    made, _ = import_dataset(workspace, digits.manifest, "digits")
    url = server.upload(digits.folder, "moved")
    assert relocate(made, location(url)).root == Remote(url)
    with pytest.raises(MimicError, match=r"does not hold images/0\.png"):
        relocate(made, location(url + "/images"))


def test_forked_processes_read_from_a_server_too(server: Server, digits: Digits, tmp_path: Path) -> None:
    """A client's threads do not come along into a fork: each process has to start its own."""
    workspace = Workspace(tmp_path / "w")
    import_dataset(workspace, location(f"{server.upload(digits.folder, 'forked')}/manifest.csv"), "digits")
    config = digits.config(limit=40, batch_size=10)
    run = manager.score(workspace, config, "cpu", 1, partial(forked.execute, processes=2))
    assert run.counts == {"scored": 40, "not_scored": 0}


@pytest.mark.slow
def test_actors_of_ray_read_from_a_server(server: Server, digits: Digits, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    workspace = Workspace(tmp_path / "w")
    import_dataset(workspace, location(f"{server.upload(digits.folder, 'actors')}/manifest.csv"), "digits")
    config = digits.config(limit=40, batch_size=10)
    run = manager.score(workspace, config, "cpu", 1, partial(on_ray.execute, size=on_ray.Size(actors=1)))
    assert run.counts == {"scored": 40, "not_scored": 0}
