"""Settings that every test needs before torch is imported, and servers that tests of several folders talk to."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.s3 import ENVIRONMENT, Server, serving

# Two pytest processes share the cores already: a second thread in each makes small operations several times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def s3_server() -> Iterator[Server]:
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    with serving() as server:
        yield server


@pytest.fixture
def server(s3_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An S3 server that s3:// leads to; it behaves until it is told otherwise."""
    import s3fs

    from mimic import storage

    for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": s3_server.url}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(storage, "_PAUSE", 0.01)
    s3fs.S3FileSystem.clear_instance_cache()
    yield s3_server
    s3_server.fault = lambda number: None
    s3_server.asked.clear()
