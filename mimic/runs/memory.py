"""Has the C library keep the memory that was freed, for the next batch: a setting of the whole process.

Left alone, glibc gives every freed activation back to the kernel and asks for it again, page by page, in the next
layer. On small images or small networks that takes up to three times as long as the network itself.
"""

from __future__ import annotations

import ctypes
import sys

# mallopt's numbers (malloc.h), and values: it takes a C int.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_SETTINGS = {_MMAP_THRESHOLD: 2**30, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**28}


def keep_freed() -> bool:
    """Sets it, once for the process; only glibc knows how.

    Returns:
        Whether it was set.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and all(mallopt(each, value) for each, value in _SETTINGS.items())
