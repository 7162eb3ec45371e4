"""No byte of a part can change, or be cut off, and give other values: it is damaged, or it reads as it was written."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mimic.workspace.publish import part_schema
from mimic.workspace.sealed import DamagedFile, digest, read_sealed, write_sealed

ROWS = 300


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    numbers = {"mimic": rng.normal(size=ROWS).astype(np.float32), "flat": np.full(ROWS, np.nan, np.float32)}
    codes = pa.array(rng.integers(0, 5, ROWS), pa.int32(), mask=rng.random(ROWS) < 0.3)
    bools, logprob = pa.array(rng.random(ROWS) < 0.5), pa.array(rng.normal(size=ROWS), pa.float32())
    reasons = pa.array([None if i % 9 else f"bröken {i}" for i in range(ROWS)], pa.string())
    columns = [pa.array(range(ROWS), pa.int32()), *numbers.values(), codes, codes, codes, *[logprob] * 3, bools, bools]
    return pa.table([*columns, reasons], schema=part_schema(list(numbers)))


def written(path, table):
    write_sealed(path, table, {b"seconds": "1.5"})
    return path.read_bytes()


def read_back(path, table):
    """Whether the file reads as it was written; False where it is named as damaged."""
    said = ""
    try:
        found = read_sealed(path)
    except DamagedFile as error:
        said = str(error)
    if said:
        assert str(path) in said
        assert "\n" not in said
        return False
    assert digest(found.replace_schema_metadata(None)) == digest(table)
    return True


def test_what_is_written_is_read(tmp_path, table):
    path = tmp_path / "a.parquet"
    written(path, table)
    assert read_back(path, table)
    assert read_sealed(path).schema.metadata == {b"seconds": b"1.5"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.parquet"]
    chunks = pa.concat_tables([table.slice(0, 100), table.slice(100)])
    assert digest(chunks) == digest(table)
    assert digest(table.slice(1)) != digest(table)
    assert digest(table.set_column(1, "flat", table["mimic"])) != digest(table)


def test_no_flipped_bit_gives_other_values(tmp_path, table):
    path, rng = tmp_path / "a.parquet", np.random.default_rng(1)
    whole = written(path, table)
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    places = [*range(64), *range(footer, len(whole)), *rng.integers(0, footer, 400)]
    found = []
    for place in places:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        found.append(read_back(path, table))
    assert 0.5 < 1 - np.mean(found) < 1  # some bytes carry nothing


def test_no_cut_off_file_is_taken_for_a_whole_one(tmp_path, table):
    path = tmp_path / "a.parquet"
    whole = written(path, table)
    for length in [0, 4, 8, *np.random.default_rng(2).integers(9, len(whole), 60), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert not read_back(path, table)


def test_a_file_of_version_0_1_0_has_no_digest_and_is_read(tmp_path, table):
    pq.write_table(table, tmp_path / "old.parquet", write_statistics=False)
    assert digest(read_sealed(tmp_path / "old.parquet")) == digest(table)
