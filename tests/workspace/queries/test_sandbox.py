"""One SELECT over a run, whatever is typed: the right rows, or a sentence, and nothing else is touched."""

import time

import pytest

from benchmarks import synthetic
from mimic.errors import MimicError
from mimic.workspace.layout import Workspace
from mimic.workspace.queries.connection import Published, tables
from mimic.workspace.queries.sandbox import ask, columns_of, question
from mimic.workspace.queries.sandboxed import answer


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("sql"))
    run = synthetic.build(workspace, 2000, classes=4, pictures=3)
    return Published.of(run, workspace.dataset(run.dataset))


def test_it_answers_as_duckdb_does(published):
    statement = (
        "SELECT label, count(mimic) AS n, avg(mimic) AS mean FROM scores JOIN samples USING (sample)"
        " GROUP BY label ORDER BY label -- a comment"
    )
    found = ask(published, statement)
    with tables(published) as t:
        expected = t.rows(
            f"SELECT s.label, count(c.mimic), avg(c.mimic) FROM {t.scores} c JOIN {t.samples} s USING (sample)"
            " GROUP BY s.label ORDER BY s.label"
        )
    assert [tuple(row.values()) for row in found.table.to_pylist()] == expected
    assert (found.more, found.seconds < 5) == (False, True)


def test_rows_texts_and_columns_are_bounded(published):
    found = ask(published, "FROM samples SELECT sample, repeat('ä', 20000) AS long, [1, 2] AS list ORDER BY 1", rows=7)
    assert (found.table.num_rows, found.more) == (7, True)
    assert found.table["sample"].to_pylist() == list(range(7))
    assert {len(text) for text in found.table["long"].to_pylist()} == {10_000}
    assert found.table["list"].to_pylist()[0] == "[1, 2]"
    with pytest.raises(MimicError, match="columns, and 200 may be shown"):
        ask(published, "SELECT " + ", ".join(f"1 AS c{i}" for i in range(300)))
    with pytest.raises(MimicError, match="more than 64 MB"):
        ask(published, "SELECT repeat('x', 9000) FROM range(20000)", rows=20_000)


def test_names_that_come_twice_and_odd_types(published):
    found = ask(
        published, "SELECT 1 AS a, 2 AS a, 170141183460469231731687303715884105727 AS huge, NULL, INTERVAL 1 DAY"
    )
    assert found.table.num_rows == 1
    assert found.table.column(0)[0].as_py() == 1


ELSEWHERE = [
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('/etc/passwd')",
    "SELECT * FROM read_json('/etc/passwd')",
    "SELECT * FROM parquet_scan('https://example.com/x.parquet')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM 'https://example.com/a.csv'",
    "SELECT * FROM glob('/*')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM duckdb_secrets()",
    "SELECT getenv('HOME')",
    "SELECT * FROM query('COPY (SELECT 1) TO ''/tmp/x''')",
    "FROM query_table('/etc/passwd')",
]


@pytest.mark.parametrize("statement", ELSEWHERE)
def test_nothing_else_can_be_read(published, statement):
    facts, body = answer(question(published, statement, 10, 5))
    assert "refused" in facts
    assert body == b""
    assert "root:" not in facts["refused"]


OTHERWISE = [
    "", ";", "-- nothing", "SELECT 1; SELECT 2", "ATTACH '/tmp/x.db' AS x", "DETACH file_of_scores",
    "COPY scores TO '/tmp/x.csv'", "COPY (SELECT 1) TO '/dev/stdout'", "EXPORT DATABASE '/tmp/x'", "INSTALL httpfs",
    "LOAD httpfs", "PRAGMA database_list", "PRAGMA memory_limit='9GB'", "SET memory_limit = '9GB'",
    "RESET memory_limit", "SET enable_external_access = true", "CREATE TABLE t AS SELECT 1", "DROP VIEW scores",
    "DELETE FROM file_of_scores.scores", "INSERT INTO scores SELECT * FROM scores", "UPDATE scores SET mimic = 1",
    "CALL pragma_version()", "USE file_of_scores", "CHECKPOINT", "VACUUM", "BEGIN", "PREPARE p AS SELECT 1",
    "EXECUTE p", "CREATE MACRO f() AS 1", "CREATE SECRET (TYPE s3)", "FORCE CHECKPOINT file_of_scores",
    "SELEKT 1", "SELECT nothing FROM scores", "SELECT 'unended", "SELECT $1", "\0", "SELECT 1 \0; DROP VIEW scores",
]  # fmt: skip


@pytest.mark.parametrize("statement", OTHERWISE)
def test_nothing_but_one_select_is_run(published, statement):
    before = published.scores_file.read_bytes()
    facts, body = answer(question(published, statement, 10, 5))
    assert "refused" in facts
    assert body == b""
    assert published.scores_file.read_bytes() == before


def test_a_refusal_comes_back_as_a_sentence(published):
    with pytest.raises(MimicError, match="this run's tables and nothing else"):
        ask(published, ELSEWHERE[0])
    with pytest.raises(MimicError, match="write one SELECT"):
        ask(published, "DROP VIEW scores")


BOMBS = [
    "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t) SELECT count(*) FROM t",
    "SELECT sum(a.mimic * b.mimic * c.mimic) FROM scores a, scores b, scores c",
    "SELECT count(*) FROM range(10000000000000)",
    "SELECT repeat('x', 1000000000)",
    "SELECT range(1000000000)",
    "SELECT list(i ORDER BY random()) FROM range(1000000000) t(i)",
    "SELECT regexp_matches(repeat('a', 5000000), '(a*)*b')",
]


@pytest.mark.parametrize("statement", BOMBS)
def test_a_bomb_ends_in_time_and_in_a_process_of_its_own(published, statement):
    started = time.monotonic()
    try:
        found = ask(published, statement, seconds=1)
    except MimicError as said:
        assert "ask for" in str(said)  # noqa: PT017
    else:
        assert found.table.num_rows <= 1  # it was no bomb to this version
    assert time.monotonic() - started < 10


def test_the_tables_and_columns_are_named(published):
    shown = columns_of(published).set_index("table")["columns"]
    assert "mimic FLOAT" in shown["scores"]
    assert "label VARCHAR" in shown["samples"]
    assert {"scores", "samples", "bins", "predictions", "failures", "classes", "run"} <= set(shown.index)
