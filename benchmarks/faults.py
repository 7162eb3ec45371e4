"""kill −9 at random moments of import, score, publish, export and review: what is lost, and does the same go on?

    python -m benchmarks.faults [--times 100] [--seed 0]       results/faults.csv, about six minutes on two quiet cores

Killed: how many processes were still at it at the random moment; the others had just ended. Survived: the same command,
given again, left what an uninterrupted one leaves, to the row or byte, and no temporary file; of reviews, every
acknowledged event is there once.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from benchmarks.tables import Section, markdown, write_csv, write_section


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--print-only", action="store_true", help="change no file")
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded, here and in the processes
    from benchmarks.faults_soak import soak

    with tempfile.TemporaryDirectory() as scratch:
        table = soak(asked.times, asked.seed, Path(scratch))
    print(table.to_string(index=False))
    if not asked.print_only:
        write_csv("faults", table)
        words = " ".join(str(__doc__).split("\n\n")[2].split())
        body = f"{words}\n\n{markdown(table.drop(columns='seconds'))}"
        write_section(Section("faults", "Killed at random moments", "python -m benchmarks.faults", body))


if __name__ == "__main__":
    main()
