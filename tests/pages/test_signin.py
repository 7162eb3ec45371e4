"""Whether anybody has to sign in: a file that cannot be read lets nobody in, and there is no name to type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st

from mimic.errors import MimicError
from pages.widgets import signin


@pytest.fixture
def secrets(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Writes the secrets that Streamlit reads."""
    file, before = tmp_path / "secrets.toml", st.config.get_option("secrets.files")

    def written(text: str) -> None:
        file.write_text(text)
        st.config.set_option("secrets.files", [str(file)])
        st.secrets._reset()

    yield written
    st.config.set_option("secrets.files", before)
    st.secrets._reset()


def test_without_the_section_nobody_is_asked(secrets: Callable[[str], None]) -> None:
    secrets('[mimic]\naddresses = ["ada@example.org"]\n')
    assert not signin.required()
    assert signin.admitted()
    assert signin.address() is None


def test_secrets_that_cannot_be_read_let_nobody_in(secrets: Callable[[str], None]) -> None:
    secrets('[auth\nredirect_uri = "x"\n')
    with pytest.raises(MimicError, match=r"secrets.toml cannot be read as TOML, so nobody is let in"):
        signin.required()


@pytest.mark.parametrize(
    ("allowed", "claims", "let_in"),
    [
        ('["ada@example.org"]', {"email": "ADA@example.org", "email_verified": True, "is_logged_in": True}, True),
        ('"ada@example.org"', {"email": "ada@example.org", "email_verified": True, "is_logged_in": True}, True),
        ('"ada@example.org"', {"email": "a", "email_verified": True, "is_logged_in": True}, False),
        ("[]", {"email": "ada@example.org", "email_verified": True, "is_logged_in": True}, False),
        ('[""]', {"email": "", "email_verified": True, "is_logged_in": True}, False),
        ('["ada@example.org"]', {"email": "ada@example.org", "email_verified": True}, False),
        ('["ada@example.org"]', {"email": "ada@example.org", "is_logged_in": True}, False),
        ('["ada@example.org"]', {"email": "ada@example.org", "email_verified": 1, "is_logged_in": True}, False),
        ('["ada@example.org"]', {"email": ["ada@example.org"], "email_verified": True, "is_logged_in": True}, False),
    ],
)
def test_who_is_let_in(secrets: Callable[[str], None], allowed: str, claims: dict[str, object], let_in: bool) -> None:
    secrets(f"[auth]\n[mimic]\naddresses = {allowed}\n")
    assert signin.required()
    assert (signin._listed(claims) is not None) == let_in


def test_secrets_that_were_read_once_go_on_counting_without_their_file(secrets: Callable[[str], None]) -> None:
    secrets('[auth]\n[mimic]\naddresses = ["ada@example.org"]\n')
    assert signin.required()
    st.config.set_option("secrets.files", ["gone.toml"])
    assert signin.required()
