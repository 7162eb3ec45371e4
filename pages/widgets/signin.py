"""Who may look: where Streamlit's secrets have a section [auth], whoever signs in there with a listed address.

    [auth]                                        # any OpenID Connect provider; without this section nobody is asked
    redirect_uri = "https://mimic.example.org/oauth2callback"
    cookie_secret = "…"
    client_id = "…"
    client_secret = "…"
    server_metadata_url = "https://…/.well-known/openid-configuration"

    [mimic]
    addresses = ["ada@example.org"]               # who may come in; all may do the same

An address counts if the provider says that it has verified it. It is the name in every decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import streamlit as st

from mimic.errors import MimicError, MissingExtra
from mimic.reports import text

_read: set[bool] = set()  # whether there ever was a file of secrets


def required() -> bool:
    """Whether people have to sign in.

    Raises:
        MimicError: there is a file of secrets that cannot be read: what it may say of sign-in is not passed over.
    """
    there = [path for path in st.config.get_option("secrets.files") if Path(path).exists()]
    # looking for files that are not there takes Streamlit 4 ms, several times a step; what it has read once stands
    if not there and not _read:
        return False
    if st.secrets.load_if_toml_exists():
        _read.add(True)
        return "auth" in st.secrets
    if there:
        raise MimicError(f"{there[0]} cannot be read as TOML, so nobody is let in: mend it, or take it away")
    return False


def address() -> str | None:
    """The address of whoever is signed in and listed; None where nobody has to sign in, or nobody has."""
    return _listed(st.user.to_dict()) if required() else None


def admitted() -> bool:
    """Whether this person may look and act."""
    return not required() or address() is not None


def admit() -> None:
    """The page ends here, with a way in, for whoever may not look."""
    try:
        if admitted():
            return
        if find_spec("authlib") is None:
            raise MissingExtra("signing in ([auth] in secrets.toml)", "auth")
        _way_in()
    except MimicError as error:
        st.error(text.markdown(str(error), 600), icon=":material/error:")
    st.stop()


def sign_out() -> None:
    """Whose session this is, and the way out of it; nothing where nobody has to sign in."""
    who = address()
    if who is not None:
        st.button("Sign out", icon=":material/logout:", type="tertiary", on_click=st.logout, help=f"`{who}`")


def _way_in() -> None:
    st.title("mimic", anchor=False)
    if not st.user.is_logged_in:
        st.button("Sign in", icon=":material/login:", on_click=st.login)
        return
    claimed = st.user.to_dict().get("email")
    who = text.markdown(claimed, 100) if isinstance(claimed, str) and claimed else "This account"
    why = (
        "is not among those who may look at this workspace"
        if _verified(st.user.to_dict())
        else "is no address that the provider has verified"
    )
    st.error(f"{who} {why}.", icon=":material/block:")
    st.button("Sign out", icon=":material/logout:", on_click=st.logout)


def _listed(claims: Mapping[str, object]) -> str | None:
    """The address that a provider vouches for, if it may come in."""
    who = claims.get("email")
    if claims.get("is_logged_in") is not True or not _verified(claims) or not isinstance(who, str) or not who:
        return None
    allowed = st.secrets.get("mimic", {}).get("addresses", [])
    if isinstance(allowed, str):
        allowed = [allowed]
    return who if who.lower() in {str(each).strip().lower() for each in allowed} else None


def _verified(claims: Mapping[str, object]) -> bool:
    """Left out counts as no: providers that leave it out let people claim any address."""
    return claims.get("email_verified") is True
