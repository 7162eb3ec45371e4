"""Real Ray, several nodes of one machine: the run is that of one process, whatever becomes of actors, nodes, driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pandas as pd
import pytest
import torch

from mimic.data import Shard
from mimic.errors import MimicError
from mimic.runs import local, manager, on_ray
from mimic.runs.progress import Progress
from mimic.runs.worker import LabelWorker
from mimic.workspace.layout import Run, Workspace
from mimic.workspace.queries.progress import progress
from tests.runs.captioned import make
from tests.runs.conftest import JUDGED, Digits

os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0")  # read when Ray is imported
pytest.importorskip("ray")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Ray's test cluster is one of Linux processes")

NODE = {"object_store_memory": 80 << 20}  # bytes of shared memory
ON_MANY = 40  # samples a shard where a run needs many: 600 digits make 15
Execute = Callable[..., Iterator]


@pytest.fixture(scope="module")
def cluster() -> Iterator:
    """A head without room for actors and two nodes with room for one each; a test that removes one puts one back."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **NODE})
    for _ in range(2):
        made.add_node(num_cpus=1, **NODE)
    yield made
    made.shutdown()


@pytest.fixture
def many_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "_LEAST_SHARD", ON_MANY)


@pytest.fixture
def execute(cluster) -> Execute:
    return partial(on_ray.execute, size=on_ray.Size(actors=2), address=cluster.address)


def tables(run: Run) -> dict[str, pd.DataFrame]:
    with duckdb.connect(str(run.scores_file), read_only=True) as connection:
        return {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY ALL").df()
            for name in ("scores", "predictions", "failures", "bins")
        }


def forget(run: Run) -> dict[str, bytes]:
    """Take the run away; the contents of its parts."""
    kept = {part.name: columns(part) for part in run.parts}
    for file in (*run.parts, run.scores_file, run.folder / "run.json"):
        file.unlink()
    return kept


def columns(part: Path) -> bytes:
    import pyarrow.parquet as pq

    return pq.read_table(part).replace_schema_metadata(None).to_pandas().to_csv().encode()


def same(here: dict[str, pd.DataFrame], there: dict[str, pd.DataFrame]) -> None:
    for name, expected in here.items():
        pd.testing.assert_frame_equal(there[name], expected, check_exact=True)


class Stopped(Exception):
    """Raised in the middle of a run."""


def stop_at(samples: int) -> Callable[[Progress], None]:
    def told(state: Progress) -> None:
        if state.done >= samples:
            raise Stopped

    return told


@pytest.mark.usefixtures("many_shards")
def test_two_actors_of_this_machine_give_the_run_of_one_process(workspace: Workspace, digits: Digits) -> None:
    torch.set_num_threads(1)
    config, two = digits.config(batch_size=20), partial(on_ray.execute, size=on_ray.Size(actors=2))
    reported: list[int] = []
    run = manager.score(workspace, config, "cpu", 1, two, on_progress=lambda state: reported.append(state.done))
    assert (run.state, run.counts["scored"], len(run.parts)) == ("published", JUDGED, JUDGED // ON_MANY)
    assert sorted(set(reported)) == list(range(0, JUDGED + 1, ON_MANY))
    there, parts = tables(run), forget(run)
    here = manager.score(workspace, config, "cpu", 1)
    assert here.id == run.id
    assert here.check == run.check
    assert None not in (run.check["weights_cosine"], run.check["cosine"])
    same(tables(here), there)
    assert forget(here) == parts


@pytest.mark.slow
@pytest.mark.usefixtures("many_shards")
def test_either_goes_on_after_the_other(workspace: Workspace, digits: Digits, execute: Execute) -> None:
    config = digits.config(batch_size=20)
    with pytest.raises(Stopped):
        manager.score(workspace, config, "cpu", 1, local.execute, on_progress=stop_at(4 * ON_MANY))
    with pytest.raises(Stopped):
        manager.score(workspace, config, "cpu", 1, execute, on_progress=stop_at(8 * ON_MANY))
    (begun,) = workspace.runs()
    assert 8 <= len(begun.parts) < JUDGED // ON_MANY
    assert progress(begun).done == len(begun.parts) * ON_MANY  # what the app shows of a run under way
    mixed = manager.score(workspace, config, "cpu", 1)
    there, parts = tables(mixed), forget(mixed)
    here = manager.score(workspace, config, "cpu", 1)
    same(tables(here), there)
    assert forget(here) == parts


@pytest.mark.slow
def test_captions_and_their_embeddings_come_back_too(tmp_path: Path, execute: Execute, monkeypatch) -> None:
    monkeypatch.setattr(manager, "_LEAST_SHARD", 20)
    monkeypatch.setattr(manager, "BATCHES_A_SHARD", 1)
    pairs, workspace = make(tmp_path), Workspace(tmp_path / "workspace")
    pairs.dataset(workspace)
    there, here = (manager.score(workspace, pairs.config(), "cpu", 1, by) for by in (execute, local.execute))
    assert there == here  # published already: nothing was done again
    kept = {name: np.load(there.folder / "embeddings" / f"{name}.npy") for name in ("samples", "image", "text")}
    found = tables(there)
    forget(there)
    here = manager.score(workspace, pairs.config(), "cpu", 1)
    same(tables(here), found)
    for name, each in kept.items():
        np.testing.assert_array_equal(np.load(here.folder / "embeddings" / f"{name}.npy"), each)


class Troubled(LabelWorker):
    """A worker that something happens to: `trouble(shard's index)` is called before each shard."""

    trouble: Callable[[int], None]

    def score(self, tasks):
        for task in tasks:
            self.trouble(task.shard.index)
            yield from super().score([task])


def troubled(execute: Execute, trouble: Callable[[int], None]) -> Execute:
    def executed(make_worker, shards):
        def made() -> Troubled:
            worker = Troubled(*make_worker.args)
            worker.trouble = trouble
            return worker

        return execute(made, shards)

    return executed


@pytest.mark.slow
def test_an_error_in_an_actor_is_raised_here(workspace: Workspace, digits: Digits, execute: Execute) -> None:
    def fail(shard: int) -> None:
        raise MimicError(f"shard {shard} is not to my liking")

    with pytest.raises(MimicError, match="shard 0 is not to my liking"):
        manager.score(workspace, digits.config(batch_size=20), "cpu", 1, troubled(execute, fail))
    assert workspace.runs()[0].state == "failed"


@pytest.mark.slow
@pytest.mark.usefixtures("many_shards")
def test_an_actor_that_dies_is_replaced(workspace: Workspace, digits: Digits, execute: Execute, tmp_path) -> None:
    def once(shard: int) -> None:
        if shard in (3, 7):
            try:
                (tmp_path / f"died at {shard}").touch(exist_ok=False)
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

    config = digits.config(batch_size=20)
    run = manager.score(workspace, config, "cpu", 1, troubled(execute, once))
    assert len(list(tmp_path.glob("died at *"))) == 2
    there, parts = tables(run), forget(run)
    here = manager.score(workspace, config, "cpu", 1)
    same(tables(here), there)
    assert forget(here) == parts


@pytest.mark.slow
@pytest.mark.usefixtures("many_shards")
def test_a_node_that_leaves_takes_nothing_with_it(cluster, workspace: Workspace, digits: Digits, execute) -> None:
    gone: list[object] = []

    def leave(state: Progress) -> None:
        if state.done and not gone:
            node = cluster.list_all_nodes()[-1]
            cluster.remove_node(node, allow_graceful=False)
            gone.append(node)

    slow = troubled(execute, lambda shard: time.sleep(0.5))
    config = digits.config(batch_size=20)
    try:
        run = manager.score(workspace, config, "cpu", 1, slow, on_progress=leave)
    finally:
        cluster.add_node(num_cpus=1, **NODE)
    assert gone
    there = tables(run)
    forget(run)
    same(tables(manager.score(workspace, config, "cpu", 1)), there)


@pytest.mark.slow
@pytest.mark.usefixtures("many_shards")
def test_a_poisoned_shard_is_named_once_all_others_are_done(
    workspace: Workspace, digits: Digits, execute: Execute
) -> None:
    def poisoned(shard: int) -> None:
        if shard == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    config = digits.config(batch_size=20)
    with pytest.raises(MimicError, match=r"shard 2 ended its actor 3 times \(40 samples, from 'images/80.png' to"):
        manager.score(workspace, config, "cpu", 1, troubled(execute, poisoned))
    (run,) = workspace.runs()
    assert run.state == "failed"
    assert len(run.parts) == JUDGED // ON_MANY - 1
    assert manager.score(workspace, config, "cpu", 1).counts["scored"] == JUDGED


@pytest.mark.slow
@pytest.mark.usefixtures("many_shards")
def test_where_every_shard_kills_the_run_ends(
    workspace: Workspace, digits: Digits, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deadly(shard: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(on_ray, "IN_A_ROW", 3)
    with pytest.raises(MimicError, match=r"[34] actors ended one after the other"):
        manager.score(workspace, digits.config(batch_size=20), "cpu", 1, troubled(execute, deadly))


COMMAND = """
import sys, time
from mimic.cli import main
from mimic.runs import manager, on_ray
manager._LEAST_SHARD = 40
score = on_ray.Actor.score
class Slow(on_ray.Actor):
    def score(self, task):
        time.sleep(0.4)
        return score(self, task)
on_ray.Actor = Slow
main()
"""


def command(workspace: Workspace, digits: Digits, *options: str) -> subprocess.Popen[str]:
    script = workspace.path.parent / "command.py"
    script.write_text(COMMAND)
    arguments = [sys.executable, str(script), "score", "digits", "--model", "small:mlp", "--reference"]
    arguments += [digits.reference, "--start", digits.start, "--batch-size", "20", "--on", "ray"]
    arguments += ["--workspace", str(workspace.path)]
    # Started from a shell's background, SIGINT would be ignored.
    return subprocess.Popen(
        [*arguments, *options],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for_parts(workspace: Workspace, parts: int) -> None:
    deadline = time.monotonic() + 90
    while len(list(workspace.path.glob("runs/*/parts/0*.parquet"))) < parts:
        assert time.monotonic() < deadline, "no parts"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_driver_that_is_ended_goes_on_by_the_same_command(
    cluster, workspace: Workspace, digits: Digits, ending: signal.Signals
) -> None:
    where = ("--address", cluster.address, "--actors", "2")
    driver = command(workspace, digits, *where)
    wait_for_parts(workspace, 3)
    driver.send_signal(ending)
    _, said = driver.communicate(timeout=60)
    if ending != signal.SIGKILL:
        assert (driver.returncode, "the same command goes on from there" in said) == (130, True)
    (run,) = workspace.runs()
    kept = len(run.parts)
    assert run.state == "interrupted"
    assert 3 <= kept < JUDGED // ON_MANY
    out, said = command(workspace, digits, *where).communicate(timeout=120)
    assert f"{JUDGED} scored, 0 not scored" in out, said
    (run,) = workspace.runs()
    there = tables(run)
    forget(run)
    same(tables(manager.score(workspace, digits.config(batch_size=20), "cpu", 1)), there)


@pytest.mark.slow
def test_a_cluster_of_this_machine_ends_with_its_driver(workspace: Workspace, digits: Digits) -> None:
    driver = command(workspace, digits, "--actors", "1")
    wait_for_parts(workspace, 1)
    children = {int(each) for each in subprocess.check_output(["pgrep", "-P", str(driver.pid)], text=True).split()}
    assert children
    driver.kill()
    driver.communicate(timeout=60)
    deadline = time.monotonic() + 60
    while any(running(child) for child in children):
        assert time.monotonic() < deadline, "a process of Ray outlived its driver"
        time.sleep(0.2)


def running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_what_this_machine_has_no_room_for_is_refused() -> None:
    have = {"CPU": 2.0}
    with pytest.raises(MimicError, match=r"2 CPUs and 0 GPUs, and an actor asks for 1 and 1"):
        on_ray._actors(have, on_ray.Size(gpus=1), local=True)
    assert on_ray._actors(have, on_ray.Size(gpus=1), local=False) == 1  # a cluster may grow
    assert on_ray._actors(have, on_ray.Size(), local=True) == 2
    assert on_ray._actors({"CPU": 16.0, "GPU": 4.0}, on_ray.Size(cpus=3, gpus=0.5), local=False) == 5


@pytest.fixture
def port_of_another() -> Iterator[int]:
    """A web server's, as Ray's dashboard is one."""
    silent = type("Silent", (SimpleHTTPRequestHandler,), {"log_message": lambda *said: None})
    with ThreadingHTTPServer(("0.0.0.0", 0), silent) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("where", ["127.0.0.1:1", "127.0.0.1:{web}", "127.0.0.1", "auto"])
def test_a_cluster_that_is_not_there_is_a_sentence(
    where: str, port_of_another: int, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = where.format(web=port_of_another)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # what auto leads to: a cluster that has ended
    began = time.monotonic()
    with pytest.raises(MimicError, match=rf"no Ray cluster to be had at {address} \("):
        list(on_ray.execute(lambda: None, [None], address=address))
    assert time.monotonic() - began < 20  # Ray is imported
    assert capfd.readouterr().err == ""  # Ray's own library prints to the descriptor


@pytest.mark.slow
def test_by_default_what_is_free_is_taken(cluster) -> None:
    with on_ray._connected(cluster.address) as ray:
        taken = ray.remote(num_cpus=1)(type("Other", (), {"here": lambda self: True})).remote()
        assert ray.get(taken.here.remote(), timeout=60)
        deadline = time.monotonic() + 30
        while ray.available_resources().get("CPU", 0) > 1:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        worker, shard = SimpleNamespace(read=iter, abroad=lambda: None), Shard(0, 0, 1)
        assert on_ray._Pool(ray, worker, [shard] * 5, on_ray.Size(), local=False)._wanted == 1


class Slow(LabelWorker):
    """A worker that takes its time to arrive, and says in a folder that it has."""

    arrived: Path

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        (self.arrived / str(os.getpid())).touch()
        time.sleep(4)


@pytest.mark.slow
@pytest.mark.usefixtures("many_shards")
def test_a_node_that_leaves_while_actors_begin_is_not_blamed_on_them(
    cluster, workspace: Workspace, digits: Digits, execute: Execute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "DEATHS", 1)  # the first one that fails by itself would end the run
    (tmp_path / "arrived").mkdir()

    def made(make_worker):
        worker = Slow(*make_worker.args)
        worker.arrived = tmp_path / "arrived"
        return worker

    def leave() -> None:
        while len(list((tmp_path / "arrived").iterdir())) < 2:
            time.sleep(0.1)
        cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)

    thread = threading.Thread(target=leave)
    thread.start()
    try:
        run = manager.score(
            workspace, digits.config(batch_size=20), "cpu", 1, lambda make, shards: execute(lambda: made(make), shards)
        )
    finally:
        thread.join()
        cluster.add_node(num_cpus=1, **NODE)
    assert (run.state, run.counts["scored"]) == ("published", JUDGED)
