"""Shared memory between the processes of one run, on one Linux x86-64 machine.

    Run             the names of a run's shared objects; pass it to every child
    Ring            records from one producer to one consumer: in order, each once, losses counted
    WeightSlots     the newest version of one large block, from one writer to any number of readers
    Board           counters, gauges and heartbeats, one row per process; the stop flag
    SharedArrays    arrays with one writer, read in place
    Doorbell        a semaphore that wakes a waiting process
    sweep_dead_runs, remove_run     cleanup

Any process may be killed at any instant. Every counter and every array has exactly one writing process. Data is
published by one aligned 8-byte store, made last. There are no locks: semaphores only notify, and every wait has a
deadline and a stop flag.
"""

from speedyzero.shm.board import Board, BoardRow, BoardSpec
from speedyzero.shm.consumer import Consumer
from speedyzero.shm.copying import copy_into
from speedyzero.shm.doorbell import Doorbell, deadline_after, wait_until
from speedyzero.shm.layout import Field, RecordLayout, Stored
from speedyzero.shm.liveness import ProcessId, current_process, is_alive, process_of
from speedyzero.shm.producer import Producer
from speedyzero.shm.ring import Ring
from speedyzero.shm.ring_memory import Drop, RingSpec, RingStats
from speedyzero.shm.run import Run
from speedyzero.shm.segment import Segment, SegmentError, SegmentKind, free_bytes, require_space
from speedyzero.shm.shared_arrays import SharedArrays, SharedArraysSpec
from speedyzero.shm.sweep import SweepReport, remove_run, sweep_dead_runs
from speedyzero.shm.weight_slots import Publication, WeightReader, WeightSlots, WeightSlotsSpec, WeightWriter

__all__ = [
    "Board",
    "BoardRow",
    "BoardSpec",
    "Consumer",
    "Doorbell",
    "Drop",
    "Field",
    "ProcessId",
    "Producer",
    "Publication",
    "RecordLayout",
    "Ring",
    "RingSpec",
    "RingStats",
    "Run",
    "Segment",
    "SegmentError",
    "SegmentKind",
    "SharedArrays",
    "SharedArraysSpec",
    "Stored",
    "SweepReport",
    "WeightReader",
    "WeightSlots",
    "WeightSlotsSpec",
    "WeightWriter",
    "copy_into",
    "current_process",
    "deadline_after",
    "free_bytes",
    "is_alive",
    "process_of",
    "remove_run",
    "require_space",
    "sweep_dead_runs",
    "wait_until",
]
