"""A real S3 server on this machine (moto's, over HTTP), and a proxy before it that has bad days."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BUCKET = "pictures"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "mimic", "AWS_SECRET_ACCESS_KEY": "mimic", "AWS_DEFAULT_REGION": "us-east-1"}
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


def bad_days(number: int) -> str | None:
    """Every fifth request is throttled, every seventh loses its connection half way."""
    return "slow" if number % 5 == 1 else "drop" if number % 7 == 3 else None


@dataclass
class Server:
    """Where it is, and how it behaves.

    Attributes:
        url: of the proxy.
        fault: the number of a GET, from 0 → "slow" (503 SlowDown), "drop" (the connection ends amid the body) or None.
        asked: the GETs so far, as (path, range).
    """

    url: str
    client: Any
    fault: Callable[[int], str | None] = lambda number: None
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def upload(self, folder: Path, prefix: str) -> str:
        """Every file of a folder; the prefix as a URL."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.client.put_object(
                    Bucket=BUCKET, Key=f"{prefix}/{file.relative_to(folder).as_posix()}", Body=file.read_bytes()
                )
        return f"s3://{BUCKET}/{prefix}"


@contextmanager
def serving() -> Iterator[Server]:
    """The server and its proxy, for as long as the block lasts."""
    import boto3
    from moto.server import ThreadedMotoServer

    behind = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    behind.start()
    host, port = behind.get_host_and_port()
    keys = {"aws_access_key_id": "mimic", "aws_secret_access_key": "mimic", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", **keys)
    client.create_bucket(Bucket=BUCKET)
    server = Server("", client)
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server, host, port))
    server.url = f"http://127.0.0.1:{proxy.server_port}"
    thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
        behind.stop()


def _handler(server: Server, host: str, port: int) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with lock:
                number = len(server.asked)
                server.asked.append((self.path, self.headers.get("Range")))
            fault = server.fault(number)
            if fault == "slow":
                self._answer(503, {"Content-Type": "application/xml"}, SLOW_DOWN)
            else:
                self._pass_on(cut=fault == "drop")

        def do_HEAD(self) -> None:
            self._pass_on()

        def _pass_on(self, cut: bool = False) -> None:
            connection = http.client.HTTPConnection(host, port, timeout=30)
            connection.request(self.command, self.path, headers=dict(self.headers))
            answer = connection.getresponse()
            body = answer.read()
            kept = {"content-type", "content-range", "etag", "last-modified", "accept-ranges"}
            headers = {name: value for name, value in answer.getheaders() if name.lower() in kept}
            if self.command == "HEAD":
                headers["Content-Length"] = answer.getheader("Content-Length", "0")
            self._answer(answer.status, headers, body, cut)
            connection.close()

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
