"""Freed memory goes back to the machine."""

import subprocess
import sys

from speedyzero.system.freed_memory import FreedMemory

# In a process of its own: what other tests hold, or free in another thread, would count too.
FREES = """
import ctypes, sys
from speedyzero.system.freed_memory import FreedMemory

def resident_mib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))

before = resident_mib()
blocks = [ctypes.create_string_buffer(100_000) for _ in range(1_001)]  # under glibc's threshold for a mapping each
for block in blocks:
    ctypes.memset(block, 1, len(block))
held = resident_mib()
del blocks[1::2]  # every second one; the last stays, so that no end of the heap falls free
freed = resident_mib()
assert FreedMemory(interval_s=0.0).give_back_if_due()
print(held - before, freed - before, resident_mib() - before)
"""


def test_pages_between_blocks_that_are_held_are_given_back():
    output = subprocess.run([sys.executable, "-c", FREES], capture_output=True, text=True, check=True).stdout
    held, freed, given_back = map(float, output.split())
    assert held > 90
    assert freed > 90, f"{freed:.0f} of {held:.0f} MiB are left without giving back: there is nothing to test"
    assert given_back < 60, f"{given_back:.0f} of {freed:.0f} MiB are still held, about 48 are in use"


def test_only_when_it_is_due():
    freed = FreedMemory(interval_s=3600.0)
    assert not freed.give_back_if_due()
