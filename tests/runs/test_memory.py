"""What was freed stays: a process that frees and asks again gets no new pages from the kernel."""

from __future__ import annotations

import subprocess
import sys

import pytest

AGAIN = """
import resource, sys
if sys.argv[1] == "keep":
    from mimic.runs.memory import keep_freed
    assert keep_freed()
import torch
torch.set_num_threads(1)
for _ in range(20):  # the heap has found its size after a few
    torch.ones(2**24)  # 64 MiB, 16,384 pages; up to 32 glibc keeps by itself
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", AGAIN, how], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_freed_memory_is_kept():
    keep, leave = pages("keep"), pages("leave")
    assert 2 * keep < leave, (keep, leave)
