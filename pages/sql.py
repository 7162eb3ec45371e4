"""SQL: one SELECT over the published run, for questions that no page answers."""

import streamlit as st

from mimic.reports import text
from mimic.workspace.queries.sandbox import COLUMNS, MOST_ROWS, ROWS, SECONDS, ask, columns_of
from mimic.workspace.spreadsheets import csv_bytes
from pages.widgets import frame, state

chosen = frame.choose("sql", "SQL")
published = chosen.published
SIGNAL = published.column(chosen.signal)
FIRST = f"""SELECT label, count({SIGNAL}) AS scored, avg({SIGNAL}) AS mean
FROM scores JOIN samples USING (sample)
GROUP BY label ORDER BY mean LIMIT 20"""

st.caption(
    f"One SELECT in DuckDB's SQL, over this run alone: no file or address can be reached, nothing can be changed. "
    f"It may take {SECONDS:g} s; {text.count(ROWS)} rows are shown, and {text.count(MOST_ROWS)} leave as CSV."
)
state.text("q", FIRST)
statement = st.text_area("Statement", key=state.key("q"), height=140, max_chars=20_000)
asked = (published, statement)  # an answer is shown for as long as it belongs to what stands in the box
if st.button("Run", icon=":material/play_arrow:", shortcut="Ctrl+Enter", key="run"):
    st.session_state.pop("sql answer", None)
    with frame.sentences(), st.spinner("Running …"):
        st.session_state["sql answer"] = (asked, ask(published, statement))
of, answer = st.session_state.get("sql answer", (None, None))
if of == asked:
    shown = f"the first {text.count(answer.table.num_rows)}" if answer.more else text.count(answer.table.num_rows)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{shown}** rows :small[{answer.seconds:.2f} s]", width="stretch")
        st.download_button(
            "Download CSV",
            lambda: csv_bytes(ask(published, statement, rows=MOST_ROWS).table),
            f"{chosen.run.id}.csv",
            icon=":material/download:",
            key="csv",
            on_click="ignore",
        )
    st.dataframe(answer.table, hide_index=True, alt="What the statement gave")
with st.expander(f"Tables and their columns (an answer has at most {COLUMNS})", icon=":material/table:"):
    st.dataframe(columns_of(published), hide_index=True, alt="Tables and their columns")
state.leave("sql", chosen.address | {"q": statement if statement != FIRST else None})
