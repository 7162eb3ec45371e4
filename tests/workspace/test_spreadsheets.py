"""Nothing in a CSV of ours begins like a formula, and every text comes back."""

import csv

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimic.workspace.spreadsheets import csv_bytes, harmless, original, write_texts


@given(
    st.lists(st.text(st.characters(codec="utf-8")) | st.sampled_from(["=1", "'=1", "''", "+", "-1", "@x", "\t", "＝"]))
)
def test_every_text_comes_back(texts):
    written = harmless(pa.array(texts, pa.string())).to_pylist()
    assert [original(text) for text in written] == texts
    assert not [text for text in written if text[:1] in set("=+-@\t\r\n＝＋－＠")]


@pytest.mark.parametrize("text", ["=cmd|'/C calc'!A0", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "＝1"])
def test_what_runs_is_marked(text):
    assert harmless(pa.array([text])).to_pylist() == ["'" + text]


def test_a_table_of_texts(tmp_path):
    frame = pd.DataFrame({"id": ['a "b",\n', "=1"], "label": [None, "x"]})
    write_texts(tmp_path / "x.csv", frame)
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["id", "label"], ['a "b",\n', ""], ["'=1", "x"]]


def test_a_table_of_any_columns_has_no_formula_in_it():
    table = pa.table({"=n": [1, -2], "text": ["=HYPERLINK(1)", None], "x": [-0.5, 2.0]})
    assert csv_bytes(table).decode().splitlines() == ['"\'=n","text","x"', '1,"\'=HYPERLINK(1)",-0.5', "-2,,2"]
