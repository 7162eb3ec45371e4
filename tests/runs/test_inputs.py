"""Images on a server give the scores that the same images give here, whatever the server does."""

from __future__ import annotations

import io
import tarfile
from functools import partial
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mimic.errors import MimicError
from mimic.runs import forked, manager, on_ray
from mimic.runs.importing import import_dataset
from mimic.storage import Remote, location
from mimic.workspace.datasets import relocate
from mimic.workspace.layout import Run, Workspace
from tests.runs.conftest import Digits
from tests.servers import Server, bad_days


def scores(run: Run) -> pd.DataFrame:
    with duckdb.connect(str(run.scores_file), read_only=True) as connection:
        return connection.execute("SELECT * FROM scores ORDER BY sample").df()


@pytest.fixture(scope="module")
def few(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 100 of the digits as manifest/, classes/, shards/ and parquet/."""
    folder = tmp_path_factory.mktemp("few")
    table = pd.read_csv(digits.manifest, dtype=str).head(100)
    (folder / "manifest/images").mkdir(parents=True)
    table.to_csv(folder / "manifest/manifest.csv", index=False)
    data = [(digits.folder / path).read_bytes() for path in table["path"]]
    for path, label, image in zip(table["path"], table["label"], data, strict=True):
        (folder / "manifest" / path).write_bytes(image)
        name = folder / "classes" / label / Path(path).name
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_bytes(image)
    (folder / "shards").mkdir()
    for shard in range(2):
        with tarfile.open(folder / f"shards/{shard:05}.tar", "w") as archive:
            for row in range(50 * shard, 50 * (shard + 1)):
                for name, content in ((f"{row:05}.png", data[row]), (f"{row:05}.cls", table["label"][row].encode())):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    (folder / "parquet/data").mkdir(parents=True)
    images = pa.array([{"bytes": image, "path": path} for image, path in zip(data, table["path"], strict=True)])
    for number, rows in enumerate((slice(0, 60), slice(60, 100))):
        kept = pa.table({"image": images[rows], "label": pa.array(table["label"][rows])})
        pq.write_table(kept, folder / f"parquet/data/train-{number:05}-of-00002.parquet")
    return folder


@pytest.mark.parametrize("kind", ["manifest/manifest.csv", "classes", "shards", "parquet"])
def test_what_lies_on_a_server_gives_the_run_of_the_same_files_here(
    kind: str, server: Server, few: Path, digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "_LEAST_SHARD", 50)
    here, there = Workspace(tmp_path / "here"), Workspace(tmp_path / "there")
    folder = kind.partition("/")[0]
    url = server.upload(few / folder, f"few/{folder}")
    server.fault = bad_days
    import_dataset(here, few / kind, "digits")
    import_dataset(there, location(url + kind.removeprefix(folder)), "digits")
    server.asked.clear()
    runs = [manager.score(each, digits.config(batch_size=25), "cpu", 2) for each in (here, there)]
    assert runs[0].id == runs[1].id
    assert len(runs[1].shards) == 2
    assert runs[1].counts == {"scored": 100, "not_scored": 0}
    pd.testing.assert_frame_equal(scores(runs[1]), scores(runs[0]), check_exact=True)
    if kind == "parquet":  # its images were copied when it was imported
        assert server.asked == []
    else:
        assert there.dataset("digits").root == Remote(url)
        assert 100 < len(server.reads) < 300  # one request an image, and those that failed once more


def test_images_can_move_to_a_server(server: Server, few: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    made, _ = import_dataset(workspace, few / "manifest/manifest.csv", "digits")
    url = server.upload(few / "manifest", "moved")
    assert relocate(made, location(url)).root == Remote(url)
    with pytest.raises(MimicError, match=r"does not hold images/0\.png"):
        relocate(made, location(url + "/images"))


def test_forked_processes_read_from_a_server_too(server: Server, few: Path, digits: Digits, tmp_path: Path) -> None:
    """A client's threads do not come along into a fork: each process has to start its own."""
    workspace = Workspace(tmp_path / "w")
    import_dataset(workspace, location(f"{server.upload(few / 'manifest', 'forked')}/manifest.csv"), "digits")
    config = digits.config(limit=40, batch_size=10)
    run = manager.score(workspace, config, "cpu", 1, partial(forked.execute, processes=2))
    assert run.counts == {"scored": 40, "not_scored": 0}


@pytest.mark.slow
def test_actors_of_ray_read_from_a_server(s3: Server, few: Path, digits: Digits, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    workspace = Workspace(tmp_path / "w")
    import_dataset(workspace, location(f"{s3.upload(few / 'manifest', 'actors')}/manifest.csv"), "digits")
    config = digits.config(limit=40, batch_size=10)
    run = manager.score(workspace, config, "cpu", 1, partial(on_ray.execute, size=on_ray.Size(actors=1)))
    assert run.counts == {"scored": 40, "not_scored": 0}
