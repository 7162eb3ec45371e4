"""A benchmark's section replaces itself and nothing else."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.tables import HEAD, Section, markdown, write_csv, write_section


def section(name: str, body: str) -> Section:
    return Section(name, name.title(), f"python -m benchmarks.{name}", body)


def test_sections_are_appended_and_replaced_in_place(tmp_path: Path) -> None:
    first, other = section("one", "first"), section("two", r"a backslash \1 stays")
    write_section(first, tmp_path)
    path = write_section(other, tmp_path)
    before = path.read_text()
    assert before == f"{HEAD}\n{first}\n{other}"

    write_section(section("one", "second"), tmp_path)
    assert path.read_text() == before.replace("first", "second")


def test_writing_the_same_again_changes_nothing(tmp_path: Path) -> None:
    path = write_section(section("one", "text"), tmp_path)
    before = path.read_text()
    write_section(section("one", "text"), tmp_path)
    assert path.read_text() == before


def test_a_csv_reads_back(tmp_path: Path) -> None:
    table = pd.DataFrame({"case": ["a", "b, c"], "ms": [1.23456789, 2.0]})
    path = write_csv("speed", table, tmp_path)
    assert path == tmp_path / "results" / "speed.csv"
    assert pd.read_csv(path).to_dict("list") == {"case": ["a", "b, c"], "ms": [1.23457, 2.0]}


def test_markdown() -> None:
    table = pd.DataFrame({"signal": ["mimic", "margin"], "auroc": [0.9524, float("nan")], "n": [3000, 7]})
    assert markdown(table).splitlines() == [
        "| signal | auroc | n |",
        "| --- | --: | --: |",
        "| mimic | 0.952 | 3,000 |",
        "| margin | – | 7 |",
    ]
