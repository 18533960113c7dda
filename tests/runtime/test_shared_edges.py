"""The roles' ends over real shared memory, in one process: what is put in comes out, bit for bit, and is let go."""

import dataclasses
import gc

import numpy as np
import pytest
import torch

from speedyzero.env.base import ObservationSpec
from speedyzero.runtime.local_edges import InlineEdges
from speedyzero.runtime.shared_edges import (
    KEPT_VERSIONS,
    MetricSender,
    RingReceiver,
    RingSender,
    SharedBoard,
    SlotSink,
    SlotSource,
)
from speedyzero.runtime.wiring import COUNTERS, record_layout
from speedyzero.shm import Board, BoardSpec, Ring, RingSpec, Run, WeightSlots, WeightSlotsSpec
from speedyzero.topology.edges import BATCHES, METRICS, PRIORITIES, STEPS, Edge
from speedyzero.topology.records import METRIC_NAME_BYTES, MetricRecord, PriorityRecord, WeightsRecord
from tests.reanalyze.test_reanalyzer import LANES
from tests.reanalyze.tiny import CONFIG, Machine, changed, random_weights
from tests.replay.episodes import NUM_ACTIONS, SPEC
from tests.runtime.test_wiring import Pipe, Slots

IMAGE = ObservationSpec((12, 10, 3), np.dtype(np.uint8))


def layout_of(edge: Edge, spec: ObservationSpec = SPEC, *, envs=1, batch=1, unroll=0, actions=NUM_ACTIONS):
    lengths = {"E": envs, "B": batch, "K": unroll, "K+1": unroll + 1, "A": actions, "L": METRIC_NAME_BYTES}
    return record_layout(edge, lengths, spec)


LAYOUTS = {
    "steps of images": layout_of(STEPS, IMAGE, envs=3, actions=6),
    "steps of vectors": layout_of(STEPS, envs=5, actions=2),
    "steps of one environment": layout_of(STEPS),
    "batches": layout_of(BATCHES, batch=7, unroll=5, actions=6),
    "batches of the root alone": layout_of(BATCHES, batch=4, actions=3),
    "priorities": layout_of(PRIORITIES, batch=9),
    "metrics": layout_of(METRICS),
}


def ring_of(run: Run, layout, *, slots: int = 3) -> tuple[RingSender, RingReceiver]:
    spec = RingSpec("cargo", layout, slots)
    Ring.create(run, spec).close()
    return RingSender(run, spec), RingReceiver(run, spec)


def random_record(layout, rng):
    """Any bits, of numbers that are none too; plain numbers as Python's own."""
    values = {}
    for name, field in layout.fields:
        if field.dtype == "|b1":
            array = rng.random(field.shape) < 0.5
        else:
            array = np.frombuffer(rng.bytes(field.nbytes), field.dtype).reshape(field.shape)
        values[name] = array if field.shape else array[()].item()
    return layout.record_type(**values)


def bits_of(record) -> dict[str, tuple]:
    """Type, shape and bytes of every field, copied."""
    found = {}
    for name, value in vars(record).items():
        array = np.asarray(value)
        found[name] = (type(value), array.dtype, array.shape, array.tobytes())
    return found


@pytest.mark.parametrize("taken_by", ["drain", "get"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_records_arrive_bit_for_bit(run, name, taken_by):
    sender, receiver = ring_of(run, LAYOUTS[name])
    rng = np.random.default_rng(0)
    for turn in range(4):  # the slots are used again
        sent = [random_record(LAYOUTS[name], rng) for _ in range(3)]
        for record in sent:
            assert not sender.full
            sender.put(record)
        assert sender.full and not receiver.empty and sender.published == 3 * turn + 3
        if taken_by == "get":
            received = [receiver.get() for _ in sent]
            assert [bits_of(record) for record in received] == [bits_of(record) for record in sent]
        else:
            assert [bits_of(record) for record in receiver.drain()] == [bits_of(record) for record in sent]
        assert receiver.empty and not sender.full and receiver.consumed == 3 * turn + 3


def test_what_is_put_or_got_is_ones_own(run):
    sender, receiver = ring_of(run, LAYOUTS["priorities"])
    record = random_record(LAYOUTS["priorities"], np.random.default_rng(0))
    expected = bits_of(record)
    record = dataclasses.replace(record, lane=record.lane.copy())
    sender.put(record)
    record.lane[:] = 0
    got = receiver.get()
    assert bits_of(got) == expected
    for _ in range(6):
        sender.put(random_record(LAYOUTS["priorities"], np.random.default_rng(1)))
        receiver.get()
    assert bits_of(got) == expected
    got.lane[:] = 1  # writable


def test_putting_into_a_full_ring_is_a_mistake_of_the_producer(run):
    sender, _ = ring_of(run, LAYOUTS["priorities"])
    record = random_record(LAYOUTS["priorities"], np.random.default_rng(0))
    for _ in range(3):
        sender.put(record)
    with pytest.raises(AssertionError, match="check `full`"):
        sender.put(record)


def test_a_drained_record_is_freed_when_the_next_one_is_asked_for(run):
    sender, receiver = ring_of(run, LAYOUTS["priorities"])
    rng = np.random.default_rng(0)
    for _ in range(3):
        sender.put(random_record(LAYOUTS["priorities"], rng))
    drained = receiver.drain()
    first = next(drained)
    held = bits_of(first)
    assert sender.full and receiver.consumed == 0  # nobody writes there while it is read
    assert bits_of(first) == held and not first.lane.flags.writeable
    next(drained)
    assert not sender.full and receiver.consumed == 1
    sender.put(random_record(LAYOUTS["priorities"], rng))  # what comes while draining is drained, too
    assert len(list(drained)) == 2 and receiver.consumed == 4


def test_a_record_that_was_not_freed_is_drained_again(run):
    sender, receiver = ring_of(run, LAYOUTS["priorities"])
    sent = [random_record(LAYOUTS["priorities"], np.random.default_rng(seed)) for seed in range(2)]
    for record in sent:
        sender.put(record)
    for _ in receiver.drain():
        break  # as if its reader had died
    assert receiver.consumed == 0
    successor = RingReceiver(run, RingSpec("cargo", LAYOUTS["priorities"], 3))
    assert [bits_of(record) for record in successor.drain()] == [bits_of(record) for record in sent]
    assert successor.consumed == 2


def test_epochs_are_of_the_record_at_hand(run):
    """Records of a dead producer and of its successor lie in the ring side by side."""
    spec = RingSpec("cargo", LAYOUTS["priorities"], 4)
    sender, receiver = ring_of(run, LAYOUTS["priorities"], slots=4)
    record = random_record(LAYOUTS["priorities"], np.random.default_rng(0))
    assert receiver.epoch == 0
    sender.put(record)
    sender.put(record)
    RingSender(run, spec)  # died before it put anything
    third = RingSender(run, spec)
    third.put(record)
    assert third.published == 3
    assert [(receiver.epoch, receiver.consumed) for _ in receiver.drain()] == [(1, 0), (1, 1), (3, 2)]
    assert receiver.epoch == 3 and RingReceiver(run, spec).epoch == 3


def test_metrics_are_packed_and_dropped_when_full(run):
    spec = RingSpec("metrics", layout_of(METRICS), 64)
    Ring.create(run, spec).close()
    sender, ring = MetricSender(run, spec), Ring.attach(run, spec)
    consumer = ring.consumer()
    values = [0.1, -0.0, float("inf"), 1e300, 5e-324]
    names = [f"learner/{'x' * i}" for i in range(METRIC_NAME_BYTES - 7)]
    sent = [MetricRecord(name, 10**12 + i, values[i % 5]) for i, name in enumerate(names)]
    with pytest.raises(ValueError, match=r"PackedMetric.name has shape \(65,\)"):
        sender.put(MetricRecord("x" * 65, 0, 0.0))
    for record in sent:
        sender.put(record)
    received = []
    while (packed := consumer.get()) is not None:
        received.append(packed.unpacked())
    assert received == sent
    for _ in range(68):
        sender.put(sent[0])
    assert ring.stats().dropped["full"] == 4 and ring.stats().unaccounted == 0


def weights(version: int) -> WeightsRecord:
    return WeightsRecord(version, torch.from_numpy(np.random.default_rng(version).random(1000, np.float32)))


def slot_ends(run: Run) -> tuple[SlotSink, SlotSource]:
    spec = WeightSlotsSpec("weights", 4000)
    WeightSlots.create(run, spec).close()
    return SlotSink(WeightSlots.attach(run, spec, writable=True)), SlotSource(WeightSlots.attach(run, spec))


def test_weights_arrive_bit_for_bit_and_stay(run):
    sink, source = slot_ends(run)
    assert source.newer_than(-1) is None and source.at(0) is None
    record = weights(5)
    sink.publish(record)
    expected = record.flat.clone()
    record.flat.zero_()
    got = source.newer_than(4)
    assert got.version == 5 and torch.equal(got.flat, expected) and got.flat.dtype == torch.float32
    assert source.newer_than(5) is None and source.newer_than(4) is got  # asked again, it is still the newest
    for version in range(6, 20):
        sink.publish(weights(version))
    assert torch.equal(got.flat, expected)
    assert source.newer_than(5).version == 19


def test_the_last_versions_are_kept_by_name(run):
    sink, source = slot_ends(run)
    assert KEPT_VERSIONS == 3
    for version in (0, 200, 400, 600):
        sink.publish(weights(version))
        assert source.at(version).version == version
    assert source.at(0) is None
    for version in (200, 400, 600):
        assert torch.equal(source.at(version).flat, weights(version).flat)
    sink.publish(weights(800))
    sink.publish(weights(1000))  # 800 was never the newest when it was looked for
    assert source.at(800) is None
    assert [source.at(version) is not None for version in (200, 400, 600, 1000)] == [False, True, True, True]


def test_board_counts_of_all_rows(run):
    spec = BoardSpec("board", ("supervisor", "actor-0", "actor-1", "learner-0"), counters=COUNTERS)
    board = Board.create(run, spec)
    ends = {name: SharedBoard(Board.attach(run, spec), board.row(name)) for name in spec.rows}
    ends["actor-0"].add_env_steps(3)
    ends["actor-1"].add_env_steps(4)
    ends["actor-1"].add_env_steps(0)
    for _ in range(5):
        ends["learner-0"].add_train_step()
    for end in ends.values():
        assert (end.env_steps, end.train_steps) == (7, 5)
    assert board.counter("actor-1", "env_steps") == 4 and board.counter("learner-0", "train_steps") == 5


def arrays_reachable_from(*roots: object) -> list[np.ndarray]:
    """Every array that anything in `roots` refers to, through containers, objects and bases of views."""
    seen: set[int] = set()
    found, todo = [], list(roots)
    while todo:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, type):
            continue
        seen.add(id(thing))
        if isinstance(thing, np.ndarray):
            found.append(thing)
            todo.append(thing.base)
        elif isinstance(thing, torch.Tensor):
            found.append(thing.detach().numpy())
        elif isinstance(thing, (dict, list, tuple, set)) or type(thing).__module__.startswith(("speedyzero", "tests")):
            todo += gc.get_referents(thing)
    return found


def test_nobody_keeps_a_view_of_a_slot(run):
    """Slots are written over with noise behind the reanalyzer's back: neither its rows nor its draws change."""
    specs = (RingSpec("steps", layout_of(STEPS, envs=2), 4), RingSpec("priorities", layout_of(PRIORITIES, batch=12), 4))
    for spec in specs:
        Ring.create(run, spec).close()
    pipes = [Pipe(run, spec) for spec in specs]
    machine = Machine(CONFIG, LANES, ticks=60, edges=InlineEdges(steps=pipes[0], priorities=pipes[1]))
    rng = np.random.default_rng(0)
    lane, step = rng.integers(0, 2, 12), 59 - rng.integers(0, 20, 12)
    pipes[1].put(PriorityRecord(lane, step, 0, rng.random(12).astype(np.float32)))
    reanalyzer, receivers = machine.reanalyzer, [pipe.receiver for pipe in pipes]
    assert reanalyzer.step()
    slots = [end._ring.slot_payload(slot) for end in receivers for slot in range(4)]
    reachable = arrays_reachable_from(reanalyzer.shard, reanalyzer.sampler, reanalyzer.memo, machine.agent)
    assert len(reachable) > 20
    own = {name: value for name, value in vars(reanalyzer).items() if name not in ("_edges", "_config")}
    everything = [*reachable, *arrays_reachable_from(own)]
    assert not any(np.may_share_memory(array, slot) for array in everything for slot in slots)
    held = arrays_reachable_from(receivers)  # the receivers themselves do, and the search for arrays finds it
    assert any(np.may_share_memory(array, slot) for array in held for slot in slots)
    before = [array.copy() for array in reachable]
    for slot in slots:
        slot[:] = 0xA5
    for array, copy in zip(reachable, before, strict=True):
        assert array.tobytes() == copy.tobytes()


@pytest.mark.parametrize("interval", [1, 2, 3, 4])
def test_targets_over_slots_keep_to_their_schedule(run, interval):
    """The reanalyzer looks in between batches; the learner may do three train steps between two of its looks. Only
    where that is more than an interval may the target be newer than due, and never older."""
    config = changed(target={"interval_samples": interval * CONFIG.learner.batch_size})
    spec = WeightSlotsSpec("targets", 4 * len(random_weights(config, 0)))
    WeightSlots.create(run, spec).close()
    machine = Machine(config, LANES, ticks=60, edges=InlineEdges(targets=Slots(run, spec)))
    board, missed = machine.edges.board, 0
    while board.train_steps < 12 * interval:
        while machine.reanalyzer.step():
            pass
        due = max(0, (board.train_steps // interval - 1) * interval)
        version = machine.agent.version
        assert version >= due
        missed += version != due
        for _ in range(3):
            board.add_train_step()
            if board.train_steps % interval == 0:
                machine.publish(board.train_steps)
        while not machine.edges.batches.empty:
            machine.edges.batches.get()
    assert missed == 0 or interval < 3
