"""Export: a named filter as files that other tools read, with people's decisions or without."""

import shlex

import streamlit as st

from mimic.filters.rules import read_rule
from mimic.reports import exports, text
from mimic.workspace.decisions import overruling
from mimic.workspace.layout import check_name
from mimic.workspace.queries.dense import Dense
from pages.widgets import copied, frame, state

IMAGES = {"symlink": "Links", "hardlink": "Hard links", "copy": "Copies"}

chosen = frame.choose("export", "Export", by_filter=True)
found = frame.filters_of(chosen, "export")

# --- what, and as what ----------------------------------------------------------------------------------------------
left, right = st.columns([3, 2], gap="large")
with left:
    name = st.selectbox("Filter", list(found), key=state.one_of("filter", list(found)), format_func=text.plain)
    form = st.selectbox(
        "Format",
        list(exports.FORMATS),
        key=state.one_of("format", list(exports.FORMATS)),
        format_func=lambda one: f"{one}: {exports.FORMATS[one].meaning}",
    )
    st.caption(f"It holds {exports.FORMATS[form].holds}.")
    overrule = st.toggle("People's decisions overrule the filter", True, key="overrule")
    images, shard_size, column = "symlink", 10_000, None
    if exports.FORMATS[form].images and form != "webdataset":
        images = st.segmented_control(
            "Images leave as",
            list(IMAGES),
            default="symlink",
            format_func=IMAGES.get,
            required=True,
            key="images",
            help="Links cost no space; a copy stays when the original moves.",
        )
    if form == "webdataset":
        shard_size = int(st.number_input("Samples a shard", 1, 1_000_000, 10_000, key="shard size"))
    if form in ("webdataset", "open_clip", "datacomp") and chosen.dataset.columns:
        what = "uid" if form == "datacomp" else "caption"
        column = st.selectbox(
            f"Column with the {what}",
            chosen.dataset.columns,
            index=None,
            placeholder="the usual one, if it is there",
            format_func=text.plain,
            key=f"column {what}",
        )
saved = found[name]
rule = read_rule(saved.rule)
people = overruling(chosen.workspace, chosen.dataset) if overrule else None
selection = exports.Selection(Dense(chosen.workspace, chosen.dataset), rule, people)
options = exports.Options(images=images, shard_size=shard_size, column=column)
counts = selection.counts()
with right:
    frame.rule_words(name, rule)
    cards = st.columns(3, gap="small")
    cards[0].metric(":blue[:material/check:] Kept", text.count(counts["kept"]), border=True)
    cards[1].metric(":orange[:material/close:] Dropped", text.count(counts["dropped"]), border=True)
    cards[2].metric(
        "Not scored", text.count(counts["not_scored"]), border=True, help=f"Counted apart: {selection.unscored}"
    )
    frame.cautions(selection.table, rule)
    if overrule:
        turned, renamed = counts["overruled"], counts["relabelled"]
        st.caption(
            f"People's decisions: {text.count(turned)} {'sample goes' if turned == 1 else 'samples go'} the other way "
            f"than the filter says, {text.count(renamed)} {'gets' if renamed == 1 else 'get'} another label."
            if turned or renamed
            else "People's decisions change nothing here."
        )

# --- do it ----------------------------------------------------------------------------------------------------------
with left, st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
    state.text("as", f"{name}-{form}")
    called = st.text_input(
        "Write as", key=state.key("as"), width=300, help="In the folder `exports` of the workspace"
    ).strip()
    overwrite = st.checkbox("Replace an earlier one", key="overwrite")
    go = st.button("Write", icon=":material/save:", key="write")
if go:
    with frame.sentences(), st.spinner("Writing …"):
        path = chosen.workspace.path / "exports" / (check_name("export", called) + exports.FORMATS[form].suffix)
        written = exports.write_export(selection, path, form, options, overwrite=overwrite)
        st.success(f"Written: {text.count(written.counts['kept'])} kept.", icon=":material/check:")
        copied.show(f"{written.path}\nsha256 {written.sha256}", key="what was written")
        for note in written.notes:
            st.caption(text.markdown(note))
        if written.failures:
            st.warning(
                f"{text.count(written.failures)} kept samples could not be written; "
                f"{text.markdown(path.name)}.json says which and why.",
                icon=":material/error:",
            )
        if exports.FORMATS[form].suffix:
            st.download_button(
                "Download",
                path.read_bytes,
                path.name,
                icon=":material/download:",
                key="download",
                on_click="ignore",
            )
st.markdown("**The same from the command line**")
more = "" if overrule else " --no-decisions"
more += f" --images {images}" if images != "symlink" else ""
more += f" --shard-size {shard_size}" if form == "webdataset" else ""
more += f" --column {shlex.quote(column)}" if column else ""
copied.show(f"mimic export {name} --format {form} --out PATH{more}{chosen.workspace.option}", key="command")
state.leave("export", chosen.address | {"filter": name, "format": form})
