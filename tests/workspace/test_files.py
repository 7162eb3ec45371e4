"""Finished DuckDB files are whole or damaged, never otherwise."""

import duckdb
import numpy as np
import pytest

from mimic.errors import MimicError
from mimic.files import replacing
from mimic.workspace.files import building, is_sound, reading

QUERY = "SELECT bit_xor(hash(sample, mimic)), count(*), sum(mimic) FROM scores"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    path = tmp_path_factory.mktemp("built") / "scores.duckdb"
    with building(path) as connection:
        connection.execute("SELECT setseed(0.5)")
        connection.execute(
            "CREATE TABLE scores AS SELECT i::INTEGER AS sample, random()::FLOAT AS mimic FROM range(40000) r(i)"
        )
        connection.execute("CREATE TABLE failures AS SELECT i AS sample, 'reason ' || i AS reason FROM range(500) r(i)")
    return path


def answer(path):
    with reading(path) as connection:
        return connection.execute(QUERY).fetchall()


def test_no_flipped_bit_of_a_database_gives_other_scores(built, tmp_path):
    whole, expected, rng = built.read_bytes(), answer(built), np.random.default_rng(0)
    headers = [*range(64), *range(4096, 4160), *range(8192, 8256)]
    found = []
    for place in [*headers, *rng.integers(0, 12288, 30), *rng.integers(12288, len(whole), 120)]:
        path = tmp_path / f"scores-{len(found)}.duckdb"
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        sound = is_sound(path)
        if sound:
            assert answer(path) == expected
        else:  # if only a table that the question does not touch is damaged, its answer is still right
            said = None
            try:
                assert answer(path) == expected
            except MimicError as error:
                said = str(error)
            assert said is None or (f"{path} is damaged" in said and "the command that made the run" in said)
        found.append(sound)
        path.unlink()
    assert np.mean(found) < 0.2


def test_a_database_that_is_cut_off_or_gone_is_named(built, tmp_path):
    whole = built.read_bytes()
    for length in (0, 100, 5000, 300_000, len(whole) - 1):
        path = tmp_path / "samples.duckdb"
        path.write_bytes(whole[:length])
        assert not is_sound(path)
        with pytest.raises(MimicError, match=r"samples\.duckdb is damaged .*import the same source again"):
            answer(path)
    with pytest.raises(MimicError, match=r"gone\.duckdb is damaged"):
        answer(tmp_path / "gone.duckdb")


def test_what_is_wrong_with_a_question_is_not_blamed_on_the_file(built):
    with pytest.raises(duckdb.CatalogException), reading(built) as connection:
        connection.execute("SELECT * FROM nothing")


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    def fail(maker):
        with maker as made:
            if isinstance(made, duckdb.DuckDBPyConnection):
                made.execute("CREATE TABLE t AS SELECT 1")
            else:
                made.write_text("half")
            raise ZeroDivisionError

    for maker in (replacing(tmp_path / "a"), building(tmp_path / "b.duckdb")):
        with pytest.raises(ZeroDivisionError):
            fail(maker)
    assert list(tmp_path.iterdir()) == []
