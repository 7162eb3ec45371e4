"""The app as strangers meet it: from other sites, under other names, with tampered addresses."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Page, expect

from docs.screenshots import serving
from mimic.workspace.layout import Workspace
from pages.widgets.frame import UNFORESEEN
from tests.browser.conftest import settle

pytestmark = pytest.mark.browser
RUN = "synthetic-900"


def asked(base: str, method: str, path: str, **headers: str) -> tuple[int, bytes]:
    """What the server answers to a request made by hand, whatever its path is."""
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=20)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, b"" if answer.status == 101 else answer.read()


def handshake(base: str, **headers: str) -> int:
    """The status of opening the page's websocket; 101 is a yes."""
    needed = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    needed["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    return asked(base, "GET", "/_stcore/stream", **needed, **headers)[0]


def test_a_websocket_opens_for_this_app_alone(served: str) -> None:
    port = urlsplit(served).port
    assert handshake(served, Origin=served) == 101
    assert handshake(served, Origin="http://evil.example") == 403
    assert handshake(served, Origin=f"http://evil.example:{port}") == 403
    assert handshake(served, Origin=f"http://127.0.0.1.evil.example:{port}") == 403
    for name in ("evil.example", f"evil.example:{port}", f"127.0.0.1.evil.example:{port}", f"evil@127.0.0.1:{port}"):
        assert handshake(served, Host=name, Origin=f"http://{name}") == 403, name


def test_nothing_is_changed_without_a_token(served: str) -> None:
    for method, path in (
        ("PUT", "/_stcore/upload_file/session/file"),
        ("POST", "/_stcore/upload_file/session/file"),
        ("DELETE", "/_stcore/upload_file/session/file"),
        ("POST", "/_stcore/agent/interact"),
        ("POST", "/_stcore/agent/mcp"),
        ("POST", "/review"),
    ):
        status, _ = asked(served, method, path, Origin="http://evil.example", Content_Length="0")
        assert status >= 400, (method, path)


@pytest.mark.parametrize(
    "prefix", ["/media/", "/static/", "/app/static/", "/component/x/", "/_stcore/bidi-components/x/", "/"]
)
def test_no_path_leads_to_a_file_of_the_machine(served: str, workspace: Workspace, prefix: str) -> None:
    page = asked(served, "GET", "/")[1]
    secret = f"{workspace.path}/server.log"
    for up in ("../" * 12, "..%2f" * 12, "%2e%2e/" * 12, "..%5c" * 12, "....//" * 12, "/", "//", "%00"):
        for file in ("etc/passwd", secret.lstrip("/"), "app.py"):
            status, body = asked(served, "GET", prefix + up + file)
            assert status >= 400 or body == page, (status, prefix + up + file)


def tampered() -> Iterator[tuple[str, str]]:
    strange = [
        "../../../etc/passwd",
        "'; DROP TABLE scores; --",
        "a\0b",
        "x" * 6000,
        "\u202e<script>alert(1)</script>",
        "NaN",
    ]
    for shift in range(2):  # every value somewhere on every page, and on one of them as the data set
        for place, name in enumerate(("explore", "threshold", "sample")):
            first = 2 * place + shift
            values = [quote(each) for each in (*strange[first:], *strange[:first])]
            yield name, "dataset={}&run={}&signal={}&keep={}&sample={}&order={}".format(*values)
    yield "threshold", f"run={quote(strange[0])}&keep={quote(strange[3])}&signal={quote(strange[4])}"
    yield "sample", f"dataset={RUN}&run={RUN}&sample={quote(strange[2])}"
    yield "sample", f"dataset={RUN}&run={RUN}&sample=-1"
    yield "sample", f"dataset={RUN}&run={RUN}&sample=99999999999999999999"
    yield "review", f"run={RUN}&queue={quote(strange[1])}&low=1e999&class={quote(strange[0])}&rule={quote(strange[1])}"
    yield "export", f"filter={quote(strange[0])}"
    yield "audit", f"filter={quote(strange[0])}"
    yield "compare", f"run={RUN}&a={quote(strange[0])}&b={quote(strange[1])}&also={quote(strange[2])}&keep=-5"


def test_tampered_addresses_are_sentences(visit: Callable[..., Page], served: str, workspace: Workspace) -> None:
    before = sorted(workspace.path.parent.iterdir())
    page = visit(served)
    for name, query in tampered():
        page.goto(f"{served}/{name}?{query}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        settle(page)
        assert page.get_by_test_id("stException").count() == 0, query
        assert UNFORESEEN not in page.inner_text("body"), (name, query)
    assert sorted(workspace.path.parent.iterdir()) == before


def test_the_name_that_a_proxy_is_called_by_is_allowed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMLIT_SERVER_ALLOWED_HOSTS", "mimic.example.org")
    with serving(workspace.path) as base:
        assert handshake(base, Host="mimic.example.org", Origin="https://mimic.example.org") == 101
        assert handshake(base, Host="evil.example", Origin="https://evil.example") == 403
