"""cleanlab's columns, as its Datalab gives them: is_label_issue, label_score, given_label, predicted_label. Parquet.

label_score is in 0 … 1 and lower is worse, as cleanlab has it: the share of scored samples that score lower,
interpolated between the edges of the published bins, so that it orders samples as their scores do.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mimic.reports.exports.job import Job


def write_cleanlab(job: Job, target: Path) -> None:
    """A row a sample, dropped and kept: an issue is what is dropped or relabelled; a relabelling is the prediction."""
    edges, shares = job.selection.shares_below()
    writer: pq.ParquetWriter | None = None
    for table in job.selection.tables(predicted=True):
        scores = table["score"].to_numpy()  # NaN where not scored
        place = pa.array(np.interp(scores, edges, shares), from_pandas=True)  # NaN stays, as null
        relabelled = pc.fill_null(pc.equal(table["decision"], "relabel"), False)
        columns = {
            "id": table["id"],
            "is_label_issue": pc.or_(pc.invert(table["kept"]), relabelled),
            "label_score": place,
            "given_label": table["given_label"],
            "predicted_label": pc.if_else(relabelled, table["label"], table["predicted"]),
        }
        out = pa.table(columns)
        writer = writer or pq.ParquetWriter(target, out.schema, compression="zstd")
        writer.write_table(out)
    if writer is not None:
        writer.add_key_value_metadata({"mimic": json.dumps(job.facts, ensure_ascii=False)})
        writer.close()
