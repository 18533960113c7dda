"""Priority Refresh: which positions are judged anew, in which order, by whom, and how much of it is paid for."""

from functools import partial

import numpy as np
import pytest
import torch

from speedyzero.config import RefreshConfig
from speedyzero.reanalyze.refresh import PriorityRefresh, rank_correlation
from speedyzero.runtime.local_edges import MemoryWeights
from speedyzero.runtime.wiring import WEIGHTS
from speedyzero.topology.records import PriorityRecord, WeightsRecord
from tests.reanalyze.test_reanalyzer import LANES, machine
from tests.reanalyze.tiny import CONFIG, STACK, WatchedAgent, loaded_agent, random_weights
from tests.replay.episodes import stack_of, tick

NEWEST, TARGET = 7, 0  # versions, and seeds of the weights
SLICE = 8


class Refreshing:
    """A refresher beside a reanalyzer whose target network has the weights of seed 0."""

    def __init__(self, *, per_sample: float = 1.0, slice: int = SLICE, device: str = "cpu"):
        """device: what the agent says that it is on."""
        self.run = machine()
        self.run.reanalyzer.step()  # loads the target network
        self.weights = MemoryWeights(WEIGHTS)
        self.agent = WatchedAgent(CONFIG)
        self.agent.device = torch.device(device)
        reanalyzer = self.run.reanalyzer
        self.shard, self.sampler = reanalyzer.shard, reanalyzer.sampler
        config = RefreshConfig(per_sample=per_sample, slice=slice)
        self.refresh = PriorityRefresh(config, self.shard, self.sampler, reanalyzer._targets, self.weights, self.agent)

    @property
    def figures(self) -> dict[str, float]:
        return self.refresh.figures(self.sampler.drawn_positions()[2])

    def judge(self, lane, step, *, version: int, priority: float = 3.0) -> None:
        """As the learner does after it trained on these positions."""
        lane, step = np.asarray(lane), np.asarray(step)
        record = PriorityRecord(lane, step, version, np.full(len(lane), priority, np.float32))
        assert self.sampler.update(record) == len(lane)

    def publish(self, version: int = NEWEST) -> None:
        self.weights.publish(WeightsRecord(version, random_weights(CONFIG, version)))

    def refresh_for(self, samples: int) -> list[tuple[int, int]]:
        """The positions that were judged for it, in order."""
        before = len(self.agent.seen)
        self.refresh.refresh_for(samples, train_step=NEWEST)
        return self.agent.seen[before:]

    def judged(self, count: int, *, version: int = 1) -> list[tuple[int, int]]:
        """The first eligible positions, which the learner judged before the newest weights came."""
        lane, step = self.eligible(count)
        self.judge(lane, step, version=version)
        self.publish()
        return pairs(lane, step)

    def priority(self, lane: int, step: int) -> float:
        return float(self.shard.priority[lane, step % self.shard.rows])

    def eligible(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Distinct eligible positions, oldest rows first, from both lanes."""
        rows = self.shard.rows
        found = [
            (lane, step)
            for step in range(int(self.shard.oldest_eligible().max()), int(self.shard.newest_eligible().min()))
            for lane in range(2)
            if not self.shard.last[lane, step % rows]
        ]
        return tuple(np.array(found[:count]).T)


def pairs(lane: np.ndarray, step: np.ndarray) -> list[tuple[int, int]]:
    return list(zip(lane.tolist(), step.tolist(), strict=True))


def test_refreshed_priorities_are_the_errors_of_the_newest_weights():
    """Against the episodes themselves: |v - z| + 1e-6, v by the newest weights, bootstraps by the target network."""
    refreshing = Refreshing()
    positions = refreshing.judged(SLICE)
    assert sorted(refreshing.refresh_for(SLICE)) == sorted(positions)
    newest, target = (loaded_agent(CONFIG, weights_seed=seed, version=seed) for seed in (NEWEST, TARGET))

    def value(agent: WatchedAgent, number: int, row: int) -> float:
        return float(agent.root(stack_of(number, LANES[number], row, stack=STACK)).value[0])

    for number, root in positions:
        episode, i = LANES[number].find(root)
        z = episode.value(i, td_steps=2, discount=0.9, value_of_row=partial(value, target, number))
        expected = abs(value(newest, number, root) - z) + 1e-6
        assert refreshing.priority(number, root) == pytest.approx(expected, rel=1e-4, abs=1e-5)
        assert refreshing.shard.stamp[number, root % refreshing.shard.rows] == NEWEST
    assert refreshing.figures["reanalyzer/refreshed"] == SLICE


def test_the_oldest_priorities_come_first_and_what_was_never_drawn_is_left_alone():
    refreshing = Refreshing()
    lane, step = refreshing.eligible(3 * SLICE)
    versions = np.array([4, 1, 2])
    for part, version in enumerate(versions):
        refreshing.judge(lane[part::3], step[part::3], version=version)
    refreshing.publish()
    for part in np.argsort(versions):
        assert sorted(refreshing.refresh_for(SLICE)) == sorted(pairs(lane[part::3], step[part::3]))
    stamp = refreshing.shard.stamp
    assert (stamp == NEWEST).sum() == 3 * SLICE and (stamp == -1).sum() == stamp.size - 3 * SLICE
    assert refreshing.refresh_for(10 * SLICE) == []  # all is as new as the newest weights


def test_only_what_is_paid_for_is_refreshed_in_whole_slices():
    refreshing = Refreshing(per_sample=0.5)
    refreshing.judged(4 * SLICE)
    assert [len(refreshing.refresh_for(SLICE)) for _ in range(4)] == [0, SLICE, 0, SLICE]
    assert len(refreshing.refresh_for(4 * SLICE)) == 2 * SLICE


@pytest.mark.parametrize(("device", "positions"), [("cpu", 256), ("cuda", 2048)])
def test_a_pass_is_larger_on_a_gpu(device, positions):
    refreshing = Refreshing(slice=0, device=device)
    judged = refreshing.judged(2 * SLICE)
    assert refreshing.refresh_for(positions - 1) == []
    assert sorted(refreshing.refresh_for(1)) == sorted(judged)


def test_the_share_refreshed_counts_what_the_learner_judged_since_too():
    refreshing = Refreshing()
    assert np.isnan(refreshing.figures["reanalyzer/refreshed_share"])  # nothing was drawn yet
    lane, step = np.array(refreshing.judged(4 * SLICE)).T
    refreshing.refresh_for(SLICE)
    assert refreshing.figures["reanalyzer/refreshed_share"] == 0.25
    refreshing.judge(lane[-SLICE:], step[-SLICE:], version=NEWEST + 1)
    assert refreshing.figures["reanalyzer/refreshed_share"] == 0.5
    refreshing.refresh_for(4 * SLICE)
    assert refreshing.figures["reanalyzer/refreshed_share"] == 1.0


def test_a_sweep_begins_with_newer_weights_alone():
    refreshing = Refreshing()
    lane, step = refreshing.eligible(2 * SLICE)
    refreshing.judge(lane, step, version=1)
    assert refreshing.refresh_for(SLICE) == []  # no weights yet
    refreshing.publish()
    assert len(refreshing.refresh_for(SLICE)) == SLICE
    refreshing.publish(NEWEST + 1)
    assert len(refreshing.refresh_for(SLICE)) == SLICE  # the sweep continues with the weights that it began with
    assert refreshing.agent.version == NEWEST
    assert len(refreshing.refresh_for(2 * SLICE)) == 2 * SLICE and refreshing.agent.version == NEWEST + 1


def test_the_newer_of_learner_and_refresh_wins_whoever_comes_last():
    refreshing = Refreshing()
    lane, step = np.array(refreshing.judged(2 * SLICE)).T
    refreshing.refresh_for(SLICE)  # the sweep has begun; the second half is still to come
    refreshing.judge(lane[SLICE:], step[SLICE:], version=NEWEST + 2, priority=5.0)
    refreshing.refresh_for(SLICE)
    stale = PriorityRecord(lane[:SLICE], step[:SLICE], NEWEST - 1, np.full(SLICE, 9.0, np.float32))
    assert refreshing.sampler.update(stale) == 0 and refreshing.figures["reanalyzer/refresh_ratio"] > 0
    for number, root in pairs(lane[SLICE:], step[SLICE:]):
        assert refreshing.priority(number, root) == 5.0
        assert refreshing.shard.stamp[number, root % refreshing.shard.rows] == NEWEST + 2


def test_what_newer_weights_have_judged_is_not_judged_again():
    refreshing = Refreshing()
    lane, step = refreshing.eligible(2 * SLICE)
    refreshing.judge(lane[:SLICE], step[:SLICE], version=NEWEST + 1)
    refreshing.judge(lane[SLICE:], step[SLICE:], version=NEWEST - 1)
    refreshing.publish()
    assert sorted(refreshing.refresh_for(2 * SLICE)) == sorted(pairs(lane[SLICE:], step[SLICE:]))


def test_positions_that_were_overwritten_meanwhile_are_left_out():
    refreshing = Refreshing()
    refreshing.judged(2 * SLICE)
    refreshing.refresh_for(SLICE)
    for row in range(70, 70 + 30):  # lanes of 40 rows
        refreshing.run.edges.steps.put(tick(LANES, row))
        refreshing.run.reanalyzer._take_steps()
    assert refreshing.refresh_for(SLICE) == []
    assert (refreshing.shard.stamp == NEWEST).sum() == 0


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [8, 6, 4, 2], -1.0),
        ([1, 2, 3], [2, 1, 3], 0.5),
        ([1, 1, 2], [1, 2, 3], 0.8660254),  # ties share a rank: 1.5, 1.5, 3
    ],
)
def test_rank_correlation_by_hand(one, other, expected):
    assert rank_correlation(np.array(one, float), np.array(other, float)) == pytest.approx(expected)


@pytest.mark.parametrize(("one", "other"), [([1.0], [2.0]), ([1.0, 1.0], [1.0, 2.0])])
def test_no_rank_correlation_of_what_does_not_vary(one, other):
    assert np.isnan(rank_correlation(np.array(one), np.array(other)))
