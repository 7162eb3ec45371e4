"""How long it takes to begin, in fresh processes: reading a workspace and --help must not wait for torch.

python -m benchmarks.startup [--runs 7]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

import pandas as pd

from benchmarks.tables import Section, markdown, write_csv, write_section

HELP = """import sys
from mimic.cli import main
sys.argv = ["mimic", "--help"]
try:
    main()
except SystemExit:
    pass"""
# what is measured → the Python that does it
CASES = {
    "python alone": "pass",
    "import mimic": "import mimic",
    "import mimic.workspace": "import mimic.workspace",
    "import mimic.workspace.layout": "import mimic.workspace.layout",
    "import mimic.workspace.queries.summary": "import mimic.workspace.queries.summary",
    "mimic --help": HELP,
    "import torch, to compare": "import torch",
}


def seconds(code: str) -> float:
    """Wall time of a fresh Python process that runs the code."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def loads_torch(code: str) -> bool:
    """Whether torch is in memory afterwards."""
    check = f"{code}\nimport sys\nprint('torch' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True).stdout
    return output.splitlines()[-1] == "True"


def measure(runs: int) -> pd.DataFrame:
    """Median, fastest and slowest of interleaved runs, so that a busy moment meets every case.

    Returns:
        Columns case, median_ms, fastest_ms, slowest_ms, runs, torch (whether it was loaded).
    """
    torch_loaded = {case: loads_torch(code) for case, code in CASES.items()}  # these runs also warm the file cache
    times: dict[str, list[float]] = {case: [] for case in CASES}
    for _ in range(runs):
        for case, code in CASES.items():
            times[case].append(1000 * seconds(code))
    rows = [
        (case, statistics.median(each), min(each), max(each), runs, torch_loaded[case]) for case, each in times.items()
    ]
    return pd.DataFrame(rows, columns=["case", "median_ms", "fastest_ms", "slowest_ms", "runs", "torch"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    table = measure(parser.parse_args().runs)
    print(table.round(1).to_string(index=False))
    print(write_csv("startup", table))
    shown = markdown(table.replace({"torch": {True: "loaded", False: "not loaded"}}), decimals=0)
    body = f"Whole processes on a warm file cache, milliseconds.\n\n{shown}"
    print(write_section(Section("startup", "Start-up", "python -m benchmarks.startup", body)))


if __name__ == "__main__":
    main()
