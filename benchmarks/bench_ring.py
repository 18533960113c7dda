"""The ring beside plain copies through the same memory, its latency, its idle cost.

Bandwidth by record size, measured by turns in one run:

    copy    one process copies a record into a slot of the ring and out of it again, no protocol
    ring    a producer process puts, a consumer process gets (copies out), both with checksums, at full speed

Both by the clock and by processor time (of the ring, that of the busier of its two processes): on a shared machine the
ring waits for a core more than for a record, which processor time does not see.

Latency: a doorbell's round trip between two processes, each asleep when notified; and a record's way from before the
producer's put to a consumer that has been asleep for 2 ms.

    make bench NAME=ring
"""

import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TypeVar

import numpy as np

from benchmarks.common import Figure, parser, report
from speedyzero.shm import Doorbell, Field, RecordLayout, Ring, RingSpec, Run, remove_run

SIZES_BYTES = (1 << 10, 64 << 10, 1 << 20, 16 << 20)
SLOTS = 8
ROUND_BYTES = 256 << 20
MOST_RECORDS = 4_000
WAIT_S = 60.0
WANTED = {1 << 20: "half of a copy"}  # by size of a record
SPACE, ITEMS = "bench-space", "bench-items"  # doorbells
T = TypeVar("T")


@dataclass(frozen=True)
class Record:
    body: np.ndarray  # [size] uint8
    sent_ns: int


@dataclass(frozen=True)
class Passage:
    """Seconds per record: by the clock, and of the processor time of the busier process."""

    wall_s: float
    cpu_s: float


def spec(size_bytes: int) -> RingSpec[Record]:
    layout = RecordLayout(Record, (("body", Field("uint8", (size_bytes,))), ("sent_ns", Field("int64"))))
    return RingSpec(f"records-{size_bytes}", layout, SLOTS, producer_bell=SPACE, consumer_bell=ITEMS)


def body_of(size_bytes: int) -> np.ndarray:
    return np.random.default_rng(size_bytes).integers(0, 256, size_bytes, np.uint8)


def retry(attempt: Callable[[], T], bell: Doorbell) -> T:
    """Until something comes of it, at each notification. Raises TimeoutError where the other side is gone."""
    deadline_s = time.monotonic() + WAIT_S
    while not (result := attempt()):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"nothing from the other process for {WAIT_S:g} s")
        bell.wait(0.1)
    return result


def wait_for(bell: Doorbell) -> None:
    if not any(bell.wait(0.1) for _ in range(round(WAIT_S / 0.1))):
        raise TimeoutError(f"nothing from the other process for {WAIT_S:g} s")


def producer_process(run: Run, core: int, orders: Connection) -> None:
    """Orders are (size, records, pause before each in s), answered by their processor time; None ends it."""
    os.sched_setaffinity(0, {core})
    bell = Doorbell.attach(run, SPACE)
    producers = {size: Ring.attach(run, spec(size)).producer() for size in SIZES_BYTES}
    bodies = {size: body_of(size) for size in SIZES_BYTES}
    while (order := orders.recv()) is not None:
        size, count, pause_s = order
        started = time.process_time()
        for _ in range(count):
            if pause_s:
                time.sleep(pause_s)
            record = Record(bodies[size], time.monotonic_ns())
            retry(lambda put=producers[size].put, record=record: put(record), bell)
        orders.send(time.process_time() - started)


def echo_process(run: Run, core: int, count: int) -> None:
    os.sched_setaffinity(0, {core})
    ping, pong = Doorbell.attach(run, "ping"), Doorbell.attach(run, "pong")
    for _ in range(count):
        wait_for(ping)
        pong.notify()


def doorbell_us(run: Run, core: int, count: int) -> np.ndarray:
    """Round trips: two notifications, two processes that wake."""
    ping, pong = Doorbell.create(run, "ping"), Doorbell.create(run, "pong")
    child = multiprocessing.get_context("spawn").Process(target=echo_process, args=(run, core, count), daemon=True)
    child.start()
    trips_ns = []
    for _ in range(count):
        started = time.monotonic_ns()
        ping.notify()
        wait_for(pong)
        trips_ns.append(time.monotonic_ns() - started)
    child.join()
    return np.array(trips_ns[count // 10 :]) / 1e3


class Bench:
    """The rings and the consumer's side."""

    def __init__(self, run: Run, core: int):
        Doorbell.create(run, SPACE)
        self.bell = Doorbell.create(run, ITEMS)
        self.rings = {size: Ring.create(run, spec(size)) for size in SIZES_BYTES}
        self.consumers = {size: ring.consumer() for size, ring in self.rings.items()}
        self.orders, its_end = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        context.Process(target=producer_process, args=(run, core, its_end), daemon=True).start()

    def copy(self, size: int) -> Passage:
        slots = [self.rings[size].slot_payload(slot)[:size] for slot in range(SLOTS)]
        source, target = body_of(size), np.empty(size, np.uint8)
        count = records(size)
        started, started_cpu = time.perf_counter(), time.process_time()
        for i in range(count):
            np.copyto(slots[i % SLOTS], source)
            np.copyto(target, slots[i % SLOTS])
        return Passage((time.perf_counter() - started) / count, (time.process_time() - started_cpu) / count)

    def receive(self, size: int, count: int) -> list[int]:
        """Copy so many records out; the age of each in ns."""
        target, consumer, ages_ns = np.empty(size, np.uint8), self.consumers[size], []
        for _ in range(count):
            record = retry(consumer.begin, self.bell)
            ages_ns.append(time.monotonic_ns() - record.sent_ns)
            np.copyto(target, record.body)
            consumer.release()
        return ages_ns

    def ring(self, size: int) -> Passage:
        count = records(size)
        self.orders.send((size, count + SLOTS, 0.0))
        self.receive(size, SLOTS)  # both sides are running
        started, started_cpu = time.perf_counter(), time.process_time()
        self.receive(size, count)
        wall_s, consumer_s = time.perf_counter() - started, time.process_time() - started_cpu
        return Passage(wall_s / count, max(consumer_s / count, self.orders.recv() / (count + SLOTS)))

    def latencies_us(self, size: int, count: int) -> np.ndarray:
        """From put to get; the consumer sleeps before each record."""
        self.orders.send((size, count, 0.002))
        ages_us = np.array(self.receive(size, count)) / 1e3
        self.orders.recv()
        return ages_us

    def idle_percent(self, seconds: float) -> float:
        """Processor time of a consumer that waits on an empty ring."""
        consumer = next(iter(self.consumers.values()))
        started_cpu, started = time.process_time(), time.monotonic()
        while time.monotonic() - started < seconds:
            assert consumer.begin() is None
            self.bell.wait(0.1)
        return 100 * (time.process_time() - started_cpu) / (time.monotonic() - started)


def records(size: int) -> int:
    """Of one round."""
    return min(MOST_RECORDS, ROUND_BYTES // size)


def bandwidth(bench: Bench, size: int, rounds: int) -> list[Figure]:
    """GB of records per second of copy and ring, and the ring's share of the copy's, round by round."""
    passages = [(bench.ring(size), bench.copy(size)) for _ in range(rounds + 1)][1:]  # the first warms up
    name = f"records of {size >> 10:,} KiB"
    rates = {"ring": [size / ring.wall_s / 1e9 for ring, _ in passages],
             "copy": [size / copy.wall_s / 1e9 for _, copy in passages]}  # fmt: skip
    shares = {"": [100 * copy.wall_s / ring.wall_s for ring, copy in passages],
              ", processor time": [100 * copy.cpu_s / ring.cpu_s for ring, copy in passages]}  # fmt: skip
    wanted = WANTED.get(size, "")
    return [
        *(Figure.of(f"{side}, {name}", values, "GB/s") for side, values in rates.items()),
        *(Figure.of(f"share of a copy{by}, {name}", values, "%", wanted) for by, values in shares.items()),
    ]


def median_and_p99(what: str, values_us: np.ndarray, wanted: str = "") -> list[Figure]:
    return [
        Figure.of(f"{what}, median", float(np.percentile(values_us, 50)), "us"),
        Figure.of(f"{what}, 99th percentile", float(np.percentile(values_us, 99)), "us", wanted),
    ]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--latency-records", type=int, default=1000)
    options.add_argument("--idle-s", type=float, default=5.0)
    arguments = options.parse_args()
    cores = sorted(os.sched_getaffinity(0))  # the two sides stay on two of them: taking turns on one is not measured
    os.sched_setaffinity(0, {cores[0]})
    run, figures = Run.new(), []
    try:
        bench = Bench(run, cores[-1])
        for size in SIZES_BYTES:
            figures += bandwidth(bench, size, arguments.rounds)
            latencies = bench.latencies_us(size, arguments.latency_records // (4 if size > 1 << 20 else 1))
            figures += median_and_p99(f"latency, records of {size >> 10:,} KiB", latencies)
        bench.orders.send(None)
        trips = doorbell_us(run, cores[-1], 10 * arguments.latency_records)
        figures += median_and_p99("doorbell, round trip", trips, "under 100 us")
        idle_percent = bench.idle_percent(arguments.idle_s)
        figures.append(Figure.of("a process that waits", idle_percent, "% of a core", "under 1%"))
    finally:
        os.sched_setaffinity(0, cores)
        remove_run(run)
    report("bench_ring", figures, packages=("numpy", "posix-ipc"))


if __name__ == "__main__":
    main()
