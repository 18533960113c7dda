"""A run's edges as specifications: who holds which end, what it takes, and that they carry it like plain memory."""

import numpy as np
import pytest

from speedyzero.arguments.resolve import resolve
from speedyzero.config import Config
from speedyzero.env.registry import check_game
from speedyzero.model.build import build_network
from speedyzero.model.flat import flatten
from speedyzero.replay.shard import Shard
from speedyzero.runtime.local_edges import InlineEdges
from speedyzero.runtime.shared_edges import RingReceiver, RingSender, SharedBoard, SlotSink, SlotSource
from speedyzero.runtime.wiring import COUNTERS, LEARNER, REANALYZER, SUPERVISOR, Wiring, bell_of, wire
from speedyzero.shm import Run, SharedArrays, WeightSlots
from speedyzero.supervisor import inline
from speedyzero.supervisor.process import create_shared
from speedyzero.topology.edges import METRICS, QUEUES, WAITS

SHORT = ["schedule.env_steps=700", "schedule.train_steps=60", "schedule.head_start_env_steps=500"]
SMALL_PONG = ["schedule.env_steps=120", "schedule.train_steps=6", "schedule.head_start_env_steps=100", "actor.envs=2"]
ABLATION = ["target.unroll_steps=0", "search.prefix_horizon=0"]
CONFIGS = {
    "catch": lambda: resolve("catch", "Catch", 0, 0, None, SHORT),
    "three actors": lambda: resolve("catch", "Catch", 0, 0, None, [*SHORT, "actor.actors=3", "actor.envs=4"]),
    "nothing unrolled": lambda: resolve("catch", "Catch", 0, 0, None, [*SHORT, *ABLATION]),
    "images": lambda: resolve("laptop", "Pong", 0, 0, None, SMALL_PONG),
}


def wired(config: Config, run: Run) -> Wiring:
    game = check_game(config.env)
    return wire(config, run, game.spec, game.num_actions)


@pytest.mark.parametrize("actors", [1, 3])
def test_every_ring_has_two_ends_with_bells_of_their_own(run, actors):
    config = resolve("catch", "Catch", 0, 0, None, [*SHORT, f"actor.actors={actors}", "actor.envs=4"])
    wiring = wired(config, run)
    names = tuple(f"actor-{index}" for index in range(actors))
    assert wiring.board.rows == (SUPERVISOR, *names, REANALYZER, LEARNER)
    assert wiring.processes == (*names, REANALYZER, LEARNER)
    ends = {ring.name: (ring.producer_bell, ring.consumer_bell) for ring in wiring.rings}
    expected = {f"steps.{actor}": (actor, REANALYZER) for actor in names}
    expected |= {"batches.0-0": (REANALYZER, LEARNER), "priorities.0-0": (LEARNER, REANALYZER)}
    expected |= {f"metrics.{process}": (process, SUPERVISOR) for process in wiring.processes}
    assert ends == {name: (bell_of(producer), bell_of(consumer)) for name, (producer, consumer) in expected.items()}
    assert all(producer != consumer for producer, consumer in ends.values())
    for process in wiring.processes:
        assert [ring.name for ring in wiring.produced_by(process, "metrics")] == [f"metrics.{process}"]
    assert [ring.name for ring in wiring.queues["steps"]] == [f"steps.{actor}" for actor in names]
    shape = wiring.shard_shape
    assert (shape.lanes, shape.actors) == (4 * actors, actors)
    assert [name for name, _ in wiring.shards[0].fields] == list(shape.fields())


@pytest.mark.parametrize("name", CONFIGS)
def test_weight_slots_hold_the_flat_weights(run, name):
    config = CONFIGS[name]()
    game = check_game(config.env)
    wiring = wired(config, run)
    flat = flatten(build_network(config, game.spec, game.num_actions)).numpy()
    assert wiring.slots["weights"].size_bytes == wiring.slots["targets"].size_bytes == flat.nbytes


def test_the_board_has_a_counter_for_every_wait():
    assert {*WAITS, "env_steps", "train_steps", "busy_ns"} <= set(COUNTERS)


def test_capacities_are_those_of_the_edges(run):
    wiring = wired(CONFIGS["catch"](), run)
    for ring in wiring.rings:
        (edge,) = (edge for edge in (*QUEUES, METRICS) if edge.name == ring.name.split(".")[0])
        assert ring.slots == edge.capacity and ring.layout.record_type is edge.record


class Pipe:
    """Both ends of a ring, as a queue of one process, into which nothing is cast. `one_ahead`: full with a record."""

    def __init__(self, run: Run, spec, *, one_ahead: bool = False):
        self._sender, self.receiver, self._one_ahead = RingSender(run, spec), RingReceiver(run, spec), one_ahead
        self.get, self.drain, self._layout = self.receiver.get, self.receiver.drain, spec.layout

    def put(self, record) -> None:
        for name, field in self._layout.fields:
            array = np.asarray(getattr(record, name))
            assert (array.dtype, array.shape) == (field.dtype, field.shape), name
        self._sender.put(record)

    full = property(lambda self: not self.empty if self._one_ahead else self._sender.full)
    empty = property(lambda self: self.receiver.empty)
    epoch = property(lambda self: self.receiver.epoch)
    consumed = property(lambda self: self.receiver.consumed)
    published = property(lambda self: self._sender.published)


class Slots:
    def __init__(self, run: Run, spec):
        source = SlotSource(WeightSlots.attach(run, spec))
        self.publish = SlotSink(WeightSlots.attach(run, spec, writable=True)).publish
        self.newer_than, self.at = source.newer_than, source.at


def shared_edges_of(wiring: Wiring) -> InlineEdges:
    board, run = create_shared(wiring), wiring.run
    return InlineEdges(
        steps=Pipe(run, wiring.queues["steps"][0]),
        batches=Pipe(run, wiring.queues["batches"][0], one_ahead=True),
        priorities=Pipe(run, wiring.queues["priorities"][0]),
        weights=Slots(run, wiring.slots["weights"]),
        targets=Slots(run, wiring.slots["targets"]),
        board=SharedBoard(board, board.row(LEARNER)),
    )


def losses_of(config: Config) -> tuple[list[float], np.ndarray]:
    """Every recorded figure of a run by turns, times apart, and its last weights."""
    machine, figures = inline.build_run(config), []
    while not machine.done:
        machine.turn()
        records = [record for record in machine.edges.metrics.drain() if not record.name.endswith("_s")]
        figures += [(record.name, record.step, record.value) for record in records]
    machine.env.close()
    return figures, flatten(machine.learner.network).numpy()


def test_a_run_over_shared_memory_is_the_run_over_plain_memory(run, monkeypatch):
    """By turns, to the bit: rings, slots, board and shard change nothing."""
    config = CONFIGS["catch"]()
    expected, expected_weights = losses_of(config)
    wiring = wired(config, run)
    edges = shared_edges_of(wiring)
    arrays = SharedArrays.attach(run, wiring.shards[0], writable=True)
    monkeypatch.setattr(inline, "InlineEdges", lambda: edges)
    monkeypatch.setattr(inline, "Shard", lambda shape: Shard(shape, {name: arrays[name] for name in shape.fields()}))
    figures, last_weights = losses_of(config)
    assert len(figures) > 300 and {name.split("/")[0] for name, _, _ in figures} == {"actor", "reanalyzer", "learner"}
    assert figures == expected
    assert last_weights.tobytes() == expected_weights.tobytes()
    assert arrays["ticks"][0] > 0
