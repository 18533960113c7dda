"""Several actors feed one shard at their own pace: whose lanes move, what is eligible, how old it is."""

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from speedyzero.reanalyze.reanalyzer import Reanalyzer
from speedyzero.replay.sampler import Sample
from speedyzero.replay.shard import Shard, shard_shape
from speedyzero.runtime.local_edges import InlineEdges, MemoryQueue
from speedyzero.topology.edges import STEPS, ReanalyzerEdges
from speedyzero.topology.pacing import Pacing
from tests.reanalyze.tiny import CONFIG, changed, no_agent
from tests.replay.episodes import GAME_OVER, LIFE, LIMIT, NUM_ACTIONS, SPEC, frames, made_up_lane, tick

ACTORS, ENVS = 3, 2
CONFIG_3 = changed(
    CONFIG,
    actor={"actors": ACTORS, "envs": ENVS},
    replay={"capacity_steps": 20 * ACTORS * ENVS},
    target={"td_steps": 3, "td_decay_fraction": 0.05},  # one less per 20 transitions of age
    schedule={"head_start_env_steps": 60},
)
SHAPES = [(4, LIFE), (3, LIMIT), (6, GAME_OVER)]


class Fleet:
    """A reanalyzer fed by several queues; the frame of a row names its lane among all."""

    def __init__(self):
        self.queues = [MemoryQueue(STEPS) for _ in range(ACTORS)]
        edges = dataclasses.replace(InlineEdges().of(ReanalyzerEdges), steps=self.queues)
        pacing = Pacing(CONFIG_3.schedule, tick_env_steps=ACTORS * ENVS)
        shard = Shard(shard_shape(CONFIG_3, SPEC, NUM_ACTIONS))
        self.reanalyzer = Reanalyzer(CONFIG_3, edges, pacing, no_agent(), shard)
        self.shard, self.sampler = shard, self.reanalyzer.sampler
        self.lanes = [made_up_lane(SHAPES[lane % 3 :] + SHAPES, lane=lane, min_rows=120) for lane in range(6)]
        self.rows = [0] * ACTORS

    def put(self, actor: int) -> None:
        row, lane = self.rows[actor], np.arange(ENVS) + ENVS * actor
        record = tick([self.lanes[i] for i in lane], row)
        self.queues[actor].put(dataclasses.replace(record, frame=frames(lane, np.full(ENVS, row))))
        self.rows[actor] += 1

    def play(self, *actors: int) -> None:
        for actor in actors:
            self.put(actor)
            assert self.reanalyzer.step()

    def eligible(self) -> set[tuple[int, int]]:
        """(lane, step) by the definition alone."""
        shard, found = self.shard, set()
        for number, lane in enumerate(self.lanes):
            head = self.rows[number // ENVS]
            oldest = max(0, head - shard.rows + shard.shape.guard + shard.stack - 1)
            steps = range(oldest, head - shard.lookahead)
            found |= {(number, step) for step in steps if not lane.rows[step].last}
        return found


@settings(max_examples=30)
@given(st.lists(st.integers(0, ACTORS - 1), max_size=120))
def test_each_lane_goes_at_the_pace_of_its_actor(turns):
    fleet = Fleet()
    for actor in turns:
        fleet.put(actor)
        if fleet.queues[actor].full:
            fleet.reanalyzer.step()
    fleet.reanalyzer.step()
    assert fleet.shard.ticks.tolist() == fleet.rows
    assert fleet.shard.head.tolist() == np.repeat(fleet.rows, ENVS).tolist()
    for number, lane in enumerate(fleet.lanes):
        head = fleet.rows[number // ENVS]
        for step in range(max(0, head - fleet.shard.rows), head):
            slot = step % fleet.shard.rows
            np.testing.assert_array_equal(fleet.shard.frame[number, slot], frames(number, step))
            assert fleet.shard.reward[number, slot] == np.float32(lane.rows[step].reward)
    eligible = fleet.eligible()
    assert fleet.sampler.size == len(eligible)
    if eligible:
        sample = fleet.sampler.draw(20 * len(eligible))  # a stratified draw: every position of equal priority comes
        assert set(zip(sample.lane.tolist(), sample.step.tolist(), strict=True)) == eligible


def test_age_counts_the_transitions_of_all_actors():
    """Of six lanes: a step's age is six times the rows after it, itself included, in its own lane."""
    fleet = Fleet()
    fleet.play(*[0, 1, 2] * 30)
    steps = np.array([29, 27, 26, 24, 23, 15])
    ages = 6 * (30 - steps)
    assert ages.tolist() == [6, 18, 24, 36, 42, 90]
    sample = Sample(lane=np.array([0, 5, 2, 3, 4, 1]), step=steps, probability=np.ones(6))
    assert fleet.reanalyzer._targets.td_steps(sample.lane, sample.step).tolist() == [3, 3, 2, 2, 1, 1]
    fleet.play(0, 0)  # lanes 0 and 1 continue, and only their rows grow older
    sample = Sample(lane=np.array([0, 1, 2]), step=np.array([29, 28, 28]), probability=np.ones(3))
    assert fleet.reanalyzer._targets.td_steps(sample.lane, sample.step).tolist() == [3, 2, 3]  # ages 18, 24, 12
