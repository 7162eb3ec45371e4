"""The app behind a real nginx that speaks TLS, set up by the very block of docs/security.md.

Skipped with the reason where there is no nginx, unless REQUIRE_BROWSER=1 says that everything must be there.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

from docs.screenshots import serving
from mimic.filters.signal_rules import ThresholdRule
from mimic.workspace.decisions import Decisions
from mimic.workspace.filters import save_filter
from mimic.workspace.layout import Workspace
from tests.browser.conftest import CHROMIUM, FLAGS, settle, visiting

pytestmark = pytest.mark.browser
RUN = "synthetic-900"
SECURITY = Path(__file__).resolve().parents[2] / "docs/security.md"
TEXT = SECURITY.read_text(encoding="utf-8")
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
NAME = "mimic.example.org"  # as in docs/security.md

CONFIGURATION = """
daemon off;
{user}
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        server_name {name};
        ssl_certificate {folder}/certificate.pem;
        ssl_certificate_key {folder}/key.pem;
{block}
    }}
}}
"""


def documented() -> tuple[str, dict[str, str]]:
    """What docs/security.md puts into nginx's configuration, and into the app's environment."""
    block = re.search(r"^    location /mimic/ \{\n.*?^    \}\n", TEXT, re.DOTALL | re.MULTILINE)
    command = re.search(r"^    (STREAMLIT_\S+ .*) mimic app$", TEXT, re.MULTILINE)
    assert block is not None
    assert command is not None
    assert block[0].count("http://127.0.0.1:8501;") == 1
    return block[0], dict(word.split("=", 1) for word in command[1].split())


def certify(folder: Path) -> None:
    """A certificate for the name, by nobody."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1))
    pem = serialization.Encoding.PEM
    (folder / "certificate.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@pytest.fixture(scope="module")
def proxied(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an nginx before an app of its own; both end with the module."""
    if NGINX is None:
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail("REQUIRE_BROWSER=1, but there is no nginx")
        pytest.skip("no nginx here: apt-get install nginx-light")
    folder = tmp_path_factory.mktemp("nginx")
    certify(folder)
    block, environment = documented()
    with pytest.MonkeyPatch.context() as patch, socket.socket() as probe:
        for name, value in environment.items():
            patch.setenv(name, value)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        with serving(workspace.path, "/mimic") as base:
            block = block.replace("http://127.0.0.1:8501", f"http://{urlsplit(base).netloc}")
            user = "user root;" if os.geteuid() == 0 else ""
            made = CONFIGURATION.format(folder=folder, port=port, name=NAME, block=block, user=user)
            (folder / "nginx.conf").write_text(made)
            probe.close()
            server = subprocess.Popen([NGINX, "-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", "stderr"])
            try:
                for _ in range(100):
                    with socket.socket() as one:
                        if one.connect_ex(("127.0.0.1", port)) == 0:
                            break
                    assert server.poll() is None, (folder / "error.log").read_text()
                    time.sleep(0.1)
                yield port
            finally:
                server.terminate()
                server.wait(timeout=20)


@pytest.fixture(scope="module")
def outside(chromium: Browser, proxied: int) -> Iterator[Browser]:
    """A browser to which the name is that nginx, and nothing else is anything."""
    flags = [flag for flag in FLAGS if "host-resolver-rules" not in flag]
    flags += [f"--host-resolver-rules=MAP {NAME}:443 127.0.0.1:{proxied} , MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]
    flags += ["--ignore-certificate-errors"]
    browser = chromium.browser_type.launch(executable_path=CHROMIUM, headless=True, args=flags)
    yield browser
    browser.close()


def test_pages_decisions_and_downloads_pass_through(outside: Browser, workspace: Workspace) -> None:
    base, decisions = f"https://{NAME}/mimic", Decisions(workspace, workspace.dataset(RUN))
    rule = ThresholdRule(run=RUN, signal="mimic", threshold=0.0)
    save_filter(workspace, "zero", RUN, rule.model_dump(), {"kept": 800, "dropped": 97, "not_scored": 3}, replace=True)
    with visiting(outside) as visit:
        page = visit(f"{base}/review?dataset={RUN}&run={RUN}&queue=lowest")
        expect(page.get_by_role("heading", name="Review", level=1)).to_be_visible()
        settle(page)  # over the websocket
        before = len(decisions.history())
        time.sleep(0.4)
        page.keyboard.press("k")
        for _ in range(100):
            if len(decisions.history()) > before:
                break
            time.sleep(0.1)
        assert len(decisions.history()) == before + 1
        page.get_by_role("link", name="Threshold").click()
        expect(page.get_by_role("heading", name="Threshold", level=1)).to_be_visible()
        assert page.url.startswith(f"{base}/threshold")
        settle(page)
        with page.expect_download() as download:
            page.get_by_role("button", name="CSV").first.click()
        assert len(download.value.path().read_text().splitlines()) == 901
    decisions.undo("reviewer")


def answer(port: int, path: str, **headers: str) -> int:
    """The status of what nginx gives."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with closing(http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)) as connection:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return connection.getresponse().status


def test_another_name_or_origin_opens_no_websocket(proxied: int) -> None:
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13"}
    upgrade |= {"Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    for host, origin, status in (
        (NAME, f"https://{NAME}", 101),
        (NAME, "https://evil.example", 403),
        ("evil.example", "https://evil.example", 403),
        ("127.0.0.1.evil.example", f"https://{NAME}", 403),
    ):
        assert answer(proxied, "/mimic/_stcore/stream", Host=host, Origin=origin, **upgrade) == status, host
    assert answer(proxied, "/", Host=NAME) == 404  # what is not under the path is nginx's own
