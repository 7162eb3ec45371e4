"""Sample: everything known of one sample."""

import pandas as pd
import streamlit as st

from mimic.reports import text, training_figures
from mimic.workspace.database import exists
from mimic.workspace.decisions import Decisions
from mimic.workspace.queries.nearest import nearest
from mimic.workspace.queries.sample import SampleFacts, neighbours, sample_facts
from mimic.workspace.queries.training import visit_history
from mimic.workspace.thumbs import thumbnail
from pages.widgets import curves, frame, gallery, levels, state

chosen = frame.choose("sample", "Sample")
published, signal, colours = chosen.published, chosen.signal, frame.colours()
number = int(state.number("sample", 0) or 0)
facts = sample_facts(published, number)
beside = neighbours(published, signal, number)
own = facts.signals.set_index("signal").loc[signal]


def verdict(facts: SampleFacts) -> None:
    """Given and true label, side by side; or the caption and what is wrong with it."""
    if published.task == "captions":
        st.markdown("**Given caption**")
        st.text(text.plain(facts.caption, 4000) if facts.caption is not None else "none")
        if facts.wrong is not None:
            said = f"Wrong: {facts.fault}" if facts.wrong else "Right"
            st.badge(text.markdown(said), icon=f":material/{'close' if facts.wrong else 'check'}:", color="gray")
        return
    given, true = st.columns(2, gap="small")
    given.metric("Given label", text.plain(facts.label or "none", 40), border=True, height="stretch")
    if published.has_truth:
        said = {True: "the given label is wrong", False: "the given label is right"}.get(facts.wrong)
        true.metric(
            "True label",
            text.plain(facts.truth, 40) if facts.truth is not None else "unknown",
            delta=said,
            delta_color="off",
            delta_arrow="off",
            border=True,
            height="stretch",
        )


def go(other: int) -> None:
    """On to another sample."""
    state.change(sample=other)


with st.container(horizontal=True, vertical_alignment="center", gap="small"):
    for words, arrow, other in (("Lower score", "Left", beside.lower), ("Higher score", "Right", beside.higher)):
        st.button(words, shortcut=arrow, disabled=other is None, on_click=go, args=(other,))
    near = {} if pd.isna(own["score"]) else {"order": "nearest", "near": repr(float(own["score"]))}
    st.page_link(
        "pages/explore.py",
        label="Samples with scores like this one",
        icon=":material/grid_view:",
        query_params=chosen.address | near,
    )
    st.page_link(
        "pages/review.py",
        label="Settle it",
        icon=":material/rate_review:",
        query_params=chosen.address
        | ({"queue": near["order"], "near": near["near"]} if near else {"queue": "unscored"}),
        help="In Review, with those that score like it after it",
    )

picture, known = st.columns([2, 3], gap="large")
with picture:
    image = thumbnail(chosen.dataset.root, facts.path, chosen.workspace.cache_folder, 512, enlarge=True)
    if image.uri:
        st.image(
            image.uri,
            width="stretch",
            alt=f"{text.plain(facts.caption or facts.label or 'no label')}, {text.plain(facts.id)}",
        )
    elif published.has_images:
        st.warning(text.markdown(f"No picture: {image.reason}."), icon=":material/broken_image:")
    st.text(text.plain(facts.id, 1000))
with known:
    if facts.reason:
        st.warning(text.markdown(f"Not scored: {facts.reason}."), icon=":material/error:")
    verdict(facts)
    st.markdown("**Signals** :small[the percentile is the share of scored samples that score lower]")
    table = facts.signals.assign(percentile=100 * facts.signals["percentile"])
    missing = table.loc[table["score"].isna(), "signal"]
    if not missing.empty:
        st.caption(text.markdown(f"Not scored: {', '.join(missing)}", 1000))
    st.dataframe(
        table.dropna(subset=["score"]),
        hide_index=True,
        column_config={
            "signal": st.column_config.TextColumn("Signal"),
            "score": st.column_config.NumberColumn("Score", format="%.5g"),
            "percentile": st.column_config.ProgressColumn("Percentile", min_value=0, max_value=100, format="%.1f"),
        },
        alt="Signals of this sample",
    )
    if not facts.predictions.empty:
        st.markdown("**What the reference sees**")
        levels.guesses(facts.predictions, colours, facts.label, key=f"guesses {chosen.run.id} {number}")
    visits = visit_history(published, number)
    if not visits.empty:
        st.markdown("**Weight over its visits** :small[in training]")
        curves.show(
            training_figures.history(visits, colours),
            colours,
            key=f"visits {chosen.run.id} {number}",
            alt="The sample's weight at each visit of the training",
        )
    log = Decisions(chosen.workspace, chosen.dataset).history(number) if exists(chosen.workspace.path) else None
    if log is not None and not log.empty:
        st.markdown("**What people decided**, the latest first")
        columns = ["at", "who", "action", "new_label", "why", "source", "undone"]
        st.dataframe(log[columns], hide_index=True, alt="Decisions about this sample")
    further = {"path": facts.path, "split": facts.split} | facts.extra
    rows = [(name, text.plain(str(value), 1000)) for name, value in further.items() if value is not None]
    st.markdown("**As imported**")
    st.dataframe(pd.DataFrame(rows, columns=["Column", "Value"]), hide_index=True, alt="Columns of this sample")
if around := nearest(published, number):
    st.markdown(
        f"**Captions nearest to this picture** :small[its own is number {text.count(around.caption_rank)} of "
        f"{text.count(around.compared)}, by the reference's embeddings]"
    )
    gallery.show(chosen, around.captions, colours, key="captions", name="Nearest captions", scores={"cosine": "cosine"})
    st.markdown(
        f"**Pictures nearest to this caption** :small[its own is number {text.count(around.image_rank)} of "
        f"{text.count(around.compared)}]"
    )
    gallery.show(chosen, around.images, colours, key="images", name="Nearest pictures", scores={"cosine": "cosine"})
state.leave("sample", chosen.address | {"sample": number})
