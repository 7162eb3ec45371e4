"""What a training run tells: how far it is, and how its scores and weights went from epoch to epoch."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mimic.workspace.files import reading
from mimic.workspace.layout import Dataset


def true_codes(dataset: Dataset, numbers: NDArray[np.int32]) -> NDArray[np.int32]:
    """(N,) class codes of the true labels of some samples, ascending numbers; −1 where nobody knows them."""
    with reading(dataset.samples_file) as connection:
        connection.register("wanted", pa.table({"number": numbers}))
        table = connection.sql(
            "SELECT coalesce(c.code, -1) AS code FROM samples s JOIN wanted w ON s.rowid = w.number"
            " LEFT JOIN classes c ON c.name = s.truth ORDER BY s.rowid"
        ).to_arrow_table()
    codes: NDArray[np.int32] = table["code"].to_numpy().astype(np.int32)
    return codes
