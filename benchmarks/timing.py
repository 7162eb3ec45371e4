"""How benchmarks time and weigh calls: in turns, so that a busy machine slows all alike, with our workers' allocator.

A ratio is the median over rounds of the round's own ratio; memory is what torch's allocator held at the highest point.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping

from torch.profiler import ProfilerActivity, profile

# glibc gives freed activations back to the kernel, which takes as long as small layers' work.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(8 * 2**30),
    "MALLOC_TRIM_THRESHOLD_": str(16 * 2**30),
    "MALLOC_TOP_PAD_": str(256 * 2**20),
}


def with_allocator(module: str) -> None:
    """Starts `python -m module` anew with glibc told to keep what was freed, unless it was already."""
    if any(os.environ.get(name) != value for name, value in ALLOCATOR.items()):
        os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], os.environ | ALLOCATOR)


class Times:
    """Seconds of several calls, round by round."""

    def __init__(self, seconds: Mapping[str, list[float]]) -> None:
        self.seconds = seconds

    def milliseconds(self, name: str) -> float:
        """The median."""
        return 1e3 * statistics.median(self.seconds[name])

    def ratio(self, name: str, base: str) -> float:
        """The median of the rounds' ratios."""
        return statistics.median(a / b for a, b in zip(self.seconds[name], self.seconds[base], strict=True))


CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}


def interleaved(calls: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 2, clock: str = "wall") -> Times:
    """Runs every call once a round.

    Args:
        calls: what to time.
        rounds: how often.
        warm_up: rounds before that do not count.
        clock: a name in `CLOCKS`. Processor time, with one thread, is what is left to measure on a busy machine.
    """
    now = CLOCKS[clock]
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(-warm_up, rounds):
        for name, call in calls.items():
            begin = now()
            call()
            if turn >= 0:
                seconds[name].append(now() - begin)
    return Times(seconds)


def peak_memory(call: Callable[[], object]) -> int:
    """Bytes of tensors that a call holds at most at one time, beyond what there was before; on the CPU."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        call()
    assert seen.profiler is not None
    assert seen.profiler.kineto_results is not None
    steps = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(steps, key=lambda each: each.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak
