"""Words to be copied: commands, rules, paths.

Streamlit's own code block fetches a megabyte and a half of syntax highlighting before it shows a line without any: a
quarter of a second of a page's first paint.
"""

from __future__ import annotations

from pages.widgets.component import component

_copied = component(
    "copied",
    '<div class="block"><pre tabindex="0"></pre><button type="button">Copy</button><span role="status"></span></div>',
)


def show(words: str, *, key: str) -> None:
    """Draw the words as they are, line by line, with a button that copies them."""
    _copied(key=key, data={"words": words})
