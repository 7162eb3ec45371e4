"""Signing in, with a provider of our own: who is listed gets in and decides by that name, nobody else sees anything."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from docs.screenshots import started
from mimic.runs.launch import app_command
from mimic.workspace.decisions import Decisions
from mimic.workspace.layout import Workspace
from tests.browser.conftest import settle
from tests.browser.provider import CLIENT, SECRET, Provider, providing

pytestmark = pytest.mark.browser
RUN = "synthetic-900"
ADA = {"email": "Ada@example.org", "email_verified": True}
PAGES = ("", "explore", "threshold", "combine", "compare", "review", "audit", "evaluate", "export", "train", "sql")


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with providing() as made:
        yield made


@pytest.fixture(scope="module")
def guarded(provider: Provider, workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app, started where a deployer has put .streamlit/secrets.toml."""
    folder = tmp_path_factory.mktemp("deployed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    (folder / ".streamlit").mkdir()
    (folder / ".streamlit/secrets.toml").write_text(
        f'[auth]\nredirect_uri = "{base}/oauth2callback"\ncookie_secret = "{"c" * 40}"\n'
        f'client_id = "{CLIENT}"\nclient_secret = "{SECRET}"\n'
        f'server_metadata_url = "{provider.base}/.well-known/openid-configuration"\n'
        '[mimic]\naddresses = ["ada@example.org"]\n'
    )
    here = Path.cwd()
    os.chdir(folder)
    command = app_command(port)
    os.chdir(here)
    environment = os.environ | {"MIMIC_WORKSPACE": str(workspace.path), "LOGNAME": "somebody-else"}
    with started(command, base, environment, folder / "log") as address:
        yield address


@pytest.fixture
def person(chromium: Browser, provider: Provider, guarded: str) -> Iterator[Callable[[dict[str, object]], Page]]:
    """A browser of somebody who is signed in with these claims."""
    contexts = []

    def signed_in(claims: dict[str, object]) -> Page:
        provider.claims = claims
        context = chromium.new_context(viewport={"width": 1280, "height": 1200})
        contexts.append(context)
        page = context.new_page()
        page.goto(guarded)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        settle(page)
        return page

    yield signed_in
    for context in contexts:
        context.close()


def test_nobody_sees_a_page_without_signing_in(chromium: Browser, guarded: str) -> None:
    page = chromium.new_context().new_page()  # the server's first visitor: Streamlit runs a linked page's file alone
    for name in PAGES[::-1]:
        page.goto(f"{guarded}/{name}?dataset={RUN}&run={RUN}")
        expect(page.get_by_role("button", name="Sign in")).to_be_visible()
        settle(page)
        assert RUN not in page.inner_text("body")
        assert page.get_by_test_id("stPageLink").count() == 0
    page.context.close()


def test_a_listed_address_decides_by_its_name_and_leaves(
    person: Callable[[dict[str, object]], Page], guarded: str, workspace: Workspace
) -> None:
    page = person(ADA)
    page.goto(f"{guarded}/review?dataset={RUN}&run={RUN}&queue=random")
    expect(page.get_by_role("heading", name="Review", level=1)).to_be_visible()
    settle(page)
    field = page.get_by_role("textbox", name="Who decides")
    expect(field).to_be_disabled()
    expect(field).to_have_value("Ada@example.org")
    decisions = Decisions(workspace, workspace.dataset(RUN))
    before = len(decisions.history())
    time.sleep(0.4)
    page.keyboard.press("k")
    expect(page.get_by_text("Decided in this data set: ").first).to_be_visible()
    for _ in range(100):
        if len(decisions.history()) > before:
            break
        time.sleep(0.1)
    assert decisions.history().iloc[0]["who"] == "Ada@example.org"
    settle(page)  # a click on a page that is being drawn may be lost
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    page.goto(f"{guarded}/review?dataset={RUN}&run={RUN}")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"email": "eve@example.org", "email_verified": True}, "is not among those"),
        ({"email": "ada@example.org", "email_verified": False}, "is no address that the provider has verified"),
        ({"email": "ada@example.org"}, "is no address that the provider has verified"),
        ({"email": "ada@example.org", "email_verified": "true"}, "is no address that the provider has verified"),
        ({"email": "ada@example.org.evil.example", "email_verified": True}, "is not among those"),
        ({"email": "", "email_verified": True}, "This account"),
    ],
)
def test_anybody_else_is_refused_on_every_page(
    person: Callable[[dict[str, object]], Page], guarded: str, claims: dict[str, object], words: str
) -> None:
    page = person(claims)
    for name in PAGES if claims["email"] == "eve@example.org" else ("", "review"):
        page.goto(f"{guarded}/{name}?dataset={RUN}&run={RUN}")
        expect(page.get_by_text(words)).to_be_visible()
        assert RUN not in page.inner_text("body")
