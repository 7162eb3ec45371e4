"""A stranger's text, made fit to be kept: valid, without zero bytes, no longer than a database can bear."""

from __future__ import annotations

LONGEST = 1 << 20  # characters; nobody's caption, but somebody's file


def clean(text: str) -> str:
    """The text with U+FFFD for what no text holds: half a surrogate pair (JSON may spell one), or a zero byte.

    >>> clean("a cat"), clean("a\\0\\ud800cat")
    ('a cat', 'a\\ufffd?cat')
    """
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return text if text.isascii() else text.encode(errors="replace").decode()
