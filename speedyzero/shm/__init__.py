"""Shared memory between the processes of one run, on one Linux x86-64 machine.

    Run             the names of a run's shared objects; pass it to every child
    Ring            records from one producer to one consumer: in order, each once, losses counted
    WeightSlots     the newest version of one large block, from one writer to any number of readers
    Board           counters and heartbeats, one row per process; the stop request
    SharedArrays    arrays with one writer, read in place
    Doorbell        a semaphore that wakes a waiting process
    sweep_dead_runs, remove_run     cleanup

Any process may be killed at any instant. Every counter and every array has exactly one writing process. Data is
published by one aligned 8-byte store, made last. There are no locks: a process waits only in `Doorbell.wait`, at most
100 ms at a time.
"""

# ruff: noqa: F401  # what others import from here

from speedyzero.shm.board import Board, BoardRow, BoardSpec
from speedyzero.shm.doorbell import Doorbell
from speedyzero.shm.layout import Field, RecordLayout, Stored
from speedyzero.shm.ring import Consumer, Producer, Ring, RingSpec
from speedyzero.shm.run import Run
from speedyzero.shm.segment import SegmentError, require_space
from speedyzero.shm.shared_arrays import SharedArrays, SharedArraysSpec
from speedyzero.shm.sweep import remove_run, sweep_dead_runs
from speedyzero.shm.weight_slots import WeightReader, WeightSlots, WeightSlotsSpec, WeightWriter
