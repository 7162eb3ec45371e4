"""What the benchmarks' clock and scales say of calls whose cost is known."""

from __future__ import annotations

import time

import torch

from benchmarks.timing import interleaved, peak_memory


def test_ratios_are_those_of_the_calls() -> None:
    times = interleaved({"short": lambda: time.sleep(0.01), "long": lambda: time.sleep(0.03)}, rounds=3, warm_up=0)
    assert 1.5 < times.ratio("long", "short") < 6
    assert times.milliseconds("short") >= 10


def test_a_sleep_takes_no_processor_time() -> None:
    times = interleaved({"sleep": lambda: time.sleep(0.05)}, rounds=1, warm_up=0, clock="processor")
    assert times.milliseconds("sleep") < 25


def test_the_peak_counts_what_is_held_at_one_time() -> None:
    def call() -> None:
        a = torch.empty(2**20)  # 4 MiB
        del a
        b, c = torch.empty(2**20), torch.empty(2**19)
        del b, c

    assert abs(peak_memory(call) - 6 * 2**20) < 2**16
