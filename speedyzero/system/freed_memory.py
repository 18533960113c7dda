"""What glibc's allocator does with memory that was freed: kept for the next step, given back now and then.

By default a tensor of a batch's frames is mapped from the system anew at every step and each of its pages is faulted
in: 15,000 faults and a fifth of a train step on the CPU (docs/design/techniques.md). `keep_large_blocks` ends that.

glibc also keeps what is freed between two blocks that are still held. A reanalyzer searches another number of positions
each time, its tensors have another size each time, and what it holds and no longer uses had grown by half a GiB after
2,000 train steps. `malloc_trim` gives whole free pages back, wherever they lie: 20 to 60 ms each time on one core, and
the pages that are wanted again are faulted in again.
"""

from __future__ import annotations

import ctypes
import time

INTERVAL_S = 10.0


# mallopt's parameters, from malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_TOP_PAD_BYTES = 128 * 2**20


def keep_large_blocks() -> None:
    """Take large blocks from the heap, which keeps what is freed, for the rest of this process. Only in glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, _TOP_PAD_BYTES)


class FreedMemory:
    """Gives back what this process has freed, on an interval. Where the C library is another than glibc: nothing."""

    def __init__(self, *, interval_s: float = INTERVAL_S):
        """interval_s: between two times, in seconds."""
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._interval_s, self._next_s = interval_s, time.monotonic() + interval_s

    def give_back_if_due(self) -> bool:
        """Whether it was time to."""
        if self._trim is None or time.monotonic() < self._next_s:
            return False
        self._trim(0)  # other threads go on meanwhile, until they allocate
        self._next_s = time.monotonic() + self._interval_s
        return True
