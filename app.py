"""The app: which pages there are. Everything else is in pages/ and mimic/."""

from pathlib import Path

import streamlit as st

from pages.widgets import frame, garbage

HERE = Path(__file__).parent

st.set_page_config(page_title="mimic", page_icon=str(HERE / "pages" / "assets" / "favicon.png"), layout="wide")
st.html(HERE / "pages" / "assets" / "app.css")
# The pages draw the menu themselves: Streamlit's own would drop the data set and run from the address.
page = st.navigation(
    [
        st.Page("pages/overview.py", title="Overview", url_path="start", default=True),
        # the default page lies at the root alone; people type its name all the same
        st.Page("pages/overview.py", title="Overview", url_path="overview", visibility="hidden"),
        st.Page("pages/explore.py", title="Explore"),
        st.Page("pages/threshold.py", title="Threshold"),
        st.Page("pages/combine.py", title="Combine"),
        st.Page("pages/compare.py", title="Compare"),
        st.Page("pages/review.py", title="Review"),
        st.Page("pages/audit.py", title="Audit"),
        st.Page("pages/evaluate.py", title="Evaluate"),
        st.Page("pages/export.py", title="Export"),
        st.Page("pages/train.py", title="Train"),
        st.Page("pages/sql.py", title="SQL", url_path="sql"),
        st.Page("pages/sample.py", title="Sample", visibility="hidden"),
    ],
    position="hidden",
)
with frame.sentences():
    st.session_state["through app.py"] = True  # set only for who may look: without it no page shows anything
    page.run()
garbage.spare_imports()
