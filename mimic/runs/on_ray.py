"""The executor that works on a Ray cluster: actors score, this process reads the data set and writes the parts.

An actor is given the prepared model once, through Ray's object store, and then a shard at a time: it needs the images,
and nothing of the workspace. What comes back is written here, so a part is there or not whatever becomes of a node, and
the same command goes on with the shards that have none.

An actor that ends (killed, out of memory, its node gone) is replaced, and its shard is tried again, but not for ever:
a shard that has ended several actors is given up, and named once all others are done. It gets no made-up part, since
parts say the same whoever made them.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from mimic.data import Shard, counted
from mimic.errors import MimicError, MissingExtra
from mimic.runs.ray_actor import Actor, packed
from mimic.runs.versions import versions
from mimic.runs.worker import Step, Task, Worker

# So many actors may a shard end by itself, and so many be taken from it with their nodes, before it is given up.
DEATHS, LOSSES = 3, 10
# So many actors may end one after the other, with no shard done in between: then it is not the shards.
IN_A_ROW = 6

_ANSWER = 5.0  # seconds that a cluster is given to take the call, and to answer it
_NO_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # a frame of HTTP/2: no content, kind 4
_PATIENCE = 60.0  # seconds without any actor before it is said that there is no room for one
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Size:
    """What is asked of a cluster.

    Attributes:
        actors: how many at most; None: as many as find room when the work begins, beside whatever else is there.
        cpus: of each; as many threads decode.
        gpus: of each; 0: it computes on its CPUs, in one thread.
    """

    actors: int | None = None
    cpus: int = 1
    gpus: float = 0.0


def execute(
    make_worker: Callable[[], Worker], shards: Iterable[Shard], size: Size = Size(), address: str | None = None
) -> Iterator[Step]:
    """Have actors score the shards; a report after every shard, in whatever order they are done.

    Args:
        make_worker: called once, here.
        shards: what is left to do.
        size: how many actors, and how large.
        address: of a cluster, as `ray.init` takes it; None: one of this machine, which ends with the work.

    Raises:
        MissingExtra: Ray is not installed.
        MimicError: no cluster at the address; a node with other versions; shards that were given up. Whatever fails in
            an actor is raised here.
    """
    if address and address.startswith("ray://"):
        raise MimicError(f"{address} leads into a cluster from outside: run the command in it, with --address auto")
    todo = list(shards)
    if not todo:
        return
    with _connected(address) as ray:
        pool = _Pool(ray, make_worker(), todo, size, local=address is None)
        try:
            yield from pool.steps()
        finally:
            pool.close()


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Ray, connected; what it starts or opens is closed again."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers what runs here
    if address is None:
        # Whoever reaches Ray's ports can run code here: this keeps them on 127.0.0.1. It is read when Ray is imported.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError:
        raise MissingExtra("--on ray", "ray") from None
    heard = signal.getsignal(signal.SIGTERM)
    options: dict[str, Any] = {"address": address or "local", "logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        options["include_dashboard"] = False
    try:
        _look_for(address)
        ray.init(**options)
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise MimicError(
            f"there is no Ray cluster to be had at {address or 'this machine'} ({reason}): "
            "start one with `ray start --head`, or leave --address out"
        ) from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, heard)  # Ray puts one of its own in its place, which ends without a word
    try:
        yield ray
    finally:
        ray.shutdown()


def _look_for(address: str | None) -> None:
    """Raises OSError or ValueError where no cluster answers: Ray would try for minutes, and print each time it did."""
    try:
        from ray._private.services import canonicalize_bootstrap_address  # what "auto" stands for is known nowhere else
    except ImportError:
        return  # another version of Ray, which then says at length what it does not find
    found = canonicalize_bootstrap_address(address) if address else None
    if found is None:
        return
    host, _, port = found.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER) as connection:
        if os.environ.get("RAY_USE_TLS", "0") not in ("0", ""):
            return
        # Ray speaks gRPC: over HTTP/2, where either side begins with its settings.
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _NO_SETTINGS)
        said = connection.recv(len(_NO_SETTINGS), socket.MSG_WAITALL)
        if said[3:4] != _NO_SETTINGS[3:4]:
            raise OSError(f"what answers at {found} is no Ray")


class _Gone(NamedTuple):
    """Why an actor gives nothing any more; `away`: it cannot be reached, as when its node has just been taken."""

    why: str
    away: bool


class _Pool:
    """Actors, what each is doing, and what is left to do."""

    def __init__(self, ray: Any, worker: Worker, todo: list[Shard], size: Size, local: bool) -> None:
        self._ray, self._worker, self._size = ray, worker, size
        self._left = len(todo)
        free = ray.cluster_resources() if local else ray.available_resources()  # a cluster may be others' as well
        self._wanted = min(_actors(free, size, local), len(todo))
        self._tasks = worker.read(todo)
        self._again: deque[Task] = deque()
        self._starting: dict[Any, tuple[Any, set[str]]] = {}  # reference → actor, the nodes that there were
        self._idle: deque[tuple[Any, str]] = deque()  # actor, its node
        self._busy: dict[Any, tuple[Any, str, Task]] = {}  # reference → actor, its node, what it scores
        self._ended: Counter[int] = Counter()  # shard → actors that it ended
        self._lost: Counter[int] = Counter()  # shard → actors that went with their nodes
        self._failed_starts = self._lost_starts = self._in_a_row = 0
        self._given_up: list[Task] = []
        worker.beside = self._wanted
        self._packed = ray.put(packed(worker))

    def steps(self) -> Iterator[Step]:
        """Until every shard is done or given up."""
        alone_since = time.monotonic()
        while self._left:
            self._start()
            self._hand_out()
            waiting = [*self._busy, *self._starting]
            ready, _ = self._ray.wait(waiting, timeout=1.0)  # short, so that Ctrl-C is heard
            for reference in ready:
                if reference in self._starting:
                    self._started(reference)
                else:
                    yield from self._finished(reference)
            if self._busy or self._idle:
                alone_since = time.monotonic()
            elif time.monotonic() - alone_since > _PATIENCE:
                _LOG.warning("waiting for room: %s", self._room())
                alone_since = time.monotonic()
        if self._given_up:
            raise MimicError(self._sentence())

    def close(self) -> None:
        """End every actor."""
        for actor, *_ in (*self._starting.values(), *self._idle, *self._busy.values()):
            self._ray.kill(actor)

    def _start(self) -> None:
        size = self._size
        remote = self._ray.remote(Actor).options(num_cpus=size.cpus, num_gpus=size.gpus, max_restarts=0)
        here = len(self._starting) + len(self._idle) + len(self._busy)
        for _ in range(min(self._wanted, self._left) - here):
            actor = remote.remote()
            self._starting[actor.prepare.remote(self._packed, versions(), size.gpus > 0)] = actor, self._nodes()

    def _started(self, reference: Any) -> None:
        actor, nodes = self._starting.pop(reference)
        node, gone = self._got(reference)
        if gone is None:
            self._idle.append((actor, node[0]))
            return
        self._ray.kill(actor)  # where it was only out of reach
        if gone.away or nodes - self._nodes():  # most likely it was on the node that has left since
            self._lost_starts += 1
        else:
            self._failed_starts += 1
        ended = self._failed_starts + self._lost_starts
        if self._failed_starts >= DEATHS or self._lost_starts >= LOSSES:
            raise MimicError(
                f"{ended} actors ended before they could score anything ({gone.why}): "
                "most likely a lack of memory; the nodes' logs in Ray's folder say more"
            )

    def _hand_out(self) -> None:
        while self._idle:
            task = next(self._tasks, None) or (self._again.popleft() if self._again else None)
            if task is None:
                return
            actor, node = self._idle.popleft()
            self._busy[actor.score.remote(task)] = (actor, node, task)

    def _finished(self, reference: Any) -> Iterator[Step]:
        actor, node, task = self._busy.pop(reference)
        found, gone = self._got(reference)
        if gone is not None:
            self._ray.kill(actor)  # where it was only out of reach
            self._blame(task, not gone.away and node in self._nodes())
            return
        self._idle.append((actor, node))
        part, unreadable = found
        self._worker.write(part)
        self._left -= 1
        self._failed_starts = self._lost_starts = self._in_a_row = 0
        yield Step(len(task.shard), unreadable)

    def _got(self, reference: Any) -> tuple[Any, _Gone | None]:
        """What an actor gave; or that it is gone. An error of its work is raised."""
        errors = self._ray.exceptions
        gone = (errors.ActorDiedError, errors.ActorUnavailableError, errors.ObjectLostError, errors.OutOfMemoryError)
        try:
            return self._ray.get(reference), None
        except errors.RayTaskError as error:
            raise error.cause from None
        except (*gone, errors.NodeDiedError, errors.WorkerCrashedError) as error:
            why = (str(error).splitlines() or [type(error).__name__])[0][:200]
            return None, _Gone(why, isinstance(error, errors.ActorUnavailableError))

    def _blame(self, task: Task, here: bool) -> None:
        """Try the shard again, unless it has ended too many actors already; `here`: their nodes are still there."""
        (self._ended if here else self._lost)[task.shard.index] += 1
        self._in_a_row += here
        if self._ended[task.shard.index] >= DEATHS or self._lost[task.shard.index] >= LOSSES:
            self._given_up.append(task)
            self._left -= 1
        else:
            self._again.append(task)
        if self._in_a_row >= max(IN_A_ROW, 2 * self._wanted):
            raise MimicError(
                f"{self._in_a_row} actors ended one after the other, the last on shard {task.shard.index}: most likely "
                "a lack of memory; what was scored is kept, and the same command goes on from there, with fewer "
                "--actors or a smaller --batch-size"
            )

    def _nodes(self) -> set[str]:
        return {each["NodeID"] for each in self._ray.nodes() if each["Alive"]}

    def _sentence(self) -> str:
        first = self._given_up[0]
        shard, ids = first.shard, first.inputs.ids
        more = f", and so did {len(self._given_up) - 1} others" if len(self._given_up) > 1 else ""
        return (
            f"shard {shard.index} ended its actor {self._ended[shard.index] + self._lost[shard.index]} times{more} "
            f"({counted(len(shard), 'sample')}, from {ids[0]!r} to {ids[-1]!r}): an image that its decoder dies of, or "
            "a lack of memory; what else was scored is kept, and the same command tries again, with a smaller "
            "--batch-size or more room an actor, or after that image is gone"
        )

    def _room(self) -> str:
        have = self._ray.cluster_resources()
        return (
            f"an actor takes {self._size.cpus} CPUs and {self._size.gpus:g} GPUs, and the cluster has "
            f"{have.get('CPU', 0):g} and {have.get('GPU', 0):g}, some of them taken"
        )


def _actors(have: dict[str, float], size: Size, local: bool) -> int:
    """How many actors to keep, given what is free.

    Raises:
        MimicError: not one has room on this machine. A cluster may yet grow.
    """
    room = int(have.get("CPU", 0) // size.cpus)
    if size.gpus:
        room = min(room, int(have.get("GPU", 0) // size.gpus))
    if local and not room:
        raise MimicError(
            f"this machine has {have.get('CPU', 0):g} CPUs and {have.get('GPU', 0):g} GPUs, and an actor asks for "
            f"{size.cpus} and {size.gpus:g}: ask for fewer with --threads and --gpus-per-actor, or give --address"
        )
    return size.actors or max(room, 1)
