"""Control of memory freed to glibc's allocator: kept for the next step, and returned at intervals.

By default a tensor of a batch's frames is mapped anew at every step and each of its pages is faulted in: 15,000 faults
and a fifth of a train step on the CPU (docs/design/techniques.md). `keep_large_blocks` prevents that.

glibc also keeps free memory between blocks in use. A reanalyzer's tensors differ in size from search to search, and its
unused memory grew by 0.5 GiB in 2,000 train steps. `malloc_trim` returns all whole free pages: 20 to 60 ms on one core,
and pages needed again are faulted in again.
"""

import ctypes
import time

INTERVAL_S = 10.0


# mallopt's parameters, from malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_TOP_PAD_BYTES = 128 * 2**20


def keep_large_blocks() -> None:
    """Allocate large blocks from the heap, which keeps freed memory, in this process from now on. Only in glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, _TOP_PAD_BYTES)


class FreedMemory:
    """Returns freed memory to the system at intervals. Does nothing without glibc."""

    def __init__(self, *, interval_s: float = INTERVAL_S):
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._interval_s, self._next_s = interval_s, time.monotonic() + interval_s

    def give_back_if_due(self) -> bool:
        """Return freed memory if the interval has passed; whether it was done."""
        if self._trim is None or time.monotonic() < self._next_s:
            return False
        self._trim(0)  # blocks other threads only when they allocate
        self._next_s = time.monotonic() + self._interval_s
        return True
