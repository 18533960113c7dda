"""A reanalyzer killed before any of its stores, and what its successor makes of the shard: as if nobody had died.

Rings and shard lie in real shared memory. A kill is an exception raised in place of the n-th store into the shard (or
of the store that frees a record), after which the whole reanalyzer is made anew.
"""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedyzero.reanalyze.reanalyzer import Reanalyzer
from speedyzero.replay.shard import Shard
from speedyzero.runtime.local_edges import InlineEdges
from speedyzero.runtime.shared_edges import RingReceiver, RingSender
from speedyzero.runtime.wiring import Wiring, wire
from speedyzero.shm import Run, SharedArrays, remove_run
from speedyzero.supervisor.process import create_shared
from speedyzero.topology.edges import ReanalyzerEdges
from speedyzero.topology.pacing import Pacing
from speedyzero.topology.records import PriorityRecord
from tests.reanalyze.tiny import CONFIG, changed, no_agent
from tests.replay.episodes import GAME_OVER, LIFE, LIMIT, NUM_ACTIONS, SPEC, made_up_lane, shapes, tick

ACTORS, ENVS, BATCH = 2, 2, CONFIG.learner.batch_size
TWO_ACTORS = changed(actor={"actors": ACTORS, "envs": ENVS}, replay={"capacity_steps": 20 * ACTORS * ENVS})
SHAPES = [[(4, LIFE), (3, LIMIT), (6, GAME_OVER)], [(1, LIMIT), (2, LIFE), (9, GAME_OVER)]]
NEVER = 10**9


class Killed(BaseException):
    pass


class Fate:
    """How many more stores the reanalyzer lives."""

    def __init__(self) -> None:
        self.stores_left, self.stores = NEVER, 0

    def store(self) -> None:
        if self.stores_left == 0:
            raise Killed
        self.stores_left -= 1
        self.stores += 1


class Mortal(np.ndarray):
    """An array whose owner may die before it stores."""

    fate: Fate | None

    def __array_finalize__(self, made_from):
        self.fate = getattr(made_from, "fate", None)

    def __getitem__(self, index):
        return self.view(np.ndarray)[index]

    def __setitem__(self, index, value):
        if self.fate is not None:
            self.fate.store()
        super().__setitem__(index, value)


class MortalReceiver(RingReceiver):
    """A receiver whose owner may die before it frees a record."""

    fate: Fate

    def drain(self):
        for record in super().drain():
            yield record
            self.fate.store()


@pytest.fixture(scope="module")
def wiring():
    run = Run.new()
    try:
        yield wire(TWO_ACTORS, run, SPEC, NUM_ACTIONS)
    finally:
        remove_run(run)


class Replay:
    """Two actors' rings, the learner's priorities, and one reanalyzer after the other."""

    def __init__(self, wiring: Wiring):
        self.fate, self.takeovers, self._priorities_sent = Fate(), 0, 0
        self.reanalyzer: Reanalyzer | None = None
        # Names anew for each replay, in one run.
        self.wiring = dataclasses.replace(wiring, run=Run.new())
        run = self.wiring.run
        create_shared(self.wiring)
        self.actors = [RingSender(run, ring) for ring in wiring.queues["steps"]]
        self.learner = RingSender(run, wiring.queues["priorities"][0])
        self.streams = [self.new_games(SHAPES, actor) for actor in range(ACTORS)]
        self.rows = [0] * ACTORS
        self.take_over()

    @staticmethod
    def new_games(lane_shapes, actor: int):
        return [made_up_lane(shape, lane=ENVS * actor + e, min_rows=150) for e, shape in enumerate(lane_shapes)]

    def take_over(self) -> None:
        wiring, run = self.wiring, self.wiring.run
        shared = SharedArrays.attach(run, wiring.shards[0], writable=True)
        arrays = {name: shared[name].view(Mortal) for name in wiring.shard_shape.fields()}
        for array in arrays.values():
            array.fate = self.fate
        steps = [MortalReceiver(run, ring) for ring in wiring.queues["steps"]]
        priorities = MortalReceiver(run, wiring.queues["priorities"][0])
        for receiver in (*steps, priorities):
            receiver.fate = self.fate
        edges = dataclasses.replace(InlineEdges().of(ReanalyzerEdges), steps=steps, priorities=[priorities])
        pacing = Pacing(TWO_ACTORS.schedule, tick_env_steps=ACTORS * ENVS)
        self.reanalyzer = Reanalyzer(TWO_ACTORS, edges, pacing, no_agent(), Shard(wiring.shard_shape, arrays))

    def settle(self, deaths: list[int]) -> None:
        """Let the reanalyzer do what there is to do, dying before the stores with these numbers."""
        for stores in (*deaths, NEVER):
            self.fate.stores_left = stores
            try:
                if self.reanalyzer is None:
                    self.take_over()
                while self.reanalyzer.step():
                    pass
                return
            except Killed:
                self.reanalyzer = None
                self.takeovers += 1

    def tick(self, actor: int) -> None:
        self.actors[actor].put(tick(self.streams[actor], self.rows[actor]))
        self.rows[actor] += 1

    def replace(self, actor: int, lane_shapes=SHAPES) -> None:
        """The actor's successor begins new games, and plays their first tick."""
        self.actors[actor] = RingSender(self.wiring.run, self.wiring.queues["steps"][actor])
        self.streams[actor], self.rows[actor] = self.new_games(lane_shapes, actor), 0
        self.tick(actor)

    def prioritise(self, seed: int) -> None:
        """Priorities for any positions, old and new, eligible or not; one in two rises above all before."""
        rng = np.random.default_rng(seed)
        lane = rng.integers(0, ACTORS * ENVS, BATCH)
        head = self.reanalyzer.shard.head[lane]
        step = np.maximum(0, head - 1 - rng.integers(0, 30, BATCH))
        priority = (10 ** rng.uniform(-7, 2, BATCH)).astype(np.float32)
        self._priorities_sent += 1
        if self._priorities_sent == 3:
            priority += 1e4  # the largest ever, long gone when somebody dies
        self.learner.put(PriorityRecord(lane, step, self._priorities_sent, priority))

    def state(self) -> dict[str, np.ndarray]:
        """Everything that decides on draws, and the rows."""
        sampler, shard = self.reanalyzer.sampler, self.reanalyzer.shard
        leaves = np.arange(shard.lanes * shard.rows)
        sample = sampler.draw(64)
        found = {name: np.array(getattr(shard, name)) for name in shard.shape.fields()}
        found |= {"weights": sampler._weights.get(leaves), "eligible": sampler._eligible.get(leaves)}
        return found | {f"drawn {name}": value for name, value in vars(sample).items()}

    def close(self) -> None:
        remove_run(self.wiring.run)


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def played(wiring: Wiring) -> Replay:
    """Both actors' lanes have wrapped around; positions have priorities of all ages, some of rows that were reused."""
    replay = Replay(wiring)
    for turn in range(31):
        for actor in range(ACTORS):
            replay.tick(actor)
        replay.settle([])
        if turn % 4 == 3:
            replay.prioritise(turn)
            replay.settle([])
    return replay


def test_a_replaced_actors_games_are_cut_off(wiring):
    """Its last rows become final; one that died before its first row leaves nothing to cut."""
    replay = Replay(wiring)
    try:
        shard = replay.reanalyzer.shard
        RingSender(replay.wiring.run, replay.wiring.queues["steps"][1])  # took the ring, and died
        replay.replace(1)
        replay.settle([])
        assert not shard.last.any() and shard.head.tolist() == [0, 0, 1, 1]
        for _ in range(2):
            replay.tick(1)
        replay.replace(1)  # both actors' records lie in the ring
        replay.settle([])
        assert shard.head.tolist() == [0, 0, 4, 4]
        # Lane 2 was within a life of four rows; in lane 3, row 2 is the second game's first.
        assert shard.last[2:, :4].tolist() == [[False, False, True, False], [False, True, True, False]]
        assert shard.truncated[2:, :3].tolist() == [[False, True, False], [True, False, False]]
        assert shard.first[2:, 3].all()
    finally:
        replay.close()


EVENTS = {
    "a tick": lambda replay: replay.tick(1),
    "an actor replaced": lambda replay: replay.replace(1),
    "priorities": lambda replay: replay.prioritise(99),
}


@pytest.mark.parametrize("name", EVENTS)
def test_killed_before_every_store_of_an_event(wiring, name):
    """And what follows it: the row that the event appends is admitted, is overwritten, has priorities of its own."""

    def run(death: int) -> tuple[dict[str, np.ndarray], int, int]:
        replay = played(wiring)
        try:
            before = replay.fate.stores
            EVENTS[name](replay)
            replay.settle([death])
            stores = replay.fate.stores - before
            for _ in range(9):
                replay.tick(1)
                replay.settle([])
            return replay.state(), stores, replay.takeovers
        finally:
            replay.close()

    expected, stores, takeovers = run(NEVER)
    assert stores > 3 and takeovers == 0
    for death in range(stores):
        state, _, takeovers = run(death)
        assert takeovers == 1, death
        assert_same(expected, state)


@settings(max_examples=25)
@given(
    st.lists(shapes(), min_size=ENVS, max_size=ENVS),
    st.lists(
        st.tuples(st.sampled_from(["tick", "tick", "tick", "replace", "priorities"]), st.integers(0, 1)), max_size=70
    ),
    st.lists(st.integers(0, 70), max_size=30),
)
def test_killed_at_random(wiring, lane_shapes, events, deaths):
    """Random lanes; the reanalyzer dies at random, also while it takes over, and meets several records at once."""

    def run(deaths: list[int]) -> dict[str, np.ndarray]:
        replay = Replay(wiring)
        deaths = list(deaths)
        try:
            for actor in range(ACTORS):
                replay.replace(actor, lane_shapes)
            for number, (event, actor) in enumerate(events):
                if event == "tick":
                    replay.tick(actor)
                elif event == "replace":
                    replay.replace(actor, lane_shapes[::-1])
                else:
                    replay.settle([])  # priorities meet no new row: whoever dies takes rows first
                    replay.prioritise(number)
                if event == "priorities" or number % 2:
                    replay.settle([deaths.pop() for _ in range(min(2, len(deaths)))])
            for actor in (0, 1, 0, 1, 0, 1):
                for _ in range(2):
                    replay.tick(actor)
                replay.settle(deaths)
            return replay.state()
        finally:
            replay.close()

    assert_same(run([]), run(deaths))
