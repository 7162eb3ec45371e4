"""The shared connection: many threads, a file put in another's place, float32 lines, names that are not there."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mimic.errors import MimicError
from mimic.workspace.queries.connection import Published, float32_at_least, tables
from mimic.workspace.queries.threshold import line_keeping


@given(st.floats(-5, 5), st.floats(-5, 5, width=32))
@example(float(np.float32(0.3)) + 1e-12, float(np.float32(0.3)))
@example(float("inf"), 3.0)
@example(1e300, 3.0)
def test_a_line_in_float32_separates_the_same_scores(line, score):
    moved = float32_at_least(line)
    assert moved == np.float32(moved)
    assert (score >= line) == (score >= moved)


def test_many_threads_get_the_same_answers(known):
    counts = list(range(0, 1100, 25))
    alone = [line_keeping(known.published, "fine", count) for count in counts]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda count: line_keeping(known.published, "fine", count), counts))
    assert together == alone


def test_a_rebuilt_file_under_the_same_path_is_read_afresh(known, tmp_path):
    copy = tmp_path / "scores.duckdb"
    shutil.copy(known.published.scores_file, copy)
    moved = replace(known.published, scores_file=copy)
    with tables(moved) as t:
        before = t.rows(f"SELECT sum(fine) FROM {t.scores}")
    fresh = tmp_path / "fresh"
    shutil.copy(known.second.scores_file, fresh)
    fresh.replace(copy)
    with tables(moved) as t:
        after = t.rows(f"SELECT sum(fine) FROM {t.scores}")
    assert before != after
    assert after[0][0] == pytest.approx(np.nansum(known.second_scores["fine"], dtype=np.float64))


def test_what_is_not_there_is_named(known, tmp_path):
    with pytest.raises(MimicError, match="no signal 'nope': it has mimic, fine, flat, never"):
        known.published.column("nope")
    with (
        pytest.raises(MimicError, match=r"gone\.duckdb is gone"),
        tables(replace(known.published, scores_file=tmp_path / "gone.duckdb")),
    ):
        pass
    broken = tmp_path / "broken.duckdb"
    broken.write_bytes(b"nonsense" * 1000)
    with (
        pytest.raises(MimicError, match=r"broken\.duckdb is damaged"),
        tables(replace(known.published, scores_file=broken)),
    ):
        pass


def test_an_unpublished_run_has_nothing_to_read(known):
    run = known.workspace.run("first")
    unpublished = replace(run, facts={k: v for k, v in run.facts.items() if k != "published"})
    with pytest.raises(MimicError, match="run first is interrupted"):
        Published.of(unpublished, known.workspace.dataset("d"))
