"""Settings that every test needs before torch is imported, and servers that tests of several folders talk to."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.servers import Server, serving

# Two pytest processes share the cores already: a second thread in each makes small operations several times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module", params=["s3", "gs", "hf"])
def any_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving(request.param) as server:
        yield server


@pytest.fixture(scope="module")
def s3_server() -> Iterator[Server]:
    with serving("s3") as server:
        yield server


@pytest.fixture
def server(any_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of each kind, which its scheme leads to; it behaves until it is told otherwise."""
    yield from _led(any_server, monkeypatch)


@pytest.fixture
def s3(s3_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The same of S3 alone, for what is not about the kind of server."""
    yield from _led(s3_server, monkeypatch)


def _led(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server.without_pauses(monkeypatch)
    server.lead(monkeypatch, server.url)
    yield server
    server.fault = lambda number: None
    server.asked.clear()
