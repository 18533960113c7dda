"""A ring of fixed-size records in shared memory from one producer process to one consumer process.

A slot's state follows from counters, each with one writer. Slot k of n holds record number r (from 0), r % n = k:

              producer: WRITING = r + 1          producer: HEAD = r + 1
    FREE ---------------------------> WRITING -------------------------> READY
     ^                                   |                                 |
     |     producer dies or aborts:      |                                 |  consumer: READING = r + 1
     |<----------------------------------+                                 v
     +------------------------------------------------------------------ READING
         consumer frees: TAIL = r + 1 (consumed, or dropped for a reason)  |  ^ consumer dies:
                                                                           +--+ its successor reads r again

Only the consumer frees. Each arrow is one aligned 8-byte store, so a SIGKILL comes either before or after it. The
producer stores payload, stamps (sequence, epoch, checksum), then HEAD; x86-64 keeps plain stores in that order. A
producer that dies loses at most the one unpublished record: its successor starts at HEAD with the next epoch. The
consumer's counts are in two banks, and TAIL's parity selects the valid one, so one store frees and counts a slot:

    produced = consumed + dropped (by reason) + in flight        exactly, after any process died at any point

Doorbells (`doorbell.py`) only wake waiters. A full ring blocks its producer, up to a deadline.
"""

from __future__ import annotations

from speedyzero.shm.consumer import Consumer
from speedyzero.shm.layout import R
from speedyzero.shm.producer import Producer
from speedyzero.shm.ring_memory import RingMemory


class Ring(RingMemory[R]):
    """`create` once, `attach` in every other process, then take one end. Memory and counters: `ring_memory.py`."""

    def producer(self) -> Producer[R]:
        """Take the producing end: start a new epoch after the last published record.

        Raises:
            ValueError: another living process holds it.
        """
        return Producer(self)

    def consumer(self) -> Consumer[R]:
        """Take the consuming end, starting at the first record that has not been freed.

        Raises:
            ValueError: another living process holds it.
        """
        return Consumer(self)
