"""What every page begins with: the menu, what is being looked at, and a way on where there is nothing to look at."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd
import streamlit as st

from mimic.errors import MimicError
from mimic.evaluation.cautions import of_references
from mimic.filters.expression import expression
from mimic.filters.rule import Rule
from mimic.reports import text
from mimic.reports.palette import Palette, palette
from mimic.workspace.database import URL_VARIABLE
from mimic.workspace.decisions import looked_at, overruling
from mimic.workspace.filters import NamedFilter, list_filters
from mimic.workspace.layout import DEFAULT, Dataset, Run, Workspace
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.decided import decided_scores
from mimic.workspace.queries.dense import Dense
from mimic.workspace.queries.threshold import line_keeping
from pages.widgets import copied, signin, state
from pages.widgets.runs import short_names

UNFORESEEN = "Something went wrong that mimic did not foresee."
ASSETS = Path(__file__).parents[1] / "assets"
PAGES = {
    "Overview": "overview",
    "Explore": "explore",
    "Threshold": "threshold",
    "Combine": "combine",
    "Compare": "compare",
    "Review": "review",
    "Audit": "audit",
    "Evaluate": "evaluate",
    "Export": "export",
    "Train": "train",
    "SQL": "sql",
}


@dataclass(frozen=True)
class Chosen:
    """What the page is about."""

    workspace: Workspace
    dataset: Dataset
    run: Run
    published: Published
    signal: str

    @property
    def address(self) -> dict[str, str]:
        """What a link to another page carries."""
        return {"dataset": self.dataset.name, "run": self.run.id, "signal": self.signal}


def the_workspace() -> Workspace:
    """The workspace that the app was started on."""
    return Workspace(Path(os.environ.get("MIMIC_WORKSPACE", DEFAULT)))


def colours() -> Palette:
    """The palette of the theme that the browser shows."""
    return palette(st.context.theme.type)


def menu(page: str, carried: dict[str, str]) -> None:
    """Logo and links to the pages, each with what is being looked at in its address."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="menu"):
        st.image(str(ASSETS / "logo.svg"), width=30, alt="")
        st.markdown("**mimic**", width="content")
        st.space("small")
        for title, file in PAGES.items():
            st.page_link(f"pages/{file}.py", label=title, query_params=carried)
        signin.sign_out()


def choose(page: str, title: str, *, by_filter: bool = False) -> Chosen:
    """`look`; the page ends here, with what to do next, where nothing is published."""
    chosen = look(page, title, by_filter=by_filter)
    if chosen is None:
        nothing_yet(the_workspace())
        st.stop()
    return chosen


def look(page: str, title: str, *, by_filter: bool = False) -> Chosen | None:
    """Menu, title and choosers of a page.

    Args:
        page: its file's name without the suffix.
        by_filter: whether the page goes by a saved filter, which has its own run and signal, so none is asked for.

    Returns:
        What is chosen; None where no run is published.
    """
    _through_app(page)
    _say_told()
    workspace = the_workspace()
    top, heading, notes = st.container(), st.container(), st.container()
    state.arrive(page, notes)
    published = [run for run in workspace.runs() if run.state == "published"]
    if not published:
        with top:
            menu(page, {})
        heading.title(title, anchor=False)
        return None
    widths = [5.2, 1] if by_filter else [2, 1, 2.2, 1]
    left, *pickers = heading.columns(widths, vertical_alignment="bottom")
    left.title(title, anchor=False)
    names = sorted({run.dataset for run in published})
    wanted = state.one_of("dataset", names, published[0].dataset)  # the newest run's
    dataset = workspace.dataset(pickers[0].selectbox("Data set", names, key=wanted))
    runs = [run.id for run in published if run.dataset == dataset.name]
    wanted = state.one_of("run", runs, workspace.published(dataset.name)[0].id)
    if not by_filter:
        called = short_names(workspace.run(run) for run in runs)
        help = f"`{st.session_state[wanted]}`"  # the whole name, which commands take
        pickers[1].selectbox("Run", runs, key=wanted, format_func=called.get, help=help)
    run = workspace.run(st.session_state[wanted])
    wanted = state.one_of("signal", run.signals, run.main)
    signal = str(st.session_state[wanted])
    if not by_filter:
        meaning = run.facts.get("meanings", {}).get(signal)  # runs of older versions do not say
        help = text.markdown(f"{meaning}. Higher counts as better.", 400) if meaning else None
        signal = pickers[2].selectbox("Signal", run.signals, key=wanted, help=help)
    chosen = Chosen(workspace, dataset, run, Published.of(run, dataset), signal)
    with top:
        menu(page, chosen.address)
    return chosen


def nothing_yet(workspace: Workspace) -> None:
    """What to do where no run is published: commands to copy, which name this workspace."""
    if workspace.runs():
        st.info("No run is published yet: the Overview shows how far they are.", icon=":material/hourglass_top:")
    elif workspace.datasets():
        st.info("The data set is imported; score it next.", icon=":material/arrow_forward:")
    else:
        st.info("This workspace is empty. Import images, then score them.", icon=":material/rocket_launch:")
    commands(workspace)


def commands(workspace: Workspace) -> None:
    """Commands that import and score, to copy; they name this workspace."""
    place = workspace.option
    st.markdown("**Try it on the sample data** (from a clone of the repository)")
    copied.show(f"mimic demo{place}", key="command demo")
    st.markdown("**Or on your own images:** a folder of class folders, or a CSV, JSONL or Parquet manifest")
    copied.show(
        f"mimic import PATH --dataset NAME{place}\n"
        f"mimic score NAME --model module:my_package.my_module:factory --reference reference.safetensors{place}",
        key="command score",
    )


def decided(chosen: Chosen) -> pd.DataFrame:
    """Where the samples that people decided about lie on the signal: a layer for its bars."""
    version = looked_at(chosen.workspace, chosen.dataset)
    return _decided(chosen.published, chosen.signal, chosen.workspace, os.environ.get(URL_VARIABLE), version)


@lru_cache(maxsize=32)
def _decided(
    published: Published, signal: str, workspace: Workspace, server: str | None, version: tuple[int, int]
) -> pd.DataFrame:
    """What the database, on that server or in the workspace, says at that version."""
    return decided_scores(published, signal, overruling(workspace, workspace.dataset(published.dataset)))


def filters_of(chosen: Chosen, page: str) -> dict[str, NamedFilter]:
    """The data set's named filters; the page ends here, with what to do next, where there is none."""
    found = {one.name: one for one in list_filters(chosen.workspace, chosen.dataset.name)}
    if not found:
        scored = line_keeping(chosen.published, chosen.signal, 0).scored
        st.info(
            f"{text.count(scored)} samples are scored, and no filter is saved yet: "
            "choose a line, or combine signals, and save that first.",
            icon=":material/info:",
        )
        for file, label in (("threshold", "Choose a line"), ("combine", "Combine signals")):
            icon = ":material/arrow_forward:"
            st.page_link(f"pages/{file}.py", label=label, icon=icon, query_params=chosen.address)
        state.leave(page, chosen.address)
        st.stop()
    return found


def cautions(table: Dense, rule: Rule) -> None:
    """What speaks against the references that a rule's signals rest on."""
    for caution in of_references(table, [rule]):
        st.warning(text.markdown(caution, 600), icon=":material/warning:")


def rule_words(name: str, rule: Rule) -> None:
    """What a filter keeps: in words, and as the expression that `mimic filter` takes."""
    runs = ", ".join(sorted(rule.runs))
    st.markdown(
        f"**{text.markdown(name)}** :small[keeps: {text.markdown(rule.words, 300)}, on {text.markdown(runs, 200)}]"
    )
    if not rule.is_line:
        copied.show(expression(rule), key=f"rule {name}")


@contextmanager
def sentences() -> Iterator[None]:
    """Around what is drawn, and around a fragment's body, which app.py cannot see: an error becomes a sentence.

    Whoever may not look gets no further than this. What callbacks had to say is shown here too.
    """
    signin.admit()
    _say_told()
    try:
        yield
    except Exception as error:
        st.error(text.markdown(_said_of(error), 600), icon=":material/error:")


def part(draw: Callable[[], None]) -> Callable[[], None]:
    """A part of a page that its own widgets draw anew alone: a drag waits for that, not for the whole page."""

    @st.fragment
    def drawn() -> None:
        with sentences():
            draw()

    return drawn


def _said_of(error: Exception) -> str:
    """The sentence of an error; what nobody foresaw goes to the server's log in full."""
    if isinstance(error, MimicError):
        return str(error)
    name = uuid.uuid4().hex[:8]
    logging.getLogger("mimic").error("unforeseen error %s", name, exc_info=error)
    return f"{UNFORESEEN} It is in the terminal that runs `mimic app`, under {name}. The other pages go on working."


def on_change(act: Callable[[], None]) -> Callable[[], None]:
    """A callback whose mistakes become a sentence on the next page run; it does nothing for who may not look."""

    def guarded() -> None:
        try:
            if signin.admitted():
                act()
        except Exception as error:
            tell(text.markdown(_said_of(error), 600), ":material/error:")

    return guarded


def tell(words: str, icon: str) -> None:
    """Say something in passing, with the page or part that is drawn next: a callback itself must draw nothing.

    What it drew would lie over the top of the page where only a part is drawn anew.
    """
    st.session_state.setdefault("told", []).append((words, icon))


def _say_told() -> None:
    for words, icon in st.session_state.pop("told", []):
        st.toast(words, icon=icon)


def _through_app(page: str) -> None:
    """Start again with app.py where Streamlit has left it out.

    To a new server's first visitor who comes by a link to a page, Streamlit runs that file alone, as it did before
    st.navigation; once navigation has been called it never does again.
    """
    if "through app.py" not in st.session_state:
        # the first is the default page, which lies at the root alone: never the one that was asked for
        other = "explore" if page == "overview" else "overview"
        files = [ASSETS.parent / f"{name}.py" for name in (other, page)]
        st.navigation([st.Page(file, url_path=file.stem) for file in files], position="hidden")
        st.rerun()
