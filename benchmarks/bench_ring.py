"""The ring beside plain copies through the same memory, its latency, its idle cost. `python -m benchmarks.bench_ring`

Bandwidth by record size, measured by turns in one run:

    copy      one process copies a record into a slot of the ring and out of it again, no protocol
    ring      a producer process puts, a consumer process gets (copies out), both with checksums, at full speed
    serial    one process puts and gets: all of the ring's work without a second core
    copy cpu, ring cpu    the same by CPU time; of the ring, that of the busier of its two processes

On a machine that is shared, `ring` waits for a core more than for the ring; CPU time does not see that.

Latency: a doorbell's round trip between two processes, each asleep when it is rung; and a record's way from before the
producer's put into the hands of a consumer that has been asleep for 2 ms, its core perhaps with it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from benchmarks.common import write_result
from speedyzero.shm import Consumer, Doorbell, Field, RecordLayout, Ring, RingSpec, Run, remove_run

T = TypeVar("T")
SIZES_BYTES = (1 << 10, 64 << 10, 1 << 20, 16 << 20)
SLOTS = 8
ROUND_BYTES = 256 << 20
MOST_RECORDS = 4_000
WAIT_S = 60.0
BUDGET_SIZE_BYTES, BUDGET_SHARE, BUDGET_P99_US, BUDGET_IDLE_PERCENT = 1 << 20, 0.5, 100.0, 1.0


@dataclass(frozen=True)
class Record:
    body: np.ndarray  # [size] uint8
    sent_ns: int


@dataclass(frozen=True)
class Order:
    """What the producer process is to do next: `count` records of SIZES_BYTES[size], a pause before each."""

    size: int
    count: int
    pause_s: float


@dataclass(frozen=True)
class Cost:
    """The producer's CPU time for one order."""

    cpu_s: float


INT, FLOAT = Field("int64"), Field("float64")
PRODUCER_BELL, CONSUMER_BELL = "producer", "consumer"  # what each process waits on
BELLS = {"producer_bell": PRODUCER_BELL, "consumer_bell": CONSUMER_BELL}
ORDER_LAYOUT = RecordLayout.stored(Order, {}, size=INT, count=INT, pause_s=FLOAT)
ORDERS = RingSpec("orders", ORDER_LAYOUT, 4, producer_bell=CONSUMER_BELL, consumer_bell=PRODUCER_BELL)
COSTS = RingSpec("costs", RecordLayout.stored(Cost, {}, cpu_s=FLOAT), 4, **BELLS)


def spec(size: int) -> RingSpec[Record]:
    layout = RecordLayout.stored(Record, {}, body=Field("uint8", (SIZES_BYTES[size],)), sent_ns=INT)
    return RingSpec(f"records-{SIZES_BYTES[size]}", layout, SLOTS, **BELLS)


def ask(take: Callable[[], T | None], bell: Doorbell) -> T:
    """What `take()` returns, called after each notification until it returns something."""
    deadline_s = time.monotonic() + WAIT_S
    while (taken := take()) is None:
        assert time.monotonic() < deadline_s, "the other process is gone"
        bell.wait(WAIT_S)
    return taken


def body_of(size: int) -> np.ndarray:
    return np.random.default_rng(size).integers(0, 256, SIZES_BYTES[size], np.uint8)


def producer_process(run: Run, core: int) -> None:
    """Carries out orders until one of no records."""
    os.sched_setaffinity(0, {core})
    orders, costs = Ring.attach(run, ORDERS).consumer(), Ring.attach(run, COSTS).producer()
    producers = [Ring.attach(run, spec(size)).producer() for size in range(len(SIZES_BYTES))]
    bodies = [body_of(size) for size in range(len(SIZES_BYTES))]
    bell = Doorbell.attach(run, PRODUCER_BELL)
    while (order := ask(orders.get, bell)).count:
        started = time.process_time()
        for _ in range(order.count):
            if order.pause_s:
                time.sleep(order.pause_s)
            while not producers[order.size].has_space:
                bell.wait(WAIT_S)
            producers[order.size].put(Record(bodies[order.size], time.monotonic_ns()))
        costs.put(Cost(time.process_time() - started))


@dataclass(frozen=True)
class Passage:
    """Seconds per record: on the wall, and of the CPU of the busier process."""

    wall_s: float
    cpu_s: float


def echo_process(run: Run, core: int, count: int) -> None:
    os.sched_setaffinity(0, {core})
    ping, pong = Doorbell.attach(run, "ping"), Doorbell.attach(run, "pong")
    for _ in range(count):
        if not wait_for(ping):
            return
        pong.notify()


def wait_for(bell: Doorbell) -> bool:
    slices = int(WAIT_S / 0.1)
    return any(bell.wait(0.1) for _ in range(slices))


def doorbell_us(run: Run, core: int, count: int) -> tuple[float, float]:
    """Median and 99th percentile of a round trip: two rings, two wakings."""
    ping, pong = Doorbell.create(run, "ping"), Doorbell.create(run, "pong")
    child = multiprocessing.get_context("spawn").Process(target=echo_process, args=(run, core, count), daemon=True)
    child.start()
    trips_ns = []
    for _ in range(count):
        started = time.monotonic_ns()
        ping.notify()
        assert wait_for(pong), "the echo process is gone"
        trips_ns.append(time.monotonic_ns() - started)
    child.join()
    trips_us = np.array(trips_ns[count // 10 :]) / 1e3
    return float(np.percentile(trips_us, 50)), float(np.percentile(trips_us, 99))


class Bench:
    def __init__(self, run: Run):
        for name in BELLS.values():
            Doorbell.create(run, name)
        self.bell = Doorbell.attach(run, CONSUMER_BELL)
        self.orders = Ring.create(run, ORDERS).producer()
        self.costs = Ring.create(run, COSTS).consumer()
        self.rings = [Ring.create(run, spec(size)) for size in range(len(SIZES_BYTES))]
        self.consumers: list[Consumer[Record]] = [ring.consumer() for ring in self.rings]

    def records(self, size: int) -> int:
        return min(MOST_RECORDS, ROUND_BYTES // SIZES_BYTES[size])

    def copy(self, size: int) -> Passage:
        slots = [self.rings[size].slot_payload(slot)[: SIZES_BYTES[size]] for slot in range(SLOTS)]
        source, target = body_of(size), np.empty(SIZES_BYTES[size], np.uint8)
        count = self.records(size)
        started, started_cpu = time.perf_counter(), time.process_time()
        for i in range(count):
            np.copyto(slots[i % SLOTS], source)
            np.copyto(target, slots[i % SLOTS])
        return Passage((time.perf_counter() - started) / count, (time.process_time() - started_cpu) / count)

    def receive(self, size: int, count: int, target: np.ndarray) -> list[int]:
        """Copy `count` records out; the age of each in ns as it came to hand."""
        ages_ns = []
        for _ in range(count):
            record = ask(self.consumers[size].begin, self.bell)
            ages_ns.append(time.monotonic_ns() - record.sent_ns)
            np.copyto(target, record.body)
            self.consumers[size].release()
        return ages_ns

    def cost_s(self) -> float:
        return ask(self.costs.get, self.bell).cpu_s

    def ring(self, size: int) -> Passage:
        target, count = np.empty(SIZES_BYTES[size], np.uint8), self.records(size)
        self.orders.put(Order(size, count + SLOTS, 0.0))
        self.receive(size, SLOTS, target)  # both sides are running
        started, started_cpu = time.perf_counter(), time.process_time()
        self.receive(size, count, target)
        wall_s, consumer_s = time.perf_counter() - started, time.process_time() - started_cpu
        return Passage(wall_s / count, max(consumer_s / count, self.cost_s() / (count + SLOTS)))

    def latency_us(self, size: int, count: int) -> tuple[float, float]:
        """Median and 99th percentile from put to hand; the consumer sleeps before each record."""
        self.orders.put(Order(size, count, 0.002))
        ages_us = np.array(self.receive(size, count, np.empty(SIZES_BYTES[size], np.uint8))) / 1e3
        self.cost_s()
        return float(np.percentile(ages_us, 50)), float(np.percentile(ages_us, 99))


def serial(run: Run, size: int, records: int) -> Callable[[], float]:
    ring = Ring.create(run, RingSpec(f"serial-{SIZES_BYTES[size]}", spec(size).layout, SLOTS))
    producer, consumer = ring.producer(), ring.consumer()
    source, target = body_of(size), np.empty(SIZES_BYTES[size], np.uint8)

    def run_once() -> float:
        started = time.perf_counter()
        for _ in range(records):
            producer.put(Record(source, 0))
            record = consumer.begin()
            assert record is not None
            np.copyto(target, record.body)
            consumer.release()
        return (time.perf_counter() - started) / records

    return run_once


def idle_percent(run: Run, seconds: float) -> float:
    """CPU time of a consumer that waits on an empty ring."""
    consumer, bell = Ring.create(run, RingSpec("idle", spec(0).layout, SLOTS)).consumer(), Doorbell.create(run, "idle")
    started_cpu, started = time.process_time(), time.monotonic()
    while time.monotonic() < started + seconds:
        bell.wait(seconds)
        assert not consumer.has_record
    return 100 * (time.process_time() - started_cpu) / (time.monotonic() - started)


def bandwidth(bench: Bench, run: Run, size: int, rounds: int) -> dict[str, object]:
    """GB of records per second of each subject, and the ring's share of the copy's, round by round."""
    run_serial = serial(run, size, bench.records(size))
    gb_per_s: dict[str, list[float]] = {"copy": [], "ring": [], "serial": [], "copy cpu": [], "ring cpu": []}
    for round_number in range(rounds + 1):
        ring, copy, serial_s = bench.ring(size), bench.copy(size), run_serial()
        times_s = (copy.wall_s, ring.wall_s, serial_s, copy.cpu_s, ring.cpu_s)
        for rates, time_s in zip(gb_per_s.values(), times_s, strict=True):
            if round_number:  # the first round warms up
                rates.append(SIZES_BYTES[size] / time_s / 1e9)
    shares = {
        suffix: [a / b for a, b in zip(gb_per_s[f"ring{suffix}"], gb_per_s[f"copy{suffix}"], strict=True)]
        for suffix in ("", " cpu")
    }
    return {
        "size_bytes": SIZES_BYTES[size],
        "gb_per_s_min_median_max": {name: spread(rates) for name, rates in gb_per_s.items()},
        "share_of_copy_min_median_max": {name: spread(values) for name, values in shares.items()},
    }


def spread(values: list[float]) -> tuple[float, float, float]:
    return min(values), statistics.median(values), max(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--latency-records", type=int, default=1000)
    parser.add_argument("--idle-s", type=float, default=5.0)
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))  # the two sides stay on two of them: taking turns on one is not measured
    os.sched_setaffinity(0, {cores[0]})
    run = Run.new()
    try:
        bench = Bench(run)
        child = multiprocessing.get_context("spawn").Process(
            target=producer_process, args=(run, cores[-1]), daemon=True
        )
        child.start()
        rows = [bandwidth(bench, run, size, arguments.rounds) for size in range(len(SIZES_BYTES))]
        for size, row in enumerate(rows):
            row["latency_us_p50_p99"] = bench.latency_us(size, arguments.latency_records // (4 if size == 3 else 1))
        bench.orders.put(Order(0, 0, 0.0))
        child.join()
        doorbell = doorbell_us(run, cores[-1], 10 * arguments.latency_records)
        idle = idle_percent(run, arguments.idle_s)
    finally:
        os.sched_setaffinity(0, cores)
        remove_run(run)
    report(rows, doorbell, idle)
    results: dict[str, object] = {"rows": rows, "doorbell_round_trip_us_p50_p99": doorbell, "idle_percent": idle}
    print("written to", write_result("bench_ring", results, packages=["numpy", "posix-ipc"]))


def report(rows: list[dict], doorbell: tuple[float, float], idle: float) -> None:
    print("GB/s of records, median (min to max); shares of copy, median")
    print(f"{'record':>10}" + "".join(f"{name:>24}" for name in rows[0]["gb_per_s_min_median_max"]), end="")
    print(f"{'ring/copy':>11}{'by cpu':>8}{'latency p50 / p99 us':>22}")
    for row in rows:
        print(f"{row['size_bytes'] >> 10:>6} KiB", end="")
        for least, median, most in row["gb_per_s_min_median_max"].values():
            print(f"{f'{median:.2f} ({least:.2f} to {most:.2f})':>24}", end="")
        shares, (p50, p99) = row["share_of_copy_min_median_max"], row["latency_us_p50_p99"]
        print(f"{shares[''][1]:>11.2f}{shares[' cpu'][1]:>8.2f}{f'{p50:.0f} / {p99:.0f}':>22}")
    shares = next(row for row in rows if row["size_bytes"] == BUDGET_SIZE_BYTES)["share_of_copy_min_median_max"]
    for what, figure, met in (
        ("1 MiB records, ring / copy", shares[""][1], shares[""][1] >= BUDGET_SHARE),
        ("1 MiB records, ring / copy by CPU time", shares[" cpu"][1], shares[" cpu"][1] >= BUDGET_SHARE),
        (f"doorbell round trip p99, us (median {doorbell[0]:.1f})", doorbell[1], doorbell[1] < BUDGET_P99_US),
        ("idle CPU of a waiting consumer, %", idle, idle < BUDGET_IDLE_PERCENT),
    ):
        print(f"budget: {what}: {figure:.2f} {'met' if met else 'MISSED'}")


if __name__ == "__main__":
    main()
