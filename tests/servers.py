"""Real servers on this machine, over HTTP: S3 (moto's), Google Storage (an emulator), a Hub; and a proxy before each.

The proxy counts what is asked for, and has bad days.
"""

from __future__ import annotations

import asyncio
import http.client
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote, unquote

import fsspec
import pytest

from mimic import storage
from tests.hub import REPOSITORY, hub

BUCKET = "pictures"
KEYS = {"AWS_ACCESS_KEY_ID": "mimic", "AWS_SECRET_ACCESS_KEY": "mimic", "AWS_DEFAULT_REGION": "us-east-1"}
_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
REFUSALS = {"slow": (503, _SLOW_DOWN), "busy": (429, _SLOW_DOWN), "forbidden": (403, _DENIED)}
# Of each server: where its bucket is, and how a GET for an object's bytes looks.
ROOTS = {"s3": f"s3://{BUCKET}", "gs": f"gs://{BUCKET}", "hf": f"hf://datasets/{REPOSITORY}"}
READS = {
    "s3": re.compile(rf"/{BUCKET}/([^?]+)"),
    "gs": re.compile(rf"/download/storage/v1/b/{BUCKET}/o/([^?]+)\?alt=media"),
    "hf": re.compile(r"/cdn/(.+)"),
}

Put = Callable[[str, bytes], object]


def bad_days(number: int) -> str | None:
    """Every fifth request is throttled, every seventh loses its connection half way."""
    return ("slow", "busy")[number % 2] if number % 5 == 1 else "drop" if number % 7 == 3 else None


@dataclass
class Server:
    """Where it is, and how it behaves.

    Attributes:
        scheme: s3, gs or hf.
        put: keeps the bytes of a key.
        url: of the proxy.
        fault: the number of a GET, from 0 → "slow" (503 SlowDown), "busy" (429), "forbidden" (403), "drop" (the
            connection ends amid the body) or None.
        asked: the GETs so far, as (path, range).
    """

    scheme: str
    put: Put
    url: str = ""
    fault: Callable[[int], str | None] = lambda number: None
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    @property
    def reads(self) -> list[tuple[str, str | None]]:
        """The GETs so far that were for an object's bytes, as (key, range)."""
        found = [(READS[self.scheme].fullmatch(path), range_) for path, range_ in self.asked]
        return [(unquote(match[1]), range_) for match, range_ in found if match]

    def upload(self, folder: Path, prefix: str) -> str:
        """Every file of a folder; the prefix as a URL. Each test has its own: moto's servers share what they hold."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.put(f"{prefix}/{file.relative_to(folder).as_posix()}", file.read_bytes())
        return f"{ROOTS[self.scheme]}/{prefix}"

    def lead(self, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
        """Its scheme leads to this address from now on, and its client remembers nothing."""
        if self.scheme == "s3":
            for name, value in (KEYS | {"AWS_ENDPOINT_URL": url}).items():
                monkeypatch.setenv(name, value)
        elif self.scheme == "gs":
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        else:
            monkeypatch.setitem(fsspec.config.conf, "hf", {"endpoint": url})  # as FSSPEC_HF_ENDPOINT does
        type(storage._filesystem(self.scheme)).clear_instance_cache()

    def without_pauses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody waits long before asking again: neither we nor its client by itself."""
        monkeypatch.setattr(storage, "_PAUSE", 0.01)
        if self.scheme == "gs":
            monkeypatch.setattr("gcsfs.retry.asyncio", SimpleNamespace(sleep=lambda seconds: asyncio.sleep(0)))
        elif self.scheme == "hf":
            quick = SimpleNamespace(**vars(time) | {"sleep": lambda seconds: None})
            monkeypatch.setattr("huggingface_hub.utils._http.time", quick)


@contextmanager
def serving(scheme: str) -> Iterator[Server]:
    """The server and its proxy, for as long as the block lasts."""
    with BEHIND[scheme]() as (address, put):
        server = Server(scheme, put)
        proxy = Listening(("127.0.0.1", 0), _handler(server, address))
        server.url = f"http://127.0.0.1:{proxy.server_port}"
        with running(proxy):
            yield server


class Listening(ThreadingHTTPServer):
    request_queue_size = 100  # of 5, a batch's other connections would be tried again after a second


@contextmanager
def running(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _s3() -> Iterator[tuple[str, Put]]:
    import boto3
    from moto.server import ThreadedMotoServer

    behind = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    behind.start()
    host, port = behind.get_host_and_port()
    keys = {"aws_access_key_id": "mimic", "aws_secret_access_key": "mimic", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", **keys)
    client.create_bucket(Bucket=BUCKET)
    try:
        yield f"{host}:{port}", lambda key, data: client.put_object(Bucket=BUCKET, Key=key, Body=data)
    finally:
        behind.stop()


@contextmanager
def _gs() -> Iterator[tuple[str, Put]]:
    from gcp_storage_emulator.server import create_server

    behind = create_server("127.0.0.1", 0, in_memory=True, default_bucket=BUCKET)
    behind._api.daemon = True
    behind.start()
    address = f"127.0.0.1:{behind._api._httpd.server_port}"

    def put(key: str, data: bytes) -> None:
        url = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={quote(key, safe='')}"
        _ask(address, "POST", url, {"Content-Type": "application/octet-stream"}, data)

    try:
        yield address, put
    finally:
        behind.stop()


@contextmanager
def _hf() -> Iterator[tuple[str, Put]]:
    files: dict[str, bytes] = {}
    behind = Listening(("127.0.0.1", 0), hub(files))
    with running(behind):
        yield f"127.0.0.1:{behind.server_port}", files.__setitem__


BEHIND = {"s3": _s3, "gs": _gs, "hf": _hf}


def _ask(
    address: str, method: str, path: str, headers: dict[str, str], body: bytes | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def _handler(server: Server, address: str) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with lock:
                number = len(server.asked)
                server.asked.append((self.path, self.headers.get("Range")))
            fault = server.fault(number)
            if fault in REFUSALS:
                status, body = REFUSALS[fault]
                self._answer(status, {"Content-Type": "application/xml"}, body)
            else:
                self._pass_on(cut=fault == "drop")

        def do_HEAD(self) -> None:
            self._pass_on()

        def _pass_on(self, cut: bool = False) -> None:
            answer, body = _ask(address, self.command, self.path, dict(self.headers))
            kept = {"content-type", "content-range", "etag", "last-modified", "accept-ranges", "location", "link"}
            headers = {
                name: value for name, value in answer.getheaders() if name.lower() in kept or name.startswith("X-")
            }
            if self.command == "HEAD":
                headers["Content-Length"] = answer.getheader("Content-Length", "0")
            self._answer(answer.status, headers, body, cut)

        def _answer(self, status: int, headers: dict[str, str], body: bytes, cut: bool = False) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut else body)
            self.close_connection = self.close_connection or cut

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Proxy
