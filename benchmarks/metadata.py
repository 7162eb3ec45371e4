"""How long DataComp's metadata take to become a data set with scores, and how much memory.

    python -m benchmarks.metadata --rows 12_800_000        results/metadata.csv; about 3 GB in a temporary folder

The Parquet file is drawn from a seed, with DataComp's columns: uid of 32 hexadecimal digits, a text of words, sizes
and two CLIP scores. The import runs in a process of its own; its peak of resident memory is the system's figure.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

WORDS = [f"word{i}" for i in range(5000)]
_PIECE = 200_000


def write_metadata(path: Path, rows: int, seed: int = 0) -> None:
    """A file of DataComp's schema, the same for the same rows and seed."""
    rng = np.random.default_rng(seed)
    words, lengths = np.array(WORDS), (4, 16)
    writer = None
    for first in range(0, rows, _PIECE):
        n = min(_PIECE, rows - first)
        counts = rng.integers(*lengths, n)
        drawn = pa.ListArray.from_arrays(
            pa.array([0, *np.cumsum(counts)], pa.int32()), pa.array(words[rng.integers(len(words), size=counts.sum())])
        )
        l14 = rng.normal(0.21, 0.05, n).astype(np.float32)
        table = pa.table(
            {
                "uid": pa.array([digits.hex() for digits in _ids(rng, n)]),
                "url": pa.array([f"https://example.com/{i}.jpg" for i in range(first, first + n)]),
                "text": pc.binary_join(drawn, " "),
                "original_width": pa.array(rng.integers(200, 2000, n)),
                "original_height": pa.array(rng.integers(200, 2000, n)),
                "clip_b32_similarity_score": (l14 + rng.normal(0, 0.02, n)).astype(np.float32),
                "clip_l14_similarity_score": l14,
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _ids(rng: np.random.Generator, n: int) -> list[bytes]:
    drawn = rng.bytes(16 * n)
    return [drawn[i : i + 16] for i in range(0, 16 * n, 16)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=lambda text: int(text.replace("_", "")), default=1_000_000)
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "results" / "metadata.csv")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "metadata.parquet"
        write_metadata(file, asked.rows)
        command = [sys.executable, "-m", "mimic.cli", "import", str(file), "--dataset", "pool"]
        started = time.perf_counter()
        subprocess.run([*command, "--workspace", f"{folder}/workspace"], check=True)
        seconds = time.perf_counter() - started
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        kept = sum(path.stat().st_size for path in Path(folder, "workspace").rglob("*") if path.is_file())
        row = {
            "rows": asked.rows,
            "file MB": round(file.stat().st_size / 1e6),
            "seconds": round(seconds, 1),
            "processor seconds": round(used.ru_utime + used.ru_stime, 1),
            "peak MiB": round(used.ru_maxrss / 1024),
            "workspace MB": round(kept / 1e6),
        }
    pd.DataFrame([row]).to_csv(asked.output, index=False)
    print(pd.DataFrame([row]).to_string(index=False))


if __name__ == "__main__":
    main()
